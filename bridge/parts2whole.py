"""Parts2Whole on the host: the released networks, what they see of the parts, and parts put into conditioning."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.model_sampling
import comfy.sd
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from safetensors import safe_open
from torch import Tensor, nn

from ..core.checkpoints import below, identify, require
from ..core.errors import BadSize, ModelMissing, PartsCount, UnsupportedCheckpoint, WrongBaseModel
from ..core.parts.bank import Bank, Block, PartTokens, Share, keep, token_mask
from ..core.parts.parts import Part, Parts, Prepared, pose_picture, prepared, targets
from ..core.parts2whole import released
from ..core.parts2whole.image_tokens import SLOTS, DecoupledAttn, padded
from ..core.parts2whole.pose_guider import PoseGuider
from . import adapter, folders, load, sharing
from .conditioning import Conditioning
from .progress import stepwise

KEY = "parts2whole"
TEXT_WIDTH = 768


@dataclass(frozen=True)
class Parts2Whole:
    """The networks beside the denoiser: the reference UNet, a DecoupledAttn and a PoseGuider."""

    reference: ModelPatcher
    decoupled: ModelPatcher
    pose_guider: ModelPatcher


# Files


def choices() -> list[str]:
    """What can be loaded: diffusers folders and single files below models/parts2whole, by their relative names."""
    return sorted({name for root in folders.folders(KEY) for name in _choices_in(root)})


def _choices_in(root: str) -> list[str]:
    found: list[str] = []
    for folder, below_it, files in folders.walk(root):
        if released.is_release(Path(folder)):
            found.append(os.path.relpath(folder, root))
            below_it.clear()  # its files belong to it
        else:
            found += [os.path.relpath(os.path.join(folder, name), root) for name in files if _is_single(name)]
    return found


def _is_single(name: str) -> bool:
    return name.endswith((".safetensors", ".sft"))


def path_of(name: str) -> str:
    """Full path of the folder or file that was chosen, "." for the model folder itself.

    Raises ModelMissing, and for a folder what is missing in it.
    """
    for root in folders.folders(KEY):
        path = root if name == "." else folders.within(root, name)
        if name and _is_single(path) and os.path.isfile(path):
            return path
        if name and os.path.isdir(path):
            released.locate(Path(path))
            return path
    raise ModelMissing("Parts2Whole", [name or "a folder"], folders.folders(KEY), released.URL, released.SIZE)


def fingerprint(name: str | None) -> str:
    """Another text when one of the files behind this choice is replaced."""
    if name is None:
        return ""
    path = path_of(name)
    files = [path] if os.path.isfile(path) else released.locate(Path(path)).values()
    return str([folders.stamp(str(file)) for file in files])


def load_parts2whole(path: str) -> tuple[ModelPatcher, Parts2Whole]:
    """The denoiser as a MODEL, with the checkpoint's own noise schedule, and the networks beside it.

    path: the released folder, or the single file made of it. Raises UnsupportedCheckpoint, ModelMissing.
    """
    states, scheduler = _read_file(path) if os.path.isfile(path) else _read_folder(path)
    # The authors lay that file over the whole UNet, whatever else it holds.
    laid_over = {key: tensor for key, tensor in states["decoupled_attn"].items() if "_dc." not in key}
    denoiser = {**states["denoiser"], **laid_over}
    reference = released.with_tail(states["reference_unet"], denoiser, path)
    model = _unet(denoiser, path)
    model.add_object_patch("model_sampling", _sampling(model, scheduler, path))
    networks = Parts2Whole(
        _unet(reference, path),
        _network(DecoupledAttn, states["decoupled_attn"], path),
        _network(PoseGuider, states["pose_guider"], path),
    )
    return model, networks


def _read_folder(path: str) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    files = released.locate(Path(path))
    read = partial(load.read_state_dict, expected=released.EXPECTED, advice=released.ADVICE)
    scheduler = json.loads(files[released.SCHEDULER].read_text("utf-8"))
    return {name: read(str(files[name])) for name in released.NETWORKS}, scheduler


def _read_file(path: str) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    state = load.read_state_dict(path, released.EXPECTED, released.ADVICE)
    require(state, "parts2whole", path, released.ADVICE)
    with safe_open(path, "pt") as file:
        scheduler = (file.metadata() or {}).get(released.SCHEDULER)
    states = {name: below(f"{name}.", state) for name in released.NETWORKS}
    if scheduler is None or not all(states.values()):
        what = "a single file without its noise schedule or one of its networks"
        raise UnsupportedCheckpoint(path, what, released.EXPECTED, released.ADVICE)
    return states, json.loads(scheduler)


def _network(kind: type[nn.Module], state: Mapping[str, Tensor], path: str) -> ModelPatcher:
    try:
        own = kind.own_state(state) if kind is DecoupledAttn else state
        return load.in_patcher(partial(kind, state), own)
    except (KeyError, ValueError, RuntimeError) as error:
        what = f"a Parts2Whole whose {kind.__name__} is damaged ({load.in_one_line(error)})"
        raise UnsupportedCheckpoint(path, what, released.EXPECTED, released.ADVICE) from error


def _unet(state: Mapping[str, Tensor], path: str) -> ModelPatcher:
    """A diffusers UNet of SD1.5's kind in a ModelPatcher. Raises UnsupportedCheckpoint for any other."""
    width = next((t.shape[-1] for key, t in state.items() if key.endswith("attn2.to_k.weight")), None)
    if width != TEXT_WIDTH or "conv_in.weight" not in state:
        known = identify(state)
        what = f"no SD1.5 UNet but {known.title if known else 'something unknown'} (text width {width})"
        raise UnsupportedCheckpoint(path, what, released.EXPECTED, released.ADVICE)
    names = comfy.utils.unet_to_diffusers(_counts(state))
    ours = {names[key]: tensor for key, tensor in state.items() if key in names}
    # The host takes tensors out of what it is given.
    model = comfy.sd.load_diffusion_model_state_dict(dict(ours)) if len(ours) == len(state) else None
    missing = None if model is None else model.model.diffusion_model.state_dict().keys() - ours.keys()
    if model is None or missing:
        unknown = sorted(missing or state.keys() - names.keys())
        what = f"no complete SD1.5 UNet ({len(unknown)} tensors missing or unknown: {', '.join(unknown[:2])}, ...)"
        raise UnsupportedCheckpoint(path, what, released.EXPECTED, released.ADVICE)
    return model


