"""Whether a run has chosen another method's ControlNet, by the names of files."""

import re
from collections.abc import Mapping
from typing import Any, cast

from ..checks.text import plain
from .manifest import Model, models

Prompt = Mapping[str, Any]
"""A workflow as the API takes it: the nodes by their ids."""
_MODEL_FILE = re.compile(r"\.(safetensors|sft|bin|pth|pt|ckpt)$", re.IGNORECASE)


def other_net(prompt: Prompt | None, node_id: str | None, input_id: str) -> str:
    """A sentence that warns where the ControlNet that a run has linked to a node is another method's; else "".

    ControlNets of several methods have one architecture, and another method's net draws smeared pictures. Whose net a
    file is, its name and its folder tell; without a sign of any method in them there is no warning.
    prompt: of the run, by the ids of its nodes; None where a script runs the node. node_id: of the node. input_id: the
    input to which the ControlNet is linked.
    """
    node = (prompt or {}).get(node_id or "")
    if node is None:
        return ""
    nets = [model for model in models() if model.key == "controlnet"]
    own_nets = [net for net in nets if node["class_type"] in net.nodes]
    for name in _files_behind(prompt or {}, node["inputs"].get(input_id)):
        named = [net for net in nets if _is_named(net, name)]
        if named and not any(net in own_nets for net in named):
            needed = " or ".join(own.name for own in own_nets)
            return (
                f"By its name {plain(name, 100)} is the file of {named[0].title}. With another net than its own the "
                f"picture is smeared: choose {needed} in ControlNet (control_net_name)."
            )
    return ""


def _files_behind(prompt: Prompt, link: Any) -> list[str]:
    """The model files that nodes behind a link have chosen. A way back ends at the first node that has chosen any.

    link: the value of an input, [id of a node, output] where it is a link.
    """
    names: list[str] = []
    waiting = [link]
    seen: set[str] = set()  # ids of nodes, to which several ways may lead
    for value in waiting:  # which grows
        if not isinstance(value, list) or not value:
            continue
        source = str(cast("list[object]", value)[0])
        if source not in prompt or source in seen:
            continue
        seen.add(source)
        values = list(prompt[source]["inputs"].values())
        files = [text for text in values if isinstance(text, str) and _MODEL_FILE.search(text)]
        names += files
        if not files:
            waiting += values
    return names


def _is_named(net: Model, name: str) -> bool:
    """Whether a file's name or one of its folders tells that it is this net: "InstantID/...", "identitynet.pth"."""
    words = re.findall(r"[\w-]+", net.title.replace("'s", ""))
    # The manifest keeps the net of a method in a folder with the method's name, and any other net in that of a family.
    if net.nodes:
        words.append(net.name.partition("/")[0])
    signs = {_letters(word) for word in words} - {"controlnet"}  # a word that all of them have
    return any(sign in _letters(name) for sign in signs)


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())
