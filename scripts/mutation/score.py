"""How many small changes of core/, bridge/ and nodes/ the tests notice: `scripts/test.py --mutants N --seed S`.

N changes (changes.py) are drawn by the seed. For each of these mutants tests that reach the changed line run until one
fails: first of a few files that are quick and reach little else (FIRST), then of others (THEN), as many as fit into so
many seconds of CPU time by themselves. A mutant is caught if a test fails, hangs, or cannot be imported. It has
survived if those tests pass, though one of the others might have failed. No test reaches it: thorough tests, and those
that run the pack in another process (a server, a script, a page), count as not there. It is equivalent if its bytecode
is the same, or if EQUIVALENT gives the reason.

The sample is drawn by the text of the changed statement, so that other code may come and go. Which lines a test reaches
is found out once (.cache/mutants, half an hour), and again for a file of tests that has changed, for all of them
where code that they share has. Each mutant is a fork of one process that has imported torch and the newest ComfyUI but
nothing of the pack; the change is made in memory, so no file changes.
"""

import argparse
import ast
import builtins
import gc
import hashlib
import importlib
import importlib.machinery
import inspect
import json
import os
import re
import resource
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).absolute().parents[1]))
os.environ |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "OMP_NUM_THREADS": "1"}
import environment
from shared.pack import load_host

from mutation.changes import Mutant, mutants_of

ROOT = environment.ROOT
MUTATED = ("core", "bridge", "nodes")
TESTS = ("unit", "faces", "scripts", "parity", "every_method", "host", "contract")
KEPT = environment.CACHE / "mutants"
SHARED = (*MUTATED, "scripts", "tests/support", "tests/conftest.py")
"""What any test may run: lines of all tests are found out again after a change."""
IMPORTED = (
    "torch", "pytest", "xdist.plugin", "comfy.sd", "comfy.samplers", "comfy.controlnet", "comfy_api.latest", "nodes",
    "diffusers.models.controlnets",
)  # fmt: skip
ELSEWHERE = re.compile(r"\b(HostServer|host_server|server|setup|clone|compare_process|subprocess|[vV]isit)\b")
"""In a test's code or fixtures: it runs the pack in another process, which has no mutant."""
MOST_OF_A_FUNCTION = 2.0
"""Seconds of a test function's cases whose lines are found out; its other cases may reach any line of the modules."""
ANY_LINE, MANY_LINES = -1, 1000
FIRST, THEN = (3, 6.0), (9, 12.0)
"""Of how many files tests run, and for how many seconds: those that are likeliest to fail, and the others."""
LONGEST = 900
"""Seconds by the clock after which what stands still is ended."""
LEAST = 3
"""Where fewer tests reach a line, all tests of its module count: what is computed once ran in one of them alone."""
MEMORY = 6 * 2**30
"""What a mutant may take beside what is there."""
IMPORT = "import"
"""The test that stands for what runs while modules are imported and tests are collected."""
SAME = 77
"""What a fork ends with where the change changes nothing."""
EQUIVALENT = {
    "core/grouping/sorting_report.py::notes: similarity[index, first] >= _ONE_PHOTO -> similarity[index, first] > "
    "_ONE_PHOTO": "no two photos are that alike to the last bit",
    "bridge/host/inputs.py::_checked_value: return value -> return None (2)": "nodes refuse such an input by its name",
    "core/low_rank.py::Loha.low_rank: len(down_1) * len(down_2) -> len(down_1) / len(down_2)": "a product that is not "
    "taken here is taken in _for_layer, in more memory",
    "bridge/words/words_reading.py::WordsReading.with_positions: torch.arange(size, device=positions.device, "
    "dtype=positions.dtype) -> torch.arange(size, device=positions.device)": "whole numbers become positions where "
    "they are added to some",
}
"""The name of a mutant that does the same as the code, and why."""

Reached = dict[str, int]
"""Path -> lines, as the bits of a number."""


