"""FLUX.2, Qwen-Image and Z-Image: measured, chosen and mended with their latents and VAEs."""

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
from marks import families
from pack.core.cast import Cast
from pack.core.checks.value_checks import BadPicture
from pack.nodes import measure, second_pass
from tiny.tiny_dits import QWEN

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
