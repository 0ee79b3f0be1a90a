"""Masks of parts of the body, from the numbers of an IUV picture; surfaces and masks over photos, for the eye."""

from collections.abc import Collection, Sequence

import torch
from PIL import Image
from torch import Tensor

from ..errors import BadParts, BadSize, counted, listed
from ..geometry import Fit
from ..previews import as_picture, as_tensor, color_of
from .iuv import parts_in

GROUPS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "head": ((23, 24), (23, 24)),
    "torso": ((1, 2), (1, 2)),
    "upper_arms": ((16, 18), (15, 17)),
    "forearms": ((20, 22), (19, 21)),
    "hands": ((3,), (4,)),
    "thighs": ((7, 9), (8, 10)),
    "lower_legs": ((11, 13), (12, 14)),
    "feet": ((6,), (5,)),
}
"""The numbers of the right and the left one; head and torso have no sides."""
SIDES = ("both", "right", "left")


def mask(image: Tensor, groups: Collection[str], side: str, people: Tensor | None = None) -> Tensor:
    """White where an IUV picture (B, H, W, C) shows parts of the body, (B, H, W) float32 0 or 1.

    groups: of GROUPS. side: of SIDES, the person's own. people: (N, H, W) 0..1, one mask each; then (N, H, W) comes
    out, row n from picture n where there are several. Raises NotIUV, BadParts, BadSize.
    """
    parts = parts_in(image)
    if not groups:
        raise BadParts("No part of the body is chosen.", f"Switch on one of {listed(list(GROUPS))}.")
    sides = (0, 1) if side == "both" else (SIDES.index(side) - 1,)
    found = _shown(parts, [number for name in groups for one in sides for number in GROUPS[name][one]])
    if people is not None:
        if not (people > 0.5).any():
            raise BadParts("people is all zero: it shows no person.", "Link people of the same node, or nothing.")
        size = (people.shape[2], people.shape[1])
        if people.shape[1:] != found.shape[1:]:
            expected = f"surface is {found.shape[2]}x{found.shape[1]} px"
            raise BadSize("people", size, expected, "Link both from the same node.")
        if len(found) > 1 and len(people) != len(found):
            expected = f"it has {counted(len(people), 'mask')} and surface {counted(len(found), 'picture')}"
            raise BadSize("people", size, expected, "Give one photo at a time, or leave people unlinked.")
        found = found * (people > 0.5)
    empty = [number for number, one in enumerate(found, 1) if not one.any()]
    if empty:
        whose = "person" if people is not None else "picture"
        which = f" for {whose} {listed(empty)}" if len(found) > 1 else ""
        seen = [name for name, numbers in GROUPS.items() if _shown(parts, sum(numbers, ())).any()]
        what = listed(sorted(groups, key=list(GROUPS).index)) + (f", {side}" if side != "both" else "")
        raise BadParts(f"Nothing is seen of {what}{which}.", f"Choose other parts; surface shows {listed(seen)}.")
    return found


def _shown(parts: Tensor, numbers: Sequence[int]) -> Tensor:
    return torch.isin(parts, torch.tensor(numbers, dtype=parts.dtype)).float()


def over(surfaces: Tensor, photos: Tensor, fit: str) -> Tensor:
    """Surfaces (B, H, W, 3) over the photos (B, h, w, C) they were found in, on the same canvas, (B, H, W, 3)."""
    size = surfaces.shape[2], surfaces.shape[1]
    below = torch.stack([_placed(photo, size, fit) for photo in photos])
    return torch.lerp(below, surfaces, 0.7 * (surfaces[..., 2:] > 0))


def masked(masks: Tensor, images: Tensor) -> Tensor:
    """Masks (N, H, W) in the colours of people over pictures (B, h, w, C), row n over picture n or the only one; all
    of one picture together. Returns (B, H, W, 3). Raises BadSize for several pictures that are not as many as masks."""
    size = masks.shape[2], masks.shape[1]
    if len(images) not in (1, len(masks)):
        there = f"there {'is' if len(masks) == 1 else 'are'} {counted(len(masks), 'mask')}"
        expected = f"it has {counted(len(images), 'picture')} and {there}"
        advice = "Connect the photo that surface was made from, or none."
        raise BadSize("image", (images.shape[2], images.shape[1]), expected, advice)
    shown = torch.stack([_placed(image, size, "stretch") for image in images]) * 0.6
    for number, mask in enumerate(masks):
        row, color = number if len(shown) > 1 else 0, torch.tensor(color_of(number)) / 255
        shown[row] = torch.lerp(shown[row], color, 0.65 * mask[..., None])
    return shown


def _placed(photo: Tensor, size: tuple[int, int], fit: str) -> Tensor:
    """A photo (h, w, C) on a canvas (width, height), black beside it."""
    picture = as_picture(photo)
    onto = Fit.into(picture.size, size, fit)
    # The canvas is cut out of the photo, so that nothing larger than it is made.
    data = (1 / onto.scale_x, 0, -onto.shift_x / onto.scale_x, 0, 1 / onto.scale_y, -onto.shift_y / onto.scale_y)
    return as_tensor(picture.transform(size, Image.Transform.AFFINE, data, Image.Resampling.BILINEAR))
