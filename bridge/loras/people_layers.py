"""What the LoRAs of all people of a node add to one layer of a network.

A LoRA adds up (down x) to what a layer gives of x. For several people that is one product: the `down` matrices of all
people side by side times x, times the weight that each token has of each rank, and then the `up` matrices of all people
times that. loras/unet_loras.py and loras/transformer_loras.py make the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from ...core.attention.low_rank import InFront, LoraKind, LowRank, in_groups

LayerCall = Callable[[Tensor], Tensor]
"""A layer, as it is without us: what it is given -> what it gives."""
Reorder = Callable[[Tensor], Tensor]
"""(out, ...) -> (out, ...), in another order."""


@dataclass(frozen=True)
class LayerLora:
    """One LoRA of one person in one layer.

    person: the number of the person among those of the node. strength: what the LoRA is multiplied by. lora: its
    tensors for this layer. shape: of the weights that it changes, of `rows` alone. rows: which of the layer's outputs
    it changes, where a file has a LoRA for each of several layers that are one here; None for all. reorder: puts the
    outputs (out, rank) of the file into the order of the layer; None where it is the same.
    """

    person: int
    strength: float
    lora: LoraKind
    shape: tuple[int, ...]
    rows: slice | None = None
    reorder: Reorder | None = None

    @property
    def first_output(self) -> int:
        return 0 if self.rows is None else self.rows.start

    def fits_in(self, size: LayerSize) -> bool:
        """Whether a layer has all outputs and inputs that the LoRA changes."""
        shape = size.shape
        return self.first_output + self.shape[0] <= shape[0] and self.shape[1] <= shape[1]

    def low_rank(self, shape: tuple[int, ...], device: torch.device) -> LowRank:
        """The matrices of the LoRA, float32 and times the strength, padded with 0 to all of a layer.

        Padded are the outputs of the layer outside of `rows`, and the inputs by which another LoRA on the MODEL has
        widened the layer. shape: of the layer's weights in the MODEL.
        """
        # In float32, whatever a file has: the host computes the changes of weights in it, too.
        low_rank = self.lora.to(device, torch.float32).low_rank(self.shape)
        up = low_rank.up * self.strength
        if self.reorder is not None:
            up = self.reorder(up)
        outputs_behind = shape[0] - self.first_output - len(up)
        up = _padded(up, dim=0, before=self.first_output, behind=outputs_behind)  # (out, rank)
        more_inputs = shape[1] - low_rank.down.shape[1]
        down = _padded(low_rank.down, dim=1, behind=more_inputs)  # (rank, in, ...)
        front = low_rank.in_front
        if front is not None:
            front_down = _padded(front.down, dim=1, behind=more_inputs)  # (rank, in)
            front_up = _padded(front.up * self.strength, dim=0, behind=more_inputs)  # (in, rank)
            front = InFront(front_down, front_up)
        return LowRank(down, up, front)


def _padded(x: Tensor, dim: int, behind: int, before: int = 0) -> Tensor:
    """x with so many zeros before and behind its numbers in one dimension; x itself with none."""
    if not before and not behind:
        return x
    padding = [(0, 0)] * x.dim()
    padding[dim] = before, behind
    # torch wants the last dimension first.
    return functional.pad(x, [count for pair in reversed(padding) for count in pair])


Owners = tuple[int, ...]
"""Whose ranks of LoRAs are, or other things of people of one node: the number of the person of each rank, among the
people of the node."""


class Factor(nn.Module):
    """A matrix that is kept between samplings: a module, because the host counts and moves the parameters of modules.

    numbers: on the device, or aside where the host has no room for it there.
    """

    def __init__(self, numbers: Tensor) -> None:
        super().__init__()
        self.numbers = nn.Parameter(numbers, requires_grad=False)

    def like(self, x: Tensor) -> Tensor:
        """The matrix on the device and in the dtype of x: the numbers themselves, where they have both."""
        return self.numbers.to(x)


class InputLora(NamedTuple):
    """What one person's LoRA adds in front of a layer: W (x + up down x). GLoRA does so, see InFront.

    owner: the person among those of the node, as if this were one rank. groups: in how many groups the layer reads its
    channels; 1 but for a convolution in groups. down: (ranks, in / groups) and up: (in, ranks / groups), see
    `in_groups`.
    """

    owner: Owners
    down: Factor
    up: Factor
    groups: int

    @property
    def person(self) -> int:
        """The number of the owner."""
        return self.owner[0]

    def change(self, layer: LayerCall, x: Tensor) -> Tensor:
        """What the change of the layer's input adds to its output: W (x + up down x) - W x, in the shape of the output.

        layer: W, without us. x: what the layer is given.
        """
        return layer(x + self._multiplied(self._multiplied(x, self.down), self.up)) - layer(x)

    def _multiplied(self, x: Tensor, factor: Factor) -> Tensor:
        """A matrix times the channels of every token or pixel of x, (B, N, in) or (B, in, h, w)."""
        matrix = factor.like(x)
        if x.dim() == 4:  # (B, C, h, w): a convolution of one pixel multiplies the channels, group by group
            return functional.conv2d(x, matrix[..., None, None], groups=self.groups)
        return functional.linear(x, matrix)


class LayerSize(NamedTuple):
    """What the factors for a layer depend on.

    shape: of the layer's weights in a MODEL, (out, in) or (out, in / groups, h, w). groups: in how many a convolution
    reads its channels; 1 for any other layer.
    """

    shape: tuple[int, ...]
    groups: int


class Down:
    """The `down` matrices of all people of a node for a layer, or for several layers that are given one x.

    factor: (ranks, in), or (ranks, in, h, w) for a convolution; of several layers one below the other. layer_count: how
    many layers these are.
    """

    def __init__(self, numbers: Tensor, layer_count: int = 1) -> None:
        self.factor = Factor(numbers)
        self.layer_count = layer_count

    def hidden(self, x: Tensor, module: Any) -> Tensor:
        """The product down x: the matrices of all people times a layer's input.

        x: (..., in), which gives (..., ranks); for a convolution (B, in, h, w), which gives (B, h' * w', ranks).
        module: the layer.
        """
        down = self.factor.like(x)
        if down.dim() == 2:
            return functional.linear(x, down)
        # The layer's own convolution with `down` as its weights: stride, padding, dilation and groups are the layer's,
        # as they are set now. Packs for seamless tiles set a padding that goes around the picture. torch's Conv2d
        # reads all of these in this method, which the host's Conv2d calls as well.
        return as_tokens(module._conv_forward(x, down, None))

    @classmethod
    def of_all(cls, layers: Sequence[PeopleLayer]) -> None:
        """Let layers that are given one x, in this order, have their `down` together from now on.

        Their ranks are the same people's, so that they have the same weights.
        """
        together = cls(torch.cat([layer.down.factor.numbers for layer in layers]), len(layers))
        rank_count = len(layers[0].ranks)
        for number, layer in enumerate(layers):
            layer.own_ranks = slice(number * rank_count, (number + 1) * rank_count)
            layer.down = together


class PeopleLayer:
    """What the LoRAs of all people of one node add to one layer. It holds nothing of a network, and outlives the run.

    ranks: whose each rank is. people: those who have LoRAs here. ranks_of: by person, where their ranks stand in a
    linear layer. down: of this layer, or of several; own_ranks: which of its ranks are this layer's. up: (out, ranks),
    strength included. in_front: what stands in front of the layer, of kinds that add to the layer's input (GLoRA).
    """

    def __init__(self, loras: Sequence[LayerLora], size: LayerSize, device: torch.device, like: Tensor) -> None:
        """loras: all LoRAs of the node's people in this layer. device: where it is worked out. like: of the dtype, and
        on the device, in which the factors are kept."""
        shape, groups = size
        downs: list[Tensor] = []
        ups: list[Tensor] = []
        person_of_rank: list[int] = []
        group_of_rank: list[int] = []
        self.in_front: list[InputLora] = []
        for layer_lora in sorted(loras, key=attrgetter("person")):
            person = layer_lora.person
            low_rank = in_groups(layer_lora.low_rank(shape, device), groups)
            downs.append(low_rank.down.to(like.dtype))
            ups.append(low_rank.up.to(like.dtype))
            rank_count = len(low_rank.down)
            person_of_rank += [person] * rank_count
            group_of_rank += [rank * groups // rank_count for rank in range(rank_count)]  # the first group's come first
            front = low_rank.in_front
            if front is not None:
                factors = Factor(front.down.to(like)), Factor(front.up.to(like))
                self.in_front.append(InputLora((person,), *factors, groups))
        down = torch.cat(downs)
        up = torch.cat(ups, dim=1)
        if groups > 1:
            # A convolution in groups gives the first part of its outputs from the first group of its inputs. So the
            # ranks of all LoRAs for the first group come first, in the order of the LoRAs, then those for the second.
            order = sorted(range(len(person_of_rank)), key=group_of_rank.__getitem__)
            person_of_rank = [person_of_rank[rank] for rank in order]
            down, up = down[order], up[:, order].contiguous()
        self.ranks: Owners = tuple(person_of_rank)
        self.people: Owners = tuple(dict.fromkeys(person_of_rank))
        self.ranks_of: dict[int, slice] = {}
        for person in self.people:
            first = self.ranks.index(person)
            self.ranks_of[person] = slice(first, first + self.ranks.count(person))
        self.down = Down(down.to(like))
        self.own_ranks = slice(0, len(self.ranks))
        self.up = Factor(up.to(like))
        is_of = torch.tensor(self.people)[:, None] == torch.tensor(self.ranks)
        self._is_of = Factor(is_of.to(like))
        """(people, ranks): 1 where a rank is the person's, else 0."""

    @property
    def factors(self) -> Iterator[Factor]:
        """All that the host has to move."""
        yield from (self.down.factor, self.up, self._is_of)
        for front in self.in_front:
            yield from (front.down, front.up)

    def of_people(self, x: Tensor) -> Tensor:
        """What each person's LoRAs add to the output of a linear layer for x, (..., in): (people, ..., out).

        The people are those of self.people. What stands in front of the layer is not in it.
        """
        hidden = functional.linear(x, self.down.factor.like(x)[self.own_ranks])  # (..., ranks)
        ones = [1] * (x.dim() - 1)
        is_of = self._is_of.like(x).view(len(self.people), *ones, -1)  # (people, 1, ..., 1, ranks)
        # Once for each person, with 0 in the ranks of all others: (people, ..., ranks).
        return functional.linear(hidden * is_of, self.up.like(x))


