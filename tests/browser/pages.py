"""What the tests do with the page, in terms of what people see."""

import shutil
import time
from collections.abc import Callable
from typing import Any, TypeVar

from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver import ActionChains, Chrome, ChromeOptions, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

T = TypeVar("T")

SECONDS = 30.0
SWITCHES = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1440,900")


def chromium_options() -> ChromeOptions:
    """Debian's chromium without a window, whose console can be read."""
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for switch in SWITCHES:
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return options


class Browser:
    """A tab."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver
        self.expected_messages: list[str] = []
        """Parts of messages that the test provokes in the console."""
        self._origin = ""

    def open(self, url: str) -> None:
        self._origin = "/".join(url.split("/")[:3])
        self.driver.get(url)

    def forget(self) -> None:
        """Remove settings and cookies of the page."""
        if self._origin and self.driver.current_url.startswith(self._origin):
            self.script("localStorage.clear()")
        self.driver.delete_all_cookies()

    @property
    def path(self) -> str:
        return self.driver.current_url.removeprefix(self._origin)

    def script(self, source: str, *arguments: Any) -> Any:
        return self.driver.execute_script(source, *arguments)

    def until(self, read: Callable[[], T], what: str = "", seconds: float = SECONDS) -> T:
        """The value of `read` when it is true: the page may be drawing."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if value := read():
                    return value
            except StaleElementReferenceException:
                pass
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds} s: {what}; the page shows\n{self.text()[:2000]}")
            time.sleep(0.03)

    def text(self) -> str:
        return str(self.script("return document.body.innerText"))

    def shows(self, *texts: str) -> None:
        """Wait until the page shows all the texts."""
        for text in texts:
            self.until(lambda text=text: text in self.text(), f"text {text!r}")  # type: ignore[misc]

    def lacks(self, text: str) -> None:
        self.until(lambda: text not in self.text(), f"no text {text!r}")

    def all(self, css: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def one(self, css: str) -> WebElement:
        return self.until(lambda: self.all(css), css)[0]

    def button(self, name: str, within: str = "") -> WebElement:
        """The button with exactly this text."""

        def find() -> list[WebElement]:
            return [element for element in self.all(f"{within} button") if element.text == name]

        return self.until(find, f"button {name!r}")[0]

    def has_button(self, name: str) -> bool:
        return any(element.text == name for element in self.all("button"))

    def click(self, name: str, within: str = "") -> None:
        def click() -> bool:
            self.button(name, within).click()
            return True

        self.until(click, f"click on {name!r}")

    def confirm(self, name: str) -> None:
        """Press a button, and confirm its dialog."""
        self.click(name, within="main")
        assert self.one("[role=dialog]").accessible_name
        self.click("Confirm", within="[role=dialog]")
        self.until(lambda: not self.all("[role=dialog]"), "the end of the dialog")

    def press(self, *keys: str) -> None:
        ActionChains(self.driver).send_keys(*keys).perform()

    def enter(self, label: str, text: str) -> None:
        """Fill in the field with this label, and press Enter."""

        def find() -> list[WebElement]:
            return [element for element in self.all("label") if element.text.split("\n")[0] == label]

        field = self.until(find, f"field {label!r}")[0].find_element(By.CSS_SELECTOR, "input")
        field.clear()
        field.send_keys(text, Keys.ENTER)

    def rows(self) -> list[str]:
        """The executions that the list shows."""
        return list(
            self.script("return [...document.querySelectorAll('[data-execution-id]')].map(e => e.dataset.executionId)")
        )

    def bars(self) -> dict[str, str]:
        """The steps that the waterfall shows, with their status."""
        source = "return [...document.querySelectorAll('[data-step]')].map(e => [e.dataset.step, e.dataset.status])"
        return dict(self.script(source))

    def width_of(self, step: str) -> float:
        """The width in pixels of the segments of a bar."""
        source = """
            const bars = [...document.querySelectorAll('[data-step]')];
            const bar = bars.find(e => e.dataset.step === arguments[0]);
            const widths = [...bar.querySelectorAll('.segment')].map(e => e.getBoundingClientRect().width);
            return widths.reduce((sum, width) => sum + width, 0);"""
        return float(self.script(source, step))

    def focused(self) -> str:
        """The text of the element with the focus."""
        return str(self.script("return document.activeElement.innerText"))

    def screenshot(self, path: str) -> None:
        if not self.driver.save_screenshot(path):
            raise WebDriverException(f"no screenshot at {path}")
