"""The cases of bench.py in their order, and how they are run: one after the other, whatever fails.

With a folder, what a case has measured is in its results.json before the next one begins, so a run that is ended keeps
it. With --tiny all of it runs on a CPU: the same way, small networks.
"""

from __future__ import annotations

import gc
import json
import platform
import re
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import comfy.model_management
import comfyui_version
import environment
import torch
from rig import whole
from torch.backends import cuda as kernels

from bench import instant_id, methods, references, timed
from bench.measure import REPORTED, TINY, accelerator

RESULTS = "results.json"
KERNELS = ("flash", "mem_efficient", "cudnn", "math")


class Case(NamedTuple):
    name: str
    run: Callable[[], None]
    on_gpu: bool = False


def _references(family: str) -> Case:
    return Case(f"references_{family}_gpu", partial(references.timed, family), True)


CASES = (
    Case("instant_id_beside_diffusers", partial(instant_id.beside_diffusers, False)),
    Case("people", methods.table),
    Case("references", references.table),
    Case("flux_operations", references.flux),
    # The most valuable first.
    Case("id_patch_picture", timed.eight_people, True),
    _references("klein_4b"),
    Case("steps_of_every_method", timed.steps, True),
    Case("instant_id_gpu_beside_diffusers", partial(instant_id.beside_diffusers, True), True),
    _references("qwen_2511"),
    Case("compiled_instant_id_float16", partial(timed.compiled, "instant_id"), True),
    Case("compiled_share_parts_float16", partial(timed.compiled, "share_parts"), True),
    _references("flux2_dev"),
)


def cases() -> list[Case]:
    """Those that a GPU is wanted for."""
    return [case for case in CASES if case.on_gpu]


def run(out: Path | None, only: Sequence[str]) -> int:
    """The cases of these names, all without one; 1 where one of them failed.

    out: a folder for results.json, with which only what a GPU is wanted for is run. Raises SetupError.
    """
    lacking = accelerator().type == "cpu" and not TINY
    if lacking and out:
        raise environment.SetupError("There is no CUDA device here. --gpu --tiny shows on a CPU that every case runs.")
    planned = chosen(cases() if out else CASES, only)
    results = {"machine": machine(), "tiny": TINY, "cases": []}
    write(out, results)
    for case in planned:
        results["cases"].append(
            left_out(case, "there is no CUDA device here") if lacking and case.on_gpu else tried(case)
        )
        write(out, results)
    environment.say(summary(results["cases"]) + (f" All of it: {out / RESULTS}" if out else ""))
    return int(any(entry["status"] == "failed" for entry in results["cases"]))


def chosen(known: Iterable[Case], named: Sequence[str]) -> list[Case]:
    """The cases of these names, all without one. Raises SetupError."""
    known = list(known)
    if unknown := sorted(set(named) - {case.name for case in known}):
        there = ", ".join(case.name for case in known)
        raise environment.SetupError(f"No such case: {', '.join(unknown)}. There are: {there}.")
    return [case for case in known if not named or case.name in named]


def left_out(case: Case, why: str) -> dict[str, Any]:
    environment.say(f"{case.name}: left out, {why}.")
    return {"case": case.name, "status": "left out", "reason": why}


def tried(case: Case) -> dict[str, Any]:
    """What became of it, with all that it reported before it failed."""
    environment.say(case.name)
    before, began = len(REPORTED), time.monotonic()
    entry: dict[str, Any] = {"case": case.name, "status": "measured"}
    try:
        case.run()
    except ModuleNotFoundError as error:
        return left_out(case, f"{(error.name or '').partition('.')[0]} is not installed")
    except Exception as error:  # noqa: BLE001 - the other cases are to run, without memory too
        reason = f"{type(error).__name__}: {error}"
        environment.say(f"{case.name}: failed, {reason}")
        traceback.print_exc()
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


def write(out: Path | None, results: dict[str, Any]) -> None:
    """Whole or not at all. Raises SetupError."""
    if not out:
        return
    try:
        whole.write(out / RESULTS, (json.dumps(results, indent=1) + "\n").encode())
    except OSError as cause:
        raise environment.SetupError(
            f"{out / RESULTS} cannot be written ({cause.strerror}): make room, or name another folder with --out."
        ) from cause


def summary(entries: Sequence[dict[str, Any]]) -> str:
    """How many of each, and which goals were missed."""
    count = Counter(entry["status"] for entry in entries)
    lines = [line for entry in entries for line in entry.get("lines", []) if line["target"] is not None]
    missed = [f"{line['name']} {line['ratio']} > {line['target']}" for line in lines if line["ratio"] > line["target"]]
    goals = f"Goals missed: {'; '.join(missed)}." if missed else "Every goal that was measured is met."
    text = "Small networks: the figures mean nothing." if TINY else goals
    return f"{', '.join(f'{count[one]} {one}' for one in ('measured', 'failed', 'left out'))}. {text}"


def machine() -> dict[str, Any]:
    """What the figures belong to."""
    pyproject = (environment.ROOT / "pyproject.toml").read_text("utf-8")
    version = re.search(r'^version = "(.+)"', pyproject, re.MULTILINE)
    return {
        "device": str(torch.cuda.get_device_properties(0)) if torch.cuda.is_available() else "CPU",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "host": comfyui_version.__version__,
        "pack": version[1] if version else "unknown",
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "attention": [kind for kind in KERNELS if getattr(kernels, f"{kind}_sdp_enabled")()],
    }
