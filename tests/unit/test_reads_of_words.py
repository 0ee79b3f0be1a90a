"""Attention split by who reads whose words: against masks of all tokens by all tokens, in plain torch."""

from itertools import pairwise

import pytest
import torch
from pack.core.attention.reads import WordsRule, groups_of
from pack.core.attention.spans import Span, TokenKind
from pack.core.attention.token_groups import Group, Split, split_attention
from torch.nn.functional import scaled_dot_product_attention as attention
from torch.utils._python_dispatch import TorchDispatchMode

COMMON = 3
COUNTS = (4, 2)
PICTURE = 6
REFERENCES = 5
TOKENS = COMMON + sum(COUNTS) + PICTURE + REFERENCES
WORDS = slice(3, 7), slice(7, 9)
HARD = torch.tensor([[1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 0, 0]]).float()
SOFT = torch.tensor([[1, 0.5, 0.25, 0.25, 0, 0], [0, 0, 0.75, 1, 0.25, 0]])
NOBODY = torch.zeros(2, 6)


TEXTS = [Span(TokenKind.TEXT, COMMON), *[Span(TokenKind.WORDS, *pair) for pair in ((4, "Anna", 0), (2, "Ben", 1))]]
BEHIND = [*TEXTS, Span(TokenKind.PICTURE, PICTURE), Span(TokenKind.REFERENCE, REFERENCES)]
IN_FRONT = [*TEXTS, Span(TokenKind.REFERENCE, REFERENCES), Span(TokenKind.PICTURE, PICTURE)]


def split_by_words(spans, weights):
    return Split(groups_of(spans, spans, WordsRule(weights)), sum(span.count for span in spans))


def qkv(dtype):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(3, 2, 4, TOKENS, 8, generator=generator, dtype=torch.float64).to(dtype).unbind()


def attention_by(split, q, k, v):
    return split_attention(split.on(q.device), q, k, v, lambda _, *tensors: attention(*tensors), 2, 2)


def dense(weights, picture, dtype):
    """What comes out by masks: of every threshold of the weights one, each by its part of 0..1."""
    q, k, v = qkv(dtype)
    thresholds = sorted({0.0, 1.0, *weights.flatten().tolist()})
    out = torch.zeros_like(q)
    for low, high in pairwise(thresholds):
        reads = torch.zeros(TOKENS, TOKENS, dtype=torch.bool)
        texts = torch.zeros(TOKENS, dtype=torch.bool)
        texts[WORDS[0].start : WORDS[1].stop] = True
        reads[:, ~texts] = True
        for words, region in zip(WORDS, weights, strict=True):
            reads[words] = False
            reads[words, words] = True
            reads[words, picture] = region > 0
            references = ~texts
            references[:COMMON] = False
            references[picture] = False
            reads[words, references.nonzero()[:, :1].T] = True
            for token, weight in enumerate(region):
                if weight >= high:
                    reads[picture.start + token, words] = True
        out += (high - low) * attention(q, k, v, attn_mask=reads)
    return out


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 2e-6), (torch.float32, 1e-5)])
@pytest.mark.parametrize("weights", [HARD, SOFT, NOBODY], ids=["hard", "soft", "nobody"])
@pytest.mark.parametrize(("spans", "start"), [(BEHIND, 9), (IN_FRONT, 14)], ids=["references behind", "picture last"])
def test_split_is_masked(dtype, tolerance, weights, spans, start):
    split = split_by_words(spans, weights)
    expected = dense(weights, slice(start, start + PICTURE), dtype)
    assert (attention_by(split, *qkv(dtype)) - expected).abs().max() <= tolerance


@pytest.mark.parametrize("weights", [HARD, SOFT, NOBODY], ids=["hard", "soft", "nobody"])
def test_a_picture_that_alone_reads_reads_the_texts_by_the_same_rule(weights):
    """Its tokens ask, and the texts answer: as where both are one sequence and the picture hides itself."""
    q, k, v = qkv(torch.float64)
    picture, texts = slice(9, 9 + PICTURE), slice(0, 9)
    split = Split(groups_of([Span(TokenKind.PICTURE, PICTURE)], TEXTS, WordsRule(weights)), 9)
    found = attention_by(split, q[:, :, picture], k[:, :, texts], v[:, :, texts])
    reads_texts_alone = Split((Group(torch.arange(TOKENS), torch.arange(9)),), TOKENS)
    joined = split_by_words(BEHIND, weights).joined(reads_texts_alone)
    expected = attention_by(joined, q, k, v)[:, :, picture]
    assert (found - expected).abs().max() <= 1e-9


