"""LoRAs by the host's own loader: a part of another file, on a clone of the MODEL; and files for one person each."""

from collections.abc import Mapping, Sequence
from typing import Any

import comfy.lora
import comfy.lora_convert
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP
from torch import Tensor

from ..core.errors import BadSetup, ModelMissing, UnsupportedCheckpoint, WrongBaseModel, counted
from ..core.low_rank import UNFIT, low_rank
from ..core.models.tensors import State, below, check_kinds, ends
from ..core.text import in_one_line
from . import folders, notes
from .load import read_state_dict
from .regional_lora import block_of, shape_of
from .unet import advice_on, modules_of_unet, transformers

_NETWORK = "diffusion_model."
_LARGEST = 65504
"""Of the numbers in 16 bits."""
_ADVICE = "Use a LoRA made for the MODEL's family, and the CLIP of the MODEL's checkpoint."
_LAYERS = {"to_q": "to_q", "to_k": "to_k", "to_v": "to_v", "to_out": "to_out.0"}


def of_adapter(state: State) -> State:
    """What of an adapter's file `with_lora` puts on a MODEL: nothing where it has no LoRA."""
    return {key: tensor for key, tensor in below("ip_adapter.", state).items() if "_lora." in key}


def with_lora(
    model: ModelPatcher,
    state: State,
    strength: float,
    node_id: str | None = None,
    weights: Mapping[str, str] | None = None,
) -> ModelPatcher:
    """A clone of the MODEL with a LoRA "<n>.to_q_lora.{down,up}.weight" and so on for to_k, to_v and to_out.

    n: of the attention as such files count: self-attention 0, cross-attention 1 of the first transformer block, in
    diffusers' order. Unlike everything else of ours it acts in all of the picture and on both sides of CFG, as trained.
    weights: the names of layers in other files -> the host's. A MODEL that has it already, from a file of its own or
    from another node, is returned as it is, and node_id told. Raises WrongBaseModel.
    """
    if not state or not strength:
        return model
    loaded = _patches(model, state, weights)
    key, ours = next(iter(loaded.items()))
    if found := sum(patch[0] for patch in model.patches.get(key, ()) if _same(patch[1], ours)):
        notes.tell(node_id, f"The MODEL has the LoRA of this file already, at {found:g}: not added a second time")
        return model
    clone = model.clone()
    clone.add_patches(loaded, strength)
    return clone


def _patches(model: ModelPatcher, state: State, weights: Mapping[str, str] | None) -> dict[str, Any]:
    """By the names of the MODEL's weights. Raises WrongBaseModel unless each finds a layer of its size: the host leaves
    out all others."""
    found = comfy.lora.load_lora(dict(state), weights or _weights(model), False)
    layers = sum(key.endswith("up.weight") for key in state)
    fitting = sum(_of_size(model, *one) for one in found.items())
    if not found or fitting != layers:
        made, ours = f"another UNet ({layers} layers, of which {fitting} fit)", type(model.model.model_config).__name__
        advice = "Use a MODEL with the own layout of the file's family, or set lora_weight to 0."
        raise WrongBaseModel("The LoRA in this file", made, f"one for the MODEL's ({ours})", advice_on(model, advice))
    return found


def _same(patch: Any, ours: Any) -> bool:
    theirs = getattr(patch, "weights", None) or (None, None)
    return all(_equal(one, other) for one, other in zip(theirs[:2], ours.weights[:2], strict=True))


def _equal(one: Any, other: Tensor) -> bool:
    if not isinstance(one, Tensor) or one.shape != other.shape:
        return False
    # Others may have saved it in other bits.
    return torch.allclose(one.float().cpu(), other.float().cpu(), rtol=1e-2, atol=1e-6)


def _weights(model: ModelPatcher) -> dict[str, str]:
    """0.to_q and so on -> the name of the weight in the host, for every projection of every attention."""
    unet = model.get_model_object("diffusion_model")
    names = {module: name for name, module in modules_of_unet(unet).items()}
    blocks = [names[block] for *_, block in transformers(unet)]
    attentions = [f"diffusion_model.{block}.{attention}" for block in blocks for attention in ("attn1", "attn2")]
    return {
        f"{n}.{layer}": f"{attention}.{name}.weight"
        for n, attention in enumerate(attentions)
        for layer, name in _LAYERS.items()
    }


def path_of(file: str) -> str:
    """Full path of a LoRA's file. Raises ModelMissing, UnsafePath, DeadLink."""
    if path := folders.find(file, "loras"):
        return path
    folders.refuse_dead_link(file, "loras")
    raise ModelMissing("The LoRA", [file], folders.folders("loras"), "its page", "under this name")


