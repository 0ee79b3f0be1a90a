"""Parts2Whole's released folder, or the single file made of it, as networks of the host."""

import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
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
from torch import Tensor, nn

from ...bridge.host import folders, load
from ...core.checks.errors import ModelMissing, UnsupportedCheckpoint, counted
from ...core.checks.memory import is_out_of_memory
from ...core.checks.names import among, ending, same_name
from ...core.checks.text import in_one_line, plain
from ...core.models import manifest
from ...core.models.files import SAFETENSORS, listing
from ...core.models.formats import identify, require
from ...core.models.tensors import below, check_all_floats, check_weights, opened
from .net import DecoupledAttn, PoseGuider

MODEL = manifest.model("parts2whole")
EXPECTED = manifest.release_expected(MODEL)
ADVICE = manifest.release_advice(MODEL)
NETWORKS = manifest.networks_of(MODEL)
"""The names of the networks of a release, such as "denoiser". In a single file they are the prefixes of the keys."""
KEY = MODEL.key
"""The key of the model folder, models/parts2whole."""
_TEXT_WIDTH = 768
"""The width of a token of SD1.5's texts."""
_CHANNELS = 4
"""The channels of SD1.5's latents."""


@dataclass(frozen=True)
class Parts2Whole:
    """The networks beside the denoiser: the reference UNet, a DecoupledAttn and a PoseGuider."""

    reference: ModelPatcher
    decoupled: ModelPatcher
    pose_guider: ModelPatcher


def choices() -> list[str]:
    """What can be loaded: diffusers folders and single files below models/parts2whole, by their relative names.

    A release that lies in the model folder itself has the name ".".
    """
    names: set[str] = set()
    for root in folders.folders(KEY):
        files = [name for name, _ in listing(root).files]
        # The folders in which files of a release lie.
        releases = {folder for folder in map(_release_of, files) if folder is not None}
        single_files = [file for file in files if ending(file) in SAFETENSORS]
        for name in [*releases, *single_files]:
            # What lies in a release belongs to it, and is no choice of its own.
            if not _lies_in(name, releases):
                names.add(name)
    return sorted(names)


def _release_of(name: str) -> str | None:
    """The folder of the release that a file belongs to: the one above its "unet" or "reference_unet".

    None where the file lies in no such folder. "." where the release is the model folder itself. The folder may lack
    other files. name: of the file, relative to the model folder.
    """
    parents = PurePath(name).parts[:-1]
    for number, folder in enumerate(parents):
        if folder.lower() in ("unet", "reference_unet"):
            return str(PurePath(*parents[:number]))
    return None


def _lies_in(name: str, releases: Collection[str]) -> bool:
    """Whether a file or folder, given by its relative name, lies below one of these releases' folders."""
    return any(str(parent) in releases for parent in PurePath(name).parents)


def path_of(name: str) -> str:
    """Full path of the folder or file that was chosen. name: one of choices(), or a name as a workflow has it.

    The templates have the published name. Where no choice has it, and there is only one choice, that one is taken.
    Raises ModelMissing for a name that is not there, and for a folder in which files are missing, which it names;
    UnsafePath, DeadLink.
    """
    available = choices()
    name = among(name, available) or name
    if same_name(name, MODEL.name) and name not in available and len(available) == 1:
        name = available[0]
    # An empty menu sends an empty name, which would be every root itself.
    for root in folders.folders(KEY) if name else []:
        path = root if name == "." else folders.path_within(root, name)
        if os.path.isdir(path):
            manifest.locate(MODEL, Path(path))  # it raises ModelMissing where files are missing in the folder
            return path
    missing = ModelMissing(
        "Parts2Whole", [name or "a folder"], folders.folders(KEY), MODEL.page, MODEL.size_text, "Folder (folder)"
    )
    return folders.chosen([name], KEY, missing)


def files_of(name: str) -> list[str]:
    """Full paths of the files of a choice: the file itself, or those of the folder. Raises as path_of."""
    path = path_of(name)
    return [path] if os.path.isfile(path) else [str(file) for file in manifest.locate(MODEL, Path(path)).values()]


