"""An ONNX file as a network in torch, run node by node: the operators of networks for faces, and what runs them.

    Program (onnx_file.read) --plan--> NetworkPlan --Network--> what the graph gives for a picture
                                         +-- state: the weights, as the Network has them

`plan` looks every operator up in OPERATORS, which has those of the published files; so a file that cannot be run is
refused by name before anything is built. `opened` runs the graph on shapes alone. What neither can know fails in the
Network, by name too.
Source of the operators: docs/Operators.md of github.com/onnx/onnx.
"""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from inspect import Parameter, signature
from types import BuiltinFunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..checks.errors import UnsupportedCheckpoint
from ..checks.memory import is_out_of_memory
from ..checks.text import in_one_line
from ..models.onnx_file import Node, Program
from ..models.tensors import State

Held = Callable[[Tensor], Any]
"""A network that a Holder keeps, as a function: a picture (1, 3, H, W) -> the outputs of the graph. The Holder sees to
it that the weights are on their device while the function runs."""
Holder = Callable[[Callable[..., nn.Module], State], Held]
"""Keeps a network in memory, as the host's memory management does: (build(ops=..., device=..., dtype=...) -> module,
its weights) -> the network as a function."""
ROOM = 2 << 30
"""The most bytes that the values of all steps may take together for one picture. The largest published networks take
0.3 GB; a damaged or hostile file could ask for any amount."""


# --- The operators
#
# A function takes a node's inputs by position and its attributes by the names that ONNX gives them, and returns the
# node's first output; the others are of no use here. An attribute that is no parameter is unknown, and a file with it
# is refused before it runs. A value of an attribute that is not computed here raises UnknownValue. Pictures and
# features are (B, C, H, W).

Ints = Sequence[int]
_MOST_PADDING = 256
"""The most pixels of padding on a side; networks for faces have 3. `Network` counts the bytes of what a node gives, and
not those of a padded picture inside of a node, so a larger number could fill the memory."""
_INT64 = 7
"""TensorProto's number of int64."""


class UnknownValue(ValueError):
    """An attribute has a value for which the operator is not implemented here. The error's text is the attribute's
    name."""


def _require(is_known: bool, attribute: str) -> None:
    """Raise UnknownValue with the name of the attribute unless its value is one that is computed here."""
    if not is_known:
        raise UnknownValue(attribute)


def _require_floats(*weights: Tensor | None) -> None:
    """Raise UnknownValue where a weight has another dtype than a float; None is a weight that the node leaves out.

    On the meta device, where a network is tried, torch does not check dtypes: it would fail with the first picture.
    """
    floats = all(weight is None or weight.is_floating_point() for weight in weights)
    _require(floats, "kind of weights")


def _numbers(tensor: Tensor) -> list[Any]:
    return tensor.cpu().numpy().tolist()


def identity(x: Tensor) -> Tensor:
    return x


def shape_of(x: Tensor) -> Tensor:
    """The size of every dimension of x, (dimensions,) int64, on the CPU."""
    return torch.tensor(x.shape)


def cast(x: Tensor, *, to: int) -> Tensor:
    """The numbers of x as int64; sizes are cast to nothing else. to: a number of TensorProto's data types."""
    _require(to == _INT64, "to")
    return x.long()


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """Every number, multiplied by a slope where it is below 0.

    slope: one number, or one per channel, (C, 1, 1).
    """
    return functional.prelu(x, slope.flatten())


# On the meta device, where a network is tried, torch accepts numbers with which it then fails or crashes on a real
# picture: strides and dilations that are not above 0, and any pads.


def _steps(numbers: Ints, attribute: str) -> list[int]:
    """Strides or dilations as torch takes them: (down, right). Raises UnknownValue unless they are above 0."""
    _require(min(numbers) > 0, attribute)
    return list(numbers)


