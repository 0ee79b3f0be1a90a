"""IP-Adapter's whole sampling, people by region and the LoRA included, against diffusers."""

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import family_encoders
import pytest
import tiny_sd15
import tiny_sdxl
import torch
from diffusers.loaders import unet as loaders
from diffusers.models.embeddings import IPAdapterFaceIDPlusImageProjection
from figures import relative
from marks import each
from pack.bridge.host import encode
from pack.bridge.host.unet import text_width
from pack.core.attention.projections import FacePlusProjection
from pack.core.cast import Cast
from peers import Sampling, adapter_for, apply, converted, read, with_adapters
from seeded_files import STATES, parts
from shared.shapes import of
from tiny import tiny_networks
from tiny.people_made import a_member
from tiny.seeded import seeded
from torch.nn.functional import normalize

TEXT, TOLERANCE = 128, 2e-6  # relative to the largest latent value, in double precision
WIDTH, HEIGHT = 192, 128


@pytest.mark.parametrize(("shortcut", "flag", "scale"), [(None, False, 1.0), (1.0, True, 1.0), (0.4, True, 0.4)])
def test_tokens_of_embeddings_and_of_what_clip_sees(shortcut, flag, scale):
    state = seeded(parts(of("face-id-plus", text=TEXT))["image_proj"], 72)
    projection = FacePlusProjection(state, ops=torch.nn)
    expected_projection = converted(state)
    projection.load_state_dict(state)
    embeddings = torch.cat([torch.zeros(1, 512), torch.randn(2, 512)])
    states = torch.randn(3, 257, STATES)
    expected_projection.clip_embeds = states[None]
    expected_projection.shortcut = flag
    expected_projection.shortcut_scale = scale
    assert (projection(embeddings, states, shortcut) - expected_projection(embeddings)).abs().max() <= 1e-6


def oracle(unet, file, weights, monkeypatch):
    """diffusers' UNet with the file in it once for each person, and its LoRA merged."""
    small = functools.partial(IPAdapterFaceIDPlusImageProjection, depth=1, ffn_ratio=1 / 8)
    monkeypatch.setattr(loaders, "IPAdapterFaceIDPlusImageProjection", small)
    for number, name in enumerate(unet.attn_processors):
        attention = unet.get_submodule(name.removesuffix(".processor"))
        lora = file["ip_adapter"]
        layers = {"q": attention.to_q, "k": attention.to_k, "v": attention.to_v, "out": attention.to_out[0]}
        for side, layer in layers.items() if f"{number}.to_q_lora.up.weight" in lora else ():
            up, down = (lora[f"{number}.to_{side}_lora.{part}.weight"] for part in ("up", "down"))
            layer.weight.data += up @ down
    return with_adapters(unet, *[file] * len(weights), scales=weights).double()


class Case(NamedTuple):
    """photos: how many each person has."""

    family: str
    kind: str
    photos: tuple[int, ...] = (1, 1)
    weights: tuple[float, ...] = (1.0, 1.0)
    changed: Mapping[str, Any] = {}


CASES = {
    "FaceID": Case("sd15", "face-id", weights=(1.0, 0.6)),
    "FaceID Plus v2": Case("sd15", "face-id-plus"),
    "portrait, two photos and three": Case("sd15", "face-id-portrait", (2, 3)),
    "plus-face": Case("sd15", "plus", (2, 1)),
    "full-face, one person everywhere": Case("sd15", "full", (1,), (0.8,)),
    "FaceID Plus v2 for SDXL": Case("sdxl", "face-id-plus", (2, 1), changed={"shortcut": 0.5}),
    "unnorm, three photos together": Case("sdxl", "face-id-unnorm", (3,), (0.9,)),
    "plain for SDXL": Case("sdxl", "plain"),
}


def tokens_of(projection, case, member, clip, width):
    """Rows (2, 1, tokens, width): of nobody, and of a person, each photo through diffusers' projection, or of FaceID
    and FaceID Plus what their photos are on average."""
    rows = member.person.embeddings["w600k_r50"]
    if case.kind in ("face-id", "face-id-plus"):
        rows = rows.mean(0, keepdim=True)
    portraits = member.person.portraits
    pictures = (portraits.aligned if case.kind == "face-id-plus" else portraits.loose).float() / 255
    if case.kind == "face-id-unnorm":
        photos = torch.stack([torch.zeros_like(rows), rows])
    elif case.kind.startswith("face-id"):
        photos = torch.cat([torch.zeros_like(rows), normalize(rows, dim=-1)])
    elif case.kind == "plain":
        vision_embeds = encode.encode_pictures(clip, pictures, encode.EMBEDS, 1024)
        photos = torch.cat([torch.zeros_like(vision_embeds), vision_embeds])
    if case.kind in ("face-id-plus", "plus", "full"):
        vision_states = encode.encode_pictures(clip, pictures, encode.STATES, STATES)
        if case.kind == "face-id-plus":
            vision_states = vision_states.mean(0, keepdim=True)
        states = torch.cat([encode.encode_grey(clip, STATES).expand_as(vision_states), vision_states])
        if case.kind != "face-id-plus":
            photos = states
        else:
            projection.clip_embeds = states[None]
            projection.shortcut = True
            projection.shortcut_scale = case.changed.get("shortcut", 1.0)
    return projection(photos).reshape(2, 1, -1, width)


@torch.no_grad()
@pytest.mark.parametrize("name", each(CASES, ["portrait, two photos and three", "FaceID Plus v2 for SDXL"]))
def test_sampling_equals_diffusers(name, monkeypatch):
    case = CASES[name]
    people = [a_member(n, photos) for n, photos in enumerate(case.photos)]
    # In single precision rounding alone makes up to 5e-6 of it at this CFG.
    if case.family == "sd15":
        unet = tiny_sd15.diffusers_unet(151, cross_attention_dim=768).double()
        model = tiny_sd15.host_model(unet)
        scale = 0.18215 / tiny_networks.LATENT_SCALE
    else:
        unet = tiny_sdxl.diffusers_unet().double()
        model = tiny_sdxl.host_model(unet)
        scale = 1.0
    file = adapter_for(model, case.kind)
    width = text_width(model)
    clip = family_encoders.vit_h()
    masks = None if len(people) == 1 else torch.zeros(2, HEIGHT, WIDTH)
    for number in range(len(people) if masks is not None else 0):  # a third of the picture each, nobody in the last
        masks[number, :, 64 * number : 64 * number + 64] = 1
    sampling = Sampling(WIDTH, HEIGHT, cfg=7.5, context=width)

    cast = Cast(tuple(replace(member, weight=weight) for member, weight in zip(people, case.weights, strict=True)))
    adapter = read("ip_adapter", file)
    inputs = {"model": model, **sampling.sides, "ip_adapter": adapter, "cast": cast, "clip_vision": clip, "mask": masks}
    latents = sampling.ours(*apply("LikenessApplyIPAdapter", **inputs, **case.changed)) * scale

    unet = oracle(unet, file, case.weights, monkeypatch)
    projection = unet.encoder_hid_proj.image_projection_layers[0].float()
    tokens = [tokens_of(projection, case, member, clip, width).double() for member in people]
    unet.encoder_hid_proj = torch.nn.Identity()
    shares = None if masks is None else list(masks[:, None, None])
    reference = sampling.theirs(unet, masks=shares, image_embeds=tokens)
    assert relative(latents, reference) <= TOLERANCE
