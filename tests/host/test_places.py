"""The Places nodes in the real host: what they are given and show, and what is told on them."""

from dataclasses import replace
from typing import Any

import peers
import pytest
import torch
from comfy_api.latest import io
from graph_run import OURS
from pack.bridge.host.schedule import ScheduleRange
from pack.bridge.sampling.carried import KEY
from pack.core import taking_part
from pack.core.cast import (
    NO_FACE,
    NO_PLACE,
    NO_WEIGHT,
    Absent,
    Cast,
    Layout,
    Look,
    LookPicture,
    Member,
    NotPlaced,
    Person,
    PlacedCast,
    Slot,
)
from pack.core.checks.errors import BadCast
from pack.core.checks.prompts import prompts_of_members
from pack.core.persons import combining
from pack.core.persons.looks import worn
from pack.core.places import extra_places
from pack.core.places.region_settings import RegionSettings
from pack.core.second_pass import cutting
from pack.nodes import casts, looks, places
from pack.nodes.control_images import DrawSkeletons
from pack.nodes.faces import DetectFaces
from pack.nodes.references.ranges import ranges_of_people
from tiny import people_made


def group(count: int = 3, **changed: Any) -> Any:
    options = {"framing": "half", "rows": 0, "width": 512, "height": 512, **changed}
    return places.LayoutForAGroup.execute(count, **options)


def cast(count: int) -> Cast:
    return Cast(tuple(Member(people_made.a_person(n)) for n in range(1, count + 1)))


def test_a_group_has_as_many_places_as_the_cast_has_people() -> None:
    absent = Cast(cast(4).people, absent=(Absent(2, "Nobody"),))
    assert group(9, cast=absent).args[0] == group(4).args[0] != group(9).args[0]


def test_without_a_cast_each_place_has_a_person_without_a_photo_for_words_alone() -> None:
    placed = places.PlaceCast.execute(group(3).args[0], "custom", "2,0,1").args[0]
    # Person 3 is not named in the order, and so is left out.
    assert [(member.name, member.place) for member in placed.people] == [("person 1", 3), ("person 2", 1)]
    with pytest.raises(BadCast, match=r"person 1 has no photo.*Prompt per Person"):
        combining.combine(placed.people[0].person, "antelopev2", "mean", "Apply InstantID")


def test_what_is_set_for_regions_goes_wherever_the_cast_goes() -> None:
    chosen = {"extent": "face", "region_margin": 0.4, "feather": 7, "acts_in": "face boxes"}
    placed = places.PlaceCast.execute(group(2).args[0], "left to right", "", cast(2), **chosen).args[0]
    with_another = casts.CastNode.execute(cast=placed, person_1=people_made.a_person(3), weight_1=1.0).args[0]
    with_one_absent = taking_part.present(taking_part.with_photos(with_another).weighted)
    rows = cutting.cast_by_row([], placed, 64)
    placed_again = places.PlaceCast.execute(group(2).args[0], "left to right", "", placed).args[0]
    for each in (placed, with_another, with_one_absent, rows):
        assert each.region_settings == RegionSettings(**chosen)
    assert placed_again.region_settings == RegionSettings()


def from_masks(**changed: Any) -> Any:
    """A layout and its preview: two people, each with a mask, with room on both sides, and places that are added."""
    masks = torch.zeros(2, 512, 512)
    masks[0, 250:, 150:230] = 1
    masks[1, 250:, 282:362] = 1
    return places.LayoutFromPicture.execute(None, 512, 512, "crop", "half", masks=masks, **changed).args


@pytest.mark.parametrize("side", extra_places.SIDES)
def test_added_places_are_the_last_and_the_others_stay(side: str) -> None:
    nose, size = (255.0, 60.0), 40
    options = {"more_where": side, "more_x": 255, "more_y": 60, "more_face_size": size, "more_body": "bust"}
    plain = from_masks()[0]
    unchanged = from_masks(more_places=0, **options)[0]
    extended = from_masks(more_places=1, **options)[0]
    expected = extra_places.add(plain, side, nose, size, "bust", 1)
    assert len(unchanged.slots) == 2
    assert [slot.center for slot in unchanged.slots] == [slot.center for slot in plain.slots]
    assert len(extended.slots) == 3
    assert extended.slots[-1] == expected.slots[-1]
    if side == "at x, y":
        assert extended.slots[-1].center == pytest.approx(nose, abs=0.5)


def test_several_places_are_added_for_several_people() -> None:
    added = from_masks(more_places=2, more_face_size=30)[0]
    assert len(added.slots) == 4


