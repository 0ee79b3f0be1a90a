"""References of people by region and by weight, in families whose text and references are a causal prefix.

core.attention.prefix_groups says who reads whom. The network's own prefix is left as it is; the picture reads it where
references are limited to no region. Every other prefix is computed in the first step, and kept. A person's LoRAs act in
all of the person's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from ...core.attention.prefix_groups import Owner, PrefixKeys, TargetReading, Whose, segment_groups
from ...core.attention.spans import Span, TokenKind, Tokens
from ...core.attention.token_groups import AnySplit, Group, split_of_rows
from ..host.unet import Options
from ..networks.prefixes import (
    PrefixBatch,
    PrefixInput,
    ReadPrefix,
    TargetKeys,
    computed,
    may_be_kept,
    positions_of,
    read_by_target,
    spans_of,
)
from ..sampling.current_forward import added_to_layers
from ..sampling.forward import ForwardShape

_MOST_KEPT = 8
"""Prefixes of so many prompts are kept, the last that were read."""


@dataclass(frozen=True, eq=False)
class _KeptPrefixes:
    """The prefixes of one prompt.

    given, added: of which and with what they were computed, see added_to_layers. by_owner, spans: by whose they are.
    """

    given: PrefixInput
    added: object
    by_owner: Mapping[Owner, ReadPrefix]
    spans: Mapping[Owner, Sequence[Span]]
    splits: dict[object, AnySplit] = field(default_factory=dict[object, AnySplit])


class PrefixReferencesBatch(PrefixBatch):
    """The attention of one forward, in which the picture reads prefixes of people.

    reading_of_rows: how the picture of each row of the batch reads.
    """

    def __init__(self, reading_of_rows: Sequence[TargetReading], forward_shape: ForwardShape) -> None:
        super().__init__(forward_shape)
        self._reading_of_rows = reading_of_rows
        self._owners = reading_of_rows[0].owners
        self._read = list(dict.fromkeys(owner for reading in reading_of_rows for owner in reading.prefixes()))
        # Not by run.kept, which keeps this batch: a prompt is known by its values, as other packs hand on copies.
        self._kept: list[_KeptPrefixes] = []

    def options_for_network(self, options: Options, tokens: Tokens) -> Options:
        """transformer_options with the prefixes, which are computed where they are not kept."""
        options = super().options_for_network(options, tokens)
        kept = self._prefixes(self.given, options)
        return self.with_read(options, tuple(kept.by_owner.values()), _TargetReading(self, kept))

    def _prefixes(self, given: PrefixInput, options: Options) -> _KeptPrefixes:
        """The prefixes of a prompt."""
        added = added_to_layers()
        others: list[_KeptPrefixes] = []
        for kept in self._kept:
            if not kept.given.is_same(given):
                others.append(kept)
            elif kept.added is added and may_be_kept(options):
                return kept
        by_owner: dict[Owner, ReadPrefix] = {}
        spans_by_owner: dict[Owner, Sequence[Span]] = {}
        for owner in self._read:
            left_out = [number for number, of_one in enumerate(self._owners) if not _is_in(owner, of_one)]
            spans = spans_by_owner[owner] = self._owned(spans_of(given, left_out))
            segments = self._segments(spans)
            if owner is Whose.EVERYBODY and not segments:
                continue  # it is the network's own
            positions = positions_of(given, self.latent, left_out)
            prefix, person = given.without(left_out), None if isinstance(owner, Whose) else owner or None
            blocks = computed(self.network, prefix, positions, segments, self.latent[1], options, person)
            by_owner[owner] = ReadPrefix(blocks, len(positions) - 1)
        self._kept = [*others[1 - _MOST_KEPT :], _KeptPrefixes(given.copied(), added, by_owner, spans_by_owner)]
        return self._kept[-1]

    def _owned(self, spans: Sequence[Span]) -> list[Span]:
        """The spans of a prefix with the owners of references."""
        return [
            replace(span, owner=self._owners[span.number]) if span.kind is TokenKind.REFERENCE else span
            for span in spans
        ]

    def _segments(self, spans: Sequence[Span]) -> dict[tuple[int, int], AnySplit]:
        """How the attentions of a prefix are split. spans: of its tokens."""
        by_reading = {reading: segment_groups(spans, reading.references) for reading in self._reading_of_rows}
        of_rows = [by_reading[reading] for reading in self._reading_of_rows]
        # Rows differ in weights: a row that reads all as it is has no groups where others have.
        sizes = {size for of_row in of_rows for size in of_row}
        return {
            (queries, keys): split_of_rows([of_row.get((queries, keys), _whole(queries)) for of_row in of_rows], keys)
            for queries, keys in sizes
        }

    def split_of_target(self, kept: _KeptPrefixes, keys: TargetKeys) -> AnySplit:
        """How the target's attention is split, in every row of the batch."""
        starts = {owner: keys.start_of(prefix) for owner, prefix in kept.by_owner.items()}
        key = keys.own, keys.total, *starts.values()
        if key not in kept.splits:
            kept.splits[key] = self.made_split(kept, keys, starts)
        return kept.splits[key]

    def made_split(self, kept: _KeptPrefixes, keys: TargetKeys, starts: Mapping[Owner, int]) -> AnySplit:
        # The network's own prefix, which stands in front, is that of everybody where no other is.
        prefixes = {owner: PrefixKeys(spans, starts.get(owner, 0)) for owner, spans in kept.spans.items()}
        is_other = torch.ones(keys.total, dtype=torch.bool)  # what is of none of these prefixes
        is_other[: keys.own] = False
        for owner, start in starts.items():
            is_other[start : start + kept.by_owner[owner].tokens] = False
        others = is_other.nonzero()[:, 0]
        groups_of_rows: dict[TargetReading, tuple[Group, ...]] = {}
        for reading in self._reading_of_rows:
            if reading not in groups_of_rows:
                groups_of_rows[reading] = reading.groups(others, prefixes, keys.total)
        return split_of_rows([groups_of_rows[reading] for reading in self._reading_of_rows], keys.total)


def _whole(queries: int) -> tuple[Group, ...]:
    """All queries, which read all keys."""
    return (Group(torch.arange(queries), None),)


def _is_in(prefix: Owner, owner: str | None) -> bool:
    """Whether a reference of this owner is read in a prefix. prefix: whose it is."""
    return prefix is Whose.EVERYBODY or owner is None or owner == prefix


@dataclass(frozen=True, eq=False)
class _TargetReading:
    """The Reading of the target."""

    batch: PrefixReferencesBatch
    kept: _KeptPrefixes

    def split(self, queries: int, keys: int, options: Options) -> AnySplit | None:
        of_target = read_by_target(options, queries, keys)
        if of_target is None:
            return None
        self.batch.calls.count()
        return self.batch.split_of_target(self.kept, of_target)
