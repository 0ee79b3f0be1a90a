"""The widgets of a node, as the editor makes them of what the host says of the node, and their values in a file.

A file has the values of a node's widgets in a row, without names (`widgets_values`). Which value belongs to which input
follows from the host's answer to /object_info alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .saved_workflow import CONTROLS, named_values

Json = Mapping[str, Any]
"""A workflow as the editor saves it, a node of it, or what the host says of one."""

_DYNAMIC = "COMFY_DYNAMICCOMBO_V3"
"""A menu whose choice brings inputs of its own, each named <menu>.<input>."""
_BOXES = "BOUNDING_BOXES"
"""The editor of boxes, which older hosts do not have: its values, lists at the end of a node's, are not for them."""
_WIDGET_TYPES = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", _DYNAMIC, _BOXES}
_SIMPLE = ("INT", "FLOAT", "STRING", "BOOLEAN")
_UPLOADS = ("image_upload", "video_upload", "audio_upload")
_MOST_LETTERS = 80
"""Of a value in a message."""
SEEDS = ("seed", "noise_seed")
_AFTER_A_RUN = ("fixed", "increment", "decrement", "randomize")
"""What the widget says that the editor adds behind a seed; the host has no such input."""


class WorkflowError(Exception):
    """A workflow that cannot be turned into a prompt; the text says which node and why."""


@dataclass(frozen=True)
class Spec:
    """An input as /object_info has it. kind: None for one that is not there."""

    kind: Any = None
    options: Json = field(default_factory=dict)
    optional: bool = False

    @property
    def menu(self) -> list[Any] | None:
        """Words, or entries whose choice brings inputs; None where there is no menu."""
        if isinstance(self.kind, list):
            return self.kind
        return self.options.get("options")

    @property
    def takes_files(self) -> bool:
        """Whether it is a menu of files that are uploaded."""
        return any(self.options.get(upload) for upload in (*_UPLOADS, "file_upload"))

    @property
    def takes_pictures(self) -> bool:
        """Whether it is a menu of pictures that are uploaded."""
        return bool(self.options.get("image_upload"))

    @property
    def has_upload_button(self) -> bool:
        return any(self.options.get(upload) for upload in _UPLOADS)

    @property
    def is_widget(self) -> bool:
        """Whether the editor shows a widget for it, with a value in the file."""
        if self.options.get("forceInput"):
            return False
        # An input of several types says which widget it has; one without a socket has a widget of its own type.
        if self.options.get("widgetType") or self.options.get("socketless"):
            return True
        return isinstance(self.kind, list) or self.kind in _WIDGET_TYPES

    def has_control(self, name: str) -> bool:
        """Whether the editor adds a widget behind it that says what happens to a seed after a run."""
        is_seed = self.kind == "INT" and name.rpartition(".")[2] in SEEDS
        return bool(self.options.get("control_after_generate", is_seed))

    def chosen(self, name: str, choice: Any) -> dict[str, Spec] | None:
        """The inputs that a choice of a dynamic menu brings; None where the menu does not have it."""
        for entry in self.menu or []:
            if isinstance(entry, dict) and entry.get("key") == choice:
                inputs = _of_sections(entry.get("inputs", {}))
                return {f"{name}.{key}": spec for key, spec in inputs.items()}
        return None

    @property
    def default(self) -> Any:
        """What the editor shows in a new node; None where it shows nothing."""
        if "default" in self.options:
            return self.options["default"]
        if not self.menu:
            return None
        first = self.menu[0]
        if isinstance(first, dict):
            return first.get("key")
        return first

    def fits(self, value: Any) -> bool:
        """Whether the widget could have this value. A menu may have lost a word, and other kinds are not known here."""
        if self.kind in ("INT", "FLOAT"):
            return isinstance(value, int | float) and not isinstance(value, bool)
        if self.kind == "BOOLEAN":
            return isinstance(value, bool)
        if self.kind == "STRING":
            return isinstance(value, str)
        return True


def specs(object_info: Json, kind: str) -> dict[str, Spec]:
    """Of every input of a class of nodes."""
    return _of_sections(object_info.get(kind, {}).get("input", {}))


def _of_sections(sections: Json) -> dict[str, Spec]:
    """Required inputs first, then optional ones."""
    inputs: dict[str, Spec] = {}
    for section in ("required", "optional"):
        for name, entry in sections.get(section, {}).items():
            options: Json = {}
            if len(entry) > 1 and isinstance(entry[1], dict):
                options = entry[1]
            inputs[name] = Spec(entry[0], options, section == "optional")
    return inputs


def sent(value: Any) -> Any:
    """As the frontend sends it: a list alone would be taken for a link."""
    if isinstance(value, list):
        return {"__value__": value}
    return value


