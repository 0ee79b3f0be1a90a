"""People of many pictures: made of their photos once, and those who are saved taken by their names."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from rig.workflow import Prompt

from core.errors import listed
from core.text import names_in

from .prompts import PERSON_FILE, Job, Known, Link, as_link, behind, kind_of, to_outputs, up_to
from .rows import BadRow

IDENTITY = "LIKENESS_IDENTITY"
LOAD = "LikenessLoadIdentity"
_PHOTOS = range(1, 9)
_NEAREST = 8
"""Of the saved people, in a message."""


# --- Made once


def to_make(jobs: Iterable[Job], known: Known) -> dict[str, Job]:
    """File in the face bank -> the first job with the prompt that makes it, of everybody whom several of these jobs
    would make of the same photos with the same settings."""
    times: Counter[str] = Counter()
    first: dict[str, Job] = {}
    for job in jobs:
        whole = opened(job.prompt)
        found = made_in(whole, known)
        times.update(set(found.values()))
        for (node, output), file in found.items():
            if file not in first:
                last = {"class_type": "LikenessIdentityAsFile", "inputs": {"identity": [node, output]}}
                first[file] = replace(job, prompt={**up_to(whole, [node]), "as file": last}, photos={})
    return {file: job for file, job in first.items() if times[file] > 1}


def with_made(job: Job, known: Known, made: Mapping[str, Path]) -> Job:
    """The job with Load Identity in the place of everybody whose file is `made`.

    What it computes is the same to the bit: a file keeps all numbers of a person as they are.
    """
    whole = opened(job.prompt)
    loaded: dict[Link, str] = {}
    files: dict[str, bytes] = {}
    for link, file in made_in(whole, known).items():
        if file in made:
            node = whole[link[0]]
            name = node["inputs"].get("name") if node["class_type"] == "LikenessIdentity" else None
            loaded[link] = f"{hashlib.sha256(str(name).encode()).hexdigest()[:8]}-{file}"
            files[loaded[link]] = called(made[file].read_bytes(), name)
    if not loaded:
        return job
    changed: Prompt = {file: loader(file) for file in files}
    for number, node in whole.items():
        inputs = {
            name: [loaded[link], 0] if (link := as_link(value)) in loaded else value
            for name, value in node["inputs"].items()
        }
        changed[number] = {**node, "inputs": inputs}
    return with_files(replace(job, prompt=to_outputs(changed, known)), {**job.photos, **files})


def called(person: bytes, name: Any) -> bytes:
    """A saved person under another name. name: nothing is done unless it is a text."""
    if not isinstance(name, str):
        return person
    size = int.from_bytes(person[:8], "little")
    header = json.loads(person[8 : 8 + size])
    header["__metadata__"]["name"] = name
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + person[8 + size :]


def with_files(job: Job, files: Mapping[str, bytes]) -> Job:
    """The job with those of the files that its prompt names."""
    named = {value for node in job.prompt.values() for value in node["inputs"].values() if isinstance(value, str)}
    return replace(job, photos={name: data for name, data in files.items() if name in named})


def loader(file: str) -> dict[str, Any]:
    return {"class_type": LOAD, "inputs": {"file": file}, "_meta": {"title": "Load Identity"}}


def made_in(prompt: Prompt, known: Known) -> dict[Link, str]:
    """A file for everybody whom a prompt makes of photos and needs, by the output that brings them. People who are made
    of people, as by a blend, are made of those who are loaded."""
    digests: dict[str, str] = {}

    def digest(number: str) -> str:
        if number not in digests:
            node = prompt[number]
            unnamed = {name: value for name, value in node["inputs"].items() if not _is_name(node, name, value)}
            made_of = {name: of(value) for name, value in unnamed.items()}
            text = json.dumps([node["class_type"], made_of], sort_keys=True)
            digests[number] = hashlib.sha256(text.encode()).hexdigest()[:20]
        return digests[number]

    def of(value: Any) -> Any:
        link = as_link(value)
        return [digest(link[0]), link[1]] if link else value

    def of_photos(number: str) -> bool:
        links = [link for link in map(as_link, prompt[number]["inputs"].values()) if link]
        return bool(links) and not any(kind_of(prompt, link, known) == IDENTITY for link in links)

    return {
        (number, output): f"{digest(number)}-{output}{PERSON_FILE}"
        for number, node in to_outputs(prompt, known).items()
        for output, kind in enumerate(known[node["class_type"]]["output"])
        if kind == IDENTITY and of_photos(number)
    }


def _is_name(node: Mapping[str, Any], name: str, value: Any) -> bool:
    """Of a person: the same photos are looked at once, whatever who is on them is called."""
    return name == "name" and node["class_type"] == "LikenessIdentity" and isinstance(value, str)


def opened(prompt: Prompt) -> Prompt:
    """People from Photos as what it does: an Identity for each photo, and Cast."""
    changed = dict(prompt)
    for number, node in prompt.items():
        given = node["inputs"]
        if node["class_type"] != "LikenessPeopleFromPhotos" or not isinstance(given["names"], str):
            continue
        names = names_in(given["names"])
        same = {key: given[key] for key in ("face_model", "which_face") if key in given}
        people: dict[str, Any] = {}
        for n in (n for n in _PHOTOS if f"photo_{n}" in given):
            name = (names[n - 1] if n <= len(names) else "") or f"person {len(people) + 1}"
            inputs = {**same, "image": given[f"photo_{n}"], "name": name, "on_no_face": "error"}
            one = f"{number} photo {n}"
            changed[one] = {"class_type": "LikenessIdentity", "inputs": inputs, "_meta": {"title": name}}
            people[f"person_{n}"] = [one, 0]
        changed[number] = {**node, "class_type": "LikenessCast", "inputs": people}
    return changed


# --- Saved people by their names


def saved_in(folders: Iterable[Path]) -> dict[str, Path]:
    """File in the face bank -> where it is, the first folder's before those of others."""
    below = [(folder, path) for folder in folders for path in folder.rglob(f"*{PERSON_FILE}")]
    return {path.relative_to(folder).as_posix(): path for folder, path in reversed(below)}


