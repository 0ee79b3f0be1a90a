"""The pack as the package `pack`, and a ComfyUI's modules beside it, in this process."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from environment import ROOT


def load_pack() -> None:
    """Make the pack importable as `pack`: its folder may have any name, and the host also has a module `nodes`."""
    # Before the host's folder the pack's root would hide the host's module `nodes` behind our folder.
    sys.path[:] = [*(entry for entry in sys.path if Path(entry or ".").resolve() != ROOT.resolve()), str(ROOT)]
    spec = importlib.util.spec_from_file_location("pack", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    assert spec and spec.loader
    sys.modules["pack"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def load_host(path: str, on_cpu: bool = False) -> None:
    """Make the modules of the ComfyUI at `path` importable.

    on_cpu: it computes on the CPU also where there is a graphics card; where there is none it always does.
    """
    sys.path.insert(0, path)
    # The host reads sys.argv while it is imported; the arguments of this program are not for it.
    argv, sys.argv = sys.argv, sys.argv[:1]
    try:
        import comfy.cli_args

        comfy.cli_args.args.cpu = on_cpu or not has_card()
        import folder_paths  # noqa: F401
    finally:
        sys.argv = argv


def has_card() -> bool:
    """Whether torch finds a graphics card, of any maker."""
    import torch

    if hasattr(torch, "accelerator"):  # torch 2.6 and newer
        return torch.accelerator.is_available()
    return torch.cuda.is_available() or torch.backends.mps.is_available()
