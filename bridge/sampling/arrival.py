"""Whether what a run has put into conditioning and network is read; where code of others loses it, an error names them.

Three things can be lost on the way: whole rows, which never come to the MODEL (`Arrival.watched_step`); what a batch
has put into the network, which a copy of the host's code passes over (`Arrival.watched_forward`, see calls.py); and, in
bridge/sampling/runs.py, rows or sizes that no longer fit each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import comfy.patcher_extension
from comfy.model_base import BaseModel
from torch import nn

from ..host.shared_network import network_within
from ..host.unet import Options, modules_of_unet
from .calls import KnownCalls, Lost, Watched, code_of_others, is_ours, modules_of, watched
from .forward import Batch, ForwardInput
from .model_conds import ConditioningLost, LayersPassedOver

_WRAPPERS = comfy.patcher_extension.WrappersMP


class Arrival:
    """What one run knows of the way from the conditioning to the network.

    rows_sent: whether the host was given rows with people. rows_arrived: whether any rows have come to the MODEL.
    code_around_model: the modules of the functions that other packs have put around the MODEL, for messages.
    """

    def __init__(self) -> None:
        self.rows_sent = False
        self.rows_arrived = False
        self.code_around_model = ""
        self._modules: dict[nn.Module, Mapping[str, nn.Module]] = {}
        """By network, see `modules_in`."""
        self._known_calls: dict[nn.Module, KnownCalls] = {}
        """By network."""

    def modules_in(self, network: nn.Module) -> Mapping[str, nn.Module]:
        """The modules of a network by the MODEL's names, as they stood when its first step began.

        Functions of other packs around the MODEL put blocks of their own into it for the time of a forward, and call
        these modules within.
        """
        if network not in self._modules:
            self._modules[network] = modules_of_unet(network)
        return self._modules[network]

    @contextmanager
    def watched_step(self, model: BaseModel, model_options: Mapping[str, Any]) -> Iterator[None]:
        """A context around all forwards of one step. Raises ConditioningLost where the network ran without our rows.

        Every step is watched until rows have come to the MODEL, because a cache of another pack may leave out the first
        ones.
        """
        self.code_around_model = _modules_around(model_options)
        # Kept now: in the step, functions of other packs may put blocks of their own into the network.
        self.modules_in(network_within(model.diffusion_model))
        if self.rows_arrived:
            yield
            return
        with _calls_of(model.diffusion_model) as calls:
            yield
        if calls and self.rows_sent and not self.rows_arrived:
            # Code around the MODEL comes first here: rows get lost there, before they come to the network.
            module = self.code_around_model or self._code_of_others(model, model_options["transformer_options"])
            why = "drops conditions that it does not know, or makes transformer_options of its own"
            raise ConditioningLost(module, why)

    def watched_forward(
        self, batch: Batch, forward_input: ForwardInput, *, ask_all: bool
    ) -> AbstractContextManager[Watched]:
        """A context around one forward of the network, see calls.watched."""
        network = network_within(forward_input.model.diffusion_model)
        if batch.calls.by_site is None:
            batch.calls.by_site = batch.sites(self.modules_in(network))
        known = self._known_calls.setdefault(network, KnownCalls())
        return watched(batch.calls, batch.calls.by_site, forward_input.model.diffusion_model, known, ask_all=ask_all)

    def error_about(self, lost: Lost, forward_input: ForwardInput) -> ConditioningLost:
        """The error about sites that were not called: LayersPassedOver where all of them are layers."""
        module = self._code_of_others(forward_input.model, forward_input.options, lost.parts)
        layers = [site for site in lost.sites if isinstance(site, str)]  # see Batch.sites
        if len(layers) == len(lost.sites):
            return LayersPassedOver(module, layers, by_host=not module)  # no code of others: the host itself does it
        why = f"passes over {len(lost.sites)} of the {lost.asked} places in the network where people act"
        return ConditioningLost(module, f"{why}, as a copy of ComfyUI's code without transformer_options does")

    def error_around_model(self, why: str) -> ConditioningLost:
        """The error about functions around the MODEL. why: what they do, see ConditioningLost."""
        return ConditioningLost(self.code_around_model, why)

    def with_module(self, error: ConditioningLost, forward_input: ForwardInput) -> ConditioningLost:
        """An error that names no code yet, with the code of others that may have caused it; any other as it is."""
        # A LayersPassedOver knows already who does it, see `error_about`.
        if error.module or isinstance(error, LayersPassedOver):
            return error
        return ConditioningLost(self._code_of_others(forward_input.model, forward_input.options), error.why)

    def _code_of_others(self, model: BaseModel, options: Options, parts: Sequence[nn.Module] = ()) -> str:
        """Modules of other packs' code that may have dropped or changed what we carry, for messages; "" for none seen.

        Those nearest to `parts` are named alone. Those around the MODEL are named where none is seen in the network.
        options: transformer_options. parts: of the network, where the loss was noticed; () where that is unknown.
        """
        return code_of_others(network_within(model.diffusion_model), parts, options) or self.code_around_model


@contextmanager
def _calls_of(network: nn.Module) -> Iterator[list[nn.Module]]:
    """A context whose list gets the network at each call; of a compiled one, whose calls cannot be seen, at once."""
    if network_within(network) is not network:  # it is compiled
        yield [network]
        return
    calls: list[nn.Module] = []
    hook = network.register_forward_pre_hook(lambda module, _: calls.append(module))
    try:
        yield calls
    finally:
        hook.remove()


def _modules_around(model_options: Mapping[str, Any]) -> str:
    """The modules of the functions that other packs have put around the MODEL, in words."""
    # It is given all conditions of a call and hands them on, so it is named alone.
    if "model_function_wrapper" in model_options:
        return modules_of([model_options["model_function_wrapper"]])
    wrappers = model_options["transformer_options"]["wrappers"]
    functions_of_others: list[Any] = []
    for kind in (_WRAPPERS.CALC_COND_BATCH, _WRAPPERS.APPLY_MODEL, _WRAPPERS.DIFFUSION_MODEL):
        for functions in wrappers.get(kind, {}).values():
            functions_of_others.extend(function for function in functions if not is_ours(function))
    return modules_of(functions_of_others)
