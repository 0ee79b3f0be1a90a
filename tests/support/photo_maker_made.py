"""A tiny PhotoMaker file of either version, SDXL's two text encoders in small, and people with portraits."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import comfy.sd
import comfy.sdxl_clip
import comfy.supported_models_base
import comfy.utils
import tiny_sdxl
import torch
from pack.core.people import Identity, Person, Portraits, Slot
from pack.nodes.photo_maker.nodes import PhotoMaker, load_photo_maker
from seeded import Shapes, fill, perceiver_shapes, seeded
from torch import Tensor

TEXT, VISION = 2048, 64
_INSIDE = 32
RECOGNISER = "w600k_r50"
DEFAULTS = {
    "trigger": "img", "weight": 1.0, "lora_weight": 1.0, "start_percent": 0.22, "extent": "body", "margin": 0.25,
    "feather": 0,
}  # fmt: skip


@cache
def clip() -> comfy.sd.CLIP:
    """With the real tokenizers and the real widths of what comes out."""

    def config(width: int, heads: int) -> dict[str, Any]:
        return {
            "hidden_act": "quick_gelu", "hidden_size": width, "intermediate_size": 64, "num_attention_heads": heads,
            "num_hidden_layers": 3, "max_position_embeddings": 77, "eos_token_id": 49407, "vocab_size": 49408,
            "projection_dim": width, "layer_norm_eps": 1e-5,
        }  # fmt: skip

    target = comfy.supported_models_base.ClipTarget(comfy.sdxl_clip.SDXLTokenizer, comfy.sdxl_clip.SDXLClipModel)
    sizes = {"clip_l_model_config": config(768, 12), "clip_g_model_config": config(1280, 20)}
    made = comfy.sd.CLIP(target, model_options={**sizes, "dtype": torch.float32})
    fill(made.cond_stage_model, 211)
    return made


def encoder_shapes(version: int) -> Shapes:
    """Below id_encoder. in a file."""
    shapes: dict[str, tuple[int, ...]] = {
        "vision_model.embeddings.class_embedding": (VISION,),
        "vision_model.embeddings.patch_embedding.weight": (VISION, 3, 14, 14),
        "vision_model.embeddings.position_embedding.weight": (257, VISION),
        "visual_projection.weight": (768, VISION),
        "visual_projection_2.weight": (1280, VISION),
    }
    norms = {"vision_model.pre_layrnorm": VISION, "vision_model.post_layernorm": VISION}
    layers: dict[str, tuple[int, int]] = {}
    for number in range(2):
        layer = f"vision_model.encoder.layers.{number}"
        norms |= {f"{layer}.layer_norm1": VISION, f"{layer}.layer_norm2": VISION}
        layers |= {f"{layer}.self_attn.{name}_proj": (VISION, VISION) for name in ("q", "k", "v", "out")}
        layers |= {f"{layer}.mlp.fc1": (2 * VISION, VISION), f"{layer}.mlp.fc2": (VISION, 2 * VISION)}
    for name, inputs in (("mlp1", 2 * TEXT), ("mlp2", TEXT)):
        norms[f"fuse_module.{name}.layernorm"] = inputs
        layers |= {f"fuse_module.{name}.fc1": (_INSIDE, inputs), f"fuse_module.{name}.fc2": (TEXT, _INSIDE)}
    norms["fuse_module.layer_norm"] = TEXT
    if version == 2:
        layers |= {
            "qformer_perceiver.token_proj.0": (_INSIDE, 512),
            "qformer_perceiver.token_proj.2": (2 * TEXT, _INSIDE),
        }
        norms["qformer_perceiver.token_norm"] = TEXT
        # Two heads of 128 numbers.
        perceiver = perceiver_shapes(TEXT, VISION, depth=2, forward=_INSIDE, heads=4)
        shapes |= {f"qformer_perceiver.{key}": shape for key, shape in perceiver.items()}
    shapes |= {f"{key}.weight": (width,) for key, width in norms.items()}
    shapes |= {f"{key}.weight": shape for key, shape in layers.items()}
    return shapes | {
        f"{key}.bias": shape[:1] for key, shape in {**layers, **{k: (w,) for k, w in norms.items()}}.items()
    }


@cache
def file(version: int) -> dict[str, dict[str, Tensor]]:
    """As the authors pickle it, with a LoRA for the tiny UNet."""
    lora: dict[str, tuple[int, ...]] = {}
    names = comfy.utils.unet_to_diffusers(tiny_sdxl.HOST_CONFIG)
    weights = tiny_sdxl.diffusers_unet().state_dict()
    for key in names:
        if ".to_" in key and key.endswith(".weight"):
            out, inputs = weights[key].shape
            name = f"unet.{key}".replace(".to_", ".processor.to_").removesuffix(".weight").removesuffix(".0")
            lora |= {f"{name}_lora.down.weight": (4, inputs), f"{name}_lora.up.weight": (out, 4)}
    parts = {"id_encoder": seeded(encoder_shapes(version), 221), "lora_weights": seeded(lora, 222)}
    # A LoRA changes little of what it is added to.
    return {**parts, "lora_weights": {key: tensor * 0.5 for key, tensor in parts["lora_weights"].items()}}


@cache
def loaded(version: int = 1) -> PhotoMaker:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"photomaker-v{version}.bin"
        torch.save(file(version), path)
        return load_photo_maker(str(path))


def person(seed: int, photos: int = 1, slot: Slot | None = None, weight: float = 1.0) -> Person:
    generator = torch.Generator().manual_seed(seed)
    loose = torch.randint(256, (photos, 512, 512, 3), generator=generator, dtype=torch.uint8)
    # Not noise alone, of which CLIP sees the same everywhere.
    loose[:, :: seed + 2] = 0
    portraits = Portraits(loose[:, :224, :224].contiguous(), loose)
    faces = torch.randn(photos, 512, generator=generator) * 1.5
    identity = Identity(f"person {seed}", {RECOGNISER: faces}, torch.zeros(photos, 112, 112, 3), portraits)
    return Person(identity, weight, slot)
