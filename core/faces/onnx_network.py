"""An ONNX file as a network in torch, run node by node.

    Program (onnx_file.read) --plan--> Plan --Network--> what the graph gives for a picture
                                         +-- state: the weights, as the Network has them

`plan` looks every operator up in the table below, so a file that cannot be run is refused by name before anything is
built; `opened` runs the graph on shapes alone. What neither can know fails in the Network, by name too.
"""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import UnsupportedCheckpoint
from ..models.onnx_file import Node, Program
from ..models.tensors import State
from ..text import in_one_line

Held = Callable[[Tensor], Any]
Holder = Callable[[Callable[..., nn.Module], State], Held]
"""(build(ops=..., device=..., dtype=...) -> module, its weights) -> the network, held for whoever calls it."""
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
    """A file as steps. places: of weights in the Network, where one may go by a thousand names; constants: sizes."""

    path: str
    input: str
    outputs: tuple[str, ...]
    steps: tuple[Step, ...]
    places: Mapping[str, int]
    state: State
    constants: Mapping[str, Tensor]


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
    # What these read beside the picture is sizes, also where it is floats.
    sizes = {name for step in steps if step.operator in ("Resize", "Upsample") for name in step.reads[1:]}
    read = {name: known[name] for step in steps for name in step.reads if name in known}
    weights = {name: one for name, one in read.items() if one.is_floating_point() and name not in sizes}
    constants = {name: known[name] for name in (*read, *program.outputs) if name in known and name not in weights}
    numbers = {tensor: n for n, tensor in enumerate(dict.fromkeys(map(id, weights.values())))}
    places = {name: numbers[id(tensor)] for name, tensor in weights.items()}
    state = {f"weights.{places[name]}.weight": tensor for name, tensor in weights.items()}
    return Plan(program.path, program.input, program.outputs, tuple(steps), places, state, constants)


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
    parameters = signature(function).parameters
    known = {name for name, parameter in parameters.items() if parameter.kind is Parameter.KEYWORD_ONLY}
    known |= signature(_window).parameters.keys() if "window" in parameters else set()
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
        empty = (torch.empty_like(one, device=device, dtype=dtype) for one in planned.state.values())
        self.weights = nn.ModuleList(map(Weight, empty))
        self._plan = planned
        reads = {name: n for n, step in enumerate(planned.steps) for name in step.reads}
        self._last = {**reads, **dict.fromkeys(planned.outputs)}
        """By value the step after which it may go; None: it is put out."""
        for place in self.weights:
            parameter: Any = place.weight
            # A CPU takes half the time for a detector so, and a quarter less for a recogniser. For other dimensions
            # there is no such order, and torch raises for five.
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

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
        for number, step in enumerate(self._plan.steps):
            try:
                values[step.makes] = value = step.run(*map(value_of, step.reads))
            except UnknownValue as error:
                what = f"with another {error} of the operator {step.operator} than is known here"
                raise _unsupported(self._plan.path, what) from error
            made += value.nbytes
            if made > ROOM:
                room = f"{made / 1e9:.1f} GB where {ROOM / 1e9:.1f} GB are room for any"
                raise _unsupported(self._plan.path, f"whose values take {room}")
            for name in step.reads:
                if self._last[name] == number:
                    values.pop(name, None)
        return [value_of(name) for name in self._plan.outputs]


def opened(program: Program, hold: Holder, picture: Sequence[int], wanted: Sequence[int]) -> Held:
    """The network, tried on shapes alone: a picture of this shape must give outputs of so many numbers each.

    Raises UnsupportedCheckpoint.
    """
    with _explained(program.path):
        planned = plan(program)
        outputs = Network(planned, device="meta")(torch.empty(picture, device="meta"))
        found = [output.numel() for output in outputs]
        if found != list(wanted):
            raise _unsupported(planned.path, f"whose outputs are of {found} numbers instead of {list(wanted)}")
        return hold(partial(Network, planned), planned.state)


@contextmanager
def _explained(path: str) -> Generator[None, None, None]:
    """Whatever fails inside, when a network is planned, built or run, is a fault of its file: UnsupportedCheckpoint."""
    try:
        yield
    except torch.cuda.OutOfMemoryError:
        raise  # the host's
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise _unsupported(path, f"whose parts do not fit together ({in_one_line(error)})") from error


