"""What docs/models.md says of checkpoints of SDXL's shape that the methods' files were not made for: they sample, and
people count."""

from functools import cache
from typing import Any

import comfy.sample
import comfy.samplers
import node_helpers
import pytest
import tiny_sdxl
import torch
from comfy.model_patcher import ModelPatcher
from comfy_extras.nodes_model_advanced import ModelSamplingContinuousEDM, ModelSamplingDiscrete
from graph_run import run
from graphs import Node, node, value
from marks import each
from method_rows import Row, rows
from other_packs import ic_light
from pack.core.checks.errors import WrongBaseModel
from sample_values import sdxl_clip, text
from tiny import tiny_networks
from torch import Tensor

KINDS = ("ApplyIDPatch", "ApplyInstantID", "ApplyIPAdapter", "ApplyPuLID", "ApplyPhotoMaker")
ROWS = {row.kind.removeprefix("Likeness"): row for row in rows() if not (row.variant or row.network)}


@cache
def wide(kind: str, channels: int) -> ModelPatcher:
    """SDXL whose first convolution is given more than a latent: a picture and a mask, or a picture."""
    return tiny_networks.seeded_model(kind, {**tiny_sdxl.HOST_CONFIG, "in_channels": channels}, 431)


def v_prediction(model: ModelPatcher) -> ModelPatcher:
    """NoobAI v-pred, by the host's node."""
    return ModelSamplingDiscrete().patch(model, "v_prediction", True)[0]


def cosxl(model: ModelPatcher) -> ModelPatcher:
    """CosXL, by the host's node and its defaults."""
    return ModelSamplingContinuousEDM().patch(model, "v_prediction", 120.0, 0.002)[0]


def drawn(row: Row, applied: Node, change: Any, model: ModelPatcher | None, channels: int) -> Tensor:
    """What a sampler makes of a node. model: instead of its defaults'. channels: of what the UNet is given."""
    if model is not None and "model" in applied.inputs:
        applied = node(applied.kind, **{**applied.inputs, "model": model})
    outputs = dict(zip(row.outputs, run(applied, {}), strict=True))
    sampled = outputs.get("model") or model or run(row.model, {})[0]
    sides = outputs["positive"], outputs["negative"]
    if channels > 4:
        options: dict[str, Any] = {"concat_latent_image": torch.ones(1, 4, 12, 16)}
        if channels == 9:
            options["concat_mask"] = torch.ones(1, 1, 96, 128)
        sides = tuple(node_helpers.conditioning_set_values(side, options) for side in sides)
    sampled = change(sampled) if change else sampled
    latent = torch.zeros(1, 4, 12, 16)
    noise = comfy.sample.prepare_noise(latent, 1)
    sampler = comfy.samplers.KSampler(sampled, 2, "cpu", "euler", "normal", 1.0, sampled.model_options)
    return sampler.sample(noise, *sides, 4.0, latent, seed=1, disable_pbar=True)


@pytest.mark.parametrize("kind", each(KINDS, ["ApplyIDPatch", "ApplyInstantID"]))
@pytest.mark.parametrize(
    "change, model, channels",
    [
        (v_prediction, None, 4),
        pytest.param(cosxl, None, 4, marks=pytest.mark.thorough),
        (None, ("SDXL", 9), 9),
        pytest.param(None, ("SDXL_instructpix2pix", 8), 8, marks=pytest.mark.thorough),
    ],
    ids=["v-prediction", "CosXL", "inpainting", "InstructPix2Pix"],
)
def test_it_samples_and_people_count(kind: str, change: Any, model: tuple[str, int] | None, channels: int) -> None:
    row = ROWS[kind]
    wide_model = wide(*model) if model else None
    first = drawn(row, row.node(), change, wide_model, channels)
    again = drawn(row, row.node(), change, wide_model, channels)
    of_others = drawn(row, row.other(), change, wide_model, channels)
    assert first.isfinite().all()
    assert of_others.isfinite().all()
    # Networks of random numbers listen little to the text, so any difference counts where the same people make none.
    assert torch.equal(again, first)
    assert not torch.equal(of_others, first)


@pytest.mark.parametrize("wider", ["by itself", "by a node before", "by a node behind"])
def test_eight_channels_are_refused_for_shared_parts(wider: str) -> None:
    row = ROWS["SharePartsAttention"]
    model = wide("SDXL_instructpix2pix", 8) if wider == "by itself" else wide("SDXL", 4)
    if wider == "by a node before":
        model = ic_light(model)
    changed = {"clip": value(sdxl_clip), "positive": text(1), "negative": text(2)}
    applied = node(row.node().kind, **{**row.node().inputs, **changed})
    with pytest.raises(WrongBaseModel, match="4 more channels than a latent has"):
        drawn(row, applied, ic_light if wider == "by a node behind" else None, model, 4)
