"""The parts of a JPEG and a PNG that make up its picture, without all that stands around them.

Programs leave broken texts, thumbnails and checksums in files, and copies lose the mark of their end. Viewers show such
pictures; Pillow refuses them, or does not, as any pack of ComfyUI has switched it. So Pillow gets these parts alone.
"""

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

JPEG_START = b"\xff\xd8"
PNG_START = b"\x89PNG\r\n\x1a\n"

_JPEG_END = b"\xff\xd9"
_SCAN = 0xDA
"""The marker of a scan, ISO 10918-1, table B.1."""
_AMONG_SCANS = re.compile(rb"\xff[\xc4\xd9-\xdd\xe0-\xef\xfe]")
"""The end, scans, tables and texts: a text may hold what looks like the end. In codes of pixels a byte 0 follows
0xFF."""
_NO_SEGMENT = (0x00, 0x01, *range(0xD0, 0xD9), 0xFF)
"""What may stand behind a byte 0xFF without the length and the content of a segment."""
_TABLES = (*range(0xC0, 0xD0), 0xDB, 0xDC, 0xDD)
"""The markers of segments without which pixels cannot be decoded: frames, and tables of codes and quantisation."""
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""The markers of the segment that says size and channels."""
_EXIF, _XMP, _PROFILE = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0"
_TRANSPARENT_BYTES = {0: range(2, 3), 2: range(6, 7), 3: range(1, 257)}
"""Color type of a PNG -> how many bytes its chunk tRNS may have."""
_MOST_BYTES = 1 << 22
"""A profile or EXIF that is compressed in a PNG is left out where it is larger."""
_RAW_EXIF = b"Raw profile type exif"
"""The key of a text in which ImageMagick keeps EXIF."""


Info = dict[str, bytes | str]


@dataclass
class FileParts:
    """What makes up a picture.

    file: a file without anything else, but for the mark of its end. end: that mark. info: what Pillow's Image.info is
    to have: "exif", "xmp", "icc_profile". had_end: whether the mark was there. scans: how many a JPEG has.
    has_all_scans: whether no further ones belong to it. next_restart: the marker with which the codes of a JPEG that
    restart at intervals would go on.
    """

    file: bytes
    end: bytes
    info: Info
    had_end: bool = True
    scans: int = 1
    has_all_scans: bool = True
    next_restart: bytes = b""


def of_jpeg(data: bytes) -> FileParts:
    """The parts of a JPEG. data: the file, from JPEG_START on."""
    picture_pieces = [data[:2]]  # the pieces of FileParts.file, in their order; the first is the mark of the beginning
    left_out: list[_Segment] = []
    channels = 0
    first_scan = len(data)  # where it begins; the end of the file where there is no scan
    for segment in _segments(data):
        if segment.marker == _SCAN:
            first_scan = segment.start
            break
        channels = segment.channels or channels
        if segment.marker in _TABLES or segment.says_colors:
            picture_pieces.append(segment.whole)
        else:
            left_out.append(segment)
    scans = _scans(data, first_scan)
    had_end = scans.end >= 0
    # Without the mark of the end its first byte may still be there: no codes end with it.
    picture_pieces.append(data[first_scan : scans.end] if had_end else data[first_scan:].rstrip(_JPEG_END[:1]))
    return FileParts(
        b"".join(picture_pieces),
        _JPEG_END,
        _info(left_out),
        had_end=had_end,
        scans=scans.count,
        has_all_scans=had_end or scans.are_all_of(channels),  # with the mark of its end a file is taken for whole
        next_restart=_next_restart(data[scans.last :]),
    )


class _Segment(NamedTuple):
    """A segment of a JPEG. start: where it begins in the file. whole: the byte 0xFF, the marker, the length (two bytes)
    and the content."""

    start: int
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
    def channels(self) -> int:
        """How many channels the picture has, if this segment says it; else 0."""
        # Behind a byte of precision and two each of height and width.
        return self.content[5] if self.marker in _FRAMES and len(self.content) > 5 else 0

    @property
    def says_colors(self) -> bool:
        """Whether it tells decoders which colours the channels are: the segment of JFIF or that of Adobe."""
        is_jfif = self.marker == 0xE0 and self.content.startswith(b"JFIF\0") and len(self.content) >= 14
        is_adobe = self.marker == 0xEE and self.content.startswith(b"Adobe") and len(self.content) >= 12
        return is_jfif or is_adobe


def _info(segments: Sequence[_Segment]) -> Info:
    """What segments tell of the picture, as FileParts.info. A long EXIF is in several segments, a long profile too."""
    exif = _behind(_EXIF, 0xE1, segments)
    xmp = _behind(_XMP, 0xE1, segments)
    # A piece of a profile stands behind its number and how many pieces there are.
    profile = {piece[0]: piece[2:] for piece in _behind(_PROFILE, 0xE2, segments) if len(piece) > 2}
    info: Info = {}
    if xmp:
        info["xmp"] = xmp[-1]
    if exif:
        info["exif"] = _EXIF + b"".join(exif)
    if profile:
        info["icc_profile"] = b"".join(profile[number] for number in sorted(profile))
    return info


def _behind(title: bytes, marker: int, segments: Sequence[_Segment]) -> list[bytes]:
    """What stands behind this title in each segment of this marker that begins with it."""
    contents = [segment.content for segment in segments if segment.marker == marker]
    return [content[len(title) :] for content in contents if content.startswith(title)]


def _segments(data: bytes) -> Iterator[_Segment]:
    """The segments of a JPEG in the order of the file; bytes between them are passed over."""
    start = data.find(b"\xff", 2)
    while 0 <= start < len(data) - 4:
        end = start + 1
        if data[end] not in _NO_SEGMENT:
            # The length counts its own two bytes and the content; a damaged one may be less than these two.
            length = int.from_bytes(data[start + 2 : start + 4], "big")
            end = start + 2 + max(2, length)
            yield _Segment(start, data[start:end])
        start = data.find(b"\xff", end)


@dataclass
class _Scans:
    """The scans of a JPEG. end: where the mark of the end stands behind them, -1 without one. last: where the codes of
    the last one begin.

    missing_bits: channel -> for each of the 64 coefficients of a block, how many of its lowest bits are still missing;
    255 where no scan has had the coefficient. A scan of a progressive JPEG brings some coefficients, or one more bit of
    them.
    """

    end: int = -1
    last: int = 0
    count: int = 0
    missing_bits: dict[int, bytearray] = field(default_factory=dict[int, bytearray])

    def add(self, header: bytes) -> None:
        """Count a scan, and note which bits of which coefficients it brings; a header that is cut off says nothing.

        header: of the scan, ISO 10918-1, B.2.3: how many channels, two bytes for each, the first and the last
        coefficient, and a byte whose lower half is how many of the lowest bits are still missing.
        """
        self.count += 1
        channels_end = 1 + 2 * header[0] if header else 0
        channels = header[1:channels_end:2]
        if len(header) < channels_end + 3:
            return
        first, last, bits = header[channels_end : channels_end + 3]
        still_missing = bits & 0x0F
        for channel in channels:
            missing = self.missing_bits.setdefault(channel, bytearray(b"\xff" * 64))
            missing[first : last + 1] = bytes([still_missing]) * (last + 1 - first)

    def are_all_of(self, channels: int) -> bool:
        """Whether the scans bring every bit of a picture of so many channels."""
        is_a_bit_missing = any(any(missing) for missing in self.missing_bits.values())
        return len(self.missing_bits) >= channels and not is_a_bit_missing


def _scans(data: bytes, first_scan: int) -> _Scans:
    """The scans of a JPEG. first_scan: where the first one begins.

    Behind the header of a scan come its pixels; the search for the next marker passes over them.
    """
    scans = _Scans()
    searched_from = first_scan
    while found := _AMONG_SCANS.search(data, searched_from):
        if found[0] == _JPEG_END:
            scans.end = found.start()
            break
        # Behind the marker: a length of two bytes, which counts itself and the content.
        length = int.from_bytes(data[found.end() : found.end() + 2], "big")
        segment_end = found.end() + length
        if found[0][1] == _SCAN:
            scans.last = segment_end
            scans.add(data[found.end() + 2 : segment_end])
        searched_from = segment_end
    return scans


def _next_restart(codes: bytes) -> bytes:
    """The restart marker behind the last one of a scan: there are eight, which follow each other in a circle."""
    markers = re.findall(rb"\xff[\xd0-\xd7]", codes)
    number = markers[-1][1] + 1 if markers else 0
    return bytes([0xFF, 0xD0 + number % 8])


def of_png(data: bytes) -> FileParts:
    """The parts of a PNG, of an animated one its first picture. data: the file, from PNG_START on."""
    picture_chunks: list[bytes] = []  # the chunks of FileParts.file, without PNG_START
    compressed_pieces: list[bytes] = []
    info: Info = {}
    # In IHDR, the first chunk: behind PNG_START (8), length and name (4 each), width and height (4 each), depth (1).
    color_type = data[25] if len(data) > 25 else 0
    transparent_bytes = _TRANSPARENT_BYTES.get(color_type, range(0))
    for name, content in _chunks(data):
        if name == b"IDAT":
            compressed_pieces.append(content)
        elif name in (b"IHDR", b"PLTE") or (name == b"tRNS" and len(content) in transparent_bytes):
            picture_chunks.append(_chunk(name, content))
        else:
            info |= _png_info(name, content, info)
    # Pillow decodes one chunk after the other. The last 4 bytes, zlib's Adler-32 of all pixels, get a chunk of their
    # own: a wrong one then spoils no pixels.
    compressed = b"".join(compressed_pieces)
    picture_chunks += [_chunk(b"IDAT", compressed[:-4]), _chunk(b"IDAT", compressed[-4:])]
    info = {key: value for key, value in info.items() if value}  # without what is damaged or too large
    return FileParts(b"".join([PNG_START, *picture_chunks]), _chunk(b"IEND", b""), info)


def _png_info(name: bytes, content: bytes, before: Info) -> Info:
    """What a chunk adds to FileParts.info, nothing of most kinds; an empty value where it is damaged or too large.

    before: what the chunks before it have added: of several that are compressed the first is unpacked alone, because a
    few kilobytes unpack to _MOST_BYTES.
    """
    if name == b"eXIf":
        return {"exif": _EXIF + content.removeprefix(_EXIF)}
    if name == b"iCCP" and "icc_profile" not in before:
        return {"icc_profile": _unpacked(content.partition(b"\0")[2])}
    if name == b"zTXt" and content.startswith(_RAW_EXIF + b"\0") and _RAW_EXIF.decode() not in before:
        return {_RAW_EXIF.decode(): _unpacked(content.partition(b"\0")[2]).decode("latin-1")}
    if name == b"iTXt" and content.startswith(b"XML:com.adobe.xmp\0\0"):
        return {"xmp": content}
    return {}


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


def _unpacked(compressed: bytes) -> bytes:
    """What a chunk holds behind the number of its kind of compression; b"" where that is damaged or too large."""
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(compressed[1:], _MOST_BYTES)
    except zlib.error:
        return b""
    return b"" if unpacker.unconsumed_tail else content
