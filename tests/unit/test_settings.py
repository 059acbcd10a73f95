"""Where settings come from, which one counts, and what is said about a bad one."""

from pathlib import Path

import pytest

from zart_redis.errors import ConfigurationError
from zart_redis.settings import Settings
from zart_redis.urls import redacted_url


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder without pyproject.toml, and an environment without ZART_ variables."""
    import os

    for variable in [name for name in os.environ if name.startswith("ZART_")]:
        monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, table: str) -> None:
    (folder / "pyproject.toml").write_text(f"[tool.zart]\n{table}\n")


def test_the_defaults() -> None:
    settings = Settings.load()
    assert settings == Settings()
    assert settings.redis_url is None
    assert (settings.namespace, settings.partitions, settings.queues) == ("zart", None, ("default",))
    assert (settings.lease, settings.grace, settings.retention) == (4_000, 30_000, 604_800_000)
    assert settings.max_payload == 1_048_576


def test_arguments_over_variables_over_the_file(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(empty_folder, 'namespace = "file"\nqueues = ["a", "b"]\nconcurrency = 7')
    monkeypatch.setenv("ZART_NAMESPACE", "variable")
    monkeypatch.setenv("ZART_QUEUES", "mail, default")
    settings = Settings.load(namespace="argument", queues=None)
    assert settings.namespace == "argument"
    assert settings.queues == ("mail", "default")
    assert settings.concurrency == 7


def test_text_from_variables_becomes_what_the_setting_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {
        "REDIS_URL": "redis+cluster://:hush@r:7000",
        "PARTITIONS": "4",
        "LEASE": "2500ms",
        "GRACE": "45",
        "ALLOW_EVICTION": "yes",
        "LOG_LEVEL": "DEBUG",
        "SECRET": "new,old",
    }.items():
        monkeypatch.setenv(f"ZART_{name}", text)
    settings = Settings.load()
    assert settings.redis_url == "redis+cluster://:hush@r:7000"
    assert (settings.partitions, settings.lease, settings.grace) == (4, 2_500, 45_000)
    assert (settings.allow_eviction, settings.log_level) == (True, "debug")
    assert settings.secrets == ("new", "old")


def test_keys_in_the_file_may_have_dashes_or_underscores(empty_folder: Path) -> None:
    write(empty_folder, 'max-payload = 10\nmax_deliveries = 2\nlog-format = "json"\nlease = 2.5')
    settings = Settings.load()
    assert (settings.max_payload, settings.max_deliveries) == (10, 2)
    assert (settings.log_format, settings.lease) == ("json", 2_500)


@pytest.mark.parametrize(
    "namespace", ["", "a{b", "}", "tab\there", "line\n", "x" * 129, "é" * 65, "nul\0", "\ud800", 7, b"zart"]
)
def test_a_namespace_that_cannot_begin_keys_is_refused(namespace: object) -> None:
    with pytest.raises(ConfigurationError, match=r"argument namespace: .*1 to 128 bytes"):
        Settings.load(namespace=namespace)


@pytest.mark.parametrize("namespace", ["shop", "é" * 64, "a:b*", "with space"])
def test_any_other_namespace_is_taken_as_it_is(namespace: str) -> None:
    assert Settings.load(namespace=namespace).namespace == namespace


@pytest.mark.parametrize(
    ("setting", "bad"),
    [
        ("redis_url", "http://r"),
        ("redis_url", ""),
        ("redis_url", 6379),
        ("partitions", 0),
        ("partitions", 16_385),
        ("partitions", True),
        ("concurrency", 1.5),
        ("concurrency", "many"),
        ("max_payload", -1),
        ("lease", "soon"),
        ("lease", "1ms"),
        ("lease", float("nan")),
        ("grace", -1),
        ("grace", [30]),
        ("retention", 0),
        ("queues", ""),
        ("queues", ["a", ""]),
        ("queues", 3),
        ("app", " "),
        ("allow_eviction", "perhaps"),
        ("allow_eviction", 2),
        ("log_level", "loud"),
        ("log_format", "xml"),
        ("secrets", ["one", 2]),
    ],
)
def test_a_bad_value_is_refused_with_its_origin(setting: str, bad: object) -> None:
    with pytest.raises(ConfigurationError, match=f"^argument {setting}: .* is not "):
        Settings.load(**{setting: bad})


def test_the_origin_of_a_bad_value_is_named(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(empty_folder, 'lease = "soon"')
    with pytest.raises(ConfigurationError, match=r"\[tool.zart\] lease in pyproject.toml: 'soon' is not a dura"):
        Settings.load()
    monkeypatch.setenv("ZART_LEASE", "later")
    with pytest.raises(ConfigurationError, match="environment variable ZART_LEASE: 'later' is not a duration"):
        Settings.load()


def test_an_unknown_key_in_the_file_is_refused(empty_folder: Path) -> None:
    write(empty_folder, "conccurency = 7")
    with pytest.raises(ConfigurationError, match=r"no setting conccurency; it takes .*concurrency"):
        Settings.load()


def test_secrets_do_not_belong_in_the_file(empty_folder: Path) -> None:
    write(empty_folder, 'secrets = ["hush"]')
    with pytest.raises(ConfigurationError, match="no setting secrets") as refused:
        Settings.load()
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("text", ["[tool.zart", "tool = 3", "[tool]\nzart = 3"])
def test_a_file_that_cannot_be_read_is_refused(empty_folder: Path, text: str) -> None:
    (empty_folder / "pyproject.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"pyproject.toml"):
        Settings.load()


def test_an_unknown_argument_is_a_mistake_in_the_code() -> None:
    with pytest.raises(TypeError, match="no setting namespase"):
        Settings.load(namespase="x")


def test_nothing_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.load(redis_url="redis://user:hush@r/0?ssl_password=hush2", secrets="hush3,hush4")
    assert "hush" not in repr(settings)
    assert "namespace='zart'" in repr(settings)
    for bad in ({"redis_url": "http://user:hush@r"}, {"secrets": ["hush", 1]}, {"secrets": 17}):
        with pytest.raises(ConfigurationError) as refused:
            Settings.load(**bad)
        assert "hush" not in str(refused.value)
        assert "17" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://r:6379/0", "redis://r:6379/0"),
        ("redis://user:hush@r", "redis://user:***@r"),
        ("rediss://:hush@r:1", "rediss://:***@r:1"),
        ("redis://u:h/u?s@h@r/1", "redis://u:***@r/1"),
        ("unix:///tmp/r.sock?db=1&password=hush&x=2", "unix:///tmp/r.sock?db=1&password=***&x=2"),
    ],
)
def test_passwords_in_urls_are_hidden(url: str, shown: str) -> None:
    assert redacted_url(url) == shown
