"""Graphs of attack_graphs.py in this process: our own nodes behind their checks, and the host's."""

from pathlib import Path
from typing import Any

import attack_values
import folder_paths
import numpy as np
import torch
from attack_graphs import Node, Output
from comfy_api.internal import make_locked_method_func
from pack.nodes.extension import NODES
from PIL import Image
from torch import Tensor

from nodes import NODE_CLASS_MAPPINGS

OURS = {one.define_schema().node_id: one for one in NODES}


def call(node: Any, **inputs: Any) -> Any:
    """What the host makes of a node and its inputs."""
    return make_locked_method_func(node, node.FUNCTION, node.PREPARE_CLASS_CLONE(None))(**inputs)


def linked_inputs(node: Node, made: dict[Node, Any]) -> dict[str, Any]:
    """What comes to a node from others, by input. made: the outputs of nodes that have run already."""
    values: dict[str, Any] = {}
    for name, source in node.inputs.items():
        if isinstance(source, Node):
            values[name] = run(source, made)[0]
        elif isinstance(source, Output):
            values[name] = run(source.node, made)[source.number]
    return values


def run_as(one: Node, node_id: str, made: dict[Node, Any]) -> Any:
    """The outputs of one of our nodes that has this id in a graph. made: those of nodes that have run already."""
    inputs = {**one.inputs, **linked_inputs(one, made)}
    kind = OURS[one.kind]
    clone = kind.PREPARE_CLASS_CLONE(None)
    clone.hidden.unique_id = node_id
    return make_locked_method_func(kind, kind.FUNCTION, clone)(**inputs).args


def run(one: Node, made: dict[Node, Any]) -> Any:
    """The outputs of a node, or what an AttackCheck has found. made: those of nodes that have run already."""

    def given(source: Any) -> Any:
        if isinstance(source, Node):
            return run(source, made)[0]
        return run(source.node, made)[source.number] if isinstance(source, Output) else source

    if one not in made:
        made[one] = _executed(one.kind, {name: given(source) for name, source in one.inputs.items()})
    return made[one]


def _executed(kind: str, inputs: dict[str, Any]) -> Any:
    if kind in ("AttackValue", "AttackCheck"):
        found = eval(inputs.pop("expression"), {**vars(attack_values), **inputs})  # noqa: S307 - the tests' own words
        return found if kind == "AttackCheck" else (found,)
    if kind in OURS:
        return call(OURS[kind], **inputs).args
    host = NODE_CLASS_MAPPINGS[kind]()
    return getattr(host, host.FUNCTION)(**inputs)


def shown(output: Any) -> list[Tensor]:
    """The pictures that a node shows of itself, (H, W, 3) 0..1."""
    files = (output.ui if isinstance(output.ui, dict) else output.ui.as_dict())["images"]
    paths = [Path(folder_paths.get_temp_directory(), one["subfolder"], one["filename"]) for one in files]
    return [torch.from_numpy(np.array(Image.open(path))).float() / 255 for path in paths]
