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
from .picture_kinds import AVIF, bits_of_jpeg_2000, kind_of
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
"""TIFF's tags of how many bits a number has, and of whether it is unsigned, signed or a float."""
_UNSIGNED, _SIGNED = 1, 2
"""Values of _SAMPLE_FORMAT."""
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
"""TIFF's tag of which colour a number is, and its value where 0 is white."""
_PLANAR, _SEPARATE = 284, 2
"""TIFF's tag of how the colours of pixels are stored, and its value for planes: all of red, then all of green and so
on."""
_EXTRA_SAMPLES, _MULTIPLIED = 338, 1
"""TIFF's tag of the channel after the colours, and its value for an alpha by which the colours are multiplied."""

_RANGES = (255, 4095, 65_535)
"""White in 8, 12 and 16 bits."""
_DARKEST = 16
"""A number is taken for white only where it is at most this many times the brightest pixel: with a larger white the
whole picture would look black."""


def read_picture(path: str, formats: tuple[str, ...] | None = None) -> Image.Image:
    """The first picture of a file: mode RGB, upright as its EXIF says, and on white where it is transparent.

    formats: Pillow's names of the formats that may be opened, None for all but EPS. Raises BadPhoto, with the reason,
    for a file that is no picture, is damaged, is larger than LARGEST, or has pixels whose white is not known.
    """
    name = os.path.basename(path)
    try:
        return _read(path, name, formats)
    except BadPhoto:
        raise
    except Exception as error:  # damaged files make Pillow raise nearly anything
        picture = _read_without_metadata(path, name, formats)
        if picture is not None:
            return picture
        why = _why(path, error)
        advice = _CHOOSE_ANOTHER if why in (_FOLDER, _EMPTY) else _SAVE_AGAIN
        raise BadPhoto(f"{name} cannot be read: {why}.", advice) from error


_SAVE_IN_8_BITS = "Save it as a PNG or JPEG of 8 bits."
_SAVE_AGAIN = "Open it in another program and save it as JPEG or PNG."


_CHOOSE_ANOTHER = "Choose a picture."
_FOLDER, _EMPTY = "it is a folder", "it is empty"


def _why(path: str, error: Exception) -> str:
    """Why a file is no picture that can be read."""
    if os.path.isdir(path):
        return _FOLDER
    if os.path.isfile(path) and os.path.getsize(path) == 0:
        return _EMPTY
    if not isinstance(error, UnidentifiedImageError):
        return in_one_line(error).rstrip(".")
    with suppress(OSError):
        kind = kind_of(path)
        if kind == AVIF and _reads_avif():
            return f"it is {kind} that is damaged"
        if kind:
            return f"it is {kind}, which Pillow does not read"
    return "it is no picture of a kind that Pillow knows"


def _reads_avif() -> bool:
    """Whether this Pillow reads AVIF: those before 11.3 do not, and some are made without its library."""
    try:
        from PIL.AvifImagePlugin import SUPPORTED
    except ImportError:
        return False
    return SUPPORTED


def _read(source: str | io.BytesIO, name: str, formats: tuple[str, ...] | None) -> Image.Image:
    """The picture in a file or in bytes, as `read_picture` gives it. name: of the file, for messages.

    Raises BadPhoto, and whatever Pillow raises for a damaged file.
    """
    opened: Image.Image = Image.open(source, formats=formats)
    with opened:
        if opened.format == "EPS":  # a PostScript program: Pillow would have Ghostscript run it
            raise UnidentifiedImageError
        if opened.width * opened.height > LARGEST:
            why = f"{name} has {opened.width}x{opened.height} px; {LARGEST // 10**6} million are read at most."
            raise BadPhoto(why, "Save it smaller.")
        # Before load(), which forgets how the pixels lie in the file.
        _fit_transparent_color(opened)
        _refuse_deep_colors(opened, source, name)
        raw_mode = _raw_mode(opened)
        is_premultiplied = _keep_premultiplied(opened, raw_mode)
        opened.load()
        # After load(), in which Pillow turns a TIFF upright by itself and sets its orientation to 1.
        orientation = _orientation(opened)
        if is_premultiplied:
            picture = _premultiplied_on_white(opened, had_16_bits=_tag(opened, _BITS_PER_SAMPLE) == 16)
        elif ";16" in raw_mode and opened.mode == "RGBA":  # 16 bits a colour, of which Pillow keeps 8
            picture = _upper_bytes_on_white(opened)
        else:
            picture = _on_white(opened, name)
        return _turned(picture, orientation)


