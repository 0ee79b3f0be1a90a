"""A row as a prompt: its nodes, how they are linked, and the files they read."""

from __future__ import annotations

import graphlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from environment import SetupError
from rig.workflow import Prompt, title

from core.errors import listed

from .rows import Row

ObjectInfo = Mapping[str, Any]
"""The host's answer to /object_info: every class of nodes that it has."""


class Link(NamedTuple):
    """What the input of a node is linked to. output: the number of an output of that node, from 0."""

    node: str
    output: int


@dataclass(frozen=True)
class Job:
    """One row as data: the prompt, and the files it reads, by the names that the prompt has for them.

    try_number: which of several pictures of a row this one is, from 0. row_job: the job of the whole row, where this
    one is a try of it.
    """

    row: Row
    prompt: Prompt
    files: Mapping[str, bytes] = field(repr=False)
    try_number: int = 0
    row_job: Job | None = None

    @cached_property
    def fingerprint(self) -> str:
        """A text that changes with anything that the picture is made of.

        The prompt is enough: the name of a photo has a hash of its bytes in it.
        """
        prompt = json.dumps(self.prompt, sort_keys=True)
        return hashlib.sha256(prompt.encode()).hexdigest()[:32]


def require_runnable(prompt: Prompt, object_info: ObjectInfo) -> None:
    """Raises SetupError for a prompt that cannot make a picture.

    Such a prompt has nodes that this ComfyUI does not have, links to nodes that are not there, a circle, or nothing
    that saves.
    """
    classes = {node["class_type"] for node in prompt.values()}
    unknown = sorted(classes - object_info.keys())
    if unknown:
        raise SetupError(f"This ComfyUI has no {listed(unknown)}: install the pack that they are of, or take them out.")
    _require_no_loose_link(prompt)
    _require_no_circle(prompt)
    last = [node["class_type"] for node in prompt.values() if object_info[node["class_type"]]["output_node"]]
    if all(kind.startswith("Preview") for kind in last):
        raise SetupError(
            f"This workflow saves nothing; it ends in {listed(sorted(set(last))) or 'no output'}: add Save Image."
        )


def _require_no_loose_link(prompt: Prompt) -> None:
    """Raises SetupError for a link to a node that is not in the prompt."""
    for number, node in prompt.items():
        lost = {link.node for link in links_of(node)} - prompt.keys()
        if lost:
            raise SetupError(
                f"{title(prompt, number)} is linked to node {min(lost)}, which is not in the workflow: link it in the "
                "editor and save the workflow again."
            )


def _require_no_circle(prompt: Prompt) -> None:
    """Raises SetupError where a node needs its own result."""
    sources: dict[str, list[str]] = {}
    for number, node in prompt.items():
        sources[number] = [link.node for link in links_of(node)]
    try:
        graphlib.TopologicalSorter(sources).prepare()
    except graphlib.CycleError as cause:
        circle = " <- ".join(title(prompt, number) for number in cause.args[1])
        raise SetupError(f"The workflow has a circle, {circle}: take one of these links out.") from cause


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


def up_to_outputs(prompt: Prompt, object_info: ObjectInfo) -> Prompt:
    """The nodes that ComfyUI runs: those that save or show something, and all before them."""
    last = [number for number, node in prompt.items() if object_info[node["class_type"]]["output_node"]]
    return up_to(prompt, last)


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


def socket_of(prompt: Prompt, link: Link, object_info: ObjectInfo) -> Any:
    """The type of the socket that a link leaves; None of a node that does not name all of its outputs."""
    sockets = object_info[prompt[link.node]["class_type"]]["output"]
    if 0 <= link.output < len(sockets):
        return sockets[link.output]
    return None
