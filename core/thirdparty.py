"""The one place that imports optional packages, so that every node registers without them."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Sequence
from typing import Any

from .errors import MissingDependency

# Import name -> the package, then what it imports that ComfyUI does not bring. OpenCV as insightface brings it: another
# wheel of it, beside that one, would overwrite its files.
_PROVIDED_BY = {
    "cv2": ("opencv-python",),
    "onnxruntime": ("onnxruntime",),
    "insightface": ("insightface>=2.0", "onnx", "ml_dtypes", "protobuf", "scikit-image", "lazy-loader"),
    "scipy": ("scipy",),
}


def require(module: str, purpose: str) -> Any:
    """Import `module` (a dotted path of cv2, onnxruntime, insightface or scipy).

    Raises MissingDependency for a package that is not there or too old, naming it, what it is needed for and the
    command that installs it.
    """
    package = module.split(".")[0]
    try:
        found = importlib.import_module(module)
        version = str(getattr(importlib.import_module(package), "__version__", ""))
    except Exception as cause:  # a package half overwritten by another raises anything
        why = f"which cannot be imported ({cause})"
        raise MissingDependency(_PROVIDED_BY[package], purpose, why) from cause
    number, oldest = version.split(".")[0], _PROVIDED_BY[package][0].partition(">=")[2]
    if oldest and number.isdecimal() and int(number) < float(oldest):
        raise MissingDependency(_PROVIDED_BY[package], purpose, f"of which {version} is installed")
    return found


def installed(folders: Sequence[str] | None = None) -> dict[str, str]:
    """Name -> version of the installed packages, in lower case with dashes; folders: where, None for this Python."""
    where: Any = {} if folders is None else {"path": list(folders)}
    found: list[Any] = list(importlib.metadata.distributions(**where))
    named = ((one.metadata["Name"], one.version) for one in found)
    return {name.lower().replace("_", "-"): version for name, version in named if name}
