"""Looks of people: made of parts, chosen by a line of text, worn where their people stand."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as functional
from pack.core.cast import Absent, Cast, Member, NotPlaced, Person, PlacedCast, Slot
from pack.core.checks.limits import ARRANGED_LETTERS
from pack.core.checks.prompts import BadPrompts
from pack.core.parts.parts import BadPart, Parts, make_part
from pack.core.persons import blending, drawn_looks, looks
from pack.core.persons.drawn_looks import BadDrawn
from pack.core.persons.looks import BadLook
from pack.core.places.regions import BadRegion
from pack.core.taking_part import present_in

GENERATOR = torch.Generator().manual_seed(3)


def picture(height=12, width=10, channels=3):
    return torch.rand(1, height, width, channels, generator=GENERATOR)


def a_look(name="red coat", label="shoes", **changed):
    made = make_part(label, **{"image": picture(), "mask": None, "weight": 1.0, "target": None, **changed})
    return looks.look_of_parts(name, Parts((made,)))


def a_person(name="Anna", *names_of_looks):
    rows = torch.randn(1, 512, generator=GENERATOR)
    of_looks = tuple(a_look(look) for look in names_of_looks)
    return Person(name, {"antelopev2": rows}, torch.zeros(1, 112, 112, 3), looks=of_looks)


def column(number):
    mask = torch.zeros(6, 9)
    mask[:, 3 * number : 3 * number + 3] = 1
    return mask


def placed(*people, weights=(1.0, 1.0, 1.0)):
    members = [
        Member(person, weight, Slot((0.0, 0.0), mask=column(number)))
        for number, (person, weight) in enumerate(zip(people, weights, strict=False))
    ]
    return PlacedCast(tuple(members), 9, 6)


ANNA, BEN = a_person("Anna", "red coat", "blue dress"), a_person("Ben", "red coat")


def chosen(text, cast):
    """By person among those present, the pictures that are worn, and where."""
    worn = looks.worn(text, present_in(cast), "the node")
    return [(person, part) for part, person in worn.people_of_parts.items()], worn.notes


def named(text, *people):
    """The names of looks that people wear."""
    names = []
    for person, part in chosen(text, placed(*people))[0]:
        of_person = people[person].looks
        names += [look.name for look in of_person if torch.equal(looks.part_of(look.pictures[0]).picture, part.picture)]
    return names


@pytest.mark.parametrize(("text", "names"), [
    ("", ["blue dress", "red coat"]),
    ("Anna: red coat", ["red coat", "red coat"]),
    ("anna: RED coat; 2: -", ["red coat"]),
    ("Anna：“red coat”，2：-", ["red coat"]),
    ("1: \uff0d; 2: \u2013", []),
    ("\uff0d", []),
    ("1: \u2014\u2014; 2: \u30fc", []),
    ("1: \u2015; 2: \ufe58", []),
    ('"-";', []),
    ('1: "-"; 2: \u201c-\u201d;', []),
    ('Anna: ""', ["blue dress", "red coat"]),
    ("1: -\n2: -", []),
    (" ;\n, ", ["blue dress", "red coat"]),
])  # fmt: skip
def test_a_line_says_which_look_and_the_newest_is_worn_otherwise(text, names):
    assert named(text, ANNA, BEN) == names


@pytest.mark.parametrize(("text", "error", "words"), [
    ("Anna: green hat", BadLook, r"Anna has no look 'green hat' \(2 looks\).*or - for none: red coat, blue dress"),
    ("Anna: " + "x" * 20_000, BadLook, r"Anna has no look 'x{57}\.\.\.'"),
    ("Anna: red coat; 1: blue dress", BadLook, r"Several looks are written for Anna: red coat, blue dress\. Write one"),
    ("Cleo: red coat", BadLook, r"Cleo has no look 'red coat' \(0 looks\)\. Give Cleo a look"),
    ("Dan: red coat", BadPrompts, "Line 1 of looks: no person here is called 'Dan'"),
    ("red coat", BadPrompts, "Line 1 of looks: it has no colon"),
    ("Anna: red coat; 9: -", BadPrompts, "Line 2 of looks: no person here is called '9'"),
])  # fmt: skip
@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (0.0, 0.0, 0.0)])
def test_what_nobody_can_wear_is_refused(text, error, words, weights):
    """Also of people of weight 0: their weight may be turned up in the next run."""
    with pytest.raises(error, match=words):
        chosen(text, placed(ANNA, BEN, a_person("Cleo"), weights=weights))


def test_everybody_wears_their_own_where_they_stand():
    cast = placed(ANNA, a_person("Cleo"), BEN, weights=(1.0, 0.0, 1.0))
    (anna, of_anna), (ben, of_ben) = chosen("", cast)[0]
    assert (anna, ben) == (0, 1)
    assert torch.equal(of_anna.target, column(0))
    assert torch.equal(of_ben.target, column(2))
    masks = torch.stack([column(2), column(1), column(0)])
    worn = looks.worn("", present_in(cast), "the node", masks)
    assert [part.target.tolist() for part in worn.people_of_parts] == [column(2).tolist(), column(0).tolist()]


def test_two_in_one_place_would_wear_a_mixture():
    """Not so where places do not say who wears what."""
    cast = placed(ANNA, BEN)
    alike = replace(cast, people=(cast.people[0], replace(cast.people[1], slot=cast.people[0].slot)))
    with pytest.raises(BadRegion, match=r"Anna and Ben.*both have the same region"):
        chosen("", alike)
    assert len(chosen("2: -", alike)[0]) == 1
    assert len(looks.worn("", present_in(alike), "the node", needs_places=False).people_of_parts) == 2


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_hair_is_around_a_face_of_any_turn(turns):
    """turns: quarters, clockwise."""
    points = [(-6 - 6j), (6 - 6j), 0j, (-5 + 6j), (5 + 6j)]

    def hair(quarters):
        turned = tuple(((point * 1j**quarters).real + 32, (point * 1j**quarters).imag + 32) for point in points)
        slot = Slot((32.0, 32.0), (22.0, 22.0, 42.0, 42.0), turned)
        return looks.hair_of_place(PlacedCast((Member(ANNA, slot=slot),), 64, 64), 0)

    assert torch.equal(hair(turns), torch.rot90(hair(0), -turns))


def test_who_is_absent_is_noted():
    cast = replace(placed(ANNA), absent=(Absent(2, "Ben"),))
    ((_, part),), notes = chosen("Ben: red coat", cast)
    assert torch.equal(part.picture, looks.part_of(ANNA.looks[-1].pictures[0]).picture)
    assert notes == ["Left out, so what is said of them is not read: Ben (person 2)"]


def test_without_a_place_a_look_is_everywhere_or_refused():
    alone = Cast((Member(ANNA), Member(BEN, 0.0)))
    ((_, part),), _ = chosen("", alone)
    assert part.target is None
    both = Cast((Member(ANNA), Member(BEN)))
    with pytest.raises(NotPlaced, match=r"the node needs .*but Anna has no place\. Put Place Cast between"):
        chosen("", both)
    worn = looks.worn("", present_in(both), "the node", needs_places=False)
    assert [part.target for part in worn.people_of_parts] == [None, None]
    people = placed(ANNA, BEN)
    one_unplaced = replace(people, people=(people.people[0], Member(BEN)))
    assert len(chosen("Ben: -", one_unplaced)[0]) == 1, "who wears nothing needs no place"


@pytest.mark.parametrize(("name", "is_named"), [
    ("red coat", "red coat"), (" red\ncoat ", "red coat"), ("été 🎩: 2 % -", "été 🎩: 2 % -"), ("O'Neil", "O'Neil"),
    ("1", "1"), ("--", "--"), ("x" * 500, "x" * 97 + "..."),
])  # fmt: skip
def test_a_look_is_chosen_by_its_name(name, is_named):
    made = a_look(name)
    assert made.name == is_named
    person = looks.with_look(a_person("Anna", "other"), made)
    person = looks.with_look(person, a_look("newest"))
    ((_, part),), _ = (
        chosen(f"Anna: {name}", Cast((Member(person),)))
        if "\n" not in name
        else chosen(f"Anna: {is_named}", Cast((Member(person),)))
    )
    assert torch.equal(part.picture, looks.part_of(made.pictures[0]).picture)


@pytest.mark.parametrize(
    "name", ["", " ", "-", "\uff0d", "\u2212", "\u200b", "a, b", "a;b", "赤，青", '"red"', "“red”", "，"]
)
def test_a_name_that_no_line_can_mean_is_refused(name):
    with pytest.raises(BadLook, match=r"A look cannot be called '.*'\. Write a Name \(name\) such as red coat"):
        a_look(name)


def test_a_look_has_what_its_part_has_but_its_place():
    mask = (torch.rand(1, 5, 6, generator=GENERATOR) > 0.3).float()
    made = make_part("a scarf", picture(channels=4), mask, 0.7, column(1))
    worn = looks.part_of(looks.look_of_parts("x", Parts((made, replace(made, weight=0.0)))).pictures[0])
    assert (worn.label, worn.weight, worn.target) == ("a scarf", 0.7, None)
    for rows, original in ((worn.picture, made.picture), (worn.alpha, made.alpha), (worn.mask, made.mask)):
        assert torch.equal(rows, (original * 255).round() / 255)


SIZES = [((3000, 1500), (2048, 1024)), ((1, 5000), (1, 2048)), ((5000, 1), (2048, 1)), ((1, 1), (1, 1))]


@pytest.mark.parametrize(("size", "kept"), SIZES)
def test_large_pictures_and_masks_are_made_smaller(size, kept):
    image = torch.rand(1, 1, 1, 4, generator=GENERATOR).expand(1, *size, 4)
    (one,) = a_look(image=image, mask=torch.ones(1, 4096, 16)).pictures
    assert (one.picture.shape, one.alpha.shape, one.mask.shape) == ((*kept, 3), kept, (2048, 8))
    assert ((one.picture - (255 * image[0, :1, :1, :3]).round().byte()).abs() <= 1).all(), "of one colour"


@pytest.mark.parametrize("share", [0.001, 0.0])
def test_a_mask_of_next_to_nothing_is_refused(share):
    mask = torch.zeros(1, 100, 100)
    mask[0, 0, : int(10_000 * share)] = 1
    with pytest.raises(BadPart, match=r"its mask is 0\.1% of the picture.*Crop" if share else "is empty"):
        a_look(mask=mask)
    (faint,) = a_look(mask=torch.full((1, 100, 100), 0.4)).pictures
    assert (faint.mask == 102).all(), "as much as of a Part"


def test_too_many_and_two_of_one_name_are_refused():
    anna = ANNA
    with pytest.raises(BadLook, match=r"Anna has a look 'RED  coat' already|Anna has a look 'RED coat' already"):
        looks.with_look(anna, a_look("RED coat"))
    for number in range(18):
        anna = looks.with_look(anna, a_look(str(number)))
    with pytest.raises(BadLook, match="Anna has 20 looks, and one person can have no more"):
        looks.with_look(anna, a_look("another"))
    with pytest.raises(BadLook, match=r"The look 'x' has no part of weight above 0\. Raise"):
        a_look("x", weight=0.0)


@pytest.mark.parametrize(("amount", "of"), [(0.5, ANNA), (0.51, BEN)])
def test_a_blend_has_the_looks_of_the_larger_share(amount, of):
    assert blending.blend(ANNA, BEN, amount, "slerp", "").looks == of.looks


OUTLINES = json.loads((Path(__file__).parents[1] / "support" / "outlines.json").read_text("utf-8"))
MANY = [
    json.dumps([["+", 0, 0, 1, 0, 1, 1]] * 65),
    json.dumps([["+", *[1] * 802]]),
    "[" * 3000,
    "[]" + " " * ARRANGED_LETTERS,
    "9" * 10_000_000,
]


@pytest.mark.parametrize("text", [*OUTLINES["refused"], *MANY], ids=lambda text: f"{len(text)} {text[:20]!r}")
def test_outlines_that_nothing_can_read_get_a_sentence_in_a_second(text):
    began = time.perf_counter()
    with pytest.raises(BadDrawn, match=r"^Drawn by hand \(drawn\) cannot be read: ") as refused:
        drawn_looks.read(text)
    assert time.perf_counter() - began < 1
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("text", OUTLINES["read"])
def test_outlines_are_read(text):
    listed = json.loads(text) if text.strip() else []
    assert [[outline.adds, *sum(outline.points, ())] for outline in drawn_looks.read(text)] == [
        [sign == "+", *numbers] for sign, *numbers in listed
    ]


LEFT_HALF, BELOW, TRIANGLE = (
    [-90, -50, 50, -50, 50, 100, -90, 100],
    [0, 60, 100, 60, 100, 100, 0, 100],
    [20, 10, 90, 20, 40, 95],
)


def sides_of(points, width, height):
    """How far each pixel's middle is inside of the nearest side of a convex outline in percent, px: (height, width)."""
    corners = [(x / 100 * width, y / 100 * height) for x, y in zip(points[::2], points[1::2], strict=True)]
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    distances = []
    for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
        across = (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)
        distances.append(across / ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5)
    return torch.stack(distances).amin(0)


