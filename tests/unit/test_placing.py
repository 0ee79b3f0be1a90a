"""Who stands where, and what the report says about it."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from pack.core.cast import Absent, Cast, Faces, Layout, Lora, Member, Person, Slot
from pack.core.checks.errors import BadCast
from pack.core.places import bodies, group, layouts, people_text, placing
from pack.core.places.arranging import Arranged
from pack.core.places.placing import BadOrder, CannotMatch
from tiny import people_made

NAMES = ("Ann", "Bob", "Cid", "Dee")


def cast(count: int, absent: int = 0, **embeddings: torch.Tensor) -> Cast:
    """absent: the number of somebody who was left out, as Cast makes it. embeddings: recogniser -> (count, 512)."""
    people: list[Member] = []
    for n, name in enumerate(NAMES[:count]):
        rows = {recogniser: of_all[n][None] for recogniser, of_all in embeddings.items()}
        people.append(Member(Person(name, rows, torch.zeros(1, 112, 112, 3))))
    if not absent:
        return Cast(tuple(people))
    left_out = people.pop(absent - 1)
    return Cast(tuple(people), absent=(Absent(absent, left_out.person.name),))


def layout(*centers: tuple[float, float], head: float = 200.0) -> Layout:
    return Layout(1024, 768, tuple(Slot(center, bodies.face_box(center, head)) for center in centers))


def troubles_of(people: Cast, places: Layout, where: placing.PeopleOfPlaces, *order: str) -> list[str]:
    return placing.troubles(people, Arranged.untouched(places), where, *order)


def placed(people: Cast, places: Layout, order: str, custom: str = "") -> dict[str, int]:
    """Where everybody stands, in the order they were listed."""
    placed_cast = placing.place(people, places, placing.assign(people, places, order, custom))
    assert (placed_cast.width, placed_cast.height) == (1024, 768)
    assert [member.slot for member in placed_cast.people] == [
        places.slots[member.place - 1] for member in placed_cast.people
    ]
    return {member.person.name: member.place for member in placed_cast.people}


SPREAD = ((600.0, 300.0), (100.0, 300.0), (900.0, 200.0))
ALL_PLACES = {"left to right": {"Ann": 2, "Bob": 1, "Cid": 3}, "as listed": {"Ann": 1, "Bob": 2, "Cid": 3}}


def without_a_face() -> list[tuple[str, str, int, int, int, dict[str, int]]]:
    """Somebody without a face leaves a place free, and everybody keeps their number."""
    cases = []
    for order, places in ALL_PLACES.items():
        for number, absent in enumerate(("Ann", "Bob", "Cid"), 1):
            expected = {name: place for name, place in places.items() if name != absent}
            cases.append((order, "", 3, number, 3, expected))
    return cases


@pytest.mark.parametrize(
    ("order", "custom", "people", "absent", "free", "expected"),
    [
        *((order, "", 3, 0, 3, places) for order, places in ALL_PLACES.items()),
        ("custom", "0,3,0", 3, 0, 3, {"Cid": 2}),
        ("custom", "1,0,2", 2, 0, 3, {"Ann": 1, "Bob": 3}),
        *(("custom", text, 3, 0, 3, {"Ann": 3, "Bob": 1, "Cid": 2})
          for text in ("2,3,1", " 2, 3 ,1 ", "2 3 1", "2;3;1", "2\uff0c3\uff0c1", "2\u060c\n\u0663\u061b 1")),
        *without_a_face(),
        ("custom", "Cid, ann; Bob", 3, 0, 3, {"Cid": 1, "Ann": 2, "Bob": 3}),
        ("custom", "Bob 0 1", 3, 0, 3, {"Bob": 1, "Ann": 3}),
        ("custom", "3,2,1", 3, 2, 3, {"Ann": 3, "Cid": 1}),
        ("custom", "3,0", 3, 2, 2, {"Cid": 1}),
        ("largest faces", "", 3, 1, 3, {"Bob": 1, "Cid": 2}),
        ("last places", "", 2, 1, 3, {"Bob": 3}),
        # In a layout for those who are there none is free.
        ("left to right", "", 3, 2, 2, {"Ann": 2, "Cid": 1}),
        ("as listed", "", 3, 2, 2, {"Ann": 1, "Cid": 2}),
    ],
)  # fmt: skip
def test_everybody_knows_their_place(order: str, custom: str, people: int, absent: int, free: int, expected) -> None:
    placed_at = placed(cast(people, absent), layout(*SPREAD[:free]), order, custom)
    assert placed_at == expected
    assert [*placed_at] == sorted(expected), "in the order they were listed"


def test_the_largest_faces_are_taken_and_the_others_stay() -> None:
    slots = [layout(center, head=head).slots[0] for center, head in zip(SPREAD, (150, 90, 240), strict=True)]
    places = Layout(1024, 768, tuple(slots))
    assert placed(cast(2), places, "largest faces") == {"Ann": 3, "Bob": 1}
    assert "Place 2" not in "".join(troubles_of(cast(2), places, (1, None, 0), "largest faces"))


@pytest.mark.parametrize("order", [order for order in placing.ORDERS if order != "custom"])
def test_a_custom_order_that_another_order_leaves_unread_is_named(order: str) -> None:
    where = (1, 0)
    not_read = "Custom order (custom_order) 2,1 is not read: set Who is where (order) to custom"
    assert troubles_of(cast(2), layout(*SPREAD[:2]), where, order, " 2,1 ")[0] == not_read
    for nothing_unread in (("custom", "2,1"), (order, ""), (order, " ")):
        lines = troubles_of(cast(2), layout(*SPREAD[:2]), where, *nothing_unread)
        assert "not read" not in "".join(lines)


def test_people_elsewhere_than_the_prompts_of_a_group_say_are_named() -> None:
    described = people_text.read("2: girl 6, man", 3)
    places = group.layout(3, "half", 0, 1216, 832, people=described)
    assert places.described == (2, 3)
    line = (
        "Ages, actions, expressions and prompts stay with their places: Ann (1) in place 2, Bob (2) in place 3: as "
        "listed makes them fit the people's numbers"
    )
    assert troubles_of(cast(3), places, (2, 0, 1), "custom")[-1] == line
    # In a layout for those who are there the second place is the third person's.
    for people, where in ((cast(3), (0, 1, 2)), (cast(4, absent=2), (0, 1, 2))):
        assert "prompts" not in "".join(troubles_of(people, places, where, "as listed"))


def test_whoever_is_absent_keeps_the_number() -> None:
    """In each line that numbers people, and in the order that a message proposes."""
    people = cast(4, 1)
    places = replace(layout(*SPREAD), described=(2, 3))
    lines = troubles_of(people, places, (None, 0, 1), "custom")
    assert lines[0] == "Left out, no face in the photos: Ann (person 1)"
    assert "Left out, without a place: Dee (person 4)" in lines
    assert "stay with their places: Bob (2) in place 2, Cid (3) in place 3:" in lines[-1]
    with pytest.raises(BadCast, match=r"3 people \(left out: Ann\) .* has 5 places.*: 2,3,4,0,0\.$"):
        placing.assign(people, layout(*SPREAD, *SPREAD[:2]), "as listed", "")
    with pytest.raises(CannotMatch, match=r"Bob, Cid, Dee have no photo"):
        placing.assign(people, template(THREE), "match faces", "")


def test_a_place_without_a_person_says_what_stays_there() -> None:
    """A layout of faces in a photo has no skeletons: the faces without a person stay as they are."""
    slots = [replace(slot, pose=None) for slot in layout(*SPREAD).slots]
    places = Layout(1024, 768, tuple(slots))
    troubles = troubles_of(cast(1), places, (None, 0, None), "custom")
    assert troubles[-1] == "Places 1, 3 stay empty: in a photo, the faces there stay as they are."
    troubles = troubles_of(cast(2), places, (0, 1, None), "custom")
    assert troubles[-1] == "Place 3 stays empty: in a photo, the face there stays as it is."


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1,2,4", "no person 4"),
        ("1,2,2", "person 2 .*2 places"),
        ("1,2,99999", "no person 99999"),
        ("1,2,Cleo", "'Cleo' is neither a number nor a name of the cast"),
    ],
)
@pytest.mark.parametrize("absent", [0, 2])
def test_bad_custom_orders_say_why(text: str, why: str, absent: int) -> None:
    with pytest.raises(BadOrder, match=rf"Custom order \(custom_order\) is '{text}', .*: .*{why}\. .*\(3\), .*3,2,1:"):
        placing.assign(cast(3, absent), layout(*SPREAD), "custom", text)


@pytest.mark.parametrize(("text", "example"), [("2", "0,1,0"), (" 3 ", "0,0,1"), ("0", "1,0,0"), ("4", "1,0,0")])
def test_a_single_number_for_one_person_means_the_place_of_this_number(text: str, example: str) -> None:
    with pytest.raises(BadOrder, match=rf"Write one number per place \(3\), e\.g\. {example}:"):
        placing.assign(cast(1), layout(*SPREAD), "custom", text)


def unit_rows(*rows: Sequence[float]) -> torch.Tensor:
    """Rows with the given first numbers, padded to 512, of length one."""
    padded = torch.zeros(len(rows), 512)
    for n, row in enumerate(rows):
        padded[n, : len(row)] = torch.tensor(row)
    return torch.nn.functional.normalize(padded, dim=-1)


def template(rows: torch.Tensor, recogniser: str = "w600k_mbf") -> Layout:
    faces = tuple(people_made.face(200.0 * n + 150, 300, 120, **{recogniser: row}) for n, row in enumerate(rows))
    return layouts.from_faces(Faces(faces, 1024, 768), 1024, 768, "crop", "none")


TWO = unit_rows((1.0,), (0.0, 1.0))
THREE = torch.randn(3, 512, generator=torch.Generator().manual_seed(5))
# Ann is a little closer to place 1 than Bob is, but Bob has nothing else: the best pairs in total win.
CLOSE = unit_rows((0.8, 0.6, 0.0), (0.75, -0.3, 0.59))
BOTH = {"w600k_mbf": TWO.flip(0), "antelopev2": TWO}
AGAINST = unit_rows((0.5, -0.5, 0.707), (-0.5, 0.5, 0.0, 0.707))
CROSSED = unit_rows((0.0, 0.6, 0.8), (0.6, 0.0, 0.0, 0.8))


def seen_by_two(mbf: torch.Tensor, antelope: torch.Tensor) -> Layout:
    """The faces of a photo by two recognisers."""
    slots: list[Slot] = []
    others = template(antelope, "antelopev2").slots
    for slot, other in zip(template(mbf).slots, others, strict=True):
        slots.append(replace(slot, embeddings={**slot.embeddings, **other.embeddings}))
    return Layout(1024, 768, tuple(slots))


@pytest.mark.parametrize(
    ("people", "places", "expected"),
    [
        (cast(3, 2, w600k_mbf=THREE), template(THREE[[2, 1, 0]]), (1, None, 0)),
        (Cast((), absent=(Absent(1, "Ann"), Absent(2, "Bob"))), template(TWO), (None, None)),
        (cast(2, w600k_mbf=CLOSE), template(unit_rows((1.0, 0.0, 0.0), (0.5, 0.86, 0.0))), (1, 0)),
        (cast(2, **BOTH), template(TWO), (1, 0)),
        (cast(2, **BOTH), template(TWO, "antelopev2"), (0, 1)),
        # One recogniser alone, and the surest of both, have them the other way round.
        (cast(2, w600k_mbf=TWO, antelopev2=TWO), seen_by_two(AGAINST, CROSSED), (0, 1)),
        (cast(2, w600k_mbf=TWO, antelopev2=TWO), seen_by_two(CROSSED, AGAINST), (0, 1)),
    ],
    ids=[
        "one like nobody stays free",
        "nobody is left",
        "the largest sum",
        "what everybody has",
        "another recogniser",
        "the first of two against",
        "the second of two against",
    ],
)
def test_people_are_matched_with_the_faces_of_a_photo(people: Cast, places: Layout, expected) -> None:
    assert placing.assign(people, places, "match faces", "") == expected


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (group.layout(2, "half", 0, 1024, 768), r"no face .*places 1, 2\. "),
        (template(TWO, "antelopev2"), r"Ann has w600k_mbf; .*layout have antelopev2, nothing"),
    ],
)
def test_what_cannot_be_matched_is_explained(places, message) -> None:
    with pytest.raises(CannotMatch, match=message):
        placing.assign(cast(2, w600k_mbf=TWO), places, "match faces", "")


def test_who_has_no_photo_is_named_where_faces_are_matched() -> None:
    """By a LoRA alone. The others alone can be matched, and by another order everybody has a place."""
    ann, bob = cast(2, w600k_mbf=TWO).people
    places = template(TWO)
    lora = replace(bob.person, embeddings={}, crops=torch.zeros(1, 112, 112, 3), loras=(Lora("a file", 1.0, ""),))
    people = Cast((ann, replace(bob, person=lora)))
    message = (
        r"matched .*: Bob has no photo with a face to compare\. Add one \(Person, .*\), or choose another "
        r"Who is where \(order\)\.$"
    )
    with pytest.raises(CannotMatch, match=message):
        placing.assign(people, places, "match faces", "")
    assert placing.assign(people, places, "as listed", "") == (0, 1)
    with pytest.raises(CannotMatch, match="Ann, Bob have no photo"):
        placing.assign(cast(2), places, "match faces", "")
    of_two_recognisers = Cast((ann, replace(bob, person=replace(bob.person, embeddings={"antelopev2": TWO[:1]}))))
    with pytest.raises(CannotMatch, match=r"Ann has w600k_mbf; Bob has antelopev2; .*layout have w600k_mbf, nothing"):
        placing.assign(of_two_recognisers, places, "match faces", "")


def report(people: Cast, places: Layout) -> list[str]:
    assigned = placing.assign(people, places, "as listed", "")
    troubles = troubles_of(people, places, assigned, "as listed")
    return placing.report(people, places, assigned, troubles).splitlines()


CLOSE = "Noses too close, faces may mix: Ann and Bob by 14x54 px; move them 64 px apart"
OFF = "Nose off the canvas: Ann at (-20, 300); it has 1024x768 px"
SMALL = "Faces small: Ann 83, Bob 83 px; 96 needed: larger canvas or closer framing"


@pytest.mark.parametrize(
    ("places", "head", "line"),
    [
        (((300, 300), (700, 310)), 200.0, "No problems found."), (((300, 300), (350, 310)), 200.0, CLOSE),
        (((-20, 300), (10, 310)), 200.0, OFF), (((300, 300), (700, 310)), 100.0, SMALL),
    ],
    ids=["good", "close", "off", "small"],
)  # fmt: skip
def test_report_says_who_stands_where_and_what_may_go_wrong(places, head: float, line: str) -> None:
    (ann_x, ann_y), (bob_x, bob_y) = places
    """Beside Cid, of whom nothing is to be said."""
    size = round(0.83 * head)
    around = layout(*places, head=head)
    group_of_three = replace(around, slots=(*around.slots, *layout((880, 560)).slots))
    place_of_ann = f"Place 1: Ann at ({ann_x}, {ann_y})"
    place_of_bob = f"Place 2: Bob at ({bob_x}, {bob_y})"
    lines = report(cast(3), group_of_three)
    place_of_cid = "Place 3: Cid at (880, 560), face 166 px"
    assert lines == [f"{place_of_ann}, face {size} px", f"{place_of_bob}, face {size} px", place_of_cid, line]
    bare = Layout(1024, 768, tuple(Slot(center) for center in places))
    assert report(cast(2), bare)[0] == place_of_ann, "points have no size"
    ann, bob, cid = cast(3).people
    for left_out, pair in (("Ann", (replace(ann, weight=0.0), bob)), ("Bob", (ann, replace(bob, weight=0.0)))):
        troubles = report(Cast((*pair, cid)), group_of_three)[3:]
        assert [line for line in troubles if left_out in line] == [f"Weight 0, as if absent: {left_out}"]
        assert not any("too close" in trouble for trouble in troubles)


def test_who_is_left_out_is_named_by_the_number_too() -> None:
    people = replace(cast(1), absent=(Absent(2, "person"), Absent(3, "Cleo")))
    troubles = troubles_of(people, layout(*SPREAD[:1]), (0,), "as listed")
    assert troubles[0] == "Left out, no face in the photos: person 2, Cleo (person 3)"
    named_by_number = replace(people, absent=(Absent(2, "person 2"), Absent(3, "person 2", "weight 0")))
    troubles = troubles_of(named_by_number, layout(*SPREAD[:1]), (0,), "as listed")
    assert troubles[:2] == ["Left out, no face in the photos: person 2", "Left out, weight 0: person 2 (person 3)"]
