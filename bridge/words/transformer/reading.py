"""Who reads the words of single people in the attentions of a forward, as core/attention/reads.py has it for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ....core.attention.reads import WordsRule, groups_of, split_for
from ....core.attention.spans import Span, TokenKind, Tokens, count_of, fitted
from ....core.attention.token_groups import AnySplit, Group
from ....core.attention.tracing import untraced
from ...host.unet import Options
from ...networks.forward_tokens import TOKENS
from ...networks.patched_methods import REFINER, TEXT_READER
from ...sampling.carried import ConditioningLost
from ...sampling.watch import Calls
from .forward_texts import ForwardTexts
from .slots import groups_of_rows


class WordsReading:
    """The Reading of people's words, see attention.Reading: who reads whose words in each attention of a forward.

    picture: tokens of the picture, without references. calls: where blocks are counted whose attention is split.
    """

    def __init__(self, texts: ForwardTexts, picture: int, calls: Calls) -> None:
        self._texts = texts
        self._picture = picture
        self._calls = calls

    def get_ready(self, tokens: Tokens, device: torch.device) -> None:
        """Make the splits of a forward's attentions, see Batch.get_ready."""
        if self._texts.family.refiners:
            self._of_refiner(tokens, tokens.text_count).on(device)
        if self._texts.family.text_reader:
            self._of_text_reader(tokens, self._picture, tokens.text_count).on(device)
        else:
            self._of_block(tokens, tokens.count, tokens.count).on(device)

    def with_positions(self, block_inputs: Options) -> Options:
        """An InputPatch: the block's inputs, in which everybody's words have new positions.

        Raises ConditioningLost where tokens of the picture are missing.
        """
        picture = block_inputs["img"].shape[1]
        if picture < self._picture:
            raise ConditioningLost("", f"leaves {picture} of the picture's {self._picture} tokens")
        if not self._texts.family.counted_axes:
            return block_inputs
        return {**block_inputs, "txt_ids": self._positions(block_inputs["txt_ids"], block_inputs["txt"].shape[1])}

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

        Such attentions are counted, but for those of refiners. Raises ConditioningLost where queries of the picture are
        missing.
        """
        tokens: Tokens = options[TOKENS]
        if REFINER in options:
            return self._of_refiner(tokens, keys)
        if self._texts.family.text_reader:
            if TEXT_READER not in options:
                return None
            self._calls.count()
            return self._of_text_reader(tokens, queries, keys)
        # A node that keeps the keys of references from an earlier step asks without the references: fewer queries than
        # keys.
        if not tokens.text_count + self._picture <= queries <= keys:
            return None
        self._calls.count()
        return self._of_block(tokens, queries, keys)

    def _of_block(self, tokens: Tokens, queries: int, keys: int) -> AnySplit:
        key = "words in a block", queries, keys
        if key not in tokens.splits:
            spans = fitted(tokens.spans, keys)
            tokens.splits[key] = self._made(spans, spans, queries)
        return tokens.splits[key]

    def _of_text_reader(self, tokens: Tokens, queries: int, keys: int) -> AnySplit:
        """Its queries are the picture alone, and its keys all texts."""
        if queries != self._picture:
            raise ConditioningLost("", f"asks with {queries} of the picture's {self._picture} tokens")
        key = "words in a text reader", keys
        if key not in tokens.splits:
            texts = tokens.in_blocks(keys, tokens.picture_count).texts
            tokens.splits[key] = self._made([Span(TokenKind.PICTURE, queries)], texts, queries)
        return tokens.splits[key]

    def _of_refiner(self, tokens: Tokens, text: int) -> AnySplit:
        """In a refiner all tokens of a text read each other. text: of all texts."""
        key = "words in a refiner", text
        if key not in tokens.splits:
            texts = tokens.in_blocks(text, tokens.picture_count).texts
            tokens.splits[key] = self._made(texts, texts, text)
        return tokens.splits[key]

    @untraced  # only in a forward is it known what other packs have put in front
    def _made(self, readers: Sequence[Span], pieces: Sequence[Span], queries: int) -> AnySplit:
        """A new split of an attention by who reads whose words, for every row of the batch.

        readers, pieces: the tokens of its queries and keys. queries: how many of the readers' tokens are asked.
        """

        def groups(row: int, weights: Tensor) -> tuple[Group, ...]:
            return groups_of(self._in_row(readers, row), self._in_row(pieces, row), WordsRule(weights))

        of_rows = groups_of_rows(self._texts.slots, self._texts.row_count, groups)
        return split_for(of_rows, queries, count_of(pieces))

    def _in_row(self, spans: Sequence[Span], row: int) -> list[Span]:
        """The spans, with what fills up the places of words in a row as spans of its own."""
        in_row: list[Span] = []
        for span in spans:
            if span.kind is not TokenKind.WORDS:
                in_row.append(span)
                continue
            filler = self._texts.filler(self._texts.slots[span.number], row)
            in_row += [
                Span(TokenKind.FILLER, filler.front),
                replace(span, count=span.count - filler.front - filler.behind),
                Span(TokenKind.FILLER, filler.behind),
            ]
        return in_row
