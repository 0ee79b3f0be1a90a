"""LoRAs of single people in a transformer, each added to what the layers give where that person is.

y = W x + U (w * (D x)): D and U hold the ranks of all people, and w says for every token whose ranks count
(token_weights.py). Where people have a row of the batch each, everything in a row is its person's. No weight is
changed: a `LayerHook` stands in each layer while a forward runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from ...core.attention.token_groups import in_steps
from ..host.unet import Options
from ..networks.model_family import network_of, regions_on_tokens, taken_family
from ..networks.modulation import ModulatedLayer, ModulationUse, TimeModulation, TokenModulation, modulated_layer
from ..networks.patched_methods import patched_inputs, with_input_patch
from ..networks.transformer_families import LayerStream, Stream, TransformerFamily
from ..sampling.calls import Site, part_around
from ..sampling.forward import Batch, ForwardShape
from ..sampling.model_conds import PerChunk, rows_of_nodes
from .layer_hooks import Forward, LayerAddition, LayerHook, LayerHooks, Mark, begin_additions
from .loras_run import LorasRun
from .people_layers import PeopleLayer, PersonLoras, with_product
from .rank_weights import ZERO_TIME, RankWeights, zero_time_unknown
from .token_weights import PeopleOnPicture, TokenWeights


def stream_of(family: TransformerFamily, layer: str) -> LayerStream | None:
    """Which tokens a layer is given; None for a layer that is given neither text nor picture, such as those of the
    time.
    """
    for stream in family.streams:
        if stream.has(layer):
            return stream
    return None


def has_place(family: TransformerFamily, layer: str) -> bool:
    """Whether it is known which tokens a layer changes, so that a LoRA in it can be one person's."""
    if modulated_layer(family.modulations, layer) is not None:
        return True
    return stream_of(family, layer) is not None and is_in_forward(family, layer)


def is_in_forward(family: TransformerFamily, layer: str) -> bool:
    """Whether a layer is called in forwards, and not with the prompt before."""
    stream = stream_of(family, layer)
    return stream is None or stream.stream is not Stream.PROMPT


class TransformerLorasRun(LorasRun):
    """One sampling run of a transformer with people's LoRAs."""

    def new_batch(
        self, acting: tuple[PerChunk[PersonLoras], ...], forward_shape: ForwardShape
    ) -> TransformerLorasBatch:
        """What is added in the forwards in which these nodes act.

        Raises ConditioningLost where another pack has joined rows of people with different LoRAs.
        """
        network = network_of(forward_shape.model)
        mixed = self.arrival.error_around_model("joins rows of people with different LoRAs")
        # For each node a tuple: its PersonLoras of all rows together, or one for each row where people have rows.
        rows_by_node = rows_of_nodes(acting, forward_shape.row_count, mixed, may_differ=False)
        nodes: list[TransformerNodeLoras] = []
        for number, of_rows in enumerate(rows_by_node):
            layers = self.layers_of(of_rows[0], network, forward_shape)
            nodes.append(TransformerNodeLoras(number, of_rows, layers, forward_shape))
        return TransformerLorasBatch(self.hooks_in(network), nodes, forward_shape)


class TransformerNodeLoras:
    """What one node adds in the forwards of a batch.

    layers: by name. people: where in the picture they are; None for one person everywhere, and where people have rows.
    person_of_row: the number of the person whose row each row of the batch is; None where people have no rows.
    """

    def __init__(
        self,
        number: int,
        of_rows: Sequence[PersonLoras],
        layers: dict[str, PeopleLayer],
        forward_shape: ForwardShape,
    ) -> None:
        """number: of the node, among those of the batch. of_rows: the node's PersonLoras of all rows of the batch
        together, or one for each row. layers: of the node, by name."""
        loras = of_rows[0]
        shares = loras.shares
        self.layers = layers
        self.people: PeopleOnPicture | None = None
        self.person_of_row: tuple[int, ...] | None = None
        if loras.by_row:
            # Every `row` is set: Carried.for_picture has made these. The test is for the type checker.
            self.person_of_row = tuple(of_row.row for of_row in of_rows if of_row.row is not None)
        elif shares is not None:
            weights = in_steps(regions_on_tokens(shares, forward_shape.model, forward_shape.latent))  # (people, tokens)
            self.people = PeopleOnPicture(number, loras.names, weights.to(forward_shape.device))


@dataclass(frozen=True, eq=False)
class NodeInLayer:
    """What one node adds in one layer."""

    node: TransformerNodeLoras
    loras: PeopleLayer


