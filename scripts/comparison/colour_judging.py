"""The judge of the toy model's pictures: colours say who stands where, in columns of its own and in those of --people.

No detector finds most of its cartoons, and no recogniser knows their people. So every face is looked for in the place
that its person has, and a similarity compares the colours there with those of a photo.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from miniature import avatars, places
from miniature import measure as colours
from miniature.net import Miniature
from pack.core.measure import STRANGER_BELOW, MeasuredPicture, Sighting
from pack.core.models.packs import IR_SE50
from pack.core.people import Identity
from torch import Tensor
from torch.nn.functional import normalize

from .columns import Column, figures
from .formulas import copied
from .judged import Judged
from .rows import Unread

if TYPE_CHECKING:
    from .cartoon_methods import Picture

UNREAD = (
    Unread("extra", "no detector finds most of the cartoons, so faces are looked for in their places alone."),
    Unread("collapse", "DINOv2 was not tried on cartoons."),
    Unread("SCR@0.4", "DINOv2 was not tried on cartoons."),
    Unread("text alignment", "the toy model draws the same for every prompt."),
)
"""Columns that say nothing of the toy model, and why."""


def _of_looks(of_row: Callable[[Sequence[colours.Seen]], float]) -> Callable[[Sequence[Judged]], float]:
    return lambda judged: of_row([picture.looks for picture in judged if picture.looks is not None])


def _r2(part: str) -> Column:
    meaning = f"How close the colours of {part} come to the person's; below 0 where the mean of all would be closer."
    return Column(f"R2 {part}", meaning, "ours", "1", _of_looks(partial(colours.fit, part=part)))


CARTOON_COLUMNS = (
    Column(
        "association", "The share of places that look most like the person who belongs there.", "ours", "1",
        _of_looks(colours.association), True,
    ),
    Column(
        "leakage", "How far the colours in a place follow the mean of all other people in the picture.", "ours", "0",
        _of_looks(lambda looks: colours.leakage(looks).leakage), True,
    ),
    Column(
        "own", "How far the colours in a place follow the person who belongs there.", "ours", "1",
        _of_looks(lambda looks: colours.leakage(looks).own), True,
    ),
    *(_r2(part) for part in ("hair", "shirt", "skin")),
)  # fmt: skip
"""Those of docs/dev/miniature_methods.md, which are of places and their colours alone."""


class ColourJudge:
    """It compares what stands in each place with the colours of people's photos.

    small: the toy model. people: everybody who may be in a picture, by all their photos.
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

    def looks(self, picture: Picture) -> colours.Seen:
        """The looks in the places of a picture, and those that are meant."""
        rows = [person.identity.embeddings[IR_SE50].mean(0) for person in picture.cast.people]
        persons_looks = self._small.looks(normalize(torch.stack(rows)))
        size = (picture.cast.width, picture.cast.height)
        slots = [person.slot for person in picture.cast.people]
        standing = places.of_slots([slot for slot in slots if slot])
        if picture.by_keypoints:
            standing = places.by_face(standing, size)
        areas = avatars.draw(standing, persons_looks, size)
        found = colours.found_in(colours.cells_of(picture.pixels), areas, len(persons_looks))
        return colours.Seen(found, colours.colours_of(persons_looks))

    @torch.inference_mode()
    def judged(self, picture: Picture) -> Judged:
        """What is measured of a picture."""
        looks = self.looks(picture)
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
            looks=looks,
        )

    def _copied(self, look: Tensor, drawn_from: Identity) -> float | None:
        """How much nearer a look (9,) is to the photo that it was drawn from than to the person's other ones."""
        photos = self._photos[drawn_from.name]
        colours_in_sight = ~look.isnan()
        used = len(drawn_from.embeddings[IR_SE50])
        other_photos = [photo[colours_in_sight] for photo in photos[used:]]
        return copied(look[colours_in_sight], photos[0][colours_in_sight], other_photos)


def people_figures(judged: Sequence[Judged]) -> dict[str, float | None]:
    """The columns of --people; None for those that are not read here."""
    return {**figures(judged), **dict.fromkeys([unread.column for unread in UNREAD])}


def distance(first: Tensor, second: Tensor) -> float:
    """The root mean square difference of two looks (9,), over the colours that are seen in both."""
    return float((first - second).square().nanmean().sqrt())
