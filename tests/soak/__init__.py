"""Minutes of load while workers and Redis die, and a verdict on what is left; what a death costs at each `ack`.

python -m tests.soak chaos --executions 20000 --appendfsync everysec
python -m tests.soak durability
"""
