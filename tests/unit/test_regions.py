"""Regions from boxes, masks and skeletons, and those nobody can use."""

from dataclasses import replace

import pytest
import torch
from pack.core.cast import Cast, Layout, Lora, Member, Outline, PlacedCast, Slot
from pack.core.checks.errors import BadCast
from pack.core.places import bodies, face_regions, group, regions, shapes
from pack.core.places.region_settings import FACE_BOXES, REGIONS, RegionSettings
from pack.core.places.regions import BadRegion, RegionShape
from pack.core.taking_part import present_in, with_photos
from tiny import people_made
from tiny.people_made import painted


def cast(*slots, width=96, height=64):
    people = tuple(Member(people_made.a_person(n), 1.0, slot) for n, slot in enumerate(slots, 1))
    return PlacedCast(people, width, height)


def box(x0, y0, x1, y1):
    return Slot(((x0 + x1) / 2, (y0 + y1) / 2), (x0, y0, x1, y1))


def of_faces(*slots, margin=0.5, feather=8.0):
    return around_faces(cast(*slots), None, RegionShape("face", margin, feather))


def around_faces(placed_cast, masks, shape, acts_in=REGIONS):
    return face_regions.regions_of_faces(with_photos(placed_cast), masks, shape, "node", acts_in)


def in_face_boxes(placed_cast, areas=None):
    return face_regions.regions_in_face_boxes(with_photos(placed_cast), areas, "node")


def from_masks(masks, placed_cast, taking_part=present_in):
    return regions.regions_of_bodies(taking_part(placed_cast), masks, RegionShape("body", 0))


def test_a_box_is_widened_by_its_own_width_and_height():
    assert shapes.widened((10, 20, 30, 80), 0.5) == (0, -10, 40, 110)


RIGHT = painted((48, 0, 96, 64))


def test_a_box_is_widened_with_a_soft_edge_unless_the_place_has_a_mask():
    (mask,) = painted((10, 10, 20, 20))
    region, painted_region = of_faces(box(32, 16, 48, 32), Slot((15.0, 15.0), (0, 0, 90, 60), mask=mask), feather=4)
    assert region[16, 32] == 1, "half a face further on every side"
    assert region[8, 24] == 1, "half a face further on every side"
    assert region[16, 23] == pytest.approx(1 - 0.5 / 4)
    assert region[16, 19] == 0
    assert torch.equal(painted_region, mask)


def test_what_two_regions_reach_belongs_to_the_nearer_face():
    """Neighbours as near as in a group. Halfway between them is a border as soft as every edge."""
    left, right = of_faces(box(20, 10, 40, 30), box(52, 20, 72, 40), margin=0.75, feather=4)
    assert left[20:40, 52:72].max() == 0 and right[10:30, 20:40].max() == 0
    assert left[10:30, 20:40].min() == right[20:40, 52:72].min() == 1
    assert left[25, 43:49].tolist() == pytest.approx([1, 1, 1, 0.75, 0.25, 0])
    assert right[25, 43:49].tolist() == pytest.approx([0, 0.25, 0.75, 1, 1, 1])
    assert left[15, 54] == 0 and right[15, 54] == 1, "right above the right face"
    small, large = of_faces(box(20, 10, 40, 30), box(52, 2, 92, 42), margin=0.75, feather=4)
    # 4 px from the small face and 8 from the large one: 0.2 faces from both. A pixel further is 1/20 + 1/40 faces of
    # 30 px, half of it is beyond the border, and the edge is 2 px wide.
    step = (1 / 20 + 1 / 40) * 30 / 2 / 2
    assert small[20, 42:47].tolist() == pytest.approx([1, 1, 1 - step / 2, 1 - 1.5 * step, 0])
    assert large[20, 41:45].tolist() == pytest.approx([0, 1 - 1.5 * step, 1 - step / 2, 1])
    alone, _ = of_faces(box(20, 10, 40, 30), box(80, 40, 90, 50), margin=0.75, feather=4)
    assert alone[25, 54] == 1, "nobody else is near"


