"""Previews of places: what is drawn where, in which colour, by coordinates and colours that are written down here."""

import numpy as np
import pytest
import torch
from pack.core.cast import Joint, Layout, Slot
from pack.core.pictures.previews import Sheet
from pack.core.places.place_previews import numbered_layout
from PIL import Image

OKABE_ITO = ((86, 180, 233), (230, 159, 0), (0, 190, 130))
"""The colours of the first three places."""
BACKGROUND = (20, 22, 26)
WHITE = (255, 255, 255)

COCO = (
    "nose", "left eye", "right eye", "left ear", "right ear", "left shoulder", "right shoulder", "left elbow",
    "right elbow", "left wrist", "right wrist", "left hip", "right hip", "left knee", "right knee", "left ankle",
    "right ankle",
)  # fmt: skip
"""The joints of a pose, in the order of the COCO data set."""
OPENPOSE = (
    ("neck", "right shoulder"), ("neck", "left shoulder"), ("right shoulder", "right elbow"),
    ("right elbow", "right wrist"), ("left shoulder", "left elbow"), ("left elbow", "left wrist"),
    ("neck", "right hip"), ("right hip", "right knee"), ("right knee", "right ankle"), ("neck", "left hip"),
    ("left hip", "left knee"), ("left knee", "left ankle"), ("neck", "nose"), ("nose", "right eye"),
    ("right eye", "right ear"), ("nose", "left eye"), ("left eye", "left ear"),
)  # fmt: skip
"""The limbs that OpenPose draws (limbSeq of its Python port, by names)."""


def colours(preview: torch.Tensor) -> np.ndarray:
    """(H, W, 3) of 0 to 255."""
    return (preview * 255).round().byte().numpy()


def boxed(left: float, top: float) -> Slot:
    """A place with a face box of 120x160 px whose centre lies in another part of the picture."""
    return Slot((left + 60, top + 300), (left, top, left + 120, top + 160))


THREE = Layout(720, 640, (boxed(60, 120), boxed(290, 200), boxed(520, 160)))


def test_every_place_is_framed_in_its_own_colour() -> None:
    picture = colours(numbered_layout(THREE))
    for slot, colour in zip(THREE.slots, OKABE_ITO, strict=True):
        assert slot.box
        left, top, right, bottom = map(int, slot.box)
        for x, y in ((left, top + 80), (right, top + 80), (left + 60, bottom)):
            assert tuple(picture[y, x]) == colour
        assert tuple(picture[top + 80, left + 60]) == BACKGROUND


def test_the_nose_is_a_white_dot_and_nothing_is_around_it() -> None:
    picture = colours(numbered_layout(THREE))
    for slot in THREE.slots:
        x, y = map(int, slot.center)
        assert tuple(picture[y, x]) == WHITE
        assert (picture[y, x - 40 : x - 20] == BACKGROUND).all()


def test_places_are_numbered_from_one() -> None:
    """As the plate says it that stands on each box."""
    picture = colours(numbered_layout(THREE))
    expected = Sheet(Image.new("RGB", (THREE.width, THREE.height)))
    for number, (slot, colour) in enumerate(zip(THREE.slots, OKABE_ITO, strict=True), 1):
        assert slot.box
        expected.label(str(number), "", slot.box[:2], colour)
    plates = colours(expected.tensor())
    is_plate = plates.any(-1)
    assert is_plate.any()
    assert (picture[is_plate] == plates[is_plate]).all()


def test_keypoints_are_dots_in_the_colour_of_the_place() -> None:
    first = ((40.0, 60.0), (90.0, 55.0), (70.0, 90.0), (45.0, 120.0), (95.0, 118.0))
    second = tuple((x + 200, y + 30) for x, y in first)
    slots = (Slot((60.0, 250.0), None, first), Slot((260.0, 250.0), None, second))
    picture = colours(numbered_layout(Layout(400, 300, slots)))
    for points, colour in ((first, OKABE_ITO[0]), (second, OKABE_ITO[1])):
        for x, y in points:
            assert tuple(picture[int(y), int(x)]) == colour


