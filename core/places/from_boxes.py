"""Layouts from boxes: each box becomes a place, or moves the place of a linked layout to where the box is.

Boxes are BOUNDING_BOX of detectors and of ComfyUI's nodes, or lines of text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from ..cast import Box, CanvasSize, Layout, Point, Slot, is_a
from ..checks import value_checks
from ..checks.errors import LikenessError, counted, gathered, listed
from ..checks.text import COLON, MOST_NAME_LETTERS, items_in, pieces, plain, with_commas, with_plain_signs
from ..pictures.geometry import Fit, bounds, check_size, patch_rect, shorter_side
from . import bodies, layouts, poses

SHOWS = ("person", "face")
MOST = 64
"""Places: as many people as Mask of a Person's Place knows."""
LEAST = 16
"""Pixels. Nobody is seen in a smaller box."""


@dataclass(frozen=True)
class Marked:
    """A box of one person, and the texts that came with it.

    box: in pixels of the canvas.
    name: the person's name, "" where the box has none.
    label: the class that a detector gives the box, such as "face", in small letters; "" where it gives none.
    """

    box: Box
    name: str = ""
    label: str = ""


@dataclass(frozen=True)
class LinkedBoxes:
    """What Layout from Boxes begins with: the boxes and places that are linked to it.

    boxes: in whole pixels of the canvas.
    slots: where a layout is linked, its places, one per box; they move with the boxes.
    notes: a line for the user about boxes that were left out.
    """

    boxes: tuple[Marked, ...] = ()
    slots: tuple[Slot, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class BoxedLayout:
    """A layout with the boxes that it was made of.

    boxes: one per place, with its name.
    notes: lines for the user about boxes and places that were left out.
    """

    layout: Layout
    boxes: tuple[Marked, ...]
    notes: tuple[str, ...]


def start(linked: object, picture: CanvasSize | None, canvas: CanvasSize, fit: str, shows: str) -> LinkedBoxes:
    """The boxes that are linked, moved onto the canvas.

    linked: a Layout, whose places give a box each; or boxes of a detector, as `read` takes them; None for no link.
    picture: width and height of the picture that a detector saw, None where that is the canvas.
    fit: how the linked layout, or that picture, is brought to the canvas, a mode of geometry.Fit.into.
    shows: one of SHOWS; boxes of a detector with another label are left out, with a note.
    Raises BadSize for an impossible canvas, BadInput for what is no number in a box, and BadBoxes for what is no list
    of boxes, or where all boxes have another label.
    """
    check_size("The layout", *canvas)
    if linked is None:
        return LinkedBoxes()
    if is_a(linked, Layout):
        return _start_of_layout(linked, canvas, fit, shows)
    detected = read(linked)
    onto_canvas = Fit.into(picture or canvas, canvas, fit)
    shown = [marked for marked in detected if marked.label in ("", shows)]
    boxes = tuple(replace(marked, box=_cut_to_canvas(onto_canvas.box(marked.box), canvas)) for marked in shown)
    if len(shown) == len(detected):
        return LinkedBoxes(boxes)
    other_labels = listed(sorted({marked.label for marked in detected} - {"", shows}))
    if not shown:
        count = counted(len(detected), "box", "boxes")
        problem = f"boxes_show is {shows}, and the label of {count} is {other_labels}"
        raise BadBoxes(problem, f"Choose what they show in boxes_show, or set the detector to {shows}")
    left_out = f"{len(detected) - len(shown)} labelled {other_labels}"
    return LinkedBoxes(boxes, notes=tuple(gathered("Boxes left out", [left_out])))


def _start_of_layout(linked: Layout, canvas: CanvasSize, fit: str, shows: str) -> LinkedBoxes:
    """The places of a linked layout, moved onto the canvas, and a box around each."""
    onto_canvas = Fit.into((linked.width, linked.height), canvas, fit)
    slots = tuple(_moved(slot, onto_canvas, canvas) for slot in linked.slots)
    boxes = tuple(Marked(_box_around_place(slot, shows, canvas)) for slot in slots)
    return LinkedBoxes(boxes, slots)


def layout(begin: LinkedBoxes, own: Sequence[Marked], canvas: CanvasSize, shows: str, body: str) -> BoxedLayout:
    """A layout with one place per box, in the order of the boxes.

    Where a layout is linked, box n moves place n of that layout. A box without such a place makes a new one.
    own: boxes of the node itself, which count before the linked ones. shows: one of SHOWS. body: "bust", "half", "full"
    or "none".
    Raises BadBoxes and BadInput.
    """
    boxes = tuple(own) or begin.boxes
    _check(boxes, canvas, shows)
    slots: list[Slot] = []
    for index, marked in enumerate(boxes):
        if index < len(begin.slots):  # where there are slots, there is one for each of begin.boxes
            slots.append(_into_box(begin.slots[index], begin.boxes[index].box, marked.box, canvas))
        else:
            slots.append(_place_of_box(marked.box, shows, body, canvas))
    verb = "is" if len(boxes) == 1 else "are"
    reason = f", there {verb} {counted(len(boxes), 'box', 'boxes')}"
    notes = gathered("Places left out", range(len(boxes) + 1, len(begin.slots) + 1), reason)
    return BoxedLayout(Layout(*canvas, tuple(slots)), boxes, (*begin.notes, *notes))


def _check(boxes: Sequence[Marked], canvas: CanvasSize, shows: str) -> None:
    """Raise BadBoxes unless there are 1 to MOST boxes, each large enough and at least partly on the canvas."""
    if not boxes:
        raise BadBoxes("there is none", f"Connect bboxes, or use the text. {WRITE}")
    if len(boxes) > MOST:
        raise BadBoxes(f"there are {len(boxes)}, at most {MOST} are taken", "Let the detector find fewer")
    for number, marked in enumerate(boxes, 1):
        box = marked.box
        x0, y0, x1, y1 = box
        size = f"box {number} is {x1 - x0:.0f}x{y1 - y0:.0f} px"
        if shorter_side(box) < LEAST:
            raise BadBoxes(f"{size}, each side needs {LEAST} px", "Make it larger, or take it away")
        if _beside(box, canvas):
            width, height = canvas
            problem = f"{size} at x {x0:.0f}, y {y0:.0f}: the canvas of {width}x{height} px ends before it"
            raise BadBoxes(problem, "Move it, or choose a larger canvas; boxes of a photo need the photo as background")


def _place_of_box(box: Box, shows: str, body: str, canvas: CanvasSize) -> Slot:
    """A new place of which only the box is known: a person who looks into the camera.

    shows: whether the box is the face, or holds the whole person with the head at its top. body: "bust", "half",
    "full" or "none".
    """
    if shows == "face":
        nose, head = bodies.nose_and_head(box)
        return replace(layouts.facing(nose, head, body, canvas), box=box)
    x0, y0, x1, y1 = box
    head = layouts.head_held(x1 - x0, y1 - y0, body)
    # The crown touches the top of the box; CROWN is its height above the nose, in heads and below 0.
    nose = ((x0 + x1) / 2, y0 - bodies.CROWN * head)
    return layouts.facing(nose, head, body, canvas)


def _box_around_place(slot: Slot, shows: str, canvas: CanvasSize) -> Box:
    """The box around a person's place, with shows = "face" around its face alone, cut to the canvas.

    Around the place means around its face, seen joints, crown and mask, as far as it has them.
    """
    face = slot.box or patch_rect(slot.center)  # slot.center is the nose
    points: list[Point] = [face[:2], face[2:]]
    if shows == "person":
        points += [joint[:2] for joint in slot.pose or () if joint[2] > bodies.SEEN]
        crown = (slot.center[0], slot.center[1] + bodies.CROWN * layouts.head_of(slot))  # CROWN is below 0: upwards
        points.append(crown)
        if slot.mask is not None and slot.mask.any():
            mask_box = bounds(slot.mask)
            points += [mask_box[:2], mask_box[2:]]
    xs = [x for x, _ in points]
    ys = [y for _, y in points]
    return _cut_to_canvas((min(xs), min(ys), max(xs), max(ys)), canvas)


def _cut_to_canvas(box: Box, canvas: CanvasSize) -> Box:
    """The part of a box that lies on the canvas, in whole pixels. A box that is off the canvas is only rounded."""
    x0, y0, x1, y1 = (round(coordinate) for coordinate in box)
    if _beside((x0, y0, x1, y1), canvas):
        return (x0, y0, x1, y1)
    width, height = canvas
    return (max(x0, 0), max(y0, 0), min(x1, width), min(y1, height))


def _beside(box: Box, canvas: CanvasSize) -> bool:
    """Whether no part of a box lies on the canvas."""
    x0, y0, x1, y1 = box
    width, height = canvas
    return x0 >= width or y0 >= height or x1 <= 0 or y1 <= 0


def _into_box(slot: Slot, old: Box, new: Box, canvas: CanvasSize) -> Slot:
    """A place whose box was moved from `old` to `new`.

    The place keeps its proportions. It becomes as large as the new box holds, and stands at the top of the box, in
    the middle across.
    """
    old_left, old_top, old_right, old_bottom = old
    left, top, right, bottom = new
    # A linked box may have no width or height to divide by.
    width_ratio = (right - left) / max(old_right - old_left, LEAST)
    height_ratio = (bottom - top) / max(old_bottom - old_top, LEAST)
    scale = min(width_ratio, height_ratio)
    old_middle = (old_left + old_right) / 2
    middle = (left + right) / 2
    return _moved(slot, Fit(scale, scale, shift_x=middle - scale * old_middle, shift_y=top - scale * old_top), canvas)


def _moved(slot: Slot, fit: Fit, canvas: CanvasSize) -> Slot:
    """A place with everything in it moved by `fit`. Joints that are off the canvas afterwards are hidden."""
    if fit == Fit(1, 1, 0, 0):  # nothing moves, so the mask is not resampled and no joint is hidden
        return slot
    box = None if slot.box is None else fit.box(slot.box)
    keypoints = slot.keypoints
    if keypoints:
        keypoints = tuple(fit.point(point) for point in keypoints)
    pose = poses.moved(slot.pose, fit.joint)
    mask = None if slot.mask is None else _moved_mask(slot.mask, fit, canvas)
    moved_slot = replace(
        slot,
        center=fit.point(slot.center),
        box=box,
        keypoints=keypoints,
        pose=pose,
        mask=mask,
        left_hand=poses.moved(slot.left_hand, fit.joint),
        right_hand=poses.moved(slot.right_hand, fit.joint),
        face_points=poses.moved(slot.face_points, fit.joint),
    )
    if not moved_slot.pose:
        return moved_slot
    return replace(moved_slot, pose=bodies.on_canvas(moved_slot.pose, layouts.head_of(moved_slot), *canvas))


def _moved_mask(mask: Tensor, fit: Fit, canvas: CanvasSize) -> Tensor:
    """A mask (H, W) moved by `fit`, as a mask (height, width) of `canvas`; 0 where the old one did not reach."""
    width, height = canvas
    old_height, old_width = mask.shape
    # `fit` takes x of the old mask to x * scale + shift, so each pixel of the new one comes from (x - shift) / scale.
    # grid_sample wants that from -1 at the left edge of the old mask to 1 at its right edge.
    middles_x = torch.arange(width, dtype=torch.float32) + 0.5  # of the new pixels
    middles_y = torch.arange(height, dtype=torch.float32) + 0.5
    xs = 2 * (middles_x - fit.shift_x) / (fit.scale_x * old_width) - 1
    ys = 2 * (middles_y - fit.shift_y) / (fit.scale_y * old_height) - 1
    grid = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), -1)  # (height, width, 2)
    picture = mask.float()[None, None]  # (1, 1, H, W)
    moved_picture = torch.nn.functional.grid_sample(picture, grid[None].float(), align_corners=False)
    return moved_picture[0, 0].clamp(0, 1)


