"""How much a picture shows the people it is meant to show: who is who, how alike, in whose place, missing or mixed.

Similarities are cosines of embeddings, as the recognisers give them: 1 is the same photo, strangers lie around 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .errors import BadSize, NotPlaced, no_recogniser_in_common, nobody_to_measure, together_only
from .geometry import longer_side
from .identities import combine, similarity
from .models.packs import IR_SE50
from .people import NOSE, Box, Cast, Face, Faces, Identity, Person
from .thirdparty import require

NODE = "Measure Likeness"
METHODS: Mapping[str, str] = {
    "unknown": "",
    "ID-Patch": IR_SE50,
    "InstantID": "antelopev2",
    "PuLID": "antelopev2",
    "IPAdapter FaceID": "w600k_r50",
}
"""The recogniser each method was trained with. It flatters that method: any other judges better."""

STRANGER = 0.2
"""Two people's faces are seldom more alike than this, whatever the recogniser."""
_REACH = 1.0
"""A face stands in a place when its nose is this near to it, in parts of the larger of the two faces' sides."""
_ASPECT = 0.02
"""How much a picture's shape may differ from its canvas', as scaling to multiples of 8 or 64 makes it."""


@dataclass(frozen=True)
class Sighting:
    """One person in one picture.

    person: their index among those who are measured. face: which of the picture's faces, or None where they are
    missing. similarities: of that face to everybody who is measured, in their order. copied: how much more alike the
    face is to one photo than photos of this person are to each other; None with a single photo.
    """

    person: int
    face: int | None = None
    similarities: tuple[float, ...] = ()
    copied: float | None = None

    @property
    def similarity(self) -> float:
        """To the own photos; 0 for somebody who is missing."""
        return self.similarities[self.person] if self.similarities else 0.0

    @property
    def leakage(self) -> float:
        """To the one of the others whom the face is most like; 0 where there is nobody else."""
        others = [value for person, value in enumerate(self.similarities) if person != self.person]
        return max(others, default=0.0)

    @property
    def margin(self) -> float:
        """By how much the face is more like this person than like anybody else."""
        return self.similarity - self.leakage

    @property
    def looks_like(self) -> int | None:
        """Index of the person whom the face is most like."""
        return max(range(len(self.similarities)), key=self.similarities.__getitem__) if self.similarities else None

    @property
    def right(self) -> bool:
        return self.looks_like == self.person

    @property
    def swapped(self) -> bool:
        """Whether the face is more like somebody else of the cast."""
        return self.face is not None and not self.right


@dataclass(frozen=True)
class Measured:
    """One picture, seen by one recogniser: its faces from left to right, and a sighting per person.

    parts: how alike each part is to its region, where parts were compared.
    """

    boxes: tuple[Box, ...]
    sightings: tuple[Sighting, ...]
    parts: tuple[float, ...] = ()

    @property
    def present(self) -> tuple[Sighting, ...]:
        return tuple(one for one in self.sightings if one.face is not None)

    @property
    def missing(self) -> int:
        return len(self.sightings) - len(self.present)

    @property
    def swapped(self) -> int:
        return sum(one.swapped for one in self.sightings)

    @property
    def extra(self) -> tuple[int, ...]:
        """Faces of nobody who is measured."""
        known = {one.face for one in self.sightings}
        return tuple(face for face in range(len(self.boxes)) if face not in known)

    @property
    def resemblance(self) -> float:
        """Mean similarity of everybody to themselves; who is missing counts as 0."""
        return _mean([one.similarity for one in self.sightings])

    @property
    def weakest(self) -> float:
        """The same of the person who is least alike."""
        return min(one.similarity for one in self.sightings)

    @property
    def association(self) -> float:
        """Share of the people whose face is more like them than like anybody else of the cast."""
        return _mean([float(one.right) for one in self.sightings])

    @property
    def leakage(self) -> float:
        """Mean over those who are there of how alike they are to somebody else."""
        return _mean([one.leakage for one in self.present])

    @property
    def margin(self) -> float:
        return _mean([one.margin for one in self.sightings])

    @property
    def copy_paste(self) -> float | None:
        """Mean over those who are there and have several photos; None where there is nobody of that kind."""
        known = [one.copied for one in self.present if one.copied is not None]
        return _mean(known) if known else None

    @property
    def part_similarity(self) -> float | None:
        """Mean over the parts; None without any."""
        return _mean(self.parts) if self.parts else None


