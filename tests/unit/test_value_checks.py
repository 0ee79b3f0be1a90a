"""Casts are known for what they are, and links are named. What nodes take and refuse is in tests/support/hostile."""

import pytest
import torch
from pack.core.cast import Cast, PlacedCast, RowCast, is_a
from pack.core.checks.value_checks import named


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("\ud800" * 50, "the text '" + "\\ud800" * 40 + "...'"),
        (None, "nothing (None)"), ("a man", "the text 'a man'"), ("x" * 40, f"the text '{'x' * 40}'"),
        ("x" * 41, f"the text '{'x' * 40}...'"), (7, "7"), (10**400, "a number of too many digits"),
        (torch.zeros(1, 8), "an object of type Tensor of shape (1, 8)"), ([], "an object of type list"),
    ],
)  # fmt: skip
def test_a_value_of_a_link_in_words(value: object, words: str) -> None:
    assert named(value) == words


def test_what_was_made_before_the_pack_was_loaded_anew_is_still_known() -> None:
    """Then there are two of each class, and the host may keep what the older one made."""
    older = type("RowCast", (type("Cast", (), {}),), {})()
    assert is_a(older, Cast)
    assert is_a(older, RowCast)
    assert not is_a(older, PlacedCast)
    assert is_a(RowCast((), 8, 8), PlacedCast)
    assert not is_a(PlacedCast((), 8, 8), RowCast)
    assert not is_a(None, Cast)
