"""A workflow as the editor saves it: its nodes inside of their boxes, and what its links bring.

The editor sends what it makes of such a file. This module follows links as the editor does then: through reroutes,
nodes that are bypassed, Set and Get nodes, and into and out of the boxes that stand for subgraphs. What only the host
knows of a class of nodes is passed in (`InputsOf`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, cast

from core.checks.limits import NODES
from core.models.workflow_nodes import require_at_most

from . import old_groups
from .json_parts import dictionary, list_of

Graph = Mapping[str, Any]
"""A workflow as ComfyUI saves it, or as its API takes it."""
_MOST_LINKS = 100_000
"""Links, counted in the same way."""
_MOST_BOXES = 100
"""Boxes that stand in each other."""
_MOST_WAYS = 1_000_000
"""Ways through bypassed nodes, of each link that is followed through one as many as the node has inputs: a second."""
MUTED = 2
BYPASSED = 4
SWITCHED_OFF = (MUTED, BYPASSED)
"""Modes of a node in a saved workflow."""
_PREVIEW = "$$"
"""How the names of what a box only shows begin among the widgets that it lists."""
CONTROLS = ("control_after_generate", "control_before_generate", "control_filter_list")
"""Widgets that the editor adds behind a seed: no inputs."""
INPUTS = -10
"""The source of the links inside of a subgraph that begin at its inputs."""
OUTPUTS = -20
"""The target of the links inside of a subgraph that end at its outputs."""

# Nodes of the editor alone, which have no Python: what they do is done when the editor makes a prompt.
PRIMITIVE = "PrimitiveNode"
"""A widget for the widgets it is linked to."""
REROUTES = ("Reroute", "Reroute (rgthree)", "ReroutePrimitive|pysssss")
"""A corner of a link."""
SETTERS = ("SetNode", "easy setNode")
"""A link that ends here goes on from every getter of the same name, in the same graph and in those inside of it."""
GETTERS = ("GetNode", "easy getNode")
HELPERS = (
    "Note", "MarkdownNote", "Label (rgthree)", "Bookmark (rgthree)", "Node Collector (rgthree)",
    "Fast Muter (rgthree)", "Fast Bypasser (rgthree)", "Fast Groups Muter (rgthree)", "Fast Groups Bypasser (rgthree)",
    "Fast Actions Button (rgthree)", "Mute / Bypass Relay (rgthree)", "Mute / Bypass Repeater (rgthree)",
    "Display Any (rgthree)", "Display Int (rgthree)",
)  # fmt: skip
"""Nothing of them is in a prompt, or nothing that is drawn. What they switch off is saved as switched off."""
EDITOR_NODES = frozenset((PRIMITIVE, *REROUTES, *SETTERS, *GETTERS, *HELPERS))


class _Link(NamedTuple):
    """From an output of the node `source` to an input of the node `target`."""

    source: Any
    output: int
    target: Any
    input: int


class _Widget(NamedTuple):
    """A widget in a subgraph. node: the id of its node, _BOX for one of the box itself. name: of the widget."""

    node: str
    name: str


_BOX = "-1"


class _BoxValues(NamedTuple):
    """What a box says of the widgets in its subgraph. A box is the node that stands for a subgraph.

    inputs: the value by the name of an input of the subgraph that leads to a widget; None where the widget's own value
    counts. inside: the values of widgets to which no input leads, by the id of their node and by their names.
    """

    inputs: dict[str, Any]
    inside: dict[str, dict[str, Any]]


InputsOf = Callable[[str], Mapping[str, Any] | None]
"""Class of a node -> the types of its inputs today by their names, in the order in which the editor has them once it
has opened a file: widgets last. None for a class that the host does not have, such as those of the editor's own
nodes."""


def no_host(_: str) -> None:
    """InputsOf where no host is asked: the inputs of every node are those in the file, and all EDITOR_NODES are the
    editor's own."""


class Output(NamedTuple):
    """What a link brings: an output of a node that runs. node: its number in the prompt. output: which, from 0."""

    node: str
    output: int


