"""Recordings of a UNet's self-attention: the tokens that each layer sees of a picture, or of parts while it samples."""

import math
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.model_base import BaseModel
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ...core.attention.cross_attention import Block, block_of_unet
from ...core.checks.errors import WrongBaseModel
from ...core.parts.bank import PartTokens, TokensInside, token_mask, tokens_inside
from ...core.pictures.geometry import Rect
from ..host.shared_network import network_within, without_replaced_methods
from ..host.unet import NETWORK, WEIGHT, Grid, Options, dtype_of, grids, layers_of, weight_shape
from ..sampling.carried import ConditioningLost
from ..sampling.code_of_others import who_stands_around
from ..sampling.runs import Run

Recorded = dict[Block, Tensor]
"""The tokens that the self-attention of each layer has seen, by layer: (B, tokens, C), or (tokens, C) of one part."""

LAYER_CALLS = "forward_timestep_embed_patch"
"""The host's patches that say how its UNet calls layers of other packs' classes."""
ClassCall = tuple[type, Callable[..., Tensor]]
"""A class of layers, and the function that calls a layer of it."""

ALL_LAYERS = "all"
UP_BLOCKS = "up blocks"
FINE_LAYERS = "fine"
COARSE_LAYERS = "coarse"
LAYERS = (ALL_LAYERS, UP_BLOCKS, FINE_LAYERS, COARSE_LAYERS)
"""Which layers share: all; those on the way up; those whose tokens are at most two latent pixels wide; the others."""
_COARSE_FROM = 3
"""A layer is coarse whose sides are at least so many times smaller than the latent's. Those of fine layers are 1 or 2
times smaller, at odd sizes a little less; those of the next layers are 4 times smaller, so 3 is between both."""


class _AllRecorded(Exception):
    """The last layer to record has been recorded. Nothing but an exception stops the host's UNet in the middle."""


class UNetInput(NamedTuple):
    """The input of a UNet that shows it some parts.

    x: (B, 4 or 9, h, w), scaled as the UNet takes it. context: (B, T, width). adm: (B, adm) for SDXL, or None.
    """

    x: Tensor
    context: Tensor
    adm: Tensor | None


def record(
    unet: UNetModel,
    given: UNetInput,
    timesteps: Tensor,
    blocks: Collection[Block] | None,
    layer_calls: Sequence[ClassCall] = (),
) -> Recorded:
    """Run a UNet and keep what its layers' self-attention sees after its norm: block -> (B, tokens, C).

    timesteps: (B,). blocks: which layers, or None: all. The UNet stops at the last of them by an exception; a compiled
    UNet runs to its end, because an exception would break its graph. What other packs have put over the UNet's own
    forward takes no part. layer_calls: of other packs. Only those are used that call layers which the host cannot call.
    Raises ConditioningLost where a layer does not call the patch that records.
    """
    blocks_to_record = frozenset(layers_of(unet) if blocks is None else blocks)
    recorded: Recorded = {}

    def keep_hidden(hidden: Tensor, keys: Tensor, values: Tensor, extra: Options) -> tuple[Tensor, Tensor, Tensor]:
        """The host's attn1 patch, which every layer calls with its hidden states (B, tokens, C): it changes nothing."""
        block = (*extra["block"], extra["block_index"])  # the Block of this layer
        if block in blocks_to_record:
            recorded[block] = hidden
        # A compiled UNet runs to its end.
        if not torch.compiler.is_compiling() and len(recorded) == len(blocks_to_record):
            raise _AllRecorded
        return hidden, keys, values

    own_unet = without_replaced_methods(unet)
    options = {"patches": {"attn1_patch": [keep_hidden], LAYER_CALLS: _needed_calls(unet, layer_calls)}}
    with suppress(_AllRecorded):
        own_unet(given.x, timesteps, context=given.context, y=given.adm, control=None, transformer_options=options)
    if len(recorded) < len(blocks_to_record):
        why = f"hands on attn1 patches to {len(recorded)} of the {len(blocks_to_record)} layers in which parts are seen"
        raise ConditioningLost(who_stands_around(network_within(unet), {}), why)
    return recorded


