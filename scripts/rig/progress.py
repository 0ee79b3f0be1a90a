"""How far a prompt is: a bar on a terminal, elsewhere a line every few seconds."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

from rig.workflow import Prompt, title


class Progress(tqdm):
    """Takes the host's messages about a prompt; use it in a `with` statement. A step counts as much as a node."""

    def __init__(self, prompt: Prompt) -> None:
        self._prompt, self._units = prompt, {key: 1 + _steps(node) for key, node in prompt.items()}
        self._done, self._node = 0, ""
        pace = 0.3 if sys.stderr.isatty() else 10.0
        shown = "[likeness] {percentage:3.0f}% |{bar:24}| {desc}({elapsed})"
        super().__init__(total=sum(self._units.values()), mininterval=pace, bar_format=shown)

    def __call__(self, event: dict[str, Any]) -> None:
        data, within, step = event["data"], 0.0, ""
        if event["type"] == "execution_cached":
            self._done += sum(self._units[node] for node in data["nodes"])
        elif event["type"] == "executing":
            self._done += self._units.get(self._node, 0)
            self._node = data["node"] or ""
        elif event["type"] == "progress" and data["node"] == self._node:
            within, step = data["value"] / max(1, data["max"]), f", step {data['value']} of {data['max']}"
        name = f"{title(self._prompt, self._node)}{step}  " if self._node else ""
        self.set_description_str(name, refresh=False)
        self.update(self._done + within * self._units.get(self._node, 0) - self.n)


def _steps(node: dict[str, Any]) -> int:
    steps = node["inputs"].get("steps")
    return steps if isinstance(steps, int) else 0
