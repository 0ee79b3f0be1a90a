"""CONDITIONING edits, always on copies: tokens appended from a point of the schedule on, a ControlNet attached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple, Protocol

import comfy.conds
import comfy.controlnet
import torch
from comfy.controlnet import ControlBase
from comfy.model_base import BaseModel
from comfy.sd import VAE
from comfy.utils import common_upscale, repeat_to_batch_size
from torch import Tensor

from ..core import geometry
from ..core.errors import SAME_FAMILY, BadSize, WrongBaseModel
from ..core.people import rows_missing
from .per_thread import PerThread
from .remarks import Pictures, begins_late, tell_of_checkpoint, tell_of_piece
from .schedule import check_range
from .unet import Options, advice_between, family

Entry = list[Any]
"""[tensor (B, tokens, width), options]."""
Conditioning = list[Entry]

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


class Side(Enum):
    """Which of a sampler's prompts an apply node has given an entry to."""

    POSITIVE = "positive"
    NEGATIVE = "negative"


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

    def to(self, conditioning: Conditioning, side: Side = Side.POSITIVE) -> Conditioning:
        """The conditioning with the net at the end of each entry's chain.

        Where an old Apply ControlNet has asked for it, the host hands the whole chain to other prompts as well. These
        have no ATTACHED, and the net does nothing there.
        """
        entries: Conditioning = []
        for text, options in conditioning:
            entry = AttachedEntry.of(side, options.get(ID_TOKENS), text)
            conds = {**options.get("model_conds", {}), ATTACHED: AttachedCond(AttachedRows((entry,), None))}
            net = self._behind(options.get("control"))
            entries.append([text, {**options, "model_conds": conds, "control": net}])
        return entries

    def to_both(self, positive: Conditioning, negative: Conditioning) -> tuple[Conditioning, Conditioning]:
        """Both prompts with the net at the end of each entry's chain, that of an old Apply ControlNet among them."""
        negative = with_nets_of_positive(positive, negative)
        return self.to(positive, Side.POSITIVE), self.to(negative, Side.NEGATIVE)

    def _behind(self, previous: ControlBase | None) -> ControlBase:
        """The net behind the chain that an entry has."""
        if previous not in self._copies:
            copy = self._copy()
            copy.set_cond_hint(self.hint.movedim(-1, 1), self.strength, self.timestep_percent_range, vae=self.vae)
            copy.set_previous_controlnet(previous)
            self._copies[previous] = copy
        return self._copies[previous]

    def _copy(self) -> ControlBase:
        return self.control_net.copy()


def with_nets_of_positive(positive: Conditioning, negative: Conditioning) -> Conditioning:
    """The negative prompt with the chains that Apply ControlNet (OLD) has put on the positive alone.

    That node says `control_apply_to_uncond`, and the host gives its chains to the entries of every other prompt in
    turns when sampling begins, unless one of these has a net of its own (comfy/samplers.py,
    apply_empty_x_to_equal_area). As a net of ours would be such a net, it is done here. Entries with an area take no
    part.
    """
    chains: list[ControlBase] = []
    for _, options in positive:
        asked = options.get("control_apply_to_uncond", False)
        if asked and options.get("control") is not None and not _has_area(options):
            chains.append(options["control"])
    whole = [number for number, (_, options) in enumerate(negative) if not _has_area(options)]
    taken = any(negative[number][1].get("control") is not None for number in whole)
    if taken or not whole:
        return negative
    entries = list(negative)
    for turn, chain in enumerate(chains):
        number = whole[turn % len(whole)]
        text, options = entries[number]
        entries[number] = [text, {**options, "control": chain}]
    return entries


def _has_area(options: dict[str, Any]) -> bool:
    """Whether the host will give an entry an area: that of Set Area, or the bounds of its mask."""
    return "area" in options or ("mask" in options and options.get("set_area_to_bounds", False))


