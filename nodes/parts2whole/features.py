"""Parts2Whole on the host: what its networks see of the parts, and parts put into conditioning."""

from __future__ import annotations

from dataclasses import dataclass

import comfy.model_management
import torch
from comfy.clip_vision import ClipVisionModel
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP, VAE
from torch import Tensor

from ...bridge import load, unet
from ...bridge.carried import put
from ...bridge.conditioning import Conditioning, check_conditioning
from ...bridge.encode import check_family, latent_of, text_of
from ...bridge.injections import Injection, InjectionsRun
from ...bridge.notes import stepwise
from ...bridge.runs import patched
from ...bridge.self_attention.recording import record_at_zero
from ...bridge.self_attention.run import SharingRun
from ...bridge.self_attention.shared_parts import SharedParts, Watch, share_with
from ...core.attention import Block
from ...core.errors import BadParts, BadSize, WrongBaseModel, counted
from ...core.parts.bank import Bank, PartTokens, PartWeights, keep, token_mask
from ...core.parts.parts import Part, Parts, Prepared, pose_picture, prepared, targets
from .files import Parts2Whole
from .net import SLOTS, padded

_CLIP = "Connect the CLIP of an SD1.5 checkpoint (CLIP ViT-L/14)."
_VAE = "Connect an SD1.5 VAE, best vae-ft-mse-840000."


@dataclass(frozen=True, eq=False)
class Features:
    """What the networks saw of the parts, at the size of the new picture.

    bank: per layer the tokens of every part, on the CPU. embeds: one (1, width) CLIP image embedding per part.
    weights: one per part. targets: (parts, height, width) or None.
    """

    networks: Parts2Whole
    labels: tuple[str, ...]
    bank: Bank
    embeds: tuple[Tensor, ...]
    weights: tuple[float, ...]
    targets: Tensor | None
    width: int
    height: int


@torch.no_grad()
def encode(
    networks: Parts2Whole, parts: Parts, clip: CLIP, clip_vision: ClipVisionModel, vae: VAE, size: tuple[int, int]
) -> Features:
    """Every part with a weight through CLIP, CLIP vision, VAE and once through the reference UNet, at t = 0.

    size: (width, height). Raises BadParts, BadPart, BadSize, WrongBaseModel.
    """
    width, height = size
    if width % 8 or height % 8 or min(size) < 64:
        raise BadSize(
            "The size of the parts", size, "multiples of 8, at least 64, are needed", "Take the latent's size."
        )
    present = parts.present
    if not 1 <= len(present) <= SLOTS:
        found = f"{counted(len(present), 'part')} with a weight above 0"
        advice = "Chain fewer Part nodes, or show several garments in one; for none bypass the nodes of Parts2Whole."
        raise BadParts(f"{found}; Parts2Whole takes 1 to {SLOTS}, one image token each.", advice)
    ready = [prepared(part, width, height) for part in present]
    contexts = [text_of(clip, part.label, networks.reference, _CLIP)[0] for part in present]
    embeds = [_embed(networks, clip_vision, part) for part in present]
    latents = [latent_of(vae, part, networks.reference, _VAE) for part in ready]
    banks = _record(networks.reference, latents, contexts, ready)
    return Features(
        networks=networks,
        labels=tuple(part.label for part in present),
        bank={block: tuple(bank[block] for bank in banks) for block in banks[0]},
        embeds=tuple(embeds),
        weights=tuple(part.weight for part in present),
        targets=targets(present, width, height),
        width=width,
        height=height,
    )


def _embed(networks: Parts2Whole, clip_vision: ClipVisionModel, part: Part) -> Tensor:
    embed = clip_vision.encode_image(part.picture[None], crop=True)["image_embeds"].float().cpu()
    wanted = networks.decoupled.model.width
    advice = "Load CLIP ViT-L/14 with Load CLIP Vision."
    check_family("The clip_vision input", "width", embed.shape[-1], wanted, advice)
    return embed


def _record(
    reference: ModelPatcher, latents: list[Tensor], contexts: list[Tensor], ready: list[Prepared]
) -> list[dict[Block, PartTokens]]:
    needed = reference.memory_required(latents[0].shape)
    comfy.model_management.load_models_gpu([reference], memory_required=needed)
    banks: list[dict[Block, PartTokens]] = []
    for n in stepwise(range(len(latents))):
        seen = record_at_zero(reference, latents[n], contexts[n])
        mask = ready[n].mask
        banks.append({block: keep(states, token_mask(mask, len(states))) for block, states in seen.items()})
    return banks


# Conditioning


@torch.no_grad()
def pose_features(features: Features, pose: Tensor) -> Tensor:
    """Pose pictures (B, H, W, C) -> (B, channels, height / 8, width / 8) on the CPU.

    Raises BadSize where the pictures have another aspect than the parts.
    """
    found, width, height = (pose.shape[2], pose.shape[1]), features.width, features.height
    if abs(found[0] * height - found[1] * width) > 0.03 * found[1] * width:
        raise BadSize(
            "The pose image", found, f"the parts are encoded for {width}x{height} px, another aspect",
            "Crop or pad the pose image to that aspect; stretched it would stretch the body.",
        )  # fmt: skip
    guider = features.networks.pose_guider
    return guider.model(load.on_device(guider, pose_picture(pose, width, height))).cpu()


def check_fit(model: ModelPatcher, texts: Conditioning, features: Features) -> None:
    """Raise WrongBaseModel unless every layer of the bank is found in the MODEL, of the same width, and the networks
    read texts of this width."""
    wanted = unet.text_width(features.networks.reference)
    check_conditioning(
        texts, wanted, "Apply Parts", "SD1.5", "Encode both prompts with the CLIP of an SD1.5 checkpoint."
    )
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
        "Connect the model of Load Parts2Whole. For your own SD1.5 or SDXL model use Share Parts Attention.",
    )


@torch.no_grad()
def put_in(
    sides: tuple[Conditioning, Conditioning],
    features: Features,
    strength: float,
    sigmas: tuple[float, float],
    pose: Tensor | None,
    watch: Watch | None = None,
) -> tuple[Conditioning, Conditioning]:
    """Positive and negative with the parts; pose: (B, channels, h, w) for both, or None.

    strength scales the parts' share of the attention and what their image tokens add; at 0 only the pose is left.
    Raises BadParts.
    """
    source = object()
    weights = PartWeights([weight * strength for weight in features.weights], features.targets)
    size = (features.width, features.height)
    bank = features.bank if strength else None
    positive, negative = (
        share_with(side, SharedParts(source, sigmas, tokens, weights, pose, size=size, watch=watch))
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
        put(positive, Injection(source, sigmas, tokens, layers, None)),
        put(negative, Injection(source, sigmas, torch.zeros_like(tokens), silent, None)),
    )


def reading(model: ModelPatcher) -> ModelPatcher:
    """The MODEL, taught to read parts and image tokens."""
    return patched(model, InjectionsRun, SharingRun)
