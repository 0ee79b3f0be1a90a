"""docs/status.md says what the records promise, and every cell of it is tests that passed or a reason."""

import re

import status
from pack.core.methods import PROMISES


def test_it_is_current_with_the_records_and_every_cell_ran() -> None:
    page = status.PAGE.read_text("utf-8")
    assert re.sub(r"\[\d+\]", "[0]", page) == status.rendered({})
    assert "[0]" not in page


def test_every_promise_has_a_file_of_its_own() -> None:
    stems = {path.stem for path in (status.ROOT / "tests" / "promises").glob("test_*.py")}
    assert {status.promise_of(stem) for stem in stems} == {*PROMISES} == status.MEANT.keys()
