"""People and casts that methods cannot use: photos that are opposites, nobody, too many."""

from collections.abc import Iterator
from typing import Any

import torch
from graphs import UNCONNECTED, Node, ours
from pack.core.cast import PlacedCast
from sample_values import a_person, cast, normal, unplaced

from hostile.cases import Case, bad, good

DIRECTIONS = ("mean", "normalised mean")
"""Those choices of `photos` that opposite photos leave nothing of."""


def people() -> Iterator[Case]:
    yield from photos_without_a_sum()
    yield from casts_without_people()
    yield from texts_and_others_as_names()


def patches_of(people: PlacedCast, photos: str) -> Node:
    return ours("LikenessIDPatchConditionImage", cast=people, photos=photos)


def keypoints_of(people: PlacedCast) -> Node:
    return ours("LikenessDrawSkeletons", draw="face keypoints", cast=people, layout=UNCONNECTED)


def photos_without_a_sum() -> Iterator[Case]:
    photo = normal(1, 1, 512)
    people = cast(a_person(rows=torch.cat([photo, -photo])), a_person("Boris"))
    keypoints = keypoints_of(people)
    for combining in DIRECTIONS:
        patches = patches_of(people, combining)
        yield bad("opposite|cancel|zero", "LikenessApplyIDPatch", cast=people, image=patches, photos=combining)
        yield bad("opposite|cancel|zero", "LikenessApplyInstantID", cast=people, image=keypoints, photos=combining)


def casts_without_people() -> Iterator[Case]:
    nobody = ours("LikenessPlaceCast", order="custom", custom_order="0,0")
    yield bad("no person 0.*no people", "LikenessMaskOfAPersonsPlace", cast=nobody, person=0)
    for drawing in ("skeletons", "face keypoints", "body surface"):
        yield bad(
            r"No person of the cast .* Custom order \(custom_order\)",
            "LikenessDrawSkeletons",
            cast=nobody,
            draw=drawing,
            layout=UNCONNECTED,
        )
    of_two = ours("LikenessIDPatchConditionImage", cast=cast())
    yield bad("no place", "LikenessApplyIDPatch", cast=unplaced())
    yield bad("no place", "LikenessApplyInstantID", cast=unplaced())
    yield bad("was made from another cast", "LikenessApplyIDPatch", cast=cast(a_person()), image=of_two)
    yield bad("person_9", "LikenessCast", **{f"person_{number}": a_person() for number in range(1, 10)})
    silent = cast(weights=[0.0, 0.0])
    yield good("LikenessApplyIDPatch", cast=silent, image=patches_of(silent, "mean"), log="weights are 0")


def texts_and_others_as_names() -> Iterator[Case]:
    """Long ones, and what is no text: another pack may have made the person."""
    yield good("LikenessCast", person_1=a_person("x" * 2500))
    yield good("LikenessSavePerson", person=a_person("x" * 2_000_000))
    names: tuple[Any, ...] = ("x" * 2500, None, 7)
    for name in names:
        person = a_person(name, rows=normal(1, 1, 512))
        yield good("LikenessPlaceCast", cast=unplaced(person, a_person()))
        yield good("LikenessSavePerson", person=person)
