"""Programs that measure: `python -m benchmarks [NAME ...]`, one table each.

What is timed is set beside something a reader knows, measured in the same run, round by round: so a figure that counts
is a ratio, and says the same on a slow machine as on a fast one. Every program checks the results that it times.

`workloads` lists them, each also as a library call; `handlers` is what their workers run; `scene` gives them servers,
workers and baselines; `peers` are other libraries, each in a separate program.
"""