def test_place_cast_scales_the_margin_of_each_method():
    placed_cast = cast(box(20, 10, 40, 30))
    for chosen, acting, factor, feather in (
        (RegionSettings(), REGIONS, 1.0, 32),
        (RegionSettings("face", 2.0, 8, FACE_BOXES), FACE_BOXES, 2.0, 8),
    ):
        of_chosen = replace(placed_cast, region_settings=chosen)
        assert face_regions.shape_of_faces(of_chosen) == RegionShape("face", 0.75 * factor, feather)
        assert regions.shape_of_bodies(of_chosen) == RegionShape(chosen.extent, 0.25 * factor, feather)
        assert regions.settings_of(of_chosen).acts_in == acting
    without_places = regions.settings_of(Cast(placed_cast.people))
    assert without_places.acts_in == REGIONS, "without places nobody has a face box"


def test_a_method_that_acts_in_face_boxes_alone_divides_nothing():
    """Where boxes overlap both people are read, up to the pixel that the edge of a box only touches."""
    placed_cast = cast(box(20, 10, 40.3, 30), box(36, 10, 56, 30))
    shape = RegionShape("face", 0.75, 0)
    left, right = around_faces(placed_cast, None, shape, FACE_BOXES)
    assert left[20, 40] == 1
    assert right[20, 40] == 1
    divided, _ = around_faces(placed_cast, None, shape, REGIONS)
    assert divided[20, 40] == 0


def test_faces_that_overlap_share_what_they_have_in_common():
    left, right = of_faces(box(20, 10, 40, 30), box(36, 10, 56, 30))
    assert left[20, 38] == right[20, 38] == 1
    assert left[20, 42] == 0 and right[20, 34] == 0


def test_a_mask_of_a_place_stays_as_it_is_over_the_faces_of_others():
    (mask,) = painted((0, 0, 96, 64))
    own, other = of_faces(Slot((15.0, 15.0), (5, 5, 25, 25), mask=mask), box(40, 10, 60, 30))
    assert torch.equal(own, mask)
    assert torch.equal(other, shapes.box_region(shapes.widened((40, 10, 60, 30), 0.5), 96, 64, 8))


@pytest.mark.parametrize("count", [2, 4, 6, 8, 12])
def test_everything_around_a_group_is_read_of_the_nearest(count):
    """Computed in plain loops from the layout, for a group in the size of the templates and the nodes' own margin."""
    layout = group.layout(count, "half", 0, 1152, 896)
    made = cast(*layout.slots, width=1152, height=896)
    found = around_faces(made, None, RegionShape("face", 0.75, 32.0))

    def distance(slot, x, y):
        """From the face, in face sizes."""
        x0, y0, x1, y1 = slot.box
        across = max(x0 - x, x - x1, 0) / (x1 - x0)
        return max(across, max(y0 - y, y - y1, 0) / (y1 - y0))

    seen = set()
    for y in range(0, 896, 13):
        for x in range(0, 1152, 13):
            distances = [distance(slot, x + 0.5, y + 0.5) for slot in layout.slots]
            nearest, *others = sorted(range(count), key=distances.__getitem__)
            at_pixel = found[:, y, x].tolist()
            if distances[nearest] > 0.75 or (others and distances[others[0]] - distances[nearest] < 0.5):
                continue  # the edge of all, or a border between two
            assert at_pixel[nearest] == 1 and sum(at_pixel) == 1, (x, y, at_pixel)
            seen.add(nearest)
    assert len(seen) == count
    for number, slot in enumerate(layout.slots):
        x0, y0, x1, y1 = (round(side) for side in slot.box)
        others = [other for other in range(count) if other != number]
        assert found[number, y0 + 1 : y1 - 1, x0 + 1 : x1 - 1].min() == 1, "all of a face"
        assert found[others, y0 + 1 : y1 - 1, x0 + 1 : x1 - 1].max() == 0


def test_face_boxes_are_cut_to_whole_pixels_and_to_the_canvas_and_share_what_they_have_in_common():
    off = box(-3.9, 10.9, 20.9, 70.0)
    first = box(10, 10, 40, 40)
    second = box(30, 10, 60, 40)
    assert torch.equal(in_face_boxes(cast(off)), painted((0, 10, 20, 64)))
    areas = torch.rand(2, 64, 96, generator=torch.Generator().manual_seed(1)) / 2
    expected = painted((10, 10, 40, 40), (30, 10, 60, 40)) * areas
    assert torch.equal(in_face_boxes(cast(first, second), areas), expected)
    assert in_face_boxes(cast(first, second))[:, 20, 35].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("place", ["a box", "a point", "off the canvas", "the same", "none"])
