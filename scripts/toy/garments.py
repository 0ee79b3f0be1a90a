"""Pictures to try the toy model's outfits with: a face, hair, clothes and a pose."""

from pathlib import Path

from shared import photos
from torch import Tensor

SIZE = (128, 192)
"""Width and height of pictures of people in clothes."""
LABELS = ("shoes", "lower body clothes", "upper body clothes", "face", "hair or headwear")
"""What a part can be, in the order in which the networks count them."""
FOLDER = Path(__file__).parent / "clothes"
"""Drawn in the same way as what the networks were trained on."""
PARTS = {
    "face": "face",
    "hair": "hair or headwear",
    "shirt": "upper body clothes",
    "trousers": "lower body clothes",
}
"""What each picture of a part shows, of LABELS."""


def examples() -> dict[str, Tensor]:
    """PARTS by their names, and "pose", which is what Draw Skeletons draws of a body: (3, H, W) each, 0..1."""
    return {name: photos.pixels(FOLDER / f"{name}.png").movedim(-1, 0) for name in (*PARTS, "pose")}
