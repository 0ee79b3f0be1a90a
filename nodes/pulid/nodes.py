"""PuLID: load its files, apply faces to SDXL, FLUX.1 or Chroma for one person or many."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from torch import Tensor

from ...bridge.apply.acting_people import ActingPeople
from ...bridge.apply.adapters import AdapterMismatch, UNetAdapter
from ...bridge.apply.begin import AtFaces, When, begin
from ...bridge.host import notes, schema
from ...bridge.host.load import FileLoader, Loaded, NetT, Published
from ...bridge.host.shared_network import model_of
from ...bridge.host.unet import dtype_of, has_unet, text_width
from ...bridge.image_tokens.blocks import BLOCK_IMAGE_TOKENS, BlockImageTokens, Read
from ...bridge.image_tokens.unet_tokens import UNET_IMAGE_TOKENS, UNetImageTokens
from ...bridge.networks.model_family import network_of, require_family, transformer_family
from ...bridge.sampling.conditioning import Conditioning, SamplerInputs, check_conditioning
from ...bridge.sampling.missing_people import NamedRange
from ...bridge.sampling.runs import Kind
from ...core.cast import Cast, Member, Person
from ...core.checks.errors import BadPhoto, WrongBaseModel, joined, listed
from ...core.families import CHROMA, FLUX, SDXL
from ...core.methods import method
from ...core.models import manifest
from ...core.models.formats import identify
from ...core.persons.checks import photos_of
from ...core.persons.combining import combine, portraits
from ...core.taking_part import with_photos
from ..categories import IN_OTHER_METHODS
from ..sockets import CastOrPersonSocket, adapter_socket
from .eva import EvaNet, vision_state
from .face_parser import FaceParserNet, face_alone, folded_state
from .net import PROJECTIONS, EncoderNet, PuLIDFluxNet, PuLIDNet, id_vectors, own_names, reads_behind

METHOD = method("pulid")
APPLY = "Apply PuLID"
FILE = Published.of_method(METHOD, "PuLID file")
FILES = {SDXL.name: "pulid-v1.1", FLUX.name: "pulid-flux", CHROMA.name: "pulid-flux"}
"""By family of a MODEL: the id in the manifest of the file for it. Chroma was made from FLUX.1 and has its blocks, at
the same places."""
AS_PUBLISHED, MEAN = "as published", "mean"
_PUBLISHED = -1
"""The choice of weight and of zero_tokens that stands for what the authors' demos have."""
_OF_SDXL = {"projection": "fidelity", "zero_tokens": _PUBLISHED}
"""The settings that files for SDXL alone have -> their defaults."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is set on Apply PuLID.

    weight: _PUBLISHED, or by how much people are read. zero_tokens: _PUBLISHED, or how many.
    """

    weight: float
    projection: str
    zero_tokens: int
    start_percent: float
    end_percent: float
    photos: str


@dataclass(frozen=True, eq=False)
class _Tokens:
    """Tokens of people, (people, T, width) float32 on the CPU, and those of no face, which the negative reads."""

    faces: Tensor
    no_faces: Tensor


class PuLID(Loaded[NetT]):
    """A loaded file: of SDXL, or of FLUX.1 and Chroma.

    families: of the MODELs that it is for. cell: side in pixels of the coarsest token. published_weight: that of the
    authors' demo. kind: of what `carried` gives.
    """

    method_title = METHOD.title
    families: ClassVar[tuple[str, ...]]
    cell: ClassVar[int]
    published_weight: ClassVar[float]
    kind: ClassVar[Kind]

    def check_fits(self, given: SamplerInputs, node_name: str) -> None:
        """Raise an error unless the file fits the MODEL and the texts: here for a MODEL that another file is for."""
        model = given.model
        assert model is not None
        family_name = _family_of(model)
        if family_name in FILES and family_name not in self.families:
            needed = joined(self.families, "or")
            its_file = manifest.model(FILES[family_name]).name
            advice = (
                f"The file at PuLID (pulid) is {self.method_title}. Load {its_file} in its place (Load Adapter), or "
                f"connect a MODEL of {needed}."
            )
            raise WrongBaseModel("The MODEL", family_name, needed, advice)

    def notes(self, settings: Settings) -> list[str]:
        """The lines of the note under the node about settings that have no effect with this file."""
        return []

    def carried(
        self, model: ModelPatcher, acting: ActingPeople, tokens: _Tokens, settings: Settings
    ) -> list[UNetImageTokens]:
        """What positive and negative carry, in this order."""
        raise NotImplementedError

    def weight(self, settings: Settings) -> float:
        """The weight of the node."""
        return self.published_weight if settings.weight == _PUBLISHED else settings.weight


