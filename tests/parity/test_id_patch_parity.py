"""ID-Patch's tokens and pictures against the authors' numbers, and whole sampling against theirs and diffusers'."""

from functools import cache
from pathlib import Path

import pytest
import tiny_sdxl
import torch
from figures import relative
from pack.core.cast import Member, Person, PlacedCast, Slot
from pack.core.pictures.geometry import patch_rect, with_patches
from peers import Sampling, apply, converted, read
from safetensors import safe_open
from safetensors.torch import load_file
from seeded_files import id_patch_file
from tiny import tiny_networks

GOLDEN = load_file(Path(__file__).parents[1] / "golden" / "id_patch_projections.safetensors")
TOLERANCE = 1e-5  # relative to the largest latent value
KINDS = ("resampler", "mlp")


@cache
def loaded(kind):
    return read("id_patch", id_patch_file(kind))


@pytest.mark.parametrize("people", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_golden_numbers(kind, people):
    net = loaded(kind).net
    embeddings = GOLDEN["in.emb"][:people, None, None]  # people 1 1 512
    tokens = torch.cat([net.tokens(row) for row in embeddings], dim=1)
    nobody = net.tokens(torch.zeros(1, 1, 512)).repeat(1, people, 1)
    control = GOLDEN["in.control"][None] / 255.0
    rects = [patch_rect(tuple(xy)) for xy in GOLDEN["in.locs"][:people].tolist()]
    condition = with_patches(control, [net.patch(row) for row in embeddings], rects)

    every_token = 4 if people == 3 else 1
    assert (tokens[:, ::every_token] - GOLDEN[f"{kind}.{people}.tokens"]).abs().max() <= 1e-5
    assert (nobody[:, ::every_token] - GOLDEN[f"{kind}.{people}.neg_tokens"]).abs().max() <= 1e-5
    golden = GOLDEN[f"{kind}.{people}.condition"]
    every_pixel = control.shape[2] // golden.shape[-1]
    assert (condition.permute(0, 3, 1, 2)[:, :, ::every_pixel, ::every_pixel] - golden).abs().max() <= 1e-5


def test_photo_sequences_equal_diffusers():
    row = torch.randn(1, 3, 512, generator=torch.Generator().manual_seed(4))
    net = loaded("resampler").net
    assert net.takes_sequences
    assert not loaded("mlp").net.takes_sequences
    assert (net.tokens(row) - converted(id_patch_file("resampler")["prompt_proj"])(row)).abs().max() <= 1e-5


def reference_condition(control, patches, locations):
    """The formula of the released inferencer: a canvas padded by half a patch, added to and cut back."""
    _, height, width, _ = control.shape
    canvas = torch.zeros(3, height + 64, width + 64)
    low = torch.round(locations - 32).int()
    high = torch.round(locations + 32).int()
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
        image = with_patches(control, list(patches), [patch_rect(tuple(xy)) for xy in locations.tolist()])
        assert (image - reference_condition(control, patches, locations)).abs().max() <= 1e-6
        assert image.min() < 0 and image.max() > 1, "patches must survive unclamped"


def both(shape, changes):
    """UNet and ControlNet: diffusers' and the host's."""
    unet = tiny_sdxl.diffusers_unet(**changes)
    net = tiny_sdxl.diffusers_control_net(unet)
    return unet, net, tiny_sdxl.host_model(unet, shape), tiny_sdxl.host_control_net(net, shape)


@pytest.fixture(scope="module")
def networks():
    return both(tiny_sdxl.HOST_CONFIG, {})


def applied(networks, kind, embeddings, centers, control, sides, start):
    """The cast, its picture, and both sides."""
    rows = [Person(f"{n}", {"arcface-ir-se50": row[None]}, torch.zeros(1, 112, 112, 3)) for n, row in embeddings]
    people = (Member(person, 1.0, Slot(tuple(xy))) for person, xy in zip(rows, centers.tolist(), strict=True))
    cast = PlacedCast(tuple(people), control.shape[2], control.shape[1])
    (image, *_) = apply("LikenessIDPatchConditionImage", id_patch=loaded(kind), cast=cast, image=control)
    inputs = {"control_net": networks[3], "id_patch": loaded(kind), "cast": cast, "image": image}
    return cast, image, apply("LikenessApplyIDPatch", **sides, **inputs, id_start_percent=start)[:2]


@pytest.mark.both_hosts
def test_golden_sampling_of_the_authors():
    networks = both(tiny_sdxl.GOLDEN_CONFIG, tiny_sdxl.GOLDEN_CHANGES)
    golden = load_file(tiny_sdxl.GOLDEN)
    with safe_open(tiny_sdxl.GOLDEN, "pt") as file:
        init = float(file.metadata()["init"])
    text = torch.randn(2, 77, 2048, generator=torch.Generator().manual_seed(141))
    sides = dict(zip(("positive", "negative"), tiny_sdxl.conditioning(text, golden["sample.pooled"]), strict=True))
    people = enumerate(golden["in.emb"][:2])
    control = GOLDEN["in.control"][None] / 255.0
    _, image, sides_with_tokens = applied(networks, "resampler", people, golden["in.locs"][:2], control, sides, 0.25)
    assert (image.permute(0, 3, 1, 2) - golden["sample.condition"]).abs().max() <= 1e-5
    start = golden["sample.noise"] * init
    sigmas = golden["sample.sigmas"]
    latents = tiny_networks.host_sample(networks[2], start, sigmas, *sides_with_tokens, 5.0)
    assert relative(latents, golden["sample.latents"]) <= TOLERANCE


@pytest.mark.parametrize(
    ("people", "kind"), [pytest.param(1, "resampler", marks=pytest.mark.thorough), (5, "resampler"), (2, "mlp")]
)
def test_sampling_equals_diffusers(networks, people, kind):
    """8 steps, CFG 5, text only in the first 20 % (trailing spacing: steps and percentages agree)."""
    width, height = 200, 136  # odd multiples of 8
    sampling = Sampling(width, height, 8, seed=people, spacing="trailing")
    centers = torch.rand(people, 2, generator=sampling.generator) * torch.tensor([width, height])
    control = torch.rand(1, height, width, 3, generator=sampling.generator)
    embeddings = sampling.normal(people, 512)
    cast, image, sides_with_tokens = applied(
        networks, kind, enumerate(embeddings), centers, control, sampling.sides, 0.2
    )
    id_patch = loaded(kind)
    rows = id_patch.unconditional_tokens(people), id_patch.tokens(id_patch.faces(cast.people, "mean"))
    with_ids = torch.cat([sampling.text, torch.stack(rows).flatten(1, 2)], dim=1)
    unet, net, model, _ = networks
    reference = sampling.theirs(
        unet, lambda i: sampling.text if i < 8 * 0.2 else with_ids,
        control=lambda _: (net, image.permute(0, 3, 1, 2), 0.8, None),
    )  # fmt: skip
    assert relative(sampling.ours(model, *sides_with_tokens), reference) <= TOLERANCE