def test_who_has_a_lora_alone_is_asked_for_no_region(place):
    """The others have theirs, and in the same masks."""
    slots = {"a box": box(60, 10, 70, 20), "a point": BARE, "off the canvas": AWAY, "the same": ONE}
    alone = cast(ONE)
    lora = replace(people_made.a_person(2), embeddings={}, loras=(Lora("a file", 1.0, ""),))
    with_lora = replace(alone, people=(*alone.people, Member(lora, 1.0, slots.get(place))))
    first, second = around_faces(with_lora, None, RegionShape("face", 0.5, 8.0))
    assert torch.equal(first, of_faces(ONE, box(60, 10, 70, 20))[0])
    assert second.any() == (place in ("a box", "the same"))
    boxed = in_face_boxes(with_lora)[0]
    sharers = 2 if place == "the same" else 1
    assert torch.equal(boxed * sharers, painted((10, 10, 20, 20))[0])
    masks = torch.cat([1 - RIGHT, 0 * RIGHT])
    assert torch.equal(around_faces(with_lora, masks, RegionShape("face", 0.5, 8.0)), masks)
    assert torch.equal(from_masks(masks, with_lora, with_photos), masks[:1])
    with pytest.raises(BadRegion, match=r"person 2 .*empty"):
        from_masks(masks, with_lora)


def test_a_mask_of_the_whole_picture_limits_nobody_who_is_alone():
    alone = cast(ONE)
    for mask, expected in ((None, None), (torch.ones(1, 64, 96), None), (1 - RIGHT, 1 - RIGHT)):
        found = around_faces(alone, mask, RegionShape("face", 0.5, 8.0))
        assert found is expected or torch.equal(found, expected)


def test_masks_are_fitted_and_stay_with_their_people():
    """Also those of older nodes, and where somebody has weight zero."""
    two = cast(box(1, 1, 9, 9), box(40, 1, 50, 9))
    masks = painted((0, 0, 24, 32), (24, 0, 48, 32), width=48, height=32)
    assert torch.equal(from_masks(masks, two), torch.cat([1 - RIGHT, RIGHT]))
    without = replace(two, people=(replace(two.people[0], weight=0.0), two.people[1]))
    assert torch.equal(from_masks(torch.cat([1 - RIGHT, RIGHT]), without), RIGHT)
    odd = (1 - RIGHT[0]) * 255
    odd[0, 90] = float("nan")
    odd[1, 90] = -1
    for shape in (odd, odd[None, None]):
        assert torch.equal(from_masks(shape, cast(box(1, 1, 9, 9))), 1 - RIGHT)


def standing(x: float, head: float = 60.0):
    pose = bodies.body((x, 40.0), head)
    return Slot((x, 40.0), bodies.face_box((x, 40.0), head), pose=pose)


def hide(pose, *joints):
    return tuple((*joint[:2], 0.0) if n in joints else joint for n, joint in enumerate(pose))


@pytest.mark.parametrize("hidden", [(), (11, 12), (7, 8, 9, 10, 11, 12)], ids=["all seen", "no hips", "a bust"])
def test_the_torso_has_no_hole(hidden):
    """From the collar to the belly, also where the hips are not seen."""
    slot = standing(256)
    hidden = replace(slot, pose=hide(slot.pose, *hidden))
    region = regions.region_of_person(cast(hidden, width=512, height=384), 1, RegionShape("body", 0.0, 0), ())
    shoulder = slot.pose[6]
    hip = slot.pose[12]
    rows = slice(int(shoulder[1]) + 2, int(hip[1]) - 2)
    columns = slice(int(hip[0]) + 4, 512 - int(hip[0]) - 4)
    assert region[rows, columns].all()
    assert not region[:, : int(shoulder[0]) - 12].any()


