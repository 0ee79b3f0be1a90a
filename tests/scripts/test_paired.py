"""Two ways compared over prompts: against every throw of the coins by hand, and where the answer is known."""

from __future__ import annotations

import itertools

import pytest
from paired import difference

CHANGES = [0.31, -0.02, 0.12, 0.08, -0.07, 0.2, 0.05, 0.01]


def pairs(*changes: float) -> dict[str, list[tuple[float, float]]]:
    return {str(n): [(0.4, 0.4 + change)] for n, change in enumerate(changes)}


def test_p_is_the_share_of_throws_that_are_as_far_from_nothing() -> None:
    found, mean = difference(pairs(*CHANGES)), sum(CHANGES) / len(CHANGES)
    throws = [sum(s * c for s, c in zip(signs, CHANGES, strict=True)) for signs in itertools.product((1, -1), repeat=8)]
    assert found.p == sum(abs(one) / 8 >= mean - 1e-9 for one in throws) / 256
    assert found.mean == pytest.approx(mean) and (found.up, found.down) == (6, 2)
    error = (sum((c - mean) ** 2 for c in CHANGES) / 8 / 8) ** 0.5  # of a mean of eight
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.05)
    many = {"a": [(0.0, 1.0)] * 30, "b": [(0.0, 0.0)]}
    assert difference(many).mean == pytest.approx(0.5), "a prompt counts once, however many pictures it has"
    for changes, p in (((1.0,) * 10, 2 / 1024), ((0.5, -0.5), 1.0), ((0.0,) * 3, 1.0), ((1.0,) * 20, 0.0), ((1.0,), 1)):
        found = difference(pairs(*changes))
        assert found.p == pytest.approx(p, abs=1e-4) and found.low <= found.mean <= found.high