def _needed_calls(unet: UNetModel, layer_calls: Sequence[ClassCall]) -> list[ClassCall]:
    """The ClassCalls by which layers of this UNet are called whose classes are neither the host's nor torch's.

    The host could not call such a layer by itself. All other ClassCalls are left out: they may count forwards or keep
    something for each, and the forward of a recording is none of the sampler's.
    """
    strange: list[nn.Module] = []  # layers of other packs' classes
    for block in (*unet.input_blocks, unet.middle_block or (), *unet.output_blocks):
        strange.extend(layer for layer in block if not type(layer).__module__.startswith(("comfy.", "torch.")))
    needed: list[ClassCall] = []
    for layer_class, call in layer_calls:
        if any(isinstance(layer, layer_class) for layer in strange):
            needed.append((layer_class, call))
    return needed


def record_at_zero(model: ModelPatcher, latent: Tensor, context: Tensor) -> Recorded:
    """What the layers of a loaded MODEL see of one part without noise (t = 0): block -> (tokens, C), on the CPU.

    latent: (1, 4, h, w). context: (1, T, width).
    """
    device = model.load_device
    dtype = dtype_of(model.model)
    given = UNetInput(latent.to(device, dtype), context.to(device, dtype), adm=None)
    return record_one(model.model.diffusion_model, given)


def record_one(
    unet: UNetModel,
    given: UNetInput,
    blocks: Collection[Block] | None = None,
    layer_calls: Sequence[ClassCall] = (),
) -> Recorded:
    """What the layers see of one part at t = 0: block -> (tokens, C), on the CPU. Arguments as in `record`, B = 1."""
    zero = torch.zeros(1, device=given.x.device, dtype=torch.float32)
    recorded = record(unet, given, zero, blocks, layer_calls)
    return {block: states[0].cpu() for block, states in recorded.items()}  # states: (1, tokens, C)


@dataclass(frozen=True, eq=False)
class SelfReference:
    """Parts that are recorded during a run, with the MODEL that samples. A PartsRecorder records them.

    latents: (parts, 4, h, w), as the VAE gives them; contexts: (parts, T, width);
    adm: (parts, adm) or None; masks: (H, W) per part;
    noise: (1, 4, h, w), the same for every part, so that their order does not matter, and at every step.
    layers: which layers share, one of LAYERS.
    windows: the piece of its latent that each part is recorded from, (left, top, right, below) in latent pixels.
    steps: for how many steps of the run one recording is used. None: the parts are recorded once per run, without
    noise, at t = 0.
    """

    latents: Tensor
    contexts: Tensor
    adm: Tensor | None
    masks: Sequence[Tensor]
    noise: Tensor
    layers: str
    windows: Sequence[Rect]
    steps: int | None


def is_inpainting(model: ModelPatcher, latent_channels: int) -> bool:
    """Whether a MODEL reads a mask and a picture beside the latent, as models for inpainting do.

    latent_channels: how many channels the latent has. Raises WrongBaseModel for a MODEL that reads something else.
    """
    # All that the UNet reads beside text and time comes in by the channels of its first convolution.
    other_channels = weight_shape(model, f"{NETWORK}input_blocks.0.0{WEIGHT}")[1] - latent_channels
    if other_channels == 0:
        return False
    if other_channels == 1 + latent_channels:  # the mask, and the latent of the picture
        return True
    raise WrongBaseModel(
        "The MODEL",
        f"a model that is given {other_channels} more channels than a latent has",
        "an ordinary or an inpainting model",
        "Use another SD1.5 or SDXL model, without a node that gives it a picture (IC-Light).",
    )


def is_inpainting_in(run: Run, reference: SelfReference) -> bool:
    """What `is_inpainting` says of the MODEL of a run, which is asked once, when it begins."""
    channels = reference.latents.shape[1]
    return run.kept((is_inpainting, channels), lambda: is_inpainting(run.model, channels))


class _RecordedParts(NamedTuple):
    """What layers have seen of parts of one size: for each layer (parts, tokens, C). numbers: of the parts, from 0."""

    numbers: list[int]
    recorded: Recorded


