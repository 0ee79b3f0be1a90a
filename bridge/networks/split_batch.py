"""Batches that split the attention of a transformer's blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from torch import nn

from ...core.attention.spans import Tokens
from ..host.unet import Options
from ..sampling.forward import Batch, ForwardShape
from ..sampling.watch import DueCalls
from .attention import attending_parts
from .file_attention import patched_file_attention
from .forward_tokens import patched_count, tokens_of_shape, with_tokens
from .model_family import network_of, taken_family


class SplitBatch(Batch):
    """A batch by which every attention in the blocks is split, also where the model's file asks for its own kernel.

    family: of the network. network: of the MODEL that samples. own_tokens: of the forward, as its shape says.
    """

    def __init__(self, forward_shape: ForwardShape) -> None:
        super().__init__()
        self.row_count = forward_shape.row_count
        self.family = taken_family(forward_shape.model)
        self.network = network_of(forward_shape.model)
        self.own_tokens = tokens_of_shape(forward_shape)
        # File attention: they tell attention what the model's file asks for.
        self._in_network = [*patched_file_attention(self.network), *patched_count(self.network, self.family)]

    def due_calls(self, modules: Mapping[str, nn.Module]) -> DueCalls:
        """The parts that attend."""
        return attending_parts(modules, self.family)

    def options_for_network(self, options: Options, tokens: Tokens) -> Options:
        """transformer_options with the tokens."""
        return with_tokens(options, self.family, tokens)

    @contextmanager
    def prepared(self) -> Iterator[None]:
        with ExitStack() as stack:
            for patched in self._in_network:
                stack.enter_context(patched.in_place())
            yield
