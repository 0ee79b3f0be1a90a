"""The map in CONTRIBUTING.md is the way into the code, so it names every file and no other."""

from __future__ import annotations

import re
from pathlib import Path

FOLDERS = ("core", "bridge", "nodes", "scripts")


def mapped(text: str) -> set[str]:
    """Paths in the map: indentation of two spaces a level, folders end with a slash."""
    found: set[str] = set()
    parents: list[str] = []
    for line in text.split("```")[1].splitlines():
        if entry := re.match(r"( *)(\S+)", line):
            depth = len(entry[1]) // 2
            parents = [*parents[:depth], entry[2]]
            found.add("".join(parents))
    return found


def test_map_names_every_file(root: Path, tracked: set[str]) -> None:
    files = {
        name
        for name in tracked
        if name.endswith(".py") and name.split("/")[0] in FOLDERS and not name.endswith("__init__.py")
    }
    named = {name for name in mapped((root / "CONTRIBUTING.md").read_text("utf-8")) if name.endswith(".py")}
    assert files == named - {"__init__.py"}
