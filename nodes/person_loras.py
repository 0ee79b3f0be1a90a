"""Add LoRA to Person: a LoRA becomes part of a person. LoRA per Person: it acts where that person is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP
from comfy_api.latest import io
from torch import Tensor

from ..bridge import carried, folders, notes, schema, scopes
from ..bridge.conditioning import Conditioning, check_conditioning
from ..bridge.cross_attention.lora_layers import LayerLora
from ..bridge.cross_attention.regional_lora import RegionalLora, RegionalLoraRun
from ..bridge.cross_attention.regional_text import RegionalText, appended_text, text_by_row, without_people
from ..bridge.cross_attention.regional_text_run import RegionalTextRun
from ..bridge.encode import text_of
from ..bridge.face_model import NONE_FOUND
from ..bridge.lora_files import LoraFile, path_of, read_lora_file
from ..bridge.presence import NamedRange, announced, presence_of_people
from ..bridge.runs import patched
from ..bridge.schedule import schedule_range
from ..bridge.shared_network import model_of
from ..bridge.transformers import lora_files, person_loras, person_texts
from ..bridge.transformers.families import TransformerFamily
from ..bridge.transformers.networks import network_of, transformer_of
from ..bridge.transformers.person_texts_run import PersonTextsRun
from ..bridge.unet import text_width
from ..core.people import CROP, UNNAMED, Cast, Identity, Lora, Person
from ..core.places import regions
from ..core.places.person_region import Extent
from ..core.prompts import check_text
from ..core.text import MOST_NAME_LETTERS, plain
from .categories import IN_PROMPTS
from .sockets import CastOrPersonSocket, PersonSocket

APPLY = "LoRA per Person"
NO_LORA = "No LoRA is applied: no person of the cast has one above or below 0. Put Add LoRA to Person before Cast."


class AddLoRAToPerson(io.ComfyNode):
    """A person with one more LoRA. Without a linked person it makes a person who is known to LoRAs alone."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessAddLoRAToPerson",
            category=IN_PROMPTS,
            inputs=[
                PersonSocket.Input("person", optional=True),
                io.Combo.Input("file", options=folders.file_names("loras") or [NONE_FOUND]),
                io.Float.Input("strength", default=1.0, min=-10.0, max=10.0, step=0.01),
                io.String.Input("words", default="", multiline=True),
                io.String.Input("name", default=""),
            ],
            outputs=[PersonSocket.Output("person_out")],
        )

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool:
        # file is None where the input is linked: its value is known only when the node runs.
        return folders.chosen_file_exists(path_of, file)

    @classmethod
    def fingerprint_inputs(cls, file: str | None, **_: Any) -> str:
        return folders.fingerprint(path_of, file)

    @classmethod
    def execute(
        cls,
        person: Identity | None = None,
        *,
        file: str,
        strength: float,
        words: str,
        name: str,
    ) -> io.NodeOutput:
        if person is None:
            # A person who is known to a LoRA alone has no photo: a grey square stands for the crop of the face.
            person = Identity(UNNAMED, embeddings={}, crops=torch.full((1, CROP, CROP, 3), 0.5))
        words = check_text("The words of the LoRA", plain(words))
        loras = (*person.loras, Lora(file, strength, words))
        new_name = plain(name, MOST_NAME_LETTERS) or person.name
        return io.NodeOutput(replace(person, name=new_name, loras=loras))


