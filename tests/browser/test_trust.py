"""What comes from outside is shown as text, nothing is loaded from elsewhere, and the policy forbids the rest."""

from collections.abc import Callable

import zart_redis as zart
from tests.browser.pages import Browser
from tests.browser.site import Site
from zart_redis import zart_durable, zart_step

PROBE = "<img src=x onerror=\"window.hacked='{}'\"><script>window.hacked='{}'</script>'\"&lt;"


@zart_step
async def broken(text: str) -> None:
    raise ValueError(text)


@zart_step
async def fine(text: str) -> str:
    return text


@zart_durable("probes")
async def probes(text: str) -> None:
    zart.progress(1, 3, text)
    await fine(text).named(f"{text} fine")
    await broken(text).named(text)


def hacked(browser: Browser) -> object:
    return browser.script("return window.hacked || null")


def test_text_from_outside_is_no_markup(browser: Browser, site: Site) -> None:
    scheduler = site.scheduler
    site.run(scheduler.start(PROBE, PROBE, PROBE, queue=PROBE, tags={"customer": PROBE}))
    site.run(scheduler.pause(task_name=PROBE, step_pattern=PROBE))
    browser.open(f"{site.url}/")
    browser.shows(PROBE, f"queue {PROBE} has work and no worker")
    browser.one("[data-execution-id] th a").click()
    browser.until(lambda: browser.one("h1").text == PROBE, "the execution")
    for view in ("Queues", "Workers", "Recurring", "Limits"):
        next(link for link in browser.all("nav a") if link.text == view).click()
        browser.until(lambda view=view: browser.one("h1").text == view, view)  # type: ignore[misc]
    assert hacked(browser) is None


def test_errors_results_and_names_of_steps_are_no_markup(browser: Browser, make_site: Callable[..., Site]) -> None:
    site = make_site(handlers=[probes])
    site.run(site.scheduler.start("p", "probes", PROBE))
    site.run(site.scheduler.wait("p", "10s"))
    browser.open(f"{site.url}/executions/p")
    browser.shows(f"ValueError: {PROBE}"[:40], "The execution failed")
    assert browser.bars() == {f"{PROBE} fine": "completed", PROBE: "failed"}
    browser.one("[data-status=completed]").click()
    browser.until(lambda: browser.one("#step-panel h2").text == f"{PROBE} fine", "the step")
    browser.shows("Result")
    assert hacked(browser) is None


def test_direction_marks_are_visible(browser: Browser, site: Site) -> None:
    site.run(site.scheduler.start("bidi", "echo", "a\u202eb"))
    browser.open(f"{site.url}/executions/bidi")
    browser.shows("a\\u202eb")


def test_nothing_is_loaded_from_elsewhere(browser: Browser, site: Site) -> None:
    site.run(site.scheduler.start("e", "echo", 1))
    browser.open(f"{site.url}/executions/e")
    browser.shows("Output")
    names = browser.script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert len(names) > 20
    assert {"/".join(name.split("/")[:3]) for name in names} == {site.url}


def test_scripts_in_the_document_are_refused(browser: Browser, site: Site) -> None:
    browser.expected_messages.append("Content Security Policy")
    browser.open(f"{site.url}/")
    browser.shows("Executions")
    browser.script("""
        const script = document.createElement('script');
        script.textContent = "window.hacked = 'inline'";
        document.body.append(script);
        const button = document.createElement('button');
        button.setAttribute('onclick', "window.hacked = 'attribute'");
        document.body.append(button);
        button.click();""")
    assert hacked(browser) is None