@dataclass(frozen=True)
class Setting:
    """What a link brings: the value of a widget, of a box or of a Primitive node.

    node: number of the node that has the widget, inside of a box "box:node". name: of the widget. title: what the node
    is called. label: what the editor shows for the widget. value: None where the widget behind the link keeps its own.
    is_primitive: whether it is a Primitive's, which the editor copies into the widget that it is linked to.
    """

    node: str
    name: str
    title: str
    label: str
    value: Any = None
    is_primitive: bool = False


class Nowhere(NamedTuple):
    """What a link brings that the editor cannot follow to its beginning. why: a sentence."""

    why: str


Brought = Output | Setting | Nowhere


class _Place(NamedTuple):
    """Where a link stands that is followed back to its beginning. link: its number."""

    level: Level
    link: int


@dataclass
class _Opened:
    """What all levels of a workflow share. nodes, links: how many have been opened. ways: how many through bypassed
    nodes have been looked at. found: what links bring, as far as it is known, by their place and the type of the input
    that they lead to."""

    subgraphs: Mapping[str, dict[str, Any]]
    inputs_of: InputsOf
    nodes: int = 0
    links: int = 0
    ways: int = 0
    found: dict[tuple[_Place, str], Brought | None] = field(
        default_factory=dict["tuple[_Place, str]", "Brought | None"]
    )


class SavedNode:
    """A node as it is saved, and where it stands.

    level: the workflow or subgraph that it is a node of. saved: its entry in the file. kind: its type.
    """

    def __init__(self, level: Level, saved: dict[str, Any]) -> None:
        self.level = level
        self.saved = saved
        self.kind = str(saved.get("type", ""))
        self.id = str(saved.get("id"))

    @property
    def number(self) -> str:
        """Its number in the prompt."""
        return self.level.path + self.id

    @property
    def mode(self) -> Any:
        """MUTED, BYPASSED, or that of a node that runs."""
        return self.saved.get("mode", 0)

    @property
    def is_linked(self) -> bool:
        """Whether a link leads to it or from it."""
        return self.is_read or self.id in self.level.targets

    @property
    def is_read(self) -> bool:
        """Whether a link leads from it."""
        return self.id in self.level.sources

    @cached_property
    def inside(self) -> Level | None:
        """The level that it stands for, if it is a box. A box in a damaged file may lie inside of itself, where it is
        none: opening it would never end."""
        opened = self.level.opened
        subgraph = opened.subgraphs.get(self.kind)
        if subgraph is None or self.kind in self.level.boxes:
            return None
        if self.kind.startswith(old_groups.PREFIXES):
            subgraph = old_groups.as_subgraph(subgraph, self.saved, opened.inputs_of)
        return Level(subgraph, opened, self)

    @cached_property
    def brought(self) -> dict[str, Brought]:
        """What links, and the box around, bring to its inputs, by their names; of those that anything is brought to.

        Raises BadSetup for too many ways through bypassed nodes.
        """
        brought: dict[str, Brought] = {}
        for slot in slots(self.saved):
            link = _link_into(slot)
            source = None if link is None else self.level.source(link, slot.get("type"))
            if source is not None:
                brought[name_of(slot)] = source
        return brought | self.set_by_box

    @cached_property
    def set_by_box(self) -> dict[str, Setting]:
        """What the box around says of its widgets to which no input of the subgraph leads, by their names."""
        box = self.level.box
        if box is None:
            return {}
        values = self.level.set_inside.get(self.id, {})
        return {name: Setting(box.number, name, self.level.title, name, value) for name, value in values.items()}

    @cached_property
    def slot_of_name(self) -> dict[str, dict[str, Any]]:
        """Its saved slots by their names, of several of one name the first."""
        return {name_of(slot): slot for slot in reversed(slots(self.saved))}

    @cached_property
    def inputs(self) -> list[dict[str, Any]]:
        """Its slots as the editor has them once it has opened the file.

        Those that the host knows come in the host's order; an input that grows as those that it has grown to; behind
        them what only the file has.
        """
        saved = {name_of(slot): slot for slot in slots(self.saved)}
        today: list[dict[str, Any]] = []
        for name, kind in (self.level.opened.inputs_of(self.kind) or {}).items():
            grown = [key for key in saved if key.startswith(f"{name}.")]
            for key in grown:
                today.append(saved.pop(key))
            if not grown:
                today.append(saved.pop(name, {"name": name, "type": kind}))
        return [*today, *saved.values()]


