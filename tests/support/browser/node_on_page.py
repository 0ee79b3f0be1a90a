"""A node of the graph that the editor shows."""

from __future__ import annotations

from typing import Any

import playwright.sync_api as playwright

NOTE = "likeness_note"
"""The widget with what a run says of the node."""

_MIDDLE_OF_WIDGET = """
(node, name) => {
  const {y, computedHeight} = node.widgets.find(widget => widget.name === name);
  const {scale, offset} = app.canvas.ds;
  const {left, top} = app.canvas.canvas.getBoundingClientRect();
  const middle = [node.size[0] / 2, y + (computedHeight ?? 20) / 2];
  const [right, down] = middle.map((side, i) => (node.pos[i] + offset[i] + side) * scale);
  return [left + right, top + down];
}
"""


class NodeOnPage:
    """A node in the graph that is open, be it the whole or a subgraph."""

    def __init__(self, page: playwright.Page, node_id: int | str) -> None:
        self.page = page
        self.id = node_id

    def evaluate(self, function: str, argument: Any = None) -> Any:
        """What a JavaScript function of the editor's node and of an argument returns, as JSON."""
        return self.page.evaluate(
            f"([id, argument]) => ({function})(app.canvas.graph.getNodeById(id), argument)", [self.id, argument]
        )

    def await_true(self, function: str, argument: Any = None) -> None:
        """Wait until a JavaScript function of the editor's node and of an argument returns something true."""
        # By the clock, as a page that nobody looks at may draw no frames.
        self.page.wait_for_function(
            f"([id, argument]) => ({function})(app.canvas.graph.getNodeById(id), argument)",
            arg=[self.id, argument],
            polling=20,
        )

    def select(self) -> None:
        """Select it alone, and bring it into view where the editor can."""
        self.evaluate("""node => {
            app.canvas.deselectAll();
            app.canvas.selectNode(node, false);
            app.canvas.fitViewToSelectionAnimated?.();
            app.canvas.setDirty(true, true);
        }""")

    def show_at(self, x: float, y: float) -> None:
        """Move the view so that the node begins at this point of the canvas, every pixel as large as on the screen."""
        self.evaluate(
            """(node, [x, y]) => {
                app.canvas.ds.scale = 1;
                app.canvas.ds.offset = [x - node.pos[0], y - node.pos[1]];
                app.canvas.setDirty(true, true);
            }""",
            [x, y],
        )

    def collapse(self, is_collapsed: bool) -> None:
        self.evaluate("(node, value) => void (node.flags.collapsed = value)", is_collapsed)

    def show_advanced_inputs(self) -> None:
        self.evaluate("node => void (node.showAdvanced = true)")

    # Its inputs

    def input_names(self) -> list[str]:
        return self.evaluate("node => node.inputs.map(input => input.name)")

    def input_labels(self) -> list[str | None]:
        """What inputs are called on the node, None where that is their name."""
        return self.evaluate("node => node.inputs.map(input => input.label ?? null)")

    def slot(self, name: str) -> int:
        """The number of an input, -1 where there is none of this name."""
        return self.evaluate("(node, name) => node.inputs.findIndex(input => input.name === name)", name)

    def link_to(self, target: NodeOnPage, input_name: str) -> None:
        """Connect the first output with an input of another node."""
        self.evaluate(
            """(node, [target, name]) => {
                const other = app.canvas.graph.getNodeById(target);
                node.connect(0, other, other.inputs.findIndex(input => input.name === name));
            }""",
            [target.id, input_name],
        )

    def unlink(self, input_name: str) -> None:
        self.evaluate(
            "(node, name) => void node.disconnectInput(node.inputs.findIndex(input => input.name === name))", input_name
        )

    # Its values

    def value(self, name: str) -> Any:
        """The value of a widget."""
        return self.evaluate("(node, name) => node.widgets.find(widget => widget.name === name).value", name)

    def shown_value(self, name: str) -> Any:
        """What a menu shows of its value, where that differs."""
        return self.evaluate("(node, name) => node.widgets.find(widget => widget.name === name)._displayValue", name)

    def option_label(self, name: str) -> str:
        """What a menu calls the value that is chosen."""
        return self.evaluate(
            """(node, name) => {
                const menu = node.widgets.find(widget => widget.name === name);
                return menu.options.getOptionLabel(menu.value);
            }""",
            name,
        )

    def set_value(self, name: str, value: Any) -> None:
        self.evaluate(
            "(node, [name, value]) => void (node.widgets.find(widget => widget.name === name).value = value)",
            [name, value],
        )

    def field_height(self, name: str) -> float:
        """How high a field of text is on a classic node, in px of the canvas."""
        return self.evaluate("(node, name) => node.widgets.find(widget => widget.name === name).computedHeight", name)

    def rest_mouse_on(self, name: str, label: str) -> None:
        """Rest the mouse on a widget, as people do who want to know what it does.

        label: what the page calls it. A Vue node shows its tooltip over these words, a classic one over all of it.
        """
        words = self.page.locator(f'[data-node-id="{self.id}"]').get_by_text(label, exact=True)
        if words.count():
            words.first.hover()
            return
        x, y = self.evaluate(_MIDDLE_OF_WIDGET, name)
        # A hand moves in many small steps, of which a busy page may miss some.
        self.page.mouse.move(x - 20, y)
        self.page.mouse.move(x, y, steps=5)

    def press_button(self, name: str) -> None:
        """Press a widget that is a button."""
        self.evaluate("(node, name) => void node.widgets.find(widget => widget.name === name).callback()", name)

    # What a run has left on it

    def note(self) -> str:
        """The text under the node, or in the line of its canvas; empty where there is none."""
        return self.evaluate(
            """(node, name) => {
                const element = of => node.widgets?.find(widget => widget.name === of)?.element;
                const line = element('likeness_canvas')?.querySelector('[role=status]');
                return (line ?? element(name))?.textContent ?? '';
            }""",
            NOTE,
        )

    def preview_file(self) -> str | None:
        """The name of the first picture on the node."""
        return self.page.evaluate("id => app.nodeOutputs[id]?.images?.[0].filename ?? null", self.id)
