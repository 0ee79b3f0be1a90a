"""How something is added to what a layer gives, without a change to its weights: a hook in the layer's `forward`.

Hooks stand in the layers while a forward of the network runs, and are taken out when it has run or has raised. What
other packs put into a layer, before or in the middle of a forward, stays what they have put there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ...core.attention.spans import NO_TOKENS, Tokens
from ..host.unet import Grid
from ..sampling.current_forward import current


class Forward:
    """What one forward of a UNet or transformer knows, in one thread, while its network is called.

    mark: of what is added to the layers.
    tokens: of a transformer, those that its layers are given.
    grids: of a UNet, (height, width) of the pixels that a block has in this forward, once its first convolution ran.
    text_people: of a UNet, the people with whose LoRAs keys and values of the text are made while `call_with_text_of`
    runs; empty at any other time.
    weights: weights of these tokens that torch.compile has worked out in this forward, by their key.
    """

    def __init__(self, mark: object) -> None:
        self.mark = mark
        self.tokens = NO_TOKENS
        self.grids: dict[tuple[str, int], Grid] = {}
        self.text_people: tuple[Any, ...] = ()
        self.weights: dict[Any, Tensor] = {}

    def begin_tokens(self, tokens: Tokens) -> None:
        """From now on layers are given these tokens."""
        if tokens is not self.tokens:
            self.tokens = tokens
            self.weights = {}

    def call_with_text_of(self, people: tuple[Any, ...], attention: Callable[[], Tensor]) -> Tensor:
        """Call another pack's attention, and return its output. Meanwhile `text_people` is `people`.

        Such a function may call to_k and to_v of the layer itself, with nothing but their input. The hooks in these
        read from `text_people` with whose LoRAs keys and values of the text are to be made. people: a PersonOfNode for
        each, see text_readings.py.
        """
        people_before = self.text_people  # of a call of this method around this one, else ()
        self.text_people = people
        try:
            return attention()
        finally:
            self.text_people = people_before


@dataclass(frozen=True, eq=False)
class LayerAddition:
    """What is added in one layer by what has this mark, for a subclass to say. It stands in the layer's LayerHook.

    Nothing has to be looked up by the layer's name then, so that what torch.compile makes of one block serves them all.
    mark: by it forwards find their additions, without these and their batch holding each other.
    """

    mark: object

    def output(self, forward: Forward, hook: LayerHook, x: Tensor, out: Tensor) -> Tensor:
        """The sum of `out`, which the layer gives for the input x, and of what is added to it. The hook calls this."""
        raise NotImplementedError


def begin_additions(mark: object) -> None:
    """From now on the hooks of this thread add what has this mark, until the network has been called."""
    current.additions = Forward(mark)


def current_additions() -> Forward:
    """The forward that is on in this thread, for what is called by a layer."""
    assert current.additions is not None, "a layer was called outside of a forward"
    return current.additions


class LayerHook:
    """It stands in a layer's `forward` while forwards of one run go through the layer, and adds to what it gives.

    torch calls a module by the `forward` of its class, or by a function in the module's own `__dict__` where somebody
    has put one. A LayerHook puts itself there. It is none of `register_forward_hook`: a block that torch.compile has
    compiled before goes on without such a hook, as its guards do not look at them.

    module: the layer. standing: what was there before, without hooks of ours that have ended; None where nothing was.
    layer: what the layer does without us, which is `standing` or else the method of the class. makes_new: whether
    nobody else holds the tensor that the layer gives, so that it may be written into. torch's and the host's layers
    give a new tensor; what a function of another pack gives may be held by that pack, so it counts as held.
    layer_additions: what is added here by each of those that said so to `LayerHooks.standing_in`.

    A pack that puts a function around this one in the middle of a forward keeps it, and the hook stays in between:
    once `ended`, it hands on what comes and holds nothing of the run.
    """

    def __init__(self, name: str, module: nn.Module) -> None:
        self.ended = False
        self.name = name
        self.module = module
        # First the layer is made what it is without us: hooks of ours that have ended are taken out, and a function of
        # another pack stays. Then `layer` is read, and the hook is put in front of it.
        self.standing: Any = _without_ended(vars(module).get("forward"))
        _put_back(module, self.standing)
        self.makes_new = self.standing is None
        self.layer_additions: tuple[LayerAddition, ...] = ()
        self.layer = module.forward  # `standing`, or else the method of the class
        module.forward = self.forward

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The output of the layer for x, with what the forward of this thread adds to it."""
        out = self.layer(x, *args, **kwargs)
        forward: Forward | None = current.additions
        # Nothing is added where this thread has no forward, or one of another run or network, nor once this hook has
        # ended: then no addition of the forward stands here.
        if forward is None:
            return out
        for addition in self.layer_additions:
            if addition.mark is forward.mark:
                return addition.output(forward, self, x, out)
        return out

    def end(self) -> None:
        """Let the hook add nothing any more. Whoever still calls it gets what the layer gives."""
        self.ended = True
        self.layer_additions = ()

    def take_out(self, module: nn.Module) -> None:
        """Make the layer of this hook, `module`, what it was before us.

        Where another pack's function stands there now, nothing is changed: that function may call this LayerHook.
        """
        # A bound method is a new object whenever it is read, so the hook behind it is compared.
        if getattr(vars(module).get("forward"), "__self__", None) is self:
            _put_back(module, _without_ended(self.standing))


