"""One sampling run that shares self-attention with parts.

The parts' tokens are projected with each layer's own modules, once, so that LoRAs, casts and offloading of the
denoiser apply to them as to everything else.

The steps of one forward:

    PartsOfRun.batch                looks which parts are on at this step
        PartsCache.record               records the parts anew, where they are recorded while sampling (recording.py)
        PartsCache.batch_of_parts       a SharingBatch, kept for all forwards that carry the same
            _projected_of                   keys and values of the parts in each layer: a ProjectedParts
            _parts_by_layer                 what each chunk reads beside its own tokens in each layer: a PartsInLayer
    SharingBatch.options_for_network     puts the attention into the layers, and poses after the first convolution
        attention_output                    of a layer: rows with parts by their PartsInLayer, all others as before
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import comfy.utils
import torch
import torch.nn.functional as functional
from comfy.ldm.modules.attention import attention_pytorch
from comfy.model_base import BaseModel
from torch import Tensor, nn

from ...core.attention.cross_attention import Block, block_of_unet
from ...core.attention.spans import Tokens
from ...core.parts.bank import PartTokens, PartWeights, key_bias, shared_attention, sink_count
from ..host import unet
from ..host.unet import Grid, Options, Replacement
from ..networks.file_attention import (
    Attention,
    attend_whole_with,
    attend_with,
    attention_of_file_in_layers,
    with_attention_of_file,
)
from ..networks.layers import attention_of_other_pack
from ..sampling.carried import PerChunk
from ..sampling.forward import Batch, ForwardInput
from ..sampling.rows_of_others import made_rows_error
from ..sampling.runs import Kind, Run
from ..sampling.watch import Calls, DueCalls
from .recording import PartsRecorder, SelfReference, is_inpainting_in
from .shared_parts import SharedParts


class PartsOfRun:
    """What one run makes of parts."""

    def __init__(self, run: Run) -> None:
        self._run = run
        # What other nodes have put in place of attention for the whole run.
        self._options_of_run = {"patches_replace": run.replacements}

    def batch(self, by_node: tuple[PerChunk[SharedParts], ...], forward_input: ForwardInput) -> Batch | None:
        """The batch of one forward; None where nothing is shared at this step, and no chunk has a pose.

        Where the step needs a new recording of parts, it is made here, with a forward of the UNet.
        by_node: of one node, as share_with allows no second one.
        """
        (parts_of_chunks,) = by_node
        cache = self._cache_of(forward_input)
        shape = forward_input.x.shape
        if not self._run.acting(by_node, forward_input.sigmas):  # no parts are read at this step
            # A pose acts at every step, also where nothing is shared.
            has_pose = any(parts.pose is not None for parts in parts_of_chunks)
            return cache.batch_of_parts(parts_of_chunks, sharing=False, shape=shape) if has_pose else None
        # All chunks of a forward are of one node (Carried.can_join_batch), which has one SelfReference, or a bank.
        self_reference = next((parts.live for parts in parts_of_chunks if parts.live), None)
        if self_reference is not None:
            cache = self._cache_of_recording(cache, self_reference, forward_input)
            cache.record(self_reference, forward_input, is_inpainting_in(self._run, self_reference))
        return cache.batch_of_parts(parts_of_chunks, sharing=True, shape=shape)

    def _cache_of(self, forward_input: ForwardInput) -> PartsCache:
        """The PartsCache of this forward's network, with whose own modules tokens are projected."""
        network = forward_input.network
        return self._run.kept(
            PartsCache, lambda: PartsCache(network.model, network.device, self._options_of_run), network=network
        )

    def _cache_of_recording(
        self, cache: PartsCache, reference: SelfReference, forward_input: ForwardInput
    ) -> PartsCache:
        """The PartsCache with the recording that serves this step, or with nothing recorded where it has to be made.

        cache: of the network, with what no recording changes. reference: the parts, and for how many steps one
        recording of them serves.
        """
        if reference.steps is None:
            return cache  # one recording serves the whole run
        schedule = self._run.schedule
        if reference.steps == 1 or schedule is None:
            return cache.with_nothing_recorded()  # at every step anew, also where the steps cannot be counted
        # The number of the recording in the run: it stays the same for as many steps as one recording is used for.
        number = step_of(schedule, forward_input.sigmas) // reference.steps
        return self._run.kept(reference, cache.with_nothing_recorded, network=forward_input.network, until=number)


