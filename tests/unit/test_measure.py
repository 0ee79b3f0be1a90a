"""Who is who and how alike, on faces whose similarities are chosen by hand."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pack.core.cast import Absent, Cast, Face, Faces, Member, NotPlaced, Person, PlacedCast, Slot
from pack.core.checks.errors import BadCast, BadEmbedding, BadSize
from pack.core.measure import comparison, figures, measuring, report_text, scene_sheet, unchanged
from pack.core.measure.annotated_picture import annotate
from pack.core.measure.figures import Figure
from pack.core.measure.report import MeasuredPicture, Report, Sighting
from pack.core.persons.combining import EmbeddingMissing
from pack.core.pictures.previews import Sheet
from pack.core.pictures.tensors import rows
from PIL import Image
from torch.nn.functional import normalize

JUDGE = "w600k_r50"
NAMES = ("Anna", "Ben", "Cleo", "Dan")
NO_PHOTO = Person("Eve", {JUDGE: torch.zeros(0, 512)}, torch.zeros(0, 112, 112, 3))


def axis(number: int, size: float = 1.0) -> torch.Tensor:
    row = torch.zeros(512)
    row[number] = size
    return row


def a_person(number: int, photos: Sequence[torch.Tensor] = (), by: str = JUDGE) -> Person:
    """Somebody whose photos point along an axis of their own, unless they are given. Lengths do not matter."""
    embeddings = torch.stack(list(photos) or [axis(number, 20.0)])
    return Person(NAMES[number], {by: embeddings}, torch.zeros(len(embeddings), 112, 112, 3))


def face(similarities: Sequence[float], x: float = 50.0, y: float = 50.0, size: float = 40.0) -> Face:
    """A face with these similarities to Anna, Ben, Cleo and Dan."""
    row = sum((axis(n, value) for n, value in enumerate(similarities)), axis(100, 0.0))
    row = row + axis(200, math.sqrt(max(0.0, 1 - float(row.square().sum()))))
    points = ((x - 8, y - 8), (x + 8, y - 8), (x, y), (x - 6, y + 8), (x + 6, y + 8))
    box = (x - size / 2, y - size / 2, x + size / 2, y + size / 2)
    return Face(box, points, 0.9, torch.zeros(112, 112, 3), {JUDGE: row * 3})


def picture(*faces: Face, width: int = 200, height: int = 100) -> Faces:
    return Faces(faces, width, height)


def cast(placed: bool = False) -> Cast:
    slots = [Slot((50.0 + 50 * n, 50.0), (30.0 + 50 * n, 30.0, 70.0 + 50 * n, 70.0)) for n in range(2)]
    persons = [Member(a_person(n), 1.0, *((slots[n], n + 1) if placed else ())) for n in range(2)]
    return PlacedCast(tuple(persons), 200, 100) if placed else Cast(tuple(persons))


def measured(faces: Faces, people: Cast, stranger_below: float = -1.0) -> MeasuredPicture:
    return measuring.measure([faces], people, [JUDGE], stranger_below=stranger_below).judged_pictures[0]


CLEO, CLEO_AGAIN, ANNA = (0.05, 0.0, 0.95), (0.1, 0.0, 0.9), (0.9, 0.0, 0.1)
"""Similarities of the faces of a photo of Cleo, of the same after a swap that does nothing, and of Anna."""


@pytest.mark.parametrize(("before", "after", "placed", "names"), [
    (face(CLEO), face(CLEO_AGAIN), True, "Anna"), (face(CLEO), face(CLEO_AGAIN), False, "Anna"),
    (face(CLEO), face(ANNA), True, ""), (face(CLEO, 150), face(CLEO_AGAIN), True, ""),
    (face((0.0, 0.0, 0.0, 0.9)), face(CLEO_AGAIN), True, ""),
])  # fmt: skip
def test_a_face_that_a_swap_has_left_as_it_was_is_named(before: Face, after: Face, placed: bool, names: str) -> None:
    """Not one that is now the person's, that stood elsewhere, or that is now somebody else's."""
    note = unchanged.note([picture(after)], [picture(before)], cast(placed=placed), JUDGE)
    assert note.startswith(f"The face has not changed: {names}. " if names else "") and bool(note) == bool(names)
    of_two = unchanged.note([picture(after), picture()], [picture(before)], cast(placed=placed), JUDGE)
    assert f"{names} in picture 1." in of_two or not names


FIGURES = ("resemblance", "weakest person", "leakage", "margin", "association")
ALL = json.loads(Path(__file__).with_name("measured.json").read_text("utf-8"))
"""Faces with their similarities and x, whether people have places, who is which face, and by hand FIGURES, missing,
extra and swapped."""


@pytest.mark.parametrize("case", ALL)
def test_who_is_who_and_figures_computed_by_hand(case: str) -> None:
    faces, placed, face_numbers, expected = ALL[case].values()
    strangers = case == "somebody twice" or case.startswith("a stranger")
    stranger_below = 0.2 if strangers else -1.0
    faces_of_the_picture = [face(*similarities_and_x) for similarities_and_x in faces]
    judged = measured(picture(*faces_of_the_picture), cast(placed=placed), stranger_below)
    assert [sighting.face for sighting in judged.sightings] == face_numbers
    measured_figures = [figures.score(judged, name) for name in FIGURES]
    measured_figures += [judged.missing, list(judged.stranger_faces), judged.swapped]
    assert measured_figures == [pytest.approx(figure) for figure in expected]
    assert figures.score(judged, "copy-paste") is None


@pytest.mark.parametrize(("away", "found"), [(70.0, 0), (90.0, None)])
def test_the_reach_of_a_place_grows_with_the_picture(away: float, found: int | None) -> None:
    """Places with a face box of 40 px, in a picture of twice the size of their canvas: 80 px of it."""
    small = face([1.0], x=100.0 - away, y=100.0, size=20.0)
    seen = measured(picture(small, width=400, height=200), cast(placed=True))
    assert [sighting.face for sighting in seen.sightings] == [found, None]


def test_nobody_loses_a_face_within_reach_for_one_that_is_nearer_to_another() -> None:
    """The first face is near to Ben, but Anna reaches no other."""
    seen = measured(picture(face([], x=87.0), face([], x=139.0)), cast(placed=True))
    assert [sighting.face for sighting in seen.sightings] == [0, 1]


@pytest.mark.parametrize(("similarities", "is_stranger"), [([0.3, 0.0], False), ([0.15, 0.15], True)])
def test_a_stranger_is_like_nobody_at_all(similarities: list[float], is_stranger: bool) -> None:
    seen = measured(picture(face(similarities)), cast(), stranger_below=0.2)
    assert list(seen.stranger_faces) == ([0] if is_stranger else [])


@pytest.mark.parametrize("figure", figures.FIGURES, ids=[figure.name for figure in figures.FIGURES])
def test_a_figure_that_no_picture_has_says_why_and_what_to_do(figure: Figure) -> None:
    """A figure that is None although people, parts and a prompt could be compared has a reason of its own."""
    with_people = measured(picture(face([0.9, 0.1]), face([0.1, 0.8], 100)), cast())
    reasons = [figure.why_no_value(has_people=False)]
    if figure.of_picture(with_people) is None:
        reasons.append(figure.why_no_value(has_people=True))
        assert reasons[-1].reason != "no faces were compared", "faces were"
    for no_value in reasons:
        assert no_value.reason[0].islower(), "it stands within a sentence"
        assert no_value.advice[0].isupper(), "it begins a sentence"
        assert not no_value.reason.endswith(".")
        assert not no_value.advice.endswith(".")
    assert (reasons[0].reason == "no faces were compared") == figure.of_people


def test_several_photos_count_alike_and_show_copying() -> None:
    """Photos at 0.6 of each other. The face is 0.9 like the first and 0.6 * 0.9 like the second."""
    photos = [axis(0, 5.0), 7 * (0.6 * axis(0) + 0.8 * axis(1))]
    people = Cast((Member(a_person(0, photos=photos)),))
    judged = measured(picture(face([0.9])), people)
    assert figures.score(judged, "resemblance") == pytest.approx((0.9 + 0.54) / 2, abs=1e-6)
    assert figures.score(judged, "copy-paste") == pytest.approx(0.9 - 0.6, abs=1e-6)
    with_a_third = Cast((Member(a_person(0, photos=[*photos, axis(2)])),))
    assert figures.score(measured(picture(face([0.9])), with_a_third), "copy-paste") == pytest.approx(0.9 - 0.6 / 3)


def test_who_judges_is_who_is_independent_of_the_method() -> None:
    names = ("arcface-ir-se50", "antelopev2", "w600k_r50", "auraface")
    everybody = Person("Anna", dict.fromkeys(names, torch.ones(1, 512)), torch.zeros(1, 112, 112, 3))
    person = [Member(everybody)]
    assert comparison.judges(names[:1], person, "ID-Patch") == ("arcface-ir-se50",)
    assert comparison.judges(names[:2], person, "ID-Patch") == ("antelopev2", "arcface-ir-se50")
    assert comparison.judges(names[:2], person, "InstantID") == ("arcface-ir-se50", "antelopev2")
    assert comparison.judges(names, person, "unknown")[0] == "auraface"


def test_a_second_recogniser_sees_the_same_faces() -> None:
    """The method's own says 0.9 and 0.8; who judges says 0.6 and 0.5 and decides who is who."""
    own_recogniser = "arcface-ir-se50"

    def face_of_two(by_judge: list[float], by_the_method: list[float], x: float = 50.0) -> Face:
        judged = face(by_judge, x)
        return replace(judged, embeddings={**judged.embeddings, own_recogniser: face(by_the_method).embeddings[JUDGE]})

    persons = [replace(a_person(n), embeddings={JUDGE: axis(n)[None], own_recogniser: axis(n)[None]}) for n in range(2)]
    people = tuple(map(Member, persons))
    first = face_of_two([0.6, 0.1], [0.9, 0.0])
    second = face_of_two([0.2, 0.5], [0.1, 0.8], 100)
    names = comparison.judges([own_recogniser, JUDGE], people, "ID-Patch")
    report = measuring.measure([picture(first, second)], Cast(people), names, "ID-Patch")
    assert names == (JUDGE, own_recogniser)
    assert not report.judge_is_biased
    assert figures.score(report.judged_pictures[0], "resemblance") == pytest.approx(0.55)
    assert figures.score(report.pictures[own_recogniser][0], "resemblance") == pytest.approx(0.85)
    lines = report_text.describe(report).splitlines()
    assert lines[1].startswith("Picture 1: resemblance 0.55, ")
    assert [line.split(", face")[0] for line in lines[2:4]] == ["  Anna: 0.60, others 0.10", "  Ben: 0.50, others 0.20"]
    assert lines[-1].startswith(f"By {own_recogniser}, picture 1: resemblance 0.85, ")


