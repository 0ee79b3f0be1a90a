"""Masks of chosen parts of the body, of people whose surfaces were found."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import BadParts, listed
from .iuv import Surface


class PartNumbers(NamedTuple):
    """DensePose's numbers of the parts of a group, on the person's right side and on the left."""

    right: tuple[int, ...]
    left: tuple[int, ...]


GROUPS: dict[str, PartNumbers] = {
    "head": PartNumbers((23, 24), (23, 24)),
    "torso": PartNumbers((1, 2), (1, 2)),
    "upper_arms": PartNumbers((16, 18), (15, 17)),
    "forearms": PartNumbers((20, 22), (19, 21)),
    "hands": PartNumbers((3,), (4,)),
    "thighs": PartNumbers((7, 9), (8, 10)),
    "lower_legs": PartNumbers((11, 13), (12, 14)),
    "feet": PartNumbers((6,), (5,)),
}
"""Name of a group -> its parts. DensePose divides an upper arm, forearm, thigh or lower leg into two parts of one side.
The two parts of the head (its halves) and of the torso (front and back) are chosen together, whichever side is
chosen."""
SIDES = ("both", "right", "left")


def part_masks(surfaces: Sequence[Surface], groups: Collection[str], side: str) -> Tensor:
    """White where people show the chosen parts of the body, (people, H, W) float32 0 or 1.

    There is a mask for every row of `Surface.person_masks`, the people of one surface after those of another.
    groups: names of GROUPS. side: of SIDES, the person's own. Raises BadParts where no group is chosen, and where a
    person shows none of the chosen parts.
    """
    require_part(groups)
    chosen = _numbers(groups, side)
    # (H, W) * (people, H, W) each -> (people of all surfaces, H, W)
    all_masks = torch.cat([torch.isin(surface.iuv[2], chosen) * surface.person_masks for surface in surfaces])
    unseen = [number for number, mask in enumerate(all_masks, 1) if not mask.any()]
    if unseen:
        parts = listed(sorted(groups, key=list(GROUPS).index))  # in the order of GROUPS, from head to feet
        if side != "both":
            parts += f", {side}"
        people = f" for person {listed(unseen)}" if len(all_masks) > 1 else ""
        visible = listed(groups_in(surfaces))
        raise BadParts(f"Nothing is seen of {parts}{people}.", f"Choose other parts; the photo shows {visible}.")
    return all_masks


def require_part(groups: Collection[str]) -> None:
    """Raise BadParts where no group is chosen."""
    if not groups:
        raise BadParts("No part of the body is chosen.", f"Switch on one of {listed(list(GROUPS))}.")


def groups_in(surfaces: Sequence[Surface]) -> list[str]:
    """The names of the groups of which at least one surface shows something."""
    parts = torch.cat([surface.iuv[2].flatten() for surface in surfaces])  # of all pixels
    return [name for name in GROUPS if torch.isin(parts, _numbers([name], "both")).any()]


def _numbers(groups: Collection[str], side: str) -> Tensor:
    """The numbers of the parts of these groups, (n,) uint8 as in Surface.iuv. side: of SIDES."""
    numbers: list[int] = []
    for name in groups:
        if side != "left":
            numbers += GROUPS[name].right
        if side != "right":
            numbers += GROUPS[name].left
    return torch.tensor(numbers, dtype=torch.uint8)
