"""Real faces through the real detector and recogniser."""

import re
from dataclasses import replace

import cv2
import numpy as np
import pytest
import real_faces
import torch
from insightface.utils.face_align import norm_crop
from pack.core.cast import NOSE
from pack.core.checks.errors import BadEmbedding, BadPhoto, FaceNotFound, LikenessError
from pack.core.faces import analysis, pictures
from pack.core.faces.finding import find_faces
from pack.core.faces.pictures import to_image
from pack.core.pictures import geometry
from pack.core.pictures.geometry import area, longer_side
from pack.core.pictures.previews import color_of
from pack.core.pictures.tensors import eight_bits
from PIL import Image
from real_faces import picture
from shared import photos

FFHQ_POINTS = np.array(
    [
        [192.98138, 239.94708],
        [318.90277, 240.1936],
        [256.63416, 314.01935],
        [201.26117, 371.41043],
        [313.08905, 371.15118],
    ]
)
"""Of facexlib's template of 512 px."""


def turned(photo, turns):
    return np.ascontiguousarray(np.rot90(photo, turns))


@pytest.fixture(scope="module")
def six(detector):
    return analysis.detect(detector, picture(real_faces.SIX_FRIENDS), "x")


@pytest.fixture(scope="module")
def embed(detector, recogniser):
    def faces(photo, portraits=False):
        detected = analysis.arrange(analysis.detect(detector, photo, "the photo"), "left to right")
        return analysis.recognise([recogniser], photo, detected, "the photo", portraits)

    return faces


def likeness(a, b):
    return torch.cosine_similarity(a.embeddings["w600k_mbf"], b.embeddings["w600k_mbf"], dim=0).item()


def test_portraits_are_the_face_doubled_and_head_and_shoulders_upright(embed):
    """The aligned one is insightface's at 224 px, the loose one 2.2 faces wide around the face, as the photo stands.
    The third is facexlib's."""
    photo = picture(real_faces.ASTRONAUT)
    (upright,) = embed(photo)
    x0, y0, x1, y1 = upright.box
    half = 1.1 * max(x1 - x0, y1 - y0)
    left = (x0 + x1) / 2 - half
    top = (max(y0, 2 * half - y1) + y1) / 2 - half
    around_the_face = (left, top, left + 2 * half, top + 2 * half)
    expected = Image.fromarray(photo).resize((512, 512), box=around_the_face)
    for turns in range(4):
        lying = turned(photo, -turns)
        (face,) = embed(lying, portraits=True)
        assert face.portrait.aligned.shape == (1, 224, 224, 3)
        assert face.portrait.loose.shape == (1, 512, 512, 3)
        aligned = norm_crop(lying, np.asarray(face.keypoints), 224).astype(int)
        assert np.abs(face.portrait.aligned[0].numpy() - aligned).max() <= 1
        expected_crop = norm_crop(lying, np.asarray(face.keypoints), 112) / 255  # what previews show
        assert face.crop.shape == (112, 112, 3)
        assert np.abs(face.crop.numpy() - expected_crop).max() <= 1.01 / 255
        head = face.portrait.ffhq[0].numpy()
        assert head.shape == (512, 512, 3)
        transform, _ = cv2.estimateAffinePartial2D(np.asarray(face.keypoints), FFHQ_POINTS, method=cv2.LMEDS)
        grey = cv2.warpAffine(lying, transform, (512, 512), borderValue=(132, 133, 135))  # as facexlib fills the border
        assert np.abs(head - grey.astype(int)).max() <= 1
        difference = np.abs(face.portrait.loose[0].numpy() - np.asarray(expected).astype(int)).mean()
        assert difference < 6, "grey levels; a wrong turn: 70"


