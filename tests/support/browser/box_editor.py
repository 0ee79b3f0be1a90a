"""The field of a Vue node in which boxes are drawn with the mouse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import playwright.sync_api as playwright

from .canvas import Canvas
from .node_on_page import NodeOnPage

Point = tuple[float, float]
STEPS = 5
"""In how many movements the mouse is dragged."""


@dataclass(frozen=True)
class Sides:
    """A box or a stroke of the mouse in px of the picture: where it begins, and where it ends."""

    left: float
    top: float
    right: float
    bottom: float


class BoxEditor:
    """The editor of a node that is the only one with such an editor on the page."""

    def __init__(self, page: playwright.Page, canvas: Canvas) -> None:
        self._page = page
        self._canvas = canvas
        self._field = page.locator("[data-testid=bounding-boxes] canvas").first
        self._grid = page.locator("[data-testid=bounding-boxes] button").first

    def is_shown(self) -> bool:
        return self._field.count() > 0

    def await_shown(self) -> None:
        playwright.expect(self._field).to_be_attached()

    def switch_grid_off(self) -> None:
        """Let boxes lie where the mouse puts them, and not at the next line of a grid."""
        self._grid.dispatch_event("click")

    def bring_into_view(self, node: NodeOnPage) -> playwright.FloatRect:
        """Bring the whole editor into view, every pixel of the page as large as it is: its place and size."""
        node.show_at(150, 30)
        self._canvas.settle()
        box = self._field.bounding_box()
        assert box is not None, "the editor of boxes is not shown"
        return box

    def drag(self, node: NodeOnPage, start: Point, end: Point, picture: tuple[int, int]) -> Sides:
        """Drag the mouse between two points of the editor, given in shares of its sides.

        picture: width and height of the picture that the editor stands for, in px.
        """
        box = self.bring_into_view(node)
        x0, y0 = _whole_pixel(box, start)
        x1, y1 = _whole_pixel(box, end)
        mouse = self._page.mouse
        mouse.move(x0, y0)
        mouse.down()
        mouse.move(x1, y1, steps=STEPS)
        mouse.up()
        across = picture[0] / box["width"]
        down = picture[1] / box["height"]
        return Sides((x0 - box["x"]) * across, (y0 - box["y"]) * down, (x1 - box["x"]) * across, (y1 - box["y"]) * down)

    def boxes_sent(self, kind: str) -> list[dict[str, Any]]:
        """The boxes of the only node of a class, as Run would send them."""
        (inputs,) = (node["inputs"] for node in self._canvas.prompt().values() if node["class_type"] == kind)
        return inputs["boxes"]["__value__"]


def _whole_pixel(box: playwright.FloatRect, share: Point) -> Point:
    return round(box["x"] + share[0] * box["width"]), round(box["y"] + share[1] * box["height"])
