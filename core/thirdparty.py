"""The one place that imports scipy, so that every node registers without it."""

from __future__ import annotations

import importlib
from typing import Any

from .errors import MissingDependency


def require(module: str, purpose: str) -> Any:
    """Import `module`, a dotted path of scipy. Raises MissingDependency, which says what it is needed for."""
    try:
        return importlib.import_module(module)
    except Exception as cause:  # a package half overwritten by another raises anything
        raise MissingDependency([module.split(".")[0]], purpose, f"which cannot be imported ({cause})") from cause
