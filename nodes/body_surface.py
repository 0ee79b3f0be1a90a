"""Body surfaces: DensePose pictures of photos, by weights of its TorchScript files, and masks of parts of the body."""

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io, ui
from comfy_execution.graph_utils import ExecutionBlocker
from PIL import Image
from torch import Tensor

from ..bridge import folders, load, notes
from ..bridge.notes import stepwise
from ..bridge.schema import advanced
from ..core import geometry, pictures
from ..core.body_surface import iuv, part_masks
from ..core.body_surface.network import DensePose, own_weights
from ..core.errors import BadParts, BadPhoto, UnsupportedCheckpoint
from ..core.geometry import Fit
from ..core.models import manifest, tensors, torchscript
from ..core.models.files import stamp
from ..core.pictures import as_rgb
from ..core.previews import as_picture
from ..core.text import in_one_line
from .categories import IN_PARTS

FILE = load.Published("DensePose", "DensePose network", manifest.model("densepose-r50"))
_EXPECTED = f"a DensePose network ({FILE.model.name})"
_ADVICE = f"The published files are at {FILE.model.page}; they belong in models/{FILE.key}."
_OTHER_EXPORT = (
    "Of a TorchScript file the weights alone are read, and its code is never run: only files with the weights of "
    "DensePose's R_50_FPN_DL_s1x or R_101_FPN_DL_s1x under detectron2's names can be used."
)


@lru_cache(maxsize=2)
def _network(path: str, size: int, changed: int) -> ModelPatcher:
    """A DensePose network in the host's hands: the weights are the file's, the code is ours.

    size, changed: of files.stamp, so that a file that was replaced is read again. Raises UnsupportedCheckpoint.
    """
    read = torchscript.weights(Path(path), _EXPECTED, _ADVICE)
    try:
        state = own_weights(read)
        tensors.check_weights(state)
        return load.in_patcher(partial(DensePose, state), state)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        what = f"a TorchScript network of another kind ({in_one_line(error)})"
        raise UnsupportedCheckpoint(path, what, _EXPECTED, f"{_OTHER_EXPORT} {_ADVICE}") from error


@dataclass(frozen=True)
class _Picture:
    """A photo at the size at which the network looks at it. Two are equal where their pixels are.

    digest: SHA-256 of the size and the pixels. pixels: (H, W, 3) uint8.
    """

    digest: bytes
    pixels: Tensor = field(compare=False, repr=False)

    @classmethod
    def of(cls, photo: Tensor) -> "_Picture":
        """photo: (H, W, 3) float 0..1."""
        size = iuv.network_size(photo.shape[1], photo.shape[0])
        resized = as_picture(photo).resize(size, Image.Resampling.BILINEAR)
        digest = hashlib.sha256(f"{size}".encode() + resized.tobytes()).digest()
        return cls(digest, torch.as_tensor(np.array(resized)))


@lru_cache(maxsize=1)
def _bodies(path: str, size: int, changed: int, picture: _Picture, most: int) -> iuv.Bodies:
    """The bodies of a picture, the surest `most` of them or all for 0; boxes are in pixels of the picture.

    The last picture's are kept: for masks of a jacket and of trousers two nodes look at one photo, and on a CPU the
    published network takes seconds. path, size, changed: of files.stamp. Raises UnsupportedCheckpoint where the network
    does not take a photo, or gives something else than bodies.
    """
    network = _network(path, size, changed)
    try:
        with torch.inference_mode():
            # (H, W, 3) -> (3, H, W)
            outputs = network.model(load.on_device(network, picture.pixels.movedim(-1, 0)))
        return iuv.read_bodies(outputs).surest(most)
    except (MemoryError, torch.cuda.OutOfMemoryError):
        raise  # the file may be good
    except (RuntimeError, ValueError) as error:
        what = f"a DensePose network whose weights give no bodies ({in_one_line(error)})"
        raise UnsupportedCheckpoint(path, what, _EXPECTED, _ADVICE) from error


