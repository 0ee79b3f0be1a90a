"""What the picture reads of people behind the blocks of a transformer.

Blocks have one slot each for a function of others: ours goes around whoever stands there. Behind the blocks rows of the
picture read image tokens of people: all that is read of a person is made when the node runs, so no weights of an
adapter are in memory while sampling.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import comfy.model_management
import torch
import torch.nn.functional as functional
from comfy.ldm.flux.model import Flux
from comfy.model_patcher import ModelPatcher
from comfy.samplers import CFGGuider
from torch import Tensor

from ..canvas import check_canvases
from ..carried import ConditioningLost
from ..cross_attention.injections import Injection
from ..runs import Batch, ForwardInput, Run
from ..unet import Options, dtype_of, replaced
from .networks import network_of, tokens_of

Block = tuple[str, int]
"""("double_block" | "single_block", number): the host's address of a block."""


def blocks_of(model: ModelPatcher) -> list[Block]:
    """Every block of a MODEL of one of networks.FAMILIES, in the order in which they run."""
    network = network_of(model.model)
    if isinstance(network, Flux):
        lengths = {"double_block": len(network.double_blocks), "single_block": len(network.single_blocks)}
    else:
        lengths = {"double_block": len(network.transformer_blocks)}
    return [(kind, number) for kind, length in lengths.items() for number in range(length)]


Read = tuple[Tensor, ...]
"""What is read of people behind one block: each (people, ...)."""


class BlockInjection(Injection):
    """What one apply node adds to one side of the conditioning. layers: a Read per block, weights in it.

    A side without people has none: its rows are computed beside those with people, as the host does without both.
    """

    key = "likeness_block_injections"

    def can_join_batch(self, other: Any) -> bool:
        return self.schedule == other.schedule

    def read(self, rows: Tensor, people: Read, who: Sequence[int]) -> Tensor:
        """What rows (..., width) of the picture read of some of the people behind one block: (..., width)."""
        raise NotImplementedError


class BlocksRun(Run):
    """One sampling run of a MODEL whose picture reads people behind its blocks."""

    key = BlockInjection.key

    def __init__(self, guider: CFGGuider, latent: Tensor) -> None:
        super().__init__(guider, latent)
        model: Any = guider.model_patcher
        self.blocks, self._dtype = blocks_of(model), dtype_of(model.model)
        self._placed: dict[tuple[int, torch.device], tuple[Any, list[Read]]] = {}
        self._ready: dict[Any, BlocksBatch] = {}
        carried = self.everything(guider)
        check_canvases(carried, latent)
        # Before the host looks how much of the MODEL there is room for.
        for one in carried:
            for _, piece in _by_row(one, range(len(latent))):
                self.placed(piece)

    def placed(self, one: BlockInjection, device: torch.device | None = None) -> list[Read]:
        """What is read of its people, per block, where the MODEL computes.

        device: of another card that the host's MultiGPU CFG Split samples on, too.
        """
        own: torch.device = self._device
        place = own if device is None else device
        if place.type == own.type and own.index in (None, place.index):
            place = own  # a device without a number and its first are one
        key = id(one.layers), place
        if key not in self._placed:
            layers: Any = one.layers
            needed = sum(x.numel() for layer in layers for x in layer) * self._dtype.itemsize
            comfy.model_management.free_memory(needed, place)
            there = [tuple(x.to(place, self._dtype) for x in layer) for layer in layers]
            self._placed[key] = one.layers, there  # held: an id is that of a living object
        return self._placed[key][1]

    def batch_for_forward(
        self, chunks: tuple[tuple[BlockInjection, ...], ...], forward_input: ForwardInput
    ) -> "BlocksBatch | None":
        """Of the people who are switched on at this step."""
        together = zip(*chunks, strict=True)
        on = tuple(
            each for each in together if any(one.active for one in each) and self.is_on(each[0], forward_input.sigmas)
        )
        if not on:
            return None
        what = on, tuple(forward_input.x.shape[-2:]), len(forward_input.x), forward_input.model
        if what not in self._ready:
            self._ready[what] = BlocksBatch(self, on, forward_input)
        return self._ready[what]


