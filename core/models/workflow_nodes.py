"""The nodes of a workflow as ComfyUI saves it or as its API takes it, those inside of subgraphs too.

Standard library only: scripts use this module where there is no torch yet.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from ..checks.errors import BadSetup

Graph = Mapping[str, Any]
"""A workflow as ComfyUI saves it, or as its API takes it."""
MOST_NODES = 10_000
"""Nodes of a workflow that are gone through, those of each box counted for each time that it stands there: workflows
come from strangers."""
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


class WorkflowNode(NamedTuple):
    """A node of a workflow that is not switched off.

    kind: its type. texts: the texts in its inputs, in their order. linked: names of the inputs that are linked.
    named: the texts by the names of their inputs, as far as the workflow has these names.
    """

    kind: str
    texts: list[str]
    linked: set[str]
    named: dict[str, str]

    def values_of(self, inputs: Sequence[str]) -> dict[str, str]:
        """The texts in these inputs by their names. An input without a text is not among them.

        Old workflows save values without names. Where the node has none of these names, its first text is taken for the
        first input, and so on.
        """
        named = {name: self.named[name] for name in inputs if name in self.named}
        return named or dict(zip(inputs, self.texts, strict=False))


def workflow(text: str | bytes) -> dict[str, Any]:
    """The workflow in a text of JSON, as ComfyUI saves it or as its API takes it.

    text: or its bytes, in UTF-8 or UTF-16, with or without the mark in front that programs of Windows write.
    Raises ValueError, saying why, for a text that is no workflow or has no node that would run, and BadSetup for more
    than MOST_NODES nodes in its outermost level. Only the first node is read.
    """
    try:
        graph: Any = json.loads(text)
    except RecursionError:
        raise ValueError("its brackets go deeper than those of any workflow") from None
    if not isinstance(graph, dict) or not any(True for _ in nodes(cast("dict[str, Any]", graph))):
        raise ValueError("there is no node in it that would run")
    return cast("dict[str, Any]", graph)


def nodes(graph: Graph) -> Iterator[WorkflowNode]:
    """Every node of a workflow that is not switched off, those inside of subgraphs too.

    Raises ValueError where its lists are damaged, and BadSetup for more than MOST_NODES.
    """
    # Nodes of an API prompt are looked for first: one may have the id "nodes", a key of saved workflows.
    prompt = [node for node in map(_dictionary, graph.values()) if "class_type" in node]
    if not prompt:
        yield from _saved_nodes(graph)
        return
    _require_few(len(prompt))
    for node in prompt:
        inputs = _dictionary(node.get("inputs"))
        linked = {name for name, value in inputs.items() if isinstance(value, list)}  # a link is [node id, output]
        named = _texts_by_name(inputs)
        yield WorkflowNode(str(node["class_type"]), [*named.values()], linked, named)


class Link(NamedTuple):
    """From an output of the node `source` to an input of the node `target`."""

    source: Any
    output: Any
    target: Any
    input: Any


class Widget(NamedTuple):
    """A widget in a subgraph. node: the id of its node, _BOX for one of the box itself. name: of the widget."""

    node: str
    name: str


_BOX = "-1"


class BoxValues(NamedTuple):
    """What a box says of the widgets in its subgraph. A box is the node that stands for a subgraph.

    inputs: the value by the name of an input of the subgraph that leads to a widget; None where the widget's own value
    counts. inside: the value of a widget to which no input leads.
    """

    inputs: dict[str, Any]
    inside: dict[Widget, Any]

    def set_in(self, node: Mapping[str, Any]) -> dict[str, Any]:
        """The values of `inside` for a node of the subgraph, by the names of its widgets."""
        number = str(node.get("id"))
        return {widget.name: value for widget, value in self.inside.items() if widget.node == number}


_NO_BOX = BoxValues({}, {})


class _SavedNode(NamedTuple):
    """A node as it is saved, and where it stands.

    brought: id of a link -> the value that it brings, of a box or a Primitive node. box: what the box around says.
    boxes: types of the boxes around.
    """

    node: dict[str, Any]
    brought: dict[Any, Any]
    box: BoxValues
    boxes: tuple[str, ...]


def _saved_nodes(graph: Graph) -> Iterator[WorkflowNode]:
    """The nodes of a saved workflow that are not switched off.

    After a box come the nodes of its subgraph, with the values that the box gives them: newer frontends save a value
    that was changed on a box in the box alone, and the subgraph still has the value with which it was made.
    """
    subgraph_of_type = subgraphs(graph)
    opened: set[str] = set()  # boxes with their texts whose subgraphs have been gone through
    level = listed_in(graph, "nodes")
    count = len(level)
    _require_few(count)
    waiting = _stacked(graph, level, _NO_BOX, boxes=())
    while waiting:
        saved = waiting.pop()
        node = saved.node
        if node.get("mode", 0) in SWITCHED_OFF:
            continue
        subgraph = subgraph_of_type.get(str(node.get("type", "")))
        if subgraph is None:
            yield _read(node, _values(saved))
            continue
        box_values = _box_values(saved, subgraph)
        box = _read(node, box_values.inputs)
        yield box
        # A damaged file may have a box of a subgraph inside of this subgraph: opening the box would never end.
        stands_in_itself = box.kind in saved.boxes
        # The same box with the same texts would give the same nodes again.
        box_with_texts = f"{box.kind} {sorted(box.named.items())} {box_values.inside}"
        if stands_in_itself or box_with_texts in opened:
            continue
        opened.add(box_with_texts)
        level = listed_in(subgraph, "nodes")
        count += len(level)
        _require_few(count)
        waiting += _stacked(subgraph, level, box_values, (*saved.boxes, box.kind))


def _read(node: Mapping[str, Any], values: Mapping[str, Any]) -> WorkflowNode:
    """A saved node as a WorkflowNode. values: of its inputs, by their names."""
    named = _texts_by_name(values)
    # A node whose values have no names still has them in a row.
    texts = [*named.values()] if values else _texts(node.get("widgets_values"))
    linked = {str(slot.get("name")) for slot in _slots(node) if slot.get("link") is not None}
    return WorkflowNode(str(node.get("type", "")), texts, linked, named)


def _values(saved: _SavedNode) -> dict[str, Any]:
    """Name of an input -> its value, for a node that is no box; {} where the workflow has no names.

    A value of a link counts over the node's own, and a value that the box around sets counts over both.
    """
    values = _own_values(saved.node)
    # A node without names gets no value of a link: with one here `_read` would not read the texts in its row.
    if values:
        values |= _over_links(saved.node, saved.brought)
    return values | saved.box.set_in(saved.node)


def _box_values(saved: _SavedNode, subgraph: Mapping[str, Any]) -> BoxValues:
    """What a box says of its subgraph; of its inputs those alone of which it says anything. Values of links and of the
    box around count over its own, as in `_values`."""
    own = values_of_box(saved.node, subgraph)
    inputs = {name: value for name, value in own.inputs.items() if value is not None}
    inputs |= _over_links(saved.node, saved.brought)
    return BoxValues(inputs | saved.box.set_in(saved.node), own.inside)


def _stacked(graph: Graph, level: list[dict[str, Any]], box: BoxValues, boxes: tuple[str, ...]) -> list[_SavedNode]:
    """The nodes of a workflow or subgraph, the last first: a stack, from which pop() takes them in their order.

    level: these nodes. box, boxes: the fields of _SavedNode, the same for all of them.
    """
    brought = _brought(graph, level, box.inputs)
    return [_SavedNode(node, brought, box, boxes) for node in reversed(level)]


def _require_few(count: int) -> None:
    """Raise BadSetup for more than MOST_NODES."""
    if count > MOST_NODES:
        raise BadSetup(
            f"The workflow has more than {MOST_NODES} nodes, and its files are not looked for.",
            "Look for the files of a part of it.",
        )


def _own_values(node: Mapping[str, Any]) -> dict[str, Any]:
    """Name of an input -> its value, for the inputs of a node that have a widget.

    {} where the workflow does not save these names, which shows in more values than names: so do workflows of old
    frontends and those inside of pictures.
    """
    named = named_values(node)
    if named is not None:
        return named
    values = _list(node.get("widgets_values"))
    names = names_in_row(node)
    if len(values) > len(names):
        return {}
    return dict(zip(names, values, strict=False))  # the last names may have no value


def names_in_row(node: Mapping[str, Any]) -> list[str]:
    """The names of a node's widgets in the order of `widgets_values`; "" for a value that is of no input."""
    names = [str(slot.get("name")) for slot in _slots(node) if "widget" in slot]
    for seed in ("seed", "noise_seed"):
        # After the value of a seed, frontends save what becomes of it after a run ("randomize"), which is no input: the
        # name "" takes it. Where there is no value too many, it was not saved.
        if seed in names and len(_list(node.get("widgets_values"))) > len(names):
            names.insert(names.index(seed) + 1, "")
    return names


