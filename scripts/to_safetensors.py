"""Makes one safetensors file, which nothing has to unpickle, of what others release as pickles or folders.

    python scripts/to_safetensors.py models/id_patch/id-patch.bin
    python scripts/to_safetensors.py models/parts2whole/Parts2Whole

Run it with the Python that runs ComfyUI. The new file stands beside the old one and loads the same.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.checkpoints import flatten, is_safetensors, require
from core.errors import LikenessError
from core.parts2whole import released


def convert(source: Path) -> Path:
    """Write the safetensors file beside `source`, an id-patch.bin or a Parts2Whole folder, and return its path.

    Raises UnsupportedCheckpoint or ModelMissing when it is something else, FileExistsError rather than overwrite.
    """
    target = source.with_name(f"{source.name}.safetensors") if source.is_dir() else source.with_suffix(".safetensors")
    if target.exists():
        raise FileExistsError(f"{target} exists already; move it away to convert again.")
    _write(target, *(_parts2whole(source) if source.is_dir() else _id_patch(source)))
    return target


def _id_patch(source: Path) -> tuple[dict[str, Any], dict[str, str]]:
    state = _read(source)
    require(state, "id-patch", str(source), "Give it the id-patch.bin of https://huggingface.co/ByteDance/ID-Patch.")
    return state, {}


def _parts2whole(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    files = released.locate(folder.resolve())
    state = {f"{name}.{key}": tensor for name in released.NETWORKS for key, tensor in _read(files[name]).items()}
    return state, {released.SCHEDULER: files[released.SCHEDULER].read_text("utf-8")}


def _read(source: Path) -> dict[str, Any]:
    import torch
    from safetensors.torch import load_file

    if is_safetensors(source):
        return load_file(source)
    return flatten(torch.load(source, map_location="cpu", weights_only=True))


def _write(target: Path, state: dict[str, Any], metadata: dict[str, str]) -> None:
    from safetensors.torch import save_file

    unfinished = target.with_suffix(".part")
    tensors = {key: tensor.contiguous() for key, tensor in state.items()}
    save_file(tensors, unfinished, metadata={"format": "pt", **metadata})
    unfinished.replace(target)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        print(convert(Path(sys.argv[1])))
    except (LikenessError, OSError) as problem:
        sys.exit(str(problem))
