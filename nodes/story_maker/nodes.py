"""StoryMaker: load the adapter; apply face, hair, clothes and body of one person or many."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from comfy.clip_vision import ClipVisionModel
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io, ui
from torch import Tensor
from torch.nn.functional import normalize

from ...bridge import encode, lora, notes, schema, scopes
from ...bridge.conditioning import Conditioning
from ...bridge.cross_attention.injections import Injection
from ...bridge.load import FileLoader, Loaded, Published
from ...bridge.schedule import schedule_range
from ...bridge.scopes import Scope, check_fits, injections
from ...core import previews
from ...core.errors import BadCast, gathered, listed
from ...core.identities import PHOTOS, embeddings, portraits
from ...core.methods import method
from ...core.parts.parts import Parts
from ...core.people import Cast, Person, PlacedCast, is_a
from ...core.places import drawing, regions
from ...core.places.regions import as_cast, left_out
from ..categories import IN_OTHER_METHODS
from ..sockets import CastOrPersonSocket, ImageOrPartsSocket, adapter_socket
from .bodies import Body, cut_out
from .net import Seen, StoryMakerNet, apart, together, with_background

METHOD = method("story_maker")
APPLY = "Apply StoryMaker"


class StoryMaker(Loaded[StoryMakerNet]):
    """A loaded mask.bin. lora: by number of the attention layer, as the file has it."""


StoryMakerSocket = adapter_socket(METHOD.title, StoryMaker)
FILE = Published.of(METHOD, "StoryMaker adapter")


def load_story_maker(path: str) -> StoryMaker:
    """Read mask.bin or a safetensors conversion of it. Raises UnsupportedCheckpoint."""
    state = FILE.read(path)
    return StoryMaker(FILE.build(path, StoryMakerNet, state), lora.of_adapter(state))


class ApplyStoryMaker(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessApplyStoryMaker",
            category=IN_OTHER_METHODS,
            inputs=[
                *schema.applied_inputs(),
                StoryMakerSocket.Input("story_maker"),
                CastOrPersonSocket.Input("cast"),
                io.ClipVision.Input("clip_vision"),
                ImageOrPartsSocket.Input("bodies", optional=True),
                io.Mask.Input("body_masks", optional=True),
                io.Float.Input("weight", default=0.8, min=-1.0, max=3.0, step=0.01),
                io.Float.Input("lora_weight", default=0.8, min=-2.0, max=2.0, step=0.01),
                *schema.range_inputs(),
                schema.photos_input([way for way in PHOTOS if way != "sequence"]),
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
        **region: Any,
    ) -> io.NodeOutput:
        everybody, node = as_cast(cast), notes.node_of(cls)
        drawn = regions.for_photos(everybody)
        present = regions.present(drawn).people
        if not present or not weight:
            return io.NodeOutput(model, positive, negative)
        window = schedule_range(METHOD.title, start_percent, end_percent)
        check_fits(story_maker, METHOD, model, (positive, negative), APPLY)
        # Without places and masks all of them are in the whole picture, as published.
        if region.get("mask") is None and not is_a(everybody, PlacedCast):
            scope = scopes.everywhere(drawn, APPLY, window, node)
        else:
            scope = scopes.of_bodies(everybody, APPLY, window, present, rows=True, node_id=node, **region)
        dressed = cut_out(drawn.people, bodies, body_masks)
        notes.tell(node, "\n".join(_remarks(everybody, present, dressed, bodies, body_masks)))
        acting = lora.with_lora(model, story_maker.lora, lora_weight, node)
        looked = _seen(story_maker, clip_vision, present, photos, dressed)
        carried = _injections(story_maker, scope, looked, weight)
        shown = _shown(cls, present, dressed, scope.regions)
        return scope.applied(cls, acting, (positive, negative), carried, shown=shown, what=METHOD.title)


def _seen(
    loaded: StoryMaker, vision: ClipVisionModel, people: Sequence[Person], photos: str, bodies: Sequence[Body]
) -> list[Seen]:
    """What the networks are given of everybody. Raises WrongEncoder, BadCast."""
    found: list[Seen] = []
    for person, body in zip(people, bodies, strict=True):
        embedding = normalize(embeddings(person, METHOD, photos).float(), dim=-1)
        pictures = torch.cat([portraits(person.identity, METHOD.title).aligned.float() / 255, body.picture[None]])
        looked = encode.seen(vision, pictures, encode.STATES, loaded.net.image_proj_model.states)
        found.append(Seen(embedding, looked[:-1].mean(0, keepdim=True), looked[-1:], body.weight))
    return found


def _injections(loaded: StoryMaker, scope: Scope, each: Sequence[Seen], weight: float) -> list[Injection]:
    """For the positive and the negative. each: what is seen of these people.

    With regions everybody in their own, else all of them in the whole picture, or in a row each. Raises BadCast.
    """
    net, people, by_row = loaded.net, scope.people, scope.by_row
    whole = scope.regions is None and not by_row
    if whole and len(people) > net.most:
        names = listed([person.identity.name for person in people])
        why = f"StoryMaker tells at most {net.most} people apart in the whole picture, not {len(people)}: {names}."
        advice = "Give each person a place with Place Cast, or connect one mask each: by region there may be more."
        raise BadCast(why, advice)
    acting = scope if scope.regions is None else replace(scope, regions=with_background(scope.regions))

    def joined(background: Tensor, tokens: Tensor) -> Tensor:
        if whole:
            return together(background, tokens)
        return apart(background, tokens)[1:] if by_row else apart(background, tokens)

    background = net.background().cpu()
    loud = torch.tensor([person.weight for person in people])[:, None].expand(-1, background.shape[1])
    scales = joined(torch.ones_like(loud[:1]), loud) * weight

    def moved(one: Seen) -> Seen:
        embedding, face, body = map(loaded.beside, (one.embedding, one.face, one.body))
        return Seen(embedding, face, body, one.dressed)

    both = each, [one.unconditional for one in each]
    tokens = [net.tokens([moved(one) for one in side], by_row).cpu() for side in both]
    return injections(loaded, acting, [joined(background, side) for side in tokens], scales)


def _remarks(
    cast: Cast, people: Sequence[Person], dressed: Sequence[Body], given: Tensor | Parts | None, masks: Tensor | None
) -> list[str]:
    """What works, but may not be meant. people: those drawn here, `dressed` in their order."""
    whole = [name for name, body in zip(regions.names(people), dressed, strict=True) if body.whole]
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


LOADER = FileLoader(FILE, load_story_maker)
NODES = [ApplyStoryMaker]
