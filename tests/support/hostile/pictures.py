"""Pictures and masks of every kind that other packs make."""

from collections.abc import Iterator

import torch
from graphs import DEFAULTS, value
from sample_values import image, klein, mask, nan, sdxl
from torch import Tensor

from hostile.cases import Case, bad, good, inputs_of


def with_alpha(picture: Tensor) -> Tensor:
    return torch.cat([picture, picture], dim=-1)[..., :4]


def in_another_order_in_memory(picture: Tensor) -> Tensor:
    return picture.transpose(1, 2).contiguous().transpose(1, 2)


def in_grey(picture: Tensor) -> Tensor:
    return picture[..., :1]


GOOD_PICTURES = (with_alpha, Tensor.double, Tensor.half, Tensor.bfloat16, in_another_order_in_memory, in_grey)


def pictures() -> Iterator[Case]:
    """Two kinds at each input, in turns."""
    for number, place in enumerate(inputs_of("IMAGE")):
        before = DEFAULTS[place.kind].get(place.name, value(image))
        for change in GOOD_PICTURES[number % 3 :: 3]:
            yield good(place.kind, **{place.name: value(change, before)})


def masks() -> Iterator[Case]:
    yield good("LikenessPart", mask=mask(64), log="batch of 64 masks")
    yield good("LikenessPart", target_mask=mask(64), log="batch of 64 masks")
    yield good("LikenessLayoutFromPicture", masks=mask(2) > 0)
    yield good("LikenessLayoutFromPicture", masks=mask(2).byte())
    yield good("LikenessLayoutFromPicture", masks=mask(2).half())
    yield good("LikenessLayoutFromPicture", masks=mask(2) * 255)
    yield good("LikenessLayoutFromPicture", masks=mask(2, 64, 48))
    yield good("LikenessLayoutFromPicture", masks=mask(64))


def masks_and_numbers() -> Iterator[Case]:
    """Masks of nothing, and sizes that are no multiple of 8."""
    # Masks of these nodes act where a MODEL is connected.
    models = {"LikenessApplyIDPatch": sdxl(), "LikenessPeopleAsReferences": klein()}
    for place in inputs_of("MASK"):
        changed = {"model": models[place.kind]} if place.kind in models else {}
        for nothing in (mask(2) * 0, mask(2) * nan):
            yield bad("is empty|all zero", place.kind, **{place.name: nothing}, **changed)
    for place in inputs_of("INT"):
        if place.name == "width":
            yield bad("513x", place.kind, width=513)
