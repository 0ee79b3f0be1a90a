"""Who of a cast takes part in a node, and who is left out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from .errors import gathered
from .people import UNNAMED, Cast, Identity, Person, is_a


def as_cast(cast_or_identity: Cast | Identity) -> Cast:
    """What is linked to a node as a cast: a single person is a cast of one."""
    if is_a(cast_or_identity, Cast):
        return cast_or_identity
    return Cast((Person(cast_or_identity),))


def present(cast: Cast) -> Cast:
    """The cast without the people of weight 0."""
    return replace(cast, people=tuple(person for person in cast.people if person.weight > 0))


def for_photos(cast: Cast) -> Cast:
    """The cast for a method that reads photos: people who have LoRAs and no photo get weight 0.

    LoRA per Person draws these people. They are new objects in the cast; all others are the same objects as before. The
    cast is returned unchanged where nobody else is present, and where everybody has a row of the batch.
    """
    people = [replace(person, weight=0.0) if person.identity.by_lora_alone else person for person in cast.people]
    with_photos = replace(cast, people=tuple(people))
    if cast.by_row or not present(with_photos).people:
        return cast
    return with_photos


def left_out(cast: Cast, with_photos: Cast) -> list[str]:
    """Lines that name the people of weight 0 and the people whom `for_photos` leaves out.

    with_photos: what `for_photos` has made of the cast; the cast itself for a method that reads no photos.
    """
    weightless = [person for person in cast.people if person.weight <= 0]
    return [*gathered("Weight 0, left out", names(weightless)), *by_lora(cast, with_photos)]


def by_lora(cast: Cast, with_photos: Cast) -> list[str]:
    """A line that names whom `for_photos` has left out; none where it has left out nobody.

    with_photos: what it has made of the cast.
    """
    pairs = zip(cast.people, with_photos.people, strict=True)
    people = [before for before, after in pairs if before.weight > 0 and after.weight <= 0]
    return gathered("A LoRA and no photo, left to LoRA per Person", names(people))


def names(people: Sequence[Person]) -> list[str]:
    """The names of people in messages, in their order."""
    return [person.name for person in people]


def with_names(people: Sequence[Person]) -> list[Identity]:
    """The identities of people under their names in messages."""
    return [replace(person.identity, name=person.name) for person in people]


def names_apart(people: Sequence[Person], cast: Cast) -> list[str]:
    """For some people of a cast, in its order, names by which several nodes know that they have the same person.

    No two people of a cast have the same one, whatever they are called. They are no numbers in the cast, because one
    node may be given everybody and another one a single person.
    """
    people_before: Counter[str] = Counter()  # of each name
    members: list[tuple[Person, str]] = []
    for member in cast.people:
        name = member.identity.name
        if member.identity.by_lora_alone and name == UNNAMED:
            # Several nodes may have one of these each. Their crops stay the same object, whatever is added to them.
            name = f"{name} {id(member.identity.crops)}"
        number = people_before[name]
        people_before[name] += 1
        # A name has no line break, so this is nobody else's.
        members.append((member, f"{name}\n{number}" if number else name))
    left = iter(members)
    # By the object, as in rows_of.
    return [next(name for member, name in left if member is person) for person in people]


def rows_of(people: Sequence[Person], cast: Cast) -> list[bool]:
    """For each person present in a cast, whether they are one of `people`: a mask for the rows of regions.

    Regions (people, H, W) have a row for each person present. A person is one of `people` as the same object, because
    two people may be equal and `for_photos` makes new objects.
    """
    return [any(person is member for person in people) for member in present(cast).people]
