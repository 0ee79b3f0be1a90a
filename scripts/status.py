"""docs/status.md: what each method promises, from the records and from what the last run of the tests has seen.

    python scripts/test.py tests/promises --junitxml=results.xml
    python scripts/status.py results.xml ...

Standard library only.
"""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).absolute().parents[1]))

from core.methods import PROMISES, Method, methods

ROOT = Path(__file__).absolute().parents[1]
PAGE = ROOT / "docs" / "status.md"
MEANT = {
    "parity": "equals an independent implementation",
    "off": "switched off is the picture without it, bit for bit",
    "a_b_a": "A, B, A: no trace of another run",
    "masks": "masks of nothing, a half, everything",
    "people": "four people cost little more than one",
    "rows": "a batch is its pictures; a row each",
    "odd_sizes": "sizes that no layer divides",
    "half": "half precision",
    "compiled": "one graph under torch.compile",
    "cancel": "a cancelled run leaves the next one right",
    "partial_loading": "offloaded it is the same picture",
    "other_packs": "beside other packs, before or after",
    "leaks": "many runs leave nothing",
    "wrong_values": "wrong values are refused by name",
    "wrong_files": "wrong files are named for what they are",
    "template": "a template that runs untouched",
    "doctor": "the doctor names its files",
    "help_page": "help pages name every input",
    "old_workflows": "earlier workflows give the same picture",
}
HEAD = """# Status

What every method promises, and how many tests hold it to that: a number leads to them, a letter to the reason why there
are none. By `python scripts/status.py`, from the records (`nodes/<method>/method.json`) and a run of `tests/promises`.
"""


def main(arguments: list[str]) -> int:
    if not arguments:
        print((__doc__ or "").strip())
        return 1
    PAGE.write_text(rendered(counted(map(Path, arguments))), "utf-8")
    return 0


def counted(results: Iterable[Path]) -> Counter[tuple[str, str]]:
    """(promise, folder) -> tests that passed, of JUnit files; of a test in several the last one counts.

    Raises ValueError where one failed.
    """
    cases: dict[tuple[str, str], ElementTree.Element] = {}
    for path in results:
        for case in ElementTree.parse(path).getroot().iter("testcase"):
            cases[case.get("classname", ""), case.get("name", "")] = case
    found: Counter[tuple[str, str]] = Counter()
    folders = {method.folder for method in methods()}
    for (file, name), case in cases.items():
        if ".promises." not in file or case.find("skipped") is not None:
            continue
        if case.find("failure") is not None or case.find("error") is not None:
            raise ValueError(f"{file} {name} has failed")
        for folder in folders & {*re.split(r"[\[\],\s-]+", name)}:
            found[promise_of(file.rsplit(".", 1)[-1]), folder] += 1
    return found


def promise_of(stem: str) -> str:
    return max((one for one in PROMISES if stem.startswith(f"test_{one}")), key=len)


def file_of(promise: str) -> str:
    """From docs/."""
    path = next(iter(sorted((ROOT / "tests" / "promises").glob(f"test_{promise}*.py"))))
    return f"../{path.relative_to(ROOT).as_posix()}"


def rendered(counts: Mapping[tuple[str, str], int]) -> str:
    everybody, reasons = methods(), list[str]()
    lines = [f"| | {' | '.join(method.title for method in everybody)} |", "|---" * (len(everybody) + 1) + "|"]
    for promise in PROMISES:
        cells = [cell(promise, method, counts, reasons) for method in everybody]
        lines.append(f"| {MEANT[promise]} | {' | '.join(cells)} |")
    return "\n".join([HEAD, *lines, *(["", *reasons] if reasons else []), ""])


def cell(promise: str, method: Method, counts: Mapping[tuple[str, str], int], reasons: list[str]) -> str:
    if promise in method.not_promised:
        letter = chr(ord("a") + len(reasons))
        reasons.append(f"- **{letter}** {method.title}: {method.not_promised[promise]}")
        return letter
    number = counts.get((promise, method.folder), 0)
    return f"[{number}]({file_of(promise)})" if number else "none"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
