"""Whether a ControlNet's file is that of another method, by its name and folder.

ControlNets of several methods have one architecture, and some are published under one name: then the folder alone tells
them apart, and another method's net draws smeared pictures.
"""

import re
from collections.abc import Mapping
from typing import Any, cast

from ..text import plain
from .manifest import Model, models

_KEY = "controlnet"
_FILE = re.compile(r"\.(safetensors|sft|bin|pth|pt|ckpt)$", re.IGNORECASE)

Prompt = Mapping[str, Mapping[str, Any]]
"""A workflow as the host runs it: id of each node -> its class_type and inputs."""


def note(prompt: Prompt | None, node_id: str | None, input_id: str) -> str:
    """A sentence where the file that a run has chosen for the ControlNet of a node is another method's; else "".

    prompt: of the run, None where a script runs the node. input_id: where the ControlNet is linked. A name that tells
    nothing is no reason for a sentence.
    """
    node = (prompt or {}).get(node_id or "")
    if node is None:
        return ""
    nets = [model for model in models() if model.key == _KEY]
    own_nets = [net for net in nets if node["class_type"] in net.nodes]
    for name in _chosen(prompt or {}, node["inputs"].get(input_id)):
        if any(_is_named(net, name) for net in own_nets):
            continue
        for net in nets:
            if _is_named(net, name):
                needed = " or ".join(own.name for own in own_nets)
                return (
                    f"By its name {plain(name, 100)} is the file of {net.title}. With another net than its own the "
                    f"picture is smeared: choose {needed} in ControlNet (control_net_name)."
                )
    return ""


def _chosen(prompt: Prompt, link: Any) -> list[str]:
    """The files that the nodes behind a link have chosen: the nearest one that has chosen any, on each way."""
    names: list[str] = []
    waiting = [link]
    seen: set[str] = set()
    for value in waiting:  # which grows
        source = str(cast("list[object]", value)[0]) if isinstance(value, list) and value else ""
        if source not in prompt or source in seen:
            continue
        seen.add(source)
        values = list(prompt[source]["inputs"].values())
        files = [text for text in values if isinstance(text, str) and _FILE.search(text)]
        names += files
        if not files:
            waiting += values
    return names


def _is_named(net: Model, name: str) -> bool:
    """Whether a file's name or one of its folders tells that it is this net: "InstantID/...", "identitynet.pth"."""
    words = re.findall(r"[\w-]+", net.title.replace("'s", ""))
    if net.nodes:  # of a method: then the manifest's folder has the method's name, else that of a model family
        words.append(net.name.partition("/")[0])
    signs = {_letters(word) for word in words} - {"controlnet"}
    return any(sign in _letters(name) for sign in signs)


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())
