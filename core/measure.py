"""How much pictures show the people they are meant to show, and the best pictures of a batch by that.

Similarities are cosines of embeddings, as the recognisers give them: 1 is the same photo, strangers lie around 0.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .errors import BadCast, listed
from .geometry import Fit, longer_side, patch_rect, shared
from .identities import assigned, combine, in_common, in_places, known_by, similarities
from .methods import methods
from .models.packs import ANTELOPE
from .people import Box, Cast, Face, Faces, Identity, NotPlaced, Person, PlacedCast, is_a, require_together
from .places.regions import for_photos
from .previews import Color, Sheet, as_picture, color_of

_RANKED = [(25, "PuLID", ANTELOPE), *((x.rank, x.measured_as, x.recogniser) for x in methods() if x.measured_as)]
METHODS: Mapping[str, str] = {"unknown": "", **{name: recogniser for _, name, recogniser in sorted(_RANKED)}}
"""The recogniser each method was trained with. It is biased towards that method: any other judges better."""


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

    parts: how alike each part is to its region, where parts were compared. text: how alike the picture is to the
    prompt, where it was.
    """

    boxes: tuple[Box, ...]
    sightings: tuple[Sighting, ...]
    parts: tuple[float, ...] = ()
    text: float | None = None

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
    def means(self) -> dict[str, float]:
        """How alike everybody is to themselves, where who is missing counts as 0: the least of them, and their mean.
        The share whose face is more like them than like anybody else of the cast; the mean margin. Leakage: the mean
        over those who are there of how alike they are to somebody else."""
        alike = [one.similarity for one in self.sightings]
        return {
            "weakest person": min(alike, default=0.0),
            "resemblance": _mean(alike),
            "association": _mean([float(one.right) for one in self.sightings]),
            "margin": _mean([one.margin for one in self.sightings]),
            "leakage": _mean([one.leakage for one in self.present]),
        }

    @property
    def scores(self) -> dict[str, float | None]:
        """By SCORES. copy-paste: the mean over those who are there and have several photos; parts: the mean. None where
        there is nobody or nothing of that kind."""
        copied = [one.copied for one in self.present if one.copied is not None]
        rest = {"copy-paste": copied, "parts": self.parts}
        found = {name: _mean(values) if values else None for name, values in rest.items()}
        means = self.means if self.sightings else dict.fromkeys(self.means)
        return {**means, **found, TEXT: self.text}


@dataclass(frozen=True)
class Report:
    """What travels on LIKENESS_REPORT: everything there is to choose pictures by.

    numbers: of the places in Place Cast's picture, or of the order where there are none. recognisers: the one that
    judges first; the others saw the same faces. pictures: by recogniser, one Measured per picture of the batch. Without
    people the recogniser is "".
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
        return bool(self.people) and self.people[0].slot is not None

    def onto(self, width: int, height: int) -> Fit:
        """From the canvas of the places onto a picture of this size."""
        return Fit(width / self.width, height / self.height, 0, 0)

    @property
    def flattered(self) -> bool:
        """Whether the judge is what the method itself was trained with."""
        return self.recognisers[0] == METHODS[self.method]


MEANS = ("resemblance", "association", "leakage", "margin")


def totals(pictures: Sequence[Measured]) -> tuple[float, float, float, float, int, int, int]:
    """MEANS, each the mean of all pictures, leakage of those in which somebody is there, since nobody's leakage is
    unknown and not 0; then missing, extra and swapped, their sum."""
    shown = [one for one in pictures if one.present]
    resemblance = _mean([one.means["resemblance"] for one in pictures])
    association = _mean([one.means["association"] for one in pictures])
    leakage = _mean([one.means["leakage"] for one in shown])
    margin = _mean([one.means["margin"] for one in pictures])
    missing = sum(one.missing for one in pictures)
    extra = sum(len(one.extra) for one in pictures)
    swapped = sum(one.swapped for one in pictures)
    return resemblance, association, leakage, margin, missing, extra, swapped


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


NODE = "Measure Likeness"
TEXT = "text alignment"
"""Name of a score: CLIP-T, the cosine of what CLIP projects of the prompt and of the picture."""
STRANGER = 0.2
"""Two people's faces are seldom more alike than this, whatever the recogniser."""


def people_of(cast: Cast | None, identity: Identity | None, node: str = NODE) -> Cast:
    """Whom to look for: the cast without people of weight 0 or with LoRAs alone, and one more person. Raises BadCast
    where that is nobody or people have a picture each, NotPlaced where only some have a place."""
    require_together(cast, node)
    present = [person for person in (for_photos(cast).people if cast else ()) if person.weight > 0]
    people = (*present, *([Person(identity)] if identity else []))
    if not people and cast:
        raise BadCast("There are no people to search: all in the cast have weight 0.", "Raise a weight in Cast.")
    if not people:
        advice = "Connect the cast from Place Cast (who stands where is measured too) or from Cast, or one Person."
        advice += " Parts and a prompt can be measured without people."
        raise BadCast("There are no people to search: neither a cast nor an identity is connected.", advice)
    bare = [person.identity.name for person in people if person.slot is None]
    if 0 < len(bare) < len(people):
        raise NotPlaced(node, bare)
    return replace(cast, people=people) if cast else Cast(people)


