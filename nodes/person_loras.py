"""LoRAs that draw single people: who has which, and each where that person is."""

from dataclasses import replace
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP
from comfy_api.latest import io

from ..bridge import carried, folders, notes, regional_text, schema, scopes
from ..bridge.conditioning import Conditioning, check_conditioning
from ..bridge.encode import text_of
from ..bridge.face_model import NONE_FOUND
from ..bridge.lora import of_file, path_of
from ..bridge.presence import NamedRange, announced, of_people
from ..bridge.regional_lora import LayerLora, RegionalLora, RegionalLoraRun
from ..bridge.runs import patched
from ..bridge.schedule import schedule_range
from ..bridge.unet import text_width
from ..core.people import CROP, Identity, Lora, Person
from ..core.places import regions
from ..core.prompts import check_text
from ..core.text import NAME, plain
from .categories import IN_PROMPTS
from .sockets import CastOrPersonSocket, PersonSocket

APPLY = "LoRA per Person"
NO_LORA = "No LoRA is applied: no person of the cast has one above or below 0. Put Add LoRA to Person before Cast."
NO_WORDS = "The words of the LoRAs are left out: with Crop Faces all pictures have one prompt."


class AddLoRAToPerson(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessAddLoRAToPerson",
            category=IN_PROMPTS,
            inputs=[
                PersonSocket.Input("person", optional=True),
                io.Combo.Input("file", options=folders.listed("loras") or [NONE_FOUND]),
                io.Float.Input("strength", default=1.0, min=-10.0, max=10.0, step=0.01),
                io.String.Input("words", default="", multiline=True),
                io.String.Input("name", default=""),
            ],
            outputs=[PersonSocket.Output("person_out")],
        )

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool:
        return folders.found(path_of, file)

    @classmethod
    def fingerprint_inputs(cls, file: str | None, **_: Any) -> str:
        return folders.fingerprint(path_of, file)

    @classmethod
    def execute(
        cls, person: Identity | None = None, *, file: str, strength: float, words: str, name: str
    ) -> io.NodeOutput:
        # A grey square stands for the photo that is not needed.
        before = person or Identity("person", {}, torch.full((1, CROP, CROP, 3), 0.5))
        words = check_text("The words of the LoRA", plain(words))
        loras = *before.loras, Lora(file, strength, words)
        called = plain(name, NAME) or before.name
        return io.NodeOutput(replace(before, name=called, loras=loras))


class LoRAPerPerson(io.ComfyNode):
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
        **region: Any,
    ) -> io.NodeOutput:
        whole = regions.present(regions.as_cast(cast))
        loras = [one for person in whole.people for one in _acting(person)]
        worded = any(one.words for one in loras)
        said = [*([] if loras else [NO_LORA]), *([NO_WORDS] if whole.by_row and worded else [])]
        found = scopes.acting(cls, cast, strength, more=said, photos=False, mask=region.get("mask"))
        if found is None:
            return io.NodeOutput(model, positive, negative)
        check_conditioning([*positive, *negative], text_width(model), APPLY)
        window = schedule_range("The range of the LoRAs", start_percent, end_percent)
        alone = whole.by_row or len(whole.people) == 1
        node = notes.node_of(cls)
        scope = scopes.of_bodies(found, APPLY, window, alone=alone, rows=True, node_id=node, **region)
        if not loras:
            return io.NodeOutput(model, positive, negative)
        layers, encoders = _read(scope, model, clip, strength)
        canvas = scope.canvas if scope.placed or scope.by_row else None
        ours = RegionalLora(object(), window, len(scope.people), layers, scope.regions, canvas, scope.by_row)
        sides = [carried.put(side, ours) for side in (positive, negative)]
        words = [", ".join(one.words for one in _acting(person) if one.words) for person in scope.people]
        read = [n for n, of_person in enumerate(words) if of_person and not scope.by_row]
        if read:
            tokens = [text_of(encoders[n], words[n], model, "Use the CLIP of the model's checkpoint.")[0] for n in read]
            areas = torch.ones(len(words), 1, 1) if scope.regions is None else scope.regions
            spoken = regional_text.spoken(tokens, areas[read], scope.canvas if scope.placed else None)
            sides = [carried.put(*pair) for pair in zip(sides, (spoken, regional_text.silent(spoken)), strict=True)]
        # Regional text stands inside of ours in every layer: its words are read with the LoRAs, too.
        runs = regional_text.RegionalTextRun, RegionalLoraRun
        presence = of_people(
            regions.names(scope.people), APPLY, node, [NamedRange("the LoRAs", window)], in_negative=True
        )
        return io.NodeOutput(*announced(presence, patched(model, *runs), *sides), ui=scope.preview(cls))


def _acting(person: Person) -> list[Lora]:
    return [one for one in person.identity.loras if one.strength]


def _read(
    scope: scopes.Scope, model: ModelPatcher, clip: CLIP, strength: float
) -> tuple[dict[str, list[LayerLora]], list[CLIP]]:
    """What everybody's LoRAs add to the layers, by name, and the CLIP as each of them changes it."""
    layers, encoders = dict[str, list[LayerLora]](), list[CLIP]()
    names = dict.fromkeys(one.file for person in scope.people for one in _acting(person))
    files = {name: of_file(name, model, clip, scope.regions is not None or scope.by_row) for name in names}
    for number, person in enumerate(scope.people):
        encoders.append(clip.clone())
        for one in _acting(person):
            weight, (added, theirs) = one.strength * person.weight * strength, files[one.file]
            encoders[-1].add_patches(theirs, weight)
            for name, patch in added.items():
                layers.setdefault(name, []).append(LayerLora(number, weight, patch.name, patch.weights))
    return layers, encoders


NODES = [AddLoRAToPerson, LoRAPerPerson]