@dataclass
class Test:
    """seconds: of CPU time. reached: lines of what is mutated."""

    id: str
    seconds: float
    reached: Reached
    breadth: int
    """How many lines."""

    @property
    def file(self) -> str:
        return self.id.partition("::")[0]

    def rank(self, path: str) -> float:
        """The least first: quick, reaching little else, and of the module's name."""
        named = set(Path(path).stem.split("_")) & set(Path(self.file).stem.split("_"))
        return (self.seconds + 0.05) * self.breadth * (0.1 if named else 1)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("count", type=int)
    parser.add_argument("seed")
    given = parser.parse_args()
    load_host(os.environ["COMFYUI_PATH"], on_cpu=True)
    for name in IMPORTED:
        importlib.import_module(name)
    for name in [name for name in sys.modules if name.partition(".")[0] == "core"]:
        del sys.modules[name]  # scripts have imported it
    gc.freeze()
    tests = tests_with_lines()
    results: list[tuple[Mutant, str]] = []
    try:
        for mutant in sample(given.count, given.seed):
            began = time.monotonic()
            results.append((mutant, verdict(mutant, tests)))
            environment.say(f"{len(results)}: {time.monotonic() - began:.0f} s")
    finally:
        report(results, given.seed)
    return 0


def sample(count: int, seed: str) -> list[Mutant]:
    paths = [path for folder in MUTATED for path in sorted((ROOT / folder).rglob("*.py"))]
    mutants = [mutant for path in paths for mutant in mutants_of(ROOT, path.relative_to(ROOT).as_posix())]
    mutants.sort(key=lambda mutant: hashlib.sha256(f"{seed}|{mutant.identity}".encode()).digest())
    return mutants[:count]


def report(results: Sequence[tuple[Mutant, str]], seed: str) -> None:
    """A table by folder, then what survived and what is equivalent."""
    rows: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for mutant, how in results:
        for row in (str(Path(mutant.path).parent), "all"):
            rows[row].update(("made", how.partition(":")[0]))
    kinds = ("made", "caught", "survived", "not reached", "equivalent")
    print(f"Mutants by seed {seed}\n\n| folder |", " | ".join(kinds), "|\n|---|---:|---:|---:|---:|---:|")
    for row in sorted(rows, key=lambda row: (row == "all", row)):
        print(f"| {row} |", " | ".join(str(rows[row][kind]) for kind in kinds), "|")
    for kind in kinds[2:]:
        if rows["all"][kind]:
            print(f"\n{kind.capitalize()}:")
        for mutant, how in results:
            if how.startswith(kind):
                change = mutant.name.removeprefix(mutant.path).lstrip(":")
                print(f"  {mutant.path}:{mutant.line} [{mutant.kind}] {change}{how[len(kind) :]}")


# Which lines a test reaches


def tests_with_lines() -> list[Test]:
    """All tests that pass, with the lines that they reach; files of which these are not known run, in a fork."""
    shared = hashlib.sha256()
    for name in SHARED:
        for path in sorted((ROOT / name).rglob("*.py")) or [ROOT / name]:
            shared.update(path.read_bytes())
    kept: dict[Path, Path] = {}
    for file in (path for folder in TESTS for path in sorted((ROOT / "tests" / folder).rglob("test_*.py"))):
        digest = shared.copy()
        digest.update(file.read_bytes())
        kept[file] = KEPT / f"{file.stem}-{digest.hexdigest()[:16]}.json"
    missing = {file: lines for file, lines in kept.items() if not lines.exists()}
    if missing:
        environment.say(f"Finding out what the tests of {len(missing)} files reach")
        KEPT.mkdir(parents=True, exist_ok=True)
        forked(lambda: run_tests(list(missing), Tracer(missing)), None)
        left_out = [file.name for file, lines in missing.items() if not lines.exists()]
        if left_out:
            environment.say(f"pytest ended before these ran, which are left out: {', '.join(left_out)}")
    found: list[Test] = []
    for lines in kept.values():
        if lines.exists():
            for name, (seconds, reached) in json.loads(lines.read_text("utf-8")).items():
                bits = {path: int(digits, 16) for path, digits in reached.items()}
                breadth = sum(MANY_LINES if one == ANY_LINE else one.bit_count() for one in bits.values())
                found.append(Test(name, seconds, bits, breadth))
    return found


