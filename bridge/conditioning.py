"""CONDITIONING edits, always on copies: tokens appended from a point of the schedule on, a ControlNet attached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple, Protocol

import comfy.conds
import comfy.controlnet
import torch
from comfy.controlnet import ControlBase
from comfy.model_base import BaseModel
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy.utils import repeat_to_batch_size
from torch import Tensor

from ..core import geometry
from ..core.errors import SAME_FAMILY, BadSetup, WrongBaseModel
from ..core.people import rows_missing
from .remarks import Pictures, begins_late, tell_of_checkpoint, tell_of_piece
from .unet import Options, advice_between, family

Entry = list[Any]
"""[tensor (B, tokens, width), options]."""
Conditioning = list[Entry]

ALWAYS = (999999999.9, 0.0)
"""The host's sigmas for 0 % and 100 % of the schedule; of models whose schedule begins at 1, too."""
ID_TOKENS = "likeness_id_tokens"


class IDTokens(NamedTuple):
    """Where in an entry's text, under the option ID_TOKENS, the tokens of people stand: as many for each of them."""

    start: int
    people: int
    each: int


_OFF_THE_GRID = 2.5e-7
"""The host's ranges are closed at both ends, so a sigma exactly on a shared boundary is served twice, and a gap
between two ranges serves some sigma not at all. Both ranges therefore share one boundary, put a hair (a few float32
steps of 999 * (1 - percent)) before the percentage asked for: no scheduler's sigma lies there, and the sigma exactly
at that percentage already has the ID tokens, as in the released code (`i < T * (1 - ratio)` is text only)."""