def values_of(node: Json, known: Mapping[str, Spec], is_of_others: bool = False) -> dict[str, Any]:
    """What a node's own widgets say, by the name of the input.

    known: the node's inputs today. As in the editor, a widget that is newer than the file has its default.
    is_of_others: whether the node is of another pack, whose script in the editor may have made further widgets: their
    values are sent where the file names them. Values behind the last widget of ComfyUI's own nodes are the editor's.
    Raises WorkflowError where the file has fewer or more values than the node has widgets and they cannot belong to
    each other.
    """
    named = named_values(node)
    if named is not None:
        return _by_name(named, known, is_of_others)
    row = _Row(node, node.get("widgets_values") or [])
    row.read(known)
    row.require_fit(is_of_others)
    return {widget.name: sent(widget.value) for widget in row.widgets}


def _by_name(named: Mapping[str, Any], known: Mapping[str, Spec], is_of_others: bool) -> dict[str, Any]:
    values: dict[str, Any] = {}
    waiting = dict(known)
    while waiting:
        name, spec = next(iter(waiting.items()))
        del waiting[name]
        if not spec.is_widget:
            continue
        value = named.get(name, spec.default)
        if value is not None:
            values[name] = sent(value)
        if spec.kind == _DYNAMIC:
            waiting |= spec.chosen(name, value) or {}
    for name, value in named.items():
        menu, _, rest = name.partition(".")
        is_further = is_of_others and name not in known and name not in CONTROLS
        if is_further or (rest and menu in known and name not in values and rest not in CONTROLS):
            values[name] = sent(value)
    return values


def _is_setting(value: Any) -> bool:
    """Whether a value without a name may steer a node: texts are shown by many, and buttons have them."""
    if isinstance(value, dict):
        return not value.keys() <= {"type"}
    if isinstance(value, list):
        return any(map(_is_setting, value))
    return isinstance(value, int | float)


class _Widget(NamedTuple):
    name: str
    spec: Spec
    value: Any


class _Row:
    """The values of a node's widgets, read from left to right.

    widgets: those that are read so far. lacking: names of widgets that have neither a value nor a default. defaults:
    how many have their default because the file has no value for them.
    """

    def __init__(self, node: Json, values: Sequence[Any]) -> None:
        self.node = node
        self.values = list(values)
        self.read_values = 0
        self.widgets: list[_Widget] = []
        self.lacking: list[str] = []
        self.defaults = 0

    def read(self, known: Mapping[str, Spec]) -> None:
        """The widgets of these inputs: required ones first, then optional ones."""
        for optional in (False, True):
            section = {name: spec for name, spec in known.items() if spec.optional == optional}
            for name, spec in section.items():
                if spec.is_widget:
                    self._read_widget(name, spec)
            for spec in section.values():
                if spec.has_upload_button and self._is_left():
                    self.read_values += 1

    def require_fit(self, is_of_others: bool) -> None:
        """Raises WorkflowError. is_of_others: as of `values_of`."""
        further = [value for value in self.values[self.read_values :] if is_of_others and _is_setting(value)]
        if further:
            raise WorkflowError(
                f"{self.node['type']} (node {self.node['id']}) has values of widgets that a pack makes in the editor: "
                f"{json.dumps(further)[:_MOST_LETTERS]}"
            )
        if not (self._is_left() or self.lacking or self.defaults):
            return
        wrong = [widget for widget in self.widgets if widget.value is not None and not widget.spec.fits(widget.value)]
        if self.lacking or wrong:
            names = [*(widget.name for widget in self.widgets), *self.lacking]
            raise WorkflowError(
                f"{self.node['type']} (node {self.node['id']}) has {len(self.values)} widget values for {len(names)} "
                f"widgets: {names}."
            )

    def _is_left(self) -> bool:
        return self.read_values < len(self.values)

    def _read_widget(self, name: str, spec: Spec) -> None:
        if self._is_left():
            value = self.values[self.read_values]
            self.read_values += 1
        else:
            value = spec.default
            self.defaults += 1
            if value is None:
                if spec.kind in _SIMPLE and not spec.optional:
                    self.lacking.append(name)
                return
        self.widgets.append(_Widget(name, spec, value))
        if spec.kind == _DYNAMIC:
            self._read_chosen(name, spec, value)
        if spec.has_control(name) and self._is_left() and self.values[self.read_values] in _AFTER_A_RUN:
            self.read_values += 1

    def _read_chosen(self, menu: str, spec: Spec, choice: Any) -> None:
        """The widgets that a choice of a menu brings."""
        chosen = spec.chosen(menu, choice)
        if chosen is not None:
            self.read(chosen)
            return
        # The menu no longer has this choice: the file says which inputs it brought.
        for slot in self.node.get("inputs") or []:
            if slot["name"].startswith(f"{menu}."):
                self._read_widget(slot["name"], Spec("*"))