def test_a_photo_is_seen_in_the_preview_and_changes_nothing_else() -> None:
    layout = group(2).args[0]
    photo = torch.full((1, 64, 64, 4), 0.5)
    without_photo, with_photo = (from_masks(more_places=1, image=image) for image in (None, photo))
    assert without_photo[0].slots[-1] == with_photo[0].slots[-1]
    placed = places.PlaceCast.execute(layout, "custom", "1,0", cast(1)).args[0]
    alone = places.PlaceCast.execute(layout, "custom", "1,0", cast(1), arrange='{"2": {"out": true}}').args[0]
    with_free_place, without = (
        places.MaskOfAPersonsPlace.execute(people, 1, "body", 2.0, 16).args[0] for people in (placed, alone)
    )
    assert with_free_place.sum() < without.sum(), "whoever stays in a free place is left out"
    mask, mask_preview = places.MaskOfAPersonsPlace.execute(placed, 1, "face", 0.5, 16).args
    of_photo = places.MaskOfAPersonsPlace.execute(placed, 1, "face", 0.5, 16, image=photo)
    mask_with_photo, preview_with_photo = of_photo.args
    assert torch.equal(mask, mask_with_photo)
    previews = (without_photo[1], with_photo[1], mask_preview, preview_with_photo)
    corners = [float(preview[0, -1, -1, 0]) for preview in previews]
    # Grey of 0.5, half transparent, on white.
    assert corners == pytest.approx([0.08, 0.75, 0.08, 0.75], abs=0.01)


LISTED = ("Anna", "Ben", "Carla")
LEFT_OUT = {
    "by the order": (NO_PLACE, "1,0,3"),
    "without a face": (NO_FACE, "0,3,1"),
    "with weight 0": (NO_WEIGHT, "3,0,1"),
}
"""Ways to be left out, with a custom order in which Ben has no place."""


def without_ben(way: str) -> PlacedCast:
    why, order = LEFT_OUT[way]
    people = cast(3)
    named: list[Member] = []
    for member, name in zip(people.people, LISTED, strict=True):
        named.append(replace(member, person=replace(member.person, name=name)))
    if why == NO_FACE:
        given = Cast((named[0], named[2]), absent=(Absent(2, "Ben"),))
    elif why == NO_WEIGHT:
        given = taking_part.present(Cast((named[0], replace(named[1], weight=0.0), named[2])))
    else:
        given = Cast(tuple(named))
    return places.PlaceCast.execute(group(3).args[0], "custom", order, given).args[0]


def of_order(people: PlacedCast, number: int) -> list[str]:
    again = places.PlaceCast.execute(people.occupied, "custom", f"{number},0", people)
    return [member.name for member in again.args[0].people]


def of_hand(people: PlacedCast, number: int) -> list[str]:
    arrange = f'{{"who": {{"1": {number}, "2": 0}}}}'
    again = places.PlaceCast.execute(people.occupied, "as listed", "", people, arrange=arrange)
    return [member.name for member in again.args[0].people]


def standing_in(region: torch.Tensor, people: PlacedCast) -> list[str]:
    """Whose nose is in it."""
    noses = {member.name: map(int, member.slot.center) for member in people.people if member.slot}
    return [name for name, (x, y) in noses.items() if region[y, x]]


def of_mask(people: PlacedCast, number: int) -> list[str]:
    try:
        region = places.MaskOfAPersonsPlace.execute(people, number, "face", 0.0, 0).args[0][0]
    except BadCast as left_out:
        assert "Person 2 of the cast, Ben, is left out: " in left_out.problem
        return []
    return standing_in(region, people)


def of_prompts(people: PlacedCast, number: int) -> list[str]:
    positive = peers.apply("LikenessPromptPerPerson", cast=people, prompts=f"{number}: up")[1]
    carried = positive[0][1].get("model_conds", {}).get(KEY)
    return [] if carried is None else standing_in(carried.cond[0].regions[0], people)


def of_text(people: PlacedCast, text: str) -> list[str]:
    prompts = prompts_of_members(text, people).prompts
    return [member.name for member, prompt in zip(people.people, prompts, strict=True) if prompt]


def of_lines(people: PlacedCast, number: int) -> list[str]:
    return of_text(people, f"{number}: up")


