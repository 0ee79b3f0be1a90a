"""Turns id-patch.bin (a pickle) into id-patch.safetensors, which nothing has to unpickle any more.

    python scripts/to_safetensors.py models/id_patch/id-patch.bin

Run it with the Python that runs ComfyUI. The new file stands beside the old one and loads the same.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.checkpoints import flatten, require
from core.errors import LikenessError


def convert(source: Path) -> Path:
    """Write the safetensors file beside `source` and return its path.

    Raises UnsupportedCheckpoint when the file is something else, FileExistsError rather than overwrite.
    """
    import torch
    from safetensors.torch import save_file

    target = source.with_suffix(".safetensors")
    if target.exists():
        raise FileExistsError(f"{target} exists already; move it away to convert again.")
    state = flatten(torch.load(source, map_location="cpu", weights_only=True))
    require(state, "id-patch", str(source), "Give it the id-patch.bin of https://huggingface.co/ByteDance/ID-Patch.")
    unfinished = target.with_suffix(".part")
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, unfinished, metadata={"format": "pt"})
    unfinished.replace(target)
    return target


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        print(convert(Path(sys.argv[1])))
    except (LikenessError, OSError) as problem:
        sys.exit(str(problem))
