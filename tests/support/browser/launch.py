"""Starts Chromium, and lets Playwright and code with an event loop of its own live in one process."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import playwright.sync_api as playwright
import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
"""Programs that are looked for on the PATH, the first that is found counts."""

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Addresses elsewhere are not found at once, whatever the network: a frontend looks up the sizes of missing files.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)
"""Playwright adds --headless and what keeps a page at work that nobody looks at."""

MISSING = (
    "NO CHROMIUM: nothing was opened in a real frontend. Install it (apt-get install chromium), or set CHROMIUM to the "
    "program of a Chrome or Chromium."
)
"""scripts/test.py knows the reason of such a skip by its first words."""

SECONDS = 60.0
"""How long a test waits for what it expects on a page."""

START_SECONDS = 240.0
"""How long a frontend may take to open: beside other work it compiles megabytes of scripts."""


def program() -> str:
    """The Chromium in the environment variable CHROMIUM, or the first on the PATH.

    Where there is none the test fails with CI=true, and is skipped elsewhere, as the tests are that find no ComfyUI.
    """
    named = os.environ.get("CHROMIUM")
    if named:
        return named
    for name in NAMES:
        path = shutil.which(name)
        if path:
            return path
    if os.environ.get("CI") == "true":
        pytest.fail(MISSING)
    pytest.skip(MISSING)


_LOOPS: list[asyncio.AbstractEventLoop] = []
"""The event loop of Playwright, once it has been started."""


@contextmanager
def at_work() -> Iterator[None]:
    """The block in which a browser may be used that has been started before.

    Playwright marks its event loop as the running one of the thread, also between two calls. Outside of the block there
    is no such mark: asyncio.run, by which ComfyUI and other tests of this process start theirs, refuses to work beside
    it.
    """
    before = asyncio._get_running_loop()
    if _LOOPS:
        asyncio._set_running_loop(_LOOPS[-1])
    try:
        yield
    finally:
        asyncio._set_running_loop(before)


class Browser:
    """A headless Chromium, one for all tests of a process; every page has a context, and so a profile, of its own."""

    def __init__(self, executable: str) -> None:
        self._driver = playwright.sync_playwright().start()
        _LOOPS.append(asyncio.get_running_loop())
        playwright.expect.set_options(timeout=SECONDS * 1000)
        self._chromium = self._driver.chromium.launch(executable_path=executable, args=[*FLAGS])

    def new_context(self, width: int, height: int) -> playwright.BrowserContext:
        """An empty profile whose pages are so large, in px."""
        context = self._chromium.new_context(viewport={"width": width, "height": height})
        context.set_default_timeout(SECONDS * 1000)
        context.set_default_navigation_timeout(START_SECONDS * 1000)
        return context

    def close(self) -> None:
        with at_work():
            self._chromium.close()
            self._driver.stop()
        _LOOPS.pop()
