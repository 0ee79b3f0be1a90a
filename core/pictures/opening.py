"""Files of pictures opened by Pillow, with what Pillow 11 to 13 cannot do.

- Any pack of ComfyUI switches Pillow for all: whether a cut file is filled with grey, which class opens a format.
  Nothing of it is changed here, not even for a moment: Pillow's classes are called themselves, and the one method that
  asks a switch is copied with a value of its own (`_load_all`).
- Programs leave broken texts, thumbnails and checksums around pixels, and copies lose the mark of their end. Viewers
  show such pictures, Pillow refuses them. So it gets the pieces of a JPEG and a PNG that make up the picture alone.
- A directory of tags of a megabyte may name one megabyte 60,000 times, and Pillow keeps a copy for each. EXIF is read
  here, and a file whose own directories do this is not opened.
"""

import io
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageChops,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

try:
    from PIL import AvifImagePlugin
except ImportError:  # Pillow before 11.3
    AvifImagePlugin = None

JPEG_START = b"\xff\xd8"
PNG_START = b"\x89PNG\r\n\x1a\n"
GIF_START = b"GIF8"


class CutOff(Exception):
    """Pixels of a picture are not in its file, or are damaged."""


_load: Any = ImageFile.ImageFile.load
_load_all = FunctionType(_load.__code__, {**_load.__globals__, "LOAD_TRUNCATED_IMAGES": False})
"""Pillow's load, which brings the pixels of an opened file, and which here always raises where one is missing."""
_DECODED_WHOLE = ("WEBP", "AVIF", "HEIF")
"""What Pillow decodes as a whole before it asks a switch: all lines can be had, or none."""

Opener = Callable[..., Any]
_OPENERS: tuple[tuple[bytes, Opener], ...] = (
    (JPEG_START, JpegImagePlugin.JpegImageFile),
    (PNG_START, PngImagePlugin.PngImageFile),
    (b"RIFF", WebPImagePlugin.WebPImageFile),
    (GIF_START, GifImagePlugin.GifImageFile),
    (b"BM", BmpImagePlugin.BmpImageFile),
    (b"II", TiffImagePlugin.TiffImageFile),
    (b"MM", TiffImagePlugin.TiffImageFile),
)
"""The first bytes of a file, and Pillow's class for such files. JPEG 2000 is none of them, of which a kilobyte may take
all memory, nor are PPM and its kin, of which a megabyte may take a minute."""


def _openers(head: bytes) -> list[Opener]:
    """Pillow's classes for a file with these first bytes."""
    if head[4:8] != b"ftyp":
        return [opener for start, opener in _OPENERS if head.startswith(start)]
    if AvifImagePlugin is not None and b"avi" in head[8:64]:  # among the brands that the file names
        return [AvifImagePlugin.AvifImageFile]
    # What other packs have taught Pillow to read.
    return [Image.OPEN[name][0] for name in ("AVIF", "HEIF") if name in Image.OPEN]


