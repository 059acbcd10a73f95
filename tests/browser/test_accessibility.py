"""axe-core finds nothing serious in any view, light or dark."""

import hashlib
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.browser.pages import Browser
from tests.browser.site import Site

VERSION = "4.14.1"
SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
CACHED = Path(__file__).parents[2] / ".cache" / f"axe-core-{VERSION}.tgz"
GRAVE = ("serious", "critical")


@pytest.fixture(scope="module")
def axe() -> str:
    """axe-core as published. It is fetched once."""
    if not CACHED.exists():
        CACHED.parent.mkdir(exist_ok=True)
        command = ["npm", "pack", "--silent", f"axe-core@{VERSION}"]
        try:
            subprocess.run(command, cwd=CACHED.parent, check=True, capture_output=True, timeout=60)
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"axe-core cannot be fetched by npm: {error}")
    with tarfile.open(CACHED) as archive:
        file = archive.extractfile("package/axe.min.js")
        assert file is not None
        content = file.read()
    assert hashlib.sha256(content).hexdigest() == SHA256
    return content.decode()


def grave_findings(browser: Browser, axe: str) -> list[str]:
    browser.script(axe)
    browser.script("window.found = null; axe.run().then((result) => { window.found = result.violations; })")
    found: list[dict[str, Any]] = browser.until(lambda: browser.script("return window.found && [window.found]"))[0]
    return [
        f"{finding['id']}: {node['html']}"
        for finding in found
        if finding["impact"] in GRAVE
        for node in finding["nodes"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_grave_finding(browser: Browser, site: Site, axe: str, theme: str) -> None:
    site.run(site.scheduler.start("order-1", "checkout", {"item": "lamp"}))
    site.run(site.scheduler.start("parcel-1", "delivery", None))
    site.run(site.scheduler.start("render-1", "echo", None, queue="gpu"))
    site.run(site.scheduler.start_recurring("nightly", "echo", "report-{occurrence}", every="1d"))
    site.run(site.scheduler.wait("order-1", "10s"))
    browser.open(f"{site.url}/")
    browser.script("localStorage.setItem('zart-theme', arguments[0])", theme)
    shown = {
        "/": "1 execution failed",
        "/executions/order-1": "The execution failed",
        "/executions/parcel-1?fold=1&step=shipped": "due in 6d",
        "/queues": "no worker",
        "/workers": "live worker",
        "/recurring": "nightly",
        "/limits": "Limits",
    }
    for path, text in shown.items():
        browser.open(f"{site.url}{path}")
        browser.shows(text)
        assert grave_findings(browser, axe) == [], path
    browser.open(f"{site.url}/executions/parcel-1")
    browser.click("Cancel")
    browser.one("[role=dialog]")
    assert grave_findings(browser, axe) == []
