"""Faces in boxes: where no detector finds one, as in drawings."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from ..errors import counted
from ..geometry import Fit, shorter_side
from ..people import Box
from ..places.from_boxes import LEAST, BadBoxes, Marked, read, written
from .finding import Detection
from .pictures import TEMPLATE

Size = tuple[int, int]
"""Width and height in pixels."""


CANVAS = (1024, 1024)
"""Width and height, in pixels, of ComfyUI's editor of boxes where a node has no width and no height."""


def in_boxes(text: str, drawn: object, linked: Sequence[object], sizes: Sequence[Size]) -> list[Detection | None]:
    """A face per photo, in their order, of the boxes in a text, else of those drawn, else of those linked; None of each
    without any.

    text: see from_boxes.written. drawn: see from_boxes.read, on a CANVAS over which the photo is stretched; None for
    nothing. linked: what came to the input, in a list; each is what from_boxes.read takes, or a list of boxes for each
    photo. sizes: of every photo.
    Raises BadBoxes for another number of boxes than photos, for a box that is too small and for one whose middle is
    beside the photo; BadInput.
    """
    lists: list[tuple[Marked, ...]] = []
    if by_text := written(text):
        lists = [by_text]
    elif by_mouse := read(drawn or []):
        lists = [_on_photos(by_mouse, sizes)]
    else:
        for source in linked:
            lists += _read(source or [])
    boxes = [marked.box for marks in lists for marked in marks]
    if not boxes:
        return [None] * len(sizes)
    if len(boxes) != len(sizes) or (len(lists) > 1 and not all(lists)):
        several = " and ".join(counted(len(marks), "box", "boxes") for marks in lists)
        raise BadBoxes(f"{several} for {counted(len(sizes), 'photo')}", "Give each photo one, in their order")
    for number, (box, size) in enumerate(zip(boxes, sizes, strict=True), 1):
        _check(number, box, size)
    return [_in_box(box) for box in boxes]


def _on_photos(drawn: Sequence[Marked], sizes: Sequence[Size]) -> tuple[Marked, ...]:
    """Boxes of the editor's canvas in pixels of the photo of the same place. Those beyond the photos stay."""
    moved = list(drawn)
    for number, (marked, size) in enumerate(zip(drawn, sizes, strict=False)):
        moved[number] = replace(marked, box=Fit.into(CANVAS, size, "stretch").box(marked.box))
    return tuple(moved)


def _check(number: int, box: Box, size: Size) -> None:
    """Raise BadBoxes for a box that is too small, or whose middle is beside the photo."""
    x0, y0, x1, y1 = box
    which = f"box {number} is {x1 - x0:g}x{y1 - y0:g} px"
    if shorter_side(box) < LEAST:
        raise BadBoxes(f"{which}, each side needs {LEAST} px", "Make it larger")
    if not (0 <= x0 + x1 <= 2 * size[0] and 0 <= y0 + y1 <= 2 * size[1]):
        why = f"{which} at x {x0:g}, y {y0:g}, and its middle lies beside the photo of {size[0]}x{size[1]} px"
        raise BadBoxes(why, "Write it in pixels of the photo: x, y, width, height")


def _read(linked: Any) -> list[tuple[Marked, ...]]:
    """In one list, or in one for each of several photos, as detectors give them."""
    pictures: Any = linked if isinstance(cast("object", linked), (list, tuple)) else [linked]
    if pictures and all(isinstance(boxes, (list, tuple)) for boxes in pictures):
        return [read(boxes) for boxes in pictures]
    return [read(linked)]


_SIZE, _MIDDLE = (82, 104), (56, 66)
"""Of SCRFD's boxes around ArcFace's template of 112x112 px: the median of 30 faces in photos."""


def _in_box(box: Box) -> Detection:
    """A face whose keypoints are ArcFace's template, upright, so large that the box lies around it as SCRFD's do: by
    the side that needs more. So recognisers are shown the box and a little more."""
    x0, y0, x1, y1 = box
    scale = max((x1 - x0) / _SIZE[0], (y1 - y0) / _SIZE[1])
    left, top = (x0 + x1) / 2 - _MIDDLE[0] * scale, (y0 + y1) / 2 - _MIDDLE[1] * scale
    return Detection(box, tuple((left + x * scale, top + y * scale) for x, y in TEMPLATE), 1.0)
