"""Runnable worker applications, one module each: copy one to begin.

`zart-worker` in this folder loads all of them.
"""
