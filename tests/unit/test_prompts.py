"""What is said of single people, and where tokens are heard."""

import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
import torch
from pack.core.attention.cross_attention import EXCLUDED, OWNED_BY_ALL, OWNED_BY_NOBODY, region_bias
from pack.core.cast import Absent, Cast, Layout, Member, Person, RowCast, Slot, person_without_photo
from pack.core.checks.errors import BadSetup, LikenessError
from pack.core.checks.prompts import (
    BadPrompts,
    BadText,
    SaidOfMembers,
    check_text,
    per_person,
    per_scene,
    prompts_of_members,
)
from pack.core.checks.text import list_of, names_in
from pack.core.grouping.corrections import apply_corrections
from pack.core.grouping.photo_faces import PhotoFace
from pack.core.places import from_boxes, placing
from pack.core.places.placing import BadOrder

NAMES = ["Anna", "Ben", "Käthe"]


def test_lines() -> None:
    for text, expected in (
        ("Anna: smiling\nBen: looking away", ["smiling", "looking away", ""]),
        ("ben :  asleep \n\n", ["", "asleep", ""]), ("Anna: time: 5:30", ["time: 5:30", "", ""]),
        ("3: a red hat\nKÄTHE：reading", ["", "", "a red hat, reading"]),
        ("Anna:", ["", "", ""]), ("", ["", "", ""]),
    ):  # fmt: skip
        assert per_person(text, NAMES, "the prompts") == expected


def test_lines_serve_the_rows_of_those_who_are_cut_out() -> None:
    """By the names and numbers of everybody who is listed; of two pictures a person may have two rows."""
    slot = Slot((4.0, 4.0))
    listed = tuple(Member(Person(name, {}, torch.zeros(1, 8, 8, 3)), slot=slot) for name in NAMES)
    _, ben, kaethe = listed
    rows = RowCast((ben, kaethe, ben), 8, 8, cut_from=Cast(listed), indices=(1, 2, 1))
    lines = "Anna: smiling\n2: looking away\nKäthe: asleep"
    assert prompts_of_members(lines, rows) == SaidOfMembers(["looking away", "asleep", "looking away"], [])
    with pytest.raises(BadPrompts, match=r"no person here is called 'Zoe'.*1 Anna, 2 Ben, 3 Käthe"):
        prompts_of_members("Zoe: up", rows)
    unlisted = RowCast(listed[1:], 8, 8)
    assert prompts_of_members("1: up\nKäthe: down", unlisted).prompts == ["up", "down"]
    without_ben = RowCast((kaethe,), 8, 8, cut_from=Cast(listed[::2], absent=(Absent(2, "Ben"),)), indices=(1,))
    said = prompts_of_members(lines, without_ben)
    assert said == SaidOfMembers(["asleep"], ["Left out, so what is said of them is not read: Ben (person 2)"])


def test_lines_that_are_about_nobody() -> None:
    for text, names, why in (
        ("smiling", NAMES, "Line 1 of the prompts: it has no colon. It is 'smiling'."),
        ("Anna: up\nZoe: down", NAMES, "Line 2 of the prompts: no person here is called 'Zoe'. It is 'Zoe: down'."),
        ("x" * 999, NAMES, "it has no colon"), (":" * 999, NAMES, "no person here is called ''"),
        ("0: up", NAMES, "no person here is called '0'"), ("²: up", NAMES, "no person here is called '²'"),
        ("Anna: up", ["Anna", "Ben", "anna"], "2 people are called 'Anna': write their number, 1 or 3"),
        ("Anna: up", [], "there are no people. It is 'Anna: up'. Connect a cast with people."),
    ):  # fmt: skip
        with pytest.raises(BadPrompts) as refused:
            per_person(text, names, "the prompts")
        assert why in str(refused.value)
        if names:
            assert f"There are: 1 {names[0]}, 2 {names[1]}" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a" * 10_000, ""),
        ("a" * 10_001, "The text has 10001 letters, and 10000 is the most that a text encoder is given."),
    ],
    ids=["long", "longer"],
)
def test_what_an_encoder_is_given_has_an_end(text: str, why: str) -> None:
    if why:
        with pytest.raises(BadText) as refused:
            check_text("The text", text)
        assert refused.value.problem.startswith(why)
    else:
        assert check_text("The text", text) is text


