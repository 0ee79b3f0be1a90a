"""No test passes without asking: what tests/support/can_fail.py finds in the source of a test is an error."""

from pathlib import Path

import can_fail
import pytest

TESTS = Path(__file__).resolve().parents[1]
FILES = sorted(TESTS.rglob("test_*.py"))
STRICT = "promises"
"""Its tests are counted on docs/status.md, so that nothing but what was asked may pass."""

NOTHING_ASKED = {
    "an early return": """
def test_x(row):
    if not row:
        return
    assert row.holds
""",
    "a return before the last assertion": """
def test_x(row):
    assert row
    if row.old:
        return
    assert row.holds
""",
    "an assertion under an if": """
def test_x(row):
    if row:
        assert row.holds
""",
    "a refusal under an if": """
def test_x(row):
    if row:
        with pytest.raises(ValueError):
            row()
""",
    "an assertion beside another under an if": """
def test_x(row):
    assert row
    if row.old:
        assert row.holds
""",
    "a loop that may be empty": """
def test_x(row):
    for way in row.ways():
        assert way
""",
    "a loop over what meets a condition": """
def test_x(row):
    for way in (way for way in (1, 2) if way > 2):
        assert way
""",
    "all of what may be empty": """
def test_x(row):
    assert all(way.holds for way in row.ways)
""",
    "an alternative": """
def test_x(row):
    assert not row.old or row.holds
""",
    "an alternative beside another": """
def test_x(row):
    assert row and (not row.old or row.holds)
""",
    "no assertion": """
def test_x(row):
    row.run()
""",
}
ASKED = {
    "an assertion": """
def test_x(row):
    assert row.holds
""",
    "a skip with its reason": """
def test_x(row):
    if row.old:
        pytest.skip("no model of it in this ComfyUI")
    assert row.holds
""",
    "both sides of an if": """
def test_x(row):
    if row:
        assert row.a
    else:
        assert row.b
""",
    "a loop over a literal": """
def test_x(row):
    for side in ("a", "b"):
        assert row[side]
""",
    "a loop over a constant": """
WAYS = [1]

def test_x(row):
    for way in WAYS:
        assert way
""",
    "a loop over what is asserted": """
def test_x(row):
    ways = row.ways()
    assert ways
    for way in ways:
        assert way
""",
    "a function inside that returns": """
def test_x(row):
    def run():
        return row()
    assert run()
""",
    "a helper that asserts": """
def holds(row):
    assert row

def test_x(row):
    holds(row)
""",
    "a refusal": """
def test_x(row):
    with pytest.raises(ValueError):
        row()
""",
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_test_passes_without_asking(path: Path) -> None:
    assert can_fail.faults(path.read_text("utf-8"), strict=path.parent.name == STRICT) == []


@pytest.mark.parametrize("source", NOTHING_ASKED.values(), ids=NOTHING_ASKED)
def test_a_test_that_asks_nothing_is_noticed(source: str) -> None:
    assert len(can_fail.faults(source, strict=True)) == 1


@pytest.mark.parametrize("source", ASKED.values(), ids=ASKED)
def test_a_test_that_asks_is_left_alone(source: str) -> None:
    assert can_fail.faults(source, strict=True) == []


@pytest.mark.parametrize("name", ["an early return", "a return before the last assertion"])
def test_an_early_return_is_noticed_in_every_folder(name: str) -> None:
    assert len(can_fail.faults(NOTHING_ASKED[name], strict=False)) == 1