def _family_of(model: ModelPatcher) -> str:
    """The name of the family that a MODEL is of, "" for a UNet other than SDXL and an unknown transformer."""
    base_model = model_of(model)
    if has_unet(base_model):
        return SDXL.name if text_width(model) in SDXL.text else ""
    family = transformer_family(base_model)
    return family.name if family else ""


class EvaClip(Loaded[EvaNet]):
    """A loaded EVA02_CLIP_L_336_psz14_s6B.pt."""

    method_title = "EVA-CLIP"


class FaceParser(Loaded[FaceParserNet]):
    """A loaded parsing_bisenet.pth."""

    method_title = "the face parser (BiSeNet)"


PuLIDSocket = adapter_socket(PuLID)
EvaClipSocket = adapter_socket(EvaClip)
FaceParserSocket = adapter_socket(FaceParser)


# From photos to tokens

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


@torch.no_grad()
def _tokens(
    loaded: PuLID[Any], eva_clip: EvaClip, face_parser: FaceParser, people: Sequence[Member], photos: str
) -> _Tokens:
    """The tokens of people. photos: AS_PUBLISHED or MEAN, how several photos of a person are joined.

    Raises as `_read_photos`.
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


def _read_photos(loaded: PuLID[Any], eva_clip: EvaClip, face_parser: FaceParser, person: Person) -> _Photos:
    """What the encoder reads of a person. Raises as core.persons.combine, `_shown_to_eva` and `_check_width`."""
    face_embeddings = combine(person, METHOD.recogniser, "sequence", METHOD.title)  # (photos, 512)
    shown = _shown_to_eva(face_parser, person)  # (photos, 3, side, side)
    seen = eva_clip.net(eva_clip.on_device(shown))
    ids = id_vectors(face_embeddings, seen.embeddings.cpu())
    _check_width(loaded, ids.shape[1])
    return _Photos(loaded.on_device(ids), [loaded.on_device(state) for state in seen.states])


def _check_width(loaded: PuLID[Any], width: int) -> None:
    """Raise AdapterMismatch where the file reads id vectors of another width."""
    id_width = loaded.net.image_proj.id_width
    if id_width != width:
        problem = (
            f"{METHOD.title}'s file reads {id_width} numbers of a face, and the recogniser and EVA-CLIP give {width}"
        )
        raise AdapterMismatch(f"{problem}.", f"Use {METHOD.title}'s own files, and {METHOD.recogniser}.")


def _shown_to_eva(face_parser: FaceParser, person: Person) -> Tensor:
    """Faces and hair of a person's photos in grey on white, (photos, 3, FFHQ, FFHQ).

    Raises PortraitsMissing, BadCast for a person without a photo, and BadPhoto where neither face nor hair is found.
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


# What SDXL reads

_V1_ZERO_TOKENS = {"fidelity": 8, "style": 16, "off": 0}
_V1_1_ZERO_TOKENS = 20
"""How many tokens of zeros the authors' demos have: with version 1 by the projection, with 1.1 always as many."""