def test_who_says_too_much_is_named() -> None:
    text = "Anna: up\n" + "Ben: " + "word " * 3000
    with pytest.raises(BadText, match=r"^What is said of Ben has 14999 letters"):
        prompts_of_members(text, Cast(tuple(Member(person_without_photo(name)) for name in NAMES)))
    with pytest.raises(BadText, match=r"^Scene 2 has 14999 letters"):
        per_scene("at the beach\n" + "word " * 3000, "")


def test_scenes_are_plain_lines() -> None:
    """Half a letter ends the tokenizer of the host, and an escape steers the terminal that shows a log."""
    text = "at the\ud800  beach,\n\n\x1b[31min\0the \u202ekitchen"
    always = " a photo\n of\ud800 them, "
    assert per_scene(text, always) == ["at the beach, a photo of them", "[31min the kitchen, a photo of them"]


LISTED = ["Anna", "Ben", "2", "Mary Ann", "person", "Lee, Jo: Sr", "O'Neil", "Zoe\u0308", "\u2018Ali", "Manu\u2019"]
ONE = {
    0: (
        "1",
        "\uff11",
        "\u0661",
        "01",
        "anna",
        "\u201cAnna\u201d",
        "'1'",
        "\u200fAnna\u200e",
        " Anna ,",
        "\u300cANNA\u300d,",
    ),
    2: ("2", "\uff02 2 \uff02", "3"),  # a number is a name first
    3: ("Mary Ann", '"mary  ann"', "4"),
    4: ("person", "person 5", "5"),
    5: ('"Lee, Jo: Sr"', "\u201clee, jo: sr\u201d,", "\uff02Lee, Jo: Sr\uff02"),
    6: ("o'neil", "O\u2019Neil", "'O\u2019Neil'"),
    7: ("Zo\u00eb", "ZOE\u0308"),
    8: ("'Ali", '"\u2018Ali"'),
}
"""Index of a person in LISTED -> what may be typed for them alone."""
SEVERAL = {
    "2, anna\uff0c 4": [2, 0, 3],
    "anna ben 5": [0, 1, 4],
    "'Ben'\uff1b\u0663\n\u00abAnna\u00bb": [1, 2, 0],
    "4\u30011 person": [3, 0, 4],
    "Mary Ann; Ben 5,": [3, 1, 4],
    "'Mary Ann' \"Lee, Jo: Sr\"\u061b7": [3, 5, 6],
    "\uff62Lee, Jo: Sr\uff63, \u301dMary Ann\u301e": [5, 3],
}
"""What may be typed for several -> their indices."""
MEANS_NOBODY = (
    "Cleo", "11", "\u00b2", "9" * 5000, "Ben Mary", "person 11", "Lee, Jo: Sr", "-1", "1.5", "1-2", "\u201c\u201d Cleo",
)  # fmt: skip


def in_custom_order(text: str, count: int, names: Sequence[str] = LISTED) -> list[int | None]:
    people = tuple(Member(Person(name, {}, torch.zeros(1, 8, 8, 3))) for name in names)
    return [*placing.assign(Cast(people), Layout(9, 9, (Slot((4.0, 4.0)),) * count), "custom", text)]


def in_corrections(text: str) -> list[int]:
    """Of a photo of each person."""
    files = [f"{number}.jpg" for number in range(len(LISTED))]
    faces = [PhotoFace(number, 0, file, cast(Any, None)) for number, file in enumerate(files, 1)]
    corrected = apply_corrections(faces, LISTED, files, f"{text.strip(' ,')}\uff1a \u00abX\u00bb")
    return [index for index, name in enumerate(corrected) if name == "X"]


