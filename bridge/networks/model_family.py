"""Which family of diffusion transformers a MODEL's network is of, and how many tokens its pictures are."""

import math
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, is_dataclass
from functools import cache
from inspect import getsource, signature
from typing import Any

import torch
from comfy.model_base import BaseModel
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...core.attention.cross_attention import on_tokens
from ...core.checks.errors import BadSetup, WrongBaseModel, joined, listed
from ..host import host_version
from ..host.shared_network import model_of, network_within
from ..host.unet import NETWORK, WEIGHT, has_unet, pixels_of, refuse_other_packs, text_width, weight_shape
from .families import DESCRIBED, RELATIVES
from .transformer_families import HostNetwork, TransformerFamily

WITH_REFERENCES = tuple(family.name for family in DESCRIBED if family.references)
"""The families that take reference pictures."""
_LOAD_PLAIN = "Load the model with Load Diffusion Model (it reads fp8 too) or as GGUF instead."
TOKEN = 16
"""Side of a picture's token in pixels, in every family."""


def network_of(model: BaseModel) -> Any:
    """The diffusion model itself, under what torch.compile may have put around it."""
    return network_within(model.diffusion_model)


def transformer_family(model: BaseModel) -> TransformerFamily | None:
    """The family of a model's network, among DESCRIBED and RELATIVES; None for any other network.

    Raises BadSetup for a class of another pack that is derived from the network of one of these families.
    """
    network = network_of(model)
    families = (*DESCRIBED, *RELATIVES)
    class_and_bases = [_path_of(kind) for kind in type(network).__mro__]
    if any(family.made.network in class_and_bases for family in families):
        refuse_other_packs(network, _LOAD_PLAIN)
    return next((family for family in families if is_of(model, family)), None)


def needs_newer_host(names: Collection[str]) -> str:
    """Which of these families needs a newer ComfyUI, as this one has no network of it: a sentence; "" for none."""
    for family in DESCRIBED:
        if family.name in names and not family.is_known_to_host:
            return host_version.needs(family.least_host, family.name)
    return ""


def is_of(model: BaseModel, family: TransformerFamily) -> bool:
    """Whether a model's network, its class and all of its settings, is as the HostNetwork of a family says."""
    if not _is_near(model, family.made):
        return False
    other = _other_settings(model, family.made)
    return not other.on and not other.off


def _is_near(model: BaseModel, made: HostNetwork) -> bool:
    """Whether a model is what a HostNetwork says, or differs from it in settings alone."""
    latent = model.latent_format
    return (
        _path_of(type(network_of(model))) == made.network
        and _path_of(type(model)) == f"{BaseModel.__module__}.{made.model}"
        and model.model_config.unet_config.get("image_model") == made.image_model
        and (latent.latent_channels, latent.latent_dimensions) == made.latent
    )


@dataclass(frozen=True)
class _OtherSettings:
    """The names of the settings of a model that are not as a HostNetwork has them.

    on: those that the model has switched on, where the HostNetwork has them off or at another value. off: those that
    the HostNetwork requires and the model has off.
    """

    on: list[str]
    off: list[str]


def _other_settings(model: BaseModel, made: HostNetwork) -> _OtherSettings:
    """The settings of a model that are not as a HostNetwork has them. Those in `sizes` may have any value."""
    config = model.model_config.unet_config
    settings = {name: config.get(name) for name in _settings_of(network_of(model))}
    on: list[str] = []
    off: list[str] = []
    fixed_names = {*settings, *made.required}.difference(made.sizes.split())  # whose values matter
    for name in sorted(fixed_names):
        value = settings.get(name)
        if not _is_as_required(value, made.required.get(name)):
            names = on if value else off
            names.append(name)
    return _OtherSettings(on, off)


def _is_as_required(value: Any, required: object) -> bool:
    """Whether a setting has the value that a HostNetwork requires. required: None where the setting has to be off."""
    if not required:
        return not value
    if required is True:
        return bool(value)
    return (list(value) if isinstance(value, tuple) else value) == required


_NO_SETTINGS = frozenset({"self", "args", "kwargs", "image_model", "dtype", "device", "operations"})
"""Arguments of the host's networks that say nothing of what they are."""


def _settings_of(network: Any) -> frozenset[str]:
    """The names of the settings that a network is made with. The host's files may have more, which change nothing."""
    params = getattr(network, "params", None)  # Flux keeps some of its settings in a dataclass
    return _arguments_of(type(network)).union(vars(params) if is_dataclass(params) else ())


@cache
def _arguments_of(kind: type) -> frozenset[str]:
    """The names of the arguments of __init__, of a class and of all that it is derived from, but for _NO_SETTINGS."""
    names: set[str] = set()
    for base in kind.__mro__:
        names.update(signature(base.__init__).parameters)
    return frozenset(names - _NO_SETTINGS)


