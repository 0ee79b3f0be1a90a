"""Files of pictures opened by Pillow, the same way whatever another pack has switched in it.

Pillow keeps its switches in its modules, and every pack of ComfyUI sets them for all: whether a cut file is filled with
grey, which size is taken for an attack, which class opens a format. Nothing of it is changed here, not even for a
moment: formats are opened by Pillow's classes themselves, and the methods that ask a switch are copied with a value of
their own (`_with`).
"""

import io
from collections.abc import Callable
from contextlib import suppress
from types import FunctionType, SimpleNamespace
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TgaImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from ..checks.errors import counted
from ..checks.text import in_one_line
from . import directories, parts
from .kinds import kind_of

try:
    from PIL import AvifImagePlugin
except ImportError:  # Pillow before 11.3
    AvifImagePlugin = None


class CutOff(Exception):
    """Pixels of a picture are not in its file, or are damaged."""


def _with(function: Any, **switches: object) -> Any:
    """A copy of a function of Pillow, for which these values stand in the place of globals of its module."""
    global_names = {**function.__globals__, **switches}
    return FunctionType(function.__code__, global_names, function.__name__, function.__defaults__, function.__closure__)


def _is_of_any_size(*_size: object, **_options: object) -> None:
    """Stands in for Pillow's question whether a picture is too large: `read_picture` has a limit of its own."""


_load_all = _with(ImageFile.ImageFile.load, LOAD_TRUNCATED_IMAGES=False)
"""Loads the pixels of an opened file, and raises where one is missing or damaged."""
_load_what_is_there = _with(ImageFile.ImageFile.load, LOAD_TRUNCATED_IMAGES=True)
_OF_ANY_SIZE = SimpleNamespace(**{**vars(Image), "_decompression_bomb_check": _is_of_any_size})
"""Pillow's module Image, for which no picture is too large."""


class _WebP(WebPImagePlugin.WebPImageFile):
    _open = _with(vars(WebPImagePlugin.WebPImageFile)["_open"], Image=_OF_ANY_SIZE)


class _Tiff(TiffImagePlugin.TiffImageFile):
    _setup = _with(vars(TiffImagePlugin.TiffImageFile)["_setup"], READ_LIBTIFF=False)
    load_prepare = _with(TiffImagePlugin.TiffImageFile.load_prepare, Image=_OF_ANY_SIZE)


Opener = Callable[..., Any]
_OPENERS: list[tuple[bytes, Opener]] = [
    (b"\xff\xd8\xff", JpegImagePlugin.JpegImageFile),
    (parts.PNG_START, PngImagePlugin.PngImageFile),
    (b"RIFF", _WebP),
    (b"GIF8", GifImagePlugin.GifImageFile),
    (b"BM", BmpImagePlugin.BmpImageFile),
    (b"\x28\0\0\0", BmpImagePlugin.DibImageFile),
    (b"II", _Tiff),
    (b"MM", _Tiff),
    (b"\0\0\0\x0cjP  \r\n\x87\n", Jpeg2KImagePlugin.Jpeg2KImageFile),
    (b"\xff\x4f\xff\x51", Jpeg2KImagePlugin.Jpeg2KImageFile),
    (b"P", PpmImagePlugin.PpmImageFile),
]
"""The first bytes of a file, and Pillow's class for such files: it hands other formats to other programs."""


def _openers(head: bytes) -> list[Opener]:
    """The functions that may open a file with these first bytes, in the order in which they are to be tried."""
    if head[4:8] != b"ftyp":
        openers = [opener for start, opener in _OPENERS if head.startswith(start)]
        if not kind_of(head):
            openers.append(TgaImagePlugin.TgaImageFile)  # a TGA has no mark at its beginning
        return openers
    if AvifImagePlugin is not None and b"avi" in head[8:64]:  # among the brands that the file names
        return [AvifImagePlugin.AvifImageFile]
    # What other packs have taught Pillow to read.
    return [Image.OPEN[name][0] for name in ("AVIF", "HEIF") if name in Image.OPEN]


_SEARCHED = 256
"""Line ends, or a head of old Macs, stand before some pictures, in at most so many bytes."""


def _picture_start(head: bytes) -> int:
    """Where the picture of a file begins: 0, or behind a few bytes that stand before a JPEG or a PNG.

    head: the first bytes. A file of a known kind is not searched: it may hold such marks by chance.
    """
    # BMP and PPM begin with b"BM" and b"P": kind_of does not know these.
    if head.startswith((b"BM", b"P")) or kind_of(head):
        return 0
    starts = [head.find(mark, 0, _SEARCHED) for mark in (b"\xff\xd8\xff", parts.PNG_START)]
    return next((start for start in starts if start > 0), 0)


def _declared_bytes(data: bytes) -> int:
    """The least number of bytes that a file must have by the lengths that stand in it; 0 where it gives none.

    Lengths are read of RIFF (WebP), of TIFF, and of boxes (AVIF, HEIF, JPEG 2000).
    """
    if data.startswith(b"RIFF"):
        return 8 + int.from_bytes(data[4:8], "little")
    if data.startswith(b"II*\0"):
        return _end_of_directory(data, "little")
    if data.startswith(b"MM\0*"):
        return _end_of_directory(data, "big")
    return _end_of_boxes(data) if data[4:8] in (b"ftyp", b"jP  ") else 0


