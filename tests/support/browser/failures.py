"""A trace and a screenshot of a test that fails."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import environment
import playwright.sync_api as playwright

FOLDER = environment.CACHE / "browser-failures"
"""Has a folder for every test that has failed, with what its last failure left."""


class Recording:
    """What is recorded of a context from one test to the next, and kept where the test fails."""

    def __init__(self, context: playwright.BrowserContext) -> None:
        self._context = context
        self._is_begun = False
        # Without a picture of every frame or a copy of the page with every call: each would be made for every test.
        context.tracing.start(screenshots=False, snapshots=False, sources=True)

    def begin(self, test_id: str) -> None:
        self._context.tracing.start_chunk(title=test_id)
        self._is_begun = True

    def discard(self) -> None:
        if self._is_begun:
            self._context.tracing.stop_chunk()
        self._is_begun = False

    def keep(self, page: playwright.Page, test_id: str) -> str:
        """Write down what was recorded and what the page looks like now. Returns a text that says where."""
        folder = FOLDER / re.sub(r"[^\w.-]+", "-", test_id.removeprefix("tests/"))
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        screenshot = _screenshot(page, folder / "page.png")
        if not self._is_begun:
            return screenshot
        trace = folder / "trace.zip"
        self._context.tracing.stop_chunk(path=trace)
        self._is_begun = False
        return f"{screenshot}\nEvery call: {trace}\nIt opens with: python -m playwright show-trace --port 0 {trace}"


def _screenshot(page: playwright.Page, file: Path) -> str:
    try:
        page.screenshot(path=file, timeout=10_000)
    except playwright.Error as error:  # a page that computes without end draws nothing
        return f"The page gave no screenshot: {error.message.splitlines()[0]}"
    return f"What the page looked like: {file}"