def _over_links(node: Mapping[str, Any], brought: Mapping[Any, Any]) -> dict[str, Any]:
    """Name of an input -> the value of a box or a Primitive node that is linked to its widget. brought: id of a link ->
    value."""
    values: dict[str, Any] = {}
    for slot in _slots(node):
        link: Any = slot.get("link")
        if "widget" in slot and isinstance(link, int) and link in brought:
            values[str(slot.get("name"))] = brought[link]
    return values


def named_values(node: Mapping[str, Any]) -> dict[str, Any] | None:
    """The values of a node's widgets by their names; None where the file has them in a row alone."""
    for key in ("widgets_values_named", "widgets_values"):
        values: Any = node.get(key)
        if isinstance(values, dict):
            return dict(cast("dict[str, Any]", values))
    return None


def _brought(graph: Graph, level: list[dict[str, Any]], of_box: Mapping[str, Any]) -> dict[Any, Any]:
    """Id of a link -> the value that it brings, where that comes from a Primitive node or from the box around, perhaps
    through reroutes, setters and getters.

    graph: a workflow or a subgraph. level: its nodes. of_box: values of the box by the inputs of the subgraph.
    """
    inputs = _slots(graph)
    nodes_by_id = {str(node.get("id")): node for node in level}
    # Name -> setter; reversed, so that of several setters of one name the first one of `level` stays.
    setters = {first_value(node): node for node in reversed(level) if node.get("type") in SETTERS}
    brought: dict[Any, Any] = {}
    links_behind: dict[int, list[Any]] = {}  # id of a link -> the links that get its value
    for number, link in links(graph).items():
        source: Mapping[str, Any] = nodes_by_id.get(str(link.source), {})
        link_before = _link_before(source, setters)
        if link.source == INPUTS:
            name = _name(_at(inputs, link.output))
            if name in of_box:
                brought[number] = of_box[name]
        elif source.get("type") == PRIMITIVE:
            brought[number] = first_value(source)
        elif isinstance(link_before, int):
            links_behind.setdefault(link_before, []).append(number)
    waiting = list(brought)
    for number in waiting:  # which grows
        for behind in links_behind.get(number, ()):
            brought[behind] = brought[number]
            waiting.append(behind)
    return brought