EXAMPLE = "Anna: 60, 80, 300, 500"
"""A line of text: name, x, y, width, height."""
WRITE = f"Write a line per person, a name, a colon, x, y, width and height in whole pixels: {EXAMPLE}"


class BadBoxes(LikenessError):
    """Boxes that no layout can be made of."""

    def __init__(self, why: str, advice: str) -> None:
        super().__init__(f"The boxes cannot be used: {why}.", f"{advice}.")


def read(boxes: object) -> tuple[Marked, ...]:
    """The boxes of a BOUNDING_BOX of one picture.

    boxes: {x, y, width, height} in pixels, a list of such dictionaries, or a list that holds one such list.
    RT-DETR and MediaPipe add a `label`; ComfyUI's editor adds `metadata`, whose desc (else text) is the name.
    Raises BadBoxes for several pictures and for something else, BadInput for what is no number.
    """
    dictionaries = poses.dictionaries(_of_one_picture(boxes))
    if dictionaries is None:
        problem = f"they are {value_checks.named(boxes)} without x, y, width and height"
        raise BadBoxes(problem, "Connect the bboxes of a detector, or a layout where one is taken")
    return tuple(_marked(number, box, _name_of(box)) for number, box in enumerate(dictionaries, 1))


def _of_one_picture(boxes: object) -> object:
    """A list of boxes, where `boxes` is one box, such a list, or a list that holds one such list; else anything.

    Raises BadBoxes for a list of several such lists.
    """
    entries = cast("Sequence[Any]", boxes if isinstance(boxes, (list, tuple)) else [boxes])
    begins_with_a_box = not entries or isinstance(entries[0], Mapping)
    if begins_with_a_box:
        return entries
    if len(entries) > 1:
        problem = f"they are of {len(entries)} pictures, a layout is made of one"
        raise BadBoxes(problem, "Give the detector one picture")
    (of_one_picture,) = entries
    return of_one_picture


