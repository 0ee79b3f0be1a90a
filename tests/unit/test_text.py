"""Whatever people type or files bring becomes one line that every console, log and picture can take."""

from __future__ import annotations

import logging

import pytest
import torch
from pack.core.errors import LikenessError, ModelMissing
from pack.core.models.tensors import flatten
from pack.core.people import NotPlaced
from pack.core.places.placing import BadOrder
from pack.core.text import logger, plain


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("  Änne\tvan  der 王小明 \n", "Änne van der 王小明"),
        ("Zoë 👩‍👩‍👧 مريم ‌می‌خواهم नेहा O'Neil <3 & co.", "Zoë 👩‍👩‍👧 مريم ‌می‌خواهم नेहा O'Neil <3 & co."),
        ("An\ud800na", "An na"),
        ("\x1b[2J\x1b]0;owned\x07Anna\x9b31m\x00", "[2J ]0;owned Anna 31m"),
        ("Anna\r\n[INFO] all\u2028is\u0085well", "Anna [INFO] all is well"),
        ("\u202eannA\u2066", "annA"),
        (None, ""),
        (5, "5"),
    ],
)
def test_letters_stay_and_what_steers_goes(typed: object, shown: str) -> None:
    assert plain(typed) == shown
    assert plain(shown).encode() == shown.encode()


def test_long_texts_are_shortened_to_the_letter() -> None:
    assert plain("x" * 100, 100) == "x" * 100
    assert plain("x" * 101, 100) == "x" * 97 + "..."
    assert plain(plain("x" * 5000, 100), 100) == plain("x" * 5000, 100)


def test_messages_logs_and_quoted_keys_can_be_written_to_a_console(caplog: pytest.LogCaptureFixture) -> None:
    error = LikenessError("The name \ud800 of\n\x1b[31mAnna" + "!" * 10_000_000 + " is odd.", "Choose\nanother\x07.")
    assert str(error).startswith("The name of [31mAnna!!!") and str(error).endswith("!... Choose another .")
    assert len(str(error).encode()) < 5000 and error.advice == "Choose another ."
    with caplog.at_level(logging.INFO):
        logger.info("Identity %s", "Anna: 1 of 1\nphoto \ud800 of \x1b[31mAnna")
    assert caplog.messages == ["Identity Anna: 1 of 1\nphoto of [31mAnna"]
    assert list(flatten({"a\ud800": {"b\x1b.weight": torch.zeros(1)}})) == ["a .b .weight"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (BadOrder("2", "there is no 2", 1, 1), "one number per place (1), e.g. 1: each person (1) at most once"),
        (BadOrder("", "it is empty", 3, 2), "one number per place (2), e.g. 3,2: each person (1 to 3) at most once"),
        (NotPlaced("Apply ID-Patch", ["Anna"]), "but Anna has no place"),
        (NotPlaced("Apply ID-Patch", ["Anna", "Ben"]), "but Anna, Ben have no place"),
        (ModelMissing("A file", ["a"], ["/m"], "web", "1 MB"), "a is not in /m. Download it from web (1 MB), put"),
        (ModelMissing("A pack", ["a", "b"], ["/m"], "web", "1 MB"), "a, b are not in /m."),
        (ModelMissing("A file", ["a"], ["/m", "/n"], "", ""), "is in none of the folders searched (/m, /n)."),
    ],
)
def test_one_of_something_is_not_several(error: LikenessError, said: str) -> None:
    assert said in str(error)


def test_a_message_is_headed_by_the_pack_and_not_by_the_path_of_a_file() -> None:
    classes = [LikenessError, *LikenessError.__subclasses__()]
    assert {kind.__module__ for kind in classes} == {"likeness"} and len(classes) > 10