def load_parts2whole(path: str) -> tuple[ModelPatcher, Parts2Whole]:
    """The denoiser as a MODEL, with the checkpoint's own noise schedule, and then the networks beside it.

    path: the released folder, or the single file made of it. Raises UnsupportedCheckpoint, ModelMissing.
    """
    release = _read_single_file(path) if os.path.isfile(path) else _read_folder(path)
    decoupled = release.states["decoupled_attn"]
    # Beside the layers of the parts (_dc) the file of DecoupledAttn holds weights of the denoiser. The authors lay the
    # file over the whole UNet, so these replace the denoiser's.
    replaced_weights = {key: tensor for key, tensor in decoupled.items() if "_dc." not in key}
    denoiser = {**release.states["denoiser"], **replaced_weights}
    model = _unet(denoiser, path)  # it checks the denoiser, whose layers the others are compared with below
    check_layers(decoupled, denoiser, path)
    reference = with_tail(release.states["reference_unet"], denoiser, path)
    model.add_object_patch("model_sampling", _sampling(model, release.scheduler, path))
    networks = Parts2Whole(
        _unet(reference, path),
        _network(DecoupledAttn, decoupled, path),
        _network(PoseGuider, release.states["pose_guider"], path),
    )
    return model, networks


@dataclass(frozen=True, eq=False)
class _Release:
    """What the files of a release hold.

    states: name of a network, one of NETWORKS -> its tensors. scheduler: the values of scheduler_config.json.
    """

    states: dict[str, dict[str, Tensor]]
    scheduler: dict[str, Any]


def _read_folder(path: str) -> _Release:
    """Read a release as its authors have published it, a folder with a file for each network.

    Raises ModelMissing and UnsupportedCheckpoint.
    """
    files = manifest.locate(MODEL, Path(path))
    config = files[manifest.SCHEDULER]
    scheduler = schedule(config.read_bytes(), str(config))
    states = {name: load.read_state_dict(str(files[name]), EXPECTED, ADVICE) for name in NETWORKS}
    return _Release(states, scheduler)


def _read_single_file(path: str) -> _Release:
    """Read a single file, which holds all networks, and the noise schedule as JSON in its metadata.

    Raises UnsupportedCheckpoint.
    """
    state = load.read_state_dict(path, EXPECTED, ADVICE)
    require(state, MODEL.format, path, ADVICE)
    with opened(Path(path)) as file:
        scheduler = (file.metadata() or {}).get(manifest.SCHEDULER)
    states = {name: below(f"{name}.", state) for name in NETWORKS}
    if scheduler is None or not all(states.values()):
        raise _refused(path, "a single file without its noise schedule or one of its networks")
    return _Release(states, schedule(scheduler, path))


def _refused(path: str, contents: str) -> UnsupportedCheckpoint:
    return UnsupportedCheckpoint(path, contents, EXPECTED, ADVICE)


