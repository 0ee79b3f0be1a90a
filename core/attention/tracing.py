"""What torch.compile is not to see."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def untraced(function: FunctionT) -> FunctionT:
    """A decorator: torch.compile calls this function as it is, uncompiled.

    For what is worked out once and kept, from values that only a running forward has.
    """
    return cast("FunctionT", cast("Any", torch.compiler).disable(function))
