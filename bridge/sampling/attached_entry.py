"""The mark of a conditioning entry that has a ControlNet of ours: by it the net knows whose the rows of a forward are.

The host asks a ControlNet for the rows of several entries at once, and tells it nothing of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from typing_extensions import Self

from ...core.checks.errors import WrongBaseModel
from ..host.unet import advice_on, unet_of
from .areas import Area, area_of
from .carried import Carried, carried_by_chunk, carried_in
from .conditioning import IDTokens, RunEntry
from .runs import Kind, Run


@dataclass(frozen=True, eq=False)
class AttachedEntry(Carried):
    """A conditioning entry as it was when a net of ours was attached.

    block_count: how many input blocks of a UNet the net has residuals for.
    tokens: where ID tokens stand in its text, or None. is_text_changed: whether another node has changed it since.
    area: the area of the picture that its rows show, or None for the whole picture. latent: with an area, (height,
    width) of the whole latent.
    """

    key = "likeness_attached"
    is_for_nets = True
    block_count: int
    tokens: IDTokens | None
    is_text_changed: bool = False
    area: Area | None = None
    latent: tuple[int, ...] = ()

    @property
    def active(self) -> bool:
        return False

    @property
    def by_place(self) -> bool:
        return True

    def beside_changed_text(self, factor: float | None) -> Self:
        is_as_before = factor is not None and math.isclose(factor, 1, rel_tol=1e-3)  # it may have been rounded
        return self if is_as_before else replace(self, is_text_changed=True)

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
    """Whether the text of an entry still holds the ID tokens that it had when nets of ours were attached.

    True for an entry without ID tokens, and without a net of ours.
    """
    attached: tuple[AttachedEntry, ...] = carried_in(entry, AttachedEntry.key)
    return not any(item.tokens is not None and item.is_text_changed for item in attached)
