"""Files are named for what they are, from their tensors alone."""

from __future__ import annotations

import json
import os

import pytest
import torch
from pack.core.errors import UnsupportedCheckpoint
from pack.core.methods import methods
from pack.core.models import manifest
from pack.core.models.formats import formats, identify, known, recognised, require
from pack.core.models.tensors import flatten, read, shapes
from rig import adapters
from rig.shapes import of
from safetensors.torch import save_file
from seeded import id_patch_file


def meta(dtype=torch.float32, **shapes):
    return {key.replace("__", "."): torch.empty(shape, dtype=dtype, device="meta") for key, shape in shapes.items()}


KV = "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"
RECOGNISER = meta(input_layer__0__weight=(64, 3, 3, 3), output_layer__3__weight=(512, 25088))
LAYERS = {"ip_adapter.1.to_k_ip.weight": (640, 2048), "ip_adapter.1.to_v_ip.weight": (640, 2048)}
SDXL = {key: torch.empty(shape, device="meta") for key, shape in LAYERS.items()}
RESAMPLER = meta(image_proj__latents=(1, 16, 1280), image_proj__proj_in__weight=(1280, 512))
FACE_ID = meta(image_proj__proj__0__weight=(1024, 512), image_proj__proj__2__weight=(8192, 1024))
LORA = meta(ip_adapter__0__to_q_lora__down__weight=(128, 320), ip_adapter__0__to_q_lora__up__weight=(320, 128))


def half(state, dtype=torch.float16):
    return {key: tensor.to(dtype) for key, tensor in state.items()}


def published(name):
    """A file of the IP-Adapter family in its published shapes, by its name."""
    unet, shapes = adapters.PUBLISHED[name]
    return on_meta(shapes(unet))


def on_meta(shapes):
    return {key: torch.empty(shape, device="meta") for key, shape in shapes}


PHOTO_MAKER = {version: on_meta(of(f"photomaker-v{version}", width=1280)) for version in (1, 2)}

INFUSE_NET = meta(
    controlnet_x_embedder__weight=(3072, 64),
    context_embedder__weight=(3072, 4096),
    controlnet_blocks__0__weight=(3072, 3072),
)

