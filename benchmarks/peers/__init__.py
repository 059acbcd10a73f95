"""Other libraries, measured beside ours in turn: `python -m benchmarks peers`.

Each `*_peer` module is a program of its own, written as that library's documentation does it. It imports nothing of
ours, so that it can run in an environment which has only its library; `report` starts it and reads what it prints.
"""
