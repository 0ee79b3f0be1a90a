"""Photos at the size InstantID's authors give them, against what their resize_img made of the same sizes."""

import numpy as np
import pytest
import torch
from pack.core.checks.errors import BadSize
from pack.core.pictures.tensors import LONGER_SIDE, MULTIPLE_OF, resized_photo
from PIL import Image

# (width, height) of a photo: what the authors' function gives with 1280, and with their demo's 1024.
SIZES = {
    (1024, 1024): ((1280, 1280), (1024, 1024)), (3024, 4032): ((960, 1280), (768, 1024)),
    (1920, 1080): ((1280, 704), (1024, 576)), (230, 330): ((832, 1280), (704, 1024)),
    (200, 572): ((384, 1280), (320, 1024)),  # 448 with one rounding in the place of two
    (333, 4000): ((64, 1280), (64, 1024)),
}  # fmt: skip


def test_sizes_are_the_authors() -> None:
    for size, expected in SIZES.items():
        photo = torch.zeros(1, size[1], size[0], 1)
        resized = [resized_photo(photo, side, MULTIPLE_OF) for side in (LONGER_SIDE, 1024)]
        assert tuple((picture.shape[2], picture.shape[1]) for picture in resized) == expected
    with pytest.raises(BadSize, match=r"The photo is 4000x100 px; 1280x32 px .* must reach 64 px\. Cut the photo"):
        resized_photo(torch.zeros(1, 100, 4000, 3), LONGER_SIDE, MULTIPLE_OF)


@pytest.mark.parametrize("size", [(123, 170), (700, 512)], ids=["enlarged", "reduced"])
def test_pixels_are_pillows_in_both_steps(size: tuple[int, int]) -> None:
    """But for Pillow's rounding to whole numbers, which happens four times."""
    photo = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    resized = resized_photo(torch.from_numpy(photo)[None] / 255, 320, 64)[0]
    side = round(320 / max(size) * min(size))
    scaled = (side, 320) if size[0] < size[1] else (320, side)
    pillow = Image.fromarray(photo).resize(scaled, Image.Resampling.BILINEAR)
    pillow = pillow.resize((resized.shape[1], resized.shape[0]), Image.Resampling.BILINEAR)
    assert (resized - torch.from_numpy(np.array(pillow)) / 255).abs().max() < 1.6 / 255
