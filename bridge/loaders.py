"""How a method's own file is loaded, whatever node asks for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from comfy_api.latest import io

from . import dit, notes
from .load import Published


@dataclass(frozen=True)
class FileLoader:
    """published: the files. made: (path, **further inputs) -> what travels on. inputs: the further ones, optional.

    licence: said under the node where the weights may not be used freely. newer: whether ComfyUI 0.33 is needed.
    """

    published: Published
    made: Callable[..., Any]
    inputs: tuple[io.WidgetInput, ...] = ()
    licence: str = ""
    newer: bool = False

    def load(self, path: str, node: str | None, **given: Any) -> Any:
        """What travels on; given: inputs of any method's loader. Raises UnsupportedCheckpoint."""
        if self.newer:
            dit.require_dits(f"{self.published.method}'s file")
        loaded = self.made(path, **{one.id: given.get(one.id, one.default) for one in self.inputs})
        if self.licence:
            notes.tell(node, self.licence, "licence")
        return loaded
