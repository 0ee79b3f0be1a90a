"""Body surfaces: DensePose pictures of photos, and masks of parts of the body."""

from __future__ import annotations

import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ..bridge import folders, notes
from ..bridge.body_surface import FILE, detect
from ..bridge.schema import IN_PLACES
from ..core import geometry, pictures
from ..core.body_surface import masks
from ..core.pictures import as_masks


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
        shown = masks.over(surfaces, image, fit)
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
                *[io.Boolean.Input(name, default=name in ("torso", "upper_arms", "forearms")) for name in masks.GROUPS],
                io.Combo.Input("side", options=list(masks.SIDES)),
                io.Mask.Input("people", optional=True),
                io.Image.Input("image", optional=True),
            ],
            outputs=[io.Mask.Output("mask"), io.Image.Output("preview")],
        )

    @classmethod
    def execute(
        cls,
        surface: Tensor,
        side: str,
        people: Tensor | None = None,
        image: Tensor | None = None,
        **parts: bool,
    ) -> io.NodeOutput:
        chosen = [name for name in masks.GROUPS if parts[name]]
        found = masks.mask(surface, chosen, side, None if people is None else as_masks(people))
        shown = masks.masked(found, surface if image is None else image)
        return io.NodeOutput(found, shown, ui=ui.PreviewImage(shown, cls=cls))


NODES = [DetectBodySurface, BodySurfaceMask]
