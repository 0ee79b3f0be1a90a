"""Masked shared self-attention on the host: recorded by one UNet, read by another.

The conditioning carries the bank of the parts; a row that carries none attends to itself alone. A sampling run
projects the parts' tokens with each layer's own modules, once, so that LoRAs, casts and offloading of the denoiser
apply to them as to everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import comfy.utils
import torch
import torch.nn.functional as functional
from comfy.ldm.modules.attention import attention_pytorch, optimized_attention
from torch import Tensor

from ..core.attention import part_shares, shared
from ..core.errors import BadSize, PartsTwice, TokensMoved
from ..core.parts.bank import Bank, Block, PartTokens, Share, key_bias
from .adapter import Run, inject, is_within, replaced, standing, taught, transformers
from .conditioning import Conditioning

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
class Sharing:
    """What Apply Parts adds to one side of the conditioning.

    bank: what the reference UNet saw, or None where this side attends to itself alone (the negative). A layer that
    is not in the bank attends to itself alone, too.
    pose: (B, C, h, w) added after the first convolution, or None; one for all pictures, or one for each.
    sigmas: (start, end) of the sharing.
    """

    source: object
    bank: Bank | None
    share: Share
    pose: Tensor | None
    sigmas: tuple[float, float]
    live: Reference | None = None
    """Instead of a bank: who records it while sampling."""
    size: tuple[int, int] | None = None
    """(width, height) in pixels of the picture the parts were encoded for, or None: of any."""
    watch: Watch | None = None
    """Where the attention of one step goes is shown to this."""
    _crops: dict[tuple[int, ...], Sharing] = field(default_factory=dict, init=False)

    def __deepcopy__(self, memo: Any) -> Sharing:
        return self  # immutable, and shared by every clone on purpose

    @property
    def heard(self) -> bool:
        """Whether the UNet reads anything of it."""
        return bool(self.bank) or self.live is not None or self.pose is not None

    @property
    def placed(self) -> bool:
        """Whether it matters which part of the picture the UNet is given."""
        return self.pose is not None or self.share.targets is not None

    def of(self, picture: int) -> Sharing:
        """For one picture of a batch."""
        if self.pose is None or len(self.pose) == 1:
            return self
        key = (picture,)
        if key not in self._crops:
            self._crops[key] = replace(self, pose=self.pose[[picture % len(self.pose)]])
        return self._crops[key]

    def cropped(self, area: Sequence[int]) -> Sharing:
        """For an entry with an area (height, width, y, x in latent pixels): the UNet sees only that part."""
        if not self.placed:
            return self
        key = tuple(area)
        if key not in self._crops:
            # Remembered, because what is projected for a Sharing is found by it at the next step.
            share = replace(self.share, targets=_cut(self.share.targets, [8 * side for side in key]))
            self._crops[key] = replace(self, pose=_cut(self.pose, key), share=share)
        return self._crops[key]

    def bank_of(self, block: Block) -> Sequence[PartTokens]:
        """What this layer reads: nothing where it attends to itself alone."""
        return self.bank.get(block, ()) if self.bank else ()

    def alike(self, other: Sharing) -> bool:
        """Rows of both sides of one node go through the UNet in one batch."""
        return self.source is other.source


def _cut(picture: Tensor | None, area: Sequence[int]) -> Tensor | None:
    height, width, y, x = area
    return None if picture is None else picture[..., y : y + height, x : x + width]


def share_with(conditioning: Conditioning, sharing: Sharing) -> Conditioning:
    """Every entry with the parts in it. Raises PartsTwice where there are parts already."""
    if any(KEY in options.get("model_conds", {}) for _, options in conditioning):
        raise PartsTwice
    return inject(conditioning, sharing, KEY)


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


# The MODEL


def patched(model: Any) -> Any:
    """A clone of the MODEL that reads shared parts; a MODEL that does already is returned as it is."""
    return taught(model, KEY, SharingRun)


@dataclass(frozen=True, eq=False)
class SharedAttention:
    """The attn1 of one layer in one forward: rows with parts look at these too, all others are left as they were.

    before: another node's replacement, which goes on serving the rows without parts.
    """

    turn: Turn
    before: Callable[..., Tensor] | None

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any]) -> Tensor:
        block = (*extra_options["block"], extra_options["block_index"])
        readers = self.turn.readers(block)
        if len(q) % len(readers):
            return self._alone(q, k, v, extra_options)
        rows = len(q) // len(readers)
        # Others count on all rows of the batch, so theirs is called with all of them.
        theirs = self.before(q, k, v, extra_options).split(rows) if self.before else None
        # HyperTile makes several rows of one query and leaves keys and values to be cut alike by the kernel.
        k, v = (x.reshape(len(q), -1, x.shape[-1]) for x in (k, v))
        out: list[Tensor] = []
        for n, (who, *own) in enumerate(zip(readers, q.split(rows), k.split(rows), v.split(rows), strict=True)):
            if who:
                out.append(_shared(self.turn, who, block, own, extra_options))
            else:
                out.append(theirs[n] if theirs else _attention(own, extra_options, optimized_attention))
        return torch.cat(out)

    def _alone(self, q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any]) -> Tensor:
        if self.before:
            return self.before(q, k, v, extra_options)
        return _attention((q, k, v), extra_options, optimized_attention)


def _shared(turn: Turn, sharing: Sharing, block: Block, own: Sequence[Tensor], extra_options: dict[str, Any]) -> Tensor:
    """own: queries, keys and values of the picture, (B, N, C) each."""
    q, k, v = own
    height, width = (int(side) for side in extra_options["activations_shape"][-2:])
    if sharing.share.targets is not None and q.shape[1] != height * width:
        raise TokensMoved(q.shape[1], width, height)
    parts = turn.parts(sharing, block, k, (height, width))
    if turn.watched is not None and q.shape[1] == height * width <= _WATCHED_TOKENS:
        counts = [len(part.kept) for part in sharing.bank_of(block)]
        maps = part_shares(q[:1], k[:1], parts.keys, counts, parts.bias, extra_options["n_heads"])
        turn.watched.append(maps.unflatten(1, (height, width)))

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return _attention((q, k, v), extra_options, _kernel(q.device), parts.bias)

    return shared(q, (k, v), (parts.keys, parts.values), attend)


def _kernel(device: torch.device) -> Callable[..., Tensor]:
    """Attention with parts. On a CPU the host's choices write out all logits, which takes three times as long."""
    return attention_pytorch if device.type == "cpu" else optimized_attention


