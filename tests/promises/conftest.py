"""Each test is there for every method: what a method does not promise, its record says, with the reason.

Inside a promise a test is there for the rows that meet its conditions (`applies_to` of tests/support/promised.py, or
`CONDITIONS` of its file). A row that does not meet them has no case. The reason is handed to the results of the run,
from which scripts/status.py writes docs/status.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import status
from pack.core.methods import PROMISES, methods

if TYPE_CHECKING:
    from promised import Condition, Row

_WITHOUT_A_CASE: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
"""By file and function of a test: the rows that it does not apply to, as docs/status.md names them -> the reason."""


def promise_of(path: Path) -> str:
    """A file is named after its promise."""
    return max((promise for promise in PROMISES if path.stem.startswith(f"test_{promise}")), key=len)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`row`: a node of every method that promises it. `row_or_variant`: also the other ways through it. `method`: a
    record."""
    from promised import conditions_of, rows, with_variants  # from here on a ComfyUI is there

    module = metafunc.module
    promise = promise_of(Path(module.__file__))
    conditions = (*getattr(module, "CONDITIONS", ()), *conditions_of(metafunc.function))
    without = _WITHOUT_A_CASE[Path(module.__file__).stem, metafunc.function.__name__]
    if "method" in metafunc.fixturenames:
        promising = [record for record in methods() if promise not in record.not_promised]
        metafunc.parametrize("method", _applicable(promising, conditions, without), ids=lambda record: record.folder)
    promising_rows = [row for row in rows() if row.method is None or promise not in row.method.not_promised]
    for name, candidates in (("row", promising_rows), ("row_or_variant", with_variants(promising_rows))):
        if name in metafunc.fixturenames:
            runnable = [row for row in candidates if row.runs_here]
            metafunc.parametrize(name, _applicable(runnable, conditions, without), ids=str)


def _applicable(candidates: Iterable[Any], conditions: Iterable[Condition], without: dict[str, str]) -> list[Any]:
    """The rows or records that meet every condition. The others are written into `without`."""
    applicable = list[Any]()
    for candidate in candidates:
        unmet = next((condition for condition in conditions if not condition.holds(candidate)), None)
        if unmet is None:
            applicable.append(candidate)
        else:
            without[_name(candidate)] = unmet.reason
    return applicable


def _name(candidate: Row | Any) -> str:
    """A row is named as in the case's name; a record by its folder."""
    return getattr(candidate, "folder", None) or str(candidate)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every case carries the rows that its test has no case for, and the reasons, into the results of the run."""
    for item in items:
        function = getattr(item, "originalname", "")
        for row, reason in _WITHOUT_A_CASE.get((item.path.stem, function), {}).items():
            item.user_properties.append((status.DOES_NOT_APPLY, f"{row}: {reason}"))