class Level:
    """The nodes of a workflow, or of a subgraph that stands in one.

    box: the node that the subgraph is behind; None for the workflow itself. boxes: the types of this box and of those
    around it. path: what the numbers of these nodes begin with in a prompt. title: what the box is called.
    Raises BadSetup where that makes more nodes, links or boxes in boxes than are read, and ValueError where the list of
    nodes is damaged.
    """

    def __init__(self, graph: Graph, opened: _Opened, box: SavedNode | None = None) -> None:
        self.opened = opened
        self.box = box
        self.boxes: frozenset[str] = frozenset()
        self.path = self.title = ""
        if box:
            self.boxes = box.level.boxes | {box.kind}
            self.path = f"{box.number}:"
            self.title = box.saved.get("title") or graph.get("name", "")
        self.nodes = [SavedNode(self, node) for node in listed_in(graph, "nodes")]
        opened.nodes += len(self.nodes)
        opened.links += len(list_of(graph.get("links")))
        require_at_most("nodes", opened.nodes, NODES)
        require_at_most("links", opened.links, _MOST_LINKS)
        require_at_most("boxes, each in the next", len(self.boxes), _MOST_BOXES)
        # The nodes of a group of an older editor have the values of their box.
        is_group = box is not None and box.kind.startswith(old_groups.PREFIXES)
        self._set_by_inputs, self.set_inside = _values_of_box(box.saved if box and not is_group else {}, graph)
        self._inputs = slots(graph)
        self._links = _links(graph)
        self.sources = {str(link.source) for link in self._links.values()}
        self.targets = {str(link.target) for link in self._links.values()}
        self._node_of_id = {node.id: node for node in self.nodes}

    @cached_property
    def _setters(self) -> dict[Any, SavedNode]:
        """Name -> the first setter of this name."""
        return {first_value(node.saved): node for node in reversed(self.nodes) if node.kind in SETTERS}

    @cached_property
    def _ends(self) -> dict[int, int]:
        """Output of the subgraph -> the first link that leads to it."""
        return {link.input: number for number, link in reversed(self._links.items()) if link.target == OUTPUTS}

    def source(self, link: int, wanted: Any) -> Brought | None:
        """What a link of this level brings to an input of the type `wanted`, None where there is nothing in the end.

        The link is followed back to where it begins: at an output of a node that runs, or at the widget of a box or of
        a Primitive node.
        """
        found = self.opened.found
        place: _Place | Brought | None = _Place(self, link)
        passed: list[tuple[_Place, str]] = []
        while isinstance(place, _Place):
            key = (place, str(wanted))
            if key in found:
                place = found[key]
                break
            # In a circle the link comes back to here.
            found[key] = Nowhere("its reroutes, Set and Get nodes or subgraphs lead in a circle.")
            passed.append(key)
            place = place.level._before(place.link, wanted)
        found.update(dict.fromkeys(passed, place))
        return place

    def _before(self, number: int, wanted: Any) -> _Place | Brought | None:
        """Where a link comes from, one step back."""
        link = self._links.get(number)
        if link is None:  # it is in no table: the editor drops it
            return None
        if link.source == INPUTS and self.box:
            return self._before_box(self.box, link.output)
        node = self._node_of_id.get(str(link.source))
        return None if node is None else self._behind(node, link.output, wanted)

    def _before_box(self, box: SavedNode, number: int) -> _Place | Setting | None:
        """What the box brings to an input of its subgraph. number: of the input, from 0."""
        declared = _at(self._inputs, number)
        name = name_of(declared)
        if name in box.set_by_box:
            return box.set_by_box[name]
        # A box may lack slots, and then their numbers differ from those of the subgraph. What the subgraph says of the
        # input stands in the place of a slot that is not there.
        slot = box.slot_of_name.get(name, {"label": declared.get("label")})
        link = _link_into(slot)
        if link is not None:
            return _Place(box.level, link)
        if name not in self._set_by_inputs:
            return None
        return Setting(box.number, name, self.title, label(slot, name), self._set_by_inputs[name])

    def _behind(self, node: SavedNode, output: int, wanted: Any) -> _Place | Brought | None:
        """What stands behind an output of a node of this level."""
        if node.kind == PRIMITIVE:
            title = node.saved.get("title") or "Primitive"
            return Setting(node.number, "value", title, "value", first_value(node.saved), is_primitive=True)
        if node.mode == MUTED:
            return None
        is_of_editor = node.kind in EDITOR_NODES and self.opened.inputs_of(node.kind) is None
        if is_of_editor and node.kind in (*REROUTES, *SETTERS):
            return self._through(node, 0)
        if node.mode == BYPASSED:
            self.opened.ways += len(node.inputs)
            require_at_most("ways through bypassed nodes", self.opened.ways, _MOST_WAYS)
            kind = dictionary(_at(list_of(node.saved.get("outputs")), output)).get("type")
            return self._through(node, _input_for(node.inputs, kind, output, wanted))
        if is_of_editor and node.kind in GETTERS:
            return self._behind_getter(node)
        if node.inside:
            end = node.inside._ends.get(output)
            return None if end is None else _Place(node.inside, end)
        return Output(node.number, output)

    def _through(self, node: SavedNode, place: int | None) -> _Place | None:
        """What comes into an input of a node. place: of the input, from 0; None for no input."""
        link = None if place is None else _link_into(_at(node.inputs, place))
        return None if link is None else _Place(self, link)

    def _behind_getter(self, getter: SavedNode) -> _Place | Nowhere | None:
        """What comes into the setter with the name of a getter, of this level or one around it."""
        name = first_value(getter.saved)
        level: Level | None = self
        while level:
            if name in level._setters:
                return level._through(level._setters[name], 0)
            level = level.box.level if level.box else None
        return Nowhere(f"{getter.kind} (node {getter.number}) gets {name}, which is set nowhere.")