def _read_without_metadata(path: str, name: str, formats: tuple[str, ...] | None) -> Image.Image | None:
    """The picture of a file whose metadata Pillow refuses, read without them; None where that fails as well.

    path, name, formats: as of `read_picture` and `_read`.
    """
    # Any error is let go of: the caller has the error of the whole file, which says more.
    with suppress(Exception):
        bare = without_metadata(Path(path).read_bytes())
        if bare is not None:
            return _turned(_read(io.BytesIO(bare.picture), name, formats), _orientation_in(bare.exif))
    return None


def _orientation(picture: Image.Image) -> Any:
    """EXIF's number for how the camera was held: a key of _UPRIGHT_BY, or 1 for upright, also where EXIF is damaged.

    None where the picture has no such number. What damaged EXIF has in its place is returned as it is.
    """
    with suppress(Exception):  # EXIF may be anything: text, a loop of offsets, a number of another kind
        return picture.getexif().get(_ORIENTATION)
    return 1


def _orientation_in(exif: bytes) -> Any:
    """The number of `_orientation`, from a block of EXIF as its bytes."""
    with suppress(Exception):
        block = Image.Exif()
        block.load(exif)
        return block.get(_ORIENTATION)
    return 1


def _turned(picture: Image.Image, orientation: Any) -> Image.Image:
    """The picture upright. orientation: EXIF's number, or whatever damaged EXIF has in its place."""
    with suppress(TypeError, KeyError):  # a list cannot be a key; 1, None and unknown numbers turn nothing
        return picture.transpose(_UPRIGHT_BY[orientation])
    return picture


def _raw_mode(picture: Image.Image) -> str:
    """Pillow's name for how the pixels lie in the file, such as "RGB;16B"; "" for formats that have none.

    picture: opened and not loaded yet: Pillow's list of tiles, which says it, is empty afterwards.
    """
    tiles: Any = getattr(picture, "tile", None)
    if not tiles:
        return ""
    # A tile is (decoder, box, offset, arguments); the raw mode is the first argument, or the only one.
    arguments: Any = tiles[0][-1]
    if isinstance(arguments, tuple) and arguments:
        arguments = cast("tuple[Any, ...]", arguments)[0]
    return arguments if isinstance(arguments, str) else ""


def _refuse_deep_colors(picture: Image.Image, source: str | io.BytesIO, name: str) -> None:
    """Raise BadPhoto for colours that Pillow reads wrongly and without an error.

    These are: colours of more than 8 bits in a JPEG 2000 (Pillow rounds 65535 up to 256, of which it keeps the lower
    byte: white becomes black); colours of more than 8 bits in the planes of a TIFF (it takes both bytes of a number for
    two numbers); and colours multiplied by alpha in the planes of a TIFF (it divides them by alpha in one kind of
    compression and not in another).
    picture: opened and not loaded yet. source: its file or bytes. name: of the file, for messages.
    """
    if picture.format == "JPEG2000" and not picture.mode.startswith("I"):
        bits = bits_of_jpeg_2000(_head(source))
        if bits > 8:
            raise BadPhoto(
                f"{name} cannot be read: it is a JPEG 2000 picture of {bits} bits a colour.", _SAVE_IN_8_BITS
            )
    bits = _tag(picture, _BITS_PER_SAMPLE)
    is_in_planes = _raw_mode(picture) in _PLANES
    if bits and bits > 8 and is_in_planes:
        raise BadPhoto(f"{name} cannot be read: it is a TIFF of {bits} bits a colour in planes.", _SAVE_IN_8_BITS)
    if _tag(picture, _PLANAR) == _SEPARATE and _tag(picture, _EXTRA_SAMPLES) == _MULTIPLIED:
        raise BadPhoto(f"{name} cannot be read: it is a TIFF of colours multiplied by alpha, in planes.", _SAVE_AGAIN)