def _network(network_class: type[nn.Module], state: Mapping[str, Tensor], path: str) -> ModelPatcher:
    """A DecoupledAttn or a PoseGuider in a ModelPatcher, with its weights.

    state: all tensors of its file. Raises UnsupportedCheckpoint for a damaged file.
    """
    try:
        weights = state
        if network_class is DecoupledAttn:
            # Its file holds weights of the denoiser, too.
            weights = DecoupledAttn.own_state(state)
        check_weights(weights)
        return load.in_patcher(partial(network_class, state), weights)
    except (LookupError, RuntimeError, TypeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        why = f"a Parts2Whole whose {network_class.__name__} is damaged ({in_one_line(error)})"
        raise _refused(path, why) from error


def _unet(state: Mapping[str, Tensor], path: str) -> ModelPatcher:
    """A UNet of SD1.5's layout in a ModelPatcher. state: its tensors under diffusers' names.

    Raises UnsupportedCheckpoint for any other network, and for one with missing or unknown tensors.
    """
    _check_family(state, path)
    try:
        check_all_floats(state)
        host_state = _under_host_names(state, path)  # UnsupportedCheckpoint is none of the errors that are caught below
        # The host takes tensors out of the dict that it is given: a copy.
        model = comfy.sd.load_diffusion_model_state_dict({**host_state})
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        raise _refused(path, f"a damaged SD1.5 UNet ({in_one_line(error)})") from error
    if model is None:  # the host recognises no model by these layers
        raise _incomplete_unet(path, [])
    missing = model.model.diffusion_model.state_dict().keys() - host_state.keys()
    if missing:
        raise _incomplete_unet(path, list(missing))
    return model


def _under_host_names(state: Mapping[str, Tensor], path: str) -> dict[str, Tensor]:
    """The tensors of a UNet, which come under diffusers' names. Raises UnsupportedCheckpoint for unknown ones."""
    try:
        host_names = comfy.utils.unet_to_diffusers(_counts(state))  # diffusers' name of a tensor -> the host's
    except IndexError:  # a ControlNet, for instance, has no up blocks: all its tensors are unknown
        host_names = dict[str, str]()
    unknown = [key for key in state if key not in host_names]
    if unknown:
        raise _incomplete_unet(path, unknown)
    return {host_names[key]: tensor for key, tensor in state.items()}


def _check_family(state: Mapping[str, Tensor], path: str) -> None:
    """Raise UnsupportedCheckpoint unless a UNet reads texts of SD1.5's width, and latents of SD1.5's channels.

    state: its tensors under diffusers' names.
    """
    to_key = next((tensor for key, tensor in state.items() if key.endswith("attn2.to_k.weight")), None)
    width = _size_of(to_key, -1)
    channels = _size_of(state.get("conv_in.weight"), 1)
    if width != _TEXT_WIDTH or channels != _CHANNELS:
        file_format = identify(state)
        kind = "something unknown" if file_format is None else file_format.title
        raise _refused(path, f"no SD1.5 UNet but {kind} (text width {width}, latents of {channels} channels)")


def _size_of(tensor: Tensor | None, dimension: int) -> int | None:
    """The size of a dimension; None without a tensor, and 0 where a damaged tensor lacks the dimension."""
    if tensor is None:
        return None
    return tensor.shape[dimension] if -tensor.dim() <= dimension < tensor.dim() else 0


def _incomplete_unet(path: str, keys: Sequence[str]) -> UnsupportedCheckpoint:
    """The error for a UNet of SD1.5's kind whose tensors are not complete.

    keys: names of tensors that are missing, or that no such UNet has.
    """
    count = counted(len(keys), "tensor")
    first = ", ".join(sorted(keys)[:2])
    return _refused(path, f"no complete SD1.5 UNet ({count} missing or unknown: {first}, ...)")


def _counts(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The settings of a UNet from which the host makes its own names of the tensors.

    They say how many blocks there are on each level, and how many transformers follow each block. state: the tensors
    under diffusers' names.
    """
    levels = count_blocks(state, "down_blocks.{}.")
    blocks_of_levels: list[int] = []
    depths_down: list[int] = []
    depths_up: list[int] = []
    for level in range(levels):
        depths = _depths(state, f"down_blocks.{level}")
        blocks_of_levels.append(len(depths))
        depths_down += depths
        depths_up += _depths(state, f"up_blocks.{level}")
    return {
        "num_res_blocks": blocks_of_levels,
        "channel_mult": [1] * levels,  # the host only asks how many there are
        "transformer_depth": depths_down,
        # The host takes these from the end, beginning with the deepest level.
        "transformer_depth_output": depths_up[::-1],
        "transformer_depth_middle": count_blocks(state, "mid_block.attentions.0.transformer_blocks.{}."),
    }


def _depths(state: Mapping[str, Tensor], block_name: str) -> list[int]:
    """For each convolution block of a level, how many transformers follow it. block_name: "down_blocks.0"."""
    depths: list[int] = []
    for number in range(count_blocks(state, f"{block_name}.resnets.{{}}.")):
        depths.append(count_blocks(state, f"{block_name}.attentions.{number}.transformer_blocks.{{}}."))
    return depths


_STEPS = 1000
_SCHEDULE = {
    "beta_schedule": "linear",
    "prediction_type": "epsilon",
    "rescale_betas_zero_snr": False,
    "num_train_timesteps": _STEPS,
}
"""The kind of noise schedule of the release; no other is read. It is linear in beta. The host's schedule "linear" is
linear in the square root of beta, so the betas are made here."""
_BETAS = {"beta_start": 0.00085, "beta_end": 0.012}
"""The first and the last beta of the release."""


def _sampling(model: ModelPatcher, scheduler: Mapping[str, Any], path: str) -> Any:
    """The host's object for the noise schedule of a MODEL, with the betas of a diffusers scheduler_config.json.

    scheduler: the values of that file. Raises UnsupportedCheckpoint for another kind of schedule than the release's,
    and for what is no beta.
    """
    for name, released in _SCHEDULE.items():
        value = scheduler.get(name, released)
        if value != released:
            raise _other_schedule(path, name, value, f"{name} = {released!r}")
    betas: list[float] = []
    for name, released in _BETAS.items():
        beta = scheduler.get(name, released)
        if not isinstance(beta, float) or not 0 < beta < 1:
            raise _other_schedule(path, name, beta, f"a {name} between 0 and 1")
        betas.append(beta)
    first, last = betas

    class Sampling(comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.EPS):
        """A model with discrete training steps that predicts noise, put together as the host does for SD1.5."""

    sampling = Sampling(model.model.model_config)
    sampling._register_schedule(given_betas=torch.linspace(first, last, _STEPS, dtype=torch.float64))
    return sampling


def _other_schedule(path: str, name: str, value: object, expected: str) -> UnsupportedCheckpoint:
    return UnsupportedCheckpoint(path, f"a model with {name} = {plain(repr(value), 40)}", expected, ADVICE)


def schedule(config: str | bytes, path: str) -> dict[str, Any]:
    """The values of a diffusers scheduler_config.json.

    config: the text of the file. path: where it comes from, for the message. Raises UnsupportedCheckpoint for a text
    that is no JSON object.
    """
    no_schedule = UnsupportedCheckpoint(
        path, "damaged or no noise schedule", "a scheduler_config.json as released", ADVICE
    )
    try:
        settings: Any = json.loads(config)
    except (ValueError, RecursionError):
        raise no_schedule from None
    if not isinstance(settings, dict):
        raise no_schedule
    return cast("dict[str, Any]", settings)


def check_layers(decoupled: Mapping[str, Tensor], denoiser: Mapping[str, Tensor], path: str) -> None:
    """Raise UnsupportedCheckpoint unless the projections of DecoupledAttn fit the denoiser.

    There must be a key and a value projection for every cross-attention layer of the denoiser, and no others. Each must
    have the width of its layer, and all must read tokens of one width. decoupled, denoiser: the tensors of both files,
    under diffusers' names.
    """
    # (width of the layer, width of a token) of each projection.
    shapes = {key: tuple(tensor.shape) for key, tensor in decoupled.items() if "_dc." in key}
    # The width of tokens that the first projection reads is expected of all. Without projections it does not matter.
    token_width = next(iter(shapes.values()), ())[1:]  # a tuple of one number
    expected: dict[str, tuple[int, ...]] = {}
    key_ending = "attn2.to_k.weight"  # a cross-attention layer has one such key
    for key, tensor in denoiser.items():
        if key.endswith(key_ending):
            layer = key.removesuffix(key_ending)
            for projection in ("to_k_dc", "to_v_dc"):
                # len(tensor): the width of the layer, which its own to_k projects a text to.
                expected[f"{layer}attn2.processor.{projection}.weight"] = (len(tensor), *token_width)
    for key in sorted({*shapes, *expected}):
        shape = shapes.get(key)
        expected_shape = expected.get(key)
        if shape != expected_shape:
            difference = f"{shape or 'nothing'} instead of {expected_shape or 'nothing'}"
            raise _refused(path, f"a Parts2Whole whose DecoupledAttn is damaged ({key}: {difference})")


def with_tail(reference: Mapping[str, Tensor], denoiser: Mapping[str, Tensor], path: str) -> dict[str, Tensor]:
    """The reference UNet's tensors, completed with zeros for the layers that the release has left out.

    These are the layers after the input of the last self-attention. That input is the last thing that is recorded, and
    nothing reads what the later layers give. Raises UnsupportedCheckpoint where any other tensor is missing.
    denoiser: the tensors of the denoiser, which has the same layers.
    """
    missing = denoiser.keys() - reference.keys()
    tail = _tail(denoiser)
    unexpected = sorted(key for key in missing if not key.startswith(tail))
    if unexpected:
        tensors = f"{counted(len(unexpected), 'tensor')} missing: {unexpected[0]}, ..."
        raise _refused(path, f"an incomplete reference UNet ({tensors})")
    completed = dict(reference)
    for key in missing:
        completed[key] = torch.zeros_like(denoiser[key])
    return completed


_UP_TRANSFORMER = re.compile(r"up_blocks\.(\d+)\.attentions\.(\d+)\.transformer_blocks\.(\d+)\.")


def _tail(unet: Mapping[str, Tensor]) -> tuple[str, ...]:
    """The prefixes of the keys of all layers that come after the input of the last self-attention.

    unet: the tensors of a whole UNet, under diffusers' keys.
    """
    # The last transformer that runs is that of the highest numbers: of the level, of the attention in it, of its depth.
    level, number, depth = max(tuple(map(int, match.groups())) for match in map(_UP_TRANSFORMER.match, unet) if match)
    attention = f"up_blocks.{level}.attentions.{number}"
    transformer = f"{attention}.transformer_blocks.{depth}"
    return (
        # In the last transformer everything after norm1: the output of norm1 is the input of the self-attention.
        f"{transformer}.attn1.",
        f"{transformer}.norm2.",
        f"{transformer}.attn2.",
        f"{transformer}.norm3.",
        f"{transformer}.ff.",
        f"{attention}.proj_out.",
        "conv_norm_out.",
        "conv_out.",
    )
