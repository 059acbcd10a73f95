"""Clients: start executions, follow them, deliver events. They run no handlers."""