def judges(loaded: Sequence[str], people: Sequence[Person], method: str) -> tuple[str, ...]:
    """Recognisers by which everybody can be compared, the most independent of `method` first. Raises BadCast, naming
    both sides, where there is none."""
    known = in_common(person.identity.embeddings for person in people)
    shared = [name for name in loaded if name in known]
    if not shared:
        theirs = "; ".join(known_by(person.identity for person in people))
        why = f"No recogniser in common, so nothing can be compared: the face model has {listed(loaded)}; {theirs}."
        make = (
            "Make every identity with the Load Face Embedder that is connected here, or with recognisers = all found."
        )
        raise BadCast(why, f"{make} Pictures alone cannot tell people apart.")
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
    placed = cast if is_a(cast, PlacedCast) and cast.people[0].slot else None
    identities = [person.identity for person in cast.people]
    seen: dict[str, list[Measured]] = {name: [] for name in recognisers}
    for picture in pictures:
        embeddings = [face.embeddings for face in picture.faces]
        tables = {name: similarities(identities, embeddings, name, NODE) for name in recognisers}
        judge = tables[recognisers[0]]
        faces = in_places(picture, placed) if placed else assigned(judge)
        faces = [None if face is None or judge[:, face].max() < stranger_below else face for face in faces]
        boxes = tuple(face.box for face in picture.faces)
        for name, table in tables.items():
            sightings = (_sighting(n, face, picture.faces, cast.people, name, table) for n, face in enumerate(faces))
            seen[name].append(Measured(boxes, tuple(sightings)))
    measured = {name: tuple(ones) for name, ones in seen.items()}
    canvas = (placed.width, placed.height) if placed else (0, 0)
    return Report(cast.people, tuple(recognisers), measured, method, *canvas)


def without_people(pictures: int, method: str) -> Report:
    """Of pictures in which nobody is looked for: for what `with_more` adds."""
    return Report((), ("",), {"": (Measured((), ()),) * pictures}, method)


def with_more(report: Report, kind: str, found: Sequence[Any], labels: Sequence[str] = ()) -> Report:
    """The report with more of each picture, whichever recogniser has seen it. kind: "text", how alike it is to the
    prompt, or "parts", how alike each part is to its region; labels: of these."""
    each = {
        name: tuple(replace(one, **{kind: more}) for one, more in zip(ones, found, strict=True))
        for name, ones in report.pictures.items()
    }
    return replace(report, pictures=each, labels=tuple(labels) or report.labels)


def _sighting(
    number: int, face: int | None, faces: Sequence[Face], people: Sequence[Person], recogniser: str, table: Tensor
) -> Sighting:
    if face is None:
        return Sighting(number)
    photos = normalize(combine(people[number].identity, recogniser, "sequence", NODE).float(), dim=-1)
    seen, copied = normalize(faces[face].embeddings[recogniser].float(), dim=-1), None
    if len(photos) > 1:  # the similarity to the nearest photo, less that between the photos
        among = (photos @ photos.T)[~torch.eye(len(photos), dtype=torch.bool)]
        copied = float((photos @ seen).max() - among.mean())
    return Sighting(number, face, tuple(map(float, table[:, face])), copied)


def describe(report: Report) -> str:
    """Everything in plain lines: by whom it was measured, then each picture and everybody in it."""
    lines = [judged_by(report)] if report.people else []
    for number, one in enumerate(report.judged, 1):
        lines.append(f"Picture {number}: {summary(one)}")
        lines += [f"  {line}" for line in (_line(report, one, seen) for seen in one.sightings)]
        lines += [f"  {label}: {alike:.2f}" for label, alike in zip(report.labels, one.parts, strict=True)]
        if one.extra:
            sizes = ", ".join(f"{longer_side(one.boxes[face]):.0f} px" for face in one.extra)
            lines.append(f"  no cast member: {len(one.extra)} of {len(one.boxes)} faces ({sizes})")
    for name in report.recognisers[1:]:
        lines += [f"By {name}, picture {n}: {summary(one)}" for n, one in enumerate(report.pictures[name], 1)]
    texts = [one.text for one in report.judged if one.text is not None]
    lines += [f"Text alignment of all pictures: {_mean(texts):.3f}"] if texts else []
    return "\n".join(lines)


def troubles(report: Report) -> list[str]:
    """What the numbers alone do not say, a line each."""
    if not report.people:
        return []
    empty = [str(number) for number, one in enumerate(report.judged, 1) if not one.boxes]
    return [
        *([judged_by(report)] if report.flattered else []),
        *([f"No face found in picture {', '.join(empty)}."] if empty else []),
    ]


def summary(one: Measured) -> str:
    means, rest = one.means, {"copy-paste": "+.2f", "parts": ".2f", TEXT: ".3f"}
    others = [f"{name} {one.scores[name]:{form}}" for name, form in rest.items() if one.scores[name] is not None]
    if not one.sightings:
        return ", ".join(others)
    right = sum(seen.right for seen in one.sightings)
    told = (
        f"resemblance {means['resemblance']:.2f}, association {right}/{len(one.sightings)}, "
        f"leakage {means['leakage']:.2f}, margin {means['margin']:.2f}"
    )
    return ", ".join([told, *others])


