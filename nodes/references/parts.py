"""Parts of people, such as clothes, as references of their own: whose each is."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from torch import Tensor

from ...core.cast import Cast
from ...core.checks.errors import joined
from ...core.parts.parts import BadPart, Part, Parts
from ...core.persons.looks import Worn
from ...core.places import regions
from ...core.taking_part import TakingPart
from . import NAME

_CLOTHES = ("upper body clothes", "lower body clothes", "whole body clothes", "shoes")
"""Labels of parts that somebody wears. Of any other it is only said that they are there."""
_ARTICLES = ("a", "an", "the", "his", "her", "their")


@dataclass(frozen=True, eq=False)
class OwnedPart:
    """A part, the index of its person among the people present, and that of its garment among those of the person."""

    part: Part
    person: int
    garment: int

    @property
    def verb(self) -> str:
        """What the person does with it, in a sentence."""
        return "wearing" if self.part.label in _CLOTHES else "with"

    @property
    def thing(self) -> str:
        """What it is, in a sentence: "the shoes"."""
        first_word = self.part.label.split(maxsplit=1)[0].lower()
        return self.part.label if first_word in _ARTICLES else f"the {self.part.label}"


def owned_parts(parts: Parts | None, taking: TakingPart, masks: Tensor | None, worn: Worn) -> list[OwnedPart]:
    """What the people of weight above 0 wear of their looks, and their parts, person by person and garment by garment.

    A part belongs to the person in whose region its target lies, or to the only person of the cast. [] where nobody
    has a weight above 0, and where each person has a row of the batch. masks: the regions of everybody in the cast,
    (people, H, W); None for the places. worn: what is worn of looks. Raises BadPart for a part that is nobody's,
    NotPlaced, and BadRegion for another number of masks.
    """
    if not taking.people or taking.cast.by_row:
        return []
    parts_of_people: list[list[Part]] = [[] for _ in taking.people]
    for part, person in worn.people_of_parts.items():
        parts_of_people[person].append(part)
    for part in () if parts is None else parts.present:
        owner = _owner(part, taking.cast, masks)
        if taking.acts[owner]:
            parts_of_people[taking.indices.index(owner)].append(part)
    owned: list[OwnedPart] = []
    for person, of_person in enumerate(parts_of_people):
        for number, garment in enumerate(Parts(tuple(of_person)).garments):
            owned += [OwnedPart(part, person, number) for part in garment]
    return owned


def _owner(part: Part, everybody: Cast, masks: Tensor | None) -> int:
    """The index of the part's person among everybody in the cast. Arguments and errors as in owned_parts."""
    if len(everybody.people) == 1:
        return 0
    if masks is None:
        advice = "Connect Mask of a Person's Place, with the number of the person, to target_mask of that Part."
    else:
        advice = "Connect the mask of the person, or a piece of it, to target_mask of that Part."
    if part.target is None:
        raise BadPart(part.label, "it has no target_mask, which says whose it is", advice)
    owner = regions.owner_of_mask(part.target, regions.regions_of_everybody(everybody, masks, NAME))
    if owner is None:
        region = "place" if masks is None else "mask"
        raise BadPart(part.label, f"its target_mask lies in nobody's {region} alone", advice)
    return owner


def words_of(pictures: Mapping[OwnedPart, str]) -> str:
    """How a person's sentence goes on: ", wearing the shoes from image 2 and with the hat from image 3".

    It is "" without parts. pictures: each part of the person, garment by garment -> what the model calls its picture.
    """
    phrases: list[str] = []
    verb_before = ""  # of the phrase before: it is not said twice in a row
    # Pictures of one garment follow each other, and are named in one phrase.
    for _, of_garment in groupby(pictures, attrgetter("garment")):
        first, *others = of_garment
        phrase = f"{first.thing} from {joined([pictures[part] for part in (first, *others)])}"
        phrases.append(phrase if first.verb == verb_before else f"{first.verb} {phrase}")
        verb_before = first.verb
    return f", {joined(phrases)}" if phrases else ""
