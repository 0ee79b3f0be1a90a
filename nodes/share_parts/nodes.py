"""Parts on any SD1.5 or SDXL model, without training: the model is its own reference."""

from __future__ import annotations

from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP, VAE
from comfy_api.latest import io

from ...bridge.conditioning import Conditioning, check_conditioning, sigmas_of
from ...bridge.runs import patched
from ...bridge.schema import IN_METHODS, advanced, applied_outputs, described, percent_input, seed_input
from ...bridge.self_attention.run import SharingRun
from ...bridge.unet import text_width
from ...core import geometry
from ...core.parts.parts import Parts
from ..sockets import PartsSocket
from .reference import LAYERS, put_in, reference_of

EVERY_STEP, ONCE = "at every step", "once"


class SharePartsAttention(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        side = {"min": 64, "max": geometry.LARGEST, "step": 8}
        schema = io.Schema(
            node_id="LikenessSharePartsAttention",
            display_name="Share Parts Attention",
            category=IN_METHODS,
            inputs=[
                io.Model.Input("model"),
                io.Conditioning.Input("positive"),
                io.Conditioning.Input("negative"),
                PartsSocket.Input("parts"),
                io.Clip.Input("clip"),
                io.Vae.Input("vae"),
                io.Int.Input("width", default=1024, **side),
                io.Int.Input("height", default=1024, **side),
                io.Float.Input("strength", default=1.0, min=0.0, max=4.0, step=0.01),
                percent_input("start_percent", 0.0),
                percent_input("end_percent", 1.0),
                io.Combo.Input("layers", options=list(LAYERS)),
                io.Combo.Input("reference", options=[EVERY_STEP, ONCE]),
                advanced(seed_input("seed")),
                io.Int.Input("renew_every", default=1, min=1, max=1000, optional=True),
                io.Boolean.Input("crop_to_mask", default=False, optional=True),
            ],
            outputs=applied_outputs(),
        )
        return described(schema, "parts", "clothes", "outfit", "dress", "wardrobe", "try on", "reference only", "换装")

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        positive: Conditioning,
        negative: Conditioning,
        parts: Parts,
        clip: CLIP,
        vae: VAE,
        width: int,
        height: int,
        strength: float,
        start_percent: float,
        end_percent: float,
        layers: str,
        reference: str,
        seed: int,
        renew_every: int = 1,
        crop_to_mask: bool = False,
    ) -> io.NodeOutput:
        if strength == 0 or not parts.present:
            return io.NodeOutput(model, positive, negative)
        check_conditioning([*positive, *negative], text_width(model), "Share Parts Attention")
        geometry.check_size("The picture", width, height)
        window = sigmas_of(model, "The range of the parts", start_percent, end_percent)
        steps = renew_every if reference == EVERY_STEP else None
        live = reference_of(model, parts, clip, vae, (width, height), layers, steps, seed, crop_to_mask)
        sides = put_in((positive, negative), live, parts, (width, height), strength, window)
        return io.NodeOutput(patched(model, SharingRun), *sides)


NODES = [SharePartsAttention]
