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

from ..errors import BadParts, BadSize, listed
from ..geometry import Fit
from ..previews import as_picture, as_tensor

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


def part_masks(surfaces: Sequence[Surface], groups: Collection[str], side: str) -> Tensor:
    """White where people show the chosen parts of the body, (people, H, W) float32 0 or 1.

    There is a mask for every row of `Surface.people`, the people of one surface after those of another. groups: of
    GROUPS. side: of SIDES, the person's own. Raises BadParts where no part is chosen, and where a person shows none of
    them.
    """
    require_part(groups)
    chosen = _numbers(groups, side)
    masks = list[Tensor]()
    for surface in surfaces:
        part = surface.iuv[2]  # (H, W), the number of the part, 0 for none
        shown = torch.isin(part, chosen).float()
        # (H, W) * (people, H, W) -> (people, H, W)
        masks.append(shown * surface.people)
    mask = torch.cat(masks)
    unseen = [number for number, row in enumerate(mask, 1) if not row.any()]
    if unseen:
        what = listed(sorted(groups, key=list(GROUPS).index))
        if side != "both":
            what += f", {side}"
        whose = f" for person {listed(unseen)}" if len(mask) > 1 else ""
        visible = listed(groups_in(surfaces))
        raise BadParts(f"Nothing is seen of {what}{whose}.", f"Choose other parts; the photo shows {visible}.")
    return mask


def require_part(groups: Collection[str]) -> None:
    """Raises BadParts where no group of GROUPS is chosen."""
    if not groups:
        raise BadParts("No part of the body is chosen.", f"Switch on one of {listed(list(GROUPS))}.")


def groups_in(surfaces: Sequence[Surface]) -> list[str]:
    """The groups of which something is seen."""
    visible = list[str]()
    for name in GROUPS:
        numbers = _numbers([name], "both")
        if any(torch.isin(surface.iuv[2], numbers).any() for surface in surfaces):
            visible.append(name)
    return visible


def _numbers(groups: Collection[str], side: str) -> Tensor:
    """Of the parts of these groups, (n,) uint8 as in Surface.iuv. side: of SIDES."""
    numbers = list[int]()
    for name in groups:
        right, left = GROUPS[name]
        if side != "left":
            numbers += right
        if side != "right":
            numbers += left
    return torch.tensor(numbers, dtype=torch.uint8)


def over(surfaces: Tensor, photos: Tensor, fit: str) -> Tensor:
    """Surfaces (B, H, W, 3) over the photos (B, h, w, C) they were found in, on the same canvas, (B, H, W, 3)."""
    size = surfaces.shape[2], surfaces.shape[1]
    below = torch.stack([_placed(photo, size, fit) for photo in photos])
    return torch.lerp(below, surfaces, 0.7 * (surfaces[..., 2:] > 0))


def _placed(photo: Tensor, size: tuple[int, int], fit: str) -> Tensor:
    """A photo (h, w, C) on a canvas (width, height), black beside it."""
    picture = as_picture(photo)
    onto = Fit.into(picture.size, size, fit)
    # The canvas is cut out of the photo, so that nothing larger than it is made.
    data = (1 / onto.scale_x, 0, -onto.shift_x / onto.scale_x, 0, 1 / onto.scale_y, -onto.shift_y / onto.scale_y)
    return as_tensor(picture.transform(size, Image.Transform.AFFINE, data, Image.Resampling.BILINEAR))
