"""The one place that imports scipy, so that every node registers without it; and what is installed."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Sequence
from typing import Any

from .errors import MissingDependency


def require(module: str, purpose: str) -> Any:
    """Import `module`, a dotted path of scipy. Raises MissingDependency, which says what it is needed for."""
    try:
        return importlib.import_module(module)
    except Exception as cause:  # a package half overwritten by another raises anything
        raise MissingDependency([module.split(".")[0]], purpose, f"which cannot be imported ({cause})") from cause


def installed(folders: Sequence[str] | None = None) -> dict[str, str]:
    """Name -> version of the installed packages, in lower case with dashes; folders: where, None for this Python."""
    where: Any = {} if folders is None else {"path": list(folders)}
    found: list[Any] = list(importlib.metadata.distributions(**where))
    named = ((one.metadata["Name"], one.version) for one in found)
    return {name.lower().replace("_", "-"): version for name, version in named if name}
