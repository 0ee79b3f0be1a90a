"""One attention over text, picture and reference pictures, in which each token reads only some of the references.

The attention is not masked. Its queries are divided into groups that read the same keys, and each group is an attention
of its own, see core.token_groups.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor

from .token_groups import Group, Split
from .token_layout import Span, TokenKind


def belongs(shares: Tensor) -> Tensor:
    """Whether a token of a picture belongs to a person, in the shape of `shares`: where at least half of it is theirs.

    shares: how much of each token lies in each person's region, as core.attention.on_tokens gives it.
    """
    return shares >= 0.5


def groups(
    spans: Sequence[Span], regions: Tensor, owners: Sequence[int | None], everybody_outside: bool
) -> tuple[Group, ...]:
    """The tokens divided into groups of queries that read the same keys.

    All tokens read text and picture. Of the references,
    - the text reads those of no person,
    - a picture token reads those of no person, and those of every person in whose region it lies,
    - a token of a person's reference reads those of no person, and the same person's,
    - a token of a reference of no person reads those of no person.

    spans: all tokens in their order. regions: (people, picture tokens) bool, whether a token lies in a person's region.
    owners: for every reference the index of its person, or None for a reference of no person. everybody_outside:
    whether a picture token outside of all regions reads all people's references, or none.
    """
    # References of no person get an owner, too: `nobody`, the index after the last person.
    nobody = len(regions)
    # span.number is the number of a reference. One reference may have several spans: in Z-Image also its text.
    references = [span for span in spans if span.kind is TokenKind.REFERENCE]
    # (people + 1, picture tokens) bool: whether a picture token reads the references of an owner. The last row is that
    # of `nobody`, who has no region. (0, 0, 0, 1) adds nothing to the tokens, and one row after the last person.
    read_of_person = functional.pad(regions, (0, 0, 0, 1))
    if everybody_outside:
        read_of_person = read_of_person | ~regions.any(dim=0)
    numbers = [_number(owners[span.number], nobody) for span in references]
    owner_numbers = torch.tensor(numbers, dtype=torch.long)  # (references,)
    # Which references of people each token reads: (tokens of a span, references) bool for each span.
    by_owner: list[Tensor] = []
    for span in spans:
        if span.kind is TokenKind.PICTURE:
            by_owner.append(read_of_person[owner_numbers].T)
        elif span.kind is TokenKind.REFERENCE:
            same_owner = owner_numbers == _number(owners[span.number], nobody)
            by_owner.append(same_owner.expand(span.count, -1))
        else:
            by_owner.append(torch.zeros(span.count, len(references), dtype=torch.bool))
    reads = torch.cat(by_owner) | (owner_numbers == nobody)  # (all tokens, references): all read those of no person
    rows: list[list[bool]] = reads.tolist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    patterns = {tuple(row) for row in rows}  # every combination of references that some token reads
    token_groups: list[Group] = []
    for pattern in sorted(patterns):
        token_groups.append(_group(spans, reads, torch.tensor(pattern, dtype=torch.bool)))
    return tuple(token_groups)


def _number(owner: int | None, nobody: int) -> int:
    """The index of an owner; `nobody` for None, which is the owner of a reference of no person."""
    return nobody if owner is None else owner


def _group(spans: Sequence[Span], reads: Tensor, pattern: Tensor) -> Group:
    """The group of the queries that read exactly the references of one pattern.

    reads: (queries, references) bool, which query reads which reference. pattern: (references,) bool, those that the
    queries of this group read.
    """
    queries = (reads == pattern).all(dim=1).nonzero()[:, 0]  # (queries of the group,), their indices
    if pattern.all():
        return Group(queries, None)  # keys None: all keys are read
    keys: list[Tensor] = []  # (tokens of a span,) bool each, whether they are read
    reference_index = 0
    for span in spans:
        is_read = True
        if span.kind is TokenKind.REFERENCE:
            is_read = bool(pattern[reference_index])
            reference_index += 1
        keys.append(torch.full((span.count,), is_read))
    return Group(queries, torch.cat(keys).nonzero()[:, 0])


class Plan:
    """How the attention over these tokens is split, ready on a device.

    spans: all tokens in their order. full_strength: from `groups`, on the CPU: who reads what at a strength of 1.
    strength: 0..1. Below 1 the output is a mix: `strength` of the split attention, and the rest of an attention in
    which all tokens read all references.
    """

    def __init__(
        self, spans: Sequence[Span], full_strength: Sequence[Group], device: torch.device, strength: float = 1
    ) -> None:
        self.total = sum(span.count for span in spans)
        self.without_references = sum(span.count for span in spans if span.kind is not TokenKind.REFERENCE)
        self._splits: dict[int, Split] = {}
        # In most attentions all tokens are queries. FluxKVCache keeps the references' keys after the first step, so
        # that text and picture alone are queries, and the references behind them are only read.
        query_counts = [self.total]
        if spans[-1].kind is TokenKind.REFERENCE:
            query_counts.append(self.without_references)
        for queries in query_counts:
            split = Split(_groups_of_queries(full_strength, queries, strength), self.total)
            # Indices are copied to the device here, because torch.compile must not see the copy in a forward.
            split.on(device)
            self._splits[queries] = split

    def of(self, queries: int, keys: int) -> Split | None:
        """The split of an attention with these numbers of queries and keys; None for an attention over other tokens."""
        if keys != self.total:
            return None
        return self._splits.get(queries)


def _groups_of_queries(full_strength: Sequence[Group], queries: int, strength: float) -> tuple[Group, ...]:
    """The groups of an attention whose queries are the first `queries` tokens.

    At a strength below 1 the output of each group counts by this share. One more group, of all these queries, reads
    everything and counts by the rest.
    """
    split: list[Group] = []
    for group in full_strength:
        group_queries = group.queries[group.queries < queries]
        if not len(group_queries):
            continue
        shares: Tensor | None = None
        if strength != 1:
            shares = torch.full((len(group_queries),), strength)
        split.append(Group(group_queries, group.keys, shares))
    if strength != 1:
        all_queries = torch.arange(queries)
        rest = torch.full((queries,), 1 - strength)
        split.append(Group(all_queries, None, rest))
    return tuple(split)