@pytest.mark.parametrize(("width", "height"), [(37, 23), (64, 101)])
@pytest.mark.parametrize("has_mask", [True, False])
@pytest.mark.parametrize(
    "lines",
    [
        [("+", TRIANGLE)],
        [("-", TRIANGLE)],
        [("+", LEFT_HALF), ("-", TRIANGLE), ("+", BELOW)],
        [("-", LEFT_HALF), ("+", TRIANGLE)],
    ],
)
def test_what_is_drawn_is_what_is_taken_by_a_formula(width, height, has_mask, lines):
    """Pixels on a line, half of which lie inside, are left out. Of a whole picture nothing counts where the first line
    adds."""
    mask = (torch.arange(7)[:, None] < 4).float().expand(7, 5)  # of another size, stretched
    part = make_part("shoes", picture(height, width), mask if has_mask else None, 1.0, None)
    outlines = drawn_looks.read(json.dumps([[sign, *points] for sign, points in lines]))
    (drawn,) = drawn_looks.with_drawn([part], outlines)
    whole = torch.full((height, width), float(lines[0][0] == "-"))
    expected = functional.interpolate(mask[None, None], (height, width), mode="bilinear")[0, 0] if has_mask else whole
    is_sure = torch.ones(height, width, dtype=torch.bool)
    for sign, points in lines:
        inside = sides_of(points, width, height)
        expected = torch.where(inside > 0, float(sign == "+"), expected)
        is_sure &= inside.abs() > 1
    assert is_sure.float().mean() > 0.5
    assert torch.equal(drawn.mask[is_sure], expected[is_sure])
    assert drawn.picture is part.picture


