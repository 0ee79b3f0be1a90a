"""One attention over text, picture and reference pictures, in which a token does not read every reference.

The attention is split by queries and not masked: the queries that read the same keys are a group, and each group is an
attention of its own over its keys. So no mask of all tokens by all tokens is made, and what no token reads is not
computed. The result is that of a mask, to the last digits of float32.
The attention kernel is an argument, which is called once per group.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor


class Tokens(NamedTuple):
    """How many tokens stand in an attention: those of the text, then of the picture, then of each reference."""

    text: int
    picture: int
    references: tuple[int, ...]

    @property
    def without_references(self) -> int:
        return self.text + self.picture

    @property
    def total(self) -> int:
        return self.without_references + sum(self.references)


class Group(NamedTuple):
    """Queries that read the same keys.

    queries: (n,), the numbers of their tokens, ascending. keys: (m,), the numbers of the tokens that they read,
    ascending, or None where they read all.
    """

    queries: Tensor
    keys: Tensor | None

    def to(self, device: torch.device) -> "Group":
        return Group(self.queries.to(device), None if self.keys is None else self.keys.to(device))


def on_tokens(regions: Tensor, height: int, width: int, side: int) -> Tensor:
    """Regions (people, H, W), 0..1, of a picture of this size in pixels, as (people, rows, columns) bool of its tokens.

    side: of a token, in pixels. A token belongs to a person who has at least half of it; of a token that reaches beyond
    the edge, what is in the picture counts.
    """
    if regions.shape[1:] != (height, width):
        regions = functional.interpolate(regions[:, None].float(), size=(height, width), mode="area")[:, 0]
    beyond = (0, -width % side, 0, -height % side)  # left, right, top, bottom
    padded = functional.pad(regions[:, None].float(), beyond, mode="replicate")
    return functional.avg_pool2d(padded, side)[:, 0] >= 0.5


def groups(tokens: Tokens, regions: Tensor, owners: Sequence[int | None], everybody_outside: bool) -> tuple[Group, ...]:
    """Which queries read which keys, so that a person's reference is read in their region and by itself alone.

    All tokens read text and picture. Of the references,
    - the text reads those of no person,
    - a picture token reads those of no person, and those of every person in whose region it lies,
    - a token of a person's reference reads those of no person, and the same person's,
    - a token of a reference of no person reads those of no person.

    regions: (people, picture tokens) bool. owners: for every reference the number of its person, or None for one of no
    person. everybody_outside: whether a picture token outside of all regions reads all people's references, or none.
    """
    nobody = len(regions)
    owner_numbers = torch.tensor([nobody if owner is None else owner for owner in owners], dtype=torch.long)
    read_of_person = functional.pad(regions, (0, 0, 0, 1))  # (people + 1, picture tokens): `nobody` has no region
    if everybody_outside:
        read_of_person = read_of_person | ~regions.any(dim=0)
    same_owner = owner_numbers[:, None] == owner_numbers  # (references, references)
    read_by_text = torch.zeros(tokens.text, len(owners), dtype=torch.bool)
    read_by_picture = read_of_person[owner_numbers].T  # (picture tokens, references)
    read_by_references = same_owner.repeat_interleave(torch.tensor(tokens.references), dim=0)
    by_owner = torch.cat([read_by_text, read_by_picture, read_by_references])
    reads = by_owner | (owner_numbers == nobody)  # (all tokens, references)
    rows: list[list[bool]] = reads.tolist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    patterns = {tuple(row) for row in rows}
    return tuple(_group(tokens, reads, torch.tensor(pattern)) for pattern in sorted(patterns))


def _group(tokens: Tokens, reads: Tensor, pattern: Tensor) -> Group:
    """The queries that read just these references.

    reads: (queries, references) bool, which query reads which. pattern: (references,) bool, those that are read.
    """
    queries = (reads == pattern).all(dim=1).nonzero()[:, 0]
    if pattern.all():
        return Group(queries, None)
    text_and_picture = torch.ones(tokens.without_references, dtype=torch.bool)
    of_references = pattern.repeat_interleave(torch.tensor(tokens.references))
    keys = torch.cat([text_and_picture, of_references])  # (all tokens,)
    return Group(queries, keys.nonzero()[:, 0])


class Plan:
    """How the attention over these tokens is split into groups, on a device.

    groups: for an attention in which all tokens ask. groups_without_references: for one in which text and picture ask,
    and the references are only read. FluxKVCache makes such: after the first step it keeps the references' keys.
    """

    def __init__(self, tokens: Tokens, split: Sequence[Group], device: torch.device) -> None:
        """split: of `groups`, on the CPU, so that the numbers that are counted here need not come from a GPU."""
        self.tokens = tokens
        self.groups = tuple(group.to(device) for group in split)
        without_references: list[Group] = []
        for on_cpu, group in zip(split, self.groups, strict=True):
            # Numbers ascend, and references are the last: those of text and picture stand in front.
            count = int((on_cpu.queries < tokens.without_references).sum())
            if count:
                without_references.append(Group(group.queries[:count], group.keys))
        self.groups_without_references = tuple(without_references)

    def of(self, queries: int, keys: int) -> tuple[Group, ...]:
        """The groups of an attention of so many queries and keys; none where it is not over these tokens."""
        if keys != self.tokens.total:
            return ()
        if queries == self.tokens.total:
            return self.groups
        if queries == self.tokens.without_references:
            return self.groups_without_references
        return ()


def split_attention(
    split: Sequence[Group],
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attend: Callable[[Group, Tensor, Tensor, Tensor], Tensor],
    token_dim: int,
    output_token_dim: int,
) -> Tensor:
    """What comes out of an attention that is split into groups, for all queries in their order.

    attend: the kernel, (group, q, k, v of the group) -> what comes out for the group's queries. token_dim: the
    dimension of q, k and v in which the tokens stand. output_token_dim: the same of what comes out.
    """
    if len(split) == 1 and split[0].keys is None:
        return attend(split[0], q, k, v)
    out: Tensor | None = None
    for group in split:
        group_q = q.index_select(token_dim, group.queries)
        group_k = k
        group_v = v
        if group.keys is not None:
            group_k = k.index_select(token_dim, group.keys)
            group_v = v.index_select(token_dim, group.keys)
        group_out = attend(group, group_q, group_k, group_v)
        if out is None:
            shape = list(group_out.shape)
            shape[output_token_dim] = q.shape[token_dim]
            out = group_out.new_empty(shape)
        out.index_copy_(output_token_dim, group.queries, group_out)
    assert out is not None
    return out
