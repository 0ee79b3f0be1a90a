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
from .picture_kinds import bits_of_jpeg_2000, kind_of
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
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
"""TIFF's tag of what a number means, and its value where 0 is white."""
_PLANAR, _SEPARATE = 284, 2
"""TIFF's tag of how colours lie, and its value for one plane behind the other."""
_EXTRA_SAMPLES, _MULTIPLIED = 338, 1
"""TIFF's tag of what stands behind the colours, and its value for an alpha by which they are multiplied."""

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
        if kind:
            return f"it is {kind}, which Pillow does not read"
    return "it is no picture of a kind that Pillow knows"


def _read(source: str | io.BytesIO, name: str, formats: tuple[str, ...] | None) -> Image.Image:
    """The picture in a file or in bytes, as `read_picture` gives it. name: of the file, for messages.

    Raises BadPhoto, and whatever Pillow raises for a damaged file.
    """
    opened: Image.Image = Image.open(source, formats=formats)
    with opened:
        if opened.format == "EPS":  # a program, which Pillow would have Ghostscript run
            raise UnidentifiedImageError
        if opened.width * opened.height > LARGEST:
            why = f"{name} has {opened.width}x{opened.height} px; {LARGEST // 10**6} million are read at most."
            raise BadPhoto(why, "Save it smaller.")
        _fit_transparent_color(opened)
        _refuse_deep_colors(opened, source, name)
        raw_mode = _raw_mode(opened)
        is_premultiplied = _keep_premultiplied(opened, raw_mode)
        opened.load()  # first: Pillow turns a TIFF itself, and then says that it is upright
        orientation = _orientation(opened)
        if is_premultiplied:
            picture = _premultiplied_on_white(opened, _tag(opened, _BITS_PER_SAMPLE) == 16)
        elif ";16" in raw_mode and opened.mode == "RGBA":
            picture = _upper_bytes_on_white(opened)
        else:
            picture = _on_white(opened, name)
        return _turned(picture, orientation)


def _read_without_metadata(path: str, name: str, formats: tuple[str, ...] | None) -> Image.Image | None:
    """The picture whose metadata Pillow refuses, or None where its pixels are damaged as well."""
    # Whatever it is: the error of the file as it came says more.
    with suppress(Exception):
        bare = without_metadata(Path(path).read_bytes())
        if bare is not None:
            return _turned(_read(io.BytesIO(bare.picture), name, formats), _orientation_in(bare.exif))
    return None


def _orientation(picture: Image.Image) -> Any:
    """EXIF's number for how the camera was held, 1 (upright) where it cannot be read."""
    with suppress(Exception):  # EXIF may be anything: text, a loop of offsets, a number of another kind
        return picture.getexif().get(_ORIENTATION)
    return 1


def _orientation_in(exif: bytes) -> Any:
    """The number of `_orientation`, from a block of EXIF."""
    with suppress(Exception):
        block = Image.Exif()
        block.load(exif)
        return block.get(_ORIENTATION)
    return 1


def _turned(picture: Image.Image, orientation: Any) -> Image.Image:
    """The picture upright. orientation: EXIF's number, or whatever stands there instead."""
    with suppress(TypeError, KeyError):  # a list, or a number that means nothing
        return picture.transpose(_UPRIGHT_BY[orientation])
    return picture


def _raw_mode(picture: Image.Image) -> str:
    """Pillow's name for the pixels as they lie in the file, before it is loaded; "" for files that are not read so."""
    tiles: Any = getattr(picture, "tile", None)
    if not tiles:
        return ""
    arguments: Any = tiles[0][-1]
    if isinstance(arguments, tuple) and arguments:
        arguments = cast("tuple[Any, ...]", arguments)[0]
    return arguments if isinstance(arguments, str) else ""


