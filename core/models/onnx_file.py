"""What an ONNX file is, and what it holds, without importing onnx.

The file is walked through a memory map: `inspect` touches only the field headers, so 260 MB take milliseconds; `read`
also copies the weights. Field numbers are those of onnx.proto (github.com/onnx/onnx).
"""

import mmap
import struct
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ..cast import CROP, EMBEDDING
from ..checks.errors import UnsupportedCheckpoint
from ..checks.memory import is_out_of_memory
from .files import no_model

Shape = tuple[int, ...]
"""Sizes, 0 where the file leaves one open."""


class _Field:
    """Numbers of fields in onnx.proto, by message."""

    MODEL_GRAPH = 7
    GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT = 1, 5, 11, 12
    NODE_INPUT, NODE_OUTPUT, NODE_OPERATOR, NODE_ATTRIBUTE, NODE_DOMAIN = 1, 2, 4, 5, 7
    ATTRIBUTE_NAME, ATTRIBUTE_FLOAT, ATTRIBUTE_INT, ATTRIBUTE_TEXT, ATTRIBUTE_TENSOR = 1, 2, 3, 4, 5
    ATTRIBUTE_FLOATS, ATTRIBUTE_INTS, ATTRIBUTE_TYPE = 7, 8, 20
    TENSOR_SIZES, TENSOR_DATA_TYPE, TENSOR_NAME, TENSOR_RAW_DATA = 1, 2, 8, 9
    TENSOR_EXTERNAL_DATA, TENSOR_DATA_LOCATION = 13, 14
    VALUE_NAME, VALUE_TYPE = 1, 2
    TYPE_TENSOR = 1
    TENSOR_TYPE_SHAPE = 2
    SHAPE_DIMENSION = 1
    DIMENSION_SIZE = 1
    ENTRY_KEY, ENTRY_VALUE = 1, 2


class _DataType(NamedTuple):
    """A data type of TensorProto. values_field: the number of TensorProto's field in which the values stand where they
    are not raw bytes; 0, the number of no field, for one that is read from raw bytes alone."""

    dtype: torch.dtype
    values_field: int


_TYPES = {
    1: _DataType(torch.float32, 4),
    6: _DataType(torch.int32, 5),
    7: _DataType(torch.int64, 7),
    10: _DataType(torch.float16, 0),
    11: _DataType(torch.float64, 10),
}
"""TensorProto's number of a data type -> the data type."""
_MOST_NUMBERS = 1_000_000
"""The most field headers and varints of a file that are read; the largest networks for faces have 80,000. Without a
limit a file of nothing but small fields would take minutes."""
_MOST_PARTS = 5_000
"""The most nodes of a file, and the most weights; the largest networks for faces have 500 of each. Every node takes
time when the network runs."""


class Kind(Enum):
    """What a network of a face pack is; the value is how a message calls it."""

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
        """Which part of a face pack a network with these inputs and outputs is."""
        # SCRFD and RetinaFace have 3 or 5 levels. Each level gives scores and boxes, and keypoints where the detector
        # was trained with them: 2 or 3 outputs a level.
        if len(self.outputs) in (9, 15):
            return Kind.DETECTOR
        if len(self.outputs) in (6, 10):
            return Kind.PLAIN_DETECTOR
        if len(self.inputs) == 1 and len(self.outputs) == 1 and self._embeds_crops():
            return Kind.RECOGNISER
        return Kind.OTHER

    def _embeds_crops(self) -> bool:
        """Whether the first input is a square crop (1, 3, side, side) and the first output an embedding (1, 512).

        The side is 112 px, the side of ArcFace's template, times a whole number from 1 to 10.
        """
        crop = self.inputs[0]
        embedding = self.outputs[0]
        if len(crop) != 4 or len(embedding) != 2:
            return False
        height, width = crop[2:]
        sides = range(CROP, 11 * CROP, CROP)
        return height == width and width in sides and embedding[1] == EMBEDDING


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
    """What a file computes.

    input, outputs: names of values. nodes: in the order they run. weights: tensors by the names of values, all floats
    as float32 and all whole numbers as int64.
    """

    path: str
    input: str
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    weights: Mapping[str, Tensor]


