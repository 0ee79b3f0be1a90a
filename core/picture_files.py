"""Files of pictures as people have them, read as 8-bit RGB: upright, on white, whatever kind of pixels they have.

What is written around the pixels (EXIF, XMP, colour profiles, texts, a list of further pictures) never fails a picture.
"""

import io
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from .errors import BadPhoto
from .metadata import without_metadata
from .text import in_one_line

LARGEST = 120_000_000
"""Pixels of a file that is read: cameras have 100 million, and a picture of a few kilobytes may claim billions."""

_ORIENTATION = 0x0112
"""EXIF's tag of how the camera was held."""
_UPRIGHT_BY = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Orientation -> what turns the picture upright; 1 is upright."""

_BITS_PER_SAMPLE, _SAMPLE_FORMAT = 258, 339
"""TIFF's tags of how wide a number is, and of its kind."""
_UNSIGNED, _SIGNED = 1, 2

_RANGES = (255, 4095, 65_535)
"""White in 8, 12 and 16 bits."""
_DARKEST = 16
"""A picture whose brightest pixel is more than this many times below white is seen as black: its white is another."""


def read_picture(path: str, formats: tuple[str, ...] | None = None) -> Image.Image:
    """The first picture of a file: mode RGB, upright as its EXIF says, and on white where it is transparent.

    formats: Pillow's names of those that may be opened, None for all but programs. Raises BadPhoto, with the reason,
    for what is no picture, damaged, larger than any camera's, or has pixels of which nobody can say what is white.
    """
    name = os.path.basename(path)
    try:
        return _read(path, name, formats)
    except BadPhoto:
        raise
    except Exception as error:  # whatever Pillow meets in a damaged file
        picture = _read_without_metadata(path, name, formats)
        if picture is not None:
            return picture
        unknown = isinstance(error, UnidentifiedImageError)
        why = "it is no picture of a kind that Pillow knows" if unknown else in_one_line(error).rstrip(".")
        advice = "Open it in another program and save it as JPEG or PNG."
        raise BadPhoto(f"{name} cannot be read: {why}.", advice) from error


def _read(source: str | io.BytesIO, name: str, formats: tuple[str, ...] | None) -> Image.Image:
    """Raises BadPhoto, and whatever Pillow raises for a damaged file."""
    opened: Image.Image = Image.open(source, formats=formats)
    with opened:
        if opened.format == "EPS":  # a program, which Pillow would have Ghostscript run
            raise UnidentifiedImageError
        if opened.width * opened.height > LARGEST:
            why = f"{name} has {opened.width}x{opened.height} px; {LARGEST // 10**6} million are read at most."
            raise BadPhoto(why, "Save it smaller.")
        _fit_transparent_color(opened)
        opened.load()  # first: Pillow turns a TIFF itself, and then says that it is upright
        orientation = _orientation(opened)
        return _turned(_on_white(opened, name), orientation)


def _read_without_metadata(path: str, name: str, formats: tuple[str, ...] | None) -> Image.Image | None:
    """The picture whose metadata Pillow refuses, or None where its pixels are damaged as well."""
    # Whatever it is: the error of the file as it came says more.
    with suppress(Exception):
        bare = without_metadata(Path(path).read_bytes())
        if bare is not None:
            return _turned(_read(io.BytesIO(bare.picture), name, formats), _orientation_in(bare.exif))
    return None


def _orientation(picture: Image.Image) -> Any:
    """What its metadata says of how the camera was held, 1 where they cannot be read."""
    with suppress(Exception):  # EXIF may be anything: text, a loop of offsets, a number of another kind
        return picture.getexif().get(_ORIENTATION)
    return 1


def _orientation_in(exif: bytes) -> Any:
    with suppress(Exception):
        block = Image.Exif()
        block.load(exif)
        return block.get(_ORIENTATION)
    return 1


def _turned(picture: Image.Image, orientation: Any) -> Image.Image:
    with suppress(TypeError, KeyError):  # a list, or a number that means nothing
        return picture.transpose(_UPRIGHT_BY[orientation])
    return picture


_RAW_COLOR = "RGB;16B"
"""What Pillow calls the pixels of a colour PNG of 16 bits, of which it keeps the upper 8."""
_RAW_GREY = {"L;2": 85, "L;4": 17}
"""What Pillow calls the pixels of a grey PNG of 2 and 4 bits -> what it multiplies them by."""


def _fit_transparent_color(picture: Image.Image) -> None:
    """Bring the colour that a PNG calls transparent to the 8 bits of its pixels: Pillow leaves it as it stands in the
    file. Before the picture is loaded, which forgets how the file had its pixels."""
    transparent: Any = picture.info.get("transparency")
    tiles: Any = getattr(picture, "tile", None)
    if picture.format != "PNG" or transparent is None or not tiles:
        return
    raw_mode = tiles[0][-1]
    if raw_mode == _RAW_COLOR and isinstance(transparent, tuple):
        red, green, blue = cast("tuple[int, int, int]", transparent)
        picture.info["transparency"] = (red >> 8, green >> 8, blue >> 8)
    elif raw_mode in _RAW_GREY and isinstance(transparent, int):
        picture.info["transparency"] = transparent * _RAW_GREY[raw_mode]


