"""JPEG, PNG and WebP without what is written around their pixels. Standard library only.

Pillow reads it when it opens a file, and refuses the picture for a text that is too long or a profile that is cut off.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

PNG = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
"""Chunks without which the pixels would be others; an animated PNG shows its first picture without the rest."""

_JPEG = b"\xff\xd8"
_SCAN = 0xDA
"""The marker after which the pixels begin."""
_APPLICATION = range(0xE0, 0xF0)
"""Markers of what programs write: EXIF and XMP in the second, profiles and lists of further pictures in the third."""
_EXIF, _ADOBE, _COMMENT = 0xE1, 0xEE, 0xFE
_ADOBE_LENGTH = 12
"""Least bytes of Adobe's segment. It is kept, because it says whether the colours are RGB, CMYK or YCbCr."""

_WEBP_DROPPED = (b"EXIF", b"XMP ", b"ICCP")
_WEBP_FLAGS = 0x08 | 0x04 | 0x20
"""The flags of these three in the first byte of VP8X."""


@dataclass(frozen=True)
class Bare:
    """A picture file without its metadata.

    picture: the bytes of the new file. exif: the EXIF block that was in the old file, empty where there was none.
    """

    picture: bytes
    exif: bytes


@dataclass(frozen=True)
class Chunk:
    """One piece of a PNG or WebP file. data: all of its bytes as they lie in the file. content: what it holds, without
    name, length and checksum."""

    name: bytes
    data: bytes
    content: bytes


def without_metadata(data: bytes) -> Bare | None:
    """A file with its pixels alone. data: the bytes of the file. None for another format than PNG, JPEG and WebP."""
    if data.startswith(PNG):
        return _bare_png(data)
    if data.startswith(_JPEG):
        return _bare_jpeg(data)
    if is_webp(data):
        return _bare_webp(data)
    return None


def is_webp(data: bytes) -> bool:
    """Whether a file is WebP, by its first bytes: RIFF, its length (4 bytes), WEBP."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def _bare_png(data: bytes) -> Bare:
    """A PNG without its metadata."""
    pieces = [PNG]
    exif = b""
    for chunk in png_chunks(data):
        if chunk.name in _PNG_KEPT:
            pieces.append(chunk.data)
        elif chunk.name == b"eXIf":
            exif = chunk.content
    return Bare(b"".join(pieces), exif)


def png_chunks(data: bytes) -> Iterator[Chunk]:
    """The chunks of a PNG. Where the file is cut off, the last chunk holds the bytes that are there.

    A chunk is the length of its content (4 bytes), its name (4 bytes), its content, and a checksum (4 bytes).
    """
    start = len(PNG)
    while start + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, start)
        end = start + 12 + length
        yield Chunk(data[start + 4 : start + 8], data[start:end], data[start + 8 : end - 4])
        start = end


def _bare_jpeg(data: bytes) -> Bare:
    """A JPEG without its metadata.

    In front of the pixels stand segments: 0xFF, a marker, the length of what follows (2 bytes, themselves counted), and
    their content.
    """
    pieces = [_JPEG]
    exif = b""
    start = len(_JPEG)
    while start + 4 <= len(data) and data[start] == 0xFF:
        marker = data[start + 1]
        if marker == 0xFF:  # a marker may have any number of these in front
            start += 1
            continue
        if marker == _SCAN:
            break
        (length,) = struct.unpack_from(">H", data, start + 2)
        end = start + 2 + length
        content = data[start + 4 : end]
        if marker == _EXIF and content.startswith(b"Exif\0\0"):
            exif = exif or content  # of several, the first
        is_metadata = marker in _APPLICATION or marker == _COMMENT
        describes_colors = marker == _ADOBE and len(content) >= _ADOBE_LENGTH
        if describes_colors or not is_metadata:
            pieces.append(data[start:end])
        start = end
    # The rest of the file is kept: the pixels, and after them further pictures of telephones, which nothing reads.
    pieces.append(data[start:])
    return Bare(b"".join(pieces), exif)


def _bare_webp(data: bytes) -> Bare:
    """A WebP without its metadata."""
    pieces = [b"WEBP"]
    exif = b""
    for chunk in webp_chunks(data):
        if chunk.name == b"EXIF":
            exif = chunk.content
        if chunk.name == b"VP8X":
            # The first byte of its content, after name and length, says which other chunks there are.
            flags = chunk.content[0] & ~_WEBP_FLAGS
            pieces.append(chunk.data[:8] + bytes([flags]) + chunk.data[9:])
        elif chunk.name not in _WEBP_DROPPED:
            pieces.append(chunk.data)
    body = b"".join(pieces)
    return Bare(b"RIFF" + struct.pack("<I", len(body)) + body, exif)


def webp_chunks(data: bytes) -> Iterator[Chunk]:
    """The chunks of a WebP. A chunk is its name (4 bytes), the length of its content (4 bytes), and its content, filled
    up to an even length."""
    start = 12  # after RIFF, the length of the file and WEBP
    while start + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, start + 4)
        end = start + 8 + length + length % 2
        yield Chunk(data[start : start + 4], data[start:end], data[start + 8 : start + 8 + length])
        start = end