def test_leakage_is_to_the_most_alike_of_several_others() -> None:
    everybody = Cast(tuple(Member(a_person(number)) for number in range(4)))
    judged = measured(picture(face([0.7, 0.1, 0.4, 0.2])), everybody)
    (anna,) = judged.present
    assert anna.person == 0
    assert anna.leakage == pytest.approx(0.4, abs=1e-6)
    assert anna.margin == pytest.approx(0.7 - 0.4, abs=1e-6)


def test_leakage_of_kin_is_what_a_face_has_beside_its_own_person() -> None:
    """By the part of the face at right angles to the mean photo of Anna, in whose place it is."""
    generator = torch.Generator().manual_seed(84)

    def photos(*around: float) -> torch.Tensor:
        """Three photos, (3, 512), of length 1."""
        direction = torch.tensor([*around, *[0.0] * (512 - len(around))])
        return normalize(direction + torch.randn(3, 512, generator=generator) / 40, dim=-1)

    photos_of_all = [photos(1.0), photos(0.6, 0.8), photos(0.2, 0.0, 1.0)]  # Ben is Anna's brother, Cleo a stranger
    slots = [Slot((50.0 + 50 * number, 50.0)) for number in range(3)]
    members: list[Member] = []
    for number, slot in enumerate(slots):
        members.append(Member(a_person(number, [*(photos_of_all[number] * 9)]), 1.0, slot, number + 1))
    anna, ben, cleo = (of_one.mean(0) for of_one in photos_of_all)

    def in_her_place(embedding: torch.Tensor, *people: Member) -> Sighting:
        seen = replace(face([]), embeddings={JUDGE: embedding * 7})
        return measured(picture(seen), PlacedCast(people, 200, 100)).sightings[0]

    for embedding in (anna, photos_of_all[1][0], photos_of_all[0][1] + photos_of_all[1][1], cleo):
        unit = normalize(embedding, dim=0)
        rest = unit - (unit @ anna) / (anna @ anna) * anna
        with_ben = in_her_place(embedding, *members[:2])
        assert with_ben.leakage == pytest.approx(float(rest @ ben), abs=1e-6)
        assert with_ben.margin == pytest.approx(float(unit @ anna - unit @ ben), abs=1e-6)
        with_all = in_her_place(embedding, *members)
        assert with_all.leakage == pytest.approx(float(max(rest @ ben, unit @ cleo)), abs=1e-6)
        with_stranger = in_her_place(embedding, members[0], members[2])
        assert with_stranger.leakage == with_stranger.similarities[1], "nothing is taken from strangers"
    assert in_her_place(anna, *members[:2]).leakage == pytest.approx(0.0, abs=1e-6)
    report = measuring.measure([picture()], PlacedCast(tuple(members), 200, 100), [JUDGE])
    (note,) = [line for line in report_text.notes(report, {JUDGE}) if line.startswith("More alike")]
    assert note.startswith("More alike than strangers: Anna and Ben 0.")
    assert report_text.describe(report).count(note) == 1


