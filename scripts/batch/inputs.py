"""A workflow that the rows of a table fill in."""

import contextlib
import copy
import difflib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from environment import SetupError
from rig import workflow, workflow_files
from rig.workflow import Place, Prompt, Spec, specs

from core.models.files import dead_link, files_below
from core.names import among, folded
from core.picture_files import ENDINGS
from core.text import in_one_line

from . import photo_files, saved_people
from .cells import value_of
from .columns import ColumnNames, api_places
from .prompts import Job
from .rows import NAME, BadRow, Row
from .saved_people import FaceBank
from .worker import PERSON_FILE

_MOST_NAMES = 100_000
"""Files below the folder of photos among which a name is looked for in another spelling."""
_NEAREST = 3


@dataclass(frozen=True)
class Input:
    """A column. targets: the node and the name of each input it fills. specs: of each of them. current: the workflow's
    value."""

    column: str
    targets: Sequence[tuple[str, str]]
    specs: Sequence[Spec]
    current: Any

    @property
    def is_photo(self) -> bool:
        return any(spec.takes_files for spec in self.specs)

    @property
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
    """A file of the workflow itself, in the input folder of this machine's ComfyUI."""

    node: str
    input_name: str
    path: Path


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
        photos: Path,
        input_folder: Path,
        face_bank: FaceBank | None = None,
    ) -> None:
        graph = workflow_files.read(path)
        self._photos = Path(os.path.normpath(photos.absolute()))
        self._input_folder = input_folder
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
                path = self._path(column, cell)
                is_person = path.suffix.lower() == PERSON_FILE
                value = photo_files.put(path, files, column_input.is_picture and not is_person)
                if value.endswith(PERSON_FILE):
                    people[column] = value
            for node, name in column_input.targets:
                prompt[node]["inputs"][name] = workflow.sent(value)
        for photo in self._own_photos:
            inputs = prompt[photo.node]["inputs"]
            if inputs[photo.input_name] == self.prompt[photo.node]["inputs"][photo.input_name]:
                is_picture = self._spec(prompt[photo.node], photo.input_name).takes_pictures
                inputs[photo.input_name] = photo_files.put(photo.path, files, is_picture)
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

    @cached_property
    def _own_photos(self) -> list[_OwnPhoto]:
        photos: list[_OwnPhoto] = []
        for number, node in self.prompt.items():
            for name, value in node["inputs"].items():
                if not isinstance(value, str) or not self._spec(node, name).takes_files:
                    continue
                path = self._input_folder / value.removesuffix(" [input]").replace("\\", "/")
                if os.path.isfile(path):
                    photos.append(_OwnPhoto(number, name, path))
        return photos

    def _path(self, column: str, cell: str) -> Path:
        """The file that a cell of a photo names: a photo or a saved person. Raises BadRow."""
        path = Path(os.path.normpath(self._photos / cell.replace("\\", "/")))
        if not path.is_relative_to(self._photos):
            raise BadRow(f"{column} is {cell}, which is outside of {self._photos}.")
        # os.path, because Path raises for a cell that cannot be a path.
        if os.path.isfile(path):
            return path
        name = path.relative_to(self._photos).as_posix()
        entry = among(name, self._photo_names)
        if entry is not None:
            return self._photos / entry
        person = self._face_bank.path(cell)
        if person is not None:
            return person
        in_the_way = _no_file(path)
        if in_the_way:
            raise BadRow(f"{column} is {cell}. {path} is {in_the_way}.")
        message = f"{column} is {cell}, which is not in {self._photos}."
        near = self._near_photos(name)
        if near:
            message += f" Nearest: {', '.join(near)}."
        if os.path.splitext(cell)[1].lower() not in ENDINGS:
            message += self._face_bank.nobody_called(cell)
        raise BadRow(message)

    def _near_photos(self, name: str) -> list[str]:
        """Photos whose names are like one that is not there."""
        photos_by_name: dict[str, list[str]] = {}
        for photo in self._photo_names:
            photos_by_name.setdefault(folded(photo), []).append(photo)
        near: list[str] = []
        for key in difflib.get_close_matches(folded(name), photos_by_name, _NEAREST, 0.6):
            near += photos_by_name[key]
        return near[:_NEAREST]

    @cached_property
    def _photo_names(self) -> list[str]:
        """All files below the folder of photos, with slashes.

        They are asked for once, and only where a cell is not the name of a file as it is written.
        """
        names: list[str] = []
        for name, path in files_below(str(self._photos), _MOST_NAMES):
            if os.path.isfile(path):
                names.append(name.replace(os.sep, "/"))
        return names


def _no_file(path: Path) -> str:
    """What lies at a path and is no file, in words; "" where nothing does."""
    leads_to = dead_link(str(path))
    if leads_to is not None:
        return f"a link to {leads_to}, and there is no file: its disk may not be connected"
    # os.path, because Path raises for a cell that cannot be a path.
    if os.path.isdir(path):
        return "a folder, not a file"
    return "no file" if os.path.lexists(path) else ""


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
