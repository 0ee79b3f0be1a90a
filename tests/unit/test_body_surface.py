"""DensePose pictures: drawn as published, from skeletons, and masks of them."""

from dataclasses import dataclass, replace

import densepose_made
import numpy as np
import pytest
import torch
from pack.core.body_surface import iuv, mannequin, part_masks
from pack.core.cast import Layout, Pose, Slot
from pack.core.checks.errors import BadParts
from pack.core.parts.part_notes import pose_hint
from pack.core.pictures.geometry import Fit
from pack.core.places import bodies, group

STAY = Fit(1, 1, 0, 0)


def resampled(chart: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear with half pixel centres, the edge going on: (h, w) -> (height, width)."""

    def weights(many: int, few: int) -> np.ndarray:
        centers = np.clip((np.arange(many, dtype=np.float32) + 0.5) * np.float32(few / many) - 0.5, 0, few - 1)
        return np.clip(1 - abs(centers[:, None] - np.arange(few)), 0, None).astype(np.float64)

    return weights(height, chart.shape[0]) @ chart.astype(np.float64) @ weights(width, chart.shape[1]).T


def resampled_channels(channels: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.stack([resampled(channel, height, width) for channel in channels])


def published(bodies_read: iuv.Bodies, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The formulas of DensePose's own drawing: a picture, and how near each pixel is to another one."""
    picture = np.zeros((height, width, 3), np.uint8)
    doubt = np.ones((height, width))
    fields = [getattr(bodies_read, name).numpy() for name in ("boxes", "inside", "parts", "u", "v")]
    for box, *charts in zip(*fields, strict=True):
        x = int(box[0])
        y = int(box[1])
        w = int(box[2] - box[0])
        h = int(box[3] - box[1])
        body, parts, u, v = (resampled_channels(chart, h, w) for chart in charts)
        label = parts.argmax(0)
        inside = body[1] - body[0]
        is_body = (inside > 0) & (label > 0)
        values = 255.0 * np.stack([np.take_along_axis(chart, label[None], 0)[0] for chart in (v, u)])
        colours = np.stack([*(np.minimum(values, 255).astype(int) % 256), label], -1)
        second, best = np.sort(parts, axis=0)[-2:]
        margin = np.minimum(best - second, abs(inside))
        margin_in_body = np.minimum(margin, abs(values - values.round()).min(0))
        margin = np.where(is_body, margin_in_body, margin)
        rows = slice(max(0, y), min(height, y + h))
        columns = slice(max(0, x), min(width, x + w))
        cut = slice(rows.start - y, rows.stop - y), slice(columns.start - x, columns.stop - x)
        picture[rows, columns][is_body[cut]] = colours[cut][is_body[cut]]
        doubt[rows, columns] = np.minimum(doubt[rows, columns], margin[cut])
    return picture, doubt


@pytest.mark.parametrize(
    "boxes",
    [[[10.7, 3.2, 61.4, 80.9]], [[5, 5, 50, 70], [30, 10, 90.5, 60]], [[-20.5, 40, 30, 130], [60, -9, 110, 40.2]]],
    ids=["one", "two overlap", "over the edge"],
)
def test_pictures_are_drawn_as_published(boxes: list[list[float]]) -> None:
    bodies_read = iuv.read_bodies(
        iuv.Bodies(torch.tensor(boxes, dtype=torch.float32), *densepose_made.charts(len(boxes), seed=3))
    )
    surface = iuv.draw(bodies_read, STAY, 96, 96)
    expected, doubt = published(bodies_read, 96, 96)
    pixels = surface.iuv.movedim(0, -1).numpy()
    sure = doubt > 1e-3  # beyond what the rounding of floats decides
    assert sure.mean() > 0.95
    assert len(np.unique(expected[..., 2])) > 8
    assert (expected[sure] == pixels[sure]).all()
    assert surface.person_masks.shape[0] == len(boxes)
    assert torch.equal(surface.person_masks.sum(0) > 0, surface.iuv[2] > 0)
    # What leaves the node has the published order of colours, too: red V, green U, blue the part, of 255.
    colours = (surface.image * 255).round().byte().numpy()
    assert (expected[sure] == colours[sure]).all()


def outputs(people: int = 1, **changes: torch.Tensor) -> iuv.Bodies:
    boxes = torch.tensor([[0.0, 0.0, 40.0, 60.0]] * people)
    return replace(iuv.Bodies(boxes, *densepose_made.charts(people)), **changes)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (outputs(inside=torch.ones(2, 2, 28, 28)), "tensors of shapes"),
        (outputs(u=torch.ones(1, 25, 0, 0)), "tensors of shapes"),
        (outputs(v=torch.full((1, 25, 28, 28), torch.nan)), "NaN or infinity"),
        (outputs(boxes=torch.tensor([[0.0, 0.0, 2667.0, 10.0]])), "a body of 2667x10 px in a picture of at most 1333"),
    ],
    ids=["too many", "no size", "NaN", "beyond the photo"],
)
def test_what_is_no_body_is_named(values: iuv.Bodies, words: str) -> None:
    assert len(iuv.read_bodies(outputs(2)).boxes) == 2
    with pytest.raises(ValueError, match=words):
        iuv.read_bodies(values)


