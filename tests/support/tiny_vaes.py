"""The host's VAEs of FLUX.1, FLUX.2 and Qwen-Image with tiny random networks, known by the keys of their files."""

from typing import Any

import comfy.ldm.models.autoencoder as host
import comfy.ldm.wan.vae
import comfy.sd
from tiny.seeded import fill
from torch import nn

_KL = {
    "double_z": True, "z_channels": 16, "resolution": 32, "in_channels": 3, "out_ch": 3, "ch": 32,
    "ch_mult": [1, 1, 1, 1], "num_res_blocks": 1, "attn_resolutions": [], "dropout": 0.0,
}  # fmt: skip


def flux2() -> comfy.sd.VAE:
    """128 channels at 1/16."""
    network = host.AutoencoderKL(ddconfig={**_KL, "z_channels": 32, "batch_norm_latent": True}, embed_dim=32)
    fill(network, 301).bn.running_var.fill_(1.0)
    return _read(comfy.sd, "AutoencoderKL", network)


def qwen() -> comfy.sd.VAE:
    """16 channels at 1/8, of films: latents and pictures have a dimension more, and a batch of pictures is a film."""
    network = comfy.ldm.wan.vae.WanVAE(
        dim=8, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=2, attn_scales=[],
        temperal_downsample=[False, True, True], image_channels=3, conv_out_channels=3, dropout=0.0,
    )  # fmt: skip
    return _read(comfy.ldm.wan.vae, "WanVAE", fill(network, 302))


def flux1(channels: int = 16) -> comfy.sd.VAE:
    """And Z-Image's: latents at 1/8."""
    part = "comfy.ldm.modules.diffusionmodules.model."
    config = {**_KL, "z_channels": channels}
    network = host.AutoencodingEngine(
        regularizer_config={"target": "comfy.ldm.models.autoencoder.DiagonalGaussianRegularizer"},
        encoder_config={"target": f"{part}Encoder", "params": config},
        decoder_config={"target": f"{part}Decoder", "params": config},
    )
    return _read(comfy.sd, "AutoencodingEngine", fill(network, 303))


def _read(module: Any, kind: str, network: nn.Module) -> comfy.sd.VAE:
    """As the host reads a file with these keys, which it takes for the published size."""
    of_the_host = getattr(module, kind)
    setattr(module, kind, lambda **_: network)
    try:
        vae = comfy.sd.VAE(sd=dict(network.state_dict()))
    finally:
        setattr(module, kind, of_the_host)
    vae.first_stage_model.requires_grad_(False)
    return vae


ALL = {"FLUX.2": flux2, "Qwen-Image": qwen, "Z-Image": flux1}
OF_LATENT = {(16,): flux1, (128,): flux2, (16, 1): qwen}
"""By the shape of a latent without batch, height and width."""
