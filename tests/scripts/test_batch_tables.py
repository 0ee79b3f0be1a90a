"""Tables that batch.py reads, as spreadsheets and programs write them: rows, their names, inputs of every row."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from batch import rows
from batch.folders import Folder
from batch.rows import Table
from environment import SetupError

MARK = "\ufeff"


def written(separator: str = ",", end: str = "\n", before: str = "") -> str:
    """A table as a program writes it. before: what stands before the quotes of a cell."""
    first, second = (f'{before}"{text}"' for text in ("a woman, a man", "two\nlines"))
    rows_of_table = ("name", "Prompt"), ("first", first), (), ("second", second), ("third", "x")
    return "".join(f"{separator.join(row)}\n" for row in rows_of_table).replace("\n", end)


PLAIN, SEMICOLONS = written(), written(";", "\r\n")
TABLES = {
    "UTF-8": PLAIN.encode(),
    "UTF-8 with a mark": PLAIN.encode("utf-8-sig"),
    "UTF-16": PLAIN.encode("utf-16"),
    "several marks": f"{MARK}{MARK}\u200b{PLAIN}".encode(),
    "letters that nobody sees": f"{MARK}\u200bname ,\u2060Prompt\u200e{PLAIN[11:]}".encode(),
    "the end of a file in DOS": f"{PLAIN}\x1a".encode(),
    "columns without a name": PLAIN.replace("Prompt", "Prompt,,", 1).encode(),
    "semicolons": SEMICOLONS.encode("utf-8-sig"),
    "lines that end with a return": written(end="\r").encode(),
    "semicolons and returns": written(";", "\r").encode(),
    "UTF-32": PLAIN.encode("utf-32"),
    "sep=,": f"sep=,\r\n{PLAIN}".encode(),
    "sep=; in quotes": f'"sep=;"\r{SEMICOLONS}'.encode("utf-8-sig"),
    "SEP=; in capitals, filled up": f"SEP=;;;\n{SEMICOLONS}".encode(),
    "sep=; below empty lines": f"\r\n;;\r\nsep=;\r\n{SEMICOLONS}".encode(),
    "sep=\\t": f"sep=\\t\n{written(chr(9))}".encode(),
    "sep=|": f"sep=|\n{written('|')}".encode(),
    "spaces before quotes and around a cell": written(before=" ").replace("third,x", "third , x").encode(),
    "other spaces": PLAIN.replace("first", "\t\u200bfirst").encode(),
    "tabs, and spaces before quotes": written("\t", before=" ").encode(),
}


def read(folder: Path, name: str = "jobs.csv") -> Table:
    return rows.read(Folder(str(folder)), name)


@pytest.mark.parametrize("data", TABLES.values(), ids=TABLES)
def test_a_table_as_spreadsheets_write_it(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "jobs.csv").write_bytes(data)
    above, named, _ = data.lower().replace(b" ", b"").partition(b"sep=")
    below = above.count(b"\n") + 1 if named else 0
    rows_read = list(rows.rows(read(tmp_path), lambda _: False))
    assert [(row.line - below, row.name) for row in rows_read] == [(2, "first"), (4, "second"), (6, "third")]
    assert not any(row.problem for row in rows_read)
    assert rows_read[0].cells == {"Prompt": "a woman, a man"}
    assert rows_read[1].cells["Prompt"].split() == ["two", "lines"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"), (b"name,Prompt\n\n", "has no rows"), (b"Seed,seed\n1,2\n", "has the column Seed 2 times"),
        ("name,Prompt\n1,ok\n2,Jürgen\n".encode("cp1252"), r"is not UTF-8 \(line 3\): save it as CSV UTF-8"),
        (b'name,Prompt\n1,a\n2,"never closed\n3,b\n', "cannot be read as CSV from line 3 on"),
        (b"name,Prompt\n" + b"1,a\n" * 50_000 + b"2,a\0\n", r"is no text \(line 50002\)"),
        (b'name,Prompt\n1,"a "red" coat"\n', r"from line 2 on \(.*\): let nothing stand between a quote"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_table(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "jobs.csv").write_bytes(data)
    with pytest.raises(SetupError, match=message):
        list(read(tmp_path).lines())


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ('"a, \u201cred\u201d, coat"', "a, \u201cred\u201d, coat"),
        ('"say ""hi"" , and ""ho"""', 'say "hi" , and "ho"'),
        ("\u201ca red coat\u201d", "\u201ca red coat\u201d"), ('5" nails', '5" nails'), (' ""', ""),
        ("x" * 200_000, "x" * 200_000), ("it\u2019s", "it\u2019s"),
    ],
)  # fmt: skip
def test_a_cell_in_quotes(tmp_path: Path, cell: str, value: str) -> None:
    """What stands inside of straight quotes is as it was written."""
    (tmp_path / "jobs.csv").write_text(f"name,Prompt,Seed\na,{cell},1\n", "utf-8")
    (row,) = rows.rows(read(tmp_path), lambda _: False)
    assert row.cells.get("Prompt", "") == value
    assert not row.problem


