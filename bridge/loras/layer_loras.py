"""What LoRAs of single people add in one layer of a network: y = W x + U (w * (D x)).

D and U hold the ranks of all people of a node side by side (people_layers.py), and w says of every token whose ranks
count in it. Networks differ in w alone: `weights_by_region` in unet_loras.py and transformer_loras.py. Where each
person has a row of the batch, w is the same in all networks: 1 for the ranks of the row's person, else 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...core.attention.spans import Tokens
from ..host.unet import Options
from ..sampling.forward import Batch
from ..sampling.watch import Calls, DueCalls
from .layer_hooks import Forward, LayerAddition, LayerHook, LayerHooks, begin_additions
from .people_layers import Down, Owners, PeopleLayer, with_product


@dataclass(frozen=True, eq=False)
class NodeLoras:
    """What one node adds in the forwards of a batch.

    number: of the node, among those of the batch. names: of its people. layers: by name. shares: how much of each
    person's LoRAs every pixel of the picture has, (people, H, W); in the batch of a transformer token_shares are in
    their place, of every token of the picture, (people, tokens). Both are None for one person everywhere, and where
    people have rows. person_of_row: the number of the person whose row each row of the batch is; None where people have
    no rows.
    """

    number: int
    names: tuple[str, ...]
    layers: Mapping[str, PeopleLayer]
    shares: Tensor | None
    person_of_row: tuple[int, ...] | None
    token_shares: Tensor | None = None

    @property
    def has_regions(self) -> bool:
        return self.shares is not None or self.token_shares is not None


class LastHidden:
    """What layers that are given one x have in common, from the first of them to the last in a forward.

    of_input: their input, and the weighted ranks of all of them for it.
    """

    def __init__(self) -> None:
        self.of_input: tuple[Tensor, Tensor] | None = None


@dataclass(frozen=True, eq=False)
class NodeInLayer:
    """What one node adds in one layer. last_hidden: of the layers that are given the same x; None where it is alone."""

    node: NodeLoras
    loras: PeopleLayer
    last_hidden: LastHidden | None


def nodes_by_layer(nodes: Iterable[NodeLoras], more_layers: Iterable[str]) -> dict[str, tuple[NodeInLayer, ...]]:
    """What the nodes add in each layer, by its name; () for layers of more_layers in which they add nothing."""
    by_layer: dict[str, list[NodeInLayer]] = {}
    for node in nodes:
        of_downs: dict[Down, LastHidden] = {}
        for name, loras in node.layers.items():
            last_hidden = of_downs.setdefault(loras.down, LastHidden()) if loras.down.layer_count > 1 else None
            by_layer.setdefault(name, []).append(NodeInLayer(node, loras, last_hidden))
    for name in more_layers:
        by_layer.setdefault(name, [])
    return {name: tuple(of_nodes) for name, of_nodes in by_layer.items()}


class KeptWeights:
    """Weights of ranks that one forward has worked out and the next ones need again. like: as the network computes.

    Not by run.kept, which keeps their batch: layers ask for them, also in a graph that torch.compile makes.
    """

    def __init__(self, like: Tensor) -> None:
        self.like = like
        self._kept: dict[Any, Tensor] = {}

    def of(self, forward: Forward) -> dict[Any, Tensor]:
        """The dictionary in which weights are kept, by their key: usually one for all forwards of the batch.

        While torch.compile compiles, it is one for this forward alone. The compiled graph then works the weights out
        itself. Of weights from outside torch.compile would see others at each step and in each run, and compile anew.
        """
        return forward.weights if torch.compiler.is_compiling() else self._kept

    def of_rows(self, forward: Forward, people: tuple[int, ...], ranks: Owners, dimensions: int) -> Tensor:
        """Which ranks count in each row, 1 for those of the row's person and else 0: (rows, 1, ..., ranks).

        people: the number of the person of each row. ranks: whose they are. dimensions: of the result.
        """
        weights_by_key = self.of(forward)
        key = people, ranks, dimensions
        if key not in weights_by_key:
            is_own = torch.tensor(people)[:, None] == torch.tensor(ranks)  # (rows, ranks)
            ones = [1] * (dimensions - 2)
            weights_by_key[key] = is_own.view(len(people), *ones, -1).to(self.like)
        return weights_by_key[key]


@dataclass(frozen=True, eq=False)
class LayerLoras(LayerAddition):
    """What a batch does in one layer.

    nodes: what they add. calls: of the batch. kept: weights of all layers of the batch.
    """

    nodes: tuple[NodeInLayer, ...]
    calls: Calls
    kept: KeptWeights

    def output(self, forward: Forward, hook: LayerHook, x: Tensor, out: Tensor) -> Tensor:
        self.calls.count(hook.name)
        for of_node in self.nodes:
            if self.is_anybodys(forward, of_node.node, x):
                out = self.with_node(forward, hook, of_node, x, out)
        return out

    def is_anybodys(self, forward: Forward, node: NodeLoras, x: Tensor) -> bool:
        """Whether LoRAs of this node count in any token of the layer's input x; if not, nothing is to be added."""
        return True

    def with_node(self, forward: Forward, hook: LayerHook, of_node: NodeInLayer, x: Tensor, out: Tensor) -> Tensor:
        """What the layer gives of x, `out`, with what one node's LoRAs add to it."""
        hidden = self.hidden(forward, hook, of_node, x, out)
        return with_product(out, hidden, of_node.loras.up.like(x), hook.makes_new)

    def hidden(self, forward: Forward, hook: LayerHook, of_node: NodeInLayer, x: Tensor, out: Tensor) -> Tensor:
        """The layer's ranks of one node for its input x, weighted: (B, tokens, ranks), see `weighted`."""
        loras, last_hidden = of_node.loras, of_node.last_hidden
        if last_hidden is None:
            return self.weighted(forward, of_node.node, loras.ranks, loras.down.hidden(x, hook.module), out)
        of_input = last_hidden.of_input  # read once: a forward in another thread may put its own there
        if of_input is None or of_input[0] is not x:
            hidden = loras.down.hidden(x, hook.module)
            of_input = x, self.weighted(forward, of_node.node, loras.ranks, hidden, out, loras.down.layer_count)
        is_last = loras.own_ranks.stop == of_input[1].shape[-1]
        last_hidden.of_input = None if is_last else of_input
        return of_input[1][..., loras.own_ranks]

    def weighted(
        self, forward: Forward, node: NodeLoras, ranks: Owners, hidden: Tensor, out: Tensor, layer_count: int = 1
    ) -> Tensor:
        """Ranks times how much each of them counts in every token, (B, tokens, ranks). It may write into `hidden`.

        ranks: whose they are. hidden: what `down` makes of the layer's input, (B, tokens, ranks), (B, 1, ranks) or
        (B, ranks); or an output of the layer, whose channels are all one person's. out: what the layer gives.
        layer_count: of how many layers `hidden` has the ranks, one after the other.
        """
        if node.person_of_row is not None:
            people = self.people_of_rows(forward, node.person_of_row, len(hidden))
            weights = self.kept.of_rows(forward, people, ranks, hidden.dim())
        elif node.has_regions:
            weights = self.weights_by_region(forward, node, ranks, hidden, out)
        else:
            return hidden
        weights = weights.to(hidden)
        if weights.dim() > hidden.dim():  # a layer without tokens, (B, ranks), whose answer becomes one for each
            hidden = hidden[:, None]
        is_made_new = hidden.requires_grad or weights.shape[-2] not in (1, hidden.shape[-2])
        if layer_count > 1:
            weights = weights[..., None, :]
            hidden = hidden.unflatten(-1, (layer_count, -1))  # (B, tokens, layers, ranks)
        # It was made just now, so nobody else holds it.
        hidden = hidden * weights if is_made_new else hidden.mul_(weights)
        return hidden.flatten(-2) if layer_count > 1 else hidden

    def weights_by_region(
        self, forward: Forward, node: NodeLoras, ranks: Owners, hidden: Tensor, out: Tensor
    ) -> Tensor:
        """How much of each rank every token has, in a shape that multiplies `hidden`: (1, tokens, ranks) for most.

        node: whose people have regions. The other arguments are as in `weighted`.
        """
        raise NotImplementedError

    def people_of_rows(self, forward: Forward, person_of_row: tuple[int, ...], row_count: int) -> tuple[int, ...]:
        """The number of the person of each row that the layer is given. person_of_row: of each row of the batch.

        row_count: how many the layer is given. Raises ConditioningLost where they are not those of the batch.
        """
        raise NotImplementedError


class LorasBatch(Batch):
    """What is added to the layers of one network in the forwards that carry the same.

    in_layers: by name what is done in each layer that is hooked, which a subclass makes.
    """

    in_layers: Mapping[str, LayerLoras]

    def __init__(self, hooks: LayerHooks, row_count: int) -> None:
        """hooks: of the network. row_count: of the forwards."""
        super().__init__()
        self.hooks = hooks
        self.row_count = row_count
        self.mark = object()

    def due_calls(self, modules: Mapping[str, nn.Module]) -> DueCalls:
        return {name: modules[name] for name in self.in_layers}

    def prepared(self) -> AbstractContextManager[None]:
        """While it is open, hooks stand in the layers."""
        return self.hooks.standing_in(self.in_layers)

    def network_arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """args and kwargs as they are. The Forward of this thread begins here: the network is called next."""
        begin_additions(self.mark)
        return args, kwargs

    def options_for_network(self, options: Options, tokens: Tokens) -> Options:
        return options
