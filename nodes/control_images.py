"""Pictures for ControlNets: face keypoints drawn in place, and photos at the size to generate at."""

from __future__ import annotations

import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ..bridge import notes
from ..bridge.schema import described
from ..core import geometry
from ..core.people import Cast, Layout, places_of
from ..core.pictures import LONGER_SIDE, MULTIPLE_OF, resized_photo
from ..core.places import control_images, heard
from ..core.places.control_images import NoKeypoints
from .sockets import CastSocket, LayoutSocket

CATEGORY = "likeness/instantid"
IMAGE = "Face Keypoints Image"


class ResizePhoto(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessResizePhoto",
            display_name="Resize Photo",
            category=CATEGORY,
            inputs=[
                io.Image.Input("image"),
                io.Int.Input("longer_side", default=LONGER_SIDE, min=64, max=geometry.LARGEST, step=8),
                io.Int.Input("multiple_of", default=MULTIPLE_OF, min=8, max=512, step=8),
            ],
            outputs=[
                io.Image.Output("resized", display_name="image"),
                io.Int.Output("width", display_name="width"),
                io.Int.Output("height", display_name="height"),
            ],
            hidden=[io.Hidden.unique_id],
        )
        return described(schema, "resize", "scale", "image size", "photo size", "multiple of 64", "InstantID")

    @classmethod
    def execute(cls, image: Tensor, longer_side: int, multiple_of: int) -> io.NodeOutput:
        photo = resized_photo(image, longer_side, multiple_of)
        longer = max(photo.shape[1:3])
        rounded = f"Longer side {longer} px, not {longer_side}: both are rounded down to multiples of {multiple_of}"
        notes.tell(notes.node_of(cls), "" if longer == longer_side else rounded)
        return io.NodeOutput(photo, photo.shape[2], photo.shape[1])


class FaceKeypointsImage(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessFaceKeypointsImage",
            display_name=IMAGE,
            category=CATEGORY,
            inputs=[
                CastSocket.Input("cast", optional=True),
                LayoutSocket.Input("layout", optional=True),
            ],
            outputs=[io.Image.Output("image", display_name="image")],
        )
        return described(schema, "instantid", "face keypoints", "kps", "face pose", "landmarks")

    @classmethod
    def execute(cls, cast: Cast | None = None, layout: Layout | None = None) -> io.NodeOutput:
        # With everybody at weight 0 Apply InstantID needs no picture, but the graph must still run.
        drawn = heard.heard(cast) if cast and any(person.weight > 0 for person in cast.people) else cast
        layout = places_of(drawn, layout, IMAGE)
        faces = [slot.keypoints for slot in layout.slots if slot.keypoints is not None]
        if not faces or len(faces) < len(layout.slots):
            bare = [str(number) for number, slot in enumerate(layout.slots, 1) if slot.keypoints is None]
            raise NoKeypoints(IMAGE, bare)
        pictures = [[face] for face in faces] if cast and cast.by_row else [faces]
        size = (layout.width, layout.height)
        image = torch.stack([control_images.face_keypoints(shown, *size) for shown in pictures])
        return io.NodeOutput(image, ui=ui.PreviewImage(image, cls=cls))


NODES = [ResizePhoto, FaceKeypointsImage]