def _link_before(node: Mapping[str, Any], setters: Mapping[Any, Mapping[str, Any]]) -> Any:
    """The link whose value a node passes on; None for a node that passes nothing on.

    Of a reroute or a setter it is the link into its first input; of a getter that into the setter of the same name.
    setters: by their names.
    """
    kind = node.get("type")
    entrance = node  # the node into which the link leads
    if kind in GETTERS:
        entrance = setters.get(first_value(node), {})
    elif kind not in (*REROUTES, *SETTERS):
        return None
    return next((slot.get("link") for slot in _slots(entrance)), None)


def first_value(node: Mapping[str, Any]) -> Any:
    """The value of a node's first widget; None where it has none, and for a list or a dictionary."""
    values: Any = node.get("widgets_values")
    if isinstance(values, dict):
        values = [*cast("dict[str, Any]", values).values()]
    value = next(iter(_list(values)), None)
    return value if isinstance(value, str | int | float | bool) else None


def links(graph: Graph) -> dict[Any, Link]:
    """The links of a workflow or a subgraph by their numbers. Damaged links are left out.

    A link is a list in a workflow, and a dictionary in a subgraph.
    """
    known: dict[Any, Link] = {}
    for link in _list(graph.get("links")):
        if isinstance(link, dict):
            named = cast("dict[str, Any]", link)
            keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot")  # in the order of the lists
            entry = [named.get(key) for key in keys]
        else:
            entry = _list(link)[:5]
        if len(entry) == 5 and isinstance(entry[0], int):
            number, source, output, target, slot = entry
            known[number] = Link(source, output, target, slot)
    return known


