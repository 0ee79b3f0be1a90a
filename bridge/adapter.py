"""Image tokens in cross-attention: they ride in CONDITIONING, every sampling run of the MODEL reads them.

An `Injection` holds the keys and values of every layer, projected once when the node runs, so that the MODEL needs
no adapter weights, nothing is projected per step, and another seed or prompt finds them in the host's cache. A
custom COND carries the injections of a conditioning entry row by row, so that positive and negative, masks,
timestep ranges and combined prompts work as the host made them.

Nothing of ours stands on the MODEL but one wrapper: it begins a `Run`, which puts its attention around whatever stands
in each layer when a forward starts. So other packs never meet ours, and the order of the nodes does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import count
from typing import Any, ClassVar, NamedTuple

import comfy.conds
import comfy.patcher_extension
import torch
from comfy.ldm.modules.attention import SpatialTransformer, optimized_attention
from torch import Tensor

from ..core.attention import decoupled, on_grid, region_weights
from ..core.errors import ConditioningLost, ModelNotPatched, WrongBaseModel
from .conditioning import Canvas, Conditioning

KEY = "likeness_injections"
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

    @property
    def heard(self) -> bool:
        """Whether the UNet reads anything of it."""
        return bool(self.layers)

    @property
    def placed(self) -> bool:
        """Whether it matters which part of the picture the UNet is given."""
        return self.regions is not None

    def of(self, picture: int) -> Injection:
        """For one picture of a batch."""
        return self

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


class Chunk(NamedTuple):
    """What the rows of one conditioning entry carry; size: (height, width) in latent pixels where it has an area."""

    carried: tuple[Any, ...]
    size: tuple[int, int] | None = None


class InjectionsCond(comfy.conds.CONDRegular):
    """A COND whose value is a tuple of injections; joined, it becomes the rows of a Run. `area` crops the regions.

    run: the sampling run that reads it, or None where the MODEL does not, see `serve`.
    """

    def __init__(
        self,
        cond: tuple[Any, ...],
        run: Run | None = None,
        pictures: int = 1,
        size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(cond)
        self.run, self.pictures, self.size_of_area = run, pictures, size

    def process_cond(self, batch_size: int, area: Any = None, **_: Any) -> InjectionsCond:
        if area is None:
            return InjectionsCond(self.cond, self.run, batch_size)
        cropped = tuple(injection.cropped(area) for injection in self.cond)
        return InjectionsCond(cropped, self.run, batch_size, (area[0], area[1]))

    def can_concat(self, other: InjectionsCond) -> bool:
        return len(self.cond) == len(other.cond) and all(a.alike(b) for a, b in zip(self.cond, other.cond, strict=True))

    def concat(self, others: Sequence[InjectionsCond]) -> Tensor:
        # The host asks for this right before each forward, and would hand it to a UNet that ignores it.
        if self.run is None:
            raise ModelNotPatched
        return self.run.rows(tuple(Chunk(cond.cond, cond.size_of_area) for cond in (self, *others)), self.pictures)

    def size(self) -> list[int]:
        return [1]


def inject(conditioning: Conditioning, injection: Any, key: str = KEY) -> Conditioning:
    """Every entry with one more injection under `key`."""
    return [[text, _with_injection(options, injection, key)] for text, options in conditioning]


def _with_injection(options: dict[str, Any], injection: Any, key: str) -> dict[str, Any]:
    conds = options.get("model_conds", {})
    before = conds[key].cond if key in conds else ()
    return {**options, "model_conds": {**conds, key: InjectionsCond((*before, injection))}}


# A sampling run


class Run:
    """One sampling run of a MODEL that reads what conditioning carries under `key`: who is in which row.

    In a batch that is a tensor with one line per row, like every other condition: where another pack's function around
    the MODEL takes rows apart, repeats or reorders them, ours go along.
    No dictionary, and no copies: the host copies those at every step.
    """

    key: ClassVar[str]

    def __init__(self, guider: Any) -> None:
        self._device = guider.model_patcher.load_device
        self._numbers, self._free = dict[Chunk, int](), count()
        self._chunks: dict[int, Chunk] = {}
        self._batches: dict[tuple[tuple[Chunk, ...], int], Tensor] = {}
        self._whole: dict[int, tuple[Chunk, ...]] = {}
        self._asked = self._arrived = False
        self._around: str = ""
        self._size: tuple[int, ...] | None = None

    def __deepcopy__(self, memo: Any) -> Run:
        return self

    def rows(self, chunks: tuple[Chunk, ...], pictures: int) -> Tensor:
        """(rows, 2): per row the number of its chunk, and of the picture in it.

        The same tensor for the same batch, on the device already: `read` knows it by that, without asking a GPU.
        """
        self._asked |= _heard(chunks)
        batch = chunks, pictures
        if batch not in self._batches:
            numbers = [self._numbers.setdefault(chunk, next(self._free)) for chunk in chunks]
            self._chunks |= dict(zip(numbers, chunks, strict=True))
            lines = [(number, picture) for number in numbers for picture in range(pictures)]
            kept = self._batches.setdefault(batch, torch.tensor(lines, device=self._device))
            self._whole[id(kept)] = chunks
        return self._batches[batch]

    def read(self, rows: Tensor) -> tuple[Chunk, ...]:
        """The chunks of a batch, of equally many rows each: the host's, or one per row where others have cut it."""
        whole = self._whole.get(id(rows))
        if whole is not None:
            return whole
        chunks = [(self._chunks[number], picture) for number, picture in rows.tolist()]
        return tuple(Chunk(tuple(one.of(picture) for one in carried), size) for (carried, size), picture in chunks)

    def evaluate(
        self, executor: Any, model: Any, conds: Any, x_in: Tensor, timestep: Tensor, model_options: dict[str, Any]
    ) -> Any:
        """CALC_COND_BATCH: all forwards of one step."""
        self._size, self._around = tuple(x_in.shape[-2:]), _around(model_options)
        out = executor(model, conds, x_in, timestep, model_options)
        if self._asked and not self._arrived:
            why = "drops conditions that it does not know, or makes transformer_options of its own"
            raise ConditioningLost(self._around, why)
        return out

    def forward(self, executor: Any, *args: Any, **kwargs: Any) -> Any:
        """DIFFUSION_MODEL: from the batched conditioning to where the UNet reads it."""
        rows: Tensor | None = kwargs.pop(self.key, None)
        if rows is None:
            return executor(*args, **kwargs)
        self._arrived = True
        chunks = self.read(rows)
        if not _heard(chunks):
            return executor(*args, **kwargs)
        self._check(args[0], len(rows), chunks)
        return self.denoise(tuple(chunk.carried for chunk in chunks), executor, *args, **kwargs)

    def denoise(self, chunks: tuple[tuple[Any, ...], ...], executor: Any, *args: Any, **kwargs: Any) -> Any:
        """One forward, with what each chunk carries. args: x, timesteps, context, y, control, transformer_options."""
        raise NotImplementedError

    def _check(self, x: Tensor, rows: int, chunks: Sequence[Chunk]) -> None:
        """Raise ConditioningLost where nobody can tell which row or which part of the picture is meant."""
        if len(x) != rows:
            raise ConditioningLost(self._around, f"hands over conditions of {rows} rows with {len(x)} of the pictures")
        found = tuple(x.shape[-2:])
        for carried, size in chunks:
            whole = size or self._size or found
            if whole != found and any(one.placed for one in carried):
                height, width = (8 * side for side in found)
                pixels = f"{width}x{height} of {8 * whole[1]}x{8 * whole[0]} px"
                raise ConditioningLost(self._around, f"shows it {pixels}, but regions or a pose belong to the whole")


