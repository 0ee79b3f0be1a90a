"""Faces without insightface, onnxruntime and cv2: the same ones, against insightface on every real photo."""

import numpy as np
import pytest
import real_faces
import torch
from figures import relative
from insightface.model_zoo import get_model
from insightface.utils.face_align import norm_crop
from pack.core.faces import model, pictures
from pack.core.faces.finding import Detection, find_faces
from pack.core.models.onnx_file import Node, Program
from real_faces import picture

PHOTOS = (
    real_faces.SIX_FRIENDS, real_faces.TEAM, real_faces.YAO, real_faces.TIGHT, real_faces.ASTRONAUT, real_faces.COFFEE
)  # fmt: skip


@pytest.fixture(scope="module")
def theirs():
    """insightface's own detector, as a detector of ours, and its recogniser."""
    opened = (real_faces.DETECTOR, {"static_shape_sessions": False}), (real_faces.RECOGNISER, {})
    detects, recognises = (get_model(str(path), providers=["CPUExecutionProvider"], **how) for path, how in opened)

    def found(bgr, size):
        faces = zip(*detects.detect(bgr, input_size=(size, size)), strict=True)
        return [Detection(tuple(box[:4]), tuple(map(tuple, points)), box[4]) for box, points in faces]

    return found, recognises


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
def test_every_face_of_every_photo(detector, recogniser, theirs, path):
    bgr = picture(path)
    found, expected = find_faces(detector, bgr), find_faces(theirs[0], bgr)
    assert found.tried == expected.tried
    pairs = list(zip(found.faces, expected.faces, strict=True))
    for face, other in pairs:
        assert face.score == pytest.approx(other.score, abs=1e-4)
        assert np.abs(np.subtract(face.box, other.box)).max() < 0.01
        assert np.abs(np.subtract(face.keypoints, other.keypoints)).max() < 0.01
    for face, other in pairs[:8]:  # recognising all of a crowd takes long
        crop, wanted = pictures.align(bgr, face.keypoints, 112), norm_crop(bgr, np.array(other.keypoints))
        assert np.abs(crop.astype(int) - wanted).max() <= 1
        embedding = torch.from_numpy(theirs[1].get_feat(wanted))
        assert relative(recogniser.embed([wanted]), embedding) <= 1e-4
        assert torch.cosine_similarity(recogniser.embed([crop]), embedding) > 0.9999


def test_a_face_at_the_edge_is_black_outside_of_the_picture(detector):
    bgr = picture(real_faces.TIGHT)
    keypoints = tuple((x - 60, y + 40) for x, y in find_faces(detector, bgr).faces[0].keypoints)
    crop, expected = pictures.align(bgr, keypoints, 224), norm_crop(bgr, np.array(keypoints), 224)
    assert np.abs(crop.astype(int) - expected).max() <= 1
    assert not crop[:, :40].any() and crop.any()


@pytest.mark.parametrize("operators", [("Sub", "Mul"), ("Conv", "PRelu")])
def test_networks_from_mxnet_scale_pictures_themselves(operators):
    nodes = tuple(Node(operator, (), (), {}) for operator in operators)
    assert model.scales_pixels(Program("x.onnx", "data", ("y",), nodes, {})) is ("Sub" in operators)
    crop = np.full((112, 112, 3), (0, 127, 255), np.uint8)
    seen = []
    model.ArcFace("x", lambda x: seen.append(x) or [torch.ones(1, 512)], 112, "Sub" in operators).embed([crop])
    rgb = (255.0, 127.0, 0.0) if "Sub" in operators else (1.0, -0.5 / 127.5, -1.0)
    assert seen[0][0, :, 5, 5].tolist() == pytest.approx(rgb)
