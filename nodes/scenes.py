"""Scenes: many prompts for one cast, in one run."""

from __future__ import annotations

from comfy_api.latest import io

from ..bridge.schema import IN_METHODS, described, output
from ..core.prompts import per_scene


class Scenes(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessScenes",
            display_name="Scenes (list of prompts)",
            category=IN_METHODS,
            inputs=[
                io.String.Input("text", multiline=True, default=""),
                io.String.Input("always", multiline=True, default=""),
            ],
            outputs=[io.String.Output("prompts", display_name="prompts", is_output_list=True), output(io.Int, "count")],
        )
        return described(schema, "prompt list", "batch prompts", "comic", "album", "story", "storyboard", "queue")

    @classmethod
    def execute(cls, text: str, always: str) -> io.NodeOutput:
        prompts = per_scene(text, always)
        return io.NodeOutput(prompts, len(prompts))


NODES = [Scenes]
