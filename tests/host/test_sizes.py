"""Nodes of the host that change sizes while a run lasts: the latent between steps, or the grid inside of the UNet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from comfy.model_patcher import ModelPatcher
from comfy_extras.nodes_model_downscale import PatchModelAddDownscale
from figures import relative
from host_sampling import Applied, applied, latent_of, sampled, sigmas_of
from method_rows import Row, rows

UNETS = [row for row in rows() if row.of_unets]


def deep_shrink(model: ModelPatcher, block: int) -> ModelPatcher:
    """Behind PatchModelAddDownscale, which halves the picture behind this block of the UNet for the whole run."""
    settings = (model, block, 2.0, 0.0, 1.0, True, "bicubic", "bicubic")
    if hasattr(PatchModelAddDownscale, "execute"):
        result = PatchModelAddDownscale.execute(*settings)
        return result[0] if isinstance(result, tuple) else result.args[0]
    return PatchModelAddDownscale().patch(*settings)[0]


def picture(row: Row, people: str, change: Callable[[ModelPatcher], ModelPatcher], **sampling: Any) -> torch.Tensor:
    """people: "ours" or "others"."""
    inputs = applied(row, row.node() if people == "ours" else row.other())
    inputs = Applied(change(inputs.model), inputs.positive, inputs.negative)
    torch.manual_seed(3)  # the sampler that enlarges draws noise of its own
    return sampled(inputs.guider(), latent_of(row), sigmas_of(inputs.model, sampling.pop("steps", 2)), **sampling)


@pytest.mark.parametrize("block", [1, 3, pytest.param(5, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("row", UNETS, ids=str)
def test_people_act_where_the_picture_is_shrunk_inside_of_the_unet(row: Row, block: int) -> None:
    of_people = picture(row, "ours", lambda model: deep_shrink(model, block), steps=4)
    of_others = picture(row, "others", lambda model: deep_shrink(model, block), steps=4)
    assert of_people.isfinite().all()
    assert relative(of_people, of_others) > 1e-5


def unchanged(model: ModelPatcher) -> ModelPatcher:
    return model


@pytest.mark.parametrize("row", rows(), ids=str)
def test_people_act_in_a_latent_that_grows_between_steps(row: Row) -> None:
    nodes = pytest.importorskip(
        "comfy_extras.nodes_advanced_samplers", reason="this ComfyUI has no sampler that enlarges"
    )
    if not row.runs_here:
        pytest.skip("this ComfyUI has no MODEL for it")
    kind = nodes.SamplerLCMUpscale
    result = kind.execute(2.0, -1, "bilinear") if hasattr(kind, "execute") else kind().get_sampler(2.0, -1, "bilinear")
    sampler = result[0] if isinstance(result, tuple) else result.args[0]
    of_people = picture(row, "ours", unchanged, steps=4, sampler=sampler)
    of_others = picture(row, "others", unchanged, steps=4, sampler=sampler)
    assert of_people.shape[-1] == 2 * latent_of(row).shape[-1]
    assert of_people.isfinite().all()
    assert relative(of_people, of_others) > 1e-5
