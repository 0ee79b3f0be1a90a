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
_FOOTER_EDGE = 4  # px on the left and on the right of a footer's text
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
        """Draw a plate with a large number and a name in smaller letters, see `_shrunk_to`.

        anchor: the lower left corner of the plate, px; the plate is moved into the picture. width: how wide the plate
        may be, px. It may always be 3.5 times as wide as the letters are high, which a number and a few letters need.
        """
        pad = max(2, self.letters // 6)
        number_font = font_for(number, self.letters)
        name_x = pad + self.pen.textlength(number, number_font) + pad  # from the left edge of the plate
        shown_name, name_font = self._shrunk_to(max(width, 3.5 * self.letters) - name_x - pad, name)
        plate_width = name_x
        if shown_name:
            plate_width += self.pen.textlength(shown_name, name_font) + pad
        _, _, _, number_height = number_font.getbbox("0")
        plate_height = number_height + pad
        left, bottom = anchor
        x = max(0.0, min(left, self.picture.width - plate_width))
        y = max(0.0, min(bottom - plate_height, self.picture.height - plate_height))
        self.pen.rectangle((x, y, x + plate_width, y + plate_height), fill=color)
        text_y = y + plate_height - pad / 2
        # "lb": the lower left corner of the text stands there.
        self.pen.text((x + pad, text_y), number, fill=_BLACK, font=number_font, anchor="lb")
        self.pen.text((x + name_x, text_y), shown_name, fill=_BLACK, font=name_font, anchor="lb")

    def _shrunk_to(self, width: float, name: str) -> tuple[str, Any]:
        """A name and its font: the largest of three in which it fits into `width` pixels, else cut in the smallest."""
        font: Any = None
        for size in (0.8, 0.65, 0.5):
            font = font_for(name, round(self.letters * size))
            if cut_to(name, font, width) == plain(name):
                break
        return cut_to(name, font, width), font

    def room(self, box: Box, others: Iterable[Box]) -> float:
        """How wide a label on a box may be, px, so that it does not overlap the label of another box.

        It reaches to the next box to the right at about the same height. Without such a box it is the sheet's width.
        """
        left, top, _, _ = box
        distances: list[float] = []  # to the boxes on the right
        for other_left, other_top, _, _ in others:
            if abs(other_top - top) < 1.5 * self.letters and other_left > left:
                distances.append(other_left - left)
        return min(distances, default=self.picture.width)

    def below(self, box: Box) -> Point:
        """The anchor of a label that stands under a box instead of on it."""
        return box[0], box[3] + 1.3 * self.letters

    def fill(self, box: Sequence[float], crop: Tensor) -> None:
        """Draw a picture into a box, cropped around its middle to the shape of the box.

        A box that is larger than the sheet stays empty. crop: the picture, (H, W, 1|3|4), as as_picture takes it.
        """
        left, top, right, bottom = box
        width = max(1, round(right - left))
        height = max(1, round(bottom - top))
        if width > self.picture.width or height > self.picture.height:
            return
        fitted = ImageOps.fit(as_picture(crop), (width, height))
        self.picture.paste(fitted, (round(left), round(top)))

    def show(self, crop: Tensor, left: int, top: int, side: int) -> None:
        """Draw a whole picture in its own shape in the middle of a square. crop: as of `fill`. left, top, side: px."""
        picture = as_picture(crop)
        scale = side / max(picture.size)
        width = max(1, round(picture.width * scale))
        height = max(1, round(picture.height * scale))
        self.picture.paste(picture.resize((width, height)), (left + (side - width) // 2, top + (side - height) // 2))

    def footer(self, notes: Sequence[str]) -> None:
        """Draw lines of text at the lower edge.

        One or two notes have up to two lines each, more notes have one. Where a note is too long for that, the letters
        of all notes are smaller, and a note that is still too long is cut.
        """
        size = max(12, self.letters // 2)  # of the letters, px
        lines_of_notes = self._in_footer(notes, size)
        if any(lines[-1].endswith(DOTS) for lines in lines_of_notes):
            size = max(12, self.letters // 3)
            lines_of_notes = self._in_footer(notes, size)
        line_height = round(size * 1.4)
        y = self.picture.height - line_height * sum(map(len, lines_of_notes))
        self.pen.rectangle((0, y, *self.picture.size), fill=_WHITE)
        for note, lines in zip(notes, lines_of_notes, strict=True):
            y = self.write(lines, (_FOOTER_EDGE, y), line_height, _BLACK, font_for(note, size))

    def _in_footer(self, notes: Sequence[str], size: int) -> list[list[str]]:
        """The lines of each note in the footer, in letters of this size."""
        width = self.picture.width - 2 * _FOOTER_EDGE
        most_lines = 2 if len(notes) < 3 else 1
        return [in_lines(note, font_for(note, size), width, most_lines) for note in notes]

    def write(
        self, lines: Sequence[str], start: Point, line_height: int, color: Color | str, font: Any, anchor: str = "la"
    ) -> float:
        """Write lines one below the other, and give the y of the next line. start: the first line's anchor, px.

        anchor: of each line, as Pillow names it: "la" is its upper left corner, "ma" the middle of its upper edge.
        """
        x, y = start
        for line in lines:
            self.pen.text((x, y), line, color, font, anchor)
            y += line_height
        return y

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
_GAP = 6
"""Between pictures and at the edges of a sheet, px."""
_CAPTION_LETTERS, _CAPTION_LINE, _ABOVE_CAPTION = 15, 20, 3
"""The size of a caption's letters, the distance of its lines, and that of the first one from the picture, px."""
_STRIP = 24
"""The height of a caption of one line, px."""


class _Grid(NamedTuple):
    """Cells in rows: in each a square for a picture, and under it a strip for its caption. Around them are gaps.

    columns: how many cells a row has. side: of the square, px. strip: the height of the strip, px.
    """

    columns: int
    side: int
    strip: int = _STRIP

    @property
    def width(self) -> int:
        """The width of all columns in pixels, with the gaps at both ends."""
        return _GAP + self.columns * (self.side + _GAP)

    def height(self, count: int) -> int:
        """The height of so many cells in pixels, with the gaps above and below."""
        return _GAP + math.ceil(count / self.columns) * (self.side + self.strip + _GAP)

    def corner(self, index: int) -> tuple[int, int]:
        """The upper left corner (x, y) of a cell, counted from the grid's own, px. index: of the cell, from 0."""
        row, column = divmod(index, self.columns)
        return _GAP + column * (self.side + _GAP), _GAP + row * (self.side + self.strip + _GAP)


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
    side = 160
    lines_of_captions = [in_lines(caption, _caption_font(caption), side, lines) for caption in captions]
    most_lines = max(map(len, lines_of_captions), default=1)
    # About as many columns as rows, rounded up to a multiple of `together`.
    columns = together * math.ceil(math.sqrt(len(crops)) / together)
    grid = _Grid(columns, side, strip=_STRIP * most_lines)
    sheet = Sheet(Image.new("RGB", (grid.width, grid.height(len(crops))), _SHEET))
    for index, crop in enumerate(crops):
        x, y = grid.corner(index)
        sheet.show(crop, x, y, side)
        below = (x + side / 2, y + side + _ABOVE_CAPTION)
        font = _caption_font(captions[index])
        sheet.write(lines_of_captions[index], below, _CAPTION_LINE, _CAPTION, font, anchor="ma")
    return sheet.tensor()[None]


def _caption_font(caption: str) -> Any:
    return font_for(caption, _CAPTION_LETTERS)


class GroupedPicture(NamedTuple):
    """One picture of a group. picture: (H, W, 1|3|4) float 0..1. number: on it. caption: under it."""

    picture: Tensor
    number: str
    caption: str


class PictureGroup(NamedTuple):
    """Pictures under a title."""

    title: str
    pictures: Sequence[GroupedPicture]

    @property
    def drawn(self) -> Sequence[GroupedPicture]:
        return self.pictures[:_OF_A_GROUP]

    @property
    def full_title(self) -> str:
        """The title, with the number of pictures where not all are drawn."""
        if len(self.pictures) <= _OF_A_GROUP:
            return self.title
        return f"{self.title} (the first {_OF_A_GROUP} of {len(self.pictures)})"


_BAR = 28
"""The height of the bar with a group's title, px."""


def grouped_sheet(groups: Sequence[PictureGroup]) -> Tensor:
    """Groups of pictures, one below the other: a title in a bar of the group's colour, and its pictures below.

    Each picture has a number on it and a caption under it. Of more than a hundred groups the first are drawn, and of
    each group its first two dozen pictures. Returns (1, H, W, 3) float32 0..1.
    """
    most_pictures = max(len(group.pictures) for group in groups)
    grid = _Grid(columns=min(8, max(4, most_pictures)), side=128)
    drawn_groups = groups[:_SHOWN]
    titles = [group.full_title for group in drawn_groups]
    if len(groups) > _SHOWN:
        titles[-1] += f", and {len(groups) - _SHOWN} more"
    heights = [_BAR + grid.height(len(group.drawn)) + _GAP for group in drawn_groups]
    sheet = Sheet(Image.new("RGB", (grid.width, sum(heights)), _SHEET))
    y = 0
    for number, group in enumerate(drawn_groups):
        color = color_of(number)
        _draw_bar(sheet, titles[number], y, color)
        for index, picture in enumerate(group.drawn):
            left, top = grid.corner(index)
            _draw_grouped(sheet, picture, left, y + _BAR + top, grid.side, color)
        y += heights[number]
    return sheet.tensor()[None]


def _draw_bar(sheet: Sheet, title: str, y: int, color: Color) -> None:
    """Draw a bar with a title over the whole width of a sheet. y: its upper edge."""
    font = font_for(title, 20)
    shown_title = cut_to(title, font, sheet.picture.width - 2 * _GAP)
    sheet.pen.rectangle((0, y, sheet.picture.width, y + _BAR), fill=color)
    sheet.pen.text((_GAP, y + _BAR / 2), shown_title, _BLACK, font, "lm")  # "lm": the middle of the text's left edge


def _draw_grouped(sheet: Sheet, picture: GroupedPicture, left: int, top: int, side: int, color: Color) -> None:
    """Draw one picture of a group with its number and caption. left, top: its corner, px. side: of its square, px."""
    sheet.fill((left, top, left + side, top + side), picture.picture)
    number_font = font_for(picture.number, 20)
    number_width = sheet.pen.textlength(picture.number, number_font)
    sheet.pen.rectangle((left, top, left + number_width + 8, top + 24), fill=color)
    sheet.pen.text((left + 4, top + 12), picture.number, _BLACK, number_font, "lm")
    caption_font = _caption_font(picture.caption)
    caption = cut_to(picture.caption, caption_font, side)
    sheet.pen.text((left + side / 2, top + side + _ABOVE_CAPTION), caption, _CAPTION, caption_font, "ma")


_WIDEST = 480
"""The most pixels of a column of `table`; the last column, of the details, gets what is left."""
_TITLE_LINE, _DETAIL_LINE = 28, 22
"""Heights of lines of `table`, in pixels."""


class TableRow(NamedTuple):
    """A row of `table`. is_good: whether the state is green instead of red."""

    subject: str
    state: str
    details: str
    is_good: bool


def table(title: str, rows: Sequence[TableRow]) -> Tensor:
    """A table of lines under a title: a subject, its state and details. Returns (1, H, W, 3) float32 0..1."""
    width = 1280
    gap = 14
    font = font_for("".join(row.subject + row.state + row.details for row in rows), 16)
    states_x = gap + _column_width([row.subject for row in rows], font) + gap
    details_x = states_x + _column_width([row.state for row in rows], font) + gap
    lines_of_details = [in_lines(row.details, font, width - details_x - gap) for row in rows]
    heights = [_DETAIL_LINE * len(lines) + gap for lines in lines_of_details]  # of the rows
    title_font = font_for(title, 20)
    heading = in_lines(title, title_font, width - 2 * gap)
    y = _TITLE_LINE * len(heading) + 2 * gap  # the upper edge of the row that is drawn next
    sheet = Sheet(Image.new("RGB", (width, y + sum(heights)), BACKGROUND))
    sheet.write(heading, (gap, gap), _TITLE_LINE, _WHITE, title_font)
    for row, lines, height in zip(rows, lines_of_details, heights, strict=True):
        sheet.pen.line((0, y - gap // 2, width, y - gap // 2), fill=_RULE)
        sheet.pen.text((gap, y), cut_to(row.subject, font, _WIDEST), _CAPTION, font)
        sheet.pen.text((states_x, y), row.state, _GREEN if row.is_good else _RED, font)
        sheet.write(lines, (details_x, y), _DETAIL_LINE, _DETAIL, font)
        y += height
    return sheet.tensor()[None]


def _column_width(texts: Sequence[str], font: Any) -> float:
    return min(_WIDEST, max(font.getlength(plain(text)) for text in texts))
