"""Which part of the pictures a forward shows: an area of a prompt, or the rows of a window; the hint that fits it.

Set Area and a mask with `set_area_to_bounds` let the host compute a prompt in a part of the latent only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from comfy.utils import common_upscale
from torch import Tensor

from ...core.checks.errors import BadSetup

Area = tuple[int, int, int, int]
"""(height, width, y, x) in latent pixels."""
LatentSize = tuple[int, int]
"""(height, width) in latent pixels."""
RowNumbers = tuple[int, ...]
"""Numbers of rows of a batch, from 0."""


def row_window(options: Mapping[str, Any]) -> RowNumbers | None:
    """The rows of the batch that a forward shows, in a window of the host (Context Windows) or of AnimateDiff-Evolved.

    None where it shows all of them. options: the transformer_options of the forward. Raises BadSetup for a
    window over a side of the picture: in each of them everybody would act, for regions are those of the whole picture.
    """
    window: Any = options.get("context_window")
    if window is not None and window.dim != 0:
        raise BadSetup(
            f"Context Windows (dim {window.dim}) show the MODEL a piece of the picture at a time, and everybody "
            "would be drawn anew in each piece.",
            "Set dim to 0, which is for batches, or take that node out and sample the picture as a whole.",
        )
    if window is not None:
        # The host may show a row before the window's first as well, and drop what comes of it.
        anchor: int | None = getattr(window, "causal_anchor_index", None)
        in_front = [] if anchor is None or anchor < 0 else [anchor]
        return (*in_front, *window.index_list)
    of_pack: Mapping[str, Any] = options.get("ad_params") or {}
    rows: Sequence[int] | None = of_pack.get("sub_idxs")
    return None if rows is None else tuple(rows)


def area_of(area: Sequence[int]) -> Area:
    """The area of a prompt as an Area.

    area: as the host has it, first the lengths of all dimensions and then where the area begins in each of them:
    (height, width, y, x), and for a video model (frames, height, width, frame, y, x), of which frames are left out.
    """
    dimensions = len(area) // 2
    height, width = area[:dimensions][-2:]
    y, x = area[-2:]
    return height, width, y, x


def will_have_area(options: Mapping[str, Any]) -> bool:
    """Whether the host will give an entry with these options an area: that of Set Area, or the bounds of its mask."""
    return "area" in options or ("mask" in options and options.get("set_area_to_bounds", False))


def latent_size(x: Tensor) -> LatentSize:
    """The size of latents, (..., h, w)."""
    return int(x.shape[-2]), int(x.shape[-1])


def in_pixels(latent: LatentSize, cell: int) -> tuple[int, int]:
    """The size of a latent as (width, height) in pixels. cell: the side of a latent pixel, in pixels."""
    height, width = latent
    return cell * width, cell * height


def hint_of_area(hint: Tensor, latent: LatentSize, area: Area, upscale_algorithm: str, cell: int) -> Tensor:
    """The part of a ControlNet's picture that an area shows: (B, C, cell * height, cell * width) in pixels.

    hint: (B, C, H, W), of the whole picture, fitted to it as the host does. latent: the size of the whole picture, in
    latent pixels of `cell` pixels each.
    """
    latent_height, latent_width = latent
    # "center", as in the host's ControlNet.get_control: of a hint of another shape the middle is taken.
    fitted_hint = common_upscale(hint, cell * latent_width, cell * latent_height, upscale_algorithm, "center")
    height, width, y, x = (cell * side for side in area)  # in pixels
    return fitted_hint[..., y : y + height, x : x + width]