FILES = {
    "id-patch": flatten(id_patch_file("mlp")),
    "arcface-ir-se50": RECOGNISER | meta(body__23__res_layer__5__fc1__weight=(32, 512, 1, 1)),
    # UniPortrait's CurricularFace: 49 blocks without squeezing and excitation.
    "face-recogniser": RECOGNISER
    | {f"body.{n}.res_layer.{k}.weight": torch.empty(64, device="meta") for n in (23, 48) for k in (0, 1, 4)},
    "instant-id": RESAMPLER | SDXL,
    # As published: 16 bits in the layers and 32 in the projection.
    "face-id-unnorm": RESAMPLER | half(SDXL),
    "parts2whole": meta(denoiser__conv_in__weight=(320, 4, 3, 3), reference_unet__conv_in__weight=(320, 4, 3, 3)),
    "pulid": meta(id_adapter_attn_layers__1__id_to_k__weight=(640, 2048)),
    "consistent-id": FACE_ID | SDXL | meta(FacialEncoder__visual_projection__weight=(768, 1024)),
    "story-maker": published("mask"),
    "uni-portrait": meta(faceid_proj__latents=(1, 16, 768), faceid_adapter__1__to_k_faceid__weight=(320, 768)) | LORA,
    "photo-maker": PHOTO_MAKER[1],
    "photo-maker-v2": PHOTO_MAKER[2],
    "with-anyone": meta(ipa_arc__0__to_q__weight=(1536, 3072), arcface_in_arc__0__weight=(12288, 512)),
    "infinite-you": meta(
        image_proj__latents=(1, 8, 1280),
        image_proj__proj_in__weight=(1280, 512),
        image_proj__proj_out__weight=(4096, 1280),
    ),
    "face-id-sd15": published("ip-adapter-faceid_sd15"),
    "face-id-plus-sd15": published("ip-adapter-faceid-plusv2_sd15"),
    "face-id-portrait-sd15": published("ip-adapter-faceid-portrait-v11_sd15"),
    "face-id-sdxl": published("ip-adapter-faceid_sdxl"),
    "face-id-plus-sdxl": published("ip-adapter-faceid-plusv2_sdxl"),
    "face-id-portrait-sdxl": published("ip-adapter-faceid-portrait_sdxl"),
    "ip-adapter-sd15": published("ip-adapter_sd15"),
    "ip-adapter-bigg-sd15": published("ip-adapter_sd15_vit-G"),
    "ip-adapter-plus-sd15": published("ip-adapter-plus-face_sd15"),
    "ip-adapter-full-sd15": published("ip-adapter-full-face_sd15"),
    "ip-adapter-sdxl": published("ip-adapter_sdxl_vit-h"),
    "ip-adapter-bigg-sdxl": published("ip-adapter_sdxl"),
    "ip-adapter-plus-sdxl": published("ip-adapter-plus_sdxl_vit-h"),
    # Kolors reads the states of another encoder.
    "other-face-id": FACE_ID | SDXL | meta(image_proj__perceiver_resampler__proj_in__weight=(2048, 1024)),
    "other-sdxl": meta(image_proj__latents=(1, 16, 2048), image_proj__proj_in__weight=(2048, 1024)) | SDXL,
    "other-sd15": meta(ip_adapter__1__to_k_ip__weight=(320, 768)),
    "other-ip-adapter": meta(ip_adapter__1__to_k_ip__weight=(320, 1024)),
    "clip-vit-l": on_meta(of("clip_vision", count=24, width=1024, projection=768)),
    "clip-vit-h": on_meta(of("clip_vision", count=32, width=1280, projection=1024)),
    "clip-vit-bigg": on_meta(of("clip_vision", count=48, width=1664, projection=1280, inner=8192)),
    "clip-vision": meta(vision_model__embeddings__position_embedding__weight=(577, 1024)),
    "flux": on_meta(of("flux")),
    "flux2": on_meta(of("flux2")),
    "qwen-image": on_meta(of("qwen-image-edit")),
    "text-encoder": on_meta(of("qwen-vl")),
    "controlnet": meta(controlnet_cond_embedding__conv_in__weight=(16, 3, 3, 3)),
    "lora": meta(lora_unet_x__lora_down__weight=(4, 320)),
    "sdxl": {KV: torch.empty(640, 2048, device="meta")},
    "sd15": {KV: torch.empty(640, 768, device="meta")},
    "diffusers-unet": meta(conv_in__weight=(320, 4, 3, 3), time_embedding__linear_1__weight=(1280, 320)),
    "vae": meta(encoder__conv_in__weight=(128, 3, 3, 3), decoder__conv_in__weight=(512, 4, 3, 3)),
}
OTHERS = {
    "InstantID's shapes": ("instant-id", published("ip-adapter-faceid-portrait_sdxl_unnorm")),
    "InstantID saved in 16 bits": ("instant-id", half(RESAMPLER | SDXL)),
    "InstantID saved in bfloat16": ("instant-id", half(RESAMPLER | SDXL, torch.bfloat16)),
    "PuLID for FLUX": ("pulid", meta(pulid_ca__0__norm1__weight=(3072,))),
    "PuLID 1.0 as its node saves it": ("pulid", meta(image_proj__body__0__weight=(1024, 1280)) | SDXL),
    "PuLID 1.1 as its node saves it": ("pulid", meta(image_proj__id_embedding_mapping__0__weight=(1024, 1280)) | SDXL),
    "a ControlNet as its authors save it": ("controlnet", meta(control_model__zero_convs__0__0__weight=(320, 320))),
    "InfuseNet": ("controlnet", INFUSE_NET),
    "T5": ("text-encoder", on_meta(of("t5"))),
    "FLUX.2's VAE": ("vae", on_meta(of("flux2-vae"))),
    "Qwen-Image's VAE": ("vae", on_meta(of("qwen-vae"))),
    "a LoRA as PEFT saves it": ("lora", meta(unet__x__lora_A__weight=(4, 320))),
}


def test_ids_are_given_once():
    assert len({one.id for one in formats()}) == len(formats())
    ours = {one.id for one in formats() if one.ours}
    assert ours == {"arcface-ir-se50", *(one.id for method in methods() for one in method.formats)}
    assert ours - {one.format for one in manifest.models()} == {"ip-adapter-full-sdxl"}, "published for SD1.5 only"


@pytest.mark.parametrize(("expected", "state"), [*FILES.items(), *OTHERS.values()], ids=[*FILES, *OTHERS])
def test_known_files_are_identified(expected, state):
    found = identify(state)
    assert found is not None and found.id == expected
    require(state, expected, "x.bin", "")