def test_what_is_drawn_is_the_first_parts_or_nobodys():
    masks = [torch.zeros(10, 10), torch.zeros(10, 10)]
    masks[0][5:], masks[1][:5] = 1, 1
    clothes, hair = (
        make_part(label, picture(10, 10), mask, 1.0, None) for label, mask in zip("ab", masks, strict=True)
    )
    assert drawn_looks.with_drawn([clothes, hair], ()) == [clothes, hair]
    corner, top = ["+", 0, 0, 20, 0, 20, 20, 0, 20], ["-", 0, 0, 99, 0, 99, 49, 0, 49]
    both = drawn_looks.with_drawn([clothes, hair], drawn_looks.read(json.dumps([corner])))
    assert both[0].mask[:2, :2].all() and not both[1].mask[:2, :2].any()
    assert not torch.minimum(both[0].mask, both[1].mask).any()
    (alone,) = drawn_looks.with_drawn([clothes, hair], drawn_looks.read(json.dumps([top])))
    assert torch.equal(alone.mask, clothes.mask)
    everything = drawn_looks.read('[["-", 0, 0, 100, 0, 100, 100, 0, 100]]')
    with pytest.raises(BadDrawn, match="leaves nothing of 'a'"):
        drawn_looks.with_drawn([clothes, hair], everything)
