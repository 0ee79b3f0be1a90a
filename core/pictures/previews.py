"""What every preview is drawn with: a sheet with its letters and colours; contact sheets, tables."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageOps
from torch import Tensor

from ..cast import Box, Point
from ..checks.text import plain
from .lettering import DOTS, cut_to, font_for, in_lines
from .tensors import eight_bits

Color = tuple[int, int, int]

# Told apart by most eyes, colour-blind ones included, on light and dark pictures (Okabe and Ito, then four more).
_COLORS: tuple[Color, ...] = (
    (86, 180, 233), (230, 159, 0), (0, 190, 130), (240, 228, 66), (213, 94, 0), (204, 121, 167),
    (120, 150, 255), (255, 255, 255), (150, 220, 60), (255, 130, 120), (160, 230, 230), (190, 140, 255),
)  # fmt: skip
BACKGROUND: Color = (20, 22, 26)
_GREEN, _RED = _COLORS[2], _COLORS[9]  # of the states in a `table`
_BLACK, _WHITE = "black", "white"
_CAPTION, _DETAIL = (235, 235, 235), (190, 195, 205)
_SHEET = (28, 28, 28)  # the background of sheets of pictures
_RULE = (52, 56, 64)  # the lines between the rows of a `table`


class Sheet:
    """A Pillow picture to draw on, with line widths and letters in proportion to its size.

    line: the width of lines, px. letters: the height of the letters of labels, px.
    """

    def __init__(self, picture: Image.Image) -> None:
        short = min(picture.size)
        self.picture = picture
        self.pen = ImageDraw.Draw(picture)
        self.line = max(2, round(short / 320))
        # Large: a node shows the whole picture some 300 px wide.
        self.letters = max(14, round(short / 16))

    def frame(self, box: Sequence[float], color: Color, line: int | None = None) -> None:
        """Draw the outline of a box. line: its width in px, None for the sheet's own."""
        self.pen.rectangle(box, outline=color, width=line or self.line)

    def dot(self, point: Point, color: Color) -> None:
        """Draw a disc a little wider than the lines. point: px."""
        x, y = point
        radius = self.line * 1.3
        self.pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)

    def label(self, number: str, name: str, anchor: Point, color: Color, width: float = 0.0) -> None:
        """Draw a plate with a large number and a name in smaller letters.

        Where the name is too long its letters become smaller, and at last it is cut. anchor: the lower left corner of
        the plate, px; the plate is moved into the picture. width: how wide the plate may be, px. It may always be 3.5
        times as wide as the letters are high, which a number and a few letters need.
        """
        pad = max(2, self.letters // 6)
        number_font = font_for(number, self.letters)
        name_x = pad + self.pen.textlength(number, number_font) + pad  # from the left edge of the plate
        room = max(width, 3.5 * self.letters) - name_x - pad
        fonts = [font_for(name, round(self.letters * size)) for size in (0.8, 0.65, 0.5)]
        fitting = [font for font in fonts if cut_to(name, font, room) == plain(name)]  # in which the name is not cut
        name_font = fitting[0] if fitting else fonts[-1]
        name = cut_to(name, name_font, room)
        plate_width = name_x
        if name:
            plate_width += self.pen.textlength(name, name_font) + pad
        _, _, _, number_height = number_font.getbbox("0")
        plate_height = number_height + pad
        x = max(0.0, min(anchor[0], self.picture.width - plate_width))
        y = max(0.0, min(anchor[1] - plate_height, self.picture.height - plate_height))
        bottom = y + plate_height - pad / 2  # of the letters, whose lower left corner ("lb") is given to Pillow
        self.pen.rectangle((x, y, x + plate_width, y + plate_height), fill=color)
        self.pen.text((x + pad, bottom), number, fill=_BLACK, font=number_font, anchor="lb")
        self.pen.text((x + name_x, bottom), name, fill=_BLACK, font=name_font, anchor="lb")

    def room(self, box: Box, others: Iterable[Box]) -> float:
        """How wide a label on a box may be, px, so that it does not overlap the label of another box.

        It reaches to the next box to the right at about the same height. Without such a box it is the sheet's width.
        """
        in_row = (other for other in others if abs(other[1] - box[1]) < 1.5 * self.letters)
        return min((other[0] - box[0] for other in in_row if other[0] > box[0]), default=self.picture.width)

    def below(self, box: Box) -> Point:
        """The anchor of a label that stands under a box instead of on it."""
        return box[0], box[3] + 1.3 * self.letters

    def fill(self, box: Sequence[float], crop: Tensor) -> None:
        """Draw a picture into a box, cropped around its middle to the shape of the box.

        A box that is larger than the sheet stays empty. crop: the picture, (H, W, 1|3|4), as as_picture takes it.
        """
        width = max(1, round(box[2] - box[0]))
        height = max(1, round(box[3] - box[1]))
        if width > self.picture.width or height > self.picture.height:
            return
        fitted = ImageOps.fit(as_picture(crop), (width, height))
        self.picture.paste(fitted, (round(box[0]), round(box[1])))

    def footer(self, notes: Sequence[str]) -> None:
        """Draw lines of text at the lower edge.

        One or two notes have up to two lines each, more notes have one. Where a note is too long for that, the letters
        of all notes are smaller, and a note that is still too long is cut.
        """
        size = max(12, self.letters // 2)  # of the letters, px
        width = self.picture.width - 8
        most = 2 if len(notes) < 3 else 1
        is_cut = any(in_lines(note, font_for(note, size), width, most)[-1].endswith(DOTS) for note in notes)
        if is_cut:
            size = max(12, self.letters // 3)
        height = round(size * 1.4)
        # The last line is drawn at the edge, the others above it.
        y = self.picture.height
        for note in reversed(notes):
            font = font_for(note, size)
            for line in reversed(in_lines(note, font, width, most)):
                y -= height
                self.pen.rectangle((0, y, self.picture.width, y + height), fill=_WHITE)
                self.pen.text((4, y), line, fill=_BLACK, font=font)

    def tensor(self) -> Tensor:
        """The sheet as it is drawn now, (H, W, 3) float32 0..1."""
        return as_tensor(self.picture)


def as_picture(image: Tensor) -> Image.Image:
    """A picture in RGB for Pillow, on white where it is transparent.

    image: (H, W, 1|3|4), float 0..1 or uint8.
    """
    in_floats = image.float() / 255 if image.dtype == torch.uint8 else image
    return Image.fromarray(eight_bits(in_floats))


def as_tensor(picture: Image.Image) -> Tensor:
    """Pillow's picture of 8 bits as float32 0..1, (H, W) or (H, W, channels)."""
    return torch.as_tensor(np.array(picture)).float().div_(255)


def color_of(number: int) -> Color:
    """The colour of a place or person by its number from 0; after twelve the colours begin again."""
    return _COLORS[number % len(_COLORS)]


_SHOWN = 100
"""The most pictures of a contact sheet, and groups of a grouped sheet: thousands would take gigabytes."""
_OF_A_GROUP = 24
"""The most pictures of a group in a grouped sheet."""


def contact_sheet(crops: Sequence[Tensor], captions: Sequence[str], together: int = 1, lines: int = 1) -> Tensor:
    """Pictures side by side in rows, each with a caption under it: (1, H, W, 3) float32 0..1.

    Of more than a hundred pictures the first ones are drawn. crops: the pictures, (H, W, 1|3|4) each, float 0..1 or
    uint8, of any size. captions: one for each, cut where it needs more than `lines` lines. together: the number of
    pictures that belong together, such as a face and its match: a row holds a multiple of it.
    """
    if len(crops) > _SHOWN:
        last_caption = f"and {len(crops) - _SHOWN} more"
        crops = crops[:_SHOWN]
        captions = [*captions[: _SHOWN - 1], last_caption]
    cell = 160  # the side of a picture's square, px
    gap = 6
    fonts = [font_for(caption, 15) for caption in captions]
    broken_captions = [in_lines(caption, font, cell, lines) for caption, font in zip(captions, fonts, strict=True)]
    # The height of the captions, that of the one with the most lines; lines stand 20 px apart.
    strip = 24 * max(map(len, broken_captions), default=1)
    # About as many columns as rows, rounded up to a multiple of `together`.
    columns = together * math.ceil(math.sqrt(len(crops)) / together)
    rows = math.ceil(len(crops) / columns)
    size = (columns * (cell + gap) + gap, rows * (cell + strip + gap) + gap)
    sheet = Sheet(Image.new("RGB", size, _SHEET))
    for index, (crop, caption_lines, font) in enumerate(zip(crops, broken_captions, fonts, strict=True)):
        x = gap + index % columns * (cell + gap)
        y = gap + index // columns * (cell + strip + gap)
        picture = _with_longer_side(as_picture(crop), cell)
        sheet.picture.paste(picture, (x + (cell - picture.width) // 2, y + (cell - picture.height) // 2))
        for line, text in enumerate(caption_lines):
            below = (x + cell / 2, y + cell + 3 + 20 * line)
            sheet.pen.text(below, text, _CAPTION, font, anchor="ma")  # the middle of its upper edge is at `below`
    return sheet.tensor()[None]


def _with_longer_side(picture: Image.Image, longer_side: int) -> Image.Image:
    """The picture in its own shape, its longer side as long as this, in pixels."""
    scale = longer_side / max(picture.size)
    width = max(1, round(picture.width * scale))
    height = max(1, round(picture.height * scale))
    return picture.resize((width, height))


class GroupedPicture(NamedTuple):
    """One picture of a group. picture: (H, W, 1|3|4) float 0..1. number: on it. caption: under it."""

    picture: Tensor
    number: str
    caption: str


class PictureGroup(NamedTuple):
    """Pictures under a title."""

    title: str
    pictures: Sequence[GroupedPicture]


_CELL, _BAR, _STRIP, _GAP = 128, 34, 24, 6
"""The sizes in a sheet of groups, in pixels: a picture's side, the height of a title, the height of a caption, and the
gap between pictures."""


def grouped_sheet(groups: Sequence[PictureGroup]) -> Tensor:
    """Groups of pictures, one below the other: a title in a bar of the group's colour, and its pictures below.

    Each picture has a number on it and a caption under it. Of more than a hundred groups the first are drawn, and of
    each group its first two dozen pictures. Returns (1, H, W, 3) float32 0..1.
    """
    most_pictures = max(len(group.pictures) for group in groups)
    columns = min(8, max(4, most_pictures))
    drawn_groups = groups[:_SHOWN]
    row_counts = [math.ceil(min(len(group.pictures), _OF_A_GROUP) / columns) for group in drawn_groups]
    heights = [_BAR + _GAP + row_count * (_CELL + _STRIP + _GAP) for row_count in row_counts]
    width = columns * (_CELL + _GAP) + _GAP
    sheet = Sheet(Image.new("RGB", (width, sum(heights)), _SHEET))
    y = 0
    for number, (group, height) in enumerate(zip(drawn_groups, heights, strict=True)):
        color = color_of(number)
        title = group.title
        if len(group.pictures) > _OF_A_GROUP:
            title += f" (the first {_OF_A_GROUP} of {len(group.pictures)})"
        if number == _SHOWN - 1 and len(groups) > _SHOWN:  # the last group that is drawn
            title += f", and {len(groups) - _SHOWN} more"
        sheet.pen.rectangle((0, y, width, y + _BAR - _GAP), fill=color)
        font = font_for(title, 20)
        title = cut_to(title, font, width - 2 * _GAP)
        sheet.pen.text((_GAP, y + (_BAR - _GAP) / 2), title, _BLACK, font, "lm")
        for index, picture in enumerate(group.pictures[:_OF_A_GROUP]):
            left = _GAP + index % columns * (_CELL + _GAP)
            top = y + _BAR + index // columns * (_CELL + _STRIP + _GAP)
            _draw_grouped(sheet, picture, left, top, color)
        y += height
    return sheet.tensor()[None]


def _draw_grouped(sheet: Sheet, picture: GroupedPicture, left: int, top: int, color: Color) -> None:
    """Draw one picture of a group with its number and caption. left, top: its corner, px."""
    sheet.fill((left, top, left + _CELL, top + _CELL), picture.picture)
    number_font = font_for(picture.number, 20)
    number_width = sheet.pen.textlength(picture.number, number_font)
    sheet.pen.rectangle((left, top, left + number_width + 8, top + 24), fill=color)
    # "lm": the middle of the left edge stands there; "ma": the middle of the upper edge.
    sheet.pen.text((left + 4, top + 12), picture.number, _BLACK, number_font, "lm")
    caption_font = font_for(picture.caption, 15)
    caption = cut_to(picture.caption, caption_font, _CELL)
    sheet.pen.text((left + _CELL / 2, top + _CELL + 3), caption, _CAPTION, caption_font, "ma")


_WIDEST = 480
"""The most pixels of a column of `table`; the last column, of the details, gets what is left."""
_TITLE_LINE, _DETAIL_LINE = 28, 22
"""Heights of lines of `table`, in pixels."""


def table(title: str, rows: Sequence[tuple[str, str, str]], good: Sequence[bool]) -> Tensor:
    """A table of lines under a title: a subject, its state and details. Returns (1, H, W, 3) float32 0..1.

    rows: subject, state and details of each line. good: for each line, whether the state is green instead of red.
    """
    width = 1280
    gap = 14
    font = font_for("".join(text for row in rows for text in row), 16)
    subjects_width = _column_width([subject for subject, _, _ in rows], font)
    states_width = _column_width([state for _, state, _ in rows], font)
    states_x = 2 * gap + subjects_width
    details_x = 3 * gap + subjects_width + states_width
    details = [in_lines(detail, font, width - details_x - gap) for _, _, detail in rows]  # the lines of each row
    title_font = font_for(title, 20)
    heading = in_lines(title, title_font, width - 2 * gap)
    y = _TITLE_LINE * len(heading) + 2 * gap  # the upper edge of the row that is drawn next
    height = y + sum(_DETAIL_LINE * len(lines) + gap for lines in details)
    sheet = Sheet(Image.new("RGB", (width, height), BACKGROUND))
    for index, line in enumerate(heading):
        sheet.pen.text((gap, gap + _TITLE_LINE * index), line, _WHITE, title_font)
    for (subject, state, _), lines, is_good in zip(rows, details, good, strict=True):
        sheet.pen.line((0, y - gap // 2, width, y - gap // 2), fill=_RULE)
        sheet.pen.text((gap, y), cut_to(subject, font, _WIDEST), _CAPTION, font)
        sheet.pen.text((states_x, y), state, _GREEN if is_good else _RED, font)
        for index, line in enumerate(lines):
            sheet.pen.text((details_x, y + _DETAIL_LINE * index), line, _DETAIL, font)
        y += _DETAIL_LINE * len(lines) + gap
    return sheet.tensor()[None]


def _column_width(texts: Sequence[str], font: Any) -> float:
    return min(_WIDEST, max(font.getlength(plain(text)) for text in texts))
