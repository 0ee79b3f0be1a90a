"""LoRAs of single people, each added to what the layers give where that person is: y = W x + sum of m_i up_i down_i x.

No weight is changed. While a run lasts, the layers concerned are called through a `Reader`, which adds to what they
give. The products of all people are one: down of everybody, the weight of the pixel for each, up of everybody. Keys and
values of the text are made with each person's LoRA, and read by that person's pixels alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as functional
from comfy.samplers import CFGGuider
from torch import Tensor, nn

from ..core.attention import on_grid, region_weights
from ..core.errors import BadSetup
from ..core.low_rank import low_rank
from .carried import Carried
from .conditioning import Canvas
from .cross_attention import CrossAttentionBatch, CrossAttentionRun, Place, as_many, rows_of
from .runs import Given, rows_made
from .unet import Grid, Options, Replacement, attend_with, grid_of, grids, modules_of_unet, transformers, with_patch

_TEXT = "likeness_text"
"""In the extra_options of a layer: what its keys and values are made of."""
Added = tuple[int, float, str, Sequence[Any]]
"""One LoRA in one layer: the person's number, the strength, and kind and tensors as core.low_rank reads them."""


@dataclass(frozen=True, eq=False)
class RegionalLora(Carried):
    """What one node adds, alike on both sides of the conditioning.

    people: how many. layers: by name of a module of the UNet. regions, canvas, by_row: as in Injection. row: in which
    of the batch this is, where it is known.
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

    def of(self, picture: int) -> RegionalLora:
        number = picture % self.people
        return self.piece(number, lambda: replace(self, row=number)) if self.by_row else self

    @property
    def shares(self) -> list[Tensor]:
        """How much of everybody's LoRAs each pixel has, (people, H, W), at most 1 in all, or one per row; none: all."""
        if self.by_row:
            rows = torch.eye(self.people)[:, :, None, None]
            return list(rows if self.row is None else rows[self.row : self.row + 1])
        return [] if self.regions is None else [region_weights(self.regions)]


class Layer:
    """What all people add to one layer, ready on the device. owners: per rank whose it is, in order. fronts: by person
    what stands in front of the layer."""

    def __init__(self, added: Sequence[Added], module: Any, place: Place) -> None:
        each, owners, self.fronts = [], [], list[tuple[int, Tensor, Tensor]]()
        for person, strength, kind, tensors in sorted(added, key=lambda one: one[0]):
            given = [x.to(place.device, torch.float32) if isinstance(x, Tensor) else x for x in tensors]
            down, up, front = low_rank(kind, given, shape_of(module) or ())
            each.append((place.put(down), place.put(up * strength)))
            owners += [person] * len(down)
            self.fronts += [(person, place.put(front[0]), place.put(front[1] * strength))] if front else []
        self.module, self.owners = module, tuple(owners)
        self.down, self.up = (torch.cat(x, dim=n) for n, x in enumerate(zip(*each, strict=True)))

    def hidden(self, x: Tensor) -> Tensor:
        if self.down.dim() == 2:
            return functional.linear(x, self.down.to(x))
        return functional.conv2d(x, self.down.to(x), None, self.module.stride, self.module.padding)

    def of_text(self, text: Tensor, own: Any) -> dict[int, Tensor]:
        """By person what their LoRAs add to keys or values of a text."""
        hidden = self.hidden(text)
        found: dict[int, Tensor] = {}
        for person in dict.fromkeys(self.owners):
            first = self.owners.index(person)
            ranks = slice(first, first + self.owners.count(person))
            found[person] = functional.linear(hidden[..., ranks], self.up[:, ranks].to(text))
        for person, down, up in self.fronts:
            found[person] = found[person] + _in_front(own, text, down, up)
        return found


def shape_of(module: Any) -> tuple[int, ...] | None:
    """Of the weights of a layer that multiplies, whatever they are stored as; None for any other."""
    if hasattr(module, "in_features"):
        return module.out_features, module.in_features
    return (module.out_channels, module.in_channels, *module.kernel_size) if isinstance(module, nn.Conv2d) else None


def block_of(name: str) -> tuple[str, int] | None:
    """The block of the UNet that a module of this name stands in; None where it has no place in the picture."""
    first, number, *_ = name.split(".")
    kind = first.removesuffix("_blocks").removesuffix("_block")
    return None if kind == first else (kind, 0 if kind == "middle" else int(number))