class Tracer:
    """A plugin of pytest that keeps what the tests of each file reach.

    Before each statement of what is mutated stands a call that notes its line. It costs the code of others nothing, as
    a trace function would."""

    def __init__(self, kept: dict[Path, Path]) -> None:
        self.kept = kept
        self.paths: list[str] = []
        self.lines: set[tuple[int, int]] = set()
        builtins._reached_ = self.lines.add  # type: ignore[attr-defined]
        read_as(self.noting)
        self.reached: dict[str, Reached] = {}
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.of_function: defaultdict[str, float] = defaultdict(float)
        self.other_cases: list[str] = []
        self.failed: set[str] = set()

    def noting(self, path: Path) -> CodeType | None:
        """The code of a module with these calls, None for a module of others."""
        name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""
        if not name.startswith(tuple(f"{folder}/" for folder in MUTATED)):
            return None
        tree = ast.parse(path.read_text("utf-8"))
        self.paths.append(name)
        for node in list(ast.walk(tree)):
            for field in ("body", "orelse", "finalbody"):
                statements = getattr(node, field, None)
                if isinstance(statements, list):
                    setattr(node, field, [new for one in statements for new in self._noted(one)])
        return compile(ast.fix_missing_locations(tree), str(path), "exec", dont_inherit=True)

    def _noted(self, statement: ast.stmt) -> list[ast.stmt]:
        is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if is_text or (isinstance(statement, ast.ImportFrom) and statement.module == "__future__"):
            return [statement]
        place = ast.Tuple([ast.Constant(len(self.paths) - 1), ast.Constant(statement.lineno)], ast.Load())
        call = ast.Expr(ast.Call(ast.Name("_reached_", ast.Load()), [place], []))
        return [ast.copy_location(call, statement), statement]

    def note(self, test: str) -> None:
        reached = self.reached.setdefault(test, {})
        for number, line in self.lines:
            path = self.paths[number]
            reached[path] = reached.get(path, 0) | 1 << line
        self.lines.clear()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        files = list(self.kept)
        items[:] = [item for item in items if not _is_elsewhere(item)]
        items.sort(key=lambda item: files.index(item.path))
        for file in self.kept.keys() - {item.path for item in items}:
            self.kept[file].write_text("{}", "utf-8")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any, nextitem: Any) -> Iterator[None]:
        self.note(IMPORT)
        began = time.process_time()
        done = yield
        self.seconds[item.nodeid] = round(time.process_time() - began, 3)
        self.of_function[_function(item.nodeid)] += self.seconds[item.nodeid]
        self.note(item.nodeid)
        if nextitem is None or nextitem.path != item.path:
            self.keep(self.kept[item.path])
        return done

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: Any) -> None:
        if self.of_function[_function(item.nodeid)] > MOST_OF_A_FUNCTION:
            self.other_cases.append(item.nodeid)
            pytest.skip("which lines it reaches is not found out")

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.outcome != "passed":
            self.failed.add(report.nodeid)

    def keep(self, file: Path) -> None:
        passed = {name: reached for name, reached in self.reached.items() if name not in self.failed}
        for name in self.other_cases:
            cases = [case for case in passed if _function(case) == _function(name) and case not in self.other_cases]
            self.seconds[name] = sum(self.seconds[case] for case in cases) / max(1, len(cases))
            passed[name] = {path: ANY_LINE for case in cases for path in passed[case]}
        entries = {
            name: (self.seconds[name], {path: f"{bits:x}" for path, bits in reached.items()})
            for name, reached in passed.items()
        }
        file.write_text(json.dumps(entries), "utf-8")
        self.reached = {IMPORT: self.reached[IMPORT]}
        self.other_cases, self.failed = [], set()


def _is_elsewhere(item: Any) -> bool:
    return bool(ELSEWHERE.search(" ".join([*item.fixturenames, inspect.getsource(item.function)])))


def _function(test: str) -> str:
    return test.partition("[")[0]


# Whether a mutant is caught


def verdict(mutant: Mutant, tests: Sequence[Test]) -> str:
    """ "caught", "survived", "not reached" or "equivalent", and after a colon what is to say of it."""
    if mutant.name in EQUIVALENT:
        return f"equivalent: {EQUIVALENT[mutant.name]}"
    files = reaching(mutant, tests)
    if not files:
        return "not reached"
    ran = 0
    for start, (count, seconds) in ((0, FIRST), (FIRST[0], THEN)):
        chosen = within(files[start : start + count], seconds)
        status = forked(partial(tried, mutant, chosen), LONGEST) if chosen else 0
        if status == SAME:
            return "equivalent: the same bytecode"
        if status not in (0, pytest.ExitCode.NO_TESTS_COLLECTED):
            return "caught"
        ran += len(chosen)
    return f"survived: {ran} of {sum(map(len, files))} tests"