def _end_of_directory(data: bytes, order: Literal["little", "big"]) -> int:
    """Where the first directory of a TIFF ends.

    It has 2 bytes with the number of its entries, 12 of each entry, and 4 with the place of the next directory.
    """
    start = int.from_bytes(data[4:8], order)
    entry_count = int.from_bytes(data[start : start + 2], order)
    return start + 2 + 12 * entry_count + 4


def _end_of_boxes(data: bytes) -> int:
    """Where the last box ends that begins in the data, ISO 14496-12; 0 where a box has its size elsewhere."""
    end = 0
    while end + 8 <= len(data):  # a box begins with its size and its kind, 4 bytes each
        size = int.from_bytes(data[end : end + 4], "big")
        if size < 8:  # 0: up to the end of the file; 1: the size stands elsewhere
            return 0
        end += size
    return end


_DECODED_WHOLE = ("WEBP", "AVIF", "HEIF")
"""What Pillow decodes as a whole before it asks a switch: all lines can be had, or none."""


class Source:
    """A file with a picture. Of a JPEG and a PNG Pillow gets what makes up the picture alone.

    scans: of a JPEG.
    """

    DECODINGS = 5
    """So often a damaged file is decoded: once until the damage, thrice for `_whole_lines`, and once as it is."""

    def __init__(self, file: io.BufferedIOBase, head: bytes) -> None:
        """head: the first bytes of the file."""
        start = _picture_start(head)
        self._head = head[start:]
        self._file = file
        self._parts: parts.FileParts | None = None
        file.seek(start)
        if self._head.startswith(parts.JPEG_START):
            self._parts = parts.of_jpeg(file.read())
        elif self._head.startswith(parts.PNG_START):
            self._parts = parts.of_png(file.read())
        self.scans = self._parts.scans if self._parts else 1
        self._require_fit_directories()

    def _require_fit_directories(self) -> None:
        """Raise CutOff where Pillow would keep many copies of the file's bytes as it opens it."""
        starts = [0] if self._head.startswith((b"II", b"MM")) else []
        if self._head[4:8] == b"ftyp":
            self._file.seek(0)
            starts = directories.starts_in(self._file.read())
        if starts and directories.names_too_much(self._bytes_at, self._file.seek(0, io.SEEK_END), starts):
            raise CutOff("it is damaged: its tags name the same bytes many times")

    def _bytes_at(self, place: int, size: int) -> bytes:
        self._file.seek(place)
        return self._file.read(size)

    def opened(self, tail: bytes = b"") -> Image.Image:
        """The picture without its pixels. tail: bytes that are put behind the pixels, before the mark of the end.

        Raises UnidentifiedImageError for what Pillow does not know, CutOff for a file that lacks bytes by what it says
        of itself, and whatever Pillow raises for a damaged one.
        """
        file = self._file_for_pillow(tail)
        file.seek(0)
        for opener in _openers(file.read(len(self._head))):
            file.seek(0)
            try:
                opened = opener(file, "")
            except SyntaxError:  # Pillow's word for a file of another kind
                continue
            except Exception:
                self._require_all_bytes()  # CutOff, which says more, where the file lacks bytes
                raise
            if self._parts:
                opened.info |= self._parts.info
            _fit_transparent_color(opened)
            return opened
        self._require_all_bytes()
        raise UnidentifiedImageError

    def _file_for_pillow(self, tail: bytes) -> io.BufferedIOBase:
        """What Pillow is given to read: of a file with parts these alone, else all of it; with the tail, if any."""
        if self._parts:
            return io.BytesIO(self._parts.file + tail + self._parts.end)
        if not tail:
            return self._file
        self._file.seek(0)
        return io.BytesIO(self._file.read() + tail)

    def _require_all_bytes(self) -> None:
        """Raise CutOff where the file has fewer bytes than it says."""
        self._file.seek(0)
        data = self._file.read()
        declared = _declared_bytes(data)
        if len(data) < declared:
            raise CutOff(f"it is cut off: of its {declared} bytes or more {len(data)} are there")

    def loaded(self, may_be_damaged: bool = True) -> Image.Image:
        """The picture with its pixels.

        A damaged file is read as well where every pixel is there. may_be_damaged: whether that is looked for, which
        takes DECODINGS as long. Raises CutOff where a pixel is not there, and whatever Pillow raises for a damaged
        file.
        """
        opened = self.opened()
        if self._parts and not self._parts.has_all_scans:
            raise CutOff(f"it is cut off behind {counted(self.scans, 'scan')}: more belong to it")
        if self._parts and not self._parts.had_end:
            if not may_be_damaged:
                raise CutOff("it is cut off, and it would take long to see what is there")
            return self._loaded_though_damaged(cause=None)
        is_decoded_whole = opened.format in _DECODED_WHOLE or getattr(opened, "use_load_libtiff", False)
        try:
            if is_decoded_whole:
                opened.load()
            else:
                _load_all(opened)
        except Exception as error:  # damaged files make Pillow raise nearly anything
            if is_decoded_whole:
                self._require_all_bytes()
            # Of a JPEG 2000 nobody knows the pixels whose bytes are missing.
            elif opened.format != "JPEG2000" and may_be_damaged:
                return self._loaded_though_damaged(error)
            raise CutOff(f"it is cut off or damaged ({in_one_line(error)})") from error
        return opened

    def _loaded_though_damaged(self, cause: Exception | None) -> Image.Image:
        """The picture of a file that is damaged or lacks its end, but has every pixel.

        cause: what Pillow has raised for the file, None where it was not asked. Raises CutOff where a pixel is missing.
        """
        is_whole = self._whole_lines()
        if not is_whole.all():
            why = f"it is cut off or damaged: of its {len(is_whole)} lines {is_whole.sum()} are whole"
            raise CutOff(why) from cause
        opened = self.opened(tail=_ZEROS)  # Pillow reads on behind the last pixel, and finds these
        _load_what_is_there(opened)
        return opened

    def _whole_lines(self) -> npt.NDArray[np.bool_]:
        """For each line of the picture whether every pixel of it is in the file, (H,).

        The file is decoded over black with zeros behind its end, and twice over white with noise there. A pixel that is
        in the file is alike in all pictures; any other one differs by the fill or by the bytes behind the end.
        """
        # Codes of a JPEG that restart at intervals are read on behind the next restart alone.
        restart = self._parts.next_restart if self._parts else b""
        over_black = self._pixels_over(0, _ZEROS)  # (H, W) or (H, W, channels)
        is_whole = np.ones(len(over_black), np.bool_)
        for noise in (_NOISE, _NOISE[::-1]):  # the few codes that are missing at an end may decode alike by chance
            is_alike = self._pixels_over(_WHITE, noise + restart + noise) == over_black
            is_whole &= is_alike.reshape(len(is_whole), -1).all(axis=1)
        # A JPEG or a PNG ends at the first line that is not whole: what follows may be alike by chance. Other formats,
        # such as BMP, may have their lines from below, so that the first ones are missing.
        return np.logical_and.accumulate(is_whole) if self._parts else is_whole

    def _pixels_over(self, fill: int, tail: bytes) -> npt.NDArray[Any]:
        """The pixels that are there, (H, W) or (H, W, channels), with a plain colour where they are missing.

        Of a GIF it is the part that its first picture covers. fill: the colour, as Pillow's paste takes it. tail: as of
        `opened`.
        """
        opened: Any = self.opened(tail)
        # Of each piece that is decoded its sides (left, top, right, bottom); a TIFF has many, in lines or as a mosaic.
        lefts, tops, rights, bottoms = zip(*(tile[1] for tile in opened.tile), strict=True)
        # Pillow calls load_prepare when it has made room for the pixels, before it decodes the first of them.
        prepare = opened.load_prepare

        def prepared_and_filled() -> None:
            prepare()
            opened.im.paste(fill, (0, 0, *opened.size))

        opened.load_prepare = prepared_and_filled
        with suppress(Exception):  # damaged files make Pillow raise nearly anything
            _load_what_is_there(opened)
        opened.tile = []  # else np.asarray would load the pixels once more
        return np.asarray(opened)[min(tops) : max(bottoms), min(lefts) : max(rights)]


