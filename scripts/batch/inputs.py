"""The columns of a table: which inputs of the prompt each means, and what may stand in its cells."""

import contextlib
import copy
import difflib
import hashlib
import io
import math
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from environment import SetupError
from evaluate import PICTURES
from PIL import Image, UnidentifiedImageError
from readable import Unreadable, bytes_of
from rig import workflow, workflow_files
from rig.workflow import Place, Prompt, Spec, specs

from core.models.files import WEIGHTS, files_below
from core.models.workflow_forms import is_prompt
from core.names import among, ending, folded
from core.text import in_one_line

from .prompts import Job
from .rows import NAME, BadRow, Row, cut

_STEM = 160
"""Bytes of a photo's name that it keeps where it travels."""
_MOST = 10**9
"""Bytes of a photo or another file in a cell."""
_MOST_NAMES = 100_000
"""Files below the folder of photos among which a name is looked for in another spelling."""
_WHOLE = set[str]()
"""Photos that have been read through, by what is in them: many rows have the same ones."""
_YES, _NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


@dataclass(frozen=True)
class Input:
    """A column. specs: of each of its targets; current: what the workflow says."""

    column: str
    targets: Sequence[tuple[str, str]]
    specs: Sequence[Spec]
    current: Any

    @property
    def is_photo(self) -> bool:
        return any(spec.takes_files for spec in self.specs)

    def value(self, cell: str) -> Any:
        """What a cell says. Raises BadRow."""
        try:
            return [_value(cell, spec, self.current) for spec in self.specs][-1]
        except BadRow as problem:
            raise BadRow(f"{self.column} is {cell}: {problem}") from None


class Template:
    """A workflow, in the editor's format or the API's, that the rows of a table fill in.

    columns: of the table. photos: the folder that its files are in; input_folder: the one of the workflow's own.
    Raises SetupError for what is no workflow and for columns that fit nothing or more than one input.
    """

    def __init__(
        self,
        path: Path,
        object_info: Mapping[str, Any],
        columns: Iterable[str],
        photos: Path,
        input_folder: Path,
    ) -> None:
        graph = loaded(path)
        self._photos, self._folder, self._info = Path(os.path.normpath(photos.absolute())), input_folder, object_info
        if is_prompt(graph):
            entries = {number: node for number, node in graph.items() if isinstance(node, dict)}
            self.prompt = workflow.as_offered(entries, object_info)
            places = api_places(self.prompt)
        else:
            with _as_saved(path):
                self.prompt, places = workflow.opened(graph, object_info)
        with _as_saved(path):
            self._names = Names(graph, places)
        wanted = [column for column in columns if folded(column) != NAME]
        found = {column: self._names.place(column) for column in wanted}
        self.inputs = {column: self._input(column, place) for column, place in found.items()}
        targets = [(target, column) for column, one in self.inputs.items() for target in one.targets]
        for number, (target, column) in enumerate(targets):
            if other := next((earlier for same, earlier in targets[:number] if same == target), None):
                raise SetupError(f"The columns {other} and {column} are the same input: leave one of them.")

    def is_photo(self, column: str) -> bool:
        return column in self.inputs and self.inputs[column].is_photo

    def job(self, row: Row) -> Job:
        """Raises BadRow."""
        if row.problem:
            raise BadRow(row.problem)
        prompt, photos = copy.deepcopy(self.prompt), dict[str, bytes]()
        for column, cell in row.cells.items():
            one = self.inputs[column]
            value = _photo(self._path(one, cell), photos) if one.is_photo else one.value(cell)
            for node, name in one.targets:
                prompt[node]["inputs"][name] = workflow.sent(value)
        for node, name, path in self._own_photos:
            if prompt[node]["inputs"][name] == self.prompt[node]["inputs"][name]:
                prompt[node]["inputs"][name] = _photo(path, photos)
        return Job(row, prompt, photos)

    @cached_property
    def _own_photos(self) -> list[tuple[str, str, Path]]:
        """Files of the workflow itself that are in the input folder of this machine's ComfyUI."""
        return [
            (number, name, path)
            for number, node in self.prompt.items()
            for name, value in node["inputs"].items()
            if isinstance(value, str) and self._spec(node, name).takes_files
            if os.path.isfile(path := self._folder / value.removesuffix(" [input]").replace("\\", "/"))
        ]

    def _input(self, column: str, place: Place) -> Input:
        node, name = place.targets[0]
        specs = [self._spec(self.prompt[node], name) for node, name in place.targets]
        return Input(column, place.targets, specs, self.prompt[node]["inputs"].get(name))

    def _spec(self, node: Mapping[str, Any], name: str) -> Spec:
        return specs(self._info, node["class_type"]).get(name, Spec())

    def _path(self, one: Input, cell: str) -> Path:
        path = Path(os.path.normpath(self._photos / cell.replace("\\", "/")))
        if not path.is_relative_to(self._photos):
            raise BadRow(f"{one.column} is {cell}, which is outside of {self._photos}.")
        if os.path.isfile(path):  # that of a path says so too where the cell cannot be one
            return path
        name = path.relative_to(self._photos).as_posix()
        entry = among(name, self._photo_names)
        if entry:
            return self._photos / entry
        alike: dict[str, list[str]] = {}
        for photo in self._photo_names:
            alike.setdefault(folded(photo), []).append(photo)
        near = [photo for key in difflib.get_close_matches(folded(name), alike, 3, 0.6) for photo in alike[key]]
        nearest = f" Nearest: {', '.join(near[:3])}." if near else ""
        raise BadRow(f"{one.column} is {cell}, which is not in {self._photos}.{nearest}")

    @cached_property
    def _photo_names(self) -> list[str]:
        """Of all files below the folder of photos, with slashes; they are asked for once, and only where a name is not
        a file's as it is written."""
        files = files_below(str(self._photos), _MOST_NAMES)
        return [name.replace(os.sep, "/") for name, path in files if os.path.isfile(path)]


