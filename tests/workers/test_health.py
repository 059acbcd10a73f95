"""Service health, of services that are up, that are ill and that are not there."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

import zart_redis as zart
from tests.support.servers import free_port
from tests.support.waiting import SOON
from workers.health import check_health

pytestmark = pytest.mark.anyio


class Service(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(500 if self.path == "/ill" else 200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


async def test_what_fails_does_not_keep_the_others_from_being_checked(
    scheduler: zart.DurableScheduler, service: str
) -> None:
    gone = f"http://127.0.0.1:{free_port()}"
    urls = [f"{service}/", f"{service}/ill", gone, "file:///etc/passwd", f"{service}/"]
    health = await scheduler.start_and_wait_for(check_health, "h-1", urls, SOON)
    assert health.up.keys() == {f"{service}/"}
    assert "500" in health.down[f"{service}/ill"]
    assert "refused" in health.down[gone]
    assert "only http" in health.down["file:///etc/passwd"]
