"""Pictures chosen by a score."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from .judge import NODE
from .report import Measured, Report
from .words import summary

SCORES: Mapping[str, Callable[[Measured], float | None]] = {
    "weakest person": lambda one: one.weakest,
    "resemblance": lambda one: one.resemblance,
    "association": lambda one: one.association,
    "margin": lambda one: one.margin,
    "leakage": lambda one: one.leakage,
    "copy-paste": lambda one: one.copy_paste,
    "parts": lambda one: one.part_similarity,
}
"""By name. Of leakage and copy-paste less is better."""
_LESS_IS_BETTER = ("leakage", "copy-paste")


def scores(report: Report, name: str) -> list[float | None]:
    """Of every picture, by the recogniser that judges; None where a picture has no such score."""
    return [SCORES[name](one) for one in report.judged]


def ranking(report: Report, name: str) -> list[int]:
    """Numbers of the pictures, from 0, from best to worst.

    Where less is better, nobody may win by being missing. Of equal pictures those come first in which more people are
    right, fewer strangers stand and people are more alike; those without the score come last.
    """

    def key(number: int) -> tuple[float, ...]:
        one, value = report.judged[number], SCORES[name](report.judged[number])
        less = name in _LESS_IS_BETTER
        gone = one.missing if less else 0
        best = math.inf if value is None else value if less else -value
        return (gone, best, -one.association, len(one.extra), -one.resemblance, number)

    return sorted(range(len(report.judged)), key=key)


def ranked(report: Report, name: str) -> list[str]:
    """All pictures from best to worst, a line each."""
    values = scores(report, name)
    told = ["none" if value is None else f"{value:.3f}" for value in values]
    return [f"picture {n + 1}: {name} {told[n]} ({summary(report.judged[n])})" for n in ranking(report, name)]


def nobody_seen(report: Report, score: str) -> str:
    """What the numbers of a choice do not say: empty where somebody of the cast was found in some picture."""
    if score == "parts" or any(one.present for one in report.judged):
        return ""
    many = "the picture" if len(report.judged) == 1 else f"any of the {len(report.judged)} pictures"
    return (
        f"No person of the cast was found in {many}, so none is better than another. Look at the pictures of {NODE}: "
        "where your people are shown as strangers, lower its stranger_below."
    )