MIXED = [Member(a_person(0)), Member(a_person(1, by="arcface-ir-se50"))]
NOBODY = Cast((Member(NO_PHOTO),))
WEIGHTLESS = Cast((Member(a_person(0), 0.0),))
REFUSED = [
    (BadSize, "200x103 px.* 200x100 px", lambda: measured(picture(face([0.7, 0.1]), height=103), cast(placed=True))),
    (BadCast, "neither a cast nor a person", lambda: comparison.people_to_find(None, None, measuring.NODE)),
    (BadCast, "all in the cast have weight 0", lambda: comparison.people_to_find(WEIGHTLESS, None, measuring.NODE)),
    (BadCast, "given to Measure Likeness has a place: Place Cast has left out all",
     lambda: comparison.people_to_find(PlacedCast((), 8, 8), None, measuring.NODE)),
    (BadCast, "^Eve, Eve have no photo with a face, .*Add one",
     lambda: comparison.people_to_find(NOBODY, NO_PHOTO, measuring.NODE)),
    (NotPlaced, "Measure Likeness .* Cleo has no place",
     lambda: comparison.people_to_find(cast(placed=True), a_person(2), measuring.NODE)),
    (EmbeddingMissing, "in common.* antelopev2; Anna .*w600k_r50; Ben .*ir-se50",
     lambda: comparison.judges(["antelopev2"], MIXED, "unknown")),
    (BadEmbedding, "of Eve .*no photo", lambda: measured(picture(face([0.5])), NOBODY)),
]  # fmt: skip


