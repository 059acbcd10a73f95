"""The HTTP API (extra `http`), and the page that `zart serve` serves: an ASGI application of Starlette's parts."""

from zart_redis.http.application import Application, app

__all__ = ["Application", "app"]
