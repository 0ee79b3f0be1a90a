"""How many small changes of core/, bridge/ and nodes/ the tests notice: `scripts/test.py --mutants N --seed S [tests]`.

The seed draws N changes. Each is made in a copy of the pack, in a temporary folder, and there tests run until one
fails, for SECONDS: those in the FILES of tests that share most names with the changed module, first one case of each
test, and no more of a file in which none reaches the changed statement. So another test may notice what these do not.
A test that fails without the change too does not count, nor one that starts a server or a browser, for it takes longer.

mutmut cannot do it: it puts a function of *args around each, and by the arguments of validate_inputs the host and
bridge/host/inputs.py tell what a node judges by itself.
"""

import argparse
import ast
import difflib
import hashlib
import io
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property
from inspect import getsource
from itertools import islice, zip_longest
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import environment
import pytest
from environment import ROOT, SetupError, say

MUTATED = ("core", "bridge", "nodes")
ON_HOSTS = ("tests/parity", "tests/every_method", "tests/host")
TESTS = ("tests/unit", "tests/faces", *ON_HOSTS)
ELSEWHERE = re.compile(r"\b(HostServer|host_server|compare_process|subprocess|[Vv]isit|toy)\b")
FILES, SECONDS = 12, (30, 70)
"""How many files of tests, and for how long those without and those in a ComfyUI: of CPU time, as others may work."""
LONGEST_TEST, LONGEST_FILE = 120, 10
"""Seconds by the clock after which a test counts as hung, and those of a file until it has reached the change."""
PASSED = (0, pytest.ExitCode.NO_TESTS_COLLECTED, -signal.SIGXCPU)
MEMORY = 24 * 2**30
REACHED = "reached"
IMPORT = "the import of the pack or of tests"
OTHERS = {
    "+": "-", "-": "+", "*": "/", "/": "*", "//": "*", "%": "*", "**": "*", "&": "|", "<": "<=", "<=": "<", ">": ">=",
    ">=": ">", "==": "!=", "!=": "==", "+=": "-=", "-=": "+=", "*=": "/=", "is": "is not", "in": "not in", "not": "",
    "and": "or", "or": "and", "if": "if not", "elif": "elif not", "while": "while not", "break": "pass",
    "continue": "break", "True": "False", "False": "True", "min": "max", "max": "min", "any": "all", "all": "any",
    "floor": "ceil", "ceil": "floor",
}  # fmt: skip
"""A token -> what stands in its place; where that is no Python, such as / for the * of *args, it is no change."""
SYMMETRIC = re.compile(r"\b(max|min|maximum|minimum|hypot|dist|equal)$")
FOR_READERS = re.compile(r"\s*(@|raise\b|(log|logger|logging|warnings)\.)")
"""How a statement begins that says little of what is computed."""


@dataclass(frozen=True, eq=False)
class Change:
    """path: of the module, from the pack's folder. start, end: the characters of it in whose place `text` comes."""

    path: str
    source: str
    start: int
    end: int
    text: str

    def turn(self, seed: str) -> bytes:
        line = self.source[self.source.rfind("\n", 0, self.start) : self.end]
        which = self.source.count(line, 0, self.start)
        return hashlib.sha256(f"{seed} {self.path} {line} {which} {self.text}".encode()).digest()

    @property
    def code(self) -> str:
        return self.source[: self.start] + self.text + self.source[self.end :]

    @property
    def line(self) -> int:
        return self.source.count("\n", 0, self.start) + 1

    @property
    def difference(self) -> str:
        lines = self.source.splitlines(), self.code.splitlines()
        return "\n".join(difflib.unified_diff(*lines, self.path, self.path, n=1, lineterm=""))

    @cached_property
    def around(self) -> list[ast.stmt]:
        """The statements that it is in, from the outermost; without an `elif`, before which nothing may stand."""
        lines = self.source.splitlines()
        found = [node for node in ast.walk(ast.parse(self.source)) if isinstance(node, ast.stmt)]
        found = [one for one in found if one.lineno <= self.line <= (one.end_lineno or 0)]
        return [one for one in found if not lines[one.lineno - 1].lstrip().startswith("elif")]

    @property
    def names(self) -> set[str]:
        """Of the definitions it is in."""
        return {one.name for one in self.around if isinstance(one, ast.FunctionDef | ast.ClassDef)}

    @property
    def is_of_code(self) -> bool:
        """Whether Python can read it, and it is in what is computed."""
        begun = self.source.splitlines()[self.around[-1].lineno - 1] if self.around else "@"
        if (FOR_READERS.match(begun) and self.text != "pass") or self.source[: self.start].endswith("strict="):
            return False
        try:
            return ast.dump(ast.parse(self.code)) != ast.dump(ast.parse(self.source))
        except SyntaxError:
            return False

    def noting(self, reached: Path) -> str:
        """The changed code, in which the statement notes that it is reached."""
        lines = self.code.splitlines()
        statement = self.around[-1]
        first = min(one.lineno for one in (statement, *getattr(statement, "decorator_list", ()))) - 1
        lines.insert(first, " " * statement.col_offset + f"open({str(reached)!r}, 'a').close()")
        return "\n".join([*lines, ""])


