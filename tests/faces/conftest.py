"""Faces are found and recognised in torch; onnxruntime, which some compare it with, runs on one thread, as its threads
spin while they wait for each other."""

from collections.abc import Callable
from functools import partial
from typing import Any

import onnxruntime
import pytest
import real_faces
from pack.core.cast import Faces
from pack.core.faces.model import ArcFace, FaceModel, faces_in
from pack.core.faces.scrfd import Scrfd

_open = onnxruntime.InferenceSession.__init__


def _open_on_one_thread(session: Any, path: Any, sess_options: Any = None, **rest: Any) -> None:
    options = sess_options or onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    _open(session, path, options, **rest)


onnxruntime.InferenceSession.__init__ = _open_on_one_thread


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
