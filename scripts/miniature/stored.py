"""miniature.safetensors, and a file for what InstantID adds and for Parts2Whole: the weights, eight bits a number.

In the metadata stands where they come from. A tensor of two or more dimensions is int8 with one scale per row; the
rest, and what is small, is fp16.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from .net import Miniature

FILE = Path(__file__).with_name("miniature.safetensors")
FILES = {"networks": FILE, **{part: FILE.with_name(f"{part}.safetensors") for part in ("instant_id", "parts2whole")}}
"""By the lesson after which they are written: in the last two what begins with their names."""
_SCALE = ".scale"
_LARGE = 2048
# What no training changes: net.py writes it.
_FIXED = ("patch_proj.proj_out.", "patch_proj.norm_out.")


def save(net: Miniature, path: Path, told: Mapping[str, str]) -> None:
    """What belongs into this file. told: metadata, for people."""
    stored: dict[str, Tensor] = {}
    for key, weight in net.state_dict().items():
        part = key.partition(".")[0]
        if key.startswith(_FIXED) or FILES.get(part, FILE).name != path.name:
            continue
        if weight.ndim < 2 or weight.numel() < _LARGE:
            stored[key] = weight.half().contiguous()
            continue
        largest = weight.flatten(1).abs().amax(1).clamp(min=1e-8)
        scale = (largest / 127).half().float().clamp(min=2**-24)
        rows = weight.flatten(1) / scale[:, None]
        stored[key] = rows.round().clamp(-127, 127).to(torch.int8).view(weight.shape)
        stored[key + _SCALE] = scale.half()
    save_file(stored, path, dict(told))


def load(path: Path = FILE) -> Miniature:
    """path: miniature.safetensors, with the other two beside it."""
    net, state = Miniature(), dict[str, Tensor]()
    for file in FILES.values():
        state |= _state(path.with_name(file.name))
    left_out = net.load_state_dict(state, strict=False)
    lacking = [key for key in left_out.missing_keys if not key.startswith(_FIXED)]
    if lacking or left_out.unexpected_keys:
        raise ValueError(f"{path} is no miniature: lacks {lacking}, has {left_out.unexpected_keys} too many")
    return net.eval().requires_grad_(False)


def _state(path: Path) -> dict[str, Tensor]:
    with safe_open(path, "pt") as file:
        keys = set(file.keys())
        return {key: _read(file, key, keys) for key in keys if not key.endswith(_SCALE)}


def _read(file: safe_open, key: str, keys: set[str]) -> Tensor:
    weight: Tensor = file.get_tensor(key).float()
    if key + _SCALE not in keys:
        return weight
    scale: Tensor = file.get_tensor(key + _SCALE).float()
    return (weight.flatten(1) * scale[:, None]).view(weight.shape)


def told(path: Path = FILE) -> dict[str, str]:
    """Where the weights come from."""
    with safe_open(path, "pt") as file:
        return file.metadata()
