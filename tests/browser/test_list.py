"""The list of executions: filters in the address, pages, live changes, what is wrong, what to do first."""

from collections.abc import Callable

from selenium.webdriver import ActionChains

import zart_redis as zart
from tests.browser.pages import Browser
from tests.browser.site import Site


async def start_some(site: Site, number: int, task: str = "echo", queue: str | None = None) -> None:
    for index in range(number):
        await site.scheduler.start(f"{task}-{index:03}", task, index, queue=queue)


def test_an_empty_list_teaches_how_to_begin(browser: Browser, site: Site) -> None:
    browser.open(f"{site.url}/")
    browser.shows("No executions yet", "@zart_durable", "zart-worker --queue default")
    site.run(site.scheduler.start("order-1", "echo", None))
    browser.until(lambda: browser.rows() == ["order-1"], "the execution, without a reload")
    browser.lacks("No executions yet")


def test_filters_are_in_the_address(browser: Browser, site: Site) -> None:
    site.run(start_some(site, 2))
    site.run(start_some(site, 1, "delivery"))
    site.run(site.scheduler.start("tagged", "echo", None, tags={"customer": "acme"}))
    browser.open(f"{site.url}/")
    browser.until(lambda: len(browser.rows()) == 4, "all of them")
    browser.enter("Task", "delivery")
    browser.until(lambda: browser.rows() == ["delivery-000"], "one task")
    assert browser.path == "/?task_name=delivery"
    browser.driver.back()
    browser.until(lambda: len(browser.rows()) == 4, "all of them again")
    browser.enter("Tag", "customer:acme")
    browser.until(lambda: browser.rows() == ["tagged"], "one tag")
    assert browser.path == "/?tag=customer%3Aacme"
    browser.driver.refresh()
    browser.until(lambda: browser.rows() == ["tagged"], "the same after a reload")
    browser.enter("Id begins with", "echo")
    browser.shows("No execution matches.")
    browser.one(".empty a").click()
    browser.until(lambda: len(browser.rows()) == 4, "no filter")


def test_a_status_is_a_link_with_its_count(browser: Browser, site: Site) -> None:
    site.run(start_some(site, 3))
    site.run(start_some(site, 1, "delivery"))
    browser.open(f"{site.url}/")
    browser.until(lambda: "completed 3" in browser.one(".tabs").text.replace("\n", " "), "the count")
    next(link for link in browser.all(".tabs a") if link.text.startswith("waiting")).click()
    browser.until(lambda: browser.rows() == ["delivery-000"], "those that wait")
    assert browser.path == "/?status=waiting"


def test_next_shows_the_next_page(browser: Browser, site: Site) -> None:
    site.run(start_some(site, 60))
    browser.open(f"{site.url}/?order=oldest")
    browser.until(lambda: len(browser.rows()) == 50, "a page")
    assert browser.rows()[0] == "echo-000"
    browser.click("Next")
    browser.until(lambda: browser.rows() == [f"echo-{index:03}" for index in range(50, 60)], "the other page")
    assert not browser.button("Next").is_enabled()
    browser.driver.back()
    browser.until(lambda: browser.rows()[:1] == ["echo-000"], "the first page")


def test_rows_do_not_move_under_the_pointer(browser: Browser, site: Site) -> None:
    site.run(start_some(site, 2))
    browser.open(f"{site.url}/")
    browser.until(lambda: len(browser.rows()) == 2, "both")
    ActionChains(browser.driver).move_to_element(browser.one("[data-execution-id]")).perform()
    site.run(site.scheduler.start("zebra", "echo", None))
    browser.shows("Show 1 new execution")
    assert browser.rows() == ["echo-001", "echo-000"]
    browser.click("Show 1 new execution")
    browser.until(lambda: browser.rows() == ["zebra", "echo-001", "echo-000"], "the new one, first")


def test_what_is_wrong_is_above_the_list(browser: Browser, site: Site) -> None:
    site.run(site.scheduler.start("order-1", "checkout", {"item": "lamp"}))
    site.run(site.scheduler.start("render-1", "echo", None, queue="gpu"))
    browser.open(f"{site.url}/")
    browser.shows("queue gpu has work and no worker", "1 execution failed")
    next(link for link in browser.all(".problems a") if link.text == "1 execution failed").click()
    browser.until(lambda: browser.rows() == ["order-1"], "the failed one")


def test_ids_of_any_character_open(browser: Browser, site: Site) -> None:
    ids = ["a/b", "50%", "%2F", "ü ?#&", "a.b", "<b>bold</b>"]
    for execution_id in ids:
        site.run(site.scheduler.start(execution_id, "echo", execution_id))
    for execution_id in ids:
        browser.open(f"{site.url}/?order=oldest")
        browser.until(lambda: len(browser.rows()) == len(ids), "all")
        next(link for link in browser.all("[data-execution-id] th a") if link.text == execution_id).click()
        browser.until(lambda execution_id=execution_id: browser.one("h1").text == execution_id, execution_id)  # type: ignore[misc]
        browser.shows("Output")


def test_the_page_works_under_a_prefix(browser: Browser, make_site: Callable[..., Site]) -> None:
    site = make_site(prefix="/tools/zart")
    site.run(start_some(site, 1))
    browser.open(f"{site.url}/")
    browser.until(lambda: browser.rows() == ["echo-000"], "the execution")
    browser.one("[data-execution-id] th a").click()
    browser.shows("Output")
    assert browser.path == "/tools/zart/executions/echo-000"
    for view in ("Queues", "Workers", "Executions"):
        next(link for link in browser.all("nav a") if link.text == view).click()
        browser.until(lambda view=view: browser.one("h1").text == view, view)  # type: ignore[misc]
    assert browser.path == "/tools/zart/"


def test_the_list_of_100000_executions(browser: Browser, make_site: Callable[..., Site]) -> None:
    site = make_site(handlers=[])
    for lot in range(20):
        requests = [
            zart.StartRequest(
                f"e-{lot:02}{index:04}", "echo", tags={"customer": "acme" if (lot, index) == (3, 7) else "-"}
            )
            for index in range(5000)
        ]
        site.run(site.scheduler.start_many(requests))
    browser.open(f"{site.url}/?task_name=echo")
    browser.until(lambda: len(browser.rows()) == 50, "a page")
    browser.until(lambda: "all 100,000" in browser.one(".tabs").text.replace("\n", " "), "the count")
    browser.open(f"{site.url}/?tag=customer:acme")
    browser.until(lambda: browser.rows() == ["e-030007"], "the only one")
    browser.open(f"{site.url}/?id_prefix=e-1949")
    browser.until(
        lambda: len(browser.rows()) == 50 and all(row.startswith("e-1949") for row in browser.rows()), "by id"
    )
