"""Wires and steps of the templates as they are drawn: no wire goes behind a node it does not touch, and steps go from
left to right."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from shared import workflow

ROOT = Path(__file__).resolve().parents[2]
TITLE_BAR = 30
"""Pixels of a node above its `pos`; of a collapsed node this is all there is."""
SLOT_ROW, WIDGET_ROW = 20, 24
"""Pixels from one socket to the next, and from one widget to the next, in classic nodes."""
INSET = 10
"""Pixels from the border of an open node to the middle of its sockets."""
GROUP_TITLE, LETTER = 34, 13
"""Pixels of the title of a group: its height, and a letter of it."""
EDGE = 2
"""Pixels of a node's border that a wire may cut: nobody sees it go behind."""
STEPS = 120
"""Points of a curve that are looked at: under 20 px apart in the widest template, and nodes are 60 px wide at least."""
HANDLE = 0.25
"""LiteGraph's control points are this share of the distance away from the ends of a curve."""
LONGEST_HANDLE = 80
"""Pixels. At a reroute a control point is at most so far away."""

Node = dict[str, Any]
Point = tuple[float, float]
"""x and y on the canvas, in pixels."""

MOST_BOXES = 12
"""Of nodes on the top level, beside the note, photos and pictures."""
FIRST_GROUP = "Start here"
"""The group that stands before step 1."""
NOT_BOXES = {"MarkdownNote", "Note", "LoadImage", "PreviewImage", "SaveImage"}


BACKWARD = {
    "lora_two_people": 1,
    "parts_instant_id_and_outfit": 1,
    "references_klein_two_people": 5,
    "references_qwen_three_people": 8,
}
"""How many wires run to the left in the templates that are not yet clear. These numbers may only become smaller; who
lays one out anew takes its row away."""


@dataclass(frozen=True)
class Rectangle:
    """What a node covers, in pixels of the canvas."""

    left: float
    top: float
    right: float
    bottom: float

    def holds(self, x: float, y: float) -> bool:
        """Whether a point is inside and not on the border."""
        across = self.left + EDGE < x < self.right - EDGE
        down = self.top + EDGE < y < self.bottom - EDGE
        return across and down


@dataclass(frozen=True)
class Wire:
    """A link between two nodes of the top level. stops: the points that it runs through: an output, reroutes, an
    input."""

    number: int
    source: int
    target: int
    stops: tuple[Point, ...]

    @property
    def runs_to_the_left(self) -> bool:
        start_x, _ = self.stops[0]
        end_x, _ = self.stops[-1]
        return end_x < start_x

    def crosses(self, area: Rectangle) -> bool:
        return any(area.holds(x, y) for x, y in self.points)

    @cached_property
    def points(self) -> list[Point]:
        """Points of what LiteGraph draws: a curve from each stop to the next."""
        return [point for place in range(len(self.stops) - 1) for point in self._curve(place)]

    def _curve(self, place: int) -> Iterator[Point]:
        """Points of the cubic curve that begins at the stop of this place."""
        start = self.stops[place]
        end = self.stops[place + 1]
        handle = HANDLE * math.dist(start, end)
        handle_at_reroute = min(LONGEST_HANDLE, handle)
        first_handle = (start[0] + handle, start[1])
        if place > 0:
            angle = direction_at(self.stops[place - 1], start, end)
            first_handle = (
                start[0] + handle_at_reroute * math.cos(angle),
                start[1] + handle_at_reroute * math.sin(angle),
            )
        second_handle = (end[0] - handle, end[1])
        if place + 2 < len(self.stops):
            angle = direction_at(start, end, self.stops[place + 2])
            second_handle = (end[0] - handle_at_reroute * math.cos(angle), end[1] - handle_at_reroute * math.sin(angle))
        across, down = zip(start, first_handle, second_handle, end, strict=True)
        for step in range(STEPS + 1):
            part = step / STEPS
            other_part = 1 - part
            weights = (other_part**3, 3 * other_part * other_part * part, 3 * other_part * part * part, part**3)
            yield weighted(across, weights), weighted(down, weights)


def direction_at(before: Point, reroute: Point, behind: Point) -> float:
    """The angle at which the frontend leads a wire through a reroute: between those of coming and going."""
    coming = math.atan2(reroute[1] - before[1], reroute[0] - before[0])
    going = math.atan2(behind[1] - reroute[1], behind[0] - reroute[0])
    half = (coming - going) / 2
    if abs(half) > math.pi / 2:
        half += math.pi
    return coming - half


def weighted(values: tuple[float, ...], weights: tuple[float, ...]) -> float:
    """A sum of four products."""
    return sum(value * weight for value, weight in zip(values, weights, strict=True))


def is_collapsed(node: Node) -> bool:
    return bool(node["flags"].get("collapsed"))


def width(node: Node) -> float:
    """A collapsed node is as wide as its title, some 8 px a letter, and no wider than when it is open."""
    if is_collapsed(node):
        title = node.get("title") or node["type"]
        return min(node["size"][0], 8 * len(title) + 40)
    return node["size"][0]


def inset(node: Node) -> float:
    """How far inside of the node its wires end."""
    return 0 if is_collapsed(node) else INSET


