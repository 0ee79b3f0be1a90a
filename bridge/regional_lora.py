"""LoRAs of single people, each added to what the layers give where that person is: y = W x + sum of m_i up_i down_i x.

No weight is changed. While a run lasts, the layers concerned are called through a `Reader`, which adds to what they
give. The products of all people are one: down of everybody, the weight of the pixel for each, up of everybody. Keys and
values of the text are made with each person's LoRA, and heard by that person's pixels alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as functional
from comfy.samplers import CFGGuider
from torch import Tensor, nn

from ..core.attention import on_grid, region_weights
from ..core.errors import LikenessError
from ..core.low_rank import low_rank
from .carried import Carried, cut_regions
from .conditioning import Canvas
from .cross_attention import CrossAttentionBatch, CrossAttentionRun, Place, as_many, rows_of
from .runs import Given, rows_made
from .unet import Grid, Options, Replacement, attend_with, grid_of, grids, transformers, unet_of, with_patch

_TEXT = "likeness_text"
"""In the extra_options of a layer: what its keys and values are made of."""


class LoraTokensMoved(LikenessError):
    """A node that splits or merges the picture's tokens, where LoRAs are meant for regions of the picture."""


class Added(NamedTuple):
    """One LoRA of one person to one layer. kind, tensors: as core.low_rank reads them."""

    person: int
    strength: float
    kind: str
    tensors: Sequence[Any]


@dataclass(frozen=True, eq=False)
class RegionalLora(Carried):
    """What one node adds, alike on both sides of the conditioning.

    people: how many. layers: by name of a module of the UNet. regions: (people, H, W) weights of the whole picture, or
    None: one person everywhere. canvas: what they are parts of. by_row: person n acts in row n of the batch alone, row:
    in which this is.
    """

    key = "likeness_loras"
    people: int
    layers: Mapping[str, Sequence[Added]]
    regions: Tensor | None
    canvas: Canvas | None = None
    by_row: bool = False
    row: int | None = None

    @property
    def active(self) -> bool:
        return bool(self.layers)

    @property
    def placed(self) -> bool:
        return self.regions is not None

    @property
    def acts(self) -> Tensor | None:
        """Where in the picture, or None: everywhere."""
        return self.regions

    def of(self, picture: int) -> RegionalLora:
        number = picture % self.people
        return self.piece(number, lambda: replace(self, row=number)) if self.by_row else self

    def cut(self, area: Sequence[int], latent: Sequence[int]) -> RegionalLora:
        return replace(self, regions=None if self.regions is None else cut_regions(self.regions, area, latent))

    def alike(self, other: Any) -> bool:
        return self.source is other.source and self.sigmas == other.sigmas

    @property
    def shares(self) -> list[Tensor]:
        """How much of everybody's LoRAs each pixel has, (people, H, W), at most 1 in all, or one per row; none: all."""
        if self.by_row:
            rows = torch.eye(self.people)[:, :, None, None]
            return list(rows if self.row is None else rows[self.row : self.row + 1])
        return [] if self.regions is None else [region_weights(self.regions)]


class Layer:
    """What all people add to one layer, ready on the device. owners: per rank whose it is, in order."""

    def __init__(self, added: Sequence[Added], module: nn.Module, place: Place) -> None:
        downs, ups, owners, self.before = [], [], [], list[tuple[int, Tensor, Tensor]]()
        for person, strength, kind, tensors in sorted(added, key=lambda one: one.person):
            given = [x.to(place.device, torch.float32) if isinstance(x, Tensor) else x for x in tensors]
            found = low_rank(kind, given, shape_of(module))
            downs.append(place.put(found.down))
            ups.append(place.put(found.up * strength))
            owners += [person] * len(found.down)
            if found.before:
                self.before.append((person, place.put(found.before[0]), place.put(found.before[1] * strength)))
        self.module, self.owners = module, tuple(owners)
        self.down, self.up = torch.cat(downs), torch.cat(ups, dim=1)

    def hidden(self, x: Tensor) -> Tensor:
        if self.down.dim() == 2:
            return functional.linear(x, self.down.to(x))
        conv: Any = self.module
        return functional.conv2d(x, self.down.to(x), None, conv.stride, conv.padding, conv.dilation)

    def heard(self, text: Tensor, reader: Reader) -> Iterator[tuple[int, Tensor]]:
        """By person what their LoRAs add to keys or values of a text."""
        hidden = self.hidden(text)
        for person in dict.fromkeys(self.owners):
            first, last = self.owners.index(person), self.owners.index(person) + self.owners.count(person)
            added = functional.linear(hidden[..., first:last], self.up[:, first:last].to(text))
            for _, down, up in (one for one in self.before if one[0] == person):
                added = added + reader.own(_in_front(text, down, up)) - reader.own(text)
            yield person, added


