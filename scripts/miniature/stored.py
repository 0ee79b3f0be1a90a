"""miniature.safetensors, and files for InstantID, Parts2Whole and shared parts: the weights, eight bits a number.

In the metadata stands where they come from. A tensor of two or more dimensions is int8 with one scale per row; the
rest, and what is small, is fp16. Of `sharing` what the UNet has too is left out.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from environment import SetupError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.models.tensors import below

from .net import Miniature

FILE = Path(__file__).with_name("miniature.safetensors")
_OWN = {part: FILE.with_name(f"{part}.safetensors") for part in ("instant_id", "parts2whole", "sharing")}
FILES = {"networks": FILE, **_OWN}
"""By the lesson after which they are written: the last three hold what begins with their names."""
_SCALES = "scales"
"""Of all rows that are int8, in the order of the keys."""
_LARGE = 2048
# What no training changes: net.py writes it.
_FIXED = ("patch_proj.proj_out.", "patch_proj.norm_out.")


def save(net: Miniature, path: Path, told: Mapping[str, str]) -> None:
    """What belongs into this file. told: metadata, for people."""
    stored, scales, state = dict[str, Tensor](), list[Tensor](), net.state_dict()
    for key, weight in sorted(state.items()):
        part = key.partition(".")[0]
        if key.startswith(_FIXED) or FILES.get(part, FILE).name != path.name:
            continue
        if part == "sharing" and torch.equal(weight, state[key.replace(part, "unet", 1)]):
            continue
        if weight.ndim < 2 or weight.numel() < _LARGE:
            stored[key] = weight.half().contiguous()
            continue
        largest = weight.flatten(1).abs().amax(1).clamp(min=1e-8)
        scale = (largest / 127).half().float().clamp(min=2**-24)
        rows = weight.flatten(1) / scale[:, None]
        stored[key] = rows.round().clamp(-127, 127).to(torch.int8).view(weight.shape)
        scales.append(scale.half())
    save_file({**stored, _SCALES: torch.cat(scales)}, path, dict(told))


def load(path: Path = FILE) -> Miniature:
    """path: miniature.safetensors, with the others beside it."""
    net, state = Miniature(), dict[str, Tensor]()
    for file in FILES.values():
        state |= _state(path.with_name(file.name))
    state = {f"sharing.{key}": weight for key, weight in below("unet.", state).items()} | state
    left_out = net.load_state_dict(state, strict=False)
    lacking = [key for key in left_out.missing_keys if not key.startswith(_FIXED)]
    if lacking or left_out.unexpected_keys:
        raise ValueError(f"{path} is no miniature: lacks {lacking}, has {left_out.unexpected_keys} too many")
    return net.eval().requires_grad_(False)


def _state(path: Path) -> dict[str, Tensor]:
    advice = f"To have it back: git checkout -- {path}"
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as why:
        raise SetupError(f"{path} cannot be read ({why}). {advice}") from why
    scales = state.pop(_SCALES, torch.zeros(0)).float()
    if (rows := sum(len(weight) for weight in state.values() if weight.dtype == torch.int8)) != len(scales):
        found = f"{path} has {len(scales)} scales for {rows} rows of int8: it is damaged or of another version of this."
        raise SetupError(f"{found} {advice}")
    for key, weight in sorted(state.items()):
        state[key] = weight.float()
        if weight.dtype == torch.int8:
            scale, scales = scales[: len(weight)], scales[len(weight) :]
            state[key] = (state[key].flatten(1) * scale[:, None]).view(weight.shape)
    return state


def told(path: Path = FILE) -> dict[str, str]:
    """Where the weights come from."""
    with safe_open(path, "pt") as file:
        return file.metadata()
