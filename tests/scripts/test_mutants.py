"""What `scripts/test.py --mutants` changes in code, and that a sample stays while other code comes and goes."""

from pathlib import Path

import pytest
from mutation.changes import mutants_of

CHANGES = {
    "limit = 3": ["3 -> 4"],
    "limit = 0.5": ["0.5 -> 1.0"],
    "hard = True": ["True -> False"],
    "total = a - b": ["a - b -> a + b"],
    "total += a": ["total += a -> total -= a", "total += a -> total = a"],
    "near = a < b": ["a < b -> a <= b"],
    "both = a and not b": ["a and (not b) -> a or not b", "not b -> b"],
    "kept[key, size] = made": ["kept[key, size] = made -> pass", "(key, size) -> (size,)", "(key, size) -> (key,)"],
    "if hard: raise Wrong('a size')": ["if hard: raise Wrong('a size') -> if not hard: raise Wrong('a size')",
                                       "raise Wrong('a size') -> pass"],
    "x = min(a, b)": ["min(a, b) -> max(a, b)"],
    "x = a.mean()": ["a.mean() -> a.sum()"],
    "x = math.hypot(a, b)": [],
    "x = zip(*a, strict=True)": [],
    "x = pad(a, b, mode=c)": ["pad(a, b, mode=c) -> pad(b, a, mode=c)", "pad(a, b, mode=c) -> pad(a, b)"],
    "def f(a: int | None) -> tuple[int, str]:\n    '''1 + 1'''\n    return a": ["return a -> return None"],
    "log.info('%s of %s', 1 + 1, a)": [],
    "Block = tuple[str, int]": [],
}  # fmt: skip


@pytest.mark.parametrize("code", CHANGES)
def test_each_slip_is_made_once_and_words_for_readers_stay(tmp_path: Path, code: str) -> None:
    (tmp_path / "a.py").write_text(code, "utf-8")
    mutants = mutants_of(tmp_path, "a.py")
    assert [f"{mutant.before} -> {mutant.after}" for mutant in mutants] == CHANGES[code]


def test_a_mutant_is_known_again_where_other_code_has_come(tmp_path: Path) -> None:
    code = "def f(a):\n    return a + 1\n"
    (tmp_path / "a.py").write_text(code, "utf-8")
    before = {mutant.identity for mutant in mutants_of(tmp_path, "a.py")}
    (tmp_path / "a.py").write_text(f"def g(a):\n    return a * 2\n\n\n{code}", "utf-8")
    assert before < {mutant.identity for mutant in mutants_of(tmp_path, "a.py")}
