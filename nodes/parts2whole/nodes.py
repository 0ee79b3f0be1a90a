"""Parts2Whole: the released networks, what they see of the parts, parts in the picture."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from comfy.clip_vision import ClipVisionModel
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP, VAE
from comfy_api.latest import io, ui
from torch import Tensor

from ...bridge import folders, notes
from ...bridge.conditioning import Conditioning, sigmas_of
from ...bridge.schema import advanced, applied_outputs, percent_input, searchable
from ...bridge.self_attention.shared_parts import Watch
from ...core import previews
from ...core.parts.drawing import sheet
from ...core.parts.parts import Parts, pose_hint, stretched
from ..sockets import PartsSocket, socket
from .features import Features, check_model, check_text, encode, pose_features, put_in, reading
from .files import Parts2Whole, choices, fingerprint, load_parts2whole, path_of

CATEGORY = "likeness/parts"
Parts2WholeSocket = socket("LIKENESS_PARTS2WHOLE", Parts2Whole)
PartFeaturesSocket = socket("LIKENESS_PART_FEATURES", Features)


class LoadParts2Whole(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessLoadParts2Whole",
            display_name="Load Parts2Whole",
            category=CATEGORY,
            description="Loads the released folder of Parts2Whole, or one .safetensors file made of it: the model for "
            "the sampler with its own noise schedule, and the networks that look at the parts.",
            inputs=[io.Combo.Input("folder", options=choices(), tooltip="A folder or file below models/parts2whole.")],
            outputs=[
                io.Model.Output("model", display_name="model"),
                Parts2WholeSocket.Output("parts2whole", display_name="parts2whole"),
            ],
        )
        return searchable(schema, "parts2whole", "parts", "reference unet", "garment", "outfit")

    @classmethod
    def validate_inputs(cls, folder: str | None) -> bool:
        return folders.found(path_of, folder)

    @classmethod
    def fingerprint_inputs(cls, folder: str | None) -> str:
        return fingerprint(folder)

    @classmethod
    def execute(cls, folder: str) -> io.NodeOutput:
        return io.NodeOutput(*load_parts2whole(path_of(folder)))


class EncodeParts(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        side = {"min": 64, "max": 4096, "step": 8}
        schema = io.Schema(
            node_id="LikenessEncodeParts",
            display_name="Encode Parts",
            category=CATEGORY,
            description="Shows every part to the networks of Parts2Whole once. Another seed, prompt or strength does "
            "not run this again.",
            inputs=[
                Parts2WholeSocket.Input("parts2whole", tooltip="From Load Parts2Whole."),
                PartsSocket.Input("parts", tooltip="From the last Part node; up to 6 parts."),
                io.Clip.Input("clip", tooltip="Of any SD1.5 checkpoint: it reads the labels."),
                io.ClipVision.Input("clip_vision", tooltip="CLIP ViT-L/14, from Load CLIP Vision."),
                io.Vae.Input("vae", tooltip="An SD1.5 VAE; Parts2Whole was trained with vae-ft-mse."),
                io.Int.Input("width", default=512, **side, tooltip="Of the new picture and its latent, px."),
                io.Int.Input("height", default=768, **side, tooltip="Of the new picture, px."),
            ],
            outputs=[
                PartFeaturesSocket.Output("features", display_name="features"),
                io.Image.Output("preview", display_name="preview"),
            ],
            hidden=[io.Hidden.unique_id],
        )
        return searchable(schema, "parts2whole", "reference unet", "garment", "outfit", "features")

    @classmethod
    def execute(
        cls,
        parts2whole: Parts2Whole,
        parts: Parts,
        clip: CLIP,
        clip_vision: ClipVisionModel,
        vae: VAE,
        width: int,
        height: int,
    ) -> io.NodeOutput:
        features = encode(parts2whole, parts, clip, clip_vision, vae, (width, height))
        shown = sheet(Parts(parts.present))
        notes.tell(notes.node_of(cls), "\n".join(stretched(parts, width, height)))
        return io.NodeOutput(features, shown, ui=ui.PreviewImage(shown, cls=cls))


class ApplyParts(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessApplyParts",
            display_name="Apply Parts",
            category=CATEGORY,
            description="Puts the parts into the positive conditioning, so that the new picture looks at them, and "
            "the pose into both. Use the model output for the sampler.",
            inputs=[
                io.Model.Input("model", tooltip="From Load Parts2Whole, LoRAs in between are fine."),
                io.Conditioning.Input("positive"),
                io.Conditioning.Input("negative"),
                PartFeaturesSocket.Input("features", tooltip="From Encode Parts."),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="The parts' share of the picture's attention. 1 = as published, 0 = off.",
                ),
                percent_input("start_percent", 0.0, "When the parts come in."),
                percent_input("end_percent", 1.0, "When they go."),
                advanced(
                    io.Int.Input(
                        "heat_map_step",
                        default=0,
                        min=0,
                        max=1000,
                        tooltip="Show in this node how much of the picture's attention goes to each part at this step, "
                        "counted from 1. 0 = show nothing.",
                    )
                ),
                io.Image.Input(
                    "pose",
                    optional=True,
                    tooltip="The pose as a DensePose IUV picture in the aspect of the parts, from Detect Body Surface "
                    "or Draw Body Surface; works at any strength.",
                ),
            ],
            outputs=applied_outputs(),
            hidden=[io.Hidden.unique_id],
        )
        return searchable(schema, "parts2whole", "garment", "outfit", "try on", "reference", "pose", "densepose")

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        positive: Conditioning,
        negative: Conditioning,
        features: Features,
        strength: float,
        start_percent: float,
        end_percent: float,
        heat_map_step: int,
        pose: Tensor | None = None,
    ) -> io.NodeOutput:
        node = notes.node_of(cls)
        notes.tell(node, "" if pose is None else pose_hint(pose))
        if strength == 0 and pose is None:
            return io.NodeOutput(model, positive, negative)
        window = sigmas_of(model, "The range of the parts", start_percent, end_percent)
        check_model(model, features)
        check_text([*positive, *negative], features)
        posed = None if pose is None else pose_features(features, pose)
        show = partial(_show_heat_maps, node, features.labels)
        watch = Watch(heat_map_step, show) if heat_map_step else None
        sides = put_in((positive, negative), features, strength, window, posed, watch)
        return io.NodeOutput(reading(model), *sides)


def _show_heat_maps(node: str | None, labels: Sequence[str], shares: Tensor) -> None:
    notes.show(node, previews.heat_maps(shares, labels))


NODES = [LoadParts2Whole, EncodeParts, ApplyParts]
