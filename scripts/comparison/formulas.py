"""Figures: people who are confused (MultiBind), who have collapsed, and faces that copy their photo.

**Dominance and blending** are MultiBind's (arXiv 2603.21937), which reads both from a matrix of similarities between
generated subjects and real ones, less how alike the real ones are to each other. Its thresholds are not in the public
text that we could read, so those here are our own.

**Collapse** is the Subject Collapse Rate of "When Identities Collapse" (arXiv 2603.26078): a subject has collapsed
where the cosine of the DINOv2 embeddings of the generated picture and of its reference photo is below a threshold. The
paper takes 0.4, 0.5 and 0.6 and draws its curves at 0.4.

**Copy-paste** is counted as MultiID-Bench does (arXiv 2510.14975): how near a face is to the very photo.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from pack.core.cast import Person
from pack.core.measure.figures import mean
from pack.core.measure.measuring import NODE, STRANGER_BELOW
from pack.core.measure.report import MeasuredPicture
from pack.core.persons.combining import combine
from torch import Tensor
from torch.nn.functional import normalize

CLEAR = 0.1
"""Cosine. A face shows the more similar one of two people clearly where it is at least this much more like them."""


def between_people(people: Sequence[Person], recogniser: str) -> list[list[float]]:
    """How alike people are in their photos: one cosine for each pair, of the mean embeddings of their photos.

    Returns one row per person, in their order. Raises BadEmbedding for embeddings that cannot be compared.
    """
    # (people, 512)
    directions = torch.cat([combine(person, recogniser, "mean", NODE).float() for person in people])
    directions = normalize(directions, dim=-1)
    return [[float(first @ second) for second in directions] for first in directions]


def dominance(picture: MeasuredPicture) -> float | None:
    """The share of faces that repeat a person whom another face of the picture already looks most like.

    0 where every face looks like another person, exchanged people too. (N - 1) / N where N faces look like one person.
    None without two people who have a face.
    """
    if len(picture.present) < 2:
        return None
    people_seen = {sighting.looks_like for sighting in picture.present}
    return (len(picture.present) - len(people_seen)) / len(picture.present)


def blending(picture: MeasuredPicture, alike_in_photos: Sequence[Sequence[float]]) -> float | None:
    """The share of faces that are near to two people and clearly to none.

    A face is one where the two highest similarities both reach STRANGER_BELOW, are less than CLEAR apart, and the
    second is more than CLEAR above how alike the photos of these two people are: look-alikes are not blended.
    alike_in_photos: from `between_people`. None without two people who have a face.
    """
    if len(picture.present) < 2:
        return None
    blended = 0
    for sighting in picture.present:
        if _is_blended(sighting.similarities, alike_in_photos):
            blended += 1
    return blended / len(picture.present)


def _is_blended(similarities: Sequence[float], alike_in_photos: Sequence[Sequence[float]]) -> bool:
    """Whether a face with these similarities, one per person, is near to two people and clearly to none."""
    by_similarity = sorted(range(len(similarities)), key=lambda person: -similarities[person])
    first, second = by_similarity[:2]
    if similarities[second] < STRANGER_BELOW:
        return False
    if similarities[first] - similarities[second] >= CLEAR:
        return False
    return similarities[second] - alike_in_photos[first][second] > CLEAR


COLLAPSED_BELOW = 0.4
"""Cosine. The lowest threshold of the paper, that of its figures."""


def collapse_rate(similarities: Sequence[float | None], below: float = COLLAPSED_BELOW) -> float | None:
    """The share of people whose similarity is below a threshold.

    similarities: one cosine per person; None for a person who is missing, and has collapsed for certain.
    Returns None for no people.
    """
    if not similarities:
        return None
    collapsed = 0
    for similarity in similarities:
        if similarity is None or similarity < below:
            collapsed += 1
    return collapsed / len(similarities)


SMALLEST_ANGLE = 1e-6
"""Radians. Two photos that are nearer to each other count as one photo, which says nothing of copying."""


def copied(face: Tensor, reference: Tensor, others: Sequence[Tensor]) -> float | None:
    """How much nearer a face is to the photo that it was drawn from than to other photos of the same person.

    face, reference, others: embeddings (512,) by one recogniser. The figure is (angle to another photo - angle to the
    reference) / (angle between the two photos), the mean over the others: 1 is a copy of the reference, -1 a copy of
    the other photo, 0 is neither. MultiID-Bench has one other photo, the picture that is to be matched.
    Returns None without another photo.
    """
    values: list[float] = []
    to_reference = _between(face, reference)
    for other in others:
        between = _between(reference, other)
        if between < SMALLEST_ANGLE:
            continue
        values.append((_between(face, other) - to_reference) / between)
    return mean(values)


def _between(first: Tensor, second: Tensor) -> float:
    """The angle between two embeddings (512,), in radians."""
    cosine = float(normalize(first.double(), dim=-1) @ normalize(second.double(), dim=-1))
    return math.acos(max(-1.0, min(1.0, cosine)))  # it may be rounded to more than 1
