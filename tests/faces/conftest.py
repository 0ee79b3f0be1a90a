"""Faces are found and recognised in torch; onnxruntime, which some compare it with, runs on one thread."""

from collections.abc import Callable
from functools import partial

import one_thread  # noqa: F401
import pytest
import real_faces
from pack.core.cast import Faces
from pack.core.faces.model import ArcFace, FaceModel, faces_in
from pack.core.faces.scrfd import Scrfd


@pytest.fixture(scope="session")
def detector() -> Scrfd:
    return real_faces.detector()


@pytest.fixture(scope="session")
def recogniser() -> ArcFace:
    return real_faces.recogniser()


@pytest.fixture(scope="session")
def faces_of(detector: Scrfd, recogniser: ArcFace) -> Callable[..., Faces]:
    """Of one picture, (H, W, 3)."""
    return partial(faces_in, FaceModel(detector, (recogniser,)))
