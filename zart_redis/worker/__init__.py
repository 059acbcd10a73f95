"""A worker: claims what is queued, runs it, and keeps the clock and the lease. One file per loop."""
