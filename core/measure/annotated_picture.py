"""A measured picture with a frame around each face, and the number, name and similarity of the person it shows."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..cast import Box, Point
from ..pictures.geometry import patch_rect, shared_area
from ..pictures.previews import Color, Sheet, as_picture, color_of
from .report import MeasuredPicture, Report, Sighting
from .report_text import summary

_STRANGER: Color = (170, 170, 170)
# A label may be wider than its face, so that a name has room. It may not be so wide that it looks like the label of a
# neighbour. The larger of these two lengths is the most.
_BOXES_WIDE = 2.4  # in widths of the face box
_LETTERS_WIDE = 9.0  # in heights of a large letter, for faces that are small in a large picture
_LETTER_WIDTH = 0.35  # the width of a letter of the label's small font, in heights of a large letter
_LINE_HEIGHT = 1.4  # the height of a label, in heights of a large letter


@dataclass(frozen=True)
class _Plate:
    """A label at a face box, or at the place of a missing person.

    number: the person's, see Report.numbers. text: what follows the number. color: the colour of that number.
    """

    number: str
    text: str
    box: Box
    color: Color


def annotate(image: Tensor, report: Report, number: int) -> Tensor:
    """Picture `number`, from 0, of a report: each face in the colour of the person it is most like, with number, name
    and similarity; missing people crossed out in their places; strangers in grey.

    image: (H, W, 1|3|4) float 0..1. Returns (H, W, 3) float32 0..1.
    """
    sheet = Sheet(as_picture(image))
    picture = report.judged_pictures[number]
    plates = _plates(sheet, report, picture)
    for face in picture.stranger_faces:
        sheet.frame(picture.boxes[face], _STRANGER)
        sheet.label("?", "", sheet.below(picture.boxes[face]), _STRANGER)
    # All frames before all plates: a plate is not crossed by the frame of another face.
    for plate in plates:
        sheet.frame(plate.box, plate.color)
    for plate in plates:
        anchor = _anchor(sheet, plate, picture)
        sheet.label(plate.number, plate.text, anchor, plate.color, _width(sheet, plate, plates))
    sheet.footer(_footer(report, picture))
    return sheet.tensor()


def _plates(sheet: Sheet, report: Report, picture: MeasuredPicture) -> list[_Plate]:
    """A plate per person who has a face or a place. Missing people are crossed out on the sheet."""
    plates: list[_Plate] = []
    for sighting in picture.sightings:
        # Index of a person: a face is labelled as whom it is most like, a place as who is missing there.
        labelled = sighting.person if sighting.looks_like is None else sighting.looks_like
        number = report.numbers[labelled]
        color = color_of(number - 1)
        if sighting.face is not None:
            text = _text_of_face(report, sighting, labelled)
            plates.append(_Plate(str(number), text, picture.boxes[sighting.face], color))
            continue
        slot = report.people[sighting.person].slot
        if slot:
            width, height = sheet.picture.size
            box = report.canvas_onto(width, height).box(slot.box or patch_rect(slot.center))
            left, top, right, bottom = box
            sheet.pen.line((left, top, right, bottom), color, sheet.line)
            sheet.pen.line((left, bottom, right, top), color, sheet.line)
            plates.append(_Plate(str(number), f"{report.names[labelled]} is missing", box, color))
    return plates


def _text_of_face(report: Report, sighting: Sighting, labelled: int) -> str:
    """The text of a face's label. labelled: index of the person whom the face is most like."""
    name = report.names[labelled]
    if sighting.swapped:  # so the labelled person is the nearest other one
        right_name = report.names[sighting.person]
        return f"{name} {sighting.nearest_other:.2f}, not {right_name} {sighting.similarity:.2f}"
    return f"{name} {sighting.similarity:.2f}"


def _width(sheet: Sheet, plate: _Plate, plates: Sequence[_Plate]) -> float:
    """The largest width of a plate, px: by _BOXES_WIDE or _LETTERS_WIDE, whichever gives more, but at most up to the
    next plate's box beside it."""
    left, _, right, _ = plate.box
    width = max(_BOXES_WIDE * (right - left), _LETTERS_WIDE * sheet.letters)
    return min(width, sheet.room(plate.box, [other.box for other in plates]))


def _anchor(sheet: Sheet, plate: _Plate, picture: MeasuredPicture) -> Point:
    """The lower left corner of a plate: at the upper edge of its box, or below the box where it would hide a face."""
    left, top, _, _ = plate.box
    # An estimate is enough here: it decides whether the label would hide another face.
    plate_width = _LETTER_WIDTH * len(plate.text) * sheet.letters
    plate_height = _LINE_HEIGHT * sheet.letters
    covered = (left, top - plate_height, left + plate_width, top)
    # The box of a plate on a face is one of picture.boxes, the same object: a plate may hide its own face.
    hides_a_face = any(box is not plate.box and shared_area(covered, box) > 0 for box in picture.boxes)
    return sheet.below(plate.box) if hides_a_face else (left, top)


def _footer(report: Report, picture: MeasuredPicture) -> list[str]:
    """The figures of the picture, and the names of missing people."""
    figures = summary(picture)
    if report.people:
        figures += f" ({report.judge})"
    lines = [figures]
    missing = [report.names[sighting.person] for sighting in picture.sightings if sighting.face is None]
    if missing:
        lines.append(f"missing: {', '.join(missing)}")
    return lines