def _batch(run: Run, by_node: tuple[PerChunk[SharedParts], ...], forward_input: ForwardInput) -> Batch | None:
    return run.kept(PartsOfRun, lambda: PartsOfRun(run)).batch(by_node, forward_input)


SHARED_PARTS = Kind(SharedParts.key, _batch)
"""Parts that self-attention reads."""


_ROUNDED_DOWN = 0.999999
"""A factor for a sigma that is compared with others: it makes up for the rounding of a few operations in float32."""


def step_of(schedule: Tensor, sigmas: Tensor) -> int:
    """The number of the step that sigmas (B,) belong to, from 0. Sigmas between two steps belong to the first of them.

    sigmas: the first one is looked at. schedule: (steps + 1,), every sigma of the run.
    """
    # A sampler may compute the sigma of a step anew, a rounding error above the one in the schedule.
    sigma = float(sigmas[0]) * _ROUNDED_DOWN
    # Sigmas fall from step to step, so those that are not below this one are of this step and of all steps before it.
    return int((schedule >= sigma).sum()) - 1


_POSES = "poses", 0
"""The key under which calls of the poses are counted."""


@dataclass(eq=False)
class SharingBatch(Batch):
    """The self-attention of all layers in one forward, with the parts that each chunk reads.

    row_count: of the forward's batch. layers: by layer in which parts are read, what each chunk reads beside its own
    tokens, or None. poses: of each chunk, (B, C, h, w), or None. options_of_run: what other nodes have put into
    attentions for the whole run, as transformer_options. attention_of_file: what the model's file asks for in layers.
    """

    row_count: int
    layers: Mapping[Block, Sequence[PartsInLayer | None]]
    poses: Sequence[Tensor | None]
    options_of_run: Options
    attention_of_file: Mapping[Block, Attention]
    calls: Calls = field(default_factory=Calls)

    def due_calls(self, modules: Mapping[str, nn.Module]) -> DueCalls:
        """The self-attentions of layers that read parts, and the first convolution where there is a pose."""
        due_calls: dict[Hashable, nn.Module] = {}
        for *block, transformer in unet.transformers(modules[""]):  # a block is (name, number, index)
            if tuple(block) in self.layers:
                due_calls[tuple(block)] = transformer.attn1
        if any(pose is not None for pose in self.poses):
            due_calls[_POSES] = modules["input_blocks.0"]
        return due_calls

    def options_for_network(self, options: Options, tokens: Tokens) -> Options:
        """transformer_options with our attention in the layers, and poses after the first convolution.

        Another node may have put a function of its own in the place of a layer's self-attention. Where it has done so
        for this forward alone, as the host's guidance nodes do, that function stays and parts are not read in the
        layer. Where it has done so for the whole run, ours takes the place and calls that function, and both act.
        """
        replacements: dict[Block, Replacement] = {}
        for block in self.layers:
            before = unet.replacement_in(options, "attn1", block)
            stands_for_whole_run = before is unet.replacement_in(self.options_of_run, "attn1", block)
            if before is None or stands_for_whole_run:
                replacements[block] = partial(self.attention_output, block, before)
            else:
                self.calls.count(block)  # counted here: left out on purpose, it must not be taken for lost
        options = unet.with_replacements(options, "attn1", replacements)
        if any(pose is not None for pose in self.poses):
            options = unet.with_patch(options, "input_block_patch", self.with_pose)
        return options

    def with_pose(self, h: Tensor, options: Options) -> Tensor:
        """The host's input block patch: the output h of an input block, (B, C, h, w), with each chunk's pose added.

        A pose is added after the first convolution, which is input block 0; other blocks stay as they are.
        A sampler may enlarge the latent between two steps (SamplerLCMUpscale): the pose is then enlarged with it.
        """
        if options["block"] != ("input", 0):
            return h
        self.calls.count(_POSES)
        with_poses: list[Tensor] = []  # (rows of the chunk, C, h, w) each
        for rows, pose in zip(h.chunk(len(self.poses)), self.poses, strict=True):
            if pose is None:
                with_poses.append(rows)
                continue
            if pose.shape[-2:] != rows.shape[-2:]:
                pose = functional.interpolate(pose, size=rows.shape[-2:], mode="bilinear")
            with_poses.append(rows + comfy.utils.repeat_to_batch_size(pose, len(rows)))
        return torch.cat(with_poses)

    def attention_output(
        self, block: Block, before: Replacement | None, q: Tensor, k: Tensor, v: Tensor, extra_options: Options
    ) -> Tensor:
        """The self-attention of one layer, (B, N, C), in which rows of a chunk with parts read the parts too.

        The call is counted. block: the layer. before: another node's function, which gives the rows without parts, and
        to rows with parts what it changes of the plain attention; None where there is none. q, k, v: (B, N, C) each.
        Raises ConditioningLost where the rows cannot be divided among the chunks, and where `before` makes rows.
        """
        self.calls.count(block)
        extra_options = with_attention_of_file(extra_options, self.attention_of_file.get(block))
        parts_by_chunk = self.layers[block]
        rows_per_chunk, rest = divmod(len(q), len(parts_by_chunk))
        if rest:
            raise made_rows_error(len(q), len(parts_by_chunk), before)
        # Another node's function counts on all rows of the batch, so it is called with all of them.
        out_of_other_node = None if before is None else attention_of_other_pack(before, q, k, v, extra_options)
        attend_alone = attend_whole_with(extra_options)
        # HyperTile cuts the picture of each row into tiles and makes a row of q for each of them, (B * tiles, N /
        # tiles, C), but leaves k and v as they were, (B, N, C). The attention kernel would reshape k and v to the rows
        # of q; here rows are taken apart before the kernel is called, so the reshape is done here.
        k = k.reshape(len(q), -1, k.shape[-1])
        v = v.reshape(len(q), -1, v.shape[-1])
        out: list[Tensor] = []
        for number, parts_in_layer in enumerate(parts_by_chunk):
            rows = slice(number * rows_per_chunk, (number + 1) * rows_per_chunk)
            own = q[rows], k[rows], v[rows]
            if parts_in_layer is None:
                out.append(attend_alone(*own) if out_of_other_node is None else out_of_other_node[rows])
                continue
            shared = parts_in_layer.attention_output(*own, extra_options)
            if out_of_other_node is not None:  # 0 of one that only looks on, as SAG's does
                shared = shared + (out_of_other_node[rows] - attend_alone(*own))
            out.append(shared)
        return torch.cat(out)


