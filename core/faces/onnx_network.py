"""An ONNX file as a network in torch, run node by node.

    Program (onnx_file.read) --plan--> Plan --Network--> what the graph gives for a picture
                                         +-- state: the weights, as the Network has them

`plan` looks every operator up in the tables of onnx_operators.py, so a file that cannot be run is refused by name
before anything is built; `check` runs the graph on shapes alone. What neither can know fails in the Network, by name
too.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UnsupportedCheckpoint
from ..models.onnx_file import OTHER_BACKEND, Node, Program
from ..models.tensors import State
from ..text import in_one_line
from .onnx_operators import FUNCTIONS, LAYERS, Layer, UnknownValue, relu_in_place

KEYWORD_ONLY = Parameter.KEYWORD_ONLY
ROOM = 2 << 30
"""Bytes of a file's weights, and of all that is made of one picture: 0.3 GB each in the largest that are published."""


@dataclass(frozen=True, eq=False)
class Step:
    """One node: the values it reads and the one it makes, by name, and those that nobody reads after it.

    run: a function, or a Layer, in whose place Network puts what it has built.
    """

    operator: str
    run: Any
    reads: tuple[str, ...]
    makes: str
    done: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Plan:
    """A file as steps. constants: what they read and none of them makes; sizes and a few numbers."""

    path: str
    input: str
    outputs: tuple[str, ...]
    steps: tuple[Step, ...]
    constants: Mapping[str, Tensor]

    @property
    def layers(self) -> dict[str, Layer]:
        """By the number of their step."""
        return {str(n): step.run for n, step in enumerate(self.steps) if isinstance(step.run, Layer)}

    @property
    def state(self) -> State:
        """The weights, as Network has them."""
        return {f"layers.{n}.{key}": value for n, layer in self.layers.items() for key, value in layer.state.items()}


def plan(program: Program) -> Plan:
    """Raises UnsupportedCheckpoint naming an operator, attribute or value that is unknown here."""
    known = dict(program.weights)
    steps: list[Step] = []
    weights = 0
    for node in program.nodes:
        if not any(node.outputs[:1]):
            raise _unsupported(program.path, f"with the operator {node.operator} that makes nothing")
        if node.operator == "Constant" and isinstance(value := node.attributes.get("value"), Tensor):
            known[node.outputs[0]] = value
        elif node.operator == "Identity" and known.keys() & node.inputs[:1]:  # how exporters share a weight
            known[node.outputs[0]] = known[node.inputs[0]]
        else:
            steps.append(step := _step(program.path, node, known))
            if isinstance(step.run, Layer):
                weights += sum(tensor.nbytes for tensor in step.run.state.values())
                _hold_to_room(program.path, "weights", weights)  # one of them may be read by a thousand nodes
    last = {name: n for n, step in enumerate(steps) for name in step.reads} | dict.fromkeys(program.outputs, len(steps))
    freeing = [
        replace(step, done=tuple({name for name in step.reads if last[name] == n and name not in known}))
        for n, step in enumerate(steps)
    ]
    constants = {name: known[name] for name in last if name in known}
    return Plan(program.path, program.input, program.outputs, tuple(_in_place(freeing)), constants)


def _step(path: str, node: Node, known: Mapping[str, Tensor]) -> Step:
    operator, result = node.operator, node.outputs[0]
    if operator in FUNCTIONS:
        function = FUNCTIONS[operator]
        _refuse_unknown(path, node, function)
        return Step(operator, partial(function, **node.attributes), node.inputs, result)
    if operator not in LAYERS:
        raise _unsupported(path, f"with the operator {operator}")
    _refuse_unknown(path, node, LAYERS[operator])
    if computed := [name for name in node.inputs[1:] if name and name not in known]:
        raise _unsupported(path, f"with the operator {operator} whose weights are computed ({computed[0]})")
    try:
        layer = LAYERS[operator](*(known.get(name) for name in node.inputs[1:]), **node.attributes)
    except UnknownValue as error:
        raise _unsupported(path, f"with another {error} of the operator {operator} than is known here") from error
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise _unsupported(path, f"with weights that do not fit the operator {operator} ({error})") from error
    return Step(operator, layer, node.inputs[:1], result)


