"""How the nodes of a prompt are linked, and which nodes others need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from .workflow import Prompt


class Link(NamedTuple):
    """What the input of a node is linked to. output: the number of an output of that node, from 0."""

    node: str
    output: int


def up_to(prompt: Prompt, last: Iterable[str]) -> Prompt:
    """These nodes and all before them, in the prompt's order."""
    needed: set[str] = set()
    waiting = list(last)
    while waiting:
        number = waiting.pop()
        if number in needed:
            continue
        needed.add(number)
        waiting += [link.node for link in links_of(prompt[number])]
    return {number: node for number, node in prompt.items() if number in needed}


def readers_of(prompt: Prompt, number: str) -> list[str]:
    """The nodes with an input that is linked to this node."""
    readers: list[str] = []
    for other, node in prompt.items():
        sources = [link.node for link in links_of(node)]
        if number in sources:
            readers.append(other)
    return readers


def links_of(node: Mapping[str, Any]) -> Iterator[Link]:
    """What the inputs of a node are linked to."""
    for value in node["inputs"].values():
        link = as_link(value)
        if link is not None:
            yield link


def as_link(value: Any) -> Link | None:
    """What a node's input is linked to. The host sends lists that are no links under __value__."""
    if not isinstance(value, list) or len(value) != 2:
        return None
    node, output = value
    if isinstance(node, str) and isinstance(output, int):
        return Link(node, output)
    return None
