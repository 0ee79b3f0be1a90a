"""Masks of chosen parts of the body, of people whose surfaces were found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..checks.errors import BadParts, listed
from ..checks.names import folded
from ..checks.text import items_in, plain
from .iuv import Surface


class PartNumbers(NamedTuple):
    """DensePose's numbers of the parts of a group, on the person's right side and on the left."""

    right: tuple[int, ...]
    left: tuple[int, ...]


GROUPS: dict[str, PartNumbers] = {
    "head": PartNumbers((23, 24), (23, 24)),
    "torso": PartNumbers((1, 2), (1, 2)),
    "upper arms": PartNumbers((16, 18), (15, 17)),
    "forearms": PartNumbers((20, 22), (19, 21)),
    "hands": PartNumbers((3,), (4,)),
    "thighs": PartNumbers((7, 9), (8, 10)),
    "lower legs": PartNumbers((11, 13), (12, 14)),
    "feet": PartNumbers((6,), (5,)),
}
"""Name of a group -> its parts. DensePose divides an upper arm, forearm, thigh or lower leg into two parts of one side.
The two parts of the head (its halves) and of the torso (front and back) are chosen together, whichever side is
chosen."""
SIDES = ("right", "left")


@dataclass(frozen=True)
class BodyPart:
    """A group of parts. group: of GROUPS. side: of SIDES, the person's own; "" for both."""

    group: str
    side: str = ""

    @property
    def name(self) -> str:
        return f"{self.side} {self.group}".strip()

    @property
    def numbers(self) -> tuple[int, ...]:
        """DensePose's numbers of the parts on this side, or on both."""
        parts = GROUPS[self.group]
        if self.side == "right":
            return parts.right
        if self.side == "left":
            return parts.left
        return parts.right + parts.left


def body_parts(text: str) -> list[BodyPart]:
    """The parts of a text such as "torso, upper arms, left hand".

    An item is the name of a group, in the singular or the plural, with or without a side before it. Raises BadParts for
    an item that names no group, and for a text without items.
    """
    group_of_singular = {_singular(group): group for group in GROUPS}
    parts: list[BodyPart] = []
    for item in filter(None, items_in(text)):
        name = folded(item)
        side = ""  # both
        first_word, _, further_words = name.partition(" ")
        if first_word in SIDES:
            side = first_word
            name = further_words
        group = group_of_singular.get(_singular(name))
        if group is None:
            why = f"There is no part of the body called {plain(item, 40)!r}."
            raise BadParts(why, f"Write {listed(list(GROUPS))}, with left or right before it for one side alone.")
        parts.append(BodyPart(group, side))
    if not parts:
        raise BadParts("No part of the body is chosen.", f"Write one or several of {listed(list(GROUPS))}.")
    return parts


def _singular(name: str) -> str:
    return "foot" if name == "feet" else name.removesuffix("s")


def part_masks(surfaces: Sequence[Surface], parts: Sequence[BodyPart]) -> Tensor:
    """White where people show the chosen parts of the body, (people, H, W) float32 0 or 1.

    There is a mask for every row of `Surface.person_masks`, the people of one surface after those of another.
    Raises BadParts where a person shows none of the chosen parts.
    """
    chosen_numbers = _numbers(parts)  # (n,)
    # (H, W) * (people, H, W) each -> (people of all surfaces, H, W)
    all_masks = torch.cat([torch.isin(surface.iuv[2], chosen_numbers) * surface.person_masks for surface in surfaces])
    unseen_people = [number for number, mask in enumerate(all_masks, 1) if not mask.any()]
    if unseen_people:
        names = listed([part.name for part in parts])
        people = f" for person {listed(unseen_people)}" if len(all_masks) > 1 else ""
        visible = listed(groups_in(surfaces))
        raise BadParts(f"Nothing is seen of {names}{people}.", f"Choose other parts; the photo shows {visible}.")
    return all_masks


def groups_in(surfaces: Sequence[Surface]) -> list[str]:
    """The names of the groups of which at least one surface shows something."""
    seen = torch.cat([surface.iuv[2].flatten() for surface in surfaces])  # of all pixels
    return [group for group in GROUPS if torch.isin(seen, _numbers([BodyPart(group)])).any()]


def _numbers(parts: Sequence[BodyPart]) -> Tensor:
    """DensePose's numbers of these parts, (n,) uint8 as in Surface.iuv."""
    return torch.tensor([number for part in parts for number in part.numbers], dtype=torch.uint8)