def test_photos_are_looked_at_in_detectrons_size() -> None:
    sizes = {(512, 768): (800, 1216), (4000, 1000): (1344, 320), (1, 9000): (32, 1344)}
    assert {size: iuv.network_size(*size) for size in sizes} == sizes


@dataclass(frozen=True)
class Colours:
    """Red and green, 0 to 255, in the outermost quarters of a part's pixels. Left and right are the viewer's."""

    upper: tuple[int, int]
    lower: tuple[int, int]
    left: tuple[int, int] | None = None
    right: tuple[int, int] | None = None


# Read from pictures that the authors published, of people who stand upright with hanging arms; the number is the blue
# of the part. Where somebody holds an arm at another angle, the colours across it are left out.
POSE_OF_PARTS2WHOLE = {
    2: Colours((131, 35), (122, 198), (185, 116), (70, 110)),  # torso
    15: Colours((178, 32), (162, 206)),  # left upper arm
    16: Colours((182, 32), (165, 194)),  # right upper arm
    17: Colours((232, 61), (169, 221)),
    18: Colours((232, 59), (174, 216)),
    19: Colours((73, 223), (93, 79)),  # left forearm
    20: Colours((66, 222), (52, 96)),  # right forearm
    21: Colours((218, 75), (136, 220)),
    22: Colours((216, 68), (126, 216)),
    23: Colours((206, 180), (41, 203), (143, 151), (125, 227)),  # right half of the head
    24: Colours((207, 70), (51, 49), (142, 25), (137, 103)),  # left half of the head
}
"""huanngzh/Parts2Whole e217655, testset/densepose_2.png: one of the poses of the demo."""
DENSEPOSE_FRONT = {
    3: Colours((56, 73), (155, 48), (127, 71), (77, 47)),  # right hand
    4: Colours((48, 178), (165, 197), (87, 196), (112, 167)),  # left hand
    5: Colours((146, 96), (173, 170), (128, 115), (190, 148)),  # left foot
    6: Colours((160, 165), (195, 99), (196, 140), (160, 133)),  # right foot
    9: Colours((160, 180), (108, 60), (88, 131), (193, 105)),  # right thigh
    10: Colours((160, 179), (107, 55), (184, 93), (101, 141)),  # left thigh
    13: Colours((138, 42), (131, 217), (188, 104), (90, 146)),  # right shin
    14: Colours((130, 39), (129, 223), (87, 151), (181, 102)),  # left shin
    15: Colours((192, 25), (164, 188)),
    16: Colours((186, 25), (162, 193)),
    19: Colours((76, 212), (67, 108)),
    20: Colours((60, 226), (67, 97)),
}
"""facebookresearch/DensePose 51fb9f1, DensePoseData/infer_out/demo_im_IUV.png, whoever has 19 in demo_im_INDS.png."""
DENSEPOSE_BEHIND = {
    1: Colours((118, 58), (124, 219), (51, 139), (196, 139)),  # torso
    12: Colours((125, 215), (119, 56)),  # calf of the left leg
    17: Colours((153, 42), (81, 167)),  # left upper arm
    21: Colours((109, 60), (68, 146)),  # left forearm
    23: Colours((179, 29), (61, 46), (114, 29), (132, 49)),
    24: Colours((179, 218), (58, 197), (111, 187), (128, 224)),
}
"""The same picture, 17 in demo_im_INDS.png: seen from behind."""
NEAR = 48
"""Of 255: two people who stand upright differ by so much. A chart that runs the wrong way is off by more than 100."""


