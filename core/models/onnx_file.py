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


class _Field:
    """Numbers of fields in onnx.proto, by message."""

    MODEL_GRAPH = 7
    GRAPH_NODE = 1
    GRAPH_INITIALIZER = 5
    GRAPH_INPUT = 11
    GRAPH_OUTPUT = 12
    NODE_INPUT = 1
    NODE_OUTPUT = 2
    NODE_OPERATOR = 4
    NODE_ATTRIBUTE = 5
    NODE_DOMAIN = 7
    ATTRIBUTE_NAME = 1
    ATTRIBUTE_FLOAT = 2
    ATTRIBUTE_INT = 3
    ATTRIBUTE_TEXT = 4
    ATTRIBUTE_TENSOR = 5
    ATTRIBUTE_FLOATS = 7
    ATTRIBUTE_INTS = 8
    ATTRIBUTE_TYPE = 20
    TENSOR_SIZES = 1
    TENSOR_DATA_TYPE = 2
    TENSOR_NAME = 8
    TENSOR_RAW_DATA = 9
    TENSOR_EXTERNAL_DATA = 13
    TENSOR_DATA_LOCATION = 14
    VALUE_NAME = 1
    VALUE_TYPE = 2
    TYPE_TENSOR = 1
    TENSOR_TYPE_SHAPE = 2
    SHAPE_DIMENSION = 1
    DIMENSION_SIZE = 1
    ENTRY_KEY = 1
    ENTRY_VALUE = 2


class _AttributeType:
    """AttributeProto.AttributeType, as far as networks for faces have them."""

    FLOAT = 1
    INT = 2
    TENSOR = 4
    FLOATS = 6
    INTS = 7


# TensorProto's number of a data type -> torch's dtype, and the number of TensorProto's field in which the values stand
# where they are not raw bytes. 0 is the number of no field: float16 is read from raw bytes alone.
_TYPES = {
    1: (torch.float32, 4),
    6: (torch.int32, 5),
    7: (torch.int64, 7),
    10: (torch.float16, 0),
    11: (torch.float64, 10),
}
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
        """Whether a square crop (1, 3, side, side) gives an embedding (1, 512). A side is a multiple of 112, the side
        of ArcFace's template, up to ten times it."""
        crop = self.inputs[0]
        embedding = self.outputs[0]
        if len(crop) != 4 or len(embedding) != 2:
            return False
        height, width = crop[2:]
        sides = range(CROP, 11 * CROP, CROP)
        return height == width and width in sides and embedding[1] == EMBEDDING


_Result = TypeVar("_Result")
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


_DOWNLOAD = "Delete it and download it again; a few kB of text or HTML are what a failed download leaves."
_CUT_OFF = ("an ONNX file that was cut off while downloading", _DOWNLOAD)
"""The arguments of _Refused for a message that would reach beyond the end of the file."""
_OTHER_COPY = "Look for a copy that holds its weights as plain numbers, or choose another pack or recogniser."
_TOO_MANY = "Choose another: networks for faces have some hundred nodes."


class _Budget:
    """How many more numbers of a file may be read. All messages of a file share one budget."""

    def __init__(self) -> None:
        self._remaining = _MOST_NUMBERS

    def spend(self) -> None:
        """Count one number that is read. Raises _Refused where _MOST_NUMBERS have been read already."""
        if self._remaining == 0:
            raise _Refused(f"an ONNX file of more than {_MOST_NUMBERS} fields and numbers", _TOO_MANY)
        self._remaining -= 1


