"""The host's UNets: their attention layers and grids, what stands in a layer, and which family of models they are."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from comfy.ldm.modules.attention import BasicTransformerBlock
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.model_base import BaseModel
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ...core import families
from ...core.attention.cross_attention import Block, block_of_unet
from ...core.checks.errors import BadSetup, TokensMoved, WrongBaseModel, listed
from ...core.methods import methods
from .shared_network import model_of, network_within, object_of

Options = dict[str, Any]
"""The host's transformer_options."""
Replacement = Callable[[Tensor, Tensor, Tensor, Options], Tensor]
"""What stands in place of an attention: (q, k, v, extra_options) -> what comes out, before its projection."""
Grid = tuple[int, int]
"""(height, width) in tokens."""

NETWORK, WEIGHT = "diffusion_model.", ".weight"
"""What the names of weights of a MODEL's network begin with, and what those of layers that multiply end with."""
_UNETS = "a UNet of the SD family"
_DRAWING_FROM_A_TEXT = frozenset(
    ("BaseModel", "SDXL", "SDXLRefiner", "SD15_instructpix2pix", "SDXL_instructpix2pix", "SD21UNCLIP")
)
"""The host's classes of models with such a UNet. Relatives with one like it make films, or turn a picture, enlarge it,
measure its depths."""
_USE = "Use an SD1.5 or SDXL model, as the method asks for."
ONE_FAMILY = "Load the diffusion model, the text encoder and the VAE of one family."


def _choose_checkpoint(family_name: str) -> str:
    """The advice to choose a checkpoint of one family.

    family_name: SD1.5, SD2 or SDXL. The article is "an" for all of them, because one reads their S as "ess".
    """
    return f"Choose an {family_name} checkpoint in Checkpoint (ckpt_name)."


def _methods_without_unet() -> str:
    """The methods for each family whose models have no UNet, one sentence for each family."""
    sentences: list[str] = []
    for family_without_unet in families.FAMILIES:
        if family_without_unet.unet:
            continue
        titles = [method.title for method in methods() if family_without_unet.name in method.families]
        if titles:
            sentences.append(f"For {family_without_unet.name} there is {listed(titles)}.")
    return " ".join(sentences)


def advice_between(width: int | None, wanted_width: int, advice: str = "") -> str:
    """The advice in an error about a text or a MODEL of one text width where another width is wanted.

    Of these, the first that holds:
    - either width is that of the SDXL refiner: the advice about the refiner. Not where a family without a UNet is
      wanted: Stable Cascade, which has no UNet, reads texts of the refiner's width too;
    - the node has advice of its own: that;
    - no UNet is wanted, or the family that is wanted is not known: ONE_FAMILY;
    - a UNet is wanted: to choose a checkpoint, and where none is connected also the methods that need no UNet.

    width: of what the user has connected, None where it is unknown. wanted_width: of what is needed. advice: the node's
    own, or "".
    """
    wanted_family = families.family_of_text_width(wanted_width)
    wants_other_network = wanted_family is not None and not wanted_family.unet
    if families.SDXL_REFINER in (width, wanted_width) and not wants_other_network:
        return families.REFINER
    if advice:
        return advice
    if wanted_family is None or wants_other_network:
        return ONE_FAMILY
    actual_family = families.family_of_text_width(width)
    if actual_family is not None and actual_family.unet:
        return _choose_checkpoint(wanted_family.name)
    return f"{_choose_checkpoint(wanted_family.name)} {_methods_without_unet()}"


def advice_on(model: ModelPatcher, advice: str) -> str:
    """What to do about a MODEL with a UNet that does not fit: `advice`, or what is to be done with the SDXL refiner."""
    return families.REFINER if text_width(model) == families.SDXL_REFINER else advice


def family(width: int | None) -> str:
    """The name of the family whose models read text of this width, with the width; None for an unknown width."""
    return f"{families.text_name(width)} (text width {width or 'unknown'})"


def check_text_width(what: str, width: int, needed_width: int, advice: str) -> None:
    """Raise WrongBaseModel unless the width of a text, or of the texts that something reads, is the one that is needed.

    what: how the message calls it, such as "The clip input". advice: as in `advice_between`.
    """
    if width != needed_width:
        raise WrongBaseModel(what, family(width), family(needed_width), advice_between(width, needed_width, advice))