class PuLIDForSDXL(UNetAdapter[PuLIDNet], PuLID[PuLIDNet]):
    """A loaded file for SDXL, of version 1 or 1.1: the UNet reads face tokens beside the text, kept apart from it."""

    method_title = f"{METHOD.title} for {SDXL.name}"
    families = (SDXL.name,)
    cell = SDXL.token
    published_weight = 0.8
    kind = UNET_IMAGE_TOKENS

    def check_fits(self, given: SamplerInputs, node_name: str) -> None:
        PuLID.check_fits(self, given, node_name)
        UNetAdapter.check_fits(self, given, node_name)

    def carried(
        self, model: ModelPatcher, acting: ActingPeople, tokens: _Tokens, settings: Settings
    ) -> list[UNetImageTokens]:
        zero_tokens = _zero_tokens(self.net, settings)
        sides = [_with_zeros(tokens.faces, zero_tokens), _with_zeros(tokens.no_faces, zero_tokens)]
        scales = acting.weights(self.weight(settings))  # by which the values of each are multiplied
        how_people_are_read = PROJECTIONS[settings.projection]
        return [replace(one_side, reads=how_people_are_read) for one_side in self.image_tokens(acting, sides, scales)]


def _zero_tokens(net: EncoderNet, settings: Settings) -> int:
    """How many tokens of zeros stand behind those of a person."""
    if settings.zero_tokens != _PUBLISHED:
        return settings.zero_tokens
    is_v1_1 = net.reads_photos_together
    return _V1_1_ZERO_TOKENS if is_v1_1 else _V1_ZERO_TOKENS[settings.projection]


def _with_zeros(tokens: Tensor, count: int) -> Tensor:
    """Tokens (people, T, width) with `count` tokens of zeros behind them: (people, T + count, width).

    Layers without biases make keys and values of 0 of them. So each adds e^0 = 1 to the denominator of a softmax and
    nothing to its output: people are read less where their own logits are low.
    """
    return torch.nn.functional.pad(tokens, (0, 0, 0, count))


# What FLUX.1 and Chroma read


class PuLIDForFlux(PuLID[PuLIDFluxNet]):
    """A loaded file for FLUX.1: the picture reads face tokens behind some blocks, those of Chroma too."""

    method_title = f"{METHOD.title} for {FLUX.name}"
    families = (FLUX.name, CHROMA.name)
    cell = FLUX.token
    published_weight = 1.0
    kind = BLOCK_IMAGE_TOKENS

    def check_fits(self, given: SamplerInputs, node_name: str) -> None:
        """Raise WrongBaseModel for a MODEL of another family, width or number of blocks, and for texts of another
        MODEL; a MODEL of Chroma has the same blocks as one of FLUX.1."""
        super().check_fits(given, node_name)
        model = given.model
        assert model is not None
        family = require_family(model, self.families)
        network = network_of(model_of(model))
        places = sum(_reads_by_block(network))
        attentions, width = len(self.net.pulid_ca), self.net.block_width
        if (places, network.hidden_size) != (attentions, width):
            counts = f"{len(network.double_blocks)} + {len(network.single_blocks)} blocks"
            raise WrongBaseModel(
                "The MODEL",
                f"a {family} of {counts} of width {network.hidden_size}, with {places} places for faces",
                f"one of width {width} with {attentions} (FLUX.1 dev has 19 + 38 blocks, as Chroma has)",
                f"Use {joined(self.families, 'or')}, or a fine-tune that has kept its blocks.",
            )
        check_conditioning(given.texts, network.params.context_in_dim, node_name)

    def notes(self, settings: Settings) -> list[str]:
        changed = [name for name, default in _OF_SDXL.items() if getattr(settings, name) != default]
        return [f"No effect with {self.method_title}: {listed(changed)}"] if changed else []

    def carried(
        self, model: ModelPatcher, acting: ActingPeople, tokens: _Tokens, settings: Settings
    ) -> list[UNetImageTokens]:
        acts_behind = _reads_by_block(network_of(model_of(model)))
        weights = acting.weights(self.weight(settings))
        source = object()  # one for both sides: by it a run knows that they are of one node
        carried: list[UNetImageTokens] = []
        for side in (tokens.faces, tokens.no_faces):
            layers = self._layers(side, weights, acts_behind, dtype_of(model_of(model)))
            carried.append(acting.image_tokens(source, side, layers, kind=BlockImageTokens))
        return carried

    def _layers(
        self, tokens: Tensor, weights: Tensor, acts_behind: Sequence[bool], dtype: torch.dtype
    ) -> tuple[Read, ...]:
        """What is read of people behind each block, on the CPU; () for a block behind which nobody is read.

        tokens: (people, T, width). weights: (people,), of the values. acts_behind: for each block of the MODEL whether
        people are read behind it. dtype: in which the MODEL computes.
        """
        # One for each attention of the file, which is one for each block behind which people are read, in their order.
        by_attention = iter(self.net.block_tokens(self.on_device(tokens)))
        layers: list[Read] = []
        for acts in acts_behind:
            layers.append(next(by_attention).weighted(weights, dtype) if acts else ())
        return tuple(layers)


