"""Masked self-attention shared with parts: recorded by one UNet, read by another.

The conditioning carries the bank of the parts; a row that carries none attends to itself alone. A sampling run
projects the parts' tokens with each layer's own modules, once, so that LoRAs, casts and offloading of the denoiser
apply to them as to everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import comfy.utils
import torch
import torch.nn.functional as functional
from comfy.ldm.modules.attention import attention_pytorch
from torch import Tensor

from ..core.errors import BadSize, TokensMoved, parts_twice
from ..core.parts.attention import part_shares, shared
from ..core.parts.bank import Bank, Block, PartTokens, PartWeights, key_bias
from .carried import Carried, Run, install, put
from .conditioning import Conditioning
from .unet import attend_with, replaced, standing, transformers

KEY = "likeness_sharing"
_WATCHED_TOKENS = 2048
"""Finer layers are left out of the heat maps: every logit of a layer is held at once."""


@dataclass(frozen=True, eq=False)
class Watch:
    """step: counted from 1. show: given the parts' shares of the attention at that step, (parts, h, w), 0..1."""

    step: int
    show: Callable[[Tensor], None]

    def __deepcopy__(self, memo: Any) -> Watch:
        return self


class Reference(Protocol):
    """Parts that the denoiser itself sees, at every step or once per run."""

    @property
    def every_step(self) -> bool: ...

    def __call__(self, unet: Any, timesteps: Tensor, sigma: float, dtype: torch.dtype) -> Bank:
        """Recorded by the denoiser as it is now: with its LoRAs, cast and offloaded as in this run."""
        ...


@dataclass(frozen=True, eq=False)
class SharedParts(Carried):
    """What a node of the parts adds to one side of the conditioning.

    bank: what the reference UNet saw, or None where this side attends to itself alone (the negative). A layer that
    is not in the bank attends to itself alone, too.
    pose: (B, C, h, w) added after the first convolution, or None; one for all pictures, or one for each.
    """

    bank: Bank | None
    weights: PartWeights
    pose: Tensor | None = None
    live: Reference | None = None
    """Instead of a bank: who records it while sampling."""
    size: tuple[int, int] | None = None
    """(width, height) in pixels of the picture the parts were encoded for, or None: of any."""
    watch: Watch | None = None
    """Where the attention of one step goes is shown to this."""

    @property
    def heard(self) -> bool:
        return bool(self.bank) or self.live is not None or self.pose is not None

    @property
    def placed(self) -> bool:
        return self.pose is not None or self.weights.targets is not None

    def of(self, picture: int) -> SharedParts:
        if self.pose is None or len(self.pose) == 1:
            return self
        number = picture % len(self.pose)
        pose = self.pose[[number]]
        return self.piece(number, lambda: replace(self, pose=pose))

    def cut(self, area: Sequence[int], latent: Sequence[int]) -> SharedParts:
        weights = replace(self.weights, targets=_cut(self.weights.targets, [8 * side for side in area]))
        return replace(self, pose=_cut(self.pose, area), weights=weights)

    def alike(self, other: Any) -> bool:
        """Both sides of one node go through the UNet in one batch."""
        return self.source is other.source

    def bank_of(self, block: Block) -> Sequence[PartTokens]:
        """What this layer reads: nothing where it attends to itself alone."""
        return self.bank.get(block, ()) if self.bank else ()


def _cut(picture: Tensor | None, area: Sequence[int]) -> Tensor | None:
    height, width, y, x = area
    return None if picture is None else picture[..., y : y + height, x : x + width]


def share_with(conditioning: Conditioning, parts: SharedParts) -> Conditioning:
    """Every entry with the parts in it. Raises BadParts where there are parts already."""
    if any(KEY in options.get("model_conds", {}) for _, options in conditioning):
        raise parts_twice()
    return put(conditioning, parts, KEY)


def patched(model: Any) -> Any:
    """A clone of the MODEL that reads shared parts; a MODEL that does already is returned as it is."""
    return install(model, KEY, SharingRun)


# Recording


