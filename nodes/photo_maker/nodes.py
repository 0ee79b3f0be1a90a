"""PhotoMaker: load the file, and put people into the class words of a prompt."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP
from comfy_api.latest import io
from torch import Tensor

from ...bridge import notes, scopes
from ...bridge.conditioning import ALWAYS, Conditioning, check_conditioning
from ...bridge.encode import check_family
from ...bridge.loaders import FileLoader
from ...bridge.lora import with_lora
from ...bridge.regional_text import RegionalTextRun
from ...bridge.runs import patched
from ...bridge.schema import (
    advanced,
    applied_outputs,
    percent_input,
    region_inputs,
    region_masks_input,
    searchable,
)
from ...bridge.unet import text_width
from ...core.places import heard, regions
from ..sockets import CastOrIdentitySocket, socket
from .file import FILE, METHOD, PhotoMaker, load_photo_maker, lora_weights
from .text import SAME_CLIP, by_region, prompt
from .words import TRIGGER

PhotoMakerSocket = socket(METHOD.socket, PhotoMaker)
CATEGORY = "likeness/photomaker"
APPLY = "Apply PhotoMaker (Likeness)"
WITHOUT_PEOPLE = "Nobody is put in, and the LoRA is not added. The text is read without its trigger words"


class LoadPhotoMaker(FileLoader, io.ComfyNode):
    published, made = FILE, load_photo_maker

    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessLoadPhotoMaker",
            display_name="Load PhotoMaker (Likeness)",
            category=CATEGORY,
            description="Loads PhotoMaker v1 or v2, encoder and LoRA. Which of the two a file is, its contents tell.",
        )
        tooltip = "photomaker-v1.bin, photomaker-v2.bin, or a safetensors copy of one, from models/photomaker."
        return cls.loading(
            schema, PhotoMakerSocket, "photo_maker", tooltip,
            "photomaker", "photo maker", "stacked id", "face", "identity",
        )  # fmt: skip


class ApplyPhotoMaker(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessApplyPhotoMaker",
            display_name=APPLY,
            category=CATEGORY,
            description="PhotoMaker for one person, or for many in one pass, each in their own region: behind what a "
            "person is (man, woman) stands the trigger word, and from some steps on that word is the person. Makes the "
            "positive from the text; use the model output for the sampler.",
            inputs=[
                io.Model.Input("model", tooltip="An SDXL model: SDXL, Turbo, Lightning, LCM and fine-tunes."),
                io.Clip.Input("clip", tooltip="The CLIP of the same checkpoint."),
                io.Conditioning.Input(
                    "negative", tooltip="Plain words; it goes through so that both sides are computed in one batch."
                ),
                PhotoMakerSocket.Input("photo_maker", tooltip="From Load PhotoMaker (Likeness)."),
                CastOrIdentitySocket.Input(
                    "cast", tooltip="One person (an identity or a cast, no place needed) or several with places."
                ),
                io.String.Input(
                    "text",
                    multiline=True,
                    dynamic_prompts=True,
                    default=f"photo of a man {TRIGGER}",
                    tooltip="The prompt. For everybody in the cast, in its order, one class word (man, woman, girl) "
                    "with the trigger word behind it: photo of a man img and a woman img.",
                ),
                advanced(
                    io.String.Input(
                        "trigger", default=TRIGGER, tooltip="The trigger word. It is taken out of the prompt."
                    )
                ),
                io.Float.Input(
                    "weight",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.01,
                    tooltip="How much of the photos is in the class words: 1 = PhotoMaker as published, 0 = off.",
                ),
                io.Float.Input(
                    "lora_weight",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.01,
                    tooltip="Strength of the LoRA in the file, which the encoder was trained with.",
                ),
                percent_input(
                    "start_percent",
                    0.22,
                    "Until here the class words are plain words, which keeps style and composition. 0.22 is what the "
                    "authors do, 11 of 50 steps; less = more alike.",
                ),
                *map(advanced, region_inputs()),
                region_masks_input(),
            ],
            hidden=[io.Hidden.unique_id],
            outputs=applied_outputs(),
        )
        return searchable(
            schema, "photomaker", "photo maker", "stacked id", "img trigger", "same person", "character", "multi id",
            "换脸",
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        clip: CLIP,
        negative: Conditioning,
        photo_maker: PhotoMaker,
        cast: Any,  # a Cast or an Identity
        text: str,
        trigger: str,
        weight: float,
        lora_weight: float,
        start_percent: float,
        extent: regions.Extent,
        margin: float,
        feather: int,
        mask: Tensor | None = None,
    ) -> io.NodeOutput:
        cast = heard.as_cast(cast)
        cast = replace(cast, people=tuple(replace(one, weight=one.weight * weight) for one in cast.people))
        people, node = heard.heard(cast).people, notes.node_of(cls)
        hints = [*heard.left_out(cast), *heard.remarks(cast, mask, heard.REGIONS, 0)]
        check_family("The model input", "text width", text_width(model), photo_maker.net.width, SAME_CLIP)
        check_conditioning(negative, photo_maker.net.width, APPLY)
        said = prompt(photo_maker, clip, text, trigger, cast.people)
        if not people:
            notes.tell(node, "\n".join([*hints, WITHOUT_PEOPLE]))
            return io.NodeOutput(model, said.plain, negative)
        scope = scopes.of_bodies(cast, APPLY, node, ALWAYS, mask, extent, margin, feather)
        sides = by_region(said, negative, start_percent, scope.regions, scope.canvas)
        notes.tell(node, "\n".join(hints))
        model = with_lora(model, photo_maker.lora, lora_weight, node, lora_weights(photo_maker, model))
        if scope.regions is None:
            return io.NodeOutput(model, *sides)
        return io.NodeOutput(patched(model, RegionalTextRun), *sides, ui=scope.preview(cls))


NODES = [LoadPhotoMaker, ApplyPhotoMaker]
