"""Files of photos as people have them, read as 8-bit RGB: upright, in sRGB, on white where they are transparent.

Nodes and scripts open every photo here. Pillow decodes; what it cannot read, or reads wrong without an error, is
refused and named for what it is.
"""

from __future__ import annotations

import io
import os
from contextlib import suppress
from itertools import product
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, UnidentifiedImageError
from PIL.ExifTags import Base as Tag

from ..checks.errors import BadPhoto
from ..checks.text import in_one_line
from ..models.files import IN_PLACE_OF_A_FILE, is_text

if TYPE_CHECKING:
    from . import opening

# opening.py brings Pillow's formats, which ComfyUI's start does without: whoever reads a picture imports it.

ENDINGS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic",
    ".heif", ".jp2", ".jxl",
)  # fmt: skip
"""Endings of photos. Pillow does not read all of them: such a photo is named, not left out."""

_HEAD = 1 << 20
"""First bytes of a file that are looked at: a profile may stand before what says that a PNG is animated."""
_JPEG_2000 = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
_IN_PLACE_OF_A_PHOTO = (*IN_PLACE_OF_A_FILE, (b"<!doctype html", "a web page"), (b"<html", "a web page"))
"""The beginning of a file in small letters, without blanks before it, and what it is."""

_MOST_PIXELS = 120_000_000
_MOST_PIXELS_OF_JPEG = 250_000_000
"""More pixels of a photo are not read: a picture of a few kilobytes may claim billions. Telephones write JPEGs of 200
million, whose pixels take at most 12 bytes of memory each while they are read, and those of other files 25 however they
lie in it: 3 GB in all."""

_WHITES = (255, 4095, 65_535)
"""White in 8, 12 and 16 bits: programs also write the first two into numbers of 16 bits."""
_DARKEST = 16
"""A number is taken for white only where it is at most this many times the brightest pixel: with a larger white the
whole picture would look black."""

_MOST_SCANS = 500
_MOST_SCANNED_PIXELS = 12 * 10**9
"""A scan of a progressive JPEG goes over all pixels, also one of a few hundred bytes: so many pixels take three
seconds. Cameras and programs write 20 scans at most."""
_MOST_PIXELS_OF_RLE = 10_000_000
"""Pillow unpacks a BMP that is packed by RLE pixel by pixel in Python."""
_MOST_LINES_OF_RLE = 255
"""So many lines of it may be passed over at once, and Pillow 11.0 fills them where there are fewer, too."""

_SAVE_AGAIN = "Open it in another program and save it as JPEG or PNG, 8 bits a colour."
_COPY_AGAIN = f"Copy it again from where it came. {_SAVE_AGAIN}"
_CHOOSE_ANOTHER = "Choose a picture."


def read_picture(path: str, data: bytes | None = None) -> Image.Image:
    """The first picture of a file: mode RGB, upright as its EXIF says, on white, in sRGB where it has a profile.

    data: the bytes of the file where they have been read already. Raises BadPhoto, with the reason, for a file that is
    no picture, is damaged or cut off, has too many pixels, or has pixels whose white is not known.
    """
    from . import opening

    name = os.path.basename(path)
    if data is None and not os.path.isfile(path):  # a pipe, on which reading would wait for ever, is no file either
        why = "it is a folder" if os.path.isdir(path) else "there is no such file"
        raise _unreadable(name, why, _CHOOSE_ANOTHER)
    head = b""
    try:
        with open(path, "rb") if data is None else io.BytesIO(data) as file:
            head = file.read(_HEAD)
            if not head:
                raise _unreadable(name, "it is empty", _CHOOSE_ANOTHER)
            return _read(opening.Source(file, head), head, name)
    except BadPhoto:
        raise
    except UnidentifiedImageError as error:
        raise _not_opened(name, head) from error
    except opening.CutOff as error:
        raise _unreadable(name, str(error), _COPY_AGAIN) from error
    except Exception as error:  # damaged files make Pillow raise nearly anything
        why = f"it is cut off or damaged ({in_one_line(error).rstrip('.')})"
        raise _unreadable(name, why, _COPY_AGAIN) from error