def _counts(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """What the host needs to translate names: how many blocks there are on each level, how deep their transformers."""
    levels = _count(state, "down_blocks.{}.")
    down = [_depths(state, f"down_blocks.{level}") for level in range(levels)]
    up = [_depths(state, f"up_blocks.{level}") for level in range(levels)]
    return {
        "num_res_blocks": [len(level) for level in down],
        "channel_mult": [1] * levels,  # only counted
        "transformer_depth": [depth for level in down for depth in level],
        # The host takes these from the end, beginning with the deepest level.
        "transformer_depth_output": [depth for level in up for depth in level][::-1],
        "transformer_depth_middle": _count(state, "mid_block.attentions.0.transformer_blocks.{}."),
    }


def _depths(state: Mapping[str, Tensor], block: str) -> list[int]:
    return [
        _count(state, f"{block}.attentions.{n}.transformer_blocks.{{}}.")
        for n in range(_count(state, f"{block}.resnets.{{}}."))
    ]


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    number = 0
    while any(key.startswith(pattern.format(number)) for key in state):
        number += 1
    return number


def _sampling(model: ModelPatcher, scheduler: Mapping[str, Any], path: str) -> Any:
    """The host's sampling of a discrete model with the checkpoint's own betas."""
    kinds = {"epsilon": comfy.model_sampling.EPS, "v_prediction": comfy.model_sampling.V_PREDICTION}
    prediction = scheduler.get("prediction_type", "epsilon")
    if prediction not in kinds:
        what = f"a model with prediction_type = {prediction!r}"
        raise UnsupportedCheckpoint(path, what, released.EXPECTED, released.ADVICE)

    class Sampling(comfy.model_sampling.ModelSamplingDiscrete, kinds[prediction]):
        pass

    sampling = Sampling(model.model.model_config)
    zero_snr = bool(scheduler.get("rescale_betas_zero_snr", False))
    sampling._register_schedule(given_betas=released.betas(scheduler, path), zsnr=zero_snr)
    return sampling


# Parts


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
    networks: Parts2Whole, parts: Parts, clip: Any, clip_vision: Any, vae: Any, size: tuple[int, int]
) -> Features:
    """Every part with a weight through CLIP, CLIP vision, VAE and once through the reference UNet, at t = 0.

    size: (width, height). Raises PartsCount, BadPart, BadSize, WrongBaseModel.
    """
    width, height = size
    if width % 8 or height % 8 or min(size) < 64:
        raise BadSize(
            "The size of the parts", size, "multiples of 8, at least 64, are needed", "Take the latent's size."
        )
    present = parts.present
    if not 1 <= len(present) <= SLOTS:
        raise PartsCount(len(present), SLOTS)
    ready = [prepared(part, width, height) for part in present]
    contexts = [_context(networks, clip, part) for part in present]
    embeds = [_embed(networks, clip_vision, part) for part in present]
    latents = [_latent(networks, vae, part) for part in ready]
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


def _context(networks: Parts2Whole, clip: Any, part: Part) -> Tensor:
    context = clip.encode_from_tokens(clip.tokenize(part.label))
    wanted = adapter.text_width(networks.reference)
    _check("The clip input", context.shape[-1], wanted, "Connect the CLIP of an SD1.5 checkpoint (CLIP ViT-L/14).")
    return context