def append_tokens(conditioning: Conditioning, tokens: Tensor, people: int, start: float, what: str) -> Conditioning:
    """Each entry split in two: as it is before the percentage `start`, with `tokens` (1, n, width) from there on.

    people: whose tokens they are, as many for each.
    tokens: (rows, n, width) where every row of the batch has its own, as the host gives rows to a batch of texts.
    Ranges that nodes before or after this one give to entries hold as well. Raises WrongBaseModel when the widths
    differ.
    """
    check_conditioning(conditioning, tokens.shape[-1], what)
    parts = list[Entry]()
    for text, options in conditioning:
        rows = max(len(text), len(tokens))
        joined = torch.cat([repeat_to_batch_size(one.to(text), rows) for one in (text, tokens)], dim=1)
        named = {**options, ID_TOKENS: IDTokens(text.shape[1], people, tokens.shape[1] // people)}
        parts += changed_at([text, options], [joined, named], start)
    return parts


def check_conditioning(conditioning: Conditioning, width: int, what: str, needed: str = "", advice: str = "") -> None:
    """Raise WrongBaseModel when a text is of another width than the models `what` is made for.

    needed, advice: in words, where the width alone does not tell.
    """
    for text, _ in conditioning:
        found = text.shape[-1]
        if found != width:
            advice = advice_between(found, width, advice)
            raise WrongBaseModel(f"The conditioning given to {what}", family(found), needed or family(width), advice)


def changed_at(before: Entry, after: Entry, percent: float) -> list[Entry]:
    """Two entries of one range as it is: the first up to this percentage of the schedule, the second from there on."""
    (text, options), (later, named) = before, after
    # The range of a CLIP schedule: the host intersects it with start_percent and end_percent, which every node that
    # sets a range overwrites.
    start, end = options.get("clip_start_percent", 0.0), options.get("clip_end_percent", 1.0)
    boundary = percent - _OFF_THE_GRID
    if percent >= end:
        return [[text, options.copy()]]
    if boundary <= start:
        return [[later, named]]
    return [
        [text, {**options, "clip_start_percent": start, "clip_end_percent": boundary}],
        [later, {**named, "clip_start_percent": boundary, "clip_end_percent": end}],
    ]


@dataclass(frozen=True, eq=False)
class Canvas:
    """Where an apply node has put people, for runs of another size: they are scaled with the picture.

    node: its name. rows: how many people have a row of the batch each, or 0 where all are in every row.
    node_id: of the node in the graph, under which a run shows its notes; None outside of a graph.
    """

    node: str
    rows: int = 0
    node_id: str | None = None

    def check(self, size: tuple[int, int], latent: tuple[int, int]) -> None:
        """Raise BadSize for a latent of another shape. Sizes (width, height) in px."""
        geometry.check_shape(f"the canvas of {self.node}", size, latent)

    def check_rows(self, found: int) -> None:
        """Raise BadCast for a latent of another number of rows than there are people with a row each."""
        if self.rows and found != self.rows:
            raise rows_missing(self.node, self.rows, "the latent", found)


def check_canvases(carried: Sequence[Any], latent: Tensor) -> None:
    """What a run reads fits the latent that is denoised: each `canvas` of it and, where that `acts`, its regions.

    Raises BadCast, BadSize.
    """
    canvases = {one.canvas: one.acts for one in carried if one.canvas}
    for canvas in canvases:
        canvas.check_rows(len(latent))
    for canvas, regions in canvases.items():
        if regions is not None:
            canvas.check((regions.shape[2], regions.shape[1]), (8 * latent.shape[-1], 8 * latent.shape[-2]))


@dataclass
class Attachment:
    """One ControlNet for several conditionings, as it is.

    Entries that had the same net before share one copy: the host evaluates positive and negative in one batch only
    when they hold the same object. hint: (B, H, W, 3), values may lie outside 0..1.
    """

    control_net: ControlBase
    hint: Tensor
    strength: float
    timestep_percent_range: tuple[float, float]
    vae: VAE | None = None
    _copies: dict[ControlBase | None, ControlBase] = field(default_factory=dict, init=False)

    def to(self, conditioning: Conditioning) -> Conditioning:
        """The conditioning with the net at the end of each entry's chain."""
        return [[text, self._with_net(options)] for text, options in conditioning]

    def _with_net(self, options: dict[str, Any]) -> dict[str, Any]:
        previous = options.get("control")
        if previous not in self._copies:
            copy = self._copy()
            copy.set_cond_hint(self.hint.movedim(-1, 1), self.strength, self.timestep_percent_range, vae=self.vae)
            copy.set_previous_controlnet(previous)
            self._copies[previous] = copy
        conds = {**options.get("model_conds", {}), WHOLE: Whole(True)}
        return {**options, "model_conds": conds, "control": self._copies[previous]}

    def _copy(self) -> ControlBase:
        return self.control_net.copy()


@dataclass
class ControlAttachment(Attachment):
    """The same of a UNet's ControlNet, whose copies look at what no node before the sampler sees, see _AttachedNet.

    width: of the text context the net, and so the model, must have. canvas: what the hint shows, or None where another
    looks at its size. reader: makes what sees to it, beside packs that change attention, that the UNet reads ID tokens.
    pictures: what the hint is to the user, for notes from a run. trained: the node, where the net also tells of a MODEL
    that it was not trained for; None where a Run of the node does.
    """

    width: int = field(kw_only=True)
    canvas: Canvas | None = field(default=None, kw_only=True)
    reader: Callable[[BaseModel], Reading] | None = field(default=None, kw_only=True)
    pictures: Pictures | None = field(default=None, kw_only=True)
    trained: Canvas | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_range("The ControlNet", *self.timestep_percent_range)

    def _with_net(self, options: dict[str, Any]) -> dict[str, Any]:
        attached = super()._with_net(options)
        conds = {**attached["model_conds"], _INSIDE: _Inside(options.get(ID_TOKENS))}
        return {**attached, "model_conds": conds, "control_apply_to_uncond": False}

    def _copy(self) -> ControlBase:
        ours = _as_ours(super()._copy(), self.width, self.canvas, self.reader)
        ours.pictures, ours.trained = self.pictures, self.trained
        return ours


WHOLE = "likeness_whole"


class Whole(comfy.conds.CONDConstant):
    """Whether rows are the whole picture or the area of a prompt, which the host fits the whole hint to."""

    def process_cond(self, batch_size: int, area: Any = None, **_: Any) -> Whole:
        return Whole(area is None)


_INSIDE = "likeness_inside"


class _Inside(comfy.conds.CONDConstant):
    """The IDTokens of an entry, or None; of a batch, those of its chunks."""

    def can_concat(self, other: _Inside) -> bool:
        return True

    def concat(self, others: Sequence[_Inside]) -> tuple[IDTokens | None, ...]:
        return tuple(one.cond for one in (self, *others))


class Reading(Protocol):
    """What an attached net tells of each forward of a run, while what the UNet is given may still be changed."""

    def join(self, inside: Sequence[IDTokens | None], x: Tensor, cond: dict[str, Any], options: Options) -> None:
        """inside: per chunk. cond: what the UNet is given. options: its transformer_options, of this forward alone."""


def _as_ours(
    control_net: ControlBase, width: int, canvas: Canvas | None, reader: Callable[[BaseModel], Reading] | None
) -> _AttachedNet:
    """A copy of a net, of whatever class, as one of ours."""
    control_net.__class__ = _our_class(type(control_net))
    control_net.width, control_net.canvas = width, canvas
    control_net.reader, control_net.reading = reader, None
    control_net.pictures, control_net.trained, control_net.to_sigma = None, None, None
    # Advanced-ControlNet puts methods of its own on the object, in front of those of any class.
    own = vars(control_net)
    control_net.theirs = {name: own.pop(name) for name in ("get_control", "pre_run", "cleanup") if name in own}
    return control_net


@cache
def _our_class(kind: type) -> type:
    return type(kind.__name__, (_AttachedNet, kind), {})


class _AttachedNet(comfy.controlnet.ControlBase):
    """Our own copy of a net: it reads the text that the UNet reads, at the timestep that the UNet is told, and looks at
    what no node before the sampler sees.

    width, canvas, reader, pictures, trained: as in ControlAttachment. theirs: methods that the net has beside those of
    its class. to_sigma: of a percentage of the run's schedule, until the first forward of the run has been looked at.
    latent_format_of_run: the MODEL's.
    """

    width: int
    canvas: Canvas | None
    reader: Callable[[BaseModel], Reading] | None
    reading: Reading | None
    theirs: dict[str, Callable[..., Any]]
    pictures: Pictures | None
    trained: Canvas | None
    to_sigma: Callable[[float], float] | None
    latent_format_of_run: Any

    def copy(self) -> _AttachedNet:
        plain = super().copy()  # as every class of the host names itself
        ours = _as_ours(plain, self.width, self.canvas, self.reader)
        ours.pictures, ours.trained = self.pictures, self.trained
        return ours

    def pre_run(self, model: BaseModel, percent_to_sigma: Callable[[float], float]) -> None:
        found = model.model_config.unet_config.get("context_dim")
        if found != self.width:
            name = family(found) if found else type(model.model_config).__name__
            advice = advice_between(found, self.width)
            raise WrongBaseModel("The MODEL given to the sampler", name, family(self.width), advice)
        self._check_blocks(model)
        self.to_sigma, self.latent_format_of_run = percent_to_sigma, model.latent_format
        self.cond_hint = None  # a cancelled run leaves its own
        self.reading = self.reader(model) if self.reader else None
        self._method("pre_run")(model, percent_to_sigma)
        if isinstance(self, comfy.controlnet.ControlNet):
            schedule = model.model_sampling
            self.model_sampling_current = exact = copy(schedule)
            exact.timestep = lambda sigma: schedule.timestep(sigma).as_subclass(_Timesteps)

    def cleanup(self) -> None:
        self.reading = None
        self._method("cleanup")()

    def _method(self, name: str) -> Callable[..., Any]:
        """What the net does at this point without us."""
        return self.theirs.get(name) or getattr(super(), name)

    def _check_blocks(self, model: BaseModel) -> None:
        """One residual for each input block of the UNet; the host leaves out those that do not fit."""
        residuals = len(getattr(getattr(self, "control_model", None), "zero_convs", ()))
        blocks = len(getattr(model.diffusion_model, "input_blocks", ()))
        if residuals and residuals != blocks:
            name = type(model.model_config).__name__
            advice = "Use a MODEL with SDXL's blocks: SDXL, Turbo, Lightning, LCM, SSD-1B, Vega and their fine-tunes."
            found, expected = f"a UNet of {residuals} input blocks", f"one of {blocks} ({name})"
            raise WrongBaseModel("The ControlNet", found, expected, advice)

    def get_control(self, x_noisy: Tensor, t: Tensor, cond: dict[str, Any], batched_number: int, *others: Any) -> Any:
        args = batched_number, *others
        if self.reading and _INSIDE in cond:
            self.reading.join(cond[_INSIDE], x_noisy, cond, others[0])
        if self.canvas:
            self.canvas.check_rows(len(x_noisy) // batched_number)
        self._tell(x_noisy, batched_number, cond, others[0])
        high, wide = size = (8 * x_noisy.shape[-2], 8 * x_noisy.shape[-1])
        # Before the host fits the hint to it. Packs that sample in tiles fit the hint themselves.
        if self.canvas and cond.get(WHOLE) and (self.cond_hint is None or self.cond_hint.shape[-2:] != size):
            self.canvas.check((self.cond_hint_original.shape[-1], self.cond_hint_original.shape[-2]), (wide, high))
        # What others give all nets of a chain to read instead of the text (InstantID's faces, in another pack) is
        # for the rest of it, which therefore comes first.
        own = {key: value for key, value in cond.items() if key != "crossattn_controlnet"}
        before = self.previous_controlnet
        if before is not None:
            computed = before.get_control(x_noisy, t, cond, *args)
            self.previous_controlnet = SimpleNamespace(get_control=lambda *_: computed)
        try:
            return self._method("get_control")(x_noisy, t, own, *args)
        finally:
            self.previous_controlnet = before

    def _tell(self, x_noisy: Tensor, batched_number: int, cond: dict[str, Any], options: Options) -> None:
        """What is to be told of a run, at its first forward that shows the net the whole latent.

        Nothing where another pack shows it a few rows of many at a time (context windows), or a prompt's area.
        """
        to_sigma = self.to_sigma
        if to_sigma is None or not cond.get(WHOLE):
            return
        self.to_sigma = None
        if self.trained:
            tell_of_checkpoint(self.trained, self.latent_format_of_run)
        hint: Tensor = self.cond_hint_original  # B C H W
        windows = any(name in options for name in _WINDOWS)
        if self.pictures and not windows and not (self.canvas and self.canvas.rows):
            self.pictures.tell(len(hint), len(x_noisy) // batched_number)
        if self.canvas and not self.canvas.rows:
            size, latent = (hint.shape[-1], hint.shape[-2]), (8 * x_noisy.shape[-1], 8 * x_noisy.shape[-2])
            tell_of_piece(self.canvas, size, latent, lambda: begins_late(options, to_sigma))


_WINDOWS = "context_window", "ad_params"
"""What stands in transformer_options where rows are a window of all: the host's name, and AnimateDiff-Evolved's."""


class _Timesteps(Tensor):
    """Those that the UNet is told, of which a ControlNet makes sines: in float32 where the host casts them to the type
    that it computes in. bfloat16 has no 981."""

    def to(self, *_: Any, **__: Any) -> Tensor:
        return self.as_subclass(Tensor).float()


def check_range(what: str, start: float, end: float) -> None:
    """Raise BadSetup for a range that ends before it starts; an empty one switches off on purpose."""
    if start > end:
        why = f"{what} starts at {start:g} and ends at {end:g} of the schedule, so it would never work."
        raise BadSetup(why, "Set the start below the end.")


def sigmas_of(model: ModelPatcher, what: str, start: float, end: float) -> tuple[float, float]:
    """(first, last) sigma of a range of the MODEL's schedule, 0..1. Raises as check_range."""
    check_range(what, start, end)
    to_sigma = model.get_model_object("model_sampling").percent_to_sigma
    return ALWAYS[0] if start <= 0 else to_sigma(start), to_sigma(end)


def check_control_net(control_net: ControlBase | None, width: int, what: str) -> None:
    """Raise WrongBaseModel when the net's cross-attention reads another text width. Nets without any pass."""
    model = getattr(control_net, "control_model", None)
    for name, module in model.named_modules() if model is not None else ():
        if name.endswith("attn2.to_k"):
            if module.in_features != width:
                found = module.in_features
                advice = advice_between(found, width, SAME_FAMILY)
                raise WrongBaseModel(f"The ControlNet given to {what}", family(found), family(width), advice)
            return
    if hasattr(model, "controlnet_blocks"):  # of a transformer: FLUX.1's, Qwen-Image's
        raise WrongBaseModel(f"The ControlNet given to {what}", type(model).__name__, family(width))
