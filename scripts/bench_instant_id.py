"""InstantID's cases of bench.py: operations at SDXL's real shapes, and time beside diffusers doing the same work.

Every case runs the pack's own path: an injection as Apply InstantID makes it, read by the patch on the MODEL through
transformer_options, and IdentityNet called as the host's sampler calls a ControlNet.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import bench_sdxl
import environment
from bench_measure import COUNTED, interleaved, report, teraflops
from bench_sdxl import SIDE

TOKENS, WIDTH = 16, 2048


class Step:
    """One step of `people` with CFG at SDXL's real size; 0 people: the same networks without InstantID."""

    def __init__(self, unet: Any, net: Any, people: int, dtype: Any, device: Any) -> None:
        import torch

        self.unet, self.given = unet, bench_sdxl.inputs(dtype, device)
        self.text = torch.zeros(2, 77, WIDTH, dtype=dtype, device=device)
        self.rows = self._rows(people) if people else None
        self.options = self._options()
        self.net = self._identity_net(net, device) if net is not None else None

    def _rows(self, people: int) -> Any:
        """Positive and negative as the sampler batches them."""
        import torch
        from pack.bridge import adapter

        widths = [width for *_, width in adapter.attention_layers(self._patcher())]
        regions = quarters(people) if people > 1 else None
        source, device = object(), self.text.device

        def injection() -> Any:
            layers = tuple(
                (torch.randn(people, TOKENS, width, device=device), torch.randn(people, TOKENS, width, device=device))
                for width in widths
            )
            tokens = torch.randn(people, TOKENS, WIDTH, device=device)
            return adapter.Injection(source, tokens, layers, regions, adapter.ALWAYS)

        positive, negative = (adapter.InjectionsCond((injection(),)) for _ in range(2))
        assert positive.can_concat(negative)
        return positive.concat([negative])

    def _patcher(self) -> Any:
        import comfy.model_patcher

        device = self.text.device
        return comfy.model_patcher.ModelPatcher(self.unet, load_device=device, offload_device=device)

    def _options(self) -> dict[str, Any]:
        """What a run of the sampler starts with: the patches and wrappers of the MODEL, and this run's cache."""
        from pack.bridge import adapter

        if self.rows is None:
            return {}
        model = adapter.patched(self._patcher(), lambda guider: None)
        options = model.model_options["transformer_options"]
        run = {adapter.CACHE: adapter.RunCache(), "sigmas": self.given["timesteps"]}
        return {**options, "wrappers": model.wrappers, **run}

    def _identity_net(self, net: Any, device: Any) -> Any:
        import comfy.controlnet
        import torch
        from pack.bridge.identity_net import IdentityNet

        assert self.rows is not None
        nobody = torch.randn(1, TOKENS, WIDTH, device=device)
        plain = comfy.controlnet.ControlNet(net, load_device=self.text.device)
        identity = IdentityNet(plain, self.rows.chunks[0][0].source, nobody)
        identity.set_cond_hint(torch.zeros(1, 3, SIDE, SIDE), 0.8)
        identity.model_sampling_current = self.unet.model_sampling
        return identity

    def denoise(self, control: Any = None) -> Any:
        """The UNet alone, as the host's model calls it."""
        import torch
        from pack.bridge import adapter

        kept = {} if self.rows is None else {adapter.KEY: self.rows}
        with torch.inference_mode():
            return self.unet.diffusion_model(
                **self.given, context=self.text, control=control, transformer_options=dict(self.options), **kept
            )

    def control(self) -> Any:
        """IdentityNet alone, as the host's sampler calls it."""
        import torch
        from pack.bridge import adapter

        cond = {"c_crossattn": self.text, "y": self.given["y"], adapter.KEY: self.rows}
        with torch.inference_mode():
            return self.net.get_control(self.given["x"], self.given["timesteps"], cond, 2, {})

    def both(self) -> Any:
        return self.denoise(self.control())


def quarters(people: int) -> Any:
    """(people, SIDE, SIDE): side by side, a hard edge between them."""
    import torch

    regions = torch.zeros(people, SIDE, SIDE)
    for who, columns in enumerate(torch.arange(SIDE).chunk(people)):
        regions[who, :, columns] = 1
    return regions


