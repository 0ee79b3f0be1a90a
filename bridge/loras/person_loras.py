"""LoRAs of people: what conditioning carries of them, and what is prepared of it for the network that samples.

The layers are prepared when a sampling begins, and kept for the next one: by the device and for the dtype of the
MODEL, and with what the node has put into the conditioning, so they go when that goes. They are a model in the host's
memory management. The host makes room for them together with the MODEL, moves them to main memory when it needs the
room, and loads them again for the next sampling.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ...core.attention.cross_attention import region_weights
from ..host.load import in_memory_management
from ..host.shared_network import model_of, object_of
from ..host.unet import NETWORK, WEIGHT, dtype_of, has_unet, layer_shape, patched_shape
from ..networks.file_attention import tell_of_file_attention
from ..sampling.carried import CarriedOfPeople
from ..sampling.runs import Run
from .people_layers import Down, LayerLora, LayerSize, PeopleLayer
from .refused import other_model

_GIVEN_ONE_INPUT = (
    ("attn1.to_q", "attn1.to_k", "attn1.to_v"),  # of UNets
    ("attn.to_q", "attn.to_k", "attn.to_v"),  # of Qwen-Image
    ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),  # of Anima
    ("cross_attn.k_proj", "cross_attn.v_proj"),
    ("attn.wq", "attn.wk", "attn.wv", "attn.gate"),  # of Krea 2
    ("mlp.gate", "mlp.up"),
    ("feed_forward.w1", "feed_forward.w3"),  # of Z-Image
)
"""Ends of the names of layers to which a block gives one x, in the order in which it calls them. A layer that is given
another x, as by another pack, makes a product of its own; that x has got other numbers meanwhile is not seen."""


class PeopleLayers(nn.Module):
    """What the LoRAs of all people of one node add to a network. by_name: of the layers of the network."""

    def __init__(self, by_name: Mapping[str, PeopleLayer]) -> None:
        super().__init__()
        for together in _given_one_input(by_name):
            Down.of_all(together)
        self.by_name = by_name
        factors = dict.fromkeys(factor for layer in by_name.values() for factor in layer.factors)
        self._factors = nn.ModuleList(factors)


def _given_one_input(by_name: Mapping[str, PeopleLayer]) -> Iterator[list[PeopleLayer]]:
    """The layers of each block that are given one x, two or more."""
    for ends in _GIVEN_ONE_INPUT:
        blocks = [name.removesuffix(ends[0]) for name in by_name if name.endswith(ends[0])]
        for block in blocks:
            layers = [by_name[block + end] for end in ends if block + end in by_name]
            # Attention that reads the text in the place of the picture has keys and values of another width.
            kinds = {(layer.ranks, layer.down.factor.numbers.shape) for layer in layers}
            if len(layers) > 1 and len(kinds) == 1:
                yield layers


@dataclass(frozen=True)
class _MadeFor:
    """What PeopleLayers depend on beside the files. sizes: of the layers, by name."""

    dtype: torch.dtype
    sizes: Mapping[str, LayerSize]


class PreparedLoras:
    """The PeopleLayers of one node, for each device on which it was sampled; those of the last MODEL that sampled.

    Not by run.kept: the next run with this MODEL finds them prepared.
    """

    def __init__(self) -> None:
        self._made_for: dict[torch.device, _MadeFor] = {}
        self._patchers: dict[torch.device, ModelPatcher] = {}

    def for_model(
        self, model: ModelPatcher, layers: Mapping[str, Sequence[LayerLora]], device: torch.device
    ) -> ModelPatcher:
        """What the host is to load beside a MODEL that samples on this device. It is made where it is not there yet.

        layers: of the node. Raises BadSetup where the MODEL lacks one of these layers, or has it with fewer inputs or
        outputs than a LoRA changes.
        """
        made_for = _MadeFor(dtype_of(model_of(model)), {name: _size_in(model, name, layers[name]) for name in layers})
        if self._made_for.get(device) != made_for:
            self._patchers[device] = _in_patcher(layers, made_for, device)
            self._made_for[device] = made_for
        return self._patchers[device]

    def on(self, device: torch.device) -> PeopleLayers:
        """What is prepared for a device. Its name may be longer than the MODEL's, "cuda:0" for "cuda", which is the
        only one then."""
        patcher = self._patchers.get(device) or next(iter(self._patchers.values()))
        return patcher.model


def _size_in(model: ModelPatcher, name: str, loras: Sequence[LayerLora]) -> LayerSize:
    """The size that a layer has while a MODEL samples. Raises BadSetup where it is too small for these LoRAs."""
    try:
        module: Any = object_of(model, f"{NETWORK}{name}")
    except AttributeError:
        raise other_model(name, has_layer=False) from None
    shape = patched_shape(model, f"{NETWORK}{name}{WEIGHT}", layer_shape(module) or ())
    size = LayerSize(shape, module.groups if isinstance(module, nn.Conv2d) else 1)
    if not shape or not all(lora.fits_in(size) for lora in loras):
        raise other_model(name, has_layer=True)
    return size


def _in_patcher(layers: Mapping[str, Sequence[LayerLora]], made_for: _MadeFor, device: torch.device) -> ModelPatcher:
    """The layers in a ModelPatcher of the host for this device."""

    def build(offload_device: torch.device) -> PeopleLayers:
        # Worked out on the device, layer by layer, and kept aside until the host has made room for all of them.
        like = torch.empty(0, device=offload_device, dtype=made_for.dtype)
        by_name = {name: PeopleLayer(of_layer, made_for.sizes[name], device, like) for name, of_layer in layers.items()}
        return PeopleLayers(by_name)

    return in_memory_management(build, device)


@dataclass(frozen=True, eq=False)
class PersonLoras(CarriedOfPeople):
    """What one node adds, alike on both sides of the conditioning.

    In a row of one person it has the LoRAs of all (see LayerLora.person), so that all rows share one set of layers.

    names: of the people of the node, see taking_part.names_apart. layers: by name of a module of the network. regions:
    0..1, or None where one person is everywhere, or where each person has a row. prepared: what samplings have made of
    the layers, one object for all that the node has put into the conditioning.
    """

    key = "likeness_loras"
    names: tuple[str, ...]
    layers: Mapping[str, Sequence[LayerLora]]
    prepared: PreparedLoras = field(default_factory=PreparedLoras, kw_only=True)

    @property
    def active(self) -> bool:
        return bool(self.layers)

    def begin(self, run: Run) -> None:
        """Prepare the layers, for the host to load. Raises BadSetup where the MODEL is another one than the node's."""
        # LoRAs without regions divide no attention.
        if self.acting_regions is not None and has_unet(model_of(run.model)):
            tell_of_file_attention(run, self, "attn2")
        for device in run.devices:
            run.load_beside(self.prepared.for_model(run.model, self.layers, device))

    def can_join_batch(self, other: Any) -> bool:
        """Whether rows with these two can be computed in one batch: where the same people are in the same places."""
        return self.source is other.source and self.regions is other.regions

    @property
    def people_count(self) -> int:
        return len(self.names)

    @property
    def shares(self) -> Tensor | None:
        """How much of each person's LoRAs every pixel has: (people, H, W), at most 1 in all for each pixel.

        None where one person is everywhere, and where each person has a row.
        """
        return None if self.by_row or self.regions is None else region_weights(self.regions.float())
