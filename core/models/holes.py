"""Downloads that have stopped although the file has its full length: programs fill it with zeros first.

Honest files have zeros, too: whole tensors (a projection that was never trained, a bias, the convolutions around a
ControlNet), whole rows of one, columns, which are zeros in the row beside as well, and masks, of which most is zeros.
A hole that a download has left begins or ends anywhere, so nearly always inside of a row:

    12345678   12345678   12345000   12345678
    12345678   00000000   12345000   12300000
    12345678   00000000   12345000   00000000
    numbers    rows       columns    a hole
"""

import json
import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_BLOCK = 4096
"""Bytes that are looked at together. No program writes less at a time."""
_BLOCKS_AT_A_TIME = 1 << 14
"""64 MiB: what is looked at in one step of numpy."""
_FEWEST = 64
"""Zeros in a row at the beginning or end of a tensor that are there by chance in no honest file."""
_NUMBER_BYTES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}
"""Kind of a number -> its bytes. All other kinds are taken for 1."""


@dataclass(frozen=True)
class _Span:
    """Bytes of a file's data, behind its header: from `begin` on, without `end`."""

    begin: int
    end: int


@dataclass(frozen=True)
class _Tensor(_Span):
    """Where a tensor lies. row_bytes: of one entry of its first axis; of all of it where it has one axis. number_bytes:
    of a number."""

    key: str
    row_bytes: int
    number_bytes: int


def emptied(path: Path) -> str | None:
    """The name of a tensor of a safetensors file in which a hole begins or ends; None where there is no hole.

    Reads all of the file: a second for 2 GB. Raises OSError, and ValueError for what is no safetensors file.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        tensors = _tensors(json.loads(file.read(length)))
    if not tensors:
        return None
    data = np.memmap(path, np.uint8, "r", offset=8 + length)
    begins = [tensor.begin for tensor in tensors]
    for zeros in _zeros(data):
        if zeros.begin == 0 and zeros.end >= tensors[-1].end:
            return tensors[0].key  # nothing has come but the header
        for byte in (zeros.begin, zeros.end - 1):
            # The last tensor that begins at this byte or before it; for bytes before all tensors the first.
            tensor = tensors[max(0, bisect_right(begins, byte) - 1)]
            if _is_hole(zeros, tensor, data):
                return tensor.key
    return None


def _tensors(header: Any) -> list[_Tensor]:
    """The tensors of a header that have numbers, in the order in which they lie in the file. Raises ValueError."""
    tensors: list[_Tensor] = []
    try:
        for key, entry in header.items():
            if key == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            shape = entry["shape"]
            row = (end - begin) // shape[0] if len(shape) > 1 and shape[0] else end - begin
            if end > begin:
                tensors.append(_Tensor(begin, end, key, row, _NUMBER_BYTES.get(entry["dtype"], 1)))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError("its header is damaged") from error
    return sorted(tensors, key=lambda tensor: tensor.begin)


def _zeros(data: Any) -> Iterator[_Span]:
    """Every run of zeros with two whole blocks in it or more. data: (bytes,) uint8."""
    whole_blocks = len(data) // _BLOCK
    is_filled: list[Any] = [np.ones(1, bool)]  # as if other numbers stood before all blocks, and behind them
    for block in range(0, whole_blocks, _BLOCKS_AT_A_TIME):
        part = data[block * _BLOCK : min(whole_blocks, block + _BLOCKS_AT_A_TIME) * _BLOCK]
        is_filled.append(part.view(np.uint64).reshape(-1, _BLOCK // 8).any(axis=1))  # (blocks,)
    is_filled.append(np.ones(1, bool))
    changes: list[int] = np.flatnonzero(np.diff(np.concatenate(is_filled))).tolist()
    for first, last in zip(changes[::2], changes[1::2], strict=True):  # blocks `first` to `last` - 1 are empty
        # The run goes on in the block before and in the one behind.
        before = data[max(0, first - 1) * _BLOCK : first * _BLOCK]
        behind = data[last * _BLOCK : (last + 1) * _BLOCK]
        begin = first * _BLOCK - _leading_zeros(before[::-1])
        end = last * _BLOCK + _leading_zeros(behind)
        if end - begin >= 2 * _BLOCK:
            yield _Span(begin, end)


def _leading_zeros(numbers: Any) -> int:
    """How many zeros come before the first other number, (n,); n where there is no other."""
    others = np.flatnonzero(numbers)
    return int(others[0]) if others.size else numbers.size


def _is_hole(zeros: _Span, tensor: _Tensor, data: Any) -> bool:
    """Whether a run of zeros begins or ends inside of a row of a tensor, and is no columns of it."""
    # Which bytes of the tensor are zeros, from `begin` on, without `end`. At either end a number is left out of which
    # only some bytes are zeros: one that is not zero may have zeros in its lower bytes, which come first.
    number_bytes = tensor.number_bytes
    tensor_bytes = tensor.end - tensor.begin
    begin = max(0, math.ceil((zeros.begin - tensor.begin) / number_bytes) * number_bytes)
    end = min(tensor_bytes, (zeros.end - tensor.begin) // number_bytes * number_bytes)
    is_whole_rows = begin % tensor.row_bytes == 0 and end % tensor.row_bytes == 0
    if is_whole_rows or (end - begin) // number_bytes < _FEWEST or _is_mask(begin, end, tensor, data):
        return False
    if end - begin >= tensor.row_bytes:
        return True  # more than a row, and a part of another one
    if zeros.begin >= tensor.begin and zeros.end <= tensor.end:
        return False  # less than a row, perhaps across the edge of two: such zeros may be columns
    if tensor.row_bytes == tensor_bytes:
        return True  # there is no other row, and the zeros go on in the tensor beside
    # The row before, or behind where it is the first.
    beside = tensor.begin - tensor.row_bytes if begin >= tensor.row_bytes else tensor.begin + tensor.row_bytes
    return bool(data[beside + begin : beside + end].any())


def _is_mask(begin: int, end: int, tensor: _Tensor, data: Any) -> bool:
    """Whether most numbers of a tensor are zeros, beside those of its bytes from `begin` on, without `end`."""
    around = (data[tensor.begin : tensor.begin + begin], data[tensor.begin + end : tensor.end])
    bytes_around: Any = np.concatenate(around)
    others: Any = bytes_around.view(f"u{tensor.number_bytes}")
    return 2 * int(np.count_nonzero(others)) < int(others.size)
