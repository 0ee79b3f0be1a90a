"""What nodes of ours put on a MODEL: the runs that begin whenever it samples, and who writes notes then.

All of it stands in one wrapper at OUTER_SAMPLE. A ControlNet of ours brings that wrapper along in a hook (RunHook), so
notes are also written where the MODEL comes from no node of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import comfy.patcher_extension
from comfy.hooks import HookGroup, TransformerOptionsHook
from comfy.model_base import BaseModel
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor
from comfy.samplers import CFGGuider
from torch import Tensor

from ..host import notes
from ..host.unet import Options
from .areas import WHOLE_LATENT, latent_size
from .conditioning import NeverCopied, RunEntry, named_as_one
from .model_conds import CarriedCond, carry_instead, entries_with, read_as_negative
from .node_of_run import NodeOfRun
from .run_notes import WORDS, Start, note_on_words, tell_of_start
from .runs import Run

_WRAPPERS = comfy.patcher_extension.WrappersMP
_KEY = "likeness"
"""The key of our wrappers among the wrappers of a MODEL."""


@dataclass(frozen=True, eq=False)
class OnModel(NeverCopied):
    """What nodes of ours have put on a MODEL, for whenever it samples.

    runs: the classes of the runs that begin then. notes: what writes notes then, for an apply node each.
    """

    runs: tuple[type[Run[Any]], ...] = ()
    notes: tuple[Callable[[CFGGuider, Start], None], ...] = ()


def _on_model(model: ModelPatcher) -> OnModel:
    """What nodes of ours have put on a MODEL: the first argument of the partial that `put_on` has left there."""
    wrappers = model.get_wrappers(_WRAPPERS.OUTER_SAMPLE, _KEY)
    return wrappers[0].args[0] if wrappers else OnModel()


def put_on(model: ModelPatcher, more: OnModel) -> ModelPatcher:
    """A clone of the MODEL with these beside what nodes of ours have put on it before."""
    before = _on_model(model)
    both = OnModel((*before.runs, *more.runs), (*before.notes, *more.notes))
    clone = model.clone()
    # In the place of the wrapper that stands there, so that the order among those of other packs stays.
    clone.wrappers.setdefault(_WRAPPERS.OUTER_SAMPLE, {})[_KEY] = [partial(_sample, both)]
    return clone


def with_runs(model: ModelPatcher, *run_classes: type[Run[Any]]) -> ModelPatcher:
    """A clone of the MODEL that begins a run of each of these classes whenever it samples.

    A MODEL that begins all of them already, because another node of Likeness has made it so, is returned as it is.
    """
    keys_before = [run_class.key for run_class in _on_model(model).runs]
    missing = tuple(run_class for run_class in run_classes if run_class.key not in keys_before)
    return put_on(model, OnModel(runs=missing)) if missing else model


class RunHook(TransformerOptionsHook):
    """A hook of the host on a ControlNet: a sampling whose prompts have the net gets our wrapper at OUTER_SAMPLE."""

    def __init__(self, on_model: OnModel | None = None) -> None:  # None where the host copies it
        super().__init__({"wrappers": {_WRAPPERS.OUTER_SAMPLE: {_KEY: [partial(_sample, on_model or OnModel())]}}})

    def add_hook_patches(
        self, model: ModelPatcher, model_options: Options, target_dict: dict[str, Any], registered: HookGroup
    ) -> bool:
        """Put the wrapper into the options of a sampling. The arguments are the host's.

        Not into `registered`: no entry has this hook (see get_extra_hooks of a net of ours), and beside a registered
        one the host fails at entries with hooks that are none.
        """
        return super().add_hook_patches(model, model_options, target_dict, HookGroup())


def _sample(on_model: OnModel, executor: WrapperExecutor, *args: Any, **kwargs: Any) -> Tensor:
    """The wrapper at OUTER_SAMPLE: the runs begin, notes are written, the MODEL samples, and the runs end.

    The guider's options and conditioning are copies that belong to this sampling, so they are changed in place.
    """
    guider: CFGGuider = executor.class_obj
    start = Start.of_call(args, kwargs)
    for side in guider.conds.values():
        named_as_one(side)
    options = guider.model_options["transformer_options"]
    comfy.patcher_extension.add_wrapper_with_key(_WRAPPERS.CALC_COND_BATCH, _KEY, _note_latent, options)
    runs = [_begun(run_class, guider, start) for run_class in on_model.runs]
    tell_of_start([carried for run in runs for carried in run.everything], guider, start)
    for tell in on_model.notes:
        tell(guider, start)
    try:
        return executor(*args, **kwargs)
    finally:
        for run in runs:
            run.after_run()


def _note_latent(
    executor: WrapperExecutor,
    model: BaseModel,
    conds: Any,
    x_in: Tensor,
    timestep: Tensor,
    model_options: dict[str, Any],
) -> list[Tensor]:
    """The wrapper at CALC_COND_BATCH, around all forwards of one step: they learn the size of what is denoised.

    It is asked for at each step, because a sampler may enlarge the latent. The arguments are the host's.
    """
    model_options["transformer_options"][WHOLE_LATENT] = latent_size(x_in)
    return executor(model, conds, x_in, timestep, model_options)


def _begun(run_class: type[Run[Any]], guider: CFGGuider, start: Start) -> Run[Any]:
    """A new run, which the host calls from now on.

    The guider's entries and options are changed in place. What entries carry is brought up to date first, because the
    run looks at it when it is made. Then these entries get the run, and the options its wrappers.
    """
    read_as_negative(guider, run_class.key)
    _bring_up_to_date(entries_with(guider, run_class.key), run_class.key)
    run = run_class(guider, start.latent_image)
    for entry in entries_with(guider, run.key):
        carry_instead(entry, run.key, run.carried_by(entry), run)
    options = guider.model_options["transformer_options"]
    options[run.key] = run
    # The host calls these after the wrappers of other packs, so they see what the UNet is given in the end.
    add_wrapper = comfy.patcher_extension.add_wrapper_with_key
    add_wrapper(_WRAPPERS.PREPARE_SAMPLING, run.key, run.wrap_prepare_sampling, options)
    add_wrapper(_WRAPPERS.CALC_COND_BATCH, run.key, run.wrap_calc_cond_batch, options)
    add_wrapper(_WRAPPERS.APPLY_MODEL, run.key, run.wrap_apply_model, options)
    add_wrapper(_WRAPPERS.DIFFUSION_MODEL, run.key, run.wrap_diffusion_model, options)
    return run


def _bring_up_to_date(entries: Sequence[RunEntry], key: str) -> None:
    """Another node may have scaled an entry's text by a factor since. Scale what the entry carries under `key` alike.

    The entries are changed in place. Notes about words of people that no longer fit a text are written, too, see
    note_on_words.
    """
    notes_of_nodes: dict[NodeOfRun, str] = {}
    for entry in entries:
        cond: CarriedCond = entry["model_conds"][key]
        text: Tensor | None = entry.get("cross_attn")
        if cond.text is None or text is None:  # cond.text: the entry's text when our node put the CarriedCond beside it
            continue
        for item in cond.cond:
            if item.words_note_node is not None:  # the first entry with a note counts
                before = notes_of_nodes.get(item.words_note_node, "")
                notes_of_nodes[item.words_note_node] = before or note_on_words(item, cond.text, text)
        carry_instead(entry, key, cond.scaled_as(text))
    for node, note in notes_of_nodes.items():
        notes.tell_of_run(node.node_id, WORDS, note)
