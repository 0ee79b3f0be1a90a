"""People matched with faces: each with one of their own, by how alike they are or by where they stand."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from .errors import BadSize
from .geometry import longer_side
from .identities import similarity
from .people import NOSE, Face, Faces, Identity, PlacedCast, Slot
from .thirdparty import require

_REACH = 1.0
"""A face stands in a place when its nose is this near to it, in parts of the larger of the two faces' sides."""
_ASPECT = 0.02
"""How much a picture's shape may differ from its canvas', as scaling to multiples of 8 or 64 makes it."""


def in_common(embeddings: Iterable[Mapping[str, Tensor]]) -> list[str]:
    """The recognisers that everybody has, by name."""
    known = list(embeddings)
    return sorted(name for name in (known[0] if known else ()) if all(name in one for one in known))


def similarities(
    people: Sequence[Identity], faces: Sequence[Mapping[str, Tensor]], recogniser: str, node: str
) -> Tensor:
    """(people, faces): mean cosine of everybody's photos with each face. Raises BadEmbedding as `similarity` does."""
    if not faces:
        return torch.zeros(len(people), 0)
    rows = torch.stack([face[recogniser].float() for face in faces])
    return torch.stack([similarity(person, recogniser, rows, node) for person in people])


def assigned(gain: Tensor) -> list[int | None]:
    """Per row of `gain` (people, faces) the column that is theirs alone, so that the sum is the largest (Kuhn 1955)."""
    optimize = require("scipy.optimize", "Matching faces")
    rows, columns = optimize.linear_sum_assignment(gain.numpy(), maximize=True)
    of = dict(zip(map(int, rows), map(int, columns), strict=True))
    return [of.get(row) for row in range(len(gain))]


def in_places(picture: Faces, cast: PlacedCast) -> list[int | None]:
    """Per person the face that stands in their place, as many as possible and then as near as possible.

    Raises BadSize where the picture has another shape than the canvas; another size is scaled.
    """
    wide, high = picture.width / cast.width, picture.height / cast.height
    if abs(math.log(wide / high)) > _ASPECT:
        raise BadSize(
            "The picture",
            (picture.width, picture.height),
            f"the places of the cast are on a canvas of {cast.width}x{cast.height} px, which has another shape",
            "Use it before it is cropped, or connect the cast that comes before Place Cast.",
        )
    apart = [[_apart(face, slot, wide, high) for face in picture.faces] for slot in cast.slots]
    near = torch.tensor(apart).reshape(len(cast.people), len(picture.faces))
    # Somebody far away costs more than all who are near together, so nobody is left out for the others' sake.
    faces = assigned(-near.where(near <= _REACH, torch.tensor(_REACH * (len(cast.people) + 1))))
    return [face if face is not None and near[n, face] <= _REACH else None for n, face in enumerate(faces)]


def _apart(face: Face, slot: Slot, wide: float, high: float) -> float:
    """From the face's nose to a place, in sides of the larger face."""
    x, y = face.keypoints[NOSE]
    sides = [longer_side(face.box), longer_side(slot.box) * wide if slot.box else 0.0]
    return math.hypot(x - slot.center[0] * wide, y - slot.center[1] * high) / max(*sides, 1.0)
