"""IP-Adapter: Apply IP-Adapter puts people into a picture, Style per Person draws them in the style of pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from comfy.clip_vision import ClipVisionModel
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from torch import Tensor
from torch.nn.functional import normalize

from ...bridge.apply.adapters import UNetAdapter
from ...bridge.apply.begin import AtFaces, OnBodies, When, begin, begin_acting
from ...bridge.apply.scope import Scope
from ...bridge.host import encode, schema, unet
from ...bridge.host.load import FileLoader, Published
from ...bridge.image_tokens.injections import Injection
from ...bridge.loras.adapter_files import with_lora
from ...bridge.sampling.conditioning import Conditioning, SamplerInputs
from ...bridge.sampling.missing_people import NamedRange
from ...core.cast import Cast, Person, require_places
from ...core.checks.errors import BadCast, BadSetup
from ...core.checks.prompts import named
from ...core.checks.text import plain
from ...core.families import SDXL, family_of_text_width
from ...core.methods import method
from ...core.models.tensors import below
from ...core.persons import PHOTOS, combine, portraits
from ...core.pictures.tensors import as_masks, joined_masks
from ...core.places import regions
from ...core.places.regions import BadRegion
from ...core.taking_part import NO_PEOPLE, meant, with_photos
from ..categories import IN_OTHER_METHODS
from ..sockets import CastOrPersonSocket, CastSocket, adapter_socket
from . import net
from .net import IPAdapterNet, Variant

METHOD = method("ip_adapter")
FILE = Published.of_method(METHOD, "IP-Adapter")


@dataclass(frozen=True)
class IPAdapter(UNetAdapter[IPAdapterNet]):
    """A loaded file. variant: what it reads, and how its authors used it."""

    method_title = METHOD.title

    variant: Variant = field(kw_only=True)

    def tokens(self, embeddings: Tensor | None, clip_features: Tensor | None, shortcut: float = 1.0) -> Tensor:
        """The tokens of n photos or pictures, (1, tokens, width) float32 on the CPU.

        embeddings: (n, 512), of faces. clip_features: (n, ...), from clip_features(). Each of the two is None where the
        file does not read it. shortcut: how much of the hidden states Plus v2 adds; other files ignore it.
        """
        if embeddings is not None:
            embeddings = self.on_device(embeddings)
        if clip_features is not None:
            clip_features = self.on_device(clip_features)
        shortcut_of_file = shortcut if self.variant.shortcut else None  # None is Plus v1, see IPAdapterNet.tokens
        return self.net.tokens(embeddings, clip_features, shortcut_of_file).cpu()

    def clip_features(self, clip_vision: ClipVisionModel, pictures: Tensor) -> Tensor:
        """What the file reads of pictures (n, H, W, 3) by CLIP: hidden states (n, states, clip_width), or image
        embeddings (n, clip_width). Raises WrongEncoder, BadPicture."""
        return encode.encode_pictures(clip_vision, pictures, self._clip_output, self.net.clip_width)

    def blank_features(self, clip_vision: ClipVisionModel | None) -> Tensor:
        """What the file reads on the negative side instead of clip_features(), (1, ...).

        Raises WrongEncoder, also where no CLIP vision model is connected, and BadPicture.
        """
        if clip_vision is None:
            raise encode.WrongEncoder("not connected", self._clip_output, self.net.clip_width)
        # Hidden states are those of a picture that is zero for CLIP; image embeddings are zeros themselves.
        if self.variant.clip == "states":
            return encode.encode_grey(clip_vision, self.net.clip_width)  # (1, states, clip_width)
        return torch.zeros(1, self.net.clip_width, dtype=torch.float32)

    def check_fits_pictures(self, given: SamplerInputs, node_name: str) -> None:
        """Raise what check_fits raises, and BadSetup for a file that reads the embedding of a face.

        A picture need not show a face.
        """
        if self.variant.embedding:
            raise BadSetup(
                f"{node_name} reads pictures, but the ip_adapter is {self.variant.title}, which reads the embedding of "
                "a face.",
                "Load a plain or plus file with Load Adapter, such as ip-adapter-plus_sdxl_vit-h.safetensors from "
                "https://huggingface.co/h94/IP-Adapter, into models/ipadapter.",
            )
        self.check_fits(given, node_name)

    @property
    def _clip_output(self) -> str:
        """Which of CLIP's outputs the file reads: encode.STATES or encode.EMBEDS. Only for files that read CLIP."""
        return encode.STATES if self.variant.clip == "states" else encode.EMBEDS


