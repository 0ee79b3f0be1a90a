"""Texts in pictures that ComfyUI has saved: by name, such as "workflow" and "prompt".

Standard library only: Pillow is not in every Python that scripts/models.py runs in.

PNG: https://www.w3.org/TR/png-3/#11textinfo. WebP: https://developers.google.com/speed/webp/docs/riff_container; its
EXIF block has the texts that ComfyUI writes as "name:text" into tags of the camera's maker and model.
"""

from __future__ import annotations

import struct
import zlib

from core.metadata import PNG, is_webp, png_chunks, webp_chunks

_MOST = 64 * 10**6
"""Bytes of a text once it is unpacked."""
_ASCII = 2
"""The number of a text among the kinds of an EXIF entry."""


def texts_in(data: bytes) -> dict[str, str] | None:
    """The texts of a PNG or WebP, as far as it is whole; None for any other file."""
    if data.startswith(PNG):
        return _texts_of_png(data)
    if is_webp(data):
        return _texts_of_webp(data)
    return None


def _texts_of_png(data: bytes) -> dict[str, str]:
    texts: dict[str, str] = {}
    for chunk in png_chunks(data):
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
    for chunk in webp_chunks(data):
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