@pytest.mark.parametrize("given", [name for name in FILES if name != "id-patch"])
def test_a_wrong_file_is_named(given):
    with pytest.raises(UnsupportedCheckpoint) as error:
        require(FILES[given], "id-patch", "models/id_patch/x.bin", "The right one is elsewhere.")
    assert str(error.value).startswith(f"x.bin is {known(given).title}; this node needs ID-Patch projections")
    assert str(error.value).endswith("The right one is elsewhere. The file: models/id_patch/x.bin")


def test_an_unknown_file_shows_its_keys():
    with pytest.raises(UnsupportedCheckpoint, match=r"an unknown file \(2 tensors: a, b\)"):
        require(meta(a=(1,), b=(2,)), "id-patch", "x.bin", "")
    with pytest.raises(UnsupportedCheckpoint, match="it holds no tensors"):
        require({}, "id-patch", "x.bin", "")


@pytest.mark.parametrize("expected", ["instant-id", "face-id-unnorm"])
@pytest.mark.parametrize("pickled", [True, False])
def test_files_are_told_by_their_headers(tmp_path, expected, pickled):
    """What kind of number a tensor has stands there, too."""
    state = {key: torch.zeros(tensor.shape, dtype=tensor.dtype) for key, tensor in FILES[expected].items()}
    path = tmp_path / "x.bin"
    torch.save(state, path) if pickled else save_file(state, path)
    assert {key: tensor.dtype for key, tensor in shapes(path).items()} == {key: t.dtype for key, t in state.items()}
    assert recognised(path) == (known(expected), None)


def test_a_file_that_was_replaced_is_looked_at_again(tmp_path):
    path = tmp_path / "x.safetensors"
    assert recognised(path) == (None, None)
    save_file({"a.lora_A.weight": torch.zeros(1)}, path)
    assert recognised(path)[0] is known("lora")
    save_file({"mesh.head_landmarks.weight": torch.zeros(1), "canonical_vertices": torch.zeros(1)}, path)
    assert recognised(path)[0] is known("mediapipe-face")


def test_what_is_no_file_is_not_opened(tmp_path):
    """A pipe would be waited for, a device has no end."""
    os.mkfifo(tmp_path / "pipe.bin")
    (tmp_path / "zero.bin").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe.bin", tmp_path / "zero.bin", tmp_path):
        assert recognised(path) == (None, None)
        with pytest.raises(UnsupportedCheckpoint, match="cannot be read"):
            read(path)


def test_flatten_keeps_tensors_only():
    tensor = torch.zeros(1)
    assert flatten({"a": {"b": {"c": tensor}}, "d": tensor, "epoch": 3}) == {"a.b.c": tensor, "d": tensor}


def header(length: int | None = None, **entry) -> bytes:
    """A safetensors file of one tensor and eight bytes."""
    text = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **entry}}).encode()
    return (length or len(text)).to_bytes(8, "little") + text + bytes(8)


@pytest.mark.parametrize(
    "data",
    [
        header(length=1 << 60),
        header(data_offsets=[-8, 8]),
        header(data_offsets=[8, 0]),
        header(data_offsets=[0, 1 << 70]),
        header(shape=[1 << 40]),
        header(shape=[-1]),
    ],
)
def test_a_header_that_cannot_be_true_is_named(tmp_path, data):
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"{len(data)} bytes"):
        shapes(path)
    with pytest.raises(UnsupportedCheckpoint, match=f"{len(data)} bytes"):
        read(path)


def test_a_header_of_gigabytes_is_not_read(tmp_path):
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:
        file.write((1 << 34).to_bytes(8, "little") + b"{")
        file.truncate(1 << 35)  # of holes
    with pytest.raises(ValueError, match=f"a header of {1 << 34} bytes"):
        shapes(path)


def again_and_again():
    state = {"a": torch.zeros(1)}
    for _ in range(40):
        state = {"x": state, "y": state}
    return state


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (again_and_again(), "entries"),
        ({"patch_proj.a": torch.zeros(1).expand(1 << 40)}, "patch_proj.a"),
        ({"a": torch.zeros(2, 2).to_sparse()}, "sparse"),
        ({"a": torch.zeros(2, device="meta")}, "strided"),
    ],
    ids=["nested", "expanded", "sparse", "meta"],
)
def test_a_small_pickle_of_endless_tensors_is_named(tmp_path, state, why):
    path = tmp_path / "x.bin"
    torch.save(state, path)
    with pytest.raises(ValueError, match=why):
        shapes(path)
    with pytest.raises(UnsupportedCheckpoint, match=why):
        read(path)
