"""Scenes: many prompts for one cast, in one run."""

from __future__ import annotations

from comfy_api.latest import io

from ..bridge.schema import IN_METHODS
from ..core.prompts import per_scene


class Scenes(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessScenes",
            category=IN_METHODS,
            inputs=[
                io.String.Input("text", multiline=True, default=""),
                io.String.Input("always", multiline=True, default=""),
            ],
            outputs=[io.String.Output("prompts", is_output_list=True), io.Int.Output("count")],
        )

    @classmethod
    def execute(cls, text: str, always: str) -> io.NodeOutput:
        prompts = per_scene(text, always)
        return io.NodeOutput(prompts, len(prompts))


NODES = [Scenes]
