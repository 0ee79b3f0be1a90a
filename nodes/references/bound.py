"""References by region: what each part of a picture reads of the reference pictures, in a MODEL with a joint attention.

A picture token in somebody's region reads text, picture and that person's references, one outside nobody's or
everybody's; a reference reads text, picture and those of its own person; text reads no person. What belongs to nobody
(a room, a pose) is read by all.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from comfy.samplers import CFGGuider
from torch import Tensor
from typing_extensions import Self

from ...bridge.carried import Carried, CarriedCond, ConditioningLost, cut_regions, put
from ...bridge.conditioning import Canvas, Conditioning
from ...bridge.dit import TOKEN, Attention, around_attention, tokens_of
from ...bridge.runs import Batch, Given, Run, entries
from ...bridge.unet import Options, pixels_of, with_patch
from ...core.errors import LikenessError, counted
from ...core.places.regions import BadRegion
from .encoding import REFERENCES, PeopleReferences, whose
from .net import Group, Plan, Tokens, attended, groups, on_tokens

_PLAN = "likeness_bound_references_plan"
"""Of transformer_options inside of a forward: the Plan for its tokens."""


class ReferencesMissing(LikenessError):
    """Conditioning in which nobody's references are."""


class ReferencesReplaced(LikenessError):
    """References that are no longer in the conditioning at the sampler."""


class TokensChanged(LikenessError):
    """A node of another pack that adds tokens to a picture and its references, or takes some away."""

    def __init__(self, found: int, known: int) -> None:
        super().__init__(
            f"Another node on this MODEL has made {found} tokens of the {known} that this picture and its references "
            "have, so their people are unknown.",
            "Take that node out, or References by Region.",
        )


@dataclass(frozen=True, eq=False)
class BoundReferences(Carried):
    """What one node says of one record of references; the same object on both sides of the conditioning.

    record: which latents are whose. regions: (people, H, W), 0..1, of the whole picture, of present(cast).people.
    names: theirs. strength: 0..1. everybody: what picture tokens outside of all regions read of people, all or nothing.
    canvas: what the regions are parts of. owners: per reference latent of the entry the number of its person or None,
    once a run has begun.
    """

    key = "likeness_bound_references"
    record: PeopleReferences
    regions: Tensor
    names: tuple[str, ...]
    strength: float
    everybody: bool
    canvas: Canvas
    owners: tuple[int | None, ...] = ()

    @property
    def active(self) -> bool:
        return True

    @property
    def placed(self) -> bool:
        return True

    def alike(self, other: Any) -> bool:
        return self is other

    def cut(self, area: Sequence[int], latent: Sequence[int]) -> Self:
        return replace(self, regions=cut_regions(self.regions, area, latent))

    def known(self, entry: Mapping[str, Any]) -> Self:
        """In an entry with these options. Raises ReferencesReplaced."""
        owners = whose({**entry, REFERENCES: self.record})
        bound, found = (sum(one is not None for one in each) for each in (self.record.people, owners))
        if missing := bound - found:
            raise ReferencesReplaced(
                f"Of {counted(bound, 'reference')} of people, {missing} {'is' if missing == 1 else 'are'} no longer in "
                "the conditioning: a node behind References by Region has replaced them, so their people are unknown.",
                "Put that node in front of Cast as References, or take it out.",
            )
        return self.piece(owners, lambda: replace(self, owners=owners))

    def on_tokens(self, height: int, width: int) -> Tensor:
        """(people, rows, columns) bool of a picture of this size in pixels."""
        return on_tokens(self.regions, height, width, TOKEN)

    def check(self, height: int, width: int) -> None:
        """For a picture of this size in pixels: raise BadSize for another shape, and BadRegion for somebody who has no
        token of it."""
        self.canvas.check((self.regions.shape[2], self.regions.shape[1]), (width, height))
        check_tokens(self.on_tokens(height, width), self.names, height, width)


def check_tokens(found: Tensor, names: Sequence[str], height: int, width: int) -> None:
    """Raise BadRegion for somebody without a token, of (people, rows, columns) bool."""
    for one, name in zip(found, names, strict=True):
        if not one.any():
            why = f"of a picture of {width}x{height} px it covers no token ({TOKEN}x{TOKEN} px) by half"
            raise BadRegion(name, why, "Raise margin, paint a larger mask, or use a larger picture.")


def bound(
    sides: Sequence[Conditioning], make: Callable[[PeopleReferences], BoundReferences], node: str
) -> list[Conditioning]:
    """Every entry that has people's references with what `make` says of them, the same for one record.

    Raises ReferencesMissing where none comes from Cast as References; there everybody may have weight 0."""
    made = dict[int, BoundReferences]()

    def said(entry: list[Any]) -> list[Any]:
        record: PeopleReferences | None = entry[1].get(REFERENCES)
        if record is None or all(one is None for one in record.people):
            return entry
        if id(record) not in made:
            made[id(record)] = make(record)
        return put([entry], made[id(record)])[0]

    found = [[said(entry) for entry in side] for side in sides]
    if not any(REFERENCES in options for side in sides for _, options in side):
        raise ReferencesMissing(
            f"{node} finds no references of the cast: neither positive nor negative comes from Cast as References.",
            "Put Cast as References in front of it; other conditioning nodes may stand between.",
        )
    return found


