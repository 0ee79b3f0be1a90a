"""A ControlNet whose cross-attention reads people's image tokens instead of the text, alone or by region."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import comfy.controlnet
import torch
from comfy.ldm.modules.diffusionmodules.util import timestep_embedding
from torch import Tensor
from torch.nn.functional import interpolate

from ..core.attention import Block, decoupled, on_grid, region_weights
from ..core.errors import LikenessError
from .carried import chunks_of
from .cross_attention.injections import Injection
from .cross_attention.row_tracking import repeat_rows
from .per_thread import PerThread
from .unet import Grid, Options, Replacement, attend_with, grid_of


class NotAControlNet(LikenessError):
    """Something else where a plain ControlNet is needed. needed: what, in words; advice: where it is found."""

    def __init__(self, found: str, needed: str, advice: str) -> None:
        super().__init__(f"The control_net input got {found}, but {needed}.", advice)


class TokenControlNet(comfy.controlnet.ControlNet):
    """Shares the network of the ControlNet it is made from; ControlAttachment computes the rest of a chain before.

    source: whose injections are its context. outside: (1, T, width), read outside of all regions. needed, advice: as in
    NotAControlNet.
    """

    control_model: Any = PerThread()

    def __init__(self, net: Any, source: object, outside: Tensor, needed: str, advice: str) -> None:
        if found := _instead(net):
            raise NotAControlNet(found, needed, advice)
        super().__init__(
            None,
            global_average_pooling=net.global_average_pooling,
            load_device=net.load_device,
            manual_cast_dtype=net.manual_cast_dtype,
        )
        self.control_model = net.control_model
        self.control_model_wrapped = net.control_model_wrapped
        self.source, self.outside, self._needed, self._advice = source, outside, needed, advice
        self._ready: dict[tuple[tuple[Injection, ...], int], tuple[_Network, Tensor]] = {}
        net.copy_to(self)

    def copy(self) -> "TokenControlNet":
        # Not of its own type: attached, it is of a class that stands in front of this one.
        return TokenControlNet(self, self.source, self.outside, self._needed, self._advice)

    def cleanup(self) -> None:
        super().cleanup()
        self._ready = {}

    def get_control(
        self, x_noisy: Tensor, t: Tensor, cond: dict[str, Any], batched_number: int, transformer_options: Options
    ) -> Any:
        args = batched_number, transformer_options
        chunks = chunks_of(cond, transformer_options, Injection.key)
        injections = [injection for chunk in chunks for injection in chunk if injection.source is self.source]
        if not injections:
            before = self.previous_controlnet
            return before.get_control(x_noisy, t, cond, *args) if before is not None else None
        key = tuple(injections), len(x_noisy)
        if key not in self._ready:
            self._ready[key] = self._made(injections, x_noisy)
        by_region, context = self._ready[key]
        with TokenControlNet.control_model.replaced(self, by_region):
            return super().get_control(x_noisy, t, {**cond, "crossattn_controlnet": context}, *args)

    def _made(self, injections: Sequence[Injection], x: Tensor) -> "tuple[_Network, Tensor]":
        """The network by region, and (B, tokens, width) beside x: everybody's tokens, and no face's at the end where
        there are regions."""
        regions, boxes = injections[0].regions, None
        tokens = torch.cat([one.by_person(one.tokens) for one in injections], dim=1).transpose(0, 1)
        if regions is not None:
            tokens = torch.cat([tokens, self.outside.expand(len(tokens), 1, -1, -1)], dim=1)
        if injections[0].boxes is not None:
            each = [one.by_person(one.boxes).sum(dim=0) for one in injections if one.boxes is not None]
            boxes = repeat_rows(torch.cat(each), len(x), dim=0)
        rows = repeat_rows(tokens.flatten(1, 2), len(x), dim=0)
        context = rows.to(x.device, self.manual_cast_dtype or self.control_model.dtype)
        return _Network(self.control_model, regions, boxes), context


def _instead(net: Any) -> str:
    """What stands in the place of a plain ControlNet, in words; "" where it is one."""
    if not isinstance(net, comfy.controlnet.ControlNet) or getattr(net, "control_model", None) is None:
        return type(net).__name__
    if len(getattr(net, "timestep_keyframes", ())) > 1:
        return f"a ControlNet with another pack's timestep keyframes (its code: {type(net).__module__})"
    return "a union ControlNet" if net.control_model.control_add_embedding is not None else ""


class _Network:
    """The host's ControlNet forward, reading keypoints and tokens once per run, the tokens by region where there are.

    The host does not hand transformer_options to a ControlNet's blocks, but they take them: this is its plain
    forward (comfy/cldm/cldm.py) with an attn2 replacement in every block.
    regions: (people, H, W). boxes: (B, H, W), where the residuals act. None: everywhere.
    """

    def __init__(self, network: Any, regions: Tensor | None, boxes: Tensor | None) -> None:
        self._network, self.dtype, self._boxes = network, network.dtype, boxes
        self._weights: Tensor | None = None
        if regions is not None:
            weights = region_weights(regions)
            self._weights = torch.cat([weights, 1 - weights.sum(dim=0, keepdim=True)])
        self._on_grid: dict[Grid, Tensor] = {}
        self._masks: dict[Grid, Tensor] = {}
        self._hint: Tensor | None = None
        self._read: _KeysAndValues = {}

    def __call__(
        self, x: Tensor, hint: Tensor, timesteps: Tensor, context: Tensor, y: Tensor | None = None, **_: Any
    ) -> dict[str, list[Tensor]]:
        net, read = self._network, dict(self._read)
        emb = net.time_embed(timestep_embedding(timesteps, net.model_channels, repeat_only=False).to(x.dtype))
        if self._hint is not hint:
            self._hint, self._keypoints = hint, net.input_hint_block(hint, emb, context)
        attend = partial(self._attend, read)
        # A block projects whatever context it is given; once all of it is read, one token is the least to give.
        given = context[:, :1] if read else context
        if net.num_classes is not None:
            emb = emb + net.label_emb(y)
        outputs: list[Tensor] = []
        for number, (block, zero_conv) in enumerate(zip(net.input_blocks, net.zero_convs, strict=True)):
            x = block(x, emb, given, _replaced("input", number, attend))
            x = x + self._keypoints if number == 0 else x
            outputs.append(self._in_boxes(zero_conv(x, emb, context)))
        x = net.middle_block(x, emb, given, _replaced("middle", 0, attend))
        self._read = read  # complete: a cancelled step leaves nothing behind
        return {"middle": [self._in_boxes(net.middle_block_out(x, emb, context))], "output": outputs}

    def _attend(self, read: "_KeysAndValues", q: Tensor, k: Tensor, v: Tensor, extra_options: Options) -> Tensor:
        layer, grid = (*extra_options["block"], extra_options["block_index"]), grid_of(extra_options)
        if layer not in read:
            groups = 1 if self._weights is None else len(self._weights)
            read[layer] = _by_group(k, groups), _by_group(v, groups)
        if self._weights is not None and grid not in self._on_grid:
            self._on_grid[grid] = on_grid(self._weights, *grid)[:, None].to(q)
        return decoupled(q, *read[layer], self._on_grid.get(grid), attend_with(extra_options))

    def _in_boxes(self, residual: Tensor) -> Tensor:
        if self._boxes is None:
            return residual
        grid = residual.shape[-2], residual.shape[-1]
        if grid not in self._masks:
            # As the released pipeline_stable_diffusion_xl_instantid_full.py, which divides the picture's sides by 8, 16
            # and 32; of sides that are no multiples of 32, all is stretched over the residual.
            self._masks[grid] = interpolate(self._boxes[:, None], size=grid, mode="bilinear").to(residual)
        return residual * self._masks[grid]


_KeysAndValues = dict[Block, tuple[Tensor, Tensor]]
"""Per layer (block, number, index): (groups, B, T, C) each."""


def _by_group(x: Tensor, groups: int) -> Tensor:
    return x.unflatten(1, (groups, -1)).transpose(0, 1)


def _replaced(name: str, number: int, attend: Replacement) -> Options:
    return {"block": (name, number), "patches_replace": {"attn2": {(name, number): attend}}}
