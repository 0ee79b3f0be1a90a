"""Errors of ours in the middle of a step, which are raised when the step has ended.

Other packs put functions into a network for the time of their own forward. An error in the middle of it would leave
them there, for all who use the checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ...core.checks.errors import LikenessError

_REFUSALS = "likeness_refusals"
"""The key, among the model_options of a step, of the _OfStep of all runs."""


class _OfStep:
    """What waits for the end of one step. first: the first refusal in it."""

    first: LikenessError | None = None


class Refusals:
    """Those of one run. Runs nest, each wraps the step of the next, and all of them share what waits in a step."""

    def __init__(self) -> None:
        self._of_step: _OfStep | None = None  # None outside of a step

    @property
    def is_waiting(self) -> bool:
        """Whether a refusal waits for the end of this step: what is computed until then is not used."""
        return self._of_step is not None and self._of_step.first is not None

    def put_off(self, refusal: LikenessError, x: Tensor) -> Tensor:
        """Keep a refusal until the step has ended, and return zeros like x in the place of what the forward gives.

        Outside of a step it is raised at once. Only the first refusal of a step is kept.
        """
        if self._of_step is None:  # other code has called the MODEL outside of a step
            raise refusal
        self._of_step.first = self._of_step.first or refusal.with_traceback(None)
        return torch.zeros_like(x)

    def raised_after(self, step: Callable[[], list[Tensor]], model_options: dict[str, Any]) -> list[Tensor]:
        """What the forwards of a step give. Raises the refusal that any run of this sampling has put off in it.

        The innermost run ends its step first, so it raises; the others let the error through.
        """
        out: list[Tensor] = []
        with self._during_step(model_options) as of_step:
            try:
                out = step()
            except Exception as error:
                # Where a refusal waits, any other error may come of the zeros of `put_off`.
                if of_step.first is None or isinstance(error, LikenessError):
                    raise
        if of_step.first is None:
            return out
        refusal, of_step.first = of_step.first, None  # taken out, so that no run around this one raises it again
        try:
            raise refusal
        finally:
            del refusal  # else it would hold this frame, and the frame the error, until garbage is collected

    @contextmanager
    def _during_step(self, model_options: dict[str, Any]) -> Iterator[_OfStep]:
        """A context around a step with what waits for its end: that of the run around this one, or a new one."""
        step_before = self._of_step  # other code may compute a step of this run in the middle of another
        of_outer_run: _OfStep | None = model_options.get(_REFUSALS)
        self._of_step = of_outer_run or _OfStep()
        model_options[_REFUSALS] = self._of_step
        try:
            yield self._of_step
        finally:
            self._of_step = step_before
            if of_outer_run is None:
                del model_options[_REFUSALS]
