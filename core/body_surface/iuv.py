"""DensePose's IUV picture: which of 24 parts of the body each pixel shows, and where on that part it lies.

Red is V and green is U, 0 to 255 along and across each part's chart; blue is the number of the part, 1 to 24, as a
number of 255; what is no body is black. Source: facebookresearch/DensePose, detectron/core/test.py im_detect_body_uv
and detectron/utils/vis.py, whose pictures are the poses of DeepFashion-MultiModal, with which Parts2Whole was trained.
"""

from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from ..checks.errors import BadSize
from ..pictures.geometry import Fit
from ..pictures.previews import as_picture, as_tensor

PARTS = 24
SHORTER, LONGEST = 800, 1333
"""Sides in pixels of the picture that the network looks at (detectron2: MIN_SIZE_TEST and MAX_SIZE_TEST)."""
_MOST_PIXELS = 2**26
"""The most pixels of a body that is drawn: four times the largest canvas of the node. Larger charts fill the memory."""
_STEP = 32
"""Sides of the picture that the network looks at are multiples of this: pixels between two places of its coarsest
features."""
_LEAST_COORDINATE = -(2.0**30)
"""Coordinates (times 255) below this are raised to it before they become int32, which could not hold them: converting
such a float is undefined."""
_OPACITY = 0.7
"""How much a surface covers the photo over which it is drawn, 0 to 1."""