class _Message:
    """One message of protobuf: the bytes `start` to `end` of the file that is mapped as `data`.

    The encoding is that of protobuf.dev/programming-guides/encoding: a field is a key, which holds the field's number
    and its wire type, and a value. Wire type 0 is a varint, 1 has 8 bytes, 5 has 4, and 2 is a length and as many
    bytes: a text, a message, or numbers packed together.
    """

    def __init__(self, data: mmap.mmap, start: int, end: int, budget: _Budget) -> None:
        self._data = data
        self._start = start
        self._end = end
        self._budget = budget

    def __iter__(self) -> "Iterator[tuple[int, int | _Message]]":
        """Every field: its number, and its value, an int for a varint and a message for anything else."""
        position = self._start
        while position < self._end:
            key, position = self._varint(position)
            field = key >> 3
            wire_type = key & 7
            if wire_type == 0:
                value, position = self._varint(position)
                yield field, value
                continue
            length, position = self._length(wire_type, position)
            if position + length > self._end:
                raise _Refused(*_CUT_OFF)
            yield field, _Message(self._data, position, position + length, self._budget)
            position += length

    def _length(self, wire_type: int, position: int) -> tuple[int, int]:
        """How many bytes the value of a field has, and the position where they begin. position: after the key."""
        if wire_type == 1:
            return 8, position
        if wire_type == 5:
            return 4, position
        if wire_type == 2:
            return self._varint(position)
        raise ValueError(f"unknown wire type {wire_type}")

    def all(self, number: int) -> "list[_Message]":
        """The messages with this field number."""
        return [value for field, value in self if field == number and isinstance(value, _Message)]

    def number(self, number: int) -> int:
        """The first varint with this field number, 0 where there is none."""
        for field, value in self:
            if field == number and isinstance(value, int):
                return value
        return 0

    def numbers(self, number: int) -> tuple[int, ...]:
        """Every signed varint with this field number, each in a field of its own or all packed into one."""
        values: list[int] = []
        for field, value in self:
            if field != number:
                continue
            if isinstance(value, int):
                values.append(value)
            else:
                values += value._packed()
        return tuple(_signed(value) for value in values)

    def contents(self, number: int) -> bytearray:
        """The bytes of all messages with this field number, joined in file order. torch.frombuffer, which makes tensors
        of them without a copy, warns of bytes that may not be written to."""
        return bytearray().join(message._content() for message in self.all(number))

    def texts(self, number: int) -> tuple[str, ...]:
        """The texts with this field number, in file order."""
        return tuple(message._content().decode("utf-8", "replace") for message in self.all(number))

    def text(self, number: int) -> str:
        """The text with this field number, "" where there is none."""
        return "".join(self.texts(number))

    def _content(self) -> bytes:
        """The bytes of this message as they lie in the file."""
        return self._data[self._start : self._end]

    def _packed(self) -> Iterator[int]:
        """The varints of a message that holds nothing else."""
        position = self._start
        while position < self._end:
            value, position = self._varint(position)
            yield value

    def _varint(self, position: int) -> tuple[int, int]:
        """The unsigned varint at a position, and the position after it.

        Each byte holds seven bits of the number, the lowest first; its highest bit is set where another byte follows.
        Raises _Refused at the end of the message, and ValueError for more than 64 bits.
        """
        self._budget.spend()
        value = 0
        for shift in range(0, 64, 7):
            if position >= self._end:
                raise _Refused(*_CUT_OFF)
            byte = self._data[position]
            position += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value, position
        raise ValueError("a number longer than 64 bits")


def _signed(value: int) -> int:
    """A varint of 64 bits as the signed number that it stands for (two's complement)."""
    if value >> 63:
        return value - (1 << 64)
    return value


def inspect(path: str) -> Graph:
    """The shapes of the inputs and outputs of an ONNX file.

    Raises UnsupportedCheckpoint for a file that is no ONNX file or no whole one: empty, a web page, cut off, without
    permission to read, or of more fields than any network has.
    """
    return _walked(path, _graph)


def _graph(graph: _Message) -> Graph:
    """The shapes of the inputs and outputs of a GraphProto."""
    inputs = tuple(_shape(value) for value in _inputs(graph))
    outputs = tuple(_shape(value) for value in graph.all(_Field.GRAPH_OUTPUT))
    return Graph(inputs, outputs)


def read(path: str) -> Program:
    """The program of an ONNX file, weights included.

    Raises UnsupportedCheckpoint as `inspect` does, and for weights of unknown kinds or in another file.
    """

    def program(graph: _Message) -> Program:
        """The program of a GraphProto."""
        nodes = graph.all(_Field.GRAPH_NODE)
        initializers = graph.all(_Field.GRAPH_INITIALIZER)
        if max(len(nodes), len(initializers)) > _MOST_PARTS:
            raise _Refused(f"an ONNX file of {len(nodes)} nodes and {len(initializers)} weights", _TOO_MANY)
        weights = {initializer.text(_Field.TENSOR_NAME): _tensor(initializer) for initializer in initializers}
        inputs = [value.text(_Field.VALUE_NAME) for value in _inputs(graph)]
        outputs = tuple(value.text(_Field.VALUE_NAME) for value in graph.all(_Field.GRAPH_OUTPUT))
        return Program(path, inputs[0], outputs, tuple(_node(node) for node in nodes), weights)

    return _walked(path, program)


def _walked(path: str, extract: Callable[[_Message], _Result]) -> _Result:
    """The result of `extract`, which is called with the GraphProto of an ONNX file while the file is mapped.

    Raises UnsupportedCheckpoint, saying what the file is instead.
    """
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            graphs = _Message(data, 0, len(data), _Budget()).all(_Field.MODEL_GRAPH)
            return extract(graphs[0])
    except OSError as error:
        problem = f"a file that cannot be read ({error.strerror})"
        advice = "Look at its permissions."
        cause = error
    except _Refused as error:
        problem, advice = error.args
        cause = error
    # Raised by arbitrary bytes: an unknown wire type, no graph, a shape without its numbers.
    except (ArithmeticError, LookupError, RuntimeError, ValueError, struct.error) as error:
        problem = "not an ONNX file"
        advice = _DOWNLOAD
        cause = error
    raise UnsupportedCheckpoint(path, problem, "an ONNX model of a face pack", advice) from cause


