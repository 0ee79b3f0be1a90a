"""Who stands where: people bound to places, and what may go wrong with it in plain words."""

import re
from collections.abc import Sequence
from dataclasses import replace

import torch

from .. import geometry
from ..errors import BadCast, BadEmbedding, LikenessError, counted, gathered, listed
from ..identities import assigned, in_common, known_by, similarities
from ..people import Cast, Identity, Layout, Person, PlacedCast, Point, Slot
from ..text import plain

ORDERS = ("left to right", "as listed", "match faces", "custom", "last places", "largest faces")
LAST_PLACES, LARGEST_FACES = ORDERS[-2:]
SMALL_FACE = 96
"""Faces under this many pixels lose their likeness."""

Places = tuple[int | None, ...]
"""Per place of a layout the index of the person who stands there, or None."""


class BadOrder(LikenessError):
    """A custom order that cannot be followed."""

    def __init__(self, text: str, why: str, people: int, places: int) -> None:
        example = ",".join(str(max(0, person)) for person in range(people, people - places, -1))
        super().__init__(
            f"The order {plain(text, 100)!r} cannot be used: {why}.",
            f"Write one number per place ({places}), e.g. {example}: each person "
            f"({'1' if people == 1 else f'1 to {people}'}) at most once, 0 for an empty place.",
        )


class CannotMatch(LikenessError):
    """Order = match faces with nothing to compare."""

    def __init__(self, why: str, advice: str) -> None:
        super().__init__(f"People cannot be matched with the faces of the layout: {why}.", advice)


def assign(cast: Cast, layout: Layout, order: str, custom_order: str) -> Places:
    """Give every place a person. order: one of ORDERS; custom_order: see `_custom`.

    Where the layout has a place for everybody who was listed, the places of those who are absent stay free; where it
    has one only for those who are there, they take them all.
    Raises BadCast (except for custom), BadOrder, CannotMatch, BadEmbedding.
    """
    places = len(layout.slots)
    by_number: dict[int, int] = {number: person for person, number in enumerate(cast.numbers)}
    everybody = range(1, len(cast.people) + len(cast.absent) + 1)
    if order == "custom":
        return tuple(map(by_number.get, _custom(custom_order, len(everybody), places)))
    if order == LAST_PLACES and places > len(everybody):
        return (*[None] * (places - len(everybody)), *map(by_number.get, everybody))
    if order == LARGEST_FACES and places >= len(cast.people):
        sizes = [geometry.area(slot.box or (0.0, 0.0, 0.0, 0.0)) for slot in layout.slots]  # those without a box last
        largest = sorted(range(places), key=lambda n: -sizes[n])
        taken = dict(zip(largest, range(len(cast.people)), strict=False))
        return tuple(map(taken.get, range(places)))
    if places not in (len(cast.people), len(everybody)):
        raise _other_number(cast, places)
    if order == "match faces":
        return _matched([person.identity for person in cast.people], layout.slots)
    numbers = cast.numbers if places == len(cast.people) else everybody
    by_side = sorted(range(places), key=lambda n: layout.slots[n].center) if order == "left to right" else range(places)
    return tuple(by_number.get(numbers[by_side.index(n)]) for n in range(places))


def _other_number(cast: Cast, places: int) -> BadCast:
    """The cast and the layout do not have the same number."""
    order = ",".join(map(str, [*cast.numbers[:places], *[0] * (places - len(cast.people))]))
    absent = f" (left out: {listed([name for _, name in cast.absent])})" if cast.absent else ""
    return BadCast(
        f"The cast has {counted(len(cast.people), 'person', 'people')}{absent} and the layout has "
        f"{counted(places, 'place')}.",
        "Remove or add people or places, or set order (Who is where) to custom and write the number of a person per "
        f"place, 0 for an empty one: {order}.",
    )


def place(cast: Cast, layout: Layout, places: Places) -> PlacedCast:
    """The cast with places, in the order it was listed; people without a place are taken out."""
    number_of = {person: number for number, person in enumerate(places, 1) if person is not None}
    placed = [
        replace(person, slot=layout.slots[number_of[n] - 1], place=number_of[n])
        for n, person in enumerate(cast.people)
        if n in number_of
    ]
    return PlacedCast(tuple(placed), layout.width, layout.height)


def _custom(text: str, people: int, places: int) -> list[int]:
    """'2,1,0': per place the number of a person from 1, or 0 for nobody."""
    words = [word for word in re.split("[,;\uff0c\\s]+", plain(text)) if word]
    for word in words:
        if not re.fullmatch("[0-9]{1,4}", word):
            raise BadOrder(text, f"{plain(word, 40)!r} is not a number", people, places)
    numbers = [int(word) for word in words]
    if not numbers:
        raise BadOrder(text, "it is empty", people, places)
    if len(numbers) != places:
        why = f"it has {counted(len(numbers), 'number')} for {counted(places, 'place')}"
        raise BadOrder(text, why, people, places)
    for number in numbers:
        if number > people:
            raise BadOrder(text, f"there is no person {number}", people, places)
        if number and numbers.count(number) > 1:
            raise BadOrder(text, f"person {number} stands in {numbers.count(number)} places", people, places)
    return numbers


