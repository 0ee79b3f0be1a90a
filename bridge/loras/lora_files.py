"""Files of LoRAs that draw single people: where they are, what they add to a MODEL and a CLIP, and what they must be.

The host's own loader reads them, so whatever names of layers it knows are known here.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import comfy.lora
import comfy.lora_convert
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP
from torch import Tensor

from ...core.attention.low_rank import LoraKind
from ...core.checks.errors import (
    BadSetup,
    LikenessError,
    ModelMissing,
    UnsupportedCheckpoint,
    WrongBaseModel,
    counted,
    listed,
)
from ...core.checks.text import in_one_line
from ...core.models.packs import NONE_FOUND
from ...core.models.tensors import State, check_all_floats, least_and_largest, require_unquantised
from ..host import folders
from ..host.load import read_state_dict
from ..host.shared_network import model_of, object_of
from ..host.unet import NETWORK, WEIGHT, layer_shape
from .host_patches import UNFIT_TENSORS, fitting_shape, kind_of, lora_of, low_rank_shapes, sizes_in_words
from .people_layers import LayerLora, Reorder

_LARGEST = 65504
"""The largest number in 16 bits (float16), in which models are published."""
_MAY_BE_INTEGERS = (".alpha", ".reshape_weight")
"""Endings of keys whose tensors may hold integers: a scale, which some trainers save as the user has typed it, and a
shape."""
_PEFT_NETWORK = "base_model.model."
"""PEFT's names of what it puts around a network, in front of a layer or behind "unet." and "text_encoder."."""
_PEFT_ADAPTER = re.compile(
    r"(\.(?:lora_[AB]|lora_magnitude_vector|hada_\w+|lokr_\w+))\.(?!weight$)[^.]+(?=\.weight$|$)"
)
"""A tensor of PEFT's with the name of an adapter behind it, such as "default"."""
_PEFT_DORA = re.compile(r"\.lora_magnitude_vector(\.weight)?$")
"""The end of PEFT's keys for the scale of DoRA, which the host knows by another name."""
_TEXT_ENCODER = "text_encoder."
"""What diffusers' names of layers of the first text encoder begin with."""
_LAYER_KEY = re.compile(r"(.+?)[._](lora|hada|lokr)[._]")
"""The name of a layer at the beginning of a key that names a LoRA."""


class NotForOnePerson(BadSetup):
    """A LoRA that cannot act on one person alone.

    It changes a layer in another way than by an addition to its output, or a layer that has no place in the picture.
    """


class LoraMissing(ModelMissing):
    """A LoRA that is in none of the folders searched. The names in templates stand for files of the user's own."""

    def __init__(self, file: str, searched_folders: Sequence[str]) -> None:
        problem = f"The LoRA was not found: {file} is not in models/loras (searched: {listed(searched_folders)})."
        if file == NONE_FOUND:
            problem = "No LoRA is chosen: models/loras has none."
        # Past ModelMissing, whose message leads to a download.
        LikenessError.__init__(
            self,
            problem,
            "Put a LoRA of your own there, press R in ComfyUI and choose it in File (file) of Add LoRA to Person.",
        )


@dataclass(frozen=True)
class LoraLayers:
    """Which layers of a MODEL's network can have a LoRA of a single person, and what is known of them.

    family: the name of its family. names: by name in a file, the weight that is meant, as the host's maps have it,
    where the host has no name for it or another meaning. has_place: whether it is known where in the picture or in
    which words a linear layer of this name acts. is_in_forward: whether it acts while the sampler runs, and not before,
    when the host makes what the network reads of a prompt. reads_latents: the name of the layer that the latents come
    to first, which models for inpainting and the like have with more channels. linear_alone: whether no convolution can
    have one, and no kind that needs more than two matrices. rows_share_time: whether layers without a place are given
    something that all rows of a batch have in common, so that they have no LoRA of one row either. advice: what to do
    about a file that is made for another network.
    """

    family: str
    names: Mapping[str, Any]
    has_place: Callable[[str], bool]
    is_in_forward: Callable[[str], bool]
    reads_latents: str
    linear_alone: bool
    rows_share_time: bool
    advice: str


