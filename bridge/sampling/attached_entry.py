"""The mark of a conditioning entry that has a ControlNet of ours: by it the net knows whose the rows of a forward are.

The host asks a ControlNet for the rows of several entries at once, and tells it nothing of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from ...core.checks.errors import WrongBaseModel
from ..host.schedule import WHOLE_SCHEDULE
from ..host.unet import advice_on, unet_of
from .areas import Area, area_of
from .carried import Carried, carried_by_chunk, carried_in
from .conditioning import ID_TOKENS, IDTokens, RunEntry
from .node_of_run import Canvas, Pictures
from .runs import Kind, Run

CHANNELS = 8
"""How many channels of a token are compared to see whether ID tokens have changed."""


def sample_of(context: Tensor, tokens: IDTokens) -> Tensor:
    """The first channels of the ID tokens in a text: (1, ID tokens, CHANNELS). context: the text, (B, T, width)."""
    end = tokens.start + tokens.people_count * tokens.tokens_per_person
    # Of the first row alone, which is enough to see that another node has changed the tokens.
    return context[:1, tokens.start : end, :CHANNELS]


@dataclass(frozen=True, eq=False)
class AttachedEntry(Carried):
    """A conditioning entry as it was when a net of ours was attached.

    block_count: how many input blocks of a UNet the net has residuals for.
    tokens: where ID tokens stand in its text, or None.
    sample: the first channels of these tokens, (1, ID tokens, CHANNELS). By them a run sees whether the tokens are
    still the same. All channels would tell no more, and a run would hold a copy of them.
    area: the area of the picture that its rows show, or None for the whole picture. latent: with an area, the size of
    the whole latent, or () where no run of ours knows it.
    """

    key = "likeness_attached"
    is_for_nets = True
    block_count: int
    tokens: IDTokens | None
    sample: Tensor | None
    area: Area | None = None
    latent: tuple[int, ...] = ()

    @classmethod
    def of_entry(
        cls, text: Tensor, options: Mapping[str, Any], block_count: int, canvas: Canvas, poses: Pictures
    ) -> AttachedEntry:
        """An entry as it is now. text: (B, T, width). options: of the entry. canvas, poses: of the hint."""
        tokens: IDTokens | None = options.get(ID_TOKENS)
        sample = None if tokens is None else sample_of(text, tokens).clone()
        return cls(object(), WHOLE_SCHEDULE, block_count, tokens, sample, canvas=canvas, poses=poses)

    @property
    def active(self) -> bool:
        return False

    @property
    def by_place(self) -> bool:
        return True

    def begin(self, run: Run) -> None:
        """Raise WrongBaseModel unless the MODEL has a UNet with the blocks that the net has residuals for.

        The host itself raises nothing: it leaves out the residuals for which there is no block.
        """
        block_count = len(unet_of(run.model).input_blocks)
        if self.block_count != block_count:
            name = type(run.model.model.model_config).__name__
            advice = "Use a MODEL with SDXL's blocks: SDXL, Turbo, Lightning, LCM, SSD-1B, Vega and their fine-tunes."
            raise WrongBaseModel(
                "The ControlNet",
                f"a UNet of {self.block_count} input blocks",
                f"one of {block_count} ({name})",
                advice_on(run.model, advice),
            )

    def can_join_batch(self, other: Any) -> bool:
        """Rows of one area are computed together, those of several are not: the hint is cut for all of them."""
        return self.area == other.area

    def cut(self, area: Sequence[int], latent: Sequence[int]) -> Self:
        return replace(self, area=area_of(area), latent=tuple(latent))


def _no_batch(*_: Any) -> None:
    """An AttachedEntry is never active: the MODEL reads nothing of it."""


ATTACHED_ENTRIES = Kind(AttachedEntry.key, _no_batch)
"""Entries with nets of ours. A run holds MODEL and latent against them, and the nets find their rows by them."""


def attached_entries(cond: Mapping[str, Any], options: Mapping[str, Any]) -> list[AttachedEntry]:
    """The entries of the rows of a forward, one for each chunk of the batch. [] for rows that have no net of ours.

    cond, options: as a ControlNet is given them, see carried_by_chunk.
    """
    by_chunk: list[tuple[AttachedEntry, ...]] = carried_by_chunk(cond, options, AttachedEntry.key)
    return [of_nodes[-1] for of_nodes in by_chunk if of_nodes]  # as it was for the last net


def holds_id_tokens(entry: RunEntry) -> bool:
    """Whether the text of an entry still holds the ID tokens that it had when a net of ours was attached.

    True for an entry without ID tokens, and without a net of ours. Of all tokens a sample is compared.
    """
    attached: tuple[AttachedEntry, ...] = carried_in(entry, AttachedEntry.key)
    if not attached or attached[-1].tokens is None or attached[-1].sample is None:
        return True
    sample = sample_of(entry["cross_attn"], attached[-1].tokens)
    if sample.shape != attached[-1].sample.shape:
        return False
    return torch.allclose(sample, attached[-1].sample.to(sample), rtol=1e-3, atol=1e-5)
