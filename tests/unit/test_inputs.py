"""What nodes are given: numbers, pictures, masks, layouts and casts, and what is said of those that are none."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import people_made
import pytest
import torch
from pack.core import inputs
from pack.core.errors import BadInput, BadLayout, BadSize
from pack.core.inputs import BadPicture
from pack.core.people import Cast, Layout, Person, PlacedCast, RowCast, Slot, is_a
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


@pytest.mark.parametrize(
    ("value", "whole", "named"),
    [(None, True, "nothing (None)"), (math.nan, True, "nan"), (math.inf, True, "inf"), (-math.inf, False, "-inf"),
     (math.nan, False, "nan"), (np.float32("nan"), False, "nan"), (1.5, True, "1.5"), (8.001, False, "8.001"),
     (-0.001, False, "-0.001"), (10**12, True, "1000000000000"), (10**400, False, "a number of too many digits"),
     ("4", True, "the text '4'"), ("\ud800" * 50, False, "the text '" + "\\ud800" * 40 + "...'"),
     (1j, False, "an object of type complex"), ([4], True, "an object of type list"),
     (torch.zeros(2), False, "an object of type Tensor of shape (2,)")],
)  # fmt: skip
def test_what_is_no_number_within_the_limits_is_named(value: Any, whole: bool, named: str) -> None:
    with pytest.raises(BadInput) as caught:
        inputs.number(WHAT, value, 0 if whole else 0.0, 8 if whole else 8.0, whole)
    wanted = "a whole number from 0 to 8" if whole else "a number from 0 to 8"
    assert caught.value.problem == f"{WHAT} is {named}; {wanted} is needed."


def rgb(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.zeros(shape, dtype=dtype)


def spoilt(value: float, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    image = rgb(2, 8, 8, 3, dtype=dtype)
    image[1, 3, 4, 0] = value
    return image


NO_PICTURE = [
    (rgb(), "its shape is () instead of (pictures, height, width, channels)"),
    (rgb(8, 8), "its shape is (8, 8) instead"),
    (rgb(8, 8, 3), "its shape is (8, 8, 3) instead"),
    (rgb(1, 2, 8, 8, 3), "its shape is (1, 2, 8, 8, 3) instead"),
    (rgb(0, 8, 8, 3), "it is an empty batch"),
    (rgb(1, 0, 8, 3), "it has no pixels (8x0 px)"),
    (rgb(1, 8, 0, 3), "it has no pixels (0x8 px)"),
    (rgb(1, 8, 8, 0), "it has 0 channels instead of 1 (grey), 3 (colour) or 4 (colour and alpha)"),
    (rgb(1, 8, 8, 2), "it has 2 channels"),
    (rgb(1, 8, 8, 5), "it has 5 channels"),
    (rgb(1, 8, 8, 3, dtype=torch.uint8), "its values are of type torch.uint8 instead of float, 0 to 1"),
    (rgb(1, 8, 8, 3, dtype=torch.bool), "its values are of type torch.bool"),
    (rgb(1, 8, 8, 3, dtype=torch.complex64), "its values are of type torch.complex64"),
    (rgb(1, 8, 8, 3, dtype=torch.float8_e4m3fn), "its values are of type torch.float8_e4m3fn"),
    (spoilt(math.nan), "1 of its 384 values is NaN or infinite"),
    (spoilt(math.nan, torch.float16), "1 of its 384 values is NaN or infinite"),
    (spoilt(-math.inf, torch.bfloat16), "1 of its 384 values is NaN or infinite"),
]
NO_MASK = [
    (rgb(), "its shape is () instead of (masks, height, width). Connect a MASK; Convert Image to Mask"),
    (rgb(8), "its shape is (8,) instead"),
    (rgb(1, 8, 8, 3), "its shape is (1, 8, 8, 3) instead"),
    (rgb(1, 1, 1, 8, 8), "its shape is (1, 1, 1, 8, 8) instead"),
    (rgb(0, 8, 8), "it is an empty batch"),
    (rgb(0, 8), "it has no pixels (8x0 px)"),
    (rgb(1, 8, 0), "it has no pixels (0x8 px)"),
    (rgb(1, 8, 8, dtype=torch.complex64), "its values are of type torch.complex64 instead of float, 0 to 1"),
]


@pytest.mark.parametrize(
    ("check", "given", "why"),
    [*((inputs.picture, *case) for case in NO_PICTURE), *((inputs.masks, *case) for case in NO_MASK)],
)
def test_what_is_no_picture_and_no_mask_is_named(check: Any, given: torch.Tensor, why: str) -> None:
    with pytest.raises(BadPicture) as caught:
        check("The image input of Identity", given)
    assert str(caught.value).startswith(f"The image input of Identity cannot be used: {why}")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures_of_every_precision_and_signed_ones_are_taken(dtype: torch.dtype, channels: int) -> None:
    inputs.picture("An image", 40 * torch.randn(2, 8, 9, channels).to(dtype))


@pytest.mark.parametrize("mask", [rgb(8, 9), rgb(2, 8, 9, dtype=torch.bool), rgb(2, 1, 8, 9), rgb(1, 8, 9) / 0])
def test_masks_of_older_nodes_are_taken(mask: torch.Tensor) -> None:
    inputs.masks("A mask", mask)


PLACE = Slot((40.0, 40.0), (10.0, 10.0, 70.0, 80.0), bodies.face_keypoints((40, 40), 60), bodies.body((40, 40), 60))


def standing(slot: Slot, weight: float = 1.0, size: tuple[int, int] = (64, 64)) -> Cast:
    (person,) = people_made.cast([(1.0, 1.0)], 64, 64).people
    return PlacedCast((replace(person, slot=slot, weight=weight),), *size)


NOWHERE = (math.nan, math.inf, -math.inf, 1e9, -1e30)
BROKEN: list[tuple[dict[str, Any], str]] = [
    *((changed, re.escape(f"({value:g})") + ".* Layout nodes.* Detect Faces") for value in NOWHERE for changed in (
        {"center": (value, 1.0)}, {"box": (10.0, value, 70.0, 80.0)}, {"keypoints": ((1.0, value),) * 5},
        {"pose": ((1.0, value, 1.0),) * 17},
    )),
    ({"box": (30.0, 10.0, 20.0, 40.0)}, r"face box .*\(30, 10, 20, 40\)"),
    ({"keypoints": ((1.0, 1.0),) * 4}, "4 face keypoints instead of 5"),
    ({"pose": ((1.0, 1.0, 1.0),)}, "a skeleton of 1 joint instead of 17"),
    ({"mask": torch.ones(8, 64)}, r"mask .*\(8, 64\) .*64x64 px"),
    ({"mask": torch.full((64, 64), math.nan)}, "a mask from nan to nan"),
    ({"mask": torch.full((64, 64), 152).byte()}, "a mask from 152 to 152 .* 0 to 1"),
    ({"mask": torch.ones(64, 64, dtype=torch.complex64)}, "a mask from nan to nan"),
]  # fmt: skip


@pytest.mark.parametrize(("changed", "why"), BROKEN)
def test_a_place_on_no_canvas_or_not_whole_is_named_in_layouts_and_casts(changed: dict[str, Any], why: str) -> None:
    bad = replace(PLACE, **changed)
    with pytest.raises(BadLayout, match=f"Draw Layout .*place 2 .*{why}"):
        inputs.layout("The layout input of Draw Layout", Layout(64, 64, (PLACE, bad)))
    with pytest.raises(BadLayout, match=f"Place Cast .*person 1 .*{why}"):
        inputs.cast("The cast input of Place Cast", standing(bad))


@pytest.mark.parametrize("size", [(0, 0), (-8, -8), (80_000, 80_000), (8, 1)])
def test_a_canvas_or_a_weight_that_is_none(size: tuple[int, int]) -> None:
    with pytest.raises(BadSize, match=f"Draw Layout .*{size[0]}x{size[1]} px"):
        inputs.layout("The layout input of Draw Layout", Layout(*size, (PLACE,)))
    for people in (standing(PLACE, size=size), PlacedCast((), *size)):
        with pytest.raises(BadSize, match=f"cast.* {size[0]}x{size[1]} px"):
            inputs.cast("The cast", people)
    for weight in (math.nan, math.inf, -0.5):
        with pytest.raises(BadInput, match=f"weight of person 1 .*{weight};.* 0 "):
            inputs.cast("The cast", standing(PLACE, weight))


def test_layouts_and_casts_as_our_nodes_make_them_are_taken() -> None:
    far = replace(PLACE, center=(-5e5, 5e5))
    inputs.layout("The layout", Layout(8, 8192, (PLACE, far, Slot((1, 1)))))
    inputs.cast("The cast", standing(far, weight=0.0))
    inputs.cast("The cast", Cast(tuple(replace(person, slot=None) for person in standing(PLACE).people)))


def test_what_was_made_before_the_pack_was_loaded_anew_is_still_known() -> None:
    """Then there are two of each class, and the host may keep what the older one made."""
    before = type("RowCast", (type("Cast", (), {}),), {})()
    assert is_a(before, Cast) and is_a(before, RowCast) and not is_a(before, PlacedCast)
    assert is_a(RowCast((), 8, 8), PlacedCast) and not is_a(PlacedCast((), 8, 8), RowCast) and not is_a(None, Cast)


def forged(kind: str, **known: Any) -> Any:
    """An object of a class of that name, as another pack may have one."""
    return type(kind, (), known)()


ANNA = Person(people_made.identity(1), 1.0, Slot((40.0, 40.0)), 1)


@pytest.mark.parametrize(
    "given",
    [
        forged("Cast"),
        forged("Cast", people=None, absent=()),
        forged("PlacedCast", people=(), absent=(), numbers=()),
        Cast((None,)),
        Cast((Person(None),)),
        Cast(("Anna",)),
        Cast((ANNA,), absent=((1, "X"), (9, "Y"))),
        Cast((ANNA,), absent=(1,)),
        PlacedCast((ANNA,), math.nan, 96),
        PlacedCast((ANNA,), 128.0, 96.0),
        PlacedCast((ANNA,), None, None),
        PlacedCast((replace(ANNA, slot="here"),), 128, 96),
        PlacedCast((replace(ANNA, identity=replace(ANNA.identity, crops=None)),), 128, 96),
        PlacedCast((replace(ANNA, identity=replace(ANNA.identity, crops=torch.zeros(0, 112, 112, 3))),), 128, 96),
        PlacedCast(
            (replace(ANNA, identity=replace(ANNA.identity, embeddings={"x": torch.ones(1, 512).long()})),), 8, 8
        ),
        RowCast((), 128, 96),
        RowCast((replace(ANNA, weight=0.0),), 128, 96),
        RowCast((replace(ANNA, slot=None),), 128, 96),
    ],
)
def test_a_cast_by_its_name_alone_is_named(given: Any) -> None:
    with pytest.raises(BadInput, match=r"(is an object of type |a cast of rows)"):
        inputs.cast("The cast input", given)


@pytest.mark.parametrize(
    ("check", "given"),
    [
        (inputs.identity, forged("Identity")),
        (inputs.identity, forged("Identity", crops=torch.zeros(1), embeddings={})),
        (inputs.cast, forged("RowCast")),
        (inputs.layout, forged("Layout")),
        (inputs.layout, Layout(math.nan, 96, ())),
        (inputs.faces, forged("Faces", width=8, height=8, faces=(None,))),
    ],
)
def test_other_things_of_ours_by_their_name_alone_are_named(check: Any, given: Any) -> None:
    with pytest.raises(BadInput, match=f"an object of type {type(given).__name__} that is not whole"):
        check("It", given)
