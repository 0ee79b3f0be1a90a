"""Pictures of what the device does during a step, a method beside the same model without it.

torch's profiler says when each piece of work ran; marks around the networks' modules and around the pack's own
functions say what it was for. The trace itself is kept beside the picture, for chrome://tracing or ui.perfetto.dev.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import torch
from pack.bridge.injections import Addition
from pack.bridge.regional_text import RegionalTextBatch
from pack.bridge.runs import Run
from pack.bridge.self_attention.layer import Beside
from pack.bridge.token_control_net import _Network as IdentityNetwork
from pack.nodes.share_parts.reference import SelfReference
from torch.profiler import ProfilerActivity, profile, record_function

from bench import methods, timeline_picture
from bench.measure import TINY, accelerator, named, report
from bench.trace import CONTROL, MARK, RECORDING, busy, span, sums, work_of

METHODS = {
    "id_patch": ("Apply ID-Patch, 8 people", 8),
    "instant_id": ("Apply InstantID, 4 people in regions", 4),
    "share_parts": ("Share Parts Attention, 4 parts of 20 %", 4),
    "id_tokens_by_region": ("ID Tokens by Region, 8 people", 8),
}
ALONE = {"control_net": "The same model with a plain ControlNet", "unpatched": "The model alone"}
STEPS = 2
OURS = (
    (IdentityNetwork, "__call__", CONTROL),
    (Addition, "attended", "Likeness: tokens of people"),
    (RegionalTextBatch, "attended", "Likeness: text by region"),
    (Beside, "attended", "Likeness: looking at parts"),
    (SelfReference, "__call__", RECORDING),
    (Run, "_read", "Likeness: making ready"),
)


def draw(method: str, out: Path) -> None:
    """Two steps with a method and two without, one above the other at one scale, as OUT/timeline_METHOD.png."""
    title, people = METHODS[method]
    on, peer = methods.networks(), methods.peer_of(method)
    sides = {}
    for name, what in ((method, title), (peer, ALONE[peer])):
        applied = methods.METHODS[name](on, people)
        run = partial(methods.sampled, on, applied, STEPS)
        run()  # kernels are chosen and what is carried is put on the device
        file = out / f"trace_{method}{'' if name == method else '_without'}.json.gz"
        sides[what] = work_of(traced(run, on, file))
    device = named(accelerator())
    kind = "small networks: only whether this works, no figure" if TINY else "1024 px, float16"
    timeline_picture.save(f"{STEPS} steps on {device}, {kind}", sides, out / f"timeline_{method}.png")
    ours, without = (span(work) for work in sides.values())
    name, more = f"timeline_{method}_{people}_vs_{peer}", {"busy": busy(sides[title]), "rows": sums(sides[title])}
    report(name, ours, without, f"ms for {STEPS} steps, profiled", None, device, **more)


def traced(run: Callable[[], Any], on: methods.Networks, file: Path) -> list[dict[str, Any]]:
    """The trace's events; the trace itself is kept in `file`."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    with marked(on), profile(activities=activities) as profiler:
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    with TemporaryDirectory() as folder:
        plain = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(plain))
        text = plain.read_bytes()
    file.write_bytes(gzip.compress(text))
    return json.loads(text)["traceEvents"]


@contextmanager
def marked(on: methods.Networks) -> Iterator[None]:
    """While this lasts, everything that runs says in which row it belongs."""
    with ExitStack() as stack:
        for owner, name, row in OURS:
            stack.enter_context(mock.patch.object(owner, name, saying(getattr(owner, name), row)))
        for module, row in modules(on):
            for hook in hooks(module, row):
                stack.callback(hook.remove)
        yield


def saying(function: Callable[..., Any], row: str) -> Callable[..., Any]:
    def said(*args: Any, **kwargs: Any) -> Any:
        with record_function(MARK + row):
            return function(*args, **kwargs)

    return said


def modules(on: methods.Networks) -> Iterator[tuple[Any, str]]:
    yield on.net.control_model, CONTROL
    unet = on.model.model.diffusion_model
    yield unet, "UNet: norms, projections"
    kinds = {
        "ResBlock": "UNet: convolutions",
        "Downsample": "UNet: convolutions",
        "Upsample": "UNet: convolutions",
        "attn1": "UNet: self-attention",
        "attn2": "UNet: cross-attention",
        "ff": "UNet: feed-forward",
    }
    for name, module in unet.named_modules():
        row = kinds.get(type(module).__name__) or kinds.get(name.rpartition(".")[2])
        if row:
            yield module, row
            # Where attention is replaced, the layers around it are called one by one.
            yield from ((child, row) for child in module.children() if name.endswith(("attn1", "attn2")))


def hooks(module: Any, row: str) -> Iterator[Any]:
    open_marks: list[Any] = []

    def begin(*_: Any) -> None:
        open_marks.append(record_function(MARK + row))
        open_marks[-1].__enter__()

    def end(*_: Any) -> None:
        open_marks.pop().__exit__(None, None, None)

    yield module.register_forward_pre_hook(begin)
    yield module.register_forward_hook(end, always_call=True)
