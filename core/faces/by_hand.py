"""Faces in boxes: where no detector finds one, as in drawings."""

from typing import Any, cast

from ..errors import counted
from ..geometry import shorter_side
from ..people import Box
from ..places.from_boxes import LEAST, BadBoxes, Marked, read, written
from .finding import Detection
from .pictures import TEMPLATE


def in_boxes(text: str, linked: object, photos: int, size: tuple[int, int]) -> list[Detection | None]:
    """A face per photo, in their order, of the boxes in a text, else of those linked; None of each without any.

    text: see from_boxes.written. linked: see from_boxes.read; or a list of boxes for each photo. size: (width, height)
    of every photo in pixels. Raises BadBoxes for another number of them, one that is too small or whose middle is
    beside the photo; BadInput.
    """
    lists = [by_text] if (by_text := written(text)) else _read(linked or [])
    boxes = [one.box for found in lists for one in found]
    if boxes and (len(boxes) != photos or (len(lists) > 1 and not all(lists))):
        each = " and ".join(counted(len(found), "box", "boxes") for found in lists)
        why = f"{each} for {counted(photos, 'photo')}"
        raise BadBoxes(why, "Give each photo one, in their order")
    for number, (x0, y0, x1, y1) in enumerate(boxes, 1):
        which = f"box {number} is {x1 - x0:g}x{y1 - y0:g} px"
        if shorter_side((x0, y0, x1, y1)) < LEAST:
            raise BadBoxes(f"{which}, each side needs {LEAST} px", "Make it larger")
        if not (0 <= x0 + x1 <= 2 * size[0] and 0 <= y0 + y1 <= 2 * size[1]):
            why = f"{which} at x {x0:g}, y {y0:g}, and its middle lies beside the photo of {size[0]}x{size[1]} px"
            raise BadBoxes(why, "Write it in pixels of the photo: x, y, width, height")
    return [*map(_in_box, boxes)] or [None] * photos


def _read(linked: Any) -> list[tuple[Marked, ...]]:
    """In one list, or in one for each of several photos, as detectors give them."""
    each: Any = linked if isinstance(cast("object", linked), (list, tuple)) else [linked]
    return [read(one) for one in each] if all(isinstance(one, (list, tuple)) for one in each) else [read(linked)]


_SIZE, _MIDDLE = (82, 104), (56, 66)
"""Of SCRFD's boxes around ArcFace's template of 112x112 px: the median of 30 faces in photos."""


def _in_box(box: Box) -> Detection:
    """A face whose keypoints are ArcFace's template, upright, so large that the box lies around it as SCRFD's do: by
    the side that needs more. So recognisers are shown the box and a little more."""
    x0, y0, x1, y1 = box
    scale = max((x1 - x0) / _SIZE[0], (y1 - y0) / _SIZE[1])
    left, top = (x0 + x1) / 2 - _MIDDLE[0] * scale, (y0 + y1) / 2 - _MIDDLE[1] * scale
    return Detection(box, tuple((left + x * scale, top + y * scale) for x, y in TEMPLATE), 1.0)
