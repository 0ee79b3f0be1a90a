"""PhotoMaker: load the file, and put people into the class words of a prompt."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import comfy.lora
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
    IN_METHODS,
    advanced,
    applied_outputs,
    described,
    percent_input,
    region_inputs,
    region_masks_input,
)
from ...bridge.unet import text_width
from ...core.places import heard, regions
from ..sockets import CastOrIdentitySocket, adapter_socket
from .file import FILE, METHOD, SAME_CLIP, PhotoMaker, by_region, load_photo_maker, prompt
from .net import TRIGGER

PhotoMakerSocket = adapter_socket(METHOD.socket, PhotoMaker)
APPLY = "Apply PhotoMaker"
WITHOUT_PEOPLE = "No people are added, and neither is the LoRA. The text is read without its trigger words"


class ApplyPhotoMaker(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessApplyPhotoMaker",
            display_name=APPLY,
            category=IN_METHODS,
            inputs=[
                io.Model.Input("model"),
                io.Clip.Input("clip"),
                io.Conditioning.Input("negative"),
                PhotoMakerSocket.Input("photo_maker"),
                CastOrIdentitySocket.Input("cast"),
                io.String.Input("text", multiline=True, dynamic_prompts=True, default=f"photo of a man {TRIGGER}"),
                advanced(io.String.Input("trigger", default=TRIGGER)),
                io.Float.Input("weight", default=1.0, min=0.0, max=2.0, step=0.01),
                io.Float.Input("lora_weight", default=1.0, min=0.0, max=2.0, step=0.01),
                percent_input("start_percent", 0.22),
                *map(advanced, region_inputs()),
                region_masks_input(),
            ],
            hidden=[io.Hidden.unique_id],
            outputs=applied_outputs(),
        )
        return described(
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
        names = comfy.lora.model_lora_keys_unet(model.model, {})
        model = with_lora(model, photo_maker.lora, lora_weight, node, names)
        if scope.regions is None:
            return io.NodeOutput(model, *sides)
        return io.NodeOutput(patched(model, RegionalTextRun), *sides, ui=scope.preview(cls))


LOADER = FileLoader(FILE, load_photo_maker)
NODES = [ApplyPhotoMaker]
