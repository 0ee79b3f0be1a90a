"""What ComfyUI 0.3.64 lacks in node schemas, set so that it is used where the host knows it and ignored elsewhere."""

from __future__ import annotations

from typing import TypeVar

from comfy_api.latest import io

InputT = TypeVar("InputT", bound=io.Input)


def searchable(schema: io.Schema, *words: str) -> io.Schema:
    """Add the words people type into the node search; `Schema(search_aliases=...)` is a TypeError in 0.3.64."""
    schema.search_aliases = list(words)
    return schema


def advanced(widget: InputT) -> InputT:
    """Fold a widget away under "advanced"; the keyword is a TypeError in 0.3.64, the extra dict works in both."""
    widget.extra_dict = {**(widget.extra_dict or {}), "advanced": True}
    return widget
