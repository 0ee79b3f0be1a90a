"""Which layers of a UNet draw the style, and which lay out; the square in which CLIP sees a picture of it."""

import pytest
import torch
from pack.core.checks.errors import BadSetup
from pack.core.pictures.tensors import CLIP_MEAN
from pack.nodes.ip_adapter import net
from pack.nodes.ip_adapter.net import CROP, PAD, fitted


def layers_of(section: str, depths: dict[int, int]) -> list[tuple[str, int, int]]:
    """depths: the number of a block -> how many layers it has."""
    layers = []
    for block, depth in depths.items():
        layers += [(section, block, layer) for layer in range(depth)]
    return layers


SDXL = [
    *layers_of("input", {4: 2, 5: 2, 7: 10, 8: 10}),
    *layers_of("output", {0: 10, 1: 10, 2: 10, 3: 2, 4: 2, 5: 2}),
    *layers_of("middle", {0: 10}),
]
SD15 = [*(("input", n, 0) for n in (1, 2, 4, 5, 7, 8)), *(("output", n, 0) for n in range(3, 12)), ("middle", 0, 0)]


@pytest.mark.parametrize(
    ("blocks", "style", "layout"),
    [(SDXL, range(34, 44), range(14, 24)), (SD15, (6, 7, 8), (4, 5, 15))],
    ids=["SDXL", "SD1.5"],
)
def test_layers_are_those_of_the_published_keys(blocks, style, layout):
    """Published keys count attention layers, so that cross-attention layer n is key 2 n + 1."""
    layers = {}
    for choice in net.CHOICES:
        are_chosen = net.chosen_layers(blocks, choice)
        layers[choice] = {number for number, is_chosen in enumerate(are_chosen) if is_chosen}
    assert layers == {
        "style": {*style},
        "layout": {*layout},
        "style and layout": {*style, *layout},
        "all": {*range(len(blocks))},
    }


def test_a_unet_with_other_blocks_has_all_or_nothing():
    """SSD-1B, without attention in the middle."""
    blocks = [block for block in SDXL if block[0] != "middle"]
    assert all(net.chosen_layers(blocks, net.ALL))
    with pytest.raises(BadSetup, match=r"layers is 'style', .* blocks input 4, .*output 5, .*'all'"):
        net.chosen_layers(blocks, net.STYLE)


@pytest.mark.parametrize(("high", "wide"), [(4, 9), (9, 4), (5, 5)])
def test_pictures_become_squares_with_bars_of_what_clip_sees_as_nothing(high, wide):
    images = torch.rand(2, high, wide, 3)
    padded = fitted(images, PAD)
    cropped = fitted(images, CROP)
    side = max(high, wide)
    assert torch.equal(cropped, images)
    assert padded.shape == (2, side, side, 3)
    top = (side - high) // 2
    left = (side - wide) // 2
    assert torch.equal(padded[:, top : top + high, left : left + wide], images)
    padded[:, top : top + high, left : left + wide] = torch.tensor(CLIP_MEAN)
    assert torch.equal(padded, torch.tensor(CLIP_MEAN).expand_as(padded))
