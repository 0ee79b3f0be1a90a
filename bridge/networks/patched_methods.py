"""What stands in a network while a forward runs: functions in the place of its own methods.

This and loras/layer_hooks.py are all that writes into the host's modules. For everything else its API has a place:
wrappers, attn2 replacements, post_input patches and optimized_attention_override. It has none here:

| where | the method | what for |
|---|---|---|
| Chroma | forward_orig | how many tokens its blocks are given; the other families call post_input patches |
| Anima | forward of each cross_attn | which attention reads the text: numbers of tokens do not tell |
| Krea 2, Z-Image | forward of txtfusion, embed_all | words are put behind the common text |
| Krea 2, Z-Image | forward of each refiner of texts | which attention is a refiner's: numbers of tokens do not tell |
| parts for which a file asks for an attention | forward | beside an override of attention the host forgets it |

It is done for each forward, and no object patch of the MODEL (add_object_patch). The host puts those in when it loads
the MODEL and leaves them in the network that all clones share until it loads another one. Of two nodes that patch one
method it keeps the last alone, and when it takes a patch out, what another pack has put there since is gone, and the
method of the class stands in the object from then on.
"""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any

from torch import Tensor, nn

from ..host.unet import Options, with_patch
from ..sampling.watch import Calls
from .transformer_families import TransformerFamily

TEXT_READER = "likeness_text_reader"
"""A key among transformer_options inside of a text_reader alone."""
REFINER = "likeness_refiner"
"""A key among transformer_options inside of a refiner of texts alone."""


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

        calls: counts the calls of the function, with this object as their key; None for no count.
        """
        attributes = vars(self.module)  # written to as a dict, past nn.Module.__setattr__
        attribute_before = attributes.get(self._method)  # what another patch has put there; None for the class's method
        method: Callable[..., Any] = getattr(self.module, self._method)
        attributes[self._method] = _CallInFront(self, self._function, method, attribute_before, calls).call
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

    standing: what was in the module itself before; None where that was the method of the class.
    """

    def __init__(
        self,
        key: Hashable,
        function: Callable[..., Any],
        method: Callable[..., Any],
        standing: Any,
        calls: Calls | None,
    ) -> None:
        self._key = key
        self._function = function
        self._replaced = method
        self.standing = standing
        self._calls = calls

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """What the function gives, with the method in front of these arguments; the call is counted."""
        if self._calls is not None:
            self._calls.count(self._key)
        return self._function(self._replaced, *args, **kwargs)


InputPatch = Callable[[Options], Options]
"""What is called with all that the blocks are given, before them, and gives it back, changed or not: the host's names
are `img`, the picture with its references, `txt`, all texts, (B, tokens, ...), and `txt_ids`, the positions of the
texts, (B, tokens, axes). Also there: `transformer_options` of the forward."""


def with_input_patch(options: Options, family: TransformerFamily, patch: InputPatch) -> Options:
    """A copy of transformer_options with an InputPatch, where the network itself calls such patches (post_input)."""
    return with_patch(options, "post_input", patch) if family.calls_post_input else options


def patched_inputs(network: nn.Module, family: TransformerFamily, patch: InputPatch) -> list[PatchedMethod]:
    """PatchedMethods that call an InputPatch by the family's inputs_method; [] without one."""
    if not family.inputs_method:
        return []
    return [PatchedMethod(network, family.inputs_method, _InputsInFront(network, family, patch).call_blocks)]


class _InputsInFront:
    """An InputPatch in front of the network's method that is given all that the blocks read."""

    def __init__(self, network: nn.Module, family: TransformerFamily, patch: InputPatch) -> None:
        self._patch = patch
        # The names of the method's arguments, read from the class: on the network itself another function may stand in
        # its place.
        _self, *self._names = signature(getattr(type(network), family.inputs_method)).parameters

    def call_blocks(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What the method gives with what the patch has made of its arguments."""
        # All arguments by name: `args` are the first of them, and the others have come by name.
        return method(**self._patch({**dict(zip(self._names, args, strict=False)), **kwargs}))


def patched_text_readers(network: nn.Module, family: TransformerFamily) -> list[PatchedMethod]:
    """PatchedMethods, one for each text_reader, that put TEXT_READER into the transformer_options of its attention.

    A text_reader is the module in which the picture reads the text, in families where they are not one sequence.
    """
    if not family.text_reader:
        return []
    patched: list[PatchedMethod] = []
    for path in family.blocks:
        for block in network.get_submodule(path).children():
            reader = block.get_submodule(family.text_reader)
            patched.append(PatchedMethod(reader, "forward", WithOption(TEXT_READER, True).call_module))
    return patched


class WithOption:
    """One more entry for the transformer_options with which a module is called, a keyword argument of the host."""

    def __init__(self, key: str, value: object) -> None:
        self._key = key
        self._value = value

    def call_module(self, module: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """What a module gives when it is called with this entry among its transformer_options."""
        options = {**kwargs.get("transformer_options", {}), self._key: self._value}
        return module(*args, **{**kwargs, "transformer_options": options})
