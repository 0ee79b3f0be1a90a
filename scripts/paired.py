"""The same pictures made in two ways: whether the second way is better, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

_EXACT, _DRAWS = 16, 65536


@dataclass(frozen=True)
class Difference:
    """Of one figure, the second way less the first; each prompt is the mean of its pairs and counts once.

    mean: over prompts. low, high: where 95 % of the means of as many prompts lie, drawn from these with replacement. p:
    how often the mean would be as far from 0 if for each prompt a coin said which way is the first. up, down: prompts
    whose figure is higher, and lower, the second way.
    """

    mean: float
    low: float
    high: float
    p: float
    up: int
    down: int


def difference(prompts: Mapping[str, Sequence[tuple[float, float]]]) -> Difference:
    """prompts: by prompt its pairs, (first way, second way), at least one pair.

    p is exact for up to 16 prompts, of all 2 ** prompts throws; above, and for low and high, 65,536 seeded draws.
    """
    each = torch.tensor([fmean(b - a for a, b in pairs) for pairs in prompts.values()], dtype=torch.float64)
    count, mean = len(each), float(each.mean())
    drawn = each[torch.randint(count, (_DRAWS, count), generator=_seeded())].mean(1)
    low, high = (float(drawn.quantile(share)) for share in (0.025, 0.975))
    thrown = (_throws(count) * each).mean(1).abs()
    as_far = thrown >= abs(mean) - 1e-12  # which of two equal sums is larger is a matter of rounding
    return Difference(mean, low, high, float(as_far.double().mean()), int((each > 0).sum()), int((each < 0).sum()))


def _throws(count: int) -> Tensor:
    """(throws, count) of 1 and -1."""
    if count > _EXACT:
        return torch.randint(2, (_DRAWS, count), generator=_seeded()) * 2 - 1
    return (torch.arange(2**count)[:, None] >> torch.arange(count) & 1) * 2 - 1


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)
