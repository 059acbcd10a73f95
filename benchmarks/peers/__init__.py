"""Other libraries, measured beside ours in turn: `python -m benchmarks peers`.

Each `*_peer` module is a separate program, written as that library's documentation recommends. It imports nothing of
ours, so that it can run in an environment which has only its library; `report` starts it and reads what it prints.
"""