IPAdapterSocket = adapter_socket(IPAdapter)


def load_ip_adapter(path: str) -> IPAdapter:
    """Read any of the method's formats. Raises UnsupportedCheckpoint."""
    state = FILE.read(path)
    variant = net.versioned(net.variant(state), state, path)
    patcher = FILE.build(path, IPAdapterNet, state)
    # The LoRA that FaceID files bring, which Apply IP-Adapter puts onto the MODEL; empty for other files.
    lora = {key: tensor for key, tensor in below("ip_adapter.", state).items() if "_lora." in key}
    return IPAdapter(patcher, lora, variant=variant)


APPLY = "Apply IP-Adapter"
AS_MADE = "as the file was made"


@dataclass(frozen=True)
class Settings:
    """What is set on Apply IP-Adapter. photos: AS_MADE, or what takes the place of the file's own."""

    weight: float
    shortcut: float
    lora_weight: float
    start_percent: float
    end_percent: float
    photos: str

    def changed(self, variant: Variant) -> Variant:
        """The variant of a file, with the user's choice of `photos` unless that is AS_MADE."""
        return variant if self.photos == AS_MADE else replace(variant, photos=self.photos)


class ApplyIPAdapter(io.ComfyNode):
    """Lets the UNet read tokens of people's faces beside the text, and puts the file's LoRA onto the MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessApplyIPAdapter",
            category=IN_OTHER_METHODS,
            inputs=[
                *schema.applied_inputs(),
                IPAdapterSocket.Input("ip_adapter"),
                CastOrPersonSocket.Input("cast"),
                io.ClipVision.Input("clip_vision", optional=True),
                io.Float.Input("weight", default=1.0, min=-1.0, max=3.0, step=0.01),
                io.Float.Input("shortcut", default=1.0, min=0.0, max=3.0, step=0.01),
                io.Float.Input("lora_weight", default=1.0, min=0.0, max=2.0, step=0.01),
                *schema.range_inputs(),
                schema.photos_input([AS_MADE, *PHOTOS]),
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
        ip_adapter: IPAdapter,
        cast: Cast | Person,
        clip_vision: ClipVisionModel | None = None,
        mask: Tensor | None = None,
        **values: Any,
    ) -> io.NodeOutput:
        settings = Settings(**values)  # `values` are the inputs that are its fields
        family = family_of_text_width(ip_adapter.width) or SDXL
        when = When("The adapter", settings.start_percent, settings.end_percent)
        given = SamplerInputs(model, positive, negative)
        where = AtFaces(family.token, mask)
        scope = begin(cls, APPLY, given, with_photos(cast), settings.weight, where, when, fits=ip_adapter.check_fits)
        if scope is None:  # switched off, or nobody takes part
            return io.NodeOutput(model, positive, negative)
        carried = _injections(ip_adapter, scope, clip_vision, settings)
        given = replace(given, model=with_lora(model, ip_adapter.lora, settings.lora_weight))
        return scope.applied(given, carried, [NamedRange("the adapter", scope.schedule)])


def _injections(
    loaded: IPAdapter, scope: Scope, clip_vision: ClipVisionModel | None, settings: Settings
) -> list[Injection]:
    """What positive and negative carry, in this order: the tokens of each person, and as many tokens of blank inputs.

    Raises WrongEncoder, BadCast.
    """
    variant = settings.changed(loaded.variant)
    blank = loaded.blank_features(clip_vision) if variant.clip else None
    face_tokens: list[Tensor] = []
    blank_tokens: list[Tensor] = []
    for member in scope.people:
        inputs = _face_inputs(loaded, member.person, clip_vision, variant)
        blanks = _blank_inputs(inputs, blank)
        face_tokens.append(loaded.tokens(inputs.embeddings, inputs.clip_features, settings.shortcut))
        blank_tokens.append(loaded.tokens(blanks.embeddings, blanks.clip_features, settings.shortcut))
    scales = scope.weights(settings.weight)  # what each person's values in attention are multiplied with
    sides = [net.with_equal_counts(face_tokens), net.with_equal_counts(blank_tokens)]
    return loaded.injections(scope, sides, scales)


@dataclass(frozen=True, eq=False)
class _Inputs:
    """What a file reads of n photos: embeddings (n, 512) and clip_features (n, ...), None for what it does not read."""

    embeddings: Tensor | None
    clip_features: Tensor | None


def _face_inputs(loaded: IPAdapter, person: Person, clip_vision: ClipVisionModel | None, variant: Variant) -> _Inputs:
    """What the file reads of a person's photos, on the positive side. Raises BadCast, WrongEncoder, BadPicture."""
    embeddings: Tensor | None = None
    if variant.embedding:
        embeddings = combine(person, METHOD.recogniser, variant.photos, variant.title)  # (n, 512)
        if variant.embedding == "normed":
            embeddings = normalize(embeddings, dim=-1)
    clip_features: Tensor | None = None
    # Where variant.clip is set, blank_features has raised before if clip_vision is None.
    if clip_vision is not None and variant.clip:
        clip_features = _features_of_photos(loaded, person, clip_vision, variant)
    return _Inputs(embeddings, clip_features)


