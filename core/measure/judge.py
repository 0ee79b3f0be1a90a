"""How much pictures show the people they are meant to show: who is who, how alike, in whose place, missing or mixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..errors import BadCast, NotPlaced, listed
from ..identities import combine
from ..matching import assigned, in_common, in_places, similarities
from ..people import Cast, Face, Faces, Identity, Person, PlacedCast, is_a
from ..places.placing import require_together
from .report import METHODS, Measured, Report, Sighting

NODE = "Measure Likeness"
STRANGER = 0.2
"""Two people's faces are seldom more alike than this, whatever the recogniser."""


def people_of(cast: Cast | None, identity: Identity | None, node: str = NODE) -> Cast:
    """Whom to look for: the cast without people of weight 0, and one more person.

    Raises BadCast where that is nobody or people have a picture each, NotPlaced where only some have a place.
    """
    require_together(cast, node)
    heard = [person for person in (cast.people if cast else ()) if person.weight > 0]
    people = (*heard, *([Person(identity)] if identity else []))
    if not people and cast:
        raise BadCast("There are no people to search: all in the cast have weight 0.", "Raise a weight in Cast.")
    if not people:
        raise BadCast(
            "There are no people to search: neither a cast nor an identity is connected.",
            "Connect the cast from Place Cast (who stands where is measured too) or from Cast, or one Identity.",
        )
    bare = [person.identity.name for person in people if person.slot is None]
    if 0 < len(bare) < len(people):
        raise NotPlaced(node, bare)
    return replace(cast, people=people) if cast else Cast(people)


def judges(loaded: Sequence[str], people: Sequence[Person], method: str) -> tuple[str, ...]:
    """Recognisers by which everybody can be compared, the most independent of `method` first.

    Raises BadCast, naming both sides, where there is none.
    """
    known = in_common(person.identity.embeddings for person in people)
    shared = [name for name in loaded if name in known]
    if not shared:
        each = ((p.identity.name, listed(sorted(p.identity.embeddings), "no embedding")) for p in people)
        theirs = "; ".join(f"{name} has {recognisers}" for name, recognisers in each)
        raise BadCast(
            f"No recogniser in common, so nothing can be compared: the face model has {listed(loaded)}; {theirs}.",
            "Make every identity with the Load Face Model that is connected here, or with recognisers = all found. "
            "Pictures alone cannot tell people apart.",
        )
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
        for name, table in tables.items():
            boxes = tuple(face.box for face in picture.faces)
            sightings = (_sighting(n, face, picture.faces, cast.people, name, table) for n, face in enumerate(faces))
            seen[name].append(Measured(boxes, tuple(sightings)))
    measured = {name: tuple(ones) for name, ones in seen.items()}
    canvas = (placed.width, placed.height) if placed else (0, 0)
    return Report(cast.people, tuple(recognisers), measured, method, *canvas)


def with_parts(report: Report, labels: Sequence[str], parts: Sequence[Sequence[float]]) -> Report:
    """The report with how alike each part is to its region, per picture."""
    pictures = {
        name: tuple(replace(one, parts=tuple(alike)) for one, alike in zip(ones, parts, strict=True))
        for name, ones in report.pictures.items()
    }
    return replace(report, pictures=pictures, labels=tuple(labels))


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
