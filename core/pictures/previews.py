"""What every preview is drawn with: a sheet with its letters and colours; contact sheets, tables; texts in lines."""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import PIL
import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor

from ..cast import Box, Point
from ..checks.errors import BadSetup
from ..checks.text import plain
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
RULE = (52, 56, 64)  # the lines between the rows of a `table`


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
        """Draw a plate with a large number and a name in smaller letters, which is cut where it is too long.

        anchor: the lower left corner of the plate, px; the plate is moved into the picture. width: how wide the plate
        may be, px. It may always be 3.5 times as wide as the letters are high, which a number and a few letters need.
        """
        pad = max(2, self.letters // 6)
        number_font = font_for(number, self.letters)
        name_font = font_for(name, round(0.6 * self.letters))
        name_x = pad + self.pen.textlength(number, number_font) + pad  # from the left edge of the plate
        shown_name = cut_to(name, name_font, max(width, 3.5 * self.letters) - name_x - pad)
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
        """Draw notes at the lower edge, each in up to two lines; a note that is too long for that is cut."""
        size = max(12, round(0.45 * self.letters))  # of the letters, px
        line_height = round(size * 1.4)
        width = self.picture.width - 2 * _FOOTER_EDGE
        lines_of_notes = [in_lines(note, font_for(note, size), width, 2) for note in notes]
        y = self.picture.height - line_height * sum(map(len, lines_of_notes))
        self.pen.rectangle((0, y, *self.picture.size), fill=_WHITE)
        for note, lines in zip(notes, lines_of_notes, strict=True):
            y = self.write(lines, (_FOOTER_EDGE, y), line_height, _BLACK, font_for(note, size))

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


_SHOWN = 250
"""The most pictures of a contact sheet: thousands would take gigabytes."""
_SIDE, _GAP = 160, 6
"""The side of the square in which each of its pictures stands, and what is between them and at its edges, px."""
_CAPTION_LETTERS, _CAPTION_LINE, _CAPTION_ROOM = 15, 20, 24
"""The size of a caption's letters, the distance of its lines, and the room under a picture for each of them, px."""


def contact_sheet(
    crops: Sequence[Tensor],
    captions: Sequence[str],
    together: int = 1,
    lines: int = 1,
    colors: Sequence[Color] = (),
) -> Tensor:
    """Pictures side by side in rows, each with a caption under it: (1, H, W, 3) float32 0..1.

    Of more than _SHOWN pictures the first ones are drawn. crops: the pictures, (H, W, 1|3|4) each, float 0..1 or uint8,
    of any size. captions: one for each, cut where it needs more than `lines` lines. together: the number of pictures
    that belong together, such as a face and its match: a row holds a multiple of it. colors: of a frame around each
    picture; () for none.
    """
    if len(crops) > _SHOWN:
        last_caption = f"and {len(crops) - _SHOWN} more"
        crops = crops[:_SHOWN]
        captions = [*captions[: _SHOWN - 1], last_caption]
    fonts = [font_for(caption, _CAPTION_LETTERS) for caption in captions]
    lines_of_captions: list[list[str]] = []
    for caption, font in zip(captions, fonts, strict=True):
        lines_of_captions.append(in_lines(caption, font, _SIDE, lines))
    # About as many columns as rows, rounded up to a multiple of `together`.
    columns = together * math.ceil(math.sqrt(len(crops)) / together)
    step = _SIDE + _GAP
    row_height = step + _CAPTION_ROOM * max(map(len, lines_of_captions), default=1)
    size = (_GAP + columns * step, _GAP + math.ceil(len(crops) / columns) * row_height)
    sheet = Sheet(Image.new("RGB", size, _SHEET))
    for index, crop in enumerate(crops):
        row, column = divmod(index, columns)
        x, y = _GAP + column * step, _GAP + row * row_height
        sheet.show(crop, x, y, _SIDE)
        if colors:
            sheet.frame((x, y, x + _SIDE - 1, y + _SIDE - 1), colors[index], line=4)
        below = (x + _SIDE / 2, y + _SIDE + 3)
        sheet.write(lines_of_captions[index], below, _CAPTION_LINE, _CAPTION, fonts[index], anchor="ma")
    return sheet.tensor()[None]


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
        sheet.pen.line((0, y - gap // 2, width, y - gap // 2), fill=RULE)
        sheet.pen.text((gap, y), cut_to(row.subject, font, _WIDEST), _CAPTION, font)
        sheet.pen.text((states_x, y), row.state, _GREEN if row.is_good else _RED, font)
        sheet.write(lines, (details_x, y), _DETAIL_LINE, _DETAIL, font)
        y += height
    return sheet.tensor()[None]


def _column_width(texts: Sequence[str], font: Any) -> float:
    return min(_WIDEST, max(font.getlength(plain(text)) for text in texts))


# --- Fonts, and texts broken into lines or cut where they are too long. Widths are pixels.

# Pillow's own font has ASCII alone. Of these fonts most systems have one; it has the letters of the system's language.
_SYSTEM_FONTS = ("msyh.ttc", "Arial Unicode.ttf", "NotoSansCJK-Regular.ttc", "DejaVuSans.ttf", "arial.ttf")
DOTS = "..."
"""The end of a text that was cut."""
_MOST_LETTERS = 1000
"""Letters of a caption after which it is cut: more fit into no picture, and Pillow refuses very long texts."""


def font_for(text: str, size: int) -> Any:
    """A Pillow font that has the letters of a text. size: pixels."""
    return _font(from_system=not text.isascii(), size=size)


@cache
def _font(from_system: bool, size: int) -> Any:
    """A Pillow font of this size in pixels: the first of the system's fonts that is there, or Pillow's own.

    Raises BadSetup for a Pillow below 10.1, whose own font has one size.
    """
    if from_system:
        for name in _SYSTEM_FONTS:
            try:
                return ImageFont.truetype(name, size)
            except OSError:
                continue
    try:
        return ImageFont.load_default(size)
    except TypeError as error:
        why = f"Pillow is {PIL.__version__}; previews are written with the font of Pillow 10.1 or newer."
        advice = "With the Python that runs ComfyUI: python -m pip install -U pillow"
        raise BadSetup(why, advice) from error


def in_lines(text: str, font: Any, width: float, most_lines: float = math.inf) -> list[str]:
    """A text in up to `most_lines` lines of `width` pixels, the last one cut where it is too long.

    Lines are broken between words, and inside of words that are longer than a line.
    """
    if most_lines != math.inf:  # without a limit all of the text is wanted
        text = text[:_MOST_LETTERS]
    words: list[str] = plain(text).split(" ")
    lines: list[str] = []
    while words:
        if len(lines) + 1 >= most_lines:  # no line may follow this one
            return [*lines, cut_to(" ".join(words), font, width)]
        count = _count_that_fits(words, " ", font, width)
        if count:
            lines.append(" ".join(words[:count]))
            words = words[count:]
            continue
        # The first word is longer than a line: its beginning, at least a letter, fills this line.
        letter_count = max(1, _count_that_fits(words[0], "", font, width))
        lines.append(words[0][:letter_count])
        rest = words[0][letter_count:]
        words = [rest, *words[1:]] if rest else words[1:]
    return lines


def _count_that_fits(pieces: Sequence[str], between: str, font: Any, width: float, end: str = "") -> int:
    """How many of the first pieces of a text fit into a line of `width` pixels, 0 to all.

    pieces: words or letters. between: what stands between two of them. end: what stands behind the last one.
    """

    def width_of(count: int) -> float:
        return font.getlength(between.join(pieces[:count]) + end)

    # Bisected, because texts grow with every piece: of the counts 1, 2, ... as many fit as the largest that does.
    return bisect_right(range(1, len(pieces) + 1), width, key=width_of)


def cut_to(text: str, font: Any, width: float) -> str:
    """A text in one line: all of it where it fits into `width` pixels, else as much of its beginning as fits with dots
    after it, "" where not even one letter fits.
    """
    text = plain(text[:_MOST_LETTERS])
    if font.getlength(text) <= width:
        return text
    letter_count = _count_that_fits(text[:-1], "", font, width, end=DOTS)
    return text[:letter_count] + DOTS if letter_count else ""
