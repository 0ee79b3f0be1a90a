"""The tokens of a forward of a transformer, and whose each is."""

import pytest
import torch
from pack.core.attention.spans import Span, TokenKind, Tokens, fitted, placed_spans, shares_of

TEXT, SHOWN, WORDS, PICTURE, REFERENCE, OTHER = (
    TokenKind.TEXT, TokenKind.SHOWN, TokenKind.WORDS, TokenKind.PICTURE, TokenKind.REFERENCE, TokenKind.OTHER,
)  # fmt: skip
TOKENS = Tokens(
    (Span(TEXT, 7),), (Span(PICTURE, 6), Span(REFERENCE, 4, number=0), Span(REFERENCE, 2, number=1))
).with_words([Span(WORDS, 3, "Anna")])


def placed(spans):
    return [(of_one.span.kind, of_one.tokens.start, of_one.tokens.stop) for of_one in placed_spans(spans)]


def test_references_stand_behind_the_picture_and_more_text_in_front():
    flux = TOKENS.in_blocks(15, 12)
    assert placed(flux.spans) == [
        (TEXT, 0, 5), (TEXT, 5, 12), (WORDS, 12, 15), (PICTURE, 15, 21), (REFERENCE, 21, 25), (REFERENCE, 25, 27),
    ]  # fmt: skip
    assert (flux.text_count, flux.picture_count, flux.count, flux.drawn_count) == (15, 12, 27, 6)
    assert TOKENS.in_blocks(15, 12) is flux, "made once"
    assert TOKENS.in_blocks(10, 12) is TOKENS


def test_a_text_that_was_cut_has_the_words_behind_it():
    assert placed(TOKENS.in_blocks(8, 12).texts) == [(TEXT, 0, 5), (WORDS, 5, 8)]


def test_references_that_are_taken_out_are_still_read():
    without = TOKENS.in_blocks(10, 6)
    assert (without.picture_count, without.count) == (6, 22)


def test_the_tokens_that_show_references_begin_the_common_text():
    qwen = TOKENS.with_shown((5, 1)).in_blocks(12, 12)
    assert placed(qwen.texts) == [(TEXT, 0, 2), (SHOWN, 2, 7), (SHOWN, 7, 8), (TEXT, 8, 9), (WORDS, 9, 12)]
    assert [span.number for span in qwen.texts if span.kind is SHOWN] == [0, 1]


def test_words_and_references_are_wholly_their_owners_and_what_a_text_shows_is_nobodys():
    owned = TOKENS.with_shown((2, 1)).with_owners(("Ben", None))
    on_picture = torch.tensor([[1, 0.5, 0, 0, 0, 0], [0, 0.5, 1, 0, 0, 0]])
    ben, anna = shares_of(owned.spans, ("Ben", "Anna"), on_picture)
    assert ben.tolist() == [0] * 10 + [1, 0.5, 0, 0, 0, 0] + [1] * 4 + [0] * 2
    assert anna.tolist() == [0] * 7 + [1] * 3 + [0, 0.5, 1, 0, 0, 0] + [0] * 6


@pytest.mark.parametrize(("count", "expected"), [
    (8, [(PICTURE, 0, 6), (REFERENCE, 6, 8)]), (6, [(PICTURE, 0, 6)]),
    (14, [(PICTURE, 0, 6), (REFERENCE, 6, 10), (REFERENCE, 10, 12), (OTHER, 12, 14)]),
])  # fmt: skip
def test_spans_fitted_to_a_number_of_tokens(count, expected):
    assert placed(fitted(TOKENS.pictures, count)) == expected
