"""scripts/bench.py starts every case in this host, and goes on behind one that fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WITHOUT_INSIGHTFACE = "import sys\nsys.modules['insightface'] = None\n"


def bench(*cases: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """On small networks, in the Python and the host of this session."""
    command = [sys.executable, str(ROOT / "scripts" / "bench.py"), "--python", sys.executable, "--tiny", *cases]
    return subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True)


def names(run: subprocess.CompletedProcess[str]) -> list[str]:
    return [json.loads(line)["name"] for line in run.stdout.splitlines()]


@pytest.mark.thorough
def test_every_case_runs() -> None:
    run = bench()
    assert run.returncode == 0, run.stderr
    assert "left out" not in run.stderr
    said = names(run)
    assert said[0] == "id_patch_step_operations_8_people"
    assert {"id_patch_step_time_8_people", "detect_and_embed_6_faces", "detect_and_embed_6_faces_in_torch"} < set(said)
    assert {"instant_id_step_time_vs_diffusers", "second_pass_step_operations_6_faces_at_512"} < set(said)
    assert {"ip_adapter_faceid_sd15_operations_4_people_vs_1", "ip_adapter_sdxl_time_4_people_vs_1"} < set(said)
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    counted = [line for line in lines if "operations_1_person_vs_no_adapter" in line["name"]]
    assert len(counted) == 5 and all(line["ours"] > line["peer"] for line in counted), "nothing of ours was run"
    assert said.count("parts_step_6_parts_vs_unpatched") == 2, "on the CPU and on a GPU"


def test_a_case_that_fails_is_named_and_the_next_one_runs(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_INSIGHTFACE)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    run = bench("faces", "condition_image", PYTHONPATH=path)
    assert run.returncode == 1
    assert "[likeness] faces: failed, ModuleNotFoundError: " in run.stderr
    assert names(run) == ["id_patch_condition_image_8_people"]


def test_a_case_that_does_not_exist() -> None:
    run = bench("no_such_case")
    assert run.returncode == 1
    assert "No such case: no_such_case. There are: id_patch_operations, " in run.stderr
