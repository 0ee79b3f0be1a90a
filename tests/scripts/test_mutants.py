"""What `scripts/test.py --mutants` changes, which tests it takes for it, and that these notice it."""

from pathlib import Path

import pytest

pytest.importorskip("resource", reason="Windows has no limits of CPU time")
import mutants

CODE = '''\
def clipped(value, *, limit=3):
    """At most - the limit."""
    if value is None:
        raise TypeError(f"no value < {limit + 1}")
    elif value == limit:
        value.seen = scale(value, 2.5)
    return min(value, limit)
'''


def change_of(before: str, after: str) -> mutants.Change:
    (found,) = (
        change
        for change in (mutants.Change("core/checks/errors.py", CODE, *place) for place in mutants.changes_of(CODE))
        if CODE[change.start : change.end] == before and change.text == after
    )
    return found


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("3", "4"),
        ("2.5", "5.0"),
        ("is", "is not"),
        ("elif", "elif not"),
        ("==", "!="),
        ("min", "max"),
        ("value, 2.5", "2.5, value"),
        ("value.seen = scale(value, 2.5)", "pass"),
        ("return min(value, limit)", "return None"),
    ],
)
def test_a_change_is_one_of_code_and_its_statement_notes_that_it_is_reached(
    before: str, after: str, tmp_path: Path
) -> None:
    change = change_of(before, after)
    assert change.is_of_code
    assert change.names == {"clipped"}
    assert change.code == CODE.replace(before, after, 1)
    compile(change.noting(tmp_path / "reached"), "x.py", "exec")


def test_what_people_read_and_what_is_no_python_is_no_change() -> None:
    changes = [mutants.Change("core/checks/errors.py", CODE, *place) for place in mutants.changes_of(CODE)]
    codes = [change.code for change in changes if change.is_of_code]
    assert len(codes) == 11
    assert all("At most - the limit." in code and "value, *, limit" in code for code in codes)
    assert all("no value < {limit + 1}" in code or "no value" not in code for code in codes)


def test_a_seed_draws_the_same_again_in_every_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutants, "MUTATED", ("core/checks", "bridge/apply", "nodes/id_patch"))  # all take seconds
    drawn = mutants.drawn(40, "7")
    assert {Path(change.path).parts[0] for change in drawn} == {"core", "bridge", "nodes"}
    assert [change.difference for change in drawn] == [change.difference for change in mutants.drawn(40, "7")]
    assert [change.difference for change in drawn] != [change.difference for change in mutants.drawn(40, "8")]


@pytest.mark.thorough
def test_the_test_of_its_module_notices_a_change(tmp_path: Path) -> None:
    path = "core/checks/prompts.py"
    source = (mutants.ROOT / path).read_text("utf-8")
    places = [place for place in mutants.changes_of(source) if place[2] == "return None"]
    change = mutants.Change(path, source, *places[-1])
    files = mutants.likeliest(change, mutants.words_of_tests([]))[:1]
    assert files == ["tests/unit/test_prompts.py"]
    outcome = mutants.judged(change, files, mutants.copy_pack(tmp_path))
    assert outcome.failed.startswith(files[0])
    assert outcome.reached
    assert (tmp_path / path).read_text("utf-8") == source
