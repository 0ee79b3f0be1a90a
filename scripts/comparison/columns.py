"""The columns of compare.py: what each one says, where it is from, and how it is read of a row's pictures."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pack.core.measure.figures import Totals, mean, totals, weakest_person
from pack.core.measure.measuring import STRANGER_BELOW

from .formulas import CLEAR, COLLAPSED_BELOW, blending, collapse_rate, dominance
from .judged import Judged

DINO, CLIP = "DINOv2", "CLIP"
"""Judges that need files of their own."""
OfRow = Callable[[Sequence[Judged]], float | None]


@dataclass(frozen=True)
class Column:
    """A column of the table.

    name: in the table. meaning: one sentence. source: where the figure is from. best: the value of a perfect row, ""
    for none. of_row: the value of all pictures of a row, None where they have none. for_several: whether it says
    something of two or more people alone. judge: what it needs beside faces, DINO or CLIP.
    """

    name: str
    meaning: str
    source: str
    best: str
    of_row: OfRow
    for_several: bool = False
    judge: str = ""


def _mean_of(of_picture: Callable[[Judged], float | None]) -> OfRow:
    """The mean over the pictures for which it is known."""
    return lambda judged: mean(of_picture(picture) for picture in judged)


def _median_of(of_picture: Callable[[Judged], float | None]) -> OfRow:
    """The middle one of the values that are known, the lower one of two; None where none is."""

    def of_row(judged: Sequence[Judged]) -> float | None:
        numbers = [value for value in map(of_picture, judged) if value is not None]
        return statistics.median_low(numbers) if numbers else None

    return of_row


def text_alignment(judged: Sequence[Judged]) -> float | None:
    """The mean cosine of CLIP's embeddings of the picture and the prompt."""
    return mean(picture.text_alignment for picture in judged)


def _totals(judged: Sequence[Judged]) -> Totals:
    return totals([picture.measured for picture in judged])


def _people(judged: Sequence[Judged]) -> int:
    return sum(picture.people for picture in judged)


def _leakage(judged: Sequence[Judged]) -> float | None:
    return _totals(judged).leakage if any(picture.measured.present for picture in judged) else None


_COLLAPSE = "When Identities Collapse, arXiv 2603.26078"
_BINDING = "after MultiBind, arXiv 2603.21937"
COLUMNS = (
    Column(
        "resemblance", "The mean similarity of people to their own photos, where a missing person counts as 0.",
        "ours; Sim(Ref) of MultiID-Bench, arXiv 2510.14975, leaves missing people out", "1",
        lambda judged: _totals(judged).resemblance,
    ),
    Column(
        "weakest person",
        "The mean over pictures of the lowest similarity of a person to their own photos, where a missing person "
        "counts as 0.", "ours; a score of Pick Best Likeness", "1",
        _mean_of(lambda picture: weakest_person(picture.measured)), True,
    ),
    Column(
        "association", "The share of people whose face is more like them than like any other person of the picture.",
        "ID-Patch, arXiv 2411.13632", "1", lambda judged: _totals(judged).association, True,
    ),
    Column(
        "leakage",
        "The mean over faces of the highest similarity to another person; of kin less what they share by nature.",
        "ours; the blending of MultiID-Bench is the mean over all others", "0", _leakage, True,
    ),
    Column(
        "missing", "The share of people who have no face in their place.", "ours", "0",
        lambda judged: _totals(judged).missing / _people(judged),
    ),
    Column(
        "extra", "The number of faces in a picture that belong to no person.", "ours", "0",
        lambda judged: _totals(judged).extra / len(judged),
    ),
    Column(
        "swapped", "The share of people whose face is more like another person of the picture.",
        "swap of MultiBind, arXiv 2603.21937", "0", lambda judged: _totals(judged).swapped / _people(judged), True,
    ),
    Column(
        "dominance",
        "The share of faces that repeat a person whom another face of the picture already looks most like.",
        _BINDING, "0", _mean_of(lambda picture: dominance(picture.measured)), True,
    ),
    Column(
        "blending",
        f"The share of faces whose two highest similarities both reach {STRANGER_BELOW} and are less than "
        f"{CLEAR} apart, the second more than {CLEAR} above how alike the photos of these two people are.",
        _BINDING, "0", _mean_of(lambda picture: blending(picture.measured, picture.alike_in_photos)), True,
    ),
    Column(
        "collapse",
        f"The share of people who are missing, or whose face with its surroundings has a DINOv2 similarity below "
        f"{COLLAPSED_BELOW} to that of their first photo.",
        f"Subject Collapse Rate of {_COLLAPSE}, of each person by themselves", "0",
        _mean_of(lambda picture: collapse_rate(picture.subjects)), judge=DINO,
    ),
    Column(
        f"SCR@{COLLAPSED_BELOW}",
        f"The share of people whose first photo has a DINOv2 similarity below {COLLAPSED_BELOW} to the whole picture.",
        f"Subject Collapse Rate of {_COLLAPSE}, as published", "0",
        _mean_of(lambda picture: collapse_rate(picture.whole)), judge=DINO,
    ),
    Column(
        "copy-paste",
        "The angle of a face to another photo of the person less its angle to the photo that it was drawn from, in "
        "angles between the two photos: 1 is a copy, 0 is as near to both.",
        "MultiID-Bench, arXiv 2510.14975, with another photo in the place of its ground truth", "0",
        _mean_of(lambda picture: mean(picture.copied)),
    ),
    Column(
        "text alignment", "The cosine of CLIP's embeddings of the prompt and of the picture (CLIP-T).",
        "MultiID-Bench and When Identities Collapse, by SDXL's CLIP-G and ViT-bigG", "", text_alignment,
        judge=CLIP,
    ),
    Column(
        "seconds", "The seconds that a picture takes after its files are loaded, the median over the pictures. A first "
        "picture also takes what is done once.",
        "timed on the device that the table names", "", _median_of(lambda picture: picture.seconds),
    ),
    Column(
        "per step", "The seconds of the samplers by step, the median over the pictures.",
        "timed on the device that the table names", "", _median_of(lambda picture: picture.step_seconds),
    ),
)  # fmt: skip


def figures(judged: Sequence[Judged], columns: Sequence[Column] = COLUMNS) -> dict[str, float | None]:
    """The value of every column, of the pictures of one row; None where it says nothing of them."""
    values: dict[str, float | None] = {}
    for column in columns:
        value = None
        if not column.for_several or any(picture.people > 1 for picture in judged):
            value = column.of_row(judged)
        if value is not None and not math.isfinite(value):
            value = None
        values[column.name] = value
    return values
