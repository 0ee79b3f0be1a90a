"""Style per Person: whole sampling against diffusers' scales per block and masks."""

import drawn
import family_encoders
import pytest
import tiny_sdxl
import torch
from diffusers.loaders import IPAdapterMixin
from figures import WHOLE_SAMPLING, relative
from pack.bridge.host import encode
from peers import Sampling, adapter_for, apply, read, with_adapters
from seeded_files import EMBEDS, STATES

WIDTH, HEIGHT = 128, 192
STYLE = {"up": {"block_0": [0.0, 1.0, 0.0]}}
LAYOUT = {"down": {"block_2": [0.0, 1.0]}}


class Scaled(IPAdapterMixin):
    """What diffusers' pipelines inherit."""

    unet_name = "unet"

    def __init__(self, network):
        self.unet = network


@pytest.mark.parametrize(("kind", "choices", "configs", "regional", "count"), [
    ("plus", ("style", "layout"), (STYLE, LAYOUT), True, 1), ("full", ("style", "layout"), (STYLE, LAYOUT), False, 3),
    pytest.param(
        "plain", ("all", "style and layout"), (1.0, {**STYLE, **LAYOUT}), True, 1, marks=pytest.mark.thorough
    ),
])  # fmt: skip
def test_sampling_equals_diffusers(kind, choices, configs, regional, count):
    network = tiny_sdxl.diffusers_unet()
    weights = (0.7, 1.2)
    model = tiny_sdxl.host_model(network)
    file = adapter_for(model, kind)
    with_adapters(network, file, file, scales=weights)
    Scaled(network).set_ip_adapter_scale([_times(*pair) for pair in zip(configs, weights, strict=True)])
    # Whole tokens of the coarsest layers, where diffusers' way to shrink a mask and ours are the same.
    masks = torch.zeros(2, 1, HEIGHT, WIDTH)
    masks[0, ..., : WIDTH // 2], masks[1, ..., WIDTH // 2 :] = 1, 1
    pictures_by_style = []
    for n in (0, 1):
        pictures = [drawn.picture(10 * n + m, 28, 28) for m in range(count)]
        pictures_by_style.append(torch.cat(pictures))

    sampling = Sampling(WIDTH, HEIGHT, spacing="trailing")
    vision = family_encoders.vit_h()
    loaded = read("ip_adapter", file)
    applied = model, *sampling.sides.values()
    for picture, mask, choice, weight in zip(pictures_by_style, masks, choices, weights, strict=True):
        inputs = dict(zip(("model", "positive", "negative"), applied, strict=True))
        inputs |= {"ip_adapter": loaded, "clip_vision": vision, "images": picture, "layers": choice, "weight": weight}
        region = {"cast": None, "who": "", "mask": mask if regional else None}
        applied = apply("LikenessStylePerPerson", **inputs, **region)
    if regional:
        attention_settings = {"ip_adapter_masks": [mask[None] for mask in masks]}
        network.register_forward_pre_hook(
            lambda _, args, named: (args, {**named, "cross_attention_kwargs": attention_settings}), with_kwargs=True
        )
    image_embeds = [_seen(kind, vision, pictures) for pictures in pictures_by_style]
    expected = sampling.theirs(network, image_embeds=image_embeds)
    assert relative(sampling.ours(*applied), expected) <= WHOLE_SAMPLING


def _times(config, weight):
    if isinstance(config, float):
        return config * weight
    times = {}
    for part, blocks in config.items():
        times[part] = {}
        for name, scales in blocks.items():
            times[part][name] = [weight * scale for scale in scales]
    return times


def _seen(kind, vision, pictures):
    """(2, pictures, ...): of nothing, then of the pictures."""
    if kind == "plain":
        outputs = encode.encode_pictures(vision, pictures, encode.EMBEDS, EMBEDS)
        return torch.stack([torch.zeros_like(outputs), outputs])
    outputs = encode.encode_pictures(vision, pictures, encode.STATES, STATES)
    return torch.stack([encode.encode_grey(vision, STATES).expand_as(outputs), outputs])
