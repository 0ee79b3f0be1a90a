"""Image tokens in cross-attention: they ride in CONDITIONING, a stateless patch on the MODEL reads them.

An `Injection` holds the keys and values of every layer, projected once when the node runs, so that the patch needs
no adapter weights, nothing is projected per step, and another seed or prompt finds them in the host's cache. A
custom COND carries the injections of a conditioning entry row by row, so that positive and negative, masks,
timestep ranges and combined prompts work as the host made them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

import comfy.conds
import comfy.patcher_extension
import torch
from comfy.ldm.modules.attention import SpatialTransformer, optimized_attention
from torch import Tensor

from ..core.attention import decoupled, on_grid, region_weights
from ..core.errors import AttentionTaken, ModelNotPatched, WrongBaseModel
from .conditioning import Canvas, Conditioning

KEY = "likeness_injections"
CACHE = "likeness_cache"
ALWAYS = (999999999.9, 0.0)
"""The host's sigmas for 0 % and 100 % of the schedule."""
_WRAPPERS = comfy.patcher_extension.WrappersMP


@dataclass(frozen=True, eq=False)
class Injection:
    """What one apply node adds to one side (positive or negative) of the conditioning.

    source: the same object on both sides; IdentityNet finds its tokens by it.
    tokens: (people, T, width) float32 CPU, unscaled, for IdentityNet.
    layers: per cross-attention layer ((people, T, C), (people, T, C)); adapter scale and weight are in the values.
    Empty where the adapter is switched off.
    regions: (people, H, W) weights of the whole picture, or None: one person heard everywhere.
    sigmas: (start, end), first and last sigma at which the adapter works.
    canvas: what the regions are parts of, or None where somebody else looks at its size.
    latent: (height, width) of the latent of this sampling run, or None outside of one.
    """

    source: object
    tokens: Tensor
    layers: tuple[tuple[Tensor, Tensor], ...]
    regions: Tensor | None
    sigmas: tuple[float, float]
    canvas: Canvas | None = None
    latent: tuple[int, int] | None = None
    _crops: dict[tuple[int, ...], Injection] = field(default_factory=dict, init=False)

    def __deepcopy__(self, memo: Any) -> Injection:
        return self  # immutable, and shared by every clone on purpose

    def cropped(self, area: Sequence[int]) -> Injection:
        """For an entry with an area (height, width, y, x in latent pixels): the UNet sees only that part."""
        if self.regions is None:
            return self
        key = tuple(area)
        if key not in self._crops:
            high, wide = self.regions.shape[1:]
            latent_high, latent_wide = self.latent or (high // 8, wide // 8)
            height, width, y, x = key
            rows, columns = _part(y, height, high, latent_high), _part(x, width, wide, latent_wide)
            self._crops[key] = replace(self, regions=self.regions[:, rows, columns])
        return self._crops[key]

    def alike(self, other: Injection) -> bool:
        """Whether rows with these two can be computed in one batch."""
        return (
            self.regions is other.regions
            and self.source is other.source
            and self.sigmas == other.sigmas
            and self.tokens.shape == other.tokens.shape
            and len(self.layers) == len(other.layers)
        )


def _part(start: int, length: int, pixels: int, cells: int) -> slice:
    """The pixels that belong to `length` cells of a latent from `start` on: all that they touch."""
    return slice(start * pixels // cells, -(-(start + length) * pixels // cells))


@dataclass(frozen=True, eq=False)
class Rows:
    """The injections of a batch: one tuple per chunk, as the host concatenates conditioning."""

    chunks: tuple[tuple[Any, ...], ...]

    def of(self, source: object) -> list[Any]:
        """Each chunk's injection from one apply node."""
        return [injection for chunk in self.chunks for injection in chunk if injection.source is source]


class InjectionsCond(comfy.conds.CONDRegular):
    """A COND whose value is a tuple of injections; joined, it becomes Rows. `area` crops the regions.

    read: whether the MODEL of this sampling run reads them, see `serve`.
    """

    def __init__(self, cond: tuple[Any, ...], read: bool = False) -> None:
        super().__init__(cond)
        self.read = read

    def process_cond(self, batch_size: int, area: Any = None, **_: Any) -> InjectionsCond:
        if area is None:
            return self
        return InjectionsCond(tuple(injection.cropped(area) for injection in self.cond), self.read)

    def can_concat(self, other: InjectionsCond) -> bool:
        return len(self.cond) == len(other.cond) and all(a.alike(b) for a, b in zip(self.cond, other.cond, strict=True))

    def concat(self, others: Sequence[InjectionsCond]) -> Rows:
        # The host asks for this right before each forward, and would hand it to a UNet that ignores it.
        if not self.read:
            raise ModelNotPatched
        return Rows((self.cond, *(other.cond for other in others)))

    def size(self) -> list[int]:
        return [1]


def inject(conditioning: Conditioning, injection: Any, key: str = KEY) -> Conditioning:
    """Every entry with one more injection under `key`."""
    return [[text, _with_injection(options, injection, key)] for text, options in conditioning]


def _with_injection(options: dict[str, Any], injection: Any, key: str) -> dict[str, Any]:
    conds = options.get("model_conds", {})
    before = conds[key].cond if key in conds else ()
    return {**options, "model_conds": {**conds, key: InjectionsCond((*before, injection))}}


def serve(guider: Any, key: str) -> None:
    """Tell the conditioning of one sampling run (the guider's own copies) that its MODEL reads what is under `key`."""
    for entry in (entry for side in guider.conds.values() for entry in side):
        conds = entry["model_conds"]
        if key in conds:
            entry["model_conds"] = {**conds, key: InjectionsCond(conds[key].cond, read=True)}


# The MODEL


def attention_layers(model: Any) -> list[tuple[str, int, int, int]]:
    """(block, number, index, query width) of every cross-attention layer, in diffusers' order: down, up, mid.

    Raises WrongBaseModel for a MODEL that is not a UNet with cross-attention.
    """
    found = transformers(model.get_model_object("diffusion_model"))
    return [(name, number, index, block.attn2.to_q.out_features) for name, number, index, block in found]


def transformers(unet: Any) -> list[tuple[str, int, int, Any]]:
    """(block, number, index, BasicTransformerBlock) of a UNet, in diffusers' order: down, up, mid.

    Raises WrongBaseModel for a network that is not a UNet with cross-attention.
    """
    if not hasattr(unet, "middle_block"):
        raise WrongBaseModel("The MODEL", type(unet).__name__, "a UNet of the SD family")
    blocks = [
        *(("input", number, block) for number, block in enumerate(unet.input_blocks)),
        *(("output", number, block) for number, block in enumerate(unet.output_blocks)),
        ("middle", 0, unet.middle_block or ()),  # some distilled models have none
    ]
    return [
        (name, number, index, transformer)
        for name, number, block in blocks
        for module in block
        if isinstance(module, SpatialTransformer)
        for index, transformer in enumerate(module.transformer_blocks)
    ]


def text_width(model: Any) -> int:
    """Of the text that a MODEL's UNet reads. Raises WrongBaseModel for a MODEL that is none."""
    return transformers(model.get_model_object("diffusion_model"))[0][-1].attn2.to_k.in_features


def patched(model: Any, before_sampling: Callable[[Any], None] | None = None) -> Any:
    """A clone of the MODEL that reads injections; a MODEL that does already is returned as it is.

    before_sampling: called with the guider at the start of every run.
    """
    if KEY in model.wrappers.get(_WRAPPERS.DIFFUSION_MODEL, {}):
        return model
    clone = model.clone()
    clone.add_wrapper_with_key(_WRAPPERS.OUTER_SAMPLE, KEY, partial(_with_cache, before_sampling))
    clone.add_wrapper_with_key(_WRAPPERS.DIFFUSION_MODEL, KEY, _hand_over)
    clone.add_callback_with_key(comfy.patcher_extension.CallbacksMP.ON_CLONE, KEY, _own_patches)
    options = clone.model_options["transformer_options"]
    existing = options.get("patches_replace", {}).get("attn2", {})
    for layer, (name, number, index, _) in enumerate(attention_layers(model)):
        # A 3-tuple hides a 2-tuple of the same block, so either one is called by ours.
        before = existing.get((name, number, index)) or existing.get((name, number))
        clone.set_model_attn2_replace(DecoupledAttention(layer, before), name, number, index)
    return clone


def _own_patches(_: Any, clone: Any) -> None:
    """Give a clone its own copies: other packs add to the patch they find, which 0.33 shares between clones."""
    attn2 = clone.model_options["transformer_options"]["patches_replace"]["attn2"]
    attn2.update({key: patch.copy() for key, patch in attn2.items() if isinstance(patch, DecoupledAttention)})


class DecoupledAttention:
    """The attn2 replacement of one layer: whatever was there before, plus the injections of the rows it is given.

    Immutable but for `add`, which other packs call on what they find in their place (IPAdapter_plus, InstantID,
    PuLID): callback(out, q, k, v, extra_options, **kwargs) between the sigmas in kwargs.
    """

    def __init__(self, layer: int, before: Callable[..., Tensor] | None) -> None:
        self.layer, self.before = layer, before
        self.added: list[tuple[Callable[..., Tensor], dict[str, Any]]] = []

    def copy(self) -> DecoupledAttention:
        copy = DecoupledAttention(self.layer, self.before)
        copy.added = list(self.added)
        return copy

    def __deepcopy__(self, memo: Any) -> DecoupledAttention:
        return self.copy()

    def add(self, callback: Callable[..., Tensor], **kwargs: Any) -> None:
        self.added.append((callback, kwargs))

    def to(self, target: Any) -> DecoupledAttention:
        """The host moves patches by this; passed on to what was there before."""
        move = getattr(self.before, "to", None)
        if move is not None:
            self.before = move(target)
        return self

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any]) -> Tensor:
        attend = attend_with(extra_options)
        out = self.before(q, k, v, extra_options) if self.before else attend(q, k, v)
        for callback, kwargs in self.added:
            if is_within((kwargs.get("sigma_start", 1e9), kwargs.get("sigma_end", 0.0)), extra_options["sigmas"]):
                out = out + callback(out, q, k, v, extra_options, **kwargs)
        for plan in extra_options.get(KEY, ()):
            out = out + plan.attended(q, self.layer, extra_options["activations_shape"], attend)
        return out


