"""Files are named for what they are, from keys and shapes alone."""

from __future__ import annotations

import pytest
import torch
from pack.core.checkpoints import KNOWN, flatten, identify, require
from pack.core.errors import UnsupportedCheckpoint
from seeded import id_patch_file


def meta(**shapes):
    return {key.replace("__", "."): torch.empty(shape, device="meta") for key, shape in shapes.items()}


KV = "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"
FILES = {
    "id-patch": flatten(id_patch_file("mlp")),
    "arcface-ir-se50": meta(input_layer__0__weight=(64, 3, 3, 3), output_layer__3__weight=(512, 25088)),
    "instant-id": meta(
        image_proj__latents=(1, 16, 1280),
        image_proj__proj_in__weight=(1280, 512),
        ip_adapter__1__to_k_ip__weight=(640, 2048),
    ),
    "ip-adapter-sdxl": meta(image_proj__latents=(1, 16, 1280), ip_adapter__1__to_k_ip__weight=(640, 2048)),
    "ip-adapter-sd15": meta(image_proj__proj__weight=(3072, 1024), ip_adapter__1__to_k_ip__weight=(320, 768)),
    "controlnet": meta(controlnet_cond_embedding__conv_in__weight=(16, 3, 3, 3)),
    "lora": meta(lora_unet_x__lora_down__weight=(4, 320)),
    "sdxl": {KV: torch.empty(640, 2048, device="meta")},
    "sd15": {KV: torch.empty(640, 768, device="meta")},
    "vae": meta(encoder__conv_in__weight=(128, 3, 3, 3), decoder__conv_in__weight=(512, 4, 3, 3)),
}


@pytest.mark.parametrize("expected", FILES)
def test_known_files_are_identified(expected):
    found = identify(FILES[expected])
    assert found is not None and found.id == expected


@pytest.mark.parametrize("given", [name for name in FILES if name != "id-patch"])
def test_a_wrong_file_is_named(given):
    with pytest.raises(UnsupportedCheckpoint) as error:
        require(FILES[given], "id-patch", "models/id_patch/x.bin", "The right one is elsewhere.")
    title = next(known.title for known in KNOWN if known.id == given)
    assert f"models/id_patch/x.bin is {title}; this node needs ID-Patch projections" in str(error.value)
    assert str(error.value).endswith("The right one is elsewhere.")


def test_an_unknown_file_shows_its_keys():
    with pytest.raises(UnsupportedCheckpoint, match=r"an unknown file \(2 tensors: a, b\)"):
        require(meta(a=(1,), b=(2,)), "id-patch", "x.bin", "")
    with pytest.raises(UnsupportedCheckpoint, match="it holds no tensors"):
        require({}, "id-patch", "x.bin", "")


def test_flatten_keeps_tensors_only():
    tensor = torch.zeros(1)
    assert flatten({"a": {"b": {"c": tensor}}, "d": tensor, "epoch": 3}) == {"a.b.c": tensor, "d": tensor}
