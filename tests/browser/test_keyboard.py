"""Everything can be done without a pointer, and dialogs hold the focus."""

from selenium.webdriver import Keys

from tests.browser.pages import Browser
from tests.browser.site import Site


def test_a_dialog_holds_the_focus_and_gives_it_back(browser: Browser, site: Site) -> None:
    site.run(site.scheduler.start("parcel-1", "delivery", None))
    browser.open(f"{site.url}/executions/parcel-1")
    button = browser.button("Cancel")
    button.send_keys(Keys.ENTER)
    dialog = browser.one("[role=dialog]")
    assert dialog.accessible_name == "Cancel this execution"
    for key in (Keys.TAB,) * 6 + (Keys.SHIFT + Keys.TAB,) * 6:
        browser.press(key)
        assert browser.script("return document.querySelector('[role=dialog]').contains(document.activeElement)")
    browser.press(Keys.ESCAPE)
    browser.until(lambda: not browser.all("[role=dialog]"), "the end of the dialog")
    browser.until(lambda: browser.focused() == "Cancel", "the focus on the button")
    assert site.run(site.scheduler.status("parcel-1")).status == "waiting"


def test_the_focus_is_not_lost_with_the_button(browser: Browser, site: Site) -> None:
    site.run(site.scheduler.start("parcel-1", "delivery", None))
    browser.open(f"{site.url}/executions/parcel-1")
    browser.confirm("Cancel")
    browser.until(lambda: not browser.has_button("Cancel"), "no button")
    browser.until(lambda: browser.focused() in ("parcel-1", "Restart"), "the focus in the page")


def test_the_rows_of_the_waterfall_are_moved_through_by_arrows(browser: Browser, site: Site) -> None:
    site.run(site.scheduler.start("many-1", "many", 60))
    browser.open(f"{site.url}/executions/many-1")
    browser.until(lambda: browser.bars(), "steps")
    browser.one(".name").send_keys(Keys.ARROW_DOWN)
    browser.until(lambda: browser.focused().startswith("row-1"), "the second row")
    browser.press(Keys.END)
    browser.until(lambda: browser.focused().startswith("row-59"), "the last row, which was not drawn")
    browser.press(Keys.ENTER)
    browser.until(lambda: browser.one("#step-panel h2").text == "row-59", "the step")


def test_the_theme_and_the_zone_are_remembered(browser: Browser, site: Site) -> None:
    browser.open(f"{site.url}/")
    light = browser.script("return getComputedStyle(document.body).backgroundColor")
    browser.click("Theme: auto")
    browser.click("Theme: light")
    browser.button("Theme: dark")
    assert browser.script("return getComputedStyle(document.body).backgroundColor") != light
    browser.driver.refresh()
    browser.button("Theme: dark")