def _by_row(one: BlockInjection, rows: range) -> list[tuple[slice, BlockInjection]]:
    """Which of these rows of a batch read what: each its own, all the same, or nobody."""
    if one.by_row:
        return [(slice(row, row + 1), one.for_picture(n)) for n, row in enumerate(rows) if one.active]
    return [(slice(rows.start, rows.stop), one)] * one.active


_Group = tuple[slice, Tensor, tuple[int, ...], list[Read], Callable[[Tensor, Read, Sequence[int]], Tensor]]
"""Rows of the batch, and which of the picture, (n,), read which of the people; per block, and how."""
_Replacement = Callable[[Options, Options], Options]


class BlocksBatch(Batch):
    """What comes out of each block, plus what the picture's rows in somebody's region read of them."""

    def __init__(self, run: BlocksRun, on: Sequence[tuple[BlockInjection, ...]], forward_input: ForwardInput) -> None:
        self.blocks, self.row_count = run.blocks, len(forward_input.x)
        self._length, self._groups = tokens_of(forward_input.model, forward_input.x), list[_Group]()
        for each in on:
            several = self.row_count // len(each)
            for first, one in zip(range(0, self.row_count, several), each, strict=True):
                for rows, piece in _by_row(one, range(first, first + several)):
                    self._add(rows, piece, run.placed(piece, forward_input.x.device), forward_input.x)

    def _add(self, rows: slice, one: BlockInjection, layers: list[Read], x: Tensor) -> None:
        regions = torch.ones(1, 1, 1) if one.acting_regions is None else one.acting_regions
        owned = by_people(inside(regions, (x.shape[-2], x.shape[-1])))
        self._groups += [(rows, at.to(x.device), who, layers, one.read) for who, at in owned]

    def options_with_attention(self, options: Options) -> Options:
        others = options.get("patches_replace", {}).get("dit", {})
        ours = {block: partial(self._added, number, others.get(block)) for number, block in enumerate(self.blocks)}
        return replaced(options, "dit", ours)

    def _added(self, number: int, replacement: _Replacement | None, args: Options, extra: Options) -> Options:
        """What the host calls instead of a block. replacement: what another node has put there.

        args: img (that of a single block of Flux begins with the text), txt, vec, pe, transformer_options.
        """
        out = replacement(args, extra) if replacement else extra["original_block"](args)
        before: Tensor = out["img"]
        # In a single block the text stands in front; references are behind the picture in all.
        text = args["transformer_options"]["img_slice"][0] if self.blocks[number][0] == "single_block" else 0
        if before.shape[1] < text + self._length:
            found = before.shape[1] - text
            raise ConditioningLost("unknown", f"leaves {found} of the picture's {self._length} tokens")
        img = before.clone()
        for rows, at, who, layers, read in self._groups:
            img[rows, at + text] += read(before[rows, at + text], layers[number], who)
        return {**out, "img": img}


def inside(regions: Tensor, latent: tuple[int, int]) -> Tensor:
    """Which rows of the picture read whom: (people, rows) bool.

    regions: (people, H, W), 0..1, of a picture whose latent is (height, width). A row reads everybody in whose region
    one of its pixels lies: a box reaches outwards to whole rows.
    """
    pixels = functional.adaptive_max_pool2d(regions.float(), latent)
    return functional.max_pool2d(pixels, 2, ceil_mode=True).flatten(1) > 0


def by_people(reading: Tensor) -> list[tuple[tuple[int, ...], Tensor]]:
    """Of (people, rows) bool: who act together in any rows, and the numbers of these."""
    every: list[list[bool]] = reading.T.tolist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    found: dict[tuple[int, ...], list[int]] = {}
    for row, owned in enumerate(every):
        found.setdefault(tuple(n for n, is_owned in enumerate(owned) if is_owned), []).append(row)
    return [(who, torch.tensor(rows)) for who, rows in found.items() if who]