def _embed(networks: Parts2Whole, clip_vision: Any, part: Part) -> Tensor:
    embed = clip_vision.encode_image(part.picture[None], crop=True)["image_embeds"].float().cpu()
    wanted = networks.decoupled.model.width
    _check("The clip_vision input", embed.shape[-1], wanted, "Load CLIP ViT-L/14 with Load CLIP Vision.")
    return embed


def _latent(networks: Parts2Whole, vae: Any, part: Prepared) -> Tensor:
    comfy.model_management.throw_exception_if_processing_interrupted()
    latent = vae.encode(part.picture[None])
    model = networks.reference.model
    wanted = model.latent_format.latent_channels
    _check("The vae input", latent.shape[1], wanted, "Connect an SD1.5 VAE, best vae-ft-mse-840000.", "latent channels")
    return model.process_latent_in(latent)


def _check(what: str, found: int, wanted: int, advice: str, unit: str = "wide") -> None:
    if found != wanted:
        raise WrongBaseModel(what, f"another family ({found} {unit})", f"SD1.5's ({wanted} {unit})", advice)


def _record(
    reference: ModelPatcher, latents: list[Tensor], contexts: list[Tensor], ready: list[Prepared]
) -> list[dict[Block, PartTokens]]:
    needed = reference.memory_required(latents[0].shape)
    comfy.model_management.load_models_gpu([reference], memory_required=needed)
    banks: list[dict[Block, PartTokens]] = []
    for n in stepwise(range(len(latents))):
        seen = sharing.record_at_zero(reference, latents[n], contexts[n])
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


def check_model(model: Any, features: Features) -> None:
    """Raise WrongBaseModel unless every layer of the bank is found in the MODEL, of the same width."""
    layers = adapter.transformers(model.get_model_object("diffusion_model"))
    theirs = {(name, n, i): layer.attn1.to_q.in_features for name, n, i, layer in layers}
    ours = {block: tokens[0].kept.shape[-1] for block, tokens in features.bank.items()}
    fits = features.networks.decoupled.model.layer_widths == [layer.attn2.to_q.out_features for *_, layer in layers]
    if fits and ours == theirs and adapter.text_width(model) == adapter.text_width(features.networks.reference):
        return
    name = type(model.model.model_config).__name__
    raise WrongBaseModel(
        "The features input",
        f"a UNet with {len(ours)} attention layers and text width {adapter.text_width(features.networks.reference)}",
        f"one with {len(theirs)} and text width {adapter.text_width(model)} ({name})",
        "Connect the model of Load Parts2Whole. For your own SD1.5 or SDXL model use Share Parts Attention.",
    )


def check_text(conditioning: Conditioning, features: Features) -> None:
    """Raise WrongBaseModel when a text is of another width than the networks read."""
    for text, _ in conditioning:
        advice = "Encode both prompts with the CLIP of an SD1.5 checkpoint."
        _check("The conditioning", text.shape[-1], adapter.text_width(features.networks.reference), advice)


@torch.no_grad()
def put_in(
    sides: tuple[Conditioning, Conditioning],
    features: Features,
    strength: float,
    sigmas: tuple[float, float],
    pose: Tensor | None,
    watch: sharing.Watch | None = None,
) -> tuple[Conditioning, Conditioning]:
    """Positive and negative with the parts; pose: (B, channels, h, w) for both, or None.

    strength scales the parts' share of the attention and what their image tokens add; at 0 only the pose is left.
    Raises PartsTwice.
    """
    source = object()
    share = Share([weight * strength for weight in features.weights], features.targets)
    size = (features.width, features.height)
    bank = features.bank if strength else None
    positive, negative = (
        sharing.share_with(side, sharing.Sharing(source, tokens, share, pose, sigmas, size=size, watch=watch))
        for side, tokens in zip(sides, (bank, None), strict=True)
    )
    if not strength:
        return positive, negative
    tokens = padded([embed * weight for embed, weight in zip(features.embeds, features.weights, strict=True)])
    decoupled = features.networks.decoupled
    pairs = [(k.cpu(), v.cpu()) for k, v in decoupled.model(load.on_device(decoupled, tokens))]
    heard = tuple((k, v * strength) for k, v in pairs)
    silent = tuple((torch.zeros_like(k), torch.zeros_like(v)) for k, v in pairs)
    return (
        adapter.inject(positive, adapter.Injection(source, tokens, heard, None, sigmas)),
        adapter.inject(negative, adapter.Injection(source, torch.zeros_like(tokens), silent, None, sigmas)),
    )


def patched(model: Any) -> Any:
    """The MODEL, taught to read parts and image tokens."""
    return sharing.patched(adapter.patched(model))
