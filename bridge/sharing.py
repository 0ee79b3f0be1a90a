"""Masked shared self-attention on the host: recorded by one UNet, read by another.

The conditioning carries the bank of the parts; a row that carries none attends to itself alone. The MODEL patch is
stateless: it projects the parts' tokens with each layer's own modules, once per run, so that LoRAs, casts and
offloading of the denoiser apply to them as to everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import comfy.patcher_extension
import comfy.utils
import torch
import torch.nn.functional as functional
from comfy.ldm.modules.attention import attention_pytorch, optimized_attention
from torch import Tensor

from ..core.attention import part_shares, shared
from ..core.errors import AttentionTaken, BadSize, PartsTwice, TokensMoved
from ..core.parts2whole.features import Bank, Block, PartTokens, Share, key_bias
from .adapter import Rows, inject, is_within, module_of, serve, transformers
from .conditioning import Conditioning

KEY = "likeness_sharing"
_WATCHED_TOKENS = 2048
"""Finer layers are left out of the heat maps: every logit of a layer is held at once."""
_WRAPPERS = comfy.patcher_extension.WrappersMP


@dataclass(frozen=True, eq=False)
class Watch:
    """step: counted from 1. show: given the parts' shares of the attention at that step, (parts, h, w), 0..1."""

    step: int
    show: Callable[[Tensor], None]

    def __deepcopy__(self, memo: Any) -> Watch:
        return self


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
    live: Callable[[Any, Tensor, float, torch.dtype], Bank] | None = None
    """Instead of a bank: (UNet, timesteps, sigma, dtype) -> the bank of this step, recorded by the denoiser itself."""
    size: tuple[int, int] | None = None
    """(width, height) in pixels of the picture the parts were encoded for, or None: of any."""
    watch: Watch | None = None
    """Where the attention of one step goes is shown to this."""
    _crops: dict[tuple[int, ...], Sharing] = field(default_factory=dict, init=False)

    def __deepcopy__(self, memo: Any) -> Sharing:
        return self  # immutable, and shared by every clone on purpose

    def cropped(self, area: Sequence[int]) -> Sharing:
        """For an entry with an area (height, width, y, x in latent pixels): the UNet sees only that part."""
        if self.pose is None and self.share.targets is None:
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


def record_at_zero(model: Any, latent: Tensor, context: Tensor, y: Tensor | None = None) -> dict[Block, Tensor]:
    """`record` once at t = 0 with a loaded ModelPatcher, kept on the CPU: block -> (tokens, C). One part, (1, ...)."""
    device, dtype = model.load_device, model.model.manual_cast_dtype or model.model.get_dtype()
    x, context = latent.to(device, dtype), context.to(device, dtype)
    y = None if y is None else y.to(device, dtype)
    seen = record(model.model.diffusion_model, x, torch.zeros(1, device=device), context, y)
    return {block: states[0].cpu() for block, states in seen.items()}


# The MODEL


def patched(model: Any) -> Any:
    """A clone of the MODEL that reads shared parts; a MODEL that does already is returned as it is."""
    if KEY in model.wrappers.get(_WRAPPERS.DIFFUSION_MODEL, {}):
        return model
    clone = model.clone()
    clone.add_wrapper_with_key(_WRAPPERS.OUTER_SAMPLE, KEY, _with_memory)
    clone.add_wrapper_with_key(_WRAPPERS.DIFFUSION_MODEL, KEY, _hand_over)
    clone.set_model_input_block_patch(_add_pose)
    existing = clone.model_options["transformer_options"].get("patches_replace", {}).get("attn1", {})
    blocks: dict[tuple[str, int], int] = {}
    for name, number, index, _ in transformers(model.get_model_object("diffusion_model")):
        blocks[name, number] = index + 1
    for (name, number), depth in blocks.items():
        # Block-wide keys, as the host's own guidance nodes use for a pass of theirs. What others have put on a
        # single layer hides those, so there ours goes on that layer and calls theirs.
        before = existing.get((name, number))
        clone.set_model_attn1_replace(SharedAttention(before), name, number)
        for index in range(depth):
            if single := existing.get((name, number, index)):
                clone.set_model_attn1_replace(SharedAttention(single), name, number, index)
    return clone


class SharedAttention:
    """The attn1 replacement of a block: rows with parts look at these too, all other rows are left as they were.

    before: another node's replacement, which goes on serving the rows without parts.
    """

    def __init__(self, before: Callable[..., Tensor] | None) -> None:
        self.before = before

    def __deepcopy__(self, memo: Any) -> SharedAttention:
        return self  # immutable

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any]) -> Tensor:
        turn: Turn | None = extra_options.get(KEY)
        if turn is None:
            return self._alone(q, k, v, extra_options)
        block = (*extra_options["block"], extra_options["block_index"])
        readers = turn.readers(block)
        if not any(readers) or len(q) % len(readers):
            return self._alone(q, k, v, extra_options)
        rows = len(q) // len(readers)
        # Others count on all rows of the batch, so theirs is called with all of them.
        theirs = self.before(q, k, v, extra_options).split(rows) if self.before else None
        # HyperTile makes several rows of one query and leaves keys and values to be cut alike by the kernel.
        k, v = (x.reshape(len(q), -1, x.shape[-1]) for x in (k, v))
        out: list[Tensor] = []
        for n, (who, *own) in enumerate(zip(readers, q.split(rows), k.split(rows), v.split(rows), strict=True)):
            if who:
                out.append(_shared(turn, who, block, own, extra_options))
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
    turn.reached.add(block)
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


