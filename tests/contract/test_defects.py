"""Planted defects (tests/defects) stand in the code as it is, so that a change cannot leave them behind unnoticed.

That they are caught is seen by running `python tests/defects/plant.py`, which takes hours.
"""

import ast
from pathlib import Path

import anchors
import pytest
from anchors import Defect, Stale, planted, tables, tables_of, trouble

ROOT = Path(__file__).resolve().parents[2]
TABLES = tables_of(ROOT / "tests" / "defects")
MODULE = '''
LIMIT = 0.5


class Region:
    def weight(self, row: int) -> float:
        """The share of a row."""
        share = self.shares[row]  # 0..1
        if share > LIMIT:
            return share * 2
        return 0.0


def total(regions, row):
    return sum(region.weight(row) for region in regions)
'''


def defect(place: str, find: str, put: str, which: int = 0) -> Defect:
    return Defect(place, "A region is wrong.", find, put, "tests/contract/test_defects.py", "regions", which)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "regions.py").write_text(MODULE, "utf-8")
    (tmp_path / "tests" / "contract").mkdir(parents=True)
    (tmp_path / "tests" / "contract" / "test_defects.py").touch()
    return tmp_path


@pytest.mark.parametrize("table", TABLES, ids=lambda path: path.stem)
def test_every_defect_stands_in_the_code(table: Path) -> None:
    messages = [trouble(entry, ROOT) for entry in tables(table.parent, [table])]
    assert [message for message in messages if message] == []


def test_no_defect_is_there_twice() -> None:
    entries = [(entry.place, entry.find, entry.put, entry.which, entry.caught_by) for entry in tables(TABLES[0].parent)]
    assert len(set(entries)) == len(entries)


def local_names(function: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names - {"self", "cls"}


def with_other_names(tree: ast.Module) -> ast.Module:
    """The module with every local name of every function and comprehension changed."""
    locally = (ast.FunctionDef, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
    for function in [node for node in ast.walk(tree) if isinstance(node, locally)]:
        names = local_names(function)
        for node in ast.walk(function):
            if isinstance(node, ast.Name) and node.id in names:
                node.id += "_renamed"
            elif isinstance(node, ast.arg) and node.arg in names:
                node.arg += "_renamed"
    return tree


@pytest.mark.parametrize("table", TABLES, ids=lambda path: path.stem)
def test_other_local_names_and_another_layout_break_no_defect(table: Path, tmp_path: Path) -> None:
    entries = tables(table.parent, [table])
    for path in {entry.path for entry in entries}:
        text = (ROOT / path).read_text("utf-8")
        if path.endswith(".py"):
            text = ast.unparse(with_other_names(ast.parse(text)))
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, "utf-8")
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    messages = [trouble(entry, tmp_path) for entry in entries]
    assert [message for message in messages if message] == []


CHANGES = {
    "an operand": (defect("regions.py::Region.weight", "$share * 2", "$share"), "return (share)"),
    "a comparison": (defect("regions.py::Region.weight", "$share > LIMIT", "$share >= LIMIT"), "if (share >= LIMIT):"),
    "a constant": (defect("regions.py::LIMIT", "0.5", "0.4"), "LIMIT = (0.4)"),
    "a statement": (
        defect("regions.py::Region.weight", "if $share > LIMIT: $$body", ""),
        "  # 0..1\n        \n        return 0.0\n",
    ),
    "a body": (
        defect("regions.py::Region.weight", "if $share > LIMIT: $$body", "if $share <= LIMIT: $$body"),
        "        if share <= LIMIT:\n            return share * 2\n        return 0.0\n",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_stands_in_its_place_and_the_rest_stays(folder: Path, name: str) -> None:
    entry, expected = CHANGES[name]
    broken = planted(entry, folder)
    assert expected in broken
    assert broken != MODULE
    assert "# 0..1" in broken


def message_of(entry: Defect, folder: Path) -> str:
    with pytest.raises(Stale) as caught:
        planted(entry, folder)
    return str(caught.value)


def test_a_renamed_function_is_named_with_where_its_code_stands_now(folder: Path) -> None:
    message = message_of(defect("regions.py::Region.heard", "$share * 2", "$share"), folder)
    assert (
        message == "regions.py has no Region.heard. The pattern stands in: Region (line 10), Region.weight (line 10)."
    )
    message = message_of(defect("regions.py::Region.heard", "$share * 3", "$share"), folder)
    assert message == "regions.py has no Region.heard. It has: LIMIT, Region, Region.weight, total."


def test_code_that_has_changed_is_shown_with_what_is_like_it(folder: Path) -> None:
    message = message_of(defect("regions.py::Region.weight", "$share < LIMIT", "$share <= LIMIT"), folder)
    assert message.endswith("Code of this kind there:\n    line 9: share > LIMIT")


def test_a_pattern_that_stands_twice_is_refused_with_its_lines(folder: Path) -> None:
    message = message_of(defect("regions.py::Region.weight", "return $share", "return 1"), folder)
    assert "has the pattern 2 times, in lines 10, 11" in message
    broken = planted(defect("regions.py::Region.weight", "return $share", "return 1", which=2), folder)
    assert broken == MODULE.replace("return 0.0", "return 1")


@pytest.mark.parametrize(("find", "put"), [("share * 2", "share"), ("$share * 2", "share"), ("$share * 2", "nobody")])
def test_local_names_are_wildcards(folder: Path, find: str, put: str) -> None:
    message = message_of(defect("regions.py::Region.weight", find, put), folder)
    assert "a local name or none, write $" in message or "does not have the pattern" in message


def test_a_wildcard_is_the_same_code_wherever_it_stands(folder: Path) -> None:
    (folder / "regions.py").write_text("def squares(x, y):\n    return x * y + x * x\n", "utf-8")
    assert planted(defect("regions.py::squares", "$x * $x", "$x"), folder).endswith("return x * y + (x)\n")


def test_words_of_javascript_stand_in_any_layout(folder: Path) -> None:
    (folder / "labels.js").write_text('if (note &&\n    !isSeen(nodes)) say("a  note");\n', "utf-8")
    entry = defect("labels.js", 'if ($note && !isSeen($nodes)) say("a  note")', "if ($note) say($nodes)")
    assert planted(entry, folder) == "if (note) say(nodes);\n"


def test_a_test_that_is_gone_is_named(folder: Path) -> None:
    entry = Defect("regions.py::LIMIT", "It is wrong.", "0.5", "0.4", "tests/contract/test_defects.py::test_x[1]", "-")
    message = trouble(entry, folder)
    assert message
    assert message.endswith("There is no test test_x in tests/contract/test_defects.py.")


def test_dollars_in_texts_are_dollars() -> None:
    (pattern,) = anchors.pattern_of("$name.endswith('$size')")
    assert "value='$size'" in ast.dump(pattern)
