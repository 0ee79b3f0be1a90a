"""Saved people in the cells of a table: a saved name, or the file of a person, in the place of a photo; their looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shared.links import Link, links_of, readers_of, up_to
from shared.workflow import Prompt, specs

from core.checks.errors import listed
from core.checks.text import names_in
from core.models.files import files_below

from .file_names import FileNames
from .prompts import ObjectInfo
from .rows import BadRow
from .worker import PERSON_FILE

PERSON = "LikenessPerson"
LOAD_PERSON = "LikenessLoadPerson"
FILE = "file"
"""The input of Load Person."""
MEASURE = "LikenessMeasureLikeness"
LOOKS = "looks"
"""The input of nodes that read the looks of people."""
_READ_ALL_LOOKS = ("LikenessSavePerson", "LikenessKeepPeople", "LikenessLookFromPicture")
_PEOPLE_SOCKETS = ("LIKENESS_CAST", "LIKENESS_PERSON")
_UPLOADED = " [input]"
"""How Load Person is told that a file is in ComfyUI's input folder, with the photos."""
_LOAD_PERSON_OUTPUTS = 2
"""The person and the crops, which Person has too. The report of Person is the third."""
_CAST_FROM_PHOTOS = "LikenessCastFromPhotos"
_PHOTO_INPUT = "photo_"
_KEPT_INPUT = "person_"
"""How the names of its menus of kept people begin, whose first choice is _THE_PHOTO."""
_THE_PHOTO = "the photo"
_MOST_FILES = 100_000
"""Of saved people."""
_NEAREST = 8
"""Saved people in a message."""


class SavedPeople:
    """The people whom Save Person has saved on this machine.

    folders: where they lie, one below models/likeness_faces or several. A file of an earlier folder hides one of the
    same name in a later one, as in ComfyUI.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._files: dict[str, Path] = {}
        for folder in folders:
            for name, path in files_below(str(folder), _MOST_FILES):
                if name.lower().endswith(PERSON_FILE):
                    self._files.setdefault(name.replace("\\", "/"), Path(path))
        self._names = FileNames(self._files, [PERSON_FILE])

    def path(self, name: str) -> Path | None:
        """The file of a person, by its name with or without the ending; None where nobody is called so."""
        file = self._names.meant(name)
        return None if file is None else self._files[file]

    def nobody_called(self, name: str) -> str:
        """A sentence on a name that no saved person has."""
        if not self._folders:
            return " Nor is it a saved person: set COMFYUI_PATH to the ComfyUI on this machine where people are saved."
        where = listed([str(folder) for folder in self._folders])
        if not self._files:
            return f" Nor is it a saved person: nobody is saved in {where}."
        people = listed(self._names.near(name, _NEAREST, cutoff=0))
        return f" Nor is it a saved person. In {where} are saved, the nearest name first: {people}."


def with_saved_person(
    prompt: Prompt, photo: str, file: str, other_photos: Mapping[str, Sequence[str]], object_info: ObjectInfo
) -> Prompt:
    """The prompt with Load Person in the place of every Person that is made of a photo.

    photo: the node that loads it. file: of the saved person. other_photos: the nodes of other photos that the row
    names, by their columns. Raises BadRow where the photo is needed for more than its person, or makes a person
    together with another photo of the row.
    """
    prompt = with_separate_people(with_photo(prompt, photo))
    readers = _last_readers(prompt, photo, object_info)
    people = [number for number in readers if prompt[number]["class_type"] == PERSON]
    is_shown = len(people) < len(readers)
    if not people:
        raise BadRow("A photo is needed here: in this workflow it goes to no Person and to no Cast from Photos.")
    if is_shown:
        raise BadRow("A photo is needed here: in this workflow the picture also goes elsewhere than to Person.")
    for person in people:
        _require_replaceable(prompt, person, other_photos)
    return {**prompt, **{person: load_person(file) for person in people}}


def with_photo(prompt: Prompt, photo: str) -> Prompt:
    """The prompt in which a photo counts, where a kept person is chosen beside it. photo: the node that loads it."""
    changed = dict(prompt)
    for number, node in prompt.items():
        if node["class_type"] != _CAST_FROM_PHOTOS:
            continue
        inputs = dict(node["inputs"])
        for name, link in node["inputs"].items():
            kept = name.replace(_PHOTO_INPUT, _KEPT_INPUT)
            is_photo = name.startswith(_PHOTO_INPUT) and kept in inputs and isinstance(link, list)
            if is_photo and photo in up_to(prompt, [link[0]]):
                inputs[kept] = _THE_PHOTO
        changed[number] = {**node, "inputs": inputs}
    return changed


def _last_readers(prompt: Prompt, photo: str, object_info: ObjectInfo) -> list[str]:
    """What a photo is read by at last: the nodes Person, and those that show or save something that is made of it."""
    last: list[str] = []
    reached: set[str] = set()
    waiting = [photo]
    while waiting:
        number = waiting.pop()
        if number in reached:
            continue
        reached.add(number)
        kind = prompt[number]["class_type"]
        if kind == PERSON or object_info[kind]["output_node"]:
            last.append(number)
        else:
            waiting += readers_of(prompt, number)
    return last


def looks_said(prompt: Prompt) -> tuple[str, ...] | None:
    """What the inputs for looks of a prompt say, each text once; None where people are needed with all of their looks:
    a node keeps them or gives them another look, or a link says which are worn."""
    if any(node["class_type"] in _READ_ALL_LOOKS for node in prompt.values()):
        return None
    said = [node["inputs"][LOOKS] for node in prompt.values() if LOOKS in node["inputs"]]
    return tuple(dict.fromkeys(["", *said])) if all(isinstance(text, str) for text in said) else None


def wearing_nodes(prompt: Prompt, object_info: ObjectInfo) -> list[str]:
    """The nodes that draw what people wear: which have an input for looks, and read a cast or a person."""
    found: list[str] = []
    for number, node in prompt.items():
        kind = node["class_type"]
        draws = LOOKS in specs(object_info, kind) and kind != MEASURE
        if draws and any(_brings_people(prompt, link, object_info) for link in links_of(node)):
            found.append(number)
    return found


def require_worn(prompt: Prompt, node: str, object_info: ObjectInfo) -> None:
    """Raises BadRow where no look of the person of a photo, or of Load Person, is drawn. node: that loads it."""
    prompt = with_separate_people(prompt)
    waiting = [node]
    if prompt[node]["class_type"] != LOAD_PERSON:
        waiting = _last_readers(prompt, node, object_info)
    wearing = wearing_nodes(prompt, object_info)
    reached: set[str] = set()
    while waiting:
        number = waiting.pop()
        if number in wearing:
            return
        if number not in reached:
            reached.add(number)
            waiting += _readers_of_people(prompt, number, object_info)
    raise BadRow(
        "This workflow draws no looks of this person: link the cast to Share Parts Attention, Encode Parts or People "
        "as References, or leave the look out."
    )


def _readers_of_people(prompt: Prompt, number: str, object_info: ObjectInfo) -> list[str]:
    """The nodes that read a cast or a person of this node."""
    readers: list[str] = []
    for other, node in prompt.items():
        links = [link for link in links_of(node) if link.node == number]
        if any(_brings_people(prompt, link, object_info) for link in links):
            readers.append(other)
    return readers


def _brings_people(prompt: Prompt, link: Link, object_info: ObjectInfo) -> bool:
    sockets = object_info[prompt[link.node]["class_type"]]["output"]
    return link.output < len(sockets) and sockets[link.output] in _PEOPLE_SOCKETS


def uploaded(file: str) -> str:
    """How Load Person is told of a file that travels with the row."""
    return f"{file}{_UPLOADED}"


def _require_replaceable(prompt: Prompt, person: str, other_photos: Mapping[str, Sequence[str]]) -> None:
    """Raises BadRow where Load Person cannot stand in the place of a Person."""
    sources = up_to(prompt, [person])
    for column, nodes in other_photos.items():
        if any(node in sources for node in nodes):
            raise BadRow(f"{column} is a photo of the same person in this workflow: leave one of the two cells empty.")
    for node in prompt.values():
        if any(link.node == person and link.output >= _LOAD_PERSON_OUTPUTS for link in links_of(node)):
            raise BadRow("A photo is needed here: this workflow uses the report of Person, which no file has.")


def load_person(file: str) -> dict[str, Any]:
    """The node that loads a saved person."""
    return {"class_type": LOAD_PERSON, "inputs": {FILE: uploaded(file)}, "_meta": {"title": "Load Person"}}


def files_in(prompt: Prompt, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Those of the files that a prompt names."""
    values = [value for node in prompt.values() for value in node["inputs"].values() if isinstance(value, str)]
    named = {value.removesuffix(_UPLOADED) for value in values}
    return {name: data for name, data in files.items() if name in named}


