"""A server that is away for a while: the page says so, keeps what it shows, and recovers by itself."""

from tests.browser.pages import Browser
from tests.browser.site import Site

REFUSED = "net::ERR_CONNECTION_REFUSED"


def test_the_list_recovers(browser: Browser, site: Site) -> None:
    browser.expected_messages += [REFUSED, "net::ERR_CONNECTION_RESET", "net::ERR_EMPTY_RESPONSE"]
    site.run(site.scheduler.start("echo-1", "echo", 1))
    browser.open(f"{site.url}/")
    browser.until(lambda: browser.rows() == ["echo-1"], "the execution")
    site.run(site.stop_server())
    browser.shows("The server does not respond.")
    assert browser.rows() == ["echo-1"]
    site.run(site.scheduler.start("echo-2", "echo", 1))
    site.run(site.start_server())
    browser.until(lambda: browser.rows() == ["echo-2", "echo-1"], "both")
    browser.lacks("The server does not respond.")


def test_an_execution_recovers(browser: Browser, site: Site) -> None:
    browser.expected_messages += [REFUSED, "net::ERR_CONNECTION_RESET", "net::ERR_EMPTY_RESPONSE"]
    site.run(site.scheduler.start("parcel-1", "delivery", None))
    browser.open(f"{site.url}/executions/parcel-1")
    browser.until(lambda: browser.bars().get("shipped") == "waiting", "the wait")
    site.run(site.stop_server())
    browser.shows("The server does not respond.")
    assert browser.bars()["shipped"] == "waiting"
    site.run(site.scheduler.offer_event("parcel-1", "shipped", "now"))
    site.run(site.start_server())
    browser.until(lambda: browser.bars().get("shipped") == "completed", "the event")
    browser.lacks("The server does not respond.")
