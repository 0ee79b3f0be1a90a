"""The pictures that ControlNets were trained with: skeletons with hands and faces, and the five keypoints of faces.

All of them are to the pixel as the authors' code draws them with OpenCV 4, see opencv_shapes.py.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from ..cast import NOSE, Joint, Keypoints, Layout, Pose, Slot
from ..checks.errors import LikenessError, listed
from ..pictures.previews import Color
from .bodies import SEEN, openpose, seen_limbs
from .opencv_shapes import Pixel, Pixels, disc, ellipse, thick_line

_LIMB_COLORS = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85),
    (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255),
    (255, 0, 170), (255, 0, 85),
)  # fmt: skip


def skeletons(layout: Layout, by_row: bool) -> Tensor:
    """The skeletons of a layout, all in one picture, or with `by_row` in a picture for each place.

    Returns (1 or places, height, width, 3), black where there is no skeleton.
    """

    def draw(slots: Sequence[Slot]) -> Tensor:
        return skeleton([slot.pose for slot in slots if slot.pose], layout.width, layout.height)

    return _pictures(draw, layout, by_row)


def keypoints(layout: Layout, by_row: bool) -> Tensor:
    """The face keypoints of a layout, all in one picture, or with `by_row` in a picture for each place.

    Returns (1 or places, height, width, 3), black where there are none.
    """

    def draw(slots: Sequence[Slot]) -> Tensor:
        return face_keypoints([slot.keypoints for slot in slots if slot.keypoints], layout.width, layout.height)

    return _pictures(draw, layout, by_row)


def dwpose(layout: Layout, by_row: bool, hands_and_faces: bool = False, thick: bool = False) -> Tensor:
    """The skeletons of a layout as DWPose's node draws them, all in one picture, or with `by_row` one for each place.

    hands_and_faces: whether these are drawn, too. thick: whether limbs grow with the picture, as xinsir's nets were
    trained. Returns (1 or places, height, width, 3).
    """

    def draw(slots: Sequence[Slot]) -> Tensor:
        return _dwpose_picture(slots, layout.width, layout.height, hands_and_faces, thick)

    return _pictures(draw, layout, by_row)


def _pictures(draw: Callable[[Sequence[Slot]], Tensor], layout: Layout, by_row: bool) -> Tensor:
    """The places of a layout, all in one picture, or with `by_row` each in its own: (pictures, height, width, 3).

    draw: makes a picture (height, width, 3) of some places, the last of them over the others.
    """
    slots_of_pictures = [[slot] for slot in layout.slots] if by_row else [from_back(layout.slots)]
    return torch.stack([draw(slots) for slots in slots_of_pictures])


def from_back(slots: Sequence[Slot]) -> Sequence[Slot]:
    """Places in the order in which they are drawn over each other."""
    return sorted(slots, key=lambda slot: slot.depth)


_JOINT_RADIUS = 4
_HALF_THICKNESS = 4
"""Half the width of a limb, and of the lines between face keypoints, in pixels."""
_KEYPOINT_RADIUS = 10


def skeleton(poses: Sequence[Pose], width: int, height: int) -> Tensor:
    """The control picture ID-Patch was trained with: (height, width, 3) float32 0..1, black background.

    It is 0.4 of `below`, which has the joints, and 0.6 of `above`, which has the limbs drawn over the joints (ID-Patch,
    utils/draw_condition.py, from mmpose). It must be OpenCV's drawing to the pixel.
    """
    people = [openpose(pose) for pose in poses]
    below = np.zeros((height, width, 3), np.uint8)
    for joints in people:
        # Joints without a limb are not drawn.
        for number in sorted({number for limb in seen_limbs(joints) for number in (limb.start, limb.end)}):
            x, y, _ = joints[number]
            disc(below, int(x), int(y), _JOINT_RADIUS, _LIMB_COLORS[number])
    above = np.array(below)
    for joints in people:
        for limb in seen_limbs(joints):
            _draw_limb(above, joints[limb.start], joints[limb.end], _LIMB_COLORS[limb.number])
    return torch.as_tensor(below * 0.4 + above * 0.6).round().float() / 255


def _draw_limb(
    canvas: Pixels,
    start: Sequence[float],
    end: Sequence[float],
    color: Color,
    half_thickness: int = _HALF_THICKNESS,
) -> None:
    """Draw a limb as a thin ellipse. As the authors do, its centre, length and angle are cut down to whole numbers.

    start, end: x and y of its two ends; further numbers, such as a confidence, are ignored. half_thickness: px.
    """
    across = start[0] - end[0]
    down = start[1] - end[1]
    half_length = int((down**2 + across**2) ** 0.5 / 2)
    angle = int(math.degrees(math.atan2(down, across)))
    x = int((start[0] + end[0]) / 2)
    y = int((start[1] + end[1]) / 2)
    ellipse(canvas, x, y, (half_length, half_thickness), angle, color)


# What matplotlib's hsv_to_rgb and OpenCV's rounding make of the hues 0, 1/20, 2/20, ...
_FINGER_COLORS = (
    (255, 0, 0), (255, 77, 0), (255, 153, 0), (255, 229, 0), (204, 255, 0), (128, 255, 0), (51, 255, 0), (0, 255, 25),
    (0, 255, 102), (0, 255, 179), (0, 255, 255), (0, 178, 255), (0, 102, 255), (0, 25, 255), (51, 0, 255),
    (128, 0, 255), (204, 0, 255), (255, 0, 230), (255, 0, 153), (255, 0, 77),
)  # fmt: skip
_FINGER_POINT_COLOR = (0, 0, 255)
_FACE_POINT_RADIUS = 3
_FACE_POINT_COLOR = (255, 255, 255)
_DARKENED = 0.6


def _dwpose_picture(places: Sequence[Slot], width: int, height: int, hands_and_faces: bool, thick: bool) -> Tensor:
    """People over each other, the last in front, as comfyui_controlnet_aux draws DWPose: (height, width, 3) 0..1."""
    picture = np.zeros((height, width, 3), np.uint8)
    half_thickness = _HALF_THICKNESS * _growth(max(width, height)) if thick else _HALF_THICKNESS  # of limbs, in pixels
    for slot in places:
        if slot.pose:
            _draw_body(picture, openpose(slot.pose), half_thickness)
        if hands_and_faces:
            _draw_hand(picture, slot.left_hand or ())
            _draw_hand(picture, slot.right_hand or ())
            _draw_points(picture, slot.face_points or (), _FACE_POINT_RADIUS, _FACE_POINT_COLOR)
    return torch.as_tensor(picture).float() / 255


def has_hands_or_face(slot: Slot) -> bool:
    """Whether more than the body of this place can be drawn."""
    return any((slot.left_hand, slot.right_hand, slot.face_points))


def _growth(longer_side: int) -> int:
    """How many times thicker limbs are drawn for xinsir's nets (their card; comfyui_controlnet_aux, dwpose/util.py).

    longer_side: of the picture, px.
    """
    return 1 if longer_side < 500 else min(2 + longer_side // 1000, 7)


def _draw_body(canvas: Pixels, joints: Sequence[Joint], half_thickness: int) -> None:
    """Draw darkened limbs, and over them the seen joints, also those without a limb. joints: eighteen OpenPose points,
    (x, y, confidence) each."""
    for limb in seen_limbs(joints):
        red, green, blue = (int(value * _DARKENED) for value in _LIMB_COLORS[limb.number])
        _draw_limb(canvas, joints[limb.start], joints[limb.end], (red, green, blue), half_thickness)
    # Joints have the same colours in their own order, one more than there are limbs.
    for (x, y, confidence), color in zip(joints, _LIMB_COLORS, strict=True):
        if confidence > SEEN:
            disc(canvas, int(x), int(y), _JOINT_RADIUS, color)


def _draw_hand(canvas: Pixels, points: Sequence[Joint]) -> None:
    """Draw the lines of the fingers, and the points over them. points: the 21 of a Hand, the wrist first, or none."""
    wrist, fingers = points[:1], points[1:]  # both empty without points, so that no line is drawn
    for first in range(0, len(fingers), 4):  # each finger has four points, and a line to each from the one before
        points_of_finger = fingers[first : first + 4]
        colors = _FINGER_COLORS[first : first + 4]
        for (start, end), color in zip(pairwise([*wrist, *points_of_finger]), colors, strict=True):
            if _is_drawn(start) and _is_drawn(end):
                thick_line(canvas, _pixel(start), _pixel(end), color)
    _draw_points(canvas, points, _JOINT_RADIUS, _FINGER_POINT_COLOR)


def _draw_points(canvas: Pixels, points: Sequence[Joint], radius: int, color: Color) -> None:
    for point in points:
        if _is_drawn(point):
            disc(canvas, *_pixel(point), radius, color)


def _is_drawn(point: Joint) -> bool:
    """Whether a point of a hand or face is drawn: DWPose leaves out the first column and the first row of pixels."""
    return point[2] > SEEN and min(_pixel(point)) > 0


def _pixel(point: Joint) -> Pixel:
    return (int(point[0]), int(point[1]))


_KEYPOINT_COLORS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255))


def face_keypoints(faces: Sequence[Keypoints], width: int, height: int) -> Tensor:
    """The hint IdentityNet was trained with: (height, width, 3) float32 0..1, black background.

    Each face is drawn by itself, as in InstantID's draw_kps, so that a single face is exactly the published drawing.
    Of several drawings the largest value of each pixel counts.
    """
    all_faces = np.zeros((height, width, 3), np.uint8)
    for points in faces:
        lines = np.zeros_like(all_faces)
        for number, point in enumerate(points):
            if number != NOSE:
                _draw_limb(lines, point, points[NOSE], _KEYPOINT_COLORS[number])
        # As in draw_kps: the lines are darkened, then the discs are drawn over them.
        one_face = (lines * _DARKENED).astype(np.uint8)
        for (x, y), color in zip(points, _KEYPOINT_COLORS, strict=True):
            disc(one_face, int(x), int(y), _KEYPOINT_RADIUS, color)
        all_faces = np.maximum(all_faces, one_face)
    return torch.as_tensor(all_faces).float() / 255


class NoKeypoints(LikenessError):
    """No face keypoints where a method needs them.

    places: numbers of the places that have none; empty where a picture of keypoints shows no face.
    """

    def __init__(self, node: str, places: Sequence[str]) -> None:
        if not places:
            problem = "there is no face in the keypoints image"
        elif len(places) > 1:
            problem = f"places {listed(places)} have no face keypoints"
        else:
            problem = f"place {listed(places)} has no face keypoints"
        super().__init__(
            f"{node}: {problem}.",
            "Make the layout from faces or masks, or with Layout for a Group: these know where eyes, nose and mouth "
            "are. In a pose, show more of head and shoulders.",
        )
