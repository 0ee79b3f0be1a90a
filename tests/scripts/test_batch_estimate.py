"""What batch.py says that a run will take."""

from __future__ import annotations

import pytest
from batch.estimate import FIRST_ROWS, RowCosts
from environment import SetupError

MEGABYTE = 10**6


def test_earlier_rows_tell_what_the_others_take() -> None:
    earlier = RowCosts()
    earlier.add(8.0, 3 * MEGABYTE)
    earlier.add(12.0, MEGABYTE)
    sentence = "5.0 s and 2 MB a row: 100 rows to come take 08:20 and 200 MB"
    assert earlier.estimate(100, 200 * MEGABYTE, "here", workers=2) == f"{sentence}; 200 MB are free."
    assert earlier.estimate(100, None, "s3://here", workers=2) == f"{sentence}."
    assert earlier.estimate(100, 199 * MEGABYTE, "here", 2).endswith(" They do not fit: make room while it runs.")
    with pytest.raises(SetupError, match=r"here has no room for all rows\. 10.0 s and 2 MB a row"):
        earlier.estimate(201, 200 * MEGABYTE, "here")


@pytest.mark.parametrize(("seconds_per_row", "told_after"), [(2.0, FIRST_ROWS), (25.0, 4), (3600.0, 2)])
def test_the_first_rows_tell_it(seconds_per_row: float, told_after: int) -> None:
    """After ten rows, or a minute behind the first one, which waits for the models and is not added."""
    costs = RowCosts()
    for number in range(2, told_after + 1):
        assert not costs.is_enough
        costs.add(seconds_per_row, number * MEGABYTE)
    assert costs.is_enough
    assert costs.smallest_size == 2 * MEGABYTE
