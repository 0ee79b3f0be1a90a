"""docs/status.md: what each method promises, from the records and from the tests that ran.

    python scripts/status.py
    python scripts/status.py promises.xml parity.xml

writes the page from the last `python scripts/test.py` that ran all of its tests and passed in the newest ComfyUI, or
from JUnit files of pytest: of a whole run, or of tests/promises and tests/parity alone. Of a test that is in several
files the last one counts.

Standard library only.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).absolute().parents[1]))

from core.consoles import accept_any_text, written_out
from core.methods import PROMISES, Method, methods

ROOT = Path(__file__).absolute().parents[1]
PAGE = ROOT / "docs" / "status.md"
LAST_RUN = ROOT / ".cache" / "tests" / "results.xml"
"""pytest's JUnit file of the last whole run of test.py that passed in the newest ComfyUI."""
MEANT: dict[str, str] = json.loads((ROOT / "scripts" / "rig" / "promises.json").read_text("utf-8"))
"""Every promise in words, as the rows of the table begin."""
PARITY = "parity"
"""The promise whose tests are a file of tests/parity for each method; those of every other promise are a file of
tests/promises over all methods."""
DOES_NOT_APPLY = "does not apply"
"""The name of a property of a case: a row that its test has no case for, and the reason, as `row: reason`."""
NOT_SHOWN = "not shown"
RESULTS = {"error": "errors", "failure": "failed", "skipped": "skipped"}
"""An element of a test in a JUnit file -> what became of the test. Without any of them it passed."""
HEAD = """# Status

What every method promises. A number is how many tests of the promise ran and passed for the method in the last whole
run of `python scripts/test.py`, in the newest ComfyUI. Tests that were skipped do not count. *Does not apply* leads to
the reason, which the method's record gives (`nodes/<method>/method.json`). *Not shown* means that no test of the
promise ran for the method, and *not kept* that one failed.
"""
REASONS = "## Promises that do not apply"
SKIPPED = "## Tests that were skipped"
WITHOUT_A_CASE = "## Tests that ask nothing of some nodes"


@dataclass(frozen=True)
class Case:
    """A test that pytest ran or skipped, with one set of parameters.

    folder: where its file is, such as "tests/promises". file: the file without ".py". test: the function. parameters:
    what stands in brackets behind it, "" for none. result: "passed", "failed", "errors" or "skipped". reason: why it
    was skipped, else "". without: rows that the test has no case for, each as "row: reason".
    """

    folder: str
    file: str
    test: str
    parameters: str
    result: str
    reason: str = ""
    without: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Such as test_off::test_x[instant_id, ApplyInstantID]."""
        brackets = f"[{self.parameters}]" if self.parameters else ""
        return f"{self.file}::{self.test}{brackets}"


@dataclass
class Tally:
    """What became of the tests of one promise for one method. skipped: how many of them, by reason."""

    passed: int = 0
    failed: int = 0
    skipped: Counter[str] = field(default_factory=Counter[str])

    def add(self, case: Case) -> None:
        if case.result == "passed":
            self.passed += 1
        elif case.result == "skipped":
            self.skipped[case.reason or "no reason was given"] += 1
        else:
            self.failed += 1


@dataclass(frozen=True)
class Cell:
    """A cell of the table: a promise of a method."""

    promise: str
    method: str


@dataclass
class Tests:
    """What ran of the promises. tallies: by cell. without: (promise, test, reason) -> rows without a case."""

    tallies: defaultdict[Cell, Tally] = field(default_factory=lambda: defaultdict(Tally))
    without: defaultdict[tuple[str, str, str], set[str]] = field(default_factory=lambda: defaultdict(set))


def cases_of(file: Path) -> list[Case]:
    """Every test of a JUnit file of pytest; none if there is no file, as pytest did not get as far."""
    if not file.is_file():
        return []
    return [_case(element) for element in ElementTree.parse(file).getroot().iter("testcase")]


def _case(element: ElementTree.Element) -> Case:
    # tests.promises.test_off
    folder, _, file = element.get("classname", "").rpartition(".")
    test, bracket, parameters = element.get("name", "").partition("[")
    if bracket:
        parameters = parameters.rpartition("]")[0]
    result, reason = "passed", ""
    for tag, word in RESULTS.items():
        found = element.find(tag)
        if found is not None:
            result = word
            reason = found.get("message", "") if word == "skipped" else ""
            break
    properties = element.findall("properties/property")
    without = tuple(one.get("value", "") for one in properties if one.get("name") == DOES_NOT_APPLY)
    return Case(folder.replace(".", "/"), file, test, parameters, result, reason, without)


def promise_of(stem: str) -> str:
    """The promise that a file of tests/promises is named after, "" for none."""
    named = [promise for promise in PROMISES if re.match(rf"test_{promise}(_|$)", stem)]
    return max(named, key=len, default="")


def cell_of(case: Case) -> Cell | None:
    """Which cell of the table a test belongs to: one of tests/parity by its file, one of tests/promises by its file and
    the method whose folder its parameters begin with. None for any other test."""
    folders = {method.folder for method in methods()}
    if case.folder == "tests/parity":
        named = re.fullmatch(r"test_(\w+)_parity", case.file)
        method = named[1] if named else ""
        promise = PARITY
    elif case.folder == "tests/promises":
        named = re.match(r"\w+", case.parameters)
        method = named[0] if named else ""
        promise = promise_of(case.file)
    else:
        return None
    return Cell(promise, method) if promise and method in folders else None


def tests_of(cases: Iterable[Case]) -> Tests:
    """What ran of the promises, from the tests of a run; those of other folders count for nothing."""
    tests = Tests()
    for case in cases:
        cell = cell_of(case)
        if cell is not None:
            tests.tallies[cell].add(case)
        if case.folder == "tests/promises":
            for row_and_reason in case.without:
                row, _, reason = row_and_reason.partition(": ")
                tests.without[promise_of(case.file), case.test, reason].add(row)
    return tests


def file_of(promise: str, method: Method) -> Path | None:
    """The file with the tests of a promise for a method: of parity the method's own, None where there is none."""
    if promise != PARITY:
        return min((ROOT / "tests" / "promises").glob(f"test_{promise}*.py"))
    own = ROOT / "tests" / "parity" / f"test_{method.folder}_parity.py"
    return own if own.is_file() else None


