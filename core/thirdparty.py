"""The one place that imports optional packages, so that every node registers without them."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Sequence
from typing import Any

from .errors import MissingDependency

# Import name -> the requirement that brings it. OpenCV as insightface brings it: another wheel of it, beside that one,
# would overwrite its files.
_PROVIDED_BY = {
    "cv2": "opencv-python",
    "onnxruntime": "onnxruntime",
    "insightface": "insightface>=2.0",
    "scipy": "scipy",
}


def require(module: str, purpose: str) -> Any:
    """Import `module` (a dotted path of cv2, onnxruntime, insightface or scipy).

    Raises MissingDependency naming the package, what it is needed for and the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except Exception as cause:  # a package half overwritten by another raises anything
        package = module.split(".")[0]
        raise MissingDependency(_PROVIDED_BY[package], purpose, str(cause)) from cause


def installed(folders: Sequence[str] | None = None) -> dict[str, str]:
    """Name -> version of the installed packages, in lower case with dashes; folders: where, None for this Python."""
    where: Any = {} if folders is None else {"path": list(folders)}
    found: list[Any] = list(importlib.metadata.distributions(**where))
    named = ((one.metadata["Name"], one.version) for one in found)
    return {name.lower().replace("_", "-"): version for name, version in named if name}
