"""People and casts that methods cannot use: nobody, too many, and odd names."""

from collections.abc import Iterator
from typing import Any

from graphs import ours
from sample_values import a_person, cast, normal, unplaced

from hostile.cases import Case, bad, good


def people() -> Iterator[Case]:
    yield from casts_without_people()
    yield from texts_and_others_as_names()


def casts_without_people() -> Iterator[Case]:
    nobody = ours("LikenessPlaceCast", order="custom", custom_order="0,0")
    yield bad("no person 0.*no people", "LikenessMaskOfAPersonsPlace", cast=nobody, person=0)
    for drawing in ("skeletons", "face keypoints", "body surface"):
        yield bad(
            r"No person of the cast .* Custom order \(custom_order\)",
            "LikenessDrawSkeletons",
            cast=nobody,
            draw=drawing,
        )
    yield bad("person_9", "LikenessCast", **{f"person_{number}": a_person() for number in range(1, 10)})
    silent = cast(weights=[0.0, 0.0])
    patches = ours("LikenessIDPatchConditionImage", cast=silent, photos="mean")
    yield good("LikenessApplyIDPatch", cast=silent, image=patches, log="weights are 0")


def texts_and_others_as_names() -> Iterator[Case]:
    """Long ones, and what is no text: another pack may have made the person."""
    yield good("LikenessCast", person_1=a_person("x" * 2500))
    yield good("LikenessSavePerson", person=a_person("x" * 2_000_000))
    names: tuple[Any, ...] = ("x" * 2500, None, 7)
    for name in names:
        person = a_person(name, rows=normal(1, 1, 512))
        yield good("LikenessPlaceCast", cast=unplaced(person, a_person()))
        yield good("LikenessSavePerson", person=person)
