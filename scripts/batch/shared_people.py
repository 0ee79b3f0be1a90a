"""People who are in several rows: their photos are looked at once, and the rows load the person."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rig.links import Link, as_link, links_of, up_to
from rig.workflow import Prompt
from safetensors import safe_open
from safetensors.torch import save

from core.text import MOST_NAME_LETTERS, plain

from .output import disk_errors_told
from .prompts import Job, ObjectInfo, socket_of, up_to_outputs
from .rows import BadRow, Row
from .saved_people import PERSON, files_in, load_person, with_separate_people
from .worker import PERSON_FILE, SavedFile

_SOCKET = "LIKENESS_PERSON"
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


class SharedPeople:
    """The people of a run who are in several of its rows.

    folder: an empty folder for their files.
    """

    def __init__(self, object_info: ObjectInfo, folder: Path) -> None:
        self._object_info = object_info
        self._folder = folder
        self._row_counts: Counter[str] = Counter()
        """In how many rows a person is, by key."""
        self._first_rows: dict[str, Row] = {}
        """The first row that each is in."""
        self._paths: dict[str, Path] = {}
        """The files of those who have been made, by key."""

    def add(self, job: Job) -> None:
        """Count the people of a row."""
        prompt = with_separate_people(job.prompt)
        keys = {person.key for person in people_of_photos(prompt, self._object_info)}
        self._row_counts.update(keys)
        for key in keys:
            self._first_rows.setdefault(key, job.row)

    @property
    def count(self) -> int:
        """How many people are in several rows."""
        return sum(count > 1 for count in self._row_counts.values())

    def jobs(self, job_of: Callable[[Row], Job]) -> Iterator[Job]:
        """A job for everybody in several rows, whose prompt makes the person and nothing else.

        job_of: the job of a row, with its files; it may raise BadRow.
        """
        for key, count in self._row_counts.items():
            if count < 2:
                continue
            try:
                job = job_of(self._first_rows[key])
            except BadRow:
                # The row has changed since it was counted; it says so itself when its turn comes.
                continue
            prompt = with_separate_people(job.prompt)
            for person in people_of_photos(prompt, self._object_info):
                if person.key == key:
                    yield _making(job, prompt, person)
                    break

    def keep(self, job: Job, file: SavedFile) -> None:
        """Keep a person. job: of those that `jobs` gives. file: what came of it."""
        key = _key_of(job)
        path = self._folder / f"{key}{PERSON_FILE}"
        with disk_errors_told(self._folder):
            path.write_bytes(file.data)
        self._paths[key] = path

    def with_people(self, job: Job) -> Job:
        """The job with Load Person in the place of everybody who has been made.

        It gives the same picture, bit for bit: a file keeps all numbers of a person as they are.
        """
        if not self._paths:
            return job
        prompt = with_separate_people(job.prompt)
        file_of: dict[Link, str] = {}
        people_files: dict[str, bytes] = {}
        for person in people_of_photos(prompt, self._object_info):
            if person.key in self._paths:
                file = _file_name(person)
                file_of[person.link] = file
                people_files[file] = self._data(person)
        if not file_of:
            return job
        linked = _with_links(prompt, file_of)
        for file in people_files:
            linked[file] = load_person(file)
        linked = up_to_outputs(linked, self._object_info)
        return replace(job, prompt=linked, files=files_in(linked, {**job.files, **people_files}))

    def _data(self, person: PersonOfPhotos) -> bytes:
        """The file of a person, under the name that they have in the row."""
        path = self._paths[person.key]
        if person.name is None:
            return path.read_bytes()
        renamed = self._folder / _file_name(person)
        if not renamed.is_file():
            with disk_errors_told(self._folder):
                renamed.write_bytes(_renamed(path, person.name))
        return renamed.read_bytes()


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
    for node in up_to(prompt, [number]).values():
        module = object_info[node["class_type"]]["python_module"]
        is_of_host = module.startswith(("nodes", "comfy_extras"))
        if not is_of_host and not node["class_type"].startswith("Likeness"):
            return False
    return True


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


def _making(job: Job, prompt: Prompt, person: PersonOfPhotos) -> Job:
    """The job that makes a person. The node that saves them is called by their key."""
    saver = {"class_type": "LikenessAsFile", "inputs": {"content": [person.link.node, person.link.output]}}
    alone = {**up_to(prompt, [person.link.node]), person.key: saver}
    return replace(job, prompt=alone, files=files_in(alone, job.files))


def _key_of(job: Job) -> str:
    """The key of the person whom a job of `_making` makes."""
    return list(job.prompt)[-1]


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


def _renamed(path: Path, name: str) -> bytes:
    """A saved person under another name; the numbers are untouched."""
    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is no dict
        metadata = {**file.metadata(), "name": name}
    return save(tensors, metadata)
