"""Masks of parts of the body, from the numbers of an IUV picture."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from ..errors import BadSize, LikenessError, counted, listed
from .iuv import parts_in

GROUPS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "head": ((23, 24), (23, 24)),
    "torso": ((1, 2), (1, 2)),
    "upper_arms": ((16, 18), (15, 17)),
    "forearms": ((20, 22), (19, 21)),
    "hands": ((3,), (4,)),
    "thighs": ((7, 9), (8, 10)),
    "lower_legs": ((11, 13), (12, 14)),
    "feet": ((6,), (5,)),
}
"""The numbers of the right and the left one; head and torso have no sides."""
SIDES = ("both", "right", "left")


class NoPart(LikenessError):
    """Parts of the body of which a picture shows nothing, or none chosen."""


def mask(image: Tensor, groups: Collection[str], side: str, people: Tensor | None = None) -> Tensor:
    """White where an IUV picture (B, H, W, C) shows parts of the body, (B, H, W) float32 0 or 1.

    groups: of GROUPS. side: of SIDES, the person's own. people: (N, H, W) 0..1, one mask each; then (N, H, W) comes
    out, row n from picture n where there are several. Raises NotIUV, NoPart, BadSize.
    """
    parts = parts_in(image)
    if not groups:
        raise NoPart("No part of the body is chosen.", f"Switch on one of {listed(list(GROUPS))}.")
    numbers = [number for name in groups for sides in _sides(side) for number in GROUPS[name][sides]]
    found = _shown(parts, numbers)
    if people is not None:
        _check(people, found)
        found = found * (people > 0.5)
    empty = [number for number, one in enumerate(found, 1) if not one.any()]
    if empty:
        whose = "person" if people is not None else "picture"
        which = f" for {whose} {listed(empty)}" if len(found) > 1 else ""
        seen = [name for name, numbers in GROUPS.items() if _shown(parts, sum(numbers, ())).any()]
        what = listed(sorted(groups, key=list(GROUPS).index)) + (f", {side}" if side != "both" else "")
        raise NoPart(f"Nothing is seen of {what}{which}.", f"Choose other parts; surface shows {listed(seen)}.")
    return found


def _shown(parts: Tensor, numbers: Sequence[int]) -> Tensor:
    return torch.isin(parts, torch.tensor(numbers, dtype=parts.dtype)).float()


def _sides(side: str) -> tuple[int, ...]:
    return (0, 1) if side == "both" else (SIDES.index(side) - 1,)


def _check(people: Tensor, found: Tensor) -> None:
    if not (people > 0.5).any():
        raise NoPart("people is all zero: it shows no person.", "Link people of the same node, or nothing.")
    if people.shape[1:] != found.shape[1:]:
        size = f"surface is {found.shape[2]}x{found.shape[1]} px"
        raise BadSize("people", (people.shape[2], people.shape[1]), size, "Link both from the same node.")
    if len(found) > 1 and len(people) != len(found):
        raise BadSize(
            "people", (people.shape[2], people.shape[1]),
            f"it has {counted(len(people), 'mask')} and surface {counted(len(found), 'picture')}",
            "Give one photo at a time, or leave people unlinked.",
        )  # fmt: skip