@dataclass(frozen=True)
class Outcome:
    """failed: the test that did, "" for none. ran: how many did. reached: whether the changed statement was."""

    failed: str
    ran: int
    reached: bool

    @property
    def missed(self) -> str:
        return f"not noticed by {self.ran} tests{'' if self.reached else ', none of which reached it'}"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("count", type=int)
    parser.add_argument("seed")
    parser.add_argument("tests", nargs="*")
    given = parser.parse_args()
    changes = drawn(given.count, given.seed)
    words = words_of_tests([Path(path).absolute() for path in given.tests])
    copies = SimpleQueue[Path]()
    outcomes: dict[Change, Outcome] = {}

    def judge(change: Change) -> None:
        folder = copies.get()
        began = time.monotonic()
        outcomes[change] = one = judged(change, likeliest(change, words), folder)
        copies.put(folder)
        result = f"noticed by {one.failed}" if one.failed else one.missed
        seconds = time.monotonic() - began
        say(f"{len(outcomes)} of {len(changes)}, {seconds:.0f} s: {change.path}:{change.line} {result}")

    with tempfile.TemporaryDirectory(prefix="likeness-mutants-") as folder:
        at_once = min(os.cpu_count() or 1, len(changes))
        for number in range(at_once):
            copies.put(copy_pack(Path(folder) / str(number)))
        with ThreadPoolExecutor(at_once) as threads:
            for _ in threads.map(judge, changes):
                pass
    return report(given.seed, {change: outcomes[change] for change in changes})


def report(seed: str, outcomes: Mapping[Change, Outcome]) -> int:
    """What was not noticed, and in the last line how many were."""
    survivors = {change: one for change, one in outcomes.items() if not one.failed}
    for change, one in survivors.items():
        print(f"\n{one.missed.capitalize()}:\n{change.difference}")
    unreached = sum(not one.reached for one in survivors.values())
    noticed = len(outcomes) - len(survivors)
    print(f"\nSeed {seed}: {noticed} of {len(outcomes)} changes noticed, {unreached} of the others not reached.")
    return 0


# The changes


def drawn(count: int, seed: str) -> list[Change]:
    """As many in each folder, the same for the same seed, also where other code has come or gone."""
    found = [sorted(changes_in(folder), key=lambda change: change.turn(seed)) for folder in MUTATED]
    in_turn = (change for of_each in zip_longest(*found) for change in of_each if change and change.is_of_code)
    return [*islice(in_turn, count)]


