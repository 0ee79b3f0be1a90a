"""scripts/bench.py starts every case in this host, and goes on behind one that fails."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from environment import SetupError

ROOT = Path(__file__).resolve().parents[2]


def bench(*cases: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """On small networks, in the Python and the host of this session."""
    command = [sys.executable, str(ROOT / "scripts" / "bench.py"), "--python", sys.executable, "--tiny", *cases]
    return subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True)


def beside(folder: Path, name: str, text: str) -> dict[str, str]:
    """Variables for a Python that finds this module first. folder: where it is written."""
    (folder / f"{name}.py").write_text(text)
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))}


def names(run: subprocess.CompletedProcess[str]) -> list[str]:
    return [json.loads(line)["name"] for line in run.stdout.splitlines()]


@pytest.mark.thorough
def test_every_case_runs() -> None:
    run = bench()
    assert run.returncode == 0, run.stderr
    assert "left out" not in run.stderr
    lines = {line["name"]: line for line in map(json.loads, run.stdout.splitlines())}
    counted = [line for name, line in lines.items() if name.startswith("people_")]
    assert all(line["ours"] > line["peer"] for line in counted), "nothing of ours was run"
    of_families = {f"people_{family}_ip_adapter_faceid_2" for family in ("sdxl", "sd15")}
    assert {"instant_id_step_time_vs_diffusers", *of_families} < {*lines}


def test_a_case_that_fails_is_named_and_the_next_one_runs(tmp_path: Path) -> None:
    run = bench(
        "instant_id_beside_diffusers", "flux_operations", **beside(tmp_path, "diffusers", "raise OSError('broken')")
    )
    assert run.returncode == 1
    assert "[likeness] instant_id_beside_diffusers: failed, OSError: broken" in run.stderr
    assert names(run) == ["infinite_you_operations", "with_anyone_operations"]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What --gpu is, on this CPU."""
    from bench import gpu

    monkeypatch.setattr(gpu, "TINY", True)
    return gpu


def reported(*lines: str) -> Callable[[], None]:
    """A case that measures this much; it raises OutOfMemoryError where the last word is one."""

    def run() -> None:
        from bench.measure import report

        for name in lines:
            if name == "out of memory":
                raise torch.OutOfMemoryError("CUDA out of memory.")
            report(name, 1.0, 2.0, "s", 1.0, "CPU")

    return run


def test_a_run_for_a_gpu_goes_on_behind_what_fails(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written: list[int] = []

    def known() -> list[dict[str, Any]]:
        return json.loads((tmp_path / "results.json").read_text())["cases"]

    planned = (
        ("works", reported("one")), ("breaks", reported("half", "out of memory")),
        ("lacks", lambda: importlib.import_module("no_such_module")), ("last", lambda: written.append(len(known()))),
    )  # fmt: skip
    monkeypatch.setattr(gpu, "cases", lambda: [gpu.Case(*case, True) for case in planned])
    assert gpu.run(tmp_path, []) == 1
    assert [case["status"] for case in known()] == ["measured", "failed", "left out", "measured"]
    breaks = known()[1]
    assert breaks["reason"] == "OutOfMemoryError: CUDA out of memory." and "in run" in "".join(breaks["traceback"])
    assert [line["name"] for line in breaks["lines"]] == ["half"], "what it had measured stays"
    assert written == [3], "what was before it was written already"
    assert "lacks: left out, no_such_module is not installed." in capsys.readouterr().err
    with pytest.raises(SetupError, match=r"No such case: lost\. There are: works, breaks, "):
        gpu.run(tmp_path, ["lost"])
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match=r"results\.json cannot be written .*: make room, or name another"):
        gpu.run(tmp_path / "file", [])
    assert written == [3], "nothing is begun"


LACKS = "import sys\nsys.modules['diffusers'] = None\n"
REHEARSED = ("references_klein_4b_gpu",)


@pytest.mark.parametrize("cases", [REHEARSED, pytest.param((), marks=pytest.mark.thorough)], ids=["some", "all"])
def test_a_run_for_a_gpu_is_rehearsed(tmp_path: Path, cases: tuple[str, ...]) -> None:
    """Without diffusers, where only some: a lent machine may not have it, and only the peer's case needs it."""
    out, variables = tmp_path / "out", beside(tmp_path, "sitecustomize", LACKS) if cases else {}
    wanted = (*cases, "instant_id_gpu_beside_diffusers") if cases else ()
    run = bench("--gpu", "--out", str(out), *wanted, **variables)
    assert run.returncode == 0, run.stderr
    results = json.loads((out / "results.json").read_text())
    assert results["tiny"] and results["machine"]["torch"] == torch.__version__ and results["machine"]["attention"]
    assert results["machine"]["pack"] != "unknown"
    lacking = [case["reason"] for case in results["cases"] if case["status"] == "left out"]
    assert lacking == (["diffusers is not installed"] if cases else [])
    measured = {case["case"]: case for case in results["cases"] if case["status"] == "measured"}
    assert measured.keys() >= set(cases) and len(measured) == len(results["cases"]) - bool(cases)
    lines = [line for case in measured.values() for line in case["lines"]]
    assert [line["name"] for line in lines] == names(run)
    assert all(line.keys() >= {"ours", "peer", "ratio", "target", "device"} for line in lines)
    if not cases:
        steps = measured["steps_of_every_method"]["lines"]
        assert len(steps) == 12 and all("peak_gib" in line for line in steps)
        (compiled,) = measured["compiled_instant_id_float16"]["lines"]
        assert compiled["graphs"] > 0 and compiled["breaks"] == compiled["recompiled"] == 0
