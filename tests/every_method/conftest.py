"""Each test is there for every method, and for every node that puts one into conditioning or MODEL.

Where a condition of the test does not hold for one of them, pytest skips it with the condition's reason (`applies_to`
of tests/support/method_rows.py, or `CONDITIONS` of its file). Which rows are tried in every run is said by `often` at
the test, by `OFTEN` of its file, or else by that of method_rows.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pytest
from pack.core.methods import methods

if TYPE_CHECKING:
    from method_rows import Condition, Row


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`row`: a node of every method. `row_or_variant`: also the other ways through it. `method`: a record."""
    import method_rows  # from here on a ComfyUI is there

    conditions = (*getattr(metafunc.module, "CONDITIONS", ()), *method_rows.conditions_of(metafunc.function))
    often = getattr(metafunc.function, "often", getattr(metafunc.module, "OFTEN", method_rows.OFTEN))

    def of_row(row: Row) -> Any:
        marks = [] if str(row) in often else [pytest.mark.thorough]
        return pytest.param(row, marks=[*marks, *_skipped(row, conditions)])

    rows_here = [row for row in method_rows.rows() if row.runs_here]
    if "method" in metafunc.fixturenames:
        records = [pytest.param(record, marks=_skipped(record, conditions)) for record in methods()]
        metafunc.parametrize("method", records, ids=lambda record: record.folder)
    if "row" in metafunc.fixturenames:
        metafunc.parametrize("row", [of_row(row) for row in rows_here], ids=str)
    if "row_or_variant" in metafunc.fixturenames:
        metafunc.parametrize("row_or_variant", [of_row(row) for row in method_rows.with_variants(rows_here)], ids=str)


def _skipped(candidate: Any, conditions: Iterable[Condition]) -> list[pytest.MarkDecorator]:
    """For a row or record that does not meet every condition of the test: why."""
    unmet = next((condition for condition in conditions if not condition.holds(candidate)), None)
    return [] if unmet is None else [pytest.mark.skip(reason=unmet.reason)]
