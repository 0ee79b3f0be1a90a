"""What nodes are given: numbers, pictures, masks, layouts and casts of every kind that other nodes make are taken.

What is refused, and with which words, is in tests/support/attack_cases.json.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import people_made
import pytest
import torch
from pack.core import inputs
from pack.core.people import Cast, Layout, PlacedCast, RowCast, Slot, is_a
from pack.core.places import bodies

WHAT = "The width input of Group Layout"


@pytest.mark.parametrize(
    ("value", "whole", "found"),
    [(512, True, 512), (512.0, True, 512), (np.int64(512), True, 512), (True, True, 1), (2**64 - 1, True, 2**64 - 1),
     (torch.tensor(64), True, 64), (0.25, False, 0.25), (1, False, 1.0), (np.float32(0.5), False, 0.5)],
)  # fmt: skip
def test_numbers_of_every_kind_are_taken(value: Any, whole: bool, found: float) -> None:
    taken = inputs.number(WHAT, value, 0, 2**64 - 1 if whole else 1.0, whole)
    assert taken == found and type(taken) is (int if whole else float)


def rgb(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.zeros(shape, dtype=dtype)


def test_pictures_of_every_precision_and_masks_of_older_nodes_are_taken() -> None:
    """Signed ones too."""
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        for channels in (1, 3, 4):
            inputs.picture("An image", 40 * torch.randn(2, 8, 9, channels).to(dtype))
    for mask in (rgb(8, 9), rgb(2, 8, 9, dtype=torch.bool), rgb(2, 1, 8, 9), rgb(1, 8, 9) / 0):
        inputs.masks("A mask", mask)


PLACE = Slot((40.0, 40.0), (10.0, 10.0, 70.0, 80.0), bodies.face_keypoints((40, 40), 60), bodies.body((40, 40), 60))


def test_layouts_and_casts_as_our_nodes_make_them_are_taken() -> None:
    far = replace(PLACE, center=(-5e5, 5e5))
    inputs.layout("The layout", Layout(8, 8192, (PLACE, far, Slot((1, 1)))))
    (person,) = people_made.cast([(1.0, 1.0)], 64, 64).people
    inputs.cast("The cast", PlacedCast((replace(person, slot=far, weight=0.0),), 64, 64))
    inputs.cast("The cast", Cast((replace(person, slot=None),)))


def test_what_was_made_before_the_pack_was_loaded_anew_is_still_known() -> None:
    """Then there are two of each class, and the host may keep what the older one made."""
    before = type("RowCast", (type("Cast", (), {}),), {})()
    assert is_a(before, Cast) and is_a(before, RowCast) and not is_a(before, PlacedCast)
    assert is_a(RowCast((), 8, 8), PlacedCast) and not is_a(PlacedCast((), 8, 8), RowCast) and not is_a(None, Cast)
