"""Where tokens stand in a forward of a transformer."""

from pack.core.attention.token_layout import TokenKind, TokenLayout, placed_spans

Z_IMAGE = TokenLayout(
    common=8, picture=48, references=(16, 8), words=(24, 16), reference_texts=(8, 32), later=8, seen=(8, 16, 8),
    picture_last=True,
)  # fmt: skip


def kinds(spans):
    return [
        (placed.span.kind, placed.span.number, placed.tokens.start, placed.tokens.stop)
        for placed in placed_spans(spans)
    ]


def test_the_picture_of_z_image_stands_last_and_every_reference_has_three_pieces():
    references = [row for row in kinds(Z_IMAGE.spans()) if row[0] is TokenKind.REFERENCE]
    assert [row[1:] for row in references] == [
        (0, 0, 8), (1, 8, 40), (0, 96, 104), (1, 104, 120), (0, 128, 144), (1, 144, 152),
    ]  # fmt: skip
    assert kinds(Z_IMAGE.spans())[-1] == (TokenKind.PICTURE, 0, 152, 200)
    assert (Z_IMAGE.text, Z_IMAGE.before_common, Z_IMAGE.pictures) == (96, 40, 72)
    assert (Z_IMAGE.total, Z_IMAGE.picture_start) == (200, 152)
    words = [row for row in kinds(Z_IMAGE.text_spans()) if row[0] is TokenKind.WORDS]
    assert [row[1:] for row in words] == [(0, 48, 72), (1, 72, 88)]


def test_elsewhere_references_stand_behind_the_picture_and_more_text_in_front():
    flux = TokenLayout(common=7, picture=6, references=(4, 2), words=(3,), front=5)
    assert kinds(flux.spans()) == [
        (TokenKind.TEXT, 0, 0, 5), (TokenKind.TEXT, 0, 5, 12), (TokenKind.WORDS, 0, 12, 15),
        (TokenKind.TEXT, 0, 15, 15), (TokenKind.PICTURE, 0, 15, 21),
        (TokenKind.REFERENCE, 0, 21, 25), (TokenKind.REFERENCE, 1, 25, 27),
    ]  # fmt: skip
    assert flux.picture_start == 15
    assert flux.seen_spans() == []


def test_all_texts_stand_behind_the_references_with_the_tokens_that_show_them():
    joyimage = TokenLayout(common=9, picture=6, references=(4,), words=(3,), text_last=True, shown=(5,), before_shown=2)
    assert kinds(joyimage.spans()) == [
        (TokenKind.PICTURE, 0, 0, 6), (TokenKind.REFERENCE, 0, 6, 10), (TokenKind.TEXT, 0, 10, 10),
        (TokenKind.TEXT, 0, 10, 12), (TokenKind.SHOWN, 0, 12, 17), (TokenKind.TEXT, 0, 17, 19),
        (TokenKind.WORDS, 0, 19, 22), (TokenKind.TEXT, 0, 22, 22),
    ]  # fmt: skip
    assert (joyimage.picture_start, joyimage.text_start, joyimage.before_common) == (0, 10, 10)
