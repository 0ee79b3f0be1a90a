"""Where words of people stand behind the common text, and in which tokens of the picture they are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor

from ....core.attention.token_groups import Group, in_steps
from ...networks.model_family import regions_on_tokens, tokens_of
from ...networks.transformer_families import TransformerFamily
from ...sampling.forward import ForwardShape
from .words import TransformerWords


@dataclass(frozen=True, eq=False)
class TextSlot:
    """Tokens behind the common text that hold the words of one person, or in each row those of another person.

    owner: the name of the person; None where rows have different people. texts: (1, T, width) each, one for all rows or
    one for each; T is 0 in a row without words. weights: (1 or rows, picture tokens), how often the words are read
    there.
    """

    owner: str | None
    texts: tuple[Tensor, ...]
    weights: Tensor

    @property
    def lengths(self) -> tuple[int, ...]:
        """The number of tokens of the words: one number for all rows, or one for each row."""
        return tuple(text.shape[1] for text in self.texts)

    @property
    def tokens(self) -> int:
        """The number of tokens of the slot: those of its longest words."""
        return max(self.lengths)

    def words_on(self, device: torch.device) -> Tensor:
        """The words on a device, (1 or rows, tokens, width), with zeros behind those of a row that has fewer.

        Words that the network has read already lie on its device, all others on the CPU.
        """
        rows: list[Tensor] = []
        for text in self.texts:
            rows.append(functional.pad(text.to(device), (0, 0, 0, self.tokens - text.shape[1])))
        return torch.cat(rows)

    @property
    def is_full(self) -> bool:
        """Whether all rows have equally many words, so that no row is filled up."""
        return len(set(self.lengths)) == 1

    @property
    def rows_of_lengths(self) -> dict[int, list[int]]:
        """The rows of the batch that have words, by the number of tokens of these.

        It is asked of a slot with one text for each row.
        """
        rows: dict[int, list[int]] = {}
        for row, length in enumerate(self.lengths):
            if length:
                rows.setdefault(length, []).append(row)
        return rows

    def in_row(self, row: int) -> int:
        """The index into texts and weights of a row of the batch."""
        return row if len(self.texts) > 1 else 0


def slots_of(
    node: Sequence[TransformerWords], forward_shape: ForwardShape, family: TransformerFamily
) -> list[TextSlot]:
    """The slots behind the common text that hold the words of one node.

    node: its TransformerWords, one for all rows of the batch, or one for each row.
    """
    nobody = _PersonInRow(
        name=None,
        text=torch.zeros(1, 0, forward_shape.text[-1], dtype=torch.float32),
        weights=torch.zeros(tokens_of(forward_shape.model, forward_shape.latent), dtype=torch.float32),
    )
    # Rows that share a TransformerWords share what it says of people.
    people_of = {of_row: _people_of(of_row, nobody, forward_shape, family) for of_row in node}
    slots: list[TextSlot] = []
    # Rows of the positive have all people, those of the negative have nobody.
    for number in range(max(len(people) for people in people_of.values())):
        rows: list[_PersonInRow] = []
        for of_row in node:
            people = people_of[of_row]
            rows.append(people[number] if number < len(people) else nobody)
        names = {row.name for row in rows if row.name is not None}  # of rows in which somebody has this slot
        # Where people have rows, each row has one person alone, and all of them share the slot.
        owner = names.pop() if len(names) == 1 else None
        slots.append(TextSlot(owner, tuple(row.text for row in rows), torch.stack([row.weights for row in rows])))
    return slots


def groups_of_rows(
    slots: Sequence[TextSlot], row_count: int, groups: Callable[[int, Tensor], tuple[Group, ...]]
) -> list[tuple[Group, ...]]:
    """The groups of an attention in every row of the batch: rows with equally long words, that are read alike, share
    theirs.

    groups: gives those of a row by its number, and by how often each slot is read in it, (slots, picture tokens).
    """
    of_rows: list[tuple[Group, ...]] = []
    by_key: dict[tuple[tuple[int, ...], bytes], tuple[Group, ...]] = {}
    for row in range(row_count):
        lengths = tuple(slot.lengths[slot.in_row(row)] for slot in slots)
        weights = torch.stack([slot.weights[slot.in_row(row)] for slot in slots])
        key = lengths, weights.numpy().tobytes()
        if key not in by_key:
            by_key[key] = groups(row, weights)
        of_rows.append(by_key[key])
    return of_rows


class _PersonInRow(NamedTuple):
    """The words of one person as a row of the batch has them.

    name: None for nobody. text: (1, T, width), T is 0 without words. weights: (picture tokens,), see TextSlot.
    """

    name: str | None
    text: Tensor
    weights: Tensor


def _people_of(
    words: TransformerWords, nobody: _PersonInRow, forward_shape: ForwardShape, family: TransformerFamily
) -> list[_PersonInRow]:
    """The people of a TransformerWords, as its rows have them. nobody: what is read of who has no words."""
    weights = _on_picture(words, forward_shape)  # (people, picture tokens)
    people: list[_PersonInRow] = []
    for number, text in enumerate(words.texts):
        name = words.names[number] if words.names else None
        if text.shape[1]:
            people.append(_PersonInRow(name, left_padded(text, family), weights[number]))
        else:
            people.append(nobody._replace(name=name))
    return people


def _on_picture(words: TransformerWords, forward_shape: ForwardShape) -> Tensor:
    """How often each person's words are read in every token of the picture: (people, picture tokens), in the steps of
    in_steps."""
    if not words.active:  # nobody: (0, picture tokens)
        return words.regions.new_zeros(0, tokens_of(forward_shape.model, forward_shape.latent))
    return in_steps(regions_on_tokens(words.regions, forward_shape.model, forward_shape.latent))


def left_padded(text: Tensor, family: TransformerFamily) -> Tensor:
    """A text, (1, T, width), with zeros in front up to the least length that texts of the family have."""
    missing = family.left_padded_to - text.shape[1]
    if missing <= 0:
        return text  # not a copy: it stays as long as the run
    return functional.pad(text, (0, 0, missing, 0))
