"""Scenes: many prompts for one cast, in one run."""

from __future__ import annotations

from comfy_api.latest import io

from ..bridge.schema import output, searchable
from ..core.prompts import MOST_SCENES, per_scene


class Scenes(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessScenes",
            display_name="Scenes (list of prompts)",
            category="likeness/scenes",
            description="One prompt per line, one picture per prompt: the nodes behind it run once for every scene, in "
            "one go. For comics, albums, the same people in many places.",
            inputs=[
                io.String.Input(
                    "text",
                    multiline=True,
                    default="",
                    tooltip=f"One scene per line, at most {MOST_SCENES}; empty lines are left out.",
                ),
                io.String.Input(
                    "always",
                    multiline=True,
                    default="",
                    tooltip="Added to every scene: clothes, light, style. So they stay the same.",
                ),
            ],
            outputs=[
                io.String.Output(
                    "prompts",
                    display_name="prompts",
                    is_output_list=True,
                    tooltip="A list: CLIP Text Encode and all that follows run once for each.",
                ),
                output(io.Int, "count", "How many scenes there are."),
            ],
        )
        return searchable(schema, "prompt list", "batch prompts", "comic", "album", "story", "storyboard", "queue")

    @classmethod
    def execute(cls, text: str, always: str) -> io.NodeOutput:
        prompts = per_scene(text, always)
        return io.NodeOutput(prompts, len(prompts))


NODES = [Scenes]