def kind_of(model: BaseModel, width: int | None) -> str:
    """The host's name of a model, with `width`, that of the text it reads, unless that is None (unknown)."""
    name = type(model.model_config).__name__
    return f"{name} (text width {width})" if width else name


def has_unet(model: BaseModel) -> bool:
    """Whether the network of a model is a UNet of the SD family that draws from a text, see _DRAWING_FROM_A_TEXT."""
    return hasattr(network_within(model.diffusion_model), "middle_block") and _draws_from_a_text(model)


def _draws_from_a_text(model: BaseModel) -> bool:
    """Whether the host has a UNet of the SD family for such a model, see _DRAWING_FROM_A_TEXT."""
    # Other packs derive classes from the host's, so the nearest base class that is the host's own counts.
    of_the_host = (kind.__name__ for kind in type(model).__mro__ if kind.__module__ == BaseModel.__module__)
    name = next(of_the_host, "")  # a class of another pack may be derived from none
    return name in _DRAWING_FROM_A_TEXT


def refuse_other_packs(network: object, advice: str) -> None:
    """Raise BadSetup for a network whose class is not the host's."""
    if type(network).__module__.startswith("comfy."):
        return
    # Nunchaku's FLUX.1 is no Flux, and its Qwen-Image ignores transformer_options in attention; an engine of TensorRT
    # has no layers at all. So nothing would act.
    kind = f"{type(network).__name__} in {type(network).__module__}"
    why = f"The MODEL has a network of another pack ({kind}). Nothing can be added to its layers."
    raise BadSetup(why, advice)


def unet_of(model: ModelPatcher) -> UNetModel:
    """The UNet of a MODEL. Raises WrongBaseModel for a MODEL without one of the SD family, such as FLUX or SVD, and
    BadSetup for another pack's network in its place."""
    base_model = model_of(model)
    network = network_within(base_model.diffusion_model)
    if not has_unet(base_model):
        if _draws_from_a_text(base_model):
            refuse_other_packs(network, "Load the checkpoint itself with Load Checkpoint instead.")
        name = type(base_model.model_config).__name__
        raise WrongBaseModel("The MODEL", name, _UNETS, f"{_USE} {_methods_without_unet()}")
    return network


def modules_of_network(unet: nn.Module) -> dict[str, nn.Module]:
    """All modules of a UNet or transformer by the MODEL's names.

    torch.compile puts a module around the network, or around single blocks, and keeps what it has compiled there as
    `_orig_mod`. The MODEL's names lack this part. So a compiled module and the module within have one name, which
    stands for the module within.
    """
    modules: dict[str, nn.Module] = {}
    for name, module in unet.named_modules():
        parts = [part for part in name.split(".") if part != "_orig_mod"]
        modules[".".join(parts)] = module  # the module within comes later, and takes the name
    return modules


def layer_shape(module: Any) -> tuple[int, ...] | None:
    """The shape of the weights of a layer that multiplies, (out, in) or (out, in / groups, h, w); None for any other.

    The layer's fields tell it and not its weights, which may be stored in another shape (GGUF, fp8). Patches of a MODEL
    may widen the layer: see `weight_shape`.
    """
    if hasattr(module, "in_features"):
        return module.out_features, module.in_features
    if isinstance(module, nn.Conv2d):
        return module.out_channels, module.in_channels // module.groups, *module.kernel_size
    return None


def weight_shape(model: ModelPatcher, name: str) -> tuple[int, ...]:
    """The shape that a weight or bias has while this MODEL samples; () where there is none of this name.

    Patches may widen a layer, which the host then fills up with zeros. A LoRA does so with img_in of FLUX.1 (Canny,
    Depth), a whole difference with the first convolution of SD1.5 (IC-Light).
    """
    return patched_shape(model, name, own_shape(model, name))