def judged_by(report: Report) -> str:
    """By which recogniser it was measured, and whether that is biased."""
    judge, own = report.recognisers[0], METHODS[report.method]
    if report.flattered:
        another = "Load another recogniser in Load Face Embedder, for the identities as well, and it will judge."
        return f"Measured by {judge}, with which {report.method} was trained: it is biased. {another}"
    if own:
        return f"Measured by {judge}, which {report.method} was not trained with."
    return f"Measured by {judge}. If the pictures were made with it, it is biased: set made_with."


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


SCORES = ("weakest person", "resemblance", "association", "margin", "leakage", "copy-paste", "parts", TEXT)
"""Of leakage and copy-paste less is better."""
_LESS_IS_BETTER = ("leakage", "copy-paste")


def scores(report: Report, name: str) -> list[float | None]:
    """Of every picture, by the recogniser that judges; None where a picture has no such score."""
    return [one.scores[name] for one in report.judged]


def ranking(report: Report, name: str) -> list[int]:
    """Numbers of the pictures, from 0, from best to worst.

    Where less is better, nobody may win by being missing. Of equal pictures those come first in which more people are
    right, fewer strangers stand and people are more alike; those without the score come last.
    """
    less, values = name in _LESS_IS_BETTER, scores(report, name)

    def key(number: int) -> tuple[float, ...]:
        one, value = report.judged[number], values[number]
        gone = one.missing if less else 0
        best = math.inf if value is None else value if less else -value
        return (gone, best, -one.means["association"], len(one.extra), -one.means["resemblance"], number)

    return sorted(range(len(report.judged)), key=key)


def ranked(report: Report, name: str) -> list[str]:
    """All pictures from best to worst, a line each."""
    values = scores(report, name)
    shown = ["none" if value is None else f"{value:.3f}" for value in values]
    return [f"picture {n + 1}: {name} {shown[n]} ({summary(report.judged[n])})" for n in ranking(report, name)]


def nobody_seen(report: Report, score: str) -> str:
    """What the numbers of a choice do not say: empty where somebody of the cast was found in some picture."""
    if score in ("parts", TEXT) or any(one.present for one in report.judged):
        return ""
    many = "the picture" if len(report.judged) == 1 else f"any of the {len(report.judged)} pictures"
    return (
        f"No person of the cast was found in {many}, so none is better than another. Look at the pictures of {NODE}: "
        "where your people are shown as strangers, lower its stranger_below."
    )


_STRANGER: Color = (170, 170, 170)


def who_is_who(image: Tensor, report: Report, number: int) -> Tensor:
    """Picture `number`, from 0, of a report: every face in the colour of whom it shows, with number, name and
    similarity; who is missing, crossed out in their place; strangers in grey.

    image: (H, W, 1|3|4) float 0..1. Returns (H, W, 3) float32 0..1.
    """
    sheet, one = Sheet(as_picture(image)), report.judged[number]
    plates: list[tuple[str, str, Box, Color]] = []
    for seen in one.sightings:
        shown = seen.person if seen.looks_like is None else seen.looks_like
        place, name = report.numbers[shown], report.names[shown]
        plate = f"{name} {seen.similarity:.2f}"
        if seen.swapped:
            plate = f"{name} {seen.leakage:.2f}, not {report.names[seen.person]} {seen.similarity:.2f}"
        slot, box = report.people[seen.person].slot, None if seen.face is None else one.boxes[seen.face]
        if seen.face is None and slot:  # where somebody should stand
            box = report.onto(*sheet.picture.size).box(slot.box or patch_rect(slot.center))
        if seen.face is None and box:
            plate = f"{name} is missing"
            sheet.pen.line(box, color_of(place - 1), sheet.line)
            sheet.pen.line((box[0], box[3], box[2], box[1]), color_of(place - 1), sheet.line)
        if box:
            plates.append((str(place), plate, box, color_of(place - 1)))
    for face in one.extra:
        sheet.frame(one.boxes[face], _STRANGER)
        sheet.label("?", "", sheet.below(one.boxes[face]), _STRANGER)
    for _, _, box, color in plates:
        sheet.frame(box, color)
    for label, name, box, color in plates:
        wide = max(2.4 * (box[2] - box[0]), 9.0 * sheet.letters)
        wide = min(wide, sheet.room(box, [other for _, _, other, _ in plates]))
        covered = (box[0], box[1] - 1.4 * sheet.letters, box[0] + 1.4 * len(name) * sheet.letters / 4, box[1])
        hides = any(other is not box and shared(covered, other) > 0 for other in one.boxes)
        sheet.label(label, name, sheet.below(box) if hides else box[:2], color, wide)
    gone = [report.names[seen.person] for seen in one.sightings if seen.face is None]
    by = f" ({report.recognisers[0]})" if report.people else ""
    sheet.footer([f"{summary(one)}{by}", *([f"missing: {', '.join(gone)}"] if gone else [])])
    return sheet.tensor()
