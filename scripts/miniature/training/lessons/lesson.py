"""What a lesson is: a loss, and which weights it trains."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...net import Miniature
from ..pool import Pool

Loss = Callable[[random.Random], Tensor]
"""The error of a batch of new examples, which a generator chooses."""


def nothing_to_prepare(model: Miniature, photos: Pool) -> None:
    """For a lesson that begins with the weights as they are."""


@dataclass(frozen=True)
class Lesson:
    """A part of the miniature, and how it is trained.

    make_loss: makes the loss of a network and the drawn photos. learns: what the names of the trained weights begin
    with. still: parts of names; weights with one of them are not trained. settled: the same, for a network that has had
    this lesson before. rate: the highest learning rate. minutes: how long it is trained from nothing, None for as long
    as the command says. prepare: what is done once before, with a network that has not had this lesson.
    """

    make_loss: Callable[[Miniature, Pool], Loss]
    learns: tuple[str, ...]
    still: tuple[str, ...] = ()
    settled: tuple[str, ...] = ()
    rate: float = 2e-3
    minutes: float | None = 5
    prepare: Callable[[Miniature, Pool], None] = nothing_to_prepare


def device_of(model: Miniature) -> torch.device:
    """Where the weights of the network are."""
    return next(model.parameters()).device
