"""References of people that are read by region: what conditioning carries of them, and a sampling run that reads it.

In models that take references, text, picture and references are one sequence, and every token attends to all of it. By
region this joint attention is split:

    tokens of                                   read text, picture, references of no person, and
    a person's region                           this person's references; where two regions overlap, those of both
    the picture outside of all regions          nothing else, or all references
    a person's reference                        the same person's references
    the text, or a reference of no person       nothing else

A reference of no person is a room, a pose, or what another node adds to the conditioning. net.py holds the formulas.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from comfy.samplers import CFGGuider
from torch import Tensor
from typing_extensions import Self

from ...bridge.canvas import Canvas
from ...bridge.carried import Carried, CarriedCond, ConditioningLost
from ...bridge.runs import Batch, ForwardInput, Run, entries
from ...bridge.transformers.attention import with_reading
from ...bridge.transformers.networks import TOKEN, tokens_of
from ...bridge.unet import Options, pixels_of, with_patch
from ...core.errors import BadSetup, LikenessError, counted
from ...core.places.person_region import BadRegion
from ...core.token_groups import Split
from .encoding import REFERENCES, PeopleReferences, latent_owners
from .net import Plan, Tokens, groups, on_tokens

_PLAN = "likeness_regional_references_plan"
"""Key of transformer_options inside of a forward: the Plan for its tokens."""


class TokensChanged(LikenessError):
    """A node of another pack adds tokens to a picture and its references, or takes some away."""

    def __init__(self, tokens: int, expected: int) -> None:
        super().__init__(
            f"Another node on this MODEL has made {tokens} tokens of the {expected} that this picture and its "
            "references have, so their people are unknown.",
            "Take that node out, or disconnect model of People as References.",
        )


@dataclass(frozen=True, eq=False)
class RegionalReferences(Carried):
    """The references of one node, and where each person's are read. Both sides of the conditioning carry this object.

    record: the latents and their people. regions: (people, H, W), 0..1, of the whole picture, in the order of
    present(cast).people. names: those people's. strength: 0..1, of the limit to regions. everybody_outside: whether
    picture tokens outside of all regions read the references of all people, or of none. canvas: what the regions are
    parts of. owners: for every reference latent of the entry the number of its person, or None for one that everybody
    reads. They are known when a run has begun.
    """

    key = "likeness_regional_references"
    record: PeopleReferences
    regions: Tensor
    names: tuple[str, ...]
    strength: float
    everybody_outside: bool
    canvas: Canvas = field(kw_only=True)
    owners: tuple[int | None, ...] = ()

    def can_join_batch(self, other: Any) -> bool:
        return self is other

    def with_owners(self, entry: Mapping[str, Any]) -> Self:
        """The same for the reference latents that an entry of a guider's conditioning has. Raises BadSetup where the
        entry lacks some of this record's, because another node has replaced them."""
        owners = latent_owners({**entry, REFERENCES: self.record})
        expected = _count_of_people(self.record.people)
        missing = expected - _count_of_people(owners)
        if missing:
            are = "is" if missing == 1 else "are"
            raise BadSetup(
                f"Of {counted(expected, 'reference')} of people, {missing} {are} no longer in the conditioning: a node "
                "behind People as References has replaced them, so their people are unknown.",
                "Take that node out, or disconnect model of People as References.",
            )
        # Runs know a carried object again by itself, so the one for these owners is made once.
        return self.made_once(owners, lambda: replace(self, owners=owners))

    def on_tokens(self, height: int, width: int) -> Tensor:
        """The regions on the tokens of a picture of this size in pixels: (people, rows, columns) bool."""
        return on_tokens(self.regions, height, width, TOKEN)

    def check(self, height: int, width: int) -> None:
        """Raise BadSize where a picture of this size in pixels has another shape than the canvas, and BadRegion where a
        person has no token of it."""
        canvas_height, canvas_width = self.regions.shape[1:]  # (people, H, W)
        canvas_size = (canvas_width, canvas_height)
        self.canvas.check(canvas_size, (width, height))
        tokens = self.on_tokens(height, width)
        check_tokens(tokens, self.names, height, width)


def _count_of_people(owners: Sequence[int | None]) -> int:
    """How many references belong to a person."""
    return sum(owner is not None for owner in owners)


def check_tokens(tokens: Tensor, names: Sequence[str], height: int, width: int) -> None:
    """Raise BadRegion for a person without a token. tokens: (people, rows, columns) bool, of a picture of this size in
    pixels. names: of these people."""
    for persons_tokens, name in zip(tokens, names, strict=True):
        if not persons_tokens.any():
            why = f"of a picture of {width}x{height} px it covers no token ({TOKEN}x{TOKEN} px) by half"
            raise BadRegion(name, why, "Raise margin, paint a larger mask, or use a larger picture.")