class BoundReferencesRun(Run):
    """One sampling run of a MODEL that reads references by region."""

    key = BoundReferences.key

    def __init__(self, guider: CFGGuider, latent: Tensor) -> None:
        for entry in entries(guider, self.key):
            conds = entry["model_conds"]
            known = tuple(one.known(entry) for one in conds[self.key].cond)
            entry["model_conds"] = {**conds, self.key: CarriedCond(known)}
        super().__init__(guider, latent)
        self._batches: dict[Hashable, BoundBatch] = {}
        pixels = pixels_of(guider.model_patcher.model)
        for one in self.everything(guider):
            one.check(*(pixels * side for side in self.latent))

    def batch(self, chunks: tuple[tuple[BoundReferences, ...], ...], given: Given) -> BoundBatch | None:
        """Of several that are on at this step the last one counts."""
        on = [each for each in zip(*chunks, strict=True) if each[0].is_on(given.sigmas)]
        if not on or not given.references:
            return None
        last, *others = on[-1]
        if any(other is not last for other in others) or len(last.owners) != len(given.references):
            raise ConditioningLost(self._around, "joins rows whose references belong to different people")
        counts = tuple(tokens_of(given.model, one) for one in given.references)
        what = last, given.x.shape, counts, given.x.device
        if what not in self._batches:
            height, width = (pixels_of(given.model) * side for side in given.x.shape[-2:])
            regions = last.on_tokens(height, width).flatten(1)
            frames = tokens_of(given.model, given.x) // regions.shape[1]
            self._batches[what] = BoundBatch(last, regions.repeat(1, frames), counts, len(given.x), given.x.device)
        self._batches[what].plan(given.context.shape[1])  # ready before anything that torch.compile sees
        return self._batches[what]


class BoundBatch(Batch):
    """Attention in which queries read references by region.

    regions: (people, picture tokens) bool. counts: tokens of each reference.
    """

    def __init__(
        self, said: BoundReferences, regions: Tensor, counts: tuple[int, ...], rows: int, device: torch.device
    ) -> None:
        self.rows, self._said, self._regions, self._counts, self._device = rows, said, regions, counts, device
        self._plans: dict[int, Plan] = {}

    def plan(self, text: int) -> Plan:
        """For so many tokens of text."""
        if text not in self._plans:
            tokens = Tokens(text, self._regions.shape[1], self._counts)
            split = groups(tokens, self._regions, self._said.owners, self._said.everybody)
            self._plans[text] = Plan(tokens, split, self._device)
        return self._plans[text]

    def around(self, options: Options) -> Options:
        return around_attention(with_patch(options, "post_input", self.seen), self.attended)

    def seen(self, given: Options) -> Options:
        """The host's post_input patch, behind those of others: what the blocks are given."""
        plan, found = self.plan(given["txt"].shape[1]), given["img"].shape[1]
        references = sum(plan.tokens.references)
        if found not in (plan.tokens.picture, plan.tokens.picture + references):
            raise TokensChanged(found, plan.tokens.picture + references)
        given["transformer_options"][_PLAN] = plan
        return given

    def attended(self, attend: Attention, q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """An attention of the host's. One that is not over text, picture and references passes through."""
        plan: Plan | None = kwargs.get("transformer_options", {}).get(_PLAN)
        inside = 2 if kwargs.get("skip_reshape") else 1
        whole = q.shape[inside], k.shape[inside]
        split = plan.of(*whole) if plan else ()
        if plan and whole[0] in (plan.tokens.own, plan.tokens.all) and whole[1] > plan.tokens.all:
            raise TokensChanged(whole[1], plan.tokens.all)
        if not split:
            return attend(q, k, v, *args, **kwargs)

        def of(group: Group, *qkv: Tensor) -> Tensor:
            some, named = _masked(group, whole, args, kwargs)
            return attend(*qkv, *some, **named)

        found = attended(split, q, k, v, of, inside, 2 if kwargs.get("skip_output_reshape") else 1)
        if self._said.strength == 1:
            return found
        return torch.lerp(attend(q, k, v, *args, **kwargs), found, self._said.strength)


def _masked(
    group: Group, whole: tuple[int, int], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What an attention of so many (queries, keys) is given behind q, k and v, with the mask of a group.

    args: heads, mask and more. A mask's last dimensions are queries and keys, or 1 where it is the same for all."""
    mask: Tensor | None = args[1] if len(args) > 1 else kwargs.get("mask")
    if mask is None:
        return args, kwargs
    for dim, numbers in zip((-2, -1), group, strict=True):
        if numbers is not None and mask.shape[dim] == whole[dim]:
            mask = mask.index_select(dim, numbers)
    return ((args[0], mask, *args[2:]), kwargs) if len(args) > 1 else (args, {**kwargs, "mask": mask})
