"""One case of test_attack.py through a running host, and what became of it."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attack_graphs import Node, prompt
from environment import Host
from rig.host_server import HostError, HostServer, Run
from rig.standins import Standins

PATIENCE = 120.0
"""Seconds. Nothing of this size takes a tenth of that, on a machine that has nothing else to do."""
ENDINGS = ("right", "explained", "tracebacks", "silent", "hangs")
FORGED = "likeness-forged"
"""What texts of a user put at the beginning of a line of their own, behind a terminal escape and into HTML."""
DAMAGED = ("damaged.safetensors", "\udcff.safetensors", f"\x1b[31m{FORGED}.safetensors", f"\n{FORGED}.safetensors")
"""Files of the face bank that are none, under names that every file system of Linux takes."""
_RAW = re.compile(rf"^\W*{FORGED}|\x1b\S*{FORGED}", re.MULTILINE)


@dataclass(frozen=True)
class Case:
    """A graph and how it must end.

    words: a regular expression; found in the message of an error, or (told) in what a node shows beside a right result.
    """

    name: str
    graph: tuple[Node, ...]
    ending: str
    words: str = ""


def right(name: str, *graph: Node) -> Case:
    return Case(name, graph, "right")


def told(name: str, words: str, *graph: Node) -> Case:
    return Case(name, graph, "right", words)


def explained(name: str, words: str, *graph: Node) -> Case:
    return Case(name, graph, "explained", words)


@dataclass
class Attacked:
    """A host of its own, with attack_pack beside the pack under test; started again where a case stops it."""

    host: Host
    python: Path
    folder: Path
    standins: Standins
    totals: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        packs = self.folder / "models" / "custom_nodes"
        packs.mkdir(parents=True)
        (packs / "attack_pack").symlink_to(Path(__file__).parent / "attack_pack", target_is_directory=True)
        models = [self.standins.root, packs.parent]
        self.server = HostServer(self.host, self.python, self.folder / "base", models, "likeness-nodes")

    def __enter__(self) -> Attacked:
        self.server.__enter__()
        bank = self.server.base / "models" / "likeness_faces"
        bank.mkdir(exist_ok=True)
        for name in DAMAGED:
            (bank / name).write_bytes(b"no person")
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()

    def judge(self, case: Case) -> str:
        """Empty where the case ends as it must, else what happened instead."""
        logged = len(self.server.log)
        run = self.attempt(case.graph)
        hangs = ("hangs", "no end, or the host takes no prompt after the case before")
        ending, what = hangs if run is None else ending_of(run, self.server.log[logged:])
        if ending == "right" and case.ending != "right":
            ending, what = "silent", "accepted without a word"
        if ending == "right" and case.words and not any(re.search(case.words, text) for _, text in run.notes):
            ending, what = "silent", f"not told, only {run.notes}"
        self.totals[ending] += 1
        if ending != case.ending:
            return f"{ending}: {what}"
        if ending == "explained" and not re.search(case.words, what):
            return f"explained, but without {case.words!r}: {what}"
        return ""

    def attempt(self, graph: tuple[Node, ...]) -> Run | None:
        """None where it does not end; the host is started again then."""
        try:
            return self.server.attempt(prompt(*graph), timeout=PATIENCE)
        except HostError:
            self.server.stop()
            self.__enter__()
            return None


def ending_of(run: Run, log: str) -> tuple[str, str]:
    """How it ended, and the message or what is wrong."""
    if any(f"<b>{FORGED}" in text for _, text in run.notes):
        return "silent", "a user's text reaches the browser as HTML"
    if _RAW.search(log):
        return "silent", "a user's text reaches the console as it is"
    if run.error:
        explained = not run.error_type or run.error_type.startswith("likeness.")
        return ("explained", run.error) if explained else ("tracebacks", f"{run.error_type}: {run.error}")
    texts = [text for shown in run.outputs.values() for text in shown.get("text", ())]
    wrong = [found for text in texts if (found := _found(text))]
    return ("silent", "; ".join(map(str, wrong))) if wrong else ("right", "")


def _found(text: Any) -> Any:
    """What an AttackCheck has found, None in other texts."""
    try:
        return json.loads(text)
    except ValueError:
        return None
