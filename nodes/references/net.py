"""Attention over text, picture and reference pictures in one, in which not everybody reads every reference.

Split by queries instead of masked, see core.token_groups.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor

from ...core.token_groups import Group, Split


class Tokens(NamedTuple):
    """How many of each stand in an attention, in this order. references: of each of them."""

    text: int
    picture: int
    references: tuple[int, ...]

    @property
    def own(self) -> int:
        """Of text and picture."""
        return self.text + self.picture

    @property
    def all(self) -> int:
        return self.own + sum(self.references)


def on_tokens(regions: Tensor, height: int, width: int, side: int) -> Tensor:
    """Regions (people, H, W), 0..1, of a picture of this size in pixels, as (people, rows, columns) bool of its tokens.

    side: of a token, in pixels. A token belongs to whoever has at least half of it; of one that reaches beyond the
    edge, what is in the picture counts.
    """
    if regions.shape[1:] != (height, width):
        regions = functional.interpolate(regions[:, None].float(), size=(height, width), mode="area")[:, 0]
    beyond = (0, -width % side, 0, -height % side)
    padded = functional.pad(regions[:, None].float(), beyond, mode="replicate")
    return functional.avg_pool2d(padded, side)[:, 0] >= 0.5


def groups(tokens: Tokens, regions: Tensor, whose: Sequence[int | None], everybody: bool) -> tuple[Group, ...]:
    """Which queries read which keys, so that a person's reference is read in their region and by itself alone.

    regions: (people, picture tokens) bool. whose: for every reference the number of a person, or None: read by all,
    and reading no person. everybody: what a picture token outside of all regions reads of people, all or nothing.
    Text reads no person.
    """
    owners = torch.tensor([-1 if one is None else one for one in whose], dtype=torch.long)
    allowed = functional.pad(regions, (0, 0, 0, 1))  # nobody has no region
    if everybody:
        allowed = allowed | ~regions.any(dim=0)
    asking = torch.cat(
        [
            torch.zeros(tokens.text, len(owners), dtype=torch.bool),
            allowed[owners].T,
            (owners[:, None] == owners).repeat_interleave(torch.tensor(tokens.references), dim=0),
        ]
    )
    reads = asking | (owners < 0)
    rows: list[list[bool]] = reads.tolist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return tuple(_group(tokens, reads, torch.tensor(one)) for one in sorted(set(map(tuple, rows))))


def _group(tokens: Tokens, reads: Tensor, allowed: Tensor) -> Group:
    """Of all queries, reads: (queries, references) bool, those that read just these, allowed: (references,) bool."""
    queries = (reads == allowed).all(dim=1).nonzero()[:, 0]
    if allowed.all():
        return Group(queries, None)
    own = torch.ones(tokens.own, dtype=torch.bool)
    keys = torch.cat([own, allowed.repeat_interleave(torch.tensor(tokens.references))])
    return Group(queries, keys.nonzero()[:, 0])


class Plan:
    """How the attention over these tokens is split, ready on a device.

    read: what is read at strength 1. Below that the rest of what comes out is that of an attention in which everybody
    reads everything.
    """

    def __init__(self, tokens: Tokens, read: Sequence[Group], device: torch.device, strength: float = 1) -> None:
        self.tokens = tokens
        self._splits: dict[int, Split] = {}
        # Some nodes keep the references' keys of an earlier step: then references are read, but ask nothing.
        for queries in (tokens.all, tokens.own):
            split = Split(tuple(_asking(read, queries, strength)), tokens.all)
            split.on(device)  # before anything that torch.compile sees
            self._splits[queries] = split

    def of(self, queries: int, keys: int) -> Split | None:
        """For an attention of so many; None where it is not one over these tokens."""
        if keys != self.tokens.all:
            return None
        return self._splits.get(queries)


def _asking(read: Sequence[Group], queries: int, strength: float) -> Iterator[Group]:
    """The groups of the first so many queries, with a strength below 1 beside a group that reads everything."""
    for group in read:
        asking = group.queries[group.queries < queries]
        if len(asking):
            shares = None if strength == 1 else torch.full((len(asking),), strength)
            yield Group(asking, group.keys, shares)
    if strength != 1:
        yield Group(torch.arange(queries), None, torch.full((queries,), 1 - strength))
