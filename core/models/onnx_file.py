"""What an ONNX file is, and what it holds, without importing onnx.

The file is walked through a memory map: `inspect` touches only the field headers, so 260 MB take milliseconds; `read`
also copies the weights. Field numbers are those of onnx.proto (github.com/onnx/onnx).
"""

import mmap
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

import torch
from torch import Tensor

from ..errors import UnsupportedCheckpoint
from ..people import CROP, EMBEDDING

Shape = tuple[int, ...]
"""Sizes, 0 where the file leaves one open."""

_GRAPH = 7
_NODE, _INITIALIZER, _INPUT, _OUTPUT = 1, 5, 11, 12
# TensorProto's data types -> torch's, and the field of the values where they are not raw bytes.
_TYPES = {
    1: (torch.float32, 4),
    6: (torch.int32, 5),
    7: (torch.int64, 7),
    10: (torch.float16, 0),
    11: (torch.float64, 10),
}
_MOST_NUMBERS, _MOST_PARTS = 1_000_000, 5_000
"""Numbers that are looked at, and nodes or weights; the largest networks for faces have 80,000 and 500. Each takes its
time, here and when the network runs, so a file of nothing but small things would take minutes."""


class Kind(Enum):
    """The parts of a face pack; the value is how a user would call it."""

    DETECTOR = "a face detector with keypoints"
    PLAIN_DETECTOR = "a face detector without keypoints"
    RECOGNISER = "a face recogniser"
    OTHER = "an ONNX model that is neither a face detector nor a face recogniser"


@dataclass(frozen=True)
class Graph:
    """Shapes of the inputs that a caller feeds and of the outputs, in file order."""

    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]

    @property
    def kind(self) -> Kind:
        """SCRFD and RetinaFace have 3 or 5 levels with scores and boxes, and points if they are of use here."""
        if len(self.outputs) in (9, 15):
            return Kind.DETECTOR
        if len(self.outputs) in (6, 10):
            return Kind.PLAIN_DETECTOR
        if len(self.inputs) == len(self.outputs) == 1:
            picture, embedding = self.inputs[0], self.outputs[0]
            aligned = len(picture) == 4 and picture[2] == picture[3] in range(CROP, 11 * CROP, CROP)
            if aligned and len(embedding) == 2 and embedding[1] == EMBEDDING:
                return Kind.RECOGNISER
        return Kind.OTHER


_Taken = TypeVar("_Taken")
Attribute = int | float | str | tuple[int, ...] | tuple[float, ...] | Tensor


