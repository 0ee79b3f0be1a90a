"""A measured picture with a frame around each face, and the number, name and similarity of the person it shows."""

from dataclasses import dataclass

from torch import Tensor

from ..cast import Box, CanvasSize, Point
from ..pictures.geometry import patch_rect, shared_area
from ..pictures.previews import Color, Sheet, as_picture, color_of
from .report import MeasuredPicture, Report, Sighting
from .report_text import summary

_STRANGER: Color = (170, 170, 170)
_LETTER_WIDTH = 0.35  # the width of a letter of the label's small font, in heights of a large letter
_LINE_HEIGHT = 1.4  # the height of a label, in heights of a large letter


@dataclass(frozen=True)
class _Plate:
    """A label at a face box, or at the place of a missing person.

    number: of the person whom the face is most like, or who is missing, see Report.numbers. text: what follows it.
    """

    number: int
    text: str
    box: Box
    is_missing: bool = False

    @property
    def color(self) -> Color:
        return color_of(self.number - 1)


def annotate(image: Tensor, report: Report, number: int) -> Tensor:
    """Picture `number`, from 0, of a report: each face in the colour of the person it is most like, with number, name
    and similarity; missing people crossed out in their places; strangers in grey.

    image: (H, W, 1|3|4) float 0..1. Returns (H, W, 3) float32 0..1.
    """
    sheet = Sheet(as_picture(image))
    picture = report.judged_pictures[number]
    plates = _plates(report, picture, sheet.picture.size)
    for plate in plates:
        if plate.is_missing:
            left, top, right, bottom = plate.box
            sheet.pen.line((left, top, right, bottom), plate.color, sheet.line)
            sheet.pen.line((left, bottom, right, top), plate.color, sheet.line)
    for face in picture.stranger_faces:
        sheet.frame(picture.boxes[face], _STRANGER)
        sheet.label("?", "", sheet.below(picture.boxes[face]), _STRANGER)
    # All frames before all plates: a plate is not crossed by the frame of another face.
    for plate in plates:
        sheet.frame(plate.box, plate.color)
    boxes = [plate.box for plate in plates]
    for plate in plates:
        anchor = _anchor(sheet, plate, picture)
        sheet.label(str(plate.number), plate.text, anchor, plate.color, sheet.room(plate.box, boxes))
    sheet.footer(_footer(report, picture))
    return sheet.tensor()


def _plates(report: Report, picture: MeasuredPicture, size: CanvasSize) -> list[_Plate]:
    """A plate per person who has a face or a place. size: of the picture, in pixels."""
    plates: list[_Plate] = []
    for sighting in picture.sightings:
        slot = report.people[sighting.person].slot
        if sighting.face is not None:
            plates.append(_plate_of_face(report, sighting, picture.boxes[sighting.face]))
        elif slot:
            box = report.canvas_onto(*size).box(slot.box or patch_rect(slot.center))
            text = f"{report.names[sighting.person]} is missing"
            plates.append(_Plate(report.numbers[sighting.person], text, box, is_missing=True))
    return plates


def _plate_of_face(report: Report, sighting: Sighting, box: Box) -> _Plate:
    """The plate of a face: whom it is most like, and how much; where that is somebody else, also whose face it is."""
    if sighting.swapped and sighting.looks_like is not None:  # who is swapped looks like somebody: for the type alone
        name, right_name = report.names[sighting.looks_like], report.names[sighting.person]
        text = f"{name} {sighting.nearest_other:.2f}, not {right_name} {sighting.similarity:.2f}"
        return _Plate(report.numbers[sighting.looks_like], text, box)
    text = f"{report.names[sighting.person]} {sighting.similarity:.2f}"
    return _Plate(report.numbers[sighting.person], text, box)


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
