"""LoRAs of single people, each added to what the layers give where that person is: y = W x + sum of m_i up_i down_i x.

No weight is changed. While a forward runs, the layers concerned are called through a `Reader`, which adds to what they
give. The products of all people are one: down of everybody, the weight of the pixel for each, up of everybody. Keys and
values of the text are made with each person's LoRA, and read by that person's pixels alone.

What belongs to whom: a `RegionalLoraRun` to one sampling, a `LoraNetwork` to one UNet in it (ComfyUI's MultiGPU CFG
Split samples with a copy of the UNet on each card), a `RegionalLoraBatch` to the forwards of one UNet that carry the
same, and `_thread` to the forward that is on in one thread.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, NamedTuple

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
"""In the extra_options of a layer: what its keys and values are made of, a `LayerText`."""


class LayerLora(NamedTuple):
    """One LoRA of one person in one layer.

    person: the number of the person among those of the node. strength: what the LoRA is multiplied by. kind, tensors:
    the host's name of the kind, and its tensors, as core.low_rank reads them.
    """

    person: int
    strength: float
    kind: str
    tensors: Sequence[Any]


@dataclass(frozen=True, eq=False)
class RegionalLora(Carried):
    """What one node adds, alike on both sides of the conditioning.

    people: how many. layers: by name of a module of the UNet. regions, canvas, by_row: as in Injection. row: in which
    of the batch this is, where it is known.
    """

    key = "likeness_loras"
    people: int
    layers: Mapping[str, Sequence[LayerLora]]
    regions: Tensor | None
    canvas: Canvas | None = None
    by_row: bool = False
    row: int | None = None

    @property
    def active(self) -> bool:
        return bool(self.layers)

    def of(self, picture: int) -> RegionalLora:
        """For one picture of the batch: of a cast with a row per person, that of the person in this row."""
        if not self.by_row:
            return self
        number = picture % self.people
        return self.piece(number, lambda: replace(self, row=number))

    @property
    def shares(self) -> list[Tensor]:
        """How much of everybody's LoRAs each pixel has, (people, H, W), at most 1 in all: one for all rows of the
        batch, or one per row where everybody has a row; none where one person is everywhere."""
        if self.by_row:
            rows = torch.eye(self.people)[:, :, None, None]  # (people, people, 1, 1): row n is person n's alone
            return list(rows if self.row is None else rows[self.row : self.row + 1])
        return [] if self.regions is None else [region_weights(self.regions)]


# What is ready on the device


class InputLora(NamedTuple):
    """What one person's GLoRA adds in front of a layer: W (x + up down x). down: (rank, in), up: (in, rank)."""

    person: int
    down: Tensor
    up: Tensor


class PeopleLayer:
    """What the LoRAs of all people of one node add to one layer, ready on the device.

    owners: per rank, whose it is, in the order of the ranks. down: (ranks, in), or (ranks, in, h, w) of a convolution.
    up: (out, ranks), strength included. in_front: what stands in front of the layer, of GLoRA alone.
    """

    def __init__(self, loras: Sequence[LayerLora], module: Any, place: Place) -> None:
        downs, ups = list[Tensor](), list[Tensor]()
        owners, self.in_front = list[int](), list[InputLora]()
        for lora in sorted(loras, key=lambda lora: lora.person):
            tensors = [x.to(place.device, torch.float32) if isinstance(x, Tensor) else x for x in lora.tensors]
            down, up, front = low_rank(lora.kind, tensors, shape_of(module) or ())
            downs.append(place.put(down))
            ups.append(place.put(up * lora.strength))
            owners += [lora.person] * len(down)
            if front:
                front_down, front_up = front
                front_up = front_up * lora.strength
                self.in_front.append(InputLora(lora.person, place.put(front_down), place.put(front_up)))
        self.module = module
        self.owners = tuple(owners)
        self.down, self.up = torch.cat(downs), torch.cat(ups, dim=1)

    def hidden(self, x: Tensor) -> Tensor:
        """down x: (..., in) -> (..., ranks), or (B, in, h, w) -> (B, ranks, h', w') of a convolution."""
        if self.down.dim() == 2:
            return functional.linear(x, self.down.to(x))
        return functional.conv2d(x, self.down.to(x), None, self.module.stride, self.module.padding)

    def of_text(self, text: Tensor, own: Any) -> dict[int, Tensor]:
        """By person, what their LoRAs add to keys or values of a text: (B, T, width) -> (B, T, C).

        own: what the layer does without us.
        """
        hidden = self.hidden(text)
        by_person: dict[int, Tensor] = {}
        for person in dict.fromkeys(self.owners):
            first = self.owners.index(person)  # the ranks of one person stand together
            ranks = slice(first, first + self.owners.count(person))
            by_person[person] = functional.linear(hidden[..., ranks], self.up[:, ranks].to(text))
        for front in self.in_front:
            by_person[front.person] = by_person[front.person] + _change_by_input(own, text, front)
        return by_person


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


