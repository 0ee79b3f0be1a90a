"""People without photos: random embeddings, with random portraits or at given places; and faces without pictures."""

from collections.abc import Sequence

import torch
from pack.core.cast import ALIGNED, LOOSE, Face, Layout, Member, Person, PlacedCast, Portraits, Slot
from pack.core.places import bodies

RECOGNISER = "arcface-ir-se50"


def a_person(seed: int, photos: int = 1, recogniser: str = RECOGNISER) -> Person:
    rows = torch.randn(photos, 512, generator=torch.Generator().manual_seed(seed))
    rows = rows / rows.norm(dim=1, keepdim=True)
    return Person(f"person {seed}", {recogniser: rows}, torch.zeros(photos, 112, 112, 3))


def a_member(seed: int, photos: int = 1, slot: Slot | None = None, weight: float = 1.0) -> Member:
    """With random embeddings and portraits."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(photos, 512, generator=generator) * 1.5
    aligned, loose = (
        torch.randint(0, 256, (photos, side, side, 3), generator=generator, dtype=torch.uint8)
        for side in (ALIGNED, LOOSE)
    )
    loose[:, :: seed + 2] = 0  # not noise alone, of which CLIP sees the same everywhere
    embeddings_by_recogniser = {"w600k_r50": embeddings, "antelopev2": embeddings, "arcface-ir-se50": embeddings}
    crops = torch.zeros(photos, 112, 112, 3)
    somebody = Person(f"person {seed}", embeddings_by_recogniser, crops, Portraits(aligned, loose, loose))
    return Member(somebody, weight, slot)


def cast(
    centers: Sequence[tuple[float, float]], width: int, height: int, weights: Sequence[float] | None = None
) -> PlacedCast:
    weights = weights or [1.0] * len(centers)
    people = (
        Member(a_person(i + 1), weight, Slot(center))
        for i, (center, weight) in enumerate(zip(centers, weights, strict=True))
    )
    return PlacedCast(tuple(people), width, height)


def face(x: float, y: float, head: float = 100.0, **embeddings: torch.Tensor) -> Face:
    """Looking at us, with the nose there; head: its height, px."""
    points = bodies.face_keypoints((x, y), head)
    return Face(bodies.face_box((x, y), head), points, 0.9, torch.zeros(112, 112, 3), embeddings)


def standing(x: float, y: float, head: float = 100.0, body: str = "half") -> Slot:
    """The place of such a face."""
    plain_face = face(x, y, head)
    return Slot((x, y), plain_face.box, plain_face.keypoints, bodies.body_around(plain_face.keypoints, body))


def layout(*heads: tuple[float, float, float], width: int, height: int) -> Layout:
    """x, y and height of the head of each."""
    return Layout(width, height, tuple(standing(*head) for head in heads))


def painted(*boxes: tuple[int, int, int, int], width: int = 96, height: int = 64) -> torch.Tensor:
    """A mask per box: x0, y0, x1, y1 px; (boxes, height, width)."""
    masks = torch.zeros(len(boxes), height, width)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = 1
    return masks