@dataclass
class ControlAttachment(Attachment):
    """The same of a UNet's ControlNet, whose copies look at what no node before the sampler sees, see _AttachedNet.

    width: of the text context the net, and so the model, must have. canvas: what the hint shows, or None where another
    looks at its size. reader: makes what sees to it, beside packs that change attention, that the UNet reads ID tokens.
    report: what the net says of a run at its end, where no MODEL of the node's does. pictures: what the hint is to the
    user, for notes from a run. trained: the node, where the net also tells of a MODEL that it was not trained for; None
    where a Run of the node does.
    """

    width: int = field(kw_only=True)
    canvas: Canvas | None = field(default=None, kw_only=True)
    reader: Callable[[BaseModel], Reading] | None = field(default=None, kw_only=True)
    report: Report | None = field(default=None, kw_only=True)
    pictures: Pictures | None = field(default=None, kw_only=True)
    trained: Canvas | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_range("The ControlNet", *self.timestep_percent_range)

    def _copy(self) -> ControlBase:
        return _as_ours(super()._copy(), self)


ATTACHED = "likeness_attached"
"""Of the model_conds of entries that have a net of ours."""
Area = tuple[int, int, int, int]
"""(height, width, y, x) in latent pixels."""


def area_of(area: Sequence[int]) -> Area:
    """The host's area of a prompt, sizes and then places, without its frames, which come first in either."""
    sides = len(area) // 2
    height, width = area[sides - 2 : sides]
    y, x = area[-2:]
    return height, width, y, x


@dataclass(frozen=True, eq=False)
class AttachedEntry:
    """A conditioning entry as it was when a net of ours was attached.

    tokens: where ID tokens stand in its text, or None. sample: what they were, (1, ID tokens, CHANNELS), by which a run
    knows them again; of all of them a run would hold a copy.
    """

    side: Side
    tokens: IDTokens | None
    sample: Tensor | None

    @classmethod
    def of(cls, side: Side, tokens: IDTokens | None, text: Tensor) -> AttachedEntry:
        """text: (B, tokens, width)."""
        return cls(side, tokens, None if tokens is None else sample_of(text, tokens).clone())


CHANNELS = 8
"""Of the width of a text: so many tell whether ID tokens are as they were."""


def sample_of(text: Tensor, tokens: IDTokens) -> Tensor:
    """The first channels of the ID tokens in a text, (B, tokens, width): (1, ID tokens, CHANNELS)."""
    return text[:1, tokens.start : tokens.start + tokens.people * tokens.each, :CHANNELS]


@dataclass(frozen=True, eq=False)
class AttachedRows:
    """The rows of one forward that a net of ours acts in. entries: per chunk. area: of all of them, or None."""

    entries: tuple[AttachedEntry, ...]
    area: Area | None


class AttachedCond(comfy.conds.CONDRegular):
    """A COND whose value is AttachedRows. Rows of one area are computed together, those of several are not."""

    cond: AttachedRows

    def process_cond(self, batch_size: int, area: Any = None, **_: Any) -> AttachedCond:
        return AttachedCond(AttachedRows(self.cond.entries, None if area is None else area_of(area)))

    def can_concat(self, other: AttachedCond) -> bool:
        return self.cond.area == other.cond.area

    def concat(self, others: Sequence[AttachedCond]) -> AttachedRows:
        entries = self.cond.entries
        for other in others:
            entries = (*entries, *other.cond.entries)
        return AttachedRows(entries, self.cond.area)

    def size(self) -> list[int]:
        return [1]


WHOLE_LATENT = "likeness_whole_latent"
"""Of transformer_options in a run of ours: (height, width) of the latent that is denoised, in latent pixels."""


def whole_latent(
    x: Tensor, area: Area | None, options: Options, known: tuple[int, int] | None
) -> tuple[int, int] | None:
    """(height, width) of the whole picture in one forward of a run, in latent pixels; None where that is unknown.

    x: (B, C, h, w), of the whole picture where area is None, else of this area of it. options: the transformer_options
    of the forward. known: what the net has been told of the run before, see latent_of_run.
    """
    if area is None:
        return int(x.shape[-2]), int(x.shape[-1])
    return options.get(WHOLE_LATENT, known)


def hint_of_area(hint: Tensor, latent: tuple[int, int], area: Area, upscale_algorithm: str, cell: int = 8) -> Tensor:
    """The part of a ControlNet's picture that an area shows: (B, C, cell * height, cell * width) in pixels.

    hint: (B, C, H, W), of the whole picture, fitted to it as the host does. latent: (height, width) of the whole
    picture, in latent pixels of `cell` pixels each.
    """
    high, wide = latent
    whole = common_upscale(hint, cell * wide, cell * high, upscale_algorithm, "center")
    height, width, y, x = (cell * side for side in area)
    return whole[..., y : y + height, x : x + width]