@dataclass(frozen=True)
class FileSection:
    """What a file adds to one layer, or to some of its outputs; fields as in LayerLora. layer: name of the module."""

    layer: str
    lora: LoraKind
    shape: tuple[int, ...]
    rows: slice | None
    reorder: Reorder | None

    def of_person(self, person: int, strength: float) -> LayerLora:
        """This section as one person's. person, strength: as in LayerLora."""
        return LayerLora(person, strength, self.lora, self.shape, self.rows, self.reorder)


@dataclass(frozen=True)
class LoraFile:
    """What the LoRA of a file adds to a MODEL and a CLIP.

    sections: to the network. clip_patches: to the CLIP, by the names of its weights, as the host's add_patches takes
    them. note: what of the file is left out, for the user; "" where nothing is.
    """

    sections: tuple[FileSection, ...]
    clip_patches: Mapping[Any, Any]
    note: str


def path_of(file: str) -> str:
    """Full path of a LoRA's file. Raises ModelMissing, UnsafePath, DeadLink."""
    return folders.chosen([file], "loras", LoraMissing(file, folders.folders("loras")))


@dataclass(frozen=True)
class _Patch:
    """What the host's loader has made of a file for one weight.

    key: the host's, the name of the weight, (name, (dimension, start, length)) for a part of it, or (name, part,
    function) where the file has the outputs in another order than the weight, as diffusers has scale and shift of
    FLUX's last layer. patch: the host's own object.
    """

    key: Any
    patch: Any

    @property
    def weight(self) -> str:
        return self.key if isinstance(self.key, str) else self.key[0]

    @property
    def is_of_network(self) -> bool:
        """Whether its weight is one of the MODEL's network, and not of the CLIP."""
        return self.weight.startswith(NETWORK)

    @property
    def layer(self) -> str:
        """The name of the network's module whose weight it is."""
        return self.weight.removeprefix(NETWORK).removesuffix(WEIGHT)

    @property
    def rows(self) -> slice | None:
        """The outputs of the weight that it changes; None for all."""
        if isinstance(self.key, str) or self.key[1] is None:
            return None
        _, start, length = self.key[1]
        return slice(start, start + length)

    @property
    def reorder(self) -> Reorder | None:
        """The function that puts the outputs of the file into the order of the weight; None where they have it."""
        return self.key[2] if isinstance(self.key, tuple) and len(self.key) > 2 else None

    def shape_in(self, model: ModelPatcher) -> tuple[int, ...] | None:
        """The shape of what it changes in a MODEL or a CLIP; None where it does not fit, see fitting_shape."""
        return fitting_shape(model, self.weight, self.patch, self.rows)

    def sizes_in(self, model: ModelPatcher) -> str:
        """Its sizes and those of its weight in a MODEL or a CLIP, in words."""
        return sizes_in_words(model, self.weight, self.patch)


def read_lora_file(file: str, model: ModelPatcher, clip: CLIP, layers: LoraLayers, by_region: bool) -> LoraFile:
    """The LoRA of a file, as far as it adds to the MODEL's network and to the CLIP.

    What Load LoRA leaves out is left out, and named in the note. by_region: whether it acts in a part of the picture.
    Raises what path_of and reading a file raise, UnsupportedCheckpoint for damaged tensors, NotForOnePerson for a kind
    of change that cannot be one person's, and WrongBaseModel where the file does not fit, see _sections_that_fit.
    """
    path = path_of(file)
    state = comfy.lora_convert.convert_lora(read_state_dict(path, "a LoRA", "Put it into models/loras."))
    tensors = _FileTensors(state, _names_of(model, clip, layers))
    patches = _host_patches(tensors, path)
    _check_numbers(tensors.read_by(patches), path)
    of_network = [patch for patch in patches if patch.is_of_network]
    of_clip = [patch for patch in patches if not patch.is_of_network]
    # Kinds are checked before sizes: of a kind that cannot be used the sizes say nothing.
    _refuse_unfit_kinds(file, model, layers, of_network, by_region)
    unread_keys = tensors.unread_keys(patches)
    kept_patches, left_out_sentences = _without_other_latents(model, layers, of_network)
    sections = _sections_that_fit(file, model, clip, layers, kept_patches, of_clip, unread_keys)
    note = _note(file, unread_keys, tensors.second_names, left_out_sentences)
    return LoraFile(sections, {patch.key: patch.patch for patch in of_clip}, note)


