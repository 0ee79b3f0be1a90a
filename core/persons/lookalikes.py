"""Which people of a cast look like one person: one photo may be there twice, under two names."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..cast import Person
from ..checks.errors import joined

ONE_PERSON = 0.8
"""The cosine from which a recogniser takes two people for one, where its file states none. A photo and a smaller,
cropped, turned or badly compressed copy of it have 0.83 or more; two different photos of one person, and so twins,
seldom have 0.7; two different people have 0.33 at most (docs/dev/measuring.md)."""


def look_alike(people: Sequence[Person]) -> list[str]:
    """A line for each group of people who look like one person to every recogniser that they share."""
    alike = _alike(people)
    groups: dict[int, list[int]] = {}  # the first person of a group -> all who look like that one
    for number in range(len(people)):
        first = next((earlier for earlier in groups if alike.one_person[number, earlier]), number)
        groups.setdefault(first, []).append(number)
    lines: list[str] = []
    for group in groups.values():
        if len(group) < 2:
            continue
        first, *others = group
        names = [people[number].name for number in group]
        least = float(alike.cosines[first, others].min())
        lines.append(f"{joined(names)} look like one person, {least:.2f}: is one photo there twice?")
    return lines


@dataclass(frozen=True)
class _Alike:
    """The likeness of people to each other, measured by the two photos that are most alike.

    cosines: (people, people), the smallest of the cosines by all recognisers that both have; -1 where they have none in
    common.
    one_person: (people, people) bool, whether there is a recogniser that both have, and all such recognisers take the
    two for one person.
    """

    cosines: Tensor
    one_person: Tensor


def _alike(people: Sequence[Person]) -> _Alike:
    """All people compared with each other by each recogniser that both have."""
    count = len(people)
    cosines = torch.full(
        (count, count), torch.inf, dtype=torch.float32
    )  # the smallest so far; infinite before any recogniser
    differ = torch.zeros(count, count, dtype=torch.bool)
    for recogniser in {recogniser for person in people for recogniser in person.embeddings}:
        numbers = [number for number, person in enumerate(people) if len(person.embeddings.get(recogniser, ()))]
        if not numbers:
            continue
        photos = [normalize(people[number].embeddings[recogniser].float(), dim=-1) for number in numbers]
        limits = torch.tensor(
            [people[number].one_person_from.get(recogniser, ONE_PERSON) for number in numbers], dtype=torch.float32
        )
        # An index of the rows and columns of these people in the tables of all people.
        pairs = (torch.tensor(numbers)[:, None], torch.tensor(numbers))
        nearest = _nearest_photos(photos)
        cosines[pairs] = cosines[pairs].minimum(nearest)
        # Two people may come from two files of one recogniser: the stricter limit counts.
        differ[pairs] |= nearest < torch.maximum(limits[:, None], limits)
    share_a_recogniser = ~cosines.isinf()
    return _Alike(cosines.masked_fill(~share_a_recogniser, -1.0), share_a_recogniser & ~differ)


def _nearest_photos(photos: Sequence[Tensor]) -> Tensor:
    """For each pair of people the cosine of the two photos that are most alike: (people, people).

    photos: of each person, (photos, 512) of length 1 each.
    """
    counts = [len(rows) for rows in photos]
    units = torch.cat(list(photos))
    cosines = units @ units.T  # (all photos, all photos)
    of_person = torch.stack([rows.amax(0) for rows in torch.split(cosines, counts)])  # (people, all photos)
    return torch.stack([columns.amax(1) for columns in torch.split(of_person, counts, 1)])  # (people, people)