def _blank_inputs(inputs: _Inputs, blank: Tensor | None) -> _Inputs:
    """What the file reads on the negative side in place of a person's photos: as many blank embeddings and features.

    inputs: those of the positive side. blank: from IPAdapter.blank_features, (1, ...); None where the file does not
    read CLIP.
    """
    embeddings = None if inputs.embeddings is None else torch.zeros_like(inputs.embeddings)
    clip_features: Tensor | None = None
    if inputs.clip_features is not None and blank is not None:
        clip_features = blank.expand_as(inputs.clip_features)
    return _Inputs(embeddings, clip_features)


def _features_of_photos(loaded: IPAdapter, person: Person, clip_vision: ClipVisionModel, variant: Variant) -> Tensor:
    """CLIP's features of a person's photos: (n, ...) where variant.photos is a sequence, else their mean (1, ...)."""
    photos = portraits(person, variant.title)
    pictures = photos.loose if variant.cut == net.LOOSE else photos.aligned  # (n, H, W, 3), 0..255
    features = loaded.clip_features(clip_vision, pictures.float() / 255)
    if variant.photos == net.SEQUENCE:
        return features
    return features.mean(dim=0, keepdim=True)


STYLES = "Style per Person"
NO_STYLE = "No person is drawn in this style: those who are meant have weight 0."


@dataclass(frozen=True)
class StyleSettings:
    """What is set on Style per Person. who: names or numbers of people; "" for everybody."""

    who: str
    layers: str
    weight: float
    start_percent: float
    end_percent: float
    fit: str


