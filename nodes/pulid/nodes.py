"""PuLID: load its files, apply faces to SDXL, FLUX.1 or Chroma for one person or many."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from torch import Tensor

from ...bridge.apply.adapters import AdapterMismatch, UNetAdapter
from ...bridge.apply.begin import AtFaces, When, begin
from ...bridge.host import notes, schema
from ...bridge.host.load import FileLoader, Loaded, Published
from ...bridge.host.shared_network import model_of
from ...bridge.host.unet import dtype_of
from ...bridge.image_tokens.blocks import BlockInjection, BlocksRun, Read, check_blocks, reads_by_block
from ...bridge.image_tokens.injections import Injection
from ...bridge.sampling.conditioning import Conditioning, SamplerInputs
from ...bridge.sampling.missing_people import NamedRange
from ...core.cast import Cast, Member, Person
from ...core.checks.errors import BadPhoto
from ...core.families import CHROMA, FLUX, SDXL
from ...core.methods import method
from ...core.models.formats import identify
from ...core.persons import combine, photos_of, portraits
from ...core.taking_part import with_photos
from ..categories import IN_OTHER_METHODS
from ..sockets import CastOrPersonSocket, adapter_socket
from .eva import EvaNet, vision_state
from .face_parser import FaceParserNet, face_alone, folded_state
from .net import PROJECTIONS, EncoderNet, PuLIDFluxNet, PuLIDNet, id_vectors, own_names, reads_behind

METHOD = method("pulid")
APPLY, APPLY_FLUX = "Apply PuLID (SDXL)", "Apply PuLID (FLUX.1)"
BLOCK_FAMILIES = (FLUX.name, CHROMA.name)
"""What Apply PuLID (FLUX.1) takes: Chroma was made from FLUX.1 and has its blocks, at the same places."""
FILE = Published.of_method(METHOD, "PuLID file")


class PuLID(UNetAdapter[PuLIDNet]):
    """A loaded file for SDXL, of version 1 or 1.1."""

    method_title = f"{METHOD.title} for {SDXL.name}"


class PuLIDFlux(Loaded[PuLIDFluxNet]):
    """A loaded file for FLUX.1."""

    method_title = f"{METHOD.title} for {FLUX.name}"

    def check_fits(self, given: SamplerInputs, node_name: str) -> None:
        """Raise an error unless the file fits the MODEL and the texts, see check_blocks."""
        check_blocks(reads_behind, len(self.net.pulid_ca), self.net.block_width, BLOCK_FAMILIES, given, node_name)


class EvaClip(Loaded[EvaNet]):
    """A loaded EVA02_CLIP_L_336_psz14_s6B.pt."""

    method_title = "EVA-CLIP"


class FaceParser(Loaded[FaceParserNet]):
    """A loaded parsing_bisenet.pth."""

    method_title = "the face parser (BiSeNet)"


PuLIDSocket = adapter_socket(PuLID)
PuLIDFluxSocket = adapter_socket(PuLIDFlux)
EvaClipSocket = adapter_socket(EvaClip)
FaceParserSocket = adapter_socket(FaceParser)


def load_pulid(path: str) -> Loaded[Any]:
    """Read one of the method's files: of PuLID, EVA-CLIP or the face parser. Raises UnsupportedCheckpoint, BadSetup."""
    state = FILE.read(path)
    file_format = identify(state)
    kind = file_format.id if file_format else ""
    if kind == "eva-clip":
        return EvaClip(FILE.build(path, EvaNet, vision_state(state)))
    if kind == "face-parser":
        return FaceParser(FILE.build(path, FaceParserNet, folded_state(state)))
    if kind == "pulid-flux":
        return PuLIDFlux(FILE.build(path, PuLIDFluxNet, own_names(state)))
    return PuLID(FILE.build(path, PuLIDNet, own_names(state)))


# From photos to tokens

