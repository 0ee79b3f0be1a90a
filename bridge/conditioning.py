"""CONDITIONING edits, always on copies: tokens appended from a point of the schedule on, a ControlNet attached."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..core.errors import BadRange, WrongBaseModel

Entry = list[Any]
"""[tensor (B, tokens, width), options]."""
Conditioning = list[Entry]

_OFF_THE_GRID = 2.5e-7
"""The host's ranges are closed at both ends, so a sigma exactly on a shared boundary is served twice, and a gap
between two ranges serves some sigma not at all. Both ranges therefore share one boundary, put a hair (a few float32
steps of 999 * (1 - percent)) before the percentage asked for: no scheduler's sigma lies there, and the sigma exactly
at that percentage already has the ID tokens, as in the released code (`i < T * (1 - ratio)` is text only)."""

_FAMILIES = {768: "SD1.5 (text width 768)", 1024: "SD2 (text width 1024)", 2048: "SDXL (text width 2048)"}


def _family(width: int | None) -> str:
    return _FAMILIES.get(width or 0, f"another family (text width {width or 'unknown'})")


def append_tokens(conditioning: Conditioning, tokens: Tensor, start_percent: float, what: str) -> Conditioning:
    """Each entry split in two: as it is before `start_percent`, with `tokens` (1, n, width) appended from there on.

    Ranges that entries already have are respected; an entry that ends before or starts after the point stays one.
    Raises WrongBaseModel when the widths differ.
    """
    check_conditioning(conditioning, tokens.shape[-1], what)
    return [part for entry in conditioning for part in _split(entry, tokens, start_percent)]


def check_conditioning(conditioning: Conditioning, width: int, what: str) -> None:
    """Raise WrongBaseModel when a text is of another width than the models `what` is made for."""
    for text, _ in conditioning:
        if text.shape[-1] != width:
            raise WrongBaseModel(f"The conditioning given to {what}", _family(text.shape[-1]), _family(width))


def _split(entry: Entry, tokens: Tensor, start_percent: float) -> Iterator[Entry]:
    text, options = entry
    start, end = options.get("start_percent", 0.0), options.get("end_percent", 1.0)
    boundary = start_percent - _OFF_THE_GRID
    joined = torch.cat([text, tokens.to(text).expand(len(text), -1, -1)], dim=1)
    if start_percent >= end:
        yield [text, options.copy()]
    elif boundary <= start:
        yield [joined, options.copy()]
    else:
        yield [text, {**options, "start_percent": start, "end_percent": boundary}]
        yield [joined, {**options, "start_percent": boundary, "end_percent": end}]


@dataclass
class ControlAttachment:
    """One ControlNet for several conditionings.

    Entries that had the same net before share one copy: the host evaluates positive and negative in one batch only
    when they hold the same object.
    """

    control_net: Any
    width: int
    """Of the text context the net, and so the model, must have."""
    hint: Tensor
    """(B, H, W, 3), values may lie outside 0..1."""
    strength: float
    timestep_percent_range: tuple[float, float]
    vae: Any = None
    _copies: dict[Any, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_range("The ControlNet", *self.timestep_percent_range)

    def to(self, conditioning: Conditioning) -> Conditioning:
        """The conditioning with the net at the end of each entry's chain."""
        return [[text, self._attached(options)] for text, options in conditioning]

    def _attached(self, options: dict[str, Any]) -> dict[str, Any]:
        previous = options.get("control")
        if previous not in self._copies:
            copy = self.control_net.copy()
            copy.set_cond_hint(self.hint.movedim(-1, 1), self.strength, self.timestep_percent_range, vae=self.vae)
            copy.set_previous_controlnet(previous)
            self._copies[previous] = _checks_the_model(copy, self.width)
        return {**options, "control": self._copies[previous], "control_apply_to_uncond": False}


def _checks_the_model(control_net: Any, width: int) -> Any:
    """Our own copy of a net, made to look at the MODEL before the first step: no node before the sampler sees both."""
    pre_run = control_net.pre_run

    def checked(model: Any, percent_to_sigma: Any) -> None:
        found = model.model_config.unet_config.get("context_dim")
        if found != width:
            raise WrongBaseModel("The MODEL given to the sampler", _family(found), _family(width))
        pre_run(model, percent_to_sigma)

    control_net.pre_run = checked
    return control_net


def check_range(what: str, start: float, end: float) -> None:
    """Raise BadRange for a range that ends before it starts; an empty one switches off on purpose."""
    if not start <= end:  # also where one is no number
        raise BadRange(what, start, end)


def sigmas_of(model: Any, what: str, start: float, end: float) -> tuple[float, float]:
    """(first, last) sigma of a range of the MODEL's schedule, 0..1. Raises BadRange."""
    check_range(what, start, end)
    to_sigma = model.get_model_object("model_sampling").percent_to_sigma
    return to_sigma(start), to_sigma(end)


def check_control_net(control_net: Any, width: int, what: str) -> None:
    """Raise WrongBaseModel when the net's cross-attention reads another text width. Nets without any pass."""
    model = getattr(control_net, "control_model", None)
    for name, module in model.named_modules() if model is not None else ():
        if name.endswith("attn2.to_k"):
            if module.in_features != width:
                raise WrongBaseModel(f"The ControlNet given to {what}", _family(module.in_features), _family(width))
            return