def operations() -> None:
    import torch

    make = partial(Step, *bench_sdxl.networks("meta", torch.float16), dtype=torch.float16, device="meta")
    without = Step(make.args[0], None, 0, torch.float16, "meta")
    one, four = make(people=1), make(people=4)
    unet = {people: teraflops(step.denoise) for people, step in ((0, without), (1, one), (4, four))}
    net = {people: teraflops(step.control) for people, step in ((1, one), (4, four))}
    report("instant_id_unet_operations_1_person_vs_no_adapter", unet[1], unet[0], "TFLOP", 1.01, COUNTED)
    report("instant_id_unet_operations_4_people_vs_1", unet[4], unet[1], "TFLOP", 1.05, COUNTED)
    report("instant_id_identitynet_operations_4_people_vs_1", net[4], net[1], "TFLOP", 1.05, COUNTED)


class Pair:
    """The same small UNet, IdentityNet and adapter in the host (through Apply InstantID) and in diffusers."""

    STEPS, SIDE = 4, 512

    def __init__(self) -> None:
        sys.path.append(str(environment.ROOT / "tests" / "support"))
        import comfy.samplers
        import tiny_sdxl
        import torch
        from instant_id_made import DEFAULTS, conditioning, person
        from pack.bridge import adapter
        from pack.bridge.instant_id import load_instant_id
        from pack.core.people import Cast
        from pack.nodes.instant_id import ApplyInstantID
        from seeded import instant_id_file

        self.tiny, generator = tiny_sdxl, torch.Generator().manual_seed(1)
        self.unet = tiny_sdxl.diffusers_unet()
        self.net = tiny_sdxl.diffusers_control_net(self.unet, 172)
        host_unet, host_net = tiny_sdxl.host_model(self.unet), tiny_sdxl.host_control_net(self.net)
        file = instant_id_file([width for *_, width in adapter.attention_layers(host_unet)])
        with tempfile.TemporaryDirectory() as folder:
            torch.save(file, Path(folder) / "ip-adapter.bin")
            instant_id = load_instant_id(str(Path(folder) / "ip-adapter.bin"))
        self.unet._load_ip_adapter_weights([file], low_cpu_mem_usage=False)
        # The authors' pipeline projects the face once per picture, not once per step.
        self.unet.encoder_hid_proj = torch.nn.Identity()
        self.unet.eval().requires_grad_(False)
        for processor in self.unet.attn_processors.values():
            if hasattr(processor, "scale"):
                processor.scale = [DEFAULTS["adapter_weight"]]
        self.text, self.pooled = (torch.randn(2, *shape, generator=generator) for shape in ((77, 2048), (1280,)))
        face = torch.randn(1, 512, generator=generator) * 1.5
        self.hint = torch.rand(1, self.SIDE, self.SIDE, 3, generator=generator)
        self.start = torch.randn(1, 4, self.SIDE // 8, self.SIDE // 8, generator=generator) * 14
        sampling = host_unet.get_model_object("model_sampling")
        self.sigmas = comfy.samplers.calculate_sigmas(sampling, "normal", self.STEPS)
        self.timesteps = sampling.timestep(self.sigmas[:-1])
        self.tokens = instant_id.tokens([torch.zeros(1, 1, 512), face[None]])
        self.applied = ApplyInstantID.execute(
            host_unet, *conditioning(self.text, self.pooled), instant_id, host_net, Cast((person("her", face),)),
            self.hint, **DEFAULTS,
        ).args  # fmt: skip

    def ours(self) -> Any:
        model, positive, negative = self.applied
        return self.tiny.host_sample(model, self.start, self.sigmas, positive, negative, 5.0)

    def peer(self) -> Any:
        import torch

        with torch.inference_mode():
            ids = torch.tensor([[self.SIDE, self.SIDE, 0, 0, self.SIDE, self.SIDE]])
            control = (self.net, self.hint.movedim(-1, 1), 0.8, self.tokens)
            return self.tiny.diffusers_sample(
                self.unet, self.start, self.sigmas, self.timesteps, lambda i: self.text, self.pooled, ids, 5.0,
                lambda i: control, image_embeds=[self.tokens],
            )  # fmt: skip


def beside_diffusers() -> None:
    pair = Pair()
    ours, peer = pair.ours(), pair.peer()
    difference = float((ours - peer).abs().max() / peer.abs().max())
    if difference > 1e-4:
        raise environment.SetupError(f"The two do not do the same work: the pictures differ by {difference:.1e}.")
    seconds = [t / pair.STEPS for t in interleaved(pair.ours, pair.peer, 10)]
    report("instant_id_step_time_vs_diffusers_small", *seconds, "s", 1.0, "CPU", relative_difference=difference)


CASES: dict[str, Callable[[], None]] = {
    "instant_id_operations": operations,
    "instant_id_beside_diffusers": beside_diffusers,
}
NEED_GPU: set[str] = set()
