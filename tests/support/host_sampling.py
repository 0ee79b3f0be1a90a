"""Samples what a node of ours gives on, by the host's own guiders and sigmas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import comfy.sample
import comfy.samplers
import node_helpers
import torch
from comfy.model_patcher import ModelPatcher
from figures import relative
from graph_run import run
from method_rows import Node, Row
from torch import Tensor


@dataclass(frozen=True)
class Applied:
    """What an apply node gives on. model: that of the row's defaults where the node has no MODEL output."""

    model: ModelPatcher
    positive: Any
    negative: Any

    def guider(self, cfg: float = 4.0) -> comfy.samplers.CFGGuider:
        guider = comfy.samplers.CFGGuider(self.model)
        guider.set_conds(self.positive, self.negative)
        guider.set_cfg(cfg)
        return guider


def applied(row: Row, node: Node, outputs_by_node: dict[Node, Any] | None = None) -> Applied:
    """The outputs of one of the row's nodes. outputs_by_node: what nodes of the graph have given before."""
    values = run(node, {} if outputs_by_node is None else outputs_by_node)
    outputs = dict(zip(row.outputs, values, strict=True))
    model = outputs.get("model") or run(row.model, {})[0]
    return Applied(model, outputs["positive"], outputs["negative"])


def plain(row: Row, model: ModelPatcher | None = None) -> Applied:
    """The MODEL and the texts without the node."""
    sampler = row.plain()
    outputs_by_node: dict[Node, Any] = {}
    positive, negative = (run(sampler.inputs[side], outputs_by_node)[0] for side in ("positive", "negative"))
    return Applied(model or run(row.model, outputs_by_node)[0], positive, negative)


def latent_of(row: Row, rows: int = 1) -> Tensor:
    """Zeros of the row's size, (rows, C, h, w) or (rows, C, T, h, w)."""
    latent = run(row.latent, {})[0]["samples"][:1]
    return latent.repeat(rows, *[1] * (latent.dim() - 1))


def sigmas_of(model: ModelPatcher, steps: int, scheduler: str = "normal") -> Tensor:
    """(steps + 1,), as the host's samplers make them."""
    return comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), scheduler, steps)


def sampled(
    guider: comfy.samplers.CFGGuider, latent: Tensor, sigmas: Tensor, sampler: Any = "euler", seed: int = 1
) -> Tensor:
    """What a guider makes of a latent. sampler: a name of the host's, or a sampler object."""
    start = comfy.sample.fix_empty_latent_channels(guider.model_patcher, latent)
    noise = comfy.sample.prepare_noise(start, seed)
    sampler_object = comfy.samplers.sampler_object(sampler) if isinstance(sampler, str) else sampler
    return guider.sample(noise, start, sampler_object, sigmas, seed=seed, disable_pbar=True)


def assert_areas_are_apart(make: Callable[[], Applied], latent: Tensor, before: Tensor | None = None) -> None:
    """Of two areas of one size, which the host computes in one forward, each is as it is alone. make: anew each time,
    so that nothing is kept of another area. before: a latent of another size, which is drawn with both areas before."""
    height, width = latent.shape[-2:]
    middle = width // 2

    def shown(*lefts: int, before: Tensor | None = None) -> Tensor:
        given = make()
        areas = [{"area": (height, middle, 0, left)} for left in lefts]
        positive = [entry for area in areas for entry in node_helpers.conditioning_set_values(given.positive, area)]
        prompted = replace(given, positive=positive)
        if before is not None:
            sampled(prompted.guider(), before, sigmas_of(given.model, 1))
        return sampled(prompted.guider(), latent, sigmas_of(given.model, 1))

    alone = torch.cat([shown(0)[..., :middle], shown(middle)[..., middle:]], dim=-1)
    assert relative(shown(0, middle, before=before), alone) <= 2e-5
