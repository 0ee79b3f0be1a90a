"""Parts2Whole at SD1.5's real size, 768x512 with CFG, beside the published algorithm written plainly.

The peer concatenates the dense bank of every part, masked tokens as zeros, projects keys and values of all of it at
every step, computes shared attention for both rows, and plain attention for the unconditional row once more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from comfy.ldm.modules import attention
from pack.bridge.runs import Given
from pack.bridge.self_attention.layer import Beside, Sink
from pack.bridge.self_attention.recording import record
from pack.bridge.self_attention.run import Memory
from pack.bridge.self_attention.scored import scored
from pack.bridge.self_attention.shared_parts import SharedParts
from pack.core.parts.bank import PartTokens, PartWeights, keep, key_bias, sink, token_mask

from bench import networks
from bench.measure import TINY, accelerator, finished, interleaved, named, report

HEIGHT, WIDTH = (128, 64) if TINY else (768, 512)
SHAPE = {**networks.SD15.shape, "model_channels": 32} if TINY else networks.SD15.shape
PARTS, COVER = 4, 0.2


class Bench:
    """The UNet with random weights, and the parts' dense states per layer."""

    def __init__(self, device: Any, dtype: Any) -> None:
        self.model = networks.unet(networks.SD15.config, SHAPE, device, dtype)
        self.unet = self.model.diffusion_model
        self.inputs = {
            "x": torch.randn(2, 4, HEIGHT // 8, WIDTH // 8, dtype=dtype, device=device),
            "timesteps": torch.full((2,), 500.0, dtype=dtype, device=device),
            "context": torch.randn(2, 77, 768, dtype=dtype, device=device),
        }
        with torch.inference_mode():
            one = {key: value[:1] for key, value in self.inputs.items()}
            self.states = record(self.unet, **one)

    def run(self, options: dict[str, Any]) -> None:
        with torch.inference_mode():
            finished(partial(self.unet, **self.inputs, control=None, transformer_options=options))()

    def unpatched(self) -> Callable[[], None]:
        return lambda: self.run({})

    def ours(self, masks: list[Any], on: bool = True) -> tuple[Callable[[], None], int]:
        """A step of ours after the first, and the bytes of the kept features with their keys and values.

        on: False for a step outside of the range from start_percent to end_percent.
        """
        bank = {
            block: [keep(states[0], token_mask(mask, states.shape[1])) for mask in masks]
            for block, states in self.states.items()
        }
        parts = SharedParts(object(), (1e9, 0.0), bank, PartWeights([1.0] * len(masks)))
        given = Given(self.model, self.inputs["x"], self.inputs["timesteps"], self.inputs["context"], {})
        with torch.inference_mode():
            options = Memory(given).batch((None, parts), on, given.x, None, {}).around({})
        kept = sum(part.kept.nbytes for parts in bank.values() for part in parts)
        return lambda: self.run(options), 3 * kept

    def published(self, masks: list[Any]) -> tuple[Callable[[], None], int]:
        """A step as published, and the bytes of its bank (both rows) with the largest layer's keys and values."""
        bank = {
            block: torch.cat([states * token_mask(m, states.shape[1])[:, None].to(states) for m in masks], dim=1)
            for block, states in self.states.items()
        }

        def append(n: Any, _k: Any, _v: Any, extra: Any) -> Any:
            both = torch.cat([n, bank[(*extra["block"], extra["block_index"])].expand(len(n), -1, -1)], dim=1)
            return n, both, both

        def attend(q: Any, k: Any, v: Any, extra: Any) -> Any:
            out = attention.optimized_attention(q, k, v, extra["n_heads"])
            tokens = q.shape[1]
            alone = attention.optimized_attention(q[:1], k[:1, :tokens], v[:1, :tokens], extra["n_heads"])
            return torch.cat([alone, out[1:]])

        options = {
            "patches": {"attn1_patch": [append]},
            "patches_replace": {"attn1": {block[:2]: attend for block in self.states}},
        }
        largest = max(4 * (bank[b].nbytes + self.states[b].nbytes) for b in bank)
        return lambda: self.run(options), 2 * sum(dense.nbytes for dense in bank.values()) + largest


def mask(number: int, cover: float) -> Any:
    """A part's mask: a band of the picture's height, `cover` of it."""
    out = torch.zeros(HEIGHT, WIDTH)
    start = round(number * HEIGHT * (1 - cover) / max(PARTS - 1, 1))
    out[start : start + round(HEIGHT * cover)] = 1
    return out


@contextlib.contextmanager
def host_attention(name: str) -> Iterator[None]:
    """The host's attention is this function of comfy.ldm.modules.attention, for its UNet and for the pack."""
    before = attention.optimized_attention
    try:
        attention.optimized_attention = getattr(attention, name)
        yield
    finally:
        attention.optimized_attention = before


def measure_step(bench: Bench, rounds: int, limits: dict[str, float], device: str, **more: Any) -> None:
    masks = [mask(n, COVER) for n in range(PARTS)]
    ours = bench.ours(masks)[0]
    title = f"parts_step_{PARTS}_parts_{COVER:.0%}".replace("%", "_percent")
    times = interleaved(ours, bench.published(masks)[0], rounds)
    report(f"{title}_vs_published", *times, "s", limits["published"], device, **more)
    times = interleaved(ours, bench.unpatched(), rounds)
    report(f"{title}_vs_unpatched", *times, "s", limits["unpatched"], device, **more)


def measure_rest(bench: Bench, rounds: int, device: str, **more: Any) -> None:
    """Memory, a part without a mask, no part, and how the cost grows."""
    masks = [mask(n, COVER) for n in range(PARTS)]
    kept, dense = bench.ours(masks)[1], bench.published(masks)[1]
    report("parts_memory_vs_published", kept / 2**20, dense / 2**20, "MiB", 0.35, device, **more)
    whole = [mask(0, 1.0)]
    times = interleaved(bench.ours(whole)[0], bench.published(whole)[0], rounds)
    report("parts_step_1_whole_part_vs_published", *times, "s", 0.8, device, **more)
    times = interleaved(bench.ours(masks, on=False)[0], bench.unpatched(), 2 * rounds + 1)
    report("parts_step_off_vs_unpatched", *times, "s", 1.01, device, **more)
    for count in (1, 2, 4, 6):
        some = [mask(n % PARTS, COVER) for n in range(count)]
        times = interleaved(bench.ours(some)[0], bench.unpatched(), rounds)
        report(f"parts_step_{count}_parts_vs_unpatched", *times, "s", 1.2, device, parts=count, **more)


def on_cpu() -> None:
    """With the attention that the host takes on a CPU, and with the one of --use-pytorch-cross-attention."""
    bench, device = Bench(torch.device("cpu"), torch.float32), f"CPU, {torch.get_num_threads()} threads"
    for kernel, rounds in (("attention_sub_quad", 2), ("attention_pytorch", 4)):
        with host_attention(kernel):
            measure_step(bench, rounds, {"published": 0.45, "unpatched": 1.10}, device, attention=kernel)
    with host_attention("attention_sub_quad"):
        measure_rest(bench, 2, device, attention="attention_sub_quad")


def on_gpu() -> None:
    bench, device = Bench(accelerator(), torch.float16), named(accelerator())
    measure_step(bench, 15, {"published": 0.6, "unpatched": 1.2}, device)
    measure_rest(bench, 15, device)


def without_mask(device: Any, dtype: Any, rounds: int) -> None:
    """Self-attention with 4 parts of 20 % in layers of SD1.5 and SDXL: what the dropped tokens take off by torch's
    log-sum-exp; the peer has them in the additive mask."""
    for heads, head, tokens in ((8, 40, 6144), (8, 80, 1536), (8, 160, 384), (10, 64, 4096), (20, 64, 1024)):
        tokens //= 16 if TINY else 1
        width, kept, weights = heads * head, round(PARTS * COVER * tokens), PartWeights([1.0])
        bank, grid = [PartTokens(torch.empty(kept, 0), PARTS * tokens - kept)], (1, tokens)
        bias, logit = key_bias(bank, tokens, weights, grid, dtype), sink(bank, weights)
        kernel = scored(torch.empty(0, device=device, dtype=dtype), head)
        if bias is None or logit is None or kernel is None:
            raise RuntimeError(f"{named(device)} has no such kernel for heads of {head} in {dtype}")
        bias = bias.to(device, dtype)
        keys, values = torch.randn(2, 1, bias.shape[-1] - tokens, width, device=device, dtype=dtype)
        alone = Sink(torch.full((), logit, device=device), keys[:, :kept], values[:, :kept], kernel)
        masked = Beside(keys, values, [kept], False, grid, bias, lambda *_: None)
        options = {"n_heads": heads, "attn_precision": None, "activations_shape": (1, width, *grid)}
        given = *torch.randn(3, 1, tokens, width, device=device, dtype=dtype), options
        ours, peer = (finished(partial(one.attended, *given)) for one in (replace(masked, sink=alone), masked))
        with torch.inference_mode(), host_attention("attention_pytorch"):
            mine, theirs = interleaved(ours, peer, rounds)
        title = f"parts_sink_without_mask_{tokens}_tokens_{heads}_heads_of_{head}"
        report(title, mine * 1000, theirs * 1000, "ms", 1.0, named(device), dtype=str(dtype))


CASES: dict[str, Callable[[], None]] = {
    "parts_cpu_step": on_cpu,
    "parts_gpu_step": on_gpu,
    "parts_sink": partial(without_mask, torch.device("cpu"), torch.float32, 5),
    "parts_gpu_sink": partial(without_mask, accelerator(), torch.float16, 50),
}
NEED_GPU = {"parts_gpu_step", "parts_gpu_sink"}