class _Refused(ValueError):
    """A file that is not read. The two arguments are what the file is, and the advice for the user."""


_EXPECTED = "an ONNX model of a face pack"
_DOWNLOAD = "Delete it and download it again; a few kB of text or HTML are what a failed download leaves."
_CUT_OFF = ("an ONNX file that was cut off while downloading", _DOWNLOAD)
"""The arguments of _Refused for a message that would reach beyond the end of the file."""
_OTHER_COPY = "Look for a copy that holds its weights as plain numbers, or choose another pack or recogniser."
_TOO_MANY = "Choose another: networks for faces have some hundred nodes."


class _File:
    """The bytes of a file, and how many of its numbers may still be read."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self._numbers_left = _MOST_NUMBERS

    def varint(self, position: int, end: int) -> tuple[int, int]:
        """The unsigned varint at a position, and the position after it. end: of the message around it.

        Each byte holds seven bits of the number, the lowest first; its highest bit is set where another byte follows.
        Raises _Refused at the end of the message and after _MOST_NUMBERS, and ValueError for more than 64 bits.
        """
        if self._numbers_left == 0:
            raise _Refused(f"an ONNX file of more than {_MOST_NUMBERS} fields and numbers", _TOO_MANY)
        self._numbers_left -= 1
        value = 0
        for shift in range(0, 64, 7):
            if position >= end:
                raise _Refused(*_CUT_OFF)
            byte = self.data[position]
            position += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value, position
        raise ValueError("a number longer than 64 bits")


class _Message:
    """One message of protobuf: the bytes `start` to `end` of a file.

    The encoding is that of protobuf.dev/programming-guides/encoding: a field is a key, which holds the field's number
    and its wire type in the lowest three bits, and a value. What the value is, the wire type tells: a varint, 4 or 8
    bytes, or a length and as many bytes, which are a text, a message, or numbers packed together.
    """

    _VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5

    def __init__(self, file: _File, start: int, end: int) -> None:
        self._file = file
        self._start = start
        self._end = end

    @cached_property
    def _fields(self) -> "Mapping[int, list[int | _Message]]":
        """Number of a field -> its values in file order, an int for a varint and a message for anything else."""
        fields: dict[int, list[int | _Message]] = {}
        position = self._start
        while position < self._end:
            key, position = self._file.varint(position, self._end)
            values = fields.setdefault(key >> 3, [])
            wire_type = key & 0b111
            if wire_type == self._VARINT:
                number, position = self._file.varint(position, self._end)
                values.append(number)
                continue
            if wire_type == self._LENGTH:
                length, position = self._file.varint(position, self._end)
            else:
                # KeyError for any other type; `_opened` catches it
                length = {self._EIGHT_BYTES: 8, self._FOUR_BYTES: 4}[wire_type]
            if position + length > self._end:
                raise _Refused(*_CUT_OFF)
            values.append(_Message(self._file, position, position + length))
            position += length
        return fields

    def all(self, number: int) -> "list[_Message]":
        """The messages with this field number."""
        return [value for value in self._fields.get(number, ()) if isinstance(value, _Message)]

    def numbers(self, number: int) -> tuple[int, ...]:
        """Every signed varint with this field number, each in a field of its own or all packed into one."""
        values: list[int] = []
        for value in self._fields.get(number, ()):
            values += [value] if isinstance(value, int) else value._packed()
        # A number below 0 stands in the file as 64 bits of two's complement.
        return tuple(value if value < 2**63 else value - 2**64 for value in values)

    def _packed(self) -> Iterator[int]:
        """The varints of a message that holds nothing else."""
        position = self._start
        while position < self._end:
            value, position = self._file.varint(position, self._end)
            yield value

    def number(self, number: int) -> int:
        """The first varint with this field number, 0 where there is none."""
        varints = [value for value in self._fields.get(number, ()) if isinstance(value, int)]
        return varints[0] if varints else 0

    def contents(self, number: int) -> bytearray:
        """The bytes of all messages with this field number, joined in file order. torch.frombuffer, which makes tensors
        of them without a copy, warns of bytes that may not be written to."""
        return bytearray().join(self._file.data[message._start : message._end] for message in self.all(number))

    def floats(self, number: int) -> tuple[float, ...]:
        """The numbers of 4 bytes with this field number."""
        return tuple(value for (value,) in struct.iter_unpack("<f", self.contents(number)))

    def texts(self, number: int) -> tuple[str, ...]:
        """The texts with this field number, in file order."""
        file = self._file.data
        return tuple(file[text._start : text._end].decode("utf-8", "replace") for text in self.all(number))

    def text(self, number: int) -> str:
        """The text with this field number, "" where there is none."""
        return "".join(self.texts(number))


def inspect(path: str) -> Graph:
    """The shapes of the inputs and outputs of an ONNX file.

    Raises UnsupportedCheckpoint for a file that is no ONNX file or no whole one: empty, a web page, cut off, without
    permission to read, or of more fields than any network has.
    """
    with _opened(path) as graph:
        inputs = tuple(_shape(value) for value in _inputs(graph))
        return Graph(inputs, tuple(_shape(value) for value in graph.all(_Field.GRAPH_OUTPUT)))


def read(path: str) -> Program:
    """The program of an ONNX file, weights included.

    Raises UnsupportedCheckpoint as `inspect` does, and for weights of unknown kinds or in another file.
    """
    with _opened(path) as graph:
        nodes = graph.all(_Field.GRAPH_NODE)
        initializers = graph.all(_Field.GRAPH_INITIALIZER)
        if max(len(nodes), len(initializers)) > _MOST_PARTS:
            raise _Refused(f"an ONNX file of {len(nodes)} nodes and {len(initializers)} weights", _TOO_MANY)
        weights = {initializer.text(_Field.TENSOR_NAME): _tensor(initializer) for initializer in initializers}
        inputs = [value.text(_Field.VALUE_NAME) for value in _inputs(graph)]
        outputs = tuple(value.text(_Field.VALUE_NAME) for value in graph.all(_Field.GRAPH_OUTPUT))
        return Program(path, inputs[0], outputs, tuple(_node(node) for node in nodes), weights)


@contextmanager
def _opened(path: str) -> Generator[_Message, None, None]:
    """A context with the GraphProto of an ONNX file. What fails in it is a fault of the file.

    Raises UnsupportedCheckpoint, saying what the file is instead. Lack of memory is raised as it is.
    """
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            graphs = _Message(_File(data), 0, len(data)).all(_Field.MODEL_GRAPH)
            yield graphs[0]
    except OSError as error:
        if is_out_of_memory(error):
            raise
        problem = f"a file that cannot be read ({error.strerror})"
        raise UnsupportedCheckpoint(path, problem, _EXPECTED, "Look at its permissions.") from error
    except _Refused as error:
        problem, advice = error.args
        raise UnsupportedCheckpoint(path, no_model(Path(path)) or problem, _EXPECTED, advice) from error
    # Raised by arbitrary bytes: an unknown wire type, no graph, a shape without its numbers.
    except (ArithmeticError, LookupError, RuntimeError, ValueError, struct.error) as error:
        problem = no_model(Path(path)) or "not an ONNX file"
        raise UnsupportedCheckpoint(path, problem, _EXPECTED, _DOWNLOAD) from error


def _inputs(graph: _Message) -> list[_Message]:
    """The ValueInfoProtos of the inputs that a caller feeds, without weights, which old exporters list among the
    inputs."""
    weights = {initializer.text(_Field.TENSOR_NAME) for initializer in graph.all(_Field.GRAPH_INITIALIZER)}
    return [value for value in graph.all(_Field.GRAPH_INPUT) if value.text(_Field.VALUE_NAME) not in weights]


def _shape(message: _Message) -> Shape:
    """The shape in a ValueInfoProto, () where it has none."""
    # The dimensions stand four messages deep: value -> type -> tensor type -> shape.
    inner = message
    for field in (_Field.VALUE_TYPE, _Field.TYPE_TENSOR, _Field.TENSOR_TYPE_SHAPE):
        messages = inner.all(field)
        if not messages:
            return ()
        inner = messages[0]
    dimensions = inner.all(_Field.SHAPE_DIMENSION)
    return tuple(dimension.number(_Field.DIMENSION_SIZE) for dimension in dimensions)


def _node(node: _Message) -> Node:
    """The Node of a NodeProto. An operator of another domain than ONNX's own gets the domain before its name.

    Attributes of types that _VALUE_OF does not have are read as texts.
    """
    operator = node.text(_Field.NODE_OPERATOR)
    domain = node.text(_Field.NODE_DOMAIN)
    if domain not in ("", "ai.onnx"):
        operator = f"{domain}.{operator}"
    attributes: dict[str, Attribute] = {}
    for attribute in node.all(_Field.NODE_ATTRIBUTE):
        value_of = _VALUE_OF.get(attribute.number(_Field.ATTRIBUTE_TYPE), _text_of)
        attributes[attribute.text(_Field.ATTRIBUTE_NAME)] = value_of(attribute)
    return Node(operator, node.texts(_Field.NODE_INPUT), node.texts(_Field.NODE_OUTPUT), attributes)


def _text_of(attribute: _Message) -> str:
    """The value of an AttributeProto that is a text; "" for types that networks for faces do not have."""
    return attribute.text(_Field.ATTRIBUTE_TEXT)


def _tensor(tensor: _Message) -> Tensor:
    """A TensorProto, as float32 or int64. Raises _Refused for weights in another file or of an unknown data type."""
    external_data = tensor.all(_Field.TENSOR_EXTERNAL_DATA)
    if tensor.number(_Field.TENSOR_DATA_LOCATION) or external_data:
        locations = [entry for entry in external_data if entry.text(_Field.ENTRY_KEY) == "location"]
        names = ", ".join(entry.text(_Field.ENTRY_VALUE) for entry in locations)
        raise _Refused(f"an ONNX file with weights in another file ({names})", _OTHER_COPY)
    data_type = tensor.number(_Field.TENSOR_DATA_TYPE)
    if data_type not in _TYPES:
        problem = f"an ONNX file with weights of a kind that is unknown here ({data_type} in onnx.proto)"
        raise _Refused(problem, _OTHER_COPY)
    values = _values(tensor, _TYPES[data_type])
    values = values.float() if values.is_floating_point() else values.long()
    return values.reshape(tensor.numbers(_Field.TENSOR_SIZES))


def _values(tensor: _Message, data_type: _DataType) -> Tensor:
    """All values of a TensorProto in a row."""
    dtype, values_field = data_type
    content = tensor.contents(_Field.TENSOR_RAW_DATA)  # empty where the values stand in the field of their type
    if not content and not dtype.is_floating_point:
        return torch.tensor(tensor.numbers(values_field), dtype=dtype)
    content = content or tensor.contents(values_field)  # floats have the same bytes in both fields
    return torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)


_VALUE_OF: Mapping[int, Callable[[_Message], Attribute]] = {
    1: lambda attribute: attribute.floats(_Field.ATTRIBUTE_FLOAT)[0],
    2: lambda attribute: attribute.numbers(_Field.ATTRIBUTE_INT)[0],
    4: lambda attribute: _tensor(attribute.all(_Field.ATTRIBUTE_TENSOR)[0]),
    6: lambda attribute: attribute.floats(_Field.ATTRIBUTE_FLOATS),
    7: lambda attribute: attribute.numbers(_Field.ATTRIBUTE_INTS),
}
"""AttributeProto's number of a type -> its value. Networks for faces have no others than these and texts."""