AS_PUBLISHED, MEAN = "as published", "mean"
MEAN_INSTEAD = "This file reads as many photos of everybody: the mean of each person's photos instead"


@dataclass(frozen=True, eq=False)
class _Photos:
    """What an encoder reads of the photos of a person, on the device of its network.

    ids: (photos, 1280). states: five times (photos, 1 + patches, width).
    """

    ids: Tensor
    states: list[Tensor]

    def each(self) -> "list[_Photos]":
        """Each photo by itself."""
        alone: list[_Photos] = []
        for number in range(len(self.ids)):
            photo = slice(number, number + 1)
            alone.append(_Photos(self.ids[photo], [state[photo] for state in self.states]))
        return alone


@dataclass(frozen=True, eq=False)
class _Tokens:
    """Tokens of people, (people, T, width) float32 on the CPU, and those of no face, which the negative reads."""

    faces: Tensor
    no_faces: Tensor


@torch.no_grad()
def _tokens(
    loaded: Loaded[Any], eva_clip: EvaClip, face_parser: FaceParser, people: Sequence[Member], photos: str
) -> _Tokens:
    """The tokens of people. photos: AS_PUBLISHED or MEAN, how several photos of a person are joined.

    Raises BadCast for people without photos, without the embedding or without the portrait, and BadPhoto.
    """
    faces: list[Tensor] = []
    no_faces: list[Tensor] = []
    for member in notes.stepwise(people):
        photos_of_person = _read_photos(loaded, eva_clip, face_parser, member.person)
        # A group: the photos that the encoder reads together; with MEAN each photo alone. Their tokens are averaged.
        groups = photos_of_person.each() if photos == MEAN else [photos_of_person]
        faces.append(torch.stack([loaded.net.tokens(group.ids, group.states) for group in groups]).mean(dim=0))
        # Of zeros all groups give the same tokens, so the first is enough.
        no_faces.append(loaded.net.no_face_tokens(groups[0].ids, groups[0].states))
    return _Tokens(torch.cat(faces).cpu(), torch.cat(no_faces).cpu())


def _read_photos(loaded: Loaded[Any], eva_clip: EvaClip, face_parser: FaceParser, person: Person) -> _Photos:
    """What the encoder reads of a person. Raises what `_tokens` raises, and AdapterMismatch, see `_check_width`."""
    face_embeddings = combine(person, METHOD.recogniser, "sequence", METHOD.title)  # (photos, 512)
    shown = _shown_to_eva(face_parser, person)  # (photos, 3, side, side)
    seen = eva_clip.net(eva_clip.on_device(shown))
    ids = id_vectors(face_embeddings, seen.embeddings.cpu())
    _check_width(loaded, ids.shape[1])
    return _Photos(loaded.on_device(ids), [loaded.on_device(state) for state in seen.states])


def _check_width(loaded: Loaded[Any], width: int) -> None:
    """Raise AdapterMismatch where the file reads id vectors of another width."""
    id_width = loaded.net.image_proj.id_width
    if id_width != width:
        problem = (
            f"{METHOD.title}'s file reads {id_width} numbers of a face, and the recogniser and EVA-CLIP give {width}"
        )
        raise AdapterMismatch(f"{problem}.", f"Use {METHOD.title}'s own files, and {METHOD.recogniser}.")


def _shown_to_eva(face_parser: FaceParser, person: Person) -> Tensor:
    """Faces and hair of a person's photos in grey on white, (photos, 3, FFHQ, FFHQ).

    Raises PortraitsMissing, BadCast, BadPhoto where nothing of a face is left.
    """
    heads = portraits(person, METHOD.title).ffhq  # (photos, FFHQ, FFHQ, 3), 0..255
    alone: list[Tensor] = []
    for number, head in enumerate(heads, 1):
        picture = face_parser.on_device(head.movedim(-1, 0)[None]) / 255  # (1, 3, FFHQ, FFHQ)
        shown = face_alone(picture, face_parser.net(picture))
        if bool((shown == 1).all()):  # all white
            raise BadPhoto(
                f"{METHOD.title} finds neither face nor hair in photo {number} of {person.name}.",
                "Make the person again from a photo in which the face is larger and not covered.",
            )
        alone.append(shown.cpu())
    return torch.cat(alone)


