"""Body surfaces: DensePose pictures of photos and without one, and masks of parts of the body."""

from __future__ import annotations

import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ..bridge import folders, notes
from ..bridge.body_surface import FILE, detect
from ..bridge.schema import output, searchable
from ..core import examples, geometry
from ..core.body_surface import mannequin, masks, preview
from ..core.errors import counted
from ..core.people import Layout
from ..core.pictures import as_masks
from .sockets import LayoutSocket

CATEGORY = "likeness/parts"


def _surface_output(tooltip: str) -> io.Output:
    return output(io.Image, "surface", tooltip)


def _people_output() -> io.Output:
    return io.Mask.Output(
        "people_masks", display_name="people", tooltip="One mask per person, from left to right: where each is seen."
    )


class DetectBodySurface(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        side = {"default": 0, "min": 0, "max": 4096, "step": 8}
        schema = io.Schema(
            node_id="LikenessDetectBodySurface",
            display_name="Detect Body Surface (DensePose)",
            category=CATEGORY,
            description="Finds the people of a photo and draws DensePose's IUV picture of them: the pose of Apply "
            "Parts, exactly as Parts2Whole has learnt it. Body Surface Mask makes masks of it.",
            inputs=[
                io.Image.Input("image", tooltip="A photo of the pose; of several each becomes a picture."),
                io.Combo.Input(
                    "file",
                    options=folders.listed(FILE.key),
                    tooltip="A network from models/densepose, or where comfyui_controlnet_aux keeps it.",
                ),
                io.Int.Input("people", default=1, min=0, max=64, tooltip="At most so many, the surest. 0 = everybody."),
                io.Int.Input("width", **side, tooltip="Of the new picture, px; 0 = that of the photo."),
                io.Int.Input("height", **side, tooltip="Of the new picture, px; 0 = that of the photo."),
                io.Combo.Input(
                    "fit",
                    options=list(geometry.FITS),
                    default="pad",
                    tooltip="When the shapes differ: crop = fill the canvas and cut evenly, pad = show everything "
                    "and leave borders, stretch = distort.",
                ),
            ],
            outputs=[
                _surface_output("For pose of Apply Parts, and Body Surface Mask."),
                _people_output(),
                output(io.Image, "preview", "The bodies over the photo."),
            ],
            hidden=[io.Hidden.unique_id],
        )
        return searchable(schema, "densepose", "iuv", "pose", "parts2whole", "body parts", "segmentation", "姿态")

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
        most = max(one.bodies for one in found)
        left = f"{counted(most, 'body', 'bodies')} found in a photo, {people} drawn: people = 0 draws all of them."
        remarks = [*examples.reminder([("the pose", image[0])]), *[left] * (0 < people < most)]
        notes.tell(notes.node_of(cls), "\n".join(remarks))
        surfaces = torch.stack([one.surface.image for one in found])
        shown = preview.over(surfaces, image, fit)
        masks_of_people = torch.cat([one.surface.people for one in found])
        return io.NodeOutput(surfaces, masks_of_people, shown, ui=ui.PreviewImage(shown, cls=cls))


class DrawBodySurface(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessDrawBodySurface",
            display_name="Draw Body Surface",
            category=CATEGORY,
            description="Draws an approximate DensePose picture of the skeletons of a layout, without a photo: a "
            "mannequin. Parts2Whole follows it less exactly than that of Detect Body Surface.",
            inputs=[
                LayoutSocket.Input(
                    "layout", tooltip="From Group Layout or Layout from Poses; Parts2Whole draws one person."
                )
            ],
            outputs=[_surface_output("For pose of Apply Parts, as large as the layout."), _people_output()],
            hidden=[io.Hidden.unique_id],
        )
        return searchable(schema, "densepose", "iuv", "mannequin", "pose", "parts2whole", "skeleton", "人体模型")

    @classmethod
    def execute(cls, layout: Layout) -> io.NodeOutput:
        surface = mannequin.drawn(layout)
        notes.tell(
            notes.node_of(cls),
            "This is a mannequin, made of a skeleton: expect the pose to be followed roughly. A photo of the pose and "
            "Detect Body Surface give the real thing.",
        )
        image = surface.image[None]
        return io.NodeOutput(image, surface.people, ui=ui.PreviewImage(image, cls=cls))


class BodySurfaceMask(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        chosen = {"head": "Head and neck, with what is seen of face and hair.", "torso": "Chest, belly, back, hips."}
        schema = io.Schema(
            node_id="LikenessBodySurfaceMask",
            display_name="Body Surface Mask",
            category=CATEGORY,
            description="White where the chosen parts of the body are, from a DensePose picture: for mask and "
            "target_mask of Part, for regions and for inpainting. Bodies, not clothes: a skirt ends at the legs.",
            inputs=[
                io.Image.Input("surface", tooltip="From Detect Body Surface or Draw Body Surface, unchanged."),
                *[
                    io.Boolean.Input(
                        name,
                        default=name in ("torso", "upper_arms", "forearms"),
                        tooltip=chosen.get(name, f"The {name.replace('_', ' ')}."),
                    )
                    for name in masks.GROUPS
                ],
                io.Combo.Input(
                    "side",
                    options=list(masks.SIDES),
                    tooltip="Of arms, hands, legs and feet: the person's own. Head and torso count as a whole.",
                ),
                io.Mask.Input(
                    "people",
                    optional=True,
                    tooltip="people of the same node: one mask per person, from left to right. Without: one for all.",
                ),
                io.Image.Input("image", optional=True, tooltip="The photo, to be seen under the mask in the preview."),
            ],
            outputs=[
                output(io.Mask, "mask", "One per person, or one per picture."),
                output(io.Image, "preview", "What is masked, in colour."),
            ],
        )
        return searchable(schema, "densepose", "mask", "body parts", "target_mask", "clothes", "torso", "legs", "蒙版")

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
        shown = preview.masked(found, surface if image is None else image)
        return io.NodeOutput(found, shown, ui=ui.PreviewImage(shown, cls=cls))


NODES = [DetectBodySurface, DrawBodySurface, BodySurfaceMask]