class Source:
    """A file with a picture. scans: of a JPEG, else 1.

    Raises CutOff for a file that Pillow would need too much memory or time to open.
    """

    def __init__(self, file: io.BufferedIOBase, head: bytes) -> None:
        """head: the first bytes of the file."""
        self._head = head
        self._file = file
        self._pieces: _Pieces | None = None
        file.seek(0)
        if head.startswith(JPEG_START):
            self._pieces = _of_jpeg(file.read())
        elif head.startswith(PNG_START):
            self._pieces = _of_png(file.read())
        elif head.startswith(GIF_START):
            self._pieces = _Pieces(_gif_without_comments(file.read()))
        elif head.startswith((b"II", b"MM")):
            self._require_fit_directories(starts=[0])
        elif head[4:8] == b"ftyp":
            self._require_fit_directories(directory_starts(file.read()))
        self.scans = self._pieces.scans if self._pieces else 1

    def _require_fit_directories(self, starts: Iterable[int]) -> None:
        def bytes_at(place: int, size: int) -> bytes:
            self._file.seek(place)
            return self._file.read(size)

        if names_too_much(bytes_at, self._file.seek(0, io.SEEK_END), starts):
            raise CutOff("it is damaged: its tags name the same bytes many times")

    def opened(self) -> Image.Image:
        """The picture without its pixels.

        Raises UnidentifiedImageError for what is no picture, and whatever Pillow raises for a damaged one.
        """
        return self._opened(io.BytesIO(self._pieces.file) if self._pieces else self._file)

    def _opened(self, file: io.BufferedIOBase) -> Image.Image:
        for opener in _openers(self._head):
            file.seek(0)
            try:
                opened = opener(file, "")
            except SyntaxError:  # Pillow's word for a file of another kind
                continue
            if self._pieces:
                opened.info |= self._pieces.info
            return opened
        raise UnidentifiedImageError

    def loaded(self) -> Image.Image:
        """The picture with its pixels. Raises CutOff, or whatever Pillow raises, where one is not there."""
        if self._pieces and not self._pieces.had_end:
            return self._loaded_without_end(self._pieces)
        opened = self.opened()
        if opened.format in _DECODED_WHOLE or getattr(opened, "use_load_libtiff", False):
            opened.load()
        else:
            _load_all(opened)
        return opened

    def _loaded_without_end(self, pieces: "_Pieces") -> Image.Image:
        """The picture of a JPEG that lacks the mark of its end. Raises CutOff where it lacks pixels too.

        A pixel that is missing differs by the bytes behind the end. Of a progressive JPEG whole scans may be missing,
        which nothing tells.
        """
        opened = self.opened()
        if "progressive" in opened.info:
            raise CutOff("it is cut off: the mark of its end is missing")
        _load_all(opened)
        for noise in (_NOISE, _NOISE[::-1]):  # the few codes that are missing at an end may decode alike by chance
            # Codes that restart at intervals are read on behind the next restart alone.
            other = self._opened(io.BytesIO(pieces.without_end + noise + pieces.next_restart + noise + _JPEG_END))
            _load_all(other)
            if ImageChops.difference(opened, other).getbbox():  # arrays would be a copy of each
                raise CutOff("it is cut off: its last pixels are missing")
        return opened


_NOISE = np.random.default_rng(0).integers(1, 255, 300, dtype=np.uint8).tobytes()
"""Bytes that decode to other pixels. None is 0xFF, so that they are no markers of a JPEG."""


# --- The pieces of a JPEG, a PNG and a GIF


@dataclass
class _Pieces:
    """What makes up the picture of a JPEG or a PNG, and the pictures of a GIF.

    file: a file without anything else. info: what Pillow's Image.info is to have: "exif", "icc_profile", _RAW_EXIF.
    The others are of a JPEG. scans: how many it has. had_end: whether the mark of its end was there. without_end:
    `file` without that mark. next_restart: the marker with which codes that restart at intervals would go on.
    """

    file: bytes
    info: dict[str, Any] = field(default_factory=dict[str, Any])
    scans: int = 1
    had_end: bool = True
    without_end: bytes = b""
    next_restart: bytes = b""


_EXIF, _PROFILE = b"Exif\0\0", b"ICC_PROFILE\0"
_RAW_EXIF = "Raw profile type exif"
"""The key of a text in which ImageMagick keeps EXIF: in hexadecimal, behind three lines."""

_JPEG_END = b"\xff\xd9"
_SCAN = 0xDA
_MARKER = re.compile(rb"\xff([\xc0-\xcf\xd9-\xdd\xe0-\xef\xfe])")
"""Of a segment, ISO 10918-1, table B.1, or of the end. In codes of pixels a byte 0 or a restart follows 0xFF."""
_TABLES = (*range(0xC0, 0xD0), 0xDB, 0xDC, 0xDD)
"""The markers of segments without which pixels cannot be decoded: frames, and tables of codes and quantisation."""


class _Segment(NamedTuple):
    """A segment of a JPEG. whole: the byte 0xFF, the marker, the length (two bytes) and the content. start, end: where
    it stands in the file."""

    start: int
    end: int
    whole: bytes

    @property
    def marker(self) -> int:
        """The byte that says what kind of segment it is."""
        return self.whole[1]

    @property
    def content(self) -> bytes:
        """What stands behind the length."""
        return self.whole[4:]

    @property
    def is_of_pixels(self) -> bool:
        """Whether decoders need it: a table, or the segment of JFIF or Adobe, which say what the channels are."""
        is_jfif = self.marker == 0xE0 and self.content.startswith(b"JFIF\0") and len(self.content) >= 14
        is_adobe = self.marker == 0xEE and self.content.startswith(b"Adobe") and len(self.content) >= 12
        return self.marker in _TABLES or is_jfif or is_adobe