@pytest.mark.parametrize("text, people", [*((text, [who]) for who in ONE for text in ONE[who]), *SEVERAL.items()])
def test_people_are_named_alike_wherever_their_names_are_typed(text: str, people: list[int]) -> None:
    assert in_custom_order(text, len(people)) == people
    if len(people) == 1:
        line = f"{text.strip(' ,')}: 5 5 20 20"
        assert [index for index, words in enumerate(per_person(line, LISTED, "a list")) if words] == people
        (box,) = from_boxes.written(line)
        assert in_custom_order(list_of([box.name]), 1) == people
        if text != "person 5":  # the photos are called person 1 to person 8 only where nobody named them
            assert in_corrections(text) == people


@pytest.mark.parametrize("text", MEANS_NOBODY)
def test_nobody_is_meant_anywhere(text: str) -> None:
    for reader in (lambda: in_custom_order(text, 1), lambda: per_person(f"{text}: a", LISTED, "a list")):
        with pytest.raises((BadOrder, BadPrompts)):
            reader()


def test_names_that_a_node_lists_are_read_again() -> None:
    names = ["", *LISTED, "Anna, in her friends' coat", "girls', x", '5" Bob, x', 'Dwayne "The Rock", Jr']
    assert names_in(list_of(names)) == names
    boxes = from_boxes.written('"Lee, Jo": 5 5 20 20\nAnna, in red: 5 5 20 20')
    assert [box.name for box in boxes] == ["Lee, Jo", "Anna"]


def test_an_apostrophe_on_both_sides_of_a_colon_hides_none() -> None:
    for words in ("in the girls' room", "in the girls' room: big"):
        assert per_person(f"\u2018Ali: {words}", ["\u2018Ali"], "a list") == [words]


def test_people_of_one_name_are_told_apart_by_their_numbers() -> None:
    names = ["Anna", "Ben", "2", "Ben"]
    for text, why in (("Cleo", "'Cleo' is neither a number nor a name"), ("Anna, Ben", "2 people are called Ben")):
        with pytest.raises(BadOrder, match=why):
            in_custom_order(text, 2, names)
    assert in_custom_order("1, 4", 2, names) == [0, 3]


def test_tokens_are_heard_where_their_owner_is() -> None:
    regions = torch.zeros(2, 4, 8)
    regions[0, :, :4] = 1
    regions[1, :, 4:] = 2
    bias = region_bias([regions[:1], regions[1:]], torch.tensor([OWNED_BY_ALL, 0, 1, 1, OWNED_BY_NOBODY]), (2, 4))
    left = [0.0, 0.0, EXCLUDED, EXCLUDED, EXCLUDED]
    right = [0.0, EXCLUDED, *[torch.tensor(2.0).log().item()] * 2, EXCLUDED]
    assert torch.allclose(bias, torch.tensor([left, left, right, right] * 2))
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        shares = torch.tensor([[3.0, EXCLUDED + 3.0], [EXCLUDED, EXCLUDED]]).to(dtype).softmax(1)
        assert shares[0].tolist() == [1.0, 0.0]
        assert shares[1].isfinite().all()


def test_a_run_makes_a_hundred_scenes_and_not_one_more() -> None:
    scenes = [f"at the beach, {number}" for number in range(1, 101)]
    assert per_scene("\n".join(scenes), "") == scenes
    with pytest.raises(BadSetup, match="The text has 101 scenes; from 1 to 100 can be made"):
        per_scene("\n".join([*scenes, "in the kitchen"]), "")
    with pytest.raises(BadSetup, match="The text has no scene"):
        per_scene("\n \n,\n", "")


@pytest.mark.parametrize(
    "read",
    [
        lambda: per_scene("a\n" * 1_000_000, ""),
        lambda: per_scene("a" * 20_000_000, ""),
        lambda: per_scene("a\nb", "a" * 20_000_000),
        lambda: per_person("1: a\n" * 1_000_000, ["Anna"], "the prompts"),
        lambda: per_person("a" * 20_000_000, [], "looks"),
    ],
)
def test_a_text_without_end_is_refused_before_it_is_read(read: Callable[[], object]) -> None:
    began = time.process_time()
    with pytest.raises(LikenessError, match=r"is the most|can be made"):
        read()
    assert time.process_time() - began < 2
