"""A row as a prompt: its nodes, how they are linked, and the files they read."""

from __future__ import annotations

import graphlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from environment import SetupError
from rig.workflow import Prompt, title

from core.errors import listed

from .rows import Row

Known = Mapping[str, Any]
"""The host's answer to /object_info."""
Link = tuple[str, int]


@dataclass(frozen=True)
class Job:
    """One row as data: the prompt, and the files it reads, by the names that the prompt has for them.

    number, of: of several pictures of a row, and the job that asks for them.
    """

    row: Row
    prompt: Prompt
    photos: Mapping[str, bytes] = field(repr=False)
    number: int = 0
    of: Job | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Of all that makes the picture; the names of the photos are made of what is in them."""
        return hashlib.sha256(json.dumps(self.prompt, sort_keys=True).encode()).hexdigest()[:32]


def require_whole(prompt: Prompt, known: Known) -> None:
    """Raises SetupError for nodes that this ComfyUI has not, for links to nowhere or in a circle, and where nothing is
    saved."""
    if lost := sorted({node["class_type"] for node in prompt.values()} - known.keys()):
        raise SetupError(f"This ComfyUI has no {listed(lost)}: install the pack that they are of, or take them out.")
    before = {
        number: [link[0] for link in map(as_link, node["inputs"].values()) if link] for number, node in prompt.items()
    }
    for number, sources in before.items():
        if away := set(sources) - prompt.keys():
            raise SetupError(
                f"{title(prompt, number)} is linked to node {min(away)}, which is not in the workflow: link it in the "
                "editor and save the workflow again."
            )
    try:
        graphlib.TopologicalSorter(before).prepare()
    except graphlib.CycleError as cause:
        circle = " <- ".join(title(prompt, number) for number in cause.args[1])
        raise SetupError(f"The workflow has a circle, {circle}: take one of these links out.") from cause
    last = [node["class_type"] for node in prompt.values() if known[node["class_type"]]["output_node"]]
    if all(kind.startswith("Preview") for kind in last):
        raise SetupError(
            f"This workflow saves nothing; it ends in {listed(sorted(set(last))) or 'no output'}: add Save Image."
        )


def up_to(prompt: Prompt, last: Iterable[str]) -> Prompt:
    """These nodes and all before them, in the prompt's order."""
    found, waiting = set[str](), list(last)
    while waiting:
        number = waiting.pop()
        if number not in found:
            found.add(number)
            waiting += [link[0] for link in map(as_link, prompt[number]["inputs"].values()) if link]
    return {number: node for number, node in prompt.items() if number in found}


def as_link(value: Any) -> Link | None:
    """What a node's input is linked to. The host sends lists that are none under __value__."""
    if not (isinstance(value, list) and len(value) == 2):
        return None
    node, output = value
    return (node, output) if isinstance(node, str) and isinstance(output, int) else None
