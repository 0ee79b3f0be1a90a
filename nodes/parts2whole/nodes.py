"""Parts2Whole: load the released networks, encode parts with them, and put the parts into a picture."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import comfy.model_management
import torch
from comfy.clip_vision import ClipVisionModel
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP, VAE
from comfy_api.latest import io, ui
from torch import Tensor

from ...bridge.apply.begin import When, begin_acting
from ...bridge.host import folders, load, notes, unet
from ...bridge.host.encode import latent_of, text_of
from ...bridge.host.notes import stepwise
from ...bridge.host.schedule import ScheduleRange
from ...bridge.host.schema import applied_inputs, applied_outputs, range_inputs
from ...bridge.image_tokens.unet_tokens import UNET_IMAGE_TOKENS, UNetImageTokens
from ...bridge.parts.recording import record_at_zero
from ...bridge.parts.shared_parts import SharedParts, share_with
from ...bridge.parts.sharing_run import SHARED_PARTS
from ...bridge.parts.worn import parts_and_looks
from ...bridge.sampling.carried import carry_both
from ...bridge.sampling.conditioning import Conditioning, SamplerInputs, check_conditioning
from ...bridge.sampling.missing_people import NamedRange
from ...bridge.sampling.node_of_run import Canvas, NodeOfRun, Pictures
from ...core.attention.cross_attention import Block
from ...core.cast import Cast, Person
from ...core.checks.errors import BadParts, BadSize, WrongBaseModel, counted
from ...core.parts.bank import Bank, PartTokens, PartWeights, token_mask, tokens_inside
from ...core.parts.part_notes import pose_hint, sheet, strange_labels, stretched
from ...core.parts.parts import Part, Parts
from ...core.parts.resizing import pose_picture, prepare, targets
from ...core.persons.looks import LOOKS_INPUT
from ...core.taking_part import NO_PEOPLE
from ..categories import IN_PARTS
from ..sockets import CastOrPersonSocket, PartsSocket, socket
from .files import Parts2Whole, choices, files_of, load_parts2whole, path_of
from .net import SLOTS, TokenRegion, padded, token_regions

APPLY = "Apply Parts2Whole"
ENCODE = "Encode Parts"
_CLIP_ADVICE = "Connect the CLIP of an SD1.5 checkpoint (CLIP ViT-L/14)."
_VAE_ADVICE = "Connect an SD1.5 VAE, best vae-ft-mse-840000."


@dataclass(frozen=True, eq=False)
class Features:
    """The parts as the networks have encoded them, at the size of the new picture.

    bank: for each self-attention layer of the reference UNet the tokens of every part, on the CPU. weights: of each
    part. targets: where in the new picture each part may be looked at, (parts, height, width), or None for everywhere.
    tokens: the image tokens of each region, (regions, SLOTS, width), scaled by the weights. regions: (regions, height,
    width), 0..1; None where there is one, the whole picture. size: (width, height) of the new picture in pixels.
    """

    networks: Parts2Whole
    bank: Bank
    weights: tuple[float, ...]
    targets: Tensor | None
    tokens: Tensor
    regions: Tensor | None
    size: tuple[int, int]

    def check_fits(self, given: SamplerInputs, node_name: str) -> None:
        """Raise WrongBaseModel unless the MODEL has the attention layers that the parts were recorded in.

        Each self-attention layer must have the same address and width as in the bank, each cross-attention layer the
        width that DecoupledAttn has for it, and MODEL, prompts and reference UNet must have texts of the same width.
        given: with a MODEL.
        """
        model = given.model
        assert model is not None
        width = unet.text_width(self.networks.reference)
        advice = "Encode both prompts with the CLIP of an SD1.5 checkpoint."
        check_conditioning(given.texts, width, node_name, "SD1.5", advice)
        model_widths: dict[Block, int] = {}  # address of a self-attention layer -> width of the states that it reads
        for block, number, position, layer in unet.transformers(unet.unet_of(model)):
            model_widths[block, number, position] = layer.attn1.to_q.in_features
        # In a layer the states of all parts have one width, so the first part's will do. kept: (tokens, C).
        bank_widths = {address: of_parts[0].kept.shape[-1] for address, of_parts in self.bank.items()}
        same_layers = bank_widths == model_widths
        same_cross_attention = self.networks.decoupled.model.widths == unet.attention_widths(model)
        if same_layers and same_cross_attention and unet.text_width(model) == width:
            return
        name = type(model.model.model_config).__name__
        advice = "Connect the model of Load Parts2Whole. For your own SD1.5 or SDXL model use Share Parts Attention."
        raise WrongBaseModel(
            "The features input",
            f"a UNet with {len(bank_widths)} attention layers and text width {width}",
            f"one with {len(model_widths)} and text width {unet.text_width(model)} ({name})",
            unet.advice_on(model, advice),
        )


@torch.no_grad()
def encode(
    networks: Parts2Whole,
    parts: Parts,
    clip: CLIP,
    clip_vision: ClipVisionModel,
    vae: VAE,
    size: tuple[int, int],
) -> Features:
    """Encode every part with a weight: its label by CLIP, its picture by CLIP vision, and both by the reference UNet.

    size: (width, height) of the new picture in pixels. Raises BadParts, BadPart, BadSize, WrongBaseModel.
    """
    width, height = size
    if width % 8 or height % 8 or min(size) < 64:
        needed = "multiples of 8, at least 64, are needed"
        raise BadSize("The size of the parts", size, needed, "Take the latent's size.")
    present = parts.present  # the parts of weight above 0
    part_targets = targets(present, width, height)
    regions = _token_regions(parts, part_targets)
    prepared_parts = [prepare(part, width, height) for part in present]
    # One network after the other reads all parts: each has to be loaded once.
    texts = [text_of(clip, part.label, networks.reference, _CLIP_ADVICE).tokens for part in present]  # (1, T, width)
    embeds = _image_embeds(clip_vision, present, networks.decoupled.model.width)
    shown: list[_Shown] = []
    for prepared, text in zip(prepared_parts, texts, strict=True):
        latent = latent_of(vae, prepared, networks.reference, _VAE_ADVICE)  # (1, 4, height / 8, width / 8)
        shown.append(_Shown(networks.reference.model.process_latent_in(latent), text, prepared.mask))
    tokens = _tokens_of_garments(parts, embeds)  # (1, width) of each garment
    masks = [region.region for region in regions if region.region is not None]
    return Features(
        networks=networks,
        bank=_recorded(networks.reference, shown),
        weights=tuple(parts.weights),
        targets=part_targets,
        tokens=torch.cat([padded([tokens[number] for number in region.garments]) for region in regions]),
        regions=torch.stack(masks) if masks else None,
        size=size,
    )


@dataclass(frozen=True, eq=False)
class _Shown:
    """What the reference UNet is shown of a part. latent: (1, 4, h, w). text: of the label, (1, T, width). mask: of the
    part, (height, width), 0..1."""

    latent: Tensor
    text: Tensor
    mask: Tensor


def _token_regions(parts: Parts, part_targets: Tensor | None) -> list[TokenRegion]:
    """The regions of the picture in which image tokens are read, each with the garments that are read there.

    part_targets: of each part present, (parts, height, width), or None for everywhere. Raises BadParts where a region
    has no garment, or more than there are tokens.
    """
    targets_of_garments: list[Tensor | None] = [None] * len(parts.garments)
    if part_targets is not None:
        # A garment is a tuple of Parts, the pictures of it, which have one target.
        targets_of_garments = [part_targets[parts.present.index(garment[0])] for garment in parts.garments]
    regions = token_regions(targets_of_garments)
    for region in regions:
        if not 1 <= len(region.garments) <= SLOTS:
            where = "" if region.region is None else " in one place"
            count = f"{counted(len(region.garments), 'part')} with a weight above 0{where}"
            advice = "Chain fewer Part nodes, or show two garments in one."
            if not region.garments:
                advice = "Connect parts, or a cast whose people wear looks, or bypass the nodes of Parts2Whole."
            raise BadParts(f"{count}; Parts2Whole takes 1 to {SLOTS}, one image token each.", advice)
    return regions


def _tokens_of_garments(parts: Parts, embeds: Sequence[Tensor]) -> list[Tensor]:
    """The image token of each garment, (1, width): the weighted sum of the embeddings of its pictures.

    embeds: (1, width) of each part present.
    """
    weighted_embeds = [weight * embed for weight, embed in zip(parts.weights, embeds, strict=True)]
    weighted = dict(zip(parts.present, weighted_embeds, strict=True))
    return [torch.stack([weighted[part] for part in garment]).sum(dim=0) for garment in parts.garments]


def _image_embeds(clip_vision: ClipVisionModel, parts: Sequence[Part], width: int) -> list[Tensor]:
    """CLIP's image embedding of each part's picture on white: (1, width) float32 on the CPU, for each part.

    width: the width that the decoupled attention reads. Raises WrongBaseModel for embeddings of another width.
    """
    outputs = [clip_vision.encode_image(part.on_white[None], crop=True) for part in parts]
    embeds: list[Tensor] = []
    for output in outputs:
        embed = output["image_embeds"].float().cpu()
        if embed.shape[-1] != width:
            found, needed = f"embeddings of width {embed.shape[-1]}", f"width {width}"
            raise WrongBaseModel("The clip_vision input", found, needed, "Load CLIP ViT-L/14 with Load CLIP Vision.")
        embeds.append(embed)
    return embeds


def _recorded(reference: ModelPatcher, shown: Sequence[_Shown]) -> Bank:
    """What the reference UNet sees of the parts at t = 0: for each self-attention layer the tokens of every part, of
    which those inside the part's mask are kept."""
    size = shown[0].latent.shape
    comfy.model_management.load_models_gpu([reference], memory_required=reference.memory_required(size))
    bank: dict[Block, list[PartTokens]] = {}
    for part in stepwise(shown):
        for block, states in record_at_zero(reference, part.latent, part.text).items():  # (tokens, C)
            weights = token_mask(part.mask, len(states))  # (tokens,), 0..1: the mask at each token
            tokens = tokens_inside(weights[None], states).of(states[None])  # those alone whose weight is above 0
            bank.setdefault(block, []).extend(tokens)
    return {block: tuple(of_parts) for block, of_parts in bank.items()}


