"""IP-Adapter's projections and its whole sampling, people by region and the LoRA included, against diffusers."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any, NamedTuple

import parts_made
import pytest
import tiny_sd15
import tiny_sdxl
import torch
from diffusers import EulerDiscreteScheduler
from diffusers.loaders import unet as loaders
from diffusers.models.embeddings import IPAdapterFaceIDPlusImageProjection
from figures import relative
from ip_adapter_made import DEFAULTS, file_of, loaded
from pack.bridge import encode
from pack.bridge.unet import text_width
from pack.core.people import Cast
from pack.core.projections import EmbeddingProjection, FacePlusProjection
from pack.nodes.ip_adapter.nodes import ApplyIPAdapter
from people_made import person
from seeded import STATES, mlp_shapes, perceiver_shapes, seeded
from torch.nn.functional import normalize

TEXT, TOLERANCE = 128, 2e-6  # relative to the largest latent value
CFG = 7.5
WIDTH, HEIGHT = 192, 128
PLUS = {**mlp_shapes(4, TEXT), **perceiver_shapes(TEXT, STATES, 4, 4 * TEXT, 2)}


def converted(state):
    """A part of a file that makes tokens, in diffusers' class for it."""
    convert = loaders.UNet2DConditionLoadersMixin()._convert_ip_adapter_image_proj_to_diffusers
    return convert(dict(state), low_cpu_mem_usage=False).eval().requires_grad_(False)


@pytest.mark.parametrize("tokens", [4, 16])
def test_tokens_of_embeddings(tokens):
    state = seeded(mlp_shapes(tokens, TEXT), 71)
    ours = EmbeddingProjection(state, ops=torch.nn)
    ours.load_state_dict(state)
    embeddings = torch.cat([torch.zeros(1, 512), torch.randn(3, 512)])
    assert (ours(embeddings) - converted(state)(embeddings)).abs().max() <= 1e-6


@pytest.mark.parametrize(("shortcut", "flag", "scale"), [(None, False, 1.0), (1.0, True, 1.0), (0.4, True, 0.4)])
def test_tokens_of_embeddings_and_of_what_clip_sees(shortcut, flag, scale):
    state = seeded(PLUS, 72)
    ours = FacePlusProjection(state, ops=torch.nn)
    ours.load_state_dict(state)
    theirs = converted(state)
    embeddings, states = torch.cat([torch.zeros(1, 512), torch.randn(2, 512)]), torch.randn(3, 257, STATES)
    theirs.clip_embeds, theirs.shortcut, theirs.shortcut_scale = states[None], flag, scale
    assert (ours(embeddings, states, shortcut) - theirs(embeddings)).abs().max() <= 1e-6


class Family(NamedTuple):
    unet: Any
    host: Any
    scale: float
    """Of the host's latent format, relative to SDXL's."""


def sd15_unet():
    return tiny_sd15.diffusers_unet(151, cross_attention_dim=768)


FAMILIES = {
    "sd15": Family(sd15_unet, tiny_sd15.host_model, 0.18215 / tiny_sdxl.LATENT_SCALE),
    "sdxl": Family(tiny_sdxl.diffusers_unet, tiny_sdxl.host_model, 1.0),
}


def vision():
    """A CLIP as wide as ViT-H/14."""
    return parts_made.clip_vision(1024, STATES)


def oracle(unet, file, weights, monkeypatch):
    """diffusers' UNet with the file in it once for each person, and its LoRA merged."""
    small = functools.partial(IPAdapterFaceIDPlusImageProjection, depth=1, ffn_ratio=1 / 8)
    monkeypatch.setattr(loaders, "IPAdapterFaceIDPlusImageProjection", small)
    for number, name in enumerate(unet.attn_processors):
        attention, lora = unet.get_submodule(name.removesuffix(".processor")), file["ip_adapter"]
        layers = {"q": attention.to_q, "k": attention.to_k, "v": attention.to_v, "out": attention.to_out[0]}
        for side, layer in layers.items() if f"{number}.to_q_lora.up.weight" in lora else ():
            up, down = (lora[f"{number}.to_{side}_lora.{part}.weight"] for part in ("up", "down"))
            layer.weight.data += up @ down
    unet._load_ip_adapter_weights([file] * len(weights), low_cpu_mem_usage=False)
    for processor in unet.attn_processors.values():
        if hasattr(processor, "scale"):
            processor.scale = list(weights)
    return unet.double().eval().requires_grad_(False)


class Case(NamedTuple):
    """photos: how many each person has."""

    family: str
    kind: str
    photos: tuple[int, ...] = (1, 1)
    weights: tuple[float, ...] = (1.0, 1.0)
    changed: tuple[tuple[str, Any], ...] = ()


