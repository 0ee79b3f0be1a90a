"""`bench.py --gpu`: everything that a GPU is wanted for, in order of value, within a time, into one folder.

What a case has measured is in results.json before the next one begins, so a run that is ended keeps it. With --tiny
all of it runs on a CPU: the same way, small networks.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import comfy.model_management
import comfyui_version
import environment
import torch
from torch.backends import cuda as kernels

from bench import (
    attention,
    faces,
    id_patch,
    inductor,
    instant_id,
    ip_adapter,
    methods,
    parts,
    picture,
    references,
    timeline,
)
from bench.measure import REPORTED, TINY, accelerator, named

RESULTS = "results.json"


@dataclass(frozen=True)
class Case:
    """seconds: what it takes on an H200, building its networks included. needs: modules that a machine may lack."""

    name: str
    run: Callable[[], None]
    seconds: float
    needs: tuple[str, ...] = ()


def cases(out: Path) -> list[Case]:
    """The most valuable first. out: where pictures go."""
    pictures = [Case(f"timeline_{name}", partial(timeline.draw, name, out), 12) for name in timeline.METHODS]
    compiled = [
        Case(f"compiled_{how}_{method}_{dtype}", partial(inductor.step, method, how, dtype), seconds, inductor.NEEDS)
        for how, method, dtype, seconds in inductor.WANTED
        if not TINY or dtype == "float16"  # the other precision goes the same way
    ]
    known = {name: case for method in (id_patch, faces, instant_id, ip_adapter, parts) for name, case in of_gpu(method)}
    dits = zip(of_gpu(references), (20, 100, 40), strict=True)
    klein, large, qwen = (Case(name, case, seconds) for (name, case), seconds in dits)
    beside_diffusers = known.pop("instant_id_gpu_beside_diffusers")
    return [
        Case("id_patch_picture", picture.eight_people, 30),
        Case("parts_gpu_step", known.pop("parts_gpu_step"), 25),
        klein,
        pictures[0],
        Case("steps_of_every_method", methods.steps, 75),
        Case("instant_id_gpu_beside_diffusers", beside_diffusers, 40, ("diffusers",)),
        qwen,
        Case("half_precision", methods.half_precision, 30),
        Case("attention_kernels", attention.kernels, 10),
        *compiled[:3],
        *pictures[1:],
        Case("second_pass_step", methods.second_pass, 10),
        Case("offloaded", methods.offloaded, 25),
        Case("batches", methods.batches, 15),
        *compiled[3:4],
        *(Case(name, case, 15) for name, case in known.items()),
        *compiled[4:],
        large,
    ]


def of_gpu(method: Any) -> list[tuple[str, Callable[[], None]]]:
    """The cases of a module that are left out without a GPU."""
    return [(name, case) for name, case in method.CASES.items() if name in method.NEED_GPU]


def run(out: Path, budget: float, only: Sequence[str], started: float) -> int:
    """The cases of these names, all without one; 1 where one of them failed.

    budget: seconds from `started` (time.monotonic) on; a case that is not expected to end within them is left out.
    """
    if accelerator().type == "cpu" and not TINY:
        raise environment.SetupError("There is no CUDA device here. --gpu --tiny shows on a CPU that every case runs.")
    chosen = cases(out)
    if unknown := set(only) - {case.name for case in chosen}:
        there = ", ".join(case.name for case in chosen)
        raise environment.SetupError(f"No such case: {', '.join(sorted(unknown))}. There are: {there}.")
    chosen = [case for case in chosen if not only or case.name in only]
    missing = {need: [case.name for case in chosen if need in case.needs] for need in lacking(chosen)}
    for need, without in missing.items():
        environment.say(f"{need} is not installed here, so these are left out: {', '.join(without)}.")
    results = {"machine": machine(), "tiny": TINY, "budget_seconds": budget, "missing": missing, "cases": []}
    write(out / RESULTS, results)
    pace, taken, expected = 1.0, 0.0, 0.0
    for case in chosen:
        left, wanted = budget - (time.monotonic() - started), case.seconds * pace
        gone = sorted(need for need in missing if need in case.needs)
        if gone:
            entry = left_out(case, f"{', '.join(gone)} is not installed")
        elif wanted > left:
            entry = left_out(case, f"about {wanted:.0f} s are needed, {max(left, 0):.0f} s are left")
        else:
            entry = tried(case)
            taken, expected = taken + entry["seconds"], expected + case.seconds
            pace = max(1.0, taken / expected)  # a slower card takes longer for all of it
        results["cases"].append(entry)
        write(out / RESULTS, results)
    environment.say(f"{summary(results['cases'])} All of it: {out / RESULTS}")
    return int(any(entry["status"] == "failed" for entry in results["cases"]))


def lacking(chosen: Sequence[Case]) -> list[str]:
    return sorted({need for case in chosen for need in case.needs if importlib.util.find_spec(need) is None})


def left_out(case: Case, why: str) -> dict[str, Any]:
    environment.say(f"{case.name}: left out, {why}.")
    return {"case": case.name, "status": "left out", "reason": why, "estimated_seconds": case.seconds}


def tried(case: Case) -> dict[str, Any]:
    """What became of it, with all that it reported before it failed."""
    environment.say(f"{case.name}")
    before, began = len(REPORTED), time.monotonic()
    entry: dict[str, Any] = {"case": case.name, "status": "measured", "estimated_seconds": case.seconds}
    try:
        case.run()
    except Exception as error:  # noqa: BLE001 - the other cases are to run, without memory too
        reason = f"{type(error).__name__}: {error}"
        environment.say(f"{case.name}: failed, {reason}")
        entry |= {"status": "failed", "reason": reason, "traceback": traceback.format_exc().splitlines()}
    tidy()
    return entry | {"seconds": round(time.monotonic() - began, 1), "lines": REPORTED[before:]}


def tidy() -> None:
    """Everything of a case is gone, whatever became of it."""
    torch._dynamo.reset()
    comfy.model_management.cleanup_models_gc()
    comfy.model_management.current_loaded_models.clear()
    gc.collect()
    comfy.model_management.soft_empty_cache()


def write(path: Path, results: dict[str, Any]) -> None:
    """Whole or not at all. Raises SetupError."""
    beside = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
        os.replace(beside, path)
    except OSError as cause:
        raise environment.SetupError(
            f"{path} cannot be written ({cause.strerror}): make room or mend that, or name another folder with --out."
        ) from cause


def summary(entries: Sequence[dict[str, Any]]) -> str:
    """How many of each, and which goals were missed."""
    count = {
        status: sum(entry["status"] == status for entry in entries) for status in ("measured", "failed", "left out")
    }
    lines = [line for entry in entries for line in entry.get("lines", []) if line["target"] is not None]
    missed = [f"{line['name']} {line['ratio']} > {line['target']}" for line in lines if line["ratio"] > line["target"]]
    goals = f"Goals missed: {'; '.join(missed)}." if missed else "Every goal that was measured is met."
    told = "Small networks: the figures mean nothing." if TINY else goals
    return f"{', '.join(f'{n} {status}' for status, n in count.items())}. {told}"


def machine() -> dict[str, Any]:
    """What the figures belong to."""
    pyproject = (environment.ROOT / "pyproject.toml").read_text("utf-8")
    version = re.search(r'^version = "(.+)"', pyproject, re.MULTILINE)
    facts: dict[str, Any] = {
        "device": named(accelerator()),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "host": comfyui_version.__version__,
        "pack": version[1] if version else "unknown",
        "driver": driver(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "attention": [
            name
            for name, on in (
                ("flash", kernels.flash_sdp_enabled()),
                ("mem-efficient", kernels.mem_efficient_sdp_enabled()),
                ("cudnn", kernels.cudnn_sdp_enabled()),
                ("math", kernels.math_sdp_enabled()),
            )
            if on
        ],
    }
    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        facts |= {"memory_gib": round(card.total_memory / 2**30, 1), "capability": f"{card.major}.{card.minor}"}
    return facts


def driver() -> str | None:
    """Of the card; None without one."""
    if not shutil.which("nvidia-smi"):
        return None
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip() or None
