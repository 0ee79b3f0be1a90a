"""Tokens, patches and condition images against diffusers' projection classes, the formula, and the authors' code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers.loaders.unet import UNet2DConditionLoadersMixin
from pack.core.geometry import with_patches
from pack.core.models.tensors import flatten
from pack.nodes.id_patch import net as id_patch
from safetensors.torch import load_file
from seeded import id_patch_file

GOLDEN = load_file(Path(__file__).parents[1] / "golden" / "id_patch_projections.safetensors")
KINDS = ["resampler", "mlp"]


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def file(kind):
    return id_patch_file(kind)


@pytest.fixture(scope="module")
def net(file):
    state = flatten(file)
    net = id_patch.IDPatchNet(state, ops=torch.nn)
    net.load_state_dict(state, strict=True)
    return net.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def peers(file):
    convert = UNet2DConditionLoadersMixin()._convert_ip_adapter_image_proj_to_diffusers
    return {
        name: convert(dict(state), low_cpu_mem_usage=False).eval().requires_grad_(False) for name, state in file.items()
    }


def test_tokens_and_patches_equal_diffusers(net, peers):
    embeddings = torch.randn(5, 1, 512, generator=torch.Generator().manual_seed(3)) * 1.4
    for row in [*embeddings.split(1), torch.zeros(1, 1, 512)]:
        assert (net.tokens(row) - peers["prompt_proj"](row)).abs().max() <= 1e-5
        assert (net.patch(row) - peers["patch_proj"](row).reshape(3, 64, 64)).abs().max() <= 1e-5


def test_photo_sequences_equal_diffusers(net, peers, kind):
    row = torch.randn(1, 3, 512, generator=torch.Generator().manual_seed(4))
    assert net.takes_sequences == (kind == "resampler")
    if kind == "resampler":
        assert (net.tokens(row) - peers["prompt_proj"](row)).abs().max() <= 1e-5


def reference_condition(control, patches, locations):
    """The formula of the released inferencer: a canvas padded by half a patch, added to and cut back."""
    _, height, width, _ = control.shape
    canvas = torch.zeros(3, height + 64, width + 64)
    low, high = torch.round(locations - 32).int(), torch.round(locations + 32).int()
    for patch, (x0, y0), (x1, y1) in zip(patches, low.tolist(), high.tolist(), strict=True):
        if x0 + 32 < 0 or x1 - 32 >= width or y0 + 32 < 0 or y1 - 32 >= height:
            continue
        canvas[:, y0 + 32 : y1 + 32, x0 + 32 : x1 + 32] += patch
    return control + canvas[:, 32:-32, 32:-32].permute(1, 2, 0)


def test_condition_image_equals_the_formula():
    """Borders, corners, overlaps, halves, odd sizes, a batch of controls."""
    generator = torch.Generator().manual_seed(5)
    for height, width in [(192, 256), (131, 97), (64, 64), (40, 200)]:
        control = torch.rand(2, height, width, 3, generator=generator)
        corners = torch.tensor([[0.0, 0.0], [width - 1.0, height - 1.0], [0.5, 1.5], [width / 2, height / 2]])
        spread = torch.rand(8, 2, generator=generator) * torch.tensor([width - 1.0, height - 1.0])
        locations = torch.cat([corners, spread])
        patches = torch.randn(len(locations), 3, 64, 64, generator=generator) * 2
        ours = with_patches(control, list(patches), [tuple(xy) for xy in locations.tolist()])
        assert (ours - reference_condition(control, patches, locations)).abs().max() <= 1e-6
        assert ours.min() < 0 and ours.max() > 1, "patches must survive unclamped"


@pytest.mark.parametrize("people", [1, 3])
def test_golden_numbers(net, kind, people):
    embeddings = GOLDEN["in.emb"][:people, None, None]  # people 1 1 512
    tokens = torch.cat([net.tokens(row) for row in embeddings], dim=1)
    nobody = net.tokens(torch.zeros(1, 1, 512)).repeat(1, people, 1)
    control = GOLDEN["in.control"][None] / 255.0
    centers = [tuple(xy) for xy in GOLDEN["in.locs"][:people].tolist()]
    condition = with_patches(control, [net.patch(row) for row in embeddings], centers)

    every_token = 4 if people == 3 else 1
    assert (tokens[:, ::every_token] - GOLDEN[f"{kind}.{people}.tokens"]).abs().max() <= 1e-5
    assert (nobody[:, ::every_token] - GOLDEN[f"{kind}.{people}.neg_tokens"]).abs().max() <= 1e-5
    golden = GOLDEN[f"{kind}.{people}.condition"]
    every_pixel = control.shape[2] // golden.shape[-1]
    assert (condition.permute(0, 3, 1, 2)[:, :, ::every_pixel, ::every_pixel] - golden).abs().max() <= 1e-5
