"""The way into the code: CONTRIBUTING.md names the folders, the first line of every module says what it holds."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path, PurePosixPath

FOLDERS = ("core", "bridge", "nodes", "scripts")


def mapped(text: str) -> set[str]:
    """Folders in the map: indentation of two spaces a level, they end with a slash."""
    found: set[str] = set()
    parents: list[str] = []
    for line in text.split("```")[1].splitlines():
        if entry := re.match(r"((?:  ){0,3})(\w+/)(?: |$)", line):
            parents = [*parents[: len(entry[1]) // 2], entry[2]]
            found.add("".join(parents).rstrip("/"))
    return found


def modules(tracked: set[str]) -> list[str]:
    return sorted(name for name in tracked if name.endswith(".py") and name.split("/")[0] in FOLDERS)


def test_map_names_every_folder_of_modules(root: Path, tracked: set[str]) -> None:
    folders = {str(PurePosixPath(name).parent) for name in modules(tracked)}
    methods = {str(PurePosixPath(name).parent) for name in tracked if name.endswith("/method.json")}
    assert folders - methods <= mapped((root / "CONTRIBUTING.md").read_text("utf-8"))


def test_first_line_of_every_module_says_what_it_holds(root: Path, tracked: set[str]) -> None:
    """`git grep -m1` shows them as a map; a line of its own each."""
    texts = {name: ast.get_docstring(ast.parse((root / name).read_text("utf-8"))) or "" for name in modules(tracked)}
    first = {name: text.split("\n")[0] for name, text in texts.items()}
    assert [name for name, line in first.items() if len(line) < 20 or not line.endswith((".", ":"))] == []
    assert [line for line, times in Counter(first.values()).items() if times > 1] == []


def test_a_test_file_has_a_name_of_its_own(tracked: set[str]) -> None:
    """By which it shares a worker (tests/conftest.py), and by which it is asked for."""
    paths = map(PurePosixPath, tracked)
    names = Counter(path.name for path in paths if path.parts[0] == "tests" and path.match("test_*.py"))
    assert [name for name, times in names.items() if times > 1] == []