def _path_of(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _name_of(model: BaseModel) -> str:
    """What messages call a model of no known family: the host's name, and what tells it from a known family.

    The host's name alone may be that of a known family. So these follow it: the settings, where the model differs from
    a family in settings alone; the model's class, where that is not the host's.
    """
    name = type(model.model_config).__name__
    for family in DESCRIBED:
        if _is_near(model, family.made):
            other = _other_settings(model, family.made)
            name += f" with {joined(other.on)}" if other.on else ""
            name += f" without {joined(other.off)}" if other.off else ""
    if _path_of(type(model)) != f"{BaseModel.__module__}.{type(model).__name__}":
        name += f" ({type(model).__name__} in {type(model).__module__})"
    return name


def taken_family(model: BaseModel) -> TransformerFamily:
    """The family of a model that a node of ours has taken: that node has refused models of no known family."""
    family = transformer_family(model)
    assert family is not None
    return family


def require_family(model: ModelPatcher, wanted: Sequence[str] = WITH_REFERENCES) -> str:
    """The name of the family that a MODEL is of, which must be one of `wanted`.

    Raises WrongBaseModel for any other, BadSetup for another pack's network.
    """
    base_model = model_of(model)
    refuse_other_packs(network_of(base_model), _LOAD_PLAIN)
    family = transformer_family(base_model)
    if family is not None and family.name in wanted:
        return family.name
    needed_models = joined(wanted, "or")
    name = _name_of(base_model) if family is None else family.name
    raise WrongBaseModel(
        "The MODEL", name, needed_models, f"Load a diffusion model of {needed_models} (Load Diffusion Model)."
    )


def transformer_of(model: ModelPatcher, node: str) -> TransformerFamily | None:
    """The family of a MODEL with a transformer; None for a UNet. node: the name of the node that asks.

    Raises WrongBaseModel for another transformer. Raises BadSetup for another pack's network, and where the host's code
    of the family is not as described.
    """
    base_model = model_of(model)
    network = network_of(base_model)
    if has_unet(base_model):
        return None
    refuse_other_packs(network, _LOAD_PLAIN)
    family = transformer_family(base_model)
    if family is None:
        names = [transformer.name for transformer in DESCRIBED]
        needed_models = f"a UNet of the SD family, or {joined(names, 'or')}"
        advice = f"Use an SD1.5 or SDXL model, or {listed(names)}."
        raise WrongBaseModel("The MODEL", _name_of(base_model), needed_models, advice)
    require_known_code(family, node)
    return family


@dataclass(frozen=True)
class ModelText:
    """The text that a MODEL reads. transformer: the family of the MODEL; None for a UNet. width: of the text."""

    transformer: TransformerFamily | None
    width: int


def text_of_model(model: ModelPatcher, node: str) -> ModelText:
    """The text that a MODEL reads, as its layers are while it samples. Raises as `transformer_of`."""
    family = transformer_of(model, node)
    if family is None:
        return ModelText(None, text_width(model))
    # [1]: a weight is (out, in), and the text goes in. The product: see TransformerFamily.text_layers.
    widths = [weight_shape(model, f"{NETWORK}{layer}{WEIGHT}")[1] for layer in family.text_layers]
    return ModelText(family, math.prod(widths))


def require_known_code(family: TransformerFamily, node: str) -> None:
    """Raise BadSetup where the code of a family is not as described, in another version of the host. node: the name of
    the node that asks.

    The host's source is searched for `family.code`. No signature and no attribute of a network shows how a forward
    joins its tokens, and no exception would show that we are wrong: people would only be read in the wrong places. The
    host's version would not do: it tells of an older host, and nothing of a newer one that has changed the code.
    """
    source = getsource(sys.modules[family.module])
    if not all(piece in source for piece in family.code):
        why = f"{node} knows {family.name} as ComfyUI {family.least_host} has it. In this one its code is different."
        raise BadSetup(why, "Update ComfyUI and Likeness.")


def cells_per_token(model: BaseModel) -> int:
    """How many cells of a latent a token of the picture is wide and high.

    Of a network of no known family it is the network's patch_size.
    """
    family = transformer_family(model)
    attribute = "patch_size" if family is None else family.patch
    return getattr(network_of(model), attribute) if attribute else 1


def regions_on_tokens(regions: Tensor, model: BaseModel, latent: torch.Size) -> Tensor:
    """How much of each token of a picture lies in each region: (regions, tokens of all frames).

    Every frame has the same regions. regions: (regions, H, W), from 0, of the whole picture. latent: its shape, (B, C,
    h, w) or (B, C, T, h, w).
    """
    pixels = pixels_of(model)  # of a latent pixel's side
    height, width = latent[-2:]
    token_side = cells_per_token(model) * pixels
    of_frame = on_tokens(regions, height * pixels, width * pixels, token_side).flatten(1)  # (regions, tokens)
    frames = tokens_of(model, latent) // of_frame.shape[1]
    return of_frame.repeat(1, frames)


def tokens_of(model: BaseModel, latent: torch.Size) -> int:
    """How many tokens a latent of this shape, (B, C, h, w) or (B, C, T, h, w), has in all frames. Sides are rounded up
    to tokens."""
    patch = cells_per_token(model)
    frames = latent[2] if len(latent) == 5 else 1
    return frames * math.prod(math.ceil(side / patch) for side in latent[-2:])
