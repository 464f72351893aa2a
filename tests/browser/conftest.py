"""`dagster dev` with a worker of its own, and a browser that looks at it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from examples.demo.site import Site, choose_port
from tests.browser.console import PATIENCE_MILLISECONDS, Console
from tests.site_runs import run_site

HERE = Path(__file__).parent
SCREENSHOTS = HERE.parents[1] / "test-artifacts" / "browser"
TEST_SECONDS = 900


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)
            # Whole Dagster runs, on a machine that has other things to do.
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("dagster"), choose_port(0), "tests.browser.upstream_app:app")
    site.environment = {**site.environment, "FLOWCRAFT_NODE_ASSETS": "all"}
    with run_site(site):
        yield site


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        # In a container there is no sandbox to be had; only pages of this machine are opened.
        # A busy machine shows a page of the UI only after a while.
        expect.set_options(timeout=PATIENCE_MILLISECONDS)
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MILLISECONDS)
    # A fresh profile is asked to join a community; the dialog would take all clicks.
    page.add_locator_handler(page.get_by_role("button", name="Skip"), lambda button: button.click())
    yield page
    context.close()


@pytest.fixture
def console(site: Site, page: Page) -> Console:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    return Console(site, page, SCREENSHOTS)
