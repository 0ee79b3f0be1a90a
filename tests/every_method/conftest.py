"""Each test is there for every method, and for every node that puts one into conditioning or MODEL.

Where a condition of the test does not hold for one of them, pytest skips it with the condition's reason (`applies_to`
of tests/support/method_rows.py, or `CONDITIONS` of its file).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pytest
from pack.core.methods import methods

if TYPE_CHECKING:
    from method_rows import Condition

ALONE = (
    "test_cancel", "test_compiled", "test_half", "test_leaks", "test_leaks_after_errors", "test_partial_loading",
    "test_people_together", "test_rows",
)  # fmt: skip
"""Files that ask what a run does with people, whoever they are."""
BESIDE_OTHERS = ("test_other_packs", "test_other_packs_texts")
"""Files that ask it beside nodes of others."""
AS_OTHER_TOKENS = r"references, .*|PromptPerPerson.*|.*, (a row each|the other way to act)"
AS_INSTANT_ID = r"id_patch, .*"
SELDOM = {
    **dict.fromkeys(ALONE, re.compile(f"{AS_OTHER_TOKENS}|{AS_INSTANT_ID}")),
    **dict.fromkeys(BESIDE_OTHERS, re.compile(AS_OTHER_TOKENS)),
}
"""By such a file, the rows that it tries with --all: what they put in comes as that of another row does."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`row`: a node of every method. `row_or_variant`: also the other ways through it. `method`: a record."""
    from method_rows import conditions_of, rows, with_variants  # from here on a ComfyUI is there

    conditions = (*getattr(metafunc.module, "CONDITIONS", ()), *conditions_of(metafunc.function))
    rows_here = [row for row in rows() if row.runs_here]
    file = metafunc.definition.path.stem
    if "method" in metafunc.fixturenames:
        metafunc.parametrize("method", _cases(methods(), conditions, file), ids=lambda record: record.folder)
    if "row" in metafunc.fixturenames:
        metafunc.parametrize("row", _cases(rows_here, conditions, file), ids=str)
    if "row_or_variant" in metafunc.fixturenames:
        metafunc.parametrize("row_or_variant", _cases(with_variants(rows_here), conditions, file), ids=str)


def _cases(candidates: Iterable[Any], conditions: Iterable[Condition], file: str) -> list[Any]:
    """The rows or records; those that do not meet every condition are skipped."""
    cases = list[Any]()
    for candidate in candidates:
        unmet = next((condition for condition in conditions if not condition.holds(candidate)), None)
        marks = [] if unmet is None else [pytest.mark.skip(reason=unmet.reason)]
        if file in SELDOM and SELDOM[file].fullmatch(str(candidate)):
            marks.append(pytest.mark.thorough)
        cases.append(pytest.param(candidate, marks=marks))
    return cases
