"""A subgraph as one node, as templates and blueprints have it: the values that it shows, and typing into them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import playwright.sync_api as playwright

from .canvas import Canvas, Graph
from .node_on_page import NodeOnPage

WINDOW = (1280, 1440)
"""High enough for every line of the tallest box: what lies below cannot be clicked."""

CLICK_SECONDS = 1.0
"""To a frontend a press is a drag and no click where a movement follows it after more than this time, and Chromium
reports movements by itself where a page has computed long between press and release. A setting of the frontend, 0.15 s
by default, its largest value here."""

# By name of a value: what is shown, and what is sent to each input inside.
_VALUES = """
(box, prompt) => {
  const shownValue = name => {
    const slot = box.inputs.findIndex(input => input.widget && input.name === name);
    const dot = document.querySelector(`[data-node-id="${box.id}"] [data-slot-key="${box.id}-in-${slot}"]`);
    const line = dot?.closest('[data-testid=node-widget]');
    const widget = box.widgets.find(widget => widget.name === name);
    if (!line) return widget.element?.value ?? widget.value;
    const toggle = line.querySelector('[role=switch]');
    if (toggle) return toggle.ariaChecked === 'true' || toggle.checked === true;
    const field = line.querySelector('textarea, input');
    return field ? field.value : line.querySelector('[role=combobox]').innerText;
  };
  const sentValue = id => {
    const {target_id} = box.subgraph.getLink(id);
    // Not by the link's own slot: frontend 1.49.6 sorts the inputs of a blueprint that is put down, and leaves in its
    // links where they stood before.
    const input = box.subgraph.getNodeById(target_id).inputs.find(slot => slot.link === id);
    return prompt[`${box.id}:${target_id}`]?.inputs[input.widget?.name ?? input.name] ?? [];
  };
  const sentValues = name =>
    box.subgraph.inputs.find(slot => slot.name === name).linkIds.flatMap(sentValue);
  const names = box.inputs.filter(input => input.widget && input.link == null).map(({name}) => name);
  return names.map(name => ({name, shown: shownValue(name), sent: sentValues(name)}));
}
"""

_KINDS = """
box => box.widgets.filter(({name}) => name).map(({name, type, options}) =>
  ({name, type, choices: JSON.parse(JSON.stringify(options.values ?? []))}))