def _heard(chunks: Sequence[Chunk]) -> bool:
    return any(one.heard for chunk in chunks for one in chunk.carried)


def _around(model_options: Mapping[str, Any]) -> str:
    """Where the code lives that other packs have put around the MODEL."""
    if "model_function_wrapper" in model_options:
        return module_of(model_options["model_function_wrapper"])
    wrappers = model_options["transformer_options"]["wrappers"]
    kinds = (_WRAPPERS.CALC_COND_BATCH, _WRAPPERS.APPLY_MODEL, _WRAPPERS.DIFFUSION_MODEL)
    functions = [one for kind in kinds for several in wrappers.get(kind, {}).values() for one in several]
    others = [one for one in functions if not isinstance(getattr(one, "__self__", None), Run)]
    return ", ".join(dict.fromkeys(module_of(one) for one in others)) or "unknown"


def module_of(function: Any) -> str:
    """Where the code of another pack's function lives."""
    return getattr(function, "__module__", None) or type(function).__module__


def taught(model: Any, key: str, begin: Callable[[Any, Tensor], Run]) -> Any:
    """A clone of the MODEL that reads what is under `key`; a MODEL that does already is returned as it is.

    begin: (guider, latent) at the start of every run -> the run.
    """
    if key in model.wrappers.get(_WRAPPERS.OUTER_SAMPLE, {}):
        return model
    clone = model.clone()
    clone.add_wrapper_with_key(_WRAPPERS.OUTER_SAMPLE, key, partial(_sample, begin))
    return clone


def _sample(begin: Callable[[Any, Tensor], Run], executor: Any, *args: Any, **kwargs: Any) -> Any:
    """OUTER_SAMPLE: the guider's options and conditioning are this run's own copies."""
    guider, latent = executor.class_obj, args[1] if len(args) > 1 else kwargs["latent_image"]
    run = begin(guider, latent)
    serve(guider, run)
    options = guider.model_options["transformer_options"]
    options[run.key] = run
    # Behind all others: what they hand on is what the UNet is given.
    comfy.patcher_extension.add_wrapper_with_key(_WRAPPERS.CALC_COND_BATCH, run.key, run.evaluate, options)
    comfy.patcher_extension.add_wrapper_with_key(_WRAPPERS.DIFFUSION_MODEL, run.key, run.forward, options)
    return executor(*args, **kwargs)


