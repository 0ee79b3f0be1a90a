"""Where drawn people stand: the pack's own group layouts, the same shaken, and people anywhere."""

import itertools
import random

import torch
import torch.nn.functional as functional
from torch import Tensor

from core.errors import LikenessError
from core.places import bodies, control_images, group

from ..autoencoder import CELL
from ..places import LARGE, SMALL, Place, of_slots

_COUNTS = {SMALL: (1, 2, 2, 2, 3, 3), LARGE: (1, 2, 2, 2, 3, 3, 4, 4, 5, 6)}
_ROOM = 66  # between two noses: patches of 64 px stay clear of each other


def draw(rng: random.Random, size: tuple[int, int], count: int | None = None) -> list[Place]:
    """Places for a training picture of `size` (SMALL or LARGE)."""
    while True:
        people = count or rng.choice(_COUNTS[size])
        kind = rng.random()
        if kind < 0.7:
            places = _group(rng, people, size)
            if places and kind > 0.4:
                places = _shaken(rng, places, size)
        else:
            places = _anywhere(rng, people, size)
        if places:
            return places


def _group(rng: random.Random, people: int, size: tuple[int, int]) -> list[Place]:
    try:
        return of_slots(group.layout(people, rng.choice(("bust", "half", "half", "full")), 0, *size).slots)
    except LikenessError:  # so many people do not fit into so small a picture
        return []


def _shaken(rng: random.Random, places: list[Place], size: tuple[int, int]) -> list[Place]:
    """Everybody moved a little, the whole group moved and resized; nothing when somebody leaves the picture."""
    width, height = size
    zoom = rng.uniform(0.88, 1.08)
    across = rng.uniform(-0.04, 0.04) * width
    down = rng.uniform(-0.03, 0.05) * height
    moved: list[Place] = []
    for nose, head, pose in places:
        dx = across + rng.uniform(-0.08, 0.08) * head
        dy = down + rng.uniform(-0.12, 0.12) * head

        def zoomed(x: float, y: float, dx: float = dx, dy: float = dy) -> tuple[float, float]:
            """A point of the picture, zoomed around its middle and moved."""
            return (x - width / 2) * zoom + width / 2 + dx, (y - height / 2) * zoom + height / 2 + dy

        joints = tuple((*zoomed(x, y), confidence) for x, y, confidence in pose)
        moved.append(Place(zoomed(*nose), head * zoom, joints))
    for (x, y), head, _ in moved:
        if not (0.5 * head < x < width - 0.5 * head and 0.6 * head < y < height - 0.3 * head):
            return []
    return moved


def _anywhere(rng: random.Random, people: int, size: tuple[int, int]) -> list[Place]:
    """A row of people of about one size, at any height; nothing when they do not fit."""
    width, height = size
    head = _head(rng, size)
    if 1.2 * head > width or 0.8 * head > height * 0.62:
        return []
    across = sorted(rng.uniform(0.6 * head, width - 0.6 * head) for _ in range(people))
    for left, right in itertools.pairwise(across):
        if right - left < max(_ROOM, 1.3 * head):
            return []
    framing = rng.choice(("bust", "half", "full", "full"))
    row: list[Place] = []
    for x in across:
        person_head = head * rng.uniform(0.9, 1.1)
        lowest = max(0.82 * person_head, min(height * 0.62, height - person_head))
        y = rng.uniform(0.8 * person_head, lowest)
        keypoints = bodies.face_keypoints((x, y), person_head)
        pose = bodies.on_canvas(bodies.body_around(keypoints, framing), person_head, width, height)
        row.append(Place((x, y), person_head, pose))
    return row


def _head(rng: random.Random, size: tuple[int, int]) -> float:
    """The height of a head, in pixels: in a large picture more often a small one."""
    if size == SMALL:
        return rng.uniform(40, 80)
    return min(rng.uniform(42, 170), rng.uniform(60, 170))


def skeleton(places: list[Place], size: tuple[int, int]) -> Tensor:
    """(H, W, 3), 0..1: what Draw Skeletons draws."""
    return control_images.skeleton([place.pose for place in places], *size)


def by_face(places: list[Place], size: tuple[int, int]) -> list[Place]:
    """The same people standing, so that their faces say where all of them is."""
    standing: list[Place] = []
    for nose, head, _ in places:
        pose = bodies.body_around(bodies.face_keypoints(nose, head), "full")
        standing.append(Place(nose, head, bodies.on_canvas(pose, head, *size)))
    return standing


def keypoints(places: list[Place], size: tuple[int, int]) -> Tensor:
    """(H, W, 3), 0..1: what Draw Skeletons draws for IdentityNet."""
    return control_images.face_keypoints([bodies.face_keypoints(nose, head) for nose, head, _ in places], *size)


def around(rng: random.Random, places: list[Place], size: tuple[int, int]) -> Tensor:
    """(1, H/8, W/8), 0..1: boxes around faces, as large as by region."""
    share = torch.zeros(1, size[1] // CELL, size[0] // CELL)
    reach = rng.uniform(0.6, 1.0)
    for (x, y), head, _ in places:
        half = reach * head
        columns = slice(_cell(x - half), _cell(x + half))
        rows = slice(_cell(y - half), _cell(y + half))
        share[:, rows, columns] = 1
    return functional.avg_pool2d(share, 3, stride=1, padding=1, count_include_pad=False)


def _cell(pixel: float) -> int:
    """The number of the cell that begins nearest to a pixel, from 0."""
    return max(0, round(pixel / CELL))
