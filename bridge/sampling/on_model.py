"""What nodes of ours put on a MODEL: which kinds a run reads whenever it samples, and who writes notes then.

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
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor
from comfy.samplers import CFGGuider
from torch import Tensor

from ..host.unet import Options
from .carried import KEY
from .conditioning import Conditioning, NeverCopied, named_as_one
from .missing_people import NodeNotes, NoteSubject
from .run_notes import SamplingCall, tell_of_pictures
from .runs import Kind, Run

_WRAPPERS = comfy.patcher_extension.WrappersMP


@dataclass(frozen=True, eq=False)
class OnModel(NeverCopied):
    """What nodes of ours have put on a MODEL, for whenever it samples.

    kinds: what a run reads then. notes: what writes notes then, for an apply node each.
    """

    kinds: tuple[Kind, ...] = ()
    notes: tuple[Callable[[CFGGuider, SamplingCall], None], ...] = ()


def _on_model(model: ModelPatcher) -> OnModel:
    """What nodes of ours have put on a MODEL: the first argument of the partial that `put_on` has left there."""
    wrappers = model.get_wrappers(_WRAPPERS.OUTER_SAMPLE, KEY)
    return wrappers[0].args[0] if wrappers else OnModel()


def put_on(model: ModelPatcher, more: OnModel) -> ModelPatcher:
    """A clone of the MODEL with these beside what nodes of ours have put on it before; a kind stands there once."""
    before = _on_model(model)
    both = OnModel(tuple(dict.fromkeys((*before.kinds, *more.kinds))), (*before.notes, *more.notes))
    clone = model.clone()
    # In the place of the wrapper that stands there, so that the order among those of other packs stays.
    clone.wrappers.setdefault(_WRAPPERS.OUTER_SAMPLE, {})[KEY] = [partial(_sample, both)]
    return clone


def with_kinds(model: ModelPatcher, *kinds: Kind) -> ModelPatcher:
    """A clone of the MODEL that reads these kinds whenever it samples.

    A MODEL that reads all of them already, because another node of Likeness has made it so, is returned as it is.
    """
    return model if {*kinds} <= {*_on_model(model).kinds} else put_on(model, OnModel(kinds))


def with_kinds_and_notes(
    note_subject: NoteSubject, model: ModelPatcher, positive: Conditioning, kinds: Sequence[Kind] = ()
) -> ModelPatcher:
    """A clone of the MODEL that reads these kinds, and writes what is missing under the node when it samples.

    positive: the positive prompt as the node gives it out. Its first text is kept, see NodeNotes.
    """
    context = positive[0][0] if positive else None  # (B, T, width)
    return put_on(model, OnModel(tuple(kinds), (NodeNotes(note_subject, context).tell,)))


class RunHook(TransformerOptionsHook):
    """A hook of the host on a ControlNet: a sampling whose prompts have the net gets our wrapper at OUTER_SAMPLE."""

    def __init__(self, on_model: OnModel | None = None) -> None:  # None where the host copies it
        super().__init__({"wrappers": {_WRAPPERS.OUTER_SAMPLE: {KEY: [partial(_sample, on_model or OnModel())]}}})

    def add_hook_patches(
        self, model: ModelPatcher, model_options: Options, target_dict: dict[str, Any], registered: HookGroup
    ) -> bool:
        """Put the wrapper into the options of a sampling. The arguments are the host's.

        Not into `registered`: no entry has this hook (see get_extra_hooks of a net of ours), and beside a registered
        one the host fails at entries with hooks that are none.
        """
        return super().add_hook_patches(model, model_options, target_dict, HookGroup())


def _sample(on_model: OnModel, executor: WrapperExecutor, *args: Any, **kwargs: Any) -> Tensor:
    """The wrapper at OUTER_SAMPLE: the run begins, notes are written, the MODEL samples, and the run ends.

    The guider's options and conditioning are copies that belong to this sampling, so they are changed in place.
    """
    guider: CFGGuider = executor.class_obj
    call = SamplingCall.of_call(args, kwargs)
    options = guider.model_options["transformer_options"]
    begun: Run | None = options.get(KEY)  # by the wrapper of the MODEL, where this one comes with a ControlNet
    run = begun or _begun(guider, call.latent_image)
    tell_of_pictures(run.add_kinds(on_model.kinds, guider, call.latent_image), len(call.latent_image))
    for tell in on_model.notes:
        tell(guider, call)
    try:
        return executor(*args, **kwargs)
    finally:
        if begun is None:
            run.end()


def _begun(guider: CFGGuider, latent: Tensor) -> Run:
    """A new run, which the host calls from now on. latent: (B, C, h, w).

    The guider's entries get the run, and its options the run and its wrappers, in place.
    """
    for side in guider.conds.values():
        named_as_one(side)
    run = Run(guider, latent)
    options = guider.model_options["transformer_options"]
    options[KEY] = run
    # The host calls these after the wrappers of other packs, so they see what the network is given in the end.
    add_wrapper = comfy.patcher_extension.add_wrapper_with_key
    add_wrapper(_WRAPPERS.PREPARE_SAMPLING, KEY, run.wrap_prepare_sampling, options)
    add_wrapper(_WRAPPERS.CALC_COND_BATCH, KEY, run.wrap_calc_cond_batch, options)
    add_wrapper(_WRAPPERS.APPLY_MODEL, KEY, run.wrap_apply_model, options)
    add_wrapper(_WRAPPERS.DIFFUSION_MODEL, KEY, run.wrap_diffusion_model, options)
    return run
