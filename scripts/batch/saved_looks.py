"""The looks in the file of a saved person: which there are, and the file with one of them alone."""

from __future__ import annotations

import struct
from collections.abc import Collection
from dataclasses import replace

from safetensors import SafetensorError
from safetensors.torch import load, save
from shared.given_files import Unreadable

from core.cast import Person
from core.checks.errors import LikenessError
from core.checks.limits import PERSON_LETTERS, json_in
from core.checks.names import mentions
from core.persons.saving import FORMAT, VERSIONS, from_tensors, to_tensors

MOST_BEGIN_BYTES = 2**20
"""What of a file is read for the names of its looks: its tensors' names, which come first, are some kilobytes."""
_MOST_HEADER_BYTES = 4 * PERSON_LETTERS
_LENGTH = struct.Struct("<Q")
"""How a safetensors file begins: with the length of the JSON behind it."""
_DAMAGE = (
    SafetensorError, LikenessError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, struct.error
)  # fmt: skip
"""What reading a file raises that is no person's."""
_NO_PERSON = "is no file of a person that this version of Save Person writes"


def names_of_looks(begin: bytes) -> list[str]:
    """The names of a person's looks. begin: of the file, MOST_BEGIN_BYTES. Raises Unreadable for another file."""
    try:
        return [name for name, _ in json_in(_metadata(begin).get("looks", "[]"), MOST_BEGIN_BYTES)]
    except _DAMAGE as cause:
        raise Unreadable(_NO_PERSON) from cause


def person_in(data: bytes) -> Person:
    """The person in a file. Raises Unreadable for another file."""
    try:
        return from_tensors(load(data), _metadata(data), "")
    except _DAMAGE as cause:
        raise Unreadable(_NO_PERSON) from cause


def with_look_alone(data: bytes, look: str) -> bytes:
    """The file of a person with this look and no other; "": with none. Raises Unreadable for another file, and where
    looks are all that it has."""
    person = person_in(data)
    worn = tuple(one for one in person.looks if one.name == look)
    if not worn and person.has_no_photo and not person.loras:
        raise Unreadable("has no photo, so without a look it would not say who it is")
    return save(*to_tensors(replace(person, looks=worn)))


def with_looks_worn(data: bytes, said: Collection[str]) -> bytes:
    """The file of a person without looks that a workflow does not wear.

    said: what its inputs for looks say, "" for nothing, where the newest look is worn; empty where it draws no looks.
    What is no file of a person stays as it is, and so does a person who is known by looks alone.
    """
    try:
        person = person_in(data)
    except Unreadable:
        return data
    worn = tuple(look for look in person.looks if any(mentions(text, look.name) for text in said))
    if said and person.looks and person.looks[-1] not in worn:
        worn = (*worn, person.looks[-1])
    if len(worn) == len(person.looks) or (not worn and person.has_no_photo and not person.loras):
        return data
    return save(*to_tensors(replace(person, looks=worn)))


def _metadata(begin: bytes) -> dict[str, str]:
    """Of a file. Raises one of _DAMAGE for what is no person's."""
    (length,) = _LENGTH.unpack_from(begin)
    if length > _MOST_HEADER_BYTES:
        raise ValueError(length)
    metadata = json_in(begin[_LENGTH.size : _LENGTH.size + length], _MOST_HEADER_BYTES)["__metadata__"]
    if metadata["format"] != FORMAT or metadata["version"] not in VERSIONS:
        raise ValueError(metadata["version"])
    return metadata
