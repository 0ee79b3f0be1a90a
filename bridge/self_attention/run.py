"""One sampling run that shares self-attention with parts.

The parts' tokens are projected with each layer's own modules, once, so that LoRAs, casts and offloading of the
denoiser apply to them as to everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cache, partial

import comfy.utils
import torch
import torch.nn.functional as functional
from comfy.ldm.modules.attention import attention_pytorch
from comfy.model_base import BaseModel
from comfy.samplers import CFGGuider
from torch import Tensor

from ...core.attention import Block
from ...core.parts.bank import Bank, PartWeights, key_bias, part_shares, shared
from .. import unet
from ..runs import Batch, Given, Run, rows_made
from ..unet import Grid, Options, Replacement
from .recording import SelfReference
from .shared_parts import SharedParts, Watch


class SharingRun(Run):
    """What one sampling run shows of parts, and what other nodes have put on the MODEL for all of it."""

    key = SharedParts.key

    def __init__(self, guider: CFGGuider, latent: Tensor) -> None:
        super().__init__(guider, latent)
        for parts in self.everything(guider):
            parts.check_size((8 * latent.shape[-1], 8 * latent.shape[-2]))
        # By network: MultiGPU CFG Split samples with several, and tokens are projected with each one's own modules.
        self._memories: dict[tuple[BaseModel, torch.device], Memory] = {}
        self._recordings: dict[tuple[SelfReference, BaseModel, torch.device], tuple[int, Memory]] = {}
        self._others = {"patches_replace": guider.model_options["transformer_options"].get("patches_replace", {})}

    def batch(self, chunks: tuple[tuple[SharedParts, ...], ...], given: Given) -> Batch | None:
        carried = [parts for (parts,) in chunks]
        place = given.model, given.x.device
        if place not in self._memories:
            self._memories[place] = Memory(given, self._others)
        memory = self._memories[place]
        on = any(self.is_on(parts, given.sigmas) for parts in carried)
        if not on and all(parts.pose is None for parts in carried):
            return None
        if on and (live := next((parts.live for parts in carried if parts.live), None)):
            memory = self._recording(memory, live, given)
            carried = [memory.recorded(parts, given) for parts in carried]
        watch = self._watching(carried, given.sigmas) if on else None
        return memory.batch(tuple(carried), on, given.x, watch)

    def _recording(self, memory: Memory, live: SelfReference, given: Given) -> Memory:
        """The memory with what `live` has last recorded, or with nothing where that is out of date."""
        if live.steps is None:
            return memory
        if live.steps == 1 or self.schedule is None:
            return memory.with_nothing_recorded()
        key = live, given.model, given.x.device
        turn = step_of(self.schedule, given.sigmas) // live.steps
        if self._recordings.get(key, (None,))[0] != turn:
            self._recordings.pop(key, None)  # before the next is made: both at once would be large
            self._recordings[key] = turn, memory.with_nothing_recorded()
        return self._recordings[key][1]

    def _watching(self, carried: Sequence[SharedParts], sigmas: Tensor) -> Watch | None:
        """Who watches the step at these sigmas."""
        watches = [parts.watch for parts in carried if parts.bank and parts.watch]
        if self.schedule is None or not watches:
            return None
        step = step_of(self.schedule, sigmas) + 1
        return next((watch for watch in watches if watch.step == step), None)


def step_of(schedule: Tensor, sigmas: Tensor) -> int:
    """The step that sigmas (B,) belong to, from 0: what a sampler asks for between two steps, to the first of them."""
    return int((schedule >= float(sigmas[0]) * 0.999999).sum()) - 1


@dataclass(frozen=True, eq=False)
class SharingBatch(Batch):
    """Who shares what in one forward.

    layers: where anybody shares, per chunk the parts beside its own tokens. poses: per chunk, (B, C, h, w).
    others: what other nodes have put on the MODEL for the whole run. watch: who is shown `maps` afterwards.
    """

    rows: int
    layers: Mapping[Block, Sequence[Beside | None]]
    poses: Sequence[Tensor | None]
    others: Options
    watch: Watch | None
    maps: Sequence[Tensor]

    def around(self, options: Options) -> Options:
        """What others put in place of self-attention for this forward alone stays (the host's guidance nodes do so for
        a pass of theirs); what stands there through the run serves the rows without parts."""
        found = {block: unet.standing(options, "attn1", block) for block in self.layers}
        kept = {b: f for b, f in found.items() if f is None or f is unet.standing(self.others, "attn1", b)}
        ours = {block: partial(self.attended, block, before) for block, before in kept.items()}
        options = unet.replaced(options, "attn1", ours)
        posed = any(pose is not None for pose in self.poses)
        return unet.with_patch(options, "input_block_patch", self.with_pose) if posed else options

    def with_pose(self, h: Tensor, options: Options) -> Tensor:
        """The host's input block patch: each chunk's pose, added behind the first convolution. h: (B, C, h, w).

        A sampler may enlarge the latent between two steps (SamplerLCMUpscale): the pose is then enlarged with it.
        """
        if options["block"] != ("input", 0):
            return h
        chunks: list[Tensor] = []
        for rows, pose in zip(h.chunk(len(self.poses)), self.poses, strict=True):
            if pose is None:
                chunks.append(rows)
                continue
            if pose.shape[-2:] != rows.shape[-2:]:
                pose = functional.interpolate(pose, size=rows.shape[-2:], mode="bilinear")
            chunks.append(rows + comfy.utils.repeat_to_batch_size(pose, len(rows)))
        return torch.cat(chunks)

    def attended(
        self, block: Block, before: Replacement | None, q: Tensor, k: Tensor, v: Tensor, extra_options: Options
    ) -> Tensor:
        """The attn1 of one layer. Rows of a chunk without parts are left as they were. Raises ConditioningLost.

        before: another node's replacement, which goes on serving the rows without parts.
        """
        beside, alone = self.layers[block], unet.attend_with(extra_options)
        if len(q) % len(beside):
            raise rows_made(len(q), len(beside), before)
        rows = len(q) // len(beside)
        # Others count on all rows of the batch, so theirs is called with all of them.
        theirs = before(q, k, v, extra_options).split(rows) if before else None
        # HyperTile makes several rows of one query and leaves keys and values to be cut alike by the kernel.
        k, v = (x.reshape(len(q), -1, x.shape[-1]) for x in (k, v))
        out: list[Tensor] = []
        for n, (parts, *own) in enumerate(zip(beside, *(x.split(rows) for x in (q, k, v)), strict=True)):
            q, k, v = own
            if parts:
                out.append(parts.attended(q, k, v, extra_options))
            else:
                out.append(theirs[n] if theirs else alone(q, k, v))
        return torch.cat(out)

    def done(self) -> None:
        """The mean over the layers at the finest grid among them to whoever watches."""
        if self.watch and self.maps:
            size = max(tuple(one.shape[1:]) for one in self.maps)
            maps = [functional.interpolate(one[None], size=size)[0] for one in self.maps]
            self.watch.show(torch.stack(maps).mean(dim=0).cpu())


class Memory:
    """What one sampling run needs to make once only, on one device. others: as in SharingBatch."""

    def __init__(self, given: Given, others: Options) -> None:
        self._like, self._unet, self._others = given.like(), given.model.diffusion_model, others
        self._modules = {(name, number, index): layer for name, number, index, layer in unet.transformers(self._unet)}
        # One for all layers and steps that need the same: with targets it is large.
        like = self._like  # the caches hold this, and not the memory that holds them
        self._bias = cache(partial(_bias, like))
        self._posed = cache(lambda parts: parts.pose.to(like))
        self._placed = cache(lambda live: live.placed(like))
        self._forget()

    def _forget(self) -> None:
        self._beside: dict[Hashable, Beside] = {}
        self._batches: dict[Hashable, SharingBatch] = {}
        self._banks: dict[SelfReference, Bank] = {}
        self._recorded: dict[SharedParts, SharedParts] = {}

    def with_nothing_recorded(self) -> Memory:
        """A reference that is recorded anew shows other tokens."""
        memory = copy(self)
        memory._forget()
        return memory

    def recorded(self, parts: SharedParts, given: Given) -> SharedParts:
        """With a bank in place of `live`; one recording for everything that one node has put in."""
        if parts.live is None:
            return parts
        if parts.live not in self._banks:
            self._banks[parts.live] = self._placed(parts.live)(given.model, given.sigmas[:1])
        if parts not in self._recorded:
            self._recorded[parts] = replace(parts, bank=self._banks[parts.live], live=None)
        return self._recorded[parts]

    def batch(self, carried: tuple[SharedParts, ...], on: bool, x: Tensor, watch: Watch | None) -> SharingBatch:
        """carried: per chunk. on: whether anybody shares at this step."""
        key = carried, on, x.shape, watch
        if watch or key not in self._batches:
            maps: list[Tensor] = []
            layers = self._layers(carried, x, maps if watch else None) if on else {}
            poses = [None if parts.pose is None else self._posed(parts) for parts in carried]
            self._batches[key] = SharingBatch(len(x), layers, poses, self._others, watch, maps)
        return self._batches[key]

    def _layers(
        self, carried: Sequence[SharedParts], x: Tensor, maps: list[Tensor] | None
    ) -> dict[Block, list[Beside | None]]:
        """Where anybody shares, what is beside each chunk's own tokens."""
        banks = [parts.bank for parts in carried if parts.bank]
        blocks = dict.fromkeys(block for bank in banks for block, tokens in bank.items() if tokens)
        at = unet.grids(self._unet, *x.shape[-2:])
        return {b: [self._read(parts, b, at[b[:2]], maps) for parts in carried] for b in blocks}

    def _read(self, parts: SharedParts, block: Block, grid: Grid, maps: list[Tensor] | None) -> Beside | None:
        """What is attended to beside one's own tokens in a layer of this grid; None where it is nothing."""
        if not parts.bank_of(block):
            return None
        key = parts, block, grid
        if key not in self._beside:
            self._beside[key] = self._project(parts, block, grid)
        return self._beside[key] if maps is None else replace(self._beside[key], maps=maps)

    def _project(self, parts: SharedParts, block: Block, grid: Grid) -> Beside:
        bank = parts.bank_of(block)
        tokens = torch.cat([part.kept for part in bank])[None].to(self._like)
        attention = self._modules[block].attn1
        own, sizes = grid[0] * grid[1], tuple((len(part.kept), part.dropped) for part in bank)
        elsewhere = partial(self._bias, sizes, parts.weights)
        bias = elsewhere(own, grid)
        sinks = 0 if bias is None else bias.shape[-1] - own - tokens.shape[1]
        keys, values = (functional.pad(to(tokens), (0, 0, 0, sinks)) for to in (attention.to_k, attention.to_v))
        counts, regional = [len(part.kept) for part in bank], parts.weights.targets is not None
        return Beside(keys, values, counts, regional, grid, bias, elsewhere)


