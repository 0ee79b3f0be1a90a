"""What a case is: a graph and how it must end. Cases of one node are `good` or `bad`, of many nodes `right`.

What a link may bring to any input of any node is in tests/host/test_linked_inputs.py, what every method keeps in
tests/every_method, and what single methods refuse in their own words in tests/support/refusals.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from graphs import SCHEMAS, Node, Value, ended, ours, sockets, value
from sample_values import drawn

FORGED = "likeness-forged"
"""What texts of a user put at the beginning of a line of their own, behind a terminal escape and into HTML."""
NAMES = ("Anna \ud800", f"Anna \x1b[31m{FORGED}\n{FORGED}\r{FORGED}")
"""Names that a user may give a person."""
RIGHT, EXPLAINED = "right", "explained"


@dataclass(frozen=True)
class Case:
    """A graph and how it must end.

    check: its value is None, or what is wrong with the result. ending: RIGHT, or EXPLAINED by an error of ours. says: a
    regular expression; it is in the message of the error, or in the log beside a right result.
    """

    check: Value
    ending: str
    says: str = ""

    def __str__(self) -> str:
        """Its last nodes with what is linked or typed there."""
        last = [argument for argument in self.check.arguments if isinstance(argument, Node)]
        return f"{self.says or self.ending}: {str([(node.kind, node.inputs) for node in last])[:300]}"


def right(check: Value, log: str = "") -> Case:
    """A graph whose check finds nothing wrong. log: what is said beside it."""
    return Case(check, RIGHT, log)


def good(kind: str, /, log: str = "", **changed: Any) -> Case:
    """One of our nodes that gives a sound result, with other inputs than its defaults."""
    return right(ended(ours(kind, **changed)), log)


def bad(says: str, kind: str, /, **changed: Any) -> Case:
    """One of our nodes that refuses these inputs. says: what is in the message."""
    return Case(ended(ours(kind, **changed)), EXPLAINED, says)


def is_drawn(graph: Node) -> Case:
    """A sampler that gives a picture."""
    return right(value(drawn, graph))


def is_not_drawn(says: str, graph: Node) -> Case:
    """A sampler that is stopped by an error of ours."""
    return Case(value(drawn, graph), EXPLAINED, says)


@dataclass(frozen=True)
class NodeInput:
    """An input of one of our nodes."""

    kind: str
    entry: Any

    @property
    def name(self) -> str:
        return self.entry.id


def inputs_of(*types: str) -> Iterator[NodeInput]:
    """The inputs of these types, of every node. Of inputs in rows the first."""
    for kind, schema in SCHEMAS.items():
        for entry in schema.inputs:
            if entry.get_io_type() in types and not is_in_a_row(entry.id):
                yield NodeInput(kind, entry)


def linked_inputs() -> Iterator[NodeInput]:
    """The sockets of every node. Of inputs in rows the first."""
    for kind in SCHEMAS:
        for entry in sockets(kind):
            if not is_in_a_row(entry.id):
                yield NodeInput(kind, entry)


def is_in_a_row(name: str) -> bool:
    """Whether it is the second or a later one of a row, as photo_2 of Cast from Photos."""
    return bool(re.search("_[2-9]$", name))
