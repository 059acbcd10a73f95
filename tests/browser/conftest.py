"""The browser of these tests is Debian's chromium. Where it is not installed, they are skipped."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from tests.browser import handlers
from tests.browser.pages import Browser, chromium_options
from tests.browser.site import Site
from tests.support.servers import RedisProcess, default_server

CHROMIUM = shutil.which("chromium")
CHROMEDRIVER = shutil.which("chromedriver")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisProcess]:
    """One version is enough: the page sees only the API."""
    with RedisProcess(default_server()) as server:
        yield server


@pytest.fixture(scope="session")
def driver() -> Iterator[webdriver.Chrome]:
    if CHROMIUM is None or CHROMEDRIVER is None:
        pytest.skip("chromium and chromedriver are not installed (apt-get install chromium chromium-driver)")
    driver = webdriver.Chrome(chromium_options(), Service(CHROMEDRIVER))
    driver.set_script_timeout(10)
    yield driver
    driver.quit()


@pytest.fixture
def browser(driver: webdriver.Chrome) -> Iterator[Browser]:
    """A page without settings or cookies. A message in the console fails the test, such as a violated CSP."""
    driver.get("about:blank")
    driver.get_log("browser")  # type: ignore[no-untyped-call]
    browser = Browser(driver)
    yield browser
    browser.forget()
    messages = [entry["message"] for entry in driver.get_log("browser")]  # type: ignore[no-untyped-call]
    unexpected = [message for message in messages if not any(text in message for text in browser.expected_messages)]
    assert not unexpected, unexpected


@pytest.fixture
def make_site(redis_url: str, namespace: str, driver: webdriver.Chrome) -> Iterator[Callable[..., Site]]:
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(Site(redis_url, namespace, **{"handlers": handlers.ALL, **options}))
        driver.get("about:blank")  # its page asks for more while the server stops


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    return make_site()


@pytest.fixture(autouse=True)
def failing_steps() -> Iterator[set[str]]:
    """Names of the steps that fail; `charge-card` by default."""
    handlers.failing.clear()
    handlers.failing.add("charge-card")
    yield handlers.failing
    handlers.failing.clear()
