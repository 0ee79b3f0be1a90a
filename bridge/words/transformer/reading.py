"""Who reads the words of single people in the attentions of a forward, as core.attention.word_groups has it for one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ....core.attention.token_groups import AnySplit, RowSplit, Split
from ....core.attention.token_layout import TokenKind, TokenLayout, placed_spans
from ....core.attention.tracing import untraced
from ....core.attention.word_groups import OwnedTokens, TextLayout, split_by_readers, split_by_words
from ...host.unet import Options
from ...networks.patched_methods import REFINER, TEXT_READER
from ...sampling.carried import ConditioningLost
from ...sampling.current_forward import current
from ...sampling.watch import Calls
from .forward_texts import ForwardTexts

_TOKENS = "likeness_tokens"
"""The key, among the transformer_options inside of a forward, of the number of tokens of text that its blocks are
given: of all texts, with whatever stands in front of them."""


class _WordsAttention(NamedTuple):
    """An attention that has words in it: of a block, of its text_reader in families that have one, or of a refiner.

    text: tokens of all texts, with whatever stands in front of them. queries, keys: how many tokens it has.
    """

    text: int
    queries: int
    keys: int

    @property
    def is_refiners(self) -> bool:
        """Whether it is over texts alone."""
        return self.text == self.queries == self.keys


class WordsReading:
    """The Reading of people's words, see attention.Reading: who reads whose words in each attention of a forward.

    picture: tokens of the picture, without references. calls: where blocks are counted whose attention is split.
    """

    def __init__(self, texts: ForwardTexts, picture: int, calls: Calls) -> None:
        self._texts = texts
        self._picture = picture
        self._calls = calls
        self._splits: dict[Any, AnySplit] = {}

    def get_ready(self, device: torch.device) -> None:
        """Make the split of this forward's attentions and keep it, before any code that torch.compile sees."""
        text = self._texts.tokens()
        if self._texts.family.text_reader:
            attention = _WordsAttention(text, queries=self._picture, keys=text)
        else:
            total = self._texts.layout_with(text).total
            attention = _WordsAttention(text, queries=total, keys=total)
        self._split_for(attention).on(device)

    def with_positions(self, block_inputs: Options) -> Options:
        """An InputPatch: the block's inputs, in which everybody's words have new positions.

        It also leaves the number of tokens of text in the options, in place, for `split`.
        Raises ConditioningLost where tokens of the picture are missing.
        """
        picture = block_inputs["img"].shape[1]
        if picture < self._picture:
            raise ConditioningLost("", f"leaves {picture} of the picture's {self._picture} tokens")
        text = block_inputs["txt"].shape[1]
        block_inputs["transformer_options"][_TOKENS] = text
        if not self._texts.family.counted_axes:
            return block_inputs
        return {**block_inputs, "txt_ids": self._positions(block_inputs["txt_ids"], text)}

    def _positions(self, given: Tensor, text: int) -> Tensor:
        """The positions of all texts, with those that each person's words would have as the common text.

        So each text counts from its own beginning. given: the network's, (B, text or more tokens, axes), which count
        through all texts. text: how many tokens these are:
        [in front, by others][common text][words of slot 1][of slot 2] ...
        """
        positions = given.clone()
        start = text - sum(self._texts.sizes)  # of the words of the first slot
        start_of_common = start - self._texts.common
        first_of_common = given[:, start_of_common : start_of_common + 1]  # (B, 1, axes)
        for size in self._texts.sizes:
            count = torch.arange(size, device=positions.device, dtype=positions.dtype)
            for axis in self._texts.family.counted_axes:
                positions[:, start : start + size, axis] = first_of_common[:, :, axis] + count
            start += size
        return positions

    def split(self, queries: int, keys: int, options: Options) -> AnySplit | None:
        """The split of one attention by who reads whose words; None for one without words. See attention.Reading.

        Such attentions are counted.
        """
        attention = self._attention_with_words(queries, keys, options)
        if attention is None:
            return None
        self._calls.count()
        return self._split_for(attention)

    def _attention_with_words(self, queries: int, keys: int, options: Options) -> _WordsAttention | None:
        """Which attention this is; None for one that has no words in it. The arguments are those of `split`."""
        family = self._texts.family
        if REFINER in options:
            return _WordsAttention(keys, queries, keys)
        if family.text_reader:
            if TEXT_READER not in options:
                return None
            return _WordsAttention(text=keys, queries=queries, keys=keys)
        if family.own_captions:  # it counts its texts itself: the number of all tokens tells
            text = self._texts.tokens()
            total = self._texts.layout_with(text).total
            return _WordsAttention(text, queries, keys) if queries == keys == total else None
        text = options.get(_TOKENS)
        if text is None:
            return None
        # A node that keeps the keys of references from an earlier step asks without the references: fewer queries than
        # keys.
        has_text_and_picture = text + self._picture <= queries <= keys
        return _WordsAttention(text, queries, keys) if has_text_and_picture else None

    def _split_for(self, attention: _WordsAttention) -> AnySplit:
        """The split of `_make_split`, made once for all layers and steps."""
        key = *attention, current.references  # the last: _owned reads it
        if key not in self._splits:
            self._splits[key] = self._make_split(attention)
        return self._splits[key]

    @untraced  # only in a forward is it known whose references there are
    def _make_split(self, attention: _WordsAttention) -> AnySplit:
        """A new split of an attention by who reads whose words, for every row of the batch."""
        layout = self._layout(attention)
        split_texts = split_by_readers if self._texts.family.text_reader else split_by_words
        splits: list[Split] = []
        split_of: dict[tuple[tuple[int, ...], bytes], Split] = {}
        for row in range(self._texts.row_count):
            lengths = tuple(slot.lengths[slot.in_row(row)] for slot in self._texts.slots)
            # (slots, picture tokens): how often each slot is read there
            weights = torch.stack([slot.weights[slot.in_row(row)] for slot in self._texts.slots])
            if attention.is_refiners:
                weights = weights[:, :0]
            # Rows with the same lengths of words, and so the same fillers, and with the same weights share a split.
            key = lengths, weights.numpy().tobytes()
            if key not in split_of:
                fillers = tuple(self._texts.filler(slot, row) for slot in self._texts.slots)
                split_of[key] = split_texts(replace(layout, fillers=fillers), weights)
            splits.append(split_of[key])
        return splits[0] if len(split_of) == 1 else RowSplit(tuple(splits))

    def _layout(self, attention: _WordsAttention) -> TextLayout:
        """Where the texts stand in an attention, without fillers.

        Raises ConditioningLost where queries of the picture are missing.
        """
        tokens = self._texts.layout_with(attention.text)
        owned: tuple[OwnedTokens, ...] = ()
        if self._texts.family.text_reader:  # its queries are the picture alone
            if attention.queries != self._picture:
                raise ConditioningLost("", f"asks with {attention.queries} of the picture's {self._picture} tokens")
            picture_start = 0
        else:
            picture_start = tokens.text
            owned = self._owned(tokens)
        return TextLayout(
            # Tokens that other packs, such as USO's, have put in front belong to the common text, which words do not
            # read.
            common_end=tokens.front + tokens.common,
            counts=tokens.words,
            picture_start=picture_start,
            queries=attention.queries,
            keys=attention.keys,
            owned=owned,
        )

    def _owned(self, tokens: TokenLayout) -> tuple[OwnedTokens, ...]:
        """The tokens of every reference whose person has words: they read these words too."""
        references = current.references
        if references is None:
            return ()
        owned: list[OwnedTokens] = []
        for placed in placed_spans(tokens.spans()):
            if placed.span.kind is TokenKind.REFERENCE:
                name = references.names[placed.span.number]
                # Several nodes may have words of this person, in a slot each: word_groups takes each for a person.
                for number, slot in enumerate(self._texts.slots):
                    if slot.name == name:
                        owned.append(OwnedTokens(number, placed.tokens))
        return tuple(owned)