# Conditioning


@torch.no_grad()
def pose_features(features: Features, pose: Tensor) -> Tensor:
    """What the pose guider makes of pose pictures: (B, H, W, C) -> (B, channels, height / 8, width / 8) on the CPU.

    The UNet adds it after its first convolution. features: the parts, whose size the pictures are brought to.
    Raises BadSize where the pictures have another aspect than the parts.
    """
    width, height = features.size
    pose_height, pose_width = pose.shape[1:3]
    # pose_width / pose_height and width / height may differ by 3 %; both sides are times pose_height * height here.
    if abs(pose_width * height - pose_height * width) > 0.03 * pose_height * width:
        needed = f"the parts are encoded for {width}x{height} px, another aspect"
        advice = "Crop or pad the pose image to that aspect; stretched it would stretch the body."
        raise BadSize("The pose image", (pose_width, pose_height), needed, advice)
    guider = features.networks.pose_guider
    pictures = load.on_device(guider, pose_picture(pose, width, height))
    return guider.model(pictures).cpu()


@torch.no_grad()
def put_in(
    given: SamplerInputs,
    features: Features,
    strength: float,
    schedule: ScheduleRange,
    pose: Tensor | None,
    node_of_run: NodeOfRun,
) -> SamplerInputs:
    """The same MODEL, and positive and negative with what lets the UNet read the parts.

    strength: scales the parts' share of the attention and the values of their image tokens; at 0 only the pose is left.
    pose: (B, channels, h, w) from pose_features, added on both sides, or None for no pose. Raises BadParts.
    """
    source = object()  # the same for all that one node puts into the conditioning, see bridge.sampling.carried
    without_parts = SharedParts(
        source,
        schedule,
        bank=None,  # a side without a bank attends to itself alone: the negative, and both at strength 0
        weights=PartWeights([weight * strength for weight in features.weights], features.targets),
        pose=pose,
        size=features.size,
        poses=None if pose is None else Pictures("pose picture", len(pose), node_of_run),
        canvas=Canvas(node_of_run),
    )
    if not strength:
        return share_with(given, without_parts, without_parts)
    with_parts = share_with(given, replace(without_parts, bank=features.bank), without_parts)
    return carry_both(with_parts, *_image_tokens(features, strength, schedule, source))