class LorasOfText:
    """What the LoRAs of each person of a node add to keys or values of a text."""

    def __init__(self, loras: PeopleLayer, text: Tensor, layer: LayerCall) -> None:
        """loras: in the layer. text: (B, T, width). layer: what makes keys or values without us."""
        self._loras = loras
        self._text = text
        self._layer = layer
        down = loras.down.factor.like(text)[loras.own_ranks]
        self._hidden = functional.linear(text, down).flatten(0, 1)  # (B * T, ranks)
        self._up = loras.up.like(text)  # (C, ranks)

    def added(self, out: Tensor, person: int) -> Tensor:
        """Keys or values, (B, T, C), with what one person's LoRAs add, and what stands in front of the layer.

        They are `out` itself for a person without LoRAs in this layer.
        """
        if person in self._loras.ranks_of:
            ranks = self._loras.ranks_of[person]
            tokens = out.flatten(0, 1).addmm(self._hidden[:, ranks], self._up[:, ranks].T)
            out = tokens.view(out.shape)
        for front in self._loras.in_front:
            if front.person == person:
                out = out + front.change(self._layer, self._text)
        return out


def as_tokens(x: Tensor) -> Tensor:
    """What a convolution gives, (B, channels, h, w), as (B, h * w, channels); any other layer's output as it is."""
    return x.flatten(2).mT if x.dim() == 4 else x


