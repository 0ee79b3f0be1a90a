"""Prompt per Person: words about single people, each read in that person's part of the picture only.

Scenes: a text of many scenes as a list of prompts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP
from comfy_api.latest import io
from torch import Tensor

from ..bridge import carried, notes, runs, scopes
from ..bridge.conditioning import Conditioning, check_conditioning
from ..bridge.cross_attention.regional_text import appended_text, text_by_row, without_people
from ..bridge.cross_attention.regional_text_run import RegionalTextRun
from ..bridge.encode import text_of
from ..bridge.presence import announced, presence_of_people
from ..bridge.schedule import WHOLE_SCHEDULE
from ..bridge.schema import advanced, applied_outputs, region_inputs
from ..bridge.shared_network import model_of
from ..bridge.transformers import person_texts
from ..bridge.transformers.families import TransformerFamily
from ..bridge.transformers.networks import network_of, transformer_of
from ..bridge.transformers.person_texts_run import PersonTextsRun
from ..bridge.unet import text_width
from ..core.people import Cast, Person, PlacedCast, RowCast, is_a, require_places
from ..core.places import regions
from ..core.prompts import per_person, per_row, per_scene
from .categories import IN_PROMPTS
from .sockets import CastSocket

NAME = "Prompt per Person"
_SAME_CLIP = "Use the CLIP of the model's own checkpoint."
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
        placed_cast = require_places(cast, NAME)
        node_id = notes.node_of(cls)
        people_words = _people_words(placed_cast, prompts)
        applies_nothing = not strength or not people_words
        nothing = NOTHING_IN_ROWS if placed_cast.by_row else NOTHING
        notes.tell(node_id, nothing if applies_nothing else "")
        if applies_nothing:
            return io.NodeOutput(model, positive, negative)
        transformer = transformer_of(model, NAME)  # None for a MODEL with a UNet
        width = text_width(model) if transformer is None else transformer.text_width(network_of(model_of(model)))
        check_conditioning([*positive, *negative], width, NAME)
        people = [entry.person for entry in people_words]
        scope = scopes.scope_of_bodies(
            placed_cast,
            NAME,
            WHOLE_SCHEDULE,
            people,
            alone=placed_cast.by_row,
            rows=True,
            node_id=node_id,
            **region_settings,
        )
        all_words = [entry.words for entry in people_words]
        if transformer is None:
            run = RegionalTextRun
            sides = _on_unet(scope, model, clip, all_words, strength)
        else:
            run = PersonTextsRun
            sides = _on_transformer(scope, transformer, width, clip, all_words, strength)
        people_with_words = [entry.person for entry in people_words if entry.words]
        presence = presence_of_people(regions.names(people_with_words), NAME, node_id)
        outputs = announced(
            presence,
            runs.patched(model, run),
            carried.carry(positive, sides.positive),
            carried.carry(negative, sides.negative),
        )
        return io.NodeOutput(*outputs, ui=scope.preview(cls))


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
    texts = per_row(prompts, cast) if is_a(cast, RowCast) else per_person(prompts, regions.names(cast.people))
    entries: list[_PersonWords] = []
    for person, words in zip(cast.people, texts, strict=True):
        if person.weight > 0 and (words or cast.by_row):
            entries.append(_PersonWords(person, words))
    if not any(entry.words for entry in entries):
        return []
    return entries


@dataclass(frozen=True)
class _Sides:
    """What Prompt per Person puts into each side of the conditioning."""

    positive: carried.Carried
    negative: carried.Carried


def _on_unet(scope: scopes.Scope, model: ModelPatcher, clip: CLIP, all_words: Sequence[str], strength: float) -> _Sides:
    """What the positive and the negative carry for a UNet: the words of each person as tokens, read in their region or,
    by row, in their row of the batch. The negative carries as many tokens of no words.

    all_words: the words about each person of the scope, "" for none.
    """
    tokens: list[Tensor] = []  # (1, T, width) each; T is 0 without words
    for words in all_words:
        if words:
            context, _pooled = text_of(clip, words, model, _SAME_CLIP)
            tokens.append(context)
        else:
            tokens.append(torch.zeros(1, 0, text_width(model)))
    if scope.by_row:
        text = text_by_row(tokens, strength, scope.canvas)
    else:
        assert scope.regions is not None  # outside of rows, everybody with words has a region
        # A region's value says how strongly a pixel reads the words, so the strength is multiplied into it.
        text = appended_text(tokens, scope.regions * strength, scope.canvas)
    return _Sides(text, without_people(text))


def _on_transformer(
    scope: scopes.Scope,
    transformer: TransformerFamily,
    width: int,
    clip: CLIP,
    all_words: Sequence[str],
    strength: float,
) -> _Sides:
    """What the positive and the negative carry for a transformer: the words of each person, read in their region or, by
    row, in their row of the batch. The negative says that it has no words of people.

    width: of the text that the network reads. all_words: the words about each person of the scope, "" for none.
    """
    texts: list[Tensor] = []  # (1, T, width) each; T is 0 without words
    for words in all_words:
        if words:
            texts.append(person_texts.words_of(clip, words, width, transformer))
        else:
            texts.append(torch.zeros(1, 0, width))
    names = scope.names_apart
    if scope.by_row:
        people_texts = person_texts.texts_by_row(texts, strength, scope.canvas, names)
    else:
        assert scope.regions is not None  # outside of rows, everybody with words has a region
        people_texts = person_texts.appended_texts(texts, scope.regions * strength, scope.canvas, names)
    return _Sides(people_texts, person_texts.without_people(people_texts))


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
