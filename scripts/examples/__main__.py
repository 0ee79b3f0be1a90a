"""Draws pictures/, the pictures that come with the pack: cd scripts && python -m examples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from environment import ROOT
from PIL import Image

from core.examples import marked

from .garments import GARMENTS, garment, pose, stands
from .ink import inked
from .portraits import PEOPLE, painted_shirt, portrait, standing, together


def pictures() -> Iterator[tuple[str, np.ndarray]]:
    """Every picture by its name, (H, W, 3 or 4) uint8."""
    for name, look in PEOPLE.items():
        yield name, portrait(look)
    two = [PEOPLE[name] for name in ("carla", "david")]
    yield "two", together(two, [(180, 245, 84), (392, 225, 84)], (768, 512))
    five = [PEOPLE[name] for name in ("farid", "elif", "ben", "carla", "anna")]
    places = [(297, 175, 77), (576, 180, 77), (135, 297, 83), (436, 315, 83), (733, 301, 83)]
    yield "five", together(five, places, (864, 576))
    for name, paint in GARMENTS.items():
        yield name, garment(paint)
    yield "ink", inked(portrait(PEOPLE["elif"]))
    yield "full_length", standing(PEOPLE["david"])
    yield "full_length_painted", painted_shirt(PEOPLE["david"])
    yield "pose", pose()
    yield "left", stands(-1)
    yield "right", stands(1)


def album() -> Iterator[tuple[str, np.ndarray]]:
    """Three pictures each of two people, in other clothes, light and mood, of other sizes."""
    others = {
        "anna": [
            {"smile": 0.09, "wall": (0.62, 0.70, 0.60), "shirt": (0.78, 0.30, 0.34)},
            {"smile": 0.01, "wall": (0.86, 0.76, 0.70), "shirt": (0.30, 0.32, 0.48), "makeup": 0.8},
        ],
        "farid": [
            {"smile": 0.08, "wall": (0.62, 0.70, 0.80), "shirt": (0.70, 0.66, 0.58)},
            {"smile": 0.01, "wall": (0.70, 0.78, 0.70), "shirt": (0.50, 0.26, 0.24), "brow_up": -0.19},
        ],
    }
    for name, changes in others.items():
        for number, (change, size) in enumerate(
            zip([{}, *changes], [(320, 400), (360, 360), (300, 360)], strict=True), 1
        ):
            yield f"{name}_{number}", portrait(replace(PEOPLE[name], **change), size)


def main() -> None:
    folder = ROOT / "pictures"
    (folder / "people").mkdir(parents=True, exist_ok=True)
    for name, pixels in album():
        Image.fromarray(pixels).save(folder / "people" / f"{name}.jpg", quality=90)
    for name, pixels in pictures():
        if name != "pose":  # every value of it says what part of the body is there
            pixels = marked(torch.from_numpy(pixels)).numpy()
        Image.fromarray(pixels).save(folder / f"likeness_{name}.png", optimize=True)


if __name__ == "__main__":
    main()