class PartsRecorder:
    """It shows the parts of a SelfReference to the MODEL that samples, on one device, and keeps what its layers see.

    So LoRAs, casts and offloading of the MODEL apply to parts as well. Noise, sigmas and latents are scaled as the
    MODEL that samples says, because a node between ours and the sampler may have changed how.
    """

    def __init__(self, reference: SelfReference, like: Tensor, inpainting: bool) -> None:
        """like: a tensor on the device and in the dtype of the UNet. inpainting: see is_inpainting, of the MODEL that
        samples."""
        self._reference = reference
        self._inpainting = inpainting
        self._latents = reference.latents.to(like.device)
        self._noise = reference.noise.to(like.device).expand_as(self._latents)
        self._contexts = reference.contexts.to(like)
        self._adm: Tensor | None = None
        if reference.adm is not None:
            self._adm = reference.adm.to(like)
        self._kept_tokens: dict[Hashable, TokensInside] = {}
        """What `_tokens_in_masks` has given, the same at every step, by parts, block of the UNet, and device."""

    def record(self, model: BaseModel, sigmas: Tensor, options: Options) -> dict[Block, list[PartTokens]]:
        """What the layers of the model's UNet see of the parts, of the tokens in each part's mask alone.

        sigmas: (1,), the level of noise of this step; not used where the parts are recorded without noise. options: the
        transformer_options of the forward.
        """
        layer_calls: Sequence[ClassCall] = options.get("patches", {}).get(LAYER_CALLS, ())
        unet = model.diffusion_model
        layers = self._shared_layers(unet)
        if self._reference.steps is None:  # without noise
            batches = self._at_zero(model, layers, layer_calls)
        else:
            batches = self._at_noise(model, sigmas, layers, layer_calls)
        tokens_of_part: dict[tuple[Block, int], PartTokens] = {}  # by layer and number of the part
        for batch in batches:
            for block, states in batch.recorded.items():
                in_masks = self._tokens_in_masks(unet, batch.numbers, block, states)
                for number, tokens in zip(batch.numbers, in_masks.of(states), strict=True):
                    tokens_of_part[block, number] = tokens
        numbers = range(len(self._latents))
        return {block: [tokens_of_part[block, number] for number in numbers] for block in layers}

    def _shared_layers(self, unet: UNetModel) -> list[Block]:
        """The layers that share, as the user has chosen them, see LAYERS."""
        height, width = self._latents.shape[-2:]
        grid_of_block = grids(unet, height, width)
        layers: list[Block] = []
        for block in layers_of(unet):
            tokens = math.prod(grid_of_block[block_of_unet(block)])
            # A token covers height * width / tokens latent pixels; the square root is its side in latent pixels.
            times_smaller = math.sqrt(height * width / tokens)
            if _is_shared(self._reference.layers, block, times_smaller):
                layers.append(block)
        return layers

    def _at_noise(
        self, model: BaseModel, sigmas: Tensor, layers: list[Block], layer_calls: Sequence[ClassCall]
    ) -> Iterator[_RecordedParts]:
        """What the layers see of the parts at the noise level of this step. Parts of one size are one batch."""
        model_sampling = model.model_sampling
        timesteps = model_sampling.timestep(sigmas).float()
        clean = model.process_latent_in(self._latents)
        # The host's noise_scaling changes the noise that it is given.
        noisy = model_sampling.noise_scaling(sigmas, self._noise.clone(), clean)
        x = self._with_picture(model_sampling.calculate_input(sigmas, noisy), clean)
        for numbers in self._numbers_by_size():
            unet_input = self._unet_input(x, numbers)
            timesteps_of_rows = timesteps.expand(len(numbers))
            recorded = record(model.diffusion_model, unet_input, timesteps_of_rows, layers, layer_calls)
            yield _RecordedParts(numbers, recorded)

    def _at_zero(
        self, model: BaseModel, layers: list[Block], layer_calls: Sequence[ClassCall]
    ) -> Iterator[_RecordedParts]:
        """What the layers see of the parts without noise, on the CPU: one forward for each part."""
        clean = model.process_latent_in(self._latents)
        x = self._with_picture(clean, clean)
        for number in range(len(x)):
            unet_input = self._unet_input(x, [number])
            recorded = record_one(model.diffusion_model, unet_input, layers, layer_calls)
            yield _RecordedParts([number], {block: states[None] for block, states in recorded.items()})

    def _with_picture(self, latents: Tensor, clean: Tensor) -> Tensor:
        """The UNet's input of latents (parts, 4, h, w), in its dtype: (parts, 4 or 9, h, w).

        clean: the latents without noise. An inpainting model also gets a mask of zeros, which says that nothing is
        to be painted, and the part itself, in this order, as in the host.
        """
        if not self._inpainting:
            return latents.to(self._contexts)
        paint_nothing = torch.zeros_like(clean[:, :1])
        return torch.cat([latents, paint_nothing, clean], dim=1).to(self._contexts)

    def _numbers_by_size(self) -> list[list[int]]:
        """The numbers of all parts, from 0, in a list for each size of window: parts of one list fit into one batch."""
        numbers: dict[tuple[int, int], list[int]] = {}
        for number in range(len(self._latents)):
            left, top, right, below = self._reference.windows[number]
            numbers.setdefault((right - left, below - top), []).append(number)
        return list(numbers.values())

    def _unet_input(self, x: Tensor, numbers: list[int]) -> UNetInput:
        """The UNet's input of the parts with these numbers, whose windows have one size. x: (parts, 4 or 9, h, w)."""
        windows: list[Tensor] = []
        for number in numbers:
            left, top, right, below = self._reference.windows[number]
            windows.append(x[number, :, top:below, left:right])
        context = torch.stack([self._contexts[number] for number in numbers])
        adm = None
        if self._adm is not None:
            adm = torch.stack([self._adm[number] for number in numbers])
        return UNetInput(torch.stack(windows), context, adm)

    def _tokens_in_masks(self, unet: UNetModel, numbers: list[int], block: Block, states: Tensor) -> TokensInside:
        """What `_make_tokens_in_masks` gives, made once in a run for all layers of a UNet block: they have one grid."""
        key = *numbers, block_of_unet(block), states.device
        if key not in self._kept_tokens:
            self._kept_tokens[key] = self._make_tokens_in_masks(unet, numbers, block, states)
        return self._kept_tokens[key]

    def _make_tokens_in_masks(self, unet: UNetModel, numbers: list[int], block: Block, states: Tensor) -> TokensInside:
        """Which of the tokens that a layer has seen of some parts lie in the parts' masks, and how much they count.

        numbers: of the parts. states: (parts, tokens, C), of the parts' windows alone. In the result, `numbers` are
        indices into states, and `dropped` counts tokens of the parts' whole pictures.
        """
        grid = _tokens_of(unet, block, *self._latents.shape[-2:])  # of a part's whole picture
        masks_in_windows: list[Tensor] = []  # (tokens,) each
        for number in numbers:
            mask = token_mask(self._reference.masks[number], math.prod(grid)).unflatten(0, grid)  # (rows, columns)
            rows, columns = _window_in_tokens(unet, block, self._reference.windows[number])
            masks_in_windows.append(mask[rows, columns].flatten())
        in_windows = tokens_inside(torch.stack(masks_in_windows), states)
        # Tokens outside of the window count as dropped, too. Each dropped token takes its share of the softmax, so a
        # part weighs the same with a window as without one.
        outside_of_window = math.prod(grid) - states.shape[1]
        return replace(in_windows, dropped=[dropped + outside_of_window for dropped in in_windows.dropped])