class KeyBiases:
    """The biases of core.parts.bank.key_bias on a device. They are large, so layers and steps share them.

    This is an object of its own so that a PartsInLayer can hold it without holding the PartsCache. Otherwise the two
    would hold each other, and would be freed only by Python's garbage collector and not at the end of the run.
    """

    def __init__(self, like: Tensor) -> None:
        """like: a tensor on the device and in the dtype of the UNet."""
        self._like = like
        self._biases: dict[Hashable, Tensor | None] = {}

    def for_grid(
        self, token_counts: tuple[tuple[int, int], ...], weights: PartWeights, picture_token_count: int, grid: Grid
    ) -> Tensor | None:
        """The bias of a layer with this grid, or None where nothing has to be added.

        token_counts: (kept tokens, dropped tokens) of each part. picture_token_count: how many tokens the picture
        itself has.
        """
        key = token_counts, weights, picture_token_count, grid
        if key not in self._biases:
            bias = key_bias(token_counts, picture_token_count, weights, grid, self._like.dtype)
            self._biases[key] = None if bias is None else _aligned(bias, self._like)
        return self._biases[key]


_ROWS_BEGIN_AT = 8
"""CUDA's attention copies a mask of which a row begins at no multiple of so many numbers, in every layer and step."""


def _aligned(bias: Tensor, like: Tensor) -> Tensor:
    """A bias (..., keys), whose rows begin where attention wants them, on the device and in the dtype of `like`."""
    keys = bias.shape[-1]
    return functional.pad(bias, (0, -keys % _ROWS_BEGIN_AT)).to(like)[..., :keys]


