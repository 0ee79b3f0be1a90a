"""Class words and their triggers, by tokens: found, repeated, laid out in chunks."""

import pytest
from pack.core.checks.errors import BadCast
from pack.nodes.photo_maker.class_words import BadTrigger, TriggeredPrompt

START = 900
END = 901
PAD = 0
IMG = 24157
MAN = 786
WOMAN = 2308
ROOM = 6
EMPTY = {"g": [[(START, 1.0, 0), (END, 1.0, 0), *[(PAD, 1.0, 0)] * ROOM]]}


def chunks(*numbers):
    """As the host cuts them."""
    chunks_of_text = []
    for first in range(0, len(numbers), ROOM):
        words = [(number, 1.0, 1) for number in numbers[first : first + ROOM]]
        padding = [(PAD, 1.0, 0)] * (ROOM - len(words))
        chunks_of_text.append([(START, 1.0, 0), *words, (END, 1.0, 0), *padding])
    return {"g": chunks_of_text}


def laid(text, copies=(1, 1)):
    return TriggeredPrompt(chunks(*text), chunks(IMG), EMPTY, "img", ["Anna", "Ben"]).laid_out(copies)


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
    for chunk, words_of_chunk in zip(layout.prompt["g"], words, strict=True):
        assert [number for number, _, word in chunk if word] == words_of_chunk
        assert len(chunk) == ROOM + 2
        assert chunk[0][0] == START
        assert chunk[len(words_of_chunk) + 1][0] == END


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ((5, MAN), "no trigger word 'img' for 2 people"), ((5, MAN, IMG), "the trigger word 'img' 1 time for 2 people"),
        ((MAN, IMG, WOMAN, IMG, 5, IMG), "the trigger word 'img' 3 times for 2 people"),
        ((IMG, MAN, IMG), "no word of its own"), ((MAN, IMG, IMG), "no word of its own"),
    ],
)  # fmt: skip
def test_triggers_that_are_not_those_of_the_people(text, message):
    with pytest.raises(BadTrigger, match="Anna, Ben") as error:
        laid(text)
    assert message in str(error.value)
    assert "a woman img and a woman img" in str(error.value)


def test_what_cannot_be_laid_out_is_refused():
    with pytest.raises(BadCast, match="7 tokens of the text, which reads 6"):
        laid((MAN, IMG, WOMAN, IMG), (1, ROOM + 1))
    prompt = {"g": chunks(MAN, IMG)["g"], "l": chunks(5, MAN, IMG)["g"]}
    trigger = dict.fromkeys("gl", chunks(IMG)["g"])
    empty = dict.fromkeys("gl", EMPTY["g"])
    with pytest.raises(BadTrigger, match="not as many tokens for each of the two text encoders"):
        TriggeredPrompt(prompt, trigger, empty, "img", ["Anna"]).laid_out((1,))