"""

_CHANGEABLE = """
box => box.widgets.filter(({type, value, options}) =>
  type !== 'combo' || (options.values.call?.() ?? options.values).some(other => other !== value)
).map(({name}) => name)
"""

_FOCUS_FIELD = """
(box, name) => {
  const field = box.widgets.find(widget => widget.name === name).element;
  field?.focus();
  field?.select();
  return !!field;
}
"""

# Where to press the line of a value on a classic node, in px of the page: the arrow at its right end, the left one
# where there is no next value. A press counts for what was drawn last, and where nobody looks no frame may come that
# draws a line made anew: so it is drawn here.
_ARROW = """
(box, name) => {
  app.canvas.draw(true, true);
  const {left, top} = app.canvas.canvas.getBoundingClientRect();
  const [x, y] = [0, 1].map(i => (box.pos[i] + app.canvas.ds.offset[i]) * app.canvas.ds.scale);
  const {value, options, y: line} = box.widgets.find(widget => widget.name === name);
  const choices = options.values?.call?.() ?? options.values;
  const isLast = choices ? choices.at(-1) === value : value >= options.max;
  return [left + x + (isLast ? 25 : box.size[0] - 25), top + y + line + 10];
}
"""

_IS_TEXT = "(box, name) => box.widgets.find(widget => widget.name === name).type === 'text'"
_HAS_DIALOG = "() => !!document.querySelector('.graphdialog')"
_IS_CHANGED = "(box, [name, before]) => box.widgets.find(widget => widget.name === name).value !== before"


@dataclass(frozen=True)
class Value:
    """What a box shows of a value, and what is sent of it to each input inside."""

    shown: Any
    sent: list[Any]


class SubgraphNode(NodeOnPage):
    """A box: a node of the whole graph that has a graph inside."""

    def __init__(self, page: playwright.Page, canvas: Canvas, node_id: int, has_vue_nodes: bool) -> None:
        super().__init__(page, node_id)
        self._canvas = canvas
        self._has_vue_nodes = has_vue_nodes

    def values(self, prompt: Graph) -> dict[str, Value]:
        """By name. prompt: what Run would send."""
        values: dict[str, Value] = {}
        for value in self.evaluate(_VALUES, prompt):
            values[value["name"]] = Value(value["shown"], value["sent"])
        return values

    def kinds(self) -> list[dict[str, Any]]:
        """Of each value its name, its type and what there is to choose from."""
        return self.evaluate(_KINDS)

    def changeable(self) -> list[str]:
        """The names of values that can be another one: a menu of one file has no other."""
        return self.evaluate(_CHANGEABLE)

    def change(self, name: str) -> None:
        """Give a value another one, with mouse and keyboard. The box has been brought into view."""
        if self._has_vue_nodes:
            self._change_in_vue(name)
        elif self.evaluate(_FOCUS_FIELD, name):
            self.page.keyboard.insert_text(f"typed into {name}")
        elif name in self.changeable():
            self._change_on_canvas(name)

    def bring_into_view(self) -> None:
        self.show_at(400, 240)  # below what the editor says of files that are missing
        self._canvas.settle()

    def _change_in_vue(self, name: str) -> None:
        line = self._line(name)
        field = line.locator("textarea, input:not([role=spinbutton]):not([role=switch])")
        toggle = line.locator("[role=switch]")
        increment = line.get_by_test_id("increment")
        if field.count():
            field.first.evaluate("field => { field.focus(); field.select(); }")
            self.page.keyboard.insert_text(f"typed into {name}")
        elif toggle.count():
            toggle.evaluate("toggle => toggle.click()")
        elif increment.count():
            is_at_most = increment.is_disabled()
            button = line.get_by_test_id("decrement") if is_at_most else increment
            button.evaluate("button => button.click()")
        else:
            self._choose_another(line.get_by_role("combobox"))

    def _choose_another(self, menu: playwright.Locator) -> None:
        """Choose another word of a menu, the same one again where there is no other."""
        before = menu.inner_text().strip()
        menu.evaluate("menu => menu.click()")
        options = self.page.get_by_role("option")
        playwright.expect(options.first).to_be_attached()
        texts = [text.strip() for text in options.all_inner_texts()]
        other_numbers = [number for number, text in enumerate(texts) if text != before]
        if other_numbers:
            options.nth(other_numbers[0]).evaluate("option => option.click()")
        else:
            menu.evaluate("menu => menu.click()")
        playwright.expect(options).to_have_count(0)

    def _line(self, name: str) -> playwright.Locator:
        """Of a Vue node, the line of a value: by the slot that stands before it, as frontend 1.49.6 puts no names on
        the lines."""
        slot = self.evaluate("(box, name) => box.inputs.findIndex(input => input.widget && input.name === name)", name)
        dot = self.page.locator(f'[data-slot-key="{self.id}-in-{slot}"]')
        node = self.page.locator(f'[data-node-id="{self.id}"]')
        return node.get_by_test_id("node-widget").filter(has=dot)

    def _change_on_canvas(self, name: str) -> None:
        """By the arrow at an end of the line; a text in the dialog that a press on the line opens."""
        x, y = self.evaluate(_ARROW, name)
        assert y < WINDOW[1], f"{name} lies below the window and cannot be clicked"
        before = self.value(name)
        self.page.mouse.click(x, y)
        if self.evaluate(_IS_TEXT, name):
            self.await_true(_HAS_DIALOG)
            field = self.page.locator(".graphdialog").locator("input, textarea")
            field.fill("typed in a dialog")
            field.press("Enter")
        self.await_true(_IS_CHANGED, [name, before])
