"""Detect Body Surface: DensePose pictures of photos, and masks of parts of the body."""

from typing import Any

import torch
from comfy_api.latest import io, ui
from comfy_execution.graph_utils import ExecutionBlocker
from torch import Tensor

from ..bridge.host import folders, notes
from ..bridge.host.inputs import ChoosesFile
from ..bridge.host.schema import optional
from ..bridge.people.densepose import FILE, detect
from ..core.body_surface import iuv, part_masks
from ..core.checks.errors import BadParts
from ..core.pictures import geometry, tensors
from .categories import IN_PARTS

JACKET = "torso, upper arms, forearms"


class DetectBodySurface(ChoosesFile, io.ComfyNode):
    """DensePose's picture of the people in photos, a mask of each person, and a mask of chosen parts of the body."""

    path_of = staticmethod(FILE.path)

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
                optional(io.String.Input("parts", default=JACKET)),
            ],
            outputs=[
                io.Image.Output("surface"),
                io.Mask.Output("people_masks"),
                io.Image.Output("preview"),
                io.Mask.Output("mask"),
            ],
        )

    @classmethod
    def execute(
        cls,
        image: Tensor,
        file: str,
        people: int,
        width: int,
        height: int,
        parts: str = JACKET,
    ) -> io.NodeOutput:
        chosen = part_masks.body_parts(parts)
        # A side of 0 stands for the photo's own size, which `detect` sets: there is nothing to check then.
        if width and height:
            geometry.check_size("The new picture", width, height)
        surfaces = detect(FILE.path(file), image, (width, height), people)
        # A note, where the photo is an example picture that the user has not replaced yet.
        examples = tensors.reminder([("the pose", image[0])])
        notes.tell("\n".join(examples))
        surface_pictures = torch.stack([surface.image for surface in surfaces])  # (B, H, W, 3)
        preview = iuv.over_photos(surface_pictures, image)
        people_masks = torch.cat([surface.person_masks for surface in surfaces])  # (people of all pictures, H, W)
        mask: Any
        try:
            mask = part_masks.part_masks(surfaces, chosen)  # (B, H, W)
        except BadParts as error:
            # No photo shows these parts. A photo that is only used for its pose need not, so the node does not fail:
            # the blocker stops the nodes that are linked to the output `mask`, and no others.
            mask = ExecutionBlocker(str(error))
        return io.NodeOutput(surface_pictures, people_masks, preview, mask, ui=ui.PreviewImage(preview, cls=cls))


NODES = [DetectBodySurface]
