"""Files of LoRAs that draw single people: where they are, what they add to a MODEL and a CLIP, and what they must be.

The host's own loader reads them, so whatever names of layers it knows are known here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import comfy.lora
import comfy.lora_convert
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP

from ..core.errors import (
    BadSetup,
    LikenessError,
    ModelMissing,
    UnsupportedCheckpoint,
    WrongBaseModel,
    counted,
    listed,
)
from ..core.low_rank import LoraKind
from ..core.models.tensors import State, check_all_floats, least_and_largest
from ..core.text import in_one_line
from . import folders
from .cross_attention.lora_layers import block_of, shape_of
from .load import read_state_dict
from .lora_patches import UNFIT_TENSORS, fits, kind_of, lora_of, sizes_in_words
from .shared_network import model_of
from .unet import advice_on

_UNET = "diffusion_model."
"""What the names of the MODEL's weights begin with."""
_WEIGHT = ".weight"
_LARGEST = 65504
"""The largest number in 16 bits (float16), in which models are published."""
_MAY_BE_INTEGERS = (".alpha", ".reshape_weight")
"""Endings of keys whose tensors may hold integers: a scale, which some trainers save as the user has typed it, and a
shape."""


class NotForOnePerson(BadSetup):
    """A LoRA that cannot act on one person alone.

    It changes a layer in another way than by an addition to its output, or a layer that has no place in the picture.
    """


class LoraMissing(ModelMissing):
    """A LoRA that is in none of the folders searched. The names in templates stand for files of the user's own."""

    def __init__(self, file: str, searched_folders: Sequence[str]) -> None:
        LikenessError.__init__(
            self,
            f"The LoRA was not found: {file} is not in models/loras (searched: {listed(searched_folders)}).",
            "Put a LoRA of your own there, press R in ComfyUI and choose it in File (file) of Add LoRA to Person.",
        )


@dataclass(frozen=True)
class LoraFile:
    """What the LoRA of a file adds to a MODEL and a CLIP.

    layers: to the UNet, by the names of its modules. clip_patches: to the CLIP, by the names of its weights, as the
    host's add_patches takes them.
    """

    layers: Mapping[str, LoraKind]
    clip_patches: Mapping[str, Any]


def path_of(file: str) -> str:
    """Full path of a LoRA's file. Raises ModelMissing, UnsafePath, DeadLink."""
    path = folders.find(file, "loras")
    if path:
        return path
    folders.refuse_dead_link(file, "loras")
    raise LoraMissing(file, folders.folders("loras"))


@dataclass(frozen=True)
class HostPatches:
    """A file as the host's loader reads it.

    state: the tensors, by the names that the host knows. patches: by the weight that each changes; the key is its name,
    or (name, (dimension, start, length)) for a part of it.
    """

    state: State
    patches: Mapping[Any, Any]


def read_host_patches(
    file: str, model: ModelPatcher, clip: CLIP, more_names: Mapping[str, Any] | None = None
) -> HostPatches:
    """A LoRA's file by the host's loader.

    more_names: by name in a file, the weight that is meant, as the host's maps have it, beside those that the host
    knows. Raises what path_of and reading a file raise, UnsupportedCheckpoint for damaged tensors.
    """
    path = path_of(file)
    state = comfy.lora_convert.convert_lora(read_state_dict(path, "a LoRA", "Put it into models/loras."))
    _check_numbers(state, path)
    return HostPatches(state, _host_patches(state, model, clip, path, more_names or {}))


def read_lora_file(file: str, model: ModelPatcher, clip: CLIP, by_region: bool) -> LoraFile:
    """The LoRA of a file, as far as it adds to the MODEL's UNet and to the CLIP.

    by_region: whether it acts in a part of the picture. Raises what reading a file raises, UnsupportedCheckpoint for
    damaged tensors, NotForOnePerson, and WrongBaseModel unless all of the file finds a layer of its size.
    """
    lora = read_host_patches(file, model, clip)
    unet_patches: dict[str, Any] = {}
    clip_patches: dict[str, Any] = {}
    for name, patch in lora.patches.items():
        if name.startswith(_UNET):
            unet_patches[name] = patch
        else:
            clip_patches[name] = patch
    # Before the sizes: of a kind that cannot be used the sizes say nothing.
    layers = _layers_for_one_person(file, model, unet_patches, by_region)
    _check_sizes(file, model, clip, lora.state, unet_patches, clip_patches)
    return LoraFile(layers, clip_patches)


def _host_patches(
    state: State, model: ModelPatcher, clip: CLIP, path: str, more_names: Mapping[str, Any]
) -> dict[str, Any]:
    """The patches that the host makes of a file's tensors, by name of the weight. Raises UnsupportedCheckpoint where it
    cannot."""
    names = comfy.lora.model_lora_keys_clip(clip.cond_stage_model, {})
    names = comfy.lora.model_lora_keys_unet(model_of(model), names)
    names.update(more_names)
    try:
        return comfy.lora.load_lora(state, names, log_missing=False)
    except UNFIT_TENSORS as error:
        damage = f"an incomplete or damaged LoRA ({in_one_line(error)})"
        raise UnsupportedCheckpoint(path, damage, "a LoRA", "Download it again.") from error


