"""What stands between us and a ComfyUI, such as a proxy: what it answers says nothing of that, which is asked again.

It says that there are too many requests, that nobody is there or that it takes too long; or it sends a page.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.error import HTTPError

AGAIN_SECONDS = 1.0
"""So long it is waited before it is asked again; each further time twice as long."""
_LONGEST_PAUSE = 10.0
_LONGEST_AFTER = 120.0
"""So long it is asked again, in seconds, where it says when to come again."""
_TOO_SOON = (408, 425, 429)
"""Statuses: a request came too slowly, too early, or one of too many."""
_OF_SERVER = 500
"""The highest status that ComfyUI has itself: 502 to 504 are proxies', 520 to 530 those of a few."""
_Answer = TypeVar("_Answer")


class Between(OSError):
    """Something else than the ComfyUI that is asked has answered. after: seconds until it may be asked again, where
    that is said. is_outage: whether it says that the ComfyUI is not there, or does not answer it."""

    def __init__(self, said: str, after: float | None = None, is_outage: bool = False) -> None:
        super().__init__(said)
        self.after = after
        self.is_outage = is_outage


class Page(Between):
    """A page or another text came in the place of an answer."""


class Patience:
    """With answers that are none. seconds: so long it is asked again."""

    def __init__(self, seconds: float) -> None:
        self._began = time.monotonic()
        self._seconds = seconds
        self._pause = AGAIN_SECONDS

    def pause(self, cause: Exception) -> float:
        """Seconds until it is to be asked again. Raises the cause where that is too late."""
        pause, seconds = self._pause, self._seconds
        if isinstance(cause, Between) and cause.after is not None:
            pause, seconds = max(pause, cause.after), max(seconds, _LONGEST_AFTER)
        if time.monotonic() + pause > self._began + seconds:
            raise cause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        return pause


def patient(ask: Callable[[], _Answer], seconds: float) -> _Answer:
    """What `ask` gives, which is called for so many seconds as long as it raises Between, and then raises that."""
    patience = Patience(seconds)
    while True:
        try:
            return ask()
        except Between as cause:
            time.sleep(patience.pause(cause))


def between(answered: HTTPError) -> Between | None:
    """What an answer is, where it is that of something between; None where it may be the host's own."""
    is_outage = answered.code > _OF_SERVER
    if not is_outage and answered.code not in _TOO_SOON:
        return None
    after = _seconds_until(answered.headers.get("Retry-After", ""))
    return Between(f"{answered.code} {answered.reason}", after, is_outage)


def _seconds_until(said: str) -> float | None:
    """What Retry-After says, seconds or a time; None where it says nothing that can be read."""
    said = said.strip()
    if said.isdecimal() and said.isascii():
        return float(said)
    try:
        time_said = parsedate_to_datetime(said)
    except (TypeError, ValueError):
        return None
    if time_said.tzinfo is None:
        time_said = time_said.replace(tzinfo=timezone.utc)
    return max(0.0, (time_said - datetime.now(timezone.utc)).total_seconds())
