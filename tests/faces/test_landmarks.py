"""Faces from MediaPipe's landmarks beside those of SCRFD, on real photos. The landmarks are measured: tests/golden."""

from pathlib import Path

import numpy as np
import pytest
import real_faces
import torch
from pack.core.checks.errors import BadPhoto, FaceNotFound
from pack.core.checks.value_checks import face_landmarks
from pack.core.faces import analysis, landmarks, pictures
from pack.core.pictures.geometry import area, shorter_side
from pack.core.pictures.tensors import eight_bits
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "face_landmarks.safetensors"
# name -> photo, and by how much smaller it is
PHOTOS = {
    "six_friends": (real_faces.SIX_FRIENDS, 1), "six_friends_half": (real_faces.SIX_FRIENDS, 2),
    "team": (real_faces.TEAM, 1), "yao": (real_faces.YAO, 1), "tight": (real_faces.TIGHT, 1),
    "astronaut": (real_faces.ASTRONAUT, 1), "astronaut_quarter": (real_faces.ASTRONAUT, 4),
}  # fmt: skip


def image(name):
    path, smaller = PHOTOS[name]
    photo = Image.open(path).convert("RGB")
    photo = photo.resize((photo.width // smaller, photo.height // smaller), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(photo))[None].float() / 255


def meshes(points, score=0.9):
    return [{"landmarks_xy": face, "score": score, "presence": 5.0} for face in points]


def of_the_host(points, width, height, score=0.9):
    """As MediaPipeFaceLandmarker gives it for one picture."""
    return {"frames": [meshes(points, score)], "image_size": (height, width), "connection_sets": {}}


def overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (area(a) + area(b) - shared)


def test_faces_are_those_of_scrfd(detector, recogniser):
    """The nearest of SCRFD's for every mesh: its points (in hundredths of the shorter side), its box, its person."""
    distances = []
    overlaps = []
    cosines = {}
    for name, points in load_file(GOLDEN).items():
        picture = eight_bits(image(name)[0])
        scrfd_faces = analysis.detect(detector, picture, name)
        for face in landmarks.detect(meshes(points.numpy()), picture, name):
            nearest = max(scrfd_faces, key=lambda candidate, box=face.box: overlap(candidate.box, box))
            point_distances = np.linalg.norm(np.subtract(face.keypoints, nearest.keypoints), axis=1)
            distances.append(point_distances * 100 / shorter_side(nearest.box))
            overlaps.append(overlap(nearest.box, face.box))
            assert face.keypoints[0][0] < face.keypoints[1][0], "nobody is mirrored"
            crops = [
                pictures.align(picture, nearest.keypoints, 112),
                pictures.align(picture, face.keypoints, 112),
            ]
            cosines[name, len(distances)] = float(torch.cosine_similarity(*recogniser.embed(crops), dim=0))
    assert len(distances) == 14
    assert np.mean(distances) < 4.2
    assert np.max(distances) < 11
    assert np.mean(overlaps) > 0.88
    assert min(overlaps) > 0.8
    assert min(cosine for (name, _), cosine in cosines.items() if name in ("yao", "astronaut")) > 0.98
    assert min(cosines.values()) > 0.9


def test_what_the_node_gives_and_what_it_does_not():
    """Meshes of 468 points have no irises, as other packs have them. The surest come first, and turn with a picture."""
    with safe_open(GOLDEN, "pt") as file:
        assert "mediapipe" in file.metadata()["made_with"]
        assert {tuple(file.get_tensor(name).shape[1:]) for name in file.keys()} == {(478, 2)}  # noqa: SIM118
    points = load_file(GOLDEN)["yao"].numpy()
    picture = np.zeros((287, 233, 3), np.uint8)
    face_landmarks("x", of_the_host(points[:, :468], 233, 287))
    with_irises = landmarks.detect(meshes(points), picture, "x")[0]
    without_irises = landmarks.detect(meshes(points[:, :468]), picture, "x")[0]
    assert with_irises.keypoints == without_irises.keypoints
    assert landmarks.detect(meshes(points.tolist()), picture, "x")[0] == with_irises
    with pytest.raises(FaceNotFound, match=r"in the photo \(20x10 px\)\."):
        landmarks.detect([], np.zeros((10, 20, 3), np.uint8), "the photo")
    with pytest.raises(BadPhoto, match=r"1 picture of 233x287 px, .* 2 pictures of 640x480 px"):
        landmarks.meshes_of_pictures(of_the_host([], 233, 287), torch.zeros(2, 480, 640, 3))
    surest, less_sure = landmarks.detect([*meshes(points, 0.4), *meshes(points + 9, 0.8)], picture, "x")
    assert (surest.score, less_sure.score) == (0.8, 0.4)
    (upside,) = landmarks.detect(meshes((233, 287) - points), picture, "x")
    x0, y0, x1, y1 = less_sure.box
    assert upside.box == pytest.approx((233 - x1, 287 - y1, 233 - x0, 287 - y0))
