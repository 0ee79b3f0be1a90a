"""What an ONNX file is, from its graph's inputs and outputs, without loading the weights or importing onnx.

The file is walked through a memory map: only the field headers are touched, so 260 MB take milliseconds.
Field numbers are those of onnx.proto (github.com/onnx/onnx).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from ..errors import UnsupportedCheckpoint

Shape = tuple[int, ...]
"""Sizes, 0 where the file leaves one open."""

_GRAPH = 7
_INITIALIZER, _INPUT, _OUTPUT = 5, 11, 12
_EMBEDDING = 512
_CROP = 112


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
        if len(self.inputs) == len(self.outputs) == 1 and self._embeds():
            return Kind.RECOGNISER
        return Kind.OTHER

    def _embeds(self) -> bool:
        picture, embedding = self.inputs[0], self.outputs[0]
        aligned = len(picture) == 4 and picture[2] == picture[3] > 0 and picture[2] % _CROP == 0
        return aligned and len(embedding) == 2 and embedding[1] == _EMBEDDING


class _CutOff(ValueError):
    """A field that ends behind the end of the file."""


class _Message:
    """One protobuf message inside `data`, from `start` to `end`."""

    def __init__(self, data: mmap.mmap, start: int, end: int) -> None:
        self._data, self._start, self._end = data, start, end

    def __iter__(self) -> Iterator[tuple[int, int | _Message]]:
        """(field number, value): a number for a varint, a message for anything with a length."""
        at = self._start
        while at < self._end:
            key, at = self._varint(at)
            field, wire = key >> 3, key & 7
            if wire == 0:
                value, at = self._varint(at)
                yield field, value
            elif wire == 2:
                length, at = self._varint(at)
                at = self._step(at, length)
                yield field, _Message(self._data, at - length, at)
            elif wire in (1, 5):
                at = self._step(at, 8 if wire == 1 else 4)
            else:
                raise ValueError(f"unknown wire type {wire}")

    def all(self, number: int) -> list[_Message]:
        """The messages with this field number."""
        return [value for field, value in self if field == number and isinstance(value, _Message)]

    def number(self, number: int) -> int:
        """The varint with this field number, 0 where there is none."""
        return next((value for field, value in self if field == number and isinstance(value, int)), 0)

    def text(self, number: int) -> bytes:
        return next((value._data[value._start : value._end] for value in self.all(number)), b"")

    def _step(self, at: int, length: int) -> int:
        if at + length > self._end:
            raise _CutOff
        return at + length

    def _varint(self, at: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 64, 7):
            if at >= self._end:
                raise _CutOff
            byte = self._data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value, at
        raise ValueError("a number longer than 64 bits")


def inspect(path: str) -> Graph:
    """Read the shapes of an ONNX file.

    Raises UnsupportedCheckpoint for a file that is none: empty, a web page, a download that was cut off.
    """
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _graph(_Message(data, 0, len(data)))
    except _CutOff as error:
        raise _unusable(path, "an ONNX file that was cut off while downloading") from error
    except ValueError as error:
        raise _unusable(path, "not an ONNX file") from error


def _unusable(path: str, found: str) -> UnsupportedCheckpoint:
    advice = "Delete it and download it again; a few kB of text or HTML are what a failed download leaves."
    return UnsupportedCheckpoint(path, found, "an ONNX model of a face pack", advice)


def _graph(model: _Message) -> Graph:
    graphs = model.all(_GRAPH)
    if not graphs:
        raise ValueError("no graph")
    graph = graphs[0]
    # Files written by old exporters list the weights among the inputs.
    weights = {weight.text(8) for weight in graph.all(_INITIALIZER)}
    inputs = [value for value in graph.all(_INPUT) if value.text(1) not in weights]
    return Graph(tuple(map(_shape, inputs)), tuple(map(_shape, graph.all(_OUTPUT))))


def _shape(value_info: _Message) -> Shape:
    message = value_info
    for field in (2, 1, 2):  # type, tensor_type, shape
        found = message.all(field)
        if not found:
            return ()
        message = found[0]
    return tuple(dimension.number(1) for dimension in message.all(1))
