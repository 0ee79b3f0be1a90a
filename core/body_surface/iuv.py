"""DensePose's IUV picture: which of 24 parts of the body each pixel shows, and where on that part it lies.

Red is V and green is U, 0 to 255 along and across each part's chart; blue is the number of the part, 1 to 24, as a
number of 255; what is no body is black. Source: facebookresearch/DensePose, detectron/core/test.py im_detect_body_uv
and detectron/utils/vis.py, whose pictures are the poses of DeepFashion-MultiModal, with which Parts2Whole was trained.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from ..errors import BadParts, BadSize, LikenessError, counted, listed
from ..geometry import Fit
from ..pictures import as_drawing
from ..previews import as_picture, as_tensor, color_of

PARTS = 24
SHORTER, LONGEST = 800, 1333
"""Sides in pixels of the picture that the network looks at (detectron2: MIN_SIZE_TEST and MAX_SIZE_TEST)."""
_MOST = 2**26
"""Pixels of a body that is drawn: four times the largest canvas of the node. Charts of more fill the memory."""
_STEP = 32  # of the sides of that picture: the coarsest level of the network's features


@dataclass(frozen=True, eq=False)
class Bodies:
    """What the network found in one picture, the surest body first. All float32 on the CPU.

    boxes: (N, 4) x0, y0, x1, y1 in pixels. inside: (N, K, h, w), K > 1, the first for what is no body. parts, u, v:
    (N, 25, h, w), the first for none of them.
    """

    boxes: Tensor
    inside: Tensor
    parts: Tensor
    u: Tensor
    v: Tensor

    def surest(self, most: int) -> "Bodies":
        """The first ones; all for 0."""
        return Bodies(*(one[: most or None] for one in (self.boxes, self.inside, self.parts, self.u, self.v)))


def bodies(given: Any) -> Bodies:
    """The five tensors that the published network returns. Raises ValueError, saying what else they are."""
    values: Sequence[Any] = given if issubclass(type(given), (tuple, list)) else ()
    tensors = [one.float().cpu() for one in values if isinstance(one, Tensor)]
    if len(values) != 5 or len(tensors) != 5:
        found = f"{len(values)} values, {len(tensors)} of them tensors," if values else f"a {type(given).__name__}"
        raise ValueError(f"it returns {found} instead of boxes, bodies, parts, U and V")
    shapes = [tuple(one.shape) for one in tensors]
    number, charts = shapes[0][:1], (PARTS + 1, *shapes[1][2:])
    right = [(*number, 4), (*number, *shapes[1][1:2], *charts[1:]), *[(*number, *charts)] * 3]
    if shapes != right or len(shapes[1]) != 4 or shapes[1][1] < 2 or 0 in shapes[1][2:]:
        raise ValueError(f"it returns tensors of shapes {shapes} instead of (N, 4), (N, 2, h, w) and (N, 25, h, w) x 3")
    if not all(one.isfinite().all() for one in tensors):
        raise ValueError("NaN or infinity is among the numbers it returns")
    wide, high = (int((tensors[0][:, side + 2] - tensors[0][:, side]).max()) if number[0] else 0 for side in (0, 1))
    if max(wide, high) > 2 * LONGEST:
        raise ValueError(f"it returns a body of {wide}x{high} px in a picture of at most {LONGEST}")
    return Bodies(*tensors)


def looked_at(width: int, height: int) -> tuple[int, int]:
    """The size at which the network looks at a photo of this size, both (width, height)."""
    scale = min(SHORTER / min(width, height), LONGEST / max(width, height))
    return max(_STEP, round(width * scale / _STEP) * _STEP), max(_STEP, round(height * scale / _STEP) * _STEP)


@dataclass(frozen=True, eq=False)
class Surface:
    """The bodies of one picture on a canvas. iuv: (3, H, W) uint8, V, U and part. person: (H, W) int, 0 is nobody, n
    the n-th of `Bodies`."""

    iuv: Tensor
    person: Tensor

    @classmethod
    def empty(cls, width: int, height: int) -> "Surface":
        return cls(torch.zeros(3, height, width, dtype=torch.uint8), torch.zeros(height, width, dtype=torch.int32))

    def put(self, number: int, x: int, y: int, iuv: Tensor) -> None:
        """Body `number` (3, h, w) with its upper left corner at x, y. What lies beside the canvas is cut off."""
        height, width = self.person.shape
        top, left = max(0, y), max(0, x)
        cut = iuv[:, top - y : max(top, height) - y, left - x : max(left, width) - x]
        shown = cut[2] > 0
        rows, columns = slice(top, top + cut.shape[1]), slice(left, left + cut.shape[2])
        self.iuv[:, rows, columns] = torch.where(shown, cut, self.iuv[:, rows, columns])
        self.person[rows, columns] = torch.where(shown, number, self.person[rows, columns])

    @property
    def image(self) -> Tensor:
        """(H, W, 3) float32 0..1."""
        return self.iuv.movedim(0, -1).contiguous().float() / 255

    @property
    def people(self) -> Tensor:
        """(people, H, W) float32 0 or 1: where each is seen, from left to right. Who is quite covered is not there."""
        each = [self.person == number for number in range(1, int(self.person.max()) + 1)]
        seen = [mask.float() for mask in each if mask.any()]
        masks = sorted(seen, key=lambda mask: float(mask.nonzero()[:, 1].float().mean()))  # by the middle column
        return torch.stack(masks) if masks else torch.zeros(0, *self.person.shape)


def drawn(found: Bodies, fit: Fit, width: int, height: int) -> Surface:
    """The bodies on a canvas of this size. fit: of the pixels of their boxes onto it.

    As published: charts stretched to the whole pixels of the box, the part with the largest score wherever the body
    has more than the background, 255 times U and V cut to whole numbers. Where two bodies overlap the less sure one is
    seen, as there: what comes later is drawn over it. Raises BadSize for a body far larger than any canvas.
    """
    surface = Surface.empty(width, height)
    for number, box in enumerate(found.boxes):
        x0, y0, x1, y1 = fit.box((float(box[0]), float(box[1]), float(box[2]), float(box[3])))
        size = max(1, int(y1 - y0)), max(1, int(x1 - x0))
        if size[0] * size[1] > _MOST:
            advice = "Choose pad for fit, or a photo of the picture's shape."
            raise BadSize("A body", (size[1], size[0]), f"at most {_MOST // 10**6} million pixels are drawn", advice)
        part = _largest(found.parts[number], size) * (_largest(found.inside[number], size) > 0)
        u, v = (_of_part(chart[number], part) for chart in (found.u, found.v))
        surface.put(number + 1, int(x0), int(y0), torch.stack([v, u, part.to(torch.uint8)]))
    return surface


def _largest(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """(K, h, w) -> (height, width) int, which of K is largest. One after the other: K of them may fill the memory."""
    best = _stretched(scores[0], size)
    which = torch.zeros(size, dtype=torch.int32)
    for number in range(1, len(scores)):
        score = _stretched(scores[number], size)
        larger = score > best
        best, which = torch.where(larger, score, best), which.masked_fill(larger, number)
    return which


def _of_part(charts: Tensor, part: Tensor) -> Tensor:
    """(25, h, w) -> uint8 of the shape of `part`, each pixel from the chart of its part."""
    found = torch.zeros(part.shape)
    for number in range(1, PARTS + 1):
        if (shown := part == number).any():
            found = torch.where(shown, _stretched(charts[number], (part.shape[0], part.shape[1])), found)
    # Below zero the published pictures go on at 255: a C cast of the float to a byte.
    return ((found.double() * 255).clamp(-(2.0**30), 255).to(torch.int32) & 255).to(torch.uint8)


def _stretched(chart: Tensor, size: tuple[int, int]) -> Tensor:
    return interpolate(chart[None, None], size, mode="bilinear", align_corners=False)[0, 0]


class NotIUV(LikenessError):
    """A picture that is no DensePose IUV."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"surface is no DensePose IUV picture: {why}.",
            "Link surface of Detect Body Surface or image of Draw Skeletons, unchanged: Viridis and Parula pictures "
            "are another encoding, and resizing makes up parts at every edge.",
        )


def parts_in(image: Tensor) -> Tensor:
    """The number of the part that each pixel of an IMAGE (B, H, W, 1|3|4) shows, (B, H, W) int; 0 is none.

    Raises NotIUV.
    """
    rgb = as_drawing(image) * 255
    blue = rgb[..., 2]
    if float(blue.max()) > PARTS + 0.5:
        raise NotIUV(f"its blue goes up to {float(blue.max()):.0f} of 255, parts have the numbers 1 to {PARTS}")
    part = blue.round().to(torch.int32)
    if float((blue - part).abs().max()) > 0.2:  # what 16 bits leave of it
        raise NotIUV("its blue has values between the whole numbers, so it has been resized or filtered")
    beside = rgb[..., :2].amax(-1) * (part == 0)
    if float(beside.max()) > 0.5:
        raise NotIUV(f"its red or green is {float(beside.max()):.0f} where no part is, and black is needed there")
    if not part.any():
        raise NotIUV("it is black, without people")
    return part


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