def of_ranges(people: PlacedCast, number: int) -> list[str]:
    some, whole = ScheduleRange(0.2, 0.4), ScheduleRange()
    ranges = ranges_of_people(f"{number}: 0.2 - 0.4", taking_part.present_in(people), whole)
    return [member.name for member, schedule in zip(people.people, ranges, strict=True) if schedule == some]


def of_who(people: PlacedCast, number: int) -> list[str]:
    picture = torch.rand(1, people.height, people.width, 3)
    try:
        dressed = looks.LookFromPicture.execute(people, str(number), "coat", picture, looks.CLOTHES[0], False).args[0]
    except BadCast as left_out:
        assert "Ben (person 2) is left out of the cast" in left_out.problem
        return []
    return [member.name for member in dressed.people if member.person.looks]


def of_looks(people: PlacedCast, number: int) -> list[str]:
    """Of people with a coat and a hat, who wears the coat."""
    pictures = [Look(name, (LookPicture(name, torch.ones(8, 8, 3).byte()),)) for name in ("coat", "hat")]
    dressed: list[Member] = []
    for member in people.people:
        dressed.append(replace(member, person=replace(member.person, looks=tuple(pictures))))
    taking = taking_part.present_in(replace(people, people=tuple(dressed)))
    worn_by = worn(f"{number}: coat", taking, "a test").people_of_parts
    return [taking.people[person].name for part, person in worn_by.items() if part.label == "coat"]


def of_group(people: PlacedCast, number: int) -> list[str]:
    """Whoever has the place of a child, and the words about one: both are the same person's."""
    layout, _, prompts = group(cast=people, people=f"{number}: girl 6").args
    (child,) = layout.described or (0,)
    placed = places.PlaceCast.execute(layout, "as listed", "", people).args[0]
    names = [member.name for member in placed.people if member.place == child]
    assert of_text(placed, prompts) == names
    return names


COUNTS_PEOPLE: dict[tuple[str, str], Any] = {
    ("LikenessPlaceCast", "custom_order"): of_order,
    ("LikenessPlaceCast", "arrange"): of_hand,
    ("LikenessMaskOfAPersonsPlace", "person"): of_mask,
    ("LikenessPromptPerPerson", "prompts"): of_prompts,
    ("LikenessFindPlaces", "prompts"): of_lines,
    ("LikenessPeopleAsReferences", "reference_ranges"): of_ranges,
    ("LikenessLayoutForAGroup", "people"): of_group,
    ("LikenessLookFromPicture", "who"): of_who,
    **{
        (f"Likeness{node}", "looks"): of_looks
        for node in ("EncodeParts", "SharePartsAttention", "PeopleAsReferences", "MeasureLikeness")
    },
}
"""By node and input, where people are meant by their numbers: who is meant by one."""
NO_NUMBERS = {"name", "names", "text", "trigger", "prompt", "negative_prompt", "drawn"}
"""Texts of nodes with a cast that have no numbers of people."""


@pytest.mark.parametrize("way", LEFT_OUT)
@pytest.mark.parametrize("counted", COUNTS_PEOPLE, ids=" ".join)
def test_a_number_means_the_same_person_whoever_is_left_out(counted: tuple[str, str], way: str) -> None:
    people = without_ben(way)
    for number, name in enumerate(LISTED, 1):
        assert COUNTS_PEOPLE[counted](people, number) == ([] if name == "Ben" else [name])


def test_every_input_that_may_count_people_is_tried() -> None:
    texts = {
        (kind, given.id)
        for kind, node in OURS.items()
        for given in node.define_schema().inputs
        if isinstance(given, io.String.Input) and "cast" in {other.id for other in node.define_schema().inputs}
    }
    assert {text for text in texts if text[1] not in NO_NUMBERS} == COUNTS_PEOPLE.keys() - {
        ("LikenessMaskOfAPersonsPlace", "person")
    }


RED, GREEN, BLUE = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
NOBODY = (20 / 255, 22 / 255, 26 / 255)
"""The background of every preview."""


def painted(name: str, *colours: tuple[float, float, float]) -> Member:
    """Somebody whose photos are each of one colour."""
    photos = torch.stack([torch.tensor(colour).expand(112, 112, 3) for colour in colours])
    return Member(Person(name, {"arcface-ir-se50": torch.ones(len(photos), 512)}, photos))


def wide_slot(left: float) -> Slot:
    """A place with a face box of 200x200 px, whose centre lies far from the middle of the box."""
    return Slot((left + 100, 500.0), (left, 150.0, left + 200, 350.0))