@dataclass(frozen=True)
class Report:
    """What travels on LIKENESS_REPORT: everything there is to choose pictures by.

    numbers: of the places in Place Cast's picture, or of the order where there are none. recognisers: the one that
    judges first; the others saw the same faces. pictures: by recogniser, one Measured per picture of the batch.
    method: one of METHODS. width, height: of the canvas of the places, 0 without them. labels: of the parts.
    """

    people: tuple[Person, ...]
    recognisers: tuple[str, ...]
    pictures: Mapping[str, tuple[Measured, ...]]
    method: str = "unknown"
    width: int = 0
    height: int = 0
    labels: tuple[str, ...] = ()

    @property
    def judged(self) -> tuple[Measured, ...]:
        return self.pictures[self.recognisers[0]]

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(person.place or number for number, person in enumerate(self.people, 1))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(person.identity.name for person in self.people)

    @property
    def placed(self) -> bool:
        return self.people[0].slot is not None

    @property
    def flattered(self) -> bool:
        """Whether the judge is what the method itself was trained with."""
        return self.recognisers[0] == METHODS[self.method]


def people_of(cast: Cast | None, identity: Identity | None, node: str = NODE) -> Cast:
    """Whom to look for: the cast without people of weight 0, and one more person.

    Raises BadCast where that is nobody or people have a picture each, NotPlaced where only some have a place.
    """
    if cast and cast.by_row:
        raise together_only(node)
    listed = [person for person in (cast.people if cast else ()) if person.weight > 0]
    people = (*listed, *([Person(identity)] if identity else []))
    if not people:
        raise nobody_to_measure(bool(cast))
    bare = [person.identity.name for person in people if person.slot is None]
    if 0 < len(bare) < len(people):
        raise NotPlaced(node, bare)
    return replace(cast, people=people) if cast else Cast(people)


def judges(loaded: Sequence[str], people: Sequence[Person], method: str) -> tuple[str, ...]:
    """Recognisers by which everybody can be compared, the most independent of `method` first.

    Raises BadCast, naming both sides, where there is none.
    """
    shared = [name for name in loaded if all(name in person.identity.embeddings for person in people)]
    if not shared:
        raise no_recogniser_in_common(loaded, [(p.identity.name, sorted(p.identity.embeddings)) for p in people])
    flattering = {METHODS[method]} if METHODS[method] else set(METHODS.values())
    return tuple(sorted(shared, key=lambda name: name in flattering))


def measure(
    pictures: Sequence[Faces],
    cast: Cast,
    recognisers: Sequence[str],
    method: str = "unknown",
    stranger_below: float = STRANGER,
) -> Report:
    """Who is who in every picture, by the first recogniser, and how alike by each of them.

    cast: from `people_of`; recognisers: from `judges`. Placed people are looked for in their places, others among all
    faces, so that the sum of similarities is the largest. A face that is less like everybody than `stranger_below` is
    nobody's, and who has no other is missing.
    Raises BadSize where a picture is not the cast's canvas, BadEmbedding.
    """
    seen: dict[str, list[Measured]] = {name: [] for name in recognisers}
    for picture in pictures:
        tables = {name: _similarities(picture.faces, cast.people, name) for name in recognisers}
        judge = tables[recognisers[0]]
        faces = in_places(picture, cast) if cast.people[0].slot else _assigned(judge)
        faces = [None if face is None or judge[:, face].max() < stranger_below else face for face in faces]
        for name, table in tables.items():
            boxes = tuple(face.box for face in picture.faces)
            sightings = (_sighting(n, face, picture.faces, cast.people, name, table) for n, face in enumerate(faces))
            seen[name].append(Measured(boxes, tuple(sightings)))
    measured = {name: tuple(ones) for name, ones in seen.items()}
    return Report(cast.people, tuple(recognisers), measured, method, cast.width, cast.height)


def with_parts(report: Report, labels: Sequence[str], parts: Sequence[Sequence[float]]) -> Report:
    """The report with how alike each part is to its region, per picture."""
    pictures = {
        name: tuple(replace(one, parts=tuple(alike)) for one, alike in zip(ones, parts, strict=True))
        for name, ones in report.pictures.items()
    }
    return replace(report, pictures=pictures, labels=tuple(labels))