def _convolution_of(name: str) -> str:
    """The convolution that runs first in the block of a layer: what it gives has the block's pixels.

    They are not those that the UNet has there by itself where another node has made the picture smaller before
    (PatchModelAddDownscale).
    """
    kind, number, *_ = name.split(".")
    block = kind if kind == "middle_block" else f"{kind}.{number}"
    return f"{block}.0.in_layers.2"


def _change_by_input(own: Any, x: Tensor, front: InputLora) -> Tensor:
    """How what a layer gives changes when up down x is added to what it is given. own: what it does without us."""

    def multiplied(x: Tensor, matrix: Tensor) -> Tensor:
        if x.dim() == 4:  # (B, C, h, w): a convolution of one pixel multiplies the channels
            return functional.conv2d(x, matrix.to(x)[..., None, None])
        return functional.linear(x, matrix.to(x))

    return own(x + multiplied(multiplied(x, front.down), front.up)) - own(x)


# In the layers while a forward runs


class _Thread(threading.local):
    """The forward that is on in this thread: what is added to the layers, and whose attention to the text is on.

    batch: what is added, None between forwards. reading: while `attended` computes one attention to the text, with
    whose LoRAs; a pack whose attention makes keys and values itself is given these by `RegionalLoraBatch.added`. grids:
    by name of a layer, of the pixels that its block has in this forward, where a convolution before it has shown them.

    A layer is given x alone, so a Reader has nothing else to find it by. Of one thread, because the host calls the
    UNets of several cards at the same time, and a MODEL may be sampled elsewhere meanwhile.
    """

    def __init__(self) -> None:
        # Once per thread. Not as values of the class, which torch.compile would take for those of every thread.
        self.batch: RegionalLoraBatch | None = None
        self.reading: tuple[Owner, ...] = ()
        self.grids: dict[str, Grid] = {}


_thread = _Thread()


class Reader:
    """A layer of a UNet while forwards of one run go through it; it adds to what the layer gives.

    A module of torch is called by its class's forward, or by a function in its own `__dict__` where somebody has put
    one. A Reader puts itself there. standing: what was there before, without Readers of ours that have ended, or None.
    own: what the layer does without us, which is that function or else the class's method. A pack that
    puts a function around this one in the middle of a forward keeps it. Then this Reader stays in between: once
    `ended`, it hands on what comes and holds nothing of the run.
    """

    def __init__(self, network: LoraNetwork, name: str, module: nn.Module) -> None:
        self.network: LoraNetwork | None = network
        self.name = name
        self.standing: Any = _without_ended(vars(module).get("forward"))
        if self.standing is None:
            vars(module).pop("forward", None)
        else:
            module.forward = self.standing
        self.own = module.forward
        module.forward = self.forward

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        out = self.own(x, *args, **kwargs)
        batch = _thread.batch
        if batch is None or batch.network is not self.network:
            return out
        return batch.added(self, x, out)

    def take_out(self, module: nn.Module) -> None:
        """Make the layer what it was before us.

        Where another pack's function stands there now, it stays: it may call this Reader.
        """
        if not _is_forward_of(vars(module).get("forward"), self):
            return
        before = _without_ended(self.standing)
        if before is None:
            vars(module).pop("forward", None)
        else:
            vars(module)["forward"] = before

    def end(self) -> None:
        """From now on it hands on what comes, whoever still calls it."""
        self.network = None


def _is_forward_of(function: Any, reader: Reader) -> bool:
    return isinstance(function, type(reader.forward)) and function.__self__ is reader


def _without_ended(function: Any) -> Any:
    """What stands in a layer without the Readers of ours that have ended: another pack may have put back one that it
    had met in the middle of a forward."""
    while isinstance(reader := getattr(function, "__self__", None), Reader) and reader.network is None:
        function = reader.standing
    return function


