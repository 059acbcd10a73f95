"""The picture of docs/dashboard.md: `python -m tests.browser.screenshot`."""

import shutil
from pathlib import Path
from uuid import uuid4

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from tests.browser import handlers
from tests.browser.pages import Browser, chromium_options
from tests.browser.site import Site
from tests.support.servers import RedisProcess, default_server

PICTURE = Path(__file__).parents[2] / "docs/images/dashboard.png"


def main() -> None:
    handlers.failing.add("charge-card")
    with RedisProcess(default_server()) as server, Site(server.url, uuid4().hex, handlers.ALL) as site:
        site.run(handlers.failed_order(site.scheduler))
        driver = webdriver.Chrome(chromium_options(), Service(shutil.which("chromedriver")))
        try:
            browser = Browser(driver)
            browser.open(f"{site.url}/executions/order-1?fold=1")
            browser.shows("the bank declined")
            browser.screenshot(str(PICTURE))
        finally:
            driver.quit()


if __name__ == "__main__":
    main()
