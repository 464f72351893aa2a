"""What a person does in the Dagster UI, as steps of tests."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from playwright.sync_api import FloatRect, Locator, Page, expect

from examples.demo.site import ROOT, Site
from flowcraft_dagster import Client, Settings, load_app

PATIENCE_MILLISECONDS: Final = 120_000
"""For a page, a sensor's tick, the end of a run: a busy machine takes its time."""

DOCS_PICTURES: Final = "FLOWCRAFT_DOCS_PICTURES"
"""Set to 1, pictures that the documentation shows are also kept in docs/images."""

NAVIGATION_WIDTH: Final = 241

FOUND = TypeVar("FOUND")


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

    def open_event(self, path: str, dagster_run_id: str) -> None:
        """Open the event of an asset that a Dagster run recorded; those of the status sensor may be later ones."""

        def look() -> int | None:
            events = self.site.api.materializations(("flowcraft", *path.split("/")))
            return next((event.moment for event in events if event.run_id == dagster_run_id), None)

        moment = self.await_event(look, f"the event of run {dagster_run_id}")
        self.open(f"/assets/flowcraft/{path}?view=events&time={moment}")

    def open_launchpad(self, job: str) -> None:
        """Open the Launchpad of a job and wait until its config has been looked at."""
        self.open(f"/locations/flowcraft_dagster/jobs/{job}/playground")
        expect(self.page.get_by_text("No errors")).to_be_visible()

    def launch(self, job: str, config: dict[str, Any], picture: str | None = None) -> str:
        """Write a config into the Launchpad of a job and launch it; returns the Dagster run's id.

        Args:
            job: the job.
            config: of its only op.
            picture: name of a picture to keep before the launch.
        """
        self.open(f"/locations/flowcraft_dagster/jobs/{job}/playground")
        editor = self.page.locator(".CodeMirror").first
        # JSON is YAML, and needs none of the editor's indentation.
        text = json.dumps({"ops": {f"{job}_op": {"config": config}}}, indent=2)

        def write() -> bool | None:
            editor.click()
            self.page.keyboard.press("Control+A")
            self.page.keyboard.insert_text(text)
            expect(self.page.get_by_text("No errors")).to_be_visible()
            # On a busy machine that takes a while, in which the editor may change once more.
            expect(self.page.get_by_role("button", name="Launch Run")).to_be_enabled()
            # The offered config comes a moment after the editor and replaces what was written before; it is there
            # once a config has been looked at.
            return f'"{job}_op"' in editor.inner_text() or None

        self.await_event(write, "what was written stands in the editor")
        return self.press_launch(picture)

    def press_launch(self, picture: str | None = None) -> str:
        """Launch what stands in the Launchpad; returns the Dagster run's id."""
        button = self.page.get_by_role("button", name="Launch Run")
        expect(button).to_be_enabled()
        if picture is not None:
            self.keep(picture, in_docs=True)
        button.click()
        return self.await_run_page()

    def await_run_page(self) -> str:
        """Wait until the browser shows a run; returns its id."""
        self.page.wait_for_url(re.compile("/runs/[0-9a-f-]{36}"))
        found = re.search("/runs/([0-9a-f-]{36})", self.page.url)
        assert found is not None
        return found.group(1)

    def await_status(self, status: str) -> None:
        """Wait until the run's page shows a status."""
        expect(self.page.get_by_text(status, exact=True).first).to_be_visible()

    def expect_metadata(self, label: str, value: object) -> None:
        """Wait until a row of an event's table shows a value."""
        row = self.page.get_by_role("row", name=re.compile(f"^{re.escape(f'{label} {value}')}( |$)"))
        expect(row.first).to_be_visible()

    def show_picture(self, scope: Locator | None = None) -> tuple[Locator, str]:
        """Open a picture behind ``[Show Markdown]``; returns the image, and the SVG that it was drawn from."""
        (scope or self.page).get_by_text("[Show Markdown]").first.click()
        picture = self.page.get_by_role("dialog").locator("img")
        expect(picture).to_be_visible()
        assert picture.evaluate("image => image.complete && image.naturalWidth > 50")
        encoded = (picture.get_attribute("src") or "").partition("data:image/svg+xml;base64,")[2]
        return picture, base64.b64decode(encoded).decode()

    def await_event(self, look: Callable[[], FOUND | None], what: str) -> FOUND:
        """Look again and again until something is there."""
        deadline = time.monotonic() + PATIENCE_MILLISECONDS / 1000
        while True:
            found = look()
            if found is not None:
                return found
            assert time.monotonic() < deadline, f"{what}: not there after {PATIENCE_MILLISECONDS / 1000:.0f} s"
            self.page.wait_for_timeout(250)

    def keep(self, name: str, *, in_docs: bool = False, navigation: bool = True, below: int = 0) -> None:
        """Keep a picture of what is seen.

        Args:
            name: the file's, without its ending.
            in_docs: whether the documentation shows it.
            navigation: whether the navigation at the left is kept.
            below: pixels at the top that are left out.
        """
        # Half a page says nothing.
        for words in ("Loading…", "Loading..."):
            expect(self.page.get_by_text(words)).to_have_count(0)
        skip = self.page.get_by_role("button", name="Skip")
        if skip.is_visible():
            skip.click()
            expect(skip).to_be_hidden()
        file = self.screenshots / f"{name}.png"
        size = self.page.viewport_size
        assert size is not None
        left = 0 if navigation else NAVIGATION_WIDTH
        area: FloatRect = {"x": left, "y": below, "width": size["width"] - left, "height": size["height"] - below}
        self.page.screenshot(path=file, animations="disabled", clip=area)
        if in_docs and os.environ.get(DOCS_PICTURES) == "1":
            shutil.copy(file, ROOT / "docs" / "images")

    def client(self) -> Client:
        """A client of the site's store, as a program beside Dagster has it."""
        settings = Settings.from_env(self.site.environment)
        return load_app(self.site.environment["FLOWCRAFT_APP"]).client(settings)