def test_the_region_of_a_body_has_its_face_and_reaches_by_the_width_of_it():
    """A face box of 30x60 px, of which no limb comes near; a margin of half of its width around an upright arm."""
    joints = [(0.0, 0.0, 0.0)] * 17
    # A left forearm.
    joints[7] = (200.0, 150.0, 1.0)
    joints[9] = (200.0, 250.0, 1.0)
    joints[0] = (40.0, 50.0, 1.0)
    slot = Slot((40.0, 50.0), (25.0, 20.0, 55.0, 80.0), pose=tuple(joints))
    region = regions.region_of_person(cast(slot, width=320, height=320), 1, RegionShape("body", 0.5, 0), ())
    assert region[50, 40] == region[21, 54] == 1, "the face"
    assert region[200, 200 - 14] == region[200, 200 + 13] == 1
    assert region[200, 200 - 17] == region[200, 200 + 16] == 0


def test_a_place_is_free_where_whoever_stands_in_it_has_weight_0():
    slots = (box(0, 0, 20, 20), box(30, 0, 50, 20), box(60, 0, 80, 20))
    layout = Layout(96, 64, slots)
    people = (Member(people_made.a_person(1), 1.0, slots[0], 1), Member(people_made.a_person(2), 0.0, slots[2], 3))
    assert regions.free_slots(PlacedCast(people, 96, 64, layout=layout)) == slots[1:]


def test_a_face_box_is_as_small_as_what_is_on_the_canvas():
    """Of 40x40 px only 10x40 are on it, and all of the face beside it; coarse layers take 16 px for a token."""
    fine, cut = box(40, 10, 80, 50), box(-30, 10, 10, 50)
    (remark,) = face_regions.notes(cast(fine, cut), None, FACE_BOXES, 16)
    assert remark.startswith("Face boxes small: person 2 10x40 px on")
    assert face_regions.notes(cast(fine), None, FACE_BOXES, 16) == []


def test_all_people_have_all_that_their_regions_reach():
    across = torch.linspace(0, 1, 96).expand(64, 96)
    sharing = cast(replace(box(10, 10, 22, 22), mask=across), replace(box(60, 10, 72, 22), mask=1 - across))
    assert (regions.region_of_person(sharing, regions.ALL_PEOPLE, RegionShape("body", 0), ()) > 0.9999).all()
    neighbours = cast(standing(100), standing(280), width=512, height=384)
    shape = RegionShape("body", 1.0, 24)
    everybody, first, second = (regions.region_of_person(neighbours, number, shape, ()) for number in range(3))
    assert torch.equal(everybody, (first + second).clamp(max=1))
    assert ((torch.minimum(first, second) > 0) & (everybody < 1)).any(), "their soft edges cross"


def test_no_region_covers_the_face_of_another():
    two = cast(standing(100), standing(150), width=512, height=384)
    region = regions.region_of_person(two, 1, RegionShape("body", 1.0, 8), ())
    x0, y0, x1, y1 = (round(side) for side in two.people[1].slot.box)
    assert not region[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1].any()
    assert region[y1 + 4, x0 + 4] == 1
    absent = replace(two, people=(two.people[0], replace(two.people[1], weight=0.0)))
    region = regions.region_of_person(absent, 1, RegionShape("body", 1.0, 8), ())
    assert region[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1].any(), "is not there"


def test_the_edge_of_a_body_is_the_distance_from_its_limbs():
    """A single point: all limbs have no length."""
    joint = (32.5, 32.5, 1.0)
    region = shapes.body_region((joint,) * 17, 10.0, 64, 64, 8.0)
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    expected = (1 - (torch.hypot(x - 32, y - 32) - 10).clamp(min=0) / 8).clamp(min=0)
    assert (region - expected).abs().max() <= 1e-5


# Masks of a detector

PEOPLE = cast(box(10, 10, 22, 22), box(60, 10, 72, 22))
WHOLE = painted((56, 8, 80, 64), (40, 0, 46, 8), (4, 8, 28, 64))
"""The second person, a stranger between the two, the first."""


@pytest.mark.parametrize(
    ("number", "mask_numbers"),
    [(1, (3,)), (2, (1,)), (regions.ALL_PEOPLE, (1, 3))],
    ids=["first", "second", "all"],
)
def test_masks_of_a_detector_belong_to_those_whose_place_they_lie_in(number, mask_numbers):
    mask = regions.from_masks(WHOLE, PEOPLE, number, RegionShape("face", 0.25), ())
    assert torch.equal(mask.region, sum(WHOLE[n - 1] for n in mask_numbers))
    assert mask.notes == [f"Of 3 masks taken: {', '.join(map(str, mask_numbers))}; outside all places: 2"]


