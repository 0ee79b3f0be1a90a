"""Texts in pictures that ComfyUI has saved: by name, such as "workflow" and "prompt".

Standard library only: Pillow is not in every Python that scripts/models.py runs in.

PNG: https://www.w3.org/TR/png-3/#11textinfo. WebP: https://developers.google.com/speed/webp/docs/riff_container; its
EXIF block has the texts that ComfyUI writes as "name:text" into tags of the camera's maker and model.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

_PNG = b"\x89PNG\r\n\x1a\n"
_MOST = 64 * 10**6
"""Bytes of a text once it is unpacked."""
_ASCII = 2
"""The number of a text among the kinds of an EXIF entry."""


def texts_in(data: bytes) -> dict[str, str] | None:
    """The texts of a PNG or WebP, as far as it is whole; None for any other file."""
    if data.startswith(_PNG):
        return _texts_of_png(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":  # between them the file's length
        return _texts_of_webp(data)
    return None


def _texts_of_png(data: bytes) -> dict[str, str]:
    texts: dict[str, str] = {}
    for chunk in _png_chunks(data):
        name, _, rest = chunk.content.partition(b"\0")
        text = _text_of_chunk(chunk.name, rest)
        if text is not None:
            texts[name.decode("latin-1")] = text
    return texts


def _text_of_chunk(kind: bytes, rest: bytes) -> str | None:
    """The text behind the name in a chunk of a PNG, None where it holds none."""
    if kind == b"tEXt":
        return rest.decode("latin-1")
    if kind == b"zTXt":  # one byte: how it is packed
        return _unpacked(rest[1:]).decode("latin-1")
    if kind != b"iTXt" or len(rest) < 2:
        return None
    # Whether it is packed, and how; then a language, and the name in that language, each with a zero at its end.
    packed, words = rest[0], rest[2:].split(b"\0", 2)
    if len(words) < 3:
        return None
    return (_unpacked(words[2]) if packed else words[2]).decode("utf-8", "replace")


def _unpacked(data: bytes) -> bytes:
    """Empty where it is damaged; cut off where it grows beyond any workflow."""
    try:
        return zlib.decompressobj().decompress(data, _MOST)
    except zlib.error:
        return b""


def _texts_of_webp(data: bytes) -> dict[str, str]:
    for chunk in _webp_chunks(data):
        if chunk.name == b"EXIF":
            return _texts_of_exif(chunk.content.removeprefix(b"Exif\0\0"))
    return {}


def _texts_of_exif(block: bytes) -> dict[str, str]:
    """Those of the first directory that are written as "name:text"."""
    texts: dict[str, str] = {}
    order = "<" if block[:2] == b"II" else ">"
    try:
        (first,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, first)
        for number in range(count):
            _, kind, length, offset = struct.unpack_from(f"{order}HHII", block, first + 2 + 12 * number)
            if kind != _ASCII:
                continue
            name, colon, text = block[offset : offset + length].rstrip(b"\0").decode("utf-8", "replace").partition(":")
            if colon:
                texts[name.lower()] = text
    except struct.error:  # cut off, or no EXIF at all
        return texts
    return texts


@dataclass(frozen=True)
class _Chunk:
    """One piece of a PNG or WebP file. content: what it holds, without name, length and checksum."""

    name: bytes
    content: bytes


def _png_chunks(data: bytes) -> Iterator[_Chunk]:
    """The chunks of a PNG. Where the file is cut off, the last chunk holds the bytes that are there.

    A chunk is the length of its content (4 bytes), its name (4 bytes), its content, and a checksum (4 bytes).
    """
    start = len(_PNG)
    while start + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, start)
        end = start + 12 + length
        yield _Chunk(data[start + 4 : start + 8], data[start + 8 : end - 4])
        start = end


def _webp_chunks(data: bytes) -> Iterator[_Chunk]:
    """The chunks of a WebP. A chunk is its name (4 bytes), the length of its content (4 bytes), and its content, filled
    up to an even length."""
    start = 12  # after RIFF, the length of the file and WEBP
    while start + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, start + 4)
        end = start + 8 + length + length % 2
        yield _Chunk(data[start : start + 4], data[start + 8 : start + 8 + length])
        start = end
