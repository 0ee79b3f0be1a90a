"""What stands in a network while a forward runs: functions in the place of its own methods.

They call an InputPatch, name the attention that is being computed, or count the pieces that are embedded.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from operator import attrgetter
from typing import Any

from torch import Tensor, nn

from ..host.unet import Options, with_patch
from ..sampling.calls import Calls, Site
from ..sampling.current_forward import current
from .transformer_families import BlockInputs, TransformerFamily

LAYERS = "layers"
"""The stage of an attention over all tokens: the blocks."""
REFINER = "likeness_refiner"
"""The key, among transformer_options inside of a block that is a refiner, of its stage: the name of its group of
refiners, as the family's description says."""
TEXT_READER = "likeness_text_reader"
"""The key, among transformer_options inside of a text_reader, of its name, as the family's description says."""


class PatchedMethod:
    """A function in the place of a method of one module, while a forward runs.

    function: called as function(method, *args, **kwargs), with the method that it replaces in front of its arguments.
    """

    def __init__(self, module: nn.Module, method: str, function: Callable[..., Any]) -> None:
        self.module = module
        self._method = method
        self._function = function

    @contextmanager
    def in_place(self, calls: Calls | None = None) -> Iterator[None]:
        """While this context is open, the function stands in the module. Then the module is as it was.

        calls: counts the calls of the function, with this object as their Site; None for no count.
        """
        attributes = vars(self.module)  # written to as a dict, past nn.Module.__setattr__
        attribute_before = attributes.get(self._method)  # what another patch has put there; None for the class's method
        method: Callable[..., Any] = getattr(self.module, self._method)
        attributes[self._method] = _CallInFront(self, self._function, method, calls).call
        try:
            yield
        finally:
            if attribute_before is None:
                attributes.pop(self._method, None)
            else:
                attributes[self._method] = attribute_before


class _CallInFront:
    """A function that is called with the method that it stands for.

    Its `call` is a method and no functools.partial: torch.compile takes the method of another object for the same, and
    a partial for another, so that it would compile every run anew.
    """

    def __init__(
        self, site: Site, function: Callable[..., Any], method: Callable[..., Any], calls: Calls | None
    ) -> None:
        self._site = site
        self._function = function
        self._replaced = method
        self._calls = calls

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """What the function gives, with the method in front of these arguments; the call is counted."""
        if self._calls is not None:
            self._calls.count(self._site)
        return self._function(self._replaced, *args, **kwargs)


InputPatch = Callable[[Options], Options]
"""What is called with all that the blocks are given, before them, and gives it back, changed or not: the host's names
are `img`, the picture with its references, `txt`, all texts, (B, tokens, ...), and `txt_ids`, the positions of the
texts, (B, tokens, axes). Also there: `transformer_options` of the forward."""


def with_input_patch(options: Options, family: TransformerFamily, patch: InputPatch) -> Options:
    """A copy of transformer_options with an InputPatch, where the network itself calls such patches (post_input)."""
    return with_patch(options, "post_input", patch) if family.calls_post_input else options


def patched_inputs(network: nn.Module, family: TransformerFamily, patch: InputPatch) -> list[PatchedMethod]:
    """PatchedMethods that call an InputPatch where the network itself calls none, see BlockInputs; [] where it does.

    Of what the patch gives back, only the positions (`txt_ids`) are used.
    """
    inputs = family.block_inputs
    if inputs is None:
        return []
    module = network.get_submodule(inputs.module)
    return [PatchedMethod(module, inputs.method, _InputsInFront(module, inputs, patch).call_blocks)]