def _image_tokens(
    features: Features, strength: float, schedule: ScheduleRange, source: object
) -> tuple[UNetImageTokens, UNetImageTokens]:
    """What positive and negative carry for the cross-attention: the image tokens of the parts, and as many zeros.

    strength: scales the values. source: the same for both sides.
    """
    tokens, regions = features.tokens, features.regions
    decoupled = features.networks.decoupled
    # Keys and values of the image tokens in each cross-attention layer.
    layers: list[tuple[Tensor, Tensor]] = []
    zero_layers: list[tuple[Tensor, Tensor]] = []
    for keys, values in decoupled.model.keys_and_values(load.on_device(decoupled, tokens)):  # (regions, SLOTS, C) each
        keys = keys.cpu()
        values = values.cpu()
        layers.append((keys, values * strength))
        zero_layers.append((torch.zeros_like(keys), torch.zeros_like(values)))
    return (
        UNetImageTokens(source, schedule, regions, tokens, tuple(layers)),
        UNetImageTokens(source, schedule, regions, torch.zeros_like(tokens), tuple(zero_layers)),
    )


Parts2WholeSocket = socket("LIKENESS_PARTS2WHOLE", Parts2Whole)
PartFeaturesSocket = socket("LIKENESS_PART_FEATURES", Features)


