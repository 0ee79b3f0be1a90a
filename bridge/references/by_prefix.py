"""References of people by region and by weight, in families whose text and references are a causal prefix.

core.attention.prefix_groups says who reads whom. The network's own prefix is left as it is; the picture reads it where
references are limited to no region. Every other prefix is computed in the first step, and kept. A person's LoRAs act in
all of the person's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from ...core.attention.prefix_groups import (
    EVERYBODY,
    NOBODY,
    PrefixKeys,
    TargetReading,
    segment_groups,
)
from ...core.attention.reference_groups import ReadReference
from ...core.attention.token_groups import AnySplit, Group, split_of_rows
from ...core.attention.token_layout import Span
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
from ..sampling.current_forward import CurrentReferences, added_to_layers
from ..sampling.forward import ForwardShape

_MOST_KEPT = 8
"""Prefixes of so many prompts are kept, the last that were read."""


@dataclass(frozen=True, eq=False)
class _KeptPrefixes:
    """The prefixes of one prompt.

    given, added: of which and with what they were computed, see added_to_layers. by_name: as in prefix_groups.
    """

    given: PrefixInput
    added: object
    by_name: Mapping[int, ReadPrefix]
    spans: Mapping[int, Sequence[Span]]
    splits: dict[object, AnySplit] = field(default_factory=dict[object, AnySplit])


class PrefixReferencesBatch(PrefixBatch):
    """The attention of one forward, in which the picture reads prefixes of people.

    reading_of_rows: how the picture of each row of the batch reads. people: whose the references are; None where words
    and LoRAs of people do not act on them.
    """

    def __init__(
        self,
        reading_of_rows: Sequence[TargetReading],
        people: CurrentReferences | None,
        forward_shape: ForwardShape,
    ) -> None:
        super().__init__(forward_shape)
        self._reading_of_rows = reading_of_rows
        self._references = reading_of_rows[0].references
        self._person_of: dict[int, str] = {}  # by the owner of references
        for reference, name in zip(self._references, people.names if people else (), strict=False):
            if reference.owner is not None and name is not None:
                self._person_of[reference.owner] = name
        self._names = sorted({name for reading in reading_of_rows for name in reading.prefixes()})
        self._kept: list[_KeptPrefixes] = []

    def options_for_network(self, options: Options) -> Options:
        """transformer_options with the prefixes, which are computed where they are not kept."""
        kept = self._prefixes(self.given, options)
        return self.with_read(options, tuple(kept.by_name.values()), _TargetReading(self, kept))

    def _prefixes(self, given: PrefixInput, options: Options) -> _KeptPrefixes:
        """The prefixes of a prompt."""
        added = added_to_layers()
        others: list[_KeptPrefixes] = []
        for kept in self._kept:
            if not kept.given.is_same(given):
                others.append(kept)
            elif kept.added is added and may_be_kept(options):
                return kept
        by_name: dict[int, ReadPrefix] = {}
        spans_by_name: dict[int, Sequence[Span]] = {}
        for name in self._names:
            left_out = [number for number, reference in enumerate(self._references) if not _is_in(name, reference)]
            spans = spans_by_name[name] = spans_of(given, left_out)
            segments = self._segments(spans)
            if name == EVERYBODY and not segments:
                continue  # it is the network's own
            positions = positions_of(given, self.latent, left_out)
            channels = self.latent[1]
            prefix, owner = given.without(left_out), self._person_of.get(name)
            blocks = computed(self.network, prefix, positions, segments, channels, options, owner)
            by_name[name] = ReadPrefix(blocks, len(positions) - 1)
        self._kept = [*others[1 - _MOST_KEPT :], _KeptPrefixes(given.copied(), added, by_name, spans_by_name)]
        return self._kept[-1]

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
        starts = {name: keys.start_of(prefix) for name, prefix in kept.by_name.items()}
        key = keys.own, keys.total, *starts.values()
        if key not in kept.splits:
            kept.splits[key] = self.made_split(kept, keys, starts)
        return kept.splits[key]

    def made_split(self, kept: _KeptPrefixes, keys: TargetKeys, starts: Mapping[int, int]) -> AnySplit:
        # The network's own prefix, which stands in front, is that of everybody where no other is.
        prefixes = {name: PrefixKeys(spans, starts.get(name, 0)) for name, spans in kept.spans.items()}
        is_other = torch.ones(keys.total, dtype=torch.bool)  # what is of none of these prefixes
        is_other[: keys.own] = False
        for name, start in starts.items():
            is_other[start : start + kept.by_name[name].tokens] = False
        others = is_other.nonzero()[:, 0]
        groups_of_rows: dict[TargetReading, tuple[Group, ...]] = {}
        for reading in self._reading_of_rows:
            if reading not in groups_of_rows:
                groups_of_rows[reading] = reading.groups(others, prefixes, keys.total)
        return split_of_rows([groups_of_rows[reading] for reading in self._reading_of_rows], keys.total)


def _whole(queries: int) -> tuple[Group, ...]:
    """All queries, which read all keys."""
    return (Group(torch.arange(queries), None),)


def _is_in(name: int, reference: ReadReference) -> bool:
    """Whether a reference is read in the prefix of this name, see prefix_groups."""
    return name == EVERYBODY or reference.owner is None or (name != NOBODY and reference.owner == name)


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