def _names_of(model: ModelPatcher, clip: CLIP, layers: LoraLayers) -> dict[str, Any]:
    """The weight of the MODEL or the CLIP, as a Target, by its name in a file.

    The order matters: where a file has several names of one weight, the host reads the one that is last here. So the
    host's own names come last.
    """
    names_of_clip = comfy.lora.model_lora_keys_clip(clip.cond_stage_model, {})
    # The host adds the names of the MODEL's weights to those of the CLIP's.
    host_names = comfy.lora.model_lora_keys_unet(model_of(model), dict(names_of_clip))
    names = dict(layers.names)
    for name, weight in names_of_clip.items():
        # PEFT's file of a text encoder alone has the names without this beginning, so they are known that way, too.
        if name.startswith(_TEXT_ENCODER):
            names[name.removeprefix(_TEXT_ENCODER)] = weight
    for name, weight in host_names.items():
        names.setdefault(name, weight)
    # The host also has names of layers that only other models of a family have, and leaves these out as it loads.
    return {name: weight for name, weight in names.items() if _is_there(model, weight)}


def _is_there(model: ModelPatcher, target: Any) -> bool:
    """Whether a weight is one of the CLIP, or one that the MODEL has. target: see layer_names.Target."""
    weight = target if isinstance(target, str) else target[0]
    if not weight.startswith(NETWORK):
        return True
    try:
        return object_of(model, weight) is not None
    except AttributeError:
        return False


class _FileTensors:
    """The tensors of a file, by whether they belong to a layer of the MODEL or the CLIP.

    known: those that do, by keys as the host knows them. names: those of `_names_of` that the file has. second_names:
    names of layers that the file has under a later name too, from which the host reads it.
    """

    def __init__(self, state: State, names: Mapping[str, Any]) -> None:
        """state: of the file. names: the weight that is meant by each name of a layer, see `_names_of`."""
        self.known: dict[str, Tensor] = {}
        self._unknown: list[str] = []
        names_in_file: set[str] = set()
        # Names of layers with two keys in the file that are one key for the host. A dictionary has each once, in order.
        twice: dict[str, None] = {}
        for key, tensor in state.items():
            host_key = _host_key(key)
            name = _layer_name(host_key, names)
            if name is None:
                self._unknown.append(key)
            elif host_key in self.known:
                twice[name] = None  # the tensor of the first of both keys stays
            else:
                names_in_file.add(name)
                self.known[host_key] = tensor
        self.names = {name: weight for name, weight in names.items() if name in names_in_file}
        self.second_names = [*twice, *_names_before_another(self.names)]

    def read_by(self, patches: Sequence[_Patch]) -> State:
        """The tensors that the host has read for these patches, by their keys.

        Where there are patches and none of them names its keys, all known tensors count as read: patches of whole
        differences name none.
        """
        read_keys: set[str] = set()
        for patch in patches:
            read_keys.update(getattr(patch.patch, "loaded_keys", ()))
        if patches and not read_keys:
            return self.known
        return {key: tensor for key, tensor in self.known.items() if key in read_keys}

    def unread_keys(self, patches: Sequence[_Patch]) -> list[str]:
        """The keys of the tensors that the host has not read for these patches; those of no known layer come first."""
        read_tensors = self.read_by(patches)
        return [*self._unknown, *(key for key in self.known if key not in read_tensors)]


def _names_before_another(names: Mapping[str, Any]) -> list[str]:
    """The names behind which another name of the same weight comes: the host reads that one."""
    before_another: list[str] = []
    last_name: dict[Any, str] = {}  # of each weight, so far
    for name, weight in names.items():
        if weight in last_name:
            before_another.append(last_name[weight])
        last_name[weight] = name
    return before_another


def _host_key(key: str) -> str:
    """A key of a file as the host knows it: without PEFT's names of network and adapter, and with the host's name of
    the scale of DoRA."""
    key = _PEFT_ADAPTER.sub(r"\1", key.replace(_PEFT_NETWORK, ""))
    return _PEFT_DORA.sub(".dora_scale", key)


def _layer_name(key: str, names: Mapping[str, Any]) -> str | None:
    """The longest beginning of a key that is one of `names`, which is its layer; None for a tensor of no layer.

    key: of the tensor, such as "block.0.lora_up.weight", "block.0_lora.up.weight" or "block.0.alpha" of "block.0".
    """
    name = key
    while "." in name:
        name = name.rpartition(".")[0]
        for layer in (name, name.removesuffix("_lora")):
            if layer in names:
                return layer
    return None


