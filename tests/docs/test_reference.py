"""The reference says what the code says; `python -m tests.docs.reference` brings it up to date."""

import re
from pathlib import Path

import pytest

import zart_redis
from tests.docs import reference
from zart_redis import errors

API = reference.ROOT / "docs" / "reference" / "api.md"


@pytest.mark.parametrize("page", reference.PAGES, ids=lambda page: page.name)
def test_a_page_is_up_to_date(page: Path) -> None:
    assert page.read_text() == reference.filled(page.read_text())


def test_each_part_has_its_place() -> None:
    text = "".join(page.read_text() for page in reference.PAGES)
    assert sorted(re.findall(r"<!-- generated: (.+?) -->", text)) == sorted(reference.parts())


def test_the_api_page_names_all_that_is_public() -> None:
    named = set(re.findall(r"^::: zart_redis\.(\w+)$", API.read_text(), re.MULTILINE))
    assert named == {*zart_redis.__all__} - {*errors.__all__} - {"sync", "testing"}


def test_llms_txt_is_up_to_date() -> None:
    assert reference.LLMS.read_text() == reference.llms()