def _attention(
    qkv: Sequence[Tensor], extra_options: dict[str, Any], kernel: Callable[..., Tensor], mask: Tensor | None = None
) -> Tensor:
    return kernel(
        *qkv, extra_options["n_heads"], mask=mask,
        attn_precision=extra_options["attn_precision"], transformer_options=extra_options,
    )  # fmt: skip


def _with_pose(x: Tensor, pose: Tensor) -> Tensor:
    return x + comfy.utils.repeat_to_batch_size(pose, len(x))


# One sampling run


@dataclass(frozen=True)
class Projected:
    """The parts of one layer, ready to be attended to. keys, values: (1, kept + sink, C); bias: features.key_bias."""

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
        self._recorded: dict[Sharing, Sharing] = {}

    def for_one_step(self) -> Memory:
        """With nothing projected: a reference that is recorded at every step shows other tokens each time."""
        memory = Memory()
        memory.biases = self.biases
        return memory

    def recorded(self, sharing: Sharing, record: Callable[[Reference], Bank]) -> Sharing:
        """With a bank in place of `live`; one recording for everything that one node has put in."""
        if sharing.live is None:
            return sharing
        if sharing.live not in self._banks:
            self._banks[sharing.live] = record(sharing.live)
        if sharing not in self._recorded:
            self._recorded[sharing] = replace(sharing, bank=self._banks[sharing.live], live=None)
        return self._recorded[sharing]


@dataclass(frozen=True)
class Turn:
    """One forward of the UNet: who shares, and what the run remembers."""

    chunks: tuple[Sharing | None, ...]
    unet: Any
    memory: Memory
    shares: bool
    watched: list[Tensor] | None = None
    """What the layers of this step have shown, (parts, h, w) each, where somebody watches."""

    @property
    def blocks(self) -> set[Block]:
        """Where anybody shares."""
        banks = [sharing.bank for sharing in self.chunks if self.shares and sharing and sharing.bank]
        return {block for bank in banks for block, tokens in bank.items() if tokens}

    def readers(self, block: Block) -> tuple[Sharing | None, ...]:
        """Per chunk, what it shares at this layer; all None where nobody does."""
        return tuple(s if self.shares and s and s.bank_of(block) else None for s in self.chunks)

    def with_pose(self, h: Tensor, options: dict[str, Any]) -> Tensor:
        """The host's input block patch: each chunk's pose, added behind the first convolution."""
        if options["block"] != ("input", 0):
            return h
        pieces = h.chunk(len(self.chunks))
        poses = [self._pose(sharing, h) if sharing else None for sharing in self.chunks]
        return torch.cat([x if pose is None else _with_pose(x, pose) for x, pose in zip(pieces, poses, strict=True)])

    def _pose(self, sharing: Sharing, x: Tensor) -> Tensor | None:
        """The pose of a chunk beside x, (B, C, h, w) or None."""
        if sharing.pose is None:
            return None
        key = (sharing, x.device, x.dtype)
        if key not in self.memory.poses:
            self.memory.poses[key] = sharing.pose.to(x)
        return self.memory.poses[key]

    def parts(self, sharing: Sharing, block: Block, own: Tensor, grid: tuple[int, int]) -> Projected:
        """What is attended to beside one's own keys, (B, N, C), in a layer of this grid (height, width)."""
        key = (sharing, block, grid, own.shape[1], own.device)
        if key not in self.memory.projected:
            self.memory.projected[key] = self._project(sharing, block, own, grid)
        return self.memory.projected[key]

    def _project(self, sharing: Sharing, block: Block, own: Tensor, grid: tuple[int, int]) -> Projected:
        bank = sharing.bank_of(block)
        tokens = torch.cat([part.kept for part in bank])[None].to(own)
        attention = self._modules[block].attn1
        sink = any(part.dropped for part in bank)
        keys, values = (functional.pad(to(tokens), (0, 0, 0, int(sink))) for to in (attention.to_k, attention.to_v))
        return Projected(keys, values, self._bias(bank, sharing.share, own, grid))

    @cached_property
    def _modules(self) -> dict[Block, Any]:
        return {(name, number, index): module for name, number, index, module in transformers(self.unet)}

    def _bias(self, bank: Sequence[PartTokens], share: Share, own: Tensor, grid: tuple[int, int]) -> Tensor | None:
        """features.key_bias, one for all layers and steps that need the same: with targets it is large."""
        counts = tuple((len(part.kept), part.dropped) for part in bank)
        key = (share, counts, own.shape[1], grid, own.device, own.dtype)
        if key not in self.memory.biases:
            bias = key_bias(bank, own.shape[1], share, grid)
            self.memory.biases[key] = None if bias is None else bias.to(own)
        return self.memory.biases[key]