def _host_patches(tensors: _FileTensors, path: str) -> list[_Patch]:
    """The patches that the host makes of a file's tensors. Raises UnsupportedCheckpoint where it cannot."""
    try:
        patches = comfy.lora.load_lora(tensors.known, tensors.names, log_missing=False)
    except UNFIT_TENSORS as error:
        damage = f"an incomplete or damaged LoRA ({in_one_line(error)})"
        raise UnsupportedCheckpoint(path, damage, "a LoRA", "Download it again.") from error
    return [_Patch(key, patch) for key, patch in patches.items()]


def _check_numbers(state: State, path: str) -> None:
    """Raise UnsupportedCheckpoint where a tensor holds what no layer can use, because the host raises nothing there.

    That is: quantised weights, integers for weights, NaN, infinity, numbers too large for 16 bits, or no numbers.
    """
    require_unquantised(state, path, "a LoRA", "")
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
        if not tensor.numel():
            damage = f"a LoRA of rank 0, whose {key[:100]} is empty"
            raise UnsupportedCheckpoint(path, damage, "a LoRA", "Use another file, or take the LoRA out.")


def _refuse_unfit_kinds(
    file: str, model: ModelPatcher, layers: LoraLayers, patches: Sequence[_Patch], by_region: bool
) -> None:
    """Raise NotForOnePerson where patches cannot be added for one person.

    The message has, for every reason, the number of layers and the first of them. by_region: as in `read_lora_file`.
    """
    misfits: dict[str, list[str]] = {}  # reason -> names of the weights
    for patch in patches:
        reason = _why_not_for_one_person(model, layers, patch, by_region)
        if reason is not None:
            misfits.setdefault(reason, []).append(patch.weight)
    if not misfits:
        return
    reasons: list[str] = []
    for reason, names in misfits.items():
        reasons.append(f"{counted(len(names), 'layer')} of it, first {names[0]}: {reason}")
    usable_kinds = "LoRA, LoHa or LoKr" if layers.linear_alone else "LoRA, LoHa, LoKr or GLoRA"
    raise NotForOnePerson(
        f"{file} cannot be used for one person, because of {'; '.join(reasons)}.",
        f"Use Load LoRA, which acts in all of the picture, or another {usable_kinds}.",
    )


def _why_not_for_one_person(model: ModelPatcher, layers: LoraLayers, patch: _Patch, by_region: bool) -> str | None:
    """Why a patch cannot be added for one person, in words; None where it can, or where its size does not fit.

    by_region: whether the person is in a part of the picture. What does not fit is refused later, by
    `_sections_that_fit`.
    """
    if kind_of(patch.patch) is None:
        return f"a whole difference ({patch.patch[0]})"  # the patch is a tuple with its kind first, such as "diff"
    return _why_not_in_layer(model, layers, patch, by_region) or _why_not_of_kind(model, layers, patch)


def _why_not_in_layer(model: ModelPatcher, layers: LoraLayers, patch: _Patch, by_region: bool) -> str | None:
    """Why nothing can be added for one person in the layer of a patch, in words; None where it can."""
    shape = None
    if patch.weight.endswith(WEIGHT):
        shape = layer_shape(object_of(model, patch.weight.removesuffix(WEIGHT)))
    is_linear = shape is not None and len(shape) == 2
    if shape is None or (layers.linear_alone and not is_linear):
        return "no linear layer" if layers.linear_alone else "no linear layer and no convolution"
    if not layers.is_in_forward(patch.layer):
        return f"read with the whole prompt, before {layers.family} draws"
    # What a convolution gives has pixels, wherever it stands.
    if by_region and is_linear and not layers.has_place(patch.layer):
        return f"without a place in the picture that is known for {layers.family}"
    return None


def _why_not_of_kind(model: ModelPatcher, layers: LoraLayers, patch: _Patch) -> str | None:
    """Why a LoRA of the kind of a patch cannot be one person's, in words; None where it can."""
    kind = kind_of(patch.patch)
    lora = lora_of(patch.patch)
    if lora is None:
        return kind  # a kind that is no addition of low rank
    if not lora.is_addition:
        return f"{kind} with DoRA or another shape"
    shape = patch.shape_in(model)
    if layers.linear_alone and shape is not None:
        low_rank = low_rank_shapes(lora, shape)
        if low_rank is not None and not low_rank.is_two_matrices_alone:
            return f"{kind} on {layers.family}"
    return None