def test_what_cannot_be_measured_is_explained() -> None:
    for error, words, act in REFUSED:
        with pytest.raises(error, match=words):
            act()


def test_people_are_those_of_a_cast_who_count_and_one_more() -> None:
    alone = Member(a_person(2))
    placed = cast(placed=True)
    two = replace(cast(), people=(*cast().people, Member(a_person(3), 0.0)))
    assert comparison.people_to_find(None, alone.person, "") == Cast((alone,))
    assert comparison.people_to_find(placed, None, "") == placed
    assert comparison.people_to_find(two, alone.person, "").people == (*two.people[:2], replace(alone, number=4))


def with_numbers_of_places(*numbers: int) -> Cast:
    placed = cast(placed=True)
    people = tuple(replace(member, place=number) for member, number in zip(placed.people, numbers, strict=True))
    return replace(placed, people=people)


def test_people_have_the_numbers_of_their_places_or_those_of_the_list() -> None:
    """Whoever is in front of them and is not looked for keeps a number of their own."""
    anna, ben = cast().people
    listed = Cast((replace(anna, weight=0.0, number=1), replace(ben, number=2)), absent=(Absent(3, "Cid"),))
    of_list = measuring.measure([picture()], comparison.people_to_find(listed, a_person(2), ""), [JUDGE])
    assert of_list.numbers == (2, 4)
    of_places = measuring.measure([picture()], with_numbers_of_places(4, 2), [JUDGE])
    assert of_places.numbers == (4, 2)
    assert "  Anna (place 4): missing" in report_text.describe(of_places).splitlines()