def _inputs(graph: _Message) -> list[_Message]:
    """The ValueInfoProtos of the inputs that a caller feeds, without weights, which old exporters list among the
    inputs."""
    weights = {initializer.text(_Field.TENSOR_NAME) for initializer in graph.all(_Field.GRAPH_INITIALIZER)}
    return [value for value in graph.all(_Field.GRAPH_INPUT) if value.text(_Field.VALUE_NAME) not in weights]


def _shape(message: _Message) -> Shape:
    """The shape in a ValueInfoProto, () where it has none."""
    # The dimensions stand four messages deep: value -> type -> tensor type -> shape.
    for field in (_Field.VALUE_TYPE, _Field.TYPE_TENSOR, _Field.TENSOR_TYPE_SHAPE):
        messages = message.all(field)
        if not messages:
            return ()
        message = messages[0]
    dimensions = message.all(_Field.SHAPE_DIMENSION)
    return tuple(dimension.number(_Field.DIMENSION_SIZE) for dimension in dimensions)


def _node(node: _Message) -> Node:
    """A NodeProto. An operator of another domain than ONNX's own has the domain before its name."""
    operator = node.text(_Field.NODE_OPERATOR)
    domain = node.text(_Field.NODE_DOMAIN)
    if domain not in ("", "ai.onnx"):
        operator = f"{domain}.{operator}"
    attributes: dict[str, Attribute] = {}
    for attribute in node.all(_Field.NODE_ATTRIBUTE):
        attributes[attribute.text(_Field.ATTRIBUTE_NAME)] = _attribute(attribute)
    return Node(operator, node.texts(_Field.NODE_INPUT), node.texts(_Field.NODE_OUTPUT), attributes)


def _attribute(attribute: _Message) -> Attribute:
    """The value of an AttributeProto; "" for types that networks for faces do not have."""
    attribute_type = attribute.number(_Field.ATTRIBUTE_TYPE)
    if attribute_type == _AttributeType.FLOAT:
        return _floats(attribute.contents(_Field.ATTRIBUTE_FLOAT))[0]
    if attribute_type == _AttributeType.INT:
        return attribute.numbers(_Field.ATTRIBUTE_INT)[0]
    if attribute_type == _AttributeType.TENSOR:
        return _tensor(attribute.all(_Field.ATTRIBUTE_TENSOR)[0])
    if attribute_type == _AttributeType.FLOATS:
        return _floats(attribute.contents(_Field.ATTRIBUTE_FLOATS))
    if attribute_type == _AttributeType.INTS:
        return attribute.numbers(_Field.ATTRIBUTE_INTS)
    return attribute.text(_Field.ATTRIBUTE_TEXT)


def _floats(content: bytearray) -> tuple[float, ...]:
    """Numbers of 4 bytes each, the lowest byte first."""
    return tuple(value for (value,) in struct.iter_unpack("<f", content))


def _tensor(tensor: _Message) -> Tensor:
    """A TensorProto, as float32 or int64. Raises _Refused for weights in another file or of an unknown data type."""
    external_data = tensor.all(_Field.TENSOR_EXTERNAL_DATA)
    if tensor.number(_Field.TENSOR_DATA_LOCATION) or external_data:
        names: list[str] = []
        for entry in external_data:
            if entry.text(_Field.ENTRY_KEY) == "location":
                names.append(entry.text(_Field.ENTRY_VALUE))
        raise _Refused(f"an ONNX file with weights in another file ({', '.join(names)})", _OTHER_COPY)
    data_type = tensor.number(_Field.TENSOR_DATA_TYPE)
    if data_type not in _TYPES:
        problem = f"an ONNX file with weights of a kind that is unknown here ({data_type} in onnx.proto)"
        raise _Refused(problem, _OTHER_COPY)
    shape = tensor.numbers(_Field.TENSOR_SIZES)
    dtype, values_field = _TYPES[data_type]
    content = tensor.contents(_Field.TENSOR_RAW_DATA)
    if dtype.is_floating_point:
        content = content or tensor.contents(values_field)  # floats have the same bytes in both fields
        values = torch.frombuffer(content, dtype=dtype) if content else torch.tensor([], dtype=dtype)
        return values.float().reshape(shape)
    if content:
        values = torch.frombuffer(content, dtype=dtype)
    else:
        values = torch.tensor(tensor.numbers(values_field), dtype=dtype)  # whole numbers are varints there
    return values.long().reshape(shape)
