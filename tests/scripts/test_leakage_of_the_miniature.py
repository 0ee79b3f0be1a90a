"""Looks that were mixed by hand: the leakage that is measured is what was mixed in, whatever the number of people."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from miniature import measure
from numpy.typing import NDArray

PICTURES = 4000
"""So many that what a look has in common with the looks beside it by chance is below 0.005."""
Looks = NDArray[np.float64]
"""(people, 9), 0..1."""


def with_all(looks: Looks) -> Looks:
    """A fifth of what is seen in each place is the mean look of all others."""
    people = len(looks)
    mixed = np.empty_like(looks)
    for place in range(people):
        others = [looks[other] for other in range(people) if other != place]
        mixed[place] = 0.8 * looks[place] + 0.2 * np.mean(others, axis=0)
    return mixed


def with_the_next(looks: Looks) -> Looks:
    """A fifth of what is seen in each place is the look of the person to the right, the last one's of the first."""
    mixed = np.empty_like(looks)
    for place in range(len(looks)):
        mixed[place] = 0.8 * looks[place] + 0.2 * looks[(place + 1) % len(looks)]
    return mixed


def pictures_of(counts: Sequence[int], mixed: Callable[[Looks], Looks], pictures: int) -> list[measure.Seen]:
    rng = np.random.default_rng(3)
    made: list[measure.Seen] = []
    for number in range(pictures):
        looks = rng.random((counts[number % len(counts)], 9))
        made.append(measure.Seen(torch.from_numpy(mixed(looks)).float(), torch.from_numpy(looks).float()))
    return made


def slopes(pictures: Sequence[measure.Seen]) -> tuple[float, float]:
    """Own and leakage in numpy, a row for each colour of each place that is seen."""
    rows: list[list[float]] = []
    values: list[float] = []
    for picture in pictures:
        found = picture.found.double().numpy()
        meant = picture.meant.double().numpy()
        for place in range(len(meant)):
            others = np.mean([meant[other] for other in range(len(meant)) if other != place], axis=0)
            for colour in range(9):
                if np.isnan(found[place, colour]):
                    continue
                rows.append([meant[place, colour], others[colour], 1.0])
                values.append(found[place, colour])
    solution = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0]
    return float(solution[0]), float(solution[1])


@pytest.mark.parametrize("people", [2, 3, 4, 8])
def test_a_fifth_of_all_others_is_exactly_a_fifth(people: int) -> None:
    own, leakage = measure.leakage(pictures_of([people], with_all, 40))
    assert own == pytest.approx(0.8, abs=1e-5) and leakage == pytest.approx(0.2, abs=1e-5)


@pytest.mark.parametrize("people", [2, 3, 4, 8])
def test_a_fifth_of_one_neighbour_is_a_fifth(people: int) -> None:
    own, leakage = measure.leakage(pictures_of([people], with_the_next, PICTURES))
    assert own == pytest.approx(0.8, abs=0.01) and leakage == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("mixed", [with_all, with_the_next])
def test_pictures_of_two_to_eight_people_measure_as_each_of_them_alone(mixed: Callable[[Looks], Looks]) -> None:
    """As in a row of a table that has groups of several sizes."""
    own, leakage = measure.leakage(pictures_of([2, 3, 4, 8], mixed, PICTURES))
    assert own == pytest.approx(0.8, abs=0.01) and leakage == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("people", [2, 3, 4, 8])
def test_the_regression_is_that_of_numpy(people: int) -> None:
    """Also where parts are hidden, and of looks that were not mixed by any rule."""
    rng = np.random.default_rng(people)
    made: list[measure.Seen] = []
    for _ in range(5):
        found = torch.from_numpy(rng.random((people, 9))).float()
        found[rng.integers(people), 3:6] = torch.nan
        made.append(measure.Seen(found, torch.from_numpy(rng.random((people, 9))).float()))
    assert tuple(measure.leakage(made)) == pytest.approx(slopes(made), rel=5e-6)


def test_a_person_alone_has_no_leakage() -> None:
    """Nor do such pictures change that of others."""
    alone = pictures_of([1], np.copy, 3)
    together = pictures_of([3], with_all, 10)
    own, leakage = measure.leakage(alone)
    assert np.isnan(own) and np.isnan(leakage)
    assert measure.leakage([*alone, *together]) == pytest.approx(measure.leakage(together), abs=1e-6)
