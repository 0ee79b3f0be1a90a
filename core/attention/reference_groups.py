"""One attention over text, picture and reference pictures, in which each token reads some references, by their weight.

The attention is not masked. Its queries are divided into groups that read the same keys, and each group is an attention
of its own, see core.attention.token_groups. Of a reference of the weight w, between 0 and 1, a token gets w of an
attention that reads it and 1 - w of one that does not. That is what a bias of log(w') on the reference's keys gives,
with w' = w (1 - p) / (1 - w p), where p is the part of the token's attention that falls on the reference at a weight of
1.
No token but those of the person's own references reads what weighs 0, so the picture is the one without it.

A boost of a reference is another thing: log(boost) on its own keys, for queries of the picture alone.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as functional
from torch import Tensor

from .token_groups import AnySplit, Group, Readers, RowSplit, Split, in_steps, readers_of
from .token_layout import Span, TokenKind

_OF_REFERENCES = TokenKind.REFERENCE, TokenKind.SHOWN
"""The kinds of tokens that belong to a reference. A reference may have several such pieces: in Z-Image also a text."""


def belongs(shares: Tensor) -> Tensor:
    """Whether a token of a picture belongs to a person, in the shape of `shares`: where at least half of it is theirs.

    shares: how much of each token lies in each person's region, as core.attention.cross_attention.on_tokens gives it.
    """
    return shares >= 0.5


def groups(
    spans: Sequence[Span],
    regions: Tensor | None,
    owners: Sequence[int | None],
    everybody_outside: bool = False,
    weights: Sequence[float] = (),
    strength: float = 1,
    region_numbers: Sequence[int | None] = (),
    boosts: Sequence[float] = (),
    isolated: bool = False,
    kept: Sequence[Tensor | None] = (),
) -> tuple[Group, ...]:
    """The tokens divided into groups of queries that read the same keys.

    All tokens read text and picture. Of the references,
    - the text reads those of no person,
    - a picture token reads those of no person, and those of every person in whose region it lies,
    - a token of a person's reference reads those of no person, and the same person's,
    - a token of a reference of no person reads those of no person.
    What the common text shows of a reference is read by all tokens.

    spans: all tokens in their order. regions: (regions, picture tokens) bool, whether a token lies in a region, with
    those of all people first; None at a strength of 0. owners: for every reference the index of its person, or None for
    a reference of no person.
    everybody_outside: whether a picture token outside of all regions reads all people's references, or none.
    weights: of every reference, from 0; () where all are 1. References of one person read each other at 1.
    strength: 0..1, how far references are limited to regions. Below 1 the output is a mix: `strength` of what is said
    above, and the rest of an attention in which all tokens read all references.
    region_numbers: of every reference of a person the row of `regions` in which picture tokens read it, in the place of
    that of the person; () where each is read in its person's.
    boosts: of every reference, from 0: the picture reads its tokens as if each were there so many times. What stands
    beside a reference or shows it is not boosted. () where all are 1.
    isolated: whether tokens of references read no text and no picture.
    kept: of every reference which of its tokens are read at all, (tokens,) bool, or None for all; () where all are.
    """
    pieces = [span for span in spans if span.kind in _OF_REFERENCES]
    # How much of the output comes from an attention, and which token reads which piece in it.
    attentions: list[tuple[float, Tensor]] = []
    if strength > 0 and regions is not None:
        read_in = region_numbers or owners  # people's regions come first, so an owner is also the row of its region
        attentions.append((strength, _reads_by_region(spans, pieces, regions, owners, read_in, everybody_outside)))
    if strength < 1:
        tokens = sum(span.count for span in spans)
        attentions.append((1 - strength, torch.ones(tokens, len(pieces), dtype=torch.bool)))
    # (all tokens, pieces): how often a token reads a piece. A token with a fraction, such as 0.25, is in two groups: in
    # one with a share of 0.25 it reads the piece, in one with 0.75 it does not.
    factors = _factors(spans, pieces, owners, weights)
    bias = _bias(spans, boosts)
    left_out = _left_out(spans, kept)
    # (all tokens,) each, 0 or 1: whether a token reads text and picture, and whether its logits get the bias.
    read_others = _tokens_where(spans, [not isolated or span.kind is not TokenKind.REFERENCE for span in spans])
    have_bias = _tokens_where(spans, [bias is not None and span.kind is TokenKind.PICTURE for span in spans])
    if isolated:
        # Tokens that read no text do not read what the text shows of a reference either.
        are_shown = torch.tensor([piece.kind is TokenKind.SHOWN for piece in pieces])  # (pieces,) bool
        must_not_read = (read_others == 0)[:, None] & are_shown  # (all tokens, pieces) bool
        factors = factors * ~must_not_read
    alike = torch.stack([read_others, have_bias], dim=1)  # (all tokens, 2): tokens of a group are alike in this
    # readers_of takes weights as (things, tokens): the things are the pieces, and then these two, see `_group`.
    return tuple(
        _group(spans, readers, share, bias, left_out)
        for share, reads in attentions
        for readers in readers_of(torch.cat([in_steps(reads * factors), alike], dim=1).T)
    )


def _tokens_where(spans: Sequence[Span], of_spans: Sequence[bool]) -> Tensor:
    """A value for each span as one for each of its tokens, 1 or 0: (all tokens,). of_spans: whether it is 1."""
    counts = torch.tensor([span.count for span in spans])
    return torch.tensor(of_spans, dtype=torch.float32).repeat_interleave(counts)


_LEAST_BOOST = 1e-4
"""As in Identity Edit's node, whose logarithm is finite."""


