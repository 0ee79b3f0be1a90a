"""Parts2Whole's released folder, or the single file made of it, as networks of the host."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import Any, cast

import comfy.model_sampling
import comfy.sd
import comfy.utils
import torch
from comfy.model_detection import count_blocks
from comfy.model_patcher import ModelPatcher
from safetensors import safe_open
from torch import Tensor, nn

from ...bridge import folders, load
from ...core.errors import ModelMissing, UnsupportedCheckpoint, counted
from ...core.models import manifest
from ...core.models.files import SAFETENSORS, listing, stamp
from ...core.models.formats import identify, require
from ...core.models.tensors import below, check_kinds, check_weights
from ...core.names import among, ending, same_name
from ...core.text import in_one_line
from .net import DecoupledAttn, PoseGuider

MODEL = manifest.model("parts2whole")
EXPECTED, ADVICE = manifest.release_expected(MODEL), manifest.release_advice(MODEL)
NETWORKS = manifest.networks_of(MODEL)
"""Prefixes of the keys in a single file."""
KEY = MODEL.key
_TEXT_WIDTH, _CHANNELS = 768, 4


@dataclass(frozen=True)
class Parts2Whole:
    """The networks beside the denoiser: the reference UNet, a DecoupledAttn and a PoseGuider."""

    reference: ModelPatcher
    decoupled: ModelPatcher
    pose_guider: ModelPatcher


def choices() -> list[str]:
    """What can be loaded: diffusers folders and single files below models/parts2whole, by their relative names."""
    found: set[str] = set()
    for root in folders.folders(KEY):
        names = [name for name, _ in listing(root).files]
        whole = set(filter(None, map(manifest.folder_of, names)))
        every = (*whole, *(name for name in names if ending(name) in SAFETENSORS))
        # What lies in a release belongs to it.
        found |= {name for name in every if not whole & set(map(str, PurePath(name).parents))}
    return sorted(found)


def path_of(name: str) -> str:
    """Full path of the folder or file that was chosen, "." for the model folder itself.

    The published name, which the workflows have, also stands for the only thing there under another name.
    Raises ModelMissing, and for a folder what is missing in it.
    """
    there = choices()
    name = among(name, there) or name
    if same_name(name, MODEL.name) and name not in there and len(there) == 1:
        name = there[0]
    for root in folders.folders(KEY) if name else ():  # an empty menu sends an empty name
        path = root if name == "." else folders.within(root, name)
        if ending(path) in SAFETENSORS and os.path.isfile(path):
            return path
        if os.path.isdir(path):
            manifest.locate(MODEL, Path(path))
            return path
    raise ModelMissing("Parts2Whole", [name or "a folder"], folders.folders(KEY), MODEL.page, MODEL.size_text)


def fingerprint(name: str | None) -> str:
    """Another text when one of the files behind this choice is replaced."""
    if name is None:
        return ""
    path = path_of(name)
    files = [path] if os.path.isfile(path) else manifest.locate(MODEL, Path(path)).values()
    return str([stamp(str(file)) for file in files])


def load_parts2whole(path: str) -> tuple[ModelPatcher, Parts2Whole]:
    """The denoiser as a MODEL, with the checkpoint's own noise schedule, and the networks beside it.

    path: the released folder, or the single file made of it. Raises UnsupportedCheckpoint, ModelMissing.
    """
    states, scheduler = _read_file(path) if os.path.isfile(path) else _read_folder(path)
    # The authors lay that file over the whole UNet, whatever else it holds.
    laid_over = {key: tensor for key, tensor in states["decoupled_attn"].items() if "_dc." not in key}
    denoiser = {**states["denoiser"], **laid_over}
    model = _unet(denoiser, path)
    check_layers(states["decoupled_attn"], denoiser, path)
    reference = with_tail(states["reference_unet"], denoiser, path)
    model.add_object_patch("model_sampling", _sampling(model, scheduler, path))
    networks = Parts2Whole(
        _unet(reference, path),
        _network(DecoupledAttn, states["decoupled_attn"], path),
        _network(PoseGuider, states["pose_guider"], path),
    )
    return model, networks


def _read_folder(path: str) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    files = manifest.locate(MODEL, Path(path))
    read = partial(load.read_state_dict, expected=EXPECTED, advice=ADVICE)
    config = files[manifest.SCHEDULER]
    scheduler = schedule(config.read_bytes(), str(config))
    return {name: read(str(files[name])) for name in NETWORKS}, scheduler


def _read_file(path: str) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    state = load.read_state_dict(path, EXPECTED, ADVICE)
    require(state, MODEL.format, path, ADVICE)
    with safe_open(path, "pt") as file:
        scheduler = (file.metadata() or {}).get(manifest.SCHEDULER)
    states = {name: below(f"{name}.", state) for name in NETWORKS}
    if scheduler is None or not all(states.values()):
        raise _refused(path, "a single file without its noise schedule or one of its networks")
    return states, schedule(scheduler, path)


def _refused(path: str, what: str) -> UnsupportedCheckpoint:
    return UnsupportedCheckpoint(path, what, EXPECTED, ADVICE)


def _network(kind: type[nn.Module], state: Mapping[str, Tensor], path: str) -> ModelPatcher:
    try:
        own = kind.own_state(state) if kind is DecoupledAttn else state
        check_weights(own)
        return load.in_patcher(partial(kind, state), own)
    except (LookupError, RuntimeError, TypeError, ValueError) as error:
        raise _refused(path, f"a Parts2Whole whose {kind.__name__} is damaged ({in_one_line(error)})") from error


def _unet(state: Mapping[str, Tensor], path: str) -> ModelPatcher:
    """A diffusers UNet of SD1.5's kind in a ModelPatcher. Raises UnsupportedCheckpoint for any other."""
    # Sums, because a damaged tensor may have fewer sides.
    width = next((sum(t.shape[-1:]) for key, t in state.items() if key.endswith("attn2.to_k.weight")), None)
    channels = sum(state["conv_in.weight"].shape[1:2]) if "conv_in.weight" in state else None
    if width != _TEXT_WIDTH or channels != _CHANNELS:
        known = identify(state)
        found = f"text width {width}, latents of {channels} channels"
        raise _refused(path, f"no SD1.5 UNet but {known.title if known else 'something unknown'} ({found})")
    try:
        names = comfy.utils.unet_to_diffusers(_counts(state))
    except IndexError:  # a ControlNet, for instance, has no way up
        names = dict[str, str]()
    ours = {names[key]: tensor for key, tensor in state.items() if key in names}
    try:
        check_kinds(state)
        # The host takes tensors out of what it is given.
        model = comfy.sd.load_diffusion_model_state_dict(dict(ours)) if len(ours) == len(state) else None
    except torch.cuda.OutOfMemoryError:
        raise  # the file may be good
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise _refused(path, f"a damaged SD1.5 UNet ({in_one_line(error)})") from error
    missing = None if model is None else model.model.diffusion_model.state_dict().keys() - ours.keys()
    if model is None or missing:
        unknown = sorted(missing or state.keys() - names.keys())
        found = counted(len(unknown), "tensor")
        raise _refused(path, f"no complete SD1.5 UNet ({found} missing or unknown: {', '.join(unknown[:2])}, ...)")
    return model


