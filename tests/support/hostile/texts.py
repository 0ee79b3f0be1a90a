"""Texts of a user: names that no console can show, texts that are too long, and names of files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from graphs import Node, ours, value
from sample_values import a_person, image, layout, nan, photo, slot

from hostile.bank import saved_people
from hostile.cases import NAMES, Case, bad, good, right

LONG_NAMES = ("a" * 243, "王" * 81, "/".join("abcdefghijklmnopqrstuvwxyz"))
GOOD_NAMES = ("family/anna", "anna.safetensors", "名前 ü", "anna.b.c", "Anna Jr.", "anna con", "an\0na", *LONG_NAMES)


def unfit_letters(lines: list[str]) -> str | None:
    return None if "".join(lines).isprintable() else "unfit letters"


def no_file(path: str) -> str | None:
    return None if Path(path).is_file() else "no file"


def texts() -> Iterator[Case]:
    for name in NAMES:
        yield from names_of_people(name)
        yield from names_of_files(name)
        for widget in ("text", "always"):
            yield right(value(unfit_letters, ours("LikenessScenes", **{widget: name})))
    yield from saved_people()
    for name in (*GOOD_NAMES, NAMES[0]):
        yield right(value(no_file, ours("LikenessSavePerson", filename=name)[1]))


def names_of_people(name: str) -> Iterator[Case]:
    person = ours("LikenessPerson", name=name)
    absent = ours("LikenessPerson", name=name, image=photo("COFFEE"), on_no_face="skip")
    alone = ours("LikenessCast", person_1=person)
    twice = ours("LikenessCast", cast=alone, person_1=person)
    placed = placed_at(alone, layout(slot()))
    in_one_place = placed_at(twice, layout(slot(), slot()))
    stranger = a_person("Boris", recognisers=["other"])
    yield bad("No face found", "LikenessPerson", name=name, image=photo("COFFEE"))
    yield bad("empty", "LikenessCast", person_1=absent)
    yield bad("(?i)nan", "LikenessCast", person_1=person, weight_1=nan)
    yield bad("no place", "LikenessIDPatchConditionImage", cast=alone)
    yield bad("ID-Patch needs", "LikenessIDPatchConditionImage", cast=placed)
    yield bad("same region", "LikenessApplyInstantID", cast=in_one_place, image=image())
    yield bad("no person 9", "LikenessMaskOfAPersonsPlace", cast=placed, person=9)
    yield bad("in common", "LikenessBlendTwoPeople", a=person, b=stranger)
    yield bad("Nobody of the cast is called", "LikenessLookFromPicture", who=f"{name} x")
    yield bad("Anna has no look|it has no colon", "LikenessSharePartsAttention", cast=a_person(), looks=f"Anna: {name}")
    yield good("LikenessLookFromPicture", name=name, cast=a_person())
    yield good("LikenessPerson", name=name)
    yield good("LikenessCast", person_1=absent, person_2=a_person())
    yield good("LikenessPlaceCast", cast=alone, layout=layout(slot()))
    yield good("LikenessBlendTwoPeople", name=name)


def placed_at(cast: Node, places: Any) -> Node:
    return ours("LikenessPlaceCast", cast=cast, layout=places)


def names_of_files(name: str) -> Iterator[Case]:
    """And other words that a name of a person is no good as."""
    part = ours("LikenessPart", label="other", other_label=name)
    not_there = "(?i)no saved|not found|not in list|name"
    yield bad("number", "LikenessPlaceCast", order="custom", custom_order=name)
    yield bad("other_label", "LikenessPart", label="other")
    yield bad(not_there, "LikenessLoadAdapter", file=name)
    yield bad(not_there, "LikenessLoadParts2Whole", folder=name)
    yield bad(not_there, "LikenessLoadPerson", file=name)
    yield good("LikenessSharePartsAttention", parts=part)
    yield good("LikenessEncodeParts", parts=part)


ENCODED = {
    ("LikenessPromptPerPerson", "prompts"): "1: {}",
    ("LikenessFindPlaces", "prompts"): "1: {}",
    ("LikenessScenes", "text"): "{}",
    ("LikenessScenes", "always"): "{}",
    ("LikenessAddLoRAToPerson", "words"): "{}",
    ("LikenessApplyPhotoMaker", "text"): "a woman img, a man img, {}",
    ("LikenessApplyPhotoMaker", "trigger"): "{}",
    ("LikenessPart", "other_label"): "{}",
    ("LikenessPeopleAsReferences", "prompt"): "{}",
    ("LikenessPeopleAsReferences", "negative_prompt"): "{}",
    ("LikenessMeasureLikeness", "prompt"): "{}",
}
"""By node and input: what stands around a text that a text encoder is given."""
NOT_ENCODED = {
    ("LikenessLayoutFromBoxes", "text"),
    ("LikenessLayoutForAGroup", "people"),
    ("LikenessPerson", "face_boxes"),
}
"""Texts of several lines that are read here alone, or are for another node."""
TOO_LONG = "is the most that a text encoder is given|letters at most"
LONG_TEXTS = ("word " * 200_000, "(" * 20_000 + "a" + ")" * 20_000)


def encoded() -> Iterator[Case]:
    """Texts for an encoder: too long, and right to the last letter."""
    for (kind, name), around in ENCODED.items():
        further = {"label": "other"} if kind == "LikenessPart" else {}
        for text in LONG_TEXTS:
            yield bad(TOO_LONG, kind, **{name: around.format(text)}, **further)
    yield good("LikenessAddLoRAToPerson", words="word " * 1999 + "words")