_PLANES = ("R", "G", "B", "A", "C", "M", "Y", "K")
"""Pillow's raw modes of the first tile of a TIFF in planes: one channel, which Pillow takes for 8 bits."""


_HEAD = 1 << 22
"""Bytes of a JPEG 2000 in which the header with the number of bits is looked for: colour profiles and texts may stand
before it."""


def _head(source: str | io.BytesIO) -> bytes:
    """The first _HEAD bytes of a file, given by its path or as its bytes."""
    if isinstance(source, io.BytesIO):
        return source.getvalue()[:_HEAD]
    with Path(source).open("rb") as file:
        return file.read(_HEAD)


def _keep_premultiplied(picture: Image.Image, raw_mode: str) -> bool:
    """Make Pillow load colours that are multiplied by alpha as they lie in the file. Returns whether the picture, which
    is not loaded yet, has such colours.

    Pillow would divide them by alpha, which for a small alpha keeps little of them. It calls multiplied colours RGBa,
    and plain ones, which it leaves as they are, RGBA: its list of what to load gets the latter.
    """
    if picture.format != "TIFF" or not raw_mode.startswith("RGBa"):
        return False
    as_they_lie = raw_mode.replace("RGBa", "RGBA")
    picture.tile = [  # type: ignore[attr-defined]  # Pillow declares it in its own class of opened files
        tile._replace(args=(as_they_lie, *tile.args[1:])) for tile in cast("Any", picture).tile
    ]
    return True


def _premultiplied_on_white(picture: Image.Image, had_16_bits: bool) -> Image.Image:
    """A picture of mode RGBA whose colours are multiplied by alpha already, on white, as mode RGB.

    had_16_bits: whether the numbers in the file have 16 bits, of which Pillow has kept the upper byte.
    """
    pixels = np.asarray(picture).astype(np.float64)  # (H, W, 4)
    # On white, a pixel is colour * alpha + (1 - alpha) * white; colour * alpha is what the file has. In 0..255 that is
    # 255 + (multiplied colour - alpha).
    difference = pixels[..., :3] - pixels[..., 3:]
    if had_16_bits:
        # An upper byte b stands for the 16-bit number 256 b + lower byte, and white is 65535. So a difference of two
        # upper bytes is 256 / 65535 of white, which is 255 here. The unknown lower bytes cancel on average in the
        # difference.
        difference *= 256 * 255 / 65_535
    on_white = 255 + difference
    return Image.fromarray(np.round(on_white).clip(0, 255).astype(np.uint8))


def _upper_bytes_on_white(picture: Image.Image) -> Image.Image:
    """A picture of mode RGBA whose file has 16 bits a colour, on white, as mode RGB. Pillow keeps the upper bytes
    alone.

    An upper byte stands for 256 numbers of 16 bits; the middle one of them is taken. An alpha of 0 or 255 is meant as
    transparent or opaque, so there no middle is taken.
    """
    upper_bytes = np.asarray(picture).astype(np.float64)  # (H, W, 4)
    middle = (upper_bytes * 256 + 128) / 65_535  # 0..1
    alpha_bytes = upper_bytes[..., 3:]
    alpha = np.where(alpha_bytes == 255, 1, middle[..., 3:])
    alpha = np.where(alpha_bytes == 0, 0, alpha)
    on_white = 255 * (middle[..., :3] * alpha + 1 - alpha)
    return Image.fromarray(np.round(on_white).clip(0, 255).astype(np.uint8))