def detect(path: str, photos: Tensor, size: tuple[int, int], fit: str, most: int) -> list[iuv.Surface]:
    """The bodies of each photo (B, H, W, 1|3|4) on a canvas.

    size: (width, height) of the canvas in pixels, 0 for that of the photo. fit: of geometry.FITS. most: bodies of a
    photo, the surest; 0 is all. Raises UnsupportedCheckpoint, BadPhoto for no body, BadSize (see iuv.draw).
    """
    file = stamp(path)
    high, wide = photos.shape[1:3]
    width = size[0] or wide
    height = size[1] or high
    to_photo = Fit.into(iuv.network_size(wide, high), (wide, high), "stretch")
    onto = to_photo.then(Fit.into((wide, high), (width, height), fit))
    surfaces = list[iuv.Surface]()
    for number, photo in enumerate(stepwise(list(as_rgb(photos))), 1):
        surface = iuv.draw(_bodies(*file, _Picture.of(photo), most), onto, width, height)
        if not surface.person.any():
            which = f"photo {number} of {len(photos)}" if len(photos) > 1 else "the photo"
            advice = "Use a photo that shows a person larger and from the head down; Draw Skeletons needs none."
            raise BadPhoto(f"No body was found in {which} ({wide}x{high} px).", advice)
        surfaces.append(surface)
    return surfaces


SWITCHED_ON = ("torso", "upper_arms", "forearms")
"""Groups of part_masks.GROUPS that are masked by default: what a jacket covers."""


def _mask_inputs() -> list[io.Input]:
    """The parts of the body that are masked: a switch per group, and the side."""
    inputs = list[io.Input]()
    for name in part_masks.GROUPS:
        switch = io.Boolean.Input(name, default=name in SWITCHED_ON, optional=True)
        inputs.append(switch if name in SWITCHED_ON else advanced(switch))
    inputs.append(
        advanced(io.Combo.Input("side", options=list(part_masks.SIDES), default=part_masks.SIDES[0], optional=True))
    )
    return inputs


class DetectBodySurface(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        side = {"default": 0, "min": 0, "max": 4096, "step": 8}
        return io.Schema(
            node_id="LikenessDetectBodySurface",
            category=IN_PARTS,
            inputs=[
                io.Image.Input("image"),
                io.Combo.Input("file", options=folders.listed(FILE.key)),
                io.Int.Input("people", default=1, min=0, max=64),
                io.Int.Input("width", **side),
                io.Int.Input("height", **side),
                io.Combo.Input("fit", options=list(geometry.FITS), default="pad"),
                *_mask_inputs(),
            ],
            outputs=[
                io.Image.Output("surface"),
                io.Mask.Output("people_masks"),
                io.Image.Output("preview"),
                io.Mask.Output("mask"),
            ],
        )

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool:
        return folders.found(FILE.path, file)

    @classmethod
    def fingerprint_inputs(cls, file: str | None, **linked: object) -> str:
        return folders.fingerprint(FILE.path, file)

    @classmethod
    def execute(
        cls,
        image: Tensor,
        file: str,
        people: int,
        width: int,
        height: int,
        fit: str,
        side: str = part_masks.SIDES[0],
        **switches: bool,
    ) -> io.NodeOutput:
        groups = [name for name in part_masks.GROUPS if switches.get(name, name in SWITCHED_ON)]
        part_masks.require_part(groups)
        if width and height:
            geometry.check_size("The new picture", width, height)
        surfaces = detect(FILE.path(file), image, (width, height), fit, people)
        notes.tell(notes.node_of(cls), "\n".join(pictures.reminder([("the pose", image[0])])))
        drawn = torch.stack([surface.image for surface in surfaces])
        shown = iuv.over_photos(drawn, image, fit)
        masks_of_people = torch.cat([surface.people for surface in surfaces])
        mask: Any
        try:
            mask = part_masks.part_masks(surfaces, groups, side)
        except BadParts as unseen:
            # A photo that is the pose alone need not show them: only what the mask is connected to is stopped.
            mask = ExecutionBlocker(str(unseen))
        return io.NodeOutput(drawn, masks_of_people, shown, mask, ui=ui.PreviewImage(shown, cls=cls))


NODES = [DetectBodySurface]