def test_limbs_are_those_of_openpose() -> None:
    """By the middle of each of them; a limb with an end that is not seen is not drawn."""
    centers = {
        "nose": (300, 80), "left eye": (330, 50), "right eye": (270, 50), "left ear": (370, 70), "right ear": (230, 70),
        "left shoulder": (400, 160), "right shoulder": (200, 160), "left elbow": (470, 260), "right elbow": (130, 260),
        "left wrist": (440, 360), "right wrist": (110, 370), "left hip": (350, 400), "right hip": (250, 400),
        "left knee": (390, 520), "right knee": (210, 520), "left ankle": (400, 630), "right ankle": (190, 630),
    }  # fmt: skip
    hidden = "left wrist"
    joints: list[Joint] = []
    for name in COCO:
        x, y = centers[name]
        joints.append((float(x), float(y), 0.1 if name == hidden else 1.0))
    slot = Slot((550.0, 640.0), pose=tuple(joints))
    picture = colours(numbered_layout(Layout(640, 720, (slot,))))
    points = {**centers, "neck": (300, 160)}
    for start, end in OPENPOSE:
        x = (points[start][0] + points[end][0]) / 2
        y = (points[start][1] + points[end][1]) / 2
        middle = picture[round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3]
        is_drawn = bool((middle == OKABE_ITO[0]).all(-1).any())
        assert is_drawn == (hidden not in (start, end)), (start, end)


def test_a_region_is_pale_inside_and_has_an_edge() -> None:
    """70 of 255 of the colour over the background inside; all of it at the edge; nothing outside."""
    mask = torch.zeros(300, 400)
    mask[60:240, 200:380] = 1
    slot = Slot((60.0, 60.0), mask=mask)
    picture = colours(numbered_layout(Layout(400, 300, (slot,))))
    pale = [back + (front - back) * 70 / 255 for back, front in zip(BACKGROUND, OKABE_ITO[0], strict=True)]
    assert picture[150, 290].tolist() == pytest.approx(pale, abs=1)
    assert tuple(picture[150, 200]) == tuple(picture[239, 290]) == OKABE_ITO[0]
    assert tuple(picture[150, 190]) == tuple(picture[245, 290]) == BACKGROUND


RED = (255, 0, 0)
GREEN = (0, 255, 0)
BLACK = (0, 0, 0)


@pytest.mark.parametrize(
    ("fit", "left_edge", "near_the_left_edge", "upper_edge"),
    [("crop", GREEN, GREEN, GREEN), ("pad", RED, RED, BLACK), ("stretch", RED, RED, GREEN)],
)
def test_a_background_lies_below_by_its_fit(
    fit: str,
    left_edge: tuple[int, int, int],
    near_the_left_edge: tuple[int, int, int],
    upper_edge: tuple[int, int, int],
) -> None:
    """A green photo twice as wide as the canvas, with a red stripe over the first fifth of its width."""
    photo = torch.tensor(GREEN).float().expand(200, 400, 3) / 255
    photo = photo.clone()
    photo[:, :80] = torch.tensor(RED) / 255
    layout = Layout(200, 200, (Slot((150.0, 100.0)),))
    picture = colours(numbered_layout(layout, background=photo, fit=fit))
    assert tuple(picture[100, 2]) == left_edge
    assert tuple(picture[100, 30]) == near_the_left_edge
    assert tuple(picture[5, 60]) == upper_edge
    assert tuple(picture[100, 60]) == GREEN


def test_notes_stand_in_their_order_at_the_lower_edge() -> None:
    """Black letters on white: the first note, which is the longer one, has more of them and stands higher."""
    picture = colours(numbered_layout(THREE, notes=["WWWWWWWWWWWWWWWW", "i"]))
    height = THREE.height
    written = (picture[:, 4:] < 100).all(-1) & (picture[:, :1] > 200).all(-1)  # in rows that are white at the left
    rows = np.nonzero(written.any(1))[0]
    middle = (rows.min() + rows.max()) // 2
    assert written[:middle].sum() > 5 * written[middle:].sum() > 0
    assert rows.max() > height - 20