_RAW_COLOR = "RGB;16B"
"""Pillow's raw mode of a colour PNG of 16 bits, of which it keeps the upper 8."""
_RAW_GREY = {"L;2": 85, "L;4": 17}
"""Pillow's raw mode of a grey PNG of 2 or 4 bits -> the factor by which it brings 0..3 or 0..15 to 0..255."""


def _fit_transparent_color(picture: Image.Image) -> None:
    """Bring the colour that a PNG declares transparent to 8 bits, in place. Other pictures stay as they are.

    Pillow brings the pixels to 8 bits and leaves this colour in the bits of the file, so that no pixel would match it.
    picture: opened and not loaded yet, see `_raw_mode`.
    """
    transparent: Any = picture.info.get("transparency")
    raw_mode = _raw_mode(picture)
    if picture.format != "PNG" or transparent is None or not raw_mode:
        return
    if raw_mode == _RAW_COLOR and isinstance(transparent, tuple):
        red, green, blue = cast("tuple[int, int, int]", transparent)
        picture.info["transparency"] = (red >> 8, green >> 8, blue >> 8)
    elif raw_mode in _RAW_GREY and isinstance(transparent, int):
        picture.info["transparency"] = transparent * _RAW_GREY[raw_mode]


def _on_white(picture: Image.Image, name: str) -> Image.Image:
    """A loaded picture of any mode on white, as mode RGB. name: of the file, for messages.

    Raises BadPhoto for grey of more than 8 bits whose white is not known.
    """
    if picture.mode.startswith("I") or picture.mode == "F":  # grey as whole numbers of 16 or 32 bits, or as floats
        return _from_numbers(picture, name)
    if picture.mode in ("La", "RGBa"):  # multiplied by alpha; Pillow converts these to LA and RGBA only
        picture = picture.convert({"La": "LA", "RGBa": "RGBA"}[picture.mode])
    if "A" not in picture.getbands() and "transparency" not in picture.info:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


# --- Grey of more than 8 bits, which Pillow would cut off at 255


def _from_numbers(picture: Image.Image, name: str) -> Image.Image:
    """Grey in 16 or 32 bits, whole numbers or floats, as mode RGB. Raises BadPhoto where its white is not known."""
    numbers: npt.NDArray[Any] = np.asarray(picture)  # (H, W)
    if picture.mode == "F":
        white = _white_of_floats(numbers, name)
    else:
        kind = _sample_format(picture)
        if picture.mode == "I" and kind == _UNSIGNED:
            numbers = numbers.astype(np.uint32)  # Pillow has read the same bits as signed numbers
        white = _white_of_whole_numbers(numbers, _full_range(picture, kind), name)
    scaled: npt.NDArray[np.float64] = np.round(numbers.astype(np.float64) * (255 / white))
    if _is_white_zero(picture):
        scaled = 255 - scaled
    grey: npt.NDArray[np.uint8] = np.minimum(np.maximum(scaled, 0), 255).astype(np.uint8)
    transparent = picture.info.get("transparency")
    if isinstance(transparent, int):  # of a 16-bit PNG: the number of the pixels that are transparent
        grey[numbers == transparent] = 255
    return Image.fromarray(grey).convert("RGB")


def _is_white_zero(picture: Image.Image) -> bool:
    """Whether 0 is white in the file, as in some TIFFs of scanners. Pillow inverts such pictures only in 8 bits."""
    return hasattr(picture, "tag_v2") and _tag(picture, _PHOTOMETRIC) == _WHITE_IS_ZERO


def _sample_format(picture: Image.Image) -> Any:
    """The value of TIFF's _SAMPLE_FORMAT: _UNSIGNED, _SIGNED or another number; _UNSIGNED where the file does not say.

    None for files of other formats.
    """
    if not hasattr(picture, "tag_v2"):
        return None
    return _tag(picture, _SAMPLE_FORMAT) or _UNSIGNED