class TextLayers(NamedTuple):
    """Names of the modules that make keys and values of the text for one cross-attention layer."""

    keys: str
    values: str


class LayerText(NamedTuple):
    """What keys and values of one layer are made of, (B, T, width) each."""

    for_keys: Tensor
    for_values: Tensor


class LoraNetwork:
    """One UNet that a run samples with. The host's MultiGPU CFG Split samples with several at the same time.

    modules: by name. texts: of every cross-attention layer, in the order of unet.transformers. readers: by name of the
    layer, those that stand in it now.
    """

    def __init__(self, unet: nn.Module) -> None:
        self.modules = modules_of_unet(unet)
        names = {module: name for name, module in self.modules.items()}
        attentions = [block.attn2 for *_, block in transformers(unet)]
        self.texts = [TextLayers(names[attention.to_k], names[attention.to_v]) for attention in attentions]
        self.readers: dict[str, Reader] = {}
        self._layers: dict[object, dict[str, PeopleLayer]] = {}
        self._forwards = 0
        self._lock = threading.Lock()

    def layers(self, lora: RegionalLora, place: Place) -> dict[str, PeopleLayer]:
        """What one node adds, by name of the layer: on the device once in a run."""
        if lora.source not in self._layers:
            ready = {name: PeopleLayer(loras, self.modules[name], place) for name, loras in lora.layers.items()}
            self._layers[lora.source] = ready
        return self._layers[lora.source]

    @contextmanager
    def read_in(self, names: Sequence[str]) -> Iterator[None]:
        """With Readers in these layers, for as long as any forward needs them.

        They stand there for a forward and not for the run: what another pack puts into a layer between two forwards, or
        takes away, meets nothing of ours.
        """
        with self._lock:
            self._forwards += 1
        try:
            with self._lock:
                for name in names:
                    if name not in self.readers:
                        self.readers[name] = Reader(self, name, self.modules[name])
            yield
        finally:
            with self._lock:
                self._forwards -= 1
                if not self._forwards:
                    self._take_out()

    def _take_out(self) -> None:
        for name, reader in self.readers.items():
            reader.take_out(self.modules[name])
            reader.end()
        self.readers = {}

    def end(self) -> None:
        """Take out every Reader that has ended and that another pack has put back since."""
        for module in self.modules.values():
            standing = vars(module).get("forward")
            left = _without_ended(standing)
            if left is None and standing is not None:
                vars(module).pop("forward")
            elif left is not standing:
                vars(module)["forward"] = left


class RegionalLoraRun(CrossAttentionRun):
    """One sampling run. networks: what belongs to each UNet that it samples with."""

    key = RegionalLora.key

    def __init__(self, guider: CFGGuider, latent: Tensor) -> None:
        super().__init__(guider, latent)
        self.networks: dict[nn.Module, LoraNetwork] = {}

    def batch(self, chunks: tuple[tuple[RegionalLora, ...], ...], given: Given) -> CrossAttentionBatch | None:
        acting = self.acting(chunks, given)
        if not acting:
            return None
        unet = given.model.diffusion_model
        network = self._network(unet)

        def make(place: Place) -> RegionalLoraBatch:
            block_grids = grids(unet, *given.x.shape[-2:])
            parts = [NodeLoras(loras, network.layers(loras[0], place), place, block_grids) for loras in acting]
            return RegionalLoraBatch(self, network, place.rows, parts)

        return self.ready(acting, given, make)

    def _network(self, unet: Any) -> LoraNetwork:
        # torch.compile puts a module around the UNet, whose layers are the same.
        module = getattr(unet, "_orig_mod", unet)
        if module not in self.networks:
            self.networks.setdefault(module, LoraNetwork(module))
        return self.networks[module]

    def ended(self) -> None:
        for network in self.networks.values():
            network.end()


# What one forward reads


class Owner(NamedTuple):
    """A person of one node."""

    node: NodeLoras
    person: int


class TextReading(NamedTuple):
    """How a share of the pixels reads the text in one layer.

    share: of each pixel, (rows or 1, N, 1), or 1: all of all. keys, values: what is added to those of the text, (B, T,
    C), or 0. owners: with whose LoRAs; nobody's for the pixels that are left.
    """

    share: Any
    keys: Any
    values: Any
    owners: tuple[Owner, ...]