def _in_front(own: Any, x: Tensor, down: Tensor, up: Tensor) -> Tensor:
    """How what a layer gives changes when up down x is added to what it is given."""
    by = (lambda x, y: functional.conv2d(x, y[..., None, None])) if x.dim() == 4 else functional.linear
    return own(x + by(by(x, down.to(x)), up.to(x))) - own(x)


class Reader:
    """A layer of the UNet while a run lasts. own: what it does without us."""

    def __init__(self, run: RegionalLoraRun, name: str, module: Any) -> None:
        self.run, self.name, self.module = run, name, module
        self._before, self.own = module.__dict__.get("forward"), module.forward
        module.forward = self.forward

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        out = self.own(x, *args, **kwargs)
        return out if self.run.current is None else self.run.current.added(self, x, out)

    def taken_out(self) -> None:
        del self.module.forward
        if self._before is not None:
            self.module.forward = self._before


class RegionalLoraRun(CrossAttentionRun):
    """One sampling run. current: what is added in the forward that is on. texts: by layer, the names of the modules
    that make keys and values of the text."""

    key = RegionalLora.key
    current: RegionalLoraBatch | None = None

    def __init__(self, guider: CFGGuider, latent: Tensor) -> None:
        super().__init__(guider, latent)
        self.readers, self._on_device = dict[str, Reader](), dict[object, dict[str, Layer]]()
        self._modules = dict[str, nn.Module]()
        self.texts: list[tuple[str, str]] = []

    def batch(self, chunks: tuple[tuple[RegionalLora, ...], ...], given: Given) -> CrossAttentionBatch | None:
        on, unet = self.acting(chunks, given), given.model.diffusion_model

        def make(place: Place) -> RegionalLoraBatch:
            at = grids(unet, *given.x.shape[-2:])
            parts = [Part(each, self._layers(each[0], place, unet), place, at) for each in on]
            return RegionalLoraBatch(self, place.rows, parts)

        return self.ready(on, given, make) if on else None

    def _layers(self, one: RegionalLora, place: Place, unet: nn.Module) -> dict[str, Layer]:
        """On the device, once in a run."""
        if one.source not in self._on_device:
            if not self._modules:
                self._modules = modules_of_unet(unet)
                names = {module: name for name, module in self._modules.items()}
                self.texts = [(names[block.attn2.to_k], names[block.attn2.to_v]) for *_, block in transformers(unet)]
            modules = self._modules
            self._on_device[one.source] = {name: Layer(each, modules[name], place) for name, each in one.layers.items()}
            self.readers |= {name: Reader(self, name, modules[name]) for name in one.layers.keys() - self.readers}
        return self._on_device[one.source]

    def ended(self) -> None:
        for reader in self.readers.values():
            reader.taken_out()


class Part:
    """What one node's LoRAs, one RegionalLora per chunk and all alike, add to the layers.

    full: whether every pixel is somebody's, so that no pixel reads the text without a LoRA.
    """

    def __init__(self, each: Sequence[RegionalLora], layers: Mapping[str, Layer], place: Place, at: Any) -> None:
        self.layers, self.people, self._place = layers, each[0].people, place
        self._at: dict[str, Grid] = {name: at[block] for name in layers if (block := block_of(name))}
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
        """What a layer gives, and what all people add to it.

        A layer without pixels that is added to all of them (of the step's noise) gets some where people differ.
        """
        layer = self.layers[reader.name]
        grid = (int(out.shape[2]), int(out.shape[3])) if out.dim() == 4 else self._at.get(reader.name, (1, 1))
        found = functional.linear(self._shared(layer.hidden(x), grid, layer.owners), layer.up.to(x))
        for person, down, up in layer.fronts:
            found = found + self._shared(_in_front(reader.own, x, down, up), grid, (person,))
        if out.dim() == 3:
            return out + found
        if out.dim() == 2 and found.shape[1] == 1:
            return out + found[:, 0]
        return (out if out.dim() == 4 else out[..., None, None]) + found.mT.unflatten(2, grid)

    def _shared(self, x: Tensor, grid: Grid, owners: tuple[int, ...]) -> Tensor:
        """What is added to a layer, times everybody's weights: (B, pixels, channels)."""
        weights, x = self.weights(grid, owners), x.flatten(2).mT if x.dim() == 4 else x[:, None] if x.dim() == 2 else x
        if weights is None:
            return x
        if x.shape[1] not in (1, weights.shape[1]):
            raise BadSetup(
                f"Another MODEL node (HyperTile and TomePatchModel do so) has made {x.shape[1]} tokens of the "
                f"{grid[1]}x{grid[0]} of a layer. Which of them belong to whose LoRA is unknown.",
                "Take that node out, or use one person without regions.",
            )
        if len(weights) not in (1, len(x)):
            raise rows_made(len(x), len(weights), None)
        return x * weights.to(x)


