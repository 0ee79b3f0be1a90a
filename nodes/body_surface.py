"""Detect Body Surface: DensePose pictures of photos, and masks of parts of the body."""

from typing import Any

import torch
from comfy_api.latest import io, ui
from comfy_execution.graph_utils import ExecutionBlocker
from torch import Tensor

from ..bridge import folders, notes
from ..bridge.body_surface import FILE, detect
from ..bridge.schema import advanced
from ..core import geometry, pictures
from ..core.body_surface import iuv, part_masks
from ..core.errors import BadParts
from .categories import IN_PARTS

SWITCHED_ON = ("torso", "upper_arms", "forearms")
"""Groups of part_masks.GROUPS that are masked by default: what a jacket covers."""


def _mask_inputs() -> list[io.Input]:
    """The parts of the body that are masked: a switch per group, and the side."""
    inputs: list[io.Input] = []
    for name in part_masks.GROUPS:
        switch = io.Boolean.Input(name, default=name in SWITCHED_ON, optional=True)
        inputs.append(switch if name in SWITCHED_ON else advanced(switch))
    side = io.Combo.Input("side", options=list(part_masks.SIDES), default=part_masks.SIDES[0], optional=True)
    inputs.append(advanced(side))
    return inputs


class DetectBodySurface(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        side_in_pixels = {"default": 0, "min": 0, "max": 4096, "step": 8}
        return io.Schema(
            node_id="LikenessDetectBodySurface",
            category=IN_PARTS,
            inputs=[
                io.Image.Input("image"),
                io.Combo.Input("file", options=folders.file_names(FILE.key)),
                io.Int.Input("people", default=1, min=0, max=64),
                io.Int.Input("width", **side_in_pixels),
                io.Int.Input("height", **side_in_pixels),
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
        return folders.chosen_file_exists(FILE.path, file)

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
        examples = pictures.reminder([("the pose", image[0])])
        notes.tell(notes.node_of(cls), "\n".join(examples))
        surface_pictures = torch.stack([surface.image for surface in surfaces])  # (B, H, W, 3)
        preview = iuv.over_photos(surface_pictures, image, fit)
        people_masks = torch.cat([surface.person_masks for surface in surfaces])  # (people of all pictures, H, W)
        mask: Any
        try:
            mask = part_masks.part_masks(surfaces, groups, side)
        except BadParts as error:
            # A photo that is only used for its pose need not show these parts: the block stops the nodes behind the
            # mask output, and no others.
            mask = ExecutionBlocker(str(error))
        return io.NodeOutput(surface_pictures, people_masks, preview, mask, ui=ui.PreviewImage(preview, cls=cls))


NODES = [DetectBodySurface]
