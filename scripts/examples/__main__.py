"""Draws examples/, the pictures that come with the pack: cd scripts && python -m examples."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from environment import ROOT
from PIL import Image

from core.examples import marked

from .garments import GARMENTS, garment, pose, stands
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
    yield "full_length", standing(PEOPLE["david"])
    yield "full_length_painted", painted_shirt(PEOPLE["david"])
    yield "pose", pose()
    yield "left", stands(-1)
    yield "right", stands(1)


def main() -> None:
    folder = ROOT / "examples"
    folder.mkdir(exist_ok=True)
    for name, pixels in pictures():
        if name != "pose":  # every value of it says what part of the body is there
            pixels = marked(torch.from_numpy(pixels)).numpy()
        Image.fromarray(pixels).save(folder / f"likeness_{name}.png", optimize=True)


if __name__ == "__main__":
    main()
