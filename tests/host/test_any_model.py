"""FLUX.2, Qwen-Image and Z-Image: measured, chosen and mended with their latents and VAEs, and what refuses them."""

from functools import cache

import comfy.controlnet
import comfy.ldm.flux.controlnet
import comfy.model_patcher
import comfy.ops
import comfy.supported_models
import comfy.utils
import marks
import pytest
import real_faces
import tiny_vaes
import torch
from crops import WIDGETS, crop, friends_of
from graph_run import run
from graphs import DEFAULTS, ours
from marks import each, families
from method_rows import rows
from pack.core.cast import Cast
from pack.core.checks.errors import BadSetup, WrongBaseModel
from pack.core.checks.value_checks import BadPicture
from pack.nodes import measure, second_pass
from tiny import tiny_dits
from tiny.tiny_dits import FLUX_2, QWEN

import nodes

pytestmark = marks.transformers
SIZE = WIDGETS["size"]
MEASURE = {"made_with": "unknown", "stranger_below": 0.2, "min_size": 0}


@pytest.fixture(params=tiny_vaes.ALL)
def family(request):
    return request.param


vae_of = cache(lambda family: tiny_vaes.ALL[family]())


@pytest.fixture
def vae(family):
    return vae_of(family)


@pytest.fixture(scope="module")
def photo():
    """Its sides are odd."""
    return real_faces.image(real_faces.SIX_FRIENDS)[:, 1:, :-1].contiguous()


@pytest.fixture(scope="module")
def friends(face_model, photo):
    return Cast(friends_of(face_model, photo).people[:3])


@families("family", QWEN, of=tiny_vaes.ALL)
def test_every_crop_is_a_row_of_the_latents(face_model, photo, friends, vae):
    """Encoded and denoised as it would be alone, and pasted back."""
    cropped = crop(face_model, photo, friends, vae=vae)
    samples, mask = cropped["latents"]["samples"], cropped["latents"]["noise_mask"]
    denoised = comfy.utils.reshape_mask(mask, samples.shape)
    for n in range(3):
        assert torch.equal(samples[n : n + 1], nodes.VAEEncode().encode(vae, cropped["crops"][n : n + 1])[0]["samples"])
        alone = nodes.SetLatentNoiseMask().set_mask({"samples": samples[n : n + 1]}, cropped["masks"][n : n + 1])[0]
        expected = comfy.utils.reshape_mask(alone["noise_mask"], samples[n : n + 1].shape)
        assert torch.equal(denoised[n : n + 1], expected)
    assert not torch.equal(denoised[0], denoised[1])
    (decoded,) = nodes.VAEDecode().decode(vae, cropped["latents"])
    assert decoded.shape == (3, SIZE, SIZE, 3)
    pasted, pasted_mask = second_pass.PasteFaces.execute(photo, cropped["where"], "none", decoded).args
    assert pasted.shape == photo.shape
    assert pasted_mask.max() > 0.99
    assert torch.equal(pasted[pasted_mask == 0], photo[pasted_mask == 0])
    assert not torch.equal(pasted, photo)


class Spoiled:
    def encode(self, pictures):
        return torch.full((1, 16, 32, 32), float("nan"))


def test_a_vae_that_would_make_everything_black_is_named(face_model, photo, friends):
    with pytest.raises(BadPicture, match=r"A crop .*NaN or infinity.*--fp32-vae"):
        crop(face_model, photo, friends, vae=Spoiled())


@pytest.fixture(scope="module")
def report(face_model, photo, friends):
    """Of nobody, everybody, and everybody upside down."""
    pictures = torch.cat([torch.zeros_like(photo), photo, photo.flip(1)])
    return measure.MeasureLikeness.execute(face_model, pictures, cast=friends, **MEASURE)[0]


def test_the_best_of_a_batch_keep_their_latents(report, photo, vae):
    """Rows of any shape, with masks and noise of their own, of pictures that VAE Encode makes smaller."""
    pictures = torch.cat([photo[:, 80 * n : 80 * n + 75, :83] for n in range(3)])
    samples = torch.cat([vae.encode(picture[None]) for picture in pictures])
    (decoded,) = nodes.VAEDecode().decode(vae, {"samples": samples})
    assert decoded.shape in ((3, 64, 80, 3), (3, 72, 80, 3))
    masks = torch.arange(3.0).reshape(3, *[1] * (samples.ndim - 1))
    latents = {"samples": samples, "noise_mask": masks, "batch_index": [4, 5, 6]}
    _, best, index, *_ = measure.PickBestLikeness.execute(report, decoded, "resemblance", 2, latents).args
    order = [number - 4 for number in best["batch_index"]]
    assert index == order[0] == 1
    assert len(order) == 2
    assert torch.equal(best["samples"], samples[order])
    assert torch.equal(best["noise_mask"], masks[order])


WIDTHS = {"FLUX.2": 7680, "Qwen-Image": 3584, "FLUX.1": 4096}
OF_A_UNET = [row.kind for row in rows() if not row.variant and row.of_unets]
ELSE = "FLUX.1 there is PuLID, References"
ON_TRANSFORMERS = ("LikenessLoRAPerPerson", "LikenessPromptPerPerson")
"""Nodes that take transformers too, where the texts are of the same family."""
model_of = cache(tiny_dits.model)


@pytest.mark.parametrize("kind", OF_A_UNET)
@pytest.mark.parametrize("another", each(WIDTHS, [FLUX_2]))
def test_a_transformer_is_refused_by_name(kind, another):
    """A checkpoint of it in the place of SDXL's, its MODEL alone, its text alone."""
    words = [[torch.zeros(1, 7, WIDTHS[another]), {}]]
    inputs = {"model": model_of(another), "positive": words, "negative": words}
    name = type(inputs["model"].model.model_config).__name__
    inputs_of_the_node = {key: value for key, value in inputs.items() if key in DEFAULTS[kind]}
    text = rf"made for .*\(text width {WIDTHS[another]}\), but .* is needed"
    model = rf"The MODEL is made for {name}, but a UNet of the SD family is needed\..*{ELSE}"
    if kind in ON_TRANSFORMERS:
        model = r"The conditioning given to .* is made for .* but .* is needed"
        if not tiny_dits.KNOWN:
            model = "knows .* as ComfyUI .* has it"
    if kind == "LikenessApplyPuLID" and another == "FLUX.1" and tiny_dits.KNOWN:
        model = r"The MODEL is made for FLUX\.1, but SDXL is needed\..*Load pulid_flux_v0\.9\.1\.safetensors"
    alone = {key: value for key, value in inputs_of_the_node.items() if key != "model"}
    cases = [({"model": inputs["model"]}, model)] if "model" in inputs_of_the_node else []
    cases += [(alone, text), (inputs_of_the_node, f"{text}|{model}")]
    for changed, message in cases:
        with pytest.raises((WrongBaseModel, BadSetup), match=message):
            run(ours(kind, **changed), {})