def in_places(picture: Faces, cast: Cast) -> list[int | None]:
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
    apart = [[_apart(face, person, wide, high) for face in picture.faces] for person in cast.people]
    near = torch.tensor(apart).reshape(len(cast.people), len(picture.faces))
    # Somebody far away costs more than all who are near together, so nobody is left out for the others' sake.
    faces = _assigned(-near.where(near <= _REACH, torch.tensor(_REACH * (len(cast.people) + 1))))
    return [face if face is not None and near[n, face] <= _REACH else None for n, face in enumerate(faces)]


def _apart(face: Face, person: Person, wide: float, high: float) -> float:
    """From the face's nose to the person's place, in sides of the larger face."""
    assert person.slot is not None
    x, y = face.keypoints[NOSE]
    sides = [longer_side(face.box), longer_side(person.slot.box) * wide if person.slot.box else 0.0]
    return math.hypot(x - person.slot.center[0] * wide, y - person.slot.center[1] * high) / max(*sides, 1.0)


def _similarities(faces: Sequence[Face], people: Sequence[Person], recogniser: str) -> Tensor:
    """(people, faces)."""
    if not faces:
        return torch.zeros(len(people), 0)
    rows = torch.stack([face.embeddings[recogniser] for face in faces])
    return torch.stack([similarity(person.identity, recogniser, rows, NODE) for person in people])


def _assigned(gain: Tensor) -> list[int | None]:
    """Per row of `gain` (people, faces) the column that is theirs alone, so that the sum is the largest (Kuhn 1955)."""
    optimize = require("scipy.optimize", "Telling who is who")
    rows, columns = optimize.linear_sum_assignment(gain.numpy(), maximize=True)
    of = dict(zip(map(int, rows), map(int, columns), strict=True))
    return [of.get(row) for row in range(len(gain))]


def _sighting(
    number: int, face: int | None, faces: Sequence[Face], people: Sequence[Person], recogniser: str, table: Tensor
) -> Sighting:
    if face is None:
        return Sighting(number)
    copied = _copied(people[number].identity, recogniser, faces[face].embeddings[recogniser])
    return Sighting(number, face, tuple(map(float, table[:, face])), copied)


def _copied(identity: Identity, recogniser: str, face: Tensor) -> float | None:
    """The similarity to the nearest photo, less that between the photos."""
    photos = normalize(combine(identity, recogniser, "sequence", NODE).float(), dim=-1)
    if len(photos) < 2:
        return None
    among = (photos @ photos.T)[~torch.eye(len(photos), dtype=torch.bool)]
    return float((photos @ normalize(face.float(), dim=-1)).max() - among.mean())


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


# --- Choosing by a score

SCORES: Mapping[str, Callable[[Measured], float | None]] = {
    "weakest person": lambda one: one.weakest,
    "resemblance": lambda one: one.resemblance,
    "association": lambda one: one.association,
    "margin": lambda one: one.margin,
    "leakage": lambda one: one.leakage,
    "copy-paste": lambda one: one.copy_paste,
    "parts": lambda one: one.part_similarity,
}
"""By name. Of leakage and copy-paste less is better."""
_LESS_IS_BETTER = ("leakage", "copy-paste")


def scores(report: Report, name: str) -> list[float | None]:
    """Of every picture, by the recogniser that judges; None where a picture has no such score."""
    return [SCORES[name](one) for one in report.judged]


def ranking(report: Report, name: str) -> list[int]:
    """Numbers of the pictures, from 0, from best to worst.

    Where less is better, nobody may win by being missing. Of equal pictures those come first in which more people are
    right, fewer strangers stand and people are more alike; those without the score come last.
    """

    def key(number: int) -> tuple[float, ...]:
        one, value = report.judged[number], SCORES[name](report.judged[number])
        less = name in _LESS_IS_BETTER
        gone = one.missing if less else 0
        best = math.inf if value is None else value if less else -value
        return (gone, best, -one.association, len(one.extra), -one.resemblance, number)

    return sorted(range(len(report.judged)), key=key)


