"""Whose code stands around and in a network beside the host's and ours, by the names of its modules, for messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import dropwhile
from traceback import walk_tb
from typing import Any

import comfy.patcher_extension
from torch import nn

_WRAPPERS = comfy.patcher_extension.WrappersMP
_HOST = ("comfy.", "comfy_extras.", "torch", "functools", "builtins")
_OURS = __name__.removesuffix(".bridge.sampling.code_of_others")


def who_stands_around(network: nn.Module, options: Mapping[str, Any], around_model: Any = None) -> str:
    """The modules of all code of other packs around and in a network, in words; "" where none is seen.

    options: the transformer_options of a forward. around_model: another pack's model_function_wrapper, or None. It is
    given all conditions of a call and hands them on, so it is named alone.
    """
    if around_model is not None:
        return modules_of([around_model])
    functions = [*_wrappers(options), *_patches(options), *_replaced_methods(network)]
    return modules_of(function for function in functions if is_of_others(function))


def _wrappers(options: Mapping[str, Any]) -> Iterable[Any]:
    for kind in (_WRAPPERS.CALC_COND_BATCH, _WRAPPERS.APPLY_MODEL, _WRAPPERS.DIFFUSION_MODEL):
        for functions in options.get("wrappers", {}).get(kind, {}).values():
            yield from functions


def _patches(options: Mapping[str, Any]) -> Iterable[Any]:
    if options.get("optimized_attention_override") is not None:
        yield options["optimized_attention_override"]
    for replacements in options.get("patches_replace", {}).values():
        yield from replacements.values()
    for patches_of_kind in options.get("patches", {}).values():
        yield from patches_of_kind


def _replaced_methods(network: nn.Module) -> Iterable[Any]:
    """What stands in the place of the modules' methods, or of the methods of their classes."""
    for module in network.modules():
        # What stands in the object itself under the name of a method.
        yield from (value for name, value in vars(module).items() if callable(getattr(type(module), name, None)))
        for kind in type(module).__mro__:
            if kind.__module__.startswith(_HOST):
                yield from (value for name, value in vars(kind).items() if "forward" in name and callable(value))


def is_ours(function: Callable[..., Any]) -> bool:
    return _module_of(function).startswith(f"{_OURS}.")


def is_of_others(function: Callable[..., Any]) -> bool:
    """Whether a function is of another pack, and not of the host or ours."""
    return not is_ours(function) and not _module_of(function).startswith(_HOST)


def is_from_ours(error: Exception) -> bool:
    """Whether an error was raised by code of ours in a layer, or by the host's that ours has called there."""
    modules = [str(frame.f_globals.get("__name__")) for frame, _ in walk_tb(error.__traceback__)]
    in_network = list(dropwhile(lambda module: not module.startswith("torch.nn."), modules))
    not_of_host = [module for module in in_network if not module.startswith(_HOST)]
    return bool(not_of_host) and not_of_host[-1].startswith(f"{_OURS}.")


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
