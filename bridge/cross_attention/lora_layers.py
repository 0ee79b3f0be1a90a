"""What the LoRAs of all people add to one layer of a UNet, ready on its device; and which layers have a place.

A LoRA adds up (down x) to what a layer gives of x. For several people that is one product: the `down` matrices of all
people side by side times x, times the weight that each pixel has of each rank, and then the `up` matrices of all people
times that. regional_lora.py makes the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from ...core.low_rank import LoraKind, LowRank, in_groups
from .layers import QueryPlace

LayerCall = Callable[[Tensor], Tensor]
"""A layer, as it is without us: what it is given -> what it gives."""


class LayerLora(NamedTuple):
    """One LoRA of one person in one layer.

    person: the number of the person among those of the node. strength: what the LoRA is multiplied by. lora: its
    tensors for this layer.
    """

    person: int
    strength: float
    lora: LoraKind


class InputLora(NamedTuple):
    """What one person's LoRA adds in front of a layer: W (x + up down x). GLoRA does so, see InFront.

    person: the number of the person among those of the node. down: (ranks, in / groups). up: (in, ranks / groups).
    groups: in how many groups the layer reads its channels; 1 but for a convolution in groups. All groups have the same
    matrices, which are repeated here for each group, as torch's conv2d takes them.
    """

    person: int
    down: Tensor
    up: Tensor
    groups: int

    def change(self, layer: LayerCall, x: Tensor) -> Tensor:
        """What the change of the layer's input adds to its output: W (x + up down x) - W x, in the shape of the output.

        layer: W, without us. x: what the layer is given.
        """
        return layer(x + self._multiplied(self._multiplied(x, self.down), self.up)) - layer(x)

    def _multiplied(self, x: Tensor, matrix: Tensor) -> Tensor:
        """A matrix times the channels of every token or pixel of x, (B, N, in) or (B, in, h, w)."""
        matrix = matrix.to(x)
        if x.dim() == 4:  # (B, C, h, w): a convolution of one pixel multiplies the channels, group by group
            return functional.conv2d(x, matrix[..., None, None], groups=self.groups)
        return functional.linear(x, matrix)


class PeopleLayer:
    """What the LoRAs of all people of one node add to one layer. It lives as long as the run, see LoraNetwork.

    people: the numbers of those who have LoRAs here. owners: (ranks,), per rank the number of the person. down: (ranks,
    in), or (ranks, in, h, w) for a convolution. up: (out, ranks), strength included. in_front: what stands in front of
    the layer, of kinds that add to the layer's input (GLoRA).
    """

    def __init__(self, loras: Sequence[LayerLora], module: Any, place: QueryPlace) -> None:
        """loras: all LoRAs of the node's people in this layer. module: the layer. place: where it is read."""
        groups = groups_of(module)
        downs: list[Tensor] = []
        ups: list[Tensor] = []
        owners: list[int] = []
        self.in_front: list[InputLora] = []
        for layer_lora in sorted(loras, key=_person_of):
            person = layer_lora.person
            # In float32, whatever a file has: the host makes its differences so, too.
            lora = layer_lora.lora.to(place.device, torch.float32)
            low_rank = lora.low_rank(shape_of(module) or ())
            strong = _times_strength(low_rank, layer_lora.strength)
            grouped = in_groups(strong, groups)
            downs.append(place.like_queries(grouped.down))
            ups.append(place.like_queries(grouped.up))
            owners.extend([person] * len(grouped.down))
            if strong.in_front is not None:
                front_down = place.like_queries(strong.in_front.down.repeat(groups, 1))
                front_up = place.like_queries(strong.in_front.up.repeat(groups, 1))
                self.in_front.append(InputLora(person, front_down, front_up, groups))
        self.module = module
        self.owners, self.down, self.up = _group_by_group(owners, downs, ups, groups)
        self.people = tuple(dict.fromkeys(owners))
        self._ranks_of_people = _ownership(self.people, self.owners).to(self.down)
        """(people, 1, 1, ranks): 1 where a rank is the person's, else 0."""

    def hidden(self, x: Tensor) -> Tensor:
        """The product down x: the `down` matrices of all people times the layer's input.

        x: (..., in), which gives (..., ranks); for a convolution (B, in, h, w), which gives (B, ranks, h', w').
        """
        down = self.down.to(x)
        if self.down.dim() == 2:
            return functional.linear(x, down)
        # As the layer itself runs at this moment, whatever another pack has set: its stride, padding, dilation and
        # groups, and a padding that goes around the picture, as packs for seamless tiles set it. torch's Conv2d puts
        # them all into this method, which the host's Conv2d calls as well.
        return self.module._conv_forward(x, down, None)

    def additions_to_text(self, context: Tensor, layer: LayerCall) -> dict[int, Tensor]:
        """What the LoRAs of people add to keys or values of a text, (B, T, C), by person.

        context: the text, (B, T, width). layer: what makes keys or values without us.
        """
        hidden = self.hidden(context)  # (B, T, ranks)
        # Once for each person, with 0 in the ranks of all others: (people, B, T, ranks).
        hidden_of_people = hidden * self._ranks_of_people.to(context)
        of_people = functional.linear(hidden_of_people, self.up.to(context))  # (people, B, T, C)
        by_person = dict(zip(self.people, of_people, strict=True))
        for front in self.in_front:
            by_person[front.person] = by_person[front.person] + front.change(layer, context)
        return by_person