def has_several(path: str) -> bool:
    """Whether a file has several pictures: an animation, or pages. False for a file that cannot be read.

    `read_picture` reads the first picture. What cameras put beside a picture, such as a small copy, does not count.
    """
    from . import opening

    with suppress(Exception), open(path, "rb") as file:  # why a file cannot be read is said where it is read
        head = file.read(_HEAD)
        if head.startswith(opening.JPEG_START):  # a JPEG is one picture, and Source would read all of it
            return False
        if head.startswith(opening.PNG_START):
            return 0 <= head.find(b"acTL") < head.find(b"IDAT")  # an animated one says so in front of its pixels
        opened = opening.Source(file, head).opened()
        if opened.format == "TIFF":
            opened.seek(1)  # EOFError where there is no second picture
            return (_tag(opened, Tag.NewSubfileType) or 0) in (0, _PAGE)
        return bool(getattr(opened, "is_animated", False))
    return False


_PAGE = 2
"""The value of a TIFF's tag NewSubfileType where a picture is a page of several."""


def _unreadable(name: str, why: str, advice: str = _SAVE_AGAIN) -> BadPhoto:
    """The error for a file that cannot be read. name: of the file."""
    return BadPhoto(f"{name} cannot be read: {why}.", advice)


def _not_opened(name: str, head: bytes) -> BadPhoto:
    """The error for a file that Pillow knows for no picture. name: of the file. head: its first bytes."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()  # without the mark of UTF-8 and blanks
    for beginning, kind in _IN_PLACE_OF_A_PHOTO:
        if start.startswith(beginning):
            return _unreadable(name, f"it is {kind}", _CHOOSE_ANOTHER)
    if is_text(head[:512]):
        return _unreadable(name, "it is a text", _CHOOSE_ANOTHER)
    if head.startswith(_JPEG_2000):
        return _unreadable(name, "it is a JPEG 2000 picture, which is not read here")
    if head[4:8] == b"ftyp" and head[8:11] in (b"hei", b"hev", b"mif", b"msf"):  # ISO 14496-12: the file's brand
        return _unreadable(name, "it is a HEIC photo, as iPhones save them, which Pillow does not read")
    return _unreadable(name, "it is cut off or damaged, or no picture of a kind that Pillow reads")


def _read(source: opening.Source, head: bytes, name: str) -> Image.Image:
    """The picture of a file, as `read_picture` gives it. head: its first bytes. name: for messages.

    Raises BadPhoto, and whatever Pillow raises for a damaged file.
    """
    # All three come before the pixels are decoded.
    header = source.opened()
    _refuse_much_work(header, source.scans, name)
    _refuse_what_is_misread(header, head, name)
    picture = source.loaded()
    if picture.format == "BMP" and picture.mode == "RGBA" and picture.getchannel("A").getextrema() == (0, 0):
        picture = picture.convert("RGB")  # alpha is 0 everywhere: programs without alpha write such a BMP
    # A TIFF has been turned by load(), and in older versions of Pillow its EXIF does not say so.
    if picture.format != "TIFF":
        picture = _upright(picture)  # the unturned one is let go of
    # In some TIFFs of scanners 0 is white; Pillow inverts them in 8 bits only.
    on_white = _on_white(picture, name, is_white_zero=_tag(picture, Tag.PhotometricInterpretation) == 0)
    return _in_srgb(on_white, picture)  # `picture` still has its profile and its own mode


def _tag(picture: Image.Image, number: Tag) -> Any:
    """The value of a tag of a TIFF; None where it has none, and for other files.

    Of a tag with a value for each channel, such as its bits, the first value is returned: all channels have the same.
    """
    value: Any = getattr(picture, "tag_v2", {}).get(number)
    return value[0] if isinstance(cast("object", value), tuple) and value else value


def _refuse_much_work(opened: Image.Image, scans: int, name: str) -> None:
    """Raise BadPhoto for a picture of too many pixels or scans. opened: not loaded yet. scans: of a JPEG, else 1."""
    # A TIFF is read in tiles, each as a whole, and a small TIFF may claim a huge tile.
    piece_pixels = (_tag(opened, Tag.TileWidth) or 0) * (_tag(opened, Tag.TileLength) or 0)
    pixels = opened.width * opened.height
    most_pixels = _MOST_PIXELS_OF_JPEG if opened.format == "JPEG" else _MOST_PIXELS
    tiles: Any = getattr(opened, "tile", None) or [("",)]
    if tiles[0][0] == "bmp_rle":
        most_pixels = _MOST_PIXELS_OF_RLE
        piece_pixels = opened.width * _MOST_LINES_OF_RLE
    if max(pixels, piece_pixels) > most_pixels:
        why = f"{name} has {opened.width}x{opened.height} px; {most_pixels // 10**6} million are read at most"
        raise BadPhoto(f"{why}.", "Save it smaller.")
    most_scans = min(_MOST_SCANS, _MOST_SCANNED_PIXELS // pixels)
    if scans > most_scans:
        raise _unreadable(name, f"it is a JPEG of {scans} scans; of so many pixels {most_scans} are read at most")


_IN_PLANES = 2
"""The value of a TIFF's tag PlanarConfiguration where all of red stands before all of green and so on."""
_TIMES_ALPHA = 1
"""The value of its tag ExtraSamples where colours are multiplied by their alpha."""


