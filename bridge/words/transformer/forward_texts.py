"""The texts of a forward of a transformer: the common one, then a slot for the words of each person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ....core.attention.token_layout import TokenLayout
from ....core.attention.word_groups import Filler
from ....core.checks.errors import BadSetup
from ...networks.forward_layout import layout_of, reads_looks, with_front
from ...networks.model_family import network_of
from ...networks.transformer_families import TransformerFamily
from ...sampling.forward import ForwardShape
from .slots import TextSlot, filled_up


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
        self._is_omni = reads_looks(forward_shape)
        self._check_rows()

    @property
    def references_have_texts(self) -> bool:
        """Whether a text stands beside each reference, as in Z-Image."""
        return bool(self._layout.reference_texts)

    def _check_rows(self) -> None:
        """Raise BadSetup in Z-Image Omni with reference pictures where rows have words of different lengths.

        It counts a text without the tokens that fill it up, so the words of these rows would end at other positions.
        """
        if self._is_omni and any(len(slot.rows_of_lengths) > 1 for slot in self.slots):
            raise BadSetup(
                f"{self.family.name} Omni with reference pictures does not know rows with words of different lengths.",
                "Give each person a prompt of the same length, or take the reference pictures out of the conditioning.",
            )

    def layout_with(self, text: int) -> TokenLayout:
        """Where all tokens stand in a forward. text: how many tokens its texts have in all.

        Tokens of these that no text here has stand in front, see with_front.
        """
        common, *words = self.lengths()
        return with_front(replace(self._layout, common=common, words=tuple(words)), text)

    def tokens(self) -> int:
        """The number of tokens of all texts, without what other packs put in front."""
        return sum(self.lengths()) + sum(self._layout.reference_texts) + self._layout.later

    def padded(self, tokens: int) -> int:
        """How many tokens the blocks are given for a text of so many tokens, see slots.filled_up."""
        return filled_up(tokens, self.family, self.network)

    def position_count(self, tokens: int) -> int:
        """The number of positions that Z-Image counts for a text of so many tokens."""
        return tokens if self._is_omni else self.padded(tokens)

    def lengths(self) -> list[int]:
        """How many tokens the blocks are given: of the common text, and then of each slot of words."""
        return [self.padded(size) for size in (self.common, *self.sizes)]

    def slot_of(self, number: int) -> TextSlot | None:
        """The slot of a text by its number, see CurrentTexts.alone; None for the common text, 0."""
        return self.slots[number - 1] if number else None

    def tokens_of_texts(self) -> list[slice]:
        """Where each text stands among all of them, as the blocks are given them; the common one first."""
        texts: list[slice] = []
        start = 0
        for length in self.lengths():
            texts.append(slice(start, start + length))
            start += length
        return texts

    def filler(self, slot: TextSlot, row: int) -> Filler:
        """How many tokens in this row fill up a slot, as the blocks are given it.

        They stand in front of the words in Z-Image (own_captions), else behind them.
        """
        filler_count = self.padded(slot.tokens) - self.padded(slot.lengths[slot.in_row(row)])
        if self.family.own_captions:
            return Filler(front=filler_count)
        return Filler(behind=filler_count)
