"""Parts2Whole: the released networks, what they see of the parts, parts in the picture."""

from dataclasses import dataclass

import comfy.model_management
import torch
from comfy.clip_vision import ClipVisionModel
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP, VAE
from comfy_api.latest import io, ui
from torch import Tensor

from ...bridge import folders, load, notes, unet
from ...bridge.canvas import Canvas
from ...bridge.carried import put
from ...bridge.conditioning import Conditioning, check_conditioning
from ...bridge.cross_attention.injections import Injection, InjectionsRun
from ...bridge.encode import check_family, latent_of, text_of
from ...bridge.notes import stepwise
from ...bridge.presence import NamedRange, Presence, announced
from ...bridge.remarks import Pictures
from ...bridge.runs import patched
from ...bridge.schedule import ScheduleRange, schedule_range
from ...bridge.schema import advanced, applied_inputs, applied_outputs, range_inputs
from ...bridge.self_attention.recording import record_at_zero
from ...bridge.self_attention.run import SharingRun
from ...bridge.self_attention.shared_parts import SharedParts, Watch, share_with
from ...core import previews
from ...core.attention import Block
from ...core.errors import BadParts, BadSize, WrongBaseModel, counted
from ...core.parts.bank import Bank, PartTokens, PartWeights, inside, token_mask
from ...core.parts.parts import (
    Parts,
    Prepared,
    pose_hint,
    pose_picture,
    prepared,
    sheet,
    strange_labels,
    stretched,
    targets,
)
from ..categories import IN_PARTS
from ..sockets import PartsSocket, socket
from .files import Parts2Whole, choices, fingerprint, load_parts2whole, path_of
from .net import SLOTS, padded

APPLY = "Apply Parts2Whole"
_CLIP = "Connect the CLIP of an SD1.5 checkpoint (CLIP ViT-L/14)."
_VAE = "Connect an SD1.5 VAE, best vae-ft-mse-840000."


@dataclass(frozen=True, eq=False)
class Features:
    """What the networks saw of the parts, at the size of the new picture.

    bank: per layer the tokens of every part, on the CPU. embeds: one (1, width) CLIP image embedding per part.
    weights: one per part. targets: (parts, height, width) or None. size: (width, height).
    """

    networks: Parts2Whole
    labels: tuple[str, ...]
    bank: Bank
    embeds: tuple[Tensor, ...]
    weights: tuple[float, ...]
    targets: Tensor | None
    size: tuple[int, int]


@torch.no_grad()
def encode(
    networks: Parts2Whole, parts: Parts, clip: CLIP, clip_vision: ClipVisionModel, vae: VAE, size: tuple[int, int]
) -> Features:
    """Every part with a weight through CLIP, CLIP vision, VAE and once through the reference UNet, at t = 0.

    size: (width, height). Raises BadParts, BadPart, BadSize, WrongBaseModel.
    """
    width, height = size
    if width % 8 or height % 8 or min(size) < 64:
        needed = "multiples of 8, at least 64, are needed"
        raise BadSize("The size of the parts", size, needed, "Take the latent's size.")
    present = parts.present
    if not 1 <= len(present) <= SLOTS:
        found = f"{counted(len(present), 'part')} with a weight above 0"
        advice = "Chain fewer Part nodes, or show several garments in one; for none bypass the nodes of Parts2Whole."
        raise BadParts(f"{found}; Parts2Whole takes 1 to {SLOTS}, one image token each.", advice)
    ready = [prepared(part, width, height) for part in present]
    contexts = [text_of(clip, part.label, networks.reference, _CLIP)[0] for part in present]
    seen = [clip_vision.encode_image(part.on_white[None], crop=True) for part in present]
    embeds = [output["image_embeds"].float().cpu() for output in seen]
    for embed in embeds:
        wanted, advice = networks.decoupled.model.width, "Load CLIP ViT-L/14 with Load CLIP Vision."
        check_family("The clip_vision input", "width", embed.shape[-1], wanted, advice)
    latents = [
        networks.reference.model.process_latent_in(latent_of(vae, part, networks.reference, _VAE)) for part in ready
    ]
    banks = _record(networks.reference, latents, contexts, ready)
    return Features(
        networks=networks,
        labels=tuple(part.label for part in present),
        bank={block: tuple(bank[block] for bank in banks) for block in banks[0]},
        embeds=tuple(embeds),
        weights=tuple(part.weight for part in present),
        targets=targets(present, width, height),
        size=size,
    )