class PartsCache:
    """What one sampling run makes of parts once only, for one network on one device.

    run.kept keeps it, or where parts are recorded anew one for each recording: what it holds goes with it.
    """

    def __init__(self, model: BaseModel, device: torch.device, options_of_run: Options) -> None:
        """options_of_run: what other nodes have put into attentions for the whole run, as transformer_options."""
        # Of its device and dtype are the tensors made here.
        self._like = torch.empty(0, device=device, dtype=unet.dtype_of(model))
        self._unet = model.diffusion_model
        self._options_of_run = options_of_run
        self._attentions: dict[Block, Any] = {}
        """The host's self-attention of every layer."""
        for name, number, index, transformer in unet.transformers(self._unet):
            self._attentions[name, number, index] = transformer.attn1
        # Of layers for which the model's file asks for another one.
        self._attention_of_file = attention_of_file_in_layers(self._unet, "attn1")
        self._biases = KeyBiases(self._like)
        self._poses: dict[SharedParts, Tensor] = {}  # on the device
        self._recorders: dict[SelfReference, PartsRecorder] = {}  # of parts that are recorded during the run
        self._zero = self._like.new_zeros(1, 1)
        self._forget_recording()

    def _forget_recording(self) -> None:
        """Begin with nothing that depends on a recording."""
        self._projected: dict[SharedParts | SelfReference, Mapping[Block, ProjectedParts]] = {}
        self._batches: dict[Hashable, SharingBatch] = {}

    def with_nothing_recorded(self) -> PartsCache:
        """A cache for a new recording. It has the same biases, poses and recorders, which no recording changes."""
        cache = copy(self)
        cache._forget_recording()
        return cache

    def record(self, live: SelfReference, forward_input: ForwardInput, inpainting: bool) -> None:
        """Record parts, unless this cache has a recording of them. inpainting: as in PartsRecorder."""
        if live in self._projected:
            return
        if live not in self._recorders:
            self._recorders[live] = PartsRecorder(live, self._like, inpainting)
        bank = self._recorders[live].record(forward_input.model, forward_input.sigmas[:1], forward_input.options)
        # Taken out of the bank one by one, so that the tokens of a layer are freed before those of the next are read.
        self._projected[live] = {block: self._project(block, bank.pop(block)) for block in tuple(bank)}

    def batch_of_parts(
        self, parts_of_chunks: tuple[SharedParts, ...], sharing: bool, shape: torch.Size
    ) -> SharingBatch:
        """What `_new_batch` gives of these arguments, made once and kept as long as the recording.

        The cache itself is what `Run.kept` keeps: it goes with its recording.
        """
        made_of = parts_of_chunks, sharing, shape
        if made_of not in self._batches:
            self._batches[made_of] = self._new_batch(*made_of)
        return self._batches[made_of]

    def _new_batch(self, parts_of_chunks: tuple[SharedParts, ...], sharing: bool, shape: torch.Size) -> SharingBatch:
        """A new SharingBatch for these chunks.

        sharing: whether any parts are read at this step; poses act in any case. shape: (B, C, h, w), of the UNet's
        input.
        """
        layers: dict[Block, list[PartsInLayer | None]] = {}
        row_count, _, height, width = shape
        if sharing:
            layers = self._parts_by_layer(parts_of_chunks, height, width)
        poses = [self._pose_of(parts) for parts in parts_of_chunks]
        return SharingBatch(row_count, layers, poses, self._options_of_run, self._attention_of_file)

    def _pose_of(self, parts: SharedParts) -> Tensor | None:
        """The pose on the device, (B, C, h, w), put there once; None for parts without one."""
        if parts.pose is None:
            return None
        if parts not in self._poses:
            self._poses[parts] = parts.pose.to(self._like)
        return self._poses[parts]

    def _parts_by_layer(
        self, parts_of_chunks: Sequence[SharedParts], height: int, width: int
    ) -> dict[Block, list[PartsInLayer | None]]:
        """What each chunk reads in every layer in which any chunk reads parts; None for a chunk that reads none there.

        height, width: of the latent.
        """
        grid_of_block = unet.grids(self._unet, height, width)
        projected_of_chunks = [self._projected_of(parts) for parts in parts_of_chunks]
        layers: dict[Block, list[PartsInLayer | None]] = {}
        for layer in dict.fromkeys(layer for projected in projected_of_chunks for layer in projected):
            grid = grid_of_block[block_of_unet(layer)]
            layers[layer] = []
            for parts, projected in zip(parts_of_chunks, projected_of_chunks, strict=True):
                in_layer = projected.get(layer)
                layers[layer].append(None if in_layer is None else self._parts_in_layer(parts, in_layer, grid))
        return layers

    def _projected_of(self, parts: SharedParts) -> Mapping[Block, ProjectedParts]:
        """Keys and values of parts in each layer that reads them, made once; {} for a side that reads none."""
        source = parts if parts.live is None else parts.live
        if source not in self._projected:
            bank = parts.bank or {}
            self._projected[source] = {block: self._project(block, tokens) for block, tokens in bank.items() if tokens}
        return self._projected[source]

    def _project(self, block: Block, parts: Sequence[PartTokens]) -> ProjectedParts:
        """The tokens of parts as keys and values, made with the layer's own modules."""
        counts = tuple((len(part.kept), part.dropped) for part in parts)
        kept = [part.kept.to(self._like) for part in parts]  # (kept, C) each
        # These projections add no bias, so a token of zeros becomes a sink.
        sinks = self._zero.expand(sink_count(counts, self._like.dtype), kept[0].shape[1])
        tokens = torch.cat([*kept, sinks])[None]  # (1, kept of all parts + sinks, C)
        attention = self._attentions[block]
        return ProjectedParts(attention.to_k(tokens), attention.to_v(tokens), counts)

    def _parts_in_layer(self, parts: SharedParts, projected: ProjectedParts, grid: Grid) -> PartsInLayer:
        """Keys and values with the bias, which has a column for every key: of the picture's own tokens, of the parts'
        kept tokens, and of sinks, which stand for the dropped ones."""
        # The cached KeyBiases alone and not this cache, see KeyBiases.
        bias_at = partial(self._biases.for_grid, projected.counts, parts.weights)
        return PartsInLayer(
            keys=projected.keys,
            values=projected.values,
            regional=parts.weights.targets is not None,
            grid=grid,
            bias=bias_at(grid[0] * grid[1], grid),
            bias_at=bias_at,
        )


