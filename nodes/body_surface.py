"""Body surfaces: DensePose pictures of photos, by weights of its TorchScript files, and masks of parts of the body."""

from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io, ui
from PIL import Image
from torch import Tensor

from ..bridge import folders, load, notes
from ..bridge.notes import stepwise
from ..bridge.schema import IN_PLACES
from ..core import geometry, pictures
from ..core.body_surface import iuv
from ..core.body_surface.network import DensePose, own_weights
from ..core.errors import BadPhoto, UnsupportedCheckpoint
from ..core.geometry import Fit
from ..core.models import manifest, tensors, torchscript
from ..core.models.files import stamp
from ..core.pictures import as_masks, as_rgb
from ..core.previews import as_picture
from ..core.text import in_one_line

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


def bodies(network: ModelPatcher, path: str, photo: Tensor) -> iuv.Bodies:
    """Who is in a photo (H, W, 3); boxes are in the pixels of the size that `iuv.looked_at` tells.

    Raises UnsupportedCheckpoint where the network does not take a photo, or gives something else than bodies.
    """
    size = iuv.looked_at(photo.shape[1], photo.shape[0])
    pixels = torch.as_tensor(np.array(as_picture(photo).resize(size, Image.Resampling.BILINEAR)))
    try:
        with torch.inference_mode():
            # (H, W, 3) -> (3, H, W)
            found = network.model(load.on_device(network, pixels.movedim(-1, 0)))
        return iuv.bodies(found)
    except (MemoryError, torch.cuda.OutOfMemoryError):
        raise  # the file may be good
    except (RuntimeError, ValueError) as error:
        what = f"a DensePose network whose weights give no bodies ({in_one_line(error)})"
        raise UnsupportedCheckpoint(path, what, _EXPECTED, _ADVICE) from error


def detect(path: str, photos: Tensor, size: tuple[int, int], fit: str, most: int) -> list[iuv.Surface]:
    """The bodies of each photo (B, H, W, 1|3|4) on a canvas.

    size: (width, height) of the canvas in pixels, 0 for that of the photo. fit: of geometry.FITS. most: bodies of a
    photo, the surest; 0 is all. Raises UnsupportedCheckpoint, BadPhoto for no body, BadSize (see iuv.drawn).
    """
    network = _network(*stamp(path))
    high, wide = photos.shape[1:3]
    width, height = size[0] or wide, size[1] or high
    onto = Fit.into(iuv.looked_at(wide, high), (wide, high), "stretch"), Fit.into((wide, high), (width, height), fit)
    found = list[iuv.Surface]()
    for number, photo in enumerate(stepwise(list(as_rgb(photos))), 1):
        surface = iuv.drawn(bodies(network, path, photo).surest(most), onto[0].then(onto[1]), width, height)
        if not surface.person.any():
            which = f"photo {number} of {len(photos)}" if len(photos) > 1 else "the photo"
            advice = "Use a photo that shows a person larger and from the head down; Draw Skeletons needs none."
            raise BadPhoto(f"No body was found in {which} ({wide}x{high} px).", advice)
        found.append(surface)
    return found


class DetectBodySurface(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        side = {"default": 0, "min": 0, "max": 4096, "step": 8}
        return io.Schema(
            node_id="LikenessDetectBodySurface",
            category=IN_PLACES,
            inputs=[
                io.Image.Input("image"),
                io.Combo.Input("file", options=folders.listed(FILE.key)),
                io.Int.Input("people", default=1, min=0, max=64),
                io.Int.Input("width", **side),
                io.Int.Input("height", **side),
                io.Combo.Input("fit", options=list(geometry.FITS), default="pad"),
            ],
            outputs=[io.Image.Output("surface"), io.Mask.Output("people_masks"), io.Image.Output("preview")],
        )

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool:
        return folders.found(FILE.path, file)

    @classmethod
    def fingerprint_inputs(cls, file: str | None, **linked: object) -> str:
        return folders.fingerprint(FILE.path, file)

    @classmethod
    def execute(cls, image: Tensor, file: str, people: int, width: int, height: int, fit: str) -> io.NodeOutput:
        if width and height:
            geometry.check_size("The new picture", width, height)
        found = detect(FILE.path(file), image, (width, height), fit, people)
        notes.tell(notes.node_of(cls), "\n".join(pictures.reminder([("the pose", image[0])])))
        surfaces = torch.stack([one.image for one in found])
        shown = iuv.over(surfaces, image, fit)
        masks_of_people = torch.cat([one.people for one in found])
        return io.NodeOutput(surfaces, masks_of_people, shown, ui=ui.PreviewImage(shown, cls=cls))


class BodySurfaceMask(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessBodySurfaceMask",
            category=IN_PLACES,
            inputs=[
                io.Image.Input("surface"),
                *[io.Boolean.Input(name, default=name in ("torso", "upper_arms", "forearms")) for name in iuv.GROUPS],
                io.Combo.Input("side", options=list(iuv.SIDES)),
                io.Mask.Input("people", optional=True),
                io.Image.Input("image", optional=True),
            ],
            outputs=[io.Mask.Output("mask"), io.Image.Output("preview")],
        )

    @classmethod
    def execute(
        cls, surface: Tensor, side: str, people: Tensor | None = None, image: Tensor | None = None, **parts: bool
    ) -> io.NodeOutput:
        chosen = [name for name in iuv.GROUPS if parts[name]]
        found = iuv.mask(surface, chosen, side, None if people is None else as_masks(people))
        shown = iuv.masked(found, surface if image is None else image)
        return io.NodeOutput(found, shown, ui=ui.PreviewImage(shown, cls=cls))


NODES = [DetectBodySurface, BodySurfaceMask]