class NodeLoras:
    """What one node's LoRAs, one RegionalLora per chunk and all alike, add to the layers.

    layers: by name. people: how many. full: whether every pixel is wholly somebody's, so that no pixel reads the text
    without a LoRA.
    """

    def __init__(
        self,
        loras: Sequence[RegionalLora],
        layers: Mapping[str, PeopleLayer],
        place: Place,
        block_grids: Mapping[tuple[str, int], Grid],
    ) -> None:
        self.layers, self.people, self._place = layers, loras[0].people, place
        self._grids: dict[str, Grid] = {}
        for name in layers:
            block = block_of(name)
            if block:
                self._grids[name] = block_grids[block]
        # Chunks with the same regions have the same weights; a prompt with an area of its own sees a part of them.
        same = not loras[0].by_row and all(lora.regions is loras[0].regions for lora in loras)
        self._shares: list[Tensor] = []
        for lora in loras[:1] if same else loras:
            self._shares += lora.shares
        self.full = all(bool((shares.sum(dim=0) == 1).all()) for shares in self._shares)
        # All that a forward usually asks for is made here, once. What torch.compile sees fills no dictionary.
        self._weights: dict[tuple[Grid, tuple[int, ...]], Tensor | None] = {}
        owners = {layer.owners for layer in layers.values()} | {(person,) for person in range(self.people)}
        for key in product({*block_grids.values()}, owners):
            self._weights[key] = self._weights_at(*key)

    def weights(self, grid: Grid, owners: tuple[int, ...]) -> Tensor | None:
        """(rows or 1, pixels, owners) at a grid; None for 1 everywhere."""
        if (grid, owners) in self._weights:
            return self._weights[grid, owners]
        return self._weights_at(grid, owners)

    def _weights_at(self, grid: Grid, owners: tuple[int, ...]) -> Tensor | None:
        if not self._shares:
            return None
        rows: list[Tensor] = []
        for shares in self._shares:
            of_owners = on_grid(shares[list(owners)], *grid)  # (owners, pixels, 1)
            rows.append(of_owners[..., 0].T)  # (pixels, owners)
        weights = torch.stack(rows)  # (rows or 1, pixels, owners)
        if len(weights) > 1:
            weights = as_many(weights, self._place.rows, dim=0)
        return self._place.put(weights)

    def added(self, out: Tensor, reader: Reader, x: Tensor) -> Tensor:
        """What a layer gives of x, `out`, and what all people add to it.

        x, out: (B, tokens, channels), (B, channels, h, w) or, of the step's noise, (B, channels). Such a layer has no
        pixels, and is added to all: where people differ it gets some.
        """
        layer = self.layers[reader.name]
        grid = _thread.grids.get(reader.name) or self._grids.get(reader.name, (1, 1))
        if out.dim() == 4:
            grid = int(out.shape[2]), int(out.shape[3])
        addition = functional.linear(self._weighted(layer.hidden(x), grid, layer.owners), layer.up.to(x))
        for front in layer.in_front:
            change = _change_by_input(reader.own, x, front)
            addition = addition + self._weighted(change, grid, (front.person,))
        # addition: (B, pixels or 1, channels)
        if out.dim() == 3:
            return out + addition
        if out.dim() == 2 and addition.shape[1] == 1:
            return out + addition[:, 0]
        pixels = out if out.dim() == 4 else out[..., None, None]
        return pixels + addition.mT.unflatten(2, grid)  # (B, pixels, channels) -> (B, channels, h, w)

    def _weighted(self, x: Tensor, grid: Grid, owners: tuple[int, ...]) -> Tensor:
        """What is added to a layer, times everybody's weights: (B, pixels or 1, channels)."""
        weights = self.weights(grid, owners)
        if x.dim() == 4:
            x = x.flatten(2).mT  # (B, channels, h, w) -> (B, pixels, channels)
        elif x.dim() == 2:
            x = x[:, None]  # (B, channels) -> (B, 1, channels)
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
    """What the layers of one UNet are given in the forwards that carry the same. nodes: what each node adds.

    Readers stand in the layers to which something is added, and in the first convolution of each of their blocks, which
    shows how many pixels the block has.
    """

    def __init__(self, run: RegionalLoraRun, network: LoraNetwork, rows: int, nodes: Sequence[NodeLoras]) -> None:
        self.layers, self.rows, self.network, self._nodes = run.layers, rows, network, nodes
        names = dict.fromkeys(name for node in nodes for name in node.layers)
        # By name of a convolution, the layers whose pixels are those that it gives.
        self._measured = dict[str, list[str]]()
        for name in names:
            convolution = _convolution_of(name)
            if block_of(name) and convolution in network.modules:
                self._measured.setdefault(convolution, []).append(name)
        self._names = list(dict.fromkeys([*names, *self._measured]))

    @contextmanager
    def prepared(self) -> Iterator[None]:
        with self.network.read_in(self._names):
            yield

    def around(self, options: Options) -> Options:
        _thread.batch, _thread.reading = self, ()
        _thread.grids = {}
        # Behind the patches of others, and regional text: what they make of a text is what layers read.
        return with_patch(super().around(options), "attn2_patch", _remember_text)

    def passed(self) -> None:
        _thread.batch, _thread.reading = None, ()
        _thread.grids = {}

    def acts(self, layer: int) -> bool:
        return any(name in node.layers for name in self.network.texts[layer] for node in self._nodes)

    def added(self, reader: Reader, x: Tensor, out: Tensor) -> Tensor:
        """What a layer gives of x, `out`, and what is added to it.

        To keys and values of the text only where others make their own in the place of attention: all others are given
        theirs by `attended`."""
        if reader.name.endswith(("attn2.to_k", "attn2.to_v")):
            for owner in _thread.reading:
                layer = owner.node.layers.get(reader.name)
                if layer:
                    out = out + layer.of_text(x, reader.own).get(owner.person, 0)
            return out
        for node in self._nodes:
            if reader.name in node.layers:
                out = node.added(out, reader, x)
        for name in self._measured.get(reader.name, ()):
            _thread.grids[name] = int(out.shape[2]), int(out.shape[3])
        return out

    def attended(
        self, layer: int, before: Replacement | None, q: Tensor, k: Tensor, v: Tensor, extra_options: Options
    ) -> Tensor:
        """Each pixel reads the text with the LoRAs of whom it belongs to, by their weights there: (B, N, C).

        Where several nodes have somebody in a pixel, it reads with the LoRAs of all of them: for every choice of one
        person, or nobody, per node there is one attention, and its share of a pixel is the product of theirs.
        """
        grid, whose = grid_of(extra_options), self.whose(before, q, extra_options)
        text: LayerText = extra_options[_TEXT]
        by_node = [self._readings(node, layer, text, grid, whose, q) for node in self._nodes]
        out: Any = 0
        for readings in product(*by_node):
            share: Any = 1
            keys, values = k, v
            owners: tuple[Owner, ...] = ()
            for reading in readings:
                share = share * reading.share
                keys = keys + reading.keys
                values = values + reading.values
                owners = owners + reading.owners
            _thread.reading = owners
            if before is None:
                attention = attend_with(extra_options)(q, keys, values)
            else:
                attention = before(q, keys, values, extra_options)
            out = out + share * attention
        _thread.reading = ()
        return out

    def _readings(
        self, node: NodeLoras, layer: int, text: LayerText, grid: Grid, whose: Tensor | None, q: Tensor
    ) -> list[TextReading]:
        """Of everybody of one node, and of the pixels that are nobody's."""
        of_keys = self._added_to_text(node, self.network.texts[layer].keys, text.for_keys)
        of_values = self._added_to_text(node, self.network.texts[layer].values, text.for_values)
        left: Any = 1
        readings: list[TextReading] = []
        for person in sorted({*of_keys, *of_values}):
            weights = node.weights(grid, (person,))
            share: Any = 1
            if weights is not None:
                # Weights of one row are those of all; else each row of the layer has those of the row it was made of.
                share = rows_of(weights.to(q), None if len(weights) == 1 else whose, dim=0)
            owners = (Owner(node, person),)
            readings.append(TextReading(share, of_keys.get(person, 0), of_values.get(person, 0), owners))
            left = left - share
        if not (node.full and len(readings) == node.people):
            readings.append(TextReading(left, 0, 0, ()))
        return readings

    def _added_to_text(self, node: NodeLoras, name: str, text: Tensor) -> dict[int, Tensor]:
        """By person, what a node adds to keys or values that the module of this name makes of a text."""
        if name not in node.layers:
            return {}
        return node.layers[name].of_text(text, self.network.readers[name].own)


def _remember_text(n: Tensor, context: Tensor, value: Tensor, extra_options: Options) -> tuple[Tensor, Tensor, Tensor]:
    """The host's attn2 patch."""
    extra_options[_TEXT] = LayerText(context, value)
    return n, context, value
