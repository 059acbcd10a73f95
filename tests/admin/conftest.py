"""The same scheduler and worker that the fundamentals use."""

from tests.fundamentals.conftest import scheduler, worker

__all__ = ["scheduler", "worker"]
