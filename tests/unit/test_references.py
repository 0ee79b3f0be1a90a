"""Who stands where in words, and sizes of pictures that become references."""

from dataclasses import replace

import pytest
import torch
from pack.core import taking_part
from pack.core.cast import Cast, PlacedCast, RowCast, Slot
from pack.core.checks.errors import BadSetup
from pack.core.parts.parts import Part
from pack.core.persons import blending
from pack.nodes.references.numbering import with_numbers, with_sentences
from pack.nodes.references.parts import OwnedPart, words_of
from pack.nodes.references.pictures import Fit, Reference, fitted, references, resized
from tiny import people_made


def references_at(slots):
    people = tuple(people_made.a_member(n, slot=slot) for n, slot in enumerate(slots, 1))
    return references(PlacedCast(people, 1024, 1024), photos=1, size=512)


def words(slots):
    lines = with_sentences("", references_at(slots), "Picture {}", "before the prompt").splitlines()
    sentences = [f"person {n}, from Picture {n}." for n, _ in enumerate(slots, 1)]
    assert [line.rpartition(": ")[2] for line in lines] == sentences
    return [line.rpartition(": ")[0] for line in lines]


def faces(*centers, size=100.0):
    slots = []
    for x, y in centers:
        box = (x - size / 2, y - size / 2, x + size / 2, y + size / 2)
        slots.append(Slot((x, y), box))
    return slots


@pytest.mark.parametrize(
    ("slots", "said"),
    [
        (faces((800, 300)), [""]), (faces((800, 300), (200, 310)), ["right", "left"]),
        (faces((500, 300), (800, 390), (200, 310)), ["center", "right", "left"]),
        (faces(*((x, 300) for x in range(100, 1000, 180))),
         ["left", "second from the left", "center", "second from the right", "right"]),
        (faces((100, 200), (300, 320), (500, 440), (700, 560))[::-1],
         ["right", "second from the right", "second from the left", "left"]),
        (faces((500, 200), (520, 600)), ["back row", "front row"]),
        (faces((300, 200), (500, 600), (700, 210)), ["back row, left", "front row", "back row, right"]),
        (faces((300, 200), (700, 210), (900, 600)), ["left", "center", "right"]),
        ([None, *faces((300, 200), (700, 210)), None], ["", "left", "right", ""]),
        ([Slot((700, 10)), Slot((300, 10))], ["right", "left"]),
    ],
)  # fmt: skip
def test_places_are_told_as_a_viewer_sees_them(slots, said):
    assert words(slots) == said


@pytest.mark.parametrize(
    ("size", "area", "step", "expected"),
    [
        ((1500, 1100), 384 * 384, 1, (448, 329)), ((1500, 1100), 1024 * 1024, 8, (1192, 880)),
        ((75, 50), 75 * 50, 16, (80, 48)), ((5000, 1), 5000, 16, (4992, 16)),
    ],
)  # fmt: skip
def test_pictures_are_resized_as_the_hosts_nodes_do(size, area, step, expected):
    assert resized(*size, area, step) == expected


@pytest.mark.parametrize(
    ("size", "canvas", "cut", "expected"),
    [
        ((512, 512), (1216, 832), (512, 512), (832, 832)), ((512, 512), (1000, 912), (512, 512), (912, 912)),
        ((1200, 850), (1216, 832), (1200, 821), (1216, 832)), ((512, 512), (1000, 952), (512, 487), (1000, 952)),
        ((754, 400), (1024, 1024), (754, 389), (1024, 528)), ((2000, 90), (512, 512), (2000, 62), (512, 16)),
    ],
)  # fmt: skip
def test_pictures_are_fitted_as_identity_edit_does(size, canvas, cut, expected):
    assert fitted(size, canvas) == Fit(*cut, *expected)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["shoes", "shoes", "hat"], ", wearing the shoes from image 2 and image 3 and with the hat from image 4"),
        ([], ""), (["shoes"], ", wearing the shoes from image 2"), (["a guitar"], ", with a guitar from image 2"),
        (["whole body clothes", "shoes", "glasses", "His dog"],
         ", wearing the whole body clothes from image 2, the shoes from image 3, with the glasses from image 4 and "
         "His dog from image 5"),
    ],
)  # fmt: skip
def test_a_sentence_says_what_a_person_wears_and_has(labels, said):
    parts = [OwnedPart(Part(label, torch.zeros(8, 8, 3)), 0, labels.index(label)) for label in labels]
    assert words_of({part: f"image {number}" for number, part in enumerate(parts, 2)}) == said


