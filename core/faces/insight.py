"""insightface behind our two small interfaces: single ONNX files, no FaceAnalysis, no folder rules, no download."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import MissingDependency, UnsupportedCheckpoint
from ..people import Keypoints
from ..text import logger
from ..thirdparty import require
from .ladder import Detection
from .pictures import Picture, similarity

_PURPOSE = "Finding and recognising faces with the backend insightface"
_CPU = "CPUExecutionProvider"
_PROVIDERS = {
    "CPU": (_CPU,),
    "CUDA": ("CUDAExecutionProvider",),
    "CoreML": ("CoreMLExecutionProvider",),
    "DirectML": ("DmlExecutionProvider",),
    "ROCm": ("ROCMExecutionProvider", "MIGraphXExecutionProvider"),
    "OpenVINO": ("OpenVINOExecutionProvider",),
}
# CoreML compiles the detector anew for every size of picture, so it is used only where it is asked for.
_AUTO = ("CUDA", "ROCm", "DirectML", "OpenVINO")

PROVIDERS = ("auto", *_PROVIDERS)


def providers_for(choice: str) -> tuple[str, ...]:
    """onnxruntime's provider names for one of PROVIDERS, best first; the CPU is always the last.

    A choice that this onnxruntime was built without is logged and left out: the result is the same, only slower.
    """
    available = set(require("onnxruntime", _PURPOSE).get_available_providers())
    wanted = _AUTO if choice == "auto" else (choice,)
    found = [name for option in wanted for name in _PROVIDERS[option] if name in available][:1]
    if choice != "auto" and not found:
        logger.warning(
            "onnxruntime has no %s here (it has %s); faces are computed on the CPU.",
            choice,
            ", ".join(sorted(available)),
        )
    return tuple(dict.fromkeys([*found, _CPU]))


def installed() -> bool:
    """Whether everything that this module needs can be imported, insightface 2.0 or later."""
    try:
        found = [require(module, _PURPOSE) for module in ("insightface.model_zoo", "cv2", "onnxruntime")]
    except MissingDependency:
        return False
    return hasattr(found[-1], "get_available_providers")  # it lacks that where another flavour was removed beside it


def open_model(path: str, providers: Sequence[str]) -> Any:
    """insightface's model object for one ONNX file.

    Raises MissingDependency without insightface, UnsupportedCheckpoint for a file onnxruntime cannot run.
    """
    model_zoo = require("insightface.model_zoo", _PURPOSE)
    # One session for all sizes of the ladder instead of one each; CoreML alone cannot do that.
    options = {} if "CoreMLExecutionProvider" in providers else {"static_shape_sessions": False}
    try:
        return model_zoo.get_model(path, providers=list(providers), **options)
    except Exception as error:  # onnxruntime's errors share no base class
        raise UnsupportedCheckpoint(
            path,
            f"an ONNX file that onnxruntime cannot run ({error})",
            "an ONNX model of a face pack",
            "Download it again; with provider = CPU or backend = torch in Load Face Model you see whether the provider "
            "or onnxruntime is to blame.",
        ) from error


class Scrfd:
    """A detector with keypoints, SCRFD or RetinaFace."""

    def __init__(self, model: Any) -> None:
        self._model = model

    @property
    def provider(self) -> str:
        """The one that is really active, for people: CPU, CUDA, ..."""
        return str(self._model.session.get_providers()[0]).removesuffix("ExecutionProvider")

    def __call__(self, picture: Picture, size: int) -> list[Detection]:
        """Faces in pixels of the picture, surest first."""
        boxes, keypoints = self._model.detect(picture, input_size=(size, size))
        return [_detection(box, points) for box, points in zip(boxes.tolist(), keypoints.tolist(), strict=True)]


def _detection(box: list[float], points: list[list[float]]) -> Detection:
    x0, y0, x1, y1, score = box
    return Detection((x0, y0, x1, y1), tuple((x, y) for x, y in points), score)


class ArcFace:
    """An ONNX recogniser. Its embeddings are not normalised, as insightface returns them."""

    def __init__(self, identifier: str, model: Any) -> None:
        self.id, self._model = identifier, model
        self.crop_size = int(model.input_size[0])

    def embed(self, crops: Sequence[Picture]) -> Tensor:
        """(n, 512) float32 for n aligned crops of crop_size pixels; one at a time, as some files fix the batch at 1."""
        rows: list[Any] = [self._model.get_feat(crop).reshape(-1) for crop in crops]
        return torch.from_numpy(np.stack(rows)).float()  # pyright: ignore[reportUnknownMemberType]


def align(picture: Picture, keypoints: Keypoints, size: int) -> Picture:
    """The face turned and scaled to ArcFace's template, (size, size, 3) BGR, black outside of the picture.

    As insightface's norm_crop, whose use of skimage is deprecated there.
    """
    cv2 = require("cv2", _PURPOSE)
    turn, shift = similarity(keypoints, size)
    matrix = np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
    return cv2.warpAffine(picture, matrix, (size, size), borderValue=0.0)
