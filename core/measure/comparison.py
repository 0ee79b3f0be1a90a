"""Who is looked for in pictures, and by which recognisers these people can be compared."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..cast import Cast, Member, NotPlaced, Person, require_somebody, require_together
from ..checks.errors import BadCast, listed
from ..methods import methods
from ..persons.checks import photos_of
from ..persons.combining import EmbeddingMissing
from ..persons.matching import in_common, known_by
from ..taking_part import names, with_names, with_photos

UNKNOWN = "unknown"
"""Stands for the method where it is not known how the pictures were made."""


TRAINED_WITH: Mapping[str, str] = {
    UNKNOWN: "",
    **{method.measured_as: method.recogniser for method in methods() if method.measured_as},
}
"""The recogniser that each method was trained with, "" for UNKNOWN, in the order of the menu `made_with`. That
recogniser is biased towards the pictures of the method: any other judges better."""


def people_to_find(cast: Cast | None, person: Person | None, node_name: str) -> Cast:
    """The people whom a node looks for in pictures: those of a cast, and one more person who is linked alone.

    People of weight 0 or with LoRAs alone are left out of the cast. person: who is linked alone, or None.
    node_name: the name of the node, for messages. Raises BadCast where no person is left, where somebody has no photo
    with a face and where people have a picture each, NotPlaced where only some have a place.
    """
    require_together(cast, node_name)
    people = list(with_photos(cast).people) if cast else []  # without weight 0 and LoRAs alone
    if person:
        people.append(_behind(cast, person))
    if not people:
        raise _no_people(cast, node_name)
    faceless = [member for member in people if member.person.has_no_photo or not photos_of(member.person)]
    if faceless:
        raise _no_face(faceless)
    unplaced = [member.name for member in people if member.slot is None]
    # Either all have a place or none has: `measure` looks at the first person alone.
    if 0 < len(unplaced) < len(people):
        raise NotPlaced(node_name, unplaced)
    if cast:
        return replace(cast, people=tuple(people))
    return Cast(tuple(people))


def everybody(cast: Cast | None, person: Person | None) -> Cast | Person | None:
    """The people of a cast and behind them one who is linked alone, of any weight, with and without photos."""
    if cast is None or person is None:
        return cast or person
    return replace(cast, people=(*cast.people, _behind(cast, person)))


def _behind(cast: Cast | None, person: Person) -> Member:
    """A person who is linked alone, with the number behind the list of the cast."""
    return Member(person, number=len(cast.people) + len(cast.absent) + 1 if cast else 0)


def _no_face(people: Sequence[Member]) -> BadCast:
    """The error for people without a face to look for."""
    verb = "has" if len(people) == 1 else "have"
    return BadCast(
        f"{listed(names(people))} {verb} no photo with a face, so there is nothing to search by.",
        "Add one (Person). Parts and a prompt can be measured without people.",
    )


def _no_people(cast: Cast | None, node_name: str) -> BadCast:
    """The error where no person can be looked for."""
    if cast:
        require_somebody(cast, node_name)
        return BadCast("There are no people to search: all in the cast have weight 0.", "Raise a weight in Cast.")
    return BadCast(
        "There are no people to search: neither a cast nor a person is connected.",
        "Connect the cast from Place Cast (who stands where is measured too) or from Cast, or one Person. "
        "Parts and a prompt can be measured without people.",
    )


def judges(loaded: Sequence[str], people: Sequence[Member], method: str) -> tuple[str, ...]:
    """The recognisers by which all people can be compared, the most independent of `method` first.

    The first one decides who is who. The recogniser that `method` was trained with is biased, and comes last; for
    UNKNOWN so does that of any method. loaded: the recognisers of the face model. method: one of TRAINED_WITH.
    Raises EmbeddingMissing, with the recognisers of both sides, where they have none in common.
    """
    common_recognisers = in_common(member.person.embeddings for member in people)
    loaded_and_common = [recogniser for recogniser in loaded if recogniser in common_recognisers]
    if not loaded_and_common:
        recognisers_of_people = "; ".join(known_by(with_names(people)))
        raise EmbeddingMissing(
            f"No recogniser in common, so nothing can be compared: the face model has {listed(loaded)}; "
            f"{recognisers_of_people}.",
            "Make every person with the Load Face Embedder that is connected here, or with Recognisers (recognisers) = "
            "all found. Pictures alone cannot tell people apart.",
        )
    trained_with = TRAINED_WITH[method]
    biased = {trained_with} if trained_with else set(TRAINED_WITH.values())
    # False sorts before True, so biased recognisers come last. Within both groups the order of the face model stays.
    return tuple(sorted(loaded_and_common, key=lambda recogniser: recogniser in biased))