def batch() -> Report:
    """Swapped, right, right but less alike, Ben missing."""
    pictures = [
        picture(face([0.1, 0.6]), face([0.7, 0.2], 100)), picture(face([0.7, 0.3]), face([0.2, 0.6], 100)),
        picture(face([0.6, 0.15]), face([0.1, 0.4], 100)), picture(face([0.9, 0.0])),
    ]  # fmt: skip
    return measuring.measure(pictures, cast(placed=True), [JUDGE])


ORDERS = {
    "weakest person": [1, 2, 0, 3], "resemblance": [1, 2, 3, 0], "association": [1, 2, 3, 0], "margin": [3, 1, 2, 0],
    "leakage": [2, 1, 0, 3],
}  # fmt: skip


def test_ranking() -> None:
    assert {score: report_text.ranking(batch(), score) for score in ORDERS} == ORDERS
    assert report_text.scores(batch(), "copy-paste") == [None] * 4, "which needs several photos"


def test_pictures_without_the_score_come_last() -> None:
    """Of four pictures the second has no parts at all."""
    report = measuring.with_parts(batch(), [(0.2, 0.4), (), (0.9,), (0.5, 0.7)], ["coat", "hat"], 0)
    assert report_text.scores(report, "parts") == pytest.approx([0.3, None, 0.9, 0.6])
    assert report_text.ranking(report, "parts") == [2, 3, 0, 1]


def test_the_latents_of_pictures_keep_their_masks_and_noise() -> None:
    """Two masks are of four rows in turn, one is of all."""
    latent = {"samples": torch.arange(4.0).reshape(4, 1, 1, 1), "noise_mask": torch.rand(2, 1, 8, 8)}
    for noise, kept in ((None, [3, 0]), ([5, 6, 7, 8], [8, 5]), (torch.tensor([5, 6, 7, 8]), [8, 5])):
        chosen = rows({**latent, "batch_index": noise}, [3, 0])
        assert chosen["samples"].flatten().tolist() == [3, 0]
        assert torch.equal(chosen["noise_mask"], latent["noise_mask"][[1, 0]])
        assert chosen["batch_index"] == kept
    one = latent["noise_mask"][:1]
    assert rows({**latent, "noise_mask": one}, [3, 0])["noise_mask"] is one


def test_of_equal_pictures_the_one_with_fewer_strangers_is_better() -> None:
    anna = face([0.7, 0.1])
    stranger = face([0.0, 0.0], 150)
    pictures = [picture(anna, stranger), picture(anna), picture(anna, stranger, stranger)]
    report = measuring.measure(pictures, Cast((Member(a_person(0)),)), [JUDGE], stranger_below=0.2)
    assert [len(judged.stranger_faces) for judged in report.judged_pictures] == [1, 0, 2]
    assert report_text.ranking(report, "resemblance") == [1, 0, 2]


def test_of_equal_pictures_the_one_with_more_people_like_themselves_is_better() -> None:
    report = measuring.with_parts(batch(), [(0.5,)] * 4, ["coat"], 0)
    assert report_text.ranking(report, "parts") == ORDERS["association"]