_WHITE = 0xFFFFFFFF
"""In all channels of any mode: Pillow takes 255 for red where there are several."""
_ZEROS = bytes(300)
"""More than one block of a GIF has."""
_NOISE = np.random.default_rng(0).integers(1, 255, len(_ZEROS), dtype=np.uint8).tobytes()
"""Bytes that decode to other pixels. None is 0xFF, so that they are no markers of a JPEG."""

_TO_8_BITS = {"RGB;16B": 1 / 256, "L;2": 85, "L;4": 17}
"""How Pillow lays out the pixels of some PNGs -> the factor by which it brings them to 8 bits."""


def _fit_transparent_color(opened: Image.Image) -> None:
    """Bring the colour that a PNG declares transparent to 8 bits, as Pillow brings the pixels; in place.

    opened: not loaded yet: Pillow's list of tiles, which says how pixels lie in the file, is empty afterwards.
    """
    tiles: Any = getattr(opened, "tile", None)
    transparent: Any = opened.info.get("transparency")
    if opened.format != "PNG" or transparent is None or not tiles:
        return
    layout_of_pixels = str(tiles[0][-1])
    factor = _TO_8_BITS.get(layout_of_pixels)
    if factor is None:
        return
    if isinstance(transparent, int):  # a grey
        opened.info["transparency"] = int(transparent * factor)
    elif isinstance(transparent, tuple):  # red, green, blue
        opened.info["transparency"] = tuple(int(color * factor) for color in cast("tuple[int, ...]", transparent))