@dataclass(frozen=True)
class Node:
    """One operation. An input that is left out has an empty name."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]


@dataclass(frozen=True, eq=False)
class Program:
    """What a file computes: nodes in the order they run, and the numbers they read by name, floats as float32."""

    path: str
    input: str
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    weights: Mapping[str, Tensor]


class _Refused(ValueError):
    """found, advice: what a file is instead, where that is known; both are sentences for the user."""


_DOWNLOAD = "Delete it and download it again; a few kB of text or HTML are what a failed download leaves."
_CUT_OFF = "an ONNX file that was cut off while downloading", _DOWNLOAD
_UNKNOWN = "Look for a copy that holds its weights as plain numbers, or choose another pack or recogniser."
_TOO_MANY = "Choose another: networks for faces have some hundred nodes."


class _Message:
    """One protobuf message inside `data`, from `start` to `end`. left: gives as often as a number may be looked at."""

    def __init__(self, data: mmap.mmap, start: int, end: int, left: Iterator[int]) -> None:
        self._data, self._start, self._end, self._left = data, start, end, left

    def __iter__(self) -> "Iterator[tuple[int, int | _Message]]":
        """(field number, value): a number for a varint, a message for anything else."""
        at = self._start
        while at < self._end:
            key, at = self._varint(at)
            field, wire = key >> 3, key & 7
            if wire == 0:
                value, at = self._varint(at)
                yield field, value
                continue
            if wire not in (1, 2, 5):
                raise ValueError(f"unknown wire type {wire}")
            length, at = self._varint(at) if wire == 2 else (8 if wire == 1 else 4, at)
            if at + length > self._end:
                raise _Refused(*_CUT_OFF)
            yield field, _Message(self._data, at, at + length, self._left)
            at += length

    def all(self, number: int) -> "list[_Message]":
        """The messages with this field number."""
        return [value for field, value in self if field == number and isinstance(value, _Message)]

    def number(self, number: int) -> int:
        """The varint with this field number, 0 where there is none."""
        return next((value for field, value in self if field == number and isinstance(value, int)), 0)

    def numbers(self, number: int) -> tuple[int, ...]:
        """Every signed varint with this field number, each in a field of its own or all packed into one."""
        fields = [value for field, value in self if field == number]
        values = [n for value in fields for n in ([value] if isinstance(value, int) else value._packed())]
        return tuple(n - (1 << 64) if n >> 63 else n for n in values)

    def bytes(self, number: int) -> bytearray:
        """What the messages with this field number hold, one behind the other."""
        return bytearray().join(value._data[value._start : value._end] for value in self.all(number))

    def texts(self, number: int) -> tuple[str, ...]:
        return tuple(value._data[value._start : value._end].decode("utf-8", "replace") for value in self.all(number))

    def text(self, number: int) -> str:
        return "".join(self.texts(number))

    def _packed(self) -> Iterator[int]:
        at = self._start
        while at < self._end:
            value, at = self._varint(at)
            yield value

    def _varint(self, at: int) -> tuple[int, int]:
        if next(self._left, None) is None:
            raise _Refused(f"an ONNX file of more than {_MOST_NUMBERS} fields and numbers", _TOO_MANY)
        value = 0
        for shift in range(0, 64, 7):
            if at >= self._end:
                raise _Refused(*_CUT_OFF)
            byte = self._data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value, at
        raise ValueError("a number longer than 64 bits")


def inspect(path: str) -> Graph:
    """Read the shapes of an ONNX file.

    Raises UnsupportedCheckpoint for a file that is none: empty, a web page, cut off, not to be read, or without end.
    """
    return _walked(path, lambda graph: Graph(*(tuple(map(_shape, values)) for values in _ends(graph))))


def read(path: str) -> Program:
    """Read what an ONNX file computes, weights included. Raises UnsupportedCheckpoint as `inspect` does, and for
    weights of unknown kinds or in another file."""

    def program(graph: _Message) -> Program:
        nodes, initializers = graph.all(_NODE), graph.all(_INITIALIZER)
        if max(len(nodes), len(initializers)) > _MOST_PARTS:
            raise _Refused(f"an ONNX file of {len(nodes)} nodes and {len(initializers)} weights", _TOO_MANY)
        weights = {weight.text(8): _tensor(weight) for weight in initializers}
        inputs, outputs = ([value.text(1) for value in values] for values in _ends(graph))
        return Program(path, inputs[0], tuple(outputs), tuple(map(_node, nodes)), weights)

    return _walked(path, program)


def _walked(path: str, take: Callable[[_Message], _Taken]) -> _Taken:
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            graphs = _Message(data, 0, len(data), iter(range(_MOST_NUMBERS))).all(_GRAPH)
            return take(graphs[0])
    except OSError as error:
        found, advice, cause = f"a file that cannot be read ({error.strerror})", "Look at its permissions.", error
    except _Refused as error:
        (found, advice), cause = error.args, error
    # Numbers that do not fit together.
    except (ArithmeticError, LookupError, RuntimeError, ValueError, struct.error) as error:
        found, advice, cause = "not an ONNX file", _DOWNLOAD, error
    raise UnsupportedCheckpoint(path, found, "an ONNX model of a face pack", advice) from cause


def _ends(graph: _Message) -> tuple[list[_Message], list[_Message]]:
    """What a caller feeds and gets. Files written by old exporters list the weights among the inputs."""
    weights = {weight.text(8) for weight in graph.all(_INITIALIZER)}
    return [value for value in graph.all(_INPUT) if value.text(1) not in weights], graph.all(_OUTPUT)


def _shape(message: _Message) -> Shape:
    for field in (2, 1, 2):  # of a ValueInfoProto: type, tensor_type, shape
        found = message.all(field)
        if not found:
            return ()
        message = found[0]
    return tuple(dimension.number(1) for dimension in message.all(1))


def _node(node: _Message) -> Node:
    domain, operator = node.text(7), node.text(4)
    known = domain in ("", "ai.onnx")
    attributes = {attribute.text(1): _attribute(attribute) for attribute in node.all(5)}
    return Node(operator if known else f"{domain}.{operator}", node.texts(1), node.texts(2), attributes)


def _attribute(attribute: _Message) -> Attribute:
    kind = attribute.number(20)
    if kind == 4:
        return _tensor(attribute.all(5)[0])
    if kind in (1, 6):
        floats = tuple(value for (value,) in struct.iter_unpack("<f", attribute.bytes(2 if kind == 1 else 7)))
        return floats[0] if kind == 1 else floats
    if kind in (2, 7):
        numbers = attribute.numbers(3 if kind == 2 else 8)
        return numbers[0] if kind == 2 else numbers
    return attribute.text(4)


def _tensor(tensor: _Message) -> Tensor:
    if tensor.number(14) or tensor.all(13):
        names = [entry.text(2) for entry in tensor.all(13) if entry.text(1) == "location"]
        raise _Refused(f"an ONNX file with weights in another file ({', '.join(names)})", _UNKNOWN)
    kind = tensor.number(2)
    if kind not in _TYPES:
        raise _Refused(f"an ONNX file with weights of a kind that is unknown here ({kind} in onnx.proto)", _UNKNOWN)
    shape, (dtype, field) = tensor.numbers(1), _TYPES[kind]
    raw = tensor.bytes(9) or (tensor.bytes(field) if dtype.is_floating_point else bytearray())
    if raw:
        values = torch.frombuffer(raw, dtype=dtype)
    else:
        values = torch.tensor(tensor.numbers(field) if not dtype.is_floating_point else [], dtype=dtype)
    return (values.float() if dtype.is_floating_point else values.long()).reshape(shape)