def patched_shape(model: ModelPatcher, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a weight as in `weight_shape`. shape: of the weight without the patches of this MODEL."""
    # Of several patches that widen it, the last one counts.
    for _strength, patch, _of_model, part, _function in model.patches.get(name, ()):
        if part is None:  # a patch for a part of the weight widens nothing
            shape = _widened_shape(patch) or shape
    return shape


def _widened_shape(patch: Any) -> tuple[int, ...] | None:
    """The shape to which a patch widens the weight; None where it keeps the weight's shape.

    It does what the host's calculate_shape does, which ComfyUI 0.3.64 does not have.
    """
    if getattr(patch, "name", None) == "lora":
        reshape = patch.weights[5] if len(patch.weights) > 5 else None  # behind up, down, alpha, mid and dora_scale
        return tuple(reshape) if isinstance(reshape, Sequence) else None
    if isinstance(patch, tuple) and patch[0] == "diff":
        tensor, *settings = patch[-1]  # ("diff", (tensor, {"pad_weight": True})), or without settings
        return tuple(tensor.shape) if settings and settings[0]["pad_weight"] else None
    return None


def own_shape(model: ModelPatcher, name: str) -> tuple[int, ...]:
    """The shape of a weight or bias without the patches of a MODEL; () where there is none of this name."""
    layer, _, kind = name.rpartition(".")  # kind: "weight" or "bias"
    module = object_of(model, layer)
    shape = layer_shape(module) if kind == "weight" else None
    if shape is not None:
        return shape
    # A bias, or a weight of a layer that does not multiply, such as a norm.
    return tuple(getattr(getattr(module, kind, None), "shape", ()))


def text_width(model: ModelPatcher) -> int:
    """The width of the text that a MODEL's UNet reads. Raises WrongBaseModel for a MODEL without a UNet or without
    cross-attention."""
    return transformers(unet_of(model))[0].module.attn2.to_k.in_features


class Transformer(NamedTuple):
    """A transformer of a UNet. Its Block is in the first three fields."""

    block: str
    number: int
    position: int
    module: BasicTransformerBlock


def attention_widths(model: ModelPatcher) -> list[int]:
    """The width of the queries of every cross-attention layer, in the order of `transformers`.

    Raises what `unet_of` and `transformers` raise.
    """
    return [transformer.module.attn2.to_q.out_features for transformer in transformers(unet_of(model))]


def transformers(unet: UNetModel) -> list[Transformer]:
    """The transformers of a UNet, in diffusers' order: down, up, mid.

    Raises WrongBaseModel for a UNet without cross-attention.
    """
    all_transformers: list[Transformer] = []
    for number, block in enumerate(unet.input_blocks):
        all_transformers.extend(_transformers_of("input", number, block))
    for number, block in enumerate(getattr(unet, "output_blocks", ())):  # a ControlNet has none
        all_transformers.extend(_transformers_of("output", number, block))
    all_transformers.extend(_transformers_of("middle", 0, unet.middle_block or ()))  # some distilled models have none
    if not all_transformers:
        raise WrongBaseModel("The MODEL", "a UNet without cross-attention", _UNETS, _USE)
    return all_transformers


def _transformers_of(name: str, number: int, block: Iterable[nn.Module]) -> Iterator[Transformer]:
    """The transformers of one block. name, number: of the block, as in core.attention.cross_attention.Block."""
    for module in block:
        # By its parts, because another pack may have given it a class of its own.
        for index, transformer in enumerate(getattr(module, "transformer_blocks", ())):
            yield Transformer(name, number, index, transformer)


def layers_of(unet: UNetModel) -> list[Block]:
    """The address of every layer with attention, in the order of `transformers`, which says what is raised."""
    return [(name, number, index) for name, number, index, _ in transformers(unet)]


def grids(unet: UNetModel, height: int, width: int) -> dict[tuple[str, int], Grid]:
    """The grid of tokens of every block, (height, width) by (block, number), for a latent of this size.

    Output blocks have the grids of the input blocks, in reverse: each reads what the input block has handed to it.
    """
    grids_of_inputs: list[Grid] = []
    grid = height, width
    for block in unet.input_blocks:
        if any(hasattr(module, "op") for module in block):  # a Downsample, whose convolution is its `op`
            # A convolution with a stride of 2 halves each side, and an odd side is rounded up.
            grid = math.ceil(grid[0] / 2), math.ceil(grid[1] / 2)
        grids_of_inputs.append(grid)
    grid_of_block: dict[tuple[str, int], Grid] = {}
    for number, grid_of_input in enumerate(grids_of_inputs):
        grid_of_block["input", number] = grid_of_input
    grid_of_block["middle", 0] = grid
    for number, grid_of_input in enumerate(reversed(grids_of_inputs)):
        grid_of_block["output", number] = grid_of_input
    return grid_of_block


def block_of(name: str) -> tuple[str, int] | None:
    """The block of the UNet that a module stands in, as ("input" | "middle" | "output", number).

    None for a module that stands in no block, such as those of the time step. name: of the module in the UNet, such as
    "input_blocks.4.1.proj_in", "middle_block.1.proj_in", "output_blocks.4.1.proj_in" or "time_embed.0".
    """
    first, number, *_ = name.split(".")
    kind = first.removesuffix("_blocks").removesuffix("_block")
    if kind == first:  # no name of a block
        return None
    if kind == "middle":
        return kind, 0
    return kind, int(number)


def first_convolution_of(name: str) -> str:
    """The name of the convolution that runs first in the block of a layer. Its output shows how many pixels the block
    has in a forward.

    They may be fewer than the UNet has there by itself: another node may make the picture smaller before this block
    (PatchModelAddDownscale). name: of a layer that stands in a block. A block that does not begin with a ResBlock has
    no module of the name that is returned.
    """
    kind, number, *_ = name.split(".")
    block = kind if kind == "middle_block" else f"{kind}.{number}"
    return f"{block}.0.in_layers.2"  # a ResBlock, whose in_layers are a norm, an activation and a convolution


def coarsest_token_side(unet: UNetModel) -> int:
    """The side of the square that one token of the coarsest layers covers, in latent pixels."""
    side = 64  # any size that every UNet halves without a remainder
    heights = [height for height, _ in grids(unet, side, side).values()]
    return side // min(heights)


def grid_of(extra_options: Options) -> Grid:
    """The grid of a layer, out of the extra_options that the host calls its attention with."""
    height, width = extra_options["activations_shape"][-2:]
    return int(height), int(width)


def tokens_moved(token_count: int, grid: Grid, unknown: str, advice: str) -> TokensMoved:
    """The error about a layer that has another number of tokens than its grid.

    unknown: the end of the sentence, what is then not known of the tokens.
    """
    height, width = grid
    return TokensMoved(
        f"Another MODEL node (HyperTile and TomePatchModel do so) has made {token_count} tokens of the "
        f"{width}x{height} of a layer, so it is unknown which of them {unknown}.",
        advice,
    )


def check_tokens(q: Tensor, grid: Grid, unknown: str, advice: str) -> None:
    """Raise TokensMoved, see `tokens_moved`, unless the queries of a layer, (B, N, C), are those of its grid."""
    height, width = grid
    if q.shape[1] != height * width:
        raise tokens_moved(q.shape[1], grid, unknown, advice)


def dtype_of(model: BaseModel) -> torch.dtype:
    """The dtype of a model's UNet: its inputs have it, and it computes in it."""
    return model.manual_cast_dtype or model.get_dtype()


def pixels_of(model: BaseModel) -> int:
    """The side of a latent pixel in pixels. Hosts whose latent formats do not say it have models with 8 alone."""
    return getattr(model.latent_format, "spacial_downscale_ratio", 8)


def replacement_in(options: Mapping[str, Any], attention: str, block: Block) -> Replacement | None:
    """What stands in place of an attention of this layer, whoever has put it there; None for nothing.

    attention: attn1 or attn2. As in the host, a replacement of the layer counts before one of its whole block. The key
    of a whole block is (block, number), without the index of the layer.
    """
    patches = options.get("patches_replace", {}).get(attention, {})
    return patches.get(block, patches.get(block_of_unet(block)))


def with_replacements(options: Options, kind: str, replacements: Mapping[Any, Callable[..., Any]]) -> Options:
    """A copy of transformer_options with more replacements of one kind.

    kind: attn1 or attn2 for attentions of layers, dit for blocks of transformers. replacements: by layer or block.
    """
    replacements_by_kind = options.get("patches_replace", {})
    of_this_kind = {**replacements_by_kind.get(kind, {}), **replacements}
    return {**options, "patches_replace": {**replacements_by_kind, kind: of_this_kind}}


def with_patch(options: Options, kind: str, patch: Callable[..., Any]) -> Options:
    """A copy of transformer_options with one more patch of this kind, called after those that are there already."""
    patches_before = options.get("patches", {}).get(kind, ())
    return with_patches(options, kind, [*patches_before, patch])


def with_patches(options: Options, kind: str, patches: list[Callable[..., Any]]) -> Options:
    """A copy of transformer_options with these as all patches of this kind."""
    return {**options, "patches": {**options.get("patches", {}), kind: patches}}
