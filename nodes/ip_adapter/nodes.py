"""IP-Adapter: load its files, apply faces to SD1.5 or SDXL for one person or many."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from comfy.clip_vision import ClipVisionModel
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from torch import Tensor
from torch.nn.functional import normalize

from ...bridge.apply.acting_people import ActingPeople
from ...bridge.apply.adapters import UNetAdapter
from ...bridge.apply.begin import AtFaces, When, begin
from ...bridge.host import encode, schema
from ...bridge.host.load import FileLoader, Published
from ...bridge.image_tokens.unet_tokens import UNetImageTokens
from ...bridge.loras.adapter_files import with_lora
from ...bridge.sampling.conditioning import Conditioning, SamplerInputs
from ...bridge.sampling.missing_people import NamedRange
from ...core.cast import Cast, Person
from ...core.families import SDXL, family_of_text_width
from ...core.methods import method
from ...core.models.tensors import below
from ...core.persons.combining import PHOTOS, combine, portraits
from ...core.taking_part import with_photos
from ..categories import IN_OTHER_METHODS
from ..sockets import CastOrPersonSocket, adapter_socket
from . import net
from .net import IPAdapterNet, Variant

METHOD = method("ip_adapter")
FILE = Published.of_method(METHOD, "IP-Adapter")


@dataclass(frozen=True)
class IPAdapter(UNetAdapter[IPAdapterNet]):
    """A loaded file. variant: what it reads, and how its authors used it."""

    method_title = METHOD.title

    variant: Variant = field(kw_only=True)

    def tokens(self, embeddings: Tensor | None, clip_features: Tensor | None, shortcut: float) -> Tensor:
        """The tokens of n photos, (1, tokens, width) float32 on the CPU.

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
        acting = begin(cls, APPLY, given, with_photos(cast), settings.weight, where, when, fits=ip_adapter.check_fits)
        if acting is None:  # switched off, or nobody takes part
            return io.NodeOutput(model, positive, negative)
        carried = _image_tokens(ip_adapter, acting, clip_vision, settings)
        given = replace(given, model=with_lora(model, ip_adapter.lora, settings.lora_weight))
        return acting.applied(given, carried, [NamedRange("the adapter", acting.schedule)])


def _image_tokens(
    loaded: IPAdapter, acting: ActingPeople, clip_vision: ClipVisionModel | None, settings: Settings
) -> list[UNetImageTokens]:
    """What positive and negative carry, in this order: the tokens of each person, and as many tokens of blank inputs.

    Raises WrongEncoder, BadCast.
    """
    variant = settings.changed(loaded.variant)
    blank = loaded.blank_features(clip_vision) if variant.clip else None
    face_tokens: list[Tensor] = []
    blank_tokens: list[Tensor] = []
    for member in acting.people:
        inputs = _face_inputs(loaded, member.person, clip_vision, variant)
        blanks = _blank_inputs(inputs, blank)
        face_tokens.append(loaded.tokens(inputs.embeddings, inputs.clip_features, settings.shortcut))
        blank_tokens.append(loaded.tokens(blanks.embeddings, blanks.clip_features, settings.shortcut))
    scales = acting.weights(settings.weight)  # what each person's values in attention are multiplied with
    sides = [net.with_equal_counts(face_tokens), net.with_equal_counts(blank_tokens)]
    return loaded.image_tokens(acting, sides, scales)


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


LOADER = FileLoader(FILE, load_ip_adapter)
NODES = [ApplyIPAdapter]
