"""What a detector by words was asked for: its masks bring no words, the graph has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from comfy_api.latest import io

from ..core.errors import LikenessError
from ..core.text import NAME, plain

DETECTOR = "SAM3_Detect"

Node = Mapping[str, Any]


@contextmanager
def in_errors(cls: type[io.ComfyNode], name: str, kind: type[LikenessError]) -> Iterator[None]:
    """Adds " SAM3 Detect was asked for 'jacket'." to an error of this kind, where the input `name` comes from it.

    cls: the running node, with Hidden.prompt and Hidden.unique_id.
    """
    try:
        yield
    except LikenessError as error:
        words = _words(cls, name) if isinstance(error, kind) else ""
        error.problem += f" SAM3 Detect was asked for {words!r}." if words else ""
        raise


def _words(cls: type[io.ComfyNode], name: str) -> str:
    """Nodes in between are passed that have one link alone, as Invert Mask; words that are linked are not known."""
    graph: Mapping[str, Node] = (cls.hidden and cls.hidden.prompt) or {}
    node = _before(graph, graph.get((cls.hidden and cls.hidden.unique_id) or ""), name)
    while node and node["class_type"] != DETECTOR:
        linked = [one for one in node["inputs"] if _before(graph, node, one)]
        node = _before(graph, node, linked[0]) if len(linked) == 1 else None
    text = _before(graph, node, "conditioning")
    words = text["inputs"].get("text") if text else None
    return plain(words, NAME) if isinstance(words, str) else ""


def _before(graph: Mapping[str, Node], node: Node | None, name: str) -> Node | None:
    """The node that an input is linked to."""
    link = node["inputs"].get(name) if node else None
    return graph.get(str(link[0])) if isinstance(link, list) and link else None
