"""A workflow that the rows of a table fill in."""

import contextlib
import copy
import difflib
import hashlib
import json
import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from environment import SetupError
from shared import workflow, workflow_files
from shared.workflow import Place, Prompt, Spec, specs

from core.names import among, folded
from core.picture_files import ENDINGS
from core.text import in_one_line

from . import photo_files, saved_people
from .cells import value_of
from .columns import ColumnNames, api_places
from .folders import Folder
from .prompts import Job
from .rows import NAME, BadRow, Row
from .saved_people import FaceBank
from .worker import PERSON_FILE

_NEAREST = 3
_KEPT_FILES = 2**14
"""So many cells of photos are remembered."""


@dataclass(frozen=True)
class Input:
    """A column. targets: the node and the name of each input it fills. specs: of each of them. current: the workflow's
    value."""

    column: str
    targets: Sequence[tuple[str, str]]
    specs: Sequence[Spec]
    current: Any

    @cached_property
    def is_photo(self) -> bool:
        return any(spec.takes_files for spec in self.specs)

    @cached_property
    def is_picture(self) -> bool:
        return any(spec.takes_pictures for spec in self.specs)

    def value(self, cell: str) -> Any:
        """The value that a cell means, which must fit all targets. Raises BadRow."""
        try:
            values = [value_of(cell, spec, self.current) for spec in self.specs]
        except BadRow as problem:
            raise BadRow(f"{self.column} is {cell}: {problem}") from None
        return values[-1]


@dataclass(frozen=True)
class _OwnPhoto:
    """A file of the workflow itself, from the input folder of this machine's ComfyUI. files: its bytes, by the name
    that it travels under."""

    node: str
    input_name: str
    files: dict[str, bytes]


@dataclass(frozen=True)
class _Found:
    """A file that a cell names."""

    folder: Folder
    name: str

    @property
    def is_person(self) -> bool:
        return self.name.lower().endswith(PERSON_FILE)


