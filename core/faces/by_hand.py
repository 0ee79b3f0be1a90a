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


def faces_in_boxes(text: str, drawn: object, linked: Sequence[object], sizes: Sequence[Size]) -> list[Detection | None]:
    """A face for each photo, in their order, from boxes: those of a text, else those drawn, else those linked.

    Without any box the faces are None.
    text: see from_boxes.written. drawn: see from_boxes.read, on a CANVAS over which the photo is stretched; None for
    nothing. linked: the values of the input, each of which from_boxes.read takes, or a list of boxes for each photo.
    sizes: of every photo.
    Raises BadBoxes for another number of boxes than photos, for a box that is too small and for one whose middle is
    beside the photo; BadInput.
    """
    lists = _lists_of_boxes(text, drawn, linked, sizes)
    boxes: list[Box] = []
    for marks in lists:
        boxes += [marked.box for marked in marks]
    if not boxes:
        return [None] * len(sizes)
    one_list_is_empty = len(lists) > 1 and not all(lists)
    if len(boxes) != len(sizes) or one_list_is_empty:
        counts = " and ".join(counted(len(marks), "box", "boxes") for marks in lists)
        raise BadBoxes(f"{counts} for {counted(len(sizes), 'photo')}", "Give each photo one, in their order")
    for number, (box, size) in enumerate(zip(boxes, sizes, strict=True), 1):
        _check(number, box, size)
    return [_face_in_box(box) for box in boxes]


def _lists_of_boxes(
    text: str, drawn: object, linked: Sequence[object], sizes: Sequence[Size]
) -> list[tuple[Marked, ...]]:
    """The boxes that count, in pixels of the photos, in as many lists as they came in.

    The arguments are those of `faces_in_boxes`.
    """
    text_boxes = written(text)
    if text_boxes:
        return [text_boxes]
    drawn_boxes = read(drawn or [])
    if drawn_boxes:
        return [_on_photos(drawn_boxes, sizes)]
    lists: list[tuple[Marked, ...]] = []
    for value in linked:
        lists += _boxes_of_value(value or [])
    return lists


def _on_photos(drawn: Sequence[Marked], sizes: Sequence[Size]) -> tuple[Marked, ...]:
    """Boxes of the editor's canvas in pixels of the photo of the same place. Those beyond the photos stay."""
    moved = list(drawn)
    for number, (marked, size) in enumerate(zip(drawn, sizes, strict=False)):
        moved[number] = replace(marked, box=Fit.into(CANVAS, size, "stretch").box(marked.box))
    return tuple(moved)


def _check(number: int, box: Box, size: Size) -> None:
    """Raise BadBoxes for a box that is too small, or whose middle is beside the photo. number: of the box, from 1."""
    x0, y0, x1, y1 = box
    description = f"box {number} is {x1 - x0:g}x{y1 - y0:g} px"
    if shorter_side(box) < LEAST:
        raise BadBoxes(f"{description}, each side needs {LEAST} px", "Make it larger")
    width, height = size
    # The middle times 2, so that nothing is rounded.
    if not (0 <= x0 + x1 <= 2 * width and 0 <= y0 + y1 <= 2 * height):
        why = f"{description} at x {x0:g}, y {y0:g}, and its middle lies beside the photo of {width}x{height} px"
        raise BadBoxes(why, "Write it in pixels of the photo: x, y, width, height")


def _boxes_of_value(linked: Any) -> list[tuple[Marked, ...]]:
    """The boxes of one linked value: one list, or a list for each of several photos, as detectors give them."""
    pictures: Any = linked if isinstance(cast("object", linked), (list, tuple)) else [linked]
    if pictures and all(isinstance(boxes, (list, tuple)) for boxes in pictures):
        return [read(boxes) for boxes in pictures]
    return [read(linked)]


_BOX_WIDTH = 82
_BOX_HEIGHT = 104
_BOX_MIDDLE = (56, 66)
"""SCRFD's box around a face that lies on ArcFace's template of 112x112 px: the median of 30 faces in photos."""


def _face_in_box(box: Box) -> Detection:
    """The face in a box that somebody has drawn: upright, its keypoints those of ArcFace's template.

    The template is made so large that the box lies around it as SCRFD's boxes do. Of width and height the side that
    needs the larger template counts, so that recognisers see the whole box and a little more.
    """
    x0, y0, x1, y1 = box
    scale = max((x1 - x0) / _BOX_WIDTH, (y1 - y0) / _BOX_HEIGHT)
    left = (x0 + x1) / 2 - _BOX_MIDDLE[0] * scale
    top = (y0 + y1) / 2 - _BOX_MIDDLE[1] * scale
    keypoints = tuple((left + x * scale, top + y * scale) for x, y in TEMPLATE)
    return Detection(box, keypoints, 1.0)
