"""LoRAs of single people in a transformer: whose the tokens of its layers are.

Which tokens a layer is given is told by its name (`stream_of`), and whose these are by token_weights.py. A layer that
is given the time alone gives something for all tokens alike; where people have regions, it gives something for each.
In networks whose blocks take nothing of the kind, that is applied behind it (networks/modulation.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor

from ...core.attention.spans import Tokens
from ..host.unet import Options
from ..networks.forward_tokens import patched_count, tokens_of_shape, with_tokens
from ..networks.model_family import network_of, taken_family
from ..networks.modulation import ModulatedLayer, ModulationUse, TimeModulation, TokenModulation, modulated_layer
from ..networks.transformer_families import LayerStream, Stream, TransformerFamily
from ..sampling.carried import ConditioningLost
from ..sampling.current_forward import layers_are_given
from ..sampling.forward import ForwardShape
from .layer_hooks import Forward, LayerHook, LayerHooks
from .layer_loras import LayerLoras, LorasBatch, NodeLoras, nodes_by_layer
from .people_layers import Owners
from .refused import ZERO_TIME, zero_time_unknown
from .token_weights import TokenWeights, with_shares_of_tokens


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


@dataclass(frozen=True, eq=False)
class TransformerLayerLoras(LayerLoras):
    """What a batch does in one layer of a transformer.

    row_count: of the batch. stream: which tokens the layer is given; None for a layer that is given neither text nor
    picture. modulated: the layer, where it modulates by region in a network that takes one answer for all tokens. use:
    what a modulating layer's answer does behind this one.
    """

    kept: TokenWeights
    row_count: int
    stream: LayerStream | None
    modulated: ModulatedLayer | None
    use: ModulationUse | None

    def output(self, forward: Forward, hook: LayerHook, x: Tensor, out: Tensor) -> Tensor:
        """What the layer gives of x, `out`, with what everybody's LoRAs add to it.

        x: (B, tokens, C), or (B, 1, C) for a layer that modulates, which then gives something for every token.
        For a ModulatedLayer x is (B, C): what it answers is kept, and applied where the network uses it.
        """
        if self.modulated is not None:
            self.calls.count(hook.name)
            self.modulated.answer.modulation = self._modulation(forward, hook, self.modulated, x, out)
            return self.modulated.neutral(out)
        if self.stream is not None and self.stream.stream is Stream.ONE_PICTURE:
            self.kept.begin_picture(forward.tokens)
        out = super().output(forward, hook, x, out)
        return out if self.use is None else self.use.applied(out)

    def weights_by_region(
        self, forward: Forward, node: NodeLoras, ranks: Owners, hidden: Tensor, out: Tensor
    ) -> Tensor:
        """How much of each rank every token has, in a shape that multiplies `hidden`: (1, tokens, ranks) for most.

        The shape of `hidden` tells which dimension the tokens are in.
        """
        assert self.stream is not None  # such a layer is refused by the node
        stream = self.stream.stream
        token_count = self._token_count(forward, self.stream, hidden)
        weights = self.kept.by_region(forward, node, ranks, stream, token_count)  # (1, tokens, ranks)
        if self.stream.modulates:  # hidden is (B, 1, ranks), and becomes (B, tokens, ranks)
            return weights
        if stream is Stream.TEXT_AS_ROWS:
            if hidden.dim() == 4:  # (B, T, layers, ranks)
                return weights[:, :, None]  # (1, T, 1, ranks)
            # (B * T, layers, ranks)
            return weights[0][:, None].repeat(len(hidden) // token_count, 1, 1)  # (B * T, 1, ranks)
        return weights.view(1, *hidden.shape[1:-1], -1)  # tokens may stand in a grid: (B, frames, h, w, ranks)

    def is_anybodys(self, forward: Forward, node: NodeLoras, x: Tensor) -> bool:
        if not node.has_regions or self.stream is None:
            return True
        token_count = self._token_count(forward, self.stream, x)
        return self.kept.is_anybodys(forward.tokens, node, self.stream.stream, token_count)

    def _token_count(self, forward: Forward, stream: LayerStream, x: Tensor) -> int:
        """How many tokens a layer is given, or changes. x: what the layer is given, or `down` makes of it."""
        if stream.modulates:  # x is (B, 1, C)
            return self.kept.count(forward.tokens, stream.stream)
        if stream.stream is Stream.TEXT_AS_ROWS:  # Krea 2 joins what several layers of the text encoder gave a token
            if x.dim() == 4:  # (B, T, layers, C)
                return x.shape[1]
            return len(x) // self.row_count  # of (B * T, layers, C)
        return math.prod(x.shape[1:-1])

    def people_of_rows(self, forward: Forward, person_of_row: tuple[int, ...], row_count: int) -> tuple[int, ...]:
        if forward.tokens.rows is not None:  # the layer is called for some rows of the batch alone
            person_of_row = tuple(person_of_row[row] for row in forward.tokens.rows)
        times, rest = divmod(row_count, len(person_of_row))
        if rest:
            raise ConditioningLost("", f"makes {row_count} rows of {len(person_of_row)} in a layer")
        if self.stream is not None and self.stream.stream is Stream.TEXT_AS_ROWS:
            # All tokens of one row of the batch, then those of the next.
            return tuple(person for person in person_of_row for _ in range(times))
        # The whole batch may stand there once more, at the time 0, for reference pictures.
        return person_of_row * times

    def _modulation(
        self, forward: Forward, hook: LayerHook, layer: ModulatedLayer, x: Tensor, out: Tensor
    ) -> TokenModulation:
        """What a ModulatedLayer answers for every token with everybody's LoRAs.

        x: what the layer is given, (rows, in). out: what it answers without LoRAs, (rows, parts * C). Where references
        are modulated by the time 0 there are twice as many rows: those of the step, then those of the time 0.
        """
        common = out  # with the LoRAs of nodes that act everywhere or by row: the same for all tokens
        # Of each node that acts by region; there is one at least, see _modulated_layers.
        additions: list[Tensor] = []  # (people of the node, rows, parts * C) each
        weights: list[Tensor] = []  # (1, tokens, people of the node) each
        stream = layer.modulation.stream
        for of_node in self.nodes:
            node, loras = of_node.node, of_node.loras
            if not node.has_regions:
                hidden = self.hidden(forward, hook, of_node, x, out)
                common = common + functional.linear(hidden, loras.up.like(x))
            else:
                additions.append(loras.of_people(x))
                token_count = self.kept.count(forward.tokens, stream)
                weights.append(self.kept.by_region(forward, node, loras.people, stream, token_count))
        of_people = torch.cat(additions).movedim(0, 1)  # (rows, people, parts * C)
        rows = self.row_count
        zero = TimeModulation(common[rows:], of_people[rows:]) if len(common) > rows else None
        return TokenModulation(
            now=TimeModulation(common[:rows], of_people[:rows]),
            weights=torch.cat(weights, dim=2).to(out),
            width=out.shape[-1] // layer.modulation.parts,
            zero=zero,
            picture=self.kept.picture,
        )


class TransformerLorasBatch(LorasBatch):
    """What is added to the layers of one transformer in the forwards that carry the same."""

    def __init__(
        self,
        hooks: LayerHooks,
        nodes: Sequence[NodeLoras],
        forward_shape: ForwardShape,
        tokens: TokenWeights | None = None,
    ) -> None:
        """hooks: of the transformer. nodes: what each node adds. tokens: how much of each rank counts in them, where
        that is a subclass's own; None for what is so in most families."""
        super().__init__(hooks, forward_shape.row_count)
        self._family = taken_family(forward_shape.model)
        self._network = network_of(forward_shape.model)
        self.own_tokens = tokens_of_shape(forward_shape)
        self._has_references = len(forward_shape.references) > 0
        self._references_read = True  # in this forward
        nodes = [with_shares_of_tokens(node, forward_shape) for node in nodes]
        self._tokens = tokens or TokenWeights(forward_shape)
        self._modulated = _modulated_layers(self._family, nodes)
        uses: dict[str, ModulationUse] = {}
        for layer in self._modulated.values():
            uses.update(layer.uses)
        self.in_layers = {
            name: TransformerLayerLoras(
                self.mark,
                of_nodes,
                self.calls,
                self._tokens,
                row_count=self.row_count,
                stream=stream_of(self._family, name),
                modulated=self._modulated.get(name),
                use=uses.get(name),
            )
            for name, of_nodes in nodes_by_layer(nodes, uses).items()
        }
        streams = [stream_of(self._family, name) for name in _layers_by_region(nodes)]
        self._modulates_by_region = any(stream is not None and stream.modulates for stream in streams)

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """While it is open, hooks stand in the layers, and the tokens that blocks are given are counted."""
        with ExitStack() as stack:
            stack.enter_context(super().prepared())
            for patched in patched_count(self._network, self._family):
                stack.enter_context(patched.in_place())
            yield

    def network_arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Remember for this forward, which begins, whether the network reads references. The arguments stay unchanged.

        Raises BadSetup where LoRAs of people are not known beside references that the network modulates by the time 0.
        """
        args, kwargs = super().network_arguments(args, kwargs)
        method = kwargs.get("ref_latents_method", _default_method(self._network))
        self._tokens.pictures_begun = 0
        self._references_read = self._reads_references(method)
        if method == ZERO_TIME and self._has_references and self._modulates_by_region:
            raise zero_time_unknown()
        return args, kwargs

    def _reads_references(self, method: str | None) -> bool:
        """Whether the network reads the references of a call, if there are any. method: the call's, None for none."""
        references = self._family.references
        if references is None or references.method == "":
            return True  # with any method, and with none
        return method is not None  # such as Krea 2

    def options_for_network(self, options: Options, tokens: Tokens) -> Options:
        """transformer_options with a patch that counts tokens."""
        pictures = tokens.picture_count if self._references_read else tokens.drawn_count
        layers_are_given(tokens.in_blocks(tokens.text_count, pictures))
        return with_tokens(super().options_for_network(options, tokens), self._family, tokens)

    def after_network_call(self) -> None:
        """Let the layers that modulate forget what they have answered, also where the network has raised."""
        for layer in self._modulated.values():
            layer.answer.modulation = None


def _modulated_layers(family: TransformerFamily, nodes: Sequence[NodeLoras]) -> dict[str, ModulatedLayer]:
    """The layers, by name, whose answer has to be kept and applied token by token (see ModulatedLayer).

    These are layers that LoRAs change by region, and that modulate in a network that takes one answer for all tokens.
    """
    layers: dict[str, ModulatedLayer] = {}
    for name in _layers_by_region(nodes):
        layer = modulated_layer(family.modulations, name)
        if layer is not None:
            layers[name] = layer
    return layers


def _layers_by_region(nodes: Sequence[NodeLoras]) -> Iterator[str]:
    """The names of the layers that people with regions have LoRAs in."""
    for node in nodes:
        if node.has_regions:
            yield from node.layers


def _default_method(network: Any) -> str | None:
    """How a network reads reference pictures where its call does not say; None for one that says nothing either."""
    settings = getattr(network, "params", network)
    return getattr(settings, "default_ref_method", None)