class Kernels(TorchDispatchMode):
    """How many operators run that are no views."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("people", "most"), [(1, 7), (2, 10), (4, 17)])
def test_a_person_costs_two_attentions_and_two_people_share_one_copy_of_queries_and_keys(people, most):
    """Beside that the output is joined and put in order."""
    words = [Span(TokenKind.WORDS, 2, str(person), person) for person in range(people)]
    spans = [Span(TokenKind.TEXT, COMMON), *words, Span(TokenKind.PICTURE, 8)]
    tokens = COMMON + 2 * people + 8
    weights = torch.eye(people).repeat_interleave(8 // people, dim=1)  # a strip each, (people, picture tokens)
    asking = split_by_words(spans, weights).on(torch.device("cpu"))
    q, k, v = torch.zeros(3, 1, 4, tokens, 8).unbind()
    with Kernels() as kernels:
        split_attention(asking, q, k, v, lambda _, *tensors: attention(*tensors), 2, 2)
    assert kernels.count <= most


def test_every_query_is_answered_once_in_all():
    split = split_by_words(BEHIND, SOFT)
    sums = torch.zeros(TOKENS)
    for group in split.groups:
        sums[group.queries] += 1 if group.shares is None else group.shares
    assert torch.equal(sums, torch.ones(TOKENS))


def test_two_splits_joined_are_both_masks():
    """Of another split, in which the first two queries read the last keys alone, and half of the others everything."""
    words = split_by_words(BEHIND, SOFT)
    first_queries = torch.arange(2)
    other_queries = torch.arange(2, TOKENS)
    half = torch.full((len(other_queries),), 0.5)
    last = torch.arange(9, TOKENS)
    second_split = Split(
        (Group(first_queries, last), Group(other_queries, last, half), Group(other_queries, None, half)), TOKENS
    )
    q, k, v = qkv(torch.float64)
    expected = torch.zeros_like(q)
    for group in words.groups:
        for second in second_split.groups:
            reads = torch.ones(TOKENS, dtype=torch.bool)
            for joined_group in (group, second):
                if joined_group.keys is not None:
                    reads &= torch.isin(torch.arange(TOKENS), joined_group.keys)
            share = torch.zeros(TOKENS, dtype=torch.float64)
            shared = torch.zeros(TOKENS, dtype=torch.float64)
            share[group.queries] = 1 if group.shares is None else group.shares.double()
            shared[second.queries] = 1 if second.shares is None else second.shares.double()
            expected += (share * shared)[:, None] * attention(q, k, v, attn_mask=reads.expand(TOKENS, -1))
    assert (attention_by(words.joined(second_split), q, k, v) - expected).abs().max() <= 2e-6
    assert words.joined(second_split) is words.joined(second_split), "worked out once"


def test_words_read_no_text_but_themselves_and_a_persons_reference_reads_their_words():
    """Front (2), the common text (3), words (4 and 2), the picture (6), then Ben's reference (3) and a room (2)."""
    references = Span(TokenKind.REFERENCE, 3, "Ben"), Span(TokenKind.REFERENCE, 2, number=1)
    spans = [Span(TokenKind.TEXT, 2), *TEXTS, Span(TokenKind.PICTURE, PICTURE), *references]
    reads = [set(range(22)) - set(range(5, 11)) for _ in range(22)]
    for token, people in zip(range(11, 17), HARD.T, strict=True):
        for person, words in ((0, range(5, 9)), (1, range(9, 11))):
            if people[person]:
                reads[token] |= set(words)
    for person, words in ((0, range(5, 9)), (1, range(9, 11))):
        picture = {11 + token for token, weight in enumerate(HARD[person]) if weight}
        for token in words:
            reads[token] = {*words, *picture, *range(17, 22)}
    for token in range(17, 20):
        reads[token] |= {9, 10}
    keys_of = {}
    for group in split_by_words(spans, HARD).groups:
        assert group.shares is None
        for query in group.queries.tolist():
            assert query not in keys_of
            keys_of[query] = set(group.times(22).nonzero()[:, 0].tolist())
    assert [keys_of[query] for query in range(22)] == reads
