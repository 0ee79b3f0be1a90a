"""Faces without insightface, onnxruntime and cv2: the same ones, against insightface on every real photo."""

import numpy as np
import pytest
import real_faces
import torch
from figures import relative
from insightface.model_zoo import get_model
from insightface.utils.face_align import norm_crop
from pack.core.faces import model, pictures, scrfd
from pack.core.faces.finding import Detection, find_faces
from pack.core.models.onnx_file import Node, Program
from real_faces import picture

PHOTOS = (
    real_faces.SIX_FRIENDS, real_faces.TEAM, real_faces.YAO, real_faces.TIGHT, real_faces.ASTRONAUT, real_faces.COFFEE
)  # fmt: skip


def in_bgr(photo):
    """As insightface reads it."""
    return np.ascontiguousarray(photo[..., ::-1])


@pytest.fixture(scope="module")
def of_insightface():
    """insightface's own detector, as a detector of ours, and its recogniser."""
    providers = ["CPUExecutionProvider"]
    detector = get_model(str(real_faces.DETECTOR), providers=providers, static_shape_sessions=False)
    recogniser = get_model(str(real_faces.RECOGNISER), providers=providers)

    def detect(photo, size):
        faces = zip(*detector.detect(in_bgr(photo), input_size=(size, size)), strict=True)
        return [Detection(tuple(box[:4]), tuple(map(tuple, points)), box[4]) for box, points in faces]

    return detect, recogniser


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
def test_every_face_of_every_photo(detector, recogniser, of_insightface, path):
    photo = picture(path)
    detect, reference_recogniser = of_insightface
    pairs = list(zip(find_faces(detector, photo), find_faces(detect, photo), strict=True))
    for face, expected_face in pairs:
        assert face.score == pytest.approx(expected_face.score, abs=1e-4)
        assert np.abs(np.subtract(face.box, expected_face.box)).max() < 0.01
        assert np.abs(np.subtract(face.keypoints, expected_face.keypoints)).max() < 0.01
    for face, expected_face in pairs[:8]:  # recognising all of a crowd takes long
        crop = pictures.align(photo, face.keypoints, 112)
        expected_crop = norm_crop(photo, np.array(expected_face.keypoints))
        assert np.abs(crop.astype(int) - expected_crop).max() <= 1
        embedding = torch.from_numpy(reference_recogniser.get_feat(in_bgr(expected_crop)))
        assert relative(recogniser.embed([expected_crop]), embedding) <= 1e-4
        assert torch.cosine_similarity(recogniser.embed([crop]), embedding) > 0.9999


def test_thin_and_small_boxes_that_overlap_are_left_out_as_by_insightface():
    random = np.random.default_rng(2)
    corners = random.integers(0, 24, (300, 2))
    boxes = np.hstack([corners, corners + random.integers(0, 6, (300, 2))]).astype(np.float32)
    scores = random.permutation(300).astype(np.float32)
    expected = get_model(str(real_faces.DETECTOR), providers=["CPUExecutionProvider"]).nms(np.c_[boxes, scores])
    assert scrfd._without_overlaps(torch.from_numpy(scores), torch.from_numpy(boxes)) == expected


def test_a_face_at_the_edge_is_black_outside_of_the_picture(detector):
    photo = picture(real_faces.TIGHT)
    keypoints = tuple((x - 60, y + 40) for x, y in find_faces(detector, photo)[0].keypoints)
    crop = pictures.align(photo, keypoints, 224)
    expected = norm_crop(photo, np.array(keypoints), 224)
    assert np.abs(crop.astype(int) - expected).max() <= 1
    assert not crop[:, :40].any()
    assert crop.any()


@pytest.mark.parametrize("operators", [("Sub", "Mul"), ("Conv", "PRelu")])
def test_networks_from_mxnet_scale_pictures_themselves(operators):
    nodes = tuple(Node(operator, (), (), {}) for operator in operators)
    assert model.scales_pixels(Program("x.onnx", "data", ("y",), nodes, {})) is ("Sub" in operators)
    crop = np.full((112, 112, 3), (255, 127, 0), np.uint8)
    inputs = []
    model.ArcFace("x", lambda x: inputs.append(x) or [torch.ones(1, 512)], 112, "Sub" in operators, None).embed([crop])
    rgb = (255.0, 127.0, 0.0) if "Sub" in operators else (1.0, -0.5 / 127.5, -1.0)
    assert inputs[0][0, :, 5, 5].tolist() == pytest.approx(rgb)
