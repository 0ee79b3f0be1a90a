"""A ControlNet beside the words of people on transformers: it reads the common text, and acts on the picture alone."""

from typing import Any

import comfy.controlnet
import comfy.ldm.qwen_image.controlnet
import comfy.ops
import marks
import pytest
import sample_values
import torch
from comfy.model_patcher import ModelPatcher
from figures import relative
from hidden_text import without_common
from pack.bridge.networks import families
from pack.bridge.sampling import on_model
from pack.bridge.sampling.carried import carry
from pack.bridge.words.transformer import run as transformer_run
from tiny import devices, tiny_dits
from tiny.seeded import fill, normal
from tiny.tiny_dits import FLUX, QWEN, Z_IMAGE
from torch import Tensor
from words_made import carried_words

pytestmark = marks.transformers
WIDTH, HEIGHT = 128, 96
PICTURE = 48
"""Tokens of the picture: 8 x 6."""
COMMON, OWN = 7, 11
"""Tokens of the common text, and of a person's words."""
TOLERANCE = 1e-5
Side = list[list[Any]]


def text(seed: int, tokens: int, **options: Any) -> Side:
    """A prompt; all have one pooled vector, because FLUX.1 reads one in a whole forward."""
    ((_, common),) = tiny_dits.conditioning(1)
    return tiny_dits.conditioning(seed, tokens=tokens, pooled_output=common["pooled_output"], **options)


def qwen_net() -> comfy.controlnet.ControlNet:
    """As the host loads InstantX's."""
    network = comfy.ldm.qwen_image.controlnet.QwenImageControlNetModel(
        operations=comfy.ops.disable_weight_init, dtype=torch.float32, **tiny_dits.CONFIGS[QWEN][1]
    )
    fill(network, 321)
    network.eval().requires_grad_(False)
    return comfy.controlnet.ControlNet(network, compression_ratio=1, load_device=devices.DEVICE)


def flux_net() -> comfy.controlnet.ControlNet:
    """As the host loads InstantX's."""
    net = sample_values.flux_net()
    net.latent_format = None  # its picture comes as a latent here
    return net


NETS = {FLUX: flux_net, QWEN: qwen_net}


def everywhere(model: ModelPatcher, common: Side) -> tuple[ModelPatcher, Side, Side]:
    """MODEL, positive and negative with the words of a person in the whole picture."""
    ((words, _),) = text(5, OWN)
    texts = carried_words([words], torch.ones(1, HEIGHT, WIDTH), ["Anna"])
    positive = carry(common, texts)
    negative = carry(text(2, COMMON), texts.without_people())
    return on_model.with_kinds(model, transformer_run.TRANSFORMER_WORDS), positive, negative


def sample(family: str, model: ModelPatcher, positive: Side, negative: Side) -> Tensor:
    return tiny_dits.sample(model, positive, negative, tiny_dits.latent(family, WIDTH, HEIGHT), cfg=1.0)


@pytest.mark.parametrize("family", NETS)
def test_words_beside_a_control_net_are_the_plain_forward_with_it(family: str) -> None:
    """The plain forward reads the person's words, and its ControlNet the common text."""
    model = tiny_dits.model(family)
    net = NETS[family]()
    hint = tiny_dits.latent(family, WIDTH, HEIGHT, seed=8)
    control = {"control": net.copy().set_cond_hint(hint, 0.8), "control_apply_to_uncond": False}
    ((common, _),) = text(1, COMMON)
    hidden = without_common(model, family, text(1, COMMON), PICTURE)
    picture = sample(family, *everywhere(hidden, text(1, COMMON, **control)))
    words_of_the_person = text(5, OWN, cross_attn_controlnet=common, **control)
    expected = sample(family, model, words_of_the_person, text(2, COMMON))
    assert relative(picture, expected) <= TOLERANCE
    without = sample(family, model, text(5, OWN), text(2, COMMON))
    assert relative(without, expected) > 100 * TOLERANCE, "the ControlNet is seen"


def test_words_beside_a_patch_of_z_images_blocks_are_the_plain_forward_with_it() -> None:
    """Z-Image's ControlNets are patches of its blocks, which add something to the picture's tokens."""
    model = tiny_dits.model(Z_IMAGE)
    added = normal(9, 1, PICTURE, tiny_dits.CONFIGS[Z_IMAGE][1]["dim"])

    def patch(arguments: dict[str, Any]) -> dict[str, Any]:
        assert arguments["img"].shape[1] == PICTURE
        return {**arguments, "img": arguments["img"] + 0.3 * added.to(arguments["img"])}

    patched = model.clone()
    patched.set_model_double_block_patch(patch)
    hidden = without_common(patched, Z_IMAGE, text(1, COMMON), PICTURE)
    picture = sample(Z_IMAGE, *everywhere(hidden, text(1, COMMON)))
    expected = sample(Z_IMAGE, patched, text(5, OWN), text(2, COMMON))
    assert relative(picture, expected) <= TOLERANCE
    without = sample(Z_IMAGE, model, text(5, OWN), text(2, COMMON))
    assert relative(without, expected) > 100 * TOLERANCE, "the patch is seen"


def test_these_are_the_families_with_a_control_net() -> None:
    names = {transformer.name for transformer in families.TRANSFORMERS if transformer.control_net}
    assert names == {*NETS, Z_IMAGE}