def ranked(report: Report, name: str) -> list[str]:
    """All pictures from best to worst, a line each."""
    values = scores(report, name)
    told = ["none" if value is None else f"{value:.3f}" for value in values]
    return [f"picture {n + 1}: {name} {told[n]} ({summary(report.judged[n])})" for n in ranking(report, name)]


def nobody_seen(report: Report, score: str) -> str:
    """What the numbers of a choice do not say: empty where somebody of the cast was found in some picture."""
    if score == "parts" or any(one.present for one in report.judged):
        return ""
    many = "the picture" if len(report.judged) == 1 else f"any of the {len(report.judged)} pictures"
    return (
        f"Nobody of the cast was found in {many}, so none is better than another. Look at the pictures of {NODE}: "
        "where your people are shown as strangers, lower its stranger_below."
    )


MEANS = ("resemblance", "association", "leakage", "margin")


def totals(pictures: Sequence[Measured]) -> tuple[float, float, float, float, int, int, int]:
    """MEANS, each the mean of all pictures; missing, extra and swapped, their sum."""
    each = [[one.resemblance, one.association, one.leakage, one.margin] for one in pictures]
    resemblance, association, leakage, margin = map(_mean, zip(*each, strict=True))
    extra, missing = sum(len(one.extra) for one in pictures), sum(one.missing for one in pictures)
    return resemblance, association, leakage, margin, missing, extra, sum(one.swapped for one in pictures)


# --- In words


def describe(report: Report) -> str:
    """Everything in plain lines: by whom it was measured, then each picture and everybody in it."""
    lines = [_judge(report)]
    for number, one in enumerate(report.judged, 1):
        lines.append(f"Picture {number}: {summary(one)}")
        lines += [f"  {line}" for line in (_line(report, one, seen) for seen in one.sightings)]
        lines += [f"  {label}: {alike:.2f}" for label, alike in zip(report.labels, one.parts, strict=True)]
        if one.extra:
            sizes = ", ".join(f"{longer_side(one.boxes[face]):.0f} px" for face in one.extra)
            lines.append(f"  nobody of the cast: {len(one.extra)} of {len(one.boxes)} faces ({sizes})")
    for name in report.recognisers[1:]:
        lines += [f"By {name}, picture {n}: {summary(one)}" for n, one in enumerate(report.pictures[name], 1)]
    return "\n".join(lines)


def troubles(report: Report) -> list[str]:
    """What the numbers alone do not say, a line each."""
    empty = [str(number) for number, one in enumerate(report.judged, 1) if not one.boxes]
    return [
        *([_judge(report)] if report.flattered else []),
        *([f"No face found in picture {', '.join(empty)}."] if empty else []),
    ]


def summary(one: Measured) -> str:
    copied = "" if one.copy_paste is None else f", copy-paste {one.copy_paste:+.2f}"
    copied += "" if one.part_similarity is None else f", parts {one.part_similarity:.2f}"
    right = sum(seen.right for seen in one.sightings)
    return (
        f"resemblance {one.resemblance:.2f}, association {right}/{len(one.sightings)}, "
        f"leakage {one.leakage:.2f}, margin {one.margin:.2f}{copied}"
    )


def _judge(report: Report) -> str:
    judge, own = report.recognisers[0], METHODS[report.method]
    if report.flattered:
        return f"Measured by {judge}, with which {report.method} was trained: it flatters. {ANOTHER}"
    if own:
        return f"Measured by {judge}, which {report.method} was not trained with."
    return f"Measured by {judge}. If the pictures were made with it, it flatters them: set made_with."


ANOTHER = "Load another recogniser in Load Face Model, for the identities as well, and it will judge."


def _line(report: Report, one: Measured, seen: Sighting) -> str:
    name, number = report.names[seen.person], report.numbers[seen.person]
    who = f"{name} (place {number})" if report.placed else name
    if seen.face is None:
        return f"{who}: missing"
    size, line = longer_side(one.boxes[seen.face]), f"{who}: {seen.similarity:.2f}"
    if seen.swapped and seen.looks_like is not None:
        line += f", looks like {report.names[seen.looks_like]} ({seen.leakage:.2f})"
    elif len(report.people) > 1:
        line += f", others {seen.leakage:.2f}"
    copied = "" if seen.copied is None else f", copy-paste {seen.copied:+.2f}"
    return f"{line}{copied}, face {size:.0f} px"
