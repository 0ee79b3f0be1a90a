"""docs/status.md says what the records promise, and every cell of it is a test or a reason."""

from __future__ import annotations

import re

import status
from pack.core.methods import PROMISES, methods

CELL = re.compile(r"\[(\d+)\]\(([^)]+)\)")


def test_it_is_current_with_the_records_and_no_cell_is_empty() -> None:
    page = status.PAGE.read_text("utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith("| |")]
    counts: dict[tuple[str, str], int] = {}
    for promise, line in zip(PROMISES, rows, strict=True):
        for method, cell in zip(methods(), line.split(" | ")[1:], strict=True):
            if found := CELL.search(cell):
                counts[promise, method.folder] = int(found[1])
    assert "| none" not in page
    assert status.rendered(counts) == page


def test_every_promise_has_a_file_of_its_own() -> None:
    stems = {path.stem for path in (status.ROOT / "tests" / "promises").glob("test_*.py")}
    assert {status.promise_of(stem) for stem in stems} == {*PROMISES} == status.MEANT.keys()
