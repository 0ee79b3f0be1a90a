"""Layouts from boxes: places made of a box each, and those of another layout moved with theirs.

Boxes are BOUNDING_BOX of detectors and of ComfyUI's editor, or lines of text.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from .. import inputs
from ..errors import LikenessError, counted, gathered, listed
from ..geometry import Fit, bounds, check_size, patch_rect, shorter_side
from ..people import Box, Layout, Point, Slot, is_a
from ..previews import color_of
from ..text import COMMAS, NAME, plain
from . import bodies, layouts, poses

SHOWS = ("person", "face")
SOURCES = ("drawn", "text")
MOST = 64
"""Places: as many people as Mask of a Person's Place knows."""
LEAST = 16
"""Pixels. Nobody is seen in a smaller box, and one is drawn by a slip of the mouse."""

Canvas = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True)
class Marked:
    """A box and what stands beside it. label: what a detector takes it for, in small letters, "" where none says."""

    box: Box
    name: str = ""
    label: str = ""


@dataclass(frozen=True)
class Start:
    """What is linked: boxes in whole pixels of the canvas; of a layout also the places, which move with them.

    notes: what was left out.
    """

    boxes: tuple[Marked, ...] = ()
    slots: tuple[Slot, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class BoxedLayout:
    """boxes: of the places, with their names; decided: which were taken of several; notes: what was left out."""

    layout: Layout
    boxes: tuple[Marked, ...]
    decided: tuple[str, ...]
    notes: tuple[str, ...]


def start(given: object, picture: Canvas | None, canvas: Canvas, fit: str, shows: str) -> Start:
    """The boxes of a layout's places, or those that read finds; none for None.

    picture: what detected boxes are of, None for the canvas; fit: see geometry.Fit.into; shows: one of SHOWS, boxes
    that are labelled otherwise are left out. Raises BadBoxes, BadInput and BadSize.
    """
    check_size("The layout", *canvas)
    if given is None:
        return Start()
    if is_a(given, Layout):
        into = Fit.into((given.width, given.height), canvas, fit)
        slots = tuple(_moved(slot, into, canvas) for slot in given.slots)
        return Start(tuple(Marked(_around(slot, shows, canvas)) for slot in slots), slots)
    into, found = Fit.into(picture or canvas, canvas, fit), read(given)
    kept = [replace(one, box=_within(into.box(one.box), canvas)) for one in found if one.label in ("", shows)]
    others = sorted({one.label for one in found} - {"", shows})
    if others and not kept:
        labels = f"boxes_show is {shows}, and {counted(len(found), 'box', 'boxes')} are labelled {listed(others)}"
        raise BadBoxes(labels, f"Choose what they show in boxes_show, or set the detector to {shows}")
    notes = gathered("Boxes left out", [f"{len(found) - len(kept)} labelled {listed(others)}"] if others else [])
    return Start(tuple(kept), (), tuple(notes))


def layout(begin: Start, drawn: object, begun: object, text: str, canvas: Canvas, shows: str, body: str) -> BoxedLayout:
    """One place per box, in their order: of the boxes drawn, else of those in the text, else of those linked.

    Without a text, boxes linked that are others than those the editor began with (`begun`) come first, since it begins
    anew with them. A box moves the place of the same number in a layout that is linked, which becomes as large as
    the box holds, at its top and in its middle across. Where there is none, the box is the face, or holds a person
    who looks into the camera, the head at its top.
    drawn, begun: see read and for_editor, None for nothing; text: see written; body: one of
    bodies.BODIES.
    Raises BadBoxes and BadInput.
    """
    by_mouse, by_text = read(drawn or []), written(text)
    anew = begin.boxes and not by_text and for_editor(begin.boxes) != begun
    boxes = begin.boxes if anew else by_mouse or by_text or begin.boxes
    _check(boxes, canvas, shows)
    moved = zip(begin.slots, begin.boxes, boxes, strict=False)
    slots = [_into_box(slot, old.box, one.box, canvas) for slot, old, one in moved]
    slots += [_of_box(one.box, shows, body, canvas) for one in boxes[len(slots) :]]
    there = f"there {'is' if len(boxes) == 1 else 'are'} {counted(len(boxes), 'box', 'boxes')}"
    left_out = gathered("Places left out", range(len(boxes) + 1, len(begin.slots) + 1), f", {there}")
    two = by_mouse and by_text and [one.box for one in by_mouse] != [one.box for one in by_text]
    decided = ("Boxes as drawn, not as in the text",) if two else ()
    return BoxedLayout(Layout(*canvas, tuple(slots)), boxes, decided, (*begin.notes, *left_out))


def _check(boxes: Sequence[Marked], canvas: Canvas, shows: str) -> None:
    if not boxes:
        raise BadBoxes("there is none", f"Draw one around each {shows}, connect bboxes, or use the text. {WRITE}")
    if len(boxes) > MOST:
        raise BadBoxes(f"there are {len(boxes)}, at most {MOST} are taken", "Let the detector find fewer")
    for number, box in enumerate((one.box for one in boxes), 1):
        size = f"box {number} is {box[2] - box[0]:.0f}x{box[3] - box[1]:.0f} px"
        if shorter_side(box) < LEAST:
            raise BadBoxes(f"{size}, each side needs {LEAST} px", "Make it larger, or take it away")
        if _beside(box, canvas):
            why = f"{size} at x {box[0]:.0f}, y {box[1]:.0f}: the canvas of {canvas[0]}x{canvas[1]} px ends before it"
            raise BadBoxes(why, "Move it, or choose a larger canvas; boxes of a photo need the photo as background")


def _of_box(box: Box, shows: str, body: str, canvas: Canvas) -> Slot:
    x0, y0, x1, y1 = box
    if shows == "face":
        return replace(layouts.facing(*bodies.nose_and_head(box), body, canvas), box=box)
    head = layouts.head_held(x1 - x0, y1 - y0, body)
    return layouts.facing(((x0 + x1) / 2, y0 - bodies.CROWN * head), head, body, canvas)


def _around(slot: Slot, shows: str, canvas: Canvas) -> Box:
    """What is seen of a person, or the face."""
    face = slot.box or patch_rect(slot.center)
    points: list[Point] = [face[:2], face[2:]]
    if shows == "person":
        points += [joint[:2] for joint in slot.pose or () if joint[2] > bodies.SEEN]
        points.append((slot.center[0], slot.center[1] + bodies.CROWN * layouts.head_of(slot)))
        if slot.mask is not None and slot.mask.any():
            around = bounds(slot.mask)
            points += [around[:2], around[2:]]
    xs, ys = zip(*points, strict=True)
    return _within((min(xs), min(ys), max(xs), max(ys)), canvas)


def _within(box: Box, canvas: Canvas) -> Box:
    """The part on the canvas, in whole pixels; all of a box that is beside it."""
    x0, y0, x1, y1 = map(round, box)
    if _beside((x0, y0, x1, y1), canvas):
        return (x0, y0, x1, y1)
    return (max(x0, 0), max(y0, 0), min(x1, canvas[0]), min(y1, canvas[1]))


def _beside(box: Box, canvas: Canvas) -> bool:
    return box[0] >= canvas[0] or box[1] >= canvas[1] or box[2] <= 0 or box[3] <= 0


def _into_box(slot: Slot, old: Box, new: Box, canvas: Canvas) -> Slot:
    times = min((new[side + 2] - new[side]) / max(old[side + 2] - old[side], LEAST) for side in (0, 1))
    across = (new[0] + new[2]) / 2 - times * (old[0] + old[2]) / 2
    return _moved(slot, Fit(times, times, across, new[1] - times * old[1]), canvas)


def _moved(slot: Slot, by: Fit, canvas: Canvas) -> Slot:
    if by == Fit(1, 1, 0, 0):
        return slot
    moved = replace(
        slot,
        center=by.point(slot.center),
        box=slot.box and by.box(slot.box),
        keypoints=slot.keypoints and tuple(map(by.point, slot.keypoints)),
        pose=slot.pose and tuple(poses.near(by.joint(joint)) for joint in slot.pose),
        mask=None if slot.mask is None else _moved_mask(slot.mask, by, canvas),
    )
    return replace(moved, pose=moved.pose and bodies.on_canvas(moved.pose, layouts.head_of(moved), *canvas))


def _moved_mask(mask: Tensor, by: Fit, canvas: Canvas) -> Tensor:
    """A region (H, W) of the canvas it was on, as one of `canvas`; 0 where there was nothing."""
    xs = 2 * (torch.arange(canvas[0]) + 0.5 - by.shift_x) / (by.scale_x * mask.shape[1]) - 1
    ys = 2 * (torch.arange(canvas[1]) + 0.5 - by.shift_y) / (by.scale_y * mask.shape[0]) - 1
    grid = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), -1)
    found = torch.nn.functional.grid_sample(mask.float()[None, None], grid[None].float(), align_corners=False)
    return found[0, 0].clamp(0, 1)


