"""A run of 20,000 steps: the first view comes at once, only what is in view is drawn, and nothing stalls."""

from tests.browser.pages import Browser
from tests.browser.site import Site

STEPS = 20_000
FIRST_VIEW_MS = 1500
LONGEST_TASK_MS = 200
TRIES = 3  # what else runs on the machine can only make it slower

OBSERVE = """
window.seen = {first: null, longest: 0};
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.seen.longest = Math.max(window.seen.longest, entry.duration);
}).observe({type: 'longtask', buffered: true});
new MutationObserver(() => {
  if (window.seen.first === null && document.querySelector('[data-step]')) window.seen.first = performance.now();
}).observe(document, {subtree: true, childList: true});
"""


def test_twenty_thousand_steps(browser: Browser, site: Site) -> None:
    site.run(site.scheduler.start("many-1", "many", STEPS))
    site.run(site.scheduler.wait("many-1", "60s"))
    added = browser.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": OBSERVE})
    try:
        tries = [look_around(browser, f"{site.url}/executions/many-1") for _ in range(TRIES)]
    finally:
        browser.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
    assert min(seen["first"] for seen in tries) < FIRST_VIEW_MS
    assert min(seen["longest"] for seen in tries) < LONGEST_TASK_MS


def look_around(browser: Browser, url: str) -> dict[str, float]:
    """When the first step was drawn, and the longest task of the main thread, in ms."""
    browser.open(url)
    browser.shows("20,000 of 20,000 calls")
    assert len(browser.bars()) < 100
    browser.script("document.querySelector('.rows').scrollTop = 1e9")
    browser.until(lambda: "row-19999" in browser.bars(), "the last row")
    browser.click("Fold idle time")
    browser.click("Failed only")
    browser.shows("0 of 20,000 calls")
    seen: dict[str, float] = browser.script("return window.seen")
    return seen