def _put_back(module: nn.Module, function: Any) -> None:
    """Put this function in the place of a module's `forward`. None: the method of the class counts again."""
    if function is None:
        vars(module).pop("forward", None)
    else:
        vars(module)["forward"] = function


def _without_ended(function: Any) -> Any:
    """What stands in a layer, `function`, or what is behind it where it is an ended hook of ours; None for nothing.

    Another pack that has met a hook of ours in the middle of a forward may put that hook back when it has ended.
    """
    while True:
        hook = getattr(function, "__self__", None)
        if not (isinstance(hook, LayerHook) and hook.ended):
            return function
        function = hook.standing


class LayerHooks:
    """The hooks in the layers of one network. It lives as long as the run.

    modules: of the network, by name. by_name: the hooks that stand in a layer now, by the name of the layer.
    """

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        self.modules = modules
        self.by_name: dict[str, LayerHook] = {}
        self._forwards = 0  # how many are in `standing_in` now
        self._lock = threading.Lock()

    @contextmanager
    def standing_in(self, additions: Mapping[str, LayerAddition]) -> Iterator[None]:
        """While it is open, hooks stand in the layers of these names, with the additions of this forward.

        Several forwards of one network may overlap, in threads. A hook that stands there already serves all of them;
        the last forward takes all hooks out, and any other only its own additions. Hooks do not stay for the run, so
        that what another pack puts into a layer between two forwards, or takes away, meets nothing of ours.
        """
        try:
            with self._lock:
                self._forwards += 1
                self._put_in(additions)
            yield
        finally:
            with self._lock:
                self._forwards -= 1
                if not self._forwards:
                    self._take_out()
                else:
                    self._take_additions_out(additions)

    def _put_in(self, additions: Mapping[str, LayerAddition]) -> None:
        """Put hooks into the layers that have none, and the additions into all of these layers' hooks."""
        for name, addition in additions.items():
            if name not in self.by_name:
                self.by_name[name] = LayerHook(name, self.modules[name])
            hook = self.by_name[name]
            hook.layer_additions = (*hook.layer_additions, addition)

    def _take_additions_out(self, additions: Mapping[str, LayerAddition]) -> None:
        """Take additions out of hooks that other forwards still need. additions: by name of the layer."""
        for name, addition in additions.items():
            hook = self.by_name.get(name)
            if hook is None or addition not in hook.layer_additions:
                continue
            # A new tuple: another thread may be looking through the old one.
            remaining = list(hook.layer_additions)
            remaining.remove(addition)  # once: an overlapping forward may have put the same one there
            hook.layer_additions = tuple(remaining)

    def _take_out(self) -> None:
        """Take all hooks out of the layers, and end them."""
        for name, hook in self.by_name.items():
            hook.take_out(self.modules[name])
            hook.end()
        self.by_name = {}

    def clear(self) -> None:
        """Take out every ended hook that another pack has put back into a layer. Called at the end of a run."""
        for module in self.modules.values():
            standing = vars(module).get("forward")
            without_ended = _without_ended(standing)
            if without_ended is not standing:
                _put_back(module, without_ended)