def _name_of(dictionary: Mapping[str, Any]) -> str:
    """The name of a box: what stands in its description before the first comma or end of line."""
    metadata = dictionary.get("metadata")
    if not isinstance(metadata, Mapping):
        return ""
    texts = cast("Mapping[str, Any]", metadata)
    return items_in(str(texts.get("desc") or texts.get("text") or ""))[0]


def _marked(number: int, dictionary: Mapping[str, Any], name: str) -> Marked:
    """One box of a BOUNDING_BOX. number: which box it is, from 1, for messages. Raises BadInput."""
    x = _side(number, dictionary, "x", least=-poses.WIDEST)
    y = _side(number, dictionary, "y", least=-poses.WIDEST)
    width = _side(number, dictionary, "width", least=0)
    height = _side(number, dictionary, "height", least=0)
    label = plain(dictionary.get("label"), MOST_NAME_LETTERS).lower()
    return Marked((x, y, x + width, y + height), plain(name, MOST_NAME_LETTERS), label)


def _side(number: int, dictionary: Mapping[str, Any], key: str, least: float) -> float:
    """x, y, width or height of a box, in pixels. Raises BadInput, naming the key and the box."""
    name = f"The {key} of box {number}"
    return value_checks.number(name, dictionary.get(key), least, poses.WIDEST, integer=False)


def written(text: str) -> tuple[Marked, ...]:
    """The boxes of a text with lines of "Anna: x, y, width, height" in pixels, the name optional.

    Raises BadBoxes for a line that does not end with four numbers, BadInput for a number that is out of its limits.
    """
    boxes: list[Marked] = []
    for number, raw_line in enumerate(text.split("\n"), 1):
        line = plain(raw_line)
        if not line:
            continue
        try:
            *name, numbers = pieces(line, COLON)  # the name may have colons
            boxes.append(_marked(number, _sides(numbers), items_in(":".join(name))[0]))  # messages count lines
        except ValueError:
            quoted = line if len(line) < 60 else f"{line[:60]}..."
            problem = f"line {number} of the text is {quoted!r}, without four numbers at its end"
            raise BadBoxes(problem, WRITE) from None
    return tuple(boxes)


def _sides(numbers: str) -> dict[str, float]:
    """Four numbers as the sides of a BOUNDING_BOX. Raises ValueError for anything else."""
    x, y, width, height = [float(with_plain_signs(word)) for word in with_commas(numbers).replace(",", " ").split()]
    return {"x": x, "y": y, "width": width, "height": height}
