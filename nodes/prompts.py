"""Prompt per Person: words about single people, each read in that person's part of the picture only.

Scenes: a text of many scenes as a list of prompts.
"""

from dataclasses import dataclass

from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP
from comfy_api.latest import io
from torch import Tensor

from ..bridge import apply_nodes
from ..bridge.host import notes
from ..bridge.host.schedule import WHOLE_SCHEDULE
from ..bridge.host.schema import applied_outputs
from ..bridge.networks.model_family import text_of_model
from ..bridge.sampling import runs
from ..bridge.sampling.canvas_check import Canvas
from ..bridge.sampling.conditioning import Conditioning, SamplerInputs, check_conditioning
from ..bridge.words.person_words import carry_words
from ..bridge.words.transformer_words import PersonTextsRun
from ..bridge.words.unet_words import RegionalTextRun
from ..core import taking_part
from ..core.people import Cast, Person, PlacedCast, require_places
from ..core.prompts import per_member, per_scene
from .categories import IN_PROMPTS
from .sockets import CastSocket

NAME = "Prompt per Person"
NOTHING = "No prompt is applied: no line has words, or strength is 0."
NOTHING_IN_ROWS = "No prompt is applied: no line is about a person whom Crop Faces has cut out, or strength is 0."


class PromptPerPerson(io.ComfyNode):
    """Lines about single people, each read in that person's region only, added to the common prompt."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessPromptPerPerson",
            category=IN_PROMPTS,
            inputs=[
                io.Model.Input("model"),
                io.Conditioning.Input("positive"),
                io.Conditioning.Input("negative"),
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
        people_words = _people_words(placed_cast, prompts)
        applies_nothing = not strength or not people_words
        nothing = NOTHING_IN_ROWS if placed_cast.by_row else NOTHING
        notes.tell(nothing if applies_nothing else "")
        if applies_nothing:
            return io.NodeOutput(model, positive, negative)
        text = text_of_model(model, NAME)
        check_conditioning([*positive, *negative], text.width, NAME)
        people = [entry.person for entry in people_words]
        canvas = Canvas(NAME, notes.node_of(cls))
        scope = apply_nodes.scope_of_bodies(placed_cast, canvas, WHOLE_SCHEDULE, mask, people, alone=False)
        words = [entry.words for entry in people_words]
        given = SamplerInputs(model, positive, negative)
        out = carry_words(scope, text, [clip] * len(words), words, strength, given)
        model_out = runs.patched(model, RegionalTextRun if text.transformer is None else PersonTextsRun)
        names = taking_part.names([entry.person for entry in people_words if entry.words])
        return scope.outputs(model_out, (out.positive, out.negative), names, scope.preview(cls))


@dataclass(frozen=True)
class _PersonWords:
    """A person and the words about this person.

    words: "" only where people have a row of the batch each, and no line is about this person.
    """

    person: Person
    words: str


def _people_words(cast: PlacedCast, prompts: str) -> list[_PersonWords]:
    """The people of weight above 0 about whom a line has words, with these words.

    Where each person has a row of the batch, the people without words are among them with "", so that every row has its
    person. Where nobody has words, the list is empty. Raises BadPrompts and BadText.
    """
    entries: list[_PersonWords] = []
    for person, words in zip(cast.people, per_member(prompts, cast), strict=True):
        if person.weight > 0 and (words or cast.by_row):
            entries.append(_PersonWords(person, words))
    if not any(entry.words for entry in entries):
        return []
    return entries


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
            outputs=[io.String.Output("prompts", is_output_list=True), io.Int.Output("count")],
        )

    @classmethod
    def execute(cls, text: str, always: str) -> io.NodeOutput:
        prompts = per_scene(text, always)
        return io.NodeOutput(prompts, len(prompts))


NODES = [PromptPerPerson, Scenes]