def with_product(out: Tensor, hidden: Tensor, up: Tensor, in_place: bool) -> Tensor:
    """The sum out + up hidden, where possible in one kernel that writes it into `out`.

    Memory limits the speed of a layer: a product and a sum in two kernels would read and write `out` twice more.

    out: (..., channels), or (B, channels, h, w) of a convolution. hidden: (..., ranks), of a convolution (B, h * w,
    ranks). up: (channels, ranks). in_place: whether nobody else holds `out`, so that it may be written into. `out` may
    also be (B, 1, channels), a layer's output for all tokens alike: the result is then a new tensor with all N tokens
    of `hidden`.
    """
    is_convolution = out.dim() == 4 and hidden.dim() == 3
    is_writable = in_place and out.dtype == hidden.dtype and not out.requires_grad and out.is_contiguous()
    if is_convolution:
        if not is_writable:
            return out + functional.linear(hidden, up).mT.unflatten(2, out.shape[2:])
        pixels = out.view(len(out), out.shape[1], -1)  # (B, channels, h * w)
        # pixels + up hidden^T, written into pixels, and so into out
        pixels.baddbmm_(up.expand(len(out), -1, -1), hidden.mT)
        return out
    # One kernel needs all rows of `out` as one matrix, with a row of `hidden` for each.
    if not is_writable or out.shape[:-1] != hidden.shape[:-1]:
        return out + functional.linear(hidden, up)
    rows = out.view(-1, out.shape[-1])
    # rows + hidden up^T, written into rows, and so into out
    rows.addmm_(hidden.reshape(-1, hidden.shape[-1]), up.T)
    return out
