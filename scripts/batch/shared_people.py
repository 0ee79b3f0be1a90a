"""People who are in several rows: their photos are looked at once, and later rows load the person.

The first row that a person is in also saves them. Two workers that meet the same person at the same time both do.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rig.given_files import Unreadable
from rig.links import Link, as_link, links_of, up_to
from rig.workflow import Prompt

from core.text import MOST_NAME_LETTERS, plain

from .folders import Folder
from .prompts import Job, ObjectInfo, is_of_others, socket_of, up_to_outputs
from .saved_people import PERSON, files_in, load_person, with_separate_people
from .worker import PERSON_FILE

PEOPLE = "people"
"""The folder of their files in the folder of a run."""
_SOCKET = "LIKENESS_PERSON"
_MOST_BYTES = 10**9
"""Of the file of a person."""
_MOST_KNOWN = 64
_HEADER_BEGINS = 8
"""Of a file of safetensors, behind the length of the header."""
_KEY_DIGITS = 20
_NAME_DIGITS = 8


@dataclass(frozen=True)
class PersonOfPhotos:
    """A person whom a prompt makes of photos.

    link: the output that brings them. key: the same in all rows that make them of the same photos with the same
    settings, whatever they are called there. name: None where a node brings it.
    """

    link: Link
    key: str
    name: str | None


@dataclass(frozen=True)
class WithPeople:
    """A job with the people who are there already, and what else it saves: the keys of people, by the nodes."""

    job: Job
    savers: Mapping[str, str]


class SharedPeople:
    """The people of a run who are in several of its rows: their files, which its workers share.

    folder: of the run.
    """

    def __init__(self, object_info: ObjectInfo, folder: Folder) -> None:
        self._object_info = object_info
        self._folder = folder
        self._known: OrderedDict[str, bytes] = OrderedDict()
        """The last people that this worker has had, by key."""

    def prepared(self, job: Job, alone: Collection[str] = ()) -> WithPeople:
        """The job with Load Person in the place of everybody who was made for another row, and a node that saves for
        each who will be needed again.

        It gives the same picture, bit for bit: a file keeps all numbers of a person as they are. alone: nodes of photos
        that are in no other row.
        """
        prompt = with_separate_people(job.prompt)
        file_of: dict[Link, str] = {}
        people_files: dict[str, bytes] = {}
        savers: dict[str, str] = {}
        for person in people_of_photos(prompt, self._object_info):
            if not up_to(prompt, [person.link.node]).keys().isdisjoint(alone):
                continue
            data = self._data(person.key)
            if data:
                file = _file_name(person)
                file_of[person.link] = file
                people_files[file] = data if person.name is None else _renamed(data, person.name)
            else:
                savers[f"save {person.key}"] = person.key
                prompt[f"save {person.key}"] = {
                    "class_type": "LikenessAsFile",
                    "inputs": {"content": list(person.link)},
                }
        if not file_of and not savers:
            return WithPeople(job, {})
        linked = _with_links(prompt, file_of)
        for file in people_files:
            linked[file] = load_person(file)
        linked = up_to_outputs(linked, self._object_info)
        files = files_in(linked, {**job.files, **people_files})
        return WithPeople(replace(job, prompt=linked, files=files), savers)

    def keep(self, key: str, data: bytes) -> None:
        """Keep a person for other rows."""
        self._folder.write(_path_of(key), data)

    def _data(self, key: str) -> bytes:
        """The file of a person; nothing where it was not made yet."""
        if key not in self._known:
            try:
                data = self._folder.read(_path_of(key), _MOST_BYTES)
            except Unreadable:
                return b""
            if len(self._known) == _MOST_KNOWN:
                self._known.popitem(last=False)
            self._known[key] = data
        self._known.move_to_end(key)
        return self._known[key]


def _path_of(key: str) -> str:
    return f"{PEOPLE}/{key}{PERSON_FILE}"


def people_of_photos(prompt: Prompt, object_info: ObjectInfo) -> list[PersonOfPhotos]:
    """Everybody whom a prompt makes of photos and needs.

    People who are made of people, as by Blend Two People, are not among them: those whom they are made of are. Nor are
    people that nodes of other packs have a part in, which may make another one each time.
    """
    people: list[PersonOfPhotos] = []
    digests: dict[str, str] = {}
    needed = up_to_outputs(prompt, object_info)
    for number, node in needed.items():
        for output, socket in enumerate(object_info[node["class_type"]]["output"]):
            if socket != _SOCKET or not _is_of_photos(needed, number, object_info):
                continue
            name = _name_of(node)
            key = f"{_digest(needed, number, digests)}-{output}"
            people.append(PersonOfPhotos(Link(number, output), key, name))
    return people


def _name_of(node: Mapping[str, Any]) -> str | None:
    """The name that a Person gives to its person; None where another node brings it, and of other nodes."""
    name = node["inputs"].get("name", "")
    if node["class_type"] != PERSON or not isinstance(name, str):
        return None
    return plain(name, MOST_NAME_LETTERS) or "person"


def _is_of_photos(prompt: Prompt, number: str, object_info: ObjectInfo) -> bool:
    """Whether a node makes its person of photos, by nodes of ComfyUI and of this pack alone."""
    links = list(links_of(prompt[number]))
    if not links or any(socket_of(prompt, link, object_info) == _SOCKET for link in links):
        return False
    return not any(is_of_others(node["class_type"], object_info) for node in up_to(prompt, [number]).values())


def _digest(prompt: Prompt, number: str, digests: dict[str, str]) -> str:
    """A text that is the same for nodes of the same class with the same inputs, back to the photos.

    The name of a Person is left out. digests: those that are known, by node.
    """
    if number in digests:
        return digests[number]
    node = prompt[number]
    inputs: dict[str, Any] = {}
    for name, value in node["inputs"].items():
        link = as_link(value)
        if link is not None:
            inputs[name] = [_digest(prompt, link.node, digests), link.output]
        elif name != "name" or node["class_type"] != PERSON:
            inputs[name] = value
    text = json.dumps([node["class_type"], inputs], sort_keys=True)
    digests[number] = hashlib.sha256(text.encode()).hexdigest()[:_KEY_DIGITS]
    return digests[number]


def _file_name(person: PersonOfPhotos) -> str:
    """How the file of a person is called in a row, where it has the name that it has there."""
    name = hashlib.sha256(str(person.name).encode()).hexdigest()[:_NAME_DIGITS]
    return f"{name}-{person.key}{PERSON_FILE}"


def _with_links(prompt: Prompt, file_of: Mapping[Link, str]) -> Prompt:
    """The prompt in which links to people lead to the nodes that are called by their files."""
    linked: Prompt = {}
    for number, node in prompt.items():
        inputs: dict[str, Any] = {}
        for name, value in node["inputs"].items():
            link = as_link(value)
            if link is not None and link in file_of:
                inputs[name] = [file_of[link], 0]
            else:
                inputs[name] = value
        linked[number] = {**node, "inputs": inputs}
    return linked


def _renamed(data: bytes, name: str) -> bytes:
    """A saved person under another name; the numbers are untouched."""
    (length,) = struct.unpack_from("<Q", data)
    end = _HEADER_BEGINS + length
    header = json.loads(data[_HEADER_BEGINS:end])
    header["__metadata__"]["name"] = name
    text = json.dumps(header).encode()
    # The numbers begin where eight bytes do.
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data[end:]
