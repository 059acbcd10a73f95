"""A run of 20,000 steps: only what is in view is drawn, and the page stays usable.

How long the first view takes, and the longest task of the main thread, depend on the machine: `python -m
tests.browser.test_many_steps` prints them.
"""

from __future__ import annotations

import shutil
from typing import Any
from uuid import uuid4

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from tests.browser import handlers
from tests.browser.pages import Browser, chromium_options
from tests.browser.site import Site
from tests.support.servers import RedisProcess, default_server

STEPS = 20_000
LOADING_SECONDS = 60.0

OBSERVE = """
window.seen = {first: null, longest: 0};
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.seen.longest = Math.max(window.seen.longest, entry.duration);
}).observe({type: 'longtask', buffered: true});
new MutationObserver(() => {
  if (window.seen.first === null && document.querySelector('[data-step]')) window.seen.first = performance.now();
}).observe(document, {subtree: true, childList: true});
"""


def look_through(browser: Browser, site: Site) -> Any:
    """Load the run, and look at its end. Returns when its first bar was drawn, and the longest task, in ms."""
    site.run(site.scheduler.start("many-1", "many", STEPS))
    site.run(site.scheduler.wait("many-1", "60s"))
    added = browser.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": OBSERVE})
    try:
        browser.open(f"{site.url}/executions/many-1")
        text = "20,000 of 20,000 calls"
        browser.until(lambda: text in browser.text(), f"text {text!r}", seconds=LOADING_SECONDS)
        assert len(browser.bars()) < 100
        browser.script("document.querySelector('.rows').scrollTop = 1e9")
        browser.until(lambda: "row-19999" in browser.bars(), "the last row")
        browser.click("Fold idle time")
        browser.click("Failed only")
        browser.shows("0 of 20,000 calls")
        return browser.script("return window.seen")
    finally:
        browser.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def test_twenty_thousand_steps(browser: Browser, site: Site) -> None:
    assert look_through(browser, site)["first"] is not None


def main() -> None:
    with RedisProcess(default_server()) as server, Site(server.url, uuid4().hex, handlers.ALL) as site:
        driver = webdriver.Chrome(chromium_options(), Service(shutil.which("chromedriver")))
        try:
            seen = look_through(Browser(driver), site)
        finally:
            driver.quit()
    print(f"first view {seen['first']:.0f} ms, longest task {seen['longest']:.0f} ms")


if __name__ == "__main__":
    main()
