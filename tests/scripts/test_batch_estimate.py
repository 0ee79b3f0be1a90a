"""What batch.py says that a run will take."""

from __future__ import annotations

from pathlib import Path

import pytest
from batch.estimate import FIRST_ROWS, Estimate, Pace, by_earlier_rows, duration
from batch.output import DoneRow
from environment import SetupError

MEGABYTE = 10**6


@pytest.mark.parametrize(
    ("seconds", "text"), [(119, "119 s"), (120, "2 min"), (3 * 3600 / 2, "90 min"), (7200, "2.0 h"), (90000, "25.0 h")]
)
def test_a_time_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_earlier_rows_tell_what_the_others_take() -> None:
    done_rows = [DoneRow(8.0, MEGABYTE), DoneRow(12.0, 3 * MEGABYTE)]
    estimate = by_earlier_rows(done_rows, 100, 2, 10**12)
    assert estimate == Estimate(rows=100, seconds=5.0, size=2 * MEGABYTE, smallest_size=MEGABYTE, free=10**12)
    assert by_earlier_rows([], 100, 2, 10**12) is None


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
    estimates: list[tuple[int, Estimate]] = []
    for number in range(1, 21):
        pace.add(number * MEGABYTE)
        estimate = pace.first_estimate(100 - number, 10**12)
        if estimate:
            estimates.append((number, estimate))
        clock.seconds += seconds_per_row
    assert [number for number, _ in estimates] == [told_after]
    estimate = estimates[0][1]
    assert estimate.rows == 100 - told_after
    assert estimate.seconds == pytest.approx(seconds_per_row)
    assert estimate.size == pytest.approx(MEGABYTE * (told_after + 1) / 2)
    assert estimate.smallest_size == MEGABYTE


def test_a_run_whose_rows_are_all_done_is_told_nothing() -> None:
    clock = Clock()
    pace = Pace(clock)
    for _ in range(FIRST_ROWS):
        pace.add(MEGABYTE)
        clock.seconds += 1
    assert pace.first_estimate(0, 10**12) is None


def test_what_has_no_room_is_said_or_refused(tmp_path: Path) -> None:
    fits = Estimate(rows=100, seconds=3.0, size=2 * MEGABYTE, smallest_size=MEGABYTE, free=200 * MEGABYTE)
    assert fits.sentence() == ("3.0 s and 2 MB a row: 100 rows to come take 5 min and 200 MB; 200 MB are free.")
    fits.require_room(tmp_path)
    tight = Estimate(rows=101, seconds=3.0, size=2 * MEGABYTE, smallest_size=MEGABYTE, free=200 * MEGABYTE)
    assert tight.sentence().endswith(" They do not fit: make room while it runs.")
    tight.require_room(tmp_path)
    hopeless = Estimate(rows=201, seconds=3.0, size=2 * MEGABYTE, smallest_size=MEGABYTE, free=200 * MEGABYTE)
    with pytest.raises(SetupError, match="has no room for all rows"):
        hopeless.require_room(tmp_path)