def _bias(like: Tensor, counts: Sequence[tuple[int, int]], weights: PartWeights, own: int, grid: Grid) -> Tensor | None:
    """bank.key_bias in the place of `like`."""
    bias = key_bias(counts, own, weights, grid, like.dtype)
    return None if bias is None else bias.to(like)


_WATCHED_TOKENS = 2048
"""Finer layers are left out of the heat maps: every logit of a layer is held at once."""


@dataclass(frozen=True, eq=False)
class Beside:
    """The parts as one layer reads them beside the picture's own tokens.

    keys, values: (1, kept + sinks, C). counts: kept tokens per part. regional: whether parts are meant for regions.
    bias: bank.key_bias where the picture has a token for each of its grid; elsewhere: (own tokens, grid) -> what it is
    else. maps: where the parts' shares of the attention, (parts, h, w), are put while somebody watches.
    """

    keys: Tensor
    values: Tensor
    counts: Sequence[int]
    regional: bool
    grid: Grid
    bias: Tensor | None
    elsewhere: Callable[[int, Grid], Tensor | None]
    maps: list[Tensor] | None = None

    def attended(self, q: Tensor, k: Tensor, v: Tensor, extra_options: Options) -> Tensor:
        """q, k, v: of the picture, (B, N, C) each."""
        grid = height, width = unet.grid_of(extra_options)
        if self.regional:
            unet.check_tokens(q, grid)
        here = grid == self.grid and k.shape[1] == height * width
        bias = self.bias if here else self.elsewhere(k.shape[1], grid)
        if self.maps is not None and q.shape[1] == height * width <= _WATCHED_TOKENS:
            shares = part_shares(q[:1], k[:1], self.keys, self.counts, bias, extra_options["n_heads"])
            self.maps.append(shares.unflatten(1, grid))
        # On a CPU the host's choices write out all logits, which takes three times as long.
        kernel = attention_pytorch if q.device.type == "cpu" else None
        return shared(q, (k, v), (self.keys, self.values), unet.attend_with(extra_options, kernel, bias))
