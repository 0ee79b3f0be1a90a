"""What the columns of a table may be called, and which input of a workflow each of them means."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from environment import SetupError
from shared import workflow
from shared.workflow import Place, Prompt

from core.checks.names import folded


class ColumnNames:
    """The names that columns may have.

    A column is called as in the workflow's app, else "Node title.input", by the input's name or label. The number or
    the class of the node may stand in the title's place.
    """

    def __init__(self, graph: Mapping[str, Any], places: Sequence[Place]) -> None:
        self._labels: list[str] = []
        """Of the app, as it shows them."""
        self._app: dict[str, list[Place]] = {}
        """The inputs of the app, by their labels as core.checks.names.folded writes them."""
        self._all: dict[str, list[Place]] = {}
        """All inputs, by "Node title.input", folded too."""
        for place in _app_inputs(graph, places):
            self._labels.append(place.label)
            self._app.setdefault(folded(place.label), []).append(place)
        for place in places:
            for name in _long_names(place):
                self._all.setdefault(name, []).append(place)

    def place(self, column: str) -> Place:
        """The input that a column means. Raises SetupError where it means none or several."""
        name = folded(column)
        places = self._app.get(name) or self._all.get(name) or []
        if not places:
            raise SetupError(self._unknown(column))
        if len(places) > 1:
            names = [f"{place.title}.{place.name}" for place in places]
            if len(set(names)) < len(names):
                names = [f"{place.node}.{place.name}" for place in places]
            raise SetupError(f"The column {column} means more than one input: write {' or '.join(names)} for it.")
        return places[0]

    def _unknown(self, column: str) -> str:
        """The message on a column that means no input."""
        places = chain.from_iterable(self._all.values())
        names = [*self._labels, *(f"{place.title}.{place.name}" for place in places)]
        name_of = {folded(name): name for name in names}
        message = f"No input of the workflow is called {column}."
        near = [name_of[key] for key in difflib.get_close_matches(folded(column), name_of, cutoff=0.5)]
        if near:
            message += f" Nearest: {', '.join(near)}."
        if self._labels:
            message += f" The workflow's app has: {', '.join(self._labels)}."
        return message


def _long_names(place: Place) -> set[str]:
    """The names of an input with its node's, folded."""
    return {folded(f"{node}.{name}") for node in (place.title, place.node) for name in (place.name, place.label)}


def _app_inputs(graph: Mapping[str, Any], places: Sequence[Place]) -> Iterator[Place]:
    """The inputs that the workflow's app shows, in its order."""
    extra = graph.get("extra")
    if not isinstance(extra, dict):
        return
    app = extra.get("linearData") or {}
    for entry in app.get("inputs", []):
        yield from _shown_input(str(entry[0]), entry[1], places)


def _shown_input(node: str, name: str, places: Sequence[Place]) -> list[Place]:
    """The input that an entry of an app means.

    node: a node's id, or graph:node:name, or the id of a node inside of a subgraph.
    """
    ids = [node]
    parts = node.split(":")
    if len(parts) == 3 and parts[2] == name:
        ids.append(parts[1])
    exact = [place for place in places if place.node in ids and place.name == name]
    if exact:
        return exact
    inside = [place for place in places if place.node.endswith(f":{node}") and place.name == name]
    return inside[:1]


def api_places(prompt: Prompt) -> list[Place]:
    """The inputs of a workflow of the API's format: all that are not linked."""
    places: list[Place] = []
    for number, node in prompt.items():
        for name, value in node["inputs"].items():
            if not isinstance(value, list):
                places.append(Place(number, name, workflow.title(prompt, number), name, targets=[(number, name)]))
    return places
