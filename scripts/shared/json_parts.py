"""Parts of a JSON file that may be damaged: what is not of the expected kind counts as empty."""

from __future__ import annotations

from typing import Any, cast


def dictionary(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def list_of(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def dictionaries(value: Any) -> list[dict[str, Any]]:
    """Those of a list that are dictionaries."""
    return [entry for entry in list_of(value) if isinstance(entry, dict)]