def test_lines_that_cannot_be_rows(tmp_path: Path) -> None:
    lines = ["name,Photo,Seed", "a,x.png,1", "A,y.png,2", "b,z.png", "c,x,1,2", "../d,x,1", "=1+1,x,1", "nul.png,x,1"]
    (tmp_path / "jobs.csv").write_text("\n".join([*lines, "a_1of2,x,1", ",set 1\\Anna Ö.png,1", ",,", ",,9"]))
    rows_read = list(rows.rows(read(tmp_path), lambda column: column == "Photo"))
    problems = [row.problem.split(":")[0] for row in rows_read]
    assert problems[:4] == ["", "", "", "4 cells for 3 columns"]
    assert rows_read[2].cells == {"Photo": "z.png"}  # spreadsheets leave out empty cells at the end of a line
    assert all(row.problem.startswith("the name ") for row in rows_read[4:8])
    assert [(row.name, row.problem) for row in rows_read[8:]] == [("00010_Anna-Ö", ""), ("00012", "")]


def test_inputs_that_every_row_has(tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_text("name,Prompt\na,x\nb\nc,y,z\n")
    table = read(tmp_path)
    (tmp_path / "jobs.csv").write_text("name\nof somebody who writes meanwhile\n")
    first, short, long = rows.rows(rows.with_inputs(table, [("Steps", "30"), ("Node.cfg", "2")]), lambda _: False)
    assert first.cells == {"Prompt": "x", "Steps": "30", "Node.cfg": "2"}
    assert not first.problem
    assert (short.cells, short.problem) == ({"Steps": "30", "Node.cfg": "2"}, "")
    assert long.problem.startswith("3 cells for 2 columns")
    for inputs in ([("prompt", "z")], [("Steps", "1"), ("steps", "2")], [("Name", "x")]):
        with pytest.raises(SetupError, match=f"--set gives {inputs[0][0]}, which is a column"):
            rows.with_inputs(table, inputs)


@pytest.mark.parametrize("name", ["字" * 67, "a\u2028b", "caf\u00e9", "a" * 121, "b\ud83d"])
def test_names_that_no_file_has_or_that_are_one_file(tmp_path: Path, name: str) -> None:
    lines = [{"name": "cafe\u0301", "Photo": "x"}, {"name": name, "Photo": "x"}, {"Photo": f"{'字' * 80}.png"}]
    (tmp_path / "jobs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    first, second, unnamed = rows.rows(read(tmp_path, "jobs.jsonl"), lambda column: column == "Photo")
    assert not first.problem
    assert not unnamed.problem
    if len(name) == 4:
        assert rows.key_of(first.name) == rows.key_of(second.name)
    else:
        assert "be a file's: at most 120 letters and 200" in second.problem
    assert len(f".{unnamed.name}_10000of10000.safetensors.part".encode()) < 256


def test_a_table_of_json_lines(tmp_path: Path) -> None:
    text = (
        '{"name": "a", "Prompt": "x, y", "Seed": 18446744073709551615}\n\n'
        '{"name": "b", "Noise": true, "Seed": null, "Prompt": NaN, "Cfg": -Infinity}\n'
    )
    (tmp_path / "jobs.jsonl").write_text(f'{text}no\n{{"name": ["c"], "Seed": 0.5}}\n{"[" * 10**5}\n')
    json_rows = list(rows.rows(read(tmp_path, "jobs.jsonl"), lambda _: False))
    assert [(row.line, row.name, row.cells) for row in json_rows[:2]] == [
        (1, "a", {"Prompt": "x, y", "Seed": str(2**64 - 1)}),
        (3, "b", {"Noise": "true"}),
    ]
    assert json_rows[2].problem == "line 4 is no object of JSON, or has a name twice."
    assert json_rows[3].problem.startswith("name is a list, an object or bytes")
    assert json_rows[4].problem.startswith("line 6 is no object of JSON")
    (tmp_path / "jobs.jsonl").write_text(f'{text}{{"Seed": 1, "Seed": 2}}\n', "utf-16")  # as PowerShell writes it
    assert [*rows.rows(read(tmp_path, "jobs.jsonl"), lambda _: False)][:2] == json_rows[:2]
    assert "has a name twice" in [*rows.rows(read(tmp_path, "jobs.jsonl"), lambda _: False)][2].problem
    (tmp_path / "jobs.jsonl").write_text("".join(f'{{"key{number}": 1}}\n' for number in range(1001)))
    with pytest.raises(SetupError, match="has 1,001 columns"):
        read(tmp_path, "jobs.jsonl")


def test_a_table_in_parquet(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    pyarrow = pytest.importorskip("pyarrow")
    columns = {
        "name": [f"row{number}" for number in range(2500)],
        "Seed": [float(number) if number % 2 else math.nan for number in range(2500)],
        "Cfg": [4.5] * 2500,
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "jobs.parquet")
    parquet_rows = list(rows.rows(read(tmp_path, "jobs.parquet"), lambda _: False))
    assert len(parquet_rows) == 2500
    assert parquet_rows[2400].cells == {"Cfg": "4.5"}, "as data frames write an empty cell"
    assert parquet_rows[2401].cells == {"Seed": "2401.0", "Cfg": "4.5"}
    data = (tmp_path / "jobs.parquet").read_bytes()
    for damaged, message in [
        (b"name\na\n", "is no Parquet file"),
        (data.replace(data[100:400], b"\xff" * 300, 1), "cannot be read as Parquet from line 1 on .*write it again"),
    ]:
        (tmp_path / "jobs.parquet").write_bytes(damaged)
        with pytest.raises(SetupError, match=message):
            read(tmp_path, "jobs.parquet")
    texts_as_bytes = pyarrow.table({"name": [b"a"], "Seed": [1]})
    parquet.write_table(texts_as_bytes, tmp_path / "jobs.parquet")
    (row,) = rows.rows(read(tmp_path, "jobs.parquet"), lambda _: False)
    assert row.problem.startswith("name is a list, an object or bytes")