@dataclass(frozen=True, eq=False)
class Bodies:
    """What the network found in one picture: N bodies, the surest first. From `read_bodies`: all float32 on the CPU.

    Charts are h x w pixels over the body's box, whatever the size of the box.
    boxes: (N, 4) x0, y0, x1, y1 in pixels of the picture that the network saw.
    inside: (N, K, h, w), K >= 2: scores of the background, channel 0, and of body, the other channels; K is 2 in
    network.py.
    parts: (N, 25, h, w), scores of no part, channel 0, and of the 24 parts. u, v: (N, 25, h, w), the coordinates 0..1
    on each part, in the same channels.
    """

    boxes: Tensor
    inside: Tensor
    parts: Tensor
    u: Tensor
    v: Tensor

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All fields, in their order."""
        return (self.boxes, self.inside, self.parts, self.u, self.v)

    def surest(self, most_bodies: int) -> "Bodies":
        """The first `most_bodies` bodies, which are the surest; all bodies for 0."""
        end = most_bodies or None
        return Bodies(*(tensor[:end] for tensor in self.tensors))


def read_bodies(outputs: Bodies) -> Bodies:
    """The bodies that the network returns, of any dtype and on any device, as float32 on the CPU.

    The weights come from a file of the user's, so what they give is checked. Raises ValueError, saying what the outputs
    are instead: for other shapes, for NaN or infinity, and for a box far larger than the picture.
    """
    bodies = Bodies(*(tensor.float().cpu() for tensor in outputs.tensors))
    if not _shapes_fit(bodies):
        shapes = [tuple(tensor.shape) for tensor in bodies.tensors]
        raise ValueError(f"it returns tensors of shapes {shapes} instead of (N, 4), (N, 2, h, w) and (N, 25, h, w) x 3")
    if not all(tensor.isfinite().all() for tensor in bodies.tensors):
        raise ValueError("NaN or infinity is among the numbers it returns")
    if len(bodies.boxes):
        x0, y0, x1, y1 = bodies.boxes.unbind(1)  # (N,) each
        width = int((x1 - x0).max())
        height = int((y1 - y0).max())
        if max(width, height) > 2 * LONGEST:
            raise ValueError(f"it returns a body of {width}x{height} px in a picture of at most {LONGEST}")
    return bodies


def _shapes_fit(bodies: Bodies) -> bool:
    """Whether the tensors have the shapes that Bodies says, all for the same number of bodies."""
    if bodies.boxes.ndim != 2 or bodies.inside.ndim != 4:
        return False
    count = len(bodies.boxes)
    _, scores, height, width = bodies.inside.shape
    charts = (count, PARTS + 1, height, width)
    return (
        tuple(bodies.boxes.shape) == (count, 4)
        and len(bodies.inside) == count
        and scores >= 2
        and height > 0
        and width > 0
        and all(tuple(chart.shape) == charts for chart in (bodies.parts, bodies.u, bodies.v))
    )


def network_size(width: int, height: int) -> tuple[int, int]:
    """The size at which the network looks at a photo of this size, both (width, height).

    The shorter side becomes SHORTER, unless the longer side would become longer than LONGEST.
    """
    shorter = min(width, height)
    longer = max(width, height)
    scale = min(SHORTER / shorter, LONGEST / longer)
    return _to_step(width * scale), _to_step(height * scale)


def _to_step(side: float) -> int:
    """A side in pixels as the nearest multiple of _STEP, at least one step."""
    return max(_STEP, round(side / _STEP) * _STEP)


@dataclass(frozen=True, eq=False)
class Surface:
    """The bodies of one picture on a canvas.

    iuv: (3, H, W) uint8: V, U and part. person: (H, W) int32, 0 is no person, n the n-th of `Bodies`.
    """

    iuv: Tensor
    person: Tensor

    @classmethod
    def empty(cls, width: int, height: int) -> "Surface":
        return cls(torch.zeros(3, height, width, dtype=torch.uint8), torch.zeros(height, width, dtype=torch.int32))

    def draw_body(self, number: int, x: int, y: int, iuv: Tensor) -> None:
        """Draw a body, (3, h, w), with its upper left corner at x, y. What lies beside the canvas is cut off.

        number: of the body, from 1. iuv: as of a Surface.
        """
        height, width = self.person.shape
        # The rectangle of the canvas that the body covers.
        top = max(0, y)
        left = max(0, x)
        bottom = min(height, y + iuv.shape[1])
        right = min(width, x + iuv.shape[2])
        if top >= bottom or left >= right:
            return
        piece = iuv[:, top - y : bottom - y, left - x : right - x]
        on_body = piece[2] > 0  # (bottom - top, right - left): the number of the part is 0 where there is no body
        self.iuv[:, top:bottom, left:right][:, on_body] = piece[:, on_body]
        self.person[top:bottom, left:right][on_body] = number

    @property
    def image(self) -> Tensor:
        """The surface as a picture, (H, W, 3) float32 0..1."""
        return self.iuv.movedim(0, -1).contiguous().float() / 255

    @property
    def person_masks(self) -> Tensor:
        """Where each person is seen, from left to right: (people, H, W) float32, 0 or 1.

        A person who is covered completely has no mask.
        """
        all_masks = [self.person == number for number in range(1, int(self.person.max()) + 1)]
        masks = [mask.float() for mask in all_masks if mask.any()]
        if not masks:
            return torch.zeros(0, *self.person.shape, dtype=torch.float32)
        return torch.stack(sorted(masks, key=_mean_column))


def _mean_column(mask: Tensor) -> float:
    """The mean column of the pixels of a mask (H, W), by which people are sorted from left to right."""
    return float(mask.nonzero()[:, 1].float().mean())


def draw(bodies: Bodies, fit: Fit, width: int, height: int) -> Surface:
    """The bodies on a canvas of this size. fit: from the pixels of their boxes to those of the canvas.

    As in the published code, charts are stretched to the whole pixels of the box. A pixel is on the body where the
    background does not have the largest score in `inside`; its part is the one with the largest score in `parts`; U and
    V are 255 times the coordinates, cut to whole numbers. Bodies are drawn in their order, so where two overlap the
    less sure one covers the surer one, as there. Raises BadSize for a body far larger than any canvas.
    """
    surface = Surface.empty(width, height)
    for index, box in enumerate(bodies.boxes):
        x0, y0, x1, y1 = fit.box((float(box[0]), float(box[1]), float(box[2]), float(box[3])))
        box_height = max(1, int(y1 - y0))
        box_width = max(1, int(x1 - x0))
        if box_height * box_width > _MOST_PIXELS:
            advice = "Choose pad for fit, or a photo of the picture's shape."
            limit = f"at most {_MOST_PIXELS // 10**6} million pixels are drawn"
            raise BadSize("A body", (box_width, box_height), limit, advice)
        size = (box_height, box_width)
        on_body = _largest(bodies.inside[index], size) > 0
        part = _largest(bodies.parts[index], size) * on_body  # (height, width) int32
        u = _coordinate_in_pixels(bodies.u[index], part)
        v = _coordinate_in_pixels(bodies.v[index], part)
        surface.draw_body(index + 1, int(x0), int(y0), torch.stack([v, u, part.to(torch.uint8)]))
    return surface


def _largest(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """Which of K scores is the largest in each pixel of a box of `size`, (K, h, w) -> (height, width) int32.

    This is argmax, of scores that are stretched one after the other: all K at once could fill the memory.
    """
    best = _stretched(scores[0], size)
    index_of_best = torch.zeros(size, dtype=torch.int32)
    for index in range(1, len(scores)):
        score = _stretched(scores[index], size)
        larger = score > best
        best = torch.where(larger, score, best)
        index_of_best = index_of_best.masked_fill(larger, index)
    return index_of_best


def _coordinate_in_pixels(charts: Tensor, part: Tensor) -> Tensor:
    """U or V of each pixel, read from the chart of its part: uint8 of the shape of `part`.

    charts: (25, h, w), the coordinate on every part, 0..1. part: (height, width) int32, 0 for no part.
    """
    values = torch.zeros(part.shape, dtype=torch.float32)
    for number in range(1, PARTS + 1):
        on_part = part == number
        if on_part.any():
            chart = _stretched(charts[number], (part.shape[0], part.shape[1]))
            values = torch.where(on_part, chart, values)
    # The published code casts floats to bytes, as C does: a number below 0 wraps round, -1 to 255, -2 to 254.
    whole_numbers = (values.double() * 255).clamp(_LEAST_COORDINATE, 255).to(torch.int32)
    return (whole_numbers & 255).to(torch.uint8)


def _stretched(chart: Tensor, size: tuple[int, int]) -> Tensor:
    """A chart (h, w), brought to a size (height, width) by bilinear interpolation."""
    return interpolate(chart[None, None], size, mode="bilinear", align_corners=False)[0, 0]


def over_photos(surfaces: Tensor, photos: Tensor) -> Tensor:
    """Surfaces (B, H, W, 3) over the photos (B, h, w, C) they were found in, on the same canvas, (B, H, W, 3)."""
    size = (surfaces.shape[2], surfaces.shape[1])
    below = torch.stack([_placed(photo, size) for photo in photos])  # (B, H, W, 3)
    on_body = surfaces[..., 2:] > 0  # (B, H, W, 1): blue is the number of the part, 0 for none
    return torch.lerp(below, surfaces, _OPACITY * on_body.float())


def _placed(photo: Tensor, size: tuple[int, int]) -> Tensor:
    """A photo (h, w, C) on a canvas (width, height), black beside it."""
    picture = as_picture(photo)
    onto = Fit.into(picture.size, size, "pad")
    # `onto` maps photo to canvas: x = scale * x_photo + shift. Pillow wants the inverse, as (a, b, c, d, e, f): for
    # each pixel (x, y) of the canvas it reads the photo at (a x + b y + c, d x + e y + f). So no scaled photo is made,
    # which could be far larger than the canvas.
    data = (1 / onto.scale_x, 0, -onto.shift_x / onto.scale_x, 0, 1 / onto.scale_y, -onto.shift_y / onto.scale_y)
    return as_tensor(picture.transform(size, Image.Transform.AFFINE, data, Image.Resampling.BILINEAR))
