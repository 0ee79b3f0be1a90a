"""Class words and their triggers, by tokens: found, repeated, laid out in chunks."""

import pytest
from pack.core.errors import BadCast
from pack.nodes.photo_maker.class_words import BadTrigger, lay_out_class_words

START, END, PAD, IMG, MAN, WOMAN = 900, 901, 0, 24157, 786, 2308
ROOM = 6
EMPTY = {"g": [[(START, 1.0, 0), (END, 1.0, 0), *[(PAD, 1.0, 0)] * ROOM]]}


def chunks(*numbers):
    """As the host cuts them."""
    parts = [numbers[i : i + ROOM] for i in range(0, len(numbers), ROOM)]
    whole = [[(START, 1.0, 0), *((n, 1.0, 1) for n in part), (END, 1.0, 0)] for part in parts]
    return {"g": [[*chunk, *[(PAD, 1.0, 0)] * (ROOM + 2 - len(chunk))] for chunk in whole]}


def laid(text, copies=(1, 1)):
    return lay_out_class_words(chunks(*text), chunks(IMG), EMPTY, "img", ["Anna", "Ben"], copies)


@pytest.mark.parametrize(
    ("text", "copies", "words", "places"),
    [
        ((5, MAN, IMG, 6, WOMAN, IMG), (1, 1), [[5, MAN, 6, WOMAN]], [2, 4]),
        ((5, MAN, IMG, WOMAN, IMG, 7), (3, 1), [[5, MAN, MAN, MAN, WOMAN, 7]], [2, 5]),
        # A run that does not fit goes whole into the next chunk; the host's cut through "WOMAN | IMG" does not matter.
        ((5, MAN, IMG, 6, 7, WOMAN, IMG, 8), (2, 2), [[5, MAN, MAN, 6, 7], [WOMAN, WOMAN, 8]], [2, 9]),
    ],
)
def test_class_words_stand_once_for_each_token(text, copies, words, places):
    layout = laid(text, copies)
    assert layout.positions == places
    found = layout.prompt
    assert [[n for n, _, word in chunk if word] for chunk in found["g"]] == words
    assert all(len(chunk) == ROOM + 2 and chunk[0][0] == START for chunk in found["g"])
    assert [chunk[len(one) + 1][0] for chunk, one in zip(found["g"], words, strict=True)] == [END] * len(words)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ((5, MAN), "no trigger word 'img' for 2 people"), ((5, MAN, IMG), "the trigger word 'img' 1 time for 2 people"),
        ((MAN, IMG, WOMAN, IMG, 5, IMG), "the trigger word 'img' 3 times for 2 people"),
        ((IMG, MAN, IMG), "no word of its own"), ((MAN, IMG, IMG), "no word of its own"),
    ],
)  # fmt: skip
def test_triggers_that_are_not_those_of_the_people(text, says):
    with pytest.raises(BadTrigger, match="Anna, Ben") as error:
        laid(text)
    assert says in str(error.value) and "a woman img and a woman img" in str(error.value)


def test_what_cannot_be_laid_out_is_refused():
    with pytest.raises(BadCast, match="7 tokens of the text, which reads 6"):
        laid((MAN, IMG, WOMAN, IMG), (1, ROOM + 1))
    one, other = (chunks(*text)["g"] for text in ((MAN, IMG), (5, MAN, IMG)))
    both = {"g": one, "l": other}, dict.fromkeys("gl", chunks(IMG)["g"]), dict.fromkeys("gl", EMPTY["g"])
    with pytest.raises(BadTrigger, match="not as many tokens for each of the two text encoders"):
        lay_out_class_words(*both, "img", ["Anna"], (1,))
