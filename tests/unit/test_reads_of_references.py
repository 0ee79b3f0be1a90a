"""Attention split by who reads which reference: against a mask, and to the bit where nobody reads any."""

import pytest
import torch
from pack.core.attention.cross_attention import on_tokens
from pack.core.attention.reads import ReadReference, ReferencesRule, belongs, groups_of, mixed, split_for
from pack.core.attention.spans import Span, TokenKind
from pack.core.attention.token_groups import Group, Split, split_attention
from torch.nn.functional import scaled_dot_product_attention as attention

WITHOUT_REFERENCES = 9
REGIONS = torch.tensor([[1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 0, 0]]) > 0  # a token of both, and two of nobody
PEOPLE = "Anna", "Ben"
WHOSE = ("Anna", None, "Ben")
COUNTS = 4, 2, 3
TOTAL = WITHOUT_REFERENCES + sum(COUNTS)


def groups(owners=WHOSE, weights=(1.0, 1.0, 1.0), regions=REGIONS, everybody_outside=False, strength=1):
    """Of a text, a picture and references of these people, each read in the region of its person."""
    references = [
        Span(TokenKind.REFERENCE, count, owner, number)
        for number, (count, owner) in enumerate(zip(COUNTS, owners, strict=True))
    ]
    spans = [Span(TokenKind.TEXT, 3), Span(TokenKind.PICTURE, 6), *references]
    read = [
        ReadReference(None if owner is None else PEOPLE.index(owner), weight, 1.0, None)
        for owner, weight in zip(owners, weights, strict=True)
    ]
    return tuple(
        group
        for share, of_share in mixed(regions, strength, everybody_outside)
        for group in groups_of(spans, spans, ReferencesRule(read, of_share), share)
    )


CPU = torch.device("cpu")


def qkv():
    return torch.randn(3, 2, 4, TOTAL, 8, generator=torch.Generator().manual_seed(1)).unbind()


def split(of_all, q, k, v):
    """What an attention gives by these groups, whose queries are the first of all tokens."""
    asking = split_for([of_all], q.shape[2], TOTAL).on(CPU)
    return split_attention(asking, q, k, v, lambda _, *tensors: attention(*tensors), 2, 2)


@pytest.mark.parametrize("everybody", [False, True])
def test_split_is_masked_with_and_without_queries_of_references(everybody):
    of_all = groups(everybody_outside=everybody)
    reads = torch.zeros(TOTAL, TOTAL, dtype=torch.bool)
    reads[:, [*range(9), 13, 14]] = True  # text, picture and what belongs to nobody
    anna = range(9, 13)
    ben = range(15, 18)
    nobody = range(7, 9)
    queries_and_keys = [([3, 4, 5, *anna], anna), ([5, 6, *ben], ben)]
    if everybody:
        queries_and_keys += [(nobody, anna), (nobody, ben)]
    for queries, keys in queries_and_keys:
        reads[torch.tensor([*queries])[:, None], torch.tensor([*keys])] = True
    q, k, v = qkv()
    expected = attention(q, k, v, attn_mask=reads)
    for query_count in (TOTAL, WITHOUT_REFERENCES):
        torch.testing.assert_close(
            split(of_all, q[:, :, :query_count], k, v), expected[:, :, :query_count], atol=2e-6, rtol=0
        )
    assert len(of_all) == 4, "those that read the same ask together"


def test_a_key_that_both_splits_read_several_times_is_read_as_often_as_both_together():
    keys, other_keys = torch.tensor([0, 0, 1, 2]), torch.tensor([0, 0, 0, 1, 1])
    everybody = torch.arange(2)
    joined = Split((Group(everybody, keys),), 4).joined(Split((Group(everybody, other_keys),), 4))
    assert [group.keys.bincount(minlength=4).tolist() for group in joined.groups] == [[6, 2, 0, 0]]