def rectangle(node: Node) -> Rectangle:
    x, y = node["pos"]
    height = 0 if is_collapsed(node) else node["size"][1]
    return Rectangle(x, y - TITLE_BAR, x + width(node), y + height)


def socket_height(node: Node, slot: int, sockets: list[Node]) -> float:
    """The y of a socket. Sockets of widgets are beside their widgets, below all other sockets."""
    top = node["pos"][1]
    if is_collapsed(node):
        return top - TITLE_BAR / 2
    plain = [number for number, socket in enumerate(sockets) if "widget" not in socket]
    if slot in plain:
        return top + (plain.index(slot) + 0.7) * SLOT_ROW
    plain_inputs = [socket for socket in node["inputs"] if "widget" not in socket]
    rows = max(len(plain_inputs), len(node["outputs"]))
    widgets = [number for number in range(len(sockets)) if number not in plain]
    below = top + rows * SLOT_ROW + (widgets.index(slot) + 0.5) * WIDGET_ROW
    return min(below, top + node["size"][1])


def wires(graph: Node) -> list[Wire]:
    nodes = {node["id"]: node for node in graph["nodes"]}
    all_wires: list[Wire] = []
    for number, source, output, target, slot, _ in graph["links"]:
        start_x = rectangle(nodes[source]).right - inset(nodes[source])
        end_x = nodes[target]["pos"][0] + inset(nodes[target])
        start_y = socket_height(nodes[source], output, nodes[source]["outputs"])
        end_y = socket_height(nodes[target], slot, nodes[target]["inputs"])
        stops = ((start_x, start_y), *reroutes(graph, number), (end_x, end_y))
        all_wires.append(Wire(number, source, target, stops))
    return all_wires


def reroutes(graph: Node, link: int) -> list[Point]:
    """The reroutes that a link runs through, in its direction. Each is saved with the number of the one before it."""
    extra = graph.get("extra", {})
    saved_reroutes = {reroute["id"]: reroute for reroute in extra.get("reroutes", [])}
    last = {extension["id"]: extension["parentId"] for extension in extra.get("linkExtensions", [])}
    points: list[Point] = []
    number = last.get(link)
    while number is not None:
        x, y = saved_reroutes[number]["pos"]
        points.insert(0, (x, y))
        number = saved_reroutes[number].get("parentId")
    return points


@dataclass(frozen=True)
class Crossing:
    """A wire that goes behind a node which it does not touch, by their numbers."""

    wire: int
    node: int


def hidden(graph: Node) -> list[Crossing]:
    covered = {node["id"]: rectangle(node) for node in graph["nodes"]}
    behind: list[Crossing] = []
    for wire in wires(graph):
        for number, area in covered.items():
            if number not in (wire.source, wire.target) and wire.crosses(area):
                behind.append(Crossing(wire.number, number))
    return behind


def number_of_step(title: str) -> int | None:
    """2 of "2 · Places", and 0 of the group where one starts. None for a group that is no step."""
    if title == FIRST_GROUP:
        return 0
    digits = re.match(r"\d+", title)
    return None if digits is None else int(digits[0])


def steps_that_go_back(graph: Node) -> list[str]:
    """The titles of numbered groups that stand left of the one before, or in its column above it."""
    steps: list[tuple[int, float, float, str]] = []
    for group in graph["groups"]:
        number = number_of_step(group["title"])
        if number is not None:
            left, top, *_ = group["bounding"]
            steps.append((number, left, top, group["title"]))
    wrong: list[str] = []
    for (_, left, top, _), (_, next_left, next_top, title) in itertools.pairwise(sorted(steps)):
        is_right = next_left > left
        is_below = next_left == left and next_top > top
        if not (is_right or is_below):
            wrong.append(title)
    return wrong


def title_area(group: Node) -> Rectangle:
    left, top, width, _ = group["bounding"]
    return Rectangle(left, top, left + min(LETTER * len(group["title"]), width), top + GROUP_TITLE)


TEMPLATES = {path.stem: workflow.load(path) for path in sorted((ROOT / "workflows").glob("*.json"))}
of_every_template = pytest.mark.parametrize("graph", TEMPLATES.values(), ids=TEMPLATES)


@of_every_template
def test_no_wire_goes_behind_a_node_or_over_the_title_of_a_group(graph: Node) -> None:
    assert hidden(graph) == []
    titles = [title_area(group) for group in graph["groups"]]
    assert [wire.number for wire in wires(graph) for area in titles if wire.crosses(area)] == []


def test_wires_run_to_the_right() -> None:
    backward: dict[str, int] = {}
    for stem, graph in TEMPLATES.items():
        count = sum(wire.runs_to_the_left for wire in wires(graph))
        if count:
            backward[stem] = count
    assert backward == BACKWARD


@of_every_template
def test_there_are_few_boxes_on_the_top_level(graph: Node) -> None:
    assert len([node for node in graph["nodes"] if node["type"] not in NOT_BOXES]) <= MOST_BOXES


@of_every_template
def test_every_group_is_a_step_from_left_to_right(graph: Node) -> None:
    """The one where one starts, then 1, 2, 3, without a gap."""
    titles = [group["title"] for group in graph["groups"]]
    assert {number_of_step(title) for title in titles} == set(range(len(titles)))
    assert steps_that_go_back(graph) == []