def record(unet: Any, x: Tensor, timesteps: Tensor, context: Tensor, y: Tensor | None = None) -> dict[Block, Tensor]:
    """Run a UNet and keep what every layer's self-attention sees after its norm: block -> (B, tokens, C).

    x: (B, 4, h, w) scaled as the UNet takes it; timesteps (B,); context (B, T, width); y: (B, adm) for SDXL.
    Other packs' patches take no part.
    """
    seen: dict[Block, Tensor] = {}

    def recorder(n: Tensor, keys: Tensor, values: Tensor, extra: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        seen[(*extra["block"], extra["block_index"])] = n
        return n, keys, values

    unet(x, timesteps, context=context, y=y, control=None, transformer_options={"patches": {"attn1_patch": [recorder]}})
    return seen


def record_at_zero(model: Any, latent: Tensor, context: Tensor) -> dict[Block, Tensor]:
    """`record_one` with a loaded ModelPatcher."""
    place = model.load_device, model.model.manual_cast_dtype or model.model.get_dtype()
    return record_one(model.model.diffusion_model, latent.to(*place), context.to(*place))


def record_one(unet: Any, x: Tensor, context: Tensor, y: Tensor | None = None) -> dict[Block, Tensor]:
    """`record` of one part, (1, ...), once at t = 0, kept on the CPU: block -> (tokens, C)."""
    seen = record(unet, x, torch.zeros(1, device=x.device), context, y)
    return {block: states[0].cpu() for block, states in seen.items()}


# One sampling run


class SharingRun(Run):
    """What one sampling run shows of parts, and what other nodes have put on the MODEL for all of it."""

    key = KEY

    def __init__(self, guider: Any, latent: Tensor) -> None:
        super().__init__(guider, latent)
        for parts in self.everything(guider):
            _check_size(parts.size, (8 * latent.shape[-1], 8 * latent.shape[-2]))
        self._memory = Memory()
        self._others = {"patches_replace": guider.model_options["transformer_options"].get("patches_replace", {})}

    def denoise(self, chunks: tuple[tuple[Any, ...], ...], executor: Any, *args: Any, **kwargs: Any) -> Any:
        *others, options = args
        forward = self._forward([next(iter(chunk), None) for chunk in chunks], executor.class_obj, args)
        out = executor(*others, self._with(forward, options), **kwargs)
        forward.show()
        return out

    def _forward(self, chunks: Sequence[SharedParts | None], unet: Any, args: Sequence[Any]) -> Forward:
        x, timesteps, *_, options = args
        sigmas, memory = options["sigmas"], self._memory
        on = any(parts is not None and parts.is_on(sigmas) for parts in chunks)
        if on and (live := next((parts.live for parts in chunks if parts is not None and parts.live), None)):
            memory = memory.for_one_step() if live.every_step else memory
            chunks = [
                parts and memory.recorded(parts, lambda live: live(unet, timesteps[:1], float(sigmas[0]), x.dtype))
                for parts in chunks
            ]
        watch = _watching(chunks, sigmas, options.get("sample_sigmas")) if on else None
        return Forward(tuple(chunks), unet, memory, on, watch)

    def _with(self, forward: Forward, options: dict[str, Any]) -> dict[str, Any]:
        """transformer_options with the attention and the poses of this forward.

        What others put in place of self-attention for this forward alone stays (the host's guidance nodes do so for a
        pass of theirs); what stands there through the run serves the rows without parts.
        """
        found = {block: standing(options, "attn1", block) for block in forward.blocks}
        kept = {b: f for b, f in found.items() if f is None or f is standing(self._others, "attn1", b)}
        options = replaced(options, "attn1", {block: SharedAttention(forward, f) for block, f in kept.items()})
        if any(parts and parts.pose is not None for parts in forward.chunks):
            patches = options.get("patches", {})
            with_ours = [*patches.get("input_block_patch", ()), forward.with_pose]
            options["patches"] = {**patches, "input_block_patch": with_ours}
        return options


def _check_size(encoded: tuple[int, int] | None, size: tuple[int, int]) -> None:
    """Raise BadSize for parts that were encoded for a picture of another size than this run's."""
    if encoded not in (None, size):
        raise BadSize(
            "The latent", size, f"the parts were encoded for {encoded[0]}x{encoded[1]} px",
            "Give the latent and the node of the parts (Encode Parts or Share Parts Attention) the same width and "
            "height; a second pass at another size needs that node once more, at that size.",
        )  # fmt: skip


def _watching(chunks: Sequence[SharedParts | None], sigmas: Tensor, schedule: Tensor | None) -> Watch | None:
    """Who watches the step at these sigmas; schedule: every sigma of the run."""
    watches = [parts.watch for parts in chunks if parts is not None and parts.bank and parts.watch]
    if schedule is None or not watches:
        return None
    step = int((schedule > float(sigmas[0]) * 1.000001).sum()) + 1
    return next((watch for watch in watches if watch.step == step), None)


@dataclass(frozen=True)
class Projected:
    """The parts of one layer, ready to be attended to. keys, values: (1, kept + sink, C); bias: bank.key_bias."""

    keys: Tensor
    values: Tensor
    bias: Tensor | None


class Memory:
    """What one sampling run needs to make once only."""

    def __init__(self) -> None:
        self.projected: dict[tuple[Any, ...], Projected] = {}
        self.biases: dict[tuple[Any, ...], Tensor | None] = {}
        self.poses: dict[tuple[Any, ...], Tensor] = {}
        self._banks: dict[Reference, Bank] = {}
        self._recorded: dict[SharedParts, SharedParts] = {}

    def for_one_step(self) -> Memory:
        """With nothing projected: a reference that is recorded at every step shows other tokens each time."""
        memory = Memory()
        memory.biases = self.biases
        return memory

    def recorded(self, parts: SharedParts, record: Callable[[Reference], Bank]) -> SharedParts:
        """With a bank in place of `live`; one recording for everything that one node has put in."""
        if parts.live is None:
            return parts
        if parts.live not in self._banks:
            self._banks[parts.live] = record(parts.live)
        if parts not in self._recorded:
            self._recorded[parts] = replace(parts, bank=self._banks[parts.live], live=None)
        return self._recorded[parts]


class Forward:
    """One forward of the UNet: who shares, and what the run remembers.

    watched: what the layers have shown, (parts, h, w) each, where somebody watches.
    """

    def __init__(
        self,
        chunks: tuple[SharedParts | None, ...],
        unet: Any,
        memory: Memory,
        shares: bool,
        watch: Watch | None = None,
    ) -> None:
        self.chunks, self.memory, self.shares = chunks, memory, shares
        self.watched: list[Tensor] | None = None if watch is None else []
        self._unet, self._watch = unet, watch

    @property
    def blocks(self) -> set[Block]:
        """Where anybody shares."""
        banks = [parts.bank for parts in self.chunks if self.shares and parts and parts.bank]
        return {block for bank in banks for block, tokens in bank.items() if tokens}

    def readers(self, block: Block) -> tuple[SharedParts | None, ...]:
        """Per chunk, what it shares at this layer; all None where nobody does."""
        return tuple(parts if self.shares and parts and parts.bank_of(block) else None for parts in self.chunks)

    def with_pose(self, h: Tensor, options: dict[str, Any]) -> Tensor:
        """The host's input block patch: each chunk's pose, added behind the first convolution."""
        if options["block"] != ("input", 0):
            return h
        pieces = h.chunk(len(self.chunks))
        poses = [self._pose(parts, h) if parts else None for parts in self.chunks]
        return torch.cat([x if pose is None else _with_pose(x, pose) for x, pose in zip(pieces, poses, strict=True)])

    def _pose(self, parts: SharedParts, x: Tensor) -> Tensor | None:
        """The pose of a chunk beside x, (B, C, h, w) or None."""
        if parts.pose is None:
            return None
        key = (parts, x.device, x.dtype)
        if key not in self.memory.poses:
            self.memory.poses[key] = parts.pose.to(x)
        return self.memory.poses[key]

    def projected(self, parts: SharedParts, block: Block, own: Tensor, grid: tuple[int, int]) -> Projected:
        """What is attended to beside one's own keys, (B, N, C), in a layer of this grid (height, width)."""
        key = (parts, block, grid, own.shape[1], own.device)
        if key not in self.memory.projected:
            self.memory.projected[key] = self._project(parts, block, own, grid)
        return self.memory.projected[key]

    def _project(self, parts: SharedParts, block: Block, own: Tensor, grid: tuple[int, int]) -> Projected:
        bank = parts.bank_of(block)
        tokens = torch.cat([part.kept for part in bank])[None].to(own)
        attention = self._modules[block].attn1
        sink = any(part.dropped for part in bank)
        keys, values = (functional.pad(to(tokens), (0, 0, 0, int(sink))) for to in (attention.to_k, attention.to_v))
        return Projected(keys, values, self._bias(bank, parts.weights, own, grid))

    @cached_property
    def _modules(self) -> dict[Block, Any]:
        return {(name, number, index): module for name, number, index, module in transformers(self._unet)}

    def _bias(
        self, bank: Sequence[PartTokens], weights: PartWeights, own: Tensor, grid: tuple[int, int]
    ) -> Tensor | None:
        """bank.key_bias, one for all layers and steps that need the same: with targets it is large."""
        counts = tuple((len(part.kept), part.dropped) for part in bank)
        key = (weights, counts, own.shape[1], grid, own.device, own.dtype)
        if key not in self.memory.biases:
            bias = key_bias(bank, own.shape[1], weights, grid)
            self.memory.biases[key] = None if bias is None else bias.to(own)
        return self.memory.biases[key]

    def show(self) -> None:
        """The heat maps of this forward to whoever watches: the mean over the layers at the finest grid among them."""
        if self._watch and self.watched:
            size = max(tuple(one.shape[1:]) for one in self.watched)
            maps = [functional.interpolate(one[None], size=size)[0] for one in self.watched]
            self._watch.show(torch.stack(maps).mean(dim=0).cpu())


def _with_pose(x: Tensor, pose: Tensor) -> Tensor:
    return x + comfy.utils.repeat_to_batch_size(pose, len(x))


# One layer


@dataclass(frozen=True, eq=False)
class SharedAttention:
    """The attn1 of one layer in one forward: rows with parts look at these too, all others are left as they were.

    before: another node's replacement, which goes on serving the rows without parts.
    """

    forward: Forward
    before: Callable[..., Tensor] | None

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any]) -> Tensor:
        block = (*extra_options["block"], extra_options["block_index"])
        readers, alone = self.forward.readers(block), attend_with(extra_options)
        if len(q) % len(readers):
            return self.before(q, k, v, extra_options) if self.before else alone(q, k, v)
        rows = len(q) // len(readers)
        # Others count on all rows of the batch, so theirs is called with all of them.
        theirs = self.before(q, k, v, extra_options).split(rows) if self.before else None
        # HyperTile makes several rows of one query and leaves keys and values to be cut alike by the kernel.
        k, v = (x.reshape(len(q), -1, x.shape[-1]) for x in (k, v))
        out: list[Tensor] = []
        for n, (who, *own) in enumerate(zip(readers, q.split(rows), k.split(rows), v.split(rows), strict=True)):
            if who:
                out.append(_shared(self.forward, who, block, own, extra_options))
            else:
                out.append(theirs[n] if theirs else alone(*own))
        return torch.cat(out)


def _shared(
    forward: Forward, parts: SharedParts, block: Block, own: Sequence[Tensor], extra_options: dict[str, Any]
) -> Tensor:
    """own: queries, keys and values of the picture, (B, N, C) each."""
    q, k, v = own
    height, width = (int(side) for side in extra_options["activations_shape"][-2:])
    if parts.weights.targets is not None and q.shape[1] != height * width:
        raise TokensMoved(q.shape[1], width, height)
    beside = forward.projected(parts, block, k, (height, width))
    if forward.watched is not None and q.shape[1] == height * width <= _WATCHED_TOKENS:
        counts = [len(part.kept) for part in parts.bank_of(block)]
        maps = part_shares(q[:1], k[:1], beside.keys, counts, beside.bias, extra_options["n_heads"])
        forward.watched.append(maps.unflatten(1, (height, width)))
    # On a CPU the host's choices write out all logits, which takes three times as long.
    kernel = attention_pytorch if q.device.type == "cpu" else None
    return shared(q, (k, v), (beside.keys, beside.values), attend_with(extra_options, kernel, beside.bias))