@dataclass
class AreaHint:
    """picture: of an area, in pixels. fitted: what the host has made of it for the net, once it has."""

    picture: Tensor
    fitted: Tensor | None = None


class Reading(Protocol):
    """What an attached net tells of each forward of a run, while what the UNet is given may still be changed."""

    def join(self, inside: Sequence[IDTokens | None], x: Tensor, cond: dict[str, Any], options: Options) -> None:
        """inside: per chunk. cond: what the UNet is given. options: its transformer_options, of this forward alone."""


class Report(Protocol):
    """What a net notes of a run in which no MODEL of ours takes part, and says at its end."""

    def begun(self, model: BaseModel) -> None: ...

    def forward(self, rows: AttachedRows, text: Tensor, schedule: Tensor | None) -> None:
        """text: (B, tokens, width) that the rows read. schedule: (steps + 1,), every sigma of the run."""

    def ended(self) -> None: ...


def _as_ours(control_net: ControlBase, source: ControlAttachment | _AttachedNet) -> _AttachedNet:
    """A copy of a net, of whatever class, as one of ours, with what the attachment or another copy looks at."""
    control_net.__class__ = _our_class(type(control_net))
    control_net.width = source.width
    control_net.canvas = source.canvas
    control_net.reader = source.reader
    control_net.report = source.report
    control_net.pictures = source.pictures
    control_net.trained = source.trained
    # What belongs to one run.
    control_net.reading = None
    control_net.latent = None
    control_net.assumed_latent = None
    control_net.hints = {}
    control_net.to_sigma = None
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

    width, canvas, reader, report, pictures, trained: as in ControlAttachment. theirs: methods that the net has beside
    those of its class. latent: (height, width) of the whole picture in latent pixels, once it is known. assumed_latent:
    what was taken for it before. hints: by area, what the net has made of the hint there. to_sigma: of a percentage of
    the run's schedule, until the first forward of the run has been looked at. latent_format_of_run: the MODEL's.
    """

    width: int
    canvas: Canvas | None
    reader: Callable[[BaseModel], Reading] | None
    reading: Reading | None
    report: Report | None
    latent: tuple[int, int] | None
    assumed_latent: tuple[int, int] | None
    hints: dict[tuple[Area, tuple[int, int]], AreaHint]
    theirs: dict[str, Callable[..., Any]]
    previous_controlnet: Any = PerThread()
    pictures: Pictures | None
    trained: Canvas | None
    to_sigma: Callable[[float], float] | None
    latent_format_of_run: Any

    def copy(self) -> _AttachedNet:
        return _as_ours(super().copy(), self)  # as every class of the host names itself

    def pre_run(self, model: BaseModel, percent_to_sigma: Callable[[float], float]) -> None:
        found = model.model_config.unet_config.get("context_dim")
        if found != self.width:
            name = family(found) if found else type(model.model_config).__name__
            advice = advice_between(found, self.width)
            raise WrongBaseModel("The MODEL given to the sampler", name, family(self.width), advice)
        self._check_blocks(model)
        # A cancelled run leaves its own.
        self.cond_hint = None
        self.hints = {}
        self.latent = latent_of_run(model)
        self.assumed_latent = None
        self.to_sigma = percent_to_sigma
        self.latent_format_of_run = model.latent_format
        self.reading = self.reader(model) if self.reader else None
        if self.report:
            self.report.begun(model)
        self._method("pre_run")(model, percent_to_sigma)
        if isinstance(self, comfy.controlnet.ControlNet):
            schedule = model.model_sampling
            self.model_sampling_current = exact = copy(schedule)
            exact.timestep = lambda sigma: schedule.timestep(sigma).as_subclass(_Timesteps)

    def cleanup(self) -> None:
        self.reading = None
        self.hints = {}
        if self.report:
            self.report.ended()
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
        options: Options = others[0] if others else {}
        before = self.previous_controlnet
        rows: AttachedRows | None = cond.get(ATTACHED)
        if rows is None:
            # The chain that an old Apply ControlNet hands to prompts that do not come from our node.
            return before.get_control(x_noisy, t, cond, *args) if before is not None else None
        if self.report:
            self.report.forward(rows, cond["c_crossattn"], options.get("sample_sigmas"))
        if self.reading:
            self.reading.join([entry.tokens for entry in rows.entries], x_noisy, cond, options)
        if self.canvas:
            self.canvas.check_rows(len(x_noisy) // batched_number)
        if rows.area is None:
            self._tell(x_noisy, batched_number, options)
        latent = self._latent_of_forward(rows.area, x_noisy, options)
        self._check_canvas(rows.area, x_noisy, latent)
        # What others give all nets of a chain to read instead of the text (InstantID's faces, in another pack) is
        # for the rest of it, which therefore comes first.
        own = {key: value for key, value in cond.items() if key != "crossattn_controlnet"}
        if before is None:
            return self._own_control(rows.area, latent, x_noisy, t, own, *args)
        computed = before.get_control(x_noisy, t, cond, *args)
        with _AttachedNet.previous_controlnet.replaced(self, SimpleNamespace(get_control=lambda *_: computed)):
            return self._own_control(rows.area, latent, x_noisy, t, own, *args)

    def _own_control(self, area: Area | None, latent: tuple[int, int], *args: Any) -> Any:
        """What the net itself gives for the whole picture or an area of it."""
        if area is None:
            return self._method("get_control")(*args)
        return self._in_area(area, latent, *args)

    def _in_area(self, area: Area, latent: tuple[int, int], *args: Any) -> Any:
        """What the net makes of its own part of the hint. The host would fit all of the hint to every area."""
        whole, of_whole = self.cond_hint_original, self.cond_hint
        # Of one area of a latent that has grown since the hint is another.
        if (area, latent) not in self.hints:
            self.hints[area, latent] = AreaHint(hint_of_area(whole, latent, area, self.upscale_algorithm))
        hint = self.hints[area, latent]
        self.cond_hint_original, self.cond_hint = hint.picture, hint.fitted
        try:
            return self._method("get_control")(*args)
        finally:
            hint.fitted = self.cond_hint
            self.cond_hint_original, self.cond_hint = whole, of_whole

    def _latent_of_forward(self, area: Area | None, x_noisy: Tensor, options: Options) -> tuple[int, int]:
        """(height, width) of the whole picture in latent pixels. Raises BadSize where it was taken for another."""
        latent = whole_latent(x_noisy, area, options, self.latent)
        if latent is None:
            # ComfyUI 0.3.64 tells a net nothing of the whole picture: it is taken to be as large as the hint.
            self.assumed_latent = self.cond_hint_original.shape[-2] // 8, self.cond_hint_original.shape[-1] // 8
            return self.assumed_latent
        self.latent = latent
        if self.assumed_latent not in (None, latent):
            raise BadSize(
                "The latent",
                (8 * latent[1], 8 * latent[0]),
                "a prompt has an area of its own, and the picture for the ControlNet has another size",
                "Give both the same width and height, or use Conditioning (Set Mask) instead of Conditioning (Set "
                "Area).",
            )
        return latent

    def _check_canvas(self, area: Area | None, x_noisy: Tensor, latent: tuple[int, int]) -> None:
        """Raise BadSize where the hint shows a picture of another shape, before the host cuts it to fit."""
        if self.canvas is None:
            return
        high, wide = (8 * side for side in latent)
        # Packs that sample in tiles fit the hint themselves.
        if area is None and self.cond_hint is not None and self.cond_hint.shape[-2:] == (high, wide):
            return
        self.canvas.check((self.cond_hint_original.shape[-1], self.cond_hint_original.shape[-2]), (wide, high))

    def _tell(self, x_noisy: Tensor, batched_number: int, options: Options) -> None:
        """What is to be told of a run, at its first forward that shows the net the whole latent.

        Nothing where another pack shows it a few rows of many at a time (context windows), or a prompt's area.
        """
        to_sigma = self.to_sigma
        if to_sigma is None:
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


def latent_of_run(model: BaseModel) -> tuple[int, int] | None:
    """(height, width) of what a run denoises, in latent pixels; None in ComfyUI 0.3.64, which does not tell."""
    shapes = getattr(model, "latent_shapes", None)
    if not shapes:
        return None
    return int(shapes[0][-2]), int(shapes[0][-1])


_WINDOWS = "context_window", "ad_params"
"""What stands in transformer_options where rows are a window of all: the host's name, and AnimateDiff-Evolved's."""


class _Timesteps(Tensor):
    """Those that the UNet is told, of which a ControlNet makes sines: in float32 where the host casts them to the type
    that it computes in. bfloat16 has no 981."""

    def to(self, *_: Any, **__: Any) -> Tensor:
        return self.as_subclass(Tensor).float()


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
