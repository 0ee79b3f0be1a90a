"""Where drawn people stand: the pack's own group layouts, the same shaken, and people anywhere."""

import itertools
import random

import torch
import torch.nn.functional as functional
from torch import Tensor

from core.errors import LikenessError
from core.places import bodies, control_images, group

from ..places import LARGE, SMALL, Place, of_slots

_COUNTS = {SMALL: (1, 2, 2, 2, 3, 3), LARGE: (1, 2, 2, 2, 3, 3, 4, 4, 5, 6)}
_ROOM = 66  # between two noses: patches of 64 px stay clear of each other


def draw(rng: random.Random, size: tuple[int, int], count: int | None = None) -> list[Place]:
    """Places for a training picture of `size` (SMALL or LARGE)."""
    while True:
        people = count or rng.choice(_COUNTS[size])
        kind = rng.random()
        if kind < 0.7:
            found = _group(rng, people, size)
            if found and kind > 0.4:
                found = _shaken(rng, found, size)
        else:
            found = _anywhere(rng, people, size)
        if found:
            return found


def _group(rng: random.Random, people: int, size: tuple[int, int]) -> list[Place]:
    try:
        return of_slots(group.layout(people, rng.choice(("bust", "half", "half", "full")), 0, *size).slots)
    except LikenessError:  # so many people do not fit into so small a picture
        return []


def _shaken(rng: random.Random, places: list[Place], size: tuple[int, int]) -> list[Place]:
    """Everybody moved a little, the whole group moved and resized; nothing when somebody leaves the picture."""
    width, height = size
    zoom = rng.uniform(0.88, 1.08)
    across, down = rng.uniform(-0.04, 0.04) * width, rng.uniform(-0.03, 0.05) * height
    moved: list[Place] = []
    for nose, head, pose in places:
        dx, dy = across + rng.uniform(-0.08, 0.08) * head, down + rng.uniform(-0.12, 0.12) * head
        points = [
            ((x - width / 2) * zoom + width / 2 + dx, (y - height / 2) * zoom + height / 2 + dy)
            for x, y in (nose, *(joint[:2] for joint in pose))
        ]
        seen = (joint[2] for joint in pose)
        joints = tuple((*point, confidence) for point, confidence in zip(points[1:], seen, strict=True))
        moved.append(Place(points[0], head * zoom, joints))
    inside = all(
        0.5 * head < x < width - 0.5 * head and 0.6 * head < y < height - 0.3 * head for (x, y), head, _ in moved
    )
    return moved if inside else []


def _anywhere(rng: random.Random, people: int, size: tuple[int, int]) -> list[Place]:
    """A row of people of about one size, at any height; nothing when they do not fit."""
    width, height = size
    head = rng.uniform(40, 80) if size == SMALL else min(rng.uniform(42, 170), rng.uniform(60, 170))
    if 1.2 * head > width or 0.8 * head > height * 0.62:
        return []
    across = sorted(rng.uniform(0.6 * head, width - 0.6 * head) for _ in range(people))
    if any(b - a < max(_ROOM, 1.3 * head) for a, b in itertools.pairwise(across)):
        return []
    framing = rng.choice(("bust", "half", "full", "full"))
    found: list[Place] = []
    for x in across:
        own = head * rng.uniform(0.9, 1.1)
        y = rng.uniform(0.8 * own, max(0.82 * own, min(height * 0.62, height - own)))
        keypoints = bodies.face_keypoints((x, y), own)
        pose = bodies.on_canvas(bodies.body_around(keypoints, framing), own, width, height)
        found.append(Place((x, y), own, pose))
    return found


def skeleton(places: list[Place], size: tuple[int, int]) -> Tensor:
    """(H, W, 3), 0..1: what Draw Skeletons draws."""
    return control_images.skeleton([place.pose for place in places], *size)


def by_face(places: list[Place], size: tuple[int, int]) -> list[Place]:
    """The same people standing, so that their faces say where all of them is."""
    found: list[Place] = []
    for nose, head, _ in places:
        pose = bodies.body_around(bodies.face_keypoints(nose, head), "full")
        found.append(Place(nose, head, bodies.on_canvas(pose, head, *size)))
    return found


def keypoints(places: list[Place], size: tuple[int, int]) -> Tensor:
    """(H, W, 3), 0..1: what Draw Skeletons draws for IdentityNet."""
    return control_images.face_keypoints([bodies.face_keypoints(nose, head) for nose, head, _ in places], *size)


def around(rng: random.Random, places: list[Place], size: tuple[int, int]) -> Tensor:
    """(1, H/8, W/8), 0..1: boxes around faces, as large as by region."""
    share, reach = torch.zeros(1, size[1] // 8, size[0] // 8), rng.uniform(0.6, 1.0)
    for (x, y), head, _ in places:
        x0, x1, y0, y1 = (round((at + way * reach * head) / 8) for at in (x, y) for way in (-1, 1))
        share[:, max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = 1
    return functional.avg_pool2d(share, 3, stride=1, padding=1, count_include_pad=False)