def _bias(spans: Sequence[Span], boosts: Sequence[float]) -> Tensor | None:
    """What the picture's queries add to the logits of each token, (all tokens,): the logarithm of its boost.

    It is 0 for tokens that are not a reference's own. None where no reference is boosted. boosts: as in `groups`.
    """
    if all(boost == 1 for boost in boosts):
        return None
    biases: list[Tensor] = []
    for span, is_own in zip(spans, _are_own(spans), strict=True):
        boost = boosts[span.number] if is_own else 1.0
        biases.append(torch.full((span.count,), math.log(max(boost, _LEAST_BOOST)), dtype=torch.float32))
    return torch.cat(biases)


def _left_out(spans: Sequence[Span], kept: Sequence[Tensor | None]) -> Tensor | None:
    """Which tokens nobody reads, (all tokens,) bool; None for none. kept: as in `groups`."""
    if all(tokens is None for tokens in kept):
        return None
    left_out: list[Tensor] = []
    for span, is_own in zip(spans, _are_own(spans), strict=True):
        of_span = torch.zeros(span.count, dtype=torch.bool)
        tokens = kept[span.number] if is_own else None
        if tokens is not None:
            of_span[: len(tokens)] = ~tokens  # behind these stand tokens that fill the reference up
        left_out.append(of_span)
    return torch.cat(left_out)


def _are_own(spans: Sequence[Span]) -> list[bool]:
    """For each span whether it is the tokens of a reference picture itself: the last REFERENCE span of its number.

    The text beside a reference, and what a vision encoder has seen of it, have the same kind and number. They stand in
    front of it, or in an attention without the picture.
    """
    if all(span.kind is not TokenKind.PICTURE for span in spans):
        return [False] * len(spans)
    last_pieces = {span.number: index for index, span in enumerate(spans) if span.kind is TokenKind.REFERENCE}
    return [span.kind is TokenKind.REFERENCE and last_pieces[span.number] == index for index, span in enumerate(spans)]


def _reads_by_region(
    spans: Sequence[Span],
    pieces: Sequence[Span],
    regions: Tensor,
    owners: Sequence[int | None],
    region_numbers: Sequence[int | None],
    everybody_outside: bool,
) -> Tensor:
    """Which token reads which piece of a reference at a strength of 1, (all tokens, pieces) bool.

    pieces: the spans that belong to references. The other arguments are those of `groups`.
    """
    # References of no person get an owner, too: `nobody`, the index after the last region.
    nobody = len(regions)
    # (regions + 1, picture tokens) bool: which picture tokens read the references of a region. The last row is that of
    # `nobody`, who has no region. (0, 0, 0, 1) adds nothing to the tokens, and one row after the last region.
    read_in_region = functional.pad(regions, (0, 0, 0, 1))
    if everybody_outside:
        read_in_region = read_in_region | ~regions.any(dim=0)
    # (pieces,) each: the row of `read_in_region` that a piece is read by, and its owner.
    row_numbers = torch.tensor([_number(region_numbers[piece.number], nobody) for piece in pieces], dtype=torch.long)
    owner_numbers = torch.tensor([_number(owners[piece.number], nobody) for piece in pieces], dtype=torch.long)
    # Which references of people each token reads: (tokens of a span, pieces) bool for each span.
    by_owner: list[Tensor] = []
    for span in spans:
        if span.kind is TokenKind.PICTURE:
            by_owner.append(read_in_region[row_numbers].T)
        elif span.kind is TokenKind.REFERENCE:
            same_owner = owner_numbers == _number(owners[span.number], nobody)
            by_owner.append(same_owner.expand(span.count, -1))
        else:
            by_owner.append(torch.zeros(span.count, len(pieces), dtype=torch.bool))
    are_shown = torch.tensor([piece.kind is TokenKind.SHOWN for piece in pieces], dtype=torch.bool)
    return torch.cat(by_owner) | (owner_numbers == nobody) | are_shown


def _number(owner: int | None, nobody: int) -> int:
    """The index of an owner; `nobody` for None, which is the owner of a reference of no person."""
    return nobody if owner is None else owner