def values_of_box(box: Mapping[str, Any], subgraph: Mapping[str, Any]) -> BoxValues:
    """What a box says of the widgets in its subgraph.

    Editors have saved this in four ways, which are tried in this order:
    1. by the names of the inputs;
    2. in a row, a value for each widget that `proxyWidgets` lists, of which some lie inside of the subgraph;
    3. in a row, a value for each slot of the box with a widget;
    4. in a row, a value for each input that leads to a widget, also without a slot of the box.
    """
    with_slot = {_name(slot) for slot in _slots(box) if "widget" in slot}  # names of the box's slots with a widget
    input_of_widget = _inputs_with_widget(subgraph)
    names = [_name(slot) for slot in _slots(subgraph)]  # of all inputs, in the order in which values are saved
    by_widget = [name for name in names if name in with_slot or name in input_of_widget.values()]
    own_values: dict[str, Any] = dict.fromkeys(by_widget)  # None: the widget's own value counts
    named = box.get("widgets_values_named")
    row = _list(box.get("widgets_values"))
    listed_widgets = _listed_widgets(box)
    if isinstance(named, dict):  # 1
        inputs = {name: value for name, value in cast("dict[str, Any]", named).items() if name in own_values}
        return BoxValues(own_values | inputs, {})
    if any(listed_widgets):  # 2
        listed = _values_of_listed(listed_widgets, row, input_of_widget)
        return BoxValues(own_values | listed.inputs, listed.inside)
    by_slot = [name for name in names if name in with_slot]
    if len(row) == len(by_slot):  # 3
        return BoxValues(own_values | dict(zip(by_slot, row, strict=True)), {})
    return BoxValues(own_values | dict(zip(by_widget, row, strict=False)), {})  # 4


def _values_of_listed(
    widgets: Sequence[Widget | None], row: Sequence[Any], input_of_widget: Mapping[Widget, str]
) -> BoxValues:
    """What a row of values says, of which each is for one of the widgets that a box lists."""
    listed = BoxValues({}, {})
    for widget, value in zip(widgets, row, strict=False):
        if widget is None or value is None:  # a widget that is only shown, or keeps its own value
            continue
        # A widget of the box has the name of its input.
        input_name = widget.name if widget.node == _BOX else input_of_widget.get(widget)
        if input_name is not None:
            listed.inputs[input_name] = value
        elif widget.name not in CONTROLS:
            listed.inside[widget] = value
    return listed


def _listed_widgets(box: Mapping[str, Any]) -> list[Widget | None]:
    """The widgets that a box lists under `proxyWidgets`, in the order in which its values stand in their row.

    None in the place of an entry that is damaged, and of one that the box only shows.
    """
    widgets: list[Widget | None] = []
    for entry in map(_list, _list(_dictionary(box.get("properties")).get("proxyWidgets"))):
        if len(entry) < 2 or str(entry[1]).startswith(_PREVIEW):
            widgets.append(None)
        else:
            widgets.append(Widget(str(entry[0]), str(entry[1])))
    return widgets


def _inputs_with_widget(subgraph: Mapping[str, Any]) -> dict[Widget, str]:
    """The widgets in a subgraph that its inputs lead to, each -> the name of the subgraph's input."""
    inputs = _slots(subgraph)
    nodes_by_id = {str(node.get("id")): node for node in listed_in(subgraph, "nodes")}
    input_of_widget: dict[Widget, str] = {}
    for link in links(subgraph).values():
        if link.source != INPUTS:
            continue
        declared_input = _at(inputs, link.output)  # of the subgraph
        slot = _at(_slots(nodes_by_id.get(str(link.target), {})), link.input)  # of the node in the subgraph
        if "widget" in slot and declared_input:
            input_of_widget[Widget(str(link.target), _name(slot))] = _name(declared_input)
    return input_of_widget


def _at(slots: list[dict[str, Any]], place: Any) -> dict[str, Any]:
    """The slot at a place that a file says; {} where there is none."""
    return slots[place] if isinstance(place, int) and 0 <= place < len(slots) else {}


def _name(slot: Mapping[str, Any]) -> str:
    name = slot.get("name")
    return name if isinstance(name, str) else ""


def _slots(node: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [_dictionary(slot) for slot in _list(node.get("inputs"))]


def _texts_by_name(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, value in values.items() if isinstance(value, str)}


def _texts(values: Any) -> list[str]:
    return [value for value in _list(values) if isinstance(value, str)]


def _dictionary(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def subgraphs(graph: Graph) -> dict[str, dict[str, Any]]:
    """The subgraphs of a saved workflow, by the type of the nodes that stand for them.

    Raises ValueError where the list is damaged.
    """
    return {str(subgraph.get("id")): subgraph for subgraph in listed_in(graph.get("definitions"), "subgraphs")}


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
