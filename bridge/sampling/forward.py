"""One forward of a MODEL: what it is given, and the Batch, which has all that its rows read ready for the network."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, NamedTuple

import torch
from comfy.model_base import BaseModel
from comfy.patcher_extension import WrapperExecutor
from torch import Tensor, nn

from ...core.attention.spans import NO_TOKENS, Tokens
from ...core.attention.tracing import untraced
from ..host.unet import Options, dtype_of
from .current_forward import current
from .watch import Calls, DueCalls

Strengths = tuple[tuple[Hashable, float], ...]
"""How strong each of the host's hooks is that has changed the weights of a network, by its reference. A hook LoRA with
keyframes has another strength from some step on."""


class Network(NamedTuple):
    """A network with the weights that it has in a forward: what its own modules make may be kept by this alone.

    model: the host's. MultiGPU CFG Split samples with several, each in a thread of its own.
    device: of the latents.
    strengths: of the hooks that have changed its weights.
    """

    model: BaseModel
    device: torch.device
    strengths: Strengths

    def is_before(self, now: Network) -> bool:
        """Whether this is the same network with hooks of other strengths, which will not come again."""
        if (self.model, self.device) != (now.model, now.device) or self.strengths == now.strengths:
            return False
        return [hook for hook, _ in self.strengths] == [hook for hook, _ in now.strengths]


class ForwardShape(NamedTuple):
    """What a Batch is made of, beside what acts in it, and by which a run keeps it, together with the Network.

    It has nothing that may be another at the next step: no sigmas, no transformer_options, no numbers of a tensor.

    model: the host's. MultiGPU CFG Split samples with several, each in a thread of its own.
    device: of the latents.
    latent: (B, C, h, w), or (B, C, T, h, w) of a video model.
    text: (B, T, width).
    references: of each latent of ForwardInput.references.
    """

    model: BaseModel
    device: torch.device
    latent: torch.Size
    text: torch.Size
    references: tuple[torch.Size, ...]

    @property
    def row_count(self) -> int:
        return self.latent[0]

    @property
    def text_length(self) -> int:
        return self.text[1]

    def empty_like_network(self) -> Tensor:
        """An empty tensor on the device and in the dtype of the network, to give to Tensor.to."""
        return torch.empty(0, device=self.device, dtype=dtype_of(self.model))


class ForwardInput(NamedTuple):
    """What one forward is given.

    model: the host's.
    x: (B, C, h, w), or (B, C, T, h, w) of a video model.
    sigmas: (B,).
    context: the text, (B, T, width).
    options: the host's transformer_options.
    row_table: (rows, 2), see row_tables.py; None for a forward whose rows are not asked for.
    references: latents of reference pictures, in the shape of x each.
    """

    model: BaseModel
    x: Tensor
    sigmas: Tensor
    context: Tensor
    options: Options
    row_table: Tensor | None = None
    references: Sequence[Tensor] = ()

    def is_as_before(self, row_table: Tensor, x: Tensor) -> bool:
        """Whether no pack has moved rows since, nor cut the picture. row_table, x: as they arrive at the network."""
        return row_table is self.row_table and x.shape[-2:] == self.x.shape[-2:]

    @property
    def network(self) -> Network:
        hooks = self.model.current_patcher.current_hooks
        strengths = () if hooks is None else tuple((hook.hook_ref, hook.strength) for hook in hooks.hooks)
        return Network(self.model, self.x.device, strengths)

    @property
    def shape(self) -> ForwardShape:
        references = tuple(reference.shape for reference in self.references)
        return ForwardShape(self.model, self.x.device, self.x.shape, self.context.shape, references)


class Batch:
    """What the rows of one forward read of one kind, ready on the device.

    row_count: the number of rows. calls: those of what it has put into the network. own_tokens: of the forward, as its
    shape says, where it has to know them. may_be_compiled: whether torch.compile may compile a forward with it.
    """

    may_be_compiled: ClassVar[bool] = True
    own_tokens: Tokens = NO_TOKENS
    row_count: int

    def __init__(self) -> None:
        self.calls = Calls()

    def due_calls(self, modules: Mapping[str, nn.Module]) -> DueCalls:
        """What this batch puts into a network, all of which has to be called. modules: see Watch.modules_in."""
        raise NotImplementedError

    def in_tokens(self, before: Tokens) -> Tokens:
        """The tokens of a forward of a transformer with what this batch knows of them, such as the words that it puts
        behind the text. before: with what the batches before this one know; without any where nobody knows them yet.
        """
        return before if before.spans else self.own_tokens

    def get_ready(self, tokens: Tokens) -> None:
        """Make what this batch needs of the tokens, as all batches know them, outside of what torch.compile sees."""

    def options_for_network(self, options: Options, tokens: Tokens) -> Options:
        """transformer_options with this batch's attention around whatever stands in the layers.

        The network is called right after. tokens: of the forward, as all batches know them; without any on a UNet.
        """
        raise NotImplementedError

    def prepared(self) -> AbstractContextManager[None]:
        """A context that is open during a whole forward, outside of what torch.compile sees.

        A batch that needs something to stand in the network puts it there when the context opens, and takes it out when
        it closes, whatever is raised.
        """
        return nullcontext()

    def network_arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with which the network is called after the latents. A batch may change them; here they stay.

        args: by position, (timestep, text, ...). kwargs: by name; the text may be here too, as `context`.
        """
        return args, kwargs

    def after_network_call(self) -> None:
        """Called when the network has run with `options_for_network`, or anything has raised."""


def argument(args: Sequence[Any], place: int, kwargs: Mapping[str, Any], name: str, default: Any = None) -> Any:
    """An argument of a call, which other packs give by position or by name. place: its index in args."""
    return args[place] if place < len(args) else kwargs.get(name, default)


def call_network(
    batches: Sequence[Batch], tokens: Tokens, executor: WrapperExecutor, x: Tensor, *args: Any, **kwargs: Any
) -> Tensor:
    """Call the network with the batches of a forward in its transformer_options. tokens: as all batches know them.

    These come last where they are not named. The attention of each batch stands around that of those before it. The
    batches may set `current.additions` for the call. Afterwards, also when anything has raised, it is as it was before:
    a network may be called inside of another one's forward. The call counts as begun (calls.is_begun).
    All batches see the arguments before any of them changes transformer_options: then one may call the network itself.
    """
    before = current.additions
    try:
        for batch in batches:
            batch.calls.is_begun = True
            args, kwargs = batch.network_arguments(args, kwargs)
        for batch in batches:
            if "transformer_options" not in kwargs and args and isinstance(args[-1], dict):
                args = *args[:-1], batch.options_for_network(args[-1], tokens)
            else:
                options = kwargs.get("transformer_options", {})
                kwargs["transformer_options"] = batch.options_for_network(options, tokens)
        return executor(x, *args, **kwargs)
    finally:
        current.additions = before
        for batch in batches:
            batch.after_network_call()


@untraced
def call_uncompiled(
    batches: Sequence[Batch], tokens: Tokens, executor: WrapperExecutor, x: Tensor, *args: Any, **kwargs: Any
) -> Tensor:
    """What call_network gives, which torch.compile does not compile."""
    return call_network(batches, tokens, executor, x, *args, **kwargs)