class StylePerPerson(io.ComfyNode):
    """Lets some layers of the UNet read tokens of pictures, for the style of some people or of the whole picture."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessStylePerPerson",
            category=IN_OTHER_METHODS,
            inputs=[
                *schema.applied_inputs(),
                IPAdapterSocket.Input("ip_adapter"),
                io.ClipVision.Input("clip_vision"),
                io.Image.Input("images"),
                CastSocket.Input("cast", optional=True),
                io.String.Input("who", default=""),
                io.Combo.Input("layers", options=list(net.CHOICES)),
                io.Float.Input("weight", default=1.0, min=-1.0, max=3.0, step=0.01),
                *schema.range_inputs(),
                io.Combo.Input("fit", options=[net.PAD, net.CROP]),
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
        ip_adapter: IPAdapter,
        clip_vision: ClipVisionModel,
        images: Tensor,
        cast: Cast | None = None,
        mask: Tensor | None = None,
        **values: Any,
    ) -> io.NodeOutput:
        settings = StyleSettings(**values)  # `values` are the inputs that are its fields
        # A mask says where the style acts, whoever stands there: with it, `who` and places have no effect.
        if settings.who.strip() and cast is None and mask is None:
            advice = "Connect the cast of Place Cast, or leave who empty for a style of the whole picture."
            raise BadCast(f"{STYLES}: who is {plain(settings.who, 60)!r}, but no cast is connected.", advice)
        when = When(STYLES, settings.start_percent, settings.end_percent)
        given = SamplerInputs(model, positive, negative)
        fits = ip_adapter.check_fits_pictures
        # For each set of tokens whether the style acts: one set for all, or by row one for each person.
        shares = [True]
        scope: Scope | None = None
        if cast is not None and mask is None:
            placed = require_places(cast, STYLES)
            numbers = named(settings.who, [member.person.name for member in placed.people], STYLES)
            in_style = [number in numbers for number in range(len(placed.people))]
            taking = meant(placed, in_style)  # by row, who is not drawn in the style gets a scale of 0
            where = OnBodies(None, alone=False)
            scope = begin(cls, STYLES, given, taking, settings.weight, where, when, fits=fits, nothing=NO_STYLE)
            shares = in_style if placed.by_row else [True]
        elif settings.weight:
            # A style of the whole picture, or of a mask, whoever stands there: nobody in particular takes part.
            scope = begin_acting(cls, STYLES, given, NO_PEOPLE, None, when, fits=fits)
            if mask is not None:
                scope = replace(scope, regions=_painted(cast, mask))
        if scope is None:
            return io.NodeOutput(model, positive, negative)
        acts_in_layers = net.chosen_layers(unet.layers_of(unet.unet_of(model)), settings.layers)
        scales = settings.weight * torch.tensor(shares, dtype=torch.float32)  # (people,) by row, else (1,)
        pictures = net.fitted(images, settings.fit)
        carried = _injections_of_pictures(ip_adapter, scope, clip_vision, pictures, acts_in_layers, scales)
        return scope.applied(given, carried, [NamedRange("the style", scope.schedule)], names=["The style"])


def _injections_of_pictures(
    loaded: IPAdapter,
    scope: Scope,
    clip_vision: ClipVisionModel,
    pictures: Tensor,
    acts_in_layers: Sequence[bool],
    scales: Tensor,
) -> list[Injection]:
    """What positive and negative carry, in this order: the tokens of all pictures, and as many of blank pictures.

    All regions of the scope read the same tokens.
    pictures: (B, H, W, 3). acts_in_layers: for each cross-attention layer of the UNet whether the tokens are read
    there. scales: what the values in attention are multiplied with, (1,), or (people,) where each person has a row of
    the batch. Raises WrongEncoder, BadPicture.
    """
    if scope.regions is not None:
        # All people have the same style, so their regions become one: (people, H, W) -> (1, H, W).
        scope = replace(scope, regions=joined_masks(scope.regions)[None])
    features = loaded.clip_features(clip_vision, pictures)  # (B, ...)
    blank = loaded.blank_features(clip_vision).expand_as(features)
    sides: list[Tensor] = []
    for clip_features in (features, blank):
        tokens = loaded.tokens(None, clip_features)  # (1, tokens of all pictures, width)
        sides.append(tokens.expand(len(scales), -1, -1))  # (1, ...), or by row (people, ...)
    in_chosen_layers: list[Injection] = []
    for injection in loaded.injections(scope, sides, scales):
        layers: list[tuple[Tensor, ...] | None] = []  # None: this layer reads the text alone
        for layer, acts in zip(injection.layers, acts_in_layers, strict=True):
            layers.append(layer if acts else None)
        in_chosen_layers.append(replace(injection, layers=tuple(layers)))
    return in_chosen_layers


def _painted(cast: Cast | None, mask: Tensor) -> Tensor:
    """All masks of a MASK batch as one region, (1, H, W).

    cast: the node's cast, or None. Raises BadRegion where the masks are empty, and where each person of the cast has a
    picture of their own (the cast of Crop Faces), because the mask belongs to one picture.
    """
    regions.check_one_picture(cast)
    painted = joined_masks(as_masks(mask))[None]
    if not painted.any():
        raise BadRegion("the style", "the mask is empty", "Paint it, or disconnect it for the whole picture.")
    return painted


LOADER = FileLoader(FILE, load_ip_adapter)
NODES = [ApplyIPAdapter, StylePerPerson]