def _counts(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """What the host needs to translate names: how many blocks there are on each level, how deep their transformers."""
    levels = count_blocks(state, "down_blocks.{}.")
    down = [_depths(state, f"down_blocks.{level}") for level in range(levels)]
    up = [_depths(state, f"up_blocks.{level}") for level in range(levels)]
    return {
        "num_res_blocks": [len(level) for level in down],
        "channel_mult": [1] * levels,  # only counted
        "transformer_depth": [depth for level in down for depth in level],
        # The host takes these from the end, beginning with the deepest level.
        "transformer_depth_output": [depth for level in up for depth in level][::-1],
        "transformer_depth_middle": count_blocks(state, "mid_block.attentions.0.transformer_blocks.{}."),
    }


def _depths(state: Mapping[str, Tensor], block: str) -> list[int]:
    return [
        count_blocks(state, f"{block}.attentions.{n}.transformer_blocks.{{}}.")
        for n in range(count_blocks(state, f"{block}.resnets.{{}}."))
    ]


_SCHEDULE = {"beta_schedule": "linear", "prediction_type": "epsilon", "rescale_betas_zero_snr": False}
"""Of the release. Linear in beta, unlike the host's schedule of that name."""
_MOST_STEPS = 100_000


def _sampling(model: ModelPatcher, scheduler: Mapping[str, Any], path: str) -> Any:
    """The host's sampling of a discrete model with the betas of a diffusers scheduler_config.json.

    Raises UnsupportedCheckpoint.
    """
    for name, known in _SCHEDULE.items():
        if (found := scheduler.get(name, known)) != known:
            raise UnsupportedCheckpoint(path, f"a model with {name} = {found!r}", f"{name} = {known!r}", ADVICE)
    try:
        steps = int(scheduler.get("num_train_timesteps", 1000))
        start, end = float(scheduler.get("beta_start", 0.00085)), float(scheduler.get("beta_end", 0.012))
        whole = 0 < steps <= _MOST_STEPS and 0 < start < 1 and 0 < end < 1
    except (TypeError, ValueError, OverflowError):
        steps, start, end, whole = 0, 0.0, 0.0, False
    if not whole:
        raise _refused(path, "a model with numbers that make no noise schedule")

    class Sampling(comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.EPS):
        pass

    sampling = Sampling(model.model.model_config)
    sampling._register_schedule(given_betas=torch.linspace(start, end, steps, dtype=torch.float64))
    return sampling


def schedule(config: str | bytes, path: str) -> dict[str, Any]:
    """What a diffusers scheduler_config.json says. Raises UnsupportedCheckpoint, naming `path`, for anything else."""
    try:
        found: Any = json.loads(config)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UnsupportedCheckpoint(path, "damaged or no noise schedule", "a scheduler_config.json as released", ADVICE)
    return cast("dict[str, Any]", found)


def check_layers(decoupled: Mapping[str, Tensor], denoiser: Mapping[str, Tensor], path: str) -> None:
    """Raise UnsupportedCheckpoint unless the parts have keys and values of their own in every cross-attention layer of
    the denoiser, of its width and all from one width of tokens."""
    found = {key: tuple(tensor.shape) for key, tensor in decoupled.items() if "_dc." in key}
    token = next(iter(found.values()), ())[1:]
    text = "attn2.to_k.weight"
    wanted = {
        f"{key.removesuffix(text)}attn2.processor.to_{side}_dc.weight": (len(tensor), *token)
        for key, tensor in denoiser.items()
        if key.endswith(text)
        for side in "kv"
    }
    for key in sorted({*found, *wanted}):
        if found.get(key) != wanted.get(key):
            shapes = f"{found.get(key, 'nothing')} instead of {wanted.get(key, 'nothing')}"
            raise _refused(path, f"a Parts2Whole whose DecoupledAttn is damaged ({key}: {shapes})")


def with_tail(reference: Mapping[str, Tensor], denoiser: Mapping[str, Tensor], path: str) -> dict[str, Tensor]:
    """The reference UNet with zeros where the release has nothing: after the input of its last self-attention.

    Nothing reads what comes out of these layers. Raises UnsupportedCheckpoint where anything else is missing.
    """
    lost = denoiser.keys() - reference.keys()
    unexpected = sorted(key for key in lost if not key.startswith(_tail(denoiser)))
    if unexpected:
        missing = f"{counted(len(unexpected), 'tensor')} missing: {unexpected[0]}, ..."
        raise _refused(path, f"an incomplete reference UNet ({missing})")
    return {**reference, **{key: torch.zeros_like(denoiser[key]) for key in lost}}


def _tail(unet: Mapping[str, Tensor]) -> tuple[str, ...]:
    """What the keys start with that come after the last layer that is recorded."""
    blocks = [key.split(".") for key in unet if key.startswith("up_blocks.") and ".transformer_blocks." in key]
    level, number, depth = max((int(parts[1]), int(parts[3]), int(parts[5])) for parts in blocks)
    last = f"up_blocks.{level}.attentions.{number}"
    inside = tuple(f"{last}.transformer_blocks.{depth}.{name}." for name in ("attn1", "norm2", "attn2", "norm3", "ff"))
    return (*inside, f"{last}.proj_out.", "conv_norm_out.", "conv_out.")
