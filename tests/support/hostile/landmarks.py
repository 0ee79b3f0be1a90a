"""Face landmarks that are damaged, or that another pack has forged."""

from collections.abc import Iterator
from typing import Any

import torch
from sample_values import inf, landmarks, nan

from hostile.cases import Case, bad


def one_face(points: Any, score: float = 0.9) -> dict[str, Any]:
    """FACE_LANDMARKS of a photo with one face at these points, (478, 2) px."""
    return landmarks(frames=[[{"landmarks_xy": points, "score": score}]])


def face_landmarks() -> Iterator[Case]:
    points = torch.rand(478, 2) * 200
    refused = (
        {"image_size": (8, 8)},
        {"frames": []},
        landmarks(frames=None),
        landmarks(frames=[[5]]),
        landmarks(frames=(frame for frame in landmarks()["frames"])),
        landmarks(image_size=(inf, 5)),
        landmarks(image_size=(0, 5)),
        one_face(torch.rand(478, 3) * 200),
        one_face(points[:100]),
        one_face(points * nan),
        one_face(points + 1e9),
        one_face(points + 1000),
        one_face(torch.full((478, 2), 50.0)),
        one_face([[10**400, 1]] * 478),
        one_face(points, score=7),
    )
    for link in refused:
        yield bad("The face_landmarks input of Detect Faces is ", "LikenessDetectFaces", face_landmarks=link)
