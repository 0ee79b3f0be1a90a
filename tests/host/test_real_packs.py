"""real_packs/run.py: what it looks at beside another pack, and that it finds what does not hold."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import other_packs
import pytest
from bench.figures import Applied
from real_packs import graphs, names, packs

ROOT = Path(__file__).resolve().parents[2]
OURS = "ip_adapter_plus"


def adapter(applied: Applied) -> Applied:
    return applied._replace(model=other_packs.adapter_pack(applied.model))


def nothing(applied: Applied) -> Applied:
    return applied


def test_every_pack_has_its_checks() -> None:
    assert tuple(pack.name for pack in packs.PACKS) == names.NAMES


@pytest.mark.thorough
def test_a_pack_that_acts_in_both_orders_holds() -> None:
    results = list(graphs.either_order(OURS, "Adapter", adapter))
    assert len(results) == 3
    assert [result for result in results if not result.held] == []
    assert {result.method for result in results} == {OURS}


@pytest.mark.thorough
def test_a_pack_without_an_effect_does_not_hold() -> None:
    before, after, orders = graphs.either_order(OURS, "Nothing", nothing)
    for acts in (before, after):
        assert not acts.held
        assert acts.amounts[graphs.THEIRS_ACT] == 0
        assert acts.amounts[graphs.OURS_ACT] > graphs.VISIBLE
    assert orders.held
    assert orders.amounts == {"the two orders differ by": 0}
    assert [result.held for result in graphs.as_before(OURS)] == [True]


def test_an_error_of_another_pack_does_not_hold() -> None:
    def check() -> Iterator[graphs.Result]:
        yield graphs.Result("first", True)
        raise ValueError("no such\ntensor")

    last = list(graphs.run(check, "a node"))[-1]
    assert last == graphs.Result("a node", False, figure="ValueError", detail="no such tensor")


def test_without_any_pack_there_is_nothing_to_run(host: object) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "real_packs" / "run.py"), "--python", sys.executable]
    command += ["--pack", "PuLID_ComfyUI"]
    answer = subprocess.run(command, capture_output=True, encoding="utf-8", env={**os.environ}, check=False)
    assert answer.returncode == 1
    assert "PuLID_ComfyUI is not in custom_nodes: left out." in answer.stderr
    assert "There is nothing to run beside ours." in answer.stderr
