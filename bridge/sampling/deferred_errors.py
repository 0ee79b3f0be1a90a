"""Errors of ours in the middle of a step, which are raised when the step has ended.

Other packs put functions into a network for the time of their own forward. An error in the middle of it would leave
them there, for all who use the checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...core.checks.errors import LikenessError


class DeferredErrors:
    """The error of one run that waits for the end of a step."""

    def __init__(self) -> None:
        self._is_in_step = False
        self._first: LikenessError | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether an error waits for the end of this step: what is computed until then is not used."""
        return self._first is not None

    def put_off(self, error: LikenessError, x: Tensor) -> Tensor:
        """Keep an error until the step has ended, and return zeros like x in the place of what the forward gives.

        Outside of a step it is raised at once. Only the first error of a step is kept.
        """
        if not self._is_in_step:  # other code has called the MODEL outside of a step
            raise error
        self._first = self._first or error.with_traceback(None)
        return torch.zeros_like(x)

    def raised_after(self, step: Callable[[], list[Tensor]]) -> list[Tensor]:
        """What the forwards of a step give. Raises the error that was put off in it.

        Other code may compute a step in the middle of another: the error is raised when the inner one has ended.
        """
        was_in_step = self._is_in_step
        self._is_in_step = True
        out: list[Tensor] = []
        try:
            out = step()
        except Exception as error:
            # Where an error waits, any other may come of the zeros of `put_off`.
            if self._first is None or isinstance(error, LikenessError):
                raise
        finally:
            self._is_in_step = was_in_step
            deferred, self._first = self._first, None
        if deferred is None:
            return out
        try:
            raise deferred
        finally:
            del deferred  # else it would hold this frame, and the frame the error, until garbage is collected
