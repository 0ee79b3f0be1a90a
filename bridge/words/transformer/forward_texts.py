"""The texts of a forward of a transformer: the common one, then a slot for the words of each person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ....core.attention.token_layout import TokenLayout
from ....core.attention.word_groups import Filler
from ...networks.forward_layout import filled_up, layout_of, with_front
from ...networks.model_family import network_of
from ...networks.transformer_families import TransformerFamily
from ...sampling.forward import ForwardShape
from .slots import TextSlot


class ForwardTexts:
    """How many tokens each text has, as conditioning gives it and as the blocks of the network are given it.

    slots: of words, behind the common text. sizes: tokens of each slot. common: tokens of the common text. row_count:
    of the batch.
    """

    def __init__(self, slots: Sequence[TextSlot], forward_shape: ForwardShape, family: TransformerFamily) -> None:
        self.slots = slots
        self.sizes = tuple(slot.tokens for slot in slots)
        self.common = forward_shape.text_length
        self.row_count = forward_shape.row_count
        self.family = family
        self.network = network_of(forward_shape.model)
        self._layout = layout_of(forward_shape)

    def layout_with(self, text: int) -> TokenLayout:
        """Where all tokens stand in a forward. text: how many tokens its texts have in all.

        Tokens of these that no text here has stand in front, see with_front.
        """
        common, *words = self.lengths()
        return with_front(replace(self._layout, common=common, words=tuple(words)), text)

    def tokens(self) -> int:
        """The number of tokens of all texts, without what other packs put in front."""
        return sum(self.lengths())

    def padded(self, tokens: int) -> int:
        """How many tokens the blocks are given for a text of so many tokens, see forward_layout.filled_up."""
        return filled_up(tokens, self.family, self.network)

    def lengths(self) -> list[int]:
        """How many tokens the blocks are given: of the common text, and then of each slot of words."""
        return [self.padded(size) for size in (self.common, *self.sizes)]

    def filler(self, slot: TextSlot, row: int) -> Filler:
        """How many tokens in this row fill up a slot, as the blocks are given it.

        They stand in front of the words in Z-Image (own_captions), else behind them.
        """
        filler_count = self.padded(slot.tokens) - self.padded(slot.lengths[slot.in_row(row)])
        if self.family.own_captions:
            return Filler(front=filler_count)
        return Filler(behind=filler_count)
