"""Graphs of graphs.py in this process: our own nodes behind their checks, and the host's."""

import asyncio
import inspect
from pathlib import Path
from typing import Any

import folder_paths
import numpy as np
import torch
from comfy_api.internal import make_locked_method_func
from comfy_execution.graph import DynamicPrompt
from comfy_extras import nodes_custom_sampler
from graphs import Node, Output, Value
from pack.nodes.extension import NODES
from PIL import Image
from torch import Tensor

from nodes import NODE_CLASS_MAPPINGS

OURS = {kind.define_schema().node_id: kind for kind in NODES}


def call(node: Any, **inputs: Any) -> Any:
    """What the host makes of a node and its inputs."""
    return _awaited(make_locked_method_func(node, node.FUNCTION, node.PREPARE_CLASS_CLONE(None))(**inputs))


def _awaited(output: Any) -> Any:
    return asyncio.run(output) if inspect.iscoroutine(output) else output


def linked_inputs(node: Node, outputs: dict[Node, Any]) -> dict[str, Any]:
    """What comes to a node from others, by input. outputs: those of nodes that have run already."""
    linked = {name: source for name, source in node.inputs.items() if isinstance(source, (Node, Output))}
    return {name: brought(source, outputs) for name, source in linked.items()}


def brought(source: Any, outputs: dict[Node, Any]) -> Any:
    """What an input of a node is given: the output that is linked to it, or what stands there."""
    if isinstance(source, Node):
        return run(source, outputs)[0]
    if isinstance(source, Output):
        return run(source.node, outputs)[source.number]
    return source


def run_as(node: Node, node_id: str, outputs: dict[Node, Any], prompt: dict[str, Any] | None = None) -> Any:
    """The outputs of one of our nodes that has this id in a graph.

    outputs: those of nodes that have run already. prompt: as the host has it, where the node looks at it.
    """
    inputs = {**node.inputs, **linked_inputs(node, outputs)}
    kind = OURS[node.kind]
    clone = kind.PREPARE_CLASS_CLONE(None)
    clone.hidden.unique_id = node_id
    clone.hidden.dynprompt = DynamicPrompt(prompt or {})
    return _awaited(make_locked_method_func(kind, kind.FUNCTION, clone)(**inputs)).args


def run(node: Node, outputs: dict[Node, Any]) -> Any:
    """The outputs of a node; of a value the one thing that it makes. outputs: those of nodes that have run already."""
    if node not in outputs:
        inputs = {name: brought(source, outputs) for name, source in node.inputs.items()}
        outputs[node] = _executed(node, inputs, outputs)
    return outputs[node]


def _executed(node: Node, inputs: dict[str, Any], outputs: dict[Node, Any]) -> Any:
    if isinstance(node, Value):
        arguments = [brought(argument, outputs) for argument in node.arguments]
        return (node.make(*arguments, **inputs),)
    if node.kind in OURS:
        return call(OURS[node.kind], **inputs).args
    if node.kind not in NODE_CLASS_MAPPINGS:  # the host adds these when its server starts
        return call(getattr(nodes_custom_sampler, node.kind), **inputs).args
    host = NODE_CLASS_MAPPINGS[node.kind]()
    return getattr(host, host.FUNCTION)(**inputs)


def shown(output: Any) -> list[Tensor]:
    """The pictures that a node shows of itself, (H, W, 3) 0..1."""
    described = output.ui if isinstance(output.ui, dict) else output.ui.as_dict()
    files = described["images"]
    paths = [Path(folder_paths.get_temp_directory(), file["subfolder"], file["filename"]) for file in files]
    return [torch.from_numpy(np.array(Image.open(path))).float() / 255 for path in paths]