def _refuse_what_is_misread(opened: Image.Image, head: bytes, name: str) -> None:
    """Raise BadPhoto for what Pillow reads wrong and without an error. opened: not loaded yet.

    Of the raw photo of a camera it reads the small preview; of 16 bits in the planes of a TIFF (all of red,
    then all of green and so on) the two bytes as two numbers. And it divides colours in planes by their alpha
    in one kind of compression and not in another.
    """
    # Of a raw photo one of three signs is enough: the tag of Adobe's DNG, Canon's mark, or that the first picture of
    # the file is a reduced one, as in files of Nikon and Sony; the lowest bit of the tag says so.
    is_reduced = (_tag(opened, Tag.NewSubfileType) or 0) & 1
    is_raw_photo = _tag(opened, Tag.DNGVersion) is not None or head[8:10] == b"CR" or is_reduced
    if opened.format == "TIFF" and is_raw_photo:
        raise _unreadable(name, "it is a raw photo of a camera, of which Pillow reads the preview alone")
    bits = _tag(opened, Tag.BitsPerSample) or 0
    channels = _tag(opened, Tag.SamplesPerPixel) or 1
    is_in_planes = channels > 1 and _tag(opened, Tag.PlanarConfiguration) == _IN_PLANES
    if is_in_planes and (bits > 8 or _tag(opened, Tag.ExtraSamples) == _TIMES_ALPHA):
        raise _unreadable(name, f"it is a TIFF of {bits} bits a colour in planes, or with colours multiplied by alpha")
    if opened.mode == "F":
        raise _unreadable(name, "its pixels are floats")


