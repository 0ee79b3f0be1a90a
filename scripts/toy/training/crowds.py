"""Where drawn people stand: the pack's own group layouts, the same shaken, and people anywhere."""

import itertools
import random
from collections.abc import Sequence

from core.cast import Layout, Slot
from core.checks.errors import LikenessError
from core.places import bodies, group

from ..places import SMALL, Place, of_slots

_COUNTS = {True: (1, 2, 2, 2, 3), False: (1, 2, 2, 2, 2, 3, 3, 4)}
"""How many people, in small pictures and in large ones."""
_ROOM = 66  # between two noses: patches of 64 px stay clear of each other
_FRAMINGS = ("bust", "bust", "half")


def draw(rng: random.Random, size: tuple[int, int], count: int | None = None) -> Layout:
    """Places for a training picture. count: of the people, None for any."""
    while True:
        people = count or rng.choice(_COUNTS[size == SMALL])
        kind = rng.random()
        found = _group(rng, people, size) if kind < 0.9 else _anywhere(rng, people, size)
        if found and 0.5 < kind < 0.9:
            found = _shaken(rng, found, size)
        if found:
            return Layout(*size, tuple(_slot(place) for place in found))


def _slot(place: Place) -> Slot:
    keypoints = bodies.face_keypoints(place.nose, place.head)
    return Slot(place.nose, box=bodies.face_box(place.nose, place.head), keypoints=keypoints, pose=place.pose)


def _group(rng: random.Random, people: int, size: tuple[int, int]) -> list[Place]:
    try:
        return of_slots(group.layout(people, rng.choice(_FRAMINGS), 0, *size).slots)
    except LikenessError:  # so many people do not fit into so small a picture
        return []


def _shaken(rng: random.Random, places: Sequence[Place], size: tuple[int, int]) -> list[Place]:
    """Everybody moved a little, the whole group moved and resized; nothing where somebody leaves the picture."""
    width, height = size
    zoom = rng.uniform(0.88, 1.08)
    across, down = rng.uniform(-0.04, 0.04) * width, rng.uniform(-0.03, 0.05) * height
    moved: list[Place] = []
    for nose, head, pose in places:
        dx = across + rng.uniform(-0.08, 0.08) * head
        dy = down + rng.uniform(-0.12, 0.12) * head
        points: list[tuple[float, float]] = []
        for x, y in (nose, *(joint[:2] for joint in pose)):
            points.append(((x - width / 2) * zoom + width / 2 + dx, (y - height / 2) * zoom + height / 2 + dy))
        joints = tuple((*point, joint[2]) for point, joint in zip(points[1:], pose, strict=True))
        moved.append(Place(points[0], head * zoom, joints))
    inside = all(
        0.5 * head < x < width - 0.5 * head and 0.6 * head < y < height - 0.3 * head for (x, y), head, _ in moved
    )
    return moved if inside else []


def _anywhere(rng: random.Random, people: int, size: tuple[int, int]) -> list[Place]:
    """A row of people of about one size, at any height; nothing where they do not fit."""
    width, height = size
    head = rng.uniform(40, 80) if size == SMALL else rng.uniform(60, 170)
    if 1.2 * head > width or 0.8 * head > height * 0.62:
        return []
    across = sorted(rng.uniform(0.6 * head, width - 0.6 * head) for _ in range(people))
    if any(b - a < max(_ROOM, 1.3 * head) for a, b in itertools.pairwise(across)):
        return []
    framing = rng.choice(_FRAMINGS)
    found: list[Place] = []
    for x in across:
        own = head * rng.uniform(0.9, 1.1)
        y = rng.uniform(0.8 * own, max(0.82 * own, min(height * 0.62, height - own)))
        pose = bodies.on_canvas(bodies.body_around(bodies.face_keypoints((x, y), own), framing), own, width, height)
        found.append(Place((x, y), own, pose))
    return found
