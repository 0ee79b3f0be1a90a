"""The pictures of a story in one sheet: a row for each, beside it how like each face and each garment is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from ..checks.limits import SCENES
from ..pictures.previews import BACKGROUND, RULE, Color, Sheet, color_of, cut_to, font_for
from .report import MeasuredPicture, Report

_PICTURE = 384
"""The longer side of a picture, in px."""
_TEXT = 520
"""The width of what stands beside a picture, in px."""
_GAP = 12
_LETTERS, _LINE = 20, 34
"""The height of letters, and of a line, in px."""
_PLAIN: Color = (235, 235, 235)
_LEAST: Color = (255, 130, 120)
"""The plate of what is least like in the whole sheet."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture of the story, (H, W, 1|3|4) 0..1, and what was measured of it.

    measured: by the recogniser that judges. report: which it is of.
    """

    picture: Tensor
    report: Report
    measured: MeasuredPicture


@dataclass(frozen=True, eq=False)
class _Line:
    """What is said of a face or a garment. value: its similarity; 0 for a missing person, who is the least like."""

    text: str
    value: float
    color: Color


@dataclass(frozen=True, eq=False)
class _Row:
    """A scene with what is said of its faces and its garments, beside each other on the sheet."""

    picture: Tensor
    faces: Sequence[_Line]
    garments: Sequence[_Line]

    @property
    def lines(self) -> list[_Line]:
        return [*self.faces, *self.garments]

    @property
    def height(self) -> int:
        """In px: of the picture, or of its title and all lines."""
        return max(_height(self.picture), _LINE * (1 + len(self.lines)))


def draw(scenes: Sequence[Scene]) -> Tensor:
    """The sheet, (1, H, W, 3) float32 0..1. Of more than SCENES the first ones are drawn.

    The face that is least like in all scenes is marked, and so is the garment; of equal ones each. Faces are compared
    with faces alone: they are measured by another network than garments.
    """
    rows = [_Row(scene.picture, _faces(scene), _garments(scene)) for scene in scenes[:SCENES]]
    marked = [*_least([row.faces for row in rows]), *_least([row.garments for row in rows])]
    width = _GAP + _PICTURE + _GAP + _TEXT
    left_out = len(scenes) - len(rows)
    height = _GAP + sum(row.height + _GAP for row in rows) + (_LINE if left_out else 0)
    sheet = Sheet(Image.new("RGB", (width, height), BACKGROUND))
    y = _GAP
    for number, row in enumerate(rows, 1):
        if number > 1:
            sheet.pen.line((0, y - _GAP // 2, width, y - _GAP // 2), fill=RULE)
        above = (_PICTURE - _height(row.picture)) // 2  # what the square is higher than the picture
        sheet.show(row.picture, _GAP, y - above, _PICTURE)
        _write(sheet, f"Scene {number}", y, row.lines, marked)
        y += row.height + _GAP
    if left_out:
        sheet.pen.text((_GAP, y), f"and {left_out} more", _PLAIN, font_for("", _LETTERS))
    return sheet.tensor()[None]


def _height(picture: Tensor) -> int:
    """How high a picture (H, W, channels) is on the sheet, px."""
    height, width, _ = picture.shape
    return max(1, round(height * _PICTURE / max(height, width)))


def _faces(scene: Scene) -> list[_Line]:
    """A line for each person who is looked for."""
    lines: list[_Line] = []
    for sighting in scene.measured.sightings:
        name = scene.report.names[sighting.person]
        text = f"{name}: no face found" if sighting.face is None else f"{name}: face: {sighting.similarity:.2f}"
        if sighting.swapped and sighting.looks_like is not None:
            text += f", looks like {scene.report.names[sighting.looks_like]}"
        color = color_of(scene.report.numbers[sighting.person] - 1)
        lines.append(_Line(text, sighting.similarity, color))
    return lines


def _garments(scene: Scene) -> list[_Line]:
    """A line for each garment that was compared."""
    pairs = zip(scene.report.labels, scene.measured.part_similarities, strict=True)
    return [_Line(f"{label}: {value:.2f}", value, _PLAIN) for label, value in pairs]


def _least(lines_of_scenes: Iterable[Sequence[_Line]]) -> list[_Line]:
    """The lines of the least value of all scenes, by what is written of it; none where all are equal."""
    lines = [line for lines in lines_of_scenes for line in lines]
    least = min((round(line.value, 2) for line in lines), default=0.0)
    chosen = [line for line in lines if round(line.value, 2) == least]
    return chosen if len(chosen) < len(lines) else []


def _write(sheet: Sheet, title: str, top: float, lines: Sequence[_Line], marked: Sequence[_Line]) -> None:
    """Write what was measured beside a picture. top: its upper edge, px. marked: what is least like."""
    x = _GAP + _PICTURE + _GAP
    sheet.pen.text((x, top), title, _PLAIN, font_for(title, _LETTERS))
    for number, line in enumerate(lines, 1):
        y = top + number * _LINE
        is_marked = line in marked
        text = f"{line.text} - least like" if is_marked else line.text
        font = font_for(text, _LETTERS)
        shown = cut_to(text, font, _TEXT - 3 * _GAP)
        if is_marked:
            plate = (x, y - 2, x + font.getlength(shown) + 2 * _GAP, y + _LINE - 6)
            sheet.pen.rectangle(plate, fill=_LEAST)
        sheet.pen.text((x + _GAP, y), shown, BACKGROUND if is_marked else line.color, font)
