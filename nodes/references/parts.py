"""Parts of people, such as clothes, as references of their own: whose each is."""

from collections.abc import Sequence
from dataclasses import dataclass

from ...core.errors import joined
from ...core.parts.parts import BadPart, Part, Parts
from ...core.people import Cast, require_places
from ...core.places import regions
from ...core.taking_part import TakingPart
from . import NAME

_CLOTHES = ("upper body clothes", "lower body clothes", "whole body clothes", "shoes")
"""Labels of parts that somebody wears. Of any other it is only said that they are there."""
_ARTICLES = ("a", "an", "the", "his", "her", "their")


@dataclass(frozen=True, eq=False)
class OwnedPart:
    """A part, and the index of its person among the people present."""

    part: Part
    person: int

    @property
    def verb(self) -> str:
        """What the person does with it, in a sentence."""
        return "wearing" if self.part.label in _CLOTHES else "with"

    @property
    def thing(self) -> str:
        """What it is, in a sentence: "the shoes"."""
        first_word = self.part.label.split(maxsplit=1)[0].lower()
        return self.part.label if first_word in _ARTICLES else f"the {self.part.label}"


def owned_parts(parts: Parts | None, people: TakingPart) -> list[OwnedPart]:
    """The parts of the people present, in their order. Those of people of weight 0 are left out.

    A part is of the person in whose place its target lies, or of the only person; it is not used where people have a
    row of the batch each. Raises BadPart for a part that is nobody's, and NotPlaced.
    """
    everybody, present = people.cast, people.people
    if parts is None or not present or everybody.by_row:
        return []
    owned: list[OwnedPart] = []
    for part in parts.present:
        owner = everybody.people[_owner(part, everybody)]
        # By the object, because two people may be equal.
        owned += [OwnedPart(part, index) for index, person in enumerate(present) if person is owner]
    return owned


def _owner(part: Part, everybody: Cast) -> int:
    if len(everybody.people) == 1:
        return 0
    advice = "Connect Mask of a Person's Place, with the number of the person, to target_mask of that Part."
    if part.target is None:
        why = "it has no target_mask, which says whose it is"
        raise BadPart(part.label, why, advice)
    owner = regions.owner_of_mask(part.target, require_places(everybody, NAME))
    if owner is None:
        raise BadPart(part.label, "its target_mask lies in nobody's place", advice)
    return owner


def words_of(parts: Sequence[tuple[OwnedPart, str]]) -> str:
    """How a person's sentence goes on: ", wearing the shoes from image 2 and with the hat from image 3".

    It is "" without parts. parts: all of that person, each with what the model calls its picture.
    """
    phrases: list[str] = []
    verb = ""
    for part, number in parts:
        phrase = f"{part.thing} from {number}"
        phrases.append(phrase if part.verb == verb else f"{part.verb} {phrase}")
        verb = part.verb
    return f", {joined(phrases)}" if phrases else ""
