"""Words of single people in a family whose text is a causal prefix: each person's are a prefix of their own.

It is computed with the person's LoRAs, in the first step, and kept. The picture reads it beside the common text, as
core/attention/reads.py says. Words read themselves alone, as a prompt does there. The picture stands behind them as
if they were the prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ....core.attention.reads import WordsRule, groups_of
from ....core.attention.spans import Span, TokenKind, Tokens
from ....core.attention.token_groups import AnySplit, Group, split_of_rows
from ...host.unet import Options
from ...networks.prefixes import (
    BlockKeys,
    PrefixBatch,
    PrefixInput,
    ReadPrefix,
    TargetKeys,
    computed,
    may_be_kept,
    positions_of,
    read_by_target,
)
from ...sampling.current_forward import added_to_layers
from ...sampling.forward import ForwardShape
from .slots import TextSlot, groups_of_rows


@dataclass(frozen=True, eq=False)
class _KeptWords:
    """The words of every slot. added: with what they were computed, see added_to_layers."""

    added: object
    prefixes: tuple[ReadPrefix, ...]


class PrefixWordsBatch(PrefixBatch):
    """The attention of one forward, in which the picture reads everybody's words.

    slots: of the words of each person.
    """

    def __init__(self, slots: Sequence[TextSlot], forward_shape: ForwardShape) -> None:
        super().__init__(forward_shape)
        self.slots = slots
        # By the position of the picture, which the network's call alone says. run.kept keeps this batch.
        self._kept: dict[int, _KeptWords] = {}

    def options_for_network(self, options: Options, tokens: Tokens) -> Options:
        """transformer_options with everybody's words, which are computed where they are not kept."""
        options = super().options_for_network(options, tokens)
        prefixes = self._prefixes(self.given, options)
        return self.with_read(options, prefixes, WordsReading(self, prefixes))

    def _prefixes(self, given: PrefixInput, options: Options) -> tuple[ReadPrefix, ...]:
        """The words of every slot."""
        position = given.picture_position
        kept = self._kept.get(position)
        if kept is None or kept.added is not added_to_layers() or not may_be_kept(options):
            prefixes: list[ReadPrefix] = []
            for slot in self.slots:
                prefixes.append(ReadPrefix(self._blocks(slot, position, given.text, options), slot.tokens))
            kept = self._kept[position] = _KeptWords(added_to_layers(), tuple(prefixes))
        return kept.prefixes

    def _blocks(self, slot: TextSlot, position: int, like: Tensor, options: Options) -> list[BlockKeys]:
        """The keys and values of the words in a slot, for every row, with zeros behind those of a row with fewer.

        position: of the picture. like: a text of the forward.
        """
        texts = [text.to(like) for text in slot.texts]  # (1, T, width) each
        # All rows, also where they share their words: in each the LoRAs of another person may act.
        of_lengths = {slot.tokens: [0]} if len(texts) == 1 else slot.rows_of_lengths
        blocks: list[BlockKeys] = []
        for length, rows in of_lengths.items():
            text = torch.cat([texts[slot.in_row(row)] for row in rows])
            prefix = PrefixInput(text, (), ())
            positions = positions_of(prefix, self.latent)
            positions[:, 0] += position - length  # the picture would stand at `length`
            channels, owner = self.latent[1], slot.owner
            of_rows = computed(self.network, prefix, positions, {}, channels, options, owner, rows)
            if not blocks:
                blocks = [self._room(keys, slot.tokens) for keys, _ in of_rows]
            into = torch.tensor(rows, device=like.device)
            for (all_keys, all_values), (keys, values) in zip(blocks, of_rows, strict=True):
                all_keys[into, :length] = keys
                all_values[into, :length] = values
        return blocks

    def _room(self, like: Tensor, tokens: int) -> BlockKeys:
        """Zeros for the keys and values of all rows. like: (rows, tokens, C)."""
        shape = self.row_count, tokens, like.shape[-1]
        return like.new_zeros(shape), like.new_zeros(shape)


@dataclass(frozen=True, eq=False)
class WordsReading:
    """The Reading of the target."""

    batch: PrefixWordsBatch
    prefixes: tuple[ReadPrefix, ...]
    splits: dict[tuple[int, int], AnySplit] = field(default_factory=dict[Any, Any])

    def split(self, queries: int, keys: int, options: Options) -> AnySplit | None:
        of_target = read_by_target(options, queries, keys)
        if of_target is None:
            return None
        self.batch.calls.count()
        key = of_target.start_of(self.prefixes[0]), of_target.total
        if key not in self.splits:
            self.splits[key] = self.made_split(of_target)
        return self.splits[key]

    def made_split(self, keys: TargetKeys) -> AnySplit:
        """How the target reads words, in every row of the batch."""

        def groups(row: int, weights: Tensor) -> tuple[Group, ...]:
            return groups_of([Span(TokenKind.PICTURE, keys.target)], self._pieces(keys, row), WordsRule(weights))

        return split_of_rows(groups_of_rows(self.batch.slots, self.batch.row_count, groups), keys.total)

    def _pieces(self, keys: TargetKeys, row: int) -> list[Span]:
        """All keys of the target in a row of the batch."""
        start = keys.start_of(self.prefixes[0])
        pieces = [Span(TokenKind.OTHER, start)]
        for number, slot in enumerate(self.batch.slots):
            length = slot.lengths[slot.in_row(row)]
            pieces.append(Span(TokenKind.WORDS, length, slot.owner, number))
            pieces.append(Span(TokenKind.FILLER, slot.tokens - length))
        behind = keys.total - start - sum(slot.tokens for slot in self.batch.slots)
        return [*pieces, Span(TokenKind.OTHER, behind)]