def running(graph: Graph, inputs_of: InputsOf = no_host) -> Iterator[SavedNode]:
    """Every node of a saved workflow that is not switched off, those inside of subgraphs in the place of their box.

    Raises ValueError where its lists are damaged, and BadSetup for more than limits.NODES.
    """
    waiting = Level(graph, _Opened(subgraphs(graph), inputs_of)).nodes[::-1]  # a stack: the next node is the last
    while waiting:
        node = waiting.pop()
        if node.mode in SWITCHED_OFF:
            continue
        if node.inside is None:
            yield node
        else:
            waiting += node.inside.nodes[::-1]


_ANY = ("*", "", None)
"""Types that fit every type."""


def _input_for(inputs: Sequence[Mapping[str, Any]], output_type: Any, output: int, wanted: Any) -> int | None:
    """Which input of a bypassed node stands for one of its outputs, as the editor chooses it."""
    types = [slot.get("type") for slot in inputs]
    if wanted in _ANY:
        return output if len(types) > output else 0
    fitting: list[int] = []
    for number, kind in enumerate(types):
        if _fits(kind, output_type) and _fits(kind, wanted):
            fitting.append(number)
    if output in fitting:
        return output
    if wanted in types:
        return types.index(wanted)
    if fitting:
        return fitting[0]
    return None


def _fits(first: Any, second: Any) -> bool:
    """Whether types, or lists of them ("A,B"), may be linked."""
    if first in _ANY or second in _ANY:
        return True
    return not set(str(first).lower().split(",")).isdisjoint(str(second).lower().split(","))