def _refuse_deep_colors(picture: Image.Image, source: str | io.BytesIO, name: str) -> None:
    """Raise BadPhoto for colours of more than 8 bits that Pillow reads as others, without a word.

    Of a JPEG 2000 it makes white black: 65535 is rounded up to 256, of which one byte is 0. Of a TIFF whose colours lie
    in planes, one behind the other, it takes each byte of two for a number of its own, and divides those multiplied by
    alpha in one way of compression and not in another.
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
        what = "it is a TIFF of colours multiplied by alpha, in planes"
        raise BadPhoto(f"{name} cannot be read: {what}.", _SAVE_AGAIN)


_PLANES = ("R", "G", "B", "A", "C", "M", "Y", "K")
"""What Pillow calls the pixels of one plane, in 8 bits."""


_HEAD = 1 << 22
"""Bytes before which the pixels of a JPEG 2000 begin: colour profiles and texts stand before them."""


def _head(source: str | io.BytesIO) -> bytes:
    """The first bytes of a file or of bytes."""
    if isinstance(source, io.BytesIO):
        return source.getvalue()[:_HEAD]
    with Path(source).open("rb") as file:
        return file.read(_HEAD)


def _keep_premultiplied(picture: Image.Image, raw_mode: str) -> bool:
    """Let colours that are multiplied by alpha be loaded as they lie in the file: Pillow would divide them by it, which
    for a small alpha keeps little of them. Whether it is such a picture; before it is loaded."""
    if picture.format != "TIFF" or not raw_mode.startswith("RGBa"):
        return False
    as_they_lie = raw_mode.replace("RGBa", "RGBA")
    picture.tile = [  # type: ignore[attr-defined]  # Pillow declares it in its own class of opened files
        tile._replace(args=(as_they_lie, *tile.args[1:])) for tile in cast("Any", picture).tile
    ]
    return True


def _premultiplied_on_white(picture: Image.Image, is_upper_bytes: bool) -> Image.Image:
    """Mode RGB, of mode RGBA whose colours are multiplied by alpha already.

    is_upper_bytes: they had 16 bits, of which Pillow keeps the upper byte.
    """
    pixels = np.asarray(picture).astype(np.float64)
    # On white, a pixel is colour * alpha + (1 - alpha) * white; colour * alpha is what the file has. In 0..255 that is
    # 255 + (multiplied colour - alpha).
    difference = pixels[..., :3] - pixels[..., 3:]
    if is_upper_bytes:
        # One step of an upper byte is 256 of the 65535 steps from black to white. The lower bytes, which are not
        # known, cancel on average in the difference of two numbers, so their middle need not be added.
        difference *= 256 * 255 / 65_535
    on_white = 255 + difference
    return Image.fromarray(np.round(on_white).clip(0, 255).astype(np.uint8))


def _upper_bytes_on_white(picture: Image.Image) -> Image.Image:
    """Mode RGB, of mode RGBA that has the upper bytes of numbers of 16 bits: Pillow cuts the others off.

    Each byte stands for the 256 numbers that begin with it, so their middle is taken; 0 and 255 of alpha are meant as
    transparent and opaque.
    """
    upper_bytes = np.asarray(picture).astype(np.float64)  # (H, W, 4)
    middle = (upper_bytes * 256 + 128) / 65_535  # 0..1
    alpha_bytes = upper_bytes[..., 3:]
    alpha = np.where(alpha_bytes == 255, 1, middle[..., 3:])
    alpha = np.where(alpha_bytes == 0, 0, alpha)
    on_white = 255 * (middle[..., :3] * alpha + 1 - alpha)
    return Image.fromarray(np.round(on_white).clip(0, 255).astype(np.uint8))


_RAW_COLOR = "RGB;16B"
"""What Pillow calls the pixels of a colour PNG of 16 bits, of which it keeps the upper 8."""
_RAW_GREY = {"L;2": 85, "L;4": 17}
"""What Pillow calls the pixels of a grey PNG of 2 and 4 bits -> what it multiplies them by."""


def _fit_transparent_color(picture: Image.Image) -> None:
    """Bring the colour that a PNG calls transparent to the 8 bits of its pixels: Pillow leaves it as it stands in the
    file. Before the picture is loaded, which forgets how the file had its pixels."""
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
    if _is_white_zero(picture):
        scaled = 255 - scaled
    grey: npt.NDArray[np.uint8] = np.minimum(np.maximum(scaled, 0), 255).astype(np.uint8)
    transparent = picture.info.get("transparency")
    if isinstance(transparent, int):  # of a 16-bit PNG: the grey that is not seen
        grey[numbers == transparent] = 255
    return Image.fromarray(grey).convert("RGB")


def _is_white_zero(picture: Image.Image) -> bool:
    """Whether 0 is white in a TIFF, as in scans: Pillow sees to it in 8 bits alone."""
    return hasattr(picture, "tag_v2") and _tag(picture, _PHOTOMETRIC) == _WHITE_IS_ZERO


def _sample_format(picture: Image.Image) -> Any:
    """TIFF's kind of number, unsigned where the file does not say; None for other files."""
    if not hasattr(picture, "tag_v2"):
        return None
    return _tag(picture, _SAMPLE_FORMAT) or _UNSIGNED


def _tag(picture: Image.Image, number: int) -> Any:
    """The value of a tag of a TIFF; None where it has none, and for other files."""
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
    """The number that is white: programs also write 8 or 12 bits into numbers of 16 or 32. Raises BadPhoto.

    full: the largest number that the file can have. name: of the file.
    """
    lowest = int(numbers.min())
    highest = int(numbers.max())
    ranges = [white for white in _RANGES if white < full] + [full]
    white = _range_of(highest, ranges)
    if highest == 0:
        white = full  # black
    if white and lowest >= 0:
        return white
    readable = _in_words(ranges)
    raise _no_white(name, f"its pixels are whole numbers from {lowest} to {highest}; {readable} can be read")


def _white_of_floats(numbers: npt.NDArray[Any], name: str) -> float:
    """The number that is white: 1, or what programs write that only know whole numbers. Raises BadPhoto."""
    strange = int((~np.isfinite(numbers)).sum())
    if strange:
        raise _no_white(name, f"{strange} of its {numbers.size} pixels are NaN or infinite")
    lowest = float(numbers.min())
    highest = float(numbers.max())
    white: int | None = 1
    # Above 1 are lights that are brighter than white, as in HDR pictures, where they are few or not much brighter.
    if highest >= _DARKEST and float((numbers > 1).mean()) > 0.01:
        white = _range_of(highest, _RANGES)
    # Resizing overshoots at edges by some hundredths.
    if white and lowest >= -0.1 * white:
        return white
    readable = _in_words([1, *_RANGES])
    raise _no_white(name, f"its pixels are floats from {lowest:g} to {highest:g}; {readable} can be read")


def _range_of(highest: float, ranges: Sequence[int]) -> int | None:
    """The number that is white in a picture whose brightest pixel is `highest`; None where no range is likely.

    Too large a range would show the picture as black, and too small a one would cut it off.
    """
    return next((white for white in ranges if highest <= white <= highest * _DARKEST), None)


def _in_words(ranges: Sequence[int]) -> str:
    """Ranges of pixels for a message: "0 to 255 or 0 to 4095"."""
    return " or ".join(f"0 to {white}" for white in ranges)


def _no_white(name: str, why: str) -> BadPhoto:
    """The error for pixels of which nobody can say what is white. name: of the file."""
    return BadPhoto(f"{name} cannot be read: {why}.", _SAVE_IN_8_BITS)