def of_file(file: str, model: ModelPatcher, clip: CLIP, by_region: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a file adds to the modules of the MODEL's UNet, by their names, and to weights of the CLIP.

    by_region: whether it acts in a part of the picture. Raises what reading a file does, WrongBaseModel unless all of
    it finds a layer of its size, and BadSetup.
    """
    path = path_of(file)
    state = comfy.lora_convert.convert_lora(read_state_dict(path, "a LoRA", "Put it into models/loras."))
    keys = comfy.lora.model_lora_keys_unet(model.model, comfy.lora.model_lora_keys_clip(clip.cond_stage_model, {}))
    if why := _no_weights(state):
        raise UnsupportedCheckpoint(path, f"a LoRA whose {why}", "a LoRA", "Download it again.")
    try:
        found = comfy.lora.load_lora(state, keys, False)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        what = f"an incomplete or damaged LoRA ({in_one_line(error)})"
        raise UnsupportedCheckpoint(path, what, "a LoRA", "Download it again.") from error
    ours = {name: patch for name, patch in found.items() if name.startswith(_NETWORK)}
    bad = {name: why for name, patch in ours.items() if (why := _unfit(model, name, patch, by_region))}
    if bad:
        first = f"{counted(len(bad), 'layer')} of it, first {next(iter(bad))}: {next(iter(bad.values()))}"
        advice = "Use Load LoRA, which acts in all of the picture, or another LoRA, LoHa, LoKr or GLoRA."
        raise BadSetup(f"{file} cannot be used for one person, because of {first}.", advice)
    read = {key for patch in found.values() for key in getattr(patch, "loaded_keys", ())}
    strange = {key.removesuffix(".weight").rsplit(".", 1)[0] for key in state.keys() - read}
    texts = {name: patch for name, patch in found.items() if name not in ours}
    both = [(model, *one) for one in ours.items()] + [(clip.patcher, *one) for one in texts.items()]
    misfits = [one for one in both if not _of_size(*one)]
    if strange or misfits or not found:
        made, here = len(found) + len(strange), type(model.model.model_config).__name__
        sizes = f"; {_sizes(*misfits[0])}" if misfits else ""
        what = f"another model ({counted(made, 'layer')}, of which {len(found) - len(misfits)} fit{sizes})"
        needed = f"one that fits the MODEL ({here}) and the CLIP"
        raise WrongBaseModel(f"The LoRA {file}", what, needed, advice_on(model, _ADVICE))
    return {name.removeprefix(_NETWORK).removesuffix(".weight"): patch for name, patch in ours.items()}, texts


_WHOLE = (".alpha", ".reshape_weight")
"""Endings of what may be whole numbers: a scale that some trainers save as they were given it, and a shape."""


def _no_weights(state: State) -> str | None:
    """Which tensor of a LoRA holds what no layer can use, and what that is; None where all are weights."""
    weights = {key: tensor for key, tensor in state.items() if not key.endswith(_WHOLE)}
    try:
        check_kinds(weights)
    except ValueError as error:
        return str(error)
    for key, tensor in state.items():
        if not all(abs(end) <= _LARGEST for end in ends(tensor)):
            return f"{key[:100]} holds NaN, infinity or numbers too large"
    return None


def _unfit(model: ModelPatcher, name: str, patch: Any, by_region: bool) -> str | None:
    """Why it is nothing for one person; None where it is."""
    module, kind = name.removesuffix(".weight"), getattr(patch, "name", None)
    shape = shape_of(model.get_model_object(module)) if name.endswith(".weight") else None
    if kind is None or shape is None:
        return f"a whole difference ({patch[0]})" if kind is None else "no linear layer and no convolution"
    if by_region and len(shape) == 2 and block_of(module.removeprefix(_NETWORK)) is None:
        return "without a place in the picture"
    if kind in UNFIT and all(one is None for one in patch.weights[UNFIT[kind] :]):
        return None
    return f"{kind} with DoRA or another shape" if kind in UNFIT else kind


def _of_size(model: ModelPatcher, name: str, patch: Any) -> bool:
    """Whether a patch fits its weight, which is there. Of kinds that are not known here the host decides."""
    shape, kind = _shape(model, name), getattr(patch, "name", None)
    if not shape or kind is None:
        return _tensors(patch)[0].shape == shape
    if kind not in UNFIT:  # OFT and BOFT turn what a layer gives, block by block
        return kind not in ("oft", "boft") or patch.weights[0].shape[-3:-1].numel() == shape[0]
    try:
        sizes = [x.to("meta") if isinstance(x, Tensor) else x for x in patch.weights]
        down, up, front = low_rank(kind, sizes, shape)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        return False
    if front and not (front[0].shape[1] == len(front[1]) == shape[1] and len(front[0]) == front[1].shape[1]):
        return False
    return up.shape == (shape[0], len(down)) and down.shape[1:] == shape[1:]


def _shape(model: ModelPatcher, name: str) -> tuple[int, ...]:
    """Of a weight, whatever it is stored as; () where there is none."""
    layer, _, kind = name.rpartition(".")
    module = model.get_model_object(layer)
    shape = shape_of(module) if kind == "weight" else None
    return shape or tuple(getattr(getattr(module, kind, None), "shape", ()))


def _tensors(patch: Any) -> list[Tensor]:
    """Of a patch of any kind; a whole difference is its kind and a tensor."""
    return [x for x in getattr(patch, "weights", None) or patch[1] if isinstance(x, Tensor)]


def _sizes(model: ModelPatcher, name: str, patch: Any) -> str:
    """Both sizes in words: the patch's tensors and its weight."""
    made = " and ".join(_by(tensor.shape) for tensor in _tensors(patch))
    shape = _shape(model, name)
    here = _by(shape) if shape else "missing"
    return f"{name} is made of {made}, here it is {here}"


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "a single number"