def label(slot: Mapping[str, Any], name: str) -> str:
    """What the editor shows for an input."""
    return slot.get("label") or slot.get("localized_name") or name


def names_in_row(node: Mapping[str, Any]) -> list[str]:
    """The names of a node's widgets in the order of `widgets_values`; "" for a value that is of no input."""
    names = [str(slot.get("name")) for slot in slots(node) if "widget" in slot]
    for seed in ("seed", "noise_seed"):
        # After the value of a seed, frontends save what becomes of it after a run ("randomize"), which is no input: the
        # name "" takes it. Where there is no value too many, it was not saved.
        if seed in names and len(list_of(node.get("widgets_values"))) > len(names):
            names.insert(names.index(seed) + 1, "")
    return names


def named_values(node: Mapping[str, Any]) -> dict[str, Any] | None:
    """The values of a node's widgets by their names; None where the file has them in a row alone."""
    for key in ("widgets_values_named", "widgets_values"):
        values: Any = node.get(key)
        if isinstance(values, dict):
            return dict(cast("dict[str, Any]", values))
    return None


def first_value(node: Mapping[str, Any]) -> Any:
    """The value of a node's first widget; None where it has none, and for a list or a dictionary."""
    values: Any = node.get("widgets_values")
    if isinstance(values, dict):
        values = [*cast("dict[str, Any]", values).values()]
    value = next(iter(list_of(values)), None)
    return value if isinstance(value, str | int | float | bool) else None


def _links(graph: Graph) -> dict[int, _Link]:
    """The links of a workflow or a subgraph by their numbers. Damaged links are left out.

    A link is a list in a workflow, and a dictionary in a subgraph.
    """
    known: dict[int, _Link] = {}
    for link in list_of(graph.get("links")):
        if isinstance(link, dict):
            named = cast("dict[str, Any]", link)
            keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot")  # in the order of the lists
            entry = [named.get(key) for key in keys]
        else:
            entry = list_of(link)[:5]
        if len(entry) < 5:
            continue
        number, source, output, target, slot = entry
        if isinstance(number, int) and isinstance(output, int) and isinstance(slot, int):
            known[number] = _Link(source, output, target, slot)
    return known


def _values_of_box(box: Mapping[str, Any], subgraph: Mapping[str, Any]) -> _BoxValues:
    """What a box says of the widgets in its subgraph.

    Editors have saved this in four ways, which are tried in this order:
    1. by the names of the inputs;
    2. in a row, a value for each widget that `proxyWidgets` lists, of which some lie inside of the subgraph;
    3. in a row, a value for each slot of the box with a widget;
    4. in a row, a value for each input that leads to a widget, also without a slot of the box.
    """
    with_slot = {name_of(slot) for slot in slots(box) if "widget" in slot}  # names of the box's slots with a widget
    input_of_widget = _inputs_with_widget(subgraph)
    names = [name_of(slot) for slot in slots(subgraph)]  # of all inputs, in the order in which values are saved
    by_widget = [name for name in names if name in with_slot or name in input_of_widget.values()]
    own_values: dict[str, Any] = dict.fromkeys(by_widget)  # None: the widget's own value counts
    named = box.get("widgets_values_named")
    row = list_of(box.get("widgets_values"))
    listed_widgets = _listed_widgets(box)
    if isinstance(named, dict):  # 1
        inputs = {name: value for name, value in cast("dict[str, Any]", named).items() if name in own_values}
        return _BoxValues(own_values | inputs, {})
    if any(listed_widgets):  # 2
        listed = _values_of_listed(listed_widgets, row, input_of_widget)
        return _BoxValues(own_values | listed.inputs, listed.inside)
    by_slot = [name for name in names if name in with_slot]
    if len(row) == len(by_slot):  # 3
        return _BoxValues(own_values | dict(zip(by_slot, row, strict=True)), {})
    return _BoxValues(own_values | dict(zip(by_widget, row, strict=False)), {})  # 4


