"""One cast of which nobody is as usual: tests of pixels and figures take it unless they say why not.

Listed are, in this order: Anna of weight 0; Ben, who is absent; Cleo with two looks; another Anna without a place; Dan.
The numbers of their places are others than those in the list, and Anna's and Dan's places overlap that of Cleo.
"""

from dataclasses import replace

import torch
from pack.core.cast import Absent, Look, LookPicture, Member, Person, PlacedCast, Pose, Slot
from torch import Tensor

WEIGHTLESS, CLEO, PLACELESS, DAN = range(4)
"""Their indices in `people`."""
WIDTH, HEIGHT = 256, 300
_FACE = [(0.0, 42.0), (-5.0, 35.0), (5.0, 35.0), (-12.0, 38.0), (12.0, 38.0)]
_BODY = [(30.0, 80.0), (36.0, 130.0), (36.0, 170.0), (18.0, 170.0), (18.0, 230.0), (18.0, 290.0)]


def _pose(x: float) -> Pose:
    points = _FACE + [(side * dx, y) for dx, y in _BODY for side in (1, -1)]
    return tuple((x + dx, y, 1.0) for dx, y in points)


def _slot(x: float) -> Slot:
    """A place with face and body, of which x is the middle, px."""
    keypoints = ((x - 8, 35.0), (x + 8, 35.0), (x, 42.0), (x - 7, 50.0), (x + 7, 50.0))
    return Slot((x, 42.0), (x - 20.0, 20.0, x + 20.0, 60.0), keypoints, _pose(x))


def _person(name: str, number: int, *looks: str) -> Person:
    """With a face of their own, and looks of one garment each."""
    embedding = torch.zeros(1, 512)
    embedding[0, number] = 1
    picture = LookPicture("upper body clothes", torch.full((8, 8, 3), 20 * number, dtype=torch.uint8))
    of_looks = tuple(Look(look, (picture,)) for look in looks)
    return Person(name, {"w600k_r50": embedding}, torch.zeros(1, 112, 112, 3), looks=of_looks)


def mixed() -> PlacedCast:
    people = (
        Member(_person("Anna", 1, "coat"), 0.0, _slot(140.0), 3, number=1),
        Member(_person("Cleo", 3, "coat", "gown"), 1.0, _slot(100.0), 2, number=3),
        Member(_person("Anna", 4, "coat"), 1.0, None, 0, number=4),
        Member(_person("Dan", 5, "suit"), 0.5, _slot(55.0), 1, number=5),
    )
    return PlacedCast(people, WIDTH, HEIGHT, absent=(Absent(2, "Ben"),))


def without(cast: PlacedCast, *indices: int) -> PlacedCast:
    """The cast as if these people had never been in the list: what an absent person changes, they do not."""
    people = tuple(member for index, member in enumerate(cast.people) if index not in indices)
    return replace(cast, people=people, absent=())


def columns(mask: Tensor) -> tuple[int, int]:
    """The first and the last column in which a mask (H, W) has anything."""
    seen = mask.sum(0).nonzero()[:, 0]
    return int(seen[0]), int(seen[-1])
