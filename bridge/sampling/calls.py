"""Whether a network calls what a batch of ours has put into it; where it does not, people would be lost without a word.

Another pack's copy of the host's code may pass over what stands in a slot. The host computes with the weights of some
layers without calling them. So a batch says what its sites are, and in which part of the network each is called: a
site is lost where its part has run without a call of it. A part that has not run, because a cache of another pack or a
guidance leaves it out, says nothing.

To see which parts run takes time, so it is done for the sites that no forward of the network has called yet. A forward
that does not call one of the others, as that of a cache or of a copy that begins with a later step, has it asked for
again from the next forward on. In the last one all are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from ..host.shared_network import network_within

Site = Hashable
"""Where in a network a batch has put something, by any key that is the same in all batches of a run."""

_HOST = ("comfy.", "comfy_extras.", "torch", "functools", "builtins")
_OURS = __name__.removesuffix(".bridge.sampling.calls")


class Calls:
    """Which of a batch's sites are called in a forward. In these, torch.compile sees no more than `is_traced`.

    by_site: what Batch.sites gives, once it was asked. called: the sites that were called. part_count: how often
    `count_part` was called. is_begun: whether a network was given what the batch puts in.
    is_traced: whether torch.compile has compiled a call, which is not counted then. part: that runs now, among those
    that are watched.
    """

    def __init__(self) -> None:
        self.by_site: Mapping[Site, nn.Module] | None = None
        self.called: set[Site] = set()
        self.part_count = 0
        self.is_begun = False
        self.is_traced = False
        self.part: nn.Module | None = None

    def count(self, site: Site) -> None:
        """Count a call of a site; where torch.compile traces it, note that instead."""
        if torch.compiler.is_compiling():
            self.is_traced = True
        else:
            self.called.add(site)

    def count_part(self) -> None:
        """Count a call in the part that runs now, for a batch whose sites are the parts themselves.

        Where torch.compile traces it, note that instead. Where parts are not watched, `part` is None.
        """
        if torch.compiler.is_compiling():
            self.is_traced = True
        else:
            self.part_count += 1
            self.called.add(self.part)

    def missed(self, sites: set[Site]) -> set[Site]:
        """Those of these sites that were not called.

        A part that is its own site is in `called` only where it was watched. Calls of other parts are counted without
        their names, so only their total tells: with as many calls as parts none is missed.
        """
        missed = sites - self.called
        parts = {site for site in sites if isinstance(site, nn.Module)}
        if self.part_count >= len(parts):
            missed -= parts
        return missed

    @contextmanager
    def counting(self) -> Iterator[None]:
        """A context around one forward, for which counting begins anew. It may lie in the context of another forward.

        When it closes, the count of the outer forward goes on, with the calls of this one added to it.
        """
        called_before = self.called
        part_count_before = self.part_count
        self.called = set()
        self.part_count = 0
        self.is_begun = False
        try:
            yield
        finally:
            self.called |= called_before
            self.part_count += part_count_before


class KnownCalls:
    """What a run knows of the calls in one network.

    called: sites that all forwards which should call them have called. is_compiled: whether calls cannot be counted.
    _missed: sites that were in `called` until a forward did not call them; they are asked for from then on.
    """

    def __init__(self) -> None:
        self.called: set[Site] = set()
        self.is_compiled = False
        self._missed: set[Site] = set()

    def learn(self, calls: Calls, sites: Mapping[Site, nn.Module]) -> None:
        """Learn from a forward that has run which sites to ask for: update `called` and `_missed`.

        calls: what it has called. sites: those of its batch, all of which it should have called.
        """
        of_batch = set(sites)
        # Sites that were called before are not watched, so of them it is looked here whether any was missed.
        self._missed |= calls.missed(self.called & of_batch)
        self.called |= calls.called & of_batch
        self.called -= self._missed


class Lost(NamedTuple):
    """Sites that were not called although their parts have run.

    asked: how many sites the parts that have run have in all, called or not.
    """

    sites: tuple[Site, ...]
    parts: tuple[nn.Module, ...]
    asked: int


@dataclass
class Watched:
    """A forward that is watched. lost: None where no site is lost, and until the forward has run."""

    lost: Lost | None = None


@contextmanager
def watched(
    calls: Calls, sites: Mapping[Site, nn.Module], network: nn.Module, known: KnownCalls, *, ask_all: bool
) -> Iterator[Watched]:
    """Watch one forward.

    sites: see Batch.sites. network: as the host calls it. known: of this network; it learns from the forward. ask_all:
    whether all sites are asked for, and not only those that no forward has called yet. Of a compiled network nothing is
    watched, except in the forward in which that is found out.
    """
    forward = Watched()
    if known.is_compiled:
        yield forward
        return
    asked = {site: part for site, part in sites.items() if ask_all or site not in known.called}
    known.is_compiled = bool(asked) and _is_compiled(network)  # looked for only where it matters: that takes time
    parts_to_watch = {} if known.is_compiled else asked  # no hooks in a compiled network
    with calls.counting(), _running(parts_to_watch, calls) as parts_of_run:
        yield forward
        # The forward has run, and nothing has raised.
        if not known.is_compiled:
            due = {site: part for site, part in asked.items() if part in parts_of_run}
        elif calls.called.isdisjoint(asked):
            due = asked  # it is unknown which parts have run, but where none of the sites was called, all are lost
        else:
            due = {}
        known.is_compiled |= calls.is_traced
        if calls.is_begun and not calls.is_traced:  # traced calls are not in calls.called
            forward.lost = _lost(due, calls.called)
        known.learn(calls, sites)


def _lost(due: Mapping[Site, nn.Module], called: set[Site]) -> Lost | None:
    """Those of the sites that should have been called and were not, with their parts, each once and in their order."""
    lost = {site: part for site, part in due.items() if site not in called}
    return Lost(tuple(lost), tuple(dict.fromkeys(lost.values())), asked=len(due)) if lost else None


@contextmanager
def _running(parts_by_site: Mapping[Site, nn.Module], calls: Calls) -> Iterator[set[nn.Module]]:
    """A context whose set gets every part of which any module within is called.

    A call of the part itself does not count: in the place of its own `forward` another pack's function may stand, which
    may compute nothing of the part. parts_by_site: the parts to watch, by site. calls: its `part` becomes the part that
    runs, where that part is a site itself.
    """
    parts_of_run: set[nn.Module] = set()

    def note_part(part: nn.Module, _module: nn.Module, _inputs: Any) -> None:
        parts_of_run.add(part)
        if part in parts_by_site:  # it is the site itself, see Calls.count_part
            calls.part = part

    hooks: list[Any] = []
    try:
        for part in set(parts_by_site.values()):
            # A part with no module within is seen by its own call.
            modules_within = [module for module in part.modules() if module is not part] or [part]
            hooks.extend(module.register_forward_pre_hook(partial(note_part, part)) for module in modules_within)
        yield parts_of_run
    finally:
        for hook in hooks:
            hook.remove()
        calls.part = None


def _is_compiled(network: nn.Module) -> bool:
    """Whether torch.compile has compiled a network or any module within."""
    for module in network.modules():
        if network_within(module) is not module or vars(module).get("_compiled_call_impl"):
            return True
    return False


def part_around(modules: Mapping[str, nn.Module], layer: str) -> nn.Module:
    """The part of a network in which the layer of this name is called.

    It is the layer's block, or else the module of the first name in the layer's; the whole network for a layer that
    stands alone in that. modules: of the network, by name, with "" for the network.
    """
    names = layer.split(".")
    numbers = [index for index, name in enumerate(names[:-1]) if name.isdigit()]
    # "double_blocks.3" of "double_blocks.3.img_attn.qkv", which has a number; "time_in" of "time_in.in_layer".
    length = numbers[0] + 1 if numbers else 1
    part = modules[".".join(names[:length])]
    is_alone = len(list(part.modules())) <= 2  # the part and the layer itself
    return modules[""] if is_alone else part


def code_of_others(network: nn.Module, parts: Sequence[nn.Module], options: Mapping[str, Any]) -> str:
    """The modules of code that other packs have put around or into a network, in words; "" where none is seen.

    Only the code nearest to `parts` is named: in the parts; else on the network itself; else among the patches of the
    options; else anywhere in the network. options: the transformer_options of the forward.
    """
    in_parts = (module for part in parts for module in part.modules())  # the parts, and all within them
    functions = (
        _replaced_methods(in_parts)
        or _replaced_methods([network])
        or _patches_of_others(options)
        or _replaced_methods(network.modules())
    )
    return modules_of(functions)


def _patches_of_others(options: Mapping[str, Any]) -> list[Any]:
    """The functions of other packs among the patches in transformer_options."""
    patches: list[Any] = []
    if options.get("optimized_attention_override") is not None:
        patches.append(options["optimized_attention_override"])
    for replacements in options.get("patches_replace", {}).values():
        patches.extend(replacements.values())
    for patches_of_kind in options.get("patches", {}).values():
        patches.extend(patches_of_kind)
    return [patch for patch in patches if _is_of_others(patch)]


def _replaced_methods(modules: Iterable[nn.Module]) -> list[Any]:
    """The functions of other packs in the place of the modules' methods, or of the methods of their classes."""
    methods: list[Any] = []
    for module in modules:
        # What stands in the object itself under the name of a method.
        methods.extend(value for name, value in vars(module).items() if callable(getattr(type(module), name, None)))
        for kind in type(module).__mro__:
            if kind.__module__.startswith(_HOST):
                methods.extend(value for name, value in vars(kind).items() if "forward" in name and callable(value))
    return [method for method in methods if _is_of_others(method)]


def is_ours(function: Callable[..., Any]) -> bool:
    return _module_of(function).startswith(f"{_OURS}.")


def _is_of_others(function: Callable[..., Any]) -> bool:
    return not is_ours(function) and not _module_of(function).startswith(_HOST)


def modules_of(functions: Iterable[Any]) -> str:
    """The names of the modules that functions live in, to tell the user; "" for none."""
    return ", ".join(dict.fromkeys(map(_module_of, functions)))


def _module_of(function: Any) -> str:
    """The name of the module in which a function is defined; of a partial or a method, the function that it calls."""
    while True:
        within = getattr(function, "func", None) or getattr(function, "__func__", None)  # of a partial, of a method
        if within is None:
            return getattr(function, "__module__", None) or type(function).__module__
        function = within
