"""A host that runs for days: after hundreds of mixed prompts, some of them refused, it holds what it held before."""

from __future__ import annotations

import json
import re
import sys
from itertools import cycle
from pathlib import Path

import pytest
from attack_cases import Case, of_table, right
from attack_graphs import DEFAULTS, SAMPLED, Node, check, ended, ours, prompt
from environment import Host, find_hosts
from rig.host_server import HostServer, Run
from rig.standins import Standins

PROMPTS, REFUSED = 300, 10
"""How many in all, and that every tenth is one that must end in a message."""
COUNTED = (25, 75, 150, PROMPTS)
WARM = 75
"""Prompts after which every node has run twice: nothing more is loaded or remembered for the first time."""
MORE = {"MB": 32, "tensors": 4, "patchers": 1, "files": 1, "threads": 1}
"""By how much the host may hold more at the end than when it was warm: what its allocator does, and one thing in hand.
Every node runs six times in between, so what one of them left behind would be there six times."""

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="nothing tells here what a process holds"),
]


class Attacked(HostServer):
    """A host of its own, with attack_pack beside the pack under test."""

    def __init__(self, host: Host, folder: Path, standins: Standins) -> None:
        packs = folder / "models" / "custom_nodes"
        packs.mkdir(parents=True)
        attack_pack = Path(__file__).parents[1] / "support" / "attack_pack"
        (packs / "attack_pack").symlink_to(attack_pack, target_is_directory=True)
        super().__init__(host, Path(sys.executable), folder / "base", [standins.root, packs.parent], "likeness-nodes")

    def ran(self, *graph: Node) -> Run:
        return self.attempt(prompt(*graph), timeout=120.0)

    def judge(self, case: Case) -> str:
        """Empty where the case ends as it must, else what happened instead."""
        run = self.ran(case.graph)
        if case.ending == "explained":
            explained = run.error_type.startswith("likeness.") and re.search(case.words, run.error)
            return "" if explained else f"{run.error_type}: {run.error}"
        texts = [text for shown in run.outputs.values() for text in shown.get("text", ())]
        return run.error or "; ".join(text for text in texts if text != "null")


def mixed() -> list[Case]:
    """Every node of ours, the four samplers among them, one after the other, and people whom they must refuse."""
    # Save Identity comes before Load Identity, which reads what it has written.
    kinds = sorted(DEFAULTS, key=lambda kind: kind == "LikenessLoadIdentity")
    good = cycle([right(ended(ours(kind))) for kind in kinds])
    bad = cycle([case for case in of_table("people") if case.ending == "explained"])
    return [next(bad if number % REFUSED == 0 else good) for number in range(1, PROMPTS + 1)]


def held(attacked: Attacked, number: int) -> dict[str, int]:
    """What the host holds once it has sampled with each method, so that the same networks are loaded each time."""
    for kind in SAMPLED:
        assert attacked.judge(right(ended(ours(kind)))) == ""
    run = attacked.ran(check(f"held()  # {number}"))
    (text,) = (text for shown in run.outputs.values() for text in shown["text"])
    return json.loads(text)


def test_prompts_leave_nothing_behind(
    host: Host,
    standin_models: Standins,
    tmp_path: Path,
    record_property,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    newest = max(find_hosts(), key=lambda one: one.version)
    if host.version < newest.version:
        pytest.skip(f"tried on {newest}")
    found: dict[int, dict[str, int]] = {}
    with Attacked(host, tmp_path, standin_models) as attacked:
        for number, case in enumerate(mixed(), 1):
            assert attacked.judge(case) == "", str(case)
            if number in COUNTED:
                found[number] = held(attacked, number)
                record_property(str(number), found[number])
                with capsys.disabled():
                    request.config.get_terminal_writer().line(f"\nafter {number} prompts: {found[number]}")
    grown = {what: found[PROMPTS][what] - found[WARM][what] for what in MORE}
    assert all(grown[what] <= MORE[what] for what in MORE), grown