EXAMPLE = "Anna: 60, 80, 300, 500"
"""A line of text: name, x, y, width, height."""
WRITE = f"Write a line per person, a name, a colon, x, y, width and height in pixels: {EXAMPLE}"


class BadBoxes(LikenessError):
    """Boxes that no layout can be made of."""

    def __init__(self, why: str, advice: str) -> None:
        super().__init__(f"The boxes cannot be used: {why}.", f"{advice}.")


def read(given: object) -> tuple[Marked, ...]:
    """BOUNDING_BOX of one picture: {x, y, width, height} in pixels, a list of them, or a list of one such list.

    RT-DETR and MediaPipe add a `label`; the editor adds `metadata`, whose desc (else text) is the name.
    Raises BadBoxes for several pictures and for something else, BadInput for what is no number.
    """
    whole: Any = [given] if isinstance(given, Mapping) else given
    boxes = poses.dictionaries(whole)
    if boxes is None and isinstance(given, (list, tuple)):
        pictures = cast("Sequence[Any]", given)
        if len(pictures) > 1 and poses.dictionaries(pictures[:1]) is None:
            why = f"they are of {len(pictures)} pictures, a layout is made of one"
            raise BadBoxes(why, "Give the detector one picture")
        boxes = poses.dictionaries(pictures[0])
    if boxes is None:
        why = f"they are {inputs.named(given)} without x, y, width and height"
        raise BadBoxes(why, "Connect the bboxes of a detector or an editor, or a layout where one is taken")
    return tuple(_marked(number, one) for number, one in enumerate(boxes, 1))