def _record(
    reference: ModelPatcher, latents: list[Tensor], contexts: list[Tensor], ready: list[Prepared]
) -> list[dict[Block, PartTokens]]:
    comfy.model_management.load_models_gpu([reference], memory_required=reference.memory_required(latents[0].shape))
    banks: list[dict[Block, PartTokens]] = []
    for n in stepwise(range(len(latents))):
        seen = record_at_zero(reference, latents[n], contexts[n])
        banks.append({block: inside(token_mask(ready[n].mask, len(x)), x).of(x) for block, x in seen.items()})
    return banks


# Conditioning


@torch.no_grad()
def pose_features(features: Features, pose: Tensor) -> Tensor:
    """Pose pictures (B, H, W, C) -> (B, channels, height / 8, width / 8) on the CPU.

    Raises BadSize where the pictures have another aspect than the parts.
    """
    found, (width, height) = (pose.shape[2], pose.shape[1]), features.size
    if abs(found[0] * height - found[1] * width) > 0.03 * found[1] * width:
        wanted = f"the parts are encoded for {width}x{height} px, another aspect"
        advice = "Crop or pad the pose image to that aspect; stretched it would stretch the body."
        raise BadSize("The pose image", found, wanted, advice)
    guider = features.networks.pose_guider
    return guider.model(load.on_device(guider, pose_picture(pose, width, height))).cpu()


def check_fit(model: ModelPatcher, texts: Conditioning, features: Features) -> None:
    """Raise WrongBaseModel unless every layer of the bank is found in the MODEL, of the same width, and the networks
    read texts of this width."""
    wanted = unet.text_width(features.networks.reference)
    advice = "Encode both prompts with the CLIP of an SD1.5 checkpoint."
    check_conditioning(texts, wanted, "Apply Parts2Whole", "SD1.5", advice)
    layers = unet.transformers(unet.unet_of(model))
    theirs = {(name, n, i): layer.attn1.to_q.in_features for name, n, i, layer in layers}
    ours = {block: tokens[0].kept.shape[-1] for block, tokens in features.bank.items()}
    fits = features.networks.decoupled.model.widths == [layer.attn2.to_q.out_features for *_, layer in layers]
    if fits and ours == theirs and unet.text_width(model) == wanted:
        return
    name = type(model.model.model_config).__name__
    raise WrongBaseModel(
        "The features input",
        f"a UNet with {len(ours)} attention layers and text width {wanted}",
        f"one with {len(theirs)} and text width {unet.text_width(model)} ({name})",
        unet.advice_on(
            model, "Connect the model of Load Parts2Whole. For your own SD1.5 or SDXL model use Share Parts Attention."
        ),
    )


