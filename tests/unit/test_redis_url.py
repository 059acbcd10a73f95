"""Redis URLs: what they lead to, what is refused, and that no part of a password is ever shown."""

import ssl
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

import zart_redis as zart
from zart_redis.redis_url import Kind, read
from zart_redis.settings import Settings
from zart_redis.urls import redacted_text, redacted_url


@pytest.mark.parametrize(
    ("url", "kind", "seeds", "options"),
    [
        ("redis://", Kind.SINGLE, [("localhost", 6379)], {}),
        ("redis://h", Kind.SINGLE, [("h", 6379)], {}),
        ("REDIS://h:1/2", Kind.SINGLE, [("h", 1)], {"db": 2}),
        ("redis://h?db=3", Kind.SINGLE, [("h", 6379)], {"db": 3}),
        ("redis://[::1]:7/0", Kind.SINGLE, [("::1", 7)], {"db": 0}),
        ("redis://ann:p%2Fw%40%25@h", Kind.SINGLE, [("h", 6379)], {"username": "ann", "password": "p/w@%"}),
        ("redis://:a:b@h", Kind.SINGLE, [("h", 6379)], {"password": "a:b"}),
        ("redis://h?password=hush", Kind.SINGLE, [("h", 6379)], {"password": "hush"}),
        ("valkey://h", Kind.SINGLE, [("h", 6379)], {}),
        ("redis://h?socket_timeout=5&protocol=3", Kind.SINGLE, [("h", 6379)], {}),
        ("redis+cluster://a,b:7001,[::1]:7", Kind.CLUSTER, [("a", 6379), ("b", 7001), ("::1", 7)], {}),
        ("redis+cluster://ann:pw@a,b", Kind.CLUSTER, [("a", 6379), ("b", 6379)], {"username": "ann", "password": "pw"}),
        ("redis+sentinel://a,b:7/mymaster/3", Kind.SENTINEL, [("a", 26379), ("b", 7)], {"db": 3}),
        ("redis+sentinel://a/my%20master", Kind.SENTINEL, [("a", 26379)], {}),
    ],
)
def test_where_a_url_leads(url: str, kind: Kind, seeds: list[tuple[str, int]], options: dict[str, object]) -> None:
    found = read(url)
    assert (found.kind, list(found.seeds), dict(found.options)) == (kind, seeds, options)
    assert not found.is_tls


def test_a_unix_socket() -> None:
    found = read("unix://ann:hush@/run/my%20redis.sock?db=1")
    assert found.path == "/run/my redis.sock"
    assert dict(found.options) == {"db": 1, "username": "ann", "password": "hush"}
    assert read("unix:///a@b").path == "/a@b"


def test_the_options_of_tls() -> None:
    found = read("rediss://h?ssl_cert_reqs=CERT_NONE&ssl_min_version=TLSv1_2&ssl_check_hostname=false&ssl_ca_certs=/ca")
    assert found.is_tls
    assert dict(found.options) == {
        "ssl_cert_reqs": "none",
        "ssl_min_version": ssl.TLSVersion.TLSv1_2,
        "ssl_check_hostname": False,
        "ssl_ca_certs": "/ca",
    }
    assert read("rediss+sentinel://h/m").is_tls
    assert read("valkeys://h").is_tls


def test_the_sentinels_have_credentials_of_their_own() -> None:
    found = read("redis+sentinel://ann:hush@h/m?sentinel_username=bob&sentinel_password=quiet")
    assert dict(found.options) == {"username": "ann", "password": "hush"}
    assert dict(found.sentinel_options) == {"username": "bob", "password": "quiet"}
    assert found.master == "m"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://h", "begins with one of"),
        ("h:6379", "begins with one of"),
        ("redis://h:port", "host:port"),
        ("redis://h:65536", "65535"),
        ("redis://h:6379/zero", "must be a number"),
        ("redis://h?db=-1", "must be a number"),
        ("redis://h?no_such_option=1", "no option 'no_such_option'"),
        ("redis://h?ssl_ca_certs=/ca", "rediss://"),
        ("rediss://h?ssl_cert_reqs=perhaps", "ssl_cert_reqs must be"),
        ("rediss://h?ssl_min_version=SSLv3", "ssl_min_version must be"),
        ("rediss://h?ssl_check_hostname=perhaps", "true or false"),
        ("redis://a,b", r"redis\+cluster://"),
        ("redis+cluster://h/1", "no database but 0"),
        ("redis+sentinel://h", "name the master"),
        ("redis://h?sentinel_password=x", r"redis\+sentinel://"),
        ("unix://", "socket"),
        ("redis://h#1", "%23"),
    ],
)
def test_what_is_refused(url: str, why: str) -> None:
    with pytest.raises(zart.ConfigurationError, match=why):
        assert read(url).connection_options


PARTS = ("Zm9v", "YmFy")


@pytest.mark.parametrize("sign", list("/?#@[] :%\"'\\\n"))
@pytest.mark.parametrize(
    "template",
    [
        "redis://:{}@localhost:6379/0",
        "redis://a@b.example:{}@localhost:1/0",
        "redis+cluster://ann:{}@one,two",
        "redis+sentinel://:{}@one/m",
        "unix://:{}@/run/redis.sock",
        "redis://localhost?password={}",
        "redis://:{}/0",
        "redis:/:{}@h",
        "http://:{}@h",
        ":{}@h:1",
    ],
)
def test_no_error_holds_a_part_of_a_password(template: str, sign: str) -> None:
    if template == "redis://:{}/0" and sign == "@":
        return  # the second part is the host
    url = template.format(sign.join(PARTS))
    shown = [redacted_url(url)]
    try:
        shown.append(repr(Settings.load(redis_url=url)))
    except zart.ConfigurationError as error:
        shown.append("".join(traceback.format_exception(error)))
        cause: BaseException | None = error
        while cause is not None:  # also what `from None` only hides
            shown.append(repr(cause))
            cause = cause.__cause__ or cause.__context__
    assert not [text for text in shown for part in PARTS if part in text]


@given(st.text(st.characters(codec="ascii"), min_size=1))
def test_a_password_that_is_encoded_is_never_refused_nor_shown(password: str) -> None:
    secret = f"<{password}>"
    encoded = "".join(f"%{byte:02X}" for byte in secret.encode())
    found = read(f"redis://ann:{encoded}@h")
    assert found.options["password"] == secret
    assert encoded not in found.shown + repr(found)


def test_urls_in_text_are_redacted() -> None:
    said = redacted_text("at redis://ann:hush@h/0 and rediss+sentinel://:quiet@a,b/m, not redis://h:6379/0")
    assert said == "at redis://ann:***@h/0 and rediss+sentinel://:***@a,b/m, not redis://h:6379/0"
