"""The columns of compare.py --people for pictures of the miniature: colours say who stands where.

No detector finds most of its cartoons, and no recogniser knows their people. So every face is looked for in the place
that its person has, and a similarity compares the colours there with those of a photo.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from miniature import measure as colours
from miniature.net import Miniature
from pack.core.measure import STRANGER_BELOW, MeasuredPicture, Sighting
from pack.core.models.packs import IR_SE50
from pack.core.people import Identity
from torch import Tensor
from torch.nn.functional import normalize

from .columns import figures
from .formulas import copied
from .judged import Judged
from .rows import Unread

if TYPE_CHECKING:
    from .methods import Picture

UNREAD = (
    Unread("extra", "no detector finds most of the cartoons, so faces are looked for in their places alone."),
    Unread("collapse", "DINOv2 was not tried on cartoons."),
    Unread("SCR@0.4", "DINOv2 was not tried on cartoons."),
    Unread("text alignment", "the miniature draws the same for every prompt."),
)
"""Columns that say nothing of the miniature, and why."""


class ColourJudge:
    """It compares what stands in each place with the colours of people's photos.

    small: the miniature. people: everybody who may be in a picture, by all their photos.
    """

    def __init__(self, small: Miniature, people: Sequence[Identity]) -> None:
        self._small = small
        self._photos = {person.name: self._looks(person) for person in people}
        """By name the colours of each photo, (photos, 9)."""
        first = torch.stack([looks[0] for looks in self._photos.values()])
        distances: list[float] = []
        for number, look in enumerate(first):
            for earlier_look in first[:number]:
                distances.append(distance(look, earlier_look))
        self.stranger_distance = sum(distances) / len(distances)
        """How far the colours of two people are from each other in the mean."""

    def _looks(self, person: Identity) -> Tensor:
        """The colours of each photo of a person, (photos, 9)."""
        return colours.colours_of(self._small.looks(normalize(person.embeddings[IR_SE50], dim=-1)))

    def similarity(self, first: Tensor, second: Tensor) -> float:
        """How alike two looks (9,) are: 1 for the same, 0 for as far apart as two people are in the mean."""
        return 1 - distance(first, second) / self.stranger_distance

    def judged(self, picture: Picture, looks: colours.Seen) -> Judged:
        """What is measured of a picture. looks: those in its places, and those that are meant."""
        sightings: list[Sighting] = []
        boxes: list[tuple[float, float, float, float]] = []
        copies: list[float] = []
        for number, (person, look) in enumerate(zip(picture.cast.people, looks.found, strict=True)):
            alike: list[float] = []
            if not look.isnan().all():
                alike = [self.similarity(look, persons_look) for persons_look in looks.meant]
            if max(alike, default=0.0) < STRANGER_BELOW or person.slot is None or person.slot.box is None:
                sightings.append(Sighting(number))
                continue
            sightings.append(Sighting(number, len(boxes), tuple(alike)))
            boxes.append(person.slot.box)
            copy = self._copied(look, person.identity)
            if copy is not None:
                copies.append(copy)
        alike_in_photos: list[list[float]] = []
        for first in looks.meant:
            alike_in_photos.append([self.similarity(first, second) for second in looks.meant])
        return Judged(
            people=len(sightings),
            faces=len(boxes),
            measured=MeasuredPicture(tuple(boxes), tuple(sightings)),
            alike_in_photos=alike_in_photos,
            copied=copies,
            seconds=picture.seconds,
            step_seconds=picture.step_seconds,
        )

    def _copied(self, look: Tensor, drawn_from: Identity) -> float | None:
        """How much nearer a look (9,) is to the photo that it was drawn from than to the person's other ones."""
        photos = self._photos[drawn_from.name]
        colours_in_sight = ~look.isnan()
        used = len(drawn_from.embeddings[IR_SE50])
        other_photos = [photo[colours_in_sight] for photo in photos[used:]]
        return copied(look[colours_in_sight], photos[0][colours_in_sight], other_photos)

    def figures(self, pictures: Sequence[Picture], looks: Sequence[colours.Seen]) -> Mapping[str, float | None]:
        """The columns of all pictures of a row; None for those that are not read here."""
        judged = [self.judged(picture, of_picture) for picture, of_picture in zip(pictures, looks, strict=True)]
        return {**figures(judged), **dict.fromkeys([unread.column for unread in UNREAD])}


def distance(first: Tensor, second: Tensor) -> float:
    """The root mean square difference of two looks (9,), over the colours that are seen in both."""
    return float((first - second).square().nanmean().sqrt())