def _factors(
    spans: Sequence[Span], pieces: Sequence[Span], owners: Sequence[int | None], weights: Sequence[float]
) -> Tensor:
    """How strongly each token reads each piece of a reference that it reads, (all tokens, pieces).

    It is the weight of the reference that the piece belongs to. It is 1 where the token itself is of a reference of the
    same person; references of no person (None) count as those of one person here. Arguments as in `groups`.
    """
    factors: list[Tensor] = []  # (tokens of a span, pieces) each
    for span in spans:
        of_span: list[float] = []
        for piece in pieces:
            # Only spans of these kinds have a number in `owners`.
            is_own = span.kind in _OF_REFERENCES and owners[span.number] == owners[piece.number]
            of_span.append(1.0 if is_own or not weights else weights[piece.number])
        factors.append(torch.tensor(of_span, dtype=torch.float32).expand(span.count, -1))
    return torch.cat(factors)


def _group(
    spans: Sequence[Span], readers: Readers, share: float, bias: Tensor | None, left_out: Tensor | None
) -> Group:
    """The group of queries that read each piece of a reference equally often.

    readers: these queries. Their `times` say how often they read each piece, whether they read text and picture, and
    whether `bias` is added to their logits. share: how much of their output comes from this one of the attentions of
    `groups`. bias: (all tokens,) or None. left_out: (all tokens,) bool, the tokens that nobody reads, or None.
    """
    # In the order in which `groups` stacks them: each piece, then 0 or 1 for text and picture, then 0 or 1 for bias.
    *times_of_pieces, times_of_others, has_bias = readers.times
    shares: Tensor | None = readers.shares * share
    if bool((shares == 1).all()):
        shares = None
    bias_of_group = bias if has_bias else None
    reads_all_once = all(times == 1 for times in (*times_of_pieces, times_of_others))
    if reads_all_once and left_out is None:
        return Group(readers.tokens, None, shares, bias_of_group)  # keys None: all keys are read
    keys = _keys_read(spans, times_of_pieces, times_of_others)
    if left_out is not None:
        keys = keys[~left_out[keys]]
    return Group(readers.tokens, keys, shares, bias_of_group)


def _keys_read(spans: Sequence[Span], times_of_pieces: Sequence[int], times_of_others: int) -> Tensor:
    """The indices of all tokens that are read, each as often as it is read: (keys,).

    times_of_pieces: for each piece of a reference, in the order of the spans. times_of_others: of all other spans.
    """
    keys_of_spans: list[Tensor] = []
    piece_index = 0
    start = 0  # of the span, among all tokens
    for span in spans:
        times = times_of_others
        if span.kind in _OF_REFERENCES:
            times = times_of_pieces[piece_index]
            piece_index += 1
        keys_of_spans.extend([torch.arange(start, start + span.count)] * times)
        start += span.count
    return torch.cat(keys_of_spans)


class Plan:
    """How the attention over these tokens is split, ready on a device.

    spans: all tokens in their order. groups_of_rows: what `groups` gives, on the CPU, for each row of the batch, or
    once for all rows. Rows that read the same have the same Groups.
    """

    def __init__(
        self, spans: Sequence[Span], groups_of_rows: Sequence[tuple[Group, ...]], device: torch.device
    ) -> None:
        self.total = sum(span.count for span in spans)
        self.without_references = sum(span.count for span in spans if span.kind is not TokenKind.REFERENCE)
        self._splits: dict[int, AnySplit] = {}
        # In most attentions all tokens are queries. FluxKVCache keeps the references' keys after the first step, so
        # that text and picture alone are queries, and the references behind them are only read.
        query_counts = [self.total]
        if spans[-1].kind is TokenKind.REFERENCE:
            query_counts.append(self.without_references)
        for queries in query_counts:
            split = self._split(groups_of_rows, queries)
            # Indices are copied to the device here, because torch.compile must not see the copy in a forward.
            split.on(device)
            self._splits[queries] = split

    def _split(self, groups_of_rows: Sequence[tuple[Group, ...]], queries: int) -> AnySplit:
        """The split of an attention whose queries are the first `queries` tokens: one for all rows where all read the
        same, else one for each row."""
        # Rows that read the same share one Split.
        split_of_groups: dict[tuple[Group, ...], Split] = {}
        for groups_of_row in set(groups_of_rows):
            split_of_groups[groups_of_row] = Split(_asked_groups(groups_of_row, queries), self.total)
        splits = [split_of_groups[groups_of_row] for groups_of_row in groups_of_rows]
        return splits[0] if len(split_of_groups) == 1 else RowSplit(tuple(splits))

    def of(self, queries: int, keys: int) -> AnySplit | None:
        """The split of an attention with these numbers of queries and keys; None for an attention over other tokens.

        It is one of those that were made at the beginning: nothing is made here.
        """
        if keys != self.total:
            return None
        return self._splits.get(queries)


def _asked_groups(groups_of_row: Sequence[Group], queries: int) -> tuple[Group, ...]:
    """The groups of an attention in which only the first `queries` tokens are queries.

    All other tokens are taken out of the queries of each group. A group without queries is left out.
    """
    asked: list[Group] = []
    for group in groups_of_row:
        are_asked = group.queries < queries
        if are_asked.any():
            shares = None if group.shares is None else group.shares[are_asked]
            asked.append(replace(group, queries=group.queries[are_asked], shares=shares))
    return tuple(asked)
