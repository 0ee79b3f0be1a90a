"""Entries of a prompt, as a program posts it to the host."""

from typing import Any


def node(kind: str, title: str = "", **inputs: Any) -> dict[str, Any]:
    """title: by which templates and tables find it."""
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": title or kind}}
