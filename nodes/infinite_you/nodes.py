"""InfiniteYou: load the projection; apply InfuseNet, a ControlNet of FLUX.1 that reads faces instead of the text."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from comfy.controlnet import ControlBase, ControlNet
from comfy.ldm.flux.controlnet import ControlNetFlux
from comfy.sd import VAE
from comfy_api.latest import io, ui
from torch import Tensor

from ...bridge.apply.begin import AtFaces, When, begin
from ...bridge.apply.scope import Scope
from ...bridge.control_nets.attached_net import NetSettings
from ...bridge.control_nets.attachment import Attachment
from ...bridge.control_nets.flux_net import PersonControlNet
from ...bridge.control_nets.flux_passes import NetOfPeople
from ...bridge.control_nets.sdxl_net import NotAControlNet
from ...bridge.host import notes
from ...bridge.host.load import FileLoader, Loaded, Published
from ...bridge.host.schema import photos_input, range_inputs
from ...bridge.sampling.canvas_check import Canvas
from ...bridge.sampling.conditioning import Conditioning, SamplerInputs, check_conditioning, other_net
from ...bridge.sampling.missing_people import NamedRange
from ...core.cast import Cast, Member, Person, PlacedCast, is_a
from ...core.checks.errors import WrongBaseModel, gathered
from ...core.families import FLUX
from ...core.methods import method
from ...core.models.tensors import below
from ...core.persons import embeddings
from ...core.places import control_images, place_previews
from ...core.taking_part import with_photos
from ..categories import IN_OTHER_METHODS
from ..sockets import CastOrPersonSocket, adapter_socket
from .net import BLOCKS, GUIDANCE, InfiniteYouNet

FLUX_ADVICE = (
    "Use FLUX.1 dev (Load Diffusion Model), its text encoders (DualCLIPLoader, type flux), its VAE and InfuseNet."
)
NEEDED = f"InfuseNet is a ControlNet of FLUX.1 with {BLOCKS[0]} double and {BLOCKS[1]} single blocks"
ITS_FILES = "Load infusenet_aes_bf16.safetensors (or sim, or fp8e4m3fn) with Load ControlNet Model."


def check_fits(control_net: Any, vae: VAE, width: int, given: SamplerInputs, node_name: str) -> None:
    """Raise WrongBaseModel for texts and a VAE that are not FLUX.1's, and NotAControlNet for a net but InfuseNet.

    width: of one token that InfuseNet reads. node_name: the node's name, for the message.
    """
    check_conditioning(given.texts, width, node_name, f"{FLUX.name} (text width {width})", FLUX_ADVICE)
    network: Any = getattr(control_net, "control_model", None)  # the host's module inside of its ControlNet
    if not (isinstance(control_net, ControlNet) and isinstance(network, ControlNetFlux)):
        kind = type(network or control_net).__name__
        raise NotAControlNet(f"a ControlNet of another family ({kind})", NEEDED, ITS_FILES)
    difference = _difference_from_infuse_net(control_net, network, width)
    if difference:
        raise NotAControlNet(difference, NEEDED, ITS_FILES)
    # The layer reads tokens of 2x2 latent pixels, so it has four inputs for each channel of the latent.
    channels = network.pos_embed_input.in_features // 4
    if (vae.latent_channels, vae.latent_dim) != (channels, 2):
        vae_latents = f"latents of {vae.latent_channels} channels in {vae.latent_dim} dimensions"
        needed = f"one for {channels} channels in 2 (FLUX.1)"
        raise WrongBaseModel(f"The VAE given to {node_name}", vae_latents, needed, FLUX_ADVICE)


def _difference_from_infuse_net(control_net: ControlNet, network: Any, width: int) -> str:
    """In words, what a FLUX.1 ControlNet is instead of InfuseNet; "" for InfuseNet.

    Another pack's keyframes count as a difference, too. network: the host's module inside of `control_net`. width: of
    one token that InfuseNet reads.
    """
    if network.num_union_modes:
        return "a union ControlNet"
    if not network.latent_input:
        return "a ControlNet that reads pictures without a VAE"
    if control_net.concat_mask:
        return "a ControlNet for inpainting"
    blocks = (len(network.double_blocks), len(network.single_blocks))
    if blocks != BLOCKS:
        return f"one with {blocks[0]} double and {blocks[1]} single blocks"
    token_width = network.params.context_in_dim
    if token_width != width:
        return f"one that reads tokens of width {token_width}, not {width}"
    # ComfyUI-Advanced-ControlNet subclasses the host's ControlNet and lists its keyframes in this attribute.
    if len(getattr(control_net, "timestep_keyframes", ())) > 1:
        return f"one with another pack's timestep keyframes (its code: {type(control_net).__module__})"
    return ""


METHOD = method("infinite_you")
APPLY = "Apply InfiniteYou"


class InfiniteYou(Loaded[InfiniteYouNet]):
    """A loaded image_proj_model."""

    method_title = METHOD.title

    def tokens(self, people: Sequence[Member], photos: str) -> Tensor:
        """The tokens of people, (people, 8, width) float32 on the CPU. Raises BadCast.

        photos: how several photos of a person are joined.
        """
        tokens: list[Tensor] = []
        for member in people:
            face_embeddings = embeddings(member, METHOD, photos)[None]  # (1, photos, 512)
            tokens.append(self.net(self.on_device(face_embeddings)).cpu())  # (1, 8, width)
        return torch.cat(tokens)


InfiniteYouSocket = adapter_socket(InfiniteYou)
FILE = Published.of_method(METHOD, "InfiniteYou projection")


def load_infinite_you(path: str) -> InfiniteYou:
    """Read image_proj_model.bin or a safetensors conversion of it. Raises UnsupportedCheckpoint, BadSetup."""
    state = FILE.read(path)
    # The keys of conversions lack the prefix. `below` then finds nothing, and all of `state` is the projection's.
    projection = below("image_proj.", state) or state
    return InfiniteYou(FILE.build(path, InfiniteYouNet, projection))


@dataclass(frozen=True)
class Settings:
    """What is set on Apply InfiniteYou. keypoints: whether InfuseNet is shown those of the places."""

    strength: float
    start_percent: float
    end_percent: float
    keypoints: bool
    photos: str


class ApplyInfiniteYou(io.ComfyNode):
    """Attaches InfuseNet, which reads face tokens and a picture of face keypoints for each person of the positive."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessApplyInfiniteYou",
            category=IN_OTHER_METHODS,
            inputs=[
                io.Conditioning.Input("positive"),
                io.Conditioning.Input("negative"),
                InfiniteYouSocket.Input("infinite_you"),
                io.ControlNet.Input("control_net"),
                io.Vae.Input("vae"),
                CastOrPersonSocket.Input("cast"),
                io.Float.Input("strength", default=1.0, min=0.0, max=10.0, step=0.01),
                *range_inputs(),
                io.Boolean.Input("keypoints", default=True),
                photos_input(),
                io.Mask.Input("mask", optional=True),
            ],
            outputs=[io.Conditioning.Output("positive_out"), io.Conditioning.Output("negative_out")],
            is_experimental=True,
        )

    @classmethod
    def execute(
        cls,
        positive: Conditioning,
        negative: Conditioning,
        infinite_you: InfiniteYou,
        control_net: ControlBase,
        vae: VAE,
        cast: Cast | Person,
        mask: Tensor | None = None,
        **values: Any,
    ) -> io.NodeOutput:
        settings = Settings(**values)  # `values` are the inputs that are its fields
        taking = with_photos(cast)
        lines = _missing_keypoints(taking.people) if settings.keypoints else []  # for the note, which `begin` writes
        percents = (settings.start_percent, settings.end_percent)
        when = When(METHOD.title, *percents)
        given = SamplerInputs(None, positive, negative)
        fits = partial(check_fits, control_net, vae, infinite_you.width)
        where = AtFaces(FLUX.token, mask)
        scope = begin(cls, APPLY, given, taking, settings.strength, where, when, fits=fits, more=lines)
        if scope is None:  # switched off, or nobody takes part
            return io.NodeOutput(positive, negative)
        notes.tell(other_net(cls))
        hint = _hint(scope.cast, scope.people, settings.keypoints)
        net = PersonControlNet(control_net, _net_of_people(infinite_you, scope, settings.photos))
        apply_node = scope.apply_node([NamedRange("InfuseNet", scope.schedule)])
        of_net = NetSettings(_canvas(scope, hint))
        attachment = Attachment(net, hint, settings.strength, percents, of_net, vae, apply_node=apply_node)
        with_net = attachment.attach_to_both(given)
        return io.NodeOutput(with_net.positive, with_net.negative, ui=_preview(cls, scope, hint))


