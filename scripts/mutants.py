"""How many small changes of core/, bridge/ and nodes/ the tests notice: `scripts/test.py --mutants N --seed S`.

mutmut makes the changes and runs, for each, the tests that have called the changed function. Here is what it lacks: a
sample. A seed draws N files, long ones more often, and in each a change, without those of texts alone and of schemas,
which the host reads once, when the pack is imported. Which tests call which function is found out first: half an hour,
or less with paths of tests.

mutmut does not change constants of modules and functions with decorators. It works in a copy of the pack in
.cache/mutants; `mutmut show NAME` there shows a change.
"""

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import environment
from environment import ROOT, say

MUTATED = ("core", "bridge", "nodes")
TESTS = ("unit", "faces", "parity", "every_method", "host")
ELSEWHERE = re.compile(r"\b(HostServer|host_server|compare_process|subprocess|visit|compile|__stdout__)\b")
"""In files of tests that run the pack in another process, which has no mutant, compile it, which mutmut's own code in
each function does not let torch do, or take the console that mutmut writes to."""
FOLDER = environment.CACHE / "mutants"
FAILED = FOLDER / "mutants" / ".pytest_cache" / "v" / "cache" / "lastfailed"
"""Where pytest notes what has failed; mutmut shows none of its output."""
SETTINGS = """\
[mutmut]
source_paths = pack
also_copy =
    pack
only_mutate =
    {files}
process_isolation = forkserver
pytest_add_cli_args =
    -c
    pack/pyproject.toml
    -m
    not thorough
pytest_add_cli_args_test_selection =
    {tests}
"""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("count", type=int)
    parser.add_argument("seed")
    parser.add_argument("tests", nargs="*")
    given = parser.parse_args()
    lines: dict[str, int] = {}
    for folder in MUTATED:
        for path in (ROOT / folder).rglob("*.py"):
            lines[path.relative_to(ROOT).as_posix()] = len(path.read_bytes().splitlines())
    files = drawn_files(lines, given.count, given.seed)
    copy_pack()
    tests = tests_in_this_process([Path(path).absolute() for path in given.tests])
    listed = {"files": sorted({f"pack/{file}" for file in files}), "tests": [f"pack/{path}" for path in tests]}
    settings = {name: "\n    ".join(paths) for name, paths in listed.items()}
    (FOLDER / "setup.cfg").write_text(SETTINGS.format(**settings), "utf-8")
    os.chdir(FOLDER)
    names = drawn_mutants(files, given.seed)
    mutmut = [sys.executable, "-m", "mutmut"]
    status = subprocess.run([*mutmut, "run", *names], check=False).returncode
    if status:
        for name in json.loads(FAILED.read_bytes()) if FAILED.is_file() else ():
            say(f"Fails in the copy, without any change: {name}. Name files of tests without it.")
        return status
    return report(names, given.seed)


def drawn_files(lines: Mapping[str, int], count: int, seed: str) -> list[str]:
    """So many files, the same for the same seed; a long one may be drawn more than once."""
    return random.Random(seed).choices(sorted(lines), [lines[file] for file in sorted(lines)], k=count)


def copy_pack() -> None:
    """What git knows, as the package `pack`: mutmut names a mutant by its file, and tests import it by that name."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, encoding="utf-8").stdout.splitlines()
    for name in names:
        if (ROOT / name).is_file():
            (FOLDER / "pack" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, FOLDER / "pack" / name)


def tests_in_this_process(paths: Sequence[Path]) -> list[str]:
    """The files of tests in which a mutant can be noticed. paths: files and folders, without any those of TESTS."""
    files: list[str] = []
    for path in paths or [ROOT / "tests" / folder for folder in TESTS]:
        for file in sorted(path.rglob("test_*.py")) if path.is_dir() else [path]:
            if not ELSEWHERE.search(file.read_text("utf-8")):
                files.append(file.relative_to(ROOT).as_posix())
    return files


def drawn_mutants(files: Sequence[str], seed: str) -> list[str]:
    """The name of a change in each file."""
    from mutmut.__main__ import copy_also_copy_files, copy_src_dir, create_mutants
    from mutmut.mutation.data import SourceFileMutationData

    copy_src_dir()
    copy_also_copy_files()
    create_mutants(1)
    chance = random.Random(seed)
    names: dict[str, None] = {}
    for file in files:
        data: Any = SourceFileMutationData(path=f"pack/{file}")
        data.load()
        others = sorted(name for name in data.exit_code_by_key if name not in names)
        chance.shuffle(others)
        name = next((name for name in others if is_of_code(name, difference(name))), None)
        if name:
            names[name] = None
    return list(names)


def difference(name: str) -> str:
    """What a mutant changes, as lines with - and +."""
    from mutmut.mutation.diff_apply import find_mutant, get_diff_for_mutant

    changed = get_diff_for_mutant(name, path=find_mutant(name).path).splitlines()
    return "\n".join(line for line in changed if re.match(r"[-+](?![-+])", line))


def is_of_code(name: str, change: str) -> bool:
    """Whether a mutant changes more than a text that people read, or what a schema says."""
    without_texts = re.sub(r"\"[^\"]*\"|'[^']*'", "", change)
    lines = {sign: [line[1:] for line in without_texts.splitlines() if line[0] == sign] for sign in "-+"}
    return "define_schema" not in name and lines["-"] != lines["+"]


def report(names: Sequence[str], seed: str) -> int:
    """How many were noticed, and those that were not."""
    from mutmut.mutation.diff_apply import find_mutant
    from mutmut.stats import status_by_exit_code

    results = {name: status_by_exit_code[find_mutant(name).exit_code_by_key[name]] for name in names}
    counts = Counter(results.values())
    say(f"Seed {seed}: {', '.join(f'{count} {status}' for status, count in counts.most_common())}")
    for name, status in results.items():
        if status in ("survived", "no tests"):
            print(f"\n{name}: {status}\n{difference(name)}")
    return 0


if __name__ == "__main__":
    environment.run(main)