class RegionalLoraBatch(CrossAttentionBatch):
    """What the layers of one forward are given. reading: whose attention to the text is on."""

    reading: tuple[tuple[Part, int], ...] = ()

    def __init__(self, run: RegionalLoraRun, rows: int, parts: Sequence[Part]) -> None:
        self.layers, self.rows, self._run, self._parts = run.layers, rows, run, parts

    def around(self, options: Options) -> Options:
        self._run.current = self
        # Behind the patches of others, and regional text: what they make of a text is what layers read.
        return with_patch(super().around(options), "attn2_patch", _remember)

    def done(self) -> None:
        self._run.current = None

    def acts(self, layer: int) -> bool:
        return any(name in part.layers for name in self._run.texts[layer] for part in self._parts)

    def added(self, reader: Reader, x: Tensor, out: Tensor) -> Tensor:
        """To what a layer gives. To keys and values only where others make their own in the place of attention."""
        if reader.name.endswith(("attn2.to_k", "attn2.to_v")):
            for part, person in self.reading:
                if known := part.layers.get(reader.name):
                    out = out + known.of_text(x, reader.own).get(person, 0)
            return out
        for part in self._parts:
            out = part.onto(out, reader, x) if reader.name in part.layers else out
        return out

    def attended(
        self, layer: int, before: Replacement | None, q: Tensor, k: Tensor, v: Tensor, extra_options: Options
    ) -> Tensor:
        """Each pixel reads the text with the LoRAs of whom it belongs to, by their weights there.

        Where several nodes have somebody in a pixel, it reads with the LoRAs of all of them.
        """
        grid, whose = grid_of(extra_options), self.whose(before, q, extra_options)

        def attend(keys: Tensor, values: Tensor, reading: tuple[tuple[Part, int], ...]) -> Tensor:
            self.reading = reading
            if before is None:
                return attend_with(extra_options)(q, keys, values)
            return before(q, keys, values, extra_options)

        texts = [*zip(self._run.texts[layer], extra_options[_TEXT], strict=True)]
        every = [self._read_by(part, grid, whose, texts, q) for part in self._parts]
        out: Any = 0
        for way in itertools.product(*every):
            shares, keys, values, reading = zip(*way, strict=True)
            out = out + math.prod(shares) * attend(sum(keys, k), sum(values, v), sum(reading, ()))
        self.reading = ()
        return out

    def _read_by(self, part: Part, grid: Grid, whose: Any, texts: Sequence[Any], q: Tensor) -> list[tuple[Any, ...]]:
        """Of everybody, and of the pixels that are left: the weight, what is added to keys and values, and who."""
        of_keys, of_values = (
            part.layers[name].of_text(x, self._run.readers[name].own) if name in part.layers else {}
            for name, x in texts
        )
        left: Any = 1
        found: list[tuple[Any, ...]] = []
        for person in sorted({*of_keys, *of_values}):
            weights = part.weights(grid, (person,))
            of_rows = None if weights is None or len(weights) == 1 else whose
            share: Any = 1 if weights is None else rows_of(weights.to(q), of_rows, dim=0)
            found.append((share, of_keys.get(person, 0), of_values.get(person, 0), ((part, person),)))
            left = left - share
        return found if part.full and len(found) == part.people else [*found, (left, 0, 0, ())]


def _remember(n: Tensor, context: Tensor, value: Tensor, extra_options: Options) -> tuple[Tensor, Tensor, Tensor]:
    """The host's attn2 patch."""
    extra_options[_TEXT] = context, value
    return n, context, value