def with_product(out: Tensor, hidden: Tensor, up: Tensor, in_place: bool) -> Tensor:
    """The sum out + up hidden, (B, N, channels), where possible in one kernel that writes it into `out`.

    The speed of a layer is limited by memory: a product and a sum in two kernels would read and write `out` twice more.

    out: (B, N, channels). hidden: (B, N, ranks). up: (channels, ranks). in_place: whether nobody else holds `out`, so
    that it may be written into. `out` may also be (B, 1, channels), a layer's output for all tokens alike: the result
    is then a new tensor with all N tokens.
    """
    is_writable = in_place and out.dtype == hidden.dtype and not out.requires_grad
    if not is_writable or not out.is_contiguous() or out.shape[:-1] != hidden.shape[:-1]:
        return out + functional.linear(hidden, up)
    rows = out.view(-1, out.shape[-1])
    # rows + hidden up^T, written into rows, and so into out
    rows.addmm_(hidden.reshape(-1, hidden.shape[-1]), up.T)
    return out


def with_product_of_pixels(out: Tensor, hidden: Tensor, up: Tensor, in_place: bool) -> Tensor:
    """The sum of `with_product` for a convolution: out (B, channels, h, w), hidden (B, h * w, ranks).

    The result has the shape of `out`.
    """
    is_writable = in_place and out.dtype == hidden.dtype and not out.requires_grad
    if not is_writable or not out.is_contiguous():
        return out + functional.linear(hidden, up).mT.unflatten(2, out.shape[2:])
    pixels = out.view(len(out), out.shape[1], -1)  # (B, channels, h * w)
    # pixels + up hidden^T, written into pixels, and so into out
    pixels.baddbmm_(up.expand(len(out), -1, -1), hidden.mT)
    return out


def _person_of(layer_lora: LayerLora) -> int:
    """The number of a LoRA's person, to sort by."""
    return layer_lora.person


def _ownership(people: Sequence[int], owners: Sequence[int]) -> Tensor:
    """Which ranks belong to which person: (people, 1, 1, ranks), 1 where a rank is the person's, else 0.

    owners: per rank, the number of its person.
    """
    rows: list[list[float]] = []
    for person in people:
        rows.append([float(owner == person) for owner in owners])
    return torch.tensor(rows)[:, None, None]


def _times_strength(low_rank: LowRank, strength: float) -> LowRank:
    """A LoRA times its strength: its `up` is multiplied, and that of matrices in front of the layer, if any."""
    in_front = low_rank.in_front
    if in_front is not None:
        in_front = replace(in_front, up=in_front.up * strength)
    return replace(low_rank, up=low_rank.up * strength, in_front=in_front)


def _group_by_group(
    owners: Sequence[int], downs: Sequence[Tensor], ups: Sequence[Tensor], groups: int
) -> tuple[tuple[int, ...], Tensor, Tensor]:
    """Owners (ranks,), down (ranks, in / groups, ...) and up (out, ranks) of all LoRAs together.

    owners, downs, ups: of each LoRA in turn. Within one LoRA the ranks of the first group come first, see in_groups. A
    convolution in groups computes the first part of its outputs from the first group of its inputs, the second part
    from the second, and so on. So the ranks are sorted: those of all LoRAs for the first group, then for the second.
    """
    down = torch.cat(tuple(downs))
    up = torch.cat(tuple(ups), dim=1)
    if groups == 1:
        return tuple(owners), down, up
    group_of_rank: list[int] = []
    for lora_down in downs:
        rank = len(lora_down) // groups
        for group in range(groups):
            group_of_rank.extend([group] * rank)
    # The numbers of all ranks, sorted by their groups. Within a group the LoRAs stay in their order.
    order = sorted(range(len(owners)), key=group_of_rank.__getitem__)
    return tuple(owners[rank] for rank in order), down[order], up[:, order]


def shape_of(module: Any) -> tuple[int, ...] | None:
    """The shape of the weights of a layer that multiplies, (out, in) or (out, in / groups, h, w); None for any other.

    It is asked of the layer, because weights may be stored as something else (GGUF, fp8).
    """
    if hasattr(module, "in_features"):
        return module.out_features, module.in_features
    if isinstance(module, nn.Conv2d):
        return module.out_channels, module.in_channels // module.groups, *module.kernel_size
    return None


def groups_of(module: Any) -> int:
    """The number of groups in which a convolution reads its channels; 1 for a linear layer."""
    if isinstance(module, nn.Conv2d):
        return module.groups
    return 1


def block_of(name: str) -> tuple[str, int] | None:
    """The block of the UNet that a module stands in, as ("input" | "middle" | "output", number).

    None where the module has no place in the picture, as those of the time step. name: "input_blocks.4.1.proj_in",
    "middle_block.1.proj_in" or "output_blocks.4.1.proj_in" for a module of a block, "time_embed.0" for another one.
    """
    first, number, *_ = name.split(".")
    kind = first.removesuffix("_blocks").removesuffix("_block")
    if kind == first:  # no name of a block
        return None
    if kind == "middle":
        return kind, 0
    return kind, int(number)


def first_convolution_of(name: str) -> str:
    """The name of the convolution that runs first in the block of a layer: what it gives has the block's pixels.

    Where another node has made the picture smaller before this block (PatchModelAddDownscale), these are fewer pixels
    than the UNet has there by itself. name: of a layer that stands in a block. In a block that does not begin with a
    ResBlock there is no module of this name.
    """
    kind, number, *_ = name.split(".")
    block = kind if kind == "middle_block" else f"{kind}.{number}"
    return f"{block}.0.in_layers.2"  # a ResBlock, whose in_layers are a norm, an activation and a convolution
