"""Regions from boxes and masks, and those nobody can use."""

from __future__ import annotations

import people_made
import pytest
import torch
from pack.core import regions
from pack.core.errors import BadRegion
from pack.core.people import Cast, Person, Slot


def cast(*slots, width=96, height=64):
    return Cast(tuple(Person(people_made.identity(n), 1.0, slot) for n, slot in enumerate(slots, 1)), width, height)


def box(x0, y0, x1, y1):
    return Slot(((x0 + x1) / 2, (y0 + y1) / 2), (x0, y0, x1, y1))


def test_a_box_is_widened_and_its_edge_is_soft():
    region = regions.of_cast(cast(box(32, 16, 48, 32), box(70, 16, 80, 26)), margin=0.5, feather=4)[0]
    assert region.shape == (64, 96)
    assert region[16, 32] == 1 and region[8, 24] == 1, "half a face further on every side"
    assert region[16, 23] == pytest.approx(1 - 0.5 / 4) and region[16, 19] == 0


def test_masks_of_places_win_over_boxes():
    mask = torch.zeros(64, 96)
    mask[10:20, 10:20] = 1
    slot = Slot((15.0, 15.0), (0, 0, 90, 60), mask=mask)
    assert torch.equal(regions.of_cast(cast(slot, box(70, 40, 80, 50)), 0.5, 8)[0], mask)


def test_masks_of_another_size_are_fitted():
    masks = torch.zeros(2, 32, 48)
    masks[0, :, :24], masks[1, :, 24:] = 1, 1
    fitted = regions.of_masks(masks, cast(box(1, 1, 9, 9), box(40, 1, 50, 9)))
    assert fitted.shape == (2, 64, 96) and fitted[0, :, :48].all() and not fitted[0, :, 48:].any()


@pytest.mark.parametrize(
    ("slots", "message"),
    [
        ((box(10, 10, 20, 20), box(10, 10, 20, 20)), "person 1 and person 2 cannot be used: both have the same region"),
        ((box(10, 10, 20, 20), box(300, 10, 320, 20)), "person 2 cannot be used: the region is empty or lies off"),
        ((box(10, 10, 20, 20), Slot((50.0, 50.0))), "person 2 cannot be used: its place has neither a face box nor"),
    ],
)
def test_unusable_regions_are_explained(slots, message):
    with pytest.raises(BadRegion, match=message):
        regions.of_cast(cast(*slots), 0.5, 8)


def test_unusable_masks_are_explained():
    two = cast(box(1, 1, 9, 9), box(40, 1, 50, 9))
    with pytest.raises(BadRegion, match="there are 3 masks for 2 people"):
        regions.of_masks(torch.ones(3, 8, 8), two)
    with pytest.raises(BadRegion, match="person 1 cannot be used: the region is empty"):
        regions.of_masks(torch.zeros(2, 8, 8), two)


def test_masks_of_older_nodes_and_odd_numbers():
    mask = torch.zeros(64, 96)
    mask[:, :48], mask[0, 90], mask[1, 90] = 255, float("nan"), -1
    fitted = regions.of_masks(mask, cast(box(1, 1, 9, 9)))
    assert fitted.shape == (1, 64, 96) and fitted[0, :, :48].eq(1).all() and not fitted[0, :, 48:].any()
