"""Commands for tests that stand in the pages can be copied: pytest takes them, and what they name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from _pytest.mark.expression import Expression

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_what_follows_k_is_an_expression() -> None:
    """`-k 'a black image'` is none: pytest wants `and` between the words."""
    expressions: list[str] = []
    for page in PAGES:
        for command in re.findall(r"python scripts/test\.py[^`\n]*", page.read_text("utf-8")):
            for quoted, word in re.findall(r" -k (?:['\"]([^'\"]+)['\"]|(\S+))", command):
                expressions.append(quoted or word)
    assert expressions, "no page shows -k any more"
    for expression in expressions:
        Expression.compile(expression)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_test_that_is_named_is_there(page: Path) -> None:
    for file, function in re.findall(r"(tests/[\w/]+\.py)::(\w+)", page.read_text("utf-8")):
        assert f"def {function}(" in (ROOT / file).read_text("utf-8"), f"{page.name} names {file}::{function}"
