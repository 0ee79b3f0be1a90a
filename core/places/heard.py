"""Who of a cast is heard by a method that acts by region, and where; what works but may not be meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from .. import geometry
from ..attention import region_weights
from ..errors import gathered
from ..people import Cast, Identity, Person, PlacedCast, is_a, require_places
from . import drawing, regions

REGIONS, FACE_BOXES = "regions", "face boxes"
"""Where a method acts: wherever a person is heard, or inside their face box alone."""


def as_cast(given: Cast | Identity) -> Cast:
    """One person is a cast of one."""
    return given if is_a(given, Cast) else Cast((Person(given),))


def heard(cast: Cast) -> Cast:
    """Without those at weight 0."""
    return replace(cast, people=tuple(person for person in cast.people if person.weight > 0))


def weights(cast: Cast, mask: Tensor | None, margin: float, feather: float, node: str) -> Tensor | None:
    """(people, H, W) weights of those who are heard, or None where one person is heard everywhere.

    mask: regions of everybody instead of the places' own. margin, feather: as in regions.of_cast. node: its name.
    Raises BadRegion for masks where everybody has a row of their own; BadCast without places.
    """
    if mask is not None:
        regions.check_one_picture(cast)
        found = regions.of_masks(mask, cast)
        return None if len(found) == 1 and bool((found == 1).all()) else found
    cast = heard(cast)
    if len(cast.people) == 1 or cast.by_row:
        return None
    return regions.of_cast(require_places(cast, node), margin, feather)


def in_boxes(cast: Cast, areas: Tensor | None, node: str) -> Tensor:
    """(people, H, W): the regions of those who are heard, or the picture, cut to their face boxes; at most 1 in all.

    Raises BadCast without places.
    """
    placed = require_places(heard(cast), f"{node} with acts_in at {FACE_BOXES}")
    found = regions.in_face_boxes(placed, areas)
    return found if cast.by_row else region_weights(found)


def drawn(shares: Tensor | None, people: Sequence[Person], by_row: bool) -> Tensor | None:
    """Where everybody's face acts, (pictures, H, W, 3), or None: everywhere. by_row: a picture for each."""
    if shares is None:
        return None
    sheets = [slice(n, n + 1) for n in range(len(people))] if by_row else [slice(None)]
    return torch.stack([drawing.read_regions(shares[sheet], people[sheet]) for sheet in sheets])


def left_out(cast: Cast) -> list[str]:
    """Who is not heard, in one line."""
    return gathered("Weight 0, left out", [one.identity.name for one in cast.people if one.weight <= 0])


def remarks(cast: Cast, mask: Tensor | None, acts_in: str, cell: int) -> list[str]:
    """What works of regions, but may not be meant. cell: side in pixels that the coarsest layers take for a token."""
    hints = list[str]()
    if mask is not None and is_a(cast, PlacedCast) and mask.shape[-2:] != (cast.height, cast.width):
        size = f"{mask.shape[-1]}x{mask.shape[-2]}"
        hints.append(f"Masks stretched: {size} px over the canvas, {cast.width}x{cast.height} px")
    return [*hints, *_small_boxes(cast, cell)] if acts_in == FACE_BOXES and is_a(cast, PlacedCast) else hints


def _small_boxes(cast: PlacedCast, cell: int) -> list[str]:
    """Face boxes of which coarse layers may see nothing, in one line."""
    small: list[str] = []
    for name, box in ((p.identity.name, p.slot.box) for p in cast.people if p.slot and p.slot.box):
        seen = max(0, box[0]), max(0, box[1]), min(cast.width, box[2]), min(cast.height, box[3])
        if geometry.shorter_side(seen) < cell:
            small.append(f"{name} {seen[2] - seen[0]:.0f}x{seen[3] - seen[1]:.0f}")
    advice = f" px on the canvas; coarse layers need {cell}: larger faces, or acts_in = regions"
    return gathered("Face boxes small", small, advice)