def _padding(pads: Ints) -> list[int]:
    """The padding as torch takes it: [on top and bottom, on left and right].

    pads: (top, left, bottom, right), as ONNX has them. Raises UnknownValue where two opposite sides differ, and for
    more than _MOST_PADDING.
    """
    top, left, bottom, right = pads
    alike = (top, left) == (bottom, right)
    _require(alike and all(0 <= side <= _MOST_PADDING for side in pads), "pads")
    return [top, left]


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    group: int = 1,
    kernel_shape: Ints = (),
    strides: Ints = (1, 1),
    pads: Ints = (0, 0, 0, 0),
    dilations: Ints = (1, 1),
) -> Tensor:
    """A convolution of x (B, C, H, W).

    weight: (out, C / group, height, width) of the kernel. kernel_shape repeats the last two sizes of the weight and is
    not read. Raises UnknownValue for other values of attributes.
    """
    stride = _steps(strides, "strides")
    dilation = _steps(dilations, "dilations")
    padding = _padding(pads)
    _require(weight.ndim == 4 and all(weight.shape), "kernel_shape")
    _require_floats(weight, bias)
    return functional.conv2d(x, weight, bias, stride, padding, dilation, group)


def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # noqa: N803 - ONNX's name
    transB: int = 0,  # noqa: N803
) -> Tensor:
    """A linear layer: x (B, in) -> x weight.T + bias, (B, out).

    weight: (out, in), which ONNX calls B, so transB must be set. Raises UnknownValue for another order or factor.
    """
    _require(alpha == beta == 1, "alpha or beta")
    _require(not transA, "transA")
    _require(bool(transB), "transB")
    return functional.linear(x, weight, bias)


