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
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .token_groups import AnySplit, Group, RowSplit, Split, in_steps, readers_of
from .token_layout import PlacedSpan, Span, TokenKind, placed_spans

_OF_REFERENCES = TokenKind.REFERENCE, TokenKind.SHOWN
"""The kinds of tokens that belong to a reference. A reference may have several such pieces: in Z-Image also a text."""


def belongs(shares: Tensor) -> Tensor:
    """Whether a token of a picture belongs to a person, in the shape of `shares`: where at least half of it is theirs.

    shares: how much of each token lies in each person's region, as core.attention.cross_attention.on_tokens gives it.
    """
    return shares >= 0.5


@dataclass(frozen=True, eq=False)
class ReadReference:
    """How one reference picture is read.

    owner: the index of its person, or None for one of no person. region: the row of `regions` in which picture tokens
    read it. weight: from 0; references of one person read each other at 1. boost: from 0, the picture reads its tokens
    as if each were there so many times; what stands beside the reference or shows it is not boosted. kept: which of its
    tokens are read at all, (tokens,) bool, or None for all.
    """

    owner: int | None = None
    region: int | None = None
    weight: float = 1.0
    boost: float = 1.0
    kept: Tensor | None = None


def groups(
    spans: Sequence[Span],
    regions: Tensor | None,
    references: Sequence[ReadReference],
    everybody_outside: bool = False,
    strength: float = 1,
    isolated: bool = False,
) -> tuple[Group, ...]:
    """The tokens divided into groups of queries that read the same keys.

    All tokens read text and picture. Of the references,
    - the text reads those of no person,
    - a picture token reads those of no person, and those in whose region it lies,
    - a token of a person's reference reads those of no person, and the same person's,
    - a token of a reference of no person reads those of no person.
    What the common text shows of a reference is read by all tokens.

    spans: all tokens in their order, with the number of their reference. regions: (regions, picture tokens) bool,
    whether a token lies in a region; None at a strength of 0.
    everybody_outside: whether a picture token outside of all regions reads all people's references, or none.
    strength: 0..1, how far references are limited to regions. Below 1 the output is a mix: `strength` of what is said
    above, and the rest of an attention in which all tokens read all references.
    isolated: whether tokens of references read no text and no picture.
    """
    # How much of the output comes from an attention, and the regions to which references are limited in it.
    attentions: list[tuple[float, Tensor | None]] = []
    if strength > 0 and regions is not None:
        outside = ~regions.any(dim=0)  # (picture tokens,) bool
        attentions.append((strength, regions | outside if everybody_outside else regions))
    if strength < 1:
        attentions.append((1 - strength, None))
    bias = _bias(spans, references)
    left_out = _left_out(spans, references)
    # Tokens that all read text and picture or all do not, and whose logits all get the bias or do not.
    alike: dict[tuple[bool, bool], list[PlacedSpan]] = {}
    for placed in placed_spans(spans):
        reads_others = not isolated or placed.span.kind is not TokenKind.REFERENCE
        has_bias = bias is not None and placed.span.kind is TokenKind.PICTURE
        alike.setdefault((reads_others, has_bias), []).append(placed)
    made: list[Group] = []
    for share, read_regions in attentions:
        for (reads_others, has_bias), placed_alike in alike.items():
            weights = [_weights(placed.span, spans, references, read_regions, reads_others) for placed in placed_alike]
            queries = torch.cat([torch.arange(placed.tokens.start, placed.tokens.stop) for placed in placed_alike])
            for readers in readers_of(in_steps(torch.cat(weights, dim=1))):
                shares: Tensor | None = readers.shares * share
                if bool((shares == 1).all()):
                    shares = None
                keys = _keys_read(spans, readers.times, reads_others, left_out)
                made.append(Group(queries[readers.tokens], keys, shares, bias if has_bias else None))
    return tuple(made)


def _weights(
    span: Span,
    spans: Sequence[Span],
    references: Sequence[ReadReference],
    regions: Tensor | None,
    reads_others: bool,
) -> Tensor:
    """How strongly the tokens of a span read each piece of a reference: (pieces, tokens of the span).

    spans: all. The other arguments are those of `_reads`.
    """
    weights: list[Tensor] = []
    for piece in spans:
        if piece.kind not in _OF_REFERENCES:
            continue
        reference = references[piece.number]
        is_own = span.kind in _OF_REFERENCES and references[span.number].owner == reference.owner
        weight = 1.0 if is_own else reference.weight
        reads = _reads(span, piece, references, regions, reads_others)
        weights.append(torch.full((span.count,), weight, dtype=torch.float32) * reads)
    return torch.stack(weights)


def _reads(
    span: Span, piece: Span, references: Sequence[ReadReference], regions: Tensor | None, reads_others: bool
) -> bool | Tensor:
    """Whether the tokens of a span read a piece of a reference: all alike, or each for itself, (tokens,) bool.

    regions: (regions, picture tokens) bool; None where all tokens read all references. reads_others: whether the tokens
    read text and picture.
    """
    reference = references[piece.number]
    if piece.kind is TokenKind.SHOWN:  # a part of the text
        return reads_others
    if regions is None or reference.owner is None:
        return True
    if span.kind is TokenKind.PICTURE:
        return regions[reference.region]
    return span.kind is TokenKind.REFERENCE and references[span.number].owner == reference.owner


_LEAST_BOOST = 1e-4
"""As in Identity Edit's node, whose logarithm is finite."""


def _bias(spans: Sequence[Span], references: Sequence[ReadReference]) -> Tensor | None:
    """What the picture's queries add to the logits of each token, (all tokens,): the logarithm of its boost.

    It is 0 for tokens that are not a reference's own. None where no reference is boosted.
    """
    if all(reference.boost == 1 for reference in references):
        return None
    biases: list[Tensor] = []
    for span, is_own in zip(spans, _are_own(spans), strict=True):
        boost = references[span.number].boost if is_own else 1.0
        biases.append(torch.full((span.count,), math.log(max(boost, _LEAST_BOOST)), dtype=torch.float32))
    return torch.cat(biases)


def _left_out(spans: Sequence[Span], references: Sequence[ReadReference]) -> Tensor | None:
    """Which tokens nobody reads, (all tokens,) bool; None where all are read."""
    if all(reference.kept is None for reference in references):
        return None
    left_out: list[Tensor] = []
    for span, is_own in zip(spans, _are_own(spans), strict=True):
        of_span = torch.zeros(span.count, dtype=torch.bool)
        kept = references[span.number].kept if is_own else None
        if kept is not None:
            of_span[: len(kept)] = ~kept  # behind these stand tokens that fill the reference up
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


def _keys_read(
    spans: Sequence[Span], times_of_pieces: Sequence[int], reads_others: bool, left_out: Tensor | None
) -> Tensor | None:
    """The indices of all tokens that are read, each as often as it is read: (keys,). None for all, each once.

    times_of_pieces: for each piece of a reference, in the order of the spans. reads_others: whether all other spans are
    read. left_out: (all tokens,) bool, those that nobody reads, or None.
    """
    if reads_others and left_out is None and all(times == 1 for times in times_of_pieces):
        return None
    times_left = iter(times_of_pieces)
    keys_of_spans: list[Tensor] = []
    for placed in placed_spans(spans):
        times = next(times_left) if placed.span.kind in _OF_REFERENCES else int(reads_others)
        keys_of_spans.extend([torch.arange(placed.tokens.start, placed.tokens.stop)] * times)
    keys = torch.cat(keys_of_spans)
    return keys if left_out is None else keys[~left_out[keys]]


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
