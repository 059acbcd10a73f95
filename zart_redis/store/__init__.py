"""The store: keys, scripts and connections. See `README.md` here for the state machine, the keys and the laws."""
