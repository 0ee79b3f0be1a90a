"""Whoever counts for 0, is absent, has no place or a number that is not their place, in masks, figures and texts."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from mixed_cast import CLEO, DAN, HEIGHT, PLACELESS, WEIGHTLESS, WIDTH, columns, mixed, without
from pack.core.cast import Cast, Face, Faces, Person
from pack.core.measure import comparison, garments, measuring, scene_sheet, unchanged
from pack.core.persons import looks
from pack.core.pictures.previews import color_of
from pack.core.places.regions import region_of_person, shape_of_bodies
from pack.core.second_pass import selection
from PIL import ImageDraw

JUDGE = "w600k_r50"
MASKS: dict[str, Callable[[Any, int], torch.Tensor]] = {
    "clothes": looks.clothes_of_place,
    "hair": looks.hair_of_place,
    "region": lambda cast, index: region_of_person(cast, cast.numbers[index], shape_of_bodies(cast), ()),
}


@pytest.mark.parametrize("kind", MASKS)
def test_a_mask_is_as_if_whoever_counts_for_nothing_were_not_there(kind: str) -> None:
    mask_of, cast = MASKS[kind], mixed()
    alone = without(cast, WEIGHTLESS, PLACELESS)
    assert torch.equal(mask_of(cast, CLEO), mask_of(alone, 0))
    if kind != "region":
        assert not torch.equal(mask_of(cast, CLEO), mask_of(without(alone, 1), 0)), "Dan stands in it"


def test_a_garment_is_looked_for_where_its_person_stands() -> None:
    """The last look of everybody who counts; that of somebody without a place in the whole picture."""
    found = garments.garments_of(None, mixed(), "")
    where = {label: parts[0].target for label, parts in zip(found.labels, found.pictures, strict=True)}
    assert [*where] == ["Cleo: upper body clothes", "Anna: upper body clothes", "Dan: upper body clothes"]
    assert where["Anna: upper body clothes"] is None
    for name, middle in (("Cleo", 100), ("Dan", 55)):
        left, right = columns(where[f"{name}: upper body clothes"])
        assert abs((left + right) / 2 - middle) < 15, (name, left, right)


def face(person: Person | None, x: float, like: Person | None = None) -> Face:
    """A face in the middle of a place, of a person; or in half of somebody else."""
    embedding = torch.zeros(512)
    for one, share in ((person, 0.6), (like, 0.8)):
        if one is not None:
            embedding += share * one.embeddings[JUDGE][0]
    keypoints = ((x - 8, 35.0), (x + 8, 35.0), (x, 42.0), (x - 7, 50.0), (x + 7, 50.0))
    return Face((x - 20, 20.0, x + 20, 60.0), keypoints, 0.9, torch.zeros(112, 112, 3), {JUDGE: embedding})


def measured_cast() -> Cast:
    """Those with a place: without it nobody is measured beside people with one."""
    cast = mixed()
    return replace(cast, people=tuple(cast.people[index] for index in (WEIGHTLESS, CLEO, DAN)), absent=())


def test_people_have_the_numbers_of_their_places_and_not_those_of_the_list() -> None:
    cast = comparison.people_to_find(measured_cast(), None, "")
    report = measuring.measure([Faces((), WIDTH, HEIGHT)], cast, [JUDGE])
    assert (report.names, report.numbers) == (("Cleo", "Dan"), (2, 1))


def test_a_sheet_says_whose_face_is_like_whom_in_the_colours_of_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    cast = comparison.people_to_find(measured_cast(), None, "")
    cleo, dan = (member.person for member in cast.people)
    faces = Faces((face(dan, 55.0), face(cleo, 100.0, like=dan)), WIDTH, HEIGHT)
    report = measuring.measure([faces], cast, [JUDGE])
    drawn: dict[str, Any] = {}
    text = ImageDraw.ImageDraw.text

    def written(pen: Any, place: Any, words: str, color: Any, *more: Any, **options: Any) -> None:
        drawn[words.removesuffix(" - least like")] = color
        text(pen, place, words, color, *more, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", written)
    scenes = [scene_sheet.Scene(torch.zeros(HEIGHT, WIDTH, 3), report, one) for one in report.judged_pictures]
    scene_sheet.draw(scenes)
    assert [*drawn] == ["Scene 1", "Cleo: face: 0.60, looks like Dan", "Dan: face: 1.00"]
    assert drawn["Dan: face: 1.00"] == color_of(0), "whose place is the first"


def test_a_face_is_compared_with_the_one_before_in_pixels_of_the_picture_before() -> None:
    """The picture before is half as large, and the face before of Dan's place stands where Cleo's is in full size."""
    cast = measured_cast()
    somebody = Person("x", {JUDGE: torch.eye(512)[9:10]}, torch.zeros(1, 112, 112, 3))
    after = Faces((face(None, 100.0, like=somebody),), WIDTH, HEIGHT)
    whole = face(None, 100.0, like=somebody)
    box = tuple(side / 2 for side in whole.box)
    half = replace(whole, box=box, keypoints=tuple((x / 2, y / 2) for x, y in whole.keypoints))
    before = Faces((half,), WIDTH // 2, HEIGHT // 2)
    found = comparison.people_to_find(cast, None, "")
    assert unchanged.note([after], [before], found, JUDGE).startswith("The face has not changed: Cleo.")
    elsewhere = Faces((whole,), WIDTH * 2, HEIGHT * 2)
    assert unchanged.note([after], [elsewhere], found, JUDGE) == ""


def test_the_second_pass_looks_for_nobody_who_counts_for_nothing() -> None:
    cast = measured_cast()
    people = tuple(replace(member, person=replace(member.person, embeddings={})) for member in cast.people)
    for of_photos in (cast, replace(cast, people=people)):
        assert [one.name for one in selection.people_to_cut(of_photos, "Crop Faces").people] == ["Cleo", "Dan"]