def shape_of(module: Any) -> tuple[int, ...] | None:
    """Of the weights of a layer that multiplies, whatever they are stored as; None for any other."""
    if hasattr(module, "in_features"):
        return module.out_features, module.in_features
    if isinstance(module, nn.Conv2d):
        return module.out_channels, module.in_channels // module.groups, *module.kernel_size
    return None


def _in_front(x: Tensor, down: Tensor, up: Tensor) -> Tensor:
    if x.dim() < 4:
        return x + functional.linear(functional.linear(x, down.to(x)), up.to(x))
    return x + functional.conv2d(functional.conv2d(x, down[..., None, None].to(x)), up[..., None, None].to(x))


class Reader:
    """A layer of the UNet while a run lasts. own: what it does without us."""

    def __init__(self, run: RegionalLoraRun, name: str, module: Any) -> None:
        self.run, self.name, self.module = run, name, module
        self.of_text = any(name in each for each in run.texts)
        self._before, self.own = module.__dict__.get("forward"), module.forward
        module.forward = self.forward

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        out = self.own(x, *args, **kwargs)
        return out if self.run.current is None else self.run.current.added(self, x, out)

    def taken_out(self) -> None:
        if self._before is None:
            del self.module.forward
        else:
            self.module.forward = self._before


class RegionalLoraRun(CrossAttentionRun):
    """One sampling run of a MODEL whose layers are read with LoRAs of people. current: of the forward that is on."""

    key = RegionalLora.key
    current: RegionalLoraBatch | None = None

    def __init__(self, guider: CFGGuider, latent: Tensor) -> None:
        super().__init__(guider, latent)
        self.readers: dict[str, Reader] = {}
        self._ready_layers: dict[object, dict[str, Layer]] = {}
        self.texts = texts_of(unet_of(guider.model_patcher))

    def batch(self, chunks: tuple[tuple[RegionalLora, ...], ...], given: Given) -> CrossAttentionBatch | None:
        together = zip(*chunks, strict=True)
        on = tuple(each for each in together if each[0].active and each[0].is_on(given.sigmas))
        if not on:
            return None
        unet = given.model.diffusion_model

        def make(place: Place) -> RegionalLoraBatch:
            at = grids(unet, *given.x.shape[-2:])
            parts = [Part(each, self._layers_of(each[0], place, unet), place, at) for each in on]
            return RegionalLoraBatch(self, place.rows, parts)

        return self.ready(on, given, make)

    def _layers_of(self, one: RegionalLora, place: Place, unet: nn.Module) -> dict[str, Layer]:
        """On the device, once in a run."""
        if one.source not in self._ready_layers:
            modules = {name: module_at(unet, name) for name in one.layers}
            self._ready_layers[one.source] = {
                name: Layer(added, modules[name], place) for name, added in one.layers.items()
            }
            self.readers |= {name: Reader(self, name, modules[name]) for name in modules.keys() - self.readers.keys()}
        return self._ready_layers[one.source]

    def ended(self) -> None:
        for reader in self.readers.values():
            reader.taken_out()


def module_at(unet: Any, name: str) -> Any:
    return getattr(unet, "_orig_mod", unet).get_submodule(name)


def texts_of(unet: nn.Module) -> list[tuple[str, str]]:
    """By layer the names of the modules that make keys and values of the text."""
    names = {id(module): name.removeprefix("_orig_mod.") for name, module in unet.named_modules()}
    return [(names[id(block.attn2.to_k)], names[id(block.attn2.to_v)]) for *_, block in transformers(unet)]


def block_of(name: str) -> tuple[str, int] | None:
    """The block of the UNet that a module of this name stands in; None where it has no place in the picture."""
    first, number, *_ = name.split(".")
    kind = first.removesuffix("_blocks").removesuffix("_block")
    return None if kind == first else (kind, 0 if kind == "middle" else int(number))