def _tag(picture: Image.Image, number: int) -> Any:
    """The value of a tag of a TIFF; None where it has none, and for other files."""
    tags = getattr(picture, "tag_v2", None)
    if tags is None:
        return None
    value: Any = tags.get(number)
    # Some tags have a value for each channel. All channels of a picture have as many bits, so the first one is enough.
    if isinstance(value, tuple):
        return value[0]  # pyright: ignore[reportUnknownVariableType]
    return value


def _full_range(picture: Image.Image, kind: Any) -> int:
    """The largest whole number that a pixel of this file can have. kind: what `_sample_format` gives."""
    bits = _tag(picture, _BITS_PER_SAMPLE)
    if bits is None:
        # No TIFF. Mode I has 32 bits, but older versions of Pillow use it for the 16 bits of PNG and PPM, too.
        return 2**31 - 1 if picture.mode == "I" and picture.format not in ("PNG", "PPM") else 65_535
    return 2 ** (bits - 1) - 1 if kind == _SIGNED else 2**bits - 1


def _white_of_whole_numbers(numbers: npt.NDArray[Any], full: int, name: str) -> float:
    """The number that is white in a picture of whole numbers: programs also write 8 or 12 bits into numbers of 16 or
    32.

    full: the largest number that a pixel of the file can have. name: of the file, for messages. Raises BadPhoto where
    no white is likely, and for numbers below 0.
    """
    lowest = int(numbers.min())
    highest = int(numbers.max())
    ranges = [white for white in _RANGES if white < full] + [full]
    white = _range_of(highest, ranges)
    if highest == 0:
        white = full  # a picture that is all black: any white does
    if white and lowest >= 0:
        return white
    readable = _in_words(ranges)
    raise _no_white(name, f"its pixels are whole numbers from {lowest} to {highest}; {readable} can be read")


def _white_of_floats(numbers: npt.NDArray[Any], name: str) -> float:
    """The number that is white in a picture of floats: 1, or one of _RANGES, which some programs write into floats.

    name: of the file, for messages. Raises BadPhoto where no white is likely, and for NaN and infinity.
    """
    strange = int((~np.isfinite(numbers)).sum())
    if strange:
        raise _no_white(name, f"{strange} of its {numbers.size} pixels are NaN or infinite")
    lowest = float(numbers.min())
    highest = float(numbers.max())
    white: int | None = 1
    # In an HDR picture, where 1 is white, lights are brighter than 1. They are few, or below _DARKEST. Otherwise the
    # picture counts to a larger white.
    if highest >= _DARKEST and float((numbers > 1).mean()) > 0.01:
        white = _range_of(highest, _RANGES)
    # Numbers a little below 0 come of resizing, which overshoots at edges by some hundredths of white.
    if white and lowest >= -0.1 * white:
        return white
    readable = _in_words([1, *_RANGES])
    raise _no_white(name, f"its pixels are floats from {lowest:g} to {highest:g}; {readable} can be read")


def _range_of(highest: float, ranges: Sequence[int]) -> int | None:
    """The first of `ranges` that may be white in a picture whose brightest pixel is `highest`; None where none may be.

    ranges: numbers that are white, in ascending order. White is not below the brightest pixel, and at most _DARKEST
    times that.
    """
    return next((white for white in ranges if highest <= white <= highest * _DARKEST), None)


def _in_words(ranges: Sequence[int]) -> str:
    """Ranges of pixels for a message: "0 to 255 or 0 to 4095"."""
    return " or ".join(f"0 to {white}" for white in ranges)


def _no_white(name: str, why: str) -> BadPhoto:
    """The error for pixels whose white is not known. name: of the file. why: the end of a sentence."""
    return BadPhoto(f"{name} cannot be read: {why}.", _SAVE_IN_8_BITS)
