"""A run of 20,000 steps: the first view comes at once, only what is in view is drawn, and nothing stalls."""

from tests.browser.pages import Browser
from tests.browser.site import Site

STEPS = 20_000
FIRST_VIEW_MS = 1500
LONGEST_TASK_MS = 200

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
        browser.open(f"{site.url}/executions/many-1")
        browser.shows("20,000 of 20,000 calls")
        assert len(browser.bars()) < 100
        browser.script("document.querySelector('.rows').scrollTop = 1e9")
        browser.until(lambda: "row-19999" in browser.bars(), "the last row")
        browser.click("Fold idle time")
        browser.click("Failed only")
        browser.shows("0 of 20,000 calls")
        seen = browser.script("return window.seen")
    finally:
        browser.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
    assert seen["first"] < FIRST_VIEW_MS
    assert seen["longest"] < LONGEST_TASK_MS