def batch_normalization(
    x: Tensor,
    scale: Tensor,
    shift: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) * scale + shift, channel by channel.

    scale, shift, mean, variance: (C,). momentum is for training alone and not read.
    """
    _require_floats(scale, shift, mean, variance)
    return functional.batch_norm(x, mean, variance, scale, shift, eps=epsilon)


def global_average_pool(x: Tensor) -> Tensor:
    """The mean of each channel: (B, C, H, W) -> (B, C, 1, 1)."""
    return x.mean(dim=(2, 3), keepdim=True)


def max_pool(
    x: Tensor,
    *,
    ceil_mode: int = 0,
    kernel_shape: Ints = (),
    strides: Ints = (1, 1),
    pads: Ints = (0, 0, 0, 0),
    dilations: Ints = (1, 1),
) -> Tensor:
    """The maximum of each window of (B, C, H, W)."""
    stride = _steps(strides, "strides")
    dilation = _steps(dilations, "dilations")
    return functional.max_pool2d(x, list(kernel_shape), stride, _padding(pads), dilation, bool(ceil_mode))


def average_pool(
    x: Tensor,
    *,
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    kernel_shape: Ints = (),
    strides: Ints = (1, 1),
    pads: Ints = (0, 0, 0, 0),
) -> Tensor:
    """The mean of each window of (B, C, H, W)."""
    stride = _steps(strides, "strides")
    padding = _padding(pads)
    return functional.avg_pool2d(x, list(kernel_shape), stride, padding, bool(ceil_mode), bool(count_include_pad))


_REPEATS_PIXELS = (("half_pixel", "round_prefer_floor"), ("asymmetric", "floor"))
"""ONNX's default, and what PyTorch writes: the pairs of coordinate_transformation_mode and nearest_mode by which every
pixel is repeated alike. With others the picture lies up to a pixel aside."""


def resize(
    x: Tensor,
    region: Tensor | None,
    scales: Tensor | None,
    sizes: Tensor,
    *,
    mode: str = "nearest",
    coordinate_transformation_mode: str = "half_pixel",
    nearest_mode: str = "round_prefer_floor",
    cubic_coeff_a: object = None,
) -> Tensor:
    """x (B, C, H, W) with H and W enlarged to whole multiples, each pixel repeated ("nearest").

    sizes: the new (B, C, H, W). region, scales and cubic_coeff_a concern other modes or stand in the place of sizes.
    Raises UnknownValue for other multiples and modes.
    """
    _require(mode == "nearest", "mode")
    modes = (coordinate_transformation_mode, nearest_mode)
    _require(modes in _REPEATS_PIXELS, "coordinate_transformation_mode or nearest_mode")
    *batch_and_channels, new_height, new_width = _numbers(sizes)
    height, width = x.shape[2:]
    whole_multiples = new_height % height == 0 and new_width % width == 0 and new_height > 0 and new_width > 0
    _require(batch_and_channels == list(x.shape[:2]) and whole_multiples, "scales")
    return functional.interpolate(x, size=[new_height, new_width], mode="nearest")


def flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    """x with two dimensions: all dimensions before the axis as one, and the others as one."""
    return x.reshape(math.prod(x.shape[:axis]), -1)


def reshape(x: Tensor, shape: Tensor) -> Tensor:
    """x in another shape.

    shape: (dimensions,). A size of 0 stands for the size that x has in this dimension, and -1 for what is left over.
    """
    return x.reshape([x.shape[dimension] if size == 0 else size for dimension, size in enumerate(_numbers(shape))])


def transpose(x: Tensor, *, perm: Ints) -> Tensor:
    """x with its dimensions in another order. perm: the old number of each new dimension."""
    return x.permute(*perm)


def concatenate(*parts: Tensor, axis: int) -> Tensor:
    """Several tensors joined one after the other, along one dimension."""
    return torch.cat(parts, axis)


def unsqueeze(x: Tensor, *, axes: Ints) -> Tensor:
    """x with further dimensions of size 1 at these positions."""
    for dimension in axes:
        x = x.unsqueeze(dimension)
    return x


def cut(x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor) -> Tensor:
    """The entries from `starts` to before `ends` of the dimensions `axes`. starts, ends, axes: (n,) each."""
    parts = [slice(None)] * x.ndim
    for start, end, axis in zip(_numbers(starts), _numbers(ends), _numbers(axes), strict=True):
        parts[axis] = slice(start, end)
    return x[tuple(parts)]


def gather(x: Tensor, index: Tensor, *, axis: int = 0) -> Tensor:
    """The entries of x along its first dimension at these indices: (n, ...) and index of any shape -> (*index, ...).

    A negative index counts from the end.
    """
    _require(axis == 0, "axis")
    # On a GPU an index out of range would end the whole process instead of raising.
    _require(all(-len(x) <= entry < len(x) for entry in _numbers(index.flatten())), "indices")
    return x[index]


OPERATORS: Mapping[str, Callable[..., Tensor]] = {
    "Identity": identity,
    "Relu": torch.relu,
    "Sigmoid": torch.sigmoid,
    "Shape": shape_of,
    "Cast": cast,
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "PRelu": prelu,
    "Conv": convolution,
    "Gemm": linear,
    "BatchNormalization": batch_normalization,
    "GlobalAveragePool": global_average_pool,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "Resize": resize,
    "Flatten": flatten,
    "Reshape": reshape,
    "Transpose": transpose,
    "Concat": concatenate,
    "Unsqueeze": unsqueeze,
    "Slice": cut,
    "Gather": gather,
}
"""ONNX's name of an operator -> its function."""


def attributes_of(name: str) -> set[str]:
    """The attributes that an operator may have: the keyword-only parameters of its function.

    Operators whose function is torch's own (Relu, Add) have no attributes in ONNX.
    """
    function = OPERATORS[name]
    if isinstance(function, BuiltinFunctionType):
        return set()
    parameters = signature(function).parameters.values()
    return {parameter.name for parameter in parameters if parameter.kind is Parameter.KEYWORD_ONLY}


# --- The network


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
        """The value that a step makes of its inputs. Raises UnsupportedCheckpoint for an UnknownValue."""
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