def _refuse_unknown(path: str, node: Node, takes: Callable[..., Any]) -> None:
    known = {name for name, parameter in signature(takes).parameters.items() if parameter.kind is KEYWORD_ONLY}
    if unknown := sorted(node.attributes.keys() - known):
        raise _unsupported(path, f"with the attribute {unknown[0]} of the operator {node.operator}")


def _in_place(steps: Sequence[Step]) -> list[Step]:
    """What a layer has just made and only a Relu reads needs no room of its own."""
    made = {step.makes for step in steps if isinstance(step.run, Layer)}
    return [
        replace(step, run=relu_in_place) if step.operator == "Relu" and made.intersection(step.done) else step
        for step in steps
    ]


class Network(nn.Module):
    """ops: a module with Conv2d and Linear (torch.nn, comfy.ops.manual_cast). Weights come from `Plan.state`."""

    def __init__(self, planned: Plan, ops: Any, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        built = {n: layer.make(ops, device=device, dtype=dtype) for n, layer in planned.layers.items()}
        self.layers = nn.ModuleDict(built)
        self._steps = [replace(step, run=built.get(str(n), step.run)) for n, step in enumerate(planned.steps)]
        self._constants, self._input, self._outputs = planned.constants, planned.input, planned.outputs
        self._path = planned.path
        # A CPU takes half the time for a detector so, and a quarter less for a recogniser.
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """The graph's outputs in the order of the file. Raises UnsupportedCheckpoint where a step fails."""
        with _explained(self._path):
            return self._run(pixels)

    def _run(self, pixels: Tensor) -> list[Tensor]:
        if pixels.ndim == 4:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        values: dict[str, Any] = {**self._constants, self._input: pixels, "": None}
        made = pixels.nbytes
        for step in self._steps:
            values[step.makes] = value = step.run(*(values[name] for name in step.reads))
            made += value.nbytes
            _hold_to_room(self._path, "values", made)
            for name in step.done:
                del values[name]
        return [values[name] for name in self._outputs]


def check(planned: Plan, picture: Sequence[int], wanted: Sequence[int]) -> None:
    """Run the graph on shapes alone: a picture of this shape must give outputs of so many numbers each.

    Raises UnsupportedCheckpoint.
    """
    with _explained(planned.path):
        network = Network(planned, nn, device="meta")
        network.load_state_dict({key: tensor.to("meta") for key, tensor in planned.state.items()}, assign=True)
        found = [output.numel() for output in network(torch.empty(picture, device="meta"))]
    if found != list(wanted):
        raise _unsupported(planned.path, f"whose outputs are of {found} numbers instead of {list(wanted)}")


@contextmanager
def _explained(path: str) -> Generator[None, None, None]:
    """What goes wrong with a file's own numbers, as UnsupportedCheckpoint; memory that runs out is the host's."""
    try:
        yield
    except torch.cuda.OutOfMemoryError:
        raise
    except UnknownValue as error:
        raise _unsupported(path, f"with another {error} than is known here") from error
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise _unsupported(path, f"whose parts do not fit together ({in_one_line(error)})") from error


def _hold_to_room(path: str, what: str, size: int) -> None:
    if size > ROOM:
        raise _unsupported(path, f"whose {what} take {size / 1e9:.1f} GB where {ROOM / 1e9:.1f} GB are room for any")


def _unsupported(path: str, what: str) -> UnsupportedCheckpoint:
    expected = "one of the detectors and recognisers of insightface's packs"
    advice = f"Choose another pack or recogniser, or {OTHER_BACKEND}"
    return UnsupportedCheckpoint(path, f"an ONNX network {what}", expected, advice)