def _on_white(picture: Image.Image, name: str) -> Image.Image:
    """Mode RGB. Raises BadPhoto for numbers of which nobody can say what is white."""
    if picture.mode.startswith("I") or picture.mode == "F":
        return _from_numbers(picture, name)
    if picture.mode in ("La", "RGBa"):  # colours multiplied by alpha, which Pillow only converts back
        picture = picture.convert({"La": "LA", "RGBa": "RGBA"}[picture.mode])
    if "A" not in picture.getbands() and "transparency" not in picture.info:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


# --- Grey of more than 8 bits, which Pillow would cut off at 255


def _from_numbers(picture: Image.Image, name: str) -> Image.Image:
    """Grey in 16 or 32 bits, whole numbers or floats, as RGB."""
    numbers: npt.NDArray[Any] = np.asarray(picture)
    if picture.mode == "F":
        white = _white_of_floats(numbers, name)
    else:
        kind = _sample_format(picture)
        if picture.mode == "I" and kind == _UNSIGNED:
            numbers = numbers.astype(np.uint32)  # Pillow keeps them as signed ones, whose bits stay
        white = _white_of_whole_numbers(numbers, _full_range(picture, kind), name)
    scaled: npt.NDArray[np.float64] = np.round(numbers.astype(np.float64) * (255 / white))
    grey: npt.NDArray[np.uint8] = np.minimum(np.maximum(scaled, 0), 255).astype(np.uint8)
    transparent = picture.info.get("transparency")
    if isinstance(transparent, int):  # of a 16-bit PNG: the grey that is not seen
        grey[numbers == transparent] = 255
    return Image.fromarray(grey).convert("RGB")


def _sample_format(picture: Image.Image) -> Any:
    """Of a TIFF, which is unsigned where it does not say; None for other files."""
    if not hasattr(picture, "tag_v2"):
        return None
    return _tag(picture, _SAMPLE_FORMAT) or _UNSIGNED


def _tag(picture: Image.Image, number: int) -> Any:
    tags = getattr(picture, "tag_v2", None)
    if tags is None:
        return None
    value: Any = tags.get(number)
    # Some have one value for each channel: pictures that are read by numbers have one channel.
    if isinstance(value, tuple):
        return value[0]  # pyright: ignore[reportUnknownVariableType]
    return value


def _full_range(picture: Image.Image, kind: Any) -> int:
    """The largest whole number that a file of this kind can have."""
    bits = _tag(picture, _BITS_PER_SAMPLE)
    if bits is None:
        # Mode I has 32 bits, also for the 16 of a PNG in older versions of Pillow.
        return 2**31 - 1 if picture.mode == "I" and picture.format not in ("PNG", "PPM") else 65_535
    return 2 ** (bits - 1) - 1 if kind == _SIGNED else 2**bits - 1


def _white_of_whole_numbers(numbers: npt.NDArray[Any], full: int, name: str) -> float:
    """The range that was meant: programs also write 8 or 12 bits into numbers of 16 or 32. Raises BadPhoto."""
    lowest, highest = int(numbers.min()), int(numbers.max())
    ranges = [white for white in _RANGES if white < full] + [full]
    white = _range_of(highest, ranges)
    if highest == 0:
        white = full  # black
    if white and lowest >= 0:
        return white
    taken = _in_words(ranges)
    raise _no_white(name, f"its pixels are whole numbers from {lowest} to {highest}; {taken} can be read")


def _white_of_floats(numbers: npt.NDArray[Any], name: str) -> float:
    """1, or what programs write that only know whole numbers. Raises BadPhoto."""
    strange = int((~np.isfinite(numbers)).sum())
    if strange:
        raise _no_white(name, f"{strange} of its {numbers.size} pixels are NaN or infinite")
    lowest, highest = float(numbers.min()), float(numbers.max())
    white: int | None = 1
    # Above 1 are lights that are brighter than white, as in HDR pictures, where they are few or not much brighter.
    if highest >= _DARKEST and float((numbers > 1).mean()) > 0.01:
        white = _range_of(highest, _RANGES)
    # Resizing overshoots at edges by some hundredths.
    if white and lowest >= -0.1 * white:
        return white
    taken = _in_words([1, *_RANGES])
    raise _no_white(name, f"its pixels are floats from {lowest:g} to {highest:g}; {taken} can be read")


def _range_of(highest: float, ranges: Sequence[int]) -> int | None:
    """White, for the brightest pixel of a picture; None where it would be seen as black or cut off."""
    return next((white for white in ranges if highest <= white <= highest * _DARKEST), None)


def _in_words(ranges: Sequence[int]) -> str:
    return " or ".join(f"0 to {white}" for white in ranges)


def _no_white(name: str, why: str) -> BadPhoto:
    return BadPhoto(f"{name} cannot be read: {why}.", "Save it as a PNG or JPEG of 8 bits.")