def reaching(mutant: Mutant, tests: Sequence[Test]) -> list[list[Test]]:
    """The tests of each file that reach the change, those first that are likeliest to fail."""
    of_module = [test for test in tests if mutant.path in test.reached]
    found = [test for test in of_module if test.reached[mutant.path] & 1 << mutant.line]
    if found and (len(found) < LEAST or not mutant.function):
        found = of_module
    files: defaultdict[str, list[Test]] = defaultdict(list)
    for test in sorted(found, key=lambda test: test.rank(mutant.path)):
        if test.id != IMPORT:
            files[test.file].append(test)
    return list(files.values())


def within(files: Sequence[Sequence[Test]], seconds: float) -> list[Test]:
    """From each file in turn its next test, where it fits into what is left of so many seconds; then, if any are left,
    the first that did not fit."""
    turns = range(max(map(len, files), default=0))
    chosen: list[Test] = []
    longer: list[Test] = []
    for test in (file[turn] for turn in turns for file in files if turn < len(file)):
        if test.seconds <= seconds:
            chosen.append(test)
            seconds -= test.seconds
        else:
            longer.append(test)
    if seconds > 0:
        chosen += longer[:1]
    return sorted(chosen, key=lambda test: [file[0].file for file in files].index(test.file))


def tried(mutant: Mutant, tests: Sequence[Test]) -> int:
    """pytest's exit status with the change."""
    path = ROOT / mutant.path
    as_it_is = compile(ast.parse(path.read_text("utf-8")), str(path), "exec", dont_inherit=True)
    code = compile(mutant.changed(), str(path), "exec", dont_inherit=True)
    if code == as_it_is:
        return SAME
    read_as(lambda file: code if file == path else None)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    files = [ROOT / file for file in dict.fromkeys(test.file for test in tests)]
    if all(file.is_relative_to(ROOT / "tests" / "unit") for file in files):
        del os.environ["COMFYUI_PATH"]  # and so no node is imported, which takes longer than such tests
    return run_tests(files, Chosen(tests), "-x")


class Chosen:
    """A plugin of pytest: these tests alone, in this order, none of them three times as long as it takes."""

    def __init__(self, tests: Sequence[Test]) -> None:
        self.tests = {test.id: test for test in tests}
        self.order = list(self.tests)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = sorted(
            (item for item in items if item.nodeid in self.tests), key=lambda item: self.order.index(item.nodeid)
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: Any) -> None:
        end = time.process_time() + 3 * self.tests[item.nodeid].seconds + 20
        resource.setrlimit(resource.RLIMIT_CPU, (int(end), resource.RLIM_INFINITY))


def read_as(code_of: Callable[[Path], CodeType | None]) -> None:
    """From now on this process imports a module as this code, where it is not None."""
    loader = importlib.machinery.SourceFileLoader
    unchanged = loader.get_code
    loader.get_code = lambda self, name: code_of(Path(self.path)) or unchanged(self, name)  # type: ignore[method-assign]


def run_tests(files: Sequence[Path], plugin: Any, *options: str) -> int:
    os.chdir(ROOT)
    settings = ["-q", "-c", str(ROOT / "pyproject.toml"), "-p", "xdist.plugin", "-p", "no:cacheprovider"]
    return pytest.main([*settings, "-m", "not thorough", *options, *map(str, files)], plugins=[plugin])


def forked(work: Callable[[], int], seconds: float | None) -> int:
    """The exit status of `work` in a fork that prints nothing, negative if a signal or the time ended it."""
    child = os.fork()
    if not child:
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            os._exit(work())
        finally:
            os._exit(99)
    began = time.monotonic()
    try:
        while True:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            if seconds and time.monotonic() - began > seconds:
                break
            time.sleep(0.02)
    except KeyboardInterrupt:
        os.kill(child, signal.SIGKILL)
        raise
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -signal.SIGKILL


if __name__ == "__main__":
    environment.run(main)
