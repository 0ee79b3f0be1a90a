"""What a PNG of ComfyUI says of how it was made."""

from __future__ import annotations

import json
import struct
import zlib

from rig.workflow import Prompt

_HEAD = b"\x89PNG\r\n\x1a\n"
_PROMPT = b"tEXtprompt\0"


def with_prompt(picture: bytes, prompt: Prompt) -> bytes:
    """The picture with the prompt that was asked for: with the photos in it, without what was put beside or in their
    place for this run. Of other files nothing is changed."""
    if not picture.startswith(_HEAD):
        return picture
    parts, place = [_HEAD], len(_HEAD)
    while place < len(picture):
        end = place + 12 + struct.unpack_from(">I", picture, place)[0]
        chunk = picture[place:end]
        parts.append(_chunk(_PROMPT + json.dumps(prompt).encode()) if chunk[4:].startswith(_PROMPT) else chunk)
        place = end
    return b"".join(parts)


def _chunk(kind_and_data: bytes) -> bytes:
    return struct.pack(">I", len(kind_and_data) - 4) + kind_and_data + struct.pack(">I", zlib.crc32(kind_and_data))
