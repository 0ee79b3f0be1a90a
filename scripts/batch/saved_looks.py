"""The looks in the file of a saved person: which there are, and the file with one of them alone.

That is put together byte by byte, so that one look is always one file: safetensors writes metadata in any order.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from shared.given_files import Unreadable

from core.persons.saving import FORMAT, LOOK_PREFIX, VERSIONS, version_of

MOST_BEGIN_BYTES = 2**20
"""What of a file is read for the names of its looks: its tensors' names, which come first, are some kilobytes."""
_LENGTH = struct.Struct("<Q")
_METADATA = "__metadata__"
_LOOKS = "looks"
_ReadT = TypeVar("_ReadT")


class _File(NamedTuple):
    """A safetensors file. tensors: dtype, shape and place of each, in the order of their numbers."""

    tensors: dict[str, Any]
    metadata: dict[str, str]
    numbers: bytes


def names_of_looks(begin: bytes) -> list[str]:
    """The names of a person's looks. begin: of the file, MOST_BEGIN_BYTES. Raises Unreadable for another file."""
    return _read(lambda: [name for name, _ in json.loads(_opened(begin).metadata.get(_LOOKS, "[]"))])


def metadata_of(data: bytes) -> dict[str, str]:
    """The metadata of a person's file. Raises Unreadable for another file."""
    return _read(lambda: _opened(data).metadata)


def with_look_alone(data: bytes, look: str) -> bytes:
    """The file of a person with this look and no other; "": with none. Raises Unreadable for another file."""
    return _read(lambda: _with_look_alone(_opened(data), look))


def _with_look_alone(file: _File, look: str) -> bytes:
    looks = json.loads(file.metadata.get(_LOOKS, "[]"))
    chosen = [number for number, (name, _) in enumerate(looks) if name == look]
    metadata = {key: text for key, text in file.metadata.items() if key != _LOOKS}
    metadata["version"] = version_of(has_looks=bool(chosen))
    if chosen:
        metadata[_LOOKS] = json.dumps([looks[chosen[0]]])
    header: dict[str, Any] = {_METADATA: metadata}
    numbers = bytearray()
    for name, tensor in file.tensors.items():
        if name.startswith(LOOK_PREFIX):
            number, _, rest = name.removeprefix(LOOK_PREFIX).partition(".")
            if int(number) not in chosen:
                continue
            name = f"{LOOK_PREFIX}0.{rest}"  # the only look is the first
        start, end = tensor["data_offsets"]
        header[name] = {**tensor, "data_offsets": [len(numbers), len(numbers) + end - start]}
        numbers += file.numbers[start:end]
    text = json.dumps(header, sort_keys=True).encode()
    text += b" " * (-len(text) % _LENGTH.size)  # so that the numbers begin where a processor reads them fast
    return _LENGTH.pack(len(text)) + text + bytes(numbers)


def _opened(data: bytes) -> _File:
    """A file, or its beginning. Raises all kinds of errors for what is no person's."""
    (length,) = _LENGTH.unpack_from(data)
    behind = _LENGTH.size + length
    header = json.loads(data[_LENGTH.size : behind])
    metadata = header.pop(_METADATA)
    if metadata["format"] != FORMAT or metadata["version"] not in VERSIONS:
        raise ValueError(metadata["version"])
    tensors = dict(sorted(header.items(), key=lambda item: item[1]["data_offsets"]))
    return _File(tensors, metadata, data[behind:])


def _read(read: Callable[[], _ReadT]) -> _ReadT:
    """What is read of a file of which nothing is known."""
    try:
        return read()
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, struct.error) as cause:
        raise Unreadable("is no file of a person that this version of Save Person writes") from cause
