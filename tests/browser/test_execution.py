"""One execution: its steps over time, why it failed or waits, and the buttons that change that."""

from tests.browser.handlers import failed_order
from tests.browser.pages import Browser
from tests.browser.site import Site


def test_why_it_failed_is_seen_at_once(browser: Browser, site: Site) -> None:
    site.run(failed_order(site.scheduler))
    browser.open(f"{site.url}/executions/order-1")
    browser.shows("The execution failed", "the bank declined 42.00 EUR", "CardDeclined", "in charge_card")
    assert browser.bars() == {"reserve-stock": "completed", "settle": "completed", "charge-card": "failed"}
    assert browser.one("#step-panel h2").text == "charge-card"


def test_a_step_shows_its_attempts_and_its_result(browser: Browser, site: Site) -> None:
    site.run(failed_order(site.scheduler))
    browser.open(f"{site.url}/executions/order-1")
    assert len(browser.until(lambda: browser.all("[data-step=reserve-stock] .seg-failed"))) == 1
    assert len(browser.all("[data-step=reserve-stock] .seg-attempt")) == 1
    browser.one("[data-step=reserve-stock]").click()
    browser.until(lambda: browser.one("#step-panel h2").text == "reserve-stock", "the panel")
    browser.shows("Attempt 1 failed", "the warehouse closed the connection", '"shelf": "B-17"')
    browser.driver.refresh()
    browser.shows('"shelf": "B-17"')


def test_only_what_failed(browser: Browser, site: Site) -> None:
    site.run(failed_order(site.scheduler))
    browser.open(f"{site.url}/executions/order-1")
    browser.click("Failed only")
    browser.until(lambda: browser.bars() == {"charge-card": "failed"}, "the failed step alone")
    browser.click("Failed only")
    browser.until(lambda: len(browser.bars()) == 3, "all steps")


def test_idle_time_is_folded(browser: Browser, site: Site) -> None:
    site.run(failed_order(site.scheduler))
    browser.open(f"{site.url}/executions/order-1?step=")
    browser.until(lambda: len(browser.bars()) == 3, "the steps")
    asleep, worked = browser.width_of("settle"), browser.width_of("charge-card")
    browser.click("Fold idle time")
    browser.until(lambda: browser.width_of("settle") < asleep / 3, "a narrow sleep")
    assert browser.width_of("charge-card") > 1.5 * worked


def test_a_wait_shows_its_due_time_and_its_end(browser: Browser, site: Site) -> None:
    site.run(site.scheduler.start("parcel-1", "delivery", None))
    browser.open(f"{site.url}/executions/parcel-1")
    browser.shows("Waits for event shipped", "due in 6d", "2 of 5 (40%) packed")
    assert browser.bars()["shipped"] == "waiting"
    site.run(site.scheduler.offer_event("parcel-1", "shipped", {"tracking": "Z-1"}))
    browser.until(lambda: browser.bars().get("shipped") == "completed", "the event, live")
    browser.shows('"tracking": "Z-1"')
    browser.lacks("Waits for event shipped")


def test_an_unknown_id_says_so(browser: Browser, site: Site) -> None:
    browser.expected_messages.append("404")
    browser.open(f"{site.url}/executions/nobody")
    browser.shows("execution_not_found", "All executions")


def test_a_long_payload_is_capped_and_can_be_copied(browser: Browser, site: Site) -> None:
    site.run(site.scheduler.start("long", "echo", "x" * 100_000))
    browser.open(f"{site.url}/executions/long")
    browser.shows("Output", "97.7 KB")
    assert len(browser.text()) < 20_000
    browser.click("Copy", within=".payload")
    browser.button("Copied")
    browser.click("Show all 97.7 KB")
    browser.until(lambda: len(browser.text()) > 100_000, "all of it")
