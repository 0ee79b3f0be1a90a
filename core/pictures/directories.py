"""Directories of tags, as a TIFF and the EXIF of any photo have them, read without what nobody asks for.

A directory of a megabyte may name one megabyte 60,000 times, and some versions of Pillow keep a copy for each.
"""

import re
import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

_START = re.compile(rb"II[*+]\0|MM\0[*+]")
"""How a block of directories begins: the order of its bytes, and 42, or 43 where its numbers have 64 bits."""
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Kind of a value -> its bytes."""
_TEXT = 2
_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "L"}
_BELOW = (0x8769, 0x8825, 0xA005)
"""Tags that say where another directory stands: of EXIF, of the place, and of how to read the file."""
_ORIENTATION = 0x0112
_IN_XMP = re.compile(r'tiff:Orientation(?:="|>)([0-9])')
_RAW_EXIF = "Raw profile type exif"
"""EXIF in hexadecimal, behind three lines, as ImageMagick writes it."""
_EXIF = b"Exif\0\0"
_MOST_ENTRIES = 1 << 16
_ENTRY_BYTES = 12
"""Of an entry in its directory, which are counted too, or a file of directories would be read without end."""
_MOST_TIMES = 4
_ROOM = 1 << 16
"""Directories may name so many times the bytes of their file, and so many bytes more. In a whole file nothing is named
twice but a few numbers."""

Read = Callable[[int, int], bytes]
"""Called with a place and a number: at most so many bytes of a file from there on."""


def reader(data: bytes) -> Read:
    """Of what is in memory."""
    return lambda place, size: data[place : place + size]


class TooManyEntries(Exception):
    """No directory has so many entries."""


class _Entry(NamedTuple):
    """length: of the value, in numbers or letters. field: the value itself where it has room, else its place."""

    tag: int
    kind: int
    length: int
    field: bytes

    @property
    def size(self) -> int:
        return self.length * _SIZES.get(self.kind, 0)


class _Block:
    """A block of directories. start: where it begins, from where its places are counted."""

    def __init__(self, read: Read, start: int = 0) -> None:
        self._read = read
        self._start = start
        head = read(start, 4)
        self._order = "<" if head[:1] == b"I" else ">"
        is_long = b"+" in head
        self._entry = struct.Struct(f"{self._order}{'HHQ8s' if is_long else 'HHL4s'}")
        self._count, self._place = ("Q", "Q") if is_long else ("H", "L")
        self.first = self.number(self._place, self.bytes_at(8 if is_long else 4, 8))

    def bytes_at(self, place: int, size: int) -> bytes:
        return self._read(self._start + place, size)

    def number(self, kind: str, data: bytes) -> int:
        """The number with which some bytes begin, 0 where they are too few. kind: as of the module struct."""
        form = f"{self._order}{kind}"
        return struct.unpack_from(form, data)[0] if len(data) >= struct.calcsize(form) else 0

    def place_in(self, entry: _Entry) -> int:
        """Where the value of an entry stands that has no room in it."""
        return self.number(self._place, entry.field)

    def entries(self, place: int) -> tuple[list[_Entry], int]:
        """The entries of a directory as far as they are there, and where the next one stands, 0 for none. Raises
        TooManyEntries."""
        width = self._entry.size
        count = self.number(self._count, self.bytes_at(place, 8))
        if count > _MOST_ENTRIES:
            raise TooManyEntries
        begin = place + struct.calcsize(f"{self._order}{self._count}")
        data = self.bytes_at(begin, width * count)
        whole = data[: len(data) // width * width]
        entries = [_Entry(*fields) for fields in self._entry.iter_unpack(whole)]
        return entries, self.number(self._place, self.bytes_at(begin + width * count, 8))


def names_too_much(read: Read, size: int, starts: list[int]) -> bool:
    """Whether directories name many times the bytes that their file has. size: of the file. starts: of its blocks."""
    named = 0
    for start in starts:
        block = _Block(read, start)
        seen: set[int] = set()
        waiting = [block.first]
        while waiting:
            place = waiting.pop()
            if place in seen or place >= size:
                continue
            seen.add(place)
            try:
                entries, next_place = block.entries(place)
            except TooManyEntries:
                return True
            waiting.append(next_place)
            named += _ENTRY_BYTES * (1 + len(entries))
            for entry in entries:
                if entry.size > len(entry.field) and start + block.place_in(entry) + entry.size <= size:
                    named += entry.size
                elif entry.tag in _BELOW:
                    waiting.append(block.place_in(entry))
            if named > _MOST_TIMES * size + _ROOM:
                return True
    return False


def starts_in(data: bytes) -> list[int]:
    """Where blocks of directories may begin in a file of any kind."""
    return [found.start() for found in _START.finditer(data)]


def _exif_of(info: Mapping[Any, Any]) -> bytes:
    """The block of a picture's EXIF; b"" without one. info: Pillow's Image.info."""
    exif = info.get("exif")
    raw = info.get(_RAW_EXIF)
    if not isinstance(exif, bytes) and isinstance(raw, str):
        try:
            exif = bytes.fromhex("".join(raw.split("\n")[3:]))
        except ValueError:
            return b""
    if not isinstance(exif, bytes):
        return b""
    while exif.startswith(_EXIF):
        exif = exif[len(_EXIF) :]
    return exif if _START.match(exif) else b""


def _entries_of(exif: bytes) -> tuple[_Block, list[_Entry]]:
    """The first directory of EXIF; without entries where it cannot be read."""
    block = _Block(reader(exif))
    try:
        return block, block.entries(block.first)[0]
    except TooManyEntries:
        return block, []


def orientation(info: Mapping[Any, Any]) -> int:
    """How a picture is to be turned, 1 to 8, by its EXIF, else by its XMP; 1 where neither says. info: Image.info."""
    turn = 0
    block, entries = _entries_of(_exif_of(info))
    for entry in entries:
        if entry.tag == _ORIENTATION and entry.kind in _WHOLE_NUMBERS and entry.length == 1:
            turn = block.number(_WHOLE_NUMBERS[entry.kind], entry.field)
    xmp = info.get("XML:com.adobe.xmp") or info.get("xmp") or ""
    found = _IN_XMP.search(xmp.decode("latin-1") if isinstance(xmp, bytes) else str(xmp))
    if not turn and found:
        turn = int(found[1])
    return turn if 1 <= turn <= 8 else 1


def texts(info: Mapping[Any, Any]) -> list[str]:
    """The texts in the EXIF of a picture. info: Image.info."""
    exif = _exif_of(info)
    block, entries = _entries_of(exif)
    found: list[str] = []
    left = _MOST_TIMES * len(exif)
    for entry in entries:
        if entry.kind == _TEXT and entry.size <= left:
            left -= entry.size
            fits = entry.size <= len(entry.field)
            data = entry.field[: entry.size] if fits else block.bytes_at(block.place_in(entry), entry.size)
            found.append(data.rstrip(b"\0").decode("utf-8", "replace"))
    return found