def attend_with(extra_options: dict[str, Any]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    heads, precision = extra_options["n_heads"], extra_options["attn_precision"]

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return optimized_attention(q, k, v, heads, attn_precision=precision, transformer_options=extra_options)

    return attend


# One sampling run


@dataclass(eq=False)
class Plan:
    """Injections of the chunks of one batch, on the device: keys, values and weights per layer, made on first use.

    The device is part of the keys: with several GPUs the host shares one run, and so one plan, between them.
    """

    injections: tuple[Injection, ...]
    """One per chunk, all alike."""
    layers: dict[tuple[int, int, torch.device], tuple[Tensor, Tensor]] = field(default_factory=dict)
    weights: dict[tuple[int, int, torch.device], Tensor] = field(default_factory=dict)
    reached: set[int] = field(default_factory=set)
    """Layers that have read it."""

    def attended(self, q: Tensor, layer: int, shape: Sequence[int], attend: Any) -> Tensor:
        """What these injections add to one layer; q: (B, N, C), shape: of the block's input (B, C, H, W)."""
        self.reached.add(layer)
        return decoupled(q, *self._layer(layer, q), self._weights(shape[-2], shape[-1], q), attend)

    def _layer(self, layer: int, q: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (people, B, T, C) in the query's dtype and place."""
        key = layer, len(q), q.device
        if key not in self.layers:
            rows = len(q) // len(self.injections)
            pairs = zip(*(injection.layers[layer] for injection in self.injections), strict=True)
            keys, values = (torch.stack(sides, dim=1).to(q).repeat_interleave(rows, dim=1) for sides in pairs)
            self.layers[key] = keys, values
        return self.layers[key]

    def _weights(self, height: int, width: int, q: Tensor) -> Tensor | None:
        regions = self.injections[0].regions
        if regions is None:
            return None
        key = height, width, q.device
        if key not in self.weights:
            self.weights[key] = on_grid(region_weights(regions), height, width)[:, None].to(q)  # people 1 tokens 1
        return self.weights[key]


class RunCache:
    """The plans of one sampling run, gone with it. No dictionary: the host copies those at every step."""

    def __init__(self) -> None:
        self._plans: dict[tuple[Injection, ...], Plan] = {}

    def __deepcopy__(self, memo: Any) -> RunCache:
        return self

    def plans(self, rows: Rows, sigmas: Tensor) -> tuple[Plan, ...]:
        """One plan per injection that is switched on at these sigmas."""
        together = zip(*rows.chunks, strict=True)
        return tuple(self._plan(each) for each in together if each[0].layers and is_within(each[0].sigmas, sigmas))

    def _plan(self, injections: tuple[Injection, ...]) -> Plan:
        if injections not in self._plans:
            self._plans[injections] = Plan(injections)
        return self._plans[injections]


def is_within(window: tuple[float, float], sigmas: Tensor) -> bool:
    """Whether (start, end) is on. The whole schedule always is: asking a GPU for a number makes everybody wait."""
    start, end = window
    return (start >= ALWAYS[0] and end <= ALWAYS[1]) or start >= float(sigmas[0]) >= end


def _with_cache(before_sampling: Callable[[Any], None] | None, executor: Any, *args: Any, **kwargs: Any) -> Any:
    """OUTER_SAMPLE: the guider's options are this run's own copy."""
    if before_sampling:
        before_sampling(executor.class_obj)
    _fit(executor.class_obj, args[1] if len(args) > 1 else kwargs["latent_image"])
    serve(executor.class_obj, KEY)
    executor.class_obj.model_options.setdefault("transformer_options", {})[CACHE] = RunCache()
    return executor(*args, **kwargs)


def _fit(guider: Any, latent: Tensor) -> None:
    """Tell the injections of one sampling run (the guider's own copies) how large it is."""
    height, width = latent.shape[-2:]
    fitted = cache(lambda injection: replace(injection, latent=(height, width)))
    canvases: dict[Canvas, Tensor] = {}
    for entry in (entry for side in guider.conds.values() for entry in side):
        conds = entry["model_conds"]
        if KEY in conds:
            entry["model_conds"] = {**conds, KEY: InjectionsCond(tuple(map(fitted, conds[KEY].cond)))}
            canvases |= {i.canvas: i.regions for i in conds[KEY].cond if i.canvas and i.regions is not None}
    for canvas, regions in canvases.items():
        canvas.check((regions.shape[2], regions.shape[1]), (8 * width, 8 * height))


def _hand_over(executor: Any, *args: Any, **kwargs: Any) -> Any:
    """DIFFUSION_MODEL: from the batched conditioning to where the attention patches can see it."""
    rows: Rows | None = kwargs.pop(KEY, None)
    if rows is None:
        return executor(*args, **kwargs)
    *others, options = args
    plans = (options.get(CACHE) or RunCache()).plans(rows, options["sigmas"])
    out = executor(*others, {**options, KEY: plans}, **kwargs)
    for plan in plans:
        _check_reached(plan, options)
    return out


def _check_reached(plan: Plan, options: dict[str, Any]) -> None:
    """Raise AttentionTaken when another node put its own function over ours without calling it."""
    if len(plan.reached) == len(plan.injections[0].layers):
        return
    attn2 = options.get("patches_replace", {}).get("attn2", {}).values()
    lost = len(plan.injections[0].layers) - sum(isinstance(patch, DecoupledAttention) for patch in attn2)
    others = [patch for patch in attn2 if not isinstance(patch, DecoupledAttention)]
    if lost > 0 and others:
        kept = "which keeps what it finds"
        raise AttentionTaken(module_of(others[0]), "Apply InstantID (Likeness)", "cross-attention", lost, "faces", kept)


def module_of(patch: Any) -> str:
    """Where the code of another pack's patch lives."""
    return getattr(patch, "__module__", None) or type(patch).__module__
