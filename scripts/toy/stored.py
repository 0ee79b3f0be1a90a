"""id_patch.safetensors, and files for InstantID, Parts2Whole and shared parts: the weights, eight bits a number.

In the metadata stands where they come from. A tensor of two or more dimensions is int8 with one scale per row; the
rest, and what is small, is fp16. Of `sharing` and `story` what the UNet has too is left out.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from environment import SetupError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from shared.whole import written
from torch import Tensor

from core.models.tensors import below

from .net import ToyModel

State = dict[str, Tensor]
_OTHER_UNETS = ("sharing", "story")
FILE = Path(__file__).with_name("id_patch.safetensors")
_OF_PARTS = {part: FILE.with_name(f"{part}.safetensors") for part in ("instant_id", "parts2whole", *_OTHER_UNETS)}
FILES = {"networks": FILE, **_OF_PARTS}
"""All but the first hold the keys that begin with their names."""
_LARGE = 2048
"""Numbers from which a tensor is eight bits."""
_SCALES = "scales"
"""Of all rows that are int8, in the order of the keys."""
# What no training changes: net.py writes it.
_FIXED = ("patch_proj.proj_out.", "patch_proj.norm_out.")


def load() -> ToyModel:
    """Raises SetupError for a file that cannot be read."""
    net = ToyModel()
    state: State = {}
    for file in FILES.values():
        state |= _state(file)
    of_unet: State = {}
    for other in _OTHER_UNETS:
        of_unet |= {f"{other}.{key}": weight for key, weight in below("unet.", state).items()}
    result = net.load_state_dict(of_unet | state, strict=False)
    missing = [key for key in result.missing_keys if not key.startswith(_FIXED)]
    if missing or result.unexpected_keys:
        raise ValueError(f"{FILE} is not the toy model's: it lacks {missing}, has {result.unexpected_keys} too many")
    return net.eval().requires_grad_(False)


def save(net: ToyModel, part: str, told: Mapping[str, str]) -> None:
    """Write the file of a part of FILES but `networks`. told: its metadata, for people."""
    state = net.state_dict()
    stored: State = {}
    scales: list[Tensor] = []
    for key, weight in sorted(state.items()):
        if not key.startswith(f"{part}."):
            continue
        if part in _OTHER_UNETS and torch.equal(weight, state[key.replace(part, "unet", 1)]):
            continue
        if weight.ndim < 2 or weight.numel() < _LARGE:
            stored[key] = weight.half().contiguous()
            continue
        rows = weight.flatten(1)
        scale = (rows.abs().amax(1) / 127).half().float().clamp(min=2**-24)
        stored[key] = (rows / scale[:, None]).round().clamp(-127, 127).to(torch.int8).view(weight.shape)
        scales.append(scale.half())
    stored[_SCALES] = torch.cat([*scales, torch.zeros(0, dtype=torch.float16)])
    written(FILES[part], lambda unfinished: save_file(stored, unfinished, dict(told)))


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
