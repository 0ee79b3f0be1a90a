"""Loads the pack as the package `pack`, with or without a host; see CONTRIBUTING.md, "Tests"."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HOST = os.environ.get("COMFYUI_PATH")
# Before torch is imported: with more work than cores, threads that spin while they wait can make it 30 times as slow.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Behind everything else, so that no module of the host or the standard library (`test`) is hidden.
sys.path += [str(ROOT / "scripts"), str(ROOT / "tests" / "support")]

from rig.pack import load_host, load_pack  # noqa: E402


def _write_below_a_folder_of_its_own() -> None:
    import folder_paths

    folder = tempfile.mkdtemp(prefix="likeness-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder_paths.set_temp_directory(folder)


load_pack()
if HOST:
    load_host(HOST)
    _write_below_a_folder_of_its_own()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests under tests/host and tests/parity need a ComfyUI; scripts/test.py runs them once per host it finds."""
    if HOST:
        return
    skip = pytest.mark.skip(reason="needs COMFYUI_PATH")
    for item in items:
        if {ROOT / "tests" / "host", ROOT / "tests" / "parity"} & set(item.path.parents):
            item.add_marker(skip)