def _segments(data: bytes) -> Iterator[_Segment]:
    """The segments of a JPEG up to the mark of the end, which is the last where it is there.

    What is between them is passed over: the codes of pixels, behind each scan.
    """
    end = len(JPEG_START)
    while found := _MARKER.search(data, end):
        end = found.end()
        if found[0] != _JPEG_END:
            # The length counts its own two bytes and the content; a damaged one may be less than these two.
            end += max(2, int.from_bytes(data[end : end + 2], "big"))
        yield _Segment(found.start(), end, data[found.start() : end])
        if found[0] == _JPEG_END:
            return


_MOST_SEGMENTS = 10_000
"""Photos have some hundred. A million fit into 4 MB, and Pillow takes ten seconds for them."""


def _of_jpeg(data: bytes) -> _Pieces:
    """The pieces of a JPEG, of several in one file (MPO) the first one. data: the file. Raises CutOff for more than
    _MOST_SEGMENTS."""
    kept = [JPEG_START]
    left_out: list[_Segment] = []
    scans: list[_Segment] = []
    end = -1  # where the mark of the end begins
    for number, segment in enumerate(_segments(data)):
        if number == _MOST_SEGMENTS:
            raise CutOff(f"it is damaged: it has more than {_MOST_SEGMENTS} segments")
        if segment.whole == _JPEG_END:
            end = segment.start
        elif segment.marker == _SCAN:
            scans.append(segment)
        elif not scans and segment.is_of_pixels:
            kept.append(segment.whole)
        elif not scans:
            left_out.append(segment)
    codes_start = scans[0].start if scans else len(data)
    # Without the mark of the end its first byte may still be there: no codes end with it.
    kept.append(data[codes_start:end] if end >= 0 else data[codes_start:].rstrip(_JPEG_END[:1]))
    without_end = b"".join(kept)
    # There are eight marks of a restart, which follow each other in a circle.
    restarts = re.findall(rb"\xff[\xd0-\xd7]", data[scans[-1].end :] if scans else b"")
    number = restarts[-1][1] - 0xD0 + 1 if restarts else 0
    return _Pieces(
        without_end + _JPEG_END,
        _info_of_jpeg(left_out),
        scans=len(scans),
        had_end=end >= 0,
        without_end=without_end,
        next_restart=bytes([0xFF, 0xD0 + number % 8]),
    )


def _info_of_jpeg(segments: list[_Segment]) -> dict[str, Any]:
    """What segments tell of the picture, as _Pieces.info. A long EXIF is in several segments, a long profile too."""

    def behind(title: bytes, marker: int) -> list[bytes]:
        contents = [segment.content for segment in segments if segment.marker == marker]
        return [content[len(title) :] for content in contents if content.startswith(title)]

    info: dict[str, Any] = {}
    if exif := behind(_EXIF, 0xE1):
        info["exif"] = _EXIF + b"".join(exif)
    # A piece of a profile stands behind its number and how many pieces there are.
    profile = {piece[0]: piece[2:] for piece in behind(_PROFILE, 0xE2) if len(piece) > 2}
    if profile:
        info["icc_profile"] = b"".join(profile[number] for number in sorted(profile))
    return info


def _of_png(data: bytes) -> _Pieces:
    """The pieces of a PNG, of an animated one its first picture. data: the file."""
    kept = [PNG_START]
    compressed_pieces: list[bytes] = []
    info: dict[str, Any] = {}
    # In IHDR, the first chunk: behind PNG_START (8), length and name (4 each), width and height (4 each).
    bits, color_type = data[24:26] if len(data) > 25 else (0, 0)
    for name, content in _chunks(data):
        if name == b"IDAT":
            compressed_pieces.append(content)
        elif name in (b"IHDR", b"PLTE"):
            kept.append(_chunk(name, content))
        elif name == b"tRNS" and (transparent := _transparent_in_8_bits(content, bits, color_type)):
            kept.append(_chunk(name, transparent))
        else:
            info |= _info_of_png(name, content, info)
    # Pillow decodes one chunk after the other. The last 4 bytes, zlib's Adler-32 of all pixels, get a chunk of their
    # own: a wrong one then spoils no pixels.
    compressed = b"".join(compressed_pieces)
    kept += [_chunk(b"IDAT", compressed[:-4]), _chunk(b"IDAT", compressed[-4:]), _chunk(b"IEND", b"")]
    return _Pieces(b"".join(kept), info)


