"""Runs bodies: replay, steps in place, parking, retries, failure handling. Knows no Redis: see `ports`."""
