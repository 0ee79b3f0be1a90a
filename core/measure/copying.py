"""Copy-paste as MultiID-Bench counts it (WithAnyone, arXiv 2510.14975): how near a face is to the very photo."""

import math
from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import normalize

SMALLEST_ANGLE = 1e-6
"""Radians. Two photos that are nearer to each other are one photo, and say nothing."""


def copied(face: Tensor, reference: Tensor, others: Sequence[Tensor]) -> float | None:
    """How much nearer a face is to the photo that it was drawn from than to other photos of the same person.

    face, reference, others: embeddings (512,) by one recogniser. The figure is (angle to another photo - angle to the
    reference) / (angle between the two photos), the mean over the others: 1 is a copy of the reference, -1 a copy of
    the other photo, 0 is neither. MultiID-Bench has one other photo, the picture that is to be matched.
    Returns None without another photo.
    """
    values: list[float] = []
    to_reference = _angle(face, reference)
    for other in others:
        between = _angle(reference, other)
        if between < SMALLEST_ANGLE:
            continue
        values.append((_angle(face, other) - to_reference) / between)
    if not values:
        return None
    return sum(values) / len(values)


def _angle(first: Tensor, second: Tensor) -> float:
    """The angle between two embeddings (512,), in radians."""
    cosine = float(normalize(first.double(), dim=-1) @ normalize(second.double(), dim=-1))
    return math.acos(max(-1.0, min(1.0, cosine)))