def _photos_joined(net: EncoderNet, people: Sequence[Member], photos: str) -> str:
    """How the photos of each person are joined, AS_PUBLISHED or MEAN.

    It is what is chosen (photos), but for one case: a net that does not read the photos of a person together makes
    tokens of each. With different numbers of photos people would have different numbers of tokens, which is not
    possible in one attention: then it is MEAN, and a note under the node says so.
    """
    photo_counts = {photos_of(member.person) for member in people}
    same_number_of_tokens = net.reads_photos_together or len(photo_counts) == 1
    if photos == MEAN or same_number_of_tokens:
        return photos
    notes.tell(MEAN_INSTEAD)
    return MEAN


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is set on both apply nodes."""

    weight: float
    start_percent: float
    end_percent: float
    photos: str


def _inputs(pulid: io.Input, weight: float, *own: io.Input) -> list[io.Input]:
    """The inputs of both apply nodes. pulid: for the file. weight: its default. own: what only one of the nodes has."""
    return [
        *schema.applied_inputs(),
        pulid,
        EvaClipSocket.Input("eva_clip"),
        FaceParserSocket.Input("face_parser"),
        CastOrPersonSocket.Input("cast"),
        io.Float.Input("weight", default=weight, min=-1.0, max=3.0, step=0.01),
        *own,
        *schema.range_inputs(),
        schema.photos_input([AS_PUBLISHED, MEAN]),
        io.Mask.Input("mask", optional=True),
    ]


# SDXL

_V1_ZERO_TOKENS = {"fidelity": 8, "style": 16, "off": 0}
_V1_1_ZERO_TOKENS = 20
_BY_THE_FILE = -1
"""The choice of zero_tokens that stands for these, which the authors' demos have."""


@dataclass(frozen=True, kw_only=True)
class SettingsOfSDXL(Settings):
    """What is set on Apply PuLID. zero_tokens: _BY_THE_FILE, or how many."""

    projection: str
    zero_tokens: int