class _InputsInFront:
    """An InputPatch in front of a module's method that is given all that the blocks read."""

    def __init__(self, module: nn.Module, inputs: BlockInputs, patch: InputPatch) -> None:
        self._inputs = inputs
        self._patch = patch
        # The names of the method's arguments, read from the class: on the module itself another function may stand in
        # its place.
        _self, *self._names = signature(getattr(type(module), inputs.method)).parameters

    def call_blocks(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What the method gives with the positions that the patch has made of its arguments.

        The patch is not called where the network reads no text.
        """
        # All arguments by name: `args` are the first of them, and the others have come by name.
        arguments = {**dict(zip(self._names, args, strict=False)), **kwargs}
        text: Tensor | None = arguments[self._inputs.text]
        if text is None:  # the network reads none
            return method(*args, **kwargs)
        picture: Tensor = arguments[self._inputs.picture]
        if self._inputs.picture_behind_text:  # then its first T tokens are nothing
            picture = picture[:, text.shape[1] :]
        options: Options = arguments["transformer_options"]
        positions: Tensor = arguments[self._inputs.positions]
        patched = self._patch({"img": picture, "txt": text, "txt_ids": positions, "transformer_options": options})
        return method(**{**arguments, self._inputs.positions: patched["txt_ids"]})


def patched_text_readers(network: nn.Module, family: TransformerFamily) -> list[PatchedMethod]:
    """PatchedMethods that put the name of every text_reader into the transformer_options of its attention.

    A text_reader is the module in which the picture reads the text, in families where they are not one sequence.
    """
    if not family.text_reader:
        return []
    with_name = WithOption(TEXT_READER, family.text_reader)
    patched: list[PatchedMethod] = []
    for path in family.blocks:
        for block in _blocks(network, path):
            reader = block.get_submodule(family.text_reader)
            patched.append(PatchedMethod(reader, "forward", with_name.call_module))
    return patched


def patched_refiners(network: nn.Module, family: TransformerFamily) -> list[PatchedMethod]:
    """PatchedMethods, one for each refiner, that put the path of its group of refiners into its transformer_options.

    The path tells whose attention is computed: by its number of tokens alone it could be another one.
    """
    patched: list[PatchedMethod] = []
    for path in (family.refiners, family.looks_refiners):
        for block in _blocks(network, path):
            patched.append(PatchedMethod(block, "forward", WithOption(REFINER, path).call_module))
    return patched


def _blocks(network: nn.Module, path: str) -> Sequence[nn.Module]:
    """The blocks at a path of a network, such as "context_refiner"; () where the network has none there.

    path: "" where the family has no such blocks.
    """
    if not path:
        return ()
    return attrgetter(path)(network) or ()  # the host has None there in networks without such blocks


class WithOption:
    """One more entry for the transformer_options with which a module is called, a keyword argument of the host."""

    def __init__(self, key: str, value: object) -> None:
        self._key = key
        self._value = value

    def call_module(self, module: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """What a module gives when it is called with this entry among its transformer_options."""
        options = {**kwargs.get("transformer_options", {}), self._key: self._value}
        return module(*args, **{**kwargs, "transformer_options": options})


class EmbeddedPieces:
    """It sets CurrentForward.embedded while a network embeds a piece, by counting the calls of embed_all.

    A network with own_captions calls embed_all for each reference, and then once for the picture and its text.
    count: how many references there are.
    """

    def __init__(self, network: nn.Module, count: int) -> None:
        self._patched = PatchedMethod(network, "embed_all", self._embed_piece)
        self._count = count
        self._next = 0

    @contextmanager
    def counting(self) -> Iterator[None]:
        """While this context is open, calls of embed_all are counted. It is open while the network is called."""
        self._next = 0
        with self._patched.in_place():
            yield

    def _embed_piece(self, embed: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What embed_all gives of the next piece. embed: the network's own embed_all.

        Meanwhile current.embedded is the number of the reference, or None for the picture.
        """
        number = self._next
        is_reference = number < self._count
        # The picture is the last piece: back to 0, so that torch.compile finds the same number before every forward.
        self._next = number + 1 if is_reference else 0
        embedded_before = current.embedded
        current.embedded = number if is_reference else None
        try:
            return embed(*args, **kwargs)
        finally:
            current.embedded = embedded_before
