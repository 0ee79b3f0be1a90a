"""Prompt per Person: words about single people, read in their part of the picture only. Scenes: many prompts."""

from dataclasses import dataclass
from typing import Any

from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP
from comfy_api.latest import io

from ..bridge import carried, notes, runs, scopes
from ..bridge.conditioning import Conditioning, check_conditioning
from ..bridge.cross_attention.regional_text import appended_text, without_people
from ..bridge.cross_attention.regional_text_run import RegionalTextRun
from ..bridge.encode import text_of
from ..bridge.presence import announced, of_people
from ..bridge.schedule import WHOLE_SCHEDULE
from ..bridge.schema import advanced, applied_outputs, region_inputs
from ..bridge.transformers import person_texts
from ..bridge.transformers.families import TransformerFamily
from ..bridge.transformers.networks import network_of, transformer_of
from ..bridge.unet import text_width
from ..core.errors import BadSetup
from ..core.people import Cast, Person, PlacedCast, require_places
from ..core.places import regions
from ..core.prompts import per_person, per_scene
from .categories import IN_PROMPTS
from .sockets import CastSocket

NAME = "Prompt per Person"
_SAME_CLIP = "Use the CLIP of the model's own checkpoint."
NOTHING = "No prompt is applied: no line has words, or strength is 0."


class PromptPerPerson(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessPromptPerPerson",
            category=IN_PROMPTS,
            inputs=[
                io.Model.Input("model"),
                io.Conditioning.Input("positive"),
                io.Conditioning.Input("negative"),
                io.Clip.Input("clip"),  # behind both, or a bypassed node gives the positive for the negative
                CastSocket.Input("cast"),
                io.String.Input("prompts", multiline=True, default="1: smiling"),
                io.Float.Input("strength", default=1.0, min=0.0, max=10.0, step=0.05),
                *map(advanced, region_inputs()),
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
        **region_settings: Any,
    ) -> io.NodeOutput:
        placed = require_places(cast, NAME)
        node_id = notes.node_of(cls)
        people_words = _people_words(placed, prompts)
        applies_nothing = not strength or not people_words
        notes.tell(node_id, NOTHING if applies_nothing else "")
        if applies_nothing:
            return io.NodeOutput(model, positive, negative)
        transformer = transformer_of(model, NAME)
        width = text_width(model) if transformer is None else transformer.text_width(network_of(model.model))
        check_conditioning([*positive, *negative], width, NAME)
        people = [entry.person for entry in people_words]
        names = regions.names(people)
        scope = scopes.of_bodies(
            placed,
            NAME,
            WHOLE_SCHEDULE,
            people,
            alone=False,
            node_id=node_id,
            **region_settings,
        )
        assert scope.regions is not None
        weights = scope.regions * strength  # (people, H, W)
        run: type[runs.Run]
        if transformer is None:
            tokens = [text_of(clip, entry.words, model, _SAME_CLIP)[0] for entry in people_words]
            text = appended_text(tokens, weights, scope.canvas)
            no_text = without_people(text)
            run = RegionalTextRun
        else:
            _check_strength(strength, transformer)
            texts = [person_texts.words_of(clip, entry.words, width, transformer) for entry in people_words]
            text = person_texts.appended_texts(texts, weights, scope.canvas, names)
            no_text = person_texts.without_people(text)
            run = person_texts.PersonTextsRun
        outputs = announced(
            of_people(names, NAME, node_id),
            runs.patched(model, run),
            carried.carry(positive, text),
            carried.carry(negative, no_text),
        )
        return io.NodeOutput(*outputs, ui=scope.preview(cls))


@dataclass(frozen=True)
class _PersonWords:
    """The words about one person."""

    person: Person
    words: str


def _people_words(placed: PlacedCast, prompts: str) -> list[_PersonWords]:
    """The people of weight above 0 that the prompts have words about. Raises what core.prompts.per_person raises."""
    words_of_people = per_person(prompts, regions.names(placed.people))
    people_words: list[_PersonWords] = []
    for person, words in zip(placed.people, words_of_people, strict=True):
        if words and person.weight > 0:
            people_words.append(_PersonWords(person, words))
    return people_words


def _check_strength(strength: float, transformer: TransformerFamily) -> None:
    """Raise BadSetup for a strength above 1.

    In the attention of a transformer a strength is the share of what is read with the words, and the rest is read
    without them. There is no share above 1.
    """
    if strength > 1:
        raise BadSetup(
            f"strength is {strength:g}, and on {transformer.name} words cannot be read more than once.",
            "Set strength to 1 or less. For more effect, describe the person in more words.",
        )


class Scenes(io.ComfyNode):
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
