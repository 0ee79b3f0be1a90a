"""How far a prompt is: a bar on a terminal, elsewhere a line every few seconds."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from typing import Any

from rig.workflow import Prompt, title

_BAR = 24
_PACE = {True: 0.3, False: 10.0}
"""Seconds between two lines, on a terminal and elsewhere."""


class Progress:
    """Takes the host's messages about a prompt; in a `with` statement it is shown. A step counts as much as a node."""

    def __init__(self, prompt: Prompt) -> None:
        self._prompt, self._begun, self._over = prompt, time.monotonic(), threading.Event()
        self._units = {key: 1 + _steps(node) for key, node in prompt.items()}
        self._done, self._node, self._within, self._step = 0, "", 0.0, ""
        self._terminal = sys.stderr.isatty()
        self._shown = threading.Thread(target=self._show_on, daemon=True)

    def __enter__(self) -> Progress:
        self._shown.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._shown.join()
        self._show("\n")

    def __call__(self, event: dict[str, Any]) -> None:
        data = event["data"]
        if event["type"] == "execution_cached":
            self._done += sum(self._units[node] for node in data["nodes"])
        elif event["type"] == "executing":
            self._done += self._units.get(self._node, 0)
            self._node, self._within, self._step = data["node"] or "", 0.0, ""
        elif event["type"] == "progress" and data["node"] == self._node:
            self._within = data["value"] / max(1, data["max"])
            self._step = f", step {data['value']} of {data['max']}"

    @property
    def share(self) -> float:
        """0 to 1."""
        return (self._done + self._within * self._units.get(self._node, 0)) / sum(self._units.values())

    def line(self) -> str:
        """In words, e.g. "43 %  KSampler, step 3 of 8  (12 s)"."""
        now = f"{title(self._prompt, self._node)}{self._step}" if self._node else ""
        return f"{self.share:4.0%}  {now}  ({time.monotonic() - self._begun:.0f} s)"

    def _show_on(self) -> None:
        while not self._over.wait(_PACE[self._terminal]):
            self._show()

    def _show(self, end: str = "") -> None:
        line = f"[likeness] {self.line()}"
        if self._terminal:
            full = round(_BAR * self.share)
            columns = shutil.get_terminal_size().columns - 1
            line = f"[likeness] [{'#' * full}{'-' * (_BAR - full)}] {self.line()}"[:columns].ljust(columns)
        sys.stderr.write(f"\r{line}{end}" if self._terminal else f"{line}\n")
        sys.stderr.flush()


def _steps(node: dict[str, Any]) -> int:
    steps = node["inputs"].get("steps")
    return steps if isinstance(steps, int) else 0