class LoadParts2Whole(io.ComfyNode):
    """Loads the networks of Parts2Whole: the denoiser as a MODEL, and the networks beside it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessLoadParts2Whole",
            category=IN_PARTS,
            inputs=[io.Combo.Input("folder", options=choices())],
            outputs=[io.Model.Output("model"), Parts2WholeSocket.Output("parts2whole")],
        )

    @classmethod
    def validate_inputs(cls, folder: str | None) -> bool:
        return folders.chosen_file_exists(path_of, folder)

    @classmethod
    def fingerprint_inputs(cls, folder: str | None) -> str:
        return folders.fingerprint(files_of, folder)

    @classmethod
    def execute(cls, folder: str) -> io.NodeOutput:
        return io.NodeOutput(*load_parts2whole(path_of(folder)))


class EncodeParts(io.ComfyNode):
    """Shows each part to the networks once, before sampling, see encode()."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        side_in_pixels = {"min": 64, "max": 4096, "step": 8}
        return io.Schema(
            node_id="LikenessEncodeParts",
            category=IN_PARTS,
            inputs=[
                Parts2WholeSocket.Input("parts2whole"),
                PartsSocket.Input("parts", optional=True),
                io.Clip.Input("clip"),
                io.ClipVision.Input("clip_vision"),
                io.Vae.Input("vae"),
                io.Int.Input("width", default=512, **side_in_pixels),
                io.Int.Input("height", default=768, **side_in_pixels),
                CastOrPersonSocket.Input("cast", optional=True),
                io.String.Input(LOOKS_INPUT, default="", optional=True),
            ],
            outputs=[PartFeaturesSocket.Output("features"), io.Image.Output("preview")],
        )

    @classmethod
    def execute(
        cls,
        parts2whole: Parts2Whole,
        clip: CLIP,
        clip_vision: ClipVisionModel,
        vae: VAE,
        width: int,
        height: int,
        parts: Parts | None = None,
        cast: Cast | Person | None = None,
        looks: str = "",
    ) -> io.NodeOutput:
        parts = parts_and_looks(parts, cast, looks, ENCODE, (width, height))
        features = encode(parts2whole, parts, clip, clip_vision, vae, (width, height))
        preview = sheet(Parts(parts.present))
        # Notes on labels that the network was not trained with, and on pictures whose shape is changed.
        lines = [*strange_labels(parts.present), *stretched(parts, width, height)]
        notes.tell("\n".join(lines))
        return io.NodeOutput(features, preview, ui=ui.PreviewImage(preview, cls=cls))


class ApplyParts2Whole(io.ComfyNode):
    """Puts the encoded parts and the pose into the conditioning, see put_in()."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessApplyParts2Whole",
            category=IN_PARTS,
            inputs=[
                *applied_inputs(),
                PartFeaturesSocket.Input("features"),
                io.Float.Input("strength", default=1.0, min=0.0, max=2.0, step=0.05),
                *range_inputs(),
                io.Image.Input("pose", optional=True),
            ],
            outputs=applied_outputs(),
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        positive: Conditioning,
        negative: Conditioning,
        features: Features,
        strength: float,
        start_percent: float,
        end_percent: float,
        pose: Tensor | None = None,
    ) -> io.NodeOutput:
        if strength == 0 and pose is None:
            return io.NodeOutput(model, positive, negative)
        given = SamplerInputs(model, positive, negative)
        when = When("The range of the parts", start_percent, end_percent)
        hints = [] if pose is None else [pose_hint(pose)]
        acting = begin_acting(cls, APPLY, given, NO_PEOPLE, None, when, fits=features.check_fits, more=hints)
        features_of_pose = None if pose is None else pose_features(features, pose)
        with_parts = put_in(given, features, strength, acting.schedule, features_of_pose, acting.node_of_run)
        # At strength 0 only the pose acts, and a run says nothing of parts.
        ranges = [NamedRange("the parts", acting.schedule)] if strength else []
        note_subject = acting.note_subject(ranges, ["the parts"], in_negative=bool(strength))
        return acting.outputs(with_parts, [UNET_IMAGE_TOKENS, SHARED_PARTS], note_subject)


NODES = [LoadParts2Whole, EncodeParts, ApplyParts2Whole]
