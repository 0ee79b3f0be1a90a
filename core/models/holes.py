"""Downloads that have stopped although the file has its full length: programs fill it with zeros first."""

import json
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_BLOCK = 4096
"""Bytes that are looked at together. No program writes less at a time."""
_AT_A_TIME = 1 << 14
"""Blocks whose bytes are looked at together: 64 MiB."""
_FEWEST = 64
"""Numbers at the end, or the beginning, of a tensor that are zeros by chance in no honest file."""
_NUMBER_BYTES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}
"""Kind of a number -> its bytes. All other kinds are taken for 1."""


@dataclass(frozen=True)
class _Tensor:
    """Where a tensor lies among the numbers of a file: from byte `begin` to byte `end`. row: bytes of one entry of its
    first axis; of all of it where it has one axis. number: bytes of a number."""

    key: str
    begin: int
    end: int
    row: int
    number: int


def emptied(path: Path) -> str | None:
    """The tensor of a safetensors file within which a download has left zeros; None where there are none.

    A hole begins and ends anywhere. The zeros of honest files are whole tensors (a projection that was never trained, a
    bias, the convolutions around a ControlNet), whole rows, or columns, which are zeros in other rows as well. So a
    hole begins or ends inside of a row, and is no columns; or it is all that there is. Reads all of the file: a second
    for 2 GB. Raises OSError, and ValueError for what is no safetensors file.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    tensors = _tensors(header)
    if not tensors:
        return None
    data = np.memmap(path, np.uint8, "r", offset=8 + length)
    begins = [tensor.begin for tensor in tensors]
    for begin, end in _zeros(data):
        if begin == 0 and end >= tensors[-1].end:
            return tensors[0].key  # nothing has come but the header
        for place in (begin, end - 1):
            tensor = tensors[max(0, bisect_right(begins, place) - 1)]
            if _is_cut(tensor, begin, end, data):
                return tensor.key
    return None


def _tensors(header: Any) -> list[_Tensor]:
    """The tensors of a header, in the order in which they lie in the file. Raises ValueError."""
    tensors: list[_Tensor] = []
    try:
        for key, entry in header.items():
            if key == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            shape = entry["shape"]
            row = (end - begin) // shape[0] if len(shape) > 1 and shape[0] else end - begin
            tensors.append(_Tensor(key, begin, end, row, _NUMBER_BYTES.get(entry["dtype"], 1)))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError("its header is damaged") from error
    return sorted((tensor for tensor in tensors if tensor.end > tensor.begin), key=lambda tensor: tensor.begin)


def _is_cut(tensor: _Tensor, begin: int, end: int, data: Any) -> bool:
    """Whether zeros from one byte to another begin or end inside of a row of a tensor, and are no columns of it."""
    # The last byte of a number is its highest: the first ones of a number that is not zero may be zeros, too.
    first = max(0, -(-(begin - tensor.begin) // tensor.number) * tensor.number)
    last = min(tensor.end - tensor.begin, (end - tensor.begin) // tensor.number * tensor.number)
    is_inside_a_row = first % tensor.row != 0 or last % tensor.row != 0
    if not is_inside_a_row or (last - first) // tensor.number < _FEWEST:
        return False
    if last - first >= tensor.row:
        return True
    leads_out = begin < tensor.begin or end > tensor.end
    # Columns are zeros in the row before, or behind, too.
    beside = tensor.begin - tensor.row if first >= tensor.row else tensor.begin + tensor.row
    is_only_row = tensor.row == tensor.end - tensor.begin
    return leads_out and (is_only_row or bool(data[beside + first : beside + last].any()))


def _zeros(data: Any) -> Iterator[tuple[int, int]]:
    """Of every run of two blocks of zeros or more its first byte and the first one behind it. data: (bytes,) uint8."""
    whole = len(data) // _BLOCK
    filled: list[Any] = [np.ones(1, bool)]  # as if other numbers stood before all blocks, and behind them
    for block in range(0, whole, _AT_A_TIME):
        part = data[block * _BLOCK : min(whole, block + _AT_A_TIME) * _BLOCK]
        filled.append(part.view(np.uint64).reshape(-1, _BLOCK // 8).any(axis=1))
    filled.append(np.ones(1, bool))
    changes: list[int] = np.flatnonzero(np.diff(np.concatenate(filled))).tolist()
    for first, last in zip(changes[::2], changes[1::2], strict=True):
        before = data[max(0, first - 1) * _BLOCK : first * _BLOCK]
        behind = data[last * _BLOCK : (last + 1) * _BLOCK]
        begin = first * _BLOCK - (int(np.argmax(before[::-1] != 0)) if before.size else 0)
        end = last * _BLOCK + (int(np.argmax(behind != 0)) if behind.any() else behind.size)
        if end - begin >= 2 * _BLOCK:
            yield begin, end
