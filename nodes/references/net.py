"""Attention over text, picture and reference pictures in one, in which not everybody reads every reference.

Split by queries instead of masked: those that read the same are asked together, of the keys that they read. No mask of
all tokens by all tokens is made, and what nobody reads is not computed. The same to float32's last digits.
The attention kernel is an argument: attend(queries, keys, q, k, v) -> what comes out for these.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor


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


class Group(NamedTuple):
    """Queries, and the keys that all of these read: their numbers, ascending, or None for all keys."""

    queries: Tensor
    keys: Tensor | None

    def to(self, device: torch.device) -> "Group":
        return Group(self.queries.to(device), None if self.keys is None else self.keys.to(device))


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
    """How the attention over these tokens is split, on a device. split: on the CPU, so that nothing waits for it.

    deaf: the groups where references are read, but ask nothing: some nodes keep their keys of an earlier step.
    """

    def __init__(self, tokens: Tokens, split: Sequence[Group], device: torch.device) -> None:
        own = [int((one.queries < tokens.own).sum()) for one in split]
        self.tokens, self.groups = tokens, tuple(one.to(device) for one in split)
        self.deaf = tuple(Group(one.queries[:n], one.keys) for one, n in zip(self.groups, own, strict=True) if n)

    def of(self, queries: int, keys: int) -> tuple[Group, ...]:
        """For an attention of so many; nothing where it is not one over these tokens."""
        if keys != self.tokens.all:
            return ()
        return {self.tokens.all: self.groups, self.tokens.own: self.deaf}.get(queries, ())


def attended(
    split: Sequence[Group],
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attend: Callable[[Group, Tensor, Tensor, Tensor], Tensor],
    inside: int,
    outside: int,
) -> Tensor:
    """What comes out of an attention that is split. inside, outside: the dimension in which tokens stand in q, k and v
    and in what attend gives back."""
    if len(split) == 1 and split[0].keys is None:
        return attend(split[0], q, k, v)
    out: Tensor | None = None
    for one in split:
        keys, values = (x if one.keys is None else x.index_select(inside, one.keys) for x in (k, v))
        part = attend(one, q.index_select(inside, one.queries), keys, values)
        if out is None:
            shape = list(part.shape)
            shape[outside] = q.shape[inside]
            out = part.new_empty(shape)
        out.index_copy_(outside, one.queries, part)
    assert out is not None
    return out
