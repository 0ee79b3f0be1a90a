"""Python packages of which people have several builds that overwrite each other."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import partial

from .commands import program
from .findings import CLASH, NOTE, OK, Finding

_BUILDS = {
    # The one to keep of several first.
    "onnxruntime": (
        "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-rocm", "onnxruntime",
    ),
    "cv2": (
        "opencv-contrib-python", "opencv-python", "opencv-contrib-python-headless", "opencv-python-headless",
    ),
}  # fmt: skip


def packages(installed: Mapping[str, str], python: str = sys.executable, system: str = os.name) -> tuple[Finding, ...]:
    """Which builds of onnxruntime and OpenCV are installed: several of one write into the same folder, and the last
    one that was installed has overwritten parts of the others. installed: name -> version."""
    return tuple(map(partial(_builds, installed, python, system), _BUILDS))


def _builds(installed: Mapping[str, str], python: str, system: str, module: str) -> Finding:
    here = [name for name in _BUILDS[module] if name in installed]
    named = ", ".join(f"{name} {installed[name]}" for name in here)
    if len(here) < 2:
        return Finding(module, OK if here else NOTE, named or "not installed; the node that needs it says so.")
    keep = f"{here[0]}=={installed[here[0]]}"
    pip, then = f"{program(python, system)} -m pip", ";" if system == "nt" else " &&"
    mend = f'{pip} uninstall -y {" ".join(here)}{then} {pip} install --no-deps "{keep}"'
    return Finding(module, CLASH, f"{named} overwrite each other. Fix it with: {mend}", mend=mend)
