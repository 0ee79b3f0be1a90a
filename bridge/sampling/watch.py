"""Whether a network calls what was put into it; where code of others passes over it, an error names who stands around.

Two things can be lost in a step: rows with people, which do not come to the MODEL, and what a batch has put into a
layer. A copy of the host's code may leave out what stands in a layer, and a kernel that joins layers computes with
their weights without calling them. So what was put in is counted, and what was called.

A layer around which nothing has run says nothing: a cache of another pack, or a guidance, may leave out blocks. To see
what has run takes time (hooks in the modules), so that is done in the first forward of a batch, behind a forward that
has not called all, and in the last step. What is found is raised when the step has ended, see deferred_errors.py.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from comfy.model_base import BaseModel
from torch import nn

from ..host.shared_network import network_within
from ..host.unet import Options, modules_of_network
from .carried import ConditioningLost
from .code_of_others import who_stands_around

DueCalls = Mapping[Hashable, nn.Module]
"""What a batch has put into a network: by the key under which its calls are counted, the module that calls it. What
does not know in which layer it is called has that module itself as its key."""


class Calls:
    """The calls of what one batch has put into a network. In these, torch.compile sees no more than `is_traced`.

    due_calls: None before the first forward. called: the keys that were called. is_begun: whether the network was given
    what the batch puts in. is_traced: whether torch.compile has compiled a call, which is not counted then.
    is_complete: whether the last forward has called all. running: the key of the layer that runs now, in a forward
    that is watched.
    """

    def __init__(self) -> None:
        self.due_calls: DueCalls | None = None
        self.called: set[Hashable] = set()
        self.is_begun = False
        self.is_traced = False
        self.is_complete = False
        self.running: Hashable = None

    def count(self, key: Hashable = None) -> None:
        """Count a call. key: None for a function that does not know in which layer it is called."""
        if torch.compiler.is_compiling():
            self.is_traced = True
        elif key is not None:
            self.called.add(key)
        else:  # in a forward that is not watched, the number of calls has to do
            self.called.add(len(self.called) if self.running is None else self.running)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """A context around one forward, for which counting begins anew.

        It may lie in the context of another forward, whose count goes on with these calls added.
        """
        called_before = self.called
        self.called = set()
        self.is_begun = False
        try:
            yield
        finally:
            self.called |= called_before


class Watch:
    """What one run knows of the way from the conditioning to the layers.

    rows_sent: whether the host was given rows with people. rows_arrived: whether any rows have come to the MODEL.
    """

    def __init__(self) -> None:
        self.rows_sent = False
        self.rows_arrived = False
        self._around_model: Any = None
        """Another pack's model_function_wrapper, of the step that is on; None where there is none."""
        self._modules: dict[nn.Module, Mapping[str, nn.Module]] = {}
        """By network, see `modules_in`."""

    def modules_in(self, network: nn.Module) -> Mapping[str, nn.Module]:
        """The modules of a network by the MODEL's names, as they stood when its first step began.

        Functions of other packs around the MODEL put blocks of their own into it for the time of a forward, and call
        these modules within.
        """
        if network not in self._modules:
            self._modules[network] = modules_of_network(network)
        return self._modules[network]

    def named(self, error: ConditioningLost, model: BaseModel, options: Options) -> ConditioningLost:
        """An error that names no code yet, with the names of who stands around; any other as it is.

        options: the transformer_options of the forward.
        """
        if error.module:
            return error
        network = network_within(model.diffusion_model)
        return ConditioningLost(who_stands_around(network, options, self._around_model), error.why)

    @contextmanager
    def step(self, model: BaseModel, model_options: Mapping[str, Any]) -> Iterator[None]:
        """A context around all forwards of one step. Raises ConditioningLost where the network ran without our rows.

        That is asked until rows have come to the MODEL, because a cache of another pack may leave out the first steps.
        """
        self._around_model = model_options.get("model_function_wrapper")
        network = network_within(model.diffusion_model)
        self.modules_in(network)  # kept now: in the step, others may put blocks of their own into the network
        if self.rows_arrived:
            yield
            return
        # The calls of a compiled network cannot be seen: it counts as called.
        calls: list[nn.Module] = [] if network is model.diffusion_model else [network]
        hook = network.register_forward_pre_hook(lambda module, _: calls.append(module))
        try:
            yield
        finally:
            hook.remove()
        if calls and self.rows_sent and not self.rows_arrived:
            why = "drops conditions that it does not know, or makes transformer_options of its own"
            raise self.named(ConditioningLost("", why), model, model_options["transformer_options"])

    @contextmanager
    def forward(self, calls: Calls, due_calls: DueCalls, network: nn.Module, *, is_last: bool) -> Iterator[None]:
        """A context around one forward of a network. Raises ConditioningLost where layers are passed over.

        calls, due_calls: of its batch. network: as the host calls it. is_last: whether no later forward may come, which
        could clear up a doubt.
        """
        is_watched = is_last or not calls.is_complete
        is_compiled = is_watched and _is_compiled(network)
        modules = self.modules_in(network_within(network)) if is_watched else {}
        names = {module: name for name, module in modules.items()}
        surroundings = {key: _around(module, names, modules) for key, module in due_calls.items()} if is_watched else {}
        # No hooks in a compiled network.
        with calls.counting(), _running({} if is_compiled else surroundings, calls) as has_run:
            yield
            calls.is_complete = is_compiled or calls.is_traced or len(calls.called) >= len(due_calls)
            if not is_watched or not calls.is_begun or calls.is_traced:  # traced calls are not in calls.called
                return
            due = [key for key in due_calls if surroundings[key] in has_run]
            if is_compiled and not calls.called:  # it is unknown what has run, but here nothing was called
                due = [*due_calls]
            lost = [key for key in due if key not in calls.called]
            if lost:
                example = names.get(due_calls[lost[0]]) or "the network itself"
                why = f"passes over {len(lost)} of the {len(due)} layers in which people act, such as {example}"
                raise ConditioningLost("", why)


