"""docs/status.md: what each method promises, from the records and the last whole run of test.py, which writes the page.

Standard library only.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).absolute().parents[1]))

from core.methods import PROMISES, Method, methods

ROOT = Path(__file__).absolute().parents[1]
PAGE = ROOT / "docs" / "status.md"
MEANT: dict[str, str] = json.loads((ROOT / "scripts" / "rig" / "promises.json").read_text("utf-8"))
"""Every promise in words, as the rows of the table begin."""
HEAD = """# Status

What every method promises: how many tests of it passed in the last run of `python scripts/test.py`, or a letter, which
leads to the reason why there are none. From the records (`nodes/<method>/method.json`) and the run.
"""


def passed(names: Iterable[str]) -> Counter[tuple[str, str]]:
    """By promise and folder of the method. names: of tests that passed, such as test_off::test_x[instant_id, ...]."""
    # tests/parity has a file per method; in tests/promises a method's name stands behind a test's.
    known = (re.match(r"test_(\w+)_(parity)::|(test_\w+)::\w+\[(\w+)", name) for name in names)
    return Counter((one[2] or promise_of(one[3]), one[1] or one[4]) for one in known if one)


def promise_of(stem: str) -> str:
    return max((one for one in PROMISES if stem.startswith(f"test_{one}")), key=len, default="")


def file_of(promise: str) -> str:
    """From docs/."""
    path = next(iter(sorted((ROOT / "tests" / "promises").glob(f"test_{promise}*.py"))))
    return f"../{path.relative_to(ROOT).as_posix()}"


def rendered(run: Mapping[tuple[str, str], int]) -> str:
    """run: as `passed`."""
    everybody, reasons = methods(), list[str]()
    lines = [f"| | {' | '.join(method.title for method in everybody)} |", "|---" * (len(everybody) + 1) + "|"]
    for promise in PROMISES:
        cells = [cell(promise, method, reasons, run) for method in everybody]
        lines.append(f"| {MEANT[promise]} | {' | '.join(cells)} |")
    return "\n".join([HEAD, *lines, *(["", *reasons] if reasons else []), ""])


def cell(promise: str, method: Method, reasons: list[str], run: Mapping[tuple[str, str], int]) -> str:
    if promise not in method.not_promised:
        return f"[{run.get((promise, method.folder), 0)}]({file_of(promise)})"
    letter = chr(ord("a") + len(reasons))
    reasons.append(f"- **{letter}** {method.title}: {method.not_promised[promise]}")
    return letter
