"""The buttons of one execution: each asks, acts, and says what came of it."""

from tests.browser.handlers import failed_order
from tests.browser.pages import Browser
from tests.browser.site import Site


def test_the_failed_step_is_retried_from_the_page(browser: Browser, site: Site, failing_steps: set[str]) -> None:
    site.run(failed_order(site.scheduler))
    browser.open(f"{site.url}/executions/order-1")
    failing_steps.clear()
    browser.confirm("Retry step")
    browser.shows("Step charge-card runs again.")
    browser.until(lambda: browser.bars().get("send-mail-2") == "completed", "the other steps, live")
    browser.shows("charge-4711")
    assert not browser.has_button("Retry step")
    assert site.run(site.scheduler.status("order-1")).run == 1


def test_restarting_with_another_input(browser: Browser, site: Site, failing_steps: set[str]) -> None:
    site.run(site.scheduler.start("echo-1", "echo", {"n": 1}))
    browser.open(f"{site.url}/executions/echo-1")
    browser.shows("Output")
    browser.click("Restart")
    field = browser.one("[role=dialog] textarea")
    field.clear()
    field.send_keys("{ not JSON")
    browser.click("Confirm", within="[role=dialog]")
    browser.shows("JSON")  # the browser's own words
    assert browser.all("[role=dialog] [role=alert]")
    field.clear()
    field.send_keys('{"n": 2}')
    browser.click("Confirm", within="[role=dialog]")
    browser.shows("Restarted echo-1 as run 2.", '"n": 2')
    assert site.run(site.scheduler.status("echo-1")).output == {"n": 2}


def test_cancelling_with_a_reason(browser: Browser, site: Site) -> None:
    site.run(site.scheduler.start("parcel-1", "delivery", None))
    browser.open(f"{site.url}/executions/parcel-1")
    browser.click("Cancel")
    browser.one("[role=dialog] input").send_keys("ordered twice")
    browser.click("Confirm", within="[role=dialog]")
    browser.shows("Cancelled parcel-1.", "ordered twice")
    browser.until(lambda: not browser.has_button("Cancel"), "no button for what has ended")
    record = site.run(site.scheduler.status("parcel-1"))
    assert (record.status, record.reason) == ("cancelled", "ordered twice")


def test_pausing_and_resuming(browser: Browser, site: Site) -> None:
    site.run(site.scheduler.start("parcel-1", "delivery", None))
    browser.open(f"{site.url}/executions/parcel-1")
    browser.confirm("Pause")
    browser.shows("Paused parcel-1")
    assert [rule.execution_id for rule in site.run(site.scheduler.list_pause_rules())] == ["parcel-1"]
    browser.confirm("Resume")
    browser.shows("Resumed parcel-1")
    assert site.run(site.scheduler.list_pause_rules()) == []
    browser.button("Pause")


def test_what_fails_is_said_in_the_dialog(browser: Browser, site: Site, failing_steps: set[str]) -> None:
    site.run(failed_order(site.scheduler))
    browser.open(f"{site.url}/executions/order-1")
    browser.click("Retry step")
    failing_steps.clear()
    site.run(site.scheduler.retry_step("order-1", "charge-card"))
    browser.expected_messages.append("409")
    browser.click("Confirm", within="[role=dialog]")
    assert browser.one("[role=dialog] [role=alert] strong").text.startswith("execution_")


def test_earlier_runs_can_be_looked_at(browser: Browser, site: Site, failing_steps: set[str]) -> None:
    site.run(failed_order(site.scheduler))
    failing_steps.clear()
    site.run(site.scheduler.restart("order-1"))
    browser.open(f"{site.url}/executions/order-1?run=1")
    browser.shows("The execution failed", "1: failed")
    assert not browser.has_button("Restart")
