"""A row as a prompt: its nodes, how they are linked, and the files they read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from environment import SetupError
from shared.links import links_of
from shared.workflow import Prompt, title

from core.checks.errors import listed

from .beside import Beside
from .rows import Row

ObjectInfo = Mapping[str, Any]
"""The host's answer to /object_info: every class of nodes that it has."""


@dataclass(frozen=True)
class Job:
    """One row as data: the prompt, and the files it reads, by the names that the prompt has for them. beside: what its
    picture is compared with on the page."""

    row: Row
    prompt: Prompt
    files: Mapping[str, bytes] = field(repr=False)
    beside: Sequence[Beside] = ()


def require_runnable(prompt: Prompt, object_info: ObjectInfo) -> None:
    """Raises SetupError for a prompt that cannot make a picture.

    Such a prompt has nodes that this ComfyUI does not have, links to nodes that are not there, or nothing that saves.
    """
    classes = {node["class_type"] for node in prompt.values()}
    unknown = sorted(classes - object_info.keys())
    if unknown:
        raise SetupError(f"This ComfyUI has no {listed(unknown)}: install the pack that they are of, or take them out.")
    _require_no_loose_link(prompt)
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
