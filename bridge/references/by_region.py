"""References of people that are read by region and by weight: what conditioning carries, and a run that reads it.

In models that take references, text, picture and references are one sequence, and every token attends to all of it. By
region this joint attention is split:

    tokens of                                   read text, picture, references of no person, and
    a person's region                           this person's references; where two regions overlap, those of both
    the picture outside of all regions          nothing else, or all references
    a person's reference                        the same person's references
    the text, or a reference of no person       nothing else

A part of a person, such as a jacket, is a reference of the person, which the picture may read in a region of its own.
A reference of no person is a room, a pose, or what another node adds to the conditioning.
core/attention/reads.py holds the formulas. What the common text shows of a reference is read by all tokens, in
Krea 2 also by those of the text in its refiner.

A person's weight says how strongly all these tokens read the person's references. Outside of the range in which regions
hold, and where there are none, all tokens read all references, each by the weight of its person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from comfy.model_base import BaseModel
from torch import Tensor
from typing_extensions import Self

from ...core.attention.cross_attention import on_tokens
from ...core.attention.prefix_groups import TargetReading
from ...core.attention.reads import ReadReference, ReferencesRule, belongs, groups_of, mixed, split_for
from ...core.attention.spans import Span, Tokens
from ...core.attention.token_groups import AnySplit, Group
from ...core.attention.tracing import untraced
from ...core.checks.errors import BadSetup, LikenessError, counted
from ...core.places.regions import BadRegion
from ...core.taking_part import present_in
from ..host.unet import Options
from ..networks.attention import with_reading
from ..networks.file_attention import tell_of_file_attention
from ..networks.forward_tokens import TOKENS
from ..networks.model_family import (
    TOKEN,
    cells_per_token,
    regions_on_tokens,
    taken_family,
    tokens_of,
    transformer_family,
)
from ..networks.split_batch import SplitBatch
from ..sampling.areas import in_pixels
from ..sampling.carried import (
    CarriedOfPeople,
    ConditioningLost,
    PerChunk,
    one_for_each_row,
)
from ..sampling.conditioning import RunEntry
from ..sampling.forward import Batch, ForwardInput, ForwardShape
from ..sampling.runs import Kind, Run
from .by_prefix import PrefixReferencesBatch
from .record import LATENTS, PeopleReferences, ReferenceLatent

_OF_ANOTHER_NODE = ReferenceLatent(torch.empty(0, dtype=torch.float32), owner=None, region=None)


class TokensChanged(LikenessError):
    """A node of another pack adds tokens to a picture and its references, or takes some away."""

    def __init__(self, tokens: int, expected: int) -> None:
        super().__init__(
            f"Another node on this MODEL has made {tokens} tokens of the {expected} that this picture and its "
            "references have, so their people are unknown.",
            "Take that node out, or disconnect model of People as References.",
        )


@dataclass(frozen=True, eq=False)
class RegionalReferences(CarriedOfPeople):
    """The references of one node, and where each person's are read. Both sides of the conditioning carry this object.

    record: the latents and their people. regions: (regions, H, W), 0..1, of the whole picture: in the order of
    record.present, and then those of single latents; None at a strength of 0. names: of the regions. strength:
    how far references are limited to regions, 0..1. everybody_outside: whether picture tokens outside of all regions
    read the references of all people, or of none.
    numbers: for every reference latent of the entry its number in the record, or None for a latent of another node;
    empty until a run has begun, because other nodes may still add latents to the entry.
    """

    key = "likeness_regional_references"
    record: PeopleReferences
    names: tuple[str, ...]
    strength: float
    everybody_outside: bool
    numbers: tuple[int | None, ...] = ()

    @property
    def people_count(self) -> int:
        return len(self.record.present)

    @property
    def references(self) -> list[ReferenceLatent]:
        """What every reference latent of the entry shows; a latent of another node shows nobody."""
        return [_OF_ANOTHER_NODE if number is None else self.record.references[number] for number in self.numbers]

    @property
    def shown(self) -> tuple[int, ...]:
        """For every reference latent of the entry the number of tokens by which the text shows it."""
        return tuple(reference.shown for reference in self.references)

    @property
    def weights(self) -> tuple[float, ...]:
        """For every reference latent of the entry the weight of its person."""
        return tuple(self.record.weight_of(reference, self.row) for reference in self.references)

    def cells_added(self, model: BaseModel, text_tokens: int) -> int:
        """In a family of prefixes as many as the tokens of prefixes of ours, whose keys are kept for all steps. Each
        person has one, and nobody: with the text, the references of nobody and those of the person. At a strength of 0
        there is one of everybody, unless all is read as it is."""
        family = transformer_family(model)
        if family is None or not family.prefix or (not self.strength and self.record.is_read_as_it_is):
            return 0
        prefixes = self.people_count + 1 if self.strength else 1
        cells = prefixes * text_tokens * cells_per_token(model) ** 2  # a token is a square of cells
        for reference in self.record.references:
            height, width = reference.latent.shape[-2:]
            cells += height * width * (prefixes if reference.owner is None else 1)
        return cells

    def can_join_batch(self, other: Any) -> bool:
        return self is other

    def has_same_people(self, other: RegionalReferences) -> bool:
        """Whether rows that carry this and `other` have the same references, of the same people.

        Where people have rows, these are copies for each row: then their node and latents have to be the same.
        """
        return self is other or (self.by_row and (self.source, self.numbers) == (other.source, other.numbers))

    def begin(self, run: Run) -> None:
        """Raise BadRegion where a region has no token of the picture. At a strength of 0 there are no regions."""
        if self.regions is not None:
            width, height = in_pixels(run.latent, run.cell)
            tokens = belongs(on_tokens(self.regions, height, width, TOKEN))
            check_tokens(tokens, self.names, height, width)
        # Attention is divided where not all tokens read all references alike.
        if self.strength or not self.record.is_read_as_it_is:
            tell_of_file_attention(run, self)

    def in_entry(self, entry: RunEntry) -> Self:
        """A copy of this object that knows the reference latents of an entry.

        Raises BadSetup where the entry lacks some of the latents of this record, because another node has replaced
        them.
        """
        numbers = self.record.numbers_of(entry.get(LATENTS) or ())
        # Runs recognise a carried object by its identity, so each copy is made once and used for all entries alike.
        of_entry = self.made_once(("latents", *numbers), lambda: replace(self, numbers=numbers))
        expected = _count_of_people(self.record.references)
        missing = expected - _count_of_people(of_entry.references)
        if missing:
            are = "is" if missing == 1 else "are"
            raise BadSetup(
                f"Of {counted(expected, 'reference')} of people, {missing} {are} no longer in the conditioning: a node "
                "behind People as References has replaced them, so their people are unknown.",
                "Take that node out, or disconnect model of People as References.",
            )
        return of_entry


def _count_of_people(references: Sequence[ReferenceLatent]) -> int:
    """How many reference latents belong to a person, and not to nobody."""
    return sum(reference.owner is not None for reference in references)


def check_tokens(tokens: Tensor, names: Sequence[str], height: int, width: int) -> None:
    """Raise BadRegion for the first region that has no token.

    tokens: (regions, rows, columns) bool, whether a token lies in a region. names: of the regions, by person. height,
    width: of the picture, in pixels.
    """
    for tokens_of_region, name in zip(tokens, names, strict=True):
        if not tokens_of_region.any():
            why = f"of a picture of {width}x{height} px it covers no token ({TOKEN}x{TOKEN} px) by half"
            raise BadRegion(name, why, "Raise Margin (margin), paint a larger mask, or use a larger picture.")


class ActingReferences(NamedTuple):
    """What acts in a forward. rows: what each row of the batch carries. strength: how far references are limited to
    regions at this step, 0..1."""

    rows: tuple[RegionalReferences, ...]
    strength: float


def _batch(run: Run, by_node: tuple[PerChunk[RegionalReferences], ...], forward_input: ForwardInput) -> Batch | None:
    """The batch of a forward; None where it has no references, or all tokens read all of them, as in the host.

    by_node: of one node, because People as References encodes its own prompts, so no second node can add one.

    Raises ConditioningLost where other packs have joined rows whose references belong to different people, or have
    changed the number of references.
    """
    (by_chunk,) = by_node
    rows = one_for_each_row(by_chunk, len(forward_input.x))
    regional = rows[0]
    # Outside of the range in which regions hold nothing is limited to them.
    strength = regional.strength if run.acting(by_node, forward_input.sigmas) else 0.0
    all_read_all = strength == 0 and regional.record.is_read_as_it_is
    if not forward_input.references or all_read_all:
        return None
    if not all(regional.has_same_people(of_row) for of_row in rows):
        raise ConditioningLost("", "joins rows whose references belong to different people")
    reference_count = len(forward_input.references)
    if reference_count != len(regional.numbers):
        handed_on = counted(reference_count, "reference picture")
        why = f"hands on {handed_on} where the conditioning has {len(regional.numbers)}"
        raise ConditioningLost("", why)
    return run.kept_batch(_new_batch, ActingReferences(tuple(rows), strength), forward_input)


def _new_batch(run: Run, acting: ActingReferences, forward_shape: ForwardShape) -> Batch:
    rows, strength = acting
    regions = None
    if strength > 0:
        regions_in_pixels = rows[0].regions
        assert regions_in_pixels is not None  # only at a strength of 0 there are none
        on_picture = regions_on_tokens(regions_in_pixels, forward_shape.model, forward_shape.latent)
        regions = belongs(on_picture)  # (regions, tokens) bool
    if taken_family(forward_shape.model).prefix:
        return _prefix_batch(acting, regions, forward_shape)
    return RegionalReferencesBatch(rows, strength, regions, forward_shape)


def _prefix_batch(
    acting: ActingReferences, regions: Tensor | None, forward_shape: ForwardShape
) -> PrefixReferencesBatch:
    """The batch of a forward in a family whose references stand in a prefix. regions: (regions, tokens) bool."""
    rows, strength = acting
    cells = cells_per_token(forward_shape.model)
    tokens = tokens_of(forward_shape.model, forward_shape.latent)
    readings: dict[RegionalReferences, TargetReading] = {}
    for of_row in rows:
        if of_row not in readings:
            read = read_references(of_row, cells)
            owners = owners_of(of_row)
            readings[of_row] = TargetReading(read, owners, regions, tokens, of_row.everybody_outside, strength)
    return PrefixReferencesBatch([readings[of_row] for of_row in rows], forward_shape)


REFERENCES_BY_REGION = Kind(RegionalReferences.key, _batch)
"""References of people that are read by region and by weight."""


class RegionalReferencesBatch(SplitBatch):
    """The attention of one forward, in which tokens read references by region and by weight.

    rows: what each row of the batch carries. strength: how far references are limited to regions at this step, 0..1.
    regions: (regions, picture tokens) bool; None at a strength of 0.
    """

    def __init__(
        self,
        rows: Sequence[RegionalReferences],
        strength: float,
        regions: Tensor | None,
        forward_shape: ForwardShape,
    ) -> None:
        super().__init__(forward_shape)
        regional = rows[0]
        self._rows = rows
        self._strength = strength
        self._regions = regions
        self._device = forward_shape.device
        self._owners = owners_of(regional)
        self._shown = regional.shown if any(regional.shown) else ()
        self._cells = cells_per_token(forward_shape.model)
        kept = [reference.kept for reference in regional.references if reference.kept is not None]
        self._keeps_by_row = any(len(of_reference) > 1 for of_reference in kept)
        # Whether the text's refiners read what the text shows of references by their weight.
        self._weighs_in_refiners = bool(self.family.refiners) and any(regional.shown) and regional.record.is_weighted

    def in_tokens(self, before: Tokens) -> Tokens:
        tokens = super().in_tokens(before)
        if self._shown:
            tokens = tokens.with_shown(self._shown)
        # Words and LoRAs of people act on their references only where references are limited to regions.
        return tokens.with_owners(self._owners) if self._strength > 0 else tokens

    def get_ready(self, tokens: Tokens) -> None:
        for queries in {tokens.count, tokens.text_count + tokens.drawn_count}:
            self._of_block(tokens, queries)
        if self._weighs_in_refiners:
            self._of_refiner(tokens, tokens.text_count)

    def options_for_network(self, options: Options, tokens: Tokens) -> Options:
        return with_reading(super().options_for_network(options, tokens), self)

    def split(self, queries: int, keys: int, options: Options) -> AnySplit | None:
        """How an attention of the host is split; None for one over other tokens than text, picture and references.

        A split of a block is counted. queries, keys: how many the attention has. options: its transformer_options.
        Raises TokensChanged where another node has changed the number of tokens of the picture, or added keys.
        """
        tokens: Tokens = options[TOKENS]
        pictures = tokens.count - tokens.text_count
        # FluxKVCache takes the references out after the first step and keeps their keys: then only the picture is left.
        if tokens.picture_count not in (tokens.drawn_count, pictures):
            raise TokensChanged(tokens.picture_count, pictures)
        if queries in (tokens.text_count + tokens.drawn_count, tokens.count):
            if keys > tokens.count:  # another node has added keys
                raise TokensChanged(keys, tokens.count)
            if keys == tokens.count:
                self.calls.count()
                return self._of_block(tokens, queries)
        # In front of the blocks all tokens read all others, but what the text shows weighted. Krea 2 first lets the
        # layers of each token of a text read each other: these are fewer than a text with a picture has.
        is_refiners = queries == keys == tokens.text_count
        return self._of_refiner(tokens, keys) if self._weighs_in_refiners and is_refiners else None

    def _of_block(self, tokens: Tokens, queries: int) -> AnySplit:
        """In most attentions all tokens are queries. With FluxKVCache text and picture alone are queries, and the
        references behind them are only read."""
        key = "references in a block", queries
        if key not in tokens.splits:
            tokens.splits[key] = self._made(tokens.with_owners(self._owners).spans, queries)
        return tokens.splits[key]

    def _of_refiner(self, tokens: Tokens, text: int) -> AnySplit:
        """text: of all texts."""
        key = "references in a refiner", text
        if key not in tokens.splits:
            tokens.splits[key] = self._made(tokens.with_owners(self._owners).texts, text)
        return tokens.splits[key]

    @untraced  # words of Prompt per Person make the text longer, and how long is known in a forward only
    def _made(self, spans: Sequence[Span], queries: int) -> AnySplit:
        """A new split of an attention over these tokens, ready on the device. queries: how many of them ask."""
        # Rows differ in weights and in what they keep alone, see RegionalReferences.has_same_people.
        regional = self._rows[0]
        attentions = mixed(self._regions, self._strength, regional.everybody_outside)
        groups_of_rows: list[tuple[Group, ...]] = []
        groups_by_key: dict[object, tuple[Group, ...]] = {}
        for of_row in self._rows:
            # Rows with the same weights, that keep the same tokens of references, are split alike.
            key = of_row.weights, of_row.row if self._keeps_by_row else None
            if key not in groups_by_key:
                read = read_references(of_row, self._cells)
                groups: list[Group] = []
                for share, regions in attentions:
                    rule = ReferencesRule(read, regions, regional.record.isolated)
                    groups += groups_of(spans, spans, rule, share)
                groups_by_key[key] = tuple(groups)
            groups_of_rows.append(groups_by_key[key])
        split = split_for(groups_of_rows, queries, sum(span.count for span in spans))
        # Indices are copied to the device here, because torch.compile must not see the copy in a forward.
        split.on(self._device)
        return split


def read_references(of_row: RegionalReferences, cells: int) -> list[ReadReference]:
    """How a row of the batch reads every reference latent. cells: of a latent, to a side of a token."""
    read: list[ReadReference] = []
    for reference in of_row.references:
        weight = of_row.record.weight_of(reference, of_row.row)
        kept_tokens = _kept_tokens(reference, of_row.row, cells)
        read.append(ReadReference(reference.region, weight, reference.boost, kept_tokens))
    return read


def _kept_tokens(reference: ReferenceLatent, row: int | None, cells: int) -> Tensor | None:
    """Which tokens of a reference a row of the batch reads, (tokens,) bool; None for all of them. cells: as above."""
    if reference.kept is None:
        return None
    kept_pixels = reference.kept[(row or 0) % len(reference.kept)][None]  # (1, h, w)
    height, width = kept_pixels.shape[1:]
    shares = on_tokens(kept_pixels, height, width, cells)[0].flatten()  # (tokens,), how much of each is kept
    kept_tokens = belongs(shares)  # those of which enough is kept
    # At least one token is read, also where what is kept is narrower than a token: the one of which most is kept.
    return kept_tokens if kept_tokens.any() else shares == shares.max()


def owners_of(regional: RegionalReferences) -> tuple[str | None, ...]:
    """Whose each reference latent of a forward is, by names that other nodes know; None for nobody's, and "" for one
    that in each row shows another person, who is one for all references within the row."""
    record = regional.record
    names_apart = present_in(record.cast).names_apart  # people of one name have different ones here
    owners: list[str | None] = []
    for reference in regional.references:
        of_person = None if reference.owner is None else names_apart[reference.owner]  # an index into those present
        owners.append("" if reference.of_rows else of_person)
    return tuple(owners)
