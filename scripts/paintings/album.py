"""The painted pictures of the pack, by their names in pictures/."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from PIL import Image

from .garments import GARMENTS, garment, pose, stands
from .ink import inked
from .looks import PEOPLE
from .portraits import Place, painted_shirt, portrait, standing, together

Paint = Callable[[], np.ndarray]
"""Paints (H, W, 3 or 4) uint8."""

TWO = ("carla", "david")
PLACES_OF_TWO: tuple[Place, ...] = ((180, 245, 84), (392, 225, 84))
FIVE = ("farid", "elif", "ben", "carla", "anna")
PLACES_OF_FIVE: tuple[Place, ...] = (
    (297, 175, 77), (576, 180, 77), (135, 297, 83), (436, 315, 83), (733, 301, 83),
)  # fmt: skip

PHOTO_SIZES = ((320, 400), (360, 360), (300, 360))
"""Of the photos of each person in pictures/people."""
CHANGES = {
    "anna": [
        {},
        {"smile": 0.09, "wall": (0.62, 0.70, 0.60), "shirt": (0.78, 0.30, 0.34)},
        {"smile": 0.01, "wall": (0.86, 0.76, 0.70), "shirt": (0.30, 0.32, 0.48), "makeup": 0.8},
    ],
    "farid": [
        {},
        {"smile": 0.08, "wall": (0.62, 0.70, 0.80), "shirt": (0.70, 0.66, 0.58)},
        {"smile": 0.01, "wall": (0.70, 0.78, 0.70), "shirt": (0.50, 0.26, 0.24), "brow_up": -0.19},
    ],
}
"""What is different in the photos of a person: clothes, light and mood."""


def examples() -> dict[str, Paint]:
    """What paints each example picture, by its name without likeness_."""
    paints: dict[str, Paint] = {}
    for name, look in PEOPLE.items():
        paints[name] = partial(portrait, look)
    paints["two"] = partial(together, [PEOPLE[name] for name in TWO], PLACES_OF_TWO, (768, 512))
    paints["five"] = partial(together, [PEOPLE[name] for name in FIVE], PLACES_OF_FIVE, (864, 576))
    for name, paint in GARMENTS.items():
        paints[name] = partial(garment, paint)
    paints["ink"] = lambda: inked(portrait(PEOPLE["elif"]))
    paints["full_length"] = partial(standing, PEOPLE["david"])
    paints["full_length_painted"] = partial(painted_shirt, PEOPLE["david"])
    paints["pose"] = pose
    paints["left"] = partial(stands, -1)
    paints["right"] = partial(stands, 1)
    return paints


def photos() -> dict[str, Paint]:
    """What paints each picture of pictures/people, by its name."""
    paints: dict[str, Paint] = {}
    for name, changes in CHANGES.items():
        for number, (change, size) in enumerate(zip(changes, PHOTO_SIZES, strict=True), 1):
            paints[f"{name}_{number}"] = partial(portrait, replace(PEOPLE[name], **change), size)
    return paints


MARK = np.unpackbits(np.frombuffer(b"Likeness", np.uint8), bitorder="little")
"""What the nodes know an example by: the lowest bits of the first pixels of the first row, alike in all three colours
(core/pictures.py)."""


def marked(pixels: np.ndarray) -> np.ndarray:
    """The picture, (H, W, 3 or 4) uint8, with the mark of an example."""
    copy = pixels.copy()
    first = copy[0, : len(MARK), :3]
    copy[0, : len(MARK), :3] = first // 2 * 2 + MARK[:, None]
    return copy


def example_file(name: str, pixels: np.ndarray) -> bytes:
    """A PNG with the mark by which the nodes know an example again.

    The pose has none: each of its values says which part of the body is there.
    """
    if name != "pose":
        pixels = marked(pixels)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return file.getvalue()


def photo_file(pixels: np.ndarray) -> bytes:
    """A JPEG, as photos are."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()
