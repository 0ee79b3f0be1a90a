"""The garments that are looked for in pictures: the looks of people, and parts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..cast import Cast, Person
from ..parts.parts import Part, Parts
from ..persons.looks import where_seen, worn
from ..taking_part import present_in
from .measuring import NODE

LOOKS_NOT_COMPARED = "Looks are not compared: clip_vision is not connected."
NO_PEOPLE = "Looks are not compared: no cast and no person is connected."
NOTHING_TO_COMPARE = "No garment is compared: nobody wears a look, and no parts are connected."


@dataclass(frozen=True, eq=False)
class Garments:
    """What is looked for. pictures: of each garment its parts, which have one target. labels: of each. of_looks: how
    many of them, the first ones, are of looks. notes: lines for the note of the node."""

    pictures: Sequence[Sequence[Part]]
    labels: Sequence[str]
    of_looks: int
    notes: Sequence[str]


NO_GARMENTS = Garments((), (), 0, ())


def garments_of(parts: Parts | None, people: Cast | Person | None, text: str) -> Garments:
    """What the people of weight above 0 wear, each where a picture shows it, and the parts that are connected.

    A garment of somebody without a place is looked for in the whole picture. text: which looks, see
    `core.persons.looks.worn`, which also raises.
    """
    pictures: list[Sequence[Part]] = []
    labels: list[str] = []
    notes: Sequence[str] = [NO_PEOPLE] if text.strip() else []
    if people is not None:
        taking = present_in(people)
        looks = worn(text, taking, NODE, needs_places=False)
        notes = looks.notes
        for number, index in enumerate(taking.indices):
            # Person by person: coats of two people without places are not two pictures of one coat.
            worn_by_them = [part for part, person in looks.people_of_parts.items() if person == number]
            own = Parts(tuple(replace(part, target=where_seen(part, taking.cast, index)) for part in worn_by_them))
            pictures += own.garments
            name = taking.cast.people[index].name
            labels += [f"{name}: {garment[0].label}" for garment in own.garments]
    of_looks = len(pictures)
    connected = () if parts is None else parts.garments
    pictures += connected
    labels += [garment[0].label for garment in connected]
    return Garments(pictures, labels, of_looks, notes)
