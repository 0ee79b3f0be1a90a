"""Faces are found and recognised on one thread, by insightface where a test does not say otherwise."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import one_thread  # noqa: F401
import pytest
import real_faces
from pack.core.faces import insight
from pack.core.faces.model import FaceModel, faces_in
from pack.core.people import Faces


@pytest.fixture(scope="session")
def detector() -> insight.Scrfd:
    return insight.Scrfd(insight.open_model(str(real_faces.DETECTOR), insight.providers_for("CPU")))


@pytest.fixture(scope="session")
def recogniser() -> insight.ArcFace:
    return insight.ArcFace("w600k_mbf", insight.open_model(str(real_faces.RECOGNISER), insight.providers_for("CPU")))


@pytest.fixture(scope="session")
def faces_of(detector: insight.Scrfd, recogniser: insight.ArcFace) -> Callable[..., Faces]:
    """Of one picture, (H, W, 3)."""
    return partial(faces_in, FaceModel(detector, (recogniser,), insight.align))
