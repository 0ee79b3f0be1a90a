"""Row tables: which row of a forward carries what. A chunk is the rows of one entry in a forward.

A row table is a tensor with one line per row. The host and other packs treat it like every other condition: where a
pack takes rows apart, repeats or reorders them, it does the same to these lines. An example, of a positive prompt with
people and a negative one, with two pictures:

    row of the batch     0          1          2          3
    entry                positive   positive   negative   negative
    line: chunk, picture 0, 0       0, 1       1, 0       1, 1

Only this tensor travels, because the host would copy a dictionary at every step.

Which entries a table belongs to is decided by the identity of the table first (`id`), and by its numbers only where
another pack has made a new tensor: to read numbers from a GPU makes the CPU wait for it, at every step.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .carried import Chunk, Rows


class _Line(NamedTuple):
    """The line of a row in a table: the number of its chunk, and the number of its picture in the chunk."""

    chunk: int
    picture: int


class RowTables:
    """The row tables of one run.

    device: where they are made. window: the rows of the batch that the forwards of this step show; () for all of them.
    """

    def __init__(self, device: torch.device) -> None:
        self.window: tuple[int, ...] = ()
        self._device = device
        self._chunks: list[Chunk] = []
        """All chunks. The lines of a table have their numbers in this list."""
        self._tables: dict[tuple[tuple[Chunk, ...], tuple[int, ...]], Tensor] = {}
        """The table of each batch, by its chunks and by the numbers of the pictures that each of them has. Tables stay
        here until the run ends, so that no other tensor can get the id of one of them."""
        self._rows_by_table_id: dict[int, Rows] = {}
        """What each table in `_tables` says, by the id of the tensor: for a table that arrives unchanged."""
        self._rows_by_lines: dict[tuple[_Line, ...], Rows] = {}
        """What each table says, by the numbers in it: for a copy of the table, such as on another card."""
        self._numbering_lock = threading.Lock()

    def of_batch(self, chunks: tuple[Chunk, ...], picture_count: int) -> Tensor:
        """The table of a batch, (rows, 2): per row the number of its chunk, and the number of the picture in it.

        It is the same tensor for the same batch, on the device already. picture_count: how many pictures, and so rows,
        each chunk has.
        """
        pictures = self.window or tuple(range(picture_count))
        key = chunks, pictures
        # MultiGPU CFG Split asks from several threads at once: no two chunks may get one number.
        with self._numbering_lock:
            if key not in self._tables:
                self._tables[key] = self._make(chunks, pictures)
            return self._tables[key]

    def _make(self, chunks: tuple[Chunk, ...], pictures: tuple[int, ...]) -> Tensor:
        """A new table, (rows, 2), on the device. It gives numbers to chunks that have none.

        What `rows_of` is to give for this table is kept, too. The caller keeps the table itself in `_tables`.
        pictures: the numbers of the pictures that each chunk has.
        """
        lines: list[_Line] = []
        for chunk in chunks:
            if chunk not in self._chunks:
                self._chunks.append(chunk)
            number = self._chunks.index(chunk)
            lines.extend(_Line(number, picture) for picture in pictures)
        table = torch.tensor(lines, device=self._device)
        # Readers of a chunk count its pictures from 0 on. A window may begin later, so each row is a chunk there.
        rows = self._rows_by_line(lines) if self.window else Rows(chunks, pictures * len(chunks), are_whole=True)
        self._rows_by_table_id[id(table)] = rows
        self._rows_by_lines[tuple(lines)] = rows
        return table

    def rows_of(self, table: Tensor) -> Rows:
        """What the rows of a batch carry, by its table, (rows, 2)."""
        rows = self._rows_by_table_id.get(id(table))
        if rows is not None:
            return rows
        lines = tuple(_Line(*line) for line in table.tolist())
        # Where no table has these lines, another pack has moved, repeated or left out rows.
        return self._rows_by_lines.get(lines) or self._rows_by_line(lines)

    def _rows_by_line(self, lines: Sequence[_Line]) -> Rows:
        """What rows carry of which each is a chunk."""
        # A table that another pack has changed may hold floats.
        chunks = [self._chunks[int(line.chunk)] for line in lines]
        return Rows(chunks, [int(line.picture) for line in lines], are_whole=False)
