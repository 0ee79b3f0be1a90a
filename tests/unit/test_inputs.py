"""Casts are known for what they are. What nodes take and refuse is in tests/support/hostile."""

from pack.core.people import Cast, PlacedCast, RowCast, is_a


def test_what_was_made_before_the_pack_was_loaded_anew_is_still_known() -> None:
    """Then there are two of each class, and the host may keep what the older one made."""
    older = type("RowCast", (type("Cast", (), {}),), {})()
    assert is_a(older, Cast)
    assert is_a(older, RowCast)
    assert not is_a(older, PlacedCast)
    assert is_a(RowCast((), 8, 8), PlacedCast)
    assert not is_a(PlacedCast((), 8, 8), RowCast)
    assert not is_a(None, Cast)
