"""Parts2Whole at SD1.5's real size, 512x768 with CFG, beside the published algorithm written plainly.

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
from pack.bridge.self_attention.run import Beside, Sink, scored
from pack.core.parts.bank import PartTokens, PartWeights, key_bias, sink, token_mask

from bench.measure import TINY, accelerator, finished, interleaved, named, report
from bench.methods import Applied, garment, in_turns, parts2whole, seconds_of_a_step, states, unpatched
from bench.networks import SD15, Networks, for_timing

PARTS, COVER = 4, 0.2
NEVER = (-1.0, -2.0)


def published(on: Networks, count: int, mask: Any) -> Applied:
    device, bank = on.model.load_device, {}
    for block, seen in states(on):
        dense = (seen * token_mask(mask, len(seen))[:, None])[None].to(device, on.model.model.get_dtype())
        bank[block] = dense.repeat(1, count, 1)

    def append(n: Any, _k: Any, _v: Any, extra: Any) -> Any:
        both = torch.cat([n, bank[(*extra["block"], extra["block_index"])].expand(len(n), -1, -1)], dim=1)
        return n, both, both

    def attend(q: Any, k: Any, v: Any, extra: Any) -> Any:
        out = attention.optimized_attention(q, k, v, extra["n_heads"])
        tokens = q.shape[1]
        alone = attention.optimized_attention(q[:1], k[:1, :tokens], v[:1, :tokens], extra["n_heads"])
        return torch.cat([alone, out[1:]])

    model = on.model.clone()
    model.set_model_attn1_patch(append)
    for block in bank:
        model.set_model_attn1_replace(attend, *block)
    return unpatched(on, count)._replace(model=model)


def memory(on: Networks, count: int, mask: Any) -> tuple[float, float]:
    """MiB in half precision: of ours the features with their keys and values, of the published bank both rows with the
    largest layer's keys and values."""
    seen = [one for _, one in states(on)]
    kept = sum(3 * int((token_mask(mask, len(one)) > 0).sum()) * one.shape[1] for one in seen)
    largest = max(4 * (count + 1) * one.numel() for one in seen)
    return 2 * count * kept / 2**20, 2 * (2 * count * sum(one.numel() for one in seen) + largest) / 2**20


@contextlib.contextmanager
def host_attention(name: str) -> Iterator[None]:
    """The host's attention is this function of comfy.ldm.modules.attention, for its UNet and for the pack."""
    before = attention.optimized_attention
    try:
        attention.optimized_attention = getattr(attention, name)
        yield
    finally:
        attention.optimized_attention = before


def measure(on: Networks, rounds: int, **more: Any) -> None:
    """A step beside the published one and beside the unpatched one, for more parts, one without a mask, and none."""
    mask, whole, plain = garment(on), torch.ones(*on.size[::-1]), unpatched(on, 0)

    def beside(name: str, ours: Applied, peer: Applied, wanted: float, **rest: Any) -> None:
        run, other = (partial(seconds_of_a_step, on, each, 1) for each in (ours, peer))
        times = in_turns(run, other, rounds)
        report(f"parts_step_{name}", *times, "s", wanted, named(on.model.load_device), **rest, **more)

    beside(f"{PARTS}_parts_vs_published", parts2whole(on, PARTS), published(on, PARTS, mask), 0.6)
    beside("1_whole_part_vs_published", parts2whole(on, 1, whole), published(on, 1, whole), 0.8)
    beside("off_vs_unpatched", parts2whole(on, PARTS, on_at=NEVER), plain, 1.01)
    for count in (1, 2, 4, 6):
        beside(f"{count}_parts_vs_unpatched", parts2whole(on, count), plain, 1.2, parts=count)
    report("parts_memory_vs_published", *memory(on, PARTS, mask), "MiB", 0.35, "any (counted)")


def _networks(dtype: Any, device: Any) -> Networks:
    on = for_timing(dtype, family=SD15, device=device)
    return on.at(64, 128) if TINY else on


def on_cpu() -> None:
    """With the attention that the host takes on a CPU, and with the one of --use-pytorch-cross-attention."""
    on = _networks(torch.float32, torch.device("cpu"))
    for kernel, rounds in (("attention_sub_quad", 2), ("attention_pytorch", 4)):
        with host_attention(kernel):
            measure(on, rounds, attention=kernel)


def on_gpu() -> None:
    measure(_networks(torch.float16, accelerator()), 15)


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