def colours_of(image: np.ndarray, part: int) -> Colours:
    """image: (H, W, 3), 0 to 255."""
    rows, columns = np.nonzero(image[..., 2] == part)

    def mean(inside: np.ndarray) -> tuple[int, int]:
        red, green, _ = image[rows[inside], columns[inside]].mean(axis=0)
        return round(red), round(green)

    first_rows, last_rows = np.quantile(rows, (0.25, 0.75))
    first_columns, last_columns = np.quantile(columns, (0.25, 0.75))
    return Colours(
        mean(rows <= first_rows),
        mean(rows >= last_rows),
        mean(columns <= first_columns),
        mean(columns >= last_columns),
    )


def turned_round(pose: Pose) -> Pose:
    """Somebody who stands upright, seen from behind: left and right change places, and no eye is seen."""
    joints = list(pose)
    for left in range(1, 17, 2):
        joints[left], joints[left + 1] = pose[left + 1], pose[left]
    joints[1] = joints[2] = (0.0, 0.0, 0.0)
    return tuple(joints)


@pytest.mark.parametrize(
    ("published_colours", "from_behind"),
    [(POSE_OF_PARTS2WHOLE, False), (DENSEPOSE_FRONT, False), (DENSEPOSE_BEHIND, True)],
    ids=["pose of Parts2Whole", "DensePose, from the front", "DensePose, from behind"],
)
def test_a_mannequin_has_the_colours_of_published_poses(
    published_colours: dict[int, Colours], from_behind: bool
) -> None:
    """Every limb, at its upper and lower end and at both sides: the pose guider was trained with these."""
    pose = bodies.body((128.0, 60.0), 46.0)
    if from_behind:
        pose = turned_round(pose)
    layout = Layout(256, 384, (Slot(pose[0][:2], pose=pose),))
    picture = mannequin.draw_layout(layout).image.numpy() * 255
    for part, expected in published_colours.items():
        drawn_colours = colours_of(picture, part)
        published_edges = {edge: colour for edge, colour in vars(expected).items() if colour is not None}
        assert len(published_edges) >= 2
        for edge, colour in published_edges.items():
            assert getattr(drawn_colours, edge) == pytest.approx(colour, abs=NEAR), f"part {part}, {edge}"


def test_a_mannequin_is_a_densepose_picture_of_a_person_who_looks_at_us() -> None:
    surface = mannequin.draw_layout(group.layout(1, "full", 0, 256, 384))
    image = surface.image[None]
    assert pose_hint(image) == ""
    parts = surface.iuv[2].int()
    visible_parts = set(parts.unique().tolist())
    assert visible_parts == {0, 2, 3, 4, 5, 6, 9, 10, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24}
    columns = {part: float((parts == part).nonzero()[:, 1].float().mean()) for part in visible_parts}
    for right, left in ((3, 4), (6, 5), (9, 10), (13, 14), (16, 15), (18, 17), (20, 19), (22, 21), (23, 24)):
        assert columns[right] < columns[left], (right, left)
    # Of an arm that hangs, those of the inner side are nearer to the torso.
    assert columns[18] < columns[16]
    assert columns[22] < columns[20]
    assert columns[15] < columns[17]
    torso = parts == 2
    v, u, _ = surface.iuv[:, torso].float()
    rows, across = torso.nonzero().T.float()
    assert torch.corrcoef(torch.stack([rows, u]))[0, 1] > 0.95
    assert torch.corrcoef(torch.stack([across, v]))[0, 1] < -0.9
    assert surface.person_masks.shape == (1, 384, 256)


def test_the_front_row_is_drawn_over_the_others() -> None:
    near_pose = bodies.body((128.0, 90.0), 60.0)
    far_pose = bodies.body((128.0, 60.0), 40.0)
    for first, second in ((near_pose, far_pose), (far_pose, near_pose)):
        places = tuple(Slot(pose[0][:2], pose=pose) for pose in (first, second))
        surface = mannequin.draw_layout(Layout(256, 384, places))
        front = 2 if second is near_pose else 1
        assert surface.person[130, 128] == front, "who stands lower"


