"""Whether the embeddings and pictures of a person can be used: they may come from files."""

import torch
from torch import Tensor

from ..cast import ALIGNED, EMBEDDING, FFHQ, LOOSE, Person, Portraits
from ..checks.errors import BadEmbedding

_SMALLEST = 1e-6
_BRIGHTEST = 2.0
"""No absolute value of a crop, 0..1, is larger, also where it was made by a filter that goes beyond black and white."""
_LARGEST = 1e4
"""The largest number of every embedding lies between these two; the numbers of recognisers reach a few units."""


def lengths(rows: Tensor) -> Tensor:
    """The length of each row. rows: (n, c). Returns (n, 1)."""
    return rows.square().sum(dim=1, keepdim=True).sqrt()


def why_bad(rows: Tensor) -> str | None:
    """Why embeddings cannot be used, as the end of a sentence about one of them; None when they can.

    rows: (n, EMBEDDING); n may be 0.
    """
    if rows.ndim != 2 or rows.shape[1] != EMBEDDING:
        return f"it has the shape {tuple(rows.shape)} instead of (photos, {EMBEDDING})"
    if rows.isnan().any():
        return "it contains NaN"
    if rows.isinf().any():
        return "it contains infinity"
    if not len(rows):
        return None
    largest_numbers = rows.abs().amax(dim=1)  # (n,)
    smallest = float(largest_numbers.min())
    largest = float(largest_numbers.max())
    if smallest == 0:
        return "it is all zeros"
    if smallest < _SMALLEST:
        return f"none of its numbers is above {smallest:g}"
    if largest > _LARGEST:
        return f"its numbers reach {largest:g}"
    return None


def why_bad_crops(crops: Tensor) -> str | None:
    """Why crops cannot be used, as the end of a sentence; None when they can. crops: of any shape."""
    if not crops.isfinite().all():
        return "its crops contain NaN or infinity"
    if crops.numel() and float(crops.abs().max()) > _BRIGHTEST:
        return f"the numbers of its crops reach {float(crops.abs().max()):g} in the place of 1"
    return None


def why_bad_portraits(portraits: Portraits, photo_count: int) -> str | None:
    """Why portraits cannot be used, as the end of a sentence; None when they can.

    photo_count: the number of photos that the person has; each must have a portrait of each kind.
    """
    kinds = (
        ("aligned", portraits.aligned, ALIGNED),
        ("loose", portraits.loose, LOOSE),
        ("ffhq", portraits.ffhq, FFHQ),
    )
    for kind, pictures, side in kinds:
        shape = tuple(pictures.shape)
        expected = (photo_count, side, side, 3)
        if shape != expected or pictures.dtype != torch.uint8:
            return f"its {kind} portraits are {pictures.dtype} of shape {shape}, not uint8 of {expected}"
    return None


def check(person: Person) -> Person:
    """The person itself. Raises BadEmbedding when one of its embeddings cannot be used."""
    for recogniser, rows in person.embeddings.items():
        why = why_bad(rows)
        if why:
            raise BadEmbedding(person.name, recogniser, why)
    return person


def photos_of(person: Person) -> int:
    """The number of photos that the person was made of; 0 when none of them showed a face."""
    return len(person.crops)
