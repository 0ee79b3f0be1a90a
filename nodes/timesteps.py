"""Sigmas by Timesteps: the steps that the methods' authors sample with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import io

from ..bridge.schema import searchable
from ..bridge.timesteps import sigmas
from ..core.timesteps import SPACINGS

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher


class TimestepSigmas(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessTimestepSigmas",
            display_name="Sigmas by Timesteps",
            category="likeness/sampling",
            description="The steps that diffusers' schedulers take, and with them the methods' authors, as sigmas for "
            "SamplerCustom. ddim_uniform is the same list as leading where the steps divide 1000 (50), and longer "
            "elsewhere (31 for 30).",
            inputs=[
                io.Model.Input("model", tooltip="Its own noise schedule is used, also one that a node has changed."),
                io.Int.Input("steps", default=30, min=1, max=1000, tooltip="How many steps the sampler makes."),
                io.Combo.Input(
                    "spacing",
                    options=list(SPACINGS),
                    default="leading",
                    tooltip="leading = as published with SD1.5 and SDXL: ID-Patch, InstantID, Parts2Whole. trailing = "
                    "for Lightning and Turbo. linspace = from the first timestep to the last.",
                ),
            ],
            outputs=[io.Sigmas.Output("sigmas", display_name="sigmas", tooltip="For SamplerCustom.")],
        )
        return searchable(
            schema, "scheduler", "timestep spacing", "leading", "trailing", "diffusers", "ddim_uniform", "SIGMAS"
        )

    @classmethod
    def execute(cls, model: ModelPatcher, steps: int, spacing: str) -> io.NodeOutput:
        return io.NodeOutput(sigmas(model, steps, spacing))


NODES = [TimestepSigmas]
