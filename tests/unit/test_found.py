"""Who stands where, by scores of attention: FreeFuse's own numbers, and people who cannot be told apart."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pack.core.places import found
from pack.core.places.found import PlacesNotFound
from safetensors.torch import load_file
from torch import Tensor

GOLDEN = load_file(Path(__file__).parents[1] / "golden" / "freefuse.safetensors")
NAMES = ("Anna", "Ben", "Carl")
SIZE = 12, 18


def tokens(people: int) -> list[range]:
    return [range(5 * person, 5 * person + 3 + person % 3) for person in range(people)]


@pytest.mark.parametrize(("case", "people"), [("0", 2), ("1", 3)])
def test_maps_and_masks_are_those_of_the_authors(case: str, people: int) -> None:
    """Of cross-attention and of joint attention; masks with the settings of their nodes."""
    known = {name.split(".")[1]: tensor for name, tensor in GOLDEN.items() if name.startswith(case)}
    height, width = known["size"].tolist()

    scores = found.scores_of_cross_attention(known["weights"], tokens(people))
    maps = (found.likeness_to_cores(found.contrasted(scores), known["hidden"]) / 300).softmax(-1)
    torch.testing.assert_close(maps, known["maps"], rtol=1e-5, atol=0)
    scores = found.scores_of_joint_attention(known["queries"], known["keys"], tokens(people))
    maps = (found.likeness_to_cores(found.contrasted(scores), known["joint_hidden"]) / 4000).softmax(-1)
    torch.testing.assert_close(maps, known["joint_maps"], rtol=1e-5, atol=0)

    balance = found.Balance(neighbours=4e-5, rate=0.01, gravity=4e-5)
    masks = found.masks_of(known["joint_maps"], (height, width), 0.95 * known["background"], balance)
    assert 0.9 < masks.sum(0).mean() < 1
    assert torch.equal(masks, known["masks"])


def blobs(*middles: tuple[float, float]) -> Tensor:
    """(people, N): how near each cell is to each middle, given as parts of height and width."""
    down = torch.linspace(0, 1, SIZE[0])[:, None]
    across = torch.linspace(0, 1, SIZE[1])
    near = [(-((down - y) ** 2 + (across - x) ** 2) / 0.02).exp().flatten() for y, x in middles]
    return torch.stack(near)


MIDDLES = (0.5, 0.2), (0.4, 0.5), (0.6, 0.85)


def test_people_get_bodies_one_to_one_also_where_each_body_for_itself_would_not() -> None:
    """Carl's scores are high in Anna's body, too, and more than hers."""
    bodies = (blobs(*MIDDLES) > 0.5).float()[[2, 0, 1]]
    scores = 0.01 + blobs(*MIDDLES)
    scores[2] += 1.4 * scores[0]
    assert found.bodies_of_people(scores, bodies, NAMES) == [1, 2, 0]
    swapped = scores[[1, 0, 2]]
    assert found.bodies_of_people(swapped, bodies, NAMES) == [2, 1, 0]
    free = torch.cat([torch.zeros(1, bodies.shape[1]), bodies])
    assert found.bodies_of_people(scores, free, NAMES) == [2, 3, 1]


def test_cells_are_somebodys_where_they_are_read_and_look_alike() -> None:
    """Areas need not be equal, no two masks share a cell, and most of the picture is nobody's."""
    near = blobs(*MIDDLES)
    near[0] = blobs(MIDDLES[0])[0] ** 0.3
    hidden = near.T @ torch.tensor([[3.0, 0, 0, 1], [0, 3, 0, 1], [0, 0, 3, 1]])  # (N, 4)
    masks = found.cells_of_people(0.01 + near, hidden, SIZE, NAMES)
    assert masks.shape == (3, *SIZE) and masks.sum(0).max() == 1
    areas = masks.mean((1, 2))
    assert areas[0] > 2 * areas[1] and areas.sum() < 0.5
    for mask, (y, x) in zip(masks, MIDDLES, strict=True):
        assert mask[round(y * (SIZE[0] - 1)), round(x * (SIZE[1] - 1))] == 1
    permuted = found.cells_of_people(0.01 + near[[2, 0, 1]], hidden, SIZE, NAMES)
    assert torch.equal(permuted, masks[[2, 0, 1]])


def test_specks_are_no_part_of_a_person() -> None:
    scores = 0.01 + blobs(*MIDDLES)
    hidden = scores.T.contiguous()
    speck = SIZE[1] - 1  # the upper right corner, for Anna
    scores[:, speck] = torch.tensor([1.0, 0.01, 0.01])
    hidden[speck] = torch.tensor([1.0, 0.0, 0.0])
    masks = found.cells_of_people(scores, hidden, SIZE, NAMES)
    assert masks[0].any() and masks[:, 0, -1].sum() == 0


FLAT = torch.full((3, SIZE[0] * SIZE[1]), 1 / 216) * (1 + 1e-7 * torch.randn(3, 216, generator=torch.manual_seed(1)))
ALIKE = blobs(MIDDLES[0], MIDDLES[2], MIDDLES[2]) + 0.01 * torch.rand(3, 216, generator=torch.manual_seed(2))
SMALL = 0.001 + blobs(*MIDDLES)
SMALL[1] = 0.001
SMALL[1, 40:42] = 1


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (FLAT, "about everybody equally"),
        (torch.full_like(FLAT, torch.nan), "about everybody equally"),
        (ALIKE, "^Find Places has placed nobody: Ben and Carl look the same"),
        (SMALL, r"Ben would have \d% of the picture"),
    ],
    ids=["flat", "NaN", "two alike", "one with next to nothing"],
)
def test_who_cannot_be_told_apart_is_named_and_nobody_is_placed(scores: Tensor, message: str) -> None:
    with pytest.raises(PlacesNotFound, match=message):
        found.cells_of_people(scores, scores.T, SIZE, NAMES)
    if "%" not in message:
        with pytest.raises(PlacesNotFound, match=message):
            found.bodies_of_people(scores, (blobs(*MIDDLES) > 0.5).float(), NAMES)


def test_the_maps_of_a_layer_that_tells_are_smooth() -> None:
    noise = torch.rand(3, 216, generator=torch.manual_seed(3))
    assert abs(found.smoothness(noise, SIZE)) < 0.2 < 0.8 < found.smoothness(blobs(*MIDDLES), SIZE)
    assert found.smoothness(torch.zeros(3, 216), SIZE) == 0
