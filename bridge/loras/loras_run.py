"""One sampling run with LoRAs of single people, each added to what the layers give where that person is.

What lives how long, from the longest to the shortest:

    PersonLoras     in the conditioning, from the node on   what one node adds; immutable, on the CPU
    PeopleLayer     with these, from the first sampling on  what one node adds in one layer, prepared for the device
    LorasOfRun      one sampling                            for each network: hooks
    LorasBatch      the forwards of one network that carry the same people in the same rows
    NodeLoras       as its batch                            what one node adds, and where its people are
    Forward         one forward in one thread               what the forward has shown of its tokens so far
    LayerHook       one forward, or several that overlap    stands in a layer's `forward`

There are several networks where ComfyUI's MultiGPU CFG Split samples with a copy on each card, each in its own thread.

The steps of one forward:

    Batch.prepared                  puts hooks into the layers' `forward` (layer_hooks.py)
    network_arguments            begins the Forward of this thread, by which hooks find their batch
      each layer:
        LayerHook.forward           -> LayerLoras.output -> with_node, of each node:
          Down.hidden               down x, of all layers that are given the same x     (B, tokens, ranks)
          weighted                  times the weight of each rank in each token: weights_by_region of the network
          with_product              up of that, added to what the layer gives
      each cross-attention of a UNet: text_readings.py
    call_network                    ends the Forward (sampling/forward.py)
    Batch.prepared closes           takes the hooks out
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ..host.shared_network import model_of
from ..host.unet import has_unet, unet_of
from ..networks.model_family import network_of, taken_family
from ..sampling.carried import ConditioningLost, PerChunk, rows_of_nodes
from ..sampling.forward import ForwardShape
from ..sampling.runs import Kind, Run, when_acting
from .layer_hooks import LayerHooks
from .layer_loras import LorasBatch, NodeLoras
from .person_loras import PersonLoras
from .prefix_loras import PrefixLorasBatch
from .text_readings import TextLayers, text_layers_of
from .transformer_loras import TransformerLorasBatch
from .unet_loras import UNetLorasBatch


class LorasOfRun:
    """What one run makes of people's LoRAs, for a UNet or a transformer."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._hooks: dict[nn.Module, LayerHooks] = {}  # by network
        self._text_layers: list[TextLayers] = []  # of a UNet
        if has_unet(model_of(run.model)):
            self._text_layers = text_layers_of(unet_of(run.model))
        run.at_end.callback(self._clear)

    def new_batch(self, acting: tuple[PerChunk[PersonLoras], ...], forward_shape: ForwardShape) -> LorasBatch:
        """What is added in the forwards in which these nodes act.

        Raises ConditioningLost where another pack has joined rows of people with different LoRAs.
        """
        mixed = ConditioningLost("", "joins rows of people with different LoRAs")
        # For each node a tuple: its PersonLoras of all rows together, or one for each row where people have rows.
        rows_by_node = rows_of_nodes(acting, forward_shape.row_count, mixed, may_differ=False)
        hooks = self._hooks_in(network_of(forward_shape.model))
        nodes = [_node(number, of_rows, forward_shape) for number, of_rows in enumerate(rows_by_node)]
        if self._text_layers:
            return UNetLorasBatch(hooks, nodes, forward_shape, self._text_layers)
        if taken_family(forward_shape.model).prefix:
            return PrefixLorasBatch(hooks, nodes, forward_shape)
        return TransformerLorasBatch(hooks, nodes, forward_shape)

    def _hooks_in(self, network: nn.Module) -> LayerHooks:
        """The hooks for the layers of a network. They know its modules as Watch.modules_in has them."""
        if network not in self._hooks:
            self._hooks[network] = LayerHooks(self._run.watch.modules_in(network))
        return self._hooks[network]

    def _clear(self) -> None:
        """Take out the hooks that other packs have put back since."""
        for hooks in self._hooks.values():
            hooks.clear()


def _node(number: int, of_rows: Sequence[PersonLoras], forward_shape: ForwardShape) -> NodeLoras:
    """What one node adds. number: of the node. of_rows: its PersonLoras of all rows together, or of each row."""
    loras = of_rows[0]
    person_of_row = None
    if loras.by_row:
        # Every `row` is set: Carried.for_picture has made these. The test is for the type checker.
        person_of_row = tuple(of_row.row for of_row in of_rows if of_row.row is not None)
    return NodeLoras(number, loras.names, loras.prepared.on(forward_shape.device).by_name, loras.shares, person_of_row)


def _new_batch(run: Run, acting: tuple[PerChunk[PersonLoras], ...], forward_shape: ForwardShape) -> LorasBatch:
    return run.kept(LorasOfRun, lambda: LorasOfRun(run)).new_batch(acting, forward_shape)


LORAS = Kind(PersonLoras.key, when_acting(_new_batch))
"""LoRAs of people."""
