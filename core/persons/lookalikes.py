"""Which people of a cast look like one person, or like kin: who is easily taken for whom."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..cast import Person
from ..checks.errors import first_few, joined

ONE_PERSON = 0.8
"""The cosine from which a recogniser takes two people for one, where its file states none. A photo and a smaller,
cropped, turned or badly compressed copy of it have 0.83 or more; two different photos of one person, and so twins,
seldom have 0.7 (docs/dev/measuring.md)."""
KIN = 0.35
"""The cosine from which two people are nearer to each other than strangers ever are: 91 photos of 30 strangers stay
below it (tests/faces/test_grouped_photos.py). A recogniser whose file states the limit for one person has cosines of
another scale; whoever reaches that limit is kin to it, and nobody else."""


def look_alike(people: Sequence[Person]) -> list[str]:
    """A line for each group of people who look like one person, and one line for kin, where there are any.

    All in a group look like its first person to every recogniser that they share with this person.
    """
    alike = _alike(people)
    groups: dict[int, list[int]] = {}  # number of the first person of a group -> numbers of all in the group
    for number in range(len(people)):
        # The first person of a group whom this person looks like; without any this person begins a group.
        first = next((earlier for earlier in groups if alike.one_person[number, earlier]), number)
        groups.setdefault(first, []).append(number)
    lines: list[str] = []
    for group in groups.values():
        if len(group) < 2:
            continue
        beginner, *others = group
        names = [people[number].name for number in group]
        least = float(alike.cosines[beginner, others].min())
        lines.append(f"{joined(names)} look like one person, {least:.2f}: is one photo there twice?")
    return [*lines, *_kin_lines(people, alike)]


def kin_lines(people: Sequence[Person]) -> list[str]:
    """A line that names the pairs of people who are kin by their faces, and not one person; none without such pairs."""
    return _kin_lines(people, _alike(people))


def kin(people: Sequence[Person]) -> Tensor:
    """Whether two people are nearer to each other than strangers are: (people, people) bool.

    It is also True for two who look like one person, and False for two without a recogniser in common.
    """
    return _alike(people).kin


@dataclass(frozen=True)
class _Alike:
    """The likeness of people to each other, measured by the two photos that are most alike.

    cosines: (people, people), the smallest of the cosines by all recognisers that both have; -1 where they have none in
    common.
    one_person: (people, people) bool, whether there is a recogniser that both have, and all such recognisers take the
    two for one person.
    kin: (people, people) bool, whether all such recognisers find them nearer to each other than strangers are.
    """

    cosines: Tensor
    one_person: Tensor
    kin: Tensor


def _kin_lines(people: Sequence[Person], alike: _Alike) -> list[str]:
    """As `kin_lines`, of people who have been compared already."""
    pairs: list[str] = []
    for first, second in combinations(range(len(people)), 2):
        if alike.kin[first, second] and not alike.one_person[first, second]:
            pairs.append(f"{people[first].name} and {people[second].name} {float(alike.cosines[first, second]):.2f}")
    advice = "Kin are easily mixed up; what they share does not count as leakage."
    return [f"More alike than strangers: {', '.join(first_few(pairs))}. {advice}"] if pairs else []


def _alike(people: Sequence[Person]) -> _Alike:
    """All people compared with each other by each recogniser that both have."""
    count = len(people)
    cosines = torch.full((count, count), torch.inf, dtype=torch.float32)
    one_person = torch.ones(count, count, dtype=torch.bool)
    kin = torch.ones(count, count, dtype=torch.bool)
    for recogniser in {recogniser for person in people for recogniser in person.embeddings}:
        nearest = _nearest(people, recogniser)
        cosines = cosines.minimum(nearest)
        stated_limits = [person.one_person_from.get(recogniser) for person in people]
        one_person &= nearest >= _limits([limit or ONE_PERSON for limit in stated_limits])
        # A stated limit for one person is the limit for kin as well, see KIN.
        kin &= nearest >= _limits([limit or KIN for limit in stated_limits])
    share_a_recogniser = ~cosines.isinf()
    return _Alike(
        cosines=cosines.masked_fill(~share_a_recogniser, -1.0),
        one_person=share_a_recogniser & one_person,
        kin=share_a_recogniser & kin,
    )


def _limits(of_people: Sequence[float]) -> Tensor:
    """The limit for each two people, (people, people): they may come from two files, whose stricter limit counts."""
    limits = torch.tensor(of_people, dtype=torch.float32)
    return torch.maximum(limits[:, None], limits)


def _nearest(people: Sequence[Person], recogniser: str) -> Tensor:
    """For each two people the cosine of the two photos that are most alike: (people, people).

    It is infinite, and so above every limit, where one of them has no photo by this recogniser.
    """
    nearest = torch.full((len(people), len(people)), torch.inf, dtype=torch.float32)
    with_photo = [number for number, person in enumerate(people) if len(person.embeddings.get(recogniser, ()))]
    if with_photo:
        photos = [normalize(people[number].embeddings[recogniser].float(), dim=-1) for number in with_photo]
        rows = torch.tensor(with_photo)[:, None]
        nearest[rows, torch.tensor(with_photo)] = _nearest_photos(photos)
    return nearest


def _nearest_photos(photos: Sequence[Tensor]) -> Tensor:
    """For each pair of people the cosine of the two photos that are most alike: (people, people).

    photos: of each person, (photos, 512) of length 1 each.
    """
    counts = [len(rows) for rows in photos]
    units = torch.cat(list(photos))
    cosines = units @ units.T  # (all photos, all photos)
    # The largest cosine over the photos of one person, first among the rows, then among the columns.
    of_person = torch.stack([rows.amax(0) for rows in torch.split(cosines, counts)])  # (people, all photos)
    return torch.stack([columns.amax(1) for columns in torch.split(of_person, counts, dim=1)])  # (people, people)
