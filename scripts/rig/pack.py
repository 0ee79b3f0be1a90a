"""The pack as the package `pack`, and a ComfyUI's modules beside it, in this process."""

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


def load_host(path: str) -> None:
    """Make the modules of the ComfyUI at `path` importable; it computes on the CPU where there is no CUDA device."""
    sys.path.insert(0, path)
    # The host reads sys.argv while it is imported; the arguments of this program are not for it.
    argv, sys.argv = sys.argv, sys.argv[:1]
    try:
        import comfy.cli_args
        import torch

        comfy.cli_args.args.cpu = not torch.cuda.is_available()
        import folder_paths  # noqa: F401
    finally:
        sys.argv = argv