def _without_other_latents(
    model: ModelPatcher, layers: LoraLayers, patches: Sequence[_Patch]
) -> tuple[list[_Patch], list[str]]:
    """The patches to keep, and a sentence with the sizes of each patch that is left out.

    Left out are patches for latents of another number of channels than the MODEL's: the others of such a file may fit
    all the same. Where none would be kept, the file is for another MODEL: then all are kept, for the error about their
    sizes.
    """
    kept_patches: list[_Patch] = []
    left_out_sentences: list[str] = []
    for patch in patches:
        if patch.layer == layers.reads_latents and patch.shape_in(model) is None:
            left_out_sentences.append(patch.sizes_in(model))
        else:
            kept_patches.append(patch)
    return kept_patches or list(patches), left_out_sentences


def _sections_that_fit(
    file: str,
    model: ModelPatcher,
    clip: CLIP,
    layers: LoraLayers,
    of_network: Sequence[_Patch],
    of_clip: Sequence[_Patch],
    unread_keys: Sequence[str],
) -> tuple[FileSection, ...]:
    """The sections that a file adds to the network: one for each of its patches, all of which must fit their weights.

    of_network: patches of a kind that can be one person's. of_clip: the patches for the CLIP, which are only checked.
    unread_keys: of the file's tensors that belong to no weight. Raises WrongBaseModel where a patch does not fit its
    weight. Also where no patch is for the network, unless the file is for the CLIP alone: it has patches for the CLIP
    and names no other layer.
    """
    sections: list[FileSection] = []
    misfits: list[str] = []  # the sizes of each patch that does not fit, in words
    for patch in of_network:
        shape = patch.shape_in(model)
        lora = lora_of(patch.patch)
        if shape is None:
            misfits.append(patch.sizes_in(model))
        elif lora is not None:  # for the type checker: other kinds are refused before
            sections.append(FileSection(patch.layer, lora, shape, patch.rows, patch.reorder))
    misfits += [patch.sizes_in(clip.patcher) for patch in of_clip if patch.shape_in(clip.patcher) is None]
    unread_layers = _layers_named_in(unread_keys)
    is_for_clip_alone = not of_network and bool(of_clip) and not unread_layers
    if not misfits and (of_network or is_for_clip_alone):
        return tuple(sections)
    is_any_layer_named = bool(misfits or unread_layers)
    unknown_names = unread_layers if is_any_layer_named else unread_keys
    raise _another_model(file, layers, misfits, unknown_names, len(of_network) + len(of_clip) - len(misfits))


def _layers_named_in(keys: Sequence[str]) -> list[str]:
    """The names of layers that these keys begin with, each once."""
    matches = [_LAYER_KEY.match(key) for key in keys]
    return sorted({match[1] for match in matches if match})


def _another_model(
    file: str, layers: LoraLayers, misfits: Sequence[str], unknown_names: Sequence[str], fitting_count: int
) -> WrongBaseModel:
    """The error about a file that does not fit.

    misfits: in words, the layers of another size. unknown_names: of layers that are not known. fitting_count: how many
    layers fit.
    """
    odd = [*misfits, *unknown_names]
    first = f"; first {odd[0]}" if odd else ""
    base = f"another model ({counted(fitting_count + len(odd), 'layer')}, of which {fitting_count} fit{first})"
    if odd and not misfits:
        base = f"another model, or has names of layers that ComfyUI does not know ({len(odd)}{first})"
    needed = f"one that fits the MODEL ({layers.family}) and the CLIP"
    return WrongBaseModel(f"The LoRA {file}", base, needed, layers.advice)


def _note(file: str, unread_keys: Sequence[str], second_names: Sequence[str], left_out_sentences: Sequence[str]) -> str:
    """What of a file is left out, for the user; "" where nothing is.

    unread_keys: of tensors that belong to no weight. second_names: as in `_FileTensors`. left_out_sentences: of
    `_without_other_latents`.
    """
    what = list(left_out_sentences)
    if second_names:
        what.append(f"{counted(len(second_names), 'layer')} that it has under two names, first {second_names[0]}")
    if unread_keys:
        tensors = counted(len(unread_keys), "tensor")
        what.append(f"{tensors} that no layer of the MODEL or the CLIP takes, first {unread_keys[0][:100]}")
    return f"Left out of {file}, as by Load LoRA: {'; '.join(what)}." if what else ""