def _canvas(scope: Scope, hint: Tensor) -> Canvas:
    """The canvas of the people in a scope. hint: from _hint."""
    size = None
    # It matters only where regions or keypoints belong to it. Otherwise pictures may have any shape.
    if is_a(scope.cast, PlacedCast) and (scope.placed or hint.any()):
        size = (scope.cast.width, scope.cast.height)
    return Canvas(scope.node_of_run, size)


def _net_of_people(infinite_you: InfiniteYou, scope: Scope, photos: str) -> NetOfPeople:
    """What InfuseNet reads of the people in a scope. photos: as in InfiniteYou.tokens."""
    return NetOfPeople(
        name="InfuseNet",
        people=scope.people,
        regions=scope.regions,
        boxes=scope.boxes,
        by_row=scope.by_row,
        tokens=infinite_you.tokens(scope.people, photos),
        guidance=GUIDANCE,
        advice=FLUX_ADVICE,
    )


def _missing_keypoints(people: Sequence[Member]) -> list[str]:
    """A line for the note under the node that names the people whose places have no face keypoints; [] for nobody."""
    names_without: list[str] = []
    for member in people:
        if member.slot is not None and member.slot.keypoints is None:
            names_without.append(member.name)
    return gathered("No face keypoints in the place, so InfuseNet is shown black", names_without)


