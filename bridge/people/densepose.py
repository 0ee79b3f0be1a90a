"""Body surfaces of photos: DensePose's network, with weights out of its TorchScript files, and the bodies that it sees.

The published files are programs of TorchScript. They are never run: the weights alone are read (core/models/
torchscript.py), and the network is ours (core/body_surface/network.py).
"""

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from comfy.model_patcher import ModelPatcher
from PIL import Image
from torch import Tensor

from ...core.body_surface import iuv
from ...core.body_surface.network import DensePose, own_weights
from ...core.checks.errors import BadPhoto, UnsupportedCheckpoint
from ...core.checks.memory import is_out_of_memory
from ...core.checks.text import in_one_line
from ...core.models import manifest, tensors, torchscript
from ...core.models.files import stamp
from ...core.pictures.geometry import Fit
from ...core.pictures.previews import as_picture
from ...core.pictures.tensors import as_rgb
from ..host import load
from ..host.notes import stepwise

FILE = load.Published("DensePose", "DensePose network", manifest.model("densepose-r50"))
_EXPECTED = f"a DensePose network ({FILE.model.name})"
_ADVICE = f"The published files are at {FILE.model.page}; they belong in models/{FILE.key}."
_OTHER_EXPORT = (
    "Of a TorchScript file the weights alone are read, and its code is never run: only files with the weights of "
    "DensePose's R_50_FPN_DL_s1x or R_101_FPN_DL_s1x under detectron2's names can be used."
)


@lru_cache(maxsize=2)
def network_of(path: str, byte_count: int, changed: int) -> ModelPatcher:
    """A DensePose network in a ModelPatcher: the weights are the file's, the code is ours.

    lru_cache keeps the networks of the last two files. path, byte_count, changed: of files.stamp, so that a file that
    was replaced is read again. Raises UnsupportedCheckpoint for another kind of network or a damaged file.
    """
    exported = torchscript.weights(Path(path), _EXPECTED, _ADVICE)
    try:
        state = own_weights(exported)
        _check_weights(state, path)
        return load.in_patcher(partial(DensePose, state), state)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        problem = f"a TorchScript network of another kind ({in_one_line(error)})"
        raise UnsupportedCheckpoint(path, problem, _EXPECTED, f"{_OTHER_EXPORT} {_ADVICE}") from error


def _check_weights(state: tensors.State, path: str) -> None:
    """Raise UnsupportedCheckpoint for weights that no network can have. path: of their file."""
    try:
        tensors.check_weights(state)
    except ValueError as error:
        problem = f"a damaged DensePose network ({in_one_line(error)})"
        raise UnsupportedCheckpoint(path, problem, _EXPECTED, f"Download it again. {_ADVICE}") from error


@dataclass(frozen=True)
class _Picture:
    """A photo in the size that the network reads. Two of these are equal if their pixels are.

    digest: SHA-256 of the size and the pixels. pixels: (H, W, 3) uint8.
    """

    digest: bytes
    pixels: Tensor = field(compare=False, repr=False)

    @classmethod
    def of_photo(cls, photo: Tensor) -> "_Picture":
        """The picture of a photo, (H, W, 3), 0..1."""
        size = iuv.network_size(photo.shape[1], photo.shape[0])
        resized = as_picture(photo).resize(size, Image.Resampling.BILINEAR)
        digest = hashlib.sha256(f"{size}".encode() + resized.tobytes()).digest()
        return cls(digest, torch.as_tensor(np.array(resized)))


@lru_cache(maxsize=1)
def _bodies(path: str, byte_count: int, changed: int, picture: _Picture, most: int) -> iuv.Bodies:
    """The bodies of a picture; boxes are in pixels of the picture. most: only so many, the surest; 0 for all.

    lru_cache keeps the bodies of the last picture: several nodes may look at one photo, such as for masks of a jacket
    and of trousers, and on a CPU the published network takes seconds. path, byte_count, changed: of files.stamp. Raises
    UnsupportedCheckpoint as `network_of`, and where the network fails or gives something else than bodies.
    """
    network = network_of(path, byte_count, changed)
    try:
        with torch.inference_mode():
            # (H, W, 3) -> (3, H, W)
            outputs = network.model(load.on_device(network, picture.pixels.movedim(-1, 0)))
        return iuv.read_bodies(outputs).surest(most)
    except (RuntimeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        problem = f"a DensePose network whose weights give no bodies ({in_one_line(error)})"
        raise UnsupportedCheckpoint(path, problem, _EXPECTED, _ADVICE) from error


def detect(path: str, photos: Tensor, size: tuple[int, int], most: int) -> list[iuv.Surface]:
    """The bodies of each photo (B, H, W, 1|3|4), drawn onto a canvas: one Surface for each photo.

    path: of the network's file. size: (width, height) of the canvas in pixels; where one is 0, it is the photo's. The
    canvas shows all of the photo. most: how many bodies of a photo, the surest; 0 for all. Raises
    UnsupportedCheckpoint, BadPhoto for a photo without a body, BadSize (see iuv.draw).
    """
    file_stamp = stamp(path)
    photo_height, photo_width = photos.shape[1:3]
    photo_size = (photo_width, photo_height)
    canvas = (size[0] or photo_width, size[1] or photo_height)
    # From the pixels of the network's picture to those of the photo, and from there to those of the canvas.
    to_photo = Fit.into(iuv.network_size(*photo_size), photo_size, "stretch")
    onto_canvas = to_photo.then(Fit.into(photo_size, canvas, "pad"))
    surfaces: list[iuv.Surface] = []
    for number, photo in enumerate(stepwise(list(as_rgb(photos))), start=1):
        bodies = _bodies(*file_stamp, _Picture.of_photo(photo), most)
        surface = iuv.draw(bodies, onto_canvas, *canvas)
        if not surface.person.any():
            photo_in_words = f"photo {number} of {len(photos)}" if len(photos) > 1 else "the photo"
            advice = "Use a photo that shows a person larger and from the head down; Draw Skeletons needs none."
            raise BadPhoto(f"No body was found in {photo_in_words} ({photo_width}x{photo_height} px).", advice)
        surfaces.append(surface)
    return surfaces
