"""Who is who in a picture that was measured."""

from __future__ import annotations

import math

from PIL import Image
from torch import Tensor

from ..geometry import Fit, patch_rect, shared
from ..people import Box
from ..previews import Color, Sheet, as_picture, color_of
from .report import Report
from .words import summary

_STRANGER: Color = (170, 170, 170)


def who_is_who(image: Tensor, report: Report, number: int) -> Tensor:
    """Picture `number`, from 0, of a report: every face in the colour of whom it shows, with number, name and
    similarity; who is missing, crossed out in their place; strangers in grey.

    image: (H, W, 1|3|4) float 0..1. Returns (H, W, 3) float32 0..1.
    """
    sheet, one = Sheet(as_picture(image)), report.judged[number]
    plates: list[tuple[str, str, Box, Color]] = []
    for seen in one.sightings:
        shown = seen.person if seen.looks_like is None else seen.looks_like
        place, name = report.numbers[shown], report.names[shown]
        plate = f"{name} {seen.similarity:.2f}"
        if seen.swapped:
            plate = f"{name} {seen.leakage:.2f}, not {report.names[seen.person]} {seen.similarity:.2f}"
        box = _missing_box(report, seen.person, sheet.picture) if seen.face is None else one.boxes[seen.face]
        if seen.face is None and box:
            plate = f"{name} is missing"
            sheet.pen.line(box, color_of(place - 1), sheet.line)
            sheet.pen.line((box[0], box[3], box[2], box[1]), color_of(place - 1), sheet.line)
        if box:
            plates.append((str(place), plate, box, color_of(place - 1)))
    for face in one.extra:
        sheet.frame(one.boxes[face], _STRANGER)
        sheet.label("?", "", sheet.below(one.boxes[face]), _STRANGER)
    for _, _, box, color in plates:
        sheet.frame(box, color)
    for label, name, box, color in plates:
        wide = max(2.4 * (box[2] - box[0]), 9.0 * sheet.letters)
        wide = min(wide, *(_before(box, other, sheet.letters) for _, _, other, _ in plates))
        covered = (box[0], box[1] - 1.4 * sheet.letters, box[0] + 1.4 * len(name) * sheet.letters / 4, box[1])
        hides = any(other is not box and shared(covered, other) > 0 for other in one.boxes)
        sheet.label(label, name, sheet.below(box) if hides else box[:2], color, wide)
    gone = [report.names[seen.person] for seen in one.sightings if seen.face is None]
    sheet.footer([f"{summary(one)} ({report.recognisers[0]})", *([f"missing: {', '.join(gone)}"] if gone else [])])
    return sheet.tensor()


def _before(box: Box, other: Box, letters: int) -> float:
    """The room for a box's plate before that of another one to its right, px."""
    level = abs(box[1] - other[1]) < 1.5 * letters
    return other[0] - box[0] if level and other[0] > box[0] else math.inf


def _missing_box(report: Report, person: int, picture: Image.Image) -> Box | None:
    """Where somebody should stand, in pixels of the picture."""
    slot = report.people[person].slot
    if slot is None:
        return None
    return Fit.into((report.width, report.height), picture.size, "stretch").box(slot.box or patch_rect(slot.center))
