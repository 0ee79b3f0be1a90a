"""beside.py: what it looks at beside another pack, and that it finds what does not hold."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import other_packs
from bench.methods import Applied
from beside import graphs, names, packs

ROOT = Path(__file__).resolve().parents[2]
OURS = "ip_adapter_plus"


def adapter(applied: Applied) -> Applied:
    return applied._replace(model=other_packs.adapter_pack(applied.model))


def nothing(applied: Applied) -> Applied:
    return applied


def test_every_pack_has_its_checks() -> None:
    assert tuple(pack.name for pack in packs.PACKS) == names.NAMES


def test_a_pack_that_acts_in_both_orders_holds() -> None:
    results = list(graphs.either_order(OURS, adapter))
    assert len(results) == 3
    assert [result for result in results if not result.held] == []


def test_a_pack_without_an_effect_does_not_hold() -> None:
    held_by_check = {result.check: result.held for result in graphs.either_order(OURS, nothing)}
    assert held_by_check == {
        f"{OURS}: theirs before ours, both act": False,
        f"{OURS}: ours before theirs, both act": False,
        f"{OURS}: both orders give one picture": True,
    }
    assert [result.held for result in graphs.as_before(OURS)] == [True]


def test_an_error_of_another_pack_does_not_hold() -> None:
    def check() -> Iterator[graphs.Result]:
        yield graphs.Result("first", True, "")
        raise ValueError("no such\ntensor")

    last = list(graphs.run(check, "a node"))[-1]
    assert last == graphs.Result("a node", False, "ValueError: no such tensor")


def test_without_any_pack_there_is_nothing_to_run(host: object, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "beside.py"), "--python", sys.executable]
    command += ["--pack", "PuLID_ComfyUI", "--table", str(tmp_path / "table.md")]
    answer = subprocess.run(command, capture_output=True, encoding="utf-8", env={**os.environ}, check=False)
    assert answer.returncode == 1
    assert "PuLID_ComfyUI is not in custom_nodes: left out." in answer.stderr
    assert "There is nothing to run beside ours." in answer.stderr
    assert not (tmp_path / "table.md").exists()
