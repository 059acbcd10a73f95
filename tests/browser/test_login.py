"""The login: a token becomes a session; what its scopes do not allow is said."""

from collections.abc import Callable

from selenium.webdriver import Keys

from tests.browser.pages import Browser
from tests.browser.site import Site
from zart_redis.client.tokens import Tokens


def log_in(browser: Browser, token: str) -> None:
    field = browser.one("input[type=password]")
    field.clear()
    field.send_keys(token, Keys.ENTER)


def test_a_token_logs_in_and_out(browser: Browser, make_site: Callable[..., Site]) -> None:
    browser.expected_messages.append("401")
    site = make_site(auth="tokens")
    added = site.run(Tokens(site.scheduler).add("ops", ["read", "payloads", "operate"]))
    site.run(site.scheduler.start("echo-1", "echo", {"secret": "payload"}))
    browser.open(f"{site.url}/executions/echo-1")
    log_in(browser, "zart_wrong")
    browser.shows("unauthenticated")
    log_in(browser, added.token)
    browser.shows("Output", '"secret": "payload"')
    browser.driver.refresh()
    browser.shows('"secret": "payload"')
    assert "zart_session" not in browser.script("return document.cookie")
    browser.click("Log out")
    browser.one("input[type=password]")
    browser.driver.refresh()
    browser.one("input[type=password]")


def test_the_removal_of_a_token_ends_its_session(browser: Browser, make_site: Callable[..., Site]) -> None:
    browser.expected_messages.append("401")
    site = make_site(auth="tokens")
    added = site.run(Tokens(site.scheduler).add("ops", ["read"]))
    browser.open(f"{site.url}/")
    log_in(browser, added.token)
    browser.shows("No executions yet")
    site.run(Tokens(site.scheduler).remove("ops"))
    browser.one("input[type=password]")


def test_without_payloads_and_rights(browser: Browser, make_site: Callable[..., Site]) -> None:
    browser.expected_messages += ["401", "403"]
    site = make_site(auth="tokens")
    added = site.run(Tokens(site.scheduler).add("looker", ["read"]))
    site.run(site.scheduler.start("parcel-1", "delivery", {"secret": "payload"}))
    browser.open(f"{site.url}/executions/parcel-1")
    log_in(browser, added.token)
    browser.until(lambda: browser.bars().get("shipped") == "waiting", "the steps")
    assert "secret" not in browser.text()
    browser.click("Cancel")
    browser.click("Confirm", within="[role=dialog]")
    browser.shows("forbidden", "Log in with a token that has the scope for it.")
    assert site.run(site.scheduler.status("parcel-1")).status == "waiting"
