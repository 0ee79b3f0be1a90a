"""Where the tokens of a forward stand, and whose they are.

Everything of ours in a forward asks here: who reads whom in attention, and whose LoRAs count for a token.
"""

import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any

from torch import Tensor, nn

from ...core.token_layout import TokenLayout
from ..runs import ForwardInput
from .families import TransformerFamily
from .networks import network_of, tokens_of, transformer_family

LAYERS = "layers"
"""The place of an attention over all tokens, in the blocks."""
REFINER = "likeness_refiner"
"""The key, among transformer_options inside of a block that is a refiner, of the place where it stands, as the family's
description says."""


def key_of_forward(forward_input: ForwardInput) -> Hashable:
    """What two forwards have in common that the same Batch of a run serves, beside what nodes have put into them."""
    return (
        forward_input.x.shape,
        layout_of(forward_input),
        forward_input.x.device,
        forward_input.context.shape[1],
        forward_input.model,
    )


def layout_of(forward_input: ForwardInput) -> TokenLayout:
    """The tokens of a forward without words about single people.

    Outside of Z-Image the count of the text is that of the conditioning. The blocks may be given more of it, which
    stands in front: post_input patches of the host say how much.
    """
    family = transformer_family(forward_input.model)
    picture = tokens_of(forward_input.model, forward_input.x)
    references = [tokens_of(forward_input.model, reference) for reference in forward_input.references]
    common = forward_input.context.shape[1]
    if family is None or not family.own_captions:
        return TokenLayout(common, picture, tuple(references))
    padding = Padding(network_of(forward_input.model))
    beside = forward_input.reference_texts[: len(references)]
    later = forward_input.reference_texts[len(references) :] if references else ()
    return TokenLayout(
        common=padding.padded(common),
        picture=padding.padded(picture),
        references=tuple(padding.padded(count) for count in references),
        reference_texts=padding.of_all([text.shape[1] for text in beside], len(references)),
        later=sum(padding.padded(text.shape[1]) for text in later),
        seen=_seen(forward_input, padding),
        picture_last=family.picture_last,
    )


class Padding:
    """How a network with own_captions fills up texts and pictures with tokens of its own."""

    def __init__(self, network: Any) -> None:
        self._multiple: int = network.pad_tokens_multiple

    def padded(self, tokens: int) -> int:
        """The number of tokens of a piece, with those that fill it up."""
        return -(-tokens // self._multiple) * self._multiple

    def of_all(self, counts: Sequence[int], length: int) -> tuple[int, ...]:
        """The number of tokens of each of `length` pieces, filled up. A piece without a count is made of filling tokens
        alone."""
        missing = [self._multiple] * (length - len(counts))
        return *[self.padded(count) for count in counts], *missing


def reads_looks(forward_input: ForwardInput) -> bool:
    """Whether the network reads what a vision encoder has seen, as Z-Image Omni does with references."""
    return (
        bool(forward_input.references) and getattr(network_of(forward_input.model), "siglip_embedder", None) is not None
    )


def _seen(forward_input: ForwardInput, padding: Padding) -> tuple[int, ...]:
    """The number of tokens of what is seen of each reference and of the picture, of which the host gives nothing."""
    if not reads_looks(forward_input):
        return ()
    count = len(forward_input.references)
    looks = [look.shape[1] * look.shape[2] for look in forward_input.reference_looks[:count]]
    return padding.of_all(looks, count + 1)


# What stands in a network while a forward runs


class StandIn:
    """function(what stands there, ...) in the place of a module's method, for this object alone.

    It is the same object at every forward, so that torch.compile compiles it once.
    """

    def __init__(self, module: nn.Module, method: str, function: Callable[..., Any]) -> None:
        self._module = module
        self._method = method
        self._function = function
        self._below: Callable[..., Any] | None = None
        self._made: Callable[..., Any] | None = None

    @contextmanager
    def standing(self) -> Iterator[None]:
        """While a forward runs. Whatever stood there comes back."""
        attributes = vars(self._module)
        before = attributes.get(self._method)
        below: Callable[..., Any] = getattr(self._module, self._method)
        if self._made is None or below != self._below:
            self._below = below
            self._made = partial(self._function, below)
        attributes[self._method] = self._made
        try:
            yield
        finally:
            if before is None:
                attributes.pop(self._method, None)
            else:
                attributes[self._method] = before


def refiner_names(network: nn.Module, family: TransformerFamily) -> list[StandIn]:
    """What puts the name of every refiner into the transformer_options of its attention: token counts alone could be
    those of another attention."""
    stand_ins: list[StandIn] = []
    for name in (family.refiners, family.looks_refiners):
        for block in _blocks(network, name):
            stand_ins.append(StandIn(block, "forward", partial(_named, name)))
    return stand_ins


def _blocks(network: nn.Module, path: str) -> Sequence[nn.Module]:
    """None where the family, or this network of it, has none there."""
    if not path:
        return ()
    return attrgetter(path)(network) or ()


def _named(name: str, block: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
    """A block called with its name. The host gives transformer_options by name."""
    options = {**kwargs.get("transformer_options", {}), REFINER: name}
    return block(*args, **{**kwargs, "transformer_options": options})


# Whose references there are


@dataclass(frozen=True)
class CurrentReferences:
    """The owners of the references of a forward. names: for each reference the name of its person, or None for one of
    no person."""

    names: tuple[str | None, ...]


class _Thread(threading.local):
    """One for each thread: the host's MultiGPU CFG Split calls several networks at a time."""

    def __init__(self) -> None:
        self.references: CurrentReferences | None = None
        self.embedded: int | None = None


_thread = _Thread()


def current_references() -> CurrentReferences | None:
    """None where no reference of this forward is a person's alone."""
    return _thread.references


def begin_references(references: CurrentReferences) -> None:
    """Said before a network is called."""
    _thread.references = references


def end_references() -> None:
    """Said when a network has been called, or has raised."""
    _thread.references = None


def reference_embedded() -> int | None:
    """The number of the reference that a network with own_captions embeds just now, with its text; None for others."""
    return _thread.embedded


class EmbeddedPieces:
    """Which piece a network with own_captions embeds: it calls embed_all for each reference, and then for the picture
    and its text. count: of references."""

    def __init__(self, network: nn.Module, count: int) -> None:
        self._stand_in = StandIn(network, "embed_all", self._embedded)
        self._count = count
        self._next = 0

    @contextmanager
    def told(self) -> Iterator[None]:
        """While the network is called."""
        self._next = 0
        with self._stand_in.standing():
            yield

    def _embedded(self, embed: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        number = self._next
        is_reference = number < self._count
        # Whatever stands in the network begins and ends with the same number, so that torch.compile sees one graph.
        self._next = number + 1 if is_reference else 0
        before = _thread.embedded
        _thread.embedded = number if is_reference else None
        try:
            return embed(*args, **kwargs)
        finally:
            _thread.embedded = before
