"""StoryMaker: load the adapter; apply face, hair, clothes and body of one person or many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comfy.clip_vision import ClipVisionModel
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io, ui
from torch import Tensor

from ...bridge import detector_words, folders, notes
from ...bridge.adapters import Hearing, check_layout
from ...bridge.carried import put
from ...bridge.conditioning import Canvas, Conditioning, check_conditioning, sigmas_of
from ...bridge.injections import InjectionsRun
from ...bridge.lora import with_lora
from ...bridge.runs import patched
from ...bridge.schema import (
    advanced,
    applied_outputs,
    percent_input,
    photos_input,
    region_inputs,
    region_masks_input,
    searchable,
)
from ...core import previews
from ...core.errors import gathered
from ...core.identities import PHOTOS
from ...core.parts.parts import BadPart, Parts
from ...core.people import Cast, Person, PlacedCast, RowCast, is_a
from ...core.places import drawing, placing, regions
from ...core.places.heard import as_cast, heard, left_out, weights
from ..sockets import CastOrIdentitySocket, ImageOrPartsSocket, socket
from .host import FILE, StoryMaker, load_story_maker, make_injections, seen
from .net import METHOD, Body, cut_out

CATEGORY = "likeness/storymaker"
StoryMakerSocket = socket("LIKENESS_STORY_MAKER", StoryMaker)
LOAD, APPLY = "Load StoryMaker", "Apply StoryMaker"


class LoadStoryMaker(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessLoadStoryMaker",
            display_name=LOAD,
            category=CATEGORY,
            description="Loads StoryMaker's mask.bin: face, hair, clothes and body of a person for SDXL. CLIP ViT-H, "
            "which it looks with, is loaded with Load CLIP Vision.",
            inputs=[
                io.Combo.Input(
                    "file",
                    options=folders.listed(FILE.key),
                    tooltip="mask.bin, or a safetensors copy of it, from models/storymaker.",
                )
            ],
            outputs=[StoryMakerSocket.Output("story_maker", display_name="story_maker")],
            hidden=[io.Hidden.unique_id],
        )
        return searchable(schema, "storymaker", "story maker", "consistent character", "clothes", "outfit", "body")

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool:
        return folders.found(FILE.path, file)

    @classmethod
    def fingerprint_inputs(cls, file: str | None) -> str:
        return folders.fingerprint(FILE.path, file)

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        return io.NodeOutput(load_story_maker(FILE.chosen(file, notes.node_of(cls))))


class ApplyStoryMaker(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessApplyStoryMaker",
            display_name=APPLY,
            category=CATEGORY,
            description="StoryMaker: keeps face, hair, clothes and body, of one person, of up to three in the whole "
            "picture, or of any number with places, each in their own region. Use the model output for the sampler.",
            inputs=[
                io.Model.Input("model", tooltip="An SDXL model: SDXL, Turbo, Lightning, LCM and fine-tunes."),
                io.Conditioning.Input("positive"),
                io.Conditioning.Input("negative"),
                StoryMakerSocket.Input("story_maker", tooltip=f"From {LOAD}."),
                CastOrIdentitySocket.Input(
                    "cast",
                    tooltip="One person (an identity or a cast), or several: with places each in their own region, "
                    "without places up to three in the whole picture, as published.",
                ),
                io.ClipVision.Input("clip_vision", tooltip="CLIP ViT-H/14, which looks at faces and bodies."),
                ImageOrPartsSocket.Input(
                    "bodies",
                    optional=True,
                    tooltip="A picture of each person with their clothes, in the cast's order: a batch of images, or "
                    "one Part node per person, chained. Also clothes alone. Without it: the face alone.",
                ),
                io.Mask.Input(
                    "body_masks",
                    optional=True,
                    tooltip="White where the person is: one mask per picture, or several of one photo, one per person. "
                    "Without it the whole picture counts; parts bring their own.",
                ),
                io.Float.Input(
                    "weight",
                    default=0.8,
                    min=-1.0,
                    max=3.0,
                    step=0.01,
                    tooltip="How strongly the people are read. 0.8 = as published, 0 = switched off.",
                ),
                io.Float.Input(
                    "lora_weight",
                    default=0.8,
                    min=-2.0,
                    max=2.0,
                    step=0.01,
                    tooltip="Of the LoRA that is part of the file and changes the whole picture. 0.8 = as published.",
                ),
                percent_input("start_percent", 0.0, "When the people come in."),
                percent_input("end_percent", 1.0, "When they go. The LoRA stays."),
                photos_input(
                    "How the embeddings of several photos of one person are joined; of what CLIP sees of them, the "
                    "average counts.",
                    [way for way in PHOTOS if way != "sequence"],
                ),
                *map(advanced, region_inputs()),
                region_masks_input(),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
            outputs=applied_outputs(),
        )
        return searchable(
            schema, "storymaker", "story maker", "consistent character", "same clothes", "outfit", "whole person",
            "comic", "story", "ip-adapter",
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        positive: Conditioning,
        negative: Conditioning,
        story_maker: StoryMaker,
        cast: Any,  # a Cast or an Identity
        clip_vision: ClipVisionModel,
        bodies: Tensor | Parts | None = None,
        body_masks: Tensor | None = None,
        *,
        weight: float,
        lora_weight: float,
        start_percent: float,
        end_percent: float,
        photos: str,
        extent: regions.Extent,
        margin: float,
        feather: int,
        mask: Tensor | None = None,
    ) -> io.NodeOutput:
        everybody = as_cast(cast)
        present, node = heard(everybody), notes.node_of(cls)
        if not present.people or not weight:
            notes.tell(node, "")
            return io.NodeOutput(model, positive, negative)
        window = sigmas_of(model, METHOD, start_percent, end_percent)
        check_conditioning([*positive, *negative], story_maker.width, APPLY)
        check_layout(story_maker.net.ip_adapter.widths, model, METHOD)
        where = _hearing(everybody, node, window, mask, extent, margin, feather)
        with detector_words.in_errors(cls, "body_masks", BadPart):
            dressed = cut_out(everybody.people, bodies, body_masks)
        notes.tell(node, "\n".join(_remarks(everybody, dressed, bodies, body_masks)))
        acting = with_lora(model, story_maker.lora, lora_weight, node)
        looked = seen(story_maker, clip_vision, present.people, photos, dressed)
        sides = make_injections(story_maker, present.people, looked, weight, where)
        return io.NodeOutput(
            patched(acting, InjectionsRun),
            put(positive, sides[0]),
            put(negative, sides[1]),
            ui=_shown(cls, present.people, dressed, where.regions),
        )


def _hearing(
    cast: Cast,
    node: str | None,
    sigmas: tuple[float, float],
    mask: Tensor | None,
    extent: regions.Extent,
    margin: float,
    feather: float,
) -> Hearing:
    """By region where there are masks, or several people on a canvas; bodies have regions, not faces alone."""
    by_row = is_a(cast, RowCast)
    if mask is not None or by_row or len(heard(cast).people) == 1 or not is_a(cast, PlacedCast):
        areas = None if mask is None else weights(cast, mask, margin, feather, APPLY)
    else:
        present = heard(cast).people
        areas = regions.of_present(placing.require_places(cast, APPLY), present, None, extent, margin, feather)
    canvas = Canvas(node, APPLY, lambda _: "with regions", len(heard(cast).people) if by_row else 0)
    return Hearing(sigmas, areas, None, by_row, canvas, is_a(cast, PlacedCast) and areas is not None)


def _remarks(cast: Cast, dressed: Sequence[Body], given: Tensor | Parts | None, masks: Tensor | None) -> list[str]:
    """What works, but may not be meant."""
    names = regions.names(heard(cast).people)
    whole = [name for name, body in zip(names, dressed, strict=True) if body.whole]
    lines = left_out(cast)
    lines += gathered("No mask, so the whole picture counts as clothes", whole)
    if masks is not None and (given is None or is_a(given, Parts)):
        lines.append("body_masks are not used: they are for pictures at bodies, parts bring their own")
    return lines


def _shown(
    cls: type[io.ComfyNode], people: Sequence[Person], dressed: Sequence[Body], areas: Tensor | None
) -> ui.PreviewImage | None:
    """Everybody as CLIP sees them, and their regions."""
    named = [(body, person, n) for n, (body, person) in enumerate(zip(dressed, people, strict=True), 1) if body.weight]
    pictures = [body.picture for body, *_ in named]
    captions = [f"{person.place or n} {person.identity.name}" for _, person, n in named]
    if areas is not None:
        pictures, captions = [*pictures, drawing.read_regions(areas, people)], [*captions, "regions"]
    return ui.PreviewImage(previews.contact_sheet(pictures, captions), cls=cls) if pictures else None


NODES = [LoadStoryMaker, ApplyStoryMaker]