def loaded(path: Path) -> dict[str, Any]:
    """The graph in a file, of either format. Raises SetupError for anything else, which it names."""
    return workflow_files.read(path)


@contextlib.contextmanager
def _as_saved(path: Path) -> Iterator[None]:
    """What is in no shape that the editor saves, in one sentence."""
    try:
        yield
    except (workflow.WorkflowError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as cause:
        told = str(cause) if isinstance(cause, workflow.WorkflowError) else f"it is damaged ({in_one_line(cause)})."
        raise SetupError(
            f"{path} does not fit this ComfyUI: {told} Where it runs in the editor, save it with Export (API) "
            "there and take that file."
        ) from cause


def api_places(prompt: Prompt) -> list[Place]:
    return [
        Place(number, name, workflow.title(prompt, number), name, [(number, name)])
        for number, node in prompt.items()
        for name, value in node["inputs"].items()
        if not isinstance(value, list)
    ]


class Names:
    """What columns may be called: labels of the workflow's app, else "Node title.input", by the input's name or label,
    or with the node's number or class in the title's place."""

    def __init__(self, graph: Mapping[str, Any], places: Sequence[Place]) -> None:
        self._shown: list[str] = []
        self._app: dict[str, list[Place]] = {}
        self._all: dict[str, list[Place]] = {}
        extra = graph.get("extra")
        chosen = (extra.get("linearData") or {}).get("inputs", []) if isinstance(extra, dict) else []
        for entry in chosen:
            for place in _of_app(str(entry[0]), entry[1], places):
                self._shown.append(place.label)
                self._app.setdefault(folded(place.label), []).append(place)
        for place in places:
            called = {f"{owner}.{name}" for owner in (place.title, place.node) for name in (place.name, place.label)}
            for name in {folded(name) for name in called}:
                self._all.setdefault(name, []).append(place)

    def known(self, column: str) -> list[Place]:
        return self._app.get(folded(column)) or self._all.get(folded(column)) or []

    def place(self, column: str) -> Place:
        """Raises SetupError."""
        found = self.known(column)
        if len(found) == 1:
            return found[0]
        if found:
            both = [f"{place.title}.{place.name}" for place in found]
            both = both if len(set(both)) == len(both) else [f"{place.node}.{place.name}" for place in found]
            raise SetupError(f"The column {column} means more than one input: write {' or '.join(both)} for it.")
        written = [*self._shown, *(f"{one.title}.{one.name}" for ones in self._all.values() for one in ones)]
        known = {folded(name): name for name in written}
        near = [known[key] for key in difflib.get_close_matches(folded(column), known, 3, 0.5)]
        nearest = f" Nearest: {', '.join(near)}." if near else ""
        labels = f" The workflow's app has: {', '.join(self._shown)}." if self._shown else ""
        raise SetupError(f"No input of the workflow is called {column}.{nearest}{labels}")


def _of_app(node: str, name: str, places: Sequence[Place]) -> list[Place]:
    """The one that an entry of an app means: a node's id, or graph:node:name, or the id of one inside of a subgraph."""
    parts = node.split(":")
    ids = [node, *([parts[1]] if len(parts) == 3 and parts[2] == name else [])]
    exact = [place for place in places if place.node in ids and place.name == name]
    return exact or [place for place in places if place.node.endswith(f":{node}") and place.name == name][:1]


# --- Values


def _value(cell: str, spec: Spec, current: Any) -> Any:
    """What a cell says to such an input. Raises BadRow, which tells what would do."""
    # An input that the host's list does not have is of the kind that the workflow's value is of.
    kind = spec.kind or {bool: "BOOLEAN", int: "INT", float: "FLOAT"}.get(type(current), "STRING")
    if spec.menu is not None:
        return _choice(cell, spec.menu)
    if kind == "BOOLEAN":
        if (word := cell.casefold()) not in (*_YES, *_NO):
            raise BadRow("true or false is needed.")
        return word in _YES
    if kind in ("INT", "FLOAT"):
        return _number(cell, kind == "INT", spec.options)
    return cell


def _number(cell: str, whole: bool, options: Mapping[str, Any]) -> Any:
    if whole and not re.fullmatch(r"[+-]?\d{1,20}([.,]0{1,2})?", cell):  # 1,000 may be a thousand
        raise BadRow("a whole number is needed, with all of its digits and nothing between them.")
    try:
        value = int(re.split("[.,]", cell)[0]) if whole else float(cell.replace(",", ".", "." not in cell))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadRow("a number is needed.")
    low, high = options.get("min", -math.inf), options.get("max", math.inf)
    if not low <= value <= high:
        raise BadRow(f"{low} to {high} is needed.")
    return value


def _choice(cell: str, offered: Sequence[Any]) -> Any:
    """offered: words, or entries of a menu whose choice brings inputs. A file may be named without its ending."""
    values = [one["key"] if isinstance(one, dict) and "key" in one else one for one in offered]
    words = {str(value): value for value in values}
    word = among(cell, words)
    if word is not None:
        return words[word]
    # Stem -> the names of files with it: of two endings neither is meant.
    stems: dict[str, list[str]] = {}
    for name in words:
        if ending(name) in WEIGHTS:
            stems.setdefault(name[: -len(ending(name))], []).append(name)
    stem = among(cell, stems)
    if stem is not None and len(stems[stem]) == 1:
        return words[stems[stem][0]]
    near = difflib.get_close_matches(cell, map(str, values), 3, 0.4) or list(map(str, values[:5]))
    raise BadRow(f"the menu has {len(values)} entries, such as {', '.join(near)}." if near else "the menu is empty.")


def _photo(path: Path, photos: dict[str, bytes]) -> str:
    """Puts a file among the photos; the name it has there: its own, and a number made of what is in it."""
    try:
        data = bytes_of(path, _MOST)
    except Unreadable as cause:
        raise BadRow(f"{path} {cause}.") from cause
    if not data:
        raise BadRow(f"{path} is empty.")
    digest = hashlib.sha256(data).hexdigest()
    if path.suffix.lower() in PICTURES and digest not in _WHOLE:
        try:
            _read_through(data)
        except Exception as cause:  # there is hardly an exception that Pillow does not raise on arbitrary bytes
            why = "it is in no format of one." if isinstance(cause, UnidentifiedImageError) else in_one_line(cause)
            raise BadRow(f"{path} cannot be read as a picture: {why}") from cause
        _WHOLE.add(digest)
    name = f"{cut(path.stem, _STEM)}-{digest[:12]}{path.suffix.lower()}"
    photos[name] = data
    return name


def _read_through(data: bytes) -> None:
    """Raises where a picture is not whole. ComfyUI takes what there is of one, and the rest of the face is grey."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(io.BytesIO(data)) as picture:
            if picture.format == "JPEG":  # verify() does not look at what is in one
                picture.draft("L", (1, 1))
                picture.load()
            else:
                picture.verify()