_PROBE = Image.frombytes("RGB", (6, 36), bytes(sum(product(range(0, 256, 51), repeat=3), ())))
"""All colours of six values of red, green and blue, a pixel each: by them a profile is told from sRGB's."""
_ROUNDED = 2
"""How much a profile of sRGB changes a value of 0 to 255 at most, by rounding."""


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What a camera says of its turn -> what brings the picture upright."""


def _upright(picture: Image.Image) -> Image.Image:
    """A loaded picture turned as its EXIF says; unturned where EXIF is damaged. Its info stays."""
    from . import opening

    turn = _TURNS.get(opening.orientation(picture.info))
    return picture if turn is None else picture.transpose(turn)


def _on_white(picture: Image.Image, name: str, is_white_zero: bool) -> Image.Image:
    """A loaded picture of any mode on white, as mode RGB.

    name: of the file, for messages. is_white_zero: whether 0 is white in grey of more than 8 bits. Raises BadPhoto for
    such grey whose white is not known.
    """
    if picture.mode.startswith("I"):  # I, I;16 and so on: grey of more than 8 bits
        return _from_numbers(picture, name, is_white_zero)
    if picture.mode == "La":  # multiplied by alpha; Pillow converts it to LA only
        picture = picture.convert("LA")
    has_alpha = "A" in picture.getbands() or "a" in picture.mode  # the second for RGBa
    if not has_alpha and "transparency" not in picture.info:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    white = Image.new("RGB", picture.size, "white")
    white.paste(picture, mask=picture.getchannel("A"))
    return white


def _from_numbers(picture: Image.Image, name: str, is_white_zero: bool) -> Image.Image:
    """Grey of more than 8 bits, which Pillow would cut off at 255, as mode RGB.

    Transparent pixels become white. Raises BadPhoto where the white is not known. name, is_white_zero: as of
    `_on_white`.
    """
    numbers: npt.NDArray[Any] = np.asarray(picture)  # (H, W)
    white = _white_of(numbers, name)
    # 0.5 rounds: astype cuts the decimals off.
    grey: npt.NDArray[np.uint8] = (numbers * np.float32(255 / white) + np.float32(0.5)).astype(np.uint8)
    if is_white_zero:
        grey = 255 - grey
    transparent: Any = picture.info.get("transparency")
    if isinstance(transparent, int):  # of a PNG: the number of the pixels that are transparent
        grey[numbers == transparent] = 255
    return Image.fromarray(grey).convert("RGB")


def _white_of(numbers: npt.NDArray[Any], name: str) -> int:
    """The first of _WHITES that grey numbers (H, W) fit. Raises BadPhoto for none. name: of the file."""
    lowest, highest = int(numbers.min()), int(numbers.max())
    if lowest == highest == 0:  # all black, whatever white is
        return _WHITES[0]
    for white in _WHITES:
        if lowest >= 0 and highest <= white <= highest * _DARKEST:
            return white
    readable = " or ".join(f"0 to {white}" for white in _WHITES)
    raise _unreadable(name, f"its pixels are whole numbers from {lowest} to {highest}; {readable} can be read")


def _in_srgb(picture: Image.Image, opened: Image.Image) -> Image.Image:
    """A picture of mode RGB in the colours that its ICC profile means; unchanged without a profile that can be used.

    The pixels of `picture` may be changed in place. opened: the same picture, loaded, in the mode of its file and with
    its profile. A CMYK picture is converted from there, because its profile says how the inks mix.
    """
    profile = opened.info.get("icc_profile")
    if not profile:
        return picture
    from PIL import ImageCms  # not at import: only photos with a profile need it

    cms: Any = ImageCms  # a part of it has no types
    with suppress(Exception):
        own = cms.ImageCmsProfile(io.BytesIO(_without_chains(profile)))
        srgb = cms.createProfile("sRGB")
        kind = own.profile.xcolor_space.strip()
        if kind == "GRAY":
            return cms.profileToProfile(picture.getchannel("R"), own, srgb, outputMode="RGB")
        if kind == "CMYK" and opened.mode == "CMYK":
            return cms.profileToProfile(opened, own, srgb, outputMode="RGB")
        # A profile of sRGB is not applied, so that its rounding changes no pixel. Its name does not tell it.
        if not _are_alike(_PROBE, cms.profileToProfile(_PROBE, own, srgb)):
            cms.profileToProfile(picture, own, srgb, inPlace=True)
    return picture


def _without_chains(profile: bytes) -> bytes:
    """An ICC profile without its tags D2B0 to D2B3 and B2D0 to B2D3: each is a chain of any number of steps in floats,
    which LittleCMS takes in the place of what other programs read. A chain of 400 bytes may take half a minute."""
    # Behind the head and the number of tags stand their names, places and sizes, ICC.1, 7.3.
    end = 132 + 12 * int.from_bytes(profile[128:132], "big")
    table = profile[:end].replace(b"D2B", b"\0\0\0").replace(b"B2D", b"\0\0\0")
    return table + profile[end:]


def _are_alike(picture: Image.Image, other: Image.Image) -> bool:
    """Whether no value of two pictures of mode RGB differs by more than _ROUNDED."""
    differences = np.asarray(ImageChops.difference(picture, other))
    return bool((differences <= _ROUNDED).all())
