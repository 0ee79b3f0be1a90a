"""Faces without insightface, onnxruntime and cv2: the same ones, against insightface on every real photo."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import real_faces
import torch
from figures import relative
from pack.core.faces import insight, model, pictures, scrfd
from pack.core.faces.ladder import find_faces
from pack.core.models.onnx_file import Node, Program, inspect, read
from real_faces import network, picture

PHOTOS = (
    real_faces.SIX_FRIENDS, real_faces.TEAM, real_faces.YAO, real_faces.TIGHT, real_faces.ASTRONAUT, real_faces.COFFEE
)  # fmt: skip


@pytest.fixture(scope="module")
def ours():
    scales = model.scales(read(str(real_faces.RECOGNISER)))
    recogniser = model.ArcFace("w600k_mbf", network(real_faces.RECOGNISER), 112, scales)
    return scrfd.Scrfd(network(real_faces.DETECTOR)), recogniser, pictures.align


@pytest.fixture(scope="module")
def theirs(detector, recogniser):
    return detector, recogniser, insight.align


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
def test_every_face_of_every_photo(ours, theirs, path):
    bgr = picture(path)
    found, expected = find_faces(ours[0], bgr), find_faces(theirs[0], bgr)
    assert found.tried == expected.tried
    for face, other in zip(found.faces, expected.faces, strict=True):
        assert face.score == pytest.approx(other.score, abs=1e-4)
        assert np.abs(np.subtract(face.box, other.box)).max() < 0.01
        assert np.abs(np.subtract(face.keypoints, other.keypoints)).max() < 0.01


@pytest.mark.parametrize("path", PHOTOS[:-1], ids=lambda path: path.stem)
def test_every_embedding_of_every_photo(ours, theirs, path):
    bgr = picture(path)
    (_, recogniser, align), (_, other, cv2_align) = ours, theirs
    for face in find_faces(theirs[0], bgr).faces[:8]:
        crop, expected = align(bgr, face.keypoints, 112), cv2_align(bgr, face.keypoints, 112)
        assert np.abs(crop.astype(int) - expected).max() <= 1
        theirs_of = other.embed([expected])
        assert relative(recogniser.embed([expected]), theirs_of) <= 1e-4
        assert torch.cosine_similarity(recogniser.embed([crop]), theirs_of) > 0.9999


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
@pytest.mark.parametrize("size", [640, 448, 192])
def test_pictures_are_fitted_to_the_bit_as_cv2_does(path, size):
    bgr = picture(path)
    square, scale = pictures.fitted(bgr, size, size)
    tall = bgr.shape[0] / bgr.shape[1]
    height, width = (size, int(size / tall)) if tall > 1 else (int(size * tall), size)
    assert scale == height / bgr.shape[0]
    assert np.array_equal(square[:height, :width].numpy(), cv2.resize(bgr, (width, height)))
    assert not square[height:].any() and not square[:, width:].any()


def test_a_face_at_the_edge_is_black_outside_of_the_picture(theirs):
    bgr = picture(real_faces.TIGHT)
    keypoints = tuple((x - 60, y + 40) for x, y in find_faces(theirs[0], bgr).faces[0].keypoints)
    crop, expected = pictures.align(bgr, keypoints, 224), insight.align(bgr, keypoints, 224)
    assert np.abs(crop.astype(int) - expected).max() <= 1
    assert not crop[:, :40].any() and crop.any()


def test_a_file_that_fixes_the_size(ours):
    """Detectors exported for one size are shown that one, whatever is asked for, as insightface does."""
    assert scrfd.fixed_size(inspect(str(real_faces.DETECTOR)).inputs[0]) is None
    assert scrfd.fixed_size((1, 3, 480, 640)) == (640, 480)
    fixed = scrfd.Scrfd(ours[0].network, (640, 480))
    bgr = picture(real_faces.SIX_FRIENDS)
    assert len(fixed(bgr, 192)) == 6 and fixed(bgr, 192) == fixed(bgr, 640)


@pytest.mark.parametrize("operators", [("Sub", "Mul"), ("Conv", "PRelu")])
def test_networks_from_mxnet_scale_pictures_themselves(operators):
    nodes = tuple(Node(operator, (), (), {}) for operator in operators)
    assert model.scales(Program("x.onnx", "data", ("y",), nodes, {})) is ("Sub" in operators)
    crop = np.full((112, 112, 3), (0, 127, 255), np.uint8)
    seen = []

    def seen_by(pixels):
        seen.append(pixels)
        return [torch.ones(1, 512)]

    model.ArcFace("x", seen_by, 112, "Sub" in operators).embed([crop])
    rgb = (255.0, 127.0, 0.0) if "Sub" in operators else (1.0, -0.5 / 127.5, -1.0)
    assert seen[0][0, :, 5, 5].tolist() == pytest.approx(rgb)