def test_masks_of_another_size_are_stretched_and_that_is_said():
    mask = regions.from_masks(WHOLE.repeat_interleave(2, 2), PEOPLE, 1, RegionShape("face", 0.25), ())
    assert torch.equal(mask.region, WHOLE[2])
    width, height = PEOPLE.width, PEOPLE.height
    sizes = f"The masks are {2 * width}x{height} px and the layout {width}x{height} px"
    assert mask.notes[1:] == [f"{sizes}: they are stretched over it."]


def test_masks_of_those_who_stay_are_theirs():
    """The stranger stands so near that without a place of their own the mask would be the person's."""
    masks = painted((8, 10, 22, 22), (20, 8, 30, 24))
    for staying, numbers in (((), "1, 2"), ((box(20, 8, 30, 24),), "1")):
        notes = regions.from_masks(masks, PEOPLE, 1, RegionShape("face", 0.5), staying).notes
        assert notes == [f"Of 2 masks taken: {numbers}"]


ONE = box(10, 10, 20, 20)
AWAY = box(300, 10, 320, 20)
BARE = Slot((50.0, 50.0))
NO_PIXEL = "has no pixel on the canvas of 96x64 px"
FINE = box(60, 30, 80, 50)
"""Of the first person; at fault is the second."""


def of_person(slot, number=2, extent="face", *neighbours):
    return lambda: regions.region_of_person(cast(FINE, slot, *neighbours), number, RegionShape(extent, 0.0, 0), ())


def of_masks(masks):
    return lambda: from_masks(masks, PEOPLE)


def in_box(slot, areas=None):
    return lambda: in_face_boxes(cast(FINE, slot), areas)


def of_detector(masks, number):
    return lambda: regions.from_masks(masks, PEOPLE, number, RegionShape("face", 0.25), ())


REFUSED = {
    "two of the same region": (lambda: of_faces(FINE, ONE, ONE), BadRegion, "person 2 and person 3 .*same region"),
    "one off the canvas": (lambda: of_faces(ONE, AWAY), BadRegion, "person 2 .*empty or .*off"),
    "no face box": (in_box(BARE), BadRegion, "person 2 .*its place has no face box.*acts_in of Place Cast to regions"),
    "neither box nor mask": (of_person(BARE), BadRegion, "person 2 .*neither a face box nor a mask"),
    "a face without a box": (lambda: of_faces(FINE, BARE), BadRegion, "person 2 .*neither a face box nor a mask"),
    "no skeleton": (of_person(ONE, 2, "body"), BadRegion, "person 2 .*neither a skeleton nor a mask"),
    "an empty mask": (of_person(replace(ONE, mask=0 * RIGHT[0]), 2, "body"), BadRegion, "person 2 .*mask .*is empty"),
    "less than a pixel": (in_box(box(20.2, 10, 20.9, 30)), BadRegion, rf"person 2 .*\(20\.2, 10, .*, 30\) {NO_PIXEL}"),
    "a mask elsewhere": (in_box(ONE, RIGHT), BadRegion, "person 2 .*not meet the face box of its place.*over the face"),
    "three masks for two": (of_masks(torch.ones(3, 8, 8)), BadRegion, "there are 3 masks for 2 people"),
    "nobody of that number": (of_person(ONE, 3), BadCast, "no person 3 .*with a place are 1 person 1, 2 person 2"),
    "a face off the canvas": (of_person(AWAY), BadRegion, r"person 2 .*it lies off the canvas.*Fit \(fit\) = pad"),
    "a face behind another": (of_person(ONE, 2, "face", ONE), BadRegion, "person 2 .*faces of others .*apart"),
    "a stranger's mask": (
        of_detector(WHOLE[1:2], 2),
        BadRegion,
        "person 2 .*of 1 mask none lies in that place .*by 0%",
    ),
    "masks of everything": (
        of_detector(WHOLE * 0 + 1, 2),
        BadRegion,
        "person 2 .*by 100%, and another place has as much of it or more",
    ),
    "masks for nobody": (of_detector(WHOLE, 3), BadCast, "no person 3 .*1 person 1, 2 person 2"),
}