@dataclass(frozen=True, eq=False)
class ProjectedParts:
    """The parts in one layer. keys, values: (1, kept of all parts + sinks, C). counts: of each part, how many of its
    tokens are kept and how many are dropped."""

    keys: Tensor
    values: Tensor
    counts: tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class PartsInLayer:
    """The parts as one layer reads them beside the picture's own tokens.

    keys, values: (1, kept + sinks, C).
    regional: whether parts are read in regions, their targets, so that it matters where in the picture a query lies.
    grid: of the layer, as it is without nodes that cut its tokens.
    bias: what is added to the logits of the picture's own tokens, of kept tokens and of sinks, or None. It is for a
    layer whose picture has a token for each cell of this grid.
    bias_at: gives the bias for another number of the picture's tokens and another grid.
    """

    keys: Tensor
    values: Tensor
    regional: bool
    grid: Grid
    bias: Tensor | None
    bias_at: Callable[[int, Grid], Tensor | None]

    def attention_output(self, q: Tensor, k: Tensor, v: Tensor, extra_options: Options) -> Tensor:
        """Attention to the picture's own tokens and to the parts, (B, N, C). q, k, v: of the picture, (B, N, C) each.

        Raises TokensMoved where another node moves tokens and parts are meant for regions.
        """
        if self.regional:
            # The end of the error's sentence about tokens: what is not known of them.
            unknown = "lie in the target_mask of a part"
            advice = "Take that node out, or the target_mask of every part."
            unet.check_tokens(q, unet.grid_of(extra_options), unknown, advice)
        bias = self._bias_for(k, extra_options)
        # On a CPU the host's choices write out all logits, which takes three times as long.
        kernel = attention_pytorch if q.device.type == "cpu" else None
        return shared_attention(q, (k, v), (self.keys, self.values), attend_with(extra_options, kernel, bias))

    def _bias_for(self, k: Tensor, extra_options: Options) -> Tensor | None:
        """The bias for as many tokens of the picture as k, (B, N, C), has.

        Other nodes may have cut or merged the picture's tokens (HyperTile, TomePatchModel), or have made the picture
        smaller in some blocks (PatchModelAddDownscale).
        """
        grid = unet.grid_of(extra_options)
        picture_token_count = k.shape[1]
        if grid == self.grid and picture_token_count == grid[0] * grid[1]:
            return self.bias
        return self.bias_at(picture_token_count, grid)
