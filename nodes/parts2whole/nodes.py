"""Parts2Whole: the released networks, what they see of the parts, parts in the picture."""

from __future__ import annotations

from comfy.clip_vision import ClipVisionModel
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP, VAE
from comfy_api.latest import io, ui
from torch import Tensor

from ...bridge import folders, notes
from ...bridge.conditioning import Conditioning, sigmas_of
from ...bridge.schema import IN_FILES, IN_METHODS, advanced, applied_inputs, applied_outputs, range_inputs
from ...bridge.self_attention.shared_parts import Watch
from ...core import previews
from ...core.parts.parts import Parts, pose_hint, sheet, stretched
from ..sockets import PartsSocket, socket
from .features import Features, check_fit, encode, pose_features, put_in, reading
from .files import Parts2Whole, choices, fingerprint, load_parts2whole, path_of

Parts2WholeSocket = socket("LIKENESS_PARTS2WHOLE", Parts2Whole)
PartFeaturesSocket = socket("LIKENESS_PART_FEATURES", Features)


class LoadParts2Whole(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessLoadParts2Whole",
            category=IN_FILES,
            inputs=[io.Combo.Input("folder", options=choices())],
            outputs=[io.Model.Output("model"), Parts2WholeSocket.Output("parts2whole")],
        )

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
        return io.Schema(
            node_id="LikenessEncodeParts",
            category=IN_METHODS,
            inputs=[
                Parts2WholeSocket.Input("parts2whole"),
                PartsSocket.Input("parts"),
                io.Clip.Input("clip"),
                io.ClipVision.Input("clip_vision"),
                io.Vae.Input("vae"),
                io.Int.Input("width", default=512, **side),
                io.Int.Input("height", default=768, **side),
            ],
            outputs=[PartFeaturesSocket.Output("features"), io.Image.Output("preview")],
        )

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
        return io.Schema(
            node_id="LikenessApplyParts",
            category=IN_METHODS,
            inputs=[
                *applied_inputs(),
                PartFeaturesSocket.Input("features"),
                io.Float.Input("strength", default=1.0, min=0.0, max=2.0, step=0.05),
                *range_inputs(),
                advanced(io.Int.Input("heat_map_step", default=0, min=0, max=1000)),
                io.Image.Input("pose", optional=True),
            ],
            outputs=applied_outputs(),
        )

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
        check_fit(model, [*positive, *negative], features)
        posed = None if pose is None else pose_features(features, pose)
        labels = features.labels
        watch = Watch(heat_map_step, lambda shares: notes.show(node, previews.heat_maps(shares, labels)))
        sides = put_in((positive, negative), features, strength, window, posed, watch if heat_map_step else None)
        return io.NodeOutput(reading(model), *sides)


NODES = [LoadParts2Whole, EncodeParts, ApplyParts]