def _window_in_tokens(unet: UNetModel, block: Block, window: Rect) -> tuple[slice, slice]:
    """The rows and the columns of a block's tokens that lie in a window.

    window: (left, top, right, below) in latent pixels. Each side is a border between tokens in every layer, or an edge
    of the latent. So `top` latent pixels hold a whole number of rows of tokens, and that number is the window's first
    row; likewise for the other three sides.
    """
    left, top, right, below = window
    first_row, first_column = _tokens_of(unet, block, top, left)
    end_row, end_column = _tokens_of(unet, block, below, right)
    return slice(first_row, end_row), slice(first_column, end_column)


def _tokens_of(unet: UNetModel, block: Block, height: int, width: int) -> Grid:
    """The grid of tokens that a block makes of this many latent pixels."""
    return grids(unet, height, width)[block_of_unet(block)]


def _is_shared(layers: str, block: Block, times_smaller: float) -> bool:
    """Whether a layer is one of those that share.

    layers: the user's choice, one of LAYERS. times_smaller: how much smaller the layer's side is than the latent's.
    """
    if layers == UP_BLOCKS:
        return block[0] == "output"
    if layers == FINE_LAYERS:
        return times_smaller < _COARSE_FROM
    if layers == COARSE_LAYERS:
        return times_smaller >= _COARSE_FROM
    return True  # ALL_LAYERS