class SharingRun(Run):
    """What one sampling run shows of parts, and what other nodes have put on the MODEL for all of it."""

    key = KEY

    def __init__(self, guider: Any, latent: Tensor) -> None:
        super().__init__(guider)
        _check_size(guider.conds, (8 * latent.shape[-1], 8 * latent.shape[-2]))
        self._memory = Memory()
        self._others = {"patches_replace": guider.model_options["transformer_options"].get("patches_replace", {})}

    def denoise(self, carried: tuple[tuple[Any, ...], ...], executor: Any, *args: Any, **kwargs: Any) -> Any:
        *others, options = args
        chunks, sigmas = tuple(next(iter(chunk), None) for chunk in carried), options["sigmas"]
        on = any(s is not None and is_within(s.sigmas, sigmas) for s in chunks)
        memory = self._memory
        if on and (live := next((s.live for s in chunks if s is not None and s.live), None)):
            memory = memory.for_one_step() if live.every_step else memory
            x, timesteps, unet = args[0], args[1][:1], executor.class_obj
            chunks = tuple(
                s and memory.recorded(s, lambda live: live(unet, timesteps, float(sigmas[0]), x.dtype)) for s in chunks
            )
        watch = _watching(chunks, sigmas, options.get("sample_sigmas")) if on else None
        turn = Turn(chunks, executor.class_obj, memory, on, [] if watch else None)
        out = executor(*others, self._with(turn, options), **kwargs)
        if watch and turn.watched:
            watch.show(_joined(turn.watched))
        return out

    def _with(self, turn: Turn, options: dict[str, Any]) -> dict[str, Any]:
        """transformer_options with the attention and the poses of this forward.

        What others put in place of self-attention for this forward alone stays (the host's guidance nodes do so for a
        pass of theirs); what stands there through the run serves the rows without parts.
        """
        found = {block: standing(options, "attn1", block) for block in turn.blocks}
        kept = {b: f for b, f in found.items() if f is None or f is standing(self._others, "attn1", b)}
        options = replaced(options, "attn1", {block: SharedAttention(turn, f) for block, f in kept.items()})
        if any(sharing and sharing.pose is not None for sharing in turn.chunks):
            patches = options.get("patches", {})
            with_ours = [*patches.get("input_block_patch", ()), turn.with_pose]
            options["patches"] = {**patches, "input_block_patch": with_ours}
        return options


def _check_size(conds: Mapping[str, Sequence[dict[str, Any]]], size: tuple[int, int]) -> None:
    """Raise BadSize for parts that were encoded for a picture of another size than this run's."""
    entries = [entry["model_conds"][KEY] for side in conds.values() for entry in side if KEY in entry["model_conds"]]
    for sharing in (sharing for entry in entries for sharing in entry.cond):
        if sharing.size not in (None, size):
            raise BadSize(
                "The latent", size, f"the parts were encoded for {sharing.size[0]}x{sharing.size[1]} px",
                "Give the latent and the node of the parts (Encode Parts or Share Parts Attention) the same width and "
                "height; a second pass at another size needs that node once more, at that size.",
            )  # fmt: skip


def _watching(chunks: tuple[Sharing | None, ...], sigmas: Tensor, schedule: Tensor | None) -> Watch | None:
    """Who watches the step at these sigmas; schedule: every sigma of the run."""
    watches = [s.watch for s in chunks if s is not None and s.bank and s.watch]
    if schedule is None or not watches:
        return None
    step = int((schedule > float(sigmas[0]) * 1.000001).sum()) + 1
    return next((watch for watch in watches if watch.step == step), None)


def _joined(maps: list[Tensor]) -> Tensor:
    """The mean over the layers at the finest grid among them, (parts, h, w) on the CPU."""
    size = max(tuple(one.shape[1:]) for one in maps)
    return torch.stack([functional.interpolate(one[None], size=size)[0] for one in maps]).mean(dim=0).cpu()
