"""The mannequin around a skeleton, against published DensePose pictures."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from pack.core.cast import Layout, Pose, Slot
from pack.core.parts.part_notes import pose_hint
from pack.core.places import bodies, group, mannequin


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


@pytest.mark.parametrize(
    ("grey", "told"),
    [
        ((0.0,), "The pose image is black everywhere and shows no pose to follow. Draw Skeletons draws the right kind"),
        ((0.03, 0.0, 0.1), "2 of the 3 pictures of the pose image are black everywhere"),
        ((0.1,), ""),
        ((0.5,), "The pose image is no DensePose IUV picture"),
    ],
)
def test_a_pose_picture_that_shows_nobody_is_told(grey: tuple[float, ...], told: str) -> None:
    hint = pose_hint(torch.stack([torch.full((8, 8, 3), of_picture) for of_picture in grey]))
    assert hint.startswith(told)
    assert bool(hint) == bool(told)


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
    assert torch.equal(surface.people_masks, (parts > 0)[None].float())


def test_the_front_row_is_drawn_over_the_others() -> None:
    near_pose = bodies.body((128.0, 90.0), 60.0)
    far_pose = bodies.body((128.0, 60.0), 40.0)
    for first, second in ((near_pose, far_pose), (far_pose, near_pose)):
        places = tuple(Slot(pose[0][:2], pose=pose) for pose in (first, second))
        surface = mannequin.draw_layout(Layout(256, 384, places))
        front = 1 if second is near_pose else 0
        assert surface.people_masks[:, 130, 128].tolist() == [1 - front, front], "who stands lower"


def test_masks_are_in_the_order_of_the_places() -> None:
    """Wherever they stand, and somebody who is covered has an empty one."""
    places = tuple(Slot(pose[0][:2], pose=pose) for pose in (
        bodies.body((180.0, 60.0), 30.0), bodies.body((70.0, 60.0), 10.0), bodies.body((70.0, 61.0), 40.0)
    ))  # fmt: skip
    surface = mannequin.draw_layout(Layout(256, 384, places))
    right, covered, left = surface.people_masks
    assert right.nonzero()[:, 1].min() > left.nonzero()[:, 1].max()
    assert not covered.any()
    assert torch.equal(surface.people_masks.sum(0), (surface.iuv[2] > 0).float())


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


def test_how_far_a_hand_reaches_and_how_a_torso_ends() -> None:
    """In heads: hands beyond the wrist, the torso between the thighs. On a large canvas a pixel is 0.005 of a head."""
    head = 200.0
    near = 0.01
    pose = bodies.body((600.0, 250.0), head)
    parts = mannequin.draw_layout(Layout(1200, 1800, (Slot(pose[0][:2], pose=pose),))).iuv[2]
    for part, wrist in ((3, pose[10]), (4, pose[9])):  # right, left
        rows, columns = (parts == part).nonzero().T
        assert float(rows.max() + 1 - wrist[1]) / head == pytest.approx(0.55, abs=near)  # the axis and the round end
        assert float(columns.max() + 1 - columns.min()) / head == pytest.approx(0.32, abs=near)
    is_torso = parts == 2
    hips = round(pose[11][1])
    for below_hips, width in ((0.1, 0.88), (0.2, 0.46), (0.28, 0.11)):
        row = is_torso[hips + round(below_hips * head)]
        assert int(row.sum()) / head == pytest.approx(width, abs=near), below_hips
    assert float(is_torso.nonzero()[:, 0].max() + 1 - hips) / head == pytest.approx(0.3, abs=near)