def _add_pose(h: Tensor, options: dict[str, Any]) -> Tensor:
    turn: Turn | None = options.get(KEY)
    if turn is None or options["block"] != ("input", 0):
        return h
    pieces = h.chunk(len(turn.chunks))
    poses = [turn.pose(sharing, h) if sharing else None for sharing in turn.chunks]
    return torch.cat([x if pose is None else _with_pose(x, pose) for x, pose in zip(pieces, poses, strict=True)])


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
    """What one sampling run needs to make once only. No dictionary: the host copies those at every step.

    others: the attn1 replacements of other nodes in this run, by their address in the host.
    """

    def __init__(self, others: Mapping[tuple[Any, ...], Any] | None = None) -> None:
        self.others = others or {}
        self.projected: dict[tuple[Any, ...], Projected] = {}
        self.biases: dict[tuple[Any, ...], Tensor | None] = {}
        self.poses: dict[tuple[Any, ...], Tensor] = {}

    def __deepcopy__(self, memo: Any) -> Memory:
        return self

    def for_one_step(self) -> Memory:
        """With nothing projected: a reference that is recorded at every step shows other tokens each time."""
        memory = Memory(self.others)
        memory.biases = self.biases
        return memory


@dataclass(frozen=True)
class Turn:
    """One forward of the UNet: who shares, and what the run remembers."""

    chunks: tuple[Sharing | None, ...]
    unet: Any
    memory: Memory
    shares: bool
    watched: list[Tensor] | None = None
    """What the layers of this step have shown, (parts, h, w) each, where somebody watches."""
    reached: set[Block] = field(default_factory=set)
    """Layers that have read parts."""

    def readers(self, block: Block) -> tuple[Sharing | None, ...]:
        """Per chunk, what it shares at this layer; all None where nobody does."""
        return tuple(s if self.shares and s and s.bank_of(block) else None for s in self.chunks)

    def pose(self, sharing: Sharing, x: Tensor) -> Tensor | None:
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


def _with_memory(executor: Any, *args: Any, **kwargs: Any) -> Any:
    """OUTER_SAMPLE: the guider's options are this run's own copy."""
    latent = args[1] if len(args) > 1 else kwargs["latent_image"]
    serve(executor.class_obj, KEY)
    _check_size(executor.class_obj.conds, (8 * latent.shape[-1], 8 * latent.shape[-2]))
    options = executor.class_obj.model_options.setdefault("transformer_options", {})
    attn1 = options.get("patches_replace", {}).get("attn1", {})
    others = {address: patch for address, patch in attn1.items() if not isinstance(patch, SharedAttention)}
    options[f"{KEY}_memory"] = Memory(others)
    return executor(*args, **kwargs)


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


def _hand_over(executor: Any, *args: Any, **kwargs: Any) -> Any:
    """DIFFUSION_MODEL: from the batched conditioning to where the attention patches can see it."""
    rows: Rows | None = kwargs.pop(KEY, None)
    if rows is None:
        return executor(*args, **kwargs)
    *others, options = args
    sigmas = options["sigmas"]
    chunks = tuple(next(iter(chunk), None) for chunk in rows.chunks)
    on = any(s is not None and is_within(s.sigmas, sigmas) for s in chunks)
    memory = options.get(f"{KEY}_memory") or Memory()
    if on and any(s is not None and s.live for s in chunks):
        chunks = _recorded(chunks, executor.class_obj, args[1], float(sigmas[0]), args[0].dtype)
        memory = memory.for_one_step()
    watch = _watching(chunks, sigmas, options.get("sample_sigmas")) if on else None
    turn = Turn(chunks, executor.class_obj, memory, on, [] if watch else None)
    out = executor(*others, {**options, KEY: turn}, **kwargs)
    _check_reached(turn, options)
    if watch and turn.watched:
        watch.show(_joined(turn.watched))
    return out


def _check_reached(turn: Turn, options: dict[str, Any]) -> None:
    """Raise AttentionTaken when another node put its own function over ours without calling it.

    What stands there in this forward alone (the host's guidance nodes do so for a pass of theirs) takes nothing away.
    """
    now, others = options.get("patches_replace", {}).get("attn1", {}), turn.memory.others
    read = [block for sharing in turn.chunks if turn.shares and sharing for block in sharing.bank or ()]
    places = [block if block in now else block[:2] for block in read if block not in turn.reached]
    takers = [now[place] for place in places if place in others and now.get(place) is others[place]]
    if takers:
        node, there = "Apply Parts or Share Parts Attention", "where it works on the rows without parts, the negative"
        raise AttentionTaken(module_of(takers[0]), node, "self-attention", len(takers), "parts", there)


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


def _recorded(
    chunks: tuple[Sharing | None, ...], unet: Any, timesteps: Tensor, sigma: float, dtype: torch.dtype
) -> tuple[Sharing | None, ...]:
    """The chunks with this step's bank in place of `live`; one recording for all chunks of one node.

    dtype: what the host computes in, which need not be what the weights are stored in.
    """
    banks: dict[Any, Bank] = {}
    for sharing in chunks:
        if sharing is not None and sharing.live and sharing.live not in banks:
            banks[sharing.live] = sharing.live(unet, timesteps[:1], sigma, dtype)
    return tuple(replace(s, bank=banks[s.live], live=None) if s is not None and s.live else s for s in chunks)
