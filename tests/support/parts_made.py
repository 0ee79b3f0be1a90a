"""Everything Parts2Whole is made of, real and tiny: seeded networks in the host, and the released folder."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import tiny_sd15
import torch
from diffusers import UNet2DConditionModel
from drawn import picture
from pack.bridge.host import load
from pack.core.cast import Member, Slot, person_without_photo
from pack.core.parts.parts import LABELS, Parts, make_part
from pack.core.persons.looks import look_of_parts, with_look
from pack.nodes.parts2whole.net import DecoupledAttn, PoseGuider
from pack.nodes.parts2whole.nodes import Parts2Whole
from safetensors.torch import save_file
from shared.shapes import of
from tiny import tiny_encoders
from tiny.seeded import fill, seeded
from torch import Tensor

SCHEDULER = {"beta_schedule": "linear", "beta_start": 0.00085, "beta_end": 0.012, "num_train_timesteps": 1000}
WIDTH, HEIGHT = 88, 120
"""A size whose latent, 11 by 15, no halving divides."""


def pose_guider_state(out: int) -> dict[str, Tensor]:
    return seeded(dict(of("pose_guider", out=out)), 114)


def decoupled_state(unet: UNet2DConditionModel, tokens: int) -> dict[str, Tensor]:
    shapes: dict[str, tuple[int, ...]] = {}
    for name in (name for name in unet.attn_processors if "attn2" in name):
        width = unet.get_submodule(name.removesuffix(".processor")).to_k.out_features
        shapes |= {f"{name}.to_{side}_dc.weight": (width, tokens) for side in "kv"}
    return seeded(shapes, 113)


@dataclass(frozen=True)
class Made:
    """The same weights as the host has them and as diffusers has them; decoupled: those of the file."""

    model: Any
    networks: Parts2Whole
    denoiser: UNet2DConditionModel
    reference: UNet2DConditionModel
    decoupled: dict[str, Tensor]


@cache
def made(dtype: torch.dtype = torch.float32) -> Made:
    denoiser, reference = (tiny_sd15.diffusers_unet(seed).to(dtype) for seed in (111, 112))
    decoupled = {name: tensor.to(dtype) for name, tensor in decoupled_state(denoiser, 48).items()}
    pose_guider = pose_guider_state(32)

    def patcher(kind, state, own_state):
        return load.in_patcher(lambda **build: kind(state, **build), own_state)

    networks = Parts2Whole(
        tiny_sd15.host_model(reference),
        patcher(DecoupledAttn, decoupled, DecoupledAttn.own_state(decoupled)),
        patcher(PoseGuider, pose_guider, pose_guider),
    )
    return Made(tiny_sd15.host_model(denoiser), networks, denoiser, reference, decoupled)


clip = cache(tiny_encoders.sd1)


def box_mask(x0: int, y0: int, x1: int, y1: int) -> Tensor:
    mask = torch.zeros(1, 140, 100)
    mask[:, y0:y1, x0:x1] = 1
    return mask


MASKS = (
    box_mask(10, 10, 60, 70), box_mask(0, 80, 100, 140), box_mask(40, 20, 90, 110),
    box_mask(5, 100, 45, 135), box_mask(60, 0, 100, 40), box_mask(20, 40, 80, 90),
)  # fmt: skip


def parts(count: int) -> Parts:
    return Parts(tuple(make_part(LABELS[n], picture(n), MASKS[n], 1.0, None) for n in range(count)))


def wearing(name: str, place: Tensor, *parts: dict[str, Any]) -> Member:
    """Somebody in the place of this mask, (1, H, W), in a look of these parts, each with the inputs of a Part node."""
    made = [make_part(one["label"], one["image"], one["mask"], one.get("weight", 1.0), None) for one in parts]
    person = with_look(person_without_photo(name), look_of_parts("new", Parts(tuple(made))))
    return Member(person, slot=Slot((0.0, 0.0), mask=place[0]))


def sd15_shaped(seed: int) -> UNet2DConditionModel:
    """As small as the host's detection of SD1.5 lets it be: its text width and channels, two levels, one layer each."""
    unet = UNet2DConditionModel(
        sample_size=8, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), block_out_channels=(320, 320), layers_per_block=1,
        cross_attention_dim=768, attention_head_dim=8,
    )  # fmt: skip
    return fill(unet, seed)


LAST = "up_blocks.1.attentions.1"
TAIL = (
    *(f"{LAST}.transformer_blocks.0.{name}" for name in ("attn1", "norm2", "attn2", "norm3", "ff")),
    f"{LAST}.proj_out", "conv_norm_out", "conv_out",
)  # fmt: skip


def write_release(folder: Path) -> Path:
    """The released folder with the stand-in's weights: safetensors, pickle, and a .pth that is really safetensors."""
    denoiser = sd15_shaped(121)
    for name in ("unet", "reference_unet", "pose_guider", "scheduler"):
        (folder / name).mkdir(parents=True)
    save_file(denoiser.state_dict(), folder / "unet" / "diffusion_pytorch_model.safetensors")
    reference = {key: x for key, x in sd15_shaped(122).state_dict().items() if not key.startswith(TAIL)}
    save_file(reference, folder / "reference_unet" / "diffusion_pytorch_model.safetensors")
    torch.save(pose_guider_state(320), folder / "pose_guider" / "diffusion_pytorch_model.bin")
    save_file(decoupled_state(denoiser, 768), folder / "decoupled_attn.pth")
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULER), "utf-8")
    (folder / "unet" / "config.json").write_text(json.dumps({"cross_attention_dim": 768}), "utf-8")
    return folder
