"""FLUX.2, Qwen-Image and Z-Image: measured, chosen and mended with their latents and VAEs, and what refuses them."""

from __future__ import annotations

import comfy.latent_formats
import comfy.utils
import pytest
import real_faces
import tiny_vaes
import torch
from pack.core import identities
from pack.core.errors import BadPhoto
from pack.core.faces.model import faces_in
from pack.core.people import Cast, Person
from pack.nodes import measure, second_pass

import nodes

pytestmark = pytest.mark.skipif(not hasattr(comfy.latent_formats, "Flux2"), reason="an older ComfyUI has no FLUX.2")
MBF = "w600k_mbf"
SIZE = 256
MEASURE = {"made_with": "unknown", "stranger_below": 0.2, "min_size": 0}
CROP = {
    "who": "everybody", "smaller_than": 96, "less_than": 0.4, "size": SIZE, "margin": 1.0, "mask_margin": 0.2,
    "feather": 0.25, "not_found": "cut out in their place",
}  # fmt: skip


@pytest.fixture(scope="module", params=tiny_vaes.ALL)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def vae(family):
    return tiny_vaes.ALL[family]()


@pytest.fixture(scope="module")
def photo():
    """Its sides are odd."""
    return real_faces.image(real_faces.SIX_FRIENDS)[:, 1:, :-1].contiguous()


@pytest.fixture(scope="module")
def friends(face_model, photo):
    faces = faces_in(face_model, photo[0]).faces[:3]
    return Cast(tuple(Person(identities.from_faces(f"friend {n}", [one], [MBF])) for n, one in enumerate(faces, 1)))


def crop(face_model, photo, people, **given):
    made = second_pass.CropFaces.execute(face_model, photo, people, **{**CROP, **given}).args
    names = [output.id for output in second_pass.CropFaces.GET_SCHEMA().outputs]
    return dict(zip(names, made, strict=True))


def test_every_crop_is_a_row_of_the_latents(face_model, photo, friends, vae):
    """Encoded and denoised as it would be alone, and pasted back."""
    made = crop(face_model, photo, friends, vae=vae)
    samples, mask = made["latents"]["samples"], made["latents"]["noise_mask"]
    denoised = comfy.utils.reshape_mask(mask, samples.shape)
    for n in range(3):
        assert torch.equal(samples[n : n + 1], nodes.VAEEncode().encode(vae, made["crops"][n : n + 1])[0]["samples"])
        alone = nodes.SetLatentNoiseMask().set_mask({"samples": samples[n : n + 1]}, made["masks"][n : n + 1])[0]
        wanted = comfy.utils.reshape_mask(alone["noise_mask"], samples[n : n + 1].shape)
        assert torch.equal(denoised[n : n + 1], wanted)
    assert not torch.equal(denoised[0], denoised[1])
    (decoded,) = nodes.VAEDecode().decode(vae, made["latents"])
    assert decoded.shape == (3, SIZE, SIZE, 3)
    pasted, where = second_pass.PasteFaces.execute(photo, made["where"], "none", decoded).args
    assert pasted.shape == photo.shape and where.max() > 0.99
    assert torch.equal(pasted[where == 0], photo[where == 0]) and not torch.equal(pasted, photo)


def test_a_film_of_crops_is_explained(face_model, photo, friends):
    """What VAE Encode makes of a batch with Qwen-Image's VAE."""
    vae, made = tiny_vaes.qwen(), crop(face_model, photo, friends)
    film = nodes.VAEEncode().encode(vae, made["crops"])[0]
    decoded = nodes.VAEDecode().decode(vae, film)[0]
    with pytest.raises(BadPhoto, match=r"got 1 sampled crop, .* cut out 3\. .*Qwen-Image, .* latents of Crop Faces"):
        second_pass.PasteFaces.execute(photo, made["where"], "none", decoded)


@pytest.fixture(scope="module")
def report(face_model, photo, friends):
    """Of nobody, everybody, and everybody upside down."""
    pictures = torch.cat([torch.zeros_like(photo), photo, photo.flip(1)])
    return measure.Measure.execute(face_model, pictures, cast=friends, **MEASURE)[0]


def test_the_best_of_a_batch_keep_their_latents(report, photo, vae):
    """Rows of any shape, with masks and noise of their own, of pictures that VAE Encode makes smaller."""
    pictures = torch.cat([photo[:, 80 * n : 80 * n + 75, :83] for n in range(3)])
    samples = torch.cat([vae.encode(one[None]) for one in pictures])
    (decoded,) = nodes.VAEDecode().decode(vae, {"samples": samples})
    assert decoded.shape in ((3, 64, 80, 3), (3, 72, 80, 3))
    masks = torch.arange(3.0).reshape(3, *[1] * (samples.ndim - 1))
    latents = {"samples": samples, "noise_mask": masks, "batch_index": [4, 5, 6]}
    _, best, index, *_ = measure.PickBest.execute(report, decoded, "resemblance", 2, latents).args
    order = [number - 4 for number in best["batch_index"]]
    assert index == order[0] == 1 and len(order) == 2
    assert torch.equal(best["samples"], samples[order]) and torch.equal(best["noise_mask"], masks[order])