PUBLISHED_PARTS = {
    "torso": {1, 2}, "right hand": {3}, "left hands": {4}, "Left  foot": {5}, "right feet": {6},
    "right thighs": {7, 9}, "left thighs": {8, 10}, "right lower legs": {11, 13}, "left lower legs": {12, 14},
    "left upper arms": {15, 17}, "right upper arm": {16, 18}, "left forearms": {19, 21}, "right forearms": {20, 22},
    "head": {23, 24}, "left head": {23, 24}, "hands": {3, 4}, "HANDS, feet\n": {3, 4, 5, 6},
}  # fmt: skip
"""Of DensePose-COCO's README, "Part Indices"."""


@pytest.mark.parametrize("name", PUBLISHED_PARTS)
def test_parts_have_the_numbers_of_densepose(name: str) -> None:
    """A picture in which every part is a column of its own."""
    surface = iuv.Surface.empty(25, 8)
    surface.iuv[2] = torch.arange(25, dtype=torch.uint8)
    surface.person[:] = 1
    mask = part_masks.part_masks([surface], part_masks.body_parts(name))[0]
    assert set(mask.amax(0).nonzero().flatten().tolist()) == PUBLISHED_PARTS[name]


def masks_of(surfaces: list[iuv.Surface], text: str) -> torch.Tensor:
    return part_masks.part_masks(surfaces, part_masks.body_parts(text))


def test_a_surface_lies_over_the_photo_it_was_found_in() -> None:
    """Where there is no body the photo is seen as it is, at its place on the canvas; on a body 3/10 of it."""
    photo = torch.zeros(1, 40, 80, 3)
    photo[:, :, 40:] = 1
    surface = torch.zeros(1, 80, 80, 3)
    surface[0, 30:50, 50:70] = torch.tensor([0.0, 1.0, 2 / 255])
    overlay = iuv.over_photos(surface, photo)[0]  # the photo in the rows 20 to 60
    assert overlay[10].amax() == overlay[70].amax() == 0
    assert overlay[25, 75].tolist() == [1, 1, 1]
    assert overlay[25, 5].tolist() == [0, 0, 0]
    assert overlay[40, 60].tolist() == pytest.approx([0.3, 1.0, 0.3 + 0.7 * 2 / 255], abs=1e-5)


def test_people_are_told_from_left_to_right() -> None:
    """The surest stands at the right and lower."""
    surface = iuv.Surface.empty(60, 40)
    body = torch.full((3, 10, 10), 2, dtype=torch.uint8)
    surface.draw_body(1, 45, 25, body)
    surface.draw_body(2, 5, 2, body)
    surface.draw_body(3, 25, 15, body)
    assert [int(mask.nonzero()[:, 1].min()) for mask in surface.person_masks] == [5, 25, 45]
    turned = iuv.Surface.empty(60, 40)
    turned.draw_body(1, 45, 2, body)
    turned.draw_body(2, 5, 25, body)
    assert [int(mask.nonzero()[:, 1].min()) for mask in turned.person_masks] == [5, 45]


def test_the_toes_of_a_mannequin_point_outwards() -> None:
    pose = bodies.body((128.0, 60.0), 46.0)
    surface = mannequin.draw_layout(Layout(256, 384, (Slot(pose[0][:2], pose=pose),)))
    ankles = {6: pose[16][0], 5: pose[15][0]}  # right, left
    for part, outwards in ((6, -1), (5, 1)):
        rows, columns = (surface.iuv[2] == part).nonzero().T
        lowest = columns[rows >= rows.max() - 2].float().mean()
        assert outwards * (float(lowest) - ankles[part]) > 2


def test_thighs_whose_knees_are_below_the_picture_hang_straight_down() -> None:
    (slot,) = group.layout(1, "half", 0, 256, 384).slots
    assert slot.pose
    pose = tuple((0.0, 0.0, 0.0) if n in (9, 10) else joint for n, joint in enumerate(slot.pose))  # without hands
    parts = mannequin.draw_layout(Layout(256, 384, (Slot(slot.center, pose=pose),))).iuv[2]
    assert set(parts[-1].tolist()) == {0, 9, 10}
    columns = parts[-1].nonzero().float()
    assert float(columns.mean()) == pytest.approx((pose[11][0] + pose[12][0]) / 2, abs=1)