def rendered(tests: Tests) -> str:
    """The page."""
    every_method = methods()
    letters = _letters(every_method)
    lines = [
        HEAD,
        f"| | {' | '.join(method.title for method in every_method)} |",
        "|---" * (len(every_method) + 1) + "|",
    ]
    for promise in PROMISES:
        cells: list[str] = []
        for method in every_method:
            cell = Cell(promise, method.folder)
            if cell in letters:
                cells.append(f"does not apply ({letters[cell]})")
            else:
                cells.append(_shown(tests.tallies.get(cell, Tally()), file_of(promise, method)))
        lines.append(f"| {MEANT[promise]} | {' | '.join(cells)} |")
    lines += _section(REASONS, _reasons(every_method, letters))
    lines += _section(SKIPPED, _skipped(every_method, tests))
    lines += _section(WITHOUT_A_CASE, _without_a_case(tests))
    return "\n".join([*lines, ""])


def _shown(tally: Tally, file: Path | None) -> str:
    """A cell: how many tests passed, or that none did, with a link to them."""
    skipped = sum(tally.skipped.values())
    if tally.failed:
        ran = tally.passed + tally.failed
        text = f"not kept: {tally.failed} of {ran} failed"
    elif not tally.passed:
        text = f"{NOT_SHOWN}: {skipped} skipped" if skipped else NOT_SHOWN
    else:
        text = f"{tally.passed}, {skipped} skipped" if skipped else str(tally.passed)
    return text if file is None else f"[{text}](../{file.relative_to(ROOT).as_posix()})"


def _letters(every_method: Sequence[Method]) -> dict[Cell, str]:
    """A letter for each promise that a record says no to, in the order of the table."""
    letters: dict[Cell, str] = {}
    for promise in PROMISES:
        for method in every_method:
            if promise in method.not_promised:
                letters[Cell(promise, method.folder)] = chr(ord("a") + len(letters))
    return letters


def _reasons(every_method: Sequence[Method], letters: Mapping[Cell, str]) -> Iterator[str]:
    by_folder = {method.folder: method for method in every_method}
    for cell, letter in letters.items():
        method = by_folder[cell.method]
        yield f"- **{letter}** {method.title}, {MEANT[cell.promise]}: {method.not_promised[cell.promise]}"


def _skipped(every_method: Sequence[Method], tests: Tests) -> Iterator[str]:
    for promise in PROMISES:
        for method in every_method:
            tally = tests.tallies.get(Cell(promise, method.folder), Tally())
            for reason, count in sorted(tally.skipped.items()):
                yield f"- {method.title}, {MEANT[promise]}: {count} skipped: {reason}"


def _without_a_case(tests: Tests) -> Iterator[str]:
    folders = {method.folder for method in methods()}
    for promise in PROMISES:
        for (of, test, reason), rows in sorted(tests.without.items()):
            known = sorted(row for row in rows if row.partition(",")[0] in folders)
            if of == promise and known:
                words = test.removeprefix("test_").replace("_", " ")
                yield f"- {MEANT[promise]}, *{words}*: not {'; '.join(known)}. {reason}"


def _section(title: str, lines: Iterable[str]) -> list[str]:
    """Nothing where there are no lines."""
    written = list(lines)
    return ["", title, "", *written] if written else []


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="*", type=Path, help="JUnit files of pytest (--junitxml)")
    parser.add_argument("--page", type=Path, default=PAGE, help="what is written, docs/status.md unless given")
    given = parser.parse_args(arguments)
    if not given.results and not LAST_RUN.is_file():
        print(f"There is no {LAST_RUN}. Run `python scripts/test.py` until it passes, or name JUnit files of pytest.")
        return 1
    cases: dict[tuple[str, str], Case] = {}
    for file in given.results or [LAST_RUN]:
        for case in cases_of(file):
            cases[case.folder, case.name] = case
    tests = tests_of(cases.values())
    if not tests.tallies:
        print("No test of tests/promises or tests/parity is in these results. The page stays as it is.")
        return 1
    given.page.write_text(rendered(tests), "utf-8")
    print(f"{given.page} is written.")
    return 0


if __name__ == "__main__":
    accept_any_text()
    with written_out():
        sys.exit(main(sys.argv[1:]))