@torch.no_grad()
def put_in(
    sides: tuple[Conditioning, Conditioning],
    features: Features,
    strength: float,
    schedule: ScheduleRange,
    pose: Tensor | None,
    watch: Watch | None = None,
    node_id: str | None = None,
) -> tuple[Conditioning, Conditioning]:
    """Positive and negative with the parts; pose: (B, channels, h, w) for both, or None.

    strength scales the parts' share of the attention and what their image tokens add; at 0 only the pose is left.
    node_id: in the graph, or None outside of one. Raises BadParts.
    """
    source = object()
    poses = None if pose is None else Pictures("pose picture", Canvas("Apply Parts2Whole", node_id=node_id))
    weights = PartWeights([weight * strength for weight in features.weights], features.targets)
    bank = features.bank if strength else None
    positive, negative = (
        share_with(
            side, SharedParts(source, schedule, tokens, weights, pose, size=features.size, watch=watch, poses=poses)
        )
        for side, tokens in zip(sides, (bank, None), strict=True)
    )
    if not strength:
        return positive, negative
    tokens = padded([embed * weight for embed, weight in zip(features.embeds, features.weights, strict=True)])
    decoupled = features.networks.decoupled
    pairs = [(k.cpu(), v.cpu()) for k, v in decoupled.model.keys_and_values(load.on_device(decoupled, tokens))]
    layers = tuple((k, v * strength) for k, v in pairs)
    silent = tuple((torch.zeros_like(k), torch.zeros_like(v)) for k, v in pairs)
    return (
        put(positive, Injection(source, schedule, tokens, layers, None)),
        put(negative, Injection(source, schedule, torch.zeros_like(tokens), silent, None)),
    )


Parts2WholeSocket = socket("LIKENESS_PARTS2WHOLE", Parts2Whole)
PartFeaturesSocket = socket("LIKENESS_PART_FEATURES", Features)


class LoadParts2Whole(io.ComfyNode):
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
        return folders.found(path_of, folder)

    @classmethod
    def fingerprint_inputs(cls, folder: str | None) -> str:
        return fingerprint(folder)

    @classmethod
    def execute(cls, folder: str) -> io.NodeOutput:
        return io.NodeOutput(*load_parts2whole(path_of(folder)))


class EncodeParts(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        side = {"min": 64, "max": 4096, "step": 8}
        return io.Schema(
            node_id="LikenessEncodeParts",
            category=IN_PARTS,
            inputs=[
                Parts2WholeSocket.Input("parts2whole"),
                PartsSocket.Input("parts"),
                io.Clip.Input("clip"),
                io.ClipVision.Input("clip_vision"),
                io.Vae.Input("vae"),
                io.Int.Input("width", default=512, **side),
                io.Int.Input("height", default=768, **side),
            ],
            outputs=[PartFeaturesSocket.Output("features"), io.Image.Output("preview")],
        )

    @classmethod
    def execute(
        cls,
        parts2whole: Parts2Whole,
        parts: Parts,
        clip: CLIP,
        clip_vision: ClipVisionModel,
        vae: VAE,
        width: int,
        height: int,
    ) -> io.NodeOutput:
        features = encode(parts2whole, parts, clip, clip_vision, vae, (width, height))
        shown = sheet(Parts(parts.present))
        lines = [*strange_labels(parts.present), *stretched(parts, width, height)]
        notes.tell(notes.node_of(cls), "\n".join(lines))
        return io.NodeOutput(features, shown, ui=ui.PreviewImage(shown, cls=cls))


class ApplyParts2Whole(io.ComfyNode):
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
                advanced(io.Int.Input("heat_map_step", default=0, min=0, max=1000)),
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
        heat_map_step: int,
        pose: Tensor | None = None,
    ) -> io.NodeOutput:
        node = notes.node_of(cls)
        notes.tell(node, "" if pose is None else pose_hint(pose))
        if strength == 0 and pose is None:
            return io.NodeOutput(model, positive, negative)
        window = schedule_range("The range of the parts", start_percent, end_percent)
        check_fit(model, [*positive, *negative], features)
        posed = None if pose is None else pose_features(features, pose)
        watch = Watch(heat_map_step, lambda shares: notes.show(node, previews.heat_maps(shares, features.labels)))
        sides = put_in((positive, negative), features, strength, window, posed, watch if heat_map_step else None, node)
        ranges = [NamedRange("the parts", window)] if strength else []
        presence = Presence(APPLY, node, "The parts", True, tuple(ranges), in_negative=bool(strength))
        return io.NodeOutput(*announced(presence, patched(model, InjectionsRun, SharingRun), *sides))


NODES = [LoadParts2Whole, EncodeParts, ApplyParts2Whole]