class Part:
    """What one node's LoRAs, one RegionalLora per chunk and all alike, add to the layers.

    full: whether every pixel is somebody's, so that nobody hears the text without a LoRA.
    """

    def __init__(
        self, each: Sequence[RegionalLora], layers: Mapping[str, Layer], place: Place, at: Mapping[Any, Grid]
    ) -> None:
        self.layers, self.people, self._place = layers, each[0].people, place
        self._at = {name: at[block] for name in layers if (block := block_of(name))}
        same = not each[0].by_row and all(one.regions is each[0].regions for one in each)
        self._shares = [shares for one in (each[:1] if same else each) for shares in one.shares]
        self.full = all(bool((one.sum(dim=0) == 1).all()) for one in self._shares)
        everybody = {one.owners for one in layers.values()} | {(person,) for person in range(self.people)}
        self._ready = {(grid, owners): self._made(grid, owners) for grid in {*at.values()} for owners in everybody}

    def weights(self, grid: Grid, owners: tuple[int, ...]) -> Tensor | None:
        """(rows or 1, pixels, owners) at a grid; None for 1 everywhere."""
        return self._ready[grid, owners] if (grid, owners) in self._ready else self._made(grid, owners)

    def _made(self, grid: Grid, owners: tuple[int, ...]) -> Tensor | None:
        if not self._shares:
            return None
        each = torch.stack([on_grid(one[list(owners)], *grid)[..., 0].T for one in self._shares])
        return self._place.put(each if len(each) == 1 else as_many(each, self._place.rows, dim=0))

    def onto(self, out: Tensor, reader: Reader, x: Tensor) -> Tensor:
        """What a layer gives, and what all people add to it. A layer without pixels that is added to all of them (of
        the step's noise) is given some where people differ."""
        layer = self.layers[reader.name]
        grid = (int(out.shape[2]), int(out.shape[3])) if out.dim() == 4 else self._at.get(reader.name, (1, 1))
        found = functional.linear(self._shared(layer.hidden(x), grid, layer.owners), layer.up.to(x))
        for person, down, up in layer.before:
            change = reader.own(_in_front(x, down, up)) - reader.own(x)
            found = found + self._shared(change, grid, (person,))
        if out.dim() == 3:
            return out + found
        if out.dim() == 2 and found.shape[1] == 1:
            return out + found[:, 0]
        return (out if out.dim() == 4 else out[..., None, None]) + found.mT.unflatten(2, grid)

    def heard(self, readers: Sequence[Reader | None], text: Sequence[Tensor]) -> Iterator[tuple[int, Any, Any]]:
        """By person, what is added to keys and values of a text in one layer."""
        found = [
            dict(self.layers[reader.name].heard(one, reader)) if reader and reader.name in self.layers else {}
            for reader, one in zip(readers, text, strict=True)
        ]
        for person in sorted({*found[0], *found[1]}):
            yield person, found[0].get(person, 0), found[1].get(person, 0)

    def _shared(self, x: Tensor, grid: Grid, owners: tuple[int, ...]) -> Tensor:
        """What is added to a layer, times everybody's weights: (B, pixels, channels)."""
        weights, x = self.weights(grid, owners), x.flatten(2).mT if x.dim() == 4 else x[:, None] if x.dim() == 2 else x
        if weights is None:
            return x
        if x.shape[1] not in (1, weights.shape[1]):
            height, width = grid
            raise LoraTokensMoved(
                f"Another MODEL node (HyperTile and TomePatchModel do so) has made {x.shape[1]} tokens of the "
                f"{width}x{height} of a layer, so it is unknown which of them belong to whose LoRA.",
                "Take that node out, or use one person without regions.",
            )
        if len(weights) not in (1, len(x)):
            raise rows_made(len(x), len(weights), None)
        return x * weights.to(x)


class RegionalLoraBatch(CrossAttentionBatch):
    """What the layers of one forward are given beside their weights."""

    def __init__(self, run: RegionalLoraRun, rows: int, parts: Sequence[Part]) -> None:
        self.layers, self.rows = run.layers, rows
        self._run, self._parts = run, parts

    def around(self, options: Options) -> Options:
        self._run.current = self
        # Behind the patches of others, and regional text: what they make of a text is what layers read.
        return with_patch(super().around(options), "attn2_patch", _remember)

    def done(self) -> None:
        self._run.current = None

    def acts(self, layer: int) -> bool:
        return any(name in part.layers for name in self._run.texts[layer] for part in self._parts)

    def added(self, reader: Reader, x: Tensor, out: Tensor) -> Tensor:
        if reader.of_text:
            return out
        for part in self._parts:
            if reader.name in part.layers:
                out = part.onto(out, reader, x)
        return out

    def attended(
        self, layer: int, before: Replacement | None, q: Tensor, k: Tensor, v: Tensor, extra_options: Options
    ) -> Tensor:
        """Each pixel hears the text with the LoRAs of whom it belongs to, by their weights there."""
        attend = partial(before, extra_options=extra_options) if before else attend_with(extra_options)
        grid, whose = grid_of(extra_options), self.whose(before, q, extra_options)
        readers = [self._run.readers.get(name) for name in self._run.texts[layer]]
        heard = [
            (_of_rows(part.weights(grid, (person,)), whose), *added)
            for part in self._parts
            for person, *added in part.heard(readers, extra_options[_TEXT])
        ]
        out: Any = 0
        if len(self._parts) > 1 or not self._parts[0].full or len(heard) < self._parts[0].people:
            out = (1 - sum(weights for weights, *_ in heard)) * attend(q, k, v)
        for weights, keys, values in heard:
            out = out + weights * attend(q, k + keys, v + values)
        return out


def _of_rows(weights: Tensor | None, whose: Tensor | None) -> Tensor | int:
    if weights is None:
        return 1
    return weights if len(weights) == 1 else rows_of(weights, whose, dim=0)


def _remember(n: Tensor, context: Tensor, value: Tensor, extra_options: Options) -> tuple[Tensor, Tensor, Tensor]:
    """The host's attn2 patch."""
    extra_options[_TEXT] = context, value
    return n, context, value
