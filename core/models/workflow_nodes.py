"""The nodes of a workflow as ComfyUI's API takes it, with the texts that each has.

Standard library only: scripts use this module where there is no torch yet.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

from ..checks.errors import BadSetup
from ..checks.limits import NODES, WORKFLOW_BRACKETS, WORKFLOW_BYTES, json_in

Prompt = Mapping[str, Any]
"""A workflow as ComfyUI's API takes it: number of a node -> {"class_type", "inputs"}."""


def require_at_most(what: str, count: int, most: int) -> None:
    """Raises BadSetup for a workflow with more. what: is counted."""
    if count > most:
        raise BadSetup(
            f"The workflow has more than {most} {what}, and its files are not looked for.",
            "Look for the files of a part of it.",
        )


class WorkflowNode(NamedTuple):
    """A node of a workflow.

    kind: its type. number: in the prompt. linked: the inputs that are linked to a node, each -> the number of that
    node. named: the texts in its other inputs by their names.
    """

    kind: str
    number: str
    linked: dict[str, str]
    named: dict[str, str]


def prompt_in(text: str | bytes) -> Prompt:
    """The workflow in a text of JSON, as ComfyUI's API takes it.

    text: or its bytes, in UTF-8 or UTF-16, with or without the mark in front that programs of Windows write.
    Raises ValueError, saying why, for a text that is no workflow or has no node, and BadSetup for more than
    limits.NODES.
    """
    prompt: Any = json_in(text, WORKFLOW_BYTES, WORKFLOW_BRACKETS)
    if not isinstance(prompt, dict) or not nodes(cast("dict[str, Any]", prompt)):
        raise ValueError("there is no node in it that would run")
    return cast("dict[str, Any]", prompt)


def nodes(prompt: Prompt) -> list[WorkflowNode]:
    """The nodes of a workflow; what is none is left out. Raises BadSetup for more than limits.NODES."""
    require_at_most("nodes", len(prompt), NODES)
    return list(_nodes(prompt))


def _nodes(prompt: Prompt) -> Iterator[WorkflowNode]:
    for number, entry in prompt.items():
        node = _dictionary(entry)
        if "class_type" not in node:
            continue
        linked: dict[str, str] = {}
        named: dict[str, str] = {}
        for name, value in _dictionary(node.get("inputs")).items():
            if isinstance(value, str):
                named[name] = value
            elif isinstance(value, list) and value:  # a link is [node id, output]
                linked[name] = str(cast("list[Any]", value)[0])
        yield WorkflowNode(str(node["class_type"]), number, linked, named)


def _dictionary(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