def changes_in(folder: str) -> list[Change]:
    paths = [path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*.py")]
    sources = {path: (ROOT / path).read_text("utf-8") for path in paths}
    return [Change(path, source, *change) for path, source in sources.items() for change in changes_of(source)]


def changes_of(source: str) -> Iterator[tuple[int, int, str]]:
    """From where to where other code comes, and which: another token, a call's first two arguments exchanged, nothing
    returned, and no statement. Not all of it is Python."""
    starts = [0, *(match.end() for match in re.finditer("\n", source))]
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        start, end = (starts[row - 1] + column for row, column in (token.start, token.end))
        if token.type == tokenize.NUMBER:
            number = ast.literal_eval(token.string)
            yield start, end, str(number + 1 if isinstance(number, int) else number * 2 or 1.0)
        elif token.string in OTHERS and not re.match(r"\*,|\w+=[^=]", source[start : end + 2]):
            yield start, end, OTHERS[token.string]

    def span(node: ast.expr | ast.stmt) -> tuple[int, int]:
        places = (node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0)
        start, end = (
            starts[row - 1] + len(source[starts[row - 1] :].split("\n", 1)[0].encode()[:column].decode())
            for row, column in places
        )
        return start, end

    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(args=[first, second, *_]) if not SYMMETRIC.search(ast.unparse(node.func)):
                (start, middle), (after, end) = span(first), span(second)
                yield start, end, source[after:end] + source[middle:after] + source[start:middle]
            case ast.Return(value=ast.expr()):
                yield *span(node), "return None"
            case ast.Expr(value=ast.Call()) | ast.Raise() | ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
                yield *span(node), "pass"


# Their tests


def words_of_tests(paths: Sequence[Path]) -> dict[str, set[str]]:
    """File of tests -> the words in it and in the files of tests/support that it names. paths: files and folders."""
    support = {path.stem: words_in(path) for path in (ROOT / "tests" / "support").rglob("*.py")}
    found: dict[str, set[str]] = {}
    for path in paths or [ROOT / folder for folder in TESTS]:
        if not path.exists() or not path.is_relative_to(ROOT / "tests"):
            raise SetupError(f"{path} is no file and no folder of this pack's tests.")
        for file in sorted(path.rglob("test_*.py")) if path.is_dir() else [path]:
            text, words = file.read_text("utf-8"), words_in(file)
            if len(ELSEWHERE.findall(text)) < text.count("def test_"):
                found[file.relative_to(ROOT).as_posix()] = words.union(*(support[one] for one in words & {*support}))
    return found


@cache
def words_in(path: Path) -> set[str]:
    """And the modules of the pack that are imported, with the dots in their names."""
    text = path.read_text("utf-8")
    return {*re.findall(r"\w+", text), *re.findall(r"from pack\.([\w.]+)", text)}


@cache
def names_of(path: Path) -> set[str]:
    """Of the module, of the folders it is in, of what it defines, and the ids of its nodes."""
    names = r"^ {0,4}(?:def|class) (\w+)|^([A-Z]\w*)\b.* = |\"(Likeness\w+)\""
    found = re.findall(names, path.read_text("utf-8"), re.MULTILINE)
    parts = path.relative_to(ROOT).with_suffix("").parts
    return {*parts, ".".join(parts), ".".join(parts[:-1]), *(name for names in found for name in names if name)}


def likeliest(change: Change, words: Mapping[str, set[str]]) -> list[str]:
    """The files of tests that share most names with a change, rare ones above all: those of the definitions it is in,
    of its module, and of the modules that use these. A long file shares names with everything."""
    own = names_of(ROOT / change.path)
    weights: dict[str, float] = {}
    for path in (path for folder in MUTATED for path in (ROOT / folder).rglob("*.py")):
        used = 0.2 * len(own & words_in(path)) / len(own)
        weights |= {name: max(used, weights.get(name, 0)) for name in names_of(path)}
    weights |= dict.fromkeys(own, 1.0) | dict.fromkeys(change.names, 2.0)
    weights[".".join(Path(change.path).with_suffix("").parts)] = 5.0
    rarity = {word: 1 / count for word, count in Counter(word for some in words.values() for word in some).items()}

    def score(file: str) -> float:
        return sum(weights[word] * rarity[word] for word in words[file] & {*weights}) / len(words[file]) ** 0.5

    return sorted(words, key=score, reverse=True)[:FILES]


def copy_pack(folder: Path) -> Path:
    """What git knows."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, encoding="utf-8").stdout.splitlines()
    for name in (name for name in names if (ROOT / name).is_file()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


def judged(change: Change, files: Sequence[str], folder: Path) -> Outcome:
    flawed: list[str] = []
    while True:
        (folder / change.path).write_text(change.noting(folder / REACHED), "utf-8")
        names = " ".join([*Path(change.path).with_suffix("").parts, *sorted(change.names)])
        outcome = run_tests(folder, files, names, [f"--deselect={name}" for name in flawed])
        shutil.copy2(ROOT / change.path, folder / change.path)
        again, options = ([outcome.failed], []) if "::" in outcome.failed else (files, ["--collect-only"])
        if not outcome.failed or not run_tests(folder, again, names, options).failed:
            return outcome
        if "::" not in outcome.failed:
            raise SetupError(f"Without any change, these tests cannot be read: {' '.join(files)}")
        say(f"Fails without any change, and so does not count: {outcome.failed}")
        flawed.append(outcome.failed)


def run_tests(folder: Path, tests: Sequence[str], names: str, options: Sequence[str]) -> Outcome:
    """Until one fails; first those that need no ComfyUI. names: of the changed module."""
    notes = folder / "notes"
    notes.write_text("", "utf-8")
    (folder / REACHED).unlink(missing_ok=True)
    # What a process that is ended leaves goes with the copy.
    temporary = folder.with_name(f"{folder.name}-temporary")
    temporary.mkdir(exist_ok=True)
    status = 0
    for on_hosts, seconds in enumerate(SECONDS):
        some = [test for test in tests if test.startswith(ON_HOSTS) == bool(on_hosts)]
        variables = {name: value for name, value in os.environ.items() if on_hosts or name != "COMFYUI_PATH"}
        variables["TMPDIR"] = str(temporary)
        arguments = ["--as-pytest", str(seconds), names, *options, *some]
        if some and status in PASSED:
            command = [sys.executable, str(folder / "scripts" / "mutants.py"), *arguments]
            status = subprocess.run(command, cwd=folder, env=variables, capture_output=True).returncode
    lines = notes.read_text("utf-8").splitlines()
    ran = [line for line in lines if line != REACHED]
    return Outcome("" if status in PASSED else [IMPORT, *ran][-1], len(ran), REACHED in lines)


class Tried:
    """A plugin of pytest: which tests run, in which order, and a note of each. One that hangs ends the process."""

    def __init__(self, names: set[str]) -> None:
        self.names = names
        self.reaching: set[Path] = set()
        self.seconds: defaultdict[Path, float] = defaultdict(float)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        code = {item: " ".join([*item.fixturenames, getsource(item.function)]) for item in items}
        items[:] = [item for item in items if not ELSEWHERE.search(code[item])]
        functions: set[str] = set()

        def is_further(item: Any) -> bool:
            """Not a test's first case, and none of the changed module."""
            function, _, case = item.nodeid.partition("[")
            is_first = function not in functions
            functions.add(function)
            return not is_first and not self.names & {*re.findall(r"\w+", case)}

        items.sort(key=is_further)
        if (ROOT / REACHED).exists():  # by an import, and so for every test
            note(REACHED)
            self.reaching |= {item.path for item in items}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if self.seconds[item.path] > LONGEST_FILE and item.path not in self.reaching:
            pytest.skip("no test of this file has reached the change")
        note(item.nodeid)
        self.seconds[item.path] -= time.process_time()
        signal.alarm(LONGEST_TEST)

    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        self.seconds[item.path] += time.process_time()
        signal.alarm(0)
        if (ROOT / REACHED).exists():
            (ROOT / REACHED).unlink()
            self.reaching.add(item.path)
            note(REACHED)


def note(line: str) -> None:
    with (ROOT / "notes").open("a", encoding="utf-8") as notes:
        notes.write(f"{line}\n")


def as_pytest(seconds: str, names: str, *arguments: str) -> int:
    sys.path.remove(str(ROOT / "scripts"))  # it would hide modules of the host
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    settings = ["-x", "-q", "-c", str(ROOT / "pyproject.toml"), "-p", "no:cacheprovider", "-m", "not thorough"]
    return pytest.main([*settings, *arguments], plugins=[Tried({*names.split()})])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--as-pytest"]:
        sys.exit(as_pytest(*sys.argv[2:]))
    environment.run(main)
