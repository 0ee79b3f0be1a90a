"""Who of a cast takes part in a node, and who is left out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from .cast import NO_WEIGHT, UNNAMED, Cast, Member, Person, is_a
from .checks.errors import gathered


def as_cast(cast_or_person: Cast | Person) -> Cast:
    """What is linked to a node as a cast: a single person is a cast of one."""
    if is_a(cast_or_person, Cast):
        return cast_or_person
    return Cast((Member(cast_or_person),))


def present(cast: Cast) -> Cast:
    """The cast without the people of weight 0, who are absent from it."""
    are_present = [member.is_present for member in cast.people]
    people = tuple(member for member in cast.people if member.is_present)
    return replace(cast, people=people, absent=cast.absent_without(are_present, NO_WEIGHT))


@dataclass(frozen=True, eq=False)
class TakingPart:
    """Who of a cast takes part in a node.

    acts: for everybody of the cast whether they do; nobody of weight 0 does. left_out: lines that name who does not.
    """

    cast: Cast
    acts: tuple[bool, ...]
    left_out: tuple[str, ...] = ()

    @cached_property
    def people(self) -> tuple[Member, ...]:
        return tuple(member for member, acts in zip(self.cast.people, self.acts, strict=True) if acts)

    @cached_property
    def indices(self) -> tuple[int, ...]:
        """Where each of `people` stands among the people of the cast."""
        return tuple(index for index, acts in enumerate(self.acts) if acts)

    @property
    def is_alone(self) -> bool:
        """Whether one person of the cast alone is in the picture: of weight above 0."""
        return len(present(self.cast).people) == 1

    @property
    def is_unlimited(self) -> bool:
        """Whether one person is alone in the picture, and no region was drawn for them by hand."""
        return self.is_alone and not any(member.slot and member.slot.drawn for member in self.cast.people)

    @property
    def weighted(self) -> Cast:
        """The cast in which everybody who takes no part has weight 0."""
        people: list[Member] = []
        for member, acts in zip(self.cast.people, self.acts, strict=True):
            people.append(member if acts else replace(member, weight=0.0))
        return replace(self.cast, people=tuple(people))

    @cached_property
    def names_apart(self) -> list[str]:
        """A name for each of those who take part, which no other person of the cast has, whatever they are called.

        Nodes compare these names to see that they have the same person. The numbers of people in the cast would not do,
        because one node may be given everybody and another one a single person.
        """
        so_far: Counter[str] = Counter()  # name -> how many people have it
        apart: list[str] = []
        for member, acts in zip(self.cast.people, self.acts, strict=True):
            name = member.person.name
            if member.person.has_no_photo and name == UNNAMED:
                # Several nodes may have an unnamed person each. A person's `crops` stay the same object in all nodes.
                name = f"{name} {id(member.person.crops)}"
            if acts:
                # A name has no line break, so this is nobody else's.
                apart.append(f"{name}\n{so_far[name]}" if so_far[name] else name)
            so_far[name] += 1
        return apart


NO_PEOPLE = TakingPart(Cast(()), ())
"""For what nobody of a cast takes part in: parts."""


def present_in(linked: Cast | Person) -> TakingPart:
    """All people of weight above 0. linked: what is linked to a node, a cast or a single person."""
    cast = as_cast(linked)
    weightless = [member for member in cast.people if not member.is_present]
    left_out = gathered("Weight 0, left out", names(weightless))
    return TakingPart(cast, tuple(member.is_present for member in cast.people), tuple(left_out))


def meant(cast: Cast, are_meant: Sequence[bool]) -> TakingPart:
    """The people of weight above 0 who are meant. are_meant: for everybody of the cast.

    Where each person has a row of the batch and anybody is meant, all of them take part, so that every row has its
    person.
    """
    acts = [member.is_present and is_meant for member, is_meant in zip(cast.people, are_meant, strict=True)]
    if cast.by_row and any(acts):
        return present_in(cast)
    return TakingPart(cast, tuple(acts))


def with_photos(linked: Cast | Person) -> TakingPart:
    """The people for a method that reads photos: all of weight above 0 who have one.

    LoRA per Person and Prompt per Person draw those without a photo, so `left_out` names them. They take part
    nonetheless where nobody who is present has a photo, and where everybody has a row of the batch.
    linked: what is linked to a node, a cast or a single person.
    """
    all_present = present_in(linked)
    cast = all_present.cast
    acts = tuple(member.is_present and not member.person.has_no_photo for member in cast.people)
    if cast.by_row or not any(acts):
        return all_present
    acting = TakingPart(cast, acts)
    return replace(acting, left_out=(*all_present.left_out, *_left_to_loras(acting)))


def by_lora(cast: Cast) -> list[str]:
    """A line that names whom `with_photos` leaves out of a cast; none where it leaves out nobody."""
    return _left_to_loras(with_photos(cast))


def _left_to_loras(taking: TakingPart) -> list[str]:
    """A line that names who is present and takes no part; none where everybody who is present takes part."""
    everybody = zip(taking.cast.people, taking.acts, strict=True)
    people = [member for member, acts in everybody if member.is_present and not acts]
    return gathered("No photo, left to LoRA per Person and Prompt per Person", names(people))


def names(people: Sequence[Member]) -> list[str]:
    """The names of people in messages, in their order."""
    return [member.name for member in people]


def with_names(people: Sequence[Member]) -> list[Person]:
    """The people of a cast under their names in messages."""
    return [replace(member.person, name=member.name) for member in people]
