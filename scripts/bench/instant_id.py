"""InstantID's cases of bench.py: operations at SDXL's real shapes, and time beside diffusers doing the same work.

Every case runs the pack's own path: an injection as Apply InstantID makes it, read by the patch on the MODEL through
transformer_options, and IdentityNet called as the host's sampler calls a ControlNet.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import comfy.controlnet
import comfy.model_patcher
import comfy.patcher_extension
import comfy.samplers
import environment
import tiny_sdxl
import torch
from instant_id_made import DEFAULTS, person
from pack.bridge import carried, runs
from pack.bridge.injections import Injection, InjectionsRun
from pack.bridge.unet import attention_layers
from pack.core.people import Cast
from pack.nodes.instant_id.nodes import ApplyInstantID, IdentityNet, load_instant_id
from seeded import instant_id_file

from bench import networks, sdxl
from bench.masks import side_by_side
from bench.measure import COUNTED, TINY, accelerator, finished, interleaved, named, peak_gib, report, teraflops
from bench.sdxl import SIDE

TOKENS, WIDTH = 16, 2048


class Step:
    """One step of `people` with CFG at SDXL's real size; 0 people: the same networks without InstantID.

    tokens: of a person. width: of text and tokens. side: of the picture.
    """

    tokens, width, side = TOKENS, WIDTH, SIDE

    def __init__(self, unet: Any, net: Any, people: int, dtype: Any, device: Any) -> None:
        self.unet, self.given = unet, self._given(dtype, device)
        self.text = torch.zeros(2, 77, self.width, dtype=dtype, device=device)
        self.run = self._run() if people else None
        self.rows = self._rows(people) if people else None
        self.net: Any = self._identity_net(net) if net is not None else None

    def _given(self, dtype: Any, device: Any) -> dict[str, Any]:
        return sdxl.inputs(dtype, device)

    def _run(self) -> Any:
        """A run of the sampler."""
        return InjectionsRun(SimpleNamespace(model_patcher=self._patcher(), conds={}), self.given["x"])

    def _rows(self, people: int) -> Any:
        """Positive and negative as the sampler batches them."""
        widths = [width for *_, width in attention_layers(self._patcher())]
        regions = side_by_side(people, self.side, self.side) if people > 1 else None
        source = object()

        def injection() -> Any:
            layers = tuple(tuple(torch.randn(2, people, self.tokens, width)) for width in widths)
            tokens = torch.randn(people, self.tokens, self.width)
            return Injection(source, carried.ALWAYS, tokens, layers, regions)

        positive, negative = (carried.CarriedCond((injection(),), self.run) for _ in range(2))
        assert positive.can_concat(negative)
        return positive.concat([negative])

    def _patcher(self) -> Any:
        device = self.text.device
        return comfy.model_patcher.ModelPatcher(self.unet, load_device=device, offload_device=device)

    def _options(self) -> dict[str, Any]:
        """As in every step of the run."""
        if self.run is None:
            return {}
        kind = comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL
        wrappers = {kind: {Injection.key: [self.run.forward]}}
        return {"sigmas": self.given["timesteps"], Injection.key: self.run, "wrappers": wrappers}

    def _identity_net(self, net: Any) -> Any:
        assert self.run is not None
        nobody = torch.randn(1, TOKENS, WIDTH)
        plain = comfy.controlnet.ControlNet(net, load_device=self.text.device)
        identity = IdentityNet(plain, self.run.read(self.rows)[0].carried[0].source, nobody)
        identity.set_cond_hint(torch.zeros(1, 3, SIDE, SIDE), 0.8)
        identity.model_sampling_current = self.unet.model_sampling
        return identity

    def denoise(self, control: Any = None) -> Any:
        """The UNet alone, as the host's model calls it."""
        with torch.inference_mode():
            return self.unet.diffusion_model(
                **self.given, context=self.text, control=control, transformer_options=self._options(), **self._sent()
            )

    def _sent(self) -> dict[str, Any]:
        """What the run makes before the host's model calls the UNet, and hands through it."""
        if self.run is None:
            return {}
        x = self.given["x"]
        given = runs.Given(self.unet, x, self.given["timesteps"], self.text, self._options())
        batch = self.run.batch(tuple(chunk.carried for chunk in self.run.read(self.rows)), given)
        sent = runs.Sent(batch, self.rows, given, tuple(x.shape[-2:]))
        return {Injection.key: self.rows, f"{Injection.key}_batch": sent}

    def control(self) -> Any:
        """IdentityNet alone, as the host's sampler calls it."""
        cond = {"c_crossattn": self.text, "y": self.given["y"], Injection.key: self.rows}
        with torch.inference_mode():
            return self.net.get_control(self.given["x"], self.given["timesteps"], cond, 2, self._options())

    def both(self) -> Any:
        return self.denoise(self.control())


def operations() -> None:
    device, dtype = "meta", torch.float16
    unet, net = sdxl.unet(device, dtype), sdxl.control_net(device, dtype)
    without = Step(unet, None, 0, dtype, device)
    one, four = Step(unet, net, 1, dtype, device), Step(unet, net, 4, dtype, device)
    for case, ours, peer, target in (
        ("unet_operations_1_person_vs_no_adapter", one.denoise, without.denoise, 1.01),
        ("unet_operations_4_people_vs_1", four.denoise, one.denoise, 1.05),
        ("identitynet_operations_4_people_vs_1", four.control, one.control, 1.05),
    ):
        report(f"instant_id_{case}", teraflops(ours), teraflops(peer), "TFLOP", target, COUNTED)


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
    sdxl.SHAPE,
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


def gpu_step() -> None:
    """Time of the UNet and of IdentityNet alone; peak memory of a whole step."""
    device, dtype = accelerator(), torch.float16
    unet, net = sdxl.unet(device, dtype), sdxl.control_net(device, dtype)
    without = Step(unet, None, 0, dtype, device)
    one, four = Step(unet, net, 1, dtype, device), Step(unet, net, 4, dtype, device)
    memory = {f"peak_gib_{people}": round(peak_gib(step.both), 2) for people, step in ((1, one), (4, four))}
    for case, ours, peer, target in (
        ("unet_time_1_person_vs_no_adapter", one.denoise, without.denoise, 1.03),
        ("unet_time_4_people_vs_1", four.denoise, one.denoise, 1.1),
        ("identitynet_time_4_people_vs_1", four.control, one.control, 1.1),
    ):
        times = interleaved(finished(ours), finished(peer), 15)
        report(f"instant_id_{case}", *times, "s", target, named(device), **memory)


CASES: dict[str, Callable[[], None]] = {
    "instant_id_operations": operations,
    "instant_id_beside_diffusers": partial(
        beside_diffusers, "instant_id_step_time_vs_diffusers_small", SMALL, 1.0, rounds=10
    ),
    "instant_id_gpu_step": gpu_step,
    "instant_id_gpu_beside_diffusers": partial(
        beside_diffusers,
        "instant_id_step_time_vs_diffusers",
        replace(SMALL, side=SIDE) if TINY else REAL,
        0.95,
        rounds=10,
    ),
}
NEED_GPU = {"instant_id_gpu_step", "instant_id_gpu_beside_diffusers"}
