"""DensePose's published TorchScript networks: found, loaded once, and run on photos."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import comfy.model_management
import numpy as np
import torch
import torchvision  # noqa: F401  # the networks call its operators
from comfy.model_patcher import ModelPatcher
from PIL import Image
from torch import Tensor

from ..core.body_surface import iuv
from ..core.errors import UnsupportedCheckpoint
from ..core.geometry import Fit
from ..core.models import manifest, torchscript
from ..core.models.files import stamp
from ..core.pictures import as_rgb
from ..core.previews import as_picture
from ..core.text import plain
from . import load
from .notes import stepwise

FILE = load.Published("DensePose", "DensePose network", manifest.model("densepose-r50"))
_EXPECTED = f"a DensePose network ({FILE.model.name})"
_ADVICE = f"The published files are at {FILE.model.page}; they belong in models/{FILE.key}."


@lru_cache(maxsize=2)
def _network(path: str, size: int, changed: int) -> ModelPatcher:
    """A DensePose network in the host's hands."""
    scripted = torchscript.load(Path(path), _EXPECTED, _ADVICE)
    device, offload = comfy.model_management.get_torch_device(), comfy.model_management.unet_offload_device()
    # Never the host's dynamic loader: it gives weights to its own kinds of layers only, and these have others.
    return ModelPatcher(scripted, device, offload)


def bodies(network: ModelPatcher, path: str, photo: Tensor) -> iuv.Bodies:
    """Who is in a photo (H, W, 3); boxes are in the pixels of the size that `iuv.looked_at` tells.

    Raises UnsupportedCheckpoint where the network does not take a photo, or gives something else than bodies.
    """
    size = iuv.looked_at(photo.shape[1], photo.shape[0])
    pixels = torch.as_tensor(np.array(as_picture(photo).resize(size, Image.Resampling.BILINEAR)))
    comfy.model_management.load_models_gpu([network], force_full_load=True)
    try:
        with torch.inference_mode():
            given: Any = network.model(pixels.movedim(-1, 0).to(network.load_device))
        return iuv.bodies(given)
    except (MemoryError, torch.cuda.OutOfMemoryError):
        raise  # the file may be good
    except (RuntimeError, ValueError) as error:
        # Of TorchScript's errors the cause comes last, below a listing of code.
        why = plain((str(error).strip().splitlines() or [type(error).__name__])[-1], 200)
        what = f"a TorchScript network of another kind ({why})"
        raise UnsupportedCheckpoint(path, what, _EXPECTED, _ADVICE) from error


def detect(path: str, photos: Tensor, size: tuple[int, int], fit: str, most: int) -> list[iuv.Surface]:
    """The bodies of each photo (B, H, W, 1|3|4) on a canvas.

    size: (width, height) of the canvas in pixels, 0 for that of the photo. fit: of geometry.FITS. most: bodies of a
    photo, the surest; 0 is all. Raises UnsupportedCheckpoint, iuv.BodyNotFound, BadSize (see iuv.drawn).
    """
    network = _network(*stamp(path))
    high, wide = photos.shape[1:3]
    width, height = size[0] or wide, size[1] or high
    onto = Fit.into(iuv.looked_at(wide, high), (wide, high), "stretch"), Fit.into((wide, high), (width, height), fit)
    found = list[iuv.Surface]()
    for number, photo in enumerate(stepwise(list(as_rgb(photos))), 1):
        surface = iuv.drawn(bodies(network, path, photo).surest(most), onto[0].then(onto[1]), width, height)
        if not surface.person.any():
            raise iuv.BodyNotFound(number, len(photos), wide, high)
        found.append(surface)
    return found
