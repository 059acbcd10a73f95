"""The files of the page, without a browser: vendored modules as published, small own ones, and all in the wheel."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.browser import vendor

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "zart_redis/http/static"
MODULES = sorted((STATIC / "js").glob("*.js"))
MOST_LINES = 300


def test_vendored_modules_are_as_published() -> None:
    manifest = vendor.read_manifest()
    assert {path.name for path in (STATIC / "vendor").glob("*.js")} == manifest.keys()
    for name, entry in manifest.items():
        assert vendor.sha256((STATIC / "vendor" / name).read_bytes()) == entry["sha256"], name
        assert (STATIC / "vendor" / entry["licence"]).is_file()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_modules_are_small_and_import_only_files(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) < MOST_LINES
    for target in re.findall(r"(?:import|from) '([^']+)'", text):
        assert (path.parent / target).is_file(), f"{path.name} imports {target}"


def test_the_document_holds_neither_scripts_nor_styles() -> None:
    text = (STATIC / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", text)
    addresses = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert addresses
    assert all((STATIC / address.removeprefix("{base}/static/")).is_file() for address in addresses)


def test_nothing_points_elsewhere() -> None:
    for path in [*MODULES, STATIC / "index.html", STATIC / "style.css"]:
        assert not re.search(r"https?://", path.read_text()), path.name


def test_the_wheel_carries_every_file() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    package = ROOT / "zart_redis"
    carried = {path for pattern in settings["package-data"]["zart_redis"] for path in package.glob(pattern)}
    assert [path.name for path in STATIC.rglob("*") if path.is_file() and path not in carried] == []
