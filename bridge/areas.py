"""Prompts with an area of their own: which part of the picture a forward shows, and the part of a hint that fits it.

Set Area and a mask with `set_area_to_bounds` let the host compute a prompt in a part of the latent only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from comfy.model_base import BaseModel
from comfy.utils import common_upscale
from torch import Tensor

from .unet import Options

Area = tuple[int, int, int, int]
"""(height, width, y, x) in latent pixels."""
LatentSize = tuple[int, int]
"""(height, width) in latent pixels."""

WHOLE_LATENT = "likeness_whole_latent"
"""Of transformer_options in a run of ours: the LatentSize of what is denoised."""


def area_of(area: Sequence[int]) -> Area:
    """The host's area of a prompt, sizes and then places, without its frames, which come first in either."""
    sides = len(area) // 2
    height, width = area[sides - 2 : sides]
    y, x = area[-2:]
    return height, width, y, x


def will_have_area(options: Mapping[str, Any]) -> bool:
    """Whether the host will give an entry with these options an area: that of Set Area, or the bounds of its mask."""
    return "area" in options or ("mask" in options and options.get("set_area_to_bounds", False))


def latent_of_run(model: BaseModel) -> LatentSize | None:
    """The size of what a run denoises; None in ComfyUI 0.3.64, which does not tell."""
    shapes = getattr(model, "latent_shapes", None)
    if not shapes:
        return None
    height, width = shapes[0][-2:]
    return int(height), int(width)


def whole_latent(x: Tensor, area: Area | None, options: Options, known: LatentSize | None) -> LatentSize | None:
    """The size of the whole latent in one forward of a run; None where that is unknown.

    x: (B, C, h, w), of the whole picture where area is None, else of this area of it. options: the transformer_options
    of the forward. known: what the net has been told of the run before, see latent_of_run.
    """
    if area is None:
        return int(x.shape[-2]), int(x.shape[-1])
    return options.get(WHOLE_LATENT, known)


def hint_of_area(hint: Tensor, latent: LatentSize, area: Area, upscale_algorithm: str, cell: int = 8) -> Tensor:
    """The part of a ControlNet's picture that an area shows: (B, C, cell * height, cell * width) in pixels.

    hint: (B, C, H, W), of the whole picture, fitted to it as the host does. latent: the size of the whole picture, in
    latent pixels of `cell` pixels each.
    """
    high, wide = latent
    whole = common_upscale(hint, cell * wide, cell * high, upscale_algorithm, "center")
    height, width, y, x = (cell * side for side in area)
    return whole[..., y : y + height, x : x + width]


@dataclass
class AreaHint:
    """picture: of an area, in pixels. fitted: what the host has made of it for the net, once it has."""

    picture: Tensor
    fitted: Tensor | None = None