class LoRAPerPerson(io.ComfyNode):
    """Lets each person's LoRAs act in that person's region only, and their words be read there."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessLoRAPerPerson",
            category=IN_PROMPTS,
            inputs=[
                *schema.applied_inputs(),
                io.Clip.Input("clip"),
                CastOrPersonSocket.Input("cast"),
                io.Float.Input("strength", default=1.0, min=-4.0, max=4.0, step=0.01),
                *schema.range_inputs(),
                *map(schema.advanced, schema.region_inputs()),
                io.Mask.Input("mask", optional=True),
            ],
            outputs=schema.applied_outputs(),
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        positive: Conditioning,
        negative: Conditioning,
        clip: CLIP,
        cast: Any,  # a Cast or an Identity
        strength: float,
        start_percent: float,
        end_percent: float,
        extent: Extent,
        margin: float,
        feather: float,
        mask: Tensor | None = None,
    ) -> io.NodeOutput:
        present = regions.present(regions.as_cast(cast))  # everybody of weight above 0, with or without LoRAs
        warnings = _notes_on_loras(present)
        acting = scopes.acting_cast(cls, cast, strength, more=warnings, photos=False, mask=mask)
        if acting is None:
            return io.NodeOutput(model, positive, negative)
        transformer = transformer_of(model, APPLY)  # None for a MODEL with a UNet
        width = text_width(model) if transformer is None else transformer.text_width(network_of(model_of(model)))
        check_conditioning([*positive, *negative], width, APPLY)
        schedule = schedule_range("The range of the LoRAs", start_percent, end_percent)
        node_id = notes.node_of(cls)
        scope = scopes.scope_of_bodies(
            acting,
            APPLY,
            schedule,
            alone=present.by_row or len(present.people) == 1,
            rows=True,
            node_id=node_id,
            extent=extent,
            margin=margin,
            feather=feather,
            mask=mask,
        )
        # This stands after the scope is made, so that places and masks are checked also where nobody has a LoRA.
        if not any(_active_loras(person) for person in present.people):
            return io.NodeOutput(model, positive, negative)
        sides = _Sides(positive, negative)
        if transformer is None:
            sides = _on_unet(scope, model, clip, strength, sides)
            # Regional text stands inside of ours in every layer: its words are read with the LoRAs, too.
            model_out = patched(model, RegionalTextRun, RegionalLoraRun)
        else:
            sides = _on_transformer(scope, model, clip, transformer, strength, sides)
            model_out = patched(model, PersonTextsRun, person_loras.PersonLorasRun)
        lora_range = NamedRange("the LoRAs", schedule)
        presence = presence_of_people(regions.names(scope.people), APPLY, node_id, [lora_range], in_negative=True)
        outputs = announced(presence, model_out, sides.positive, sides.negative)
        return io.NodeOutput(*outputs, ui=scope.preview(cls))


@dataclass(frozen=True, eq=False)
class _Sides:
    """Both sides of the conditioning."""

    positive: Conditioning
    negative: Conditioning


def _active_loras(person: Person) -> list[Lora]:
    """The LoRAs of a person whose strength is not 0."""
    return [lora for lora in person.identity.loras if lora.strength]


def _notes_on_loras(cast: Cast) -> list[str]:
    """The note that no LoRA is applied, where no person of a cast has an active one; [] otherwise."""
    if any(_active_loras(person) for person in cast.people):
        return []
    return [NO_LORA]


def _on_unet(
    scope: scopes.Scope,
    model: ModelPatcher,
    clip: CLIP,
    strength: float,
    sides: _Sides,
) -> _Sides:
    """Both sides of the conditioning for a UNet: both with the LoRAs of all people, the positive also with their words.

    strength: of the node. Raises what bridge.lora_files.read_lora_file raises.
    """
    people_loras = _read_loras(scope, model, clip, strength)
    regional_lora = _regional_lora(scope, people_loras)
    positive = carried.carry(sides.positive, regional_lora)
    negative = carried.carry(sides.negative, regional_lora)
    words = _regional_words(scope, people_loras, model)
    if words is not None:
        positive = carried.carry(positive, words)
        # The negative says that it has no words, so that the host may compute both sides in one batch.
        negative = carried.carry(negative, without_people(words))
    return _Sides(positive, negative)


@dataclass(frozen=True)
class _PeopleLoras:
    """The LoRAs of everybody in a scope, as they change a UNet and its CLIP.

    layers: name of a layer of the UNet -> the LoRAs of all people for it. clips: for each person of the scope a CLIP
    that this person's LoRAs have changed; each person's words are encoded with their own.
    """

    layers: dict[str, list[LayerLora]]
    clips: list[CLIP]


def _read_loras(scope: scopes.Scope, model: ModelPatcher, clip: CLIP, strength: float) -> _PeopleLoras:
    """Read the files of all people, each file once. strength: of the node.

    Raises what bridge.lora_files.read_lora_file raises.
    """
    by_region = scope.regions is not None or scope.by_row  # whether the LoRAs act in a part of the batch only
    files: dict[str, LoraFile] = {}  # name of a file -> its contents
    layers: dict[str, list[LayerLora]] = {}
    clips: list[CLIP] = []
    for person in scope.people:
        for lora in _active_loras(person):
            if lora.file not in files:
                files[lora.file] = read_lora_file(lora.file, model, clip, by_region)
    for number, person in enumerate(scope.people):
        person_clip = clip.clone()
        for lora in _active_loras(person):
            file = files[lora.file]
            total_strength = lora.strength * person.weight * strength
            person_clip.add_patches(file.clip_patches, total_strength)
            for name, lora_of_layer in file.layers.items():
                layers.setdefault(name, []).append(LayerLora(number, total_strength, lora_of_layer))
        clips.append(person_clip)
    return _PeopleLoras(layers, clips)


def _regional_lora(scope: scopes.Scope, people_loras: _PeopleLoras) -> RegionalLora:
    """What both sides carry: the LoRAs of all people, and the region or row in which each person's LoRAs act."""
    return RegionalLora(
        source=object(),
        schedule=scope.schedule,
        people_count=len(scope.people),
        layers=people_loras.layers,
        regions=scope.regions,
        canvas=scope.carried_canvas,
        by_row=scope.by_row,
    )


def _regional_words(scope: scopes.Scope, people_loras: _PeopleLoras, model: ModelPatcher) -> RegionalText | None:
    """The words of each person's LoRAs, encoded with these LoRAs, and read where that person is.

    It is None where no person has words. model: tells the width of the texts that the UNet reads.
    """
    tokens: list[Tensor] = []
    numbers_with_words: list[int] = []
    for number, (person, person_clip) in enumerate(zip(scope.people, people_loras.clips, strict=True)):
        words = _words_of(person)
        if words:
            advice = "Use the CLIP of the model's checkpoint."
            context, _ = text_of(person_clip, words, model, advice)  # (1, T, width)
            tokens.append(context)
            numbers_with_words.append(number)
        elif scope.by_row:
            # text_by_row takes one text for each row: this row has none.
            tokens.append(torch.zeros(1, 0, text_width(model)))
    if not numbers_with_words:
        return None
    if scope.by_row:
        return text_by_row(tokens, strength=1.0, canvas=scope.canvas)
    people_regions = _regions_or_everywhere(scope)
    return appended_text(tokens, people_regions[numbers_with_words], scope.carried_canvas)