def _info_of_png(name: bytes, content: bytes, before: Mapping[str, Any]) -> dict[str, Any]:
    """What a chunk adds to _Pieces.info, nothing of most kinds.

    before: what the chunks before it have added: of several that are compressed the first is unpacked alone, because a
    few kilobytes unpack to _MOST_BYTES.
    """
    _, _, packed = content.partition(b"\0")
    if name == b"eXIf":
        return {"exif": content}
    if name == b"iCCP" and "icc_profile" not in before:
        return {"icc_profile": _unpacked(packed)}
    if name == b"zTXt" and content.startswith(_RAW_EXIF.encode() + b"\0") and _RAW_EXIF not in before:
        return {_RAW_EXIF: _unpacked(packed).decode("latin-1")}
    return {}


def _transparent_in_8_bits(content: bytes, bits: int, color_type: int) -> bytes:
    """What a PNG declares transparent, in the numbers to which Pillow brings its pixels; b"" where it is damaged.

    Pillow brings greys of 2 and 4 bits and colours of 16 bits to 8, but not the one that is transparent. content: of
    the chunk tRNS: two bytes for a grey, six for red, green and blue, or the alpha of each colour of a palette.
    """
    if color_type == 0 and len(content) == 2:
        factor = {2: 85, 4: 17}.get(bits, 1)
        return (int.from_bytes(content, "big") % 2**bits * factor).to_bytes(2, "big")
    if color_type == 2 and len(content) == 6:
        return content if bits == 8 else bytes([0, content[0], 0, content[2], 0, content[4]])
    return content if color_type == 3 and len(content) <= 256 else b""


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of each chunk of a PNG, whatever its checksum."""
    start = len(PNG_START)
    name = b""
    while name != b"IEND" and start + 8 <= len(data):
        name = data[start + 4 : start + 8]  # behind the length of the content, 4 bytes
        end = start + 8 + int.from_bytes(data[start : start + 4], "big")
        yield name, data[start + 8 : end]
        start = end + 4  # behind the checksum


def _chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG as its file has it: the length of the content, name, content and checksum."""
    checksum = zlib.crc32(content, zlib.crc32(name))
    return len(content).to_bytes(4, "big") + name + content + checksum.to_bytes(4, "big")


def _gif_without_comments(data: bytes) -> bytes:
    """A GIF without its comments, for which Pillow 11.0 copies all that it has read at every 255 letters."""
    kept: list[bytes] = []
    kept_from = 0
    place = 13 + _color_table_bytes(data, 10)
    while place < len(data) and data[place : place + 1] != b";":
        kind = data[place : place + 2]
        if kind[:1] == b"!":
            end = _end_of_blocks(data, place + 2)
        elif kind[:1] == b",":  # a picture: its place (9 bytes), flags, colours, how many bits its codes have
            end = _end_of_blocks(data, place + 11 + _color_table_bytes(data, place + 9))
        else:  # Pillow passes it over, too
            end = place + 1
        if kind == b"!\xfe":
            kept.append(data[kept_from:place])
            kept_from = end
        place = end
    return b"".join([*kept, data[kept_from:]])


def _color_table_bytes(data: bytes, flags_place: int) -> int:
    flags = _number("B", data[flags_place : flags_place + 1])
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _end_of_blocks(data: bytes, place: int) -> int:
    """Where blocks of a GIF end, which each begin with their length, the last with 0."""
    while place < len(data) and data[place]:
        place += data[place] + 1
    return place + 1


_MOST_BYTES = 1 << 22
"""A profile or EXIF that is compressed in a PNG is left out where it is larger."""


def _unpacked(compressed: bytes) -> bytes:
    """What a chunk holds behind the number of its kind of compression; b"" where that is damaged or too large."""
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(compressed[1:], _MOST_BYTES)
    except zlib.error:
        return b""
    return b"" if unpacker.unconsumed_tail else content


# --- Directories of tags, as a TIFF and the EXIF of any photo have them