def serve(guider: Any, run: Run) -> None:
    """Tell the conditioning of one sampling run (the guider's own copies) who reads it."""
    for entry in (entry for side in guider.conds.values() for entry in side):
        conds = entry["model_conds"]
        if run.key in conds:
            entry["model_conds"] = {**conds, run.key: InjectionsCond(conds[run.key].cond, run)}


def carried(cond: Mapping[str, Any], options: Mapping[str, Any], key: str) -> list[tuple[Any, ...]]:
    """What each chunk of a batch carries under `key`, for a ControlNet that the host asks before the UNet."""
    return [chunk.carried for chunk in options[key].read(cond[key])] if key in cond else []


def is_within(window: tuple[float, float], sigmas: Tensor) -> bool:
    """Whether (start, end) is on. The whole schedule always is: asking a GPU for a number makes everybody wait."""
    start, end = window
    return (start >= ALWAYS[0] and end <= ALWAYS[1]) or start >= float(sigmas[0]) >= end


# Attention of a forward


def standing(options: Mapping[str, Any], attention: str, block: tuple[Any, ...]) -> Callable[..., Tensor] | None:
    """What others have put in place of `attention` (attn1, attn2) in this layer, as the host looks it up."""
    patches = options.get("patches_replace", {}).get(attention, {})
    return patches.get(block, patches.get(block[:2]))


def replaced(options: dict[str, Any], attention: str, patches: Mapping[Any, Callable[..., Tensor]]) -> dict[str, Any]:
    """A copy of transformer_options with these in place of `attention`."""
    before = options.get("patches_replace", {})
    return {**options, "patches_replace": {**before, attention: {**before.get(attention, {}), **patches}}}


def attend_with(extra_options: dict[str, Any]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    heads, precision = extra_options["n_heads"], extra_options["attn_precision"]

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return optimized_attention(q, k, v, heads, attn_precision=precision, transformer_options=extra_options)

    return attend


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


# Cross-attention with image tokens


def patched(model: Any, before_sampling: Callable[[Any], None] | None = None) -> Any:
    """A clone of the MODEL that reads injections; a MODEL that does already is returned as it is.

    before_sampling: called with the guider at the start of every run.
    """
    return taught(model, KEY, partial(_begin, before_sampling))


def _begin(before_sampling: Callable[[Any], None] | None, guider: Any, latent: Tensor) -> InjectionsRun:
    if before_sampling:
        before_sampling(guider)
    return InjectionsRun(guider, latent)


class InjectionsRun(Run):
    """The plans of one sampling run, gone with it."""

    key = KEY

    def __init__(self, guider: Any, latent: Tensor) -> None:
        super().__init__(guider)
        _fit(guider, latent)
        self._layers = [(name, number, index) for name, number, index, _ in attention_layers(guider.model_patcher)]
        self._plans: dict[tuple[Injection, ...], Plan] = {}

    def denoise(self, chunks: tuple[tuple[Any, ...], ...], executor: Any, *args: Any, **kwargs: Any) -> Any:
        *others, options = args
        if plans := self.plans(chunks, options["sigmas"]):
            ours = {
                block: DecoupledAttention(layer, standing(options, "attn2", block), plans)
                for layer, block in enumerate(self._layers)
            }
            options = replaced(options, "attn2", ours)
        return executor(*others, options, **kwargs)

    def plans(self, chunks: tuple[tuple[Injection, ...], ...], sigmas: Tensor) -> tuple[Plan, ...]:
        """One plan per injection that is switched on at these sigmas."""
        together = zip(*chunks, strict=True)
        return tuple(self._plan(each) for each in together if each[0].layers and is_within(each[0].sigmas, sigmas))

    def _plan(self, injections: tuple[Injection, ...]) -> Plan:
        if injections not in self._plans:
            self._plans[injections] = Plan(injections)
        return self._plans[injections]


@dataclass(frozen=True)
class DecoupledAttention:
    """The attn2 of one layer in one forward: what stands there, or the layer's own, plus the rows' injections."""

    layer: int
    before: Callable[..., Tensor] | None
    plans: tuple[Plan, ...]

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any]) -> Tensor:
        attend = attend_with(extra_options)
        out = self.before(q, k, v, extra_options) if self.before else attend(q, k, v)
        for plan in self.plans:
            out = out + plan.attended(q, self.layer, extra_options["activations_shape"], attend)
        return out


@dataclass(eq=False)
class Plan:
    """Injections of the chunks of one batch, on the device: keys, values and weights per layer, made on first use.

    The device is part of the keys: with several GPUs the host shares one run, and so one plan, between them.
    """

    injections: tuple[Injection, ...]
    """One per chunk, all alike."""
    layers: dict[tuple[int, int, torch.device], tuple[Tensor, Tensor]] = field(default_factory=dict)
    weights: dict[tuple[int, int, torch.device], Tensor] = field(default_factory=dict)

    def attended(self, q: Tensor, layer: int, shape: Sequence[int], attend: Any) -> Tensor:
        """What these injections add to one layer; q: (B, N, C), shape: of the block's input (B, C, H, W)."""
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
