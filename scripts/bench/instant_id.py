"""InstantID beside diffusers doing the same work: the same weights, the same pictures, time and memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import comfy.samplers
import environment
import tiny_sdxl
import torch
from instant_id_made import DEFAULTS, person
from pack.bridge.unet import attention_layers
from pack.core.people import Cast
from pack.nodes.instant_id.nodes import ApplyInstantID, load_instant_id
from seeded import instant_id_file

from bench import networks
from bench.measure import TINY, interleaved, named, peak_gib, report

WIDTH, SIDE = 2048, 1024


@dataclass(frozen=True)
class Size:
    """Of the networks that are built twice: changes to the small configuration of the tests, in both vocabularies."""

    side: int
    device: str
    dtype: str
    diffusers: dict[str, Any]
    host: dict[str, Any]


SMALL = Size(256, "cpu", "float32", {}, {})
REAL = Size(
    SIDE,
    "cuda",
    "float16",
    {
        "block_out_channels": [320, 640, 1280],
        "transformer_layers_per_block": [1, 2, 10],
        "attention_head_dim": [5, 10, 20],
        "sample_size": SIDE // 8,
    },
    dict(networks.SDXL.shape),
)


class Pair:
    """The same UNet, IdentityNet and adapter in the host (through Apply InstantID) and in diffusers."""

    STEPS = 4

    def __init__(self, size: Size) -> None:
        self.size = size
        self.dtype, generator = getattr(torch, size.dtype), torch.Generator().manual_seed(1)
        self.unet, self.net = self._networks()
        shape = {**tiny_sdxl.HOST_CONFIG, **size.host}
        host_unet, host_net = tiny_sdxl.host_model(self.unet, shape), tiny_sdxl.host_control_net(self.net, shape)
        instant_id = self._adapter(host_unet)
        self.text, self.pooled = (torch.randn(2, *shape, generator=generator) for shape in ((77, WIDTH), (1280,)))
        face = torch.randn(1, 512, generator=generator) * 1.5
        self.hint = torch.rand(1, size.side, size.side, 3, generator=generator)
        self.start = torch.randn(1, 4, size.side // 8, size.side // 8, generator=generator) * 14
        sampling = host_unet.get_model_object("model_sampling")
        self.sigmas = comfy.samplers.calculate_sigmas(sampling, "normal", self.STEPS)
        self.timesteps = sampling.timestep(self.sigmas[:-1])
        self.tokens = instant_id.tokens([torch.zeros(1, 1, 512), face[None]])
        self.applied = ApplyInstantID.execute(
            host_unet, *tiny_sdxl.conditioning(self.text, self.pooled), instant_id, host_net,
            Cast((person("her", face),)), self.hint, **DEFAULTS,
        ).args  # fmt: skip
        self.peers = self._for_the_peer()

    def _networks(self) -> tuple[Any, Any]:
        """diffusers' UNet and ControlNet: weights random with the spread that keeps activations at their size."""
        # Imported here, so that without it only these cases fail.
        from diffusers.models.controlnets.controlnet import ControlNetModel
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

        with torch.device(self.size.device):
            unet = UNet2DConditionModel(**{**tiny_sdxl.diffusers_config(), **self.size.diffusers})
            net = ControlNetModel.from_unet(unet, load_weights_from_unet=False)
        for module in (unet, net):
            networks.spread(module)
            module.to(self.dtype)
        return unet, net

    def _adapter(self, host_unet: Any) -> Any:
        """An ip-adapter.bin of the UNet's widths, loaded on both sides."""
        file = instant_id_file([width for *_, width in attention_layers(host_unet)])
        self.unet._load_ip_adapter_weights([file], low_cpu_mem_usage=False)
        self.unet.to(self.size.device, self.dtype).requires_grad_(False)
        # The authors' pipeline projects the face once per picture, not once per step.
        self.unet.encoder_hid_proj = torch.nn.Identity()
        for processor in self.unet.attn_processors.values():
            if hasattr(processor, "scale"):
                processor.scale = [DEFAULTS["adapter_weight"]]
        with tempfile.TemporaryDirectory() as folder:
            torch.save(file, Path(folder) / "ip-adapter.bin")
            return load_instant_id(str(Path(folder) / "ip-adapter.bin"))

    def _for_the_peer(self) -> dict[str, Any]:
        """Its inputs, where and as it wants them."""
        ids = torch.tensor([[self.size.side, self.size.side, 0, 0, self.size.side, self.size.side]])
        given = {"x": self.start, "text": self.text, "pooled": self.pooled, "tokens": self.tokens, "time_ids": ids,
                 "hint": self.hint.movedim(-1, 1)}  # fmt: skip
        return {key: value.to(self.size.device, self.dtype) for key, value in given.items()}

    def ours(self) -> Any:
        model, positive, negative = self.applied
        return tiny_sdxl.host_sample(model, self.start, self.sigmas, positive, negative, 5.0)

    def peer(self) -> Any:
        given, sigmas, times = self.peers, self.sigmas.to(self.size.device), self.timesteps.to(self.size.device)
        control = (self.net, given["hint"], 0.8, given["tokens"])
        with torch.inference_mode():
            return tiny_sdxl.diffusers_sample(
                self.unet, given["x"], sigmas, times, lambda i: given["text"], given["pooled"], given["time_ids"], 5.0,
                lambda i: control, image_embeds=[given["tokens"]],
            ).cpu()  # fmt: skip


def beside_diffusers(name: str, size: Size, target: float, rounds: int) -> None:
    pair = Pair(size)
    ours, peer = pair.ours().float(), pair.peer().float()
    difference = float((ours - peer).abs().max() / peer.abs().max())
    if not difference < (1e-4 if size.dtype == "float32" else 0.1):
        raise environment.SetupError(f"The two do not do the same work: the pictures differ by {difference:.1e}.")
    seconds = interleaved(pair.ours, pair.peer, rounds)
    more: dict[str, Any] = {"relative_difference": difference}
    if size.device == "cuda":
        more |= {"peak_gib": peak_gib(pair.ours), "peer_peak_gib": peak_gib(pair.peer)}
    report(name, *seconds, f"s for {pair.STEPS} steps", target, named(size.device), **more)


CASES: dict[str, Callable[[], None]] = {
    "instant_id_beside_diffusers": partial(
        beside_diffusers, "instant_id_step_time_vs_diffusers_small", SMALL, 1.0, rounds=10
    ),
    "instant_id_gpu_beside_diffusers": partial(
        beside_diffusers,
        "instant_id_step_time_vs_diffusers",
        replace(SMALL, side=128) if TINY else REAL,
        0.95,
        rounds=10,
    ),
}
NEED_GPU = {"instant_id_gpu_beside_diffusers"}