class RegionalReferencesRun(Run):
    """One sampling run of a MODEL that reads references by region."""

    key = RegionalReferences.key

    def __init__(self, guider: CFGGuider, latent: Tensor) -> None:
        for entry in entries(guider, self.key):
            conds = entry["model_conds"]
            regional = tuple(carried.with_owners(entry) for carried in conds[self.key].cond)
            entry["model_conds"] = {**conds, self.key: CarriedCond(regional)}
        super().__init__(guider, latent)
        self._batches: dict[Hashable, RegionalReferencesBatch] = {}
        pixels = pixels_of(guider.model_patcher.model)
        height, width = self.latent
        for carried in self.everything(guider):
            carried.check(pixels * height, pixels * width)

    def batch_for_forward(
        self, chunks: tuple[tuple[RegionalReferences, ...], ...], forward_input: ForwardInput
    ) -> "RegionalReferencesBatch | None":
        """The attention of a forward; None where no reference is limited to a region at this step.

        chunks: what each conditioning entry carries: one object, as People as References encodes its own prompts.
        """
        regional, *regional_of_others = [carried for (carried,) in chunks]
        if not forward_input.references or not self.is_on(regional, forward_input.sigmas):
            return None
        differ = any(carried is not regional for carried in regional_of_others)
        if differ or len(regional.owners) != len(forward_input.references):
            raise ConditioningLost(self._code_around_model, "joins rows whose references belong to different people")
        counts = tuple(tokens_of(forward_input.model, reference) for reference in forward_input.references)
        key = regional, forward_input.x.shape, counts, forward_input.x.device
        if key not in self._batches:
            self._batches[key] = self._make_batch(regional, counts, forward_input)
        batch = self._batches[key]
        # It has to lie ready before anything that torch.compile sees.
        batch.plan(forward_input.context.shape[1])
        return batch

    def _make_batch(
        self, regional: RegionalReferences, counts: tuple[int, ...], forward: ForwardInput
    ) -> "RegionalReferencesBatch":
        """The attention of a forward. counts: tokens of each reference."""
        pixels = pixels_of(forward.model)  # of a latent pixel's side
        height, width = forward.x.shape[-2:]
        regions = regional.on_tokens(pixels * height, pixels * width).flatten(1)  # (people, tokens of a frame)
        frames = tokens_of(forward.model, forward.x) // regions.shape[1]
        regions = regions.repeat(1, frames)  # (people, tokens)
        return RegionalReferencesBatch(regional, regions, counts, len(forward.x), forward.x.device)


class RegionalReferencesBatch(Batch):
    """The attention of one forward, in which tokens read references by region.

    regions: (people, picture tokens) bool. counts: tokens of each reference. rows: of the batch. device: where the
    attention is computed.
    """

    def __init__(
        self,
        regional: RegionalReferences,
        regions: Tensor,
        counts: tuple[int, ...],
        rows: int,
        device: torch.device,
    ) -> None:
        self.row_count = rows
        self._regional = regional
        self._regions = regions
        self._counts = counts
        self._device = device
        self._plans: dict[int, Plan] = {}

    def plan(self, text: int) -> Plan:
        """How attention is split for so many tokens of text."""
        if text not in self._plans:
            regional = self._regional
            tokens = Tokens(text, picture=self._regions.shape[1], references=self._counts)
            full_strength = groups(tokens, self._regions, regional.owners, regional.everybody_outside)
            self._plans[text] = Plan(tokens, full_strength, self._device, regional.strength)
        return self._plans[text]

    def options_with_attention(self, options: Options) -> Options:
        return with_reading(with_patch(options, "post_input", self.with_plan), self)

    def with_plan(self, inputs: Options) -> Options:
        """The host's post_input patch, behind those of others: what the blocks are given, with the plan for it.

        inputs: `txt` (B, text tokens, C), `img` (B, tokens of picture and references, C), `transformer_options`.
        Raises TokensChanged.
        """
        plan = self.plan(inputs["txt"].shape[1])
        picture = plan.tokens.picture
        picture_and_references = picture + sum(plan.tokens.references)
        tokens = inputs["img"].shape[1]
        # FluxKVCache takes the references out after the first step and keeps their keys.
        if tokens not in (picture, picture_and_references):
            raise TokensChanged(tokens, picture_and_references)
        inputs["transformer_options"][_PLAN] = plan
        return inputs

    def split(self, queries: int, keys: int, options: Options) -> Split | None:
        """How an attention of the host's over so many tokens is split, or None where it is not one over text, picture
        and references. Raises TokensChanged."""
        plan: Plan | None = options.get(_PLAN)
        if plan is None:
            return None
        if queries in (plan.tokens.without_references, plan.tokens.total) and keys > plan.tokens.total:
            raise TokensChanged(keys, plan.tokens.total)
        return plan.of(queries, keys)
