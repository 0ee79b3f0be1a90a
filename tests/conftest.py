"""Loads the pack as the package `pack`, with or without a host; see CONTRIBUTING.md, "Tests"."""

from __future__ import annotations

import atexit
import importlib.util
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


def _load_pack() -> None:
    # With the pack's root on sys.path the host's `import nodes` would find our nodes folder.
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
    spec = importlib.util.spec_from_file_location("pack", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    assert spec and spec.loader
    sys.path.append(str(ROOT / "tests" / "support"))
    sys.modules["pack"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def _load_host(path: str) -> None:
    sys.path.insert(0, path)
    # The host reads sys.argv while it is imported; pytest's own arguments are not for it.
    argv, sys.argv = sys.argv, sys.argv[:1]
    try:
        import comfy.cli_args
        import torch

        comfy.cli_args.args.cpu = not torch.cuda.is_available()
        import folder_paths

        folder = tempfile.mkdtemp(prefix="likeness-tests-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        folder_paths.set_temp_directory(folder)
    finally:
        sys.argv = argv


_load_pack()
if HOST:
    _load_host(HOST)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests under tests/host need a ComfyUI; scripts/test.py runs them once per host it finds."""
    if HOST:
        return
    skip = pytest.mark.skip(reason="needs COMFYUI_PATH")
    for item in items:
        if (ROOT / "tests" / "host") in item.path.parents:
            item.add_marker(skip)