def with_separate_people(prompt: Prompt) -> Prompt:
    """The prompt with a Person for every photo, and Cast, in the place of Cast from Photos, which gives the same cast.

    Whoever is chosen there from the kept people becomes a Load Person. A Cast from Photos whose names come from another
    node stays as it is.
    """
    separate = dict(prompt)
    for number, node in prompt.items():
        if node["class_type"] != _CAST_FROM_PHOTOS or not isinstance(node["inputs"].get("names", ""), str):
            continue
        cast_inputs: dict[str, Any] = {}
        for photo_number, name in _photo_numbers_and_names(node):
            person = f"{number} photo {photo_number}"
            kept = node["inputs"].get(f"{_KEPT_INPUT}{photo_number}", _THE_PHOTO)
            if kept == _THE_PHOTO:
                separate[person] = _person_of_photo(node, photo_number, name)
            else:
                separate[person] = {"class_type": LOAD_PERSON, "inputs": {FILE: kept}, "_meta": {"title": name}}
            cast_inputs[f"person_{photo_number}"] = [person, 0]
        separate[number] = {**node, "class_type": "LikenessCast", "inputs": cast_inputs}
    return separate


def _photo_numbers_and_names(node: Mapping[str, Any]) -> list[tuple[int, str]]:
    """The number of every photo and kept person of a Cast from Photos, and what the person is called."""
    names = names_in(node["inputs"].get("names", ""))
    numbers: set[int] = set()
    for input_name, value in node["inputs"].items():
        prefix, _, number = input_name.rpartition("_")
        is_person = prefix == "photo" or (prefix == "person" and value != _THE_PHOTO)
        if is_person and number.isdecimal():
            numbers.add(int(number))
    named: list[tuple[int, str]] = []
    for number in sorted(numbers):
        name = names[number - 1] if number <= len(names) else ""
        # As the node itself calls people without a name.
        named.append((number, name or f"person {len(named) + 1}"))
    return named


def _person_of_photo(node: Mapping[str, Any], photo_number: int, name: str) -> dict[str, Any]:
    """The Person node for a photo of a Cast from Photos."""
    inputs = {"image": node["inputs"][f"{_PHOTO_INPUT}{photo_number}"], "name": name, "on_no_face": "error"}
    for setting in ("face_model", "which_face", "photo_size"):
        if setting in node["inputs"]:
            inputs[setting] = node["inputs"][setting]
    return {"class_type": PERSON, "inputs": inputs, "_meta": {"title": name}}
