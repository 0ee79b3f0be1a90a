"""docs/status.md says what the records promise, and every cell of it is tests that ran or a reason."""

import re

import status
from pack.core.methods import PROMISES, methods

NUMBER = re.compile(r"\[\d+(, \d+ skipped)?\]")


def of_every_cell(result: str) -> status.Tests:
    """A run in which one test of every promise ended so for every method."""
    tests = status.Tests()
    for promise in PROMISES:
        for method in methods():
            case = status.Case("tests/promises", f"test_{promise}", "test_x", method.folder, result)
            tests.tallies[status.Cell(promise, method.folder)].add(case)
    return tests


def table(page: str) -> str:
    """The page as far as the records decide it: up to what the run tells of skipped tests, and every number 1."""
    records = re.split(f"\n{re.escape(status.SKIPPED)}|\n{re.escape(status.WITHOUT_A_CASE)}", page)[0]
    return NUMBER.sub("[1]", records).strip()


def test_it_is_current_with_the_records_and_every_cell_ran() -> None:
    """Neither "not shown" nor "not kept" is in it: both differ from a page of tests that passed."""
    page = status.PAGE.read_text("utf-8")
    assert table(page) == table(status.rendered(of_every_cell("passed")))


def test_a_page_of_skipped_or_failed_tests_is_another() -> None:
    passed = table(status.rendered(of_every_cell("passed")))
    for result, words in (("skipped", "not shown: 1 skipped"), ("failed", "not kept: 1 of 1 failed")):
        page = status.rendered(of_every_cell(result))
        assert words in page
        assert table(page) != passed


def test_every_promise_has_words_on_the_page() -> None:
    assert {*PROMISES} == status.MEANT.keys()
