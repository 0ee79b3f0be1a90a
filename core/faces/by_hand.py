"""Faces in boxes that a user has drawn or written, for photos in which no detector finds a face, such as drawings."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from ..cast import Box, CanvasSize
from ..checks.errors import counted
from ..pictures.geometry import Fit, middle_of, shorter_side
from ..places.from_boxes import LEAST, BadBoxes, Marked, read, written
from .finding import Detection
from .pictures import TEMPLATE

CANVAS = (1024, 1024)
"""Width and height, in pixels, of the canvas of ComfyUI's editor of boxes on a node that has no inputs for width and
height: our nodes of photos have none. The user sees the photo stretched over this canvas."""


def faces_in_boxes(
    text: str, drawn: object, linked: Sequence[object], sizes: Sequence[CanvasSize]
) -> list[Detection | None]:
    """A face for each photo, in the order of the photos, made of one box per photo. A list of None without any box.

    Boxes in the text come first. Without any there, the boxes drawn on the node are used; without these, the linked
    ones.
    text: lines of boxes, as from_boxes.written reads them. drawn: the value of the node's editor, as from_boxes.read
    reads it, in pixels of the CANVAS; None for nothing. linked: the values of the input for boxes, each as
    from_boxes.read takes it, or as a list of such values, one per photo. sizes: of every photo.
    Raises BadBoxes for another number of boxes than photos, for a box that is too small and for a box whose middle is
    outside of the photo; BadInput for something that is no number.
    """
    lists = _lists_of_boxes(text, drawn, linked, sizes)
    boxes = [marked.box for marks in lists for marked in marks]
    if not boxes:
        return [None] * len(sizes)
    # Of several lists each is of one photo. A photo with an empty list has no box, even if the sum is right.
    if len(boxes) != len(sizes) or not all(lists):
        counts = " and ".join(counted(len(marks), "box", "boxes") for marks in lists)
        raise BadBoxes(f"{counts} for {counted(len(sizes), 'photo')}", "Give each photo one, in their order")
    for number, (box, size) in enumerate(zip(boxes, sizes, strict=True), 1):
        _check(number, box, size)
    return [_face_in_box(box) for box in boxes]


def _lists_of_boxes(
    text: str, drawn: object, linked: Sequence[object], sizes: Sequence[CanvasSize]
) -> list[tuple[Marked, ...]]:
    """The boxes of the text, else the drawn ones, else the linked ones, in pixels of the photos.

    Boxes of a text and drawn boxes are one list for all photos. Linked boxes may come in several lists, one per photo,
    as detectors give them. The arguments are those of `faces_in_boxes`.
    """
    text_boxes = written(text)
    if text_boxes:
        return [text_boxes]
    drawn_boxes = read(drawn or [])
    if drawn_boxes:
        return [_on_photos(drawn_boxes, sizes)]
    lists: list[tuple[Marked, ...]] = []
    for value in linked:
        lists += _boxes_of_value(value or [])  # None is no box
    return lists


def _on_photos(drawn: Sequence[Marked], sizes: Sequence[CanvasSize]) -> tuple[Marked, ...]:
    """Boxes in pixels of the editor's CANVAS -> in pixels of the photos: the first box on the first photo, and so on.

    Where there are more boxes than photos, the surplus boxes are returned as they are: `faces_in_boxes` refuses them.
    """
    moved = list(drawn)
    for number, (marked, size) in enumerate(zip(drawn, sizes, strict=False)):
        moved[number] = replace(marked, box=Fit.into(CANVAS, size, "stretch").box(marked.box))
    return tuple(moved)


def _check(number: int, box: Box, size: CanvasSize) -> None:
    """Raise BadBoxes for a box that is too small, or whose middle is outside of its photo.

    number: of the box, from 1. size: of the photo.
    """
    x0, y0, x1, y1 = box
    description = f"box {number} is {x1 - x0:g}x{y1 - y0:g} px"
    if shorter_side(box) < LEAST:
        raise BadBoxes(f"{description}, each side needs {LEAST} px", "Make it larger")
    width, height = size
    # Twice the middle (x0 + x1 and y0 + y1) is compared with twice the size: without a division nothing is rounded.
    if not (0 <= x0 + x1 <= 2 * width and 0 <= y0 + y1 <= 2 * height):
        why = f"{description} at x {x0:g}, y {y0:g}, and its middle lies beside the photo of {width}x{height} px"
        raise BadBoxes(why, "Write it in pixels of the photo: x, y, width, height")


def _boxes_of_value(linked: Any) -> list[tuple[Marked, ...]]:
    """The boxes of one linked value: one list of boxes, or a list for each of several photos, as detectors give them.

    A box is a dictionary, so a list whose items are all lists has a list for each photo.
    """
    if not isinstance(linked, (list, tuple)):
        return [read(cast("object", linked))]
    items = cast("Sequence[object]", linked)
    is_of_several = bool(items) and all(isinstance(item, (list, tuple)) for item in items)
    if is_of_several:
        return [read(item) for item in items]
    return [read(items)]


_BOX_WIDTH = 82
_BOX_HEIGHT = 104
_BOX_MIDDLE_X, _BOX_MIDDLE_Y = 56, 66
"""Width, height and middle of SCRFD's box around a face, in pixels of ArcFace's template of 112x112 px, after
the face is aligned to the template: the median of 30 faces in photos."""


def _face_in_box(box: Box) -> Detection:
    """The face in a box that a user has drawn. It is taken for upright, with its keypoints as in ArcFace's template.

    The template is scaled so that the box lies around it as SCRFD's boxes lie around faces. Where width and height of
    the box ask for different scales the larger one is taken, so that recognisers see the whole box.
    """
    x0, y0, x1, y1 = box
    scale = max((x1 - x0) / _BOX_WIDTH, (y1 - y0) / _BOX_HEIGHT)
    middle_x, middle_y = middle_of(box)
    left = middle_x - _BOX_MIDDLE_X * scale  # of the template, in pixels of the photo
    top = middle_y - _BOX_MIDDLE_Y * scale
    keypoints = tuple((left + x * scale, top + y * scale) for x, y in TEMPLATE)
    return Detection(box, keypoints, score=1.0)
