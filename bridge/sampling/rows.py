"""It finds the conditioning entries from which the rows of a forward come, where a ControlNet of ours acts.

The host asks a ControlNet for the rows of several entries at once, and tells it nothing of them. So each entry has a
COND of ours, and the host joins the CONDs of a forward as it joins texts. The joined value has all entries of the
forward, in the order of the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import comfy.conds
import torch
from torch import Tensor

from .areas import Area, area_of
from .conditioning import ID_TOKENS, IDTokens, RunEntry

ATTACHED = "likeness_attached"
"""The key of an AttachedCond in the model_conds of entries that have a net of ours."""
CHANNELS = 8
"""How many channels of a token are compared to see whether ID tokens have changed."""


def sample_of(context: Tensor, tokens: IDTokens) -> Tensor:
    """The first channels of the ID tokens in a text: (1, ID tokens, CHANNELS). context: the text, (B, T, width)."""
    end = tokens.start + tokens.people_count * tokens.tokens_per_person
    # Of the first row alone, which is enough to see that another node has changed the tokens.
    return context[:1, tokens.start : end, :CHANNELS]


@dataclass(frozen=True, eq=False)
class AttachedEntry:
    """A conditioning entry as it was when a net of ours was attached.

    tokens: where ID tokens stand in its text, or None.
    sample: the first channels of these tokens, (1, ID tokens, CHANNELS). By them a run sees whether the tokens are
    still the same. All channels would tell no more, and a run would hold a copy of them.
    """

    tokens: IDTokens | None
    sample: Tensor | None

    @classmethod
    def of_entry(cls, text: Tensor, options: Mapping[str, Any]) -> AttachedEntry:
        """An entry as it is now. text: (B, T, width). options: of the entry."""
        tokens: IDTokens | None = options.get(ID_TOKENS)
        sample = None if tokens is None else sample_of(text, tokens).clone()
        return cls(tokens, sample)


@dataclass(frozen=True, eq=False)
class AttachedRows:
    """The rows of one forward that a net of ours acts in.

    entries: one for each chunk of the batch, in the order of the rows. area: the area of the picture that all of them
    show, or None for the whole picture.
    """

    entries: tuple[AttachedEntry, ...]
    area: Area | None


class AttachedCond(comfy.conds.CONDRegular):
    """A COND whose value is AttachedRows. Rows of one area are computed together, those of several are not."""

    cond: AttachedRows

    def process_cond(self, batch_size: int, area: Any = None, **_: Any) -> AttachedCond:
        """The COND for one forward, as the host asks for it. area: of the entry as the host has it, or None."""
        area_of_rows = None if area is None else area_of(area)
        return AttachedCond(AttachedRows(self.cond.entries, area_of_rows))

    def can_concat(self, other: AttachedCond) -> bool:
        return self.cond.area == other.cond.area

    def concat(self, others: Sequence[AttachedCond]) -> AttachedRows:
        """The rows of all these CONDs, whose entries follow each other as their rows do."""
        entries = tuple(entry for cond in (self, *others) for entry in cond.cond.entries)
        return AttachedRows(entries, self.cond.area)

    def size(self) -> list[int]:
        """The shape by which the host estimates the memory of this value, which takes next to none."""
        return [1]


def holds_id_tokens(entry: RunEntry) -> bool:
    """Whether the text of an entry still holds the ID tokens that it had when a net of ours was attached.

    True for an entry without ID tokens, and without a net of ours. Of all tokens a sample is compared.
    """
    attached: AttachedCond | None = entry["model_conds"].get(ATTACHED)
    if attached is None:
        return True
    (of_entry,) = attached.cond.entries  # entries are joined later, in forwards
    if of_entry.tokens is None or of_entry.sample is None:
        return True
    sample = sample_of(entry["cross_attn"], of_entry.tokens)
    if sample.shape != of_entry.sample.shape:
        return False
    return torch.allclose(sample, of_entry.sample.to(sample), rtol=1e-3, atol=1e-5)