@pytest.mark.parametrize(("act", "error", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_region_is_explained(act, error, words):
    with pytest.raises(error, match=f"(?s){words}"):
        act()


def square(adds: bool, x0: float, y0: float, x1: float, y1: float) -> Outline:
    return Outline(adds, ((x0, y0), (x1, y0), (x1, y1), (x0, y1)))


def read_there(placed_cast: PlacedCast, how: str) -> torch.Tensor:
    """The regions of everybody for methods that act on bodies, that read faces, or in face boxes alone."""
    if how in ("body", "face"):
        return regions.regions_of_bodies(present_in(placed_cast), None, RegionShape(how, 0.25))
    around = around_faces(placed_cast, None, RegionShape("face", 0.25, 8), how)
    if how == REGIONS:
        return around
    return in_face_boxes(placed_cast, around)


@pytest.mark.parametrize("how", ["body", "face", REGIONS, FACE_BOXES])
def test_what_is_drawn_by_hand_goes_for_every_extent(how: str) -> None:
    """It is added and taken away in its order, also far from the own face, and never over the face of another."""
    first, second = group.layout(2, "half", 1, 256, 192).slots
    assert first.box and second.box
    x0, y0, x1, y1 = map(round, first.box)
    far = (slice(170, 190), slice(10, 250))  # nearer to the other's face than to the own one
    drawn = (square(True, 0, 0, 256, 192), square(False, x0, y0, x0 + 6, y0 + 6))
    before, after = (
        read_there(cast(slot, second, width=256, height=192), how)[0] for slot in (first, replace(first, drawn=drawn))
    )
    assert before[y0 + 2, x0 + 2] > 0
    assert after[y0 + 2, x0 + 2] == 0
    assert (after[y0 + 8 : y1 - 2, x0 + 8 : x1 - 2] == 1).all()
    face_of_other = after[round(second.box[1]) + 1 : round(second.box[3]) - 1, round(second.box[0]) + 2 : 230]
    assert not face_of_other[:, : round(second.box[2] - second.box[0]) - 4].any()
    assert not (before[far] == 1).all()
    assert (after[far] == (0 if how == FACE_BOXES else 1)).all(), "in face boxes nothing acts beside them"


def test_what_is_drawn_by_hand_is_put_on_the_mask_of_a_place() -> None:
    """As a mask alone it would stay as it is, over the faces of others, too."""
    drawn = (square(True, 0, 0, 8, 8), square(False, 50, 0, 60, 10))
    masked = replace(box(60, 20, 80, 40), mask=RIGHT[0], drawn=drawn)
    for how in ("body", REGIONS):
        region = read_there(cast(replace(box(2, 2, 6, 6), mask=1 - RIGHT[0]), masked), how)[1]
        expected = RIGHT[0].clone()
        expected[:8, :8] = 1
        expected[:10, 50:60] = 0
        assert (region[1:7, 1:7] == 1).all() and not region[1:9, 51:59].any()
        assert (region - expected).abs().sum() < 40, "but for the pixels at the lines"


@pytest.mark.parametrize("how", ["body", "face", REGIONS])
def test_a_region_drawn_by_hand_is_enough(how: str) -> None:
    """Of a place of which a point alone is known, and for one person who would act everywhere."""
    point = Slot((20.0, 20.0), drawn=(square(True, 4, 4, 30, 30),))
    (region,) = read_there(cast(point), how)
    assert region.sum() == pytest.approx(26 * 26, rel=0.1)
    assert region[40:].sum() == 0


def test_a_region_of_which_all_is_taken_away_by_hand_is_explained() -> None:
    for slot in (box(20, 20, 40, 40), replace(box(20, 20, 40, 40), mask=RIGHT[0])):
        gone = replace(slot, drawn=(square(False, -5, -5, 200, 200),))
        shape = RegionShape("face" if slot.mask is None else "body", 0.25)
        with pytest.raises(BadRegion, match="drawn for it by hand leaves nothing"):
            regions.regions_of_bodies(present_in(cast(gone)), None, shape)
