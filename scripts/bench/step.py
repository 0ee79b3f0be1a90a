"""One step of a sampling run on meta tensors, from what conditioning carries to what the UNet computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import comfy.model_patcher
import torch
from pack.bridge.carried import Carried, CarriedCond, Chunk
from pack.bridge.runs import Given, Run
from pack.bridge.unet import attention_layers

DEVICE, DTYPE = "meta", torch.float16
Control = Callable[["Step"], Any]
"""What ControlNets make for a step, as the host's UNet takes it."""


@dataclass(frozen=True)
class Family:
    """The host's networks at real size, and the picture they make. width, height: of it in pixels. text: width of a
    token. net: a ControlNet's network, or None."""

    name: str
    unet: Any
    net: Any
    text: int
    width: int
    height: int

    def at(self, width: int, height: int) -> Family:
        return replace(self, width=width, height=height)

    @cached_property
    def patcher(self) -> Any:
        return comfy.model_patcher.ModelPatcher(self.unet, load_device=DEVICE, offload_device=DEVICE)

    @property
    def widths(self) -> list[int]:
        """Of every cross-attention layer."""
        return [width for *_, width in attention_layers(self.patcher)]

    def inputs(self, rows: int) -> dict[str, Any]:
        """Of the UNet and every ControlNet, for so many rows."""
        found = {"x": torch.zeros(rows, 4, self.height // 8, self.width // 8, dtype=DTYPE, device=DEVICE),
                 "timesteps": torch.full((rows,), 500.0, dtype=DTYPE, device=DEVICE)}  # fmt: skip
        return {**found, "y": torch.zeros(rows, self.adm, dtype=DTYPE, device=DEVICE)} if self.adm else found

    @property
    def adm(self) -> int:
        """Width of what the UNet is told of the picture's size, or 0."""
        return self.unet.model_config.unet_config.get("adm_in_channels") or 0

    def tokens(self, count: int, rows: int = 1) -> Any:
        return torch.zeros(rows, count, self.text, dtype=DTYPE, device=DEVICE)


class Step:
    """One step with CFG: positive and negative in one batch, one call of the UNet.

    text: (rows, T, width) of both. carried: per apply node what it puts into the positive and into the negative, and
    the run that reads it. options: transformer_options of another pack's patches.
    """

    def __init__(
        self,
        family: Family,
        text: Any = None,
        carried: Sequence[tuple[type[Run], Carried, Carried]] = (),
        control: Control | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.family, self._control, self._options = family, control, options or {}
        self.text = family.tokens(77, 2) if text is None else text
        self.given = family.inputs(len(self.text))
        self._sides = [{"cross_attn": row, "model_conds": {}} for row in self.text.chunk(2)]
        for run, *each in carried:
            for side, one in zip(self._sides, each, strict=True):
                before = side["model_conds"].get(run.key)
                side["model_conds"][run.key] = CarriedCond((*(before.cond if before else ()), one))
        guider = SimpleNamespace(
            model_patcher=family.patcher,
            conds=dict(zip(("positive", "negative"), ([side] for side in self._sides), strict=True)),
            model_options={"transformer_options": {}},
        )
        self.runs = [run(guider, self.given["x"]) for run in dict.fromkeys(run for run, *_ in carried)]

    @property
    def networks(self) -> tuple[Any, ...]:
        """Whose weights it needs."""
        unet = self.family.unet.diffusion_model
        return (unet, self.family.net) if self._control else (unet,)

    def __call__(self) -> Any:
        with torch.inference_mode():
            options = self._options
            for run in self.runs:
                given = Given(self.family.unet, self.given["x"], self.given["timesteps"], self.text, options)
                batch = run.batch(tuple(chunk.carried for chunk in self._chunks(run)), given)
                options = batch.around(options) if batch else options
            control = self._control(self) if self._control else None
            unet = self.family.unet.diffusion_model
            return unet(**self.given, context=self.text, control=control, transformer_options=options)

    def _chunks(self, run: Run) -> tuple[Chunk, ...]:
        return tuple(Chunk(side["model_conds"][run.key].cond) for side in self._sides)

    def carried_by(self, run: Run) -> Any:
        """What the host would hand a ControlNet of it."""
        return run.rows(self._chunks(run), len(self.text) // 2)