FOUR_PLACES = Layout(1200, 600, tuple(wide_slot(left) for left in (50.0, 350.0, 650.0, 950.0)))
THREE_PEOPLE = Cast((painted("Anna", RED), painted("Ben", GREEN, RED), painted("Carla", BLUE, RED)))


@pytest.mark.parametrize("body", ["none", "half"])
def test_without_a_picture_one_person_stands_in_the_middle(body: str) -> None:
    """Somebody who is kept is drawn without a photo."""
    faces = DetectFaces.execute(None, None, "largest", 0, 1).args[0]
    (slot,) = places.LayoutFromPicture.execute(faces, 832, 1216, "pad", body).args[0].slots
    assert slot.keypoints is not None and slot.box is not None
    assert slot.center[0] == pytest.approx(416, abs=1) and 0 < slot.center[1] < 608
    assert (slot.pose is None) == (body == "none")


@pytest.mark.parametrize("draw", ["skeletons", "face keypoints", "body surface"])
def test_free_places_are_drawn_where_others_stay_in_the_photo(draw: str) -> None:
    """In the picture alone: nobody of the cast gets a mask for them."""
    moved = '{"1": {"move": [0.5, 0]}}'
    layout = group(3).args[0]
    placed = places.PlaceCast.execute(layout, "last places", "", cast(1), arrange=moved).args[0]
    _, masks_of_all = DrawSkeletons.execute(layout, draw).args
    picture, masks = DrawSkeletons.execute(placed, draw, free_places=True).args
    arranged = places.PlaceCast.execute(layout, "as listed", "", arrange=moved).args[0]
    assert torch.equal(picture, DrawSkeletons.execute(arranged, draw).args[0])
    assert masks.shape[0] == 1 and torch.equal(masks[0], masks_of_all[2])
    assert not torch.equal(picture, DrawSkeletons.execute(placed, draw).args[0])


def test_a_second_cast_has_the_places_of_the_first_as_they_were_arranged() -> None:
    first = places.PlaceCast.execute(group(2).args[0], "as listed", "", cast(2), arrange='{"2": {"scale": 1.5}}')
    second = places.PlaceCast.execute(first.args[0], "custom", "0,1", cast(1)).args[0]
    assert [member.slot for member in second.people] == [first.args[0].people[1].slot]
    unplaced = cast(2)
    with pytest.raises(NotPlaced, match="Place Cast needs a position for each person"):
        places.PlaceCast.execute(unplaced, "as listed", "", cast(1))


@pytest.mark.both_hosts
@pytest.mark.parametrize(
    ("order", "custom_order", "faces"),
    [
        ("custom", "2,0,3,1", (GREEN, NOBODY, BLUE, RED)),
        ("custom", "3,1,0,2", (BLUE, RED, NOBODY, GREEN)),
        ("last places", "", (NOBODY, RED, GREEN, BLUE)),
    ],
)
def test_everybody_is_seen_in_their_own_place(order: str, custom_order: str, faces: tuple[Any, ...]) -> None:
    """By their first photo; an empty place shows the background."""
    node = places.PlaceCast.execute(FOUR_PLACES, order, custom_order, THREE_PEOPLE)
    preview = node.args[1][0]
    # Two points of each face box, in its right half, where neither a label nor a line is drawn.
    for row in (250, 320):
        colours = [preview[row, int(slot.box[0]) + 150] for slot in FOUR_PLACES.slots if slot.box]
        for colour, expected in zip(colours, faces, strict=True):
            assert colour.tolist() == pytest.approx(expected, abs=0.004)


OKABE_ITO = ((86, 180, 233), (230, 159, 0), (0, 190, 130), (240, 228, 66))
"""The colours of the first four places."""


@pytest.mark.both_hosts
def test_every_place_has_the_name_of_who_stands_there() -> None:
    """The plate of a long name is wider than that of a short one; an empty place has a plate for its number alone."""
    names = ("Al", "Maximiliane", "Theodor")
    cast = Cast(tuple(painted(name, RED) for name in names))
    node = places.PlaceCast.execute(FOUR_PLACES, "custom", "2,0,3,1", cast)
    preview = (node.args[1][0] * 255).round()
    wide = []
    for slot, colour in zip(FOUR_PLACES.slots, OKABE_ITO, strict=True):
        assert slot.box is not None
        above = preview[int(slot.box[1]) - 5]  # a row of pixels through the plate, just above the face box
        wide.append(int((above == torch.tensor(colour)).all(-1).sum()))
    maximiliane, nobody, theodor, al = wide
    assert nobody < al < theodor < maximiliane
