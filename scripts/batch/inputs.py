"""A workflow that the rows of a table fill in."""

import contextlib
import copy
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from environment import SetupError
from shared import workflow, workflow_files
from shared.workflow import Place, Prompt, Spec, specs

from core.checks.names import folded
from core.checks.text import in_one_line

from . import photo_files, saved_people
from .beside import Beside
from .cells import value_of
from .columns import ColumnNames, api_places
from .folders import Folder, without_login
from .photo_cells import FoundFile, PhotoCells, look_in
from .prompts import Job
from .rows import NAME, BadRow, Row, shown
from .saved_people import SavedPeople

_ANNOTATED = re.compile(r" ?\[(input|output|temp)\]$")
"""How the value of a menu of files ends that says in which of ComfyUI's folders the file is."""
_KEPT_CHOICES = 2**10
"""So many words of each menu are remembered, also those that it does not have: menus of files may be long."""
_MOST_WORD_LETTERS = 5000
"""No menu has a longer word: of a cell, which may hold a whole picture, no more is looked for and remembered."""


@dataclass(frozen=True, eq=False)
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

    @cached_property
    def is_choice(self) -> bool:
        return any(spec.menu is not None for spec in self.specs)

    def value(self, cell: str) -> Any:
        """The value that a cell means, which must fit all targets. Raises BadRow."""
        value = self._chosen(cell[:_MOST_WORD_LETTERS]) if self.is_choice else self._meant(cell)
        if isinstance(value, BadRow):
            raise BadRow(f"{self.column} is {shown(cell)}: {value}")
        return value

    @lru_cache(_KEPT_CHOICES)  # noqa: B019 - a run has an input for each column
    def _chosen(self, cell: str) -> Any:
        return self._meant(cell)

    def _meant(self, cell: str) -> Any:
        """The value, or the BadRow that says why there is none."""
        try:
            return [value_of(cell, spec, self.current) for spec in self.specs][-1]
        except BadRow as problem:
            return problem


@dataclass(frozen=True)
class _OwnPhoto:
    """A file of the workflow itself, from a folder of this machine's ComfyUI. files: its bytes, by the name that it
    travels under. problem: why it cannot, or nothing."""

    node: str
    input_name: str
    files: dict[str, bytes]
    problem: str = ""


class Template:
    """A workflow, in the editor's format or the API's, that the rows of a table fill in.

    columns: of the table. photos: the folder that its files are in; input_folder: the one of the workflow's own files,
    None where only the server has one; saved_people: those whom a cell may name. Raises SetupError for a file that is
    no workflow and for columns that fit no input or more than one.
    """

    def __init__(
        self,
        path: Path,
        object_info: Mapping[str, Any],
        columns: Iterable[str],
        photos: Folder,
        input_folder: Path | None,
        saved_people: SavedPeople | None = None,
    ) -> None:
        graph = workflow_files.read(path)
        self._object_info = object_info
        self._photo_cells = PhotoCells(photos, saved_people or SavedPeople([]))
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
        _require_different(self.inputs.values())
        self._own_photos: list[_OwnPhoto] = []
        self._lost_photos: list[_OwnPhoto] = []
        for photo in _own_photos(self.prompt, object_info, input_folder):
            (self._lost_photos if photo.problem else self._own_photos).append(photo)

    def _input(self, column: str, place: Place) -> Input:
        node, name = place.targets[0]
        target_specs = [_spec(self.prompt[node], name, self._object_info) for node, name in place.targets]
        return Input(column, place.targets, target_specs, self.prompt[node]["inputs"].get(name))

    def is_photo(self, column: str) -> bool:
        return column in self.inputs and self.inputs[column].is_photo

    def is_file(self, column: str, cell: str) -> bool:
        """Whether a cell names a file that travels with the row: a photo, or a person who wears a look."""
        column_input = self.inputs[column]
        return column_input.is_photo or (self._is_of_people(column_input) and look_in(cell) is not None)

    def _is_of_people(self, column_input: Input) -> bool:
        kinds = {(self.prompt[node]["class_type"], name) for node, name in column_input.targets}
        return kinds == {(saved_people.LOAD_PERSON, saved_people.FILE)}

    def _found(self, column: str, cell: str) -> FoundFile:
        """The file that a cell names. Raises BadRow, also for a look that the workflow does not draw."""
        found = self._photo_cells.found(column, cell)
        if found.look:
            problem = self._why_not_worn(column)
            if problem:
                raise BadRow(f"{column} is {shown(cell)}. {problem}")
        return found

    @lru_cache(_KEPT_CHOICES)  # noqa: B019 - a run has one template
    def _why_not_worn(self, column: str) -> str:
        try:
            for node, _ in self.inputs[column].targets:
                saved_people.require_worn(self.prompt, node, self._object_info)
        except BadRow as problem:
            return str(problem)
        return ""

    def fingerprint(self, row: Row) -> str:
        """A text that changes with anything that the picture is made of, photos by their size and time.

        Raises BadRow for cells that mean nothing, and files that are not there; no photo is read.
        """
        if row.problem:
            raise BadRow(row.problem)
        parts = [self._own_fingerprint]
        for column, cell in row.cells.items():
            column_input = self.inputs[column]
            if self.is_file(column, cell):
                found = self._found(column, cell)
                meaning = f"{found.name} {found.stamp}"
                if found.look is not None:
                    meaning += f" {found.look!r}"
            else:
                meaning = repr(column_input.value(cell))
            parts.append(f"{'.'.join(column_input.targets[0])}={meaning}")
        self._require_own_photos(row)
        return hashlib.blake2b("\n".join(sorted(parts)).encode(errors="replace"), digest_size=16).hexdigest()

    def _require_own_photos(self, row: Row) -> None:
        """Raises BadRow where a row leaves an input to the workflow's own file, which cannot travel."""
        filled = {target for column in row.cells for target in self.inputs[column].targets}
        for photo in self._lost_photos:
            if (photo.node, photo.input_name) not in filled:
                raise BadRow(f"{workflow.title(self.prompt, photo.node)}, {photo.input_name}: {photo.problem}")

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
        beside: list[Beside] = []
        people: dict[str, str] = {}
        """Saved people by the columns of photos that name them, as their files are called."""
        # Files last: what the other cells say of looks is known then.
        for column, cell in sorted(row.cells.items(), key=lambda item: self.is_file(*item)):
            column_input = self.inputs[column]
            if not self.is_file(column, cell):
                value = column_input.value(cell)
            else:
                found = self._found(column, cell)
                is_picture = column_input.is_picture and not found.is_person
                said = self._looks_said(column, prompt) if found.is_person else None
                value = photo_files.put(found.folder, found.name, files, is_picture, found.stamp, found.look, said)
                who = column.removesuffix(f".{column_input.targets[0][1]}")
                if found.is_person:
                    beside.append(Beside(who, value, files[value]))
                else:
                    beside.append(Beside(who, without_login(found.folder.place(found.name))))
                if not column_input.is_photo:
                    value = saved_people.uploaded(value)
                elif found.is_person:
                    people[column] = value
            for node, name in column_input.targets:
                prompt[node]["inputs"][name] = workflow.sent(value)
        for photo in self._own_photos:
            inputs = prompt[photo.node]["inputs"]
            if inputs[photo.input_name] == self.prompt[photo.node]["inputs"][photo.input_name]:
                (inputs[photo.input_name],) = photo.files
                files.update(photo.files)
        for column in filter(self.is_photo, row.cells):
            for node, _ in self.inputs[column].targets:
                prompt = saved_people.with_photo(prompt, node)
        if not people:
            return Job(row, prompt, files, beside)
        prompt = self._with_people(prompt, row, people)
        return Job(row, prompt, saved_people.files_in(prompt, files), beside)

    def _looks_said(self, column: str, prompt: Prompt) -> tuple[str, ...] | None:
        """As `with_looks_worn` has it, for the saved person of a column."""
        said = saved_people.looks_said(prompt)
        return () if said and self._why_not_worn(column) else said

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
                raise BadRow(f"{column} is {shown(row.cells[column])}, a saved person. {problem}") from None
        return prompt