class ApplyPuLID(io.ComfyNode):
    """Lets the UNet read tokens of people's faces beside the text, kept apart from it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        zero_tokens = io.Int.Input("zero_tokens", default=_BY_THE_FILE, min=_BY_THE_FILE, max=80)
        return io.Schema(
            node_id="LikenessApplyPuLID",
            category=IN_OTHER_METHODS,
            inputs=_inputs(
                PuLIDSocket.Input("pulid"),
                0.8,  # the default of weight
                io.Combo.Input("projection", options=list(PROJECTIONS), default="fidelity"),
                schema.advanced(zero_tokens),
            ),
            outputs=schema.applied_outputs(),
            is_experimental=True,
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        positive: Conditioning,
        negative: Conditioning,
        pulid: PuLID,
        eva_clip: EvaClip,
        face_parser: FaceParser,
        cast: Cast | Person,
        mask: Tensor | None = None,
        **values: Any,
    ) -> io.NodeOutput:
        settings = SettingsOfSDXL(**values)
        when = When(METHOD.title, settings.start_percent, settings.end_percent)
        given = SamplerInputs(model, positive, negative)
        where = AtFaces(SDXL.token, mask)
        scope = begin(cls, APPLY, given, with_photos(cast), settings.weight, where, when, fits=pulid.check_fits)
        if scope is None:
            return io.NodeOutput(model, positive, negative)
        photos = _photos_joined(pulid.net, scope.people, settings.photos)
        tokens = _tokens(pulid, eva_clip, face_parser, scope.people, photos)
        zero_tokens = _zero_tokens(pulid.net, settings)
        sides = [_with_zeros(tokens.faces, zero_tokens), _with_zeros(tokens.no_faces, zero_tokens)]
        scales = scope.weights(settings.weight)  # by which the values of each are multiplied
        how_people_are_read = PROJECTIONS[settings.projection]
        carried: list[Injection] = []
        for injection in pulid.injections(scope, sides, scales):
            carried.append(replace(injection, reads=how_people_are_read))
        return scope.applied(given, carried, [NamedRange("the faces", scope.schedule)])


def _zero_tokens(net: EncoderNet, settings: SettingsOfSDXL) -> int:
    """How many tokens of zeros stand behind those of a person."""
    if settings.zero_tokens != _BY_THE_FILE:
        return settings.zero_tokens
    is_v1_1 = net.reads_photos_together
    return _V1_1_ZERO_TOKENS if is_v1_1 else _V1_ZERO_TOKENS[settings.projection]


def _with_zeros(tokens: Tensor, count: int) -> Tensor:
    """Tokens (people, T, width) with `count` tokens of zeros behind them: (people, T + count, width).

    Layers without biases make keys and values of 0 of them. So each adds e^0 = 1 to the denominator of a softmax and
    nothing to its output: people are read less where their own logits are low.
    """
    return torch.nn.functional.pad(tokens, (0, 0, 0, count))


# FLUX.1 and Chroma


class ApplyPuLIDFlux(io.ComfyNode):
    """Lets the picture read face tokens behind some blocks of FLUX.1 or Chroma."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessApplyPuLIDFlux",
            category=IN_OTHER_METHODS,
            inputs=_inputs(PuLIDFluxSocket.Input("pulid"), weight=1.0),
            outputs=schema.applied_outputs(),
            is_experimental=True,
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        positive: Conditioning,
        negative: Conditioning,
        pulid: PuLIDFlux,
        eva_clip: EvaClip,
        face_parser: FaceParser,
        cast: Cast | Person,
        mask: Tensor | None = None,
        **values: Any,
    ) -> io.NodeOutput:
        settings = Settings(**values)
        when = When(METHOD.title, settings.start_percent, settings.end_percent)
        given = SamplerInputs(model, positive, negative)
        where = AtFaces(FLUX.token, mask)
        scope = begin(cls, APPLY_FLUX, given, with_photos(cast), settings.weight, where, when, fits=pulid.check_fits)
        if scope is None:
            return io.NodeOutput(model, positive, negative)
        acts_behind = reads_by_block(model, reads_behind)
        tokens = _tokens(pulid, eva_clip, face_parser, scope.people, settings.photos)
        weights = scope.weights(settings.weight)
        source = object()  # one for both sides: by it a run knows that they are of one node
        carried: list[Injection] = []
        for side in (tokens.faces, tokens.no_faces):
            layers = _layers(pulid, side, weights, acts_behind, dtype_of(model_of(model)))
            carried.append(scope.injection(source, side, layers, kind=BlockInjection))
        return scope.applied(given, carried, [NamedRange("the faces", scope.schedule)], run=BlocksRun)


def _layers(
    loaded: PuLIDFlux, tokens: Tensor, weights: Tensor, acts_behind: Sequence[bool], dtype: torch.dtype
) -> tuple[Read, ...]:
    """What is read of people behind each block, on the CPU; () for a block behind which nobody is read.

    tokens: (people, T, width). weights: (people,), of the values. acts_behind: for each block of the MODEL whether
    people are read behind it. dtype: in which the MODEL computes.
    """
    # One for each attention of the file, which is one for each block behind which people are read, in their order.
    by_attention = iter(loaded.net.block_tokens(loaded.on_device(tokens)))
    layers: list[Read] = []
    for acts in acts_behind:
        layers.append(next(by_attention).weighted(weights, dtype) if acts else ())
    return tuple(layers)


LOADER = FileLoader(FILE, load_pulid)
NODES = [ApplyPuLID, ApplyPuLIDFlux]
