"""Where tokens stand in a forward of a transformer."""

from pack.core.attention.token_layout import TokenKind, TokenLayout, placed_spans


def kinds(spans):
    return [
        (placed.span.kind, placed.span.number, placed.tokens.start, placed.tokens.stop)
        for placed in placed_spans(spans)
    ]


def test_references_stand_behind_the_picture_and_more_text_in_front():
    flux = TokenLayout(common=7, picture=6, references=(4, 2), words=(3,), front=5)
    assert kinds(flux.spans()) == [
        (TokenKind.TEXT, 0, 0, 5), (TokenKind.TEXT, 0, 5, 12), (TokenKind.WORDS, 0, 12, 15),
        (TokenKind.PICTURE, 0, 15, 21), (TokenKind.REFERENCE, 0, 21, 25), (TokenKind.REFERENCE, 1, 25, 27),
    ]  # fmt: skip
    assert (flux.text, flux.pictures, flux.total) == (15, 12, 27)


def test_the_tokens_that_show_references_begin_the_common_text():
    qwen = TokenLayout(common=9, picture=6, references=(4, 3), words=(3,), front=2, shown=(5, 1))
    assert kinds(qwen.text_spans()) == [
        (TokenKind.TEXT, 0, 0, 2), (TokenKind.SHOWN, 0, 2, 7), (TokenKind.SHOWN, 1, 7, 8), (TokenKind.TEXT, 0, 8, 11),
        (TokenKind.WORDS, 0, 11, 14),
    ]  # fmt: skip
    assert (qwen.text, qwen.total) == (14, 27)
