"""Pictures without a real face in them: a drawing of the pack, and noise."""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

PHOTO = Path(__file__).resolve().parents[2] / "pictures" / "likeness_anna.png"


def photo() -> Image.Image:
    with Image.open(PHOTO) as opened:
        return opened.convert("RGB").resize((96, 64))


def picture(seed: int, width: int = 100, height: int = 140, channels: int = 3) -> Tensor:
    """(1, height, width, channels), in steps of 1/255 like pictures from files."""
    values = torch.randint(0, 256, (1, height, width, channels), generator=torch.Generator().manual_seed(seed))
    return values.float() / 255