@pytest.mark.parametrize(
    ("keep", "told"),
    [
        (1, "Kept picture 4 of 4: parts 0.60, of the others 0.20 to 0.40."),
        (2, "Kept pictures 4, 1 of 4: parts 0.40 to 0.60, of the others 0.20."),
        (3, "Kept pictures 4, 1, 3 of 4: parts 0.20 to 0.60, of the others none."),
        (4, ""),
    ],
)
def test_which_picture_was_kept_is_told_with_its_lead(keep: int, told: str) -> None:
    report = measuring.with_parts(batch(), [(0.4,), (), (0.2,), (0.6,)], ["coat"], 0)
    assert report_text.choice(report, "parts", keep) == told


def test_what_the_numbers_do_not_say_is_said() -> None:
    with_anna = picture(face([0.7, 0.1]))
    pictures = [with_anna, picture(), with_anna, picture()]
    report = measuring.measure(pictures, Cast((Member(a_person(0)),)), [JUDGE])
    faceless = "No face found in picture 2, 4."
    assert report_text.notes(report, {JUDGE, "another"}) == [faceless]
    biased = replace(report, method="PhotoMaker v2")
    assert report_text.notes(biased, {JUDGE, "another"}) == [faceless, report_text.judge_sentence(biased)]
    assert report_text.notes(biased, {JUDGE}) == [faceless], "nothing else to load"


@pytest.mark.parametrize("stranger_below", [0.2, 0.9])
@pytest.mark.parametrize("faces", [0, 1, 2])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_of_one_picture_nothing_is_said_of_choosing_among_several(
    count: int, faces: int, stranger_below: float
) -> None:
    strangers = [face([0.3, 0.1], 100 * number) for number in range(faces)]
    people = Cast((Member(a_person(0)),))
    report = measuring.measure([picture(*strangers)] * count, people, [JUDGE], stranger_below=stranger_below)
    told = "\n".join([*report_text.notes(report, {JUDGE}), report_text.people_not_found(report, "resemblance")])
    is_missing = not faces or stranger_below > 0.3
    assert ("none is better than another" in told) == (count > 1 and is_missing)
    assert ("No face found in" in told) == (not faces)
    if count == 1:
        assert not any(word in told for word in ("better", "picture 1", "pictures"))


def test_who_is_in_none_of_several_pictures_is_named() -> None:
    """Also where others are found, as what is taken from the best shows nothing of them."""
    with_anna, with_both = picture(face([0.7, 0.1])), picture(face([0.7, 0.1]), face([0.1, 0.7], 100))
    told = report_text.people_not_found(measuring.measure([with_anna] * 2, cast(), [JUDGE]), "resemblance")
    assert told.startswith("Ben was not found in any of the 2 pictures. Try another seed.")
    assert report_text.people_not_found(measuring.measure([with_anna, with_both], cast(), [JUDGE]), "resemblance") == ""


def test_a_picture_in_which_nobody_is_found_counts_but_for_the_leakage() -> None:
    """It is unknown there."""
    pictures = [picture(face([0.7, 0.3]), face([0.2, 0.6], 100)), picture()]
    totals = figures.totals(measuring.measure(pictures, cast(), [JUDGE]).judged_pictures)
    assert totals.leakage == pytest.approx((0.3 + 0.2) / 2)
    assert totals.resemblance == pytest.approx((0.7 + 0.6) / 2 / 2)
    assert totals.margin == pytest.approx((0.4 + 0.4) / 2 / 2)
    assert totals.association == 0.5
    assert (totals.missing, totals.extra, totals.swapped) == (2, 0, 0)


def test_the_text_alignment_of_all_pictures_is_their_mean() -> None:
    report = measuring.with_text_alignment(measuring.report_without_people(2, "unknown"), [0.2, 0.3])
    lines = report_text.describe(report).splitlines()
    assert lines == [
        "Picture 1: text alignment 0.200",
        "Picture 2: text alignment 0.300",
        "Text alignment of all pictures: 0.250",
    ]


