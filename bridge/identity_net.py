"""IdentityNet: a ControlNet whose cross-attention reads faces instead of the text, alone or by region."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import comfy.controlnet
import comfy.ldm.modules.attention
import torch
from comfy.ldm.modules.diffusionmodules.util import timestep_embedding
from torch import Tensor

from ..core.attention import decoupled, on_grid, region_weights
from ..core.errors import ModelNotPatched, NotAControlNet
from . import adapter


class IdentityNet(comfy.controlnet.ControlNet):
    """Shares the network of the ControlNet it is made from; the other nets of a chain keep the text.

    source: whose injections are its context. nobody: (1, T, width), read outside of all regions.
    """

    def __init__(self, net: Any, source: object, nobody: Tensor) -> None:
        if not isinstance(net, comfy.controlnet.ControlNet) or getattr(net, "control_model", None) is None:
            raise NotAControlNet(type(net).__name__)
        super().__init__(
            None,
            global_average_pooling=net.global_average_pooling,
            load_device=net.load_device,
            manual_cast_dtype=net.manual_cast_dtype,
        )
        self.control_model = net.control_model
        self.control_model_wrapped = net.control_model_wrapped
        self.source, self.nobody = source, nobody
        self._by_region: dict[int, _ByRegion] = {}
        net.copy_to(self)

    def copy(self) -> IdentityNet:
        return IdentityNet(self, self.source, self.nobody)

    def pre_run(self, model: Any, percent_to_timestep_function: Any) -> None:
        # The host offers no place before the sampler that sees both MODEL and conditioning.
        if not adapter.is_patched(model.current_patcher):
            raise ModelNotPatched("Apply InstantID")
        super().pre_run(model, percent_to_timestep_function)

    def cleanup(self) -> None:
        super().cleanup()
        self._by_region.clear()

    def get_control(self, x_noisy: Tensor, t: Tensor, cond: dict[str, Any], *args: Any) -> Any:
        before = self.previous_controlnet
        done = before.get_control(x_noisy, t, cond, *args) if before is not None else None
        rows = cond.get(adapter.KEY)
        injections = rows.of(self.source) if rows is not None else []
        if not injections:
            return done
        context = self._context(injections).repeat_interleave(len(x_noisy) // len(injections), dim=0)
        with self._alone(done, injections[0].regions):
            return super().get_control(x_noisy, t, {**cond, "crossattn_controlnet": context}, *args)

    def _context(self, injections: list[adapter.Injection]) -> Tensor:
        """(chunks, tokens, width): everybody's tokens, and nobody's at the end where there are regions."""
        tokens = torch.stack([injection.tokens for injection in injections])  # chunks people T width
        if injections[0].regions is not None:
            tokens = torch.cat([tokens, self.nobody.expand(len(tokens), 1, -1, -1)], dim=1)
        return tokens.flatten(1, 2)

    @contextmanager
    def _alone(self, done: Any, regions: Tensor | None) -> Any:
        """The rest of the chain already computed, with its own context; the network reading by region."""
        before, network = self.previous_controlnet, self.control_model
        self.previous_controlnet = _Computed(done) if before is not None else None
        if regions is not None:
            self.control_model = self._by_region.setdefault(id(regions), _ByRegion(network, regions))
        try:
            yield
        finally:
            self.previous_controlnet, self.control_model = before, network


class _Computed:
    """Stands in for the previous net of a chain."""

    def __init__(self, control: Any) -> None:
        self._control = control

    def get_control(self, *_: Any) -> Any:
        return self._control


class _ByRegion:
    """The host's ControlNet forward with cross-attention by region.

    The host does not hand transformer_options to a ControlNet's blocks, but they take them: this is its plain
    forward (comfy/cldm/cldm.py) with an attn2 replacement in every block.
    """

    def __init__(self, network: Any, regions: Tensor) -> None:
        weights = region_weights(regions)
        self._weights = torch.cat([weights, 1 - weights.sum(dim=0, keepdim=True)])
        self._network, self.dtype = network, network.dtype
        self._on_grid: dict[tuple[int, int], Tensor] = {}

    def __call__(
        self, x: Tensor, hint: Tensor, timesteps: Tensor, context: Tensor, y: Tensor | None = None, **_: Any
    ) -> dict[str, list[Tensor]]:
        net = self._network
        if net.control_add_embedding is not None:
            raise NotAControlNet("a union ControlNet")
        emb = net.time_embed(timestep_embedding(timesteps, net.model_channels, repeat_only=False).to(x.dtype))
        hint = net.input_hint_block(hint, emb, context)
        if net.num_classes is not None:
            emb = emb + net.label_emb(y)
        outputs: list[Tensor] = []
        for number, (block, zero_conv) in enumerate(zip(net.input_blocks, net.zero_convs, strict=True)):
            x = block(x, emb, context, self._options("input", number))
            x = x + hint if number == 0 else x
            outputs.append(zero_conv(x, emb, context))
        x = net.middle_block(x, emb, context, self._options("middle", 0))
        return {"middle": [net.middle_block_out(x, emb, context)], "output": outputs}

    def _options(self, name: str, number: int) -> dict[str, Any]:
        return {"block": (name, number), "patches_replace": {"attn2": {(name, number): self._attention}}}

    def _attention(self, q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any]) -> Tensor:
        groups = len(self._weights)
        keys, values = (x.unflatten(1, (groups, -1)).transpose(0, 1) for x in (k, v))
        height, width = extra_options["activations_shape"][-2:]
        if (height, width) not in self._on_grid:
            self._on_grid[height, width] = on_grid(self._weights, height, width)[:, None].to(q)
        return decoupled(q, keys, values, self._on_grid[height, width], adapter.attend_with(extra_options))
