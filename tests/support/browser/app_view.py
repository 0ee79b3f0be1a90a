"""A workflow as an app: what it asks for, without its nodes."""

from __future__ import annotations

import re

import playwright.sync_api as playwright


class AppView:
    """The page while a workflow is open as an app."""

    def __init__(self, page: playwright.Page) -> None:
        self._labels = page.get_by_test_id("builder-widget-label")
        run = re.compile(r"^\s*Run\s*$")
        self._run = page.get_by_test_id("linear-run-button").locator("button").filter(has_text=run).first
        self._photos = page.locator("img[src*=likeness_]").filter(visible=True)
        errors = re.compile(r"^\s*Show errors in graph\s*$")
        self._errors = page.locator("button").filter(has_text=errors).first

    def await_labels(self, labels: list[str]) -> None:
        """Wait until the app asks for these, and for nothing else."""
        playwright.expect(self._labels).to_have_text(labels, use_inner_text=True)

    def await_photos_and_errors(self, photos: int) -> None:
        """Wait until so many photos of the workflow are shown, and ComfyUI's own message of missing files."""
        playwright.expect(self._photos.nth(photos - 1)).to_be_visible()
        playwright.expect(self._errors).to_be_visible()

    def photos_and_errors(self) -> list[playwright.ElementHandle]:
        """The elements of the page that nothing may cover."""
        return [self._errors.locator("xpath=..").element_handle(), *self._photos.element_handles()]

    def run(self) -> None:
        # Not with the mouse: the tour that frontends offer at the first app lies over the page.
        self._run.dispatch_event("click")