def test_thighs_without_knees_are_as_long_as_with_them() -> None:
    """Where the picture goes on below them."""
    pose = bodies.body((128.0, 60.0), 46.0)
    without_legs = tuple((0.0, 0.0, 0.0) if n in (9, 10, 13, 14, 15, 16) else joint for n, joint in enumerate(pose))
    parts = mannequin.draw_layout(Layout(256, 384, (Slot(pose[0][:2], pose=without_legs),))).iuv[2]
    lowest = int(((parts == 9) | (parts == 10)).nonzero()[:, 0].max())
    knees = (pose[13][1] + pose[14][1]) / 2
    assert lowest == pytest.approx(knees + 0.21 * 46, abs=46 / 4)


def test_an_upper_arm_is_drawn_without_a_gap() -> None:
    """Its inner and its outer part meet, where the arms are stretched out to the sides."""
    pose = list(bodies.body((128.0, 60.0), 46.0))
    shoulders = {5: 1, 6: -1}
    for shoulder, outwards in shoulders.items():
        x, y, _ = pose[shoulder]
        pose[shoulder + 2] = (x + 50 * outwards, y, 1.0)
        pose[shoulder + 4] = (x + 80 * outwards, y, 1.0)
    parts = mannequin.draw_layout(Layout(256, 384, (Slot(pose[0][:2], pose=tuple(pose)),))).iuv[2]
    for shoulder, outwards in shoulders.items():
        column = (parts[:, round(pose[shoulder][0] + 25 * outwards)] > 0).int()
        assert int((column.diff() == 1).sum()) == 1


def test_the_head_of_a_mannequin_is_wide_at_the_nose() -> None:
    """It is widest half way from crown to chin, a little above the nose."""
    pose = bodies.body((128.0, 60.0), 46.0)
    parts = mannequin.draw_layout(Layout(256, 384, (Slot(pose[0][:2], pose=pose),))).iuv[2]
    widths = (parts >= 23).sum(1)
    assert widths[60] > 0.9 * widths.max() > 0.9 * 0.7 * 46
    for aside in (-6, 0, 6):
        turned = ((128.0 + aside, 60.0, 1.0), *pose[1:])
        surface = mannequin.draw_layout(Layout(256, 384, (Slot(turned[0][:2], pose=turned),)))
        u_across = surface.iuv[1, 60][surface.iuv[2, 60] >= 23]
        assert u_across[[0, -1]].tolist() == pytest.approx([138, 138], abs=8), "the halves meet again at the back"


def test_masks_are_the_parts_that_were_chosen_of_each_person() -> None:
    surface = mannequin.draw_layout(group.layout(2, "full", 1, 512, 384))
    alone = mannequin.draw_layout(group.layout(1, "full", 0, 512, 384))
    parts = surface.iuv[2]
    assert torch.equal(masks_of([surface], ", ".join(part_masks.GROUPS)), surface.person_masks)
    grouped_parts = []
    for sides in part_masks.GROUPS.values():
        for parts_of_a_side in sides:
            grouped_parts.extend(parts_of_a_side)
    assert sorted(grouped_parts) == sorted([*range(1, 25), 23, 24, 1, 2])
    hands = masks_of([surface], "right hands")
    assert torch.equal(hands, (parts == 3) * surface.person_masks)
    masks = masks_of([surface, alone], "left head, left torso")
    numbers = torch.tensor([1, 2, 23, 24])
    assert len(masks) == 3
    assert torch.equal(masks[:2], torch.isin(parts, numbers) * surface.person_masks)
    assert torch.equal(masks[2], torch.isin(alone.iuv[2], numbers).float())


def test_parts_that_nobody_shows_are_named_with_those_that_are_seen() -> None:
    bust = mannequin.draw_layout(group.layout(1, "bust", 0, 256, 384))
    full = mannequin.draw_layout(group.layout(1, "full", 0, 256, 384))
    with pytest.raises(BadParts, match=r"No part of the body is chosen\. Write one or several of head, torso,"):
        masks_of([full], " , ")
    with pytest.raises(BadParts, match=r"no part of the body called 'left elbow'\. Write head, torso, .*left or right"):
        masks_of([full], "torso, left elbow")
    with pytest.raises(BadParts, match=r"Nothing is seen of left feet\. .*the photo shows head, torso, upper arms"):
        masks_of([bust], "left feet")
    with pytest.raises(BadParts, match=r"Nothing is seen of feet, thighs for person 2\. "):
        masks_of([full, bust], "feet, thighs")