def _marked(number: int, one: Mapping[str, Any]) -> Marked:
    x, y, wide, high = (
        inputs.number(f"The {key} of box {number}", one.get(key), least, poses.WIDEST, whole=False)
        for key, least in (("x", -poses.WIDEST), ("y", -poses.WIDEST), ("width", 0), ("height", 0))
    )
    metadata = one.get("metadata")
    words = cast("Mapping[str, Any]", metadata if isinstance(metadata, Mapping) else {})
    # Up to the first comma or line break: names are listed with commas.
    name = re.split(f"[{COMMAS}\n]", str(words.get("desc") or words.get("text") or "").strip())[0]
    return Marked((x, y, x + wide, y + high), plain(name, NAME), plain(one.get("label"), NAME).lower())


def written(text: str) -> tuple[Marked, ...]:
    """Lines of "Anna: x, y, width, height" in pixels, the name optional.

    Raises BadBoxes for a line that is none, BadInput for a number out of reach.
    """
    found: list[Marked] = []
    for number, line in enumerate(map(plain, text.split("\n")), 1):
        if not line:
            continue
        *name, numbers = re.split("[:\uff1a]", line)
        try:
            sides = map(float, filter(None, re.split(rf"[{COMMAS}\s]", numbers)))
            box = dict(zip(("x", "y", "width", "height"), sides, strict=True))
            found.append(_marked(number, {**box, "metadata": {"desc": ":".join(name)}}))
        except ValueError:
            shown = line if len(line) < 60 else f"{line[:60]}..."
            raise BadBoxes(f"line {number} of the text is {shown!r}, without four numbers at its end", WRITE) from None
    return tuple(found)


def for_editor(boxes: Sequence[Marked]) -> list[dict[str, Any]]:
    """As ComfyUI's editor of boxes takes them, in whole pixels, each in the colour of its place."""
    return [
        {
            "x": round(x0), "y": round(y0), "width": round(x1 - x0), "height": round(y1 - y0),
            "metadata": {
                "type": "obj", "text": "", "desc": one.name, "palette": ["#{:02x}{:02x}{:02x}".format(*color_of(n))],
            },
        }
        for n, one in enumerate(boxes)
        for x0, y0, x1, y1 in [one.box]
    ]  # fmt: skip
