"""InstantID: load the adapter, draw the face keypoints, apply adapter and IdentityNet for one person or many."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from comfy.controlnet import ControlBase
from comfy.model_patcher import ModelPatcher
from comfy.samplers import CFGGuider
from comfy_api.latest import io, ui
from torch import Tensor

from ...bridge import folders, notes
from ...bridge.adapters import check_layout, hearing
from ...bridge.carried import put
from ...bridge.conditioning import Conditioning, ControlAttachment, check_conditioning, check_control_net, sigmas_of
from ...bridge.injections import InjectionsRun
from ...bridge.runs import patched
from ...bridge.schema import (
    advanced,
    applied_outputs,
    heard_inputs,
    percent_input,
    photos_input,
    searchable,
    seed_input,
)
from ...core import geometry
from ...core.errors import LikenessError, listed, rows_missing
from ...core.people import Cast, Layout, PlacedCast, RowCast, is_a
from ...core.pictures import LONGER_SIDE, MULTIPLE_OF, as_rgb, resized_photo
from ...core.places import control_images, heard, placing
from ...core.places.heard import REGIONS
from ..sockets import CastOrIdentitySocket, CastSocket, LayoutSocket, socket
from .host import FILE, InstantID, load_instant_id, make_injections
from .identity_net import IdentityNet
from .net import METHOD

CATEGORY = "likeness/instantid"
InstantIDSocket = socket("LIKENESS_INSTANT_ID", InstantID)
IMAGE, APPLY = "Face Keypoints Image", "Apply InstantID (Likeness)"

HIGH_CFG = 6.0
CELL = 32
"""Side in pixels of what the coarsest layers of an SDXL model take for one token."""
WATERMARKS = (
    "Watermarks are likely at exactly 1024x1024, as in the pictures InstantID was trained on; not at 1016x1016 or "
    "1024x768"
)


class NoKeypoints(LikenessError):
    """No face keypoints where InstantID needs them."""

    def __init__(self, node: str, places: Sequence[str]) -> None:
        which = f"places {listed(places)} have" if len(places) > 1 else f"place {listed(places)} has"
        where = f"{which} no face keypoints" if places else "there is no face in the keypoints image"
        super().__init__(
            f"{node}: {where}.",
            "Make the layout from faces or masks, or with Group Layout: these know where eyes, nose and mouth are. In "
            "a pose, show more of head and shoulders.",
        )


class IdentityNetMissing(LikenessError):
    """IdentityNet is switched on and not all it needs is connected."""

    def __init__(self, missing: Sequence[str], strength: float) -> None:
        super().__init__(
            f"control_strength is {strength:g}, but nothing is connected to {' and '.join(missing)}.",
            "Connect IdentityNet (Load ControlNet Model) to control_net and Face Keypoints Image to image, or set "
            "control_strength to 0 to use the adapter alone.",
        )


class LoadInstantID(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessLoadInstantID",
            display_name="Load InstantID",
            category=CATEGORY,
            description="Loads InstantID's ip-adapter.bin. IdentityNet, the ControlNet released with it, is loaded "
            "with the host's Load ControlNet Model.",
            inputs=[
                io.Combo.Input(
                    "file",
                    options=folders.listed(FILE.key),
                    tooltip="ip-adapter.bin, or a safetensors copy of it, from models/instantid.",
                )
            ],
            outputs=[InstantIDSocket.Output("instant_id", display_name="instant_id")],
            hidden=[io.Hidden.unique_id],
        )
        return searchable(schema, "instantid", "instant id", "face", "ip-adapter", "identity")

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool:
        return folders.found(FILE.path, file)

    @classmethod
    def fingerprint_inputs(cls, file: str | None) -> str:
        return folders.fingerprint(FILE.path, file)

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        return io.NodeOutput(load_instant_id(FILE.chosen(file, notes.node_of(cls))))


class ResizePhoto(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessResizePhoto",
            display_name="Resize Photo",
            category=CATEGORY,
            description="Brings a photo to a size to generate at, as InstantID's authors do before they look for the "
            "face: nothing is cut off, both sides become multiples.",
            inputs=[
                io.Image.Input("image", tooltip="The person's photo, or the picture that ControlNets read."),
                io.Int.Input(
                    "longer_side",
                    default=LONGER_SIDE,
                    min=64,
                    max=geometry.LARGEST,
                    step=8,
                    tooltip="In pixels; smaller photos are enlarged. 1280 is the authors' script, 1024 their demo.",
                ),
                io.Int.Input(
                    "multiple_of",
                    default=MULTIPLE_OF,
                    min=8,
                    max=512,
                    step=8,
                    tooltip="Both sides are rounded down to multiples of this, which stretches the photo a little.",
                ),
            ],
            outputs=[
                io.Image.Output("resized", display_name="image"),
                io.Int.Output("width", display_name="width"),
                io.Int.Output("height", display_name="height"),
            ],
            hidden=[io.Hidden.unique_id],
        )
        return searchable(schema, "resize", "scale", "image size", "photo size", "multiple of 64", "InstantID")

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
            description="Draws the five keypoints of every face, in place and at the size of the canvas, as "
            "InstantID's IdentityNet was trained on them. With the cast of Crop Faces, a picture per person.",
            inputs=[
                CastSocket.Input("cast", optional=True, tooltip="People with places, from Place Cast or Crop Faces."),
                LayoutSocket.Input("layout", optional=True, tooltip="Places without people, instead of a cast."),
            ],
            outputs=[io.Image.Output("image", display_name="image")],
        )
        return searchable(schema, "instantid", "face keypoints", "kps", "face pose", "landmarks")

    @classmethod
    def execute(cls, cast: Cast | None = None, layout: Layout | None = None) -> io.NodeOutput:
        # With everybody at weight 0 Apply InstantID needs no picture, but the graph must still run.
        drawn = heard.heard(cast) if cast and any(person.weight > 0 for person in cast.people) else cast
        layout = placing.places_of(drawn, layout, IMAGE)
        faces = [slot.keypoints for slot in layout.slots if slot.keypoints is not None]
        if not faces or len(faces) < len(layout.slots):
            bare = [str(number) for number, slot in enumerate(layout.slots, 1) if slot.keypoints is None]
            raise NoKeypoints(IMAGE, bare)
        pictures = [[face] for face in faces] if is_a(cast, RowCast) else [faces]
        size = (layout.width, layout.height)
        image = torch.stack([control_images.face_keypoints(shown, *size) for shown in pictures])
        return io.NodeOutput(image, ui=ui.PreviewImage(image, cls=cls))


class ApplyInstantID(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessApplyInstantID",
            display_name=APPLY,
            category=CATEGORY,
            description="InstantID for one person, or for many in one pass, each in their own region. The tokens "
            "travel in both conditionings; the MODEL only learns to read them. Use the model output for the sampler.",
            inputs=[
                io.Model.Input("model", tooltip="An SDXL model: SDXL, Turbo, Lightning, LCM and fine-tunes."),
                io.Conditioning.Input("positive"),
                io.Conditioning.Input("negative"),
                InstantIDSocket.Input("instant_id", tooltip="From Load InstantID."),
                io.ControlNet.Input(
                    "control_net",
                    optional=True,
                    tooltip="IdentityNet, the ControlNet released with InstantID. Not needed at control_strength 0.",
                ),
                CastOrIdentitySocket.Input(
                    "cast", tooltip="One person (an identity or a cast, no place needed) or several with places."
                ),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="From Face Keypoints Image; a batch gives every picture its own keypoints. Not needed at "
                    "control_strength 0.",
                ),
                io.Float.Input(
                    "adapter_weight",
                    default=0.8,
                    min=-1.0,
                    max=3.0,
                    step=0.01,
                    tooltip="How strongly the UNet reads the face. 0 switches this half off; below 0 the picture turns "
                    "away from the face.",
                ),
                io.Float.Input(
                    "control_strength",
                    default=0.8,
                    min=0.0,
                    max=10.0,
                    step=0.01,
                    tooltip="Strength of IdentityNet, which puts the face where its keypoints are. 0 switches it off.",
                ),
                percent_input("start_percent", 0.0, "When IdentityNet starts."),
                percent_input("end_percent", 1.0, "When IdentityNet stops."),
                advanced(
                    percent_input(
                        "adapter_start_percent", 0.0, "When the adapter starts; 0.1 to 0.2 leaves more of the style."
                    )
                ),
                advanced(percent_input("adapter_end_percent", 1.0, "When it stops.")),
                io.Float.Input(
                    "negative_noise",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Noise in the face of the negative, against burnt colours; 0 is InstantID as published, "
                    "0.35 is what other packs use.",
                ),
                advanced(seed_input("noise_seed", "Of negative_noise.")),
                photos_input(
                    "How several photos of one person are joined: average, average direction at the usual length, "
                    "all of them as a sequence, or the average of those that agree with each other."
                ),
                *heard_inputs(
                    "face boxes = adapter and IdentityNet act inside the face boxes of the places alone, and the "
                    "prompt has the rest of the picture: for styles, and for people seen from afar."
                ),
            ],
            hidden=[io.Hidden.unique_id],
            outputs=applied_outputs(),
        )
        return searchable(
            schema, "instantid", "instant id", "identitynet", "portrait", "same person", "character", "multi id",
            "pulid", "faceid", "face swap", "换脸",
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        positive: Conditioning,
        negative: Conditioning,
        instant_id: InstantID,
        control_net: ControlBase | None = None,
        cast: Any = None,  # a Cast or an Identity; the host always gives one
        image: Tensor | None = None,
        *,
        adapter_weight: float,
        control_strength: float,
        start_percent: float,
        end_percent: float,
        adapter_start_percent: float,
        adapter_end_percent: float,
        negative_noise: float,
        noise_seed: int,
        photos: str,
        region_margin: float,
        feather: int,
        mask: Tensor | None = None,
        acts_in: str = REGIONS,
    ) -> io.NodeOutput:
        cast = heard.as_cast(cast)
        people, node = heard.heard(cast).people, notes.node_of(cls)
        notes.tell(node, "\n".join(_remarks(image, mask, cast, acts_in)))
        if not people or adapter_weight == control_strength == 0:
            return io.NodeOutput(model, positive, negative)
        window = sigmas_of(model, "The adapter", adapter_start_percent, adapter_end_percent)
        check_conditioning([*positive, *negative], instant_id.width, APPLY)
        check_control_net(control_net, instant_id.width, APPLY)
        check_layout(instant_id.net.ip_adapter.widths, model, METHOD)
        where = hearing(cast, APPLY, node, window, mask, region_margin, feather, acts_in, "with keypoints and regions")
        injections = make_injections(
            instant_id, people, photos, weight=adapter_weight, hearing=where, negative_noise=negative_noise,
            noise_seed=noise_seed, begins=partial(_check_cfg, node),
        )  # fmt: skip
        pairs = ((positive, injections.positive), (negative, injections.negative))
        sides = [put(*pair) for pair in pairs]
        if control_strength:
            hint = _hint(image, cast, control_net, control_strength)
            net = IdentityNet(control_net, injections.positive.source, injections.nobody)
            # Regions of the cast's canvas are looked at before the run, else the hint when it is read.
            percents, seen = (start_percent, end_percent), None if where.placed else where.canvas
            attachment = ControlAttachment(net, instant_id.width, hint, control_strength, percents, seen)
            sides = [attachment.to(side) for side in sides]
        shown = heard.drawn(where.acts, people, where.by_row)
        preview = None if shown is None else ui.PreviewImage(shown, cls=cls)
        return io.NodeOutput(patched(model, InjectionsRun), *sides, ui=preview)


def _remarks(image: Tensor | None, mask: Tensor | None, cast: Cast, acts_in: str) -> list[str]:
    """What works, but may not be meant."""
    square = image is not None and image.shape[1:3] == (1024, 1024)
    return [*heard.left_out(cast), *[WATERMARKS] * square, *heard.remarks(cast, mask, acts_in, CELL)]


def _check_cfg(node: str | None, guider: CFGGuider) -> None:
    cfg = getattr(guider, "cfg", 0.0)
    high = f"CFG {cfg:g} burns colours: InstantID was made for 4 to 5, and is fine up to {HIGH_CFG:g}"
    notes.tell(node, high if cfg > HIGH_CFG else "", "CFG")


def _hint(image: Tensor | None, cast: Cast, control_net: ControlBase | None, strength: float) -> Tensor:
    """The picture IdentityNet reads. Raises IdentityNetMissing where it or the net is not connected."""
    if image is None or control_net is None:
        given = {"control_net": control_net, "image": image}
        raise IdentityNetMissing([name for name, one in given.items() if one is None], strength)
    if is_a(cast, PlacedCast):
        advice = "Draw the keypoints from the same cast or layout with Face Keypoints Image."
        geometry.check_canvas("The keypoints image", image, cast, advice)
    if not image.any():
        raise NoKeypoints(APPLY, [])
    if is_a(cast, RowCast) and len(image) != len(cast.people):
        raise rows_missing(APPLY, len(cast.people), "the keypoints image", len(image))
    return as_rgb(image)


NODES = [LoadInstantID, ResizePhoto, FaceKeypointsImage, ApplyInstantID]