def _unsupported(path: str, what: str) -> UnsupportedCheckpoint:
    expected = "one of the detectors and recognisers of insightface's packs"
    return UnsupportedCheckpoint(path, f"an ONNX network {what}", expected, "Choose another pack or recogniser.")


Ints = Sequence[int]

_WIDEST = 256
"""Pixels of padding on a side; networks for faces have 3. What is padded is nowhere counted."""


class UnknownValue(ValueError):
    """An attribute has a value that nothing here computes; the text is its name."""


def _only(known: bool, attribute: str) -> None:
    if not known:
        raise UnknownValue(attribute)


def _only_floats(*weights: Tensor | None) -> None:
    """On shapes alone torch takes any kind of number, and raises when a picture comes."""
    _only(all(weight is None or weight.is_floating_point() for weight in weights), "kind of weights")


def _beside(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Sizes and what is computed of them are on the CPU, where sizes are read; these follow what they meet."""
    device = b.device if a.device.type == "cpu" else a.device
    return a.to(device), b.to(device)


def _listed(sizes: Tensor) -> list[Any]:
    return sizes.tolist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def _window(
    kernel_shape: Ints = (),
    strides: Ints = (1, 1),
    pads: Ints = (0, 0, 0, 0),
    dilations: Ints = (1, 1),
    auto_pad: str = "NOTSET",
) -> tuple[list[int], list[int], list[int], list[int]]:
    """(kernel, strides, pads, dilations), checked for what torch tells on real pictures only, or with a crash."""
    _only(auto_pad in ("NOTSET", "VALID"), "auto_pad")
    _only(min(strides) > 0, "strides")
    _only(all(0 <= side <= _WIDEST for side in pads), "pads")
    _only(min(dilations) > 0, "dilations")
    return list(kernel_shape), list(strides), list(pads), list(dilations)


def _conv(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, group: int = 1, **window: Any) -> Tensor:
    _, strides, (top, left, bottom, right), dilations = _window(**window)
    _only(weight.ndim == 4 and all(weight.shape), "kernel_shape")
    _only_floats(weight, bias)
    if (top, left) != (bottom, right):
        x, top, left = functional.pad(x, (left, right, top, bottom)), 0, 0
    return functional.conv2d(x, weight, bias, strides, [top, left], dilations, group)


def _gemm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # noqa: N803 - ONNX's name
    transB: int = 0,  # noqa: N803
) -> Tensor:
    _only(not transA, "transA")
    product = alpha * functional.linear(x, weight if transB else weight.t())
    return product if bias is None else product + beta * bias


def _batch_norm(
    x: Tensor,
    scale: Tensor,
    shift: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    spatial: int = 1,
    training_mode: int = 0,
) -> Tensor:
    _only(not training_mode, "training_mode")
    _only_floats(scale, shift, mean, variance)
    return functional.batch_norm(x, mean, variance, scale, shift, eps=epsilon)


def _instance_norm(x: Tensor, scale: Tensor, shift: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    _only_floats(scale, shift)
    return functional.instance_norm(x, weight=scale, bias=shift, eps=epsilon)


def _max_pool(x: Tensor, *, ceil_mode: int = 0, storage_order: int = 0, **window: Any) -> Tensor:
    kernel, strides, pads, dilations = _window(**window)
    return functional.max_pool2d(x, kernel, strides, _even(pads), dilations, bool(ceil_mode))


def _average_pool(x: Tensor, *, ceil_mode: int = 0, count_include_pad: int = 0, **window: Any) -> Tensor:
    kernel, strides, pads, dilations = _window(**window)
    _only(dilations == [1, 1], "dilations")
    return functional.avg_pool2d(x, kernel, strides, _even(pads), bool(ceil_mode), bool(count_include_pad))


def _even(pads: Ints) -> list[int]:
    top, left, bottom, right = pads
    _only((top, left) == (bottom, right), "pads")
    return [top, left]


def _resize(
    x: Tensor,
    *given: Tensor | None,
    mode: str = "nearest",
    scales: Sequence[float] = (),
    coordinate_transformation_mode: str = "",
    nearest_mode: str = "",
    cubic_coeff_a: float = 0.0,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
) -> Tensor:
    """Resize and, before it, Upsample: (x, [[roi,] scales[, sizes]]).

    Only to whole multiples, where all the ways to round a coordinate agree.
    """
    factors = list(scales)
    if len(given) == 3 and given[2] is not None:
        factors = [new / old for new, old in zip(_listed(given[2]), x.shape, strict=True)]
    elif given and (tensor := given[0] if len(given) == 1 else given[1]) is not None:
        factors = _listed(tensor)
    _only(mode == "nearest", "mode")
    _only(coordinate_transformation_mode != "align_corners", "coordinate_transformation_mode")
    _only(nearest_mode != "ceil", "nearest_mode")
    _only(factors[:2] == [1, 1] and all(factor == int(factor) >= 1 for factor in factors), "scales")
    return functional.interpolate(x, scale_factor=[float(factor) for factor in factors[2:]], mode="nearest")


def _flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    return x.reshape(math.prod(x.shape[:axis]), -1)


def _reshape(x: Tensor, shape: Tensor, *, allowzero: int = 0) -> Tensor:
    _only(not allowzero, "allowzero")
    return x.reshape([size or x.shape[n] for n, size in enumerate(_listed(shape))])


def _transpose(x: Tensor, *, perm: Ints) -> Tensor:
    return x.permute(*perm)


def _concat(*parts: Tensor, axis: int) -> Tensor:
    return torch.cat(parts, axis)


def _squeeze(x: Tensor, given: Tensor | None = None, *, axes: Ints = ()) -> Tensor:
    wanted = axes if given is None else _listed(given)
    return x.squeeze(dim=tuple(wanted)) if len(wanted) else x.squeeze()


def _unsqueeze(x: Tensor, given: Tensor | None = None, *, axes: Ints = ()) -> Tensor:
    for axis in axes if given is None else _listed(given):
        x = x.unsqueeze(axis)
    return x


def _slice(x: Tensor, *given: Tensor, starts: Ints = (), ends: Ints = (), axes: Ints = (), steps: Ints = ()) -> Tensor:
    if given:
        starts, ends, axes, steps = (*map(_listed, given), (), ())[:4]
    parts = [slice(None)] * x.ndim
    for n, (start, end) in enumerate(zip(starts, ends, strict=True)):
        parts[axes[n] if axes else n] = slice(start, end, steps[n] if steps else 1)
    return x[tuple(parts)]


def _gather(x: Tensor, index: Tensor, *, axis: int = 0) -> Tensor:
    _only(axis == 0, "axis")
    _only(all(-len(x) <= place < len(x) for place in _listed(index.flatten())), "indices")
    return x[index]


def _cast(x: Tensor, *, to: int) -> Tensor:
    """Any kind of float is float32 here, any whole number int64."""
    return x.float() if to in (1, 10, 11, 16) else x.long()


def _dropout(x: Tensor, *given: Tensor, ratio: float = 0.5, seed: int = 0) -> Tensor:
    return x


_OF_ONE: Mapping[str, Callable[[Tensor], Tensor]] = {
    "GlobalAveragePool": lambda x: x.mean(dim=(2, 3), keepdim=True),
    "Identity": lambda x: x,
    "Relu": lambda x: x.relu(),
    "Shape": lambda x: torch.tensor(x.shape),
    "Sigmoid": lambda x: x.sigmoid(),
}
_OF_TWO: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Add": lambda a, b: torch.add(*_beside(a, b)),
    "Div": lambda a, b: torch.div(*_beside(a, b), rounding_mode=None if a.is_floating_point() else "trunc"),
    "MatMul": lambda a, b: a @ b,
    "Mul": lambda a, b: torch.mul(*_beside(a, b)),
    "PRelu": lambda x, slope: functional.prelu(x, slope.flatten()),
    "Sub": lambda a, b: torch.sub(*_beside(a, b)),
}
OPERATORS: Mapping[str, Callable[..., Tensor]] = {
    **_OF_ONE,
    **_OF_TWO,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Concat": _concat,
    "Conv": _conv,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _gemm,
    "InstanceNormalization": _instance_norm,
    "MaxPool": _max_pool,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Upsample": _resize,
}
"""(*inputs, **attributes) -> the first output; the others are of no use here."""
