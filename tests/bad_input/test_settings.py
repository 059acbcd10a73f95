"""Rubbish as settings: a ConfigurationError that says where it came from, and never a secret."""

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import zart_redis as zart
from tests.bad_input.junk import JUNK, TEXT
from zart_redis.settings import Settings

NAMES = [each.name for each in fields(Settings)]
quietly = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", NAMES)
@given(junk=JUNK)
@quietly
def test_as_an_argument(name: str, junk: Any) -> None:
    try:
        loaded = Settings.load(**{name: junk})
    except zart.ConfigurationError as error:
        assert name in str(error)
    else:
        assert repr(loaded)


@pytest.mark.parametrize("name", NAMES)
@given(text=TEXT)
@quietly
def test_as_a_variable(name: str, text: str) -> None:
    variable = "ZART_SECRET" if name == "secrets" else f"ZART_{name.upper()}"
    with pytest.MonkeyPatch.context() as patch:
        try:
            patch.setenv(variable, text)
        except (ValueError, UnicodeEncodeError):
            return  # the system takes no such variable
        try:
            Settings.load()
        except zart.ConfigurationError as error:
            assert variable in str(error)


@given(st.text(max_size=60) | st.builds("[tool.zart]\n{} = {}\n".format, st.sampled_from(NAMES), st.text(max_size=20)))
@quietly
def test_as_a_file(text: str) -> None:
    Path("pyproject.toml").write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        Settings.load()
    except zart.ConfigurationError as error:
        assert "pyproject.toml" in str(error)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"[tool]\nzart = 5", b"[tool.zart]\nlease = [1]", b"\x00"])
def test_as_a_file_that_is_none(content: bytes) -> None:
    Path("pyproject.toml").write_bytes(content)
    with pytest.raises(zart.ConfigurationError, match=r"pyproject\.toml"):
        Settings.load()
    assert "ZART_LEASE" not in os.environ
