"""TLS: what is needed to connect, and what the errors say when it is missing.

Each test runs against a proxy that speaks TLS, and also against the server itself if it was built with TLS.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest
import trustme

import zart_redis as zart
from tests.support.servers import Proxy, RedisProcess, free_port, speaks_tls
from zart_redis import zart_durable, zart_step

pytestmark = pytest.mark.anyio


class Files:
    """Certificates as files, as operators have them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        authority, stranger = trustme.CA(), trustme.CA()
        self.ca = str(folder / "ca.pem")
        authority.cert_pem.write_to_path(self.ca)
        self.server = self._issue(authority, "127.0.0.1")
        self.other_host = self._issue(authority, "elsewhere.example")
        self.client = self._issue(authority, "client@example.com")
        self.stranger = self._issue(stranger, "stranger@example.com")

    def _issue(self, authority: trustme.CA, name: str) -> tuple[str, str]:
        """The files of a certificate and of its key."""
        issued = authority.issue_cert(name)
        certificate, key = (str(self._folder / f"{name}.{end}") for end in ("crt", "key"))
        issued.cert_chain_pems[0].write_to_path(certificate)
        issued.private_key_pem.write_to_path(key)
        return certificate, key


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("certificates"))


class Front:
    """Starts something that speaks TLS and leads to a server."""

    def __init__(self, server: RedisProcess, files: Files, is_proxy: bool) -> None:
        self._server = server
        self._files = files
        self._is_proxy = is_proxy

    @asynccontextmanager
    async def port(
        self, certificate: tuple[str, str] | None = None, *, ask_client: bool = False, version: str = "TLSv1.3"
    ) -> AsyncIterator[int]:
        certificate = certificate or self._files.server
        if self._is_proxy:
            async with Proxy(self._server.socket, tls=self._context(certificate, ask_client, version)) as proxy:
                yield proxy.port
        else:
            port = free_port()
            options = ("--tls-cert-file", certificate[0], "--tls-key-file", certificate[1])
            trust = ("--tls-ca-cert-file", self._files.ca, "--tls-auth-clients", "yes" if ask_client else "no")
            listen = ("--tls-port", str(port), "--tls-protocols", version)
            with RedisProcess(self._server.binary, options=[*listen, *options, *trust]):
                yield port

    def _context(self, certificate: tuple[str, str], ask_client: bool, version: str) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self._files.ca)
        context.load_cert_chain(*certificate)
        context.maximum_version = ssl.TLSVersion[version.replace(".", "_")]
        if ask_client:
            context.verify_mode = ssl.CERT_REQUIRED
        return context


@pytest.fixture(params=["proxy", "server"])
def front(request: pytest.FixtureRequest, redis_server: RedisProcess, files: Files) -> Front:
    """The server itself if it was built with TLS, else a proxy."""
    return Front(redis_server, files, request.param == "proxy" or not speaks_tls(redis_server.binary))


def url(port: int, **options: str) -> str:
    return f"rediss://127.0.0.1:{port}?{urlencode(options)}"


async def check_refusal(redis_url: str, hint: str) -> None:
    """Neither a client nor a worker can start, and both say why."""
    with pytest.raises(zart.ConfigurationError, match=hint):
        async with zart.EventClient(redis_url):
            pass
    with pytest.raises(zart.ConfigurationError, match=hint):
        async with zart.Worker(redis_url, handlers=[greet]):
            pass


@zart_step
async def greeting(name: str) -> str:
    return f"hello {name}"


@zart_durable("greet-over-tls")
async def greet(name: str) -> str:
    return await greeting(name)


async def run_one(redis_url: str, namespace: str) -> str:
    async with (
        zart.DurableScheduler(redis_url, namespace=namespace) as scheduler,
        zart.Worker(redis_url, namespace=namespace, handlers=[greet], grace="100ms"),
    ):
        return await scheduler.start_and_wait_for(greet, "e", "Ada", timeout="20s")


async def test_work_runs_over_tls(front: Front, files: Files, namespace: str) -> None:
    async with front.port() as port:
        assert await run_one(url(port, ssl_ca_certs=files.ca), namespace) == "hello Ada"


async def test_a_server_can_be_used_without_a_check_of_its_certificate(
    front: Front, files: Files, namespace: str
) -> None:
    async with front.port(files.other_host) as port:
        assert await run_one(url(port, ssl_cert_reqs="CERT_NONE"), namespace) == "hello Ada"


async def test_a_client_certificate_is_shown(front: Front, files: Files, namespace: str) -> None:
    certificate, key = files.client
    async with front.port(ask_client=True) as port:
        shown = url(port, ssl_ca_certs=files.ca, ssl_certfile=certificate, ssl_keyfile=key)
        assert await run_one(shown, namespace) == "hello Ada"


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
async def test_a_missing_or_refused_client_certificate(front: Front, files: Files, version: str) -> None:
    certificate, key = files.stranger
    async with front.port(ask_client=True, version=version) as port:
        await check_refusal(url(port, ssl_ca_certs=files.ca), "ssl_certfile")
        strange = url(port, ssl_ca_certs=files.ca, ssl_certfile=certificate, ssl_keyfile=key)
        await check_refusal(strange, "ssl_certfile")


async def test_a_certificate_that_is_not_trusted(front: Front) -> None:
    async with front.port() as port:
        await check_refusal(url(port), "ssl_ca_certs")


async def test_a_certificate_of_another_host(front: Front, files: Files) -> None:
    async with front.port(files.other_host) as port:
        await check_refusal(url(port, ssl_ca_certs=files.ca), "host name")


async def test_a_server_too_old_for_the_demanded_version(front: Front, files: Files) -> None:
    async with front.port(version="TLSv1.2") as port:
        await check_refusal(url(port, ssl_ca_certs=files.ca, ssl_min_version="TLSv1_3"), "ssl_min_version")


async def test_a_url_without_tls_for_a_server_with_it(front: Front) -> None:
    async with front.port() as port:
        await check_refusal(f"redis://127.0.0.1:{port}", "write rediss://")


async def test_a_url_with_tls_for_a_server_without_it(redis_server: RedisProcess, files: Files) -> None:
    async with Proxy(redis_server.socket) as plain:
        await check_refusal(url(plain.port, ssl_ca_certs=files.ca), "write redis://")


async def test_files_that_cannot_be_used(front: Front, files: Files, tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("no certificate")
    async with front.port() as port:
        await check_refusal(url(port, ssl_ca_certs="/missing.pem"), "ssl_ca_certs=/missing.pem cannot be read")
        await check_refusal(url(port, ssl_ca_certs=str(nonsense)), "cannot be used")
        (certificate, _), (_, key) = files.client, files.stranger
        mixed = url(port, ssl_ca_certs=files.ca, ssl_certfile=certificate, ssl_keyfile=key)
        await check_refusal(mixed, "cannot be used")
