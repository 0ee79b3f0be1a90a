"""miniature.safetensors, and files for InstantID, Parts2Whole and shared parts: the weights, eight bits a number.

In the metadata stands where they come from. A tensor of two or more dimensions is int8 with one scale per row; the
rest, and what is small, is fp16. Of `sharing` what the UNet has too is left out.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from environment import SetupError
from rig.whole import written
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.models.tensors import below

from .net import Miniature

State = dict[str, Tensor]
FILE = Path(__file__).with_name("miniature.safetensors")
_OF_PARTS = {part: FILE.with_name(f"{part}.safetensors") for part in ("instant_id", "parts2whole", "sharing")}
FILES = {"networks": FILE, **_OF_PARTS}
"""By the lesson after which they are written: the last three hold the keys that begin with their names."""
_SCALES = "scales"
"""Of all rows that are int8, in the order of the keys."""
_LARGE = 2048
"""Tensors with fewer numbers stay fp16."""
_INT8_MOST = 127
_LEAST_SCALE = 2**-24
"""The smallest number of fp16 above zero."""
# What no training changes: net.py writes it.
_FIXED = ("patch_proj.proj_out.", "patch_proj.norm_out.")


def save(net: Miniature, path: Path, metadata: Mapping[str, str]) -> None:
    """The weights that belong into this file, whole or not at all. metadata: for people. Raises OSError."""
    state = net.state_dict()
    tensors: State = {}
    scales: list[Tensor] = []
    for key, weight in sorted(state.items()):
        part = key.partition(".")[0]
        if key.startswith(_FIXED) or FILES.get(part, FILE).name != path.name:
            continue
        if part == "sharing" and torch.equal(weight, state[key.replace(part, "unet", 1)]):
            continue
        if weight.ndim < 2 or weight.numel() < _LARGE:
            tensors[key] = weight.half().contiguous()
            continue
        rows = weight.flatten(1)  # (rows, numbers of a row)
        largest = rows.abs().amax(1).clamp(min=1e-8)
        scale = (largest / _INT8_MOST).half().float().clamp(min=_LEAST_SCALE)  # (rows,)
        whole_numbers = (rows / scale[:, None]).round().clamp(-_INT8_MOST, _INT8_MOST)
        tensors[key] = whole_numbers.to(torch.int8).view(weight.shape)
        scales.append(scale.half())
    tensors[_SCALES] = torch.cat(scales)
    written(path, partial(save_file, tensors, metadata=dict(metadata)))


def load(path: Path = FILE) -> Miniature:
    """path: miniature.safetensors, with the others beside it. Raises SetupError for a file that cannot be read."""
    net = Miniature()
    state: State = {}
    for file in FILES.values():
        state |= _state(path.with_name(file.name))
    of_unet = {f"sharing.{key}": weight for key, weight in below("unet.", state).items()}
    result = net.load_state_dict(of_unet | state, strict=False)
    missing = [key for key in result.missing_keys if not key.startswith(_FIXED)]
    if missing or result.unexpected_keys:
        raise ValueError(f"{path} is no miniature: lacks {missing}, has {result.unexpected_keys} too many")
    return net.eval().requires_grad_(False)


def _state(path: Path) -> State:
    """A file's weights as float32."""
    advice = f"To have it back: git checkout -- {path}"
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as why:
        raise SetupError(f"{path} cannot be read ({why}). {advice}") from why
    scales = state.pop(_SCALES, torch.zeros(0)).float()
    rows = 0
    for weight in state.values():
        if weight.dtype == torch.int8:
            rows += len(weight)
    if rows != len(scales):
        raise SetupError(
            f"{path} has {len(scales)} scales for {rows} rows of int8: it is damaged or of another version of this. "
            f"{advice}"
        )
    first = 0
    for key, weight in sorted(state.items()):
        state[key] = weight.float()
        if weight.dtype == torch.int8:
            scale = scales[first : first + len(weight)]
            first += len(weight)
            state[key] = (state[key].flatten(1) * scale[:, None]).view(weight.shape)
    return state


def metadata(path: Path = FILE) -> dict[str, str]:
    """Where the weights come from."""
    with safe_open(path, "pt") as file:
        return file.metadata()
