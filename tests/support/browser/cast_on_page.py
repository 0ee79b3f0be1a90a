"""A Cast, or a Cast from Photos, which shows no more inputs than it has people."""

from __future__ import annotations

from .canvas import Canvas
from .node_on_page import NodeOnPage

KINDS = ("LikenessCast", "LikenessCastFromPhotos")

# Vue nodes: a row for every input, whose text is empty where it belongs to a widget. Classic nodes: every input that
# belongs to no widget.
_SLOTS = """
cast => {
  const rows = [...document.querySelectorAll(`[data-node-id="${cast.id}"] .lg-slot--input`)];
  const texts = rows.map(row => row.innerText.trim()).filter(text => text);
  const inputOf = text => cast.inputs.find(input =>
    [input.label, input.localized_name, input.name].includes(text));
  const names = rows.length
    ? texts.map(text => inputOf(text)?.name ?? text)
    : cast.inputs.filter(input => !input.widget).map(input => input.name);
  const isLinked = name => cast.isInputConnected(cast.inputs.findIndex(input => input.name === name));
  return names.map(name => name + (isLinked(name) ? '*' : '')).join(' ');
}
"""


class CastOnPage:
    """The Cast that was added last to the graph that is open."""

    def __init__(self, canvas: Canvas) -> None:
        self._canvas = canvas

    def node(self) -> NodeOnPage:
        return self._canvas.node_of(*KINDS)

    def slots(self) -> str:
        """The inputs that are seen, linked ones with a star."""
        self._canvas.settle()
        return self.node().evaluate(_SLOTS)

    def menus(self) -> str:
        """The menus of kept people that are seen."""
        self._canvas.settle()
        return self.node().evaluate(
            "cast => cast.widgets.map(widget => !widget.hidden && widget.name)"
            ".filter(name => name && name.startsWith('person_')).join(' ')"
        )

    def choose(self, menu: str, value: str) -> None:
        """As a click on a choice does, also of somebody who is kept elsewhere."""
        self.node().evaluate(
            "(cast, [name, value]) => { const menu = cast.widgets.find(widget => widget.name === name);"
            " menu.value = value; menu.callback(value); }",
            [menu, value],
        )

    def link(self, input_name: str) -> None:
        """Connect a Person with an input."""
        self._canvas.node_of("LikenessPerson").link_to(self.node(), input_name)

    def unlink(self, input_name: str) -> None:
        self.node().unlink(input_name)

    def unlink_all(self) -> None:
        self.node().evaluate("cast => cast.inputs.forEach((_, slot) => cast.disconnectInput(slot))")

    def copy(self) -> None:
        self._canvas.copy_and_paste([self.node()], 900, 900)

    def go_into_new_subgraph(self) -> None:
        """Make a subgraph of the first Cast, and open it."""
        kind = self.node().evaluate("cast => cast.type")
        first = self._canvas.node(
            self.node().page.evaluate("kind => app.graph._nodes.find(node => node.type === kind).id", kind)
        )
        self._canvas.go_into_new_subgraph_of(first)
