"""docs/status.md: what each method promises, from the records.

    python scripts/status.py

Standard library only.
"""

from __future__ import annotations

import sys
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

What every method promises: *tests* leads to those that hold it to that, a letter to the reason why there are none. By
`python scripts/status.py`, from the records (`nodes/<method>/method.json`).
"""


def promise_of(stem: str) -> str:
    return max((one for one in PROMISES if stem.startswith(f"test_{one}")), key=len)


def file_of(promise: str) -> str:
    """From docs/."""
    path = next(iter(sorted((ROOT / "tests" / "promises").glob(f"test_{promise}*.py"))))
    return f"../{path.relative_to(ROOT).as_posix()}"


def rendered() -> str:
    everybody, reasons = methods(), list[str]()
    lines = [f"| | {' | '.join(method.title for method in everybody)} |", "|---" * (len(everybody) + 1) + "|"]
    for promise in PROMISES:
        cells = [cell(promise, method, reasons) for method in everybody]
        lines.append(f"| {MEANT[promise]} | {' | '.join(cells)} |")
    return "\n".join([HEAD, *lines, *(["", *reasons] if reasons else []), ""])


def cell(promise: str, method: Method, reasons: list[str]) -> str:
    if promise not in method.not_promised:
        return f"[tests]({file_of(promise)})"
    letter = chr(ord("a") + len(reasons))
    reasons.append(f"- **{letter}** {method.title}: {method.not_promised[promise]}")
    return letter


if __name__ == "__main__":
    PAGE.write_text(rendered(), "utf-8")
