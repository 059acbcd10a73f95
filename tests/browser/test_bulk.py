"""One action on all executions that the filter selects: counted, confirmed, and followed to its end."""

from tests.browser.pages import Browser
from tests.browser.site import Site


async def some_waiting(site: Site, number: int) -> None:
    for index in range(number):
        await site.scheduler.start(f"parcel-{index:02}", "delivery", None)
    await site.scheduler.start("echo-1", "echo", None)


def test_all_that_match_are_cancelled(browser: Browser, site: Site) -> None:
    site.run(some_waiting(site, 12))
    browser.open(f"{site.url}/")
    browser.until(lambda: len(browser.rows()) == 13, "all")
    assert not browser.has_button("Cancel all")  # without a filter
    browser.open(f"{site.url}/?task_name=delivery")
    browser.click("Cancel all")
    browser.shows("Cancel all: task_name delivery", "12 executions match the filter.")
    browser.click("Confirm", within="[role=dialog]")
    browser.shows("12 of 12 done: completed")
    browser.click("Close", within="[role=dialog]")
    browser.until(lambda: len(browser.all(".row-cancelled")) == 12, "the list, renewed")
    assert site.run(site.scheduler.count_executions(status="cancelled")) == 12


def test_nothing_is_changed_without_confirmation(browser: Browser, site: Site) -> None:
    site.run(some_waiting(site, 1))
    browser.open(f"{site.url}/?status=waiting")
    browser.click("Cancel all")
    browser.shows("1 execution matches the filter.")
    browser.click("Close", within="[role=dialog]")
    browser.until(lambda: not browser.all("[role=dialog]"), "the end of the dialog")
    assert site.run(site.scheduler.status("parcel-00")).status == "waiting"


def test_what_failed_is_retried(browser: Browser, site: Site, failing_steps: set[str]) -> None:
    for index in range(3):
        site.run(site.scheduler.start(f"order-{index}", "checkout", {"item": "lamp"}))
        site.run(site.scheduler.wait(f"order-{index}", "10s"))
    failing_steps.clear()
    site.run(site.scheduler.start("order-fine", "checkout", {"item": "lamp"}))
    browser.open(f"{site.url}/?status=failed")
    assert len(browser.until(browser.rows)) == 3
    browser.button("Retry all failed")
    assert not browser.has_button("Cancel all")  # they have ended
    browser.open(f"{site.url}/?task_name=checkout")
    browser.click("Retry all failed")
    browser.shows("Retry all failed: task_name checkout; status failed", "3 executions match the filter.")
    browser.click("Confirm", within="[role=dialog]")
    browser.shows("3 of 3 done: completed")
    for index in range(3):
        assert site.run(site.scheduler.wait(f"order-{index}", "10s")).status == "completed"
