"""The texts of a forward of a transformer: the common one, then a slot for the words of each person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ....core.attention.spans import Span, TokenKind
from ...networks.forward_tokens import filled_up
from ...networks.model_family import network_of, taken_family
from ...sampling.forward import ForwardShape
from .slots import TextSlot


class Filler(NamedTuple):
    """Tokens that fill up a slot in a row with fewer words: how many in front of the words, and behind them."""

    front: int
    behind: int


class ForwardTexts:
    """How many tokens each text has, as conditioning gives it and as the blocks of the network are given it.

    slots: of words, behind the common text. sizes: tokens of each slot. common: tokens of the common text. row_count:
    of the batch.
    """

    def __init__(self, slots: Sequence[TextSlot], forward_shape: ForwardShape) -> None:
        self.slots = slots
        self.sizes = tuple(slot.tokens for slot in slots)
        self.common = forward_shape.text_length
        self.row_count = forward_shape.row_count
        self.family = taken_family(forward_shape.model)
        self.network = network_of(forward_shape.model)

    def spans(self) -> list[Span]:
        """The words as the blocks are given them, one slot after the other."""
        return [
            Span(TokenKind.WORDS, self.padded(slot.tokens), slot.owner, number)
            for number, slot in enumerate(self.slots)
        ]

    def padded(self, tokens: int) -> int:
        """How many tokens the blocks are given for a text of so many tokens, see forward_tokens.filled_up."""
        return filled_up(tokens, self.family, self.network)

    def filler(self, slot: TextSlot, row: int) -> Filler:
        """How many tokens in this row fill up a slot, as the blocks are given it.

        They stand in front of the words in Z-Image (own_captions), else behind them.
        """
        count = self.padded(slot.tokens) - self.padded(slot.lengths[slot.in_row(row)])
        return Filler(count, 0) if self.family.own_captions else Filler(0, count)
