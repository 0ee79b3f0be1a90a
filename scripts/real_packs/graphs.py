"""Our nodes and another pack's on a small SDXL or SD1.5: in both orders, and what each of them adds to the picture."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from bench import unets
from bench.figures import Applied
from bench.unets import Family, Networks
from torch import Tensor

from .names import ON_SD15

STEPS = 4
PEOPLE = 2
VISIBLE = 1e-4
"""A change of a picture, relative to it, that is no rounding: float32 changes these pictures by 1e-6."""
ROUNDING = 2e-5
"""What the order of sums in float32 may change, relative to the picture."""


@dataclass(frozen=True)
class Result:
    """What was looked at, and whether it is as the pages say.

    check: in words. method: which of ours was run, by its name in bench.unets; empty where it is
    about none. amounts: what was measured, relative to the picture, each with the words in front of it. figure: what
    else came out. detail: more than that, such as the text of an error.
    """

    check: str
    held: bool
    method: str = ""
    amounts: Mapping[str, float] = field(default_factory=dict[str, float])
    figure: str = ""
    detail: str = ""


@dataclass
class WithPrompts(Networks):
    """Networks whose prompts another node has made. prompts: "positive" and "negative"."""

    prompts: Mapping[str, Any] = field(default_factory=dict)

    def sides(self, tokens: int = 77) -> dict[str, Any]:
        return dict(self.prompts)


_family: ContextVar[Family] = ContextVar("family", default=unets.SDXL)


@contextmanager
def family_of(name: str) -> Iterator[None]:
    """While it is open, everything runs on the networks that one of our methods is for."""
    token = _family.set(unets.SD15 if name in ON_SD15 else unets.SDXL)
    try:
        yield
    finally:
        _family.reset(token)


def networks() -> Networks:
    """A small UNet with random weights in float32, as deep as published, and a ControlNet."""
    return _networks(_family.get())


@cache
def _networks(family: Family) -> Networks:
    return unets.for_timing(unets.tiny(family), torch.float32)


def plain() -> Applied:
    """The MODEL and prompts without anybody's nodes."""
    return networks().plain()


def behind(applied: Applied) -> WithPrompts:
    """What a node of ours is connected to that comes after others."""
    on = networks()
    prompts = {"positive": applied.positive, "negative": applied.negative}
    return WithPrompts(on.family, applied.model, on.net, on.size, on.files, prompts)


def with_ours(name: str, applied: Applied) -> Applied:
    """What one of our methods gives behind these nodes."""
    return unets.ON_UNETS[name].apply(behind(applied), PEOPLE)


def picture(applied: Applied) -> Tensor:
    """The latent after some steps with CFG."""
    return networks().sampled(applied, STEPS)


@cache
def ours_alone(name: str) -> Tensor:
    with family_of(name):
        return picture(with_ours(name, plain()))


def digest(latent: Tensor) -> str:
    """The same for pictures that are equal to the bit."""
    return hashlib.sha256(latent.contiguous().numpy().tobytes()).hexdigest()[:16]


def relative(latent: Tensor, other: Tensor) -> float:
    """The largest difference, relative to the largest value of the other."""
    return float((latent - other).abs().max() / other.abs().max())


Theirs = Callable[[Applied], Applied]
"""Another pack's node behind others."""


@cache
def _theirs_alone(theirs: Theirs, _family: Family) -> Tensor:
    """Without ours. _family: that of the networks, for which it is kept."""
    return picture(theirs(plain()))


OURS_ACT, THEIRS_ACT = "ours change the picture by", "theirs change it by"
DIFFERENCE = "difference"


def either_order(name: str, node: str, theirs: Theirs) -> Iterator[Result]:
    """Whether one of our methods and another pack's node both act, whichever comes first in the graph.

    node: the title of theirs.
    """
    check = f"*{node}*, in a graph before and after ours"
    with family_of(name):
        theirs_alone = _theirs_alone(theirs, networks().family)
        in_front = picture(with_ours(name, theirs(plain())))
        behind_ours = picture(theirs(with_ours(name, plain())))
    for order, latent in (("theirs before ours", in_front), ("ours before theirs", behind_ours)):
        ours_act = relative(latent, theirs_alone)
        theirs_act = relative(latent, ours_alone(name))
        held = min(ours_act, theirs_act) > VISIBLE
        yield Result(check, held, name, {OURS_ACT: ours_act, THEIRS_ACT: theirs_act}, detail=order)
    apart = relative(in_front, behind_ours)
    yield Result(check, apart <= ROUNDING, name, {"the two orders differ by": apart})


ONCE_MORE = "ours alone, once more after theirs has run"


def as_before(name: str = "id_tokens_by_region") -> Iterator[Result]:
    """Whether one of our methods alone gives the picture that it gave before another pack's nodes had run.

    name: by default the method that takes most ways at once: a ControlNet, and texts by region inside the UNet.
    """
    with family_of(name):
        again = picture(with_ours(name, plain()))
    before = ours_alone(name)
    apart = relative(again, before)
    yield Result(ONCE_MORE, torch.equal(again, before), name, {DIFFERENCE: apart})


def same_node_ids(theirs: Iterable[str]) -> Result:
    """Whether no node of theirs has the id of one of ours, whose place it would take. theirs: all ids of the host."""
    both = sorted(unets.OURS.keys() & set(theirs))
    return Result("ids of nodes that are also ours", not both, figure=", ".join(both) or "none")


def run(check: Callable[[], Iterator[Result]], title: str) -> Iterator[Result]:
    """The results of a check. An error that it does not expect is one that did not hold."""
    try:
        yield from check()
    except Exception as failure:  # noqa: BLE001 - the others are to run
        yield Result(title, False, figure=type(failure).__name__, detail=shortened(failure))


def shortened(failure: Exception) -> str:
    """The text of an error, as one line that is not long."""
    return " ".join(str(failure).split())[:300]