def _spec(node: Mapping[str, Any], name: str, object_info: Mapping[str, Any]) -> Spec:
    """Of an input of a node."""
    return specs(object_info, node["class_type"]).get(name, Spec())


def _require_different(inputs: Iterable[Input]) -> None:
    """Raises SetupError where two columns fill one input."""
    column_of: dict[tuple[str, str], str] = {}
    for column_input in inputs:
        for target in column_input.targets:
            other = column_of.setdefault(target, column_input.column)
            if other != column_input.column:
                columns = f"{other} and {column_input.column}"
                raise SetupError(f"The columns {columns} are the same input: leave one of them.")


def _own_photos(prompt: Prompt, object_info: Mapping[str, Any], input_folder: Path | None) -> Iterator[_OwnPhoto]:
    """The files of a workflow that are in ComfyUI's folders, and those that are to be there and are not.

    input_folder: None where there is none on this machine.
    """
    for number, node in prompt.items():
        for name, value in node["inputs"].items():
            spec = _spec(node, name, object_info)
            annotated = _ANNOTATED.search(value) if isinstance(value, str) else None
            # Menus of other packs list files too, and do not say so.
            is_menu = spec.menu is not None and workflow.is_of_others(node["class_type"], object_info)
            if not isinstance(value, str) or not value or not (spec.takes_files or is_menu or annotated):
                continue
            file = _ANNOTATED.sub("", value).replace("\\", "/")
            kind = annotated[1] if annotated else spec.options.get("image_folder") or "input"
            folder = None
            place = f"the folder {kind} of the server"
            if input_folder:
                folder = Folder(str(input_folder.parent / kind if kind != "input" else input_folder))
                place = folder.address
            files: dict[str, bytes] = {}
            problem = ""
            if PurePosixPath(file).is_absolute() or ".." in file.split("/"):
                problem = f"{value} is outside of {place}."
            elif folder is None or not folder.stamp(file):
                if value in (spec.menu or []):  # a word such as none: the ComfyUI that answered has no files
                    continue
                problem = f"{value} is not in {place}. Put it there, or name a file in each row."
            else:
                try:
                    photo_files.put(folder, file, files, spec.takes_pictures)
                except BadRow as cause:
                    problem = str(cause)
            if files or spec.takes_files:
                yield _OwnPhoto(number, name, files, problem)


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