def test_the_first_photos_of_everybody_become_references_in_their_order():
    people = (people_made.a_member(1, photos=3), people_made.a_member(2, photos=2))
    made_references = references(Cast(people), photos=2, size=512)
    assert [reference.person for reference in made_references] == [0, 1]
    for reference, member in zip(made_references, people, strict=True):
        photos = member.person.portraits.loose[:2].float() / 255
        assert len(reference.pictures) == 2
        for picture, photo in zip(reference.pictures, photos, strict=True):
            assert torch.equal(picture[0], photo)


def named_cast(*weights, photos=1, kind=Cast, **more):
    """Anna, Ben, and somebody without a name, of these weights."""
    names = ("Anna", "Ben", "person")
    people = []
    for number, (name, weight) in enumerate(zip(names, weights, strict=True), 1):
        member = people_made.a_member(number, photos, Slot((0, 0)), weight)
        people.append(replace(member, person=replace(member.person, name=name)))
    return kind(tuple(people), **more)


@pytest.mark.parametrize(
    ("prompt", "cast", "said"),
    [
        ("{Anna} greets { BEN }.", named_cast(1, 1, 1), "the person from Picture 1 greets the person from Picture 2."),
        ("{3} and {person 3}", named_cast(1, 1, 1), "the person from Picture 3 and the person from Picture 3"),
        ("{Ben}", named_cast(1, 1, 1, photos=2), "the person from Picture 3 and Picture 4"),
        ("{Anna}, {Ben}, {3}", named_cast(0, 1, 0), "Anna, the person from Picture 1, the person"),
        ("{Anna} and Ben", named_cast(1, 1, 1, kind=RowCast, width=64, height=64), "Anna and Ben"),
        ('{"who": "{Anna}", "no": {}}', named_cast(1, 1, 1), '{"who": "the person from Picture 1", "no": {}}'),
        ("\uff5bAnna\uff5d, \ufe5b\uff12\ufe5c", named_cast(0, 1, 1), "Anna, the person from Picture 1"),
        ("\uff5b\uff02a\uff02：1\uff5d \uff5b\uff5d", named_cast(1, 1, 1), "\uff5b\uff02a\uff02：1\uff5d \uff5b\uff5d"),
    ],
    ids=["names", "numbers", "photos", "absent", "rows", "JSON", "wide", "wide JSON"],
)  # fmt: skip
def test_whoever_is_named_in_braces_is_the_number_of_their_picture(prompt, cast, said):
    sources = references(taking_part.present(cast), photos=2, size=64)
    assert with_numbers(prompt, "Prompt", cast, sources, "Picture {}") == said


def test_braces_mean_the_portrait_also_beside_the_pictures_of_parts():
    """A part is numbered behind the photo of its person, and has a sentence of its own."""
    cast = named_cast(1, 1, 1)
    anna, ben, third = references(taking_part.present(cast), photos=1, size=64)
    coat = OwnedPart(Part("whole body clothes", torch.zeros(1, 8, 8, 3), None, 1.0, None), 0, 0)
    of_coat = Reference(anna.pictures, anna.area, 0, part=coat)
    sources = [anna, of_coat, ben, third]
    said = with_numbers("{Anna} greets {Ben}", "Prompt", cast, sources, "Picture {}")
    assert said == "the person from Picture 1 greets the person from Picture 3"


def test_behind_crop_faces_a_blended_person_is_the_portrait_of_the_larger_share():
    anna, ben = (people_made.a_member(number, slot=Slot((0, 0))) for number in (1, 2))
    blended = replace(anna, person=blending.blend(anna.person, ben.person, 0.75, "slerp", ""))
    (reference,) = references(RowCast((blended, anna), 64, 64), photos=1, size=64)
    for row, member in zip(reference.pictures[0], (ben, anna), strict=True):
        assert torch.equal(row, member.person.portraits.loose[0].float() / 255)


@pytest.mark.parametrize("braces", ["{Cleo}", "{4}", "{day|night}", "\uff5bday\uff5cnight\uff5d"])
def test_braces_that_mean_nobody_are_named_with_who_there_is(braces):
    with pytest.raises(BadSetup) as refused:
        with_numbers(f"{{Anna}} by {braces}", "Prompt", named_cast(1, 0, 1), [], "Picture {}")
    assert refused.value.problem == f"Prompt has '{braces}', which is nobody in the cast."
    assert "1 Anna, 2 Ben, 3 person. Choices as day|night are not made" in refused.value.advice