def test_orders(six):
    top = analysis.arrange(six, "top to bottom")
    largest = analysis.arrange(six, "largest")
    surest = analysis.arrange(six, "score")
    assert [f.keypoints[NOSE][1] for f in top] == sorted(f.keypoints[NOSE][1] for f in six)
    assert [area(f.box) for f in largest] == sorted((area(f.box) for f in six), reverse=True)
    assert [f.score for f in surest] == sorted((f.score for f in six), reverse=True)
    assert [analysis.choose(six, f"{n}", "x") for n in range(1, 7)] == analysis.arrange(six, "left to right")
    assert analysis.choose(six, "largest", "x") == largest[0]
    assert len(analysis.large_enough(six, 100)) < 6
    below = six[0].moved(lambda point: tuple(np.add(point, (0, 10)).tolist()))
    assert analysis.arrange([below, six[0]], "left to right") == [six[0], below]


def test_each_face_has_a_box_in_its_own_colour(six):
    shown = analysis.numbered_faces(torch.zeros(*picture(real_faces.SIX_FRIENDS).shape), six)
    for number, face in enumerate(six):
        _, y0, x1, y1 = face.box
        edge = shown[round(y0 + y1) // 2, round(x1) - 2 : round(x1) + 3]
        assert (edge * 255).round().amax(0).tolist() == [*color_of(number)]


def test_heads_of_five_points_anywhere_are_turned_as_by_facexlib():
    """No point of its template is read in vain: with another one the two would turn or scale otherwise."""
    targets = [complex(*point) for point in pictures._FFHQ_TEMPLATE]
    for points in FFHQ_POINTS / 3 + np.random.default_rng(4).normal(0, 15, (60, 5, 2)):
        transform, _ = cv2.estimateAffinePartial2D(points, FFHQ_POINTS, method=cv2.LMEDS)
        fit = pictures._robust_fit([complex(*point) for point in points], targets)
        assert (fit.factor, fit.shift) == pytest.approx(tuple(transform[0, ::2] + 1j * transform[1, ::2]), rel=1e-4)


@pytest.mark.parametrize("path", [real_faces.TIGHT, real_faces.YAO, real_faces.ASTRONAUT], ids=lambda path: path.stem)
def test_tight_crop_is_found_in_a_later_view(detector, embed, path):
    photo = picture(path)
    uncut_face = None
    if path is not real_faces.TIGHT:
        (uncut_face,) = embed(photo)
        x0, y0, x1, y1 = (round(edge) for edge in uncut_face.box)
        photo = np.ascontiguousarray(photo[y0:y1, x0:x1])
    assert len(find_faces(detector, photo)) == 1
    assert not detector(photo, 640)
    assert uncut_face is None or likeness(uncut_face, embed(photo)[0]) > 0.8


@pytest.fixture(scope="module")
def eight(tmp_path_factory):
    """Photos of one person each."""
    return (*photos.pair(), *real_faces.six(tmp_path_factory.mktemp("people")))


EIGHT = [0, 2, *(pytest.param(number, marks=pytest.mark.thorough) for number in (1, 3, 4, 5, 6, 7))]


@pytest.mark.parametrize("number", EIGHT)
@pytest.mark.parametrize("turns", [1, *(pytest.param(n, marks=pytest.mark.thorough) for n in (2, 3))])
def test_turned_photo_gives_the_same_person_in_the_same_place(embed, eight, number, turns):
    """Upside down this detector reports a face with the eyes on the mouth, or one on its side: found is not enough."""
    photo = picture(eight[number])
    (upright,), (turned_face,) = embed(photo), embed(turned(photo, turns))
    assert likeness(upright, turned_face) > 0.999
    height, width = photo.shape[:2]
    x, y = upright.keypoints[NOSE]
    nose = {1: (y, width - 1 - x), 2: (width - 1 - x, height - 1 - y), 3: (height - 1 - y, x)}[turns]
    assert turned_face.keypoints[NOSE] == pytest.approx(nose, abs=2)
    x0, y0, x1, y1 = turned_face.box
    assert x0 < nose[0] < x1
    assert y0 < nose[1] < y1


@pytest.fixture(scope="module")
def squares(eight):
    """400x400 px cuts of eight people's faces, upright."""
    cuts = []
    for path in eight:
        with Image.open(path) as opened:
            cuts.append(_cut_around_the_face(opened.convert("RGB")))
    return cuts


def _cut_around_the_face(photo):
    faces = find_faces(real_faces.detector(), np.array(photo))
    x0, y0, x1, y1 = analysis.arrange(faces, "largest")[0].box
    x = (x0 + x1) / 2
    y = (y0 + y1) / 2
    half = int(min(1.1 * max(x1 - x0, y1 - y0), x, y, photo.width - x, photo.height - y))
    return photo.crop((int(x) - half, int(y) - half, int(x) + half, int(y) + half)).resize((400, 400))


def side_by_side(*cuts):
    """Squares of 400 px in a row."""
    sheet = Image.new("RGB", (400 * len(cuts), 400), "grey")
    for number, cut in enumerate(cuts):
        sheet.paste(cut, (400 * number, 0))
    return np.array(sheet)


def by_column(faces):
    """Faces by the number of the 400 px square in which their middle lies."""
    columns = [int((face.box[0] + face.box[2]) / 2 // 400) for face in faces]
    assert len(set(columns)) == len(columns), "one face is reported twice"
    return dict(zip(columns, faces, strict=True))


# Of these two the detector reports nothing at all beside an upright face: the second below is not found on its head.
_NOT_SEEN_ON_ITS_HEAD = (3, 6)


@pytest.mark.parametrize("turn", [90, *(pytest.param(turn, marks=pytest.mark.thorough) for turn in (180, 270))])
@pytest.mark.parametrize("lying_first", [pytest.param(False, marks=pytest.mark.thorough), True])
@pytest.mark.parametrize("number", EIGHT)
def test_a_face_that_lies_beside_an_upright_one_is_the_same_person(embed, squares, turn, lying_first, number):
    """The reported eyes are the eyes."""
    if turn == 180 and number in _NOT_SEEN_ON_ITS_HEAD:
        pytest.skip("it is not seen beside an upright one")
    neighbour, cut = squares[(number + 1) % len(squares)], squares[number]
    expected = [embed(side_by_side(square))[0] for square in (neighbour, cut)]
    pair = [neighbour, cut.rotate(turn)]
    if lying_first:
        pair = pair[::-1]
        expected = expected[::-1]
    faces = by_column(embed(side_by_side(*pair)))
    assert sorted(faces) == [0, 1]
    for column in (0, 1):
        assert likeness(expected[column], faces[column]) > 0.95, column
        assert faces[column].certain
    lying = faces[0 if lying_first else 1]
    assert geometry.upright(lying.keypoints) == -turn // 90 % 4


@pytest.mark.parametrize("number", _NOT_SEEN_ON_ITS_HEAD)
def test_a_face_that_is_not_seen_at_all_is_found_where_somebody_has_counted_it(detector, embed, squares, number):
    """On its head, beside an upright one. Nobody is told of it, until face 2 is asked for."""
    neighbour = squares[number + 1]
    upright_face = embed(side_by_side(squares[number]))[0]
    photo = side_by_side(neighbour, squares[number].rotate(180))
    assert len(find_faces(detector, photo)) == 1
    detected = analysis.detect(detector, photo, "the photo", expected=2)
    face = by_column(analysis.recognise([real_faces.recogniser()], photo, detected, "the photo"))[1]
    assert likeness(upright_face, face) > 0.95
    assert face.certain
    assert geometry.upright(face.keypoints) == -2 % 4

    def upright_alone(picture, size):
        faces = detector(picture, size)
        return [face for face in faces if face.score >= 0.7 and geometry.upright(face.keypoints) == 0]

    both_lie = side_by_side(neighbour.rotate(90), squares[number].rotate(270))
    assert len(find_faces(upright_alone, both_lie, expected=2)) == 2


@pytest.mark.parametrize("path", [real_faces.SIX_FRIENDS, real_faces.ASTRONAUT, real_faces.YAO], ids=lambda p: p.stem)
def test_who_counts_too_many_is_given_no_other_faces(detector, path):
    photo = picture(path)
    assert find_faces(detector, photo, expected=99) == tuple(detector(photo, 640))


def test_three_faces_of_three_turns_and_one_that_is_seen_in_its_own_turn_alone(detector, embed, squares):
    """The last is reported by the detector in no other turn: it is found because another face lies."""
    upright_faces = [embed(side_by_side(squares[number]))[0] for number in (0, 1, 2, 3)]
    row = [squares[0], squares[1].rotate(90), squares[2].rotate(270), squares[3].rotate(180)]
    photo = side_by_side(*row)
    assert 3 not in by_column(detector(photo, 640))
    faces = by_column(embed(photo))
    assert sorted(faces) == [0, 1, 2, 3]
    for column, face in faces.items():
        assert likeness(upright_faces[column], face) > 0.95, column
    # Its surest face lies, so the whole photo is turned first.
    in_a_column = sorted(
        embed(turned(side_by_side(squares[0], squares[1].rotate(90)), 1)), key=lambda face: face.box[1]
    )
    for upright_face, face in zip(upright_faces[1::-1], in_a_column, strict=True):
        assert likeness(upright_face, face) > 0.95


class Counting:
    """A detector that knows how often it was asked, and for which size."""

    def __init__(self, detector):
        self.detector = detector
        self.sizes = []

    def __call__(self, photo, size):
        self.sizes.append(size)
        return self.detector(photo, size)


@pytest.mark.parametrize("path", [real_faces.SIX_FRIENDS, real_faces.ASTRONAUT, real_faces.YAO], ids=lambda p: p.stem)
def test_upright_faces_are_looked_at_once_and_stay_as_they_are(detector, path):
    counting = Counting(detector)
    photo = picture(path)
    assert find_faces(counting, photo) == tuple(detector(photo, 640))
    assert counting.sizes == [640]


def large_group(size, across):
    """Six friends in a row of `across` px behind one large face, on a photo of a camera. size: (width, height)."""
    width, height = size
    photo = Image.new("RGB", size, (120, 130, 140))
    with Image.open(real_faces.SIX_FRIENDS) as opened:
        friends = opened.convert("RGB").resize(
            (across, across * opened.height // opened.width), Image.Resampling.LANCZOS
        )
    photo.paste(friends, (width - across - 50, 50))
    side = min(width, height) * 6 // 10
    with Image.open(photos.pair()[0]) as front:
        photo.paste(front.convert("RGB").resize((side, side)), (50, height - side))
    return np.array(photo)


@pytest.mark.parametrize(
    ("size", "across", "unseen_below"),
    [
        ((4000, 3000), 1280, 71),
        pytest.param((6000, 4000), 1280, 75, marks=pytest.mark.thorough),
        pytest.param((6000, 8000), 1280, 77, marks=pytest.mark.thorough),
        pytest.param((12000, 3000), 900, 75, marks=pytest.mark.thorough),
    ],
)
def test_small_faces_of_large_photos_are_found_and_numbered(detector, embed, size, across, unseen_below):
    """A face of a hundred pixels, which a recogniser reads, has eleven of them at the detector's own size."""
    six = embed(picture(real_faces.SIX_FRIENDS))
    photo = large_group(size, across)
    found = embed(photo)
    assert len(found) == 7
    friends = [face for face in found if longer_side(face.box) < 250]
    likenesses = [likeness(face, friend) for face, friend in zip(six, friends, strict=True)]
    assert min(likenesses) > 0.4, "the same people in the same order"
    (line,) = analysis.unsure_faces(analysis.numbered(found))
    assert line.startswith(f"In large photos faces below {unseen_below} px may not be seen")
    with pytest.raises(BadPhoto, match=rf"has 7 .*faces below {unseen_below} px may not be seen"):
        analysis.choose(found, "8", "the photo")


@pytest.mark.parametrize(("size", "advice"), [((3000, 200), "faces below 75 px may not"), ((2000, 800), "^Use a")])
def test_of_a_photo_too_wide_for_its_faces_it_is_said(size, advice):
    width, height = size
    with pytest.raises(FaceNotFound) as error:
        analysis.detect(lambda photo, side: [], np.zeros((height, width, 3), np.uint8), "the photo")
    assert re.search(advice, error.value.advice)


def test_a_large_photo_is_looked_at_twice_and_no_other(detector):
    counting = Counting(detector)
    for size in ((6000, 4000), (4480, 3000)):
        (face,) = find_faces(counting, large_group(size, 8))
        assert bool(face.unseen_below) == (size == (6000, 4000))
    assert counting.sizes == [640, 1280, 640]


def test_small_upright_faces_stay_as_they_are(detector):
    """Of 22 faces six score below 0.7. Each is looked at in four turns, at a quarter of the work: all are upright."""
    counting = Counting(detector)
    photo = picture(real_faces.TEAM)
    assert find_faces(counting, photo) == tuple(detector(photo, 640))
    assert counting.sizes == [640] + [320] * 24


def test_a_face_that_no_turn_shows_clearly_is_named(embed, squares):
    """It leans by 225 degrees, of which no quarter turn makes it upright: a face with the eyes beside the mouth."""
    neighbour = squares[1]
    leaning = squares[0].rotate(225, fillcolor=(90, 90, 90))
    photo = side_by_side(neighbour, leaning.resize((60, 60)).resize((400, 400)))
    faces = embed(photo)
    assert [face.certain for face in faces] == [True, False]
    (line,) = analysis.unsure_faces(analysis.numbered(faces))
    assert line == "Not sure which way up these faces are: face 2; turn the photo until they are upright"
    assert analysis.describe(faces[1]).endswith("not sure which way up it is, turn the photo until it is upright")
    small = analysis.describe(replace(faces[0], box=(0, 0, 60, 80), score=0.9))
    assert small == "face of 60x80 px, score 0.90; small, a larger photo gives a better likeness"


class Broken:
    """A recogniser that returns NaN."""

    id = "broken"
    crop_size = 112
    one_person_from = None

    def embed(self, crops):
        return torch.full((len(crops), 512), float("nan"))


@pytest.mark.parametrize(
    ("act", "error", "words"),
    [
        (lambda six: analysis.choose(six, "only", "the photo of Ross"), BadPhoto, r"photo of Ross .* 6 faces"),
        (lambda six: analysis.choose(six, "7", "the photo"), BadPhoto, r"Face 7 .* 6 .*1 to 6"),
        (lambda six: analysis.large_enough(six, 500), LikenessError, r"6 faces.* \d+ px .*min_size .*500 px"),
        (lambda six: analysis.recognise([Broken()], picture(real_faces.SIX_FRIENDS), six, "photo 3"), BadEmbedding,
         r"broken .*photo 3 .*NaN"),
    ],
    ids=["several", "number", "small", "NaN"],
)  # fmt: skip
def test_what_is_no_face_of_the_photo_is_refused(six, act, error, words):
    with pytest.raises(error, match=words):
        act(six)


def test_photos_are_kept_to_the_bit_and_transparent_pixels_are_white():
    rgb = real_faces.image(real_faces.ASTRONAUT)[0]
    assert torch.equal(to_image(eight_bits(rgb)), rgb)
    assert (eight_bits(rgb.half()) == eight_bits(rgb)).all()
    rgba = torch.tensor([[[0.2, 0.4, 0.6, 0.0], [0.2, 0.4, 0.6, 1.0]]])
    assert eight_bits(rgba).tolist() == [[[255, 255, 255], [51, 102, 153]]]