def any_groups(generator, queries, keys):
    """Two mixed attentions, each of a few groups that read any keys, some of them twice, some with a bias."""
    bias = torch.randn(keys, generator=generator, dtype=torch.float64)
    for share in (0.25, 0.75):
        group_of = torch.randint(0, 4, (queries,), generator=generator)
        for number in group_of.unique():
            own = (group_of == number).nonzero()[:, 0]
            read = torch.randperm(keys, generator=generator)[: 1 + 2 * int(number)]
            read = torch.cat([read.sort().values, read[:1]]) if number else None
            yield Group(own, read, torch.full((len(own),), share), bias if number == 2 else None)


@pytest.mark.parametrize("seed", range(8))
def test_any_groups_are_asked_as_if_each_were_gathered_by_itself(seed):
    q, k, v = qkv()
    groups_of_query = tuple(any_groups(torch.Generator().manual_seed(seed), q.shape[2], k.shape[2]))

    def ask(group, *tensors):
        bias = group.bias_of_keys
        return attention(*tensors, attn_mask=None if bias is None else bias.to(q).expand(len(group.queries), -1))

    expected = torch.zeros_like(q)
    for group in groups_of_query:
        keys = torch.arange(k.shape[2]) if group.keys is None else group.keys
        out = ask(group, q[:, :, group.queries], k[:, :, keys], v[:, :, keys])
        expected.index_add_(2, group.queries, out * group.shares[:, None])
    found = split_attention(Split(groups_of_query, k.shape[2]).on(CPU), q, k, v, ask, 2, 2)
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)


def test_where_everybody_is_barred_it_is_attention_without_references_to_the_bit():
    nobody_reads = groups(("Anna", "Ben", "Anna"), regions=REGIONS & False)
    q, k, v = qkv()
    without_references = [x[:, :, :WITHOUT_REFERENCES] for x in (q, k, v)]
    assert torch.equal(split(nobody_reads, q, k, v)[:, :, :WITHOUT_REFERENCES], attention(*without_references))


def weighed(*weights):
    """The output without regions, by the weights of the three references."""
    of_all = groups(weights=weights, regions=None, strength=0)
    return of_all, split(of_all, *qkv())


def test_a_weight_goes_from_the_attention_without_a_reference_to_the_hosts_without_a_jump():
    q, k, v = qkv()
    (group,), everything = weighed(1, 1, 1)
    assert group.keys is group.shares is None
    assert torch.equal(everything, attention(q, k, v))
    anna = slice(9, 13)
    others = [*range(9), *range(13, TOTAL)]
    _, nothing = weighed(0, 1, 1)
    assert torch.equal(nothing[:, :, others], attention(*[x[:, :, others] for x in (q, k, v)])), "all rows, to the bit"
    for weight in (1 / 256, 0.25, 0.5, 255 / 256):
        _, between = weighed(weight, 1, 1)
        torch.testing.assert_close(between, torch.lerp(nothing, everything, weight), atol=1e-6, rtol=0)
        assert torch.equal(between[:, :, anna], everything[:, :, anna]), "her reference reads itself"


def test_shares_of_tokens_are_means_of_their_pixels():
    region = torch.zeros(1, 40, 24)
    region[:, :8, :16] = 1  # half of the first
    region[:, 32:, 16:] = 1  # all of what is in the picture of the last
    assert on_tokens(region, 40, 24, 16).tolist() == [[[0.5, 0], [0, 0], [0, 1]]]


def test_a_token_belongs_to_whom_at_least_half_of_it_is():
    region = torch.zeros(1, 40, 24)
    region[:, :8, :16] = 1  # half of the first
    region[:, 32:, 20:] = 1  # half of what is in the picture of the last
    region[:, 16:18, :16] = 1  # an eighth of another
    owned = belongs(on_tokens(region, 40, 24, 16))
    assert owned.shape == (1, 3, 2)
    assert owned.nonzero().tolist() == [[0, 0, 0], [0, 2, 1]]
    larger = region.repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert torch.equal(belongs(on_tokens(larger, 40, 24, 16)), owned)