def chosen(name: str, saved: Iterable[str]) -> str:
    """The file of a saved person. Raises BadRow, naming those nearest."""
    people = {file.removesuffix(PERSON_FILE): file for file in saved}
    wanted = name.removesuffix(PERSON_FILE)
    alike = [person for person in people if person.lower() == wanted.lower()]
    if wanted in people or len(alike) == 1:
        return people[wanted if wanted in people else alike[0]]
    lower = {person.lower(): person for person in people}
    near = [lower[one] for one in get_close_matches(wanted.lower(), lower, _NEAREST, cutoff=0)]
    there = f"saved are, the nearest name first, {listed(near)}" if near else "nobody is saved"
    raise BadRow(f"No saved person is called {name!r}: {there}.")


def with_saved(prompt: Prompt, photo: str, file: str, known: Known) -> Prompt:
    """The prompt with a saved person in the place of who is made of `photo`, a node that loads a picture.

    Raises BadRow where the photo is needed for more than its person.
    """
    changed, reached, waiting = opened(prompt), dict[str, str](), [photo]
    while waiting:
        number = waiting.pop()
        reached[number] = changed[number]["class_type"]
        if reached[number] != "LikenessIdentity":
            waiting += [other for other in behind(changed, number) if other not in reached]
    people = [number for number, kind in reached.items() if kind == "LikenessIdentity"]
    if not people or any(known[kind]["output_node"] for kind in reached.values()):
        who = "also goes elsewhere" if people else "is of no person"
        raise BadRow(f"A photo is needed here, and no saved person: the picture {who} in this workflow.")
    return {**changed, **{number: loader(file) for number in people}}