def _reads_by_block(network: Any) -> list[bool]:
    """For each block of a network of FLUX.1 or Chroma whether the picture reads people behind it."""
    return reads_behind(len(network.double_blocks), len(network.single_blocks))


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
        return PuLIDForFlux(FILE.build(path, PuLIDFluxNet, own_names(state)))
    # What is left: FILE.read refuses every file that is not of the method.
    return PuLIDForSDXL(FILE.build(path, PuLIDNet, own_names(state)))


class ApplyPuLID(io.ComfyNode):
    """Lets the MODEL read face tokens: a UNet beside the text, a transformer behind some of its blocks."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        zero_tokens = io.Int.Input("zero_tokens", default=_PUBLISHED, min=_PUBLISHED, max=80)
        return io.Schema(
            node_id="LikenessApplyPuLID",
            category=IN_OTHER_METHODS,
            inputs=[
                *schema.applied_inputs(),
                PuLIDSocket.Input("pulid"),
                EvaClipSocket.Input("eva_clip"),
                FaceParserSocket.Input("face_parser"),
                CastOrPersonSocket.Input("cast"),
                io.Float.Input("weight", default=float(_PUBLISHED), min=float(_PUBLISHED), max=3.0, step=0.01),
                io.Combo.Input("projection", options=list(PROJECTIONS), default=_OF_SDXL["projection"]),
                schema.advanced(zero_tokens),
                *schema.range_inputs(),
                schema.photos_input([AS_PUBLISHED, MEAN]),
                io.Mask.Input("mask", optional=True),
            ],
            outputs=schema.applied_outputs(),
            is_experimental=True,
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        positive: Conditioning,
        negative: Conditioning,
        pulid: PuLID[Any],
        eva_clip: EvaClip,
        face_parser: FaceParser,
        cast: Cast | Person,
        mask: Tensor | None = None,
        **values: Any,
    ) -> io.NodeOutput:
        settings = Settings(**values)  # `values` are the inputs that are its fields
        when = When(METHOD.title, settings.start_percent, settings.end_percent)
        given = SamplerInputs(model, positive, negative)
        acting = begin(
            cls,
            APPLY,
            given,
            with_photos(cast),
            settings.weight,
            AtFaces(pulid.cell, mask),
            when,
            fits=pulid.check_fits,
            more=pulid.notes(settings),
        )
        if acting is None:  # switched off, or nobody takes part
            return io.NodeOutput(model, positive, negative)
        photos = _photos_joined(pulid.net, acting.people, settings.photos)
        tokens = _tokens(pulid, eva_clip, face_parser, acting.people, photos)
        carried = pulid.carried(model, acting, tokens, settings)
        return acting.applied(given, carried, [NamedRange("the faces", acting.schedule)], kind=pulid.kind)


LOADER = FileLoader(FILE, load_pulid)
NODES = [ApplyPuLID]