def _around(module: nn.Module, names: Mapping[nn.Module, str], modules: Mapping[str, nn.Module]) -> nn.Module:
    """In what something has to run, so that a call of this module is due.

    A module with others within stands for itself. A single layer stands in a block, or in the module of the first name
    in its own, else in the whole network. names, modules: of the network, by module and by name, with "" for the
    network.
    """
    if next(module.children(), None) is not None:
        return module
    path = names[module].split(".")
    numbers = [index for index, name in enumerate(path[:-1]) if name.isdigit()]
    # "double_blocks.3" of "double_blocks.3.img_attn.qkv", which has a number; "time_in" of "time_in.in_layer".
    length = numbers[0] + 1 if numbers else 1
    around = modules[".".join(path[:length])]
    is_alone = len(list(around.modules())) <= 2  # the part and the layer itself
    return modules[""] if is_alone else around


@contextmanager
def _running(surroundings: Mapping[Hashable, nn.Module], calls: Calls) -> Iterator[set[nn.Module]]:
    """A context whose set gets all of these modules within which any module is called.

    A call of the module itself does not count: in the place of its own `forward` another pack's function may stand,
    which may compute nothing. surroundings: by key. calls: its `running` becomes the module that runs, where that is a
    key itself.
    """
    has_run: set[nn.Module] = set()

    def note(around: nn.Module, _module: nn.Module, _inputs: Any) -> None:
        has_run.add(around)
        if around in surroundings:
            calls.running = around

    hooks: list[Any] = []
    try:
        for around in set(surroundings.values()):
            within = [module for module in around.modules() if module is not around]
            hooks.extend(module.register_forward_pre_hook(partial(note, around)) for module in within)
        yield has_run
    finally:
        for hook in hooks:
            hook.remove()
        calls.running = None


def _is_compiled(network: nn.Module) -> bool:
    """Whether torch.compile has compiled a network or any module within."""
    for module in network.modules():
        if network_within(module) is not module or vars(module).get("_compiled_call_impl"):
            return True
    return False
