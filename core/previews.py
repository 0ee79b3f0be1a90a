"""What every preview is drawn with: a sheet with its letters and colours; contact sheets, tables, heat maps."""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor

from .people import Box, Point
from .pictures import as_rgb
from .text import plain

Color = tuple[int, int, int]

# Told apart by most eyes, colour-blind ones included, on light and dark pictures (Okabe and Ito, then four more).
_COLORS: tuple[Color, ...] = (
    (86, 180, 233), (230, 159, 0), (0, 190, 130), (240, 228, 66), (213, 94, 0), (204, 121, 167),
    (120, 150, 255), (255, 255, 255), (150, 220, 60), (255, 130, 120), (160, 230, 230), (190, 140, 255),
)  # fmt: skip
BACKGROUND: Color = (20, 22, 26)


class Sheet:
    """A Pillow picture to draw on, with line widths and letters in proportion to its size."""

    def __init__(self, picture: Image.Image) -> None:
        short = min(picture.size)
        self.picture = picture
        self.pen = ImageDraw.Draw(picture)
        self.line = max(2, round(short / 320))
        # Large: a node shows the whole picture some 300 px wide.
        self.letters = max(14, round(short / 16))

    def frame(self, box: Sequence[float], color: Color, line: int | None = None) -> None:
        self.pen.rectangle(box, outline=color, width=line or self.line)

    def dot(self, point: Point, color: Color) -> None:
        (x, y), radius = point, self.line * 1.3
        self.pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)

    def label(self, number: str, name: str, anchor: Point, color: Color, width: float = 0.0) -> None:
        """A plate of at most `width`, its lower left corner at `anchor` but always in the picture: a large number,
        then a name in smaller letters, in still smaller ones and at last cut where it is too long."""
        pad = max(2, self.letters // 6)
        large = _font(number, self.letters)
        first = pad + self.pen.textlength(number, large) + pad
        room = max(width, 3.5 * self.letters) - first - pad
        fonts = [_font(name, round(self.letters * size)) for size in (0.8, 0.65, 0.5)]
        small = next((font for font in fonts if _cut(name, font, room) == plain(name)), fonts[-1])
        name = _cut(name, small, room)
        wide = first + (self.pen.textlength(name, small) + pad if name else 0)
        high = large.getbbox("0")[3] + pad
        x = max(0.0, min(anchor[0], self.picture.width - wide))
        y = max(0.0, min(anchor[1] - high, self.picture.height - high))
        self.pen.rectangle((x, y, x + wide, y + high), fill=color)
        self.pen.text((x + pad, y + high - pad / 2), number, fill=(0, 0, 0), font=large, anchor="lb")
        self.pen.text((x + first, y + high - pad / 2), name, fill=(0, 0, 0), font=small, anchor="lb")

    def room(self, box: Box, others: Iterable[Box]) -> float:
        """The width of a label on a box up to the next of the others in its row, px."""
        row = (other[0] - box[0] for other in others if abs(other[1] - box[1]) < 1.5 * self.letters)
        return min((step for step in row if step > 0), default=self.picture.width)

    def below(self, box: Box) -> Point:
        """Where a label stands under a box instead of on it."""
        return box[0], box[3] + 1.3 * self.letters

    def fill(self, box: Sequence[float], crop: Tensor) -> None:
        """The middle of a picture, as large as it fits, in the box; nothing in a box larger than the sheet."""
        size = (max(1, round(box[2] - box[0])), max(1, round(box[3] - box[1])))
        if size[0] > self.picture.width or size[1] > self.picture.height:
            return
        self.picture.paste(ImageOps.fit(as_picture(crop), size), (round(box[0]), round(box[1])))

    def footer(self, notes: Sequence[str]) -> None:
        """One or two notes in two lines each, more in one, at the lower edge; long ones in smaller letters."""
        size, width, most = max(12, self.letters // 2), self.picture.width - 8, 2 if len(notes) < 3 else 1
        if any(_lines(note, _font(note, size), width, most)[-1].endswith(_CUT) for note in notes):
            size = max(12, self.letters // 3)
        lines = [(line, _font(note, size)) for note in notes for line in _lines(note, _font(note, size), width, most)]
        for row, (line, font) in enumerate(reversed(lines)):
            y = self.picture.height - (row + 1) * round(size * 1.4)
            self.pen.rectangle((0, y, self.picture.width, y + round(size * 1.4)), fill=(255, 255, 255))
            self.pen.text((4, y), line, fill=(0, 0, 0), font=font)

    def tensor(self) -> Tensor:
        return as_tensor(self.picture)


# Pillow's own letters end with ASCII. One of these is on most systems and knows the writing its users use.
_SYSTEM_FONTS = ("msyh.ttc", "Arial Unicode.ttf", "NotoSansCJK-Regular.ttc", "DejaVuSans.ttf", "arial.ttf")


@cache
def _letters(system: bool, size: int) -> Any:
    for name in _SYSTEM_FONTS if system else ():
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)


def _font(text: str, size: int) -> Any:
    return _letters(not text.isascii(), size)


_CUT = "..."
_LETTERS = 1000  # of a caption that are looked at: more fit into no picture, and Pillow refuses very long texts


def _lines(text: str, font: Any, width: float, most: float = math.inf) -> list[str]:
    """`text` in up to `most` lines of `width` pixels, broken between words, and inside of those that are longer; the
    last one is cut."""
    words, lines = plain(text if most == math.inf else text[:_LETTERS]).split(" "), list[str]()
    while words and len(lines) < most - 1:
        counts = range(1, len(words) + 1)
        fits = bisect_right(counts, width, key=lambda count: font.getlength(" ".join(words[:count])))
        if not fits:
            word, fits = words[0], 1
            letters = bisect_right(range(1, len(word)), width, key=lambda n: font.getlength(word[:n])) or 1
            words[:1] = [part for part in (word[:letters], word[letters:]) if part]
        lines.append(" ".join(words[:fits]))
        words = words[fits:]
    return [*lines, _cut(" ".join(words), font, width)] if words else lines


def _cut(text: str, font: Any, width: float) -> str:
    """`text` in one line, or as much of its beginning as fits into `width` pixels, with dots after it."""
    text = plain(text[:_LETTERS])
    if font.getlength(text) <= width:
        return text
    fits = bisect_right(range(1, len(text)), width, key=lambda letters: font.getlength(text[:letters] + _CUT))
    return text[:fits] and text[:fits] + _CUT


def as_picture(image: Tensor) -> Image.Image:
    """(H, W, 1|3|4) float 0..1 or uint8 to an RGB picture, on white where it is transparent."""
    rgb = as_rgb(image / 255 if image.dtype == torch.uint8 else image).clamp(0, 1)
    return Image.fromarray((rgb * 255).round().byte().numpy())


def as_tensor(picture: Image.Image) -> Tensor:
    """Pillow's (H, W) or (H, W, channels) of 8 bits to float32 0..1."""
    return torch.as_tensor(np.array(picture)).float() / 255


def color_of(number: int) -> Color:
    return _COLORS[number % len(_COLORS)]


_SHOWN = 100  # pictures of a contact sheet: a person of thousands would take gigabytes
_OF_A_GROUP = 24


def contact_sheet(crops: Sequence[Tensor], captions: Sequence[str], together: int = 1, lines: int = 1) -> Tensor:
    """Pictures side by side, in rows, with a caption under each; of more than a hundred the first.

    crops: each (H, W, 1|3|4) float 0..1 or uint8 of any size; captions: one per crop, cut when longer than so many
    `lines`. together: how many no row parts. Returns (1, H, W, 3) float32 0..1.
    """
    if (more := len(crops) - _SHOWN) > 0:
        crops, captions = crops[:_SHOWN], [*captions[: _SHOWN - 1], f"and {more} more"]
    cell, gap = 160, 6
    fonts = [_font(caption, 15) for caption in captions]
    written = [_lines(caption, font, cell, lines) for caption, font in zip(captions, fonts, strict=True)]
    strip = 24 * max(map(len, written), default=1)
    columns = together * math.ceil(math.sqrt(len(crops)) / together)
    rows = math.ceil(len(crops) / columns)
    size = (columns * (cell + gap) + gap, rows * (cell + strip + gap) + gap)
    sheet = Sheet(Image.new("RGB", size, (28, 28, 28)))
    for n, (crop, caption, font) in enumerate(zip(crops, written, fonts, strict=True)):
        x, y = gap + n % columns * (cell + gap), gap + n // columns * (cell + strip + gap)
        picture = as_picture(crop)
        scale = cell / max(picture.size)
        picture = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
        sheet.picture.paste(picture, (x + (cell - picture.width) // 2, y + (cell - picture.height) // 2))
        for line, text in enumerate(caption):
            below = (x + cell / 2, y + cell + 3 + 20 * line)
            sheet.pen.text(below, text, (235, 235, 235), font, anchor="ma")
    return sheet.tensor()[None]


def grouped_sheet(groups: Sequence[tuple[str, Sequence[tuple[Tensor, str, str]]]]) -> Tensor:
    """A bar with a title per group, in a colour of its own, and below it the group's pictures: a number on each, a
    caption under it.

    groups: (title, [(picture (H, W, 1|3|4) float 0..1, number, caption)]); of more than a hundred groups the first,
    and of each its first two dozen pictures. Returns (1, H, W, 3) float32 0..1.
    """
    cell, bar, strip, gap = 128, 34, 24, 6
    columns = min(8, max(4, *(len(pictures) for _, pictures in groups)))
    rows = [math.ceil(min(len(pictures), _OF_A_GROUP) / columns) for _, pictures in groups[:_SHOWN]]
    width = columns * (cell + gap) + gap
    sheet = Sheet(Image.new("RGB", (width, sum(bar + gap + n * (cell + strip + gap) for n in rows)), (28, 28, 28)))
    y = 0
    for number, ((title, pictures), high) in enumerate(zip(groups, rows, strict=False)):
        color = color_of(number)
        sheet.pen.rectangle((0, y, width, y + bar - gap), fill=color)
        title += f" (the first {_OF_A_GROUP} of {len(pictures)})" if len(pictures) > _OF_A_GROUP else ""
        title += f", and {len(groups) - _SHOWN} more" if number == _SHOWN - 1 and len(groups) > _SHOWN else ""
        font = _font(title, 20)
        sheet.pen.text((gap, y + (bar - gap) / 2), _cut(title, font, width - 2 * gap), (0, 0, 0), font, "lm")
        for n, (picture, mark, caption) in enumerate(pictures[:_OF_A_GROUP]):
            left, top = gap + n % columns * (cell + gap), y + bar + n // columns * (cell + strip + gap)
            sheet.fill((left, top, left + cell, top + cell), picture)
            large, small = _font(mark, 20), _font(caption, 15)
            sheet.pen.rectangle((left, top, left + sheet.pen.textlength(mark, large) + 8, top + 24), fill=color)
            sheet.pen.text((left + 4, top + 12), mark, (0, 0, 0), large, "lm")
            sheet.pen.text((left + cell / 2, top + cell + 3), _cut(caption, small, cell), (235, 235, 235), small, "ma")
        y += bar + gap + high * (cell + strip + gap)
    return sheet.tensor()[None]


_WIDEST = 480  # pixels of a column of `table` beside the last


def table(title: str, rows: Sequence[tuple[str, str, str]], good: Sequence[bool]) -> Tensor:
    """Lines of what, state and detail under a title, states green where good and red where not. Returns (1, H, W, 3)
    float32 0..1."""
    width, gap, font = 1280, 14, _font("", 16)
    first, second = (min(_WIDEST, max(font.getlength(plain(row[n])) for row in rows)) for n in range(2))
    states, details = 2 * gap + first, 3 * gap + first + second
    written = [_lines(detail, font, width - details - gap) for _, _, detail in rows]
    large = _font(title, 20)
    heading = _lines(title, large, width - 2 * gap)
    y = 28 * len(heading) + 2 * gap
    sheet = Sheet(Image.new("RGB", (width, y + sum(22 * len(lines) + gap for lines in written)), BACKGROUND))
    for n, line in enumerate(heading):
        sheet.pen.text((gap, gap + 28 * n), line, (255, 255, 255), large)
    for (what, state, _), lines, right in zip(rows, written, good, strict=True):
        sheet.pen.line((0, y - gap // 2, width, y - gap // 2), fill=(52, 56, 64))
        sheet.pen.text((gap, y), _cut(what, font, _WIDEST), (235, 235, 235), font)
        sheet.pen.text((states, y), state, _COLORS[2] if right else _COLORS[9], font)
        for n, line in enumerate(lines):
            sheet.pen.text((details, y + 22 * n), line, (190, 195, 205), _font(line, 16))
        y += 22 * len(lines) + gap
    return sheet.tensor()[None]


def heat_maps(shares: Tensor, labels: Sequence[str]) -> Tensor:
    """Shares (parts, h, w), 0..1, as pictures side by side, (1, H, W, 3): black, red, yellow, white at the highest.
    Every part has its own scale; its mean share stands in the caption."""
    scaled = shares / shares.amax(dim=(1, 2), keepdim=True).clamp(min=1e-9)
    hot = (3 * scaled[..., None] - torch.arange(3.0)).clamp(0, 1)
    captions = [f"{label} {share.mean():.0%}" for label, share in zip(labels, shares, strict=True)]
    return contact_sheet([picture.repeat_interleave(4, 0).repeat_interleave(4, 1) for picture in hot], captions)