def _matched(identities: Sequence[Identity], slots: Sequence[Slot]) -> Places:
    """The assignment with the largest sum of similarities, over all recognisers that everybody has; with fewer people
    than places, places stay free."""
    bare = [str(number) for number, slot in enumerate(slots, 1) if not slot.embeddings]
    if bare:
        why = f"there is no face to compare with in place{'s' * (len(bare) > 1)} {', '.join(bare)}"
        advice = "Make the layout of faces in a photo with a face model that has a recogniser, or choose another order."
        raise CannotMatch(why, advice)
    if faceless := [one.name for one in identities if not one.embeddings]:
        why = f"{listed(faceless)} {'has' if len(faceless) == 1 else 'have'} no photo with a face to compare"
        advice = "Add one (Person, with a face model that has a recogniser), or choose another order."
        raise CannotMatch(why, advice)
    shared = in_common(one.embeddings for one in (*identities, *slots))
    if not shared:
        theirs = listed(sorted({name for slot in slots for name in slot.embeddings}))
        why = f"{'; '.join(known_by(identities))}; the faces of the layout have {theirs}, nothing in common"
        raise CannotMatch(why, "Use the same Load Face Embedder for the identities and for Detect Faces.")
    faces = [slot.embeddings for slot in slots]
    likeness = torch.zeros(len(identities), len(slots))  # the sum of mean cosines of everybody's photos
    for recogniser in shared:
        found = similarities(identities, faces, recogniser, "Place Cast")
        for identity, row in zip(identities, found, strict=True):
            if not row.isfinite().all():
                raise BadEmbedding(identity.name, recogniser, "it, or a face of the layout, holds NaN or infinity")
        likeness = likeness + found
    person_at = {slot: person for person, slot in enumerate(assigned(likeness))}
    return tuple(map(person_at.get, range(len(slots))))


def report(cast: Cast, layout: Layout, places: Places, order: str) -> str:
    """Who stands where, a line each, and then what may go wrong. order: by which `places` were given."""
    where = [
        f"Place {number}: {person.identity.name} at ({round(slot.center[0])}, {round(slot.center[1])})"
        + ("" if slot.box is None else f", face {_face_size(slot)} px")
        for number, person, slot in _standing(cast, layout, places)
    ]
    return "\n".join([*where, *(troubles(cast, layout, places, order) or ["No problems found."])])


def troubles(cast: Cast, layout: Layout, places: Places, order: str) -> list[str]:
    """What may go wrong, a line for each kind: people without a face, faces off the canvas, overlapping ID patches,
    faces under SMALL_FACE pixels, nobody's places, people left out or of weight 0.

    order: by which `places` were given; for LAST_PLACES those before the last are of people who stay, for LARGEST_FACES
    all that are free.
    """
    present, off, small = list[tuple[str, Point]](), list[str](), list[str]()
    for _, one, slot in _standing(cast, layout, places):
        name, (x, y), size = one.identity.name, slot.center, _face_size(slot)
        if geometry.off_canvas(slot.center, layout.width, layout.height):
            off.append(f"{name} at ({x:.0f}, {y:.0f})")
        elif one.weight > 0:
            present.append((name, slot.center))
        if size is not None and size < SMALL_FACE:
            small.append(f"{name} {size}")
    others = {LAST_PLACES: len(places) - len(cast.people) - len(cast.absent), LARGEST_FACES: len(places)}
    staying, people = others.get(order, 0), list(zip(cast.numbers, cast.people, strict=True))
    outside = [f"{one.identity.name} (person {number})" for n, (number, one) in enumerate(people) if n not in places]
    weightless = [one.identity.name for n, one in enumerate(cast.people) if n in places and one.weight <= 0]
    return [
        *gathered("Left out, no face in the photos", [f"{name} (person {number})" for number, name in cast.absent]),
        *gathered("Off the canvas, so without an ID patch", off, f"; it has {layout.width}x{layout.height} px"),
        *overlaps(present),
        *gathered("Faces small", small, f" px; {SMALL_FACE} needed: larger canvas or closer framing"),
        *_empty([number for number, one in enumerate(places, 1) if one is None and number > staying], layout),
        *gathered("Left out, without a place", outside),
        *gathered("Weight 0, as if absent", weightless),
    ]


def overlaps(present: Sequence[tuple[str, Point]]) -> list[str]:
    """Whose ID patches, around these centres, run into each other, in one line."""
    rects = [geometry.patch_rect(center) for _, center in present]
    met = geometry.overlaps(rects)
    pairs = [f"{present[i][0]} and {present[j][0]} by {wide}x{high} px" for i, j, wide, high in met]
    return gathered("ID patches overlap, faces may mix", pairs, f"; move them {geometry.PATCH} px apart")


def _standing(cast: Cast, layout: Layout, places: Places) -> list[tuple[int, Person, Slot]]:
    """The places where somebody stands: number, person, place."""
    every = enumerate(zip(places, layout.slots, strict=True), 1)
    return [(number, cast.people[person], slot) for number, (person, slot) in every if person is not None]


def _face_size(slot: Slot) -> int | None:
    """Longer side of the face box, px."""
    return None if slot.box is None else round(geometry.longer_side(slot.box))


def _empty(numbers: Sequence[int], layout: Layout) -> list[str]:
    """A line for all places that stay empty: what is there instead of a person of the cast."""
    if not numbers:
        return []
    skeletons = sum(layout.slots[number - 1].pose is not None for number in numbers)
    if len(numbers) == 1:
        empty = f"Place {numbers[0]} stays empty"
        if skeletons:
            return [f"{empty}; its skeleton is still in the pose picture."]
        return [f"{empty}: in a photo, the face there stays as it is."]
    empty = f"Places {', '.join(map(str, numbers))} stay empty"
    if skeletons:
        return [f"{empty}; their skeletons are still in the pose picture."]
    return [f"{empty}: in a photo, the faces there stay as they are."]
