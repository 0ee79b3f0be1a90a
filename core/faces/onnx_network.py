"""An ONNX file as a network in torch, run node by node.

    Program (onnx_file.read) --plan--> NetworkPlan --Network--> what the graph gives for a picture
                                         +-- state: the weights, as the Network has them

`plan` looks every operator up in onnx_operators.py, so a file that cannot be run is refused by name before anything is
built; `opened` runs the graph on shapes alone. What neither can know fails in the Network, by name too.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..checks.errors import UnsupportedCheckpoint
from ..checks.memory import is_out_of_memory
from ..checks.text import in_one_line
from ..models.onnx_file import Node, Program
from ..models.tensors import State
from .onnx_operators import OPERATORS, UnknownValue, attributes_of

Held = Callable[[Tensor], Any]
"""A network that a Holder keeps, as a function: a picture (1, 3, H, W) -> the outputs of the graph. The Holder sees to
it that the weights are on their device while the function runs."""
Holder = Callable[[Callable[..., nn.Module], State], Held]
"""Keeps a network in memory, as the host's memory management does: (build(ops=..., device=..., dtype=...) -> module,
its weights) -> the network as a function."""
ROOM = 2 << 30
"""The most bytes that the values of all steps may take together for one picture. The largest published networks take
0.3 GB; a damaged or hostile file could ask for any amount."""


@dataclass(frozen=True, eq=False)
class Step:
    """One node of a graph.

    operator: its name in ONNX. run: its function, the attributes filled in. reads: names of the values that are its
    inputs. makes: name of the value that it gives.
    """

    operator: str
    run: Callable[..., Tensor]
    reads: tuple[str, ...]
    makes: str


@dataclass(frozen=True, eq=False)
class NetworkPlan:
    """A file as steps.

    input, outputs: names of values. weight_numbers: by the name of a value, which of the Network's weights it is; one
    weight may go by a thousand names. state: the weights by their keys in the Network. constants: the other fixed
    values (sizes, indices), by name; they are never cast.
    """

    path: str
    input: str
    outputs: tuple[str, ...]
    steps: tuple[Step, ...]
    weight_numbers: Mapping[str, int]
    state: State
    constants: Mapping[str, Tensor]


def plan(program: Program) -> NetworkPlan:
    """The plan of a program: the operators of its nodes looked up, its weights numbered, its constants set apart.

    Nodes whose value is fixed become no steps. Fixed values that no step reads and that are no outputs are left out.
    Raises UnsupportedCheckpoint naming an operator or attribute that is unknown here, or a node that makes nothing.
    """
    fixed = dict(program.weights)  # values that are the same for every picture
    steps: list[Step] = []
    for node in program.nodes:
        if not any(node.outputs[:1]):  # no outputs, or the first has no name ("")
            raise _unsupported(program.path, f"with the operator {node.operator} that makes nothing")
        value = _fixed_value(node, fixed)
        if value is None:
            steps.append(_step(program.path, node))
        else:
            fixed[node.outputs[0]] = value
    read = {name: fixed[name] for step in steps for name in step.reads if name in fixed}
    given = {name: fixed[name] for name in program.outputs if name in fixed}  # perhaps read by no step
    sizes = _names_of_sizes(steps)
    weights = {name: value for name, value in read.items() if value.is_floating_point() and name not in sizes}
    constants = {name: value for name, value in (read | given).items() if name not in weights}
    numbers = _numbered(weights)
    # The keys of a Network's state_dict. Names of one tensor give one key.
    state = {f"weights.{numbers[name]}.weight": tensor for name, tensor in weights.items()}
    return NetworkPlan(program.path, program.input, program.outputs, tuple(steps), numbers, state, constants)


def _names_of_sizes(steps: Sequence[Step]) -> set[str]:
    """The values that are no weights although they may be floats: what Resize reads beside the picture."""
    return {name for step in steps if step.operator == "Resize" for name in step.reads[1:]}


def _numbered(weights: State) -> dict[str, int]:
    """Name -> number of each weight, from 0. A tensor that goes by several names has one number."""
    number_of: dict[int, int] = {}
    for tensor in weights.values():
        number_of.setdefault(id(tensor), len(number_of))
    return {name: number_of[id(tensor)] for name, tensor in weights.items()}


def _fixed_value(node: Node, fixed: Mapping[str, Tensor]) -> Tensor | None:
    """The value of a Constant, or of an Identity of a fixed value: it is the same for every picture. None for any other
    node.

    fixed: the fixed values so far, by name. Exporters store weights as Constants, and give a weight a second name by an
    Identity.
    """
    if node.operator == "Identity":
        input_name = node.inputs[0] if node.inputs else ""
        return fixed.get(input_name)
    if node.operator == "Constant":
        value = node.attributes.get("value")
        return value if isinstance(value, Tensor) else None
    return None


def _step(path: str, node: Node) -> Step:
    """The step of a node. Raises UnsupportedCheckpoint for an operator or an attribute that is unknown here."""
    if node.operator not in OPERATORS:
        raise _unsupported(path, f"with the operator {node.operator}")
    unknown = sorted(node.attributes.keys() - attributes_of(node.operator))
    if unknown:
        raise _unsupported(path, f"with the attribute {unknown[0]} of the operator {node.operator}")
    return Step(node.operator, partial(OPERATORS[node.operator], **node.attributes), node.inputs, node.outputs[0])


class Weight(nn.Module):
    """One tensor as a module, with the attributes that ComfyUI's memory management looks for in layers.

    The management may leave such a module's weight in CPU memory until it is used: `Network._value` brings it to the
    device.
    """

    # ComfyUI offloads modules that have this attribute. False: no layer here casts the weight by itself.
    comfy_cast_weights = False

    def __init__(self, empty: Tensor) -> None:
        super().__init__()
        if empty.ndim == 4:
            # With channels last a CPU needs half the time for a detector, and a quarter less for a recogniser. Only
            # tensors of four dimensions have that memory format.
            empty = empty.contiguous(memory_format=torch.channels_last)
        self.weight = nn.Parameter(empty, requires_grad=False)
        self.register_parameter("bias", None)  # as a layer has it


class Network(nn.Module):
    """A planned graph. Its weights come from `NetworkPlan.state`; nothing in it is a layer, so `ops` is of no use."""

    def __init__(self, planned: NetworkPlan, ops: Any = None, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        empty = [torch.empty_like(tensor, device=device, dtype=dtype) for tensor in planned.state.values()]
        self.weights = nn.ModuleList(Weight(tensor) for tensor in empty)
        self._plan = planned
        self._last_use = {name: number for number, step in enumerate(planned.steps) for name in step.reads}
        """The number of the last step that reads a value, by its name."""

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """The graph's outputs for a picture (1, 3, H, W), in the order of the file.

        Raises UnsupportedCheckpoint where a step fails.
        """
        with _explained(self._plan.path):
            return self._run(pixels)

    def _run(self, pixels: Tensor) -> list[Tensor]:
        """The graph's outputs for a picture (1, 3, H, W).

        A value is let go of after its last use. Raises UnsupportedCheckpoint where all values together take more than
        ROOM bytes.
        """
        if pixels.ndim == 4:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        # An input that a node leaves out has the name "".
        values: dict[str, Any] = {**self._plan.constants, self._plan.input: pixels, "": None}
        made_bytes = pixels.nbytes  # of all values that this run has made, also of those it has let go of
        for number, step in enumerate(self._plan.steps):
            inputs = [self._value(name, values, pixels.device) for name in step.reads]
            value = self._output(step, inputs)
            values[step.makes] = value
            made_bytes += value.nbytes
            if made_bytes > ROOM:
                room = f"{made_bytes / 1e9:.1f} GB where {ROOM / 1e9:.1f} GB are room for any"
                raise _unsupported(self._plan.path, f"whose values take {room}")
            for name in step.reads:
                if self._last_use[name] == number and name not in self._plan.outputs:
                    values.pop(name, None)  # weights are not among the values
        return [self._value(name, values, pixels.device) for name in self._plan.outputs]

    def _value(self, name: str, values: Mapping[str, Any], device: torch.device) -> Any:
        """A value of the run, else the weight of this name, on this device."""
        if name in values:
            return values[name]
        module: Any = self.weights[self._plan.weight_numbers[name]]
        return module.weight.to(device)

    def _output(self, step: Step, inputs: Sequence[Any]) -> Tensor:
        """The value that a step makes of its inputs. Raises UnsupportedCheckpoint where an attribute of the node has a
        value for which its operator is not implemented in onnx_operators."""
        try:
            return step.run(*inputs)
        except UnknownValue as error:
            problem = f"with another {error} of the operator {step.operator} than is known here"
            raise _unsupported(self._plan.path, problem) from error


def opened(program: Program, hold: Holder, picture_shape: Sequence[int], output_sizes: Sequence[int]) -> Held:
    """The network of a program as a function, kept by `hold`.

    Before that, the network is run on torch's meta device, which computes shapes alone: so a file that does not fit is
    refused before its weights are kept.
    picture_shape: of a picture to try it with. output_sizes: how many numbers each output must have for that picture.
    Raises UnsupportedCheckpoint.
    """
    with _explained(program.path):
        planned = plan(program)
        outputs = Network(planned, device="meta")(torch.empty(picture_shape, device="meta", dtype=torch.float32))
        sizes = [output.numel() for output in outputs]
        if sizes != list(output_sizes):
            raise _unsupported(planned.path, f"whose outputs are of {sizes} numbers instead of {list(output_sizes)}")
        return hold(partial(Network, planned), planned.state)


@contextmanager
def _explained(path: str) -> Generator[None, None, None]:
    """While this context is open, whatever fails is a fault of the file: UnsupportedCheckpoint is raised instead.

    A network is planned, built and run in it.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if is_out_of_memory(error):
            raise  # the host frees memory and tells the user
        raise _unsupported(path, f"whose parts do not fit together ({in_one_line(error)})") from error


def _unsupported(path: str, problem: str) -> UnsupportedCheckpoint:
    """The error for an ONNX file that is not run here. problem: what goes on behind "an ONNX network"."""
    expected = "one of the detectors and recognisers of insightface's packs"
    return UnsupportedCheckpoint(path, f"an ONNX network {problem}", expected, "Choose another pack or recogniser.")
