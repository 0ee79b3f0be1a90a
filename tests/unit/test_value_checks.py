"""Casts are known for what they are, and links are named. What nodes take and refuse is in tests/support/hostile."""

import pytest
import torch
from pack.core.people import Cast, Identity, PlacedCast, RowCast, is_a
from pack.core.socket_values import check_identity
from pack.core.value_checks import named


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "nothing (None)"), ("a man", "the text 'a man'"), ("x" * 40, f"the text '{'x' * 40}'"),
        ("x" * 41, f"the text '{'x' * 40}...'"), (7, "7"), (10**400, "a number of too many digits"),
        (torch.zeros(1, 8), "an object of type Tensor of shape (1, 8)"), ([], "an object of type list"),
    ],
)  # fmt: skip
def test_a_value_of_a_link_in_words(value: object, words: str) -> None:
    assert named(value) == words


ROWS, CROPS = torch.ones(2, 512), torch.zeros(2, 112, 112, 3)


@pytest.mark.parametrize(("rows", "crops"), [(ROWS[0], CROPS), (ROWS.int(), CROPS), (ROWS, CROPS[0])])
def test_tensors_of_a_person_that_are_none_of_ours(rows: torch.Tensor, crops: torch.Tensor) -> None:
    """Of another shape, or whole numbers."""
    check_identity("", Identity("Anna", {"x": ROWS}, CROPS))
    with pytest.raises(ValueError, match=r"^embeddings of .*, crops of shape "):
        check_identity("", Identity("Anna", {"x": rows}, crops))


def test_what_was_made_before_the_pack_was_loaded_anew_is_still_known() -> None:
    """Then there are two of each class, and the host may keep what the older one made."""
    older = type("RowCast", (type("Cast", (), {}),), {})()
    assert is_a(older, Cast)
    assert is_a(older, RowCast)
    assert not is_a(older, PlacedCast)
    assert is_a(RowCast((), 8, 8), PlacedCast)
    assert not is_a(PlacedCast((), 8, 8), RowCast)
    assert not is_a(None, Cast)