def _hint(cast: Cast, people: Sequence[Member], keypoints: bool) -> Tensor:
    """The picture of face keypoints of each person on the canvas, (people, H, W, 3).

    Who has no keypoints gets a black picture. Where nobody has any, or they are not drawn, it is one small black
    picture for all, (1, 16, 16, 3).
    people: who have a row each. keypoints: the input of the node, whether keypoints are drawn.
    """
    keypoints_of_people = [member.slot.keypoints if keypoints and member.slot else None for member in people]
    if not is_a(cast, PlacedCast) or not any(keypoints_of_people):
        return torch.zeros(1, FLUX.token, FLUX.token, 3, dtype=torch.float32)
    pictures: list[Tensor] = []
    for face in keypoints_of_people:
        faces_of_picture = [] if face is None else [face]
        pictures.append(control_images.face_keypoints(faces_of_picture, cast.width, cast.height))
    return torch.stack(pictures)


def _preview(cls: type[io.ComfyNode], scope: Scope, hint: Tensor) -> ui.PreviewImage | None:
    """The preview under the node: a picture of the regions and one of the keypoints; None where there are neither.

    hint: (people or 1, H, W, 3). Where people share a picture, their keypoints are shown in one picture, too.
    """
    pictures: list[Tensor] = []
    region_picture = place_previews.acting(scope.acting_regions, scope.people, scope.by_row)
    if region_picture is not None:
        pictures.append(region_picture)
    if hint.any():  # all black: nobody has keypoints, see _hint; else it is of the canvas's size, as the regions are
        pictures.append(hint if scope.by_row else hint.amax(0, keepdim=True))
    if not pictures:
        return None
    return ui.PreviewImage(torch.cat(pictures), cls=cls)


LOADER = FileLoader(FILE, load_infinite_you)
NODES = [ApplyInfiniteYou]