_DIRECTORY = re.compile(rb"II[*+]\0|MM\0[*+]")
"""How a block of directories begins: the order of its bytes, and 42, or 43 where its numbers have 64 bits."""
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Kind of a value -> its bytes."""
_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "L"}
_BELOW = (0x8769, 0x8825, 0xA005)
"""Tags that say where another directory stands: of EXIF, of the place, and of how to read the file."""
_ORIENTATION = 0x0112
_ENTRY_BYTES = 12
"""Of an entry in its directory, which are counted too, or a file of directories would be read without end."""
_DIRECTORY_BYTES = 256
"""Counted for a directory, and for the beginning of a block: a few bytes, which take as long to read as so many."""
_MOST_TIMES = 4
_ROOM = 1 << 16
"""Directories may name so many times the bytes of their file, and so many bytes more. In a whole file nothing is named
twice but a few numbers."""

Read = Callable[[int, int], bytes]
"""Called with a place and a number: at most so many bytes of a file from there on."""


class _Entry(NamedTuple):
    """length: of the value, in numbers or letters. value: itself where it has room, else its place."""

    tag: int
    kind: int
    length: int
    value: bytes


class _Directories:
    """A block of directories. start: where it begins, from where its places are counted."""

    def __init__(self, read: Read, start: int = 0) -> None:
        self._read = read
        self.start = start
        head = read(start, 4)
        order = "<" if head[:1] == b"I" else ">"
        is_long = b"+" in head
        self._entry = struct.Struct(f"{order}{'HHQ8s' if is_long else 'HHL4s'}")
        self._count = f"{order}{'Q' if is_long else 'H'}"
        self._place = f"{order}{'Q' if is_long else 'L'}"
        self.order = order
        self.first = self.place_in(read(start + (8 if is_long else 4), 8))

    def place_in(self, value: bytes) -> int:
        """The place with which some bytes begin, 0 where they are too few."""
        return _number(self._place, value)

    def entries(self, place: int) -> tuple[list[_Entry], int]:
        """The entries of a directory as far as they are there, and where the next one stands, 0 for none."""
        width = self._entry.size
        begin = self.start + place
        count = min(_number(self._count, self._read(begin, 8)), 1 << 16)  # no directory of a whole file has more
        begin += struct.calcsize(self._count)
        data = self._read(begin, width * count)
        whole = data[: len(data) // width * width]
        entries = [_Entry(*fields) for fields in self._entry.iter_unpack(whole)]
        return entries, self.place_in(self._read(begin + width * count, 8))


def _number(form: str, data: bytes) -> int:
    """The number with which some bytes begin, 0 where they are too few. form: as of the module struct."""
    return struct.unpack_from(form, data)[0] if len(data) >= struct.calcsize(form) else 0


def directory_starts(data: bytes) -> Iterator[int]:
    """Where blocks of directories may begin in a file of any kind."""
    return (found.start() for found in _DIRECTORY.finditer(data))


def names_too_much(read: Read, size: int, starts: Iterable[int]) -> bool:
    """Whether directories name many times the bytes that their file has. size: of the file. starts: of its blocks."""
    most = _MOST_TIMES * size + _ROOM
    return any(named > most for named in accumulate(_bytes_named(read, size, starts)))


def _bytes_named(read: Read, size: int, starts: Iterable[int]) -> Iterator[int]:
    """The bytes that each directory of TIFF or EXIF names and takes to be read, and those of each block's beginning.

    A directory is a list of entries, of which each names a length of bytes, see `_Directories`.

    read, size, starts: as of `names_too_much`.
    """
    for start in starts:
        yield _DIRECTORY_BYTES
        block = _Directories(read, start)
        seen: set[int] = set()
        waiting = [block.first]
        while waiting:
            place = waiting.pop()
            if place in seen or place >= size:
                continue
            seen.add(place)
            entries, next_place = block.entries(place)
            waiting.append(next_place)
            named = _DIRECTORY_BYTES + _ENTRY_BYTES * len(entries)
            for entry in entries:
                entry_size = entry.length * _SIZES.get(entry.kind, 0)
                entry_place = block.place_in(entry.value)
                if entry_size > len(entry.value) and start + entry_place + entry_size <= size:
                    named += entry_size
                elif entry.tag in _BELOW:
                    waiting.append(entry_place)
            yield named


def orientation(info: Mapping[Any, Any]) -> int:
    """How a picture is to be turned, 1 to 8, by its EXIF; 1 where that does not say. info: Pillow's Image.info."""
    exif: Any = info.get("exif") or b""
    raw = info.get(_RAW_EXIF)
    if not exif and isinstance(raw, str):
        with suppress(ValueError):
            exif = bytes.fromhex("".join(raw.split("\n")[3:]))
    start = 0
    while exif.startswith(_EXIF, start):  # some programs write it twice
        start += len(_EXIF)
    exif = exif[start:]  # cut once: each cut copies all that is left
    if not _DIRECTORY.match(exif):
        return 1
    block = _Directories(lambda place, size: exif[place : place + size])
    turn = 1
    for entry in block.entries(block.first)[0]:
        if entry.tag == _ORIENTATION and entry.kind in _WHOLE_NUMBERS and entry.length == 1:
            turn = _number(f"{block.order}{_WHOLE_NUMBERS[entry.kind]}", entry.value)
    return turn if 1 <= turn <= 8 else 1
