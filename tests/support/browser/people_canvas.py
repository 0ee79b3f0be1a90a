"""The canvas of people on a node, which mouse, keyboard and touch take hold of."""

from __future__ import annotations

from typing import Any

import playwright.sync_api as playwright

from .node_on_page import NodeOnPage

Point = tuple[float, float]
STEPS = 6
"""In how many movements the mouse is dragged."""

_CANVAS = "[...document.querySelectorAll('.likeness-canvas')].map(e => e.likeness).find(c => String(c.node.id) === id)"
_ON_SCREEN = """
([x, y], pane) => {
  const {scale, left, top} = pane.onScreen();
  return [left + x * scale, top + y * scale];
}
"""


class PeopleCanvas:
    """The canvas of a node in the graph that is open."""

    def __init__(self, node: NodeOnPage) -> None:
        self.node = node
        self._page = node.page

    def evaluate(self, function: str, argument: Any = None) -> Any:
        """What a JavaScript function of the canvas and of an argument returns, as JSON."""
        script = f"([id, argument]) => ({function})({_CANVAS}, argument)"
        return self._page.evaluate(script, [str(self.node.id), argument])

    def await_true(self, function: str, argument: Any = None) -> None:
        """Wait until a JavaScript function of the canvas returns something true; false as long as it is not there."""
        script = f"([id, argument]) => {{ const c = {_CANVAS}; return !!c && ({function})(c, argument); }}"
        self._page.wait_for_function(script, arg=[str(self.node.id), argument], polling=20)

    def await_places(self, count: int) -> None:
        self.await_true("(canvas, count) => canvas.places().length === count", count)

    @property
    def svg(self) -> playwright.ElementHandle:
        element = self._page.evaluate_handle(f"id => {_CANVAS}.pane.svg", str(self.node.id)).as_element()
        assert element is not None
        return element

    # What is seen

    def text(self) -> str:
        """What stands in Arranged by hand."""
        return self.evaluate("canvas => canvas.text")

    def line(self) -> str:
        """What is said below the drawing."""
        return self.evaluate("canvas => canvas.line.textContent")

    def await_line(self, words: str) -> None:
        self.await_true("(canvas, words) => canvas.line.textContent.includes(words)", words)

    def names(self) -> list[str]:
        """What stands over each place, from back to front."""
        return self.evaluate("canvas => [...canvas.pane.svg.querySelectorAll('text')].map(text => text.textContent)")

    def at(self, given: int, joint: str = "nose") -> Point:
        """Where a joint of a place is on the screen. given: its number in the text."""
        x, y = self.evaluate(
            f"""(canvas, [given, joint]) => {{
                const place = canvas.places().find(place => place.given === given);
                return ({_ON_SCREEN})(joint === 'nose' ? place.nose : place.joints[joint], canvas.pane);
            }}""",
            [given, joint],
        )
        return x, y

    def handle(self, number: int) -> Point:
        """Where a handle of the chosen place that is no joint is on the screen: 0 to 3 are corners, 4 turns."""
        x, y = self.evaluate(
            """(canvas, number) => {
                const chosen = canvas.pane.svg.querySelector('g[aria-selected=true]');
                const handle = chosen.querySelectorAll('rect')[number] ?? [...chosen.querySelectorAll('circle')].at(-1);
                const {left, top, width, height} = handle.getBoundingClientRect();
                return [left + width / 2, top + height / 2];
            }""",
            number,
        )
        return x, y

    def joint_handle(self, number: int) -> Point:
        """Where a joint of the chosen place is taken hold of on the screen: of those that it has, those of the left
        side first, from the shoulder on."""
        x, y = self.evaluate(
            """(canvas, number) => {
                const circle = canvas.pane.svg.querySelectorAll('g[aria-selected=true] circle')[number];
                const {left, top, width, height} = circle.getBoundingClientRect();
                return [left + width / 2, top + height / 2];
            }""",
            number,
        )
        return x, y

    def name_tag(self, given: int) -> Point:
        """Where the name of a place is on the screen."""
        x, y = self.evaluate(
            """(canvas, given) => {
                const text = canvas.pane.svg.querySelector(`g[id$="-${given}"] text`);
                const {left, top, width, height} = text.getBoundingClientRect();
                return [left + width / 2, top + height / 2];
            }""",
            given,
        )
        return x, y

    # What people do with it

    def drag(self, start: Point, by: Point, modifier: str | None = None) -> None:
        """Drag the mouse from a point of the screen."""
        mouse = self._page.mouse
        mouse.move(*start)
        mouse.down()
        if modifier:
            self._page.keyboard.down(modifier)
        mouse.move(start[0] + by[0], start[1] + by[1], steps=STEPS)
        mouse.up()
        if modifier:
            self._page.keyboard.up(modifier)

    def draw_around(self, middle: Point, radius: float) -> None:
        """Draw a square with the lasso around a point of the screen."""
        x, y = middle
        mouse = self._page.mouse
        mouse.move(x - radius, y - radius)
        mouse.down()
        for across, down in ((1, -1), (1, 1), (-1, 1), (-1, -1)):
            mouse.move(x + across * radius, y + down * radius, steps=STEPS)
        mouse.up()

    def press(self, *keys: str) -> None:
        """Keys, with the focus in the canvas."""
        self.svg.focus()
        for key in keys:
            self._page.keyboard.press(key)

    def click_button(self, title: str) -> None:
        """title: how the words of the button begin."""
        self.evaluate(
            """(canvas, title) => {
                const buttons = canvas.buttons.map(([, button]) => button);
                buttons.find(button => button.title.startsWith(title)).click();
            }""",
            title,
        )