def _regions_or_everywhere(scope: scopes.Scope) -> Tensor:
    """The regions of the people in a scope, (people, H, W); (people, 1, 1) of ones where they act everywhere."""
    if scope.regions is None:
        return torch.ones(len(scope.people), 1, 1)
    return scope.regions


def _words_of(person: Person) -> str:
    """The words of a person's active LoRAs, with commas between them; "" where no LoRA has words."""
    return ", ".join(lora.words for lora in _active_loras(person) if lora.words)


def _on_transformer(
    scope: scopes.Scope,
    model: ModelPatcher,
    clip: CLIP,
    transformer: TransformerFamily,
    strength: float,
    sides: _Sides,
) -> _Sides:
    """Both sides of the conditioning for a transformer: both with the LoRAs of all people, the positive also with
    words.

    It is _on_unet for a transformer, whose layers and texts other functions change and read.
    strength: of the node. Raises what bridge.transformers.lora_files.read_lora_file raises.
    """
    people_loras = _read_transformer_loras(scope, model, clip, transformer, strength)
    carried_loras = person_loras.PersonLoras(
        source=object(),
        schedule=scope.schedule,
        names=tuple(scope.names_apart),
        layers=people_loras.layers,
        regions=scope.regions,
        by_row=scope.by_row,
        canvas=scope.carried_canvas,
    )
    positive = carried.carry(sides.positive, carried_loras)
    negative = carried.carry(sides.negative, carried_loras)
    texts: list[Tensor] = []
    numbers_with_words: list[int] = []
    width = transformer.text_width(network_of(model_of(model)))
    for number, (person, person_clip) in enumerate(zip(scope.people, people_loras.clips, strict=True)):
        words = _words_of(person)
        if words:
            texts.append(person_texts.words_of(person_clip, words, width, transformer))
            numbers_with_words.append(number)
        elif scope.by_row:
            texts.append(torch.zeros(1, 0, width))  # texts_by_row takes one text for each row: this row has none
    if numbers_with_words:
        people_texts = _people_texts(scope, texts, numbers_with_words)
        positive = carried.carry(positive, people_texts)
        negative = carried.carry(negative, person_texts.without_people(people_texts))
    return _Sides(positive, negative)


def _people_texts(
    scope: scopes.Scope, texts: Sequence[Tensor], numbers_with_words: Sequence[int]
) -> person_texts.PersonTexts:
    """The words of people's LoRAs, each person's read where that person is.

    numbers_with_words: indices in scope.people of the people who have words. texts: the encoded words of these people;
    where people have a row of the batch each, one for every person, of no tokens for people without words.
    """
    names = scope.names_apart
    if scope.by_row:
        return person_texts.texts_by_row(texts, strength=1.0, canvas=scope.canvas, names=names)
    text_regions = _regions_or_everywhere(scope)[list(numbers_with_words)]
    text_names = [names[number] for number in numbers_with_words]
    return person_texts.appended_texts(texts, text_regions, scope.carried_canvas, text_names)


@dataclass(frozen=True)
class _TransformerLoras:
    """The LoRAs of everybody in a scope, as they change a transformer and its CLIP; fields as in _PeopleLoras."""

    layers: dict[str, list[person_loras.LayerPart]]
    clips: list[CLIP]


def _read_transformer_loras(
    scope: scopes.Scope,
    model: ModelPatcher,
    clip: CLIP,
    transformer: TransformerFamily,
    strength: float,
) -> _TransformerLoras:
    """Read the files of all people, each file once. strength: of the node.

    Raises what bridge.transformers.lora_files.read_lora_file raises.
    """
    by_region = scope.regions is not None
    files: dict[str, lora_files.TransformerLoraFile] = {}
    layers: dict[str, list[person_loras.LayerPart]] = {}
    clips: list[CLIP] = []
    for number, person in enumerate(scope.people):
        person_clip = clip.clone()
        for lora in _active_loras(person):
            if lora.file not in files:
                files[lora.file] = lora_files.read_lora_file(lora.file, model, clip, transformer, by_region)
            file = files[lora.file]
            total_strength = lora.strength * person.weight * strength
            person_clip.add_patches(file.clip_patches, total_strength)
            # A layer of a transformer may join layers of the file, such as to_q, to_k and to_v: each part has its rows.
            for part in file.parts:
                layer_part = person_loras.LayerPart(number, total_strength, part.lora, part.rows, part.reorder)
                layers.setdefault(part.layer, []).append(layer_part)
        clips.append(person_clip)
    return _TransformerLoras(layers, clips)


NODES = [AddLoRAToPerson, LoRAPerPerson]
