"""Prompt per Person: words about single people, each read in that person's part of the picture only.

Scenes: a text of many scenes as a list of prompts.
"""

from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP
from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker
from torch import Tensor

from ..bridge.apply.begin import OnBodies, begin
from ..bridge.host.schema import applied_inputs, applied_outputs
from ..bridge.sampling.conditioning import Conditioning, SamplerInputs
from ..bridge.words import attach
from ..core.cast import Cast, require_places
from ..core.checks.prompts import per_scene, prompts_of_members
from ..core.taking_part import meant
from .categories import IN_PROMPTS
from .sockets import CastSocket

NAME = "Prompt per Person"
NOTHING = "No prompt is applied: no line has words, or Strength (strength) is 0."
ONE_SCENE = "Scenes has one scene, so no others follow. Write one more line into Prompts (text)."
NOTHING_IN_ROWS = (
    "No prompt is applied: no line is about a person whom Crop Faces has cut out, or Strength (strength) is 0."
)


class PromptPerPerson(io.ComfyNode):
    """Lines about single people, each read in that person's region only, added to the common prompt."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessPromptPerPerson",
            category=IN_PROMPTS,
            inputs=[
                *applied_inputs(),
                # After positive and negative: otherwise a bypassed node would give out the positive as the negative.
                io.Clip.Input("clip"),
                CastSocket.Input("cast"),
                io.String.Input("prompts", multiline=True, default="1: smiling"),
                io.Float.Input("strength", default=1.0, min=0.0, max=10.0, step=0.05),
                io.Mask.Input("mask", optional=True),
            ],
            outputs=applied_outputs(),
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        clip: CLIP,
        positive: Conditioning,
        negative: Conditioning,
        cast: Cast,
        prompts: str,
        strength: float,
        mask: Tensor | None = None,
    ) -> io.NodeOutput:
        placed_cast = require_places(cast, NAME)
        said = prompts_of_members(prompts, placed_cast)
        # At strength 0 nobody takes part, so that `begin` tells `nothing`.
        taking = meant(placed_cast, [bool(words and strength) for words in said.prompts])
        nothing = NOTHING_IN_ROWS if placed_cast.by_row else NOTHING
        given = SamplerInputs(model, positive, negative)
        where = OnBodies(mask, alone=False)
        acting = begin(
            cls, NAME, given, taking, strength, where, fits=attach.text_read, more=said.notes, nothing=nothing
        )
        if acting is None:
            return io.NodeOutput(model, positive, negative)
        words = [of_member for of_member, acts in zip(said.prompts, taking.acts, strict=True) if acts]
        # By row people without words act, too. The notes of a run name only the people with words.
        names = [member.name for member, has_words in zip(acting.people, words, strict=True) if has_words]
        return attach.applied(acting, [clip] * len(words), words, strength, given, acting.note_subject(names=names))


class Scenes(io.ComfyNode):
    """A list of prompts from a text with a scene in each line; the nodes after it run once for each."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessScenes",
            category=IN_PROMPTS,
            inputs=[
                io.String.Input("text", multiline=True, default=""),
                io.String.Input("always", multiline=True, default=""),
            ],
            outputs=[
                io.String.Output("prompts", is_output_list=True),
                io.Int.Output("count"),
                io.String.Output("first"),
                io.String.Output("others", is_output_list=True),
            ],
        )

    @classmethod
    def execute(cls, text: str, always: str) -> io.NodeOutput:
        prompts = per_scene(text, always)
        first, *others = prompts
        # The host cannot run a node for an empty list.
        return io.NodeOutput(prompts, len(prompts), first, others or [ExecutionBlocker(ONE_SCENE)])


NODES = [PromptPerPerson, Scenes]
