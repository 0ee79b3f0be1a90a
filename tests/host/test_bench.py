"""scripts/bench.py counts every method in this host."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.thorough
def test_every_method_is_counted() -> None:
    """On small networks, in the Python and the host of this session."""
    command = [sys.executable, str(ROOT / "scripts" / "bench.py"), "--python", sys.executable, "--tiny"]
    run = subprocess.run(command, env=os.environ, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    lines = {line["name"]: line for line in map(json.loads, run.stdout.splitlines())}
    assert all(line["ours"] > line["peer"] for line in lines.values()), "nothing of ours was run"
    assert {f"people_{family}_ip_adapter_faceid_2" for family in ("sdxl", "sd15")} < {*lines}
