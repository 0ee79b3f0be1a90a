"""scripts/bench.py starts every case in this host, and goes on behind one that fails."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

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
    said = names(run)
    assert "detect_and_embed_6_faces_in_torch" in said
    assert "instant_id_step_time_vs_diffusers" in said
    lines = {line["name"]: line for line in map(json.loads, run.stdout.splitlines())}
    counted = [line for name, line in lines.items() if name.startswith("people_")]
    assert all(line["ours"] > line["peer"] for line in counted), "nothing of ours was run"
    assert {f"people_{family}_ip_adapter_faceid_2" for family in ("sdxl", "sd15")} < {*lines}


def test_a_case_that_fails_is_named_and_the_next_one_runs(tmp_path: Path) -> None:
    run = bench("faces", "flux_operations", **beside(tmp_path, "insightface", "raise OSError('broken')"))
    assert run.returncode == 1
    assert "[likeness] faces: failed, OSError: broken" in run.stderr
    assert names(run) == ["infinite_you_operations", "with_anyone_operations"]


def test_a_case_that_does_not_exist() -> None:
    run = bench("no_such_case")
    assert run.returncode == 1
    assert "No such case: no_such_case. There are: faces, " in run.stderr


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What --gpu is, on this CPU."""
    from bench import gpu

    monkeypatch.setattr(gpu, "TINY", True)
    return gpu


def test_a_run_for_a_gpu_goes_on_behind_what_fails_and_keeps_to_its_time(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bench.measure import report

    def lacks() -> None:
        import no_such_module  # noqa: F401

    def measured() -> None:
        report("one", 1.0, 2.0, "s", 1.0, "CPU")

    def out_of_memory() -> None:
        report("half", 1.0, 2.0, "s", 1.0, "CPU")
        raise torch.OutOfMemoryError("CUDA out of memory.")

    def reads() -> None:
        written = json.loads((tmp_path / "results.json").read_text())["cases"]
        report("written", len(written), 1.0, "cases", None, "CPU")

    planned = [
        gpu.Case("works", measured, 1), gpu.Case("breaks", out_of_memory, 1), gpu.Case("dear", measured, 1000),
        gpu.Case("lacks", lacks, 1), gpu.Case("last", reads, 1),
    ]  # fmt: skip
    monkeypatch.setattr(gpu, "cases", lambda: planned)
    assert gpu.run(tmp_path, 100.0, [], time.monotonic()) == 1
    results = json.loads((tmp_path / "results.json").read_text())
    found = {case.pop("case"): case for case in results["cases"]}
    assert {name: case["status"] for name, case in found.items()} == {
        "works": "measured", "breaks": "failed", "dear": "left out", "lacks": "left out", "last": "measured",
    }  # fmt: skip
    assert found["breaks"]["reason"] == "OutOfMemoryError: CUDA out of memory."
    assert "in out_of_memory" in "".join(found["breaks"]["traceback"])
    assert [line["name"] for line in found["breaks"]["lines"]] == ["half"], "what it had measured stays"
    assert re.match("about [0-9]{4,} s are needed, ", found["dear"]["reason"]), (
        "1000 on a machine with nothing else to do, else more"
    )
    assert found["last"]["lines"][0]["ours"] == 4, "what was before it was written already"
    assert "lacks: left out, no_such_module is not installed." in capsys.readouterr().err
    assert gpu.run(tmp_path, 100.0, ["works"], time.monotonic() - 99.5) == 0
    (left,) = json.loads((tmp_path / "results.json").read_text())["cases"]
    assert left["reason"] in ("about 1 s are needed, 0 s are left", "about 1 s are needed, 1 s are left")


def test_a_folder_that_cannot_be_written_to_is_said_before_the_first_case(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from environment import SetupError

    begun: list[int] = []
    monkeypatch.setattr(gpu, "cases", lambda: [gpu.Case("first", lambda: begun.append(1), 1)])
    (tmp_path / "file").touch()
    with pytest.raises(
        SetupError, match=r"results\.json cannot be written .*: make room or mend that, or name another"
    ):
        gpu.run(tmp_path / "file", 100.0, [], time.monotonic())
    assert not begun


@pytest.mark.parametrize("budget", ["0", "-1", "nan", "soon"])
def test_a_time_in_which_nothing_can_be_measured(budget: str) -> None:
    run = bench("--gpu", f"--budget={budget}")
    assert run.returncode == 2 and "argument --budget: " in run.stderr and "Traceback" not in run.stderr


def test_a_slower_card_leaves_out_more(gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = gpu.Case("slow", lambda: time.sleep(0.3), 0.1)
    monkeypatch.setattr(gpu, "cases", lambda: [slow, gpu.Case("next", lambda: None, 50)])
    gpu.run(tmp_path, 100.0, [], time.monotonic())
    results = json.loads((tmp_path / "results.json").read_text())
    assert [case["status"] for case in results["cases"]] == ["measured", "left out"]


LACKS = "import sys\nsys.modules['diffusers'] = None\n"
REHEARSED = ("id_patch_picture", "compiled_instant_id_float16")


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
