"""Queues, workers, recurring executions and limits."""

from typing import Any

import zart_redis as zart
from tests.browser.pages import Browser
from tests.browser.site import Site
from zart_redis import zart_durable

TENANT = zart.Limit("tenant", concurrency=2)


@zart_durable("limited", limits=[TENANT])
async def limited(data: Any) -> Any:
    return await zart.wait_for_event("go")


def cells(browser: Browser, css: str) -> str:
    return browser.one(css).text


def test_a_queue_is_paused_and_resumed(browser: Browser, site: Site) -> None:
    site.run(site.scheduler.start("render-1", "echo", None, queue="gpu"))
    browser.open(f"{site.url}/queues")
    browser.until(lambda: "no worker" in cells(browser, "[data-queue=gpu]"), "a queue without a worker")
    browser.click("Pause", within="[data-queue=gpu]")
    browser.click("Confirm", within="[role=dialog]")
    browser.until(lambda: "paused" in cells(browser, "[data-queue=gpu]"), "a paused queue")
    browser.shows("Pause rules")
    browser.click("Resume", within="[data-queue=gpu]")
    browser.click("Confirm", within="[role=dialog]")
    browser.until(lambda: "no worker" in cells(browser, "[data-queue=gpu]"), "a resumed queue")
    assert site.run(site.scheduler.list_pause_rules()) == []


def test_workers_show_what_they_run(browser: Browser, site: Site) -> None:
    [worker] = browser.until(lambda: site.run(site.scheduler.workers()), "a heartbeat")
    browser.open(f"{site.url}/workers")
    browser.until(lambda: worker.worker_id in cells(browser, "[data-worker]"), "the worker")
    assert f"{worker.host}, {worker.pid}" in cells(browser, "[data-worker]")


def test_a_recurring_execution_is_triggered_paused_and_resumed(browser: Browser, site: Site) -> None:
    browser.open(f"{site.url}/recurring")
    browser.shows("Nothing is recurring.")
    site.run(
        site.scheduler.start_recurring(
            "nightly", "echo", "report-{occurrence}", cron="0 3 * * *", timezone="Asia/Tokyo"
        )
    )
    browser.until(lambda: "0 3 * * * Asia/Tokyo" in cells(browser, "[data-recurring]"), "the schedule")
    browser.confirm("Trigger")
    browser.shows("Started report-0.")
    browser.confirm("Pause")
    browser.until(lambda: "paused" in cells(browser, "[data-recurring]"), "paused")
    browser.confirm("Resume")
    browser.until(lambda: "active" in cells(browser, "[data-recurring]"), "active")


def test_limits_show_what_is_in_use_and_waits(browser: Browser, make_site: Any) -> None:
    site: Site = make_site(handlers=[limited])
    browser.open(f"{site.url}/limits")
    for index in range(3):
        site.run(site.scheduler.start(f"limited-{index}", "limited", None))
    browser.until(lambda: "2/2" in cells(browser, "[data-limit=tenant]"), "two slots")
    browser.until(lambda: cells(browser, "[data-limit=tenant]").endswith("1"), "one that waits")
