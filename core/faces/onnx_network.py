"""An ONNX file as a network in torch, run node by node.

    Program (onnx_file.read) --plan--> Plan --Network--> what the graph gives for a picture
                                         +-- state: the weights, as the Network has them

`plan` looks every operator up in the table of onnx_operators.py, so a file that cannot be run is refused by name before
anything is built; `check` runs the graph on shapes alone. What neither can know fails in the Network, by name too.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UnsupportedCheckpoint
from ..models.onnx_file import OTHER_BACKEND, Node, Program
from ..models.tensors import State
from ..text import in_one_line
from .onnx_operators import OPERATORS, READ_AS_LISTS, UnknownValue

ROOM = 2 << 30
"""Bytes of all that is made of one picture: 0.3 GB in the largest networks that are published."""


@dataclass(frozen=True, eq=False)
class Step:
    """One node: what it runs, the values it reads and the one it makes, by name."""

    operator: str
    run: Callable[..., Tensor]
    reads: tuple[str, ...]
    makes: str


@dataclass(frozen=True, eq=False)
class Plan:
    """A file as steps. weights, constants: what they read and none of them makes; constants are sizes."""

    path: str
    input: str
    outputs: tuple[str, ...]
    steps: tuple[Step, ...]
    weights: Mapping[str, Tensor]
    constants: Mapping[str, Tensor]

    @cached_property
    def places(self) -> Mapping[str, int]:
        """Of the weights in the Network: the same tensor may go by a thousand names."""
        numbers = {tensor: n for n, tensor in enumerate(dict.fromkeys(map(id, self.weights.values())))}
        return {name: numbers[id(tensor)] for name, tensor in self.weights.items()}

    @property
    def state(self) -> State:
        """The weights, as Network has them."""
        return {f"weights.{self.places[name]}.weight": tensor for name, tensor in self.weights.items()}


def plan(program: Program) -> Plan:
    """Raises UnsupportedCheckpoint naming an operator or attribute that is unknown here."""
    known = dict(program.weights)
    steps: list[Step] = []
    for node in program.nodes:
        if not any(node.outputs[:1]):
            raise _unsupported(program.path, f"with the operator {node.operator} that makes nothing")
        if (value := _without_a_picture(node, known)) is not None:
            known[node.outputs[0]] = value
        else:
            steps.append(_step(program.path, node))
    sizes = {name for step in steps if step.operator in READ_AS_LISTS for name in step.reads[1:]}
    read = {name: known[name] for step in steps for name in step.reads if name in known}
    weights = {name: one for name, one in read.items() if one.is_floating_point() and name not in sizes}
    constants = {name: known[name] for name in (*read, *program.outputs) if name in known and name not in weights}
    return Plan(program.path, program.input, program.outputs, tuple(steps), weights, constants)


def _without_a_picture(node: Node, known: Mapping[str, Tensor]) -> Tensor | None:
    """What a node gives whatever is looked at: exporters put weights there, and share them so."""
    if node.operator == "Identity":
        return known.get("".join(node.inputs[:1]))
    value = node.attributes.get("value") if node.operator == "Constant" else None
    return value if isinstance(value, Tensor) else None


def _step(path: str, node: Node) -> Step:
    if node.operator not in OPERATORS:
        raise _unsupported(path, f"with the operator {node.operator}")
    function = OPERATORS[node.operator]
    parameters = signature(function).parameters.items()
    known = {name for name, parameter in parameters if parameter.kind is Parameter.KEYWORD_ONLY}
    if unknown := sorted(node.attributes.keys() - known):
        raise _unsupported(path, f"with the attribute {unknown[0]} of the operator {node.operator}")
    return Step(node.operator, partial(function, **node.attributes), node.inputs, node.outputs[0])


class Weight(nn.Module):
    """One tensor. Memory management may leave it where it is until it is used, as it does with layers of this flag."""

    comfy_cast_weights = False

    def __init__(self, empty: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(empty, requires_grad=False)
        self.register_parameter("bias", None)  # as a layer has it


class Network(nn.Module):
    """Its weights come from `Plan.state`; nothing in it is a layer, so `ops` is of no use."""

    def __init__(self, planned: Plan, ops: Any = None, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        empty = {key: torch.empty_like(one, device=device, dtype=dtype) for key, one in planned.state.items()}
        self.weights = nn.ModuleList(map(Weight, empty.values()))
        self._plan = planned
        last = {name: n for n, step in enumerate(planned.steps) for name in step.reads}
        self._done: list[list[str]] = [[] for _ in planned.steps]
        """After each step, what nobody reads any more."""
        for name in last.keys() - planned.outputs:
            self._done[last[name]].append(name)
        # A CPU takes half the time for a detector so, and a quarter less for a recogniser.
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """The graph's outputs in the order of the file. Raises UnsupportedCheckpoint where a step fails."""
        with _explained(self._plan.path):
            return self._run(pixels)

    def _run(self, pixels: Tensor) -> list[Tensor]:
        if pixels.ndim == 4:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        values: dict[str, Any] = {**self._plan.constants, self._plan.input: pixels, "": None}

        def value_of(name: str) -> Any:
            if name in values:
                return values[name]
            place: Any = self.weights[self._plan.places[name]]
            return place.weight.to(pixels.device)

        made = pixels.nbytes
        for step, done in zip(self._plan.steps, self._done, strict=True):
            try:
                values[step.makes] = value = step.run(*map(value_of, step.reads))
            except UnknownValue as error:
                what = f"with another {error} of the operator {step.operator} than is known here"
                raise _unsupported(self._plan.path, what) from error
            made += value.nbytes
            if made > ROOM:
                room = f"{made / 1e9:.1f} GB where {ROOM / 1e9:.1f} GB are room for any"
                raise _unsupported(self._plan.path, f"whose values take {room}")
            for name in done:
                values.pop(name, None)
        return [value_of(name) for name in self._plan.outputs]


def check(planned: Plan, picture: Sequence[int], wanted: Sequence[int]) -> None:
    """Run the graph on shapes alone: a picture of this shape must give outputs of so many numbers each.

    Raises UnsupportedCheckpoint.
    """
    found = [output.numel() for output in Network(planned, device="meta")(torch.empty(picture, device="meta"))]
    if found != list(wanted):
        raise _unsupported(planned.path, f"whose outputs are of {found} numbers instead of {list(wanted)}")


@contextmanager
def _explained(path: str) -> Generator[None, None, None]:
    """What goes wrong with a file's own numbers, as UnsupportedCheckpoint; memory that runs out is the host's."""
    try:
        yield
    except torch.cuda.OutOfMemoryError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise _unsupported(path, f"whose parts do not fit together ({in_one_line(error)})") from error


def _unsupported(path: str, what: str) -> UnsupportedCheckpoint:
    expected = "one of the detectors and recognisers of insightface's packs"
    advice = f"Choose another pack or recogniser, or {OTHER_BACKEND}"
    return UnsupportedCheckpoint(path, f"an ONNX network {what}", expected, advice)