@dataclass(eq=False)
class PersonLorasInLayer(LayerAddition):
    """What a batch does in one layer.

    stream: which tokens the layer is given; None for a layer that is given neither text nor picture. nodes: what they
    add. modulated: the layer, where it modulates in a network that takes one answer for all tokens. use: what a
    modulating layer's answer does behind this one.
    """

    stream: LayerStream | None
    nodes: tuple[NodeInLayer, ...]
    modulated: ModulatedLayer | None
    use: ModulationUse | None


class TransformerLorasBatch(Batch):
    """What is added to the layers of one network in the forwards that carry the same."""

    def __init__(self, hooks: LayerHooks, nodes: Sequence[TransformerNodeLoras], forward_shape: ForwardShape) -> None:
        super().__init__()
        family = taken_family(forward_shape.model)
        self.row_count = forward_shape.row_count
        self.hooks = hooks
        self._family = family
        self._network = network_of(forward_shape.model)
        self._nodes = nodes
        self._has_references = len(forward_shape.references) > 0
        self._token_weights = TokenWeights(forward_shape)
        self._rank_weights = RankWeights(self._token_weights, forward_shape)
        # In this order: _new_in_layers reads _modulated and _mark.
        self._modulated = self._modulated_layers()
        self._mark = Mark()
        self._in_layers = self._new_in_layers()

    def sites(self, modules: Mapping[str, nn.Module]) -> Mapping[Site, nn.Module]:
        return {name: part_around(modules, name) for name in self._in_layers}

    def _modulated_layers(self) -> dict[str, ModulatedLayer]:
        """The layers, by name, whose answer has to be kept and applied token by token (see ModulatedLayer).

        These are layers that LoRAs change by region, and that modulate in a network that takes one answer for all
        tokens.
        """
        layers: dict[str, ModulatedLayer] = {}
        for node in self._nodes:
            if node.people is None:
                continue
            for name in node.layers:
                layer = modulated_layer(self._family.modulations, name)
                if layer is not None:
                    layers[name] = layer
        return layers

    def _new_in_layers(self) -> dict[str, PersonLorasInLayer]:
        """By name, what is done in each layer that has LoRAs, or behind which a modulating layer's answer is used."""
        nodes: dict[str, list[NodeInLayer]] = {}
        for node in self._nodes:
            for name, loras in node.layers.items():
                nodes.setdefault(name, []).append(NodeInLayer(node, loras))
        uses: dict[str, ModulationUse] = {}
        for layer in self._modulated.values():
            uses.update(layer.uses)
        in_layers: dict[str, PersonLorasInLayer] = {}
        for name in dict.fromkeys([*nodes, *uses]):  # each once, in order
            in_layers[name] = PersonLorasInLayer(
                self._mark,
                stream=stream_of(self._family, name),
                nodes=tuple(nodes.get(name, ())),
                modulated=self._modulated.get(name),
                use=uses.get(name),
            )
        return in_layers

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """While it is open, hooks stand in the layers, and the tokens that blocks are given are counted."""
        with ExitStack() as stack:
            stack.enter_context(self.hooks.standing_in(list(self._in_layers), self._in_layers))
            for patched in patched_inputs(self._network, self._family, self.count_tokens):
                stack.enter_context(patched.in_place())
            yield

    def network_arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Remember for this forward whether the network reads references, and return the arguments unchanged.

        Raises BadSetup where LoRAs of people are not known beside references that the network modulates by the time 0.
        """
        method = kwargs.get("ref_latents_method", _default_method(self._network))
        self._token_weights.begin(references_read=self._reads_references(method))
        if method == ZERO_TIME and self._has_references:
            for node in self._nodes:
                if node.people is not None:
                    self._refuse_zero_time(node)
        return args, kwargs

    def _reads_references(self, method: str | None) -> bool:
        """Whether the network reads the references of a call, if there are any. method: the call's, None for none."""
        references = self._family.references
        if references is None or references.method == "":
            return True  # with any method, and with none
        return method is not None  # such as Krea 2

    def _refuse_zero_time(self, node: TransformerNodeLoras) -> None:
        """Raise BadSetup where a LoRA of the node is in a layer that modulates. For references at the time 0."""
        for name in node.layers:
            stream = self._in_layers[name].stream
            if stream is not None and stream.modulates:
                raise zero_time_unknown()

    def options_with_attention(self, options: Options) -> Options:
        """transformer_options with a patch that counts tokens. The Forward of this thread begins here."""
        begin_additions(self)
        return with_input_patch(options, self._family, self.count_tokens)

    def after_network_call(self) -> None:
        """Let the layers that modulate forget what they have answered, also where the network has raised."""
        for layer in self._modulated.values():
            layer.answer.modulation = None

    def count_tokens(self, block_inputs: Options) -> Options:
        """An InputPatch: it changes nothing, and notes how many tokens of text and picture the blocks are given.

        block_inputs: "txt" (B, T, C) and "img" (B, N, C) of the host.
        """
        self._token_weights.set_counts(block_inputs["txt"].shape[1], block_inputs["img"].shape[1])
        return block_inputs

    def output_with_additions(self, forward: Forward, hook: LayerHook, x: Tensor, out: Tensor) -> Tensor:
        """What a layer gives of x, `out`, with what everybody's LoRAs add to it. The hooks call this.

        x: (B, tokens, C), or (B, 1, C) for a layer that modulates, which then gives something for every token.
        For a ModulatedLayer x is (B, C): what it answers is kept, and applied where the network uses it.
        """
        self.calls.count(hook.name)
        in_layer = hook.addition_of(self._mark)
        if not isinstance(in_layer, PersonLorasInLayer):  # None: another forward has put the hook here
            return out
        if in_layer.modulated is not None:
            in_layer.modulated.answer.modulation = self._modulation(forward, in_layer, in_layer.modulated, x, out)
            return in_layer.modulated.neutral(out)
        for node_in_layer in in_layer.nodes:
            hidden = self._hidden(forward, node_in_layer, in_layer.stream, x)
            out = with_product(out, hidden, node_in_layer.loras.up.to(x), hook.makes_new)
        if in_layer.use is None:
            return out
        return in_layer.use.applied(out)

    def _hidden(self, forward: Forward, node_in_layer: NodeInLayer, stream: LayerStream | None, x: Tensor) -> Tensor:
        """What the `down` matrices of all people make of x, (..., in), times how much each rank counts: (..., ranks).

        x of a layer that modulates, (B, 1, in), becomes (B, tokens, ranks) where people have regions. stream: which
        tokens the layer is given.
        """
        node = node_in_layer.node
        loras = node_in_layer.loras
        hidden = functional.linear(x, loras.down.to(x))
        if node.person_of_row is not None:
            return hidden * self._rank_weights.of_rows(forward, node.person_of_row, loras.person_of_rank, stream, x).to(
                hidden
            )
        if node.people is None:
            return hidden
        weights = self._rank_weights.of_layer(forward, node.people, loras, stream, x).to(hidden)
        if weights.shape[-2] == hidden.shape[-2]:
            return hidden.mul_(weights)  # it was made just now, so nobody else holds it
        return hidden * weights

    def _modulation(
        self, forward: Forward, in_layer: PersonLorasInLayer, layer: ModulatedLayer, x: Tensor, out: Tensor
    ) -> TokenModulation:
        """What a ModulatedLayer answers for every token with everybody's LoRAs.

        x: what the layer is given, (rows, in). out: what it answers without LoRAs, (rows, parts * C). Where references
        are modulated by the time 0 there are twice as many rows: those of the step, then those of the time 0. Raises
        BadSetup for such rows in a family whose references are not known to have them.
        """
        common = out  # with the LoRAs of nodes that act everywhere or by row: the same for all tokens
        # Of each node that acts by region; there is one at least, see _modulated_layers.
        additions: list[Tensor] = []  # (people of the node, rows, parts * C) each
        weights: list[Tensor] = []  # (1, tokens, people of the node) each
        for node_in_layer in in_layer.nodes:
            loras = node_in_layer.loras
            people = node_in_layer.node.people
            if people is None:  # the node acts everywhere, or by row
                hidden = self._hidden(forward, node_in_layer, in_layer.stream, x)
                common = common + functional.linear(hidden, loras.up.to(x))
            else:
                additions.append(loras.of_people(x))
                weights.append(self._rank_weights.of_people(forward, people, loras, layer.modulation.stream))
        of_people = torch.cat(additions).movedim(0, 1)  # (rows, people, parts * C)
        rows = self.row_count
        zero = None
        if len(common) > rows:  # there are rows of the time 0, behind those of the step
            if not layer.modulation.zero_time:
                raise zero_time_unknown()
            zero = TimeModulation(common[rows:], of_people[rows:])
        return TokenModulation(
            now=TimeModulation(common[:rows], of_people[:rows]),
            weights=torch.cat(weights, dim=2).to(out),
            width=out.shape[-1] // layer.modulation.parts,
            zero=zero,
            picture=self._token_weights.picture,
        )


def _default_method(network: Any) -> str | None:
    """How a network reads reference pictures where its call does not say; None for one that says nothing either."""
    settings = getattr(network, "params", network)
    return getattr(settings, "default_ref_method", None)
