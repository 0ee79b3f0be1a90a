"""What `scripts/test.py --mutants` takes of mutmut's changes, and that a seed draws the same again."""

import mutants
import pytest

LINES = {"core/geometry.py": 900, "core/errors.py": 100}


def test_a_seed_draws_the_same_files_and_long_ones_more_often() -> None:
    drawn = mutants.drawn_files(LINES, 1000, "7")
    assert drawn == mutants.drawn_files(dict(reversed(LINES.items())), 1000, "7")
    assert drawn != mutants.drawn_files(LINES, 1000, "8")
    assert 850 < drawn.count("core/geometry.py") < 950


@pytest.mark.parametrize(
    ("change", "is_taken"),
    [
        ("-    limit = 3\n+    limit = 4", True),
        ('-    title = "a" + name\n+    title = "a" - name', True),
        ('-    raise Wrong("a size")\n+    raise Wrong("XXa sizeXX")', False),
        ("-    raise Wrong('a size', width)\n+    raise Wrong('A SIZE', width)", False),
    ],
)
def test_a_change_of_a_text_alone_is_none(change: str, is_taken: bool) -> None:
    assert mutants.is_of_code("pack.core.errors.x_check__mutmut_1", change) == is_taken
    assert not mutants.is_of_code("pack.nodes.people.xǁPersonǁdefine_schema__mutmut_1", change)


def test_tests_of_another_process_are_left_out() -> None:
    files = mutants.tests_in_this_process([mutants.ROOT / "tests" / "host"])
    assert "tests/host/test_lora_per_person.py" in files
    assert not {"tests/host/test_boot.py", "tests/host/test_batch.py"} & {*files}
