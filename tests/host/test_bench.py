"""scripts/bench.py starts every case in this host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("cases", [["references"], pytest.param([], marks=pytest.mark.thorough)], ids=["some", "all"])
def test_every_case_runs(cases: list[str]) -> None:
    """On small networks, in the Python and the host of this session."""
    command = [sys.executable, str(ROOT / "scripts" / "bench.py"), "--python", sys.executable, "--tiny", *cases]
    run = subprocess.run(command, env=os.environ, capture_output=True, text=True)
    assert run.returncode == 0 and "left out" not in run.stderr, run.stderr
    lines = {line["name"]: line for line in map(json.loads, run.stdout.splitlines())}
    assert lines["references_klein_4b_2_of_64"]["ours"] < lines["references_klein_4b_2_of_64"]["peer"]
    if not cases:
        counted = [line for name, line in lines.items() if name.startswith("people_")]
        assert all(line["ours"] > line["peer"] for line in counted), "nothing of ours was run"
        assert {f"people_{family}_ip_adapter_faceid_2" for family in ("sdxl", "sd15")} < {*lines}
        assert sum(name.startswith("seconds_") for name in lines) == 13