def _values_of_listed(
    widgets: Sequence[_Widget | None], row: Sequence[Any], input_of_widget: Mapping[_Widget, str]
) -> _BoxValues:
    """What a row of values says, of which each is for one of the widgets that a box lists."""
    listed = _BoxValues({}, {})
    for widget, value in zip(widgets, row, strict=False):
        if widget is None or value is None:  # a widget that is only shown, or keeps its own value
            continue
        # A widget of the box has the name of its input.
        input_name = widget.name if widget.node == _BOX else input_of_widget.get(widget)
        if input_name is not None:
            listed.inputs[input_name] = value
        elif widget.name not in CONTROLS:
            listed.inside.setdefault(widget.node, {})[widget.name] = value
    return listed


def _listed_widgets(box: Mapping[str, Any]) -> list[_Widget | None]:
    """The widgets that a box lists under `proxyWidgets`, in the order in which its values stand in their row.

    None in the place of an entry that is damaged, and of one that the box only shows.
    """
    widgets: list[_Widget | None] = []
    for entry in map(list_of, list_of(dictionary(box.get("properties")).get("proxyWidgets"))):
        if len(entry) < 2 or str(entry[1]).startswith(_PREVIEW):
            widgets.append(None)
        else:
            widgets.append(_Widget(str(entry[0]), str(entry[1])))
    return widgets


def _inputs_with_widget(subgraph: Mapping[str, Any]) -> dict[_Widget, str]:
    """The widgets in a subgraph that its inputs lead to, each -> the name of the subgraph's input."""
    inputs = slots(subgraph)
    slots_of_id = {str(node.get("id")): slots(node) for node in listed_in(subgraph, "nodes")}
    input_of_widget: dict[_Widget, str] = {}
    for link in _links(subgraph).values():
        if link.source != INPUTS:
            continue
        declared_input = _at(inputs, link.output)  # of the subgraph
        slot = _at(slots_of_id.get(str(link.target), []), link.input)  # of the node in the subgraph
        if "widget" in slot and declared_input:
            input_of_widget[_Widget(str(link.target), name_of(slot))] = name_of(declared_input)
    return input_of_widget


def _at(slots: Sequence[dict[str, Any]], place: int) -> dict[str, Any]:
    """The slot at a place that a file says; {} where there is none."""
    return slots[place] if 0 <= place < len(slots) else {}


def name_of(slot: Mapping[str, Any]) -> str:
    name = slot.get("name")
    return name if isinstance(name, str) else ""


def slots(node: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The inputs of a node or of a subgraph, as they are saved."""
    return [dictionary(slot) for slot in list_of(node.get("inputs"))]


def _link_into(slot: Mapping[str, Any]) -> int | None:
    """The number of the link that leads to a slot; None for no link, and for a damaged one."""
    link: Any = slot.get("link")
    return link if isinstance(link, int) else None


def subgraphs(graph: Graph) -> dict[str, dict[str, Any]]:
    """The subgraphs of a saved workflow, and the groups of older editors, by the type of the nodes that stand for them.

    Raises ValueError where the list is damaged.
    """
    saved = {str(subgraph.get("id")): subgraph for subgraph in listed_in(graph.get("definitions"), "subgraphs")}
    return old_groups.groups(graph) | saved


def listed_in(holder: Any, name: str) -> list[dict[str, Any]]:
    """The nodes or subgraphs that stand under a name in a part of a saved workflow; [] where there is nothing.

    Raises ValueError where it is no list of dictionaries.
    """
    if not holder:
        return []
    entries: Any = None
    if isinstance(holder, dict):
        entries = cast("dict[str, Any]", holder).get(name) or []
    is_whole = isinstance(entries, list) and all(isinstance(entry, dict) for entry in cast("list[Any]", entries))
    if not is_whole:
        raise ValueError(f"its list of {name} is damaged")
    return cast("list[dict[str, Any]]", entries)
