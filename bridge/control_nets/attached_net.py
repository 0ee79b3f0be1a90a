"""Our own copy of a ControlNet. It checks in each run whether net, MODEL, latent and hint fit each other.

The net reads the same text and the same timestep as the UNet, and of the hint only the part that shows what the UNet
denoises. It checks the size of the latent and the number of rows. Its notes come from attachment.py.

Why a copy's `__class__` is changed, and no object of ours holds the net: whoever walks along a chain of ControlNets
has to meet a net of the host's own class, with the net's own fields. Tiled Diffusion, for instance, asks
`isinstance(control, T2IAdapter)` and the class for its name, reads `cond_hint_original` of every net of a chain, and
puts pieces of the hint into `cond_hint`. The host itself deep-copies the `control_model` of a copy for each further
card (deepclone_multigpu). With an object around the net each of them would read and write that object, and the net
inside would get nothing of it. A new object of a class of ours with the same fields would not do either:
Advanced-ControlNet puts methods onto the object, which are bound to it.

So the copy stays the object that it is, and gets a new class. That class derives from `_AttachedNet` first and from the
net's own class second, so that our methods are called and can call the net's. What we have to remember of a net is in
two fields: `settings`, which all copies share, and `in_run`, which belongs to one copy and one run.

The steps of one run, as the host calls them:

    pre_run                 checks the MODEL; begins a new `in_run`
    get_control             of each forward:
        _check_forward          checks rows and sizes
        get_control             of the chain before our net
        _own_control            the net's own residuals, to which it adds those of the chain
            NetInRun.part_of_hint       what of the hint a prompt's own area or a window of the batch shows
    cleanup                 forgets the run

`_method` finds the net's own method for each of them, which another pack may have put onto the object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import comfy.controlnet
import torch
from comfy.controlnet import ControlBase
from comfy.hooks import HookGroup
from comfy.model_base import BaseModel
from torch import Tensor

from ...core.checks.errors import WrongBaseModel
from ..host.unet import Options, advice_between, family, kind_of, pixels_of
from ..sampling.areas import (
    WHOLE_LATENT,
    Area,
    AreaHint,
    LatentSize,
    RowWindow,
    hint_of_area,
    in_pixels,
    row_window,
    whole_latent,
)
from ..sampling.canvas_check import Canvas
from ..sampling.model_conds import ConditioningLost
from ..sampling.on_model import RunHook
from ..sampling.rows import ATTACHED, AttachedRows
from ..words.unet.id_tokens import read_beside_others
from .per_thread import PerThread

RowNumbers = tuple[int, ...]
"""The rows of a batch, from 0, that a window shows."""
METHODS_ON_OBJECTS = ("get_control", "pre_run", "cleanup")
"""Methods that Advanced-ControlNet puts onto the object of a net, in front of those of its class."""


@dataclass(frozen=True, eq=False)
class NetSettings:
    """The settings that an apply node makes for all copies of a net.

    canvas: that which the hint shows, and whose people's rows are compared with the latent. None where a Run of the
    node compares them.
    width: of the texts that the net reads, and that the MODEL must read.
    has_id_tokens: whether ID tokens stand in the texts, which the UNet reads, too.
    """

    canvas: Canvas | None
    width: int
    has_id_tokens: bool = False


@dataclass
class NetInRun:
    """What one copy of a net knows of one run, and works out in it.

    cell: the side of a latent pixel of the MODEL, in pixels.
    model: the MODEL that samples.
    hints: the part of the hint that a forward shows, by area, size of the whole latent and window.
    """

    cell: int
    model: BaseModel
    hints: dict[tuple[Area | None, LatentSize, RowNumbers | None], AreaHint] = field(default_factory=dict)

    def part_of_hint(
        self, hint: Tensor, area: Area | None, latent: LatentSize, window: RowNumbers | None, scaling: str
    ) -> AreaHint:
        """The part of the whole hint, (B, C, H, W), that belongs to a forward: made once in a run, and kept in `hints`.

        area: of the forward, None for the whole picture. latent: the size of the whole latent. window: the rows that
        are shown, None for all. scaling: how the host fits a hint, its upscale_algorithm.
        """
        # The key has the size of the latent too: a sampler may enlarge the latent between two steps, and the area then
        # shows another part.
        key = area, latent, window
        if key not in self.hints:
            part = hint if window is None else hint[list(window)]
            if area is not None:
                part = hint_of_area(part, latent, area, scaling, self.cell)
            self.hints[key] = AreaHint(part)
        return self.hints[key]


class _ComputedNet:
    """It stands in the place of the chain before our net while ours computes. control: the residuals of that chain.

    The host's get_control of a net first calls the net before it in the chain. Our get_control has called that one
    already, with the texts that other packs give to a chain. This object keeps the host from computing it twice.
    """

    def __init__(self, control: Any) -> None:
        self._control = control

    def get_control(self, *_: Any) -> Any:
        return self._control


def as_attached(control_net: ControlBase, settings: NetSettings) -> _AttachedNet:
    """Make a net an attached net, whatever class it has, and return the same object.

    It changes the class of the object (the module says why), takes the methods of other packs off it, and sets the
    fields of _AttachedNet. control_net: a copy of the user's net that is ours alone.
    """
    # Asked before the class is changed: _AttachedNet has this field, too.
    knows_windows = hasattr(control_net, "sub_idxs")
    control_net.__class__ = _attached_class(type(control_net))
    control_net.knows_windows = knows_windows
    control_net.settings = settings
    control_net.methods_on_object = _take_methods_off(control_net)
    return control_net


@cache
def _attached_class(net_class: type) -> type:
    """The class that attached copies of nets of `net_class` get. It is made once for each, and has the name of
    `net_class`, which packs look at.

    _AttachedNet is its first base, so the methods of _AttachedNet are called, and `super()` in them is `net_class`.
    """
    return type(net_class.__name__, (_AttachedNet, net_class), {})


def _take_methods_off(control_net: ControlBase) -> dict[str, Callable[..., Any]]:
    """Take off an object the METHODS_ON_OBJECTS that another pack has put onto it. Returns them by name.

    Left on the object, they would be called instead of ours. Our own methods call them, see `_method`.
    """
    attributes = vars(control_net)
    methods: dict[str, Callable[..., Any]] = {}
    for name in METHODS_ON_OBJECTS:
        if name in attributes:
            methods[name] = attributes.pop(name)
    return methods


class _AttachedNet(comfy.controlnet.ControlBase):
    """The first base of the class of every attached copy; the second is the net's own class, the host's or ours.

    The module says why. methods_on_object: methods of another pack by name, which the net has instead of those of its
    class. previous_controlnet: the host's field, the net before this one in the chain, or None. While our net computes,
    its thread reads a _ComputedNet there, see get_control. knows_windows: whether the net takes the rows of a window
    itself, as Advanced-ControlNet's nets do.

    sub_idxs, full_latent_length: AnimateDiff-Evolved samples a batch in windows of some rows. Before each forward it
    writes here which rows it shows, and of how many. It refuses every net without the field sub_idxs.
    """

    settings: NetSettings
    in_run: NetInRun  # from pre_run to cleanup
    methods_on_object: Mapping[str, Callable[..., Any]]
    previous_controlnet: Any = PerThread()
    knows_windows: bool
    sub_idxs: Sequence[int] | None = None
    full_latent_length: int = 0

    def copy(self) -> _AttachedNet:
        # The host's copy() calls the class by its name, as in `c = ControlNet(...)`: what it gives is not attached.
        return as_attached(super().copy(), self.settings)

    def __deepcopy__(self, memo: dict[int, Any]) -> _AttachedNet:
        """An attached copy with the same network and settings, behind a deep copy of the chain before this net.

        attention-couple-ComfyUI makes deep copies of prompts. A net that was copied field by field would do nothing:
        it finds its people by the object `source`, of which it would have a copy, while what the prompts carry is not
        copied there (Carried) and has the old one. It would also hold its network in memory a second time.
        """
        copied = self.copy()
        copied.previous_controlnet = deepcopy(self.previous_controlnet, memo)
        return copied

    def get_extra_hooks(self) -> list[HookGroup]:
        """The hooks of the net and of the chain before it, without a RunHook.

        The host registers what hooks bring by the field extra_hooks. By this method it asks whether a prompt has hooks:
        then it samples with a second copy of the MODEL, without DynamicVRAM, and looks at weights in every forward. A
        RunHook has no weights.
        """
        groups: list[HookGroup] = []
        for group in super().get_extra_hooks():
            others = HookGroup()
            for hook in group.hooks:
                if not isinstance(hook, RunHook):
                    others.add(hook)
            if others.hooks:
                groups.append(others)
        return groups

    def _method(self, name: str) -> Callable[..., Any]:
        """The net's own method of this name: another pack's, or that of its class."""
        return self.methods_on_object.get(name) or getattr(super(), name)

    def pre_run(self, model: BaseModel, percent_to_sigma: Callable[[float], float]) -> None:
        """Called by the host before a run: it checks the MODEL, begins a new `in_run`, and calls the net's own pre_run.

        It also forgets the fitted hint and the window of an earlier run, and gives a ControlNet exact timesteps. Raises
        WrongBaseModel where the MODEL reads other texts or has other blocks.
        """
        _check_text_width(self.settings.width, model)
        _check_blocks(self, model)
        # A cancelled run has not been cleaned up, so a fitted hint of that run may still be here.
        self.cond_hint = None
        if not self.knows_windows:
            self.sub_idxs = None  # the window of an earlier run
        self.in_run = NetInRun(pixels_of(model), model)
        self._method("pre_run")(model, percent_to_sigma)
        # In place of the MODEL's schedule, which the host's own pre_run has just set, see _Timesteps. A T2IAdapter
        # reads no timestep, and has no such field.
        if isinstance(self, comfy.controlnet.ControlNet):
            self.model_sampling_current = _with_exact_timesteps(model.model_sampling)

    def cleanup(self) -> None:
        """Called by the host after a run, which is forgotten. It calls the net's own cleanup."""
        self.__dict__.pop("in_run", None)  # there is none where no run has begun
        self._method("cleanup")()

    def get_control(self, x_noisy: Tensor, t: Tensor, cond: dict[str, Any], batched_number: int, *others: Any) -> Any:
        """The residuals of the chain up to this net for one forward, by the host's names; None where there are none.

        x_noisy: (B, C, h, w). t: (B,), sigmas. cond: what the entries of this batch bring, by name. batched_number: how
        many entries those are, each with B / batched_number rows. others: further arguments of the host, of which
        transformer_options come first. Raises BadCast and BadSize, see `_check_forward`.
        """
        options: Options = others[0] if others else {}
        previous = self.previous_controlnet
        rows: AttachedRows | None = cond.get(ATTACHED)
        if rows is None:
            # The host also hands the chain of an old Apply ControlNet to prompts that do not come from our node. In
            # their rows our net does nothing, and the chain before it gives all.
            if previous is None:
                return None
            return previous.get_control(x_noisy, t, cond, batched_number, *others)
        latent = self._check_forward(rows, x_noisy, cond, batched_number, options)
        # Another pack (ComfyUI_InstantID) gives all nets of a chain tokens of faces to read instead of the text,
        # under crossattn_controlnet. Ours reads the text, so it is called without them.
        own_cond = {key: value for key, value in cond.items() if key != "crossattn_controlnet"}
        own_control = partial(
            self._own_control, rows.area, latent, options, x_noisy, t, own_cond, batched_number, *others
        )
        if previous is None:
            return own_control()
        # The rest of the chain needs those tokens, so it is called first and by itself. The host's get_control of our
        # net would call it again: what it has given stands in its place meanwhile. For this thread alone, by the
        # class's descriptor: on several cards others compute in this net too (PerThread).
        computed = _ComputedNet(previous.get_control(x_noisy, t, cond, batched_number, *others))
        with _AttachedNet.previous_controlnet.replaced(self, computed):
            return own_control()

    def _check_forward(
        self, rows: AttachedRows, x_noisy: Tensor, cond: dict[str, Any], batched_number: int, options: Options
    ) -> LatentSize:
        """Check and prepare this forward. Returns the size of the whole latent, (height, width) in latent pixels.

        It lets the UNet read the ID tokens where another pack is in the way of them. Raises BadCast where the number of
        rows is not that of the people, BadSize where the canvas has another shape than the latent, and ConditioningLost
        where another pack has made options of its own.
        """
        if rows.area is not None and WHOLE_LATENT not in options:
            raise ConditioningLost("", "asks the ControlNet with transformer_options of its own")
        if self.settings.has_id_tokens:
            id_tokens = [entry.tokens for entry in rows.entries]
            read_beside_others(self.in_run.model, id_tokens, cond["c_crossattn"], options)
        latent = whole_latent(x_noisy, rows.area, options)
        self._check_rows(len(x_noisy) // batched_number, options)
        self._check_canvas(rows.area, latent)
        return latent

    def _check_rows(self, rows_per_entry: int, options: Options) -> None:
        """Raise BadCast where the number of rows of the whole batch is known, and not that of the people."""
        window = row_window(options)
        row_count = rows_per_entry if window is None else self._rows_around(window)
        if self.settings.canvas and row_count:
            self.settings.canvas.node.check_rows(row_count)

    def _own_control(self, area: Area | None, latent: LatentSize, options: Options, *args: Any) -> Any:
        """The net's own residuals, for the whole picture or an area of it.

        latent: the size of the whole latent. options: the transformer_options of the forward. args: the arguments of
        get_control.

        The host would fit the whole hint to every area, and take the first pictures of the hint in every window. So
        while the net's method runs, the host's two fields for the hint hold the part that belongs to this forward:
        cond_hint_original (as the user gave it) and cond_hint (fitted by the net's method, None until then).
        """
        window = self._rows_of_hint(options)
        if area is None and window is None:
            return self._method("get_control")(*args)
        whole_hint: Tensor = self.cond_hint_original  # (B, C, H, W)
        hint = self.in_run.part_of_hint(whole_hint, area, latent, window, self.upscale_algorithm)
        fitted_whole_hint = self.cond_hint
        self.cond_hint_original = hint.picture
        self.cond_hint = hint.fitted
        try:
            return self._method("get_control")(*args)
        finally:
            hint.fitted = self.cond_hint  # kept for the next forward with this part
            self.cond_hint_original = whole_hint
            self.cond_hint = fitted_whole_hint

    def _rows_of_hint(self, options: Options) -> RowNumbers | None:
        """The rows of the hint that belong to the window of rows that this forward shows.

        None to leave the hint whole: no window, a net that cuts it itself, or a hint without one picture per row.
        """
        window = row_window(options)
        if window is None or self.knows_windows:
            return None
        if len(self.cond_hint_original) != self._rows_around(window):
            return None  # the hint has not one picture for each row
        return window.rows

    def _rows_around(self, window: RowWindow) -> int:
        """How many rows the whole batch has, where a forward shows a window of it; 0 where that is unknown."""
        return window.total or self.full_latent_length

    def _check_canvas(self, area: Area | None, latent: LatentSize) -> None:
        """Raise BadSize where the canvas has another shape than the whole latent: the host would cut the hint to fit.

        area: of the forward, or None. latent: (height, width) of the whole latent, in latent pixels.
        """
        width, height = in_pixels(latent, self.in_run.cell)
        # A forward of the whole picture that finds a fitted hint takes it as it is. Either the net has fitted it in an
        # earlier forward, which was checked; or a pack that samples in tiles has put the hint of a tile there.
        is_fitted = self.cond_hint is not None and self.cond_hint.shape[-2:] == (height, width)
        if self.settings.canvas and (area is not None or not is_fitted):
            self.settings.canvas.check(latent, self.in_run.cell)


def _check_text_width(width: int, model: BaseModel) -> None:
    """Raise WrongBaseModel unless the model reads texts of this width. width: of the texts that the net reads."""
    width_of_model = model.model_config.unet_config.get("context_dim")
    if width_of_model == width:
        return
    advice = advice_between(width_of_model, width)
    raise WrongBaseModel("The MODEL given to the sampler", kind_of(model, width_of_model), family(width), advice)


def _check_blocks(net: ControlBase, model: BaseModel) -> None:
    """Raise WrongBaseModel unless the net gives one residual for each input block of the UNet.

    The host itself raises nothing: it leaves out the residuals for which there is no block. A net without zero_convs,
    such as a T2IAdapter, is not checked: it gives its residuals in another way.
    """
    network = getattr(net, "control_model", None)
    residual_count = len(getattr(network, "zero_convs", ()))
    block_count = len(getattr(model.diffusion_model, "input_blocks", ()))
    if residual_count and residual_count != block_count:
        name = type(model.model_config).__name__
        raise WrongBaseModel(
            "The ControlNet",
            f"a UNet of {residual_count} input blocks",
            f"one of {block_count} ({name})",
            "Use a MODEL with SDXL's blocks: SDXL, Turbo, Lightning, LCM, SSD-1B, Vega and their fine-tunes.",
        )


class _Timesteps(Tensor):
    """The timesteps of a forward, (B,), which stay in float32 when the host casts them for a ControlNet.

    A ControlNet makes sines of them, as the UNet does. The host casts a ControlNet's timesteps to the type that it
    computes in (comfy/controlnet.py, get_control), while the UNet's stay as they are. In bfloat16 there is no 981: it
    becomes 980. So the host's cast, a call of `to`, is answered in float32.
    """

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        device = super().to(*args, **kwargs).device
        return self.as_subclass(Tensor).to(device, torch.float32)


def _with_exact_timesteps(model_sampling: Any) -> Any:
    """A copy of the host's schedule of a MODEL that gives timesteps as _Timesteps."""
    exact = copy(model_sampling)
    exact.timestep = lambda sigma: model_sampling.timestep(sigma).as_subclass(_Timesteps)
    return exact
