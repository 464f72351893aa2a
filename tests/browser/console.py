"""What a person does in the Dagster UI, as steps of tests."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from examples.demo.site import Site
from flowcraft_dagster import Client, Settings, load_app


@dataclass(frozen=True)
class Console:
    """The UI of a site in a browser.

    Attributes:
        site: Dagster and the worker.
        page: the browser's page.
        screenshots: where pictures are kept.
    """

    site: Site
    page: Page
    screenshots: Path

    def open(self, path: str) -> None:
        """Open a page of the UI."""
        # Not "networkidle": the UI asks for news for ever.
        self.page.goto(f"{self.site.address}{path}", wait_until="domcontentloaded")

    def open_asset(self, path: str, view: str = "overview") -> None:
        """Open an asset's page."""
        self.open(f"/assets/flowcraft/{path}?view={view}")

    def launch(self, job: str, config: dict[str, Any]) -> str:
        """Write a config into the Launchpad of a job and launch it; returns the Dagster run's id."""
        self.open(f"/locations/flowcraft_dagster/jobs/{job}/playground")
        self.page.locator(".CodeMirror").first.click()
        self.page.keyboard.press("Control+A")
        # JSON is YAML, and needs none of the editor's indentation.
        self.page.keyboard.insert_text(json.dumps(config, indent=2))
        expect(self.page.get_by_text("No errors")).to_be_visible()
        self.keep(f"{job}-launchpad")
        self.page.get_by_role("button", name="Launch Run").click()
        return self.await_run_page()

    def await_run_page(self) -> str:
        """Wait until the browser shows a run; returns its id."""
        self.page.wait_for_url(re.compile("/runs/[0-9a-f-]{36}"))
        found = re.search("/runs/([0-9a-f-]{36})", self.page.url)
        assert found is not None
        return found.group(1)

    def await_status(self, status: str) -> None:
        """Wait until the run's page shows a status."""
        expect(self.page.get_by_text(status, exact=True).first).to_be_visible(timeout=120_000)

    def keep(self, name: str) -> None:
        """Keep a picture of what is seen."""
        # Animations of the UI end within this time; a picture before shows half a dialog.
        self.page.wait_for_timeout(800)
        skip = self.page.get_by_role("button", name="Skip")
        if skip.is_visible():
            skip.click()
            expect(skip).to_be_hidden()
        self.page.screenshot(path=self.screenshots / f"{name}.png")

    def client(self) -> Client:
        """A client of the site's store, as a program beside Dagster has it."""
        settings = Settings.from_env(self.site.environment)
        return load_app(self.site.environment["FLOWCRAFT_APP"]).client(settings)