def test_the_picture_shows_everybody_in_the_colour_of_their_place() -> None:
    blank = torch.zeros(400, 800, 3)
    first = torch.tensor((86, 180, 233))
    second = torch.tensor((230, 159, 0))
    large = [
        picture(face([0.1, 0.6], 200, 200, 160), face([0.7, 0.2], 400, 200, 160), width=800, height=400),
        picture(face([0.1, 0.0], 200, 200, 160), width=800, height=400),
    ]
    report = measuring.measure(large, cast(placed=True), [JUDGE])

    def count_of_pixels(number: int, color: torch.Tensor, columns: slice) -> int:
        annotated = (annotate(blank, report, number) * 255).round().byte()
        return int((annotated[:, columns] == color).all(-1).sum())

    assert count_of_pixels(0, second, slice(100, 190)) > 300 > count_of_pixels(0, first, slice(100, 190)), (
        "Ben stands in Anna's place"
    )
    assert count_of_pixels(0, first, slice(450, 500)) > 50, "Anna in Ben's"
    assert count_of_pixels(1, torch.tensor((170, 170, 170)), slice(100, 300)) > 200, "a stranger"
    assert count_of_pixels(1, first, slice(100, 300)) > 300, "both are missing"
    assert count_of_pixels(1, second, slice(320, 500)) > 300, "both are missing"
    middles = (annotate(blank, report, 1)[200, [200, 400]] * 255).round()
    assert torch.equal(middles, torch.stack([first, second]).float()), "crossed out in their places"


def test_a_swapped_face_is_named_with_both_similarities() -> None:
    """As the plate says it: whom the face is like, and how much more than the one who should be there.

    Anna has the second place."""
    blank = torch.zeros(400, 800, 3)
    swapped = picture(face([0.1, 0.6], 200, 240, 120), face([0.7, 0.2], 400, 240, 120), width=800, height=400)
    report = measuring.measure([swapped], with_numbers_of_places(2, 1), [JUDGE])
    annotated = (annotate(blank, report, 0) * 255).round()
    expected = Sheet(Image.new("RGB", (800, 400)))
    expected.label("1", "Ben 0.60, not Anna 0.10", (140.0, 180.0), (86, 180, 233), 200.0)  # up to the next
    expected.label("2", "Anna 0.70, not Ben 0.20", (340.0, 180.0), (230, 159, 0), 800)
    plates = (expected.tensor() * 255).round()[:180]
    assert plates.any()
    assert torch.equal(annotated[:180], plates)


def test_a_stranger_has_a_grey_frame() -> None:
    blank = torch.zeros(400, 800, 3)
    anna_and_stranger = picture(face([0.7, 0.1], 200, 200, 120), face([0.0, 0.0], 600, 200, 120), width=800, height=400)
    report = measuring.measure([anna_and_stranger], Cast((Member(a_person(0)),)), [JUDGE], stranger_below=0.2)
    edges = (annotate(blank, report, 0)[200, [140, 540]] * 255).round()
    assert edges.tolist() == [[86, 180, 233], [170, 170, 170]]


def test_a_sheet_marks_the_face_and_the_garment_that_are_least_like() -> None:
    """In a row for each picture: as high as the picture, 200 px wide and 100 high."""
    faces = [picture(face([first, 0.1]), face([0.1, 0.6], 100)) for first in (0.7, 0.3, 0.5)]
    report = measuring.measure(faces, cast(placed=True), [JUDGE])
    report = measuring.with_parts(report, [[0.9, 0.8], [0.9, 0.9], [0.7, 0.9]], ["Anna, coat", "Ben, suit"], 0)

    def marked_rows(measured_report: Report) -> list[bool]:
        blank = torch.zeros(100, 200, 3)
        scenes = [scene_sheet.Scene(blank, measured_report, one) for one in measured_report.judged_pictures]
        sheet = (scene_sheet.draw(scenes)[0] * 255).round()  # (H, W, 3)
        marked = (sheet == torch.tensor([255.0, 130.0, 120.0])).all(-1).any(-1)
        return [bool(row.any()) for row in marked[12:].chunk(3)]

    assert marked_rows(report) == [False, True, True]
    assert marked_rows(report.of_pictures([0, 0, 0])) == [True, True, True], "of equal ones each"
