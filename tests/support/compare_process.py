"""scripts/compare.py in a process of its own, in which ComfyUI takes the small networks and finds their files.

    LIKENESS_PYTHON=PYTHON PYTHON tests/support/compare_process.py MODELS --people FOLDER ...

MODELS: a folder with a folder for each kind of file. What follows is for compare.py.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

SUPPORT = Path(__file__).resolve().parent
SCRIPTS = SUPPORT.parents[1] / "scripts"
sys.path[0] = str(SCRIPTS)  # as if compare.py itself had been called

from shared import pack  # noqa: E402


def main() -> None:
    models = Path(sys.argv[1])
    sys.argv = [str(SCRIPTS / "compare.py"), *sys.argv[2:]]
    load_host = pack.load_host

    def load_with_small_networks(path: str, on_cpu: bool = False) -> None:
        """What the command does, and then what the tests do in their own process."""
        load_host(path, on_cpu)
        import comfy.clip_model
        import comfy.supported_models
        import folder_paths
        from tiny import small_networks

        comfy.supported_models.models = small_networks.families()
        for network in (comfy.clip_model.CLIPTextModel, comfy.clip_model.CLIPVisionModelProjection):
            small_networks.end_early(network)
        for kind in models.iterdir():
            folder_paths.add_model_folder_path(kind.name, str(kind))

    pack.load_host = load_with_small_networks
    runpy.run_path(sys.argv[0], run_name="__main__")


main()