def _check_numbers(state: State, path: str) -> None:
    """Raise UnsupportedCheckpoint where a tensor holds what no layer can use: the host makes NaN of it, or nothing."""
    weights: dict[str, Any] = {}
    for key, tensor in state.items():
        if not key.endswith(_MAY_BE_INTEGERS):
            weights[key] = tensor
    try:
        check_all_floats(weights)
    except ValueError as error:
        raise UnsupportedCheckpoint(path, f"a LoRA whose {error}", "a LoRA", "Download it again.") from error
    for key, tensor in state.items():
        # Written as "not all below" and not as "any above": a comparison with NaN is False.
        if not all(abs(extreme) <= _LARGEST for extreme in least_and_largest(tensor)):
            damage = f"a LoRA whose {key[:100]} holds NaN, infinity or numbers too large"
            raise UnsupportedCheckpoint(path, damage, "a LoRA", "Download it again.")


def _layers_for_one_person(
    file: str, model: ModelPatcher, unet_patches: Mapping[str, Any], by_region: bool
) -> dict[str, LoraKind]:
    """The LoRAs that are added to modules of the UNet, by name of the module.

    by_region: whether they act in a part of the picture. Raises NotForOnePerson, which names every reason with its
    layers.
    """
    layers: dict[str, LoraKind] = {}
    misfits: dict[str, list[str]] = {}
    for name, patch in unet_patches.items():
        reason = _why_not_for_one_person(model, name, patch, by_region)
        if reason is not None:
            misfits.setdefault(reason, []).append(name)
            continue
        lora = lora_of(patch)
        assert lora is not None  # _why_not_for_one_person gives a reason for every patch that is no LoraKind
        layers[name.removeprefix(_UNET).removesuffix(_WEIGHT)] = lora
    refuse_misfits(file, misfits, "LoRA, LoHa, LoKr or GLoRA")
    return layers


def refuse_misfits(file: str, misfits: Mapping[str, Sequence[str]], usable_kinds: str) -> None:
    """Raise NotForOnePerson if there is any reason why layers of a file cannot be one person's.

    misfits: by the reason, the names of the layers. usable_kinds: what the error advises instead, in words.
    """
    if not misfits:
        return
    reasons: list[str] = []
    for reason, names in misfits.items():
        reasons.append(f"{counted(len(names), 'layer')} of it, first {names[0]}: {reason}")
    raise NotForOnePerson(
        f"{file} cannot be used for one person, because of {'; '.join(reasons)}.",
        f"Use Load LoRA, which acts in all of the picture, or another {usable_kinds}.",
    )


def _why_not_for_one_person(model: ModelPatcher, name: str, patch: Any, by_region: bool) -> str | None:
    """Why a patch cannot be added where one person is; None where it can."""
    kind = kind_of(patch)
    if kind is None:
        return f"a whole difference ({patch[0]})"  # the patch is a tuple that begins with its kind, such as "diff"
    module_name = name.removesuffix(_WEIGHT)
    shape = None
    if name.endswith(_WEIGHT):
        shape = shape_of(model.get_model_object(module_name))
    if shape is None:
        return "no linear layer and no convolution"
    # A linear layer's place is that of its block. The output of a convolution has pixels, wherever it stands.
    if by_region and len(shape) == 2 and block_of(module_name.removeprefix(_UNET)) is None:
        return "without a place in the picture"
    lora = lora_of(patch)
    if lora is None:
        return kind
    if not lora.is_addition:
        return f"{kind} with DoRA or another shape"
    return None


def _check_sizes(
    file: str,
    model: ModelPatcher,
    clip: CLIP,
    state: State,
    unet_patches: Mapping[str, Any],
    clip_patches: Mapping[str, Any],
) -> None:
    """Raise WrongBaseModel unless every tensor of a file belongs to a patch, and every patch fits its weight."""
    patches = [*unet_patches.values(), *clip_patches.values()]
    unread_layers = layers_not_read(state, patches)
    misfits: list[str] = []  # the sizes of each patch that does not fit, in words
    for patcher, patches_of_model in ((model, unet_patches), (clip.patcher, clip_patches)):
        for name, patch in patches_of_model.items():
            if not fits(patcher, name, patch):
                misfits.append(sizes_in_words(patcher, name, patch))
    if patches and not unread_layers and not misfits:
        return
    layers = counted(len(patches) + len(unread_layers), "layer")
    base = f"another model ({layers}, of which {len(patches) - len(misfits)} fit"
    if misfits:
        base += f"; {misfits[0]}"
    family = type(model.model.model_config).__name__
    needed = f"one that fits the MODEL ({family}) and the CLIP"
    advice = "Use a LoRA made for the MODEL's family, and the CLIP of the MODEL's checkpoint."
    raise WrongBaseModel(f"The LoRA {file}", f"{base})", needed, advice_on(model, advice))


def layers_not_read(state: State, patches: Iterable[Any]) -> set[str]:
    """The layers of a file that the host has found no weight for, by the file's names."""
    loaded_keys: set[str] = set()
    for patch in patches:
        loaded_keys.update(getattr(patch, "loaded_keys", ()))
    unread_keys = state.keys() - loaded_keys
    # "block.0.lora_up.weight", "block.0.alpha" and "block.0.hada_w1_a" are keys of the layer "block.0".
    return {key.removesuffix(_WEIGHT).rsplit(".", 1)[0] for key in unread_keys}
