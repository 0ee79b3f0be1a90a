"""StoryMaker: load the adapter; apply face, hair, clothes and body of one person or many."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from comfy.clip_vision import ClipVisionModel
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io, ui
from torch import Tensor
from torch.nn.functional import normalize

from ...bridge.apply.adapters import UNetAdapter
from ...bridge.apply.begin import OnBodies, When, begin
from ...bridge.apply.scope import Scope
from ...bridge.host import encode, notes, schema
from ...bridge.host.load import FileLoader, Published
from ...bridge.image_tokens.injections import Injection
from ...bridge.loras import adapter_files
from ...bridge.sampling.conditioning import Conditioning, SamplerInputs
from ...bridge.sampling.missing_people import NamedRange
from ...core import taking_part
from ...core.cast import Cast, Member, Person, is_a
from ...core.checks.errors import BadCast, gathered, listed
from ...core.methods import method
from ...core.parts.parts import Parts
from ...core.persons import PHOTOS, embeddings, portraits
from ...core.pictures import previews
from ...core.places import place_previews
from ...core.taking_part import with_photos
from ..categories import IN_OTHER_METHODS
from ..sockets import CastOrPersonSocket, ImageOrPartsSocket, adapter_socket
from .bodies import Body, cut_out
from .net import PersonFeatures, StoryMakerNet, apart, together, with_background

METHOD = method("story_maker")
APPLY = "Apply StoryMaker"


class StoryMaker(UNetAdapter[StoryMakerNet]):
    """A loaded mask.bin.

    lora: the tensors of its LoRA under the file's own keys, which have the number of the attention layer in them.
    """

    method_title = METHOD.title


StoryMakerSocket = adapter_socket(StoryMaker)
FILE = Published.of_method(METHOD, "StoryMaker adapter")


def load_story_maker(path: str) -> StoryMaker:
    """Read mask.bin or a safetensors conversion of it. Raises UnsupportedCheckpoint."""
    state = FILE.read(path)
    return StoryMaker(FILE.build(path, StoryMakerNet, state), adapter_files.lora_of_adapter(state))


@dataclass(frozen=True)
class Settings:
    """What is set on Apply StoryMaker."""

    weight: float
    lora_weight: float
    start_percent: float
    end_percent: float
    photos: str


class ApplyStoryMaker(io.ComfyNode):
    """Lets the UNet read tokens of people's faces and bodies beside the text, and puts the file's LoRA onto it."""

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
                schema.photos_input([choice for choice in PHOTOS if choice != "sequence"]),
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
        cast: Cast | Person,
        clip_vision: ClipVisionModel,
        bodies: Tensor | Parts | None = None,
        body_masks: Tensor | None = None,
        mask: Tensor | None = None,
        **values: Any,
    ) -> io.NodeOutput:
        settings = Settings(**values)
        taking = with_photos(cast)
        when = When(METHOD.title, settings.start_percent, settings.end_percent)
        where = OnBodies(mask, unplaced=True)  # as published: without places and masks all are in the whole picture
        given = SamplerInputs(model, positive, negative)
        scope = begin(cls, APPLY, given, taking, settings.weight, where, when, fits=story_maker.check_fits)
        if scope is None:
            return io.NodeOutput(model, positive, negative)
        # Bodies and masks are in the order of the whole cast. Who does not act has weight 0 here, and gets no Body.
        cut_bodies = cut_out(taking.weighted.people, bodies, body_masks)  # one for each of those who act
        # Masks belong to pictures of bodies; without bodies, and with Parts, they are not used.
        masks_unused = body_masks is not None and (bodies is None or is_a(bodies, Parts))
        notes.tell("\n".join(_note_lines(scope.people, cut_bodies, masks_unused)))
        features = _features(story_maker, clip_vision, scope.people, settings.photos, cut_bodies)
        carried = _injections(story_maker, scope, features, settings.weight)
        preview = _preview(cls, scope.people, cut_bodies, scope.regions)
        given = replace(given, model=adapter_files.with_lora(model, story_maker.lora, settings.lora_weight))
        return scope.applied(given, carried, [NamedRange(METHOD.title, scope.schedule)], preview=preview)


def _features(
    loaded: StoryMaker, clip_vision: ClipVisionModel, people: Sequence[Member], photos: str, bodies: Sequence[Body]
) -> list[PersonFeatures]:
    """What the network reads of each person. bodies: one of each person. Raises WrongEncoder, BadCast.

    photos: how the face embeddings of several photos are joined, as schema.photos_input.
    """
    features: list[PersonFeatures] = []
    for member, body in zip(people, bodies, strict=True):
        embedding = normalize(embeddings(member, METHOD, photos).float(), dim=-1)  # (1, 512)
        faces = portraits(member.person, METHOD.title).aligned.float() / 255  # (photos, side, side, 3)
        # Faces and body are encoded in one batch, the body last.
        pictures = torch.cat([faces, body.picture[None]])
        # (photos + 1, n, width): n hidden states of each picture
        states = encode.encode_pictures(clip_vision, pictures, encode.STATES, loaded.net.image_proj_model.states)
        face_states = states[:-1].mean(0, keepdim=True)  # (1, n, width)
        body_states = states[-1:]  # (1, n, width)
        features.append(PersonFeatures(embedding, face_states, body_states, body.weight))
    return features


def _injections(loaded: StoryMaker, scope: Scope, features: Sequence[PersonFeatures], weight: float) -> list[Injection]:
    """What positive and negative carry, in this order: tokens of the background and of the people in a scope.

    There are three cases. With regions, each person is read in their own region. With a row of the batch for each
    person, each person is read in that row. Otherwise all people are read together in the whole picture; BadCast is
    raised for more people than the file can tell apart there. features: one of each person. weight: of the node.
    """
    net = loaded.net
    in_whole_picture = scope.regions is None and not scope.by_row
    if in_whole_picture and len(scope.people) > net.most_people:
        names = listed(taking_part.names(scope.people))
        count = f"{net.most_people} people apart in the whole picture, not {len(scope.people)}"
        advice = "Give each person a place with Place Cast, or connect one mask each: by region there may be more."
        raise BadCast(f"StoryMaker tells at most {count}: {names}.", advice)
    if scope.regions is not None:
        # The background counts as one more person, the first, whose region is what the others leave.
        scope = replace(scope, regions=with_background(scope.regions))  # (1 + people, H, W)
    background = net.background().cpu()  # (1, 20, width)
    weights_of_tokens = scope.weights()[:, None].expand(-1, background.shape[1])  # (people, 20)
    scales = _in_softmaxes(scope, torch.ones_like(weights_of_tokens[:1]), weights_of_tokens) * weight  # of the values
    sides: list[Tensor] = []
    for of_side in (features, [person_features.unconditional for person_features in features]):
        on_device = [_on_network_device(loaded, person_features) for person_features in of_side]
        tokens = net.tokens(on_device, alone=scope.by_row).cpu()  # (people, 20, width)
        sides.append(_in_softmaxes(scope, background, tokens))
    return loaded.injections(scope, sides, scales)


def _in_softmaxes(scope: Scope, background: Tensor, people: Tensor) -> Tensor:
    """Values of the background's tokens and of people's tokens, in the order in which the UNet reads the tokens.

    background: (1, 20, ...). people: (people, 20, ...). Returns (softmaxes, tokens of a softmax, ...): (1, 20 + 20 *
    people, ...) in the whole picture, (1 + people, 40, ...) by region, and (people, 40, ...) by row.
    """
    if scope.regions is None and not scope.by_row:
        return together(background, people)
    softmaxes = apart(background, people)
    # Each row of the batch shows a person, none the background alone.
    return softmaxes[1:] if scope.by_row else softmaxes


def _on_network_device(loaded: StoryMaker, features: PersonFeatures) -> PersonFeatures:
    """The features of a person on the device and in the dtype of the network."""
    return PersonFeatures(
        loaded.on_device(features.embedding),
        loaded.on_device(features.face),
        loaded.on_device(features.body),
        features.body_weight,
    )


def _note_lines(people: Sequence[Member], bodies: Sequence[Body], masks_unused: bool) -> list[str]:
    """The lines of the note under the node about bodies: what works, but may not be what the user wants.

    people: those who act. bodies: one of each of these people. masks_unused: whether body_masks are connected, but no
    pictures that they could belong to.
    """
    names_without_mask: list[str] = []
    for name, body in zip(taking_part.names(people), bodies, strict=True):
        if body.uncut:
            names_without_mask.append(name)
    lines = gathered("No mask, so the whole picture counts as clothes", names_without_mask)
    if masks_unused:
        lines.append("body_masks are not used: they are for pictures at bodies, parts bring their own")
    return lines


def _preview(
    cls: type[io.ComfyNode], people: Sequence[Member], bodies: Sequence[Body], people_regions: Tensor | None
) -> ui.PreviewImage | None:
    """The preview under the node: the body of each person as CLIP is shown it, and a picture of the regions.

    people_regions: (people, H, W), or None. The result is None where there are neither bodies nor regions.
    """
    pictures: list[Tensor] = []
    captions: list[str] = []
    for number, (member, body) in enumerate(zip(people, bodies, strict=True), 1):
        if body.weight:
            pictures.append(body.picture)
            captions.append(f"{member.place or number} {member.person.name}")  # place: 0 for a person without one
    if people_regions is not None:
        pictures.append(place_previews.read_regions(people_regions, people))
        captions.append("regions")
    if not pictures:
        return None
    return ui.PreviewImage(previews.contact_sheet(pictures, captions), cls=cls)


LOADER = FileLoader(FILE, load_story_maker)
NODES = [ApplyStoryMaker]
