"""What the runs of every method are held to: cancelled ones and many of them leave nothing, others change little."""

import gc
from collections.abc import Callable

import comfy.model_management
import torch
from torch import Tensor

WHOLE_SAMPLING = 5e-6
"""Of the largest latent value: what a whole sampling in float32 may differ by from the same written in other modules.
One CPU's kernels round otherwise than another's, by some 1e-6 after a few steps."""


def cancel(step: int, *_: object) -> None:
    """A sampler's callback: somebody cancels the run at its second step."""
    if step == 1:
        comfy.model_management.interrupt_current_processing()
        comfy.model_management.throw_exception_if_processing_interrupted()


def left_by(run: Callable[[], object], times: int) -> int:
    """Bytes in tensors that there are more after so many runs than after the first."""
    run()
    before = _live()
    for _ in range(times):
        run()
    return _live() - before


def _live() -> int:
    gc.collect()
    return sum(one.element_size() * one.nelement() for one in gc.get_objects() if type(one) is torch.Tensor)


def difference(picture: Tensor, reference: Tensor) -> float:
    """The largest, in parts of the largest number of the reference."""
    return ((picture - reference).abs().max() / reference.abs().max()).item()
