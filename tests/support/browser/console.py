"""What the console of a page shows in red."""

from __future__ import annotations

import playwright.sync_api as playwright

NOT_OURS = ("Content Security Policy", "user.css", "/api/userdata")
"""What a new user does not have yet, and models that the frontend looks up in the web."""


class Console:
    """Errors that a page has logged, thrown or met while it loaded files."""

    def __init__(self, page: playwright.Page) -> None:
        self._page = page
        self._lines: list[str] = []
        self._thrown: list[str] = []
        page.on("console", self._log)
        page.on("pageerror", self._throw)

    def _log(self, message: playwright.ConsoleMessage) -> None:
        if message.type not in ("error", "assert"):
            return
        line = message.text
        if line.startswith("Failed to load resource"):
            line = f"{line} {message.location['url']}"
        self._lines.append(line)

    def _throw(self, error: playwright.Error) -> None:
        text = error.stack or error.message
        self._lines.append(text)
        self._thrown.append(text)

    def forget(self) -> None:
        """What has been red up to now is not told any more."""
        self.red()

    def red(self) -> list[str]:
        """Every red line since the last call, but for those of NOT_OURS."""
        self._page.evaluate("1")  # Playwright hands over what has happened during a call, so there has to be one
        lines = self._lines
        self._lines = []
        return [line for line in lines if not any(name in line for name in NOT_OURS)]

    def thrown_by(self, script_folder: str) -> list[str]:
        """Exceptions since the last call that nobody caught and that have passed a script of this folder of the
        server."""
        thrown = self._thrown
        self._thrown = []
        return [text for text in thrown if script_folder in text]
