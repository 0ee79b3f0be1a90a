"""The host's diffusion transformers: which family a MODEL's network is of, its tokens, and a way around what it does.

FLUX.1 (Kontext and Krea too), FLUX.2 and Qwen-Image: text and picture in one attention, references behind the picture.
Their blocks and their attention have one slot each for a function of others: ours goes around whoever stands there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from inspect import getsource
from typing import TYPE_CHECKING, Any

import comfy.ldm.flux.model
import comfy.ldm.qwen_image.model
from comfy.ldm.flux.model import Flux
from comfy.ldm.qwen_image.model import QwenImageTransformer2DModel
from torch import Tensor

from ..core import families
from ..core.errors import LikenessError, WrongBaseModel
from .unet import ONE_FAMILY, Grid, Options

if TYPE_CHECKING:
    from comfy.model_base import BaseModel
    from comfy.model_patcher import ModelPatcher

FLUX, FLUX_2, QWEN = FAMILIES = families.FLUX.name, families.FLUX_2.name, families.QWEN.name
TOKEN = 16
"""Side of a picture's token in pixels, in every family."""
COUNTS = "reference_image_num_tokens"
"""Of transformer_options inside of a forward: how many tokens each reference latent has, in their order. They are the
last of the picture's."""
OVERRIDE = "optimized_attention_override"
Block = tuple[str, int]
"""("double_block" | "single_block", number): the host's address of a block."""
Attention = Callable[..., Tensor]
"""(q, k, v, heads, mask=None, ...) -> what comes out, as the host's optimized_attention."""


class HostTooOld(LikenessError):
    """A ComfyUI that lacks what a node is made of."""

    def __init__(self, node: str) -> None:
        super().__init__(f"{node} needs ComfyUI 0.33 or newer, and this one is older.", "Update ComfyUI.")


def known_here() -> bool:
    """Whether the host tells which tokens of a picture are references."""
    # In the files: other packs may have put functions of their own in the place of the host's.
    return all(COUNTS in getsource(module) for module in (comfy.ldm.flux.model, comfy.ldm.qwen_image.model))


def require_dits(node: str) -> None:
    """Raise HostTooOld unless the host tells which tokens of a picture are references. node: its name."""
    if not known_here():
        raise HostTooOld(node)


def family(model: ModelPatcher, wanted: Sequence[str] = FAMILIES) -> str:
    """Which of these a MODEL is of. Raises WrongBaseModel for any other."""
    found = _family(network_of(model.model))
    if found in wanted:
        return found
    *some, last = wanted
    needed = f"{', '.join(some)} or {last}" if some else last
    name = found or type(model.model.model_config).__name__
    raise WrongBaseModel("The MODEL", name, needed, f"Load a diffusion model of {needed} (Load Diffusion Model).")


def check_latents(latents: Sequence[Tensor], model: ModelPatcher, node: str) -> None:
    """Raise WrongBaseModel unless the reference latents that a node is given are of the family of its MODEL."""
    wanted = family(model)
    shapes = {name: (families.named(name).latent, families.named(name).dimensions) for name in FAMILIES}
    for latent in latents:
        shape = latent.shape[1], latent.ndim
        if shape != shapes[wanted]:
            known = (name for name, one in shapes.items() if one == shape)
            found = next(known, f"another family ({shape[0]} channels)")
            raise WrongBaseModel(f"The conditioning given to {node}", found, f"{wanted}, as the MODEL is,", ONE_FAMILY)


def _family(network: Any) -> str:
    """Of any network, "" for others."""
    if isinstance(network, Flux):
        return FLUX_2 if getattr(network.params, "global_modulation", False) else FLUX
    return QWEN if isinstance(network, QwenImageTransformer2DModel) else ""


def network_of(model: BaseModel) -> Any:
    """The diffusion model itself, under what torch.compile may have put around it."""
    network = model.diffusion_model
    return getattr(network, "_orig_mod", network)


def grid_of(model: BaseModel, latent: Tensor) -> Grid:
    """The picture's tokens for latents (B, C, h, w) or (B, C, T, h, w): odd sides are padded."""
    patch: int = network_of(model).patch_size
    height, width = latent.shape[-2:]
    return -(-height // patch), -(-width // patch)


def tokens_of(model: BaseModel, latent: Tensor) -> int:
    """How many these are, in all frames."""
    frames = latent.shape[2] if latent.dim() == 5 else 1
    return frames * math.prod(grid_of(model, latent))


def blocks_of(model: ModelPatcher) -> list[Block]:
    """Every block of a MODEL of one of FAMILIES, in the order in which they run."""
    network = network_of(model.model)
    if isinstance(network, Flux):
        lengths = {"double_block": len(network.double_blocks), "single_block": len(network.single_blocks)}
    else:
        lengths = {"double_block": len(network.transformer_blocks)}
    return [(kind, number) for kind, length in lengths.items() for number in range(length)]


def around_blocks(options: Options, functions: Mapping[Block, Callable[[Options, Callable[..., Any]], Any]]) -> Options:
    """A copy of transformer_options with functions around blocks, and around whoever has replaced them.

    (args, block) -> block(args), changed. args: img, txt (not in a single block of Flux, whose img begins with the
    text), vec, pe, transformer_options. What comes out has the same img and txt.
    """
    before = options.get("patches_replace", {})
    standing = before.get("dit", {})
    ours = {at: _around(one, standing.get(at)) for at, one in functions.items()}
    return {**options, "patches_replace": {**before, "dit": {**standing, **ours}}}


def _around(function: Callable[..., Any], before: Callable[..., Any] | None) -> Callable[..., Any]:
    def replacement(args: Options, extra: Options) -> Any:
        def block(args: Options) -> Any:
            return before(args, extra) if before else extra["original_block"](args)

        return function(args, block)

    return replacement


def around_attention(options: Options, function: Callable[..., Tensor]) -> Options:
    """A copy of transformer_options with a function around every attention, and around whoever has replaced it.

    (attend, q, k, v, heads, mask=None, ...) -> attend(q, k, v, heads, mask=mask, ...), changed; q, k, v: as the host
    gives them, after RoPE (B, heads, N, d).
    """
    before = options.get(OVERRIDE)

    def override(kernel: Attention, q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        def attend(*args: Any, **kwargs: Any) -> Tensor:
            return before(kernel, *args, **kwargs) if before else kernel(*args, **kwargs)

        return function(attend, q, k, v, *args, **kwargs)

    return {**options, OVERRIDE: override}
