"""What batch.py says that a run will take."""

from __future__ import annotations

import pytest
from batch.estimate import FIRST_ROWS, Pace, Took, duration
from environment import SetupError

MEGABYTE = 10**6


@pytest.mark.parametrize(
    ("seconds", "text"), [(119, "119 s"), (120, "2 min"), (3 * 3600 / 2, "90 min"), (7200, "2.0 h"), (90000, "25.0 h")]
)
def test_a_time_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_earlier_rows_tell_what_the_others_take() -> None:
    earlier = Took()
    earlier.add(8.0, 3 * MEGABYTE)
    earlier.add(12.0, MEGABYTE)
    sentence = "5.0 s and 2 MB a row: 100 rows to come take 8 min and 200 MB"
    assert earlier.estimate(100, 200 * MEGABYTE, "here", workers=2) == f"{sentence}; 200 MB are free."
    assert earlier.estimate(100, None, "s3://here", workers=2) == f"{sentence}."
    assert earlier.estimate(100, 199 * MEGABYTE, "here", 2).endswith(" They do not fit: make room while it runs.")
    with pytest.raises(SetupError, match=r"here has no room for all rows\. 10.0 s and 2 MB a row"):
        earlier.estimate(201, 200 * MEGABYTE, "here")


class Clock:
    """A clock that is set by hand."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.mark.parametrize(("seconds_per_row", "told_after"), [(2.0, FIRST_ROWS), (25.0, 4), (3600.0, 2)])
def test_the_first_rows_tell_it_once(seconds_per_row: float, told_after: int) -> None:
    """After ten rows, or a minute behind the first one, which waits for the models."""
    clock = Clock()
    clock.seconds = 300.0
    pace = Pace(clock)
    told: list[int] = []
    for number in range(1, 21):
        if pace.is_known_with(number * MEGABYTE):
            told.append(number)
        clock.seconds += seconds_per_row
    assert told == [told_after]
    assert pace.took.seconds / pace.took.count == pytest.approx(seconds_per_row)
    assert pace.took.count == told_after - 1
    assert pace.took.smallest_size == 2 * MEGABYTE
