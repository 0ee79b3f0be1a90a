"""Our own ControlNet, made of the user's.

The net reads the same text and the same timestep as the UNet, and of the hint only the part that shows what the UNet
denoises. That the net fits the MODEL, and the hint the latent, a run has checked, by what the entries with the net
carry (AttachedEntry).

It is a plain ControlNet of the host, with the network and the settings of the user's net: whoever walks along a chain
(the host, Tiled Diffusion, AnimateDiff-Evolved) finds the fields of one, and what it writes to them counts.

The steps of one run, as the host calls them:

    pre_run                 forgets the hint that an earlier run has left
    get_control             of each forward:
        get_control             of the chain before our net
        _net_of_part            with what of the hint a prompt's own area or a window of the batch shows
        _residuals              the host's get_control, on a copy of the net that belongs to this forward alone
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy, deepcopy
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from comfy.controlnet import ControlNet
from comfy.hooks import HookGroup
from comfy.model_base import BaseModel
from torch import Tensor

from ...core.checks.errors import BadSetup
from ..host.unet import Options
from ..sampling.areas import RowNumbers, hint_of_area, row_window
from ..sampling.attached_entry import AttachedEntry, attached_entries
from ..sampling.carried import KEY
from ..sampling.on_model import RunHook
from ..sampling.runs import Run
from ..words.unet.id_tokens import read_beside_others


def require_plain(connected: str, name: str, method_title: str) -> None:
    """Raise BadSetup where something else than a plain ControlNet is connected: an AttachedNet would leave out what it
    has beside its network.

    connected: what it is, as `other_object` says it. name, method_title: of the net that belongs there and its method.
    """
    if connected:
        raise BadSetup(
            f"The control_net input got {connected}, but {name} is a plain SDXL ControlNet.",
            f"Load {method_title}'s ControlNetModel/diffusion_pytorch_model.safetensors with Load ControlNet Model.",
        )


def other_object(net: Any) -> str:
    """What is connected instead of a plain ControlNet, in words for a message; "" where it is a plain ControlNet."""
    if not isinstance(net, ControlNet) or getattr(net, "control_model", None) is None:
        return type(net).__name__
    # Advanced-ControlNet's nets have one keyframe where the user has set none.
    if len(getattr(net, "timestep_keyframes", ())) > 1:
        return f"a ControlNet with another pack's timestep keyframes (its code: {type(net).__module__})"
    return ""


class AttachedNet(ControlNet):
    """A ControlNet with the network and the settings (strength, range and so on) of the net that it is made of.

    net: one of which `other_object` says nothing.

    previous_controlnet: the host's field, the net before this one in the chain, or None.

    reads_text: whether it reads the text of the prompts, with the ID tokens that stand there.

    sub_idxs: AnimateDiff-Evolved samples a batch in windows of some rows. It writes here which ones, and refuses every
    net without this field.
    """

    reads_text: ClassVar[bool] = True
    sub_idxs: Sequence[int] | None = None

    def __init__(self, net: ControlNet) -> None:
        # Given the network here, the host would put it into a second ModelPatcher.
        super().__init__(control_model=None, load_device=net.load_device, manual_cast_dtype=net.manual_cast_dtype)
        self.control_model = net.control_model
        self.control_model_wrapped = net.control_model_wrapped
        net.copy_to(self)

    def copy(self) -> AttachedNet:
        return AttachedNet(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> AttachedNet:
        """A copy with the same network and settings, behind a deep copy of the chain before this net.

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

    def pre_run(self, model: BaseModel, percent_to_timestep_function: Callable[[float], float]) -> None:
        """Called by the host before a run: it forgets the fitted hint of an earlier run, and sets exact timesteps."""
        # A cancelled run has not been cleaned up, so a fitted hint of that run may still be here.
        self.cond_hint = None
        super().pre_run(model, percent_to_timestep_function)
        # In place of the MODEL's schedule, which the host's own pre_run has just set, see _Timesteps.
        self.model_sampling_current = _with_exact_timesteps(model.model_sampling)

    def get_control(
        self, x_noisy: Tensor, t: Tensor, cond: dict[str, Any], batched_number: int, transformer_options: Options
    ) -> Any:
        """The residuals of the chain up to this net for one forward, by the host's names; None where there are none.

        x_noisy: (B, C, h, w). t: (B,), sigmas. cond: what the entries of this batch bring, by name. batched_number: how
        many entries those are, each with B / batched_number rows. Raises ConditioningLost where another pack has made
        conditions or transformer_options of its own.
        """
        entries = attached_entries(cond, transformer_options)
        if not entries:
            # The host also hands the chain of an old Apply ControlNet to prompts that do not come from our node. In
            # their rows our net does nothing, and the chain before it gives all.
            return self._chain_before(x_noisy, t, cond, batched_number, transformer_options)
        run: Run = transformer_options[KEY]
        if self.reads_text:
            # The UNet is to read the ID tokens in it, too, also where another pack is in the way of them.
            id_tokens = [entry.tokens for entry in entries]
            read_beside_others(run.model.model, id_tokens, cond["c_crossattn"], transformer_options)
        residuals_before = self._chain_before(x_noisy, t, cond, batched_number, transformer_options)
        net_of_part = self._net_of_part(run, entries[0], transformer_options)
        # What this forward alone is to find is set on a copy, so no other forward sees it.
        net = copy(net_of_part)
        # The host's get_control calls the net before it, too. The chain has been called already, with the tokens of
        # faces that another pack (ComfyUI_InstantID) gives it to read under crossattn_controlnet. Our net reads the
        # text, so the host is given neither these tokens nor the chain itself, but what came of it.
        net.previous_controlnet = SimpleNamespace(get_control=lambda *_: residuals_before)
        own_cond = {key: value for key, value in cond.items() if key != "crossattn_controlnet"}
        residuals = net._residuals(x_noisy, t, own_cond, batched_number, transformer_options)
        net_of_part.cond_hint = net.cond_hint  # as the host has fitted it, for the next forward
        return residuals

    def _chain_before(self, *arguments: Any) -> Any:
        """The residuals of the chain before this net; None where there are none. arguments: of `get_control`."""
        return None if self.previous_controlnet is None else self.previous_controlnet.get_control(*arguments)

    def _residuals(
        self, x_noisy: Tensor, t: Tensor, cond: dict[str, Any], batched_number: int, transformer_options: Options
    ) -> Any:
        """The residuals of this net, to which the host adds those of the chain. It is called on the copy for a forward.

        The arguments are those of `get_control`.
        """
        return super().get_control(x_noisy, t, cond, batched_number, transformer_options)

    def _net_of_part(self, run: Run, entry: AttachedEntry, options: Options) -> AttachedNet:
        """The net with the part of the hint that belongs to a forward, made once in a run; this net for all of it.

        The host would fit the whole hint to every area, and take the first pictures of the hint in every window. entry:
        one of the forward: all of them show one area, see AttachedEntry.can_join_batch.
        """
        window = row_window(options)
        if len(self.cond_hint_original) != run.pictures:  # the hint has no picture for each row
            window = None
        if entry.area is None and window is None:
            return self
        # The size of the latent too: a sampler may enlarge it between two steps, and the area then shows another part.
        key = self, entry.area, entry.latent, window
        return run.kept(key, lambda: self._with_part(run.cell, entry, window))

    def _with_part(self, cell: int, entry: AttachedEntry, window: RowNumbers | None) -> AttachedNet:
        """A copy whose hint is the pictures of a window, or of the whole batch, where they show the area of an entry.

        cell: the side of a latent pixel, in pixels.
        """
        hint: Tensor = self.cond_hint_original  # (B, C, H, W)
        if window is not None:
            hint = hint[list(window)]
        if entry.area is not None:
            height, width = entry.latent
            hint = hint_of_area(hint, (height, width), entry.area, self.upscale_algorithm, cell)
        net = copy(self)
        net.cond_hint_original = hint
        net.cond_hint = None
        return net


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