CASES = {
    "FaceID": Case("sd15", "face-id", weights=(1.0, 0.6)),
    "FaceID Plus v2": Case("sd15", "face-id-plus", (2, 1)),
    "FaceID Plus v2 as the authors' notebook": Case("sd15", "face-id-plus", changed=(("portrait", "face in BGR"),)),
    "FaceID Plus v1, shortcut unread": Case("sd15", "face-id-plus", changed=(("version", "v1"), ("shortcut", 0.3))),
    "portrait, two photos and three": Case("sd15", "face-id-portrait", (2, 3)),
    "plus-face": Case("sd15", "ip-adapter-plus", (2, 1)),
    "full-face, one person everywhere": Case("sd15", "ip-adapter-full", (1,), (0.8,)),
    "FaceID for SDXL": Case("sdxl", "face-id"),
    "FaceID Plus v2 for SDXL": Case("sdxl", "face-id-plus", (2, 1), changed=(("shortcut", 0.5),)),
    "plus-face for SDXL": Case("sdxl", "ip-adapter-plus"),
    "unnorm, three photos together": Case("sdxl", "face-id-unnorm", (3,), (0.9,)),
    "plain for SDXL": Case("sdxl", "ip-adapter"),
}


def tokens_of(projection, case, one, clip, width):
    """Rows (2, 1, tokens, width): of nobody, and of a person, each photo through diffusers' projection, or of FaceID
    and FaceID Plus what their photos are on average."""
    rows = one.identity.embeddings["w600k_r50"]
    if case.kind in ("face-id", "face-id-plus"):
        rows = rows.mean(0, keepdim=True)
    kept = one.identity.portraits
    pictures = (kept.aligned if case.kind == "face-id-plus" else kept.loose).float() / 255
    if "face in BGR" in dict(case.changed).values():
        pictures = pictures[..., [2, 1, 0]]
    if case.kind == "face-id-unnorm":
        given = torch.stack([torch.zeros_like(rows), rows])
    elif case.kind.startswith("face-id"):
        given = torch.cat([torch.zeros_like(rows), normalize(rows, dim=-1)])
    elif case.kind == "ip-adapter":
        seen = encode.embeds(clip, pictures, 1024)
        given = torch.cat([torch.zeros_like(seen), seen])
    if case.kind in ("face-id-plus", "ip-adapter-plus", "ip-adapter-full"):
        seen = encode.states(clip, pictures, STATES)
        seen = seen.mean(0, keepdim=True) if case.kind == "face-id-plus" else seen
        states = torch.cat([encode.nothing(clip, STATES).expand_as(seen), seen])
        if case.kind != "face-id-plus":
            given = states
        else:
            projection.clip_embeds, projection.shortcut = states[None], ("version", "v1") not in case.changed
            projection.shortcut_scale = dict(case.changed).get("shortcut", 1.0)
    return projection(given).reshape(2, 1, -1, width)


class Given(torch.nn.Module):
    """In place of diffusers' projections: tokens that these have made already."""

    def forward(self, tokens):
        return tokens


ALWAYS = (
    "FaceID", "FaceID Plus v2 as the authors' notebook", "portrait, two photos and three", "plus-face",
    "FaceID Plus v2 for SDXL",
)  # fmt: skip


@torch.no_grad()
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in ALWAYS else pytest.mark.thorough) for name in CASES]
)
def test_sampling_equals_diffusers(name, tmp_path, monkeypatch, record_property):
    case = CASES[name]
    family, people = FAMILIES[case.family], [person(n, photos) for n, photos in enumerate(CASES[name].photos)]
    # In single precision rounding alone makes up to 5e-6 of it at this CFG.
    unet = family.unet().double()
    model = family.host(unet)
    file, width, settings = file_of(case.kind, model), text_width(model), {**DEFAULTS, **dict(case.changed)}
    adapter, clip = loaded(file, tmp_path, settings.pop("version", "by the file")), vision()
    generator = torch.Generator().manual_seed(11)
    text, pooled = torch.randn(2, 77, width, generator=generator), torch.randn(2, 1280, generator=generator)
    masks = None if len(people) == 1 else torch.zeros(2, HEIGHT, WIDTH)
    for number in range(len(people) if masks is not None else 0):  # a third of the picture each, nobody in the last
        masks[number, :, 64 * number : 64 * number + 64] = 1
    scheduler = EulerDiscreteScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1, timestep_spacing="leading"
    )
    scheduler.set_timesteps(6)
    sigmas, timesteps = scheduler.sigmas.float(), scheduler.timesteps
    start = torch.randn(1, 4, HEIGHT // 8, WIDTH // 8, generator=generator) * scheduler.init_noise_sigma

    cast = Cast(tuple(replace(one, weight=weight) for one, weight in zip(people, case.weights, strict=True)))
    model, positive, negative = ApplyIPAdapter.execute(
        model, *tiny_sdxl.conditioning(text, pooled), adapter, cast, clip, **settings, mask=masks
    ).args
    ours = tiny_sdxl.host_sample(model, start, sigmas, positive, negative, CFG) * family.scale

    unet = oracle(unet, file, case.weights, monkeypatch)
    projection = unet.encoder_hid_proj.image_projection_layers[0].float()
    tokens = [tokens_of(projection, case, one, clip, width).double() for one in people]
    unet.encoder_hid_proj = Given()
    time_ids = torch.tensor([[HEIGHT, WIDTH, 0, 0, HEIGHT, WIDTH]])
    reference = tiny_sdxl.diffusers_sample(
        unet, start, sigmas, timesteps, lambda _: text, pooled, time_ids, CFG,
        masks=None if masks is None else list(masks[:, None, None]), image_embeds=tokens,
    )  # fmt: skip
    difference = relative(ours, reference)
    record_property("relative_difference", difference)
    assert difference <= TOLERANCE