class Template:
    """A workflow, in the editor's format or the API's, that the rows of a table fill in.

    columns: of the table. photos: the folder that its files are in; input_folder: the one of the workflow's own files;
    face_bank: the saved people whom a cell may name. Raises SetupError for a file that is no workflow and for columns
    that fit no input or more than one.
    """

    def __init__(
        self,
        path: Path,
        object_info: Mapping[str, Any],
        columns: Iterable[str],
        photos: Folder,
        input_folder: Path,
        face_bank: FaceBank | None = None,
    ) -> None:
        graph = workflow_files.read(path)
        self._photos = photos
        self._object_info = object_info
        self._face_bank = face_bank or FaceBank([])
        with _damage_told(path):
            if workflow_files.is_prompt(graph):
                entries = {number: node for number, node in graph.items() if isinstance(node, dict)}
                self.prompt = workflow.as_offered(entries, object_info)
                places = api_places(self.prompt)
            else:
                self.prompt, places = workflow.opened(graph, object_info)
            names = ColumnNames(graph, places)
        self.inputs: dict[str, Input] = {}
        for column in columns:
            if folded(column) != NAME:
                self.inputs[column] = self._input(column, names.place(column))
        self._require_different_inputs()
        self._own_photos = list(self._found_own_photos(input_folder))

    def _input(self, column: str, place: Place) -> Input:
        node, name = place.targets[0]
        target_specs = [self._spec(self.prompt[node], name) for node, name in place.targets]
        return Input(column, place.targets, target_specs, self.prompt[node]["inputs"].get(name))

    def _spec(self, node: Mapping[str, Any], name: str) -> Spec:
        return specs(self._object_info, node["class_type"]).get(name, Spec())

    def _require_different_inputs(self) -> None:
        """Raises SetupError where two columns fill one input."""
        column_of: dict[tuple[str, str], str] = {}
        for column, column_input in self.inputs.items():
            for target in column_input.targets:
                other = column_of.setdefault(target, column)
                if other != column:
                    raise SetupError(f"The columns {other} and {column} are the same input: leave one of them.")

    def is_photo(self, column: str) -> bool:
        return column in self.inputs and self.inputs[column].is_photo

    def fingerprint(self, row: Row) -> str:
        """A text that changes with anything that the picture is made of, photos by their size and time.

        Raises BadRow for cells that mean nothing, and files that are not there; no photo is read.
        """
        if row.problem:
            raise BadRow(row.problem)
        parts = [self._own_fingerprint]
        for column, cell in row.cells.items():
            column_input = self.inputs[column]
            meaning = self._stamp(column, cell) if column_input.is_photo else repr(column_input.value(cell))
            parts.append(f"{'.'.join(column_input.targets[0])}={meaning}")
        return hashlib.blake2b("\n".join(sorted(parts)).encode(errors="replace"), digest_size=16).hexdigest()

    @lru_cache(_KEPT_FILES)  # noqa: B019 - there is one template, which lives as long as the run
    def _stamp(self, column: str, cell: str) -> str:
        """A text that changes with the file that a cell names. Raises BadRow."""
        found = self._found(column, cell)
        return f"{found.name} {found.folder.stamp(found.name)}"

    @cached_property
    def _own_fingerprint(self) -> str:
        own = [sorted(photo.files) for photo in self._own_photos]
        return hashlib.sha256(json.dumps([self.prompt, own], sort_keys=True).encode()).hexdigest()

    def job(self, row: Row) -> Job:
        """The prompt of a row, with the files it reads. Raises BadRow."""
        if row.problem:
            raise BadRow(row.problem)
        prompt = copy.deepcopy(self.prompt)
        files: dict[str, bytes] = {}
        people: dict[str, str] = {}
        """Saved people by the columns of photos that name them, as their files are called."""
        for column, cell in row.cells.items():
            column_input = self.inputs[column]
            if not column_input.is_photo:
                value = column_input.value(cell)
            else:
                found = self._found(column, cell)
                value = photo_files.put(
                    found.folder, found.name, files, column_input.is_picture and not found.is_person
                )
                if found.is_person:
                    people[column] = value
            for node, name in column_input.targets:
                prompt[node]["inputs"][name] = workflow.sent(value)
        for photo in self._own_photos:
            inputs = prompt[photo.node]["inputs"]
            if inputs[photo.input_name] == self.prompt[photo.node]["inputs"][photo.input_name]:
                (inputs[photo.input_name],) = photo.files
                files.update(photo.files)
        if not people:
            return Job(row, prompt, files)
        prompt = self._with_people(prompt, row, people)
        return Job(row, prompt, saved_people.files_in(prompt, files))

    def _with_people(self, prompt: Prompt, row: Row, people: Mapping[str, str]) -> Prompt:
        """The prompt with Load Person in the place of every photo whose cell names a saved person.

        people: file of the person by column. Raises BadRow.
        """
        photo_nodes = {
            column: [node for node, _ in self.inputs[column].targets] for column in row.cells if self.is_photo(column)
        }
        for column, file in people.items():
            others = {other: nodes for other, nodes in photo_nodes.items() if other != column}
            try:
                for node in photo_nodes[column]:
                    prompt = saved_people.with_saved_person(prompt, node, file, others, self._object_info)
            except BadRow as problem:
                raise BadRow(f"{column} is {row.cells[column]}, a saved person. {problem}") from None
        return prompt

    def _found_own_photos(self, input_folder: Path) -> Iterator[_OwnPhoto]:
        folder = Folder(str(input_folder))
        for number, node in self.prompt.items():
            for name, value in node["inputs"].items():
                spec = self._spec(node, name)
                if not isinstance(value, str) or not spec.takes_files:
                    continue
                file = value.removesuffix(" [input]").replace("\\", "/")
                if folder.stamp(file):
                    files: dict[str, bytes] = {}
                    # One that cannot be read is left to the rows, which may name another.
                    with contextlib.suppress(BadRow):
                        photo_files.put(folder, file, files, spec.takes_pictures)
                        yield _OwnPhoto(number, name, files)

    def _found(self, column: str, cell: str) -> _Found:
        """The file that a cell of a photo names: a photo or a saved person. Raises BadRow."""
        folder = f"{self._photos.address}/".replace("\\", "/")
        inside = cell.replace("\\", "/").removeprefix(folder)
        name = posixpath.normpath(inside)
        if name.startswith("../") or os.path.isabs(name) or "://" in inside:
            raise BadRow(f"{column} is {cell}, which is outside of {self._photos.address}.")
        if self._photos.stamp(name):
            return _Found(self._photos, name)
        entry = among(name, self._photos.names)
        if entry is not None:
            return _Found(self._photos, entry)
        person = self._face_bank.path(cell)
        if person is not None:
            return _Found(Folder(str(person.parent)), person.name)
        in_the_way = self._photos.no_file(name)
        if in_the_way:
            raise BadRow(f"{column} is {cell}. {self._photos.place(name)} is {in_the_way}.")
        message = f"{column} is {cell}, which is not in {self._photos.address}."
        near = self._near_photos(name)
        if near:
            message += f" Nearest: {', '.join(near)}."
        if os.path.splitext(cell)[1].lower() not in ENDINGS:
            message += self._face_bank.nobody_called(cell)
        raise BadRow(message)

    def _near_photos(self, name: str) -> list[str]:
        """Photos whose names are like one that is not there."""
        photos_by_name: dict[str, list[str]] = {}
        for photo in self._photos.names:
            photos_by_name.setdefault(folded(photo), []).append(photo)
        near: list[str] = []
        for key in difflib.get_close_matches(folded(name), photos_by_name, _NEAREST, 0.6):
            near += photos_by_name[key]
        return near[:_NEAREST]


@contextlib.contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    """Raises SetupError, in one sentence, for a workflow in no shape that the editor saves."""
    try:
        yield
    except (workflow.WorkflowError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as cause:
        problem = f"it is damaged ({in_one_line(cause)})."
        if isinstance(cause, workflow.WorkflowError):
            problem = str(cause)
        raise SetupError(
            f"{path} does not fit this ComfyUI: {problem} Where it runs in the editor, save it with Export (API) "
            "there and take that file."
        ) from cause
