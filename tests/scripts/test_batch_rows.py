"""What batch.py makes of a table and leaves in a folder: rows, columns, cells, going on; no host."""

from __future__ import annotations

import csv
import errno
import gc
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, cast

import pytest
from batch import locks, rows
from batch import output as output_module
from batch.faults import Finished
from batch.folders import Folder
from batch.inputs import Template
from batch.maker import Maker
from batch.one_worker import OneWorker, WorkerSettings
from batch.output import Measuring, Output, PictureWriter, Task, disk_errors_told, size_kept
from batch.photo_cells import PhotoCells
from batch.prompts import Job, require_runnable
from batch.ray_workers import HERE, RayWorkers
from batch.rows import Row, Table
from batch.run import Run, last_line
from batch.saved_people import SavedPeople
from batch.temporary import temporary_folder
from batch.worker import Outcome, SavedFile
from environment import ROOT, SetupError
from PIL import Image
from saved_files import saved
from shared.tables import as_cell
from systems import posix

from core.checks.names import among, ending, folded, spelled

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


# --- Columns and cells


INPUTS: dict[str, dict[str, Any]] = {
    "Load Image": {"image": [["a.png"], {"image_upload": True}]},
    "Text": {"text": ["STRING", {}]},
    "Sampler": {
        "seed": ["INT", {"min": 0, "max": 2**64 - 1, "control_after_generate": True}],
        "cfg": ["FLOAT", {"min": 0.0, "max": 100.0}], "sampler": [["euler", "dpmpp_2m", "DPM"], {}],
        "noise": ["BOOLEAN", {}], "size": ["COMBO", {"options": [512, 1024]}], "image": ["IMAGE"],
    },
}  # fmt: skip
TITLES = {"LoadImage": "Load Image", "Text": "Text", "Sample": "Sampler"}
INFO = {kind: {"input": {"required": INPUTS[title]}, "display_name": title} for kind, title in TITLES.items()}


def node(number: int, kind: str, values: list[Any], title: str = "", **inputs: str | int) -> dict[str, Any]:
    """inputs: each with its label, or the link that brings it."""
    slots: list[dict[str, Any]] = []
    for name, label_or_link in inputs.items():
        slot: dict[str, Any] = {"name": name, "link": None, "widget": {"name": name}}
        if isinstance(label_or_link, int):
            slot["link"] = label_or_link
        else:
            slot["label"] = label_or_link
        slots.append(slot)
    named = {"title": title} if title else {}
    return {"id": number, "type": kind, "inputs": slots, "outputs": [{}], "widgets_values": values, **named}


def graph() -> dict[str, Any]:
    """Two texts of one label, one of which comes from a Primitive, and a node without an app's input."""
    nodes = [
        node(1, "LoadImage", ["a.png", "image"], image="First person"),
        node(2, "Text", ["A"], "Anna", text="Prompt"),
        node(3, "Text", ["B"], "Ben", text=8),
        node(4, "Sample", [7, "fixed", 5.0, "euler", True, 512], seed="Seed", cfg=""),
        node(5, "PrimitiveNode", ["W", "fixed"], "Words"),
    ]
    nodes[2]["inputs"][0]["label"] = "Prompt"
    nodes[3]["inputs"].append({"name": "image", "link": 9})
    app = [[1, "image"], [2, "text"], [5, "value"], [4, "seed"]]
    links = [[9, 1, 0, 4, 2, "IMAGE"], [8, 5, 0, 3, 0, "STRING"]]
    return {"nodes": nodes, "links": links, "extra": {"linearData": {"inputs": app, "outputs": []}}}


def template(folder: Path, *columns: str, of: dict[str, Any] | None = None) -> Template:
    (folder / "workflow.json").write_text(json.dumps(of or graph()))
    return Template(folder / "workflow.json", INFO, ["Name", *columns], Folder(str(folder)), folder / "input")


def test_a_column_is_a_label_or_a_node_and_its_input(tmp_path: Path) -> None:
    named = {"FIRST PERSON": "1.image", "prompt": "2.text", "Words.value": "3.text", "Sampler.cfg": "4.cfg"}
    for column, target in {**named, "4.CFG": "4.cfg"}.items():
        assert template(tmp_path, column).inputs[column].targets == [tuple(target.split("."))]
    of = {"7": {"class_type": "Sample", "inputs": {"seed": 1, "cfg": ["8", 0]}, "_meta": {"title": "Mine"}}}
    filled = template(tmp_path, "Mine.seed", of=of).job(Row(2, "a", {"Mine.seed": "5"}))
    assert filled.prompt["7"]["inputs"] == {"seed": 5, "cfg": ["8", 0]}, "of the API's format"


def test_columns_and_workflows_that_fit_nothing_or_too_much(tmp_path: Path) -> None:
    two_prompts = graph()
    two_prompts["nodes"][2]["inputs"][0]["link"] = None
    two_prompts["extra"]["linearData"]["inputs"].append([3, "text"])
    for columns, of, message in (
        (["Frist person"], None, r"called Frist person\. Nearest: First person\. .*has: First person, Prompt"),
        (["Ben.text"], None, r"called Ben\.text"),  # a Primitive says it
        (["seed", "Sampler.seed"], None, r"seed and Sampler\.seed are the same input"),
        (["Prompt"], two_prompts, r"Prompt means more than one input: write Anna\.text or Ben\.text"),
        ([], {"nodes": [None]}, "it is damaged"), ([], {"7": {"inputs": {}}}, "did not know node 7"),
        ([], {"nodes": [node(1, "Text", ["A"])], "links": [], "extra": {"linearData": [1]}}, "it is damaged"),
    ):  # fmt: skip
        with pytest.raises(SetupError, match=message):
            template(tmp_path, *columns, of=of)


def test_nodes_that_this_comfyui_has_not_are_named_with_their_packs(tmp_path: Path) -> None:
    workflow = graph()
    lost = {"id": 15, "type": "FaceDetailer", "properties": {"cnr_id": "comfyui-impact-pack"}, "widgets_values": []}
    workflow["nodes"].append(lost)
    message = r"FaceDetailer \(node 15, of the pack comfyui-impact-pack\) is not known to this ComfyUI: install"
    with pytest.raises(SetupError, match=message):
        template(tmp_path, of=workflow)
    workflow["nodes"].append({**lost, "id": 16, "type": "Other", "properties": {}})
    workflow["links"].append([99, 15, 0, 16, 0, "IMAGE"])
    with pytest.raises(SetupError, match=r"pack\), Other \(node 16\) are not known"):
        template(tmp_path, of=workflow)
    workflow["nodes"][-1]["mode"] = workflow["nodes"][-2]["mode"] = 4
    assert template(tmp_path, of=workflow).prompt


FILES = ["people\\anna.safetensors", "Ben.SAFETENSORS", "Net.bin", "net.bin", "both.pt", "both.bin", "DPM"]
MENUS = {
    **INFO,
    "Load": {"input": {"required": {"file": [FILES, {}]}}, "display_name": "Load", "python_module": "nodes"},
}


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ("people/anna.safetensors", FILES[0]), (FILES[0], FILES[0]), ("People/Anna.Safetensors", FILES[0]),
        (".\\people\\anna.safetensors", FILES[0]), ("./people/./anna.safetensors", FILES[0]),
        ("//people/anna.safetensors", None),
        ("people/anna", FILES[0]), ("ben.safetensors", FILES[1]), ("ben", FILES[1]), ("net.bin", FILES[3]),
        ("NET.bin", None), ("both", None), ("dpm", "DPM"), ("", None),
    ],
)  # fmt: skip
def test_a_menu_takes_a_name_in_another_spelling(tmp_path: Path, chosen: str, expected: str | None) -> None:
    """In a cell and in the workflow itself, of either format; of two that may be meant neither is taken."""
    workflow = {"nodes": [node(1, "Load", [chosen], file="File")], "links": []}
    prompt = {"1": {"class_type": "Load", "inputs": {"file": chosen}}}
    for graph in (workflow, prompt):
        (tmp_path / "workflow.json").write_text(json.dumps(graph))
        of = Template(tmp_path / "workflow.json", MENUS, ["Load.file"], Folder(str(tmp_path)), tmp_path / "input")
        if chosen and ending(chosen):  # what is no menu's word stays, to be told where it is run
            assert of.prompt["1"]["inputs"]["file"] == (expected or chosen)
        if not chosen:
            continue
        row = Row(2, "a", {"Load.file": chosen})
        if expected:
            assert of.job(row).prompt["1"]["inputs"]["file"] == expected
        else:
            with pytest.raises(rows.BadRow, match="the menu has 7 entries"):
                of.job(row)


def test_a_photo_is_found_in_another_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    """Of a Mac, with capitals, and from Windows; a slip of the pen is told with what is near."""
    (tmp_path / "Set").mkdir()
    for name in ("Jose\u0301.png", "Set/Ben.PNG", "Net.png", "net.png"):
        Image.new("RGB", (2, 2)).save(tmp_path / name, "PNG")
    of = template(tmp_path, "First person")
    for cell, beginning in {
        "José.png": "Jose-",
        "set\\ben.png": "Ben-",
        "net.png": "net-",
        "Net.png": "Net-",
        str(tmp_path / "Net.png"): "Net-",
        f'"{tmp_path}/Net.png"': "Net-",
        f"{tmp_path}//Set/../Net.png": "Net-",
        "\u201cset/ben.png\u201d": "Ben-",
        f"file://{tmp_path}/Jose%CC%81.png": "Jose-",
        f"file://localhost{tmp_path}/net.png": "net-",
        "~/net.png": "net-",
    }.items():
        (photo,) = of.job(Row(2, "a", {"First person": cell})).files
        assert photo.startswith(beginning)
    for cell, nearest in {"NET.png": r"Nearest: Net\.png, net\.png", "Set/Bem.png": r"Nearest: Set/Ben\.PNG"}.items():
        with pytest.raises(rows.BadRow, match=f"which is not in .*{nearest}"):
            of.job(Row(2, "a", {"First person": cell}))


def test_a_name_means_itself_else_its_spelling_else_its_letters_if_only_one_has_them() -> None:
    spellings = ["A/Jose\u0301.png", "a/jos\u00e9.png", "A\\x.png", "a/x.png", "./a/X.png", "b.png", "B.png", "c.PNG"]
    for offered in [spellings, spellings[::2], spellings[1::2], [*spellings, *spellings[:2]]]:
        for name in [*spellings, "A/x.png", "a\\x.png", "C.png", "d.png"]:
            expected = None
            for form in (str, spelled, folded):
                alike = {entry for entry in offered if form(entry) == form(name)}
                if alike:
                    expected = alike.pop() if len(alike) == 1 else None
                    break
            assert among(name, offered) == expected, (name, offered)


def calls(work: Callable[[], None]) -> int:
    """How many functions are called meanwhile: what something costs on any machine."""
    count = 0

    def note(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_photos_that_are_not_there_cost_the_same_however_many_there_are(tmp_path: Path) -> None:
    """And next to nothing the second time, and where a hundred have been told what is near."""

    def costs(count: int) -> list[int]:
        """Of twenty cells with so many photos: the first time, the second, and of others much later."""
        folder = Folder(str(tmp_path))
        folder.__dict__["names"] = [f"person {number // 10}/{number % 10}.jpg" for number in range(count)]
        photo_cells = PhotoCells(folder, SavedPeople([]))

        def refuse(cells: Iterable[str], more: str = "") -> None:
            for cell in cells:
                with pytest.raises(rows.BadRow, match=f"Photo is {cell}, which is not in .*{more}"):
                    photo_cells.found("Photo", cell)

        refuse(["persn 42/7.jpg"], r"Nearest: person 42/7\.jpg, ")
        cells = [f"persn {number}/1.jpg" for number in range(20)]
        both = [calls(lambda: refuse(cells)) for _ in range(2)]
        refuse(f"nobody {number}" for number in range(200))
        return [*both, calls(lambda: refuse(f"somebody {number}" for number in range(20)))]

    few, many = costs(1000), costs(8000)
    assert many[0] < 1.5 * few[0]
    assert max(many[1:]) < many[0] / 10


def test_a_word_that_a_menu_does_not_have_is_looked_for_once(tmp_path: Path) -> None:
    (column,) = template(tmp_path, "Sampler.sampler").inputs.values()

    def refuse() -> None:
        with suppress(rows.BadRow):
            column.value("euler_a")

    first, second = calls(refuse), calls(refuse)
    assert second < first / 5


@pytest.mark.parametrize(
    ("name", "cell", "value"),
    [
        ("seed", "18446744073709551615", 2**64 - 1), ("seed", "7.0", 7), ("cfg", "4,5", 4.5),
        ("cfg", "0,500", 0.5), ("cfg", "1.000", 1.0), ("cfg", ".5e1", 5.0), ("seed", "1.000000", 1), ("seed", "7,", 7),
        ("cfg", "\uff0b\u0664\u066b\u0665", 4.5), ("seed", "\u0661\u066b\u0660", 1),
        ("sampler", "EULER", "euler"), ("size", "1024", 1024), ("noise", "FALSE", False),
        ("seed", "1.8E+19", "a whole number is needed, with all of its digits"),
        ("seed", "1.5", "a whole number is needed, with all of its digits and nothing between"),
        *((name, cell, "it may be thousands or decimals: write all digits")
          for name, cell in (("seed", "1.000"), ("seed", "1,000"), ("cfg", "1,000"), ("cfg", "\u221212\uff0c345"))),
        ("cfg", "1_0", "a number is needed"), ("cfg", "1,000,000", "a number is needed"),
        ("seed", "-1", "0 to 18446744073709551615 is needed"), ("cfg", "\u22121", "0.0 to 100.0 is needed"),
        ("sampler", "euler_a", "the menu has 3 entries, such as euler"), ("cfg", "nan", "a number is needed"),
        ("noise", "2", "true or false is needed"), ("text", "a \ud83d", "it holds half of a letter: write that letter"),
    ],
)  # fmt: skip
def test_a_cell_is_a_value_of_its_input(tmp_path: Path, name: str, cell: str, value: Any) -> None:
    column = f"{'Anna' if name == 'text' else 'Sampler'}.{name}"
    made_template = template(tmp_path, column)
    row = Row(2, "a", {column: cell})
    if isinstance(value, str) and " " in value:
        with pytest.raises(rows.BadRow, match=re.escape(f"{column} is {cell}: {value}")):
            made_template.job(row)
    else:
        assert made_template.job(row).prompt["4"]["inputs"][name] == value


@pytest.mark.parametrize(
    "column",
    ["First person", "Sampler.seed", "Sampler.cfg", "Sampler.sampler", "Sampler.noise", "Sampler.size", "name"],
)
@pytest.mark.parametrize("start", ["data:image/png;base64,", "../", "/", "file:///", '"', ""])
def test_a_picture_in_a_cell_is_not_repeated(column: str, start: str, tmp_path: Path) -> None:
    """Each of 20 million cells may hold one: little is kept of them, too."""
    cell = f"{start}{'aGVsbG8/' * 250_000}"
    lines = [{"name": "a", "First person": "a.png"}, {"First person": "b.png", column: cell}]
    (tmp_path / "jobs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    columns = ["First person"] if column == "name" else [column]
    made = template(tmp_path, *columns)
    *_, row = rows.rows(read(tmp_path, "jobs.jsonl"), made.is_photo)
    row = Row(row.line, row.name, {name: row.cells.get(name, "") for name in columns}, row.problem)
    tracemalloc.start()
    message = ""
    try:
        made.fingerprint(row)
    except rows.BadRow as problem:  # which holds its whole cell until the end of this block
        message = str(problem)
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert message
    assert len(f"{row.name}{message}") < 600
    assert kept < 200_000


def test_photos_travel_by_what_is_in_them(tmp_path: Path) -> None:
    """Under names that every disk takes; the workflow's own too, where a row names none."""
    photos = {f"set/{'字' * 80}.png": "red", "input/a.png": "blue"}
    for file, colour in photos.items():
        (tmp_path / file).parent.mkdir()
        Image.new("RGB", (8, 8), colour).save(tmp_path / file)
    made_template = template(tmp_path, "First person")
    row_cells: list[dict[str, str]] = [{"First person": next(iter(photos)).replace("/", "\\")}, {}]
    jobs = [made_template.job(Row(2, "a", cells)) for cells in row_cells]
    assert jobs[0].files != jobs[1].files
    assert len({made_template.fingerprint(Row(2, "a", cells)) for cells in row_cells}) == 2
    for job, file in zip(jobs, photos, strict=True):
        ((name, data),) = job.files.items()
        assert job.prompt["1"]["inputs"]["image"] == name
        assert data == (tmp_path / file).read_bytes()
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,120}\.png", name)


OTHERS = {"input": {"required": {"video": [[], {}]}}, "display_name": "Load Video", "python_module": "custom_nodes.x"}


@pytest.mark.parametrize(("kind", "value", "found"), [
    ("LoadImage", "set/b.png [output]", True), ("LoadImage", "b.png [temp]", True), ("LoadImage", "b.png", False),
    ("LoadImage", "../output/set/b.png", False), ("LoadImage", "torn.png [temp]", False),
    ("LoadVideo", "clip.mp4 [temp]", True), ("LoadVideo", "clip.mp4", None), ("LoadImage", "", None),
])  # fmt: skip
def test_the_workflows_own_files_travel_or_are_missed_before_the_first_row(
    kind: str, value: str, found: bool | None, tmp_path: Path
) -> None:
    for folder in ("input", "output/set", "temp"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("output/set/b.png", "temp/b.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / file)
    (tmp_path / "temp" / "torn.png").write_bytes(b"no picture")
    (tmp_path / "temp" / "clip.mp4").write_bytes(b"moving")
    name = "image" if kind == "LoadImage" else "video"
    prompt = {"1": {"class_type": kind, "inputs": {name: value}, "_meta": {"title": "Pose"}}}
    (tmp_path / "w.json").write_text(json.dumps(prompt))
    made = Template(tmp_path / "w.json", {**INFO, "LoadVideo": OTHERS}, [], Folder(str(tmp_path)), tmp_path / "input")
    row = Row(2, "a", {})
    if found is False:
        with pytest.raises(rows.BadRow, match=f"^Pose, image: .*{value.split('/')[-1].split(' ')[0]}"):
            made.fingerprint(row)
        return
    made.fingerprint(row)
    job = made.job(row)
    sent = job.prompt["1"]["inputs"][name]
    assert list(job.files) == ([sent] if found else [])
    assert (sent == value) == (found is None)


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        ("../a.png", "is outside of"), ("b.png", "is not in"), ("torn.png", "cannot be read as a picture"),
        ("torn.jpg", "cannot be read as a picture"),  # ComfyUI reads it: the rest is grey
        ("text.png", "cannot be read as a picture: it is a text. Choose a picture."),
        ("folder.png", "folder.png is a folder, not a file"),
        pytest.param("pipe.png", "pipe.png is no file", marks=posix),
        ("linked.png", "linked.png is a link to .*gone.png, and there is no file: its disk may"),
        ("no\0name.png", "is not in"),
        ("https://example.org/a.png", "Addresses, and pictures in cells, are not read: put the file into .*in and"),
        ("DATA:image/png;base64,iVBO", "Addresses, and pictures in cells, are not read"),
    ],
)  # fmt: skip
def test_photos_that_cannot_be_used(tmp_path: Path, cell: str, problem: str) -> None:
    (tmp_path / "in").mkdir()
    Image.effect_noise((64, 64), 50).save(tmp_path / "a.png")
    (tmp_path / "in" / "torn.png").write_bytes((tmp_path / "a.png").read_bytes()[:300])
    Image.effect_noise((64, 64), 50).save(tmp_path / "a.jpg")
    (tmp_path / "in" / "torn.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-900])
    (tmp_path / "in" / "text.png").write_text("no picture")
    (tmp_path / "in" / "folder.png").mkdir()
    if os.name != "nt":
        os.mkfifo(tmp_path / "in" / "pipe.png")
    (tmp_path / "in" / "linked.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(rows.BadRow, match=problem):
        template(tmp_path / "in", "First person").job(Row(2, "a", {"First person": cell}))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({}, ""),
        ({"3": {"class_type": "Text", "inputs": {"text": [512, 512], "of": ["1", 4]}, "_meta": None}}, ""),
        ({"1": {"class_type": "Lost", "inputs": {}}}, "This ComfyUI has no Lost: install the pack"),
        ({"1": {"class_type": "Text", "inputs": {"of": ["9", 0]}}}, "Text is linked to node 9, which is not in"),
        ({"2": {"class_type": "PreviewImage", "inputs": {}}}, "saves nothing; it ends in PreviewImage: add Save Image"),
        ({"2": {"class_type": "Text", "inputs": {}}}, "saves nothing; it ends in none: add Save Image"),
    ],
)
def test_prompts_that_cannot_make_a_picture(changed: dict[str, Any], message: str) -> None:
    object_info = {
        name: {"output_node": name != "Text", "output": ["STRING"]} for name in ("Text", "Save", "PreviewImage")
    }
    prompt = {"1": {"class_type": "Text", "inputs": {}}, "2": {"class_type": "Save", "inputs": {"of": ["1", 0]}}}
    with pytest.raises(SetupError, match=message) if message else nullcontext():
        require_runnable(prompt | changed, object_info)


# --- The folder


def task(name: str = "one", seed: int = 1, line: int = 2) -> Task:
    return Task(Row(line, name, {}), f"of seed {seed}")


@contextmanager
def opened(
    folder: Path,
    worker: str = "1",
    measuring: Measuring | None = None,
    kind: type[Folder] = Folder,
    part: rows.Part | None = None,
) -> Iterator[tuple[Output, PictureWriter]]:
    output = Output(kind(str(folder)), measuring, part)
    output.begin()
    writer = PictureWriter(output.folder, worker, f"Likeness of run {worker}")
    yield output, writer
    writer.close()  # as the end of its process does
    output.close()


def has(output: Output, *tasks: Task) -> list[bool]:
    return [output.has(rows.key_of(one.row.name), one.fingerprint) for one in tasks]


def table(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".lock", "done.csv", "failed.csv", "done"}


def test_the_folder_says_what_is_done(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with opened(folder, "1") as (output, writer):
        assert has(output, task()) == [False]
        writer.keep(task(), [saved(b"1"), saved(b"2")], 1.0)
        writer.keep(task("other"), [saved(b"3", ".webp")], 1.0)
        writer.keep(task("far", line=4000), [saved(b"4")], 1.0)
    with (folder / "done" / "1.jsonl").open("a") as file:
        file.write('{"name": "torn", "fing')  # as a worker leaves it that is killed while it writes
    assert names(folder) == {"one_1of2.png", "one_2of2.png", "other.webp", "00004"}
    with opened(folder, "2") as (output, writer):
        assert has(output, task(), task(seed=2), task("far", line=4000), task("torn")) == [True, False, True, False]
        assert (output.earlier.count, output.earlier.size, output.earlier.smallest_size) == (3, 4, 1)
        writer.keep(task(seed=2), [saved(b"5")], 1.0)
    assert names(folder) == {"one.png", "other.webp", "00004"}
    assert (folder / "one.png").read_bytes() == b"5"
    (folder / "other.webp").unlink()
    (folder / "00004" / "far.png").write_bytes(b"more than was written")
    with opened(folder, "3") as (output, _):
        assert has(output, task(seed=2), task(), task("other"), task("far")) == [True, False, False, False]
    assert sorted(line[1] for line in table(folder / "done.csv")) == ["far", "name", "one", "other"]
    assert ["4000", "far", "of seed 1", "00004/far.png", "1.0000"] in table(folder / "done.csv")


class Alike(Folder):
    """A folder on a disk that does not tell capitals."""

    def put(self, file: Path, name: str) -> None:
        super().put(file, name.lower())

    def remove(self, name: str) -> None:
        super().remove(name.lower())


@pytest.mark.parametrize("kind", [Folder, Alike])
@pytest.mark.parametrize("names_in_turn", [("Anna", "anna"), ("anna", "Anna")])
def test_a_row_whose_name_has_other_capitals_now_has_its_picture(
    tmp_path: Path, kind: type[Folder], names_in_turn: tuple[str, str]
) -> None:
    for number, name in enumerate(names_in_turn):
        with opened(tmp_path / "out", str(number), kind=kind) as (_, writer):
            writer.keep(task(name, seed=number), [saved(b"%d" % number)], 1.0)
    (picture,) = names(tmp_path / "out")
    assert (tmp_path / "out" / picture).read_bytes() == b"1"


def test_what_a_worker_has_made_before_it_ended_is_known(tmp_path: Path) -> None:
    with opened(tmp_path / "out", "1") as (output, writer):
        writer.keep(task(), [saved(b"123")], 1.0)
        assert size_kept(output.folder, "1", task()) == 3
        assert size_kept(output.folder, "1", task(seed=2)) is None
        assert size_kept(output.folder, "12", task()) is None


def test_a_row_is_done_only_if_it_is_measured_as_asked_for(tmp_path: Path) -> None:
    with opened(tmp_path / "out", "1") as (_, writer):
        writer.keep(task(), [saved(b"1")], 1.0)
        line = {
            "set": "two",
            "picture": "two.png",
            "person": "Anna",
            "similarity": 0.5,
            "seed": 2**64 - 1,
            "kept": "yes",
        }
        writer.keep(task("two"), [saved(b"1")], 1.0, Measuring(2, "clip.pth"), [line])
    cases = [(None, True, True), (Measuring(), False, True), (Measuring(2), False, True), (Measuring(3), False, False),
             (Measuring(1, "clip.pth"), False, True), (Measuring(1, "other.pth"), False, False)]  # fmt: skip
    for number, (measuring, is_one_done, is_two_done) in enumerate(cases):
        with opened(tmp_path / "out", f"2{number}", measuring) as (output, _):
            assert has(output, task(), task("two")) == [is_one_done, is_two_done], measuring
    (_, written) = table(tmp_path / "out" / "likeness.csv")
    assert written[:3] == ["two", "two.png", "Anna"]
    assert written[8:9] == ["0.5000"]
    assert written[-2:] == [str(2**64 - 1), "yes"]


def test_a_list_has_what_a_run_writes_and_names_no_file_but_its_rows_own(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with opened(folder, "1"):
        pass
    for file in (tmp_path / "mine.txt", folder / "mine.txt", folder / "one.png"):
        file.touch()
    entry = {"line": 2, "name": "one", "fingerprint": "x", "seconds": 1, "tries": 0, "vision": ""}
    entries = [
        {**entry, "files": ["../mine.txt", "mine.txt"], "sizes": [0, 0]},
        {**entry, "files": ["one.png"], "sizes": [0]},
    ]
    changes = [
        {"name": "../mine", "files": ["../mine.txt"]}, {"name": 5, "files": ["5.png"]}, {"name": "\ud800"},
        {"files": [1]}, {"files": "one.png"}, {"files": ["one\0.png"]}, {"sizes": ["0"]}, {"sizes": [math.inf]},
        {"sizes": None}, {"seconds": "1"}, {"seconds": math.nan}, {"seconds": 10**400}, {"fingerprint": ["x"]},
        {"tries": "x"}, {"vision": None}, {"line": 5000}, {"line": "2"}, {"scores": 5}, {"scores": [5]},
    ]  # fmt: skip
    entries += [{**entries[1], **change} for change in changes]
    (folder / "done" / "1.jsonl").write_text("\n".join(map(json.dumps, entries)) + f"\n[]\n{{}}\n5\n{'[' * 10**5}\n")
    for number, measuring in enumerate((None, Measuring(2))):
        with opened(folder, f"2{number}", measuring):
            pass
    assert (tmp_path / "mine.txt").is_file()
    assert names(folder) == {"mine.txt", "one.png"}


def test_a_run_that_is_refused_before_its_first_row_leaves_the_folder(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new" / "deep"
    with opened(old) as (output, _):
        output.refuse(Row(3, "three", {}), "no photo")
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    for folder in (old, new):
        output = Output(Folder(str(folder)))
        output.refuse(Row(2, "two", {}), "no seed")
        output.close()
    assert {path: path.read_bytes() for path in old.rglob("*") if path.is_file()} == before
    assert not new.parent.exists()


def test_a_folder_is_one_runs_and_holds_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_module, "_LOCK_SECONDS", 0.1)
    with opened(tmp_path / "out"), pytest.raises(SetupError, match="Another run writes into"):
        Output(Folder(str(tmp_path / "out")))
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "one.png").write_bytes(b"mine")
    with pytest.raises(SetupError, match=r"has no folder done, but one\.png"):
        Output(Folder(str(tmp_path / "holiday")))
    assert names(tmp_path / "holiday") == {"one.png"}
    with pytest.raises(SetupError, match=r"is another folder on .*name one for --output that all machines reach"):
        PictureWriter(Folder(str(tmp_path / "holiday")), "1")


@pytest.mark.parametrize("text", ["=cmd()", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_no_cell_of_ours_is_a_formula(tmp_path: Path, text: str) -> None:
    with opened(tmp_path / "out") as (output, _):
        output.refuse(Row(3, text, {}), "+1 is\nno seed")
    assert table(tmp_path / "out" / "failed.csv") == [["line", "name", "reason"], ["3", f"'{text}", "'+1 is no seed"]]
    assert as_cell(f"a{text}") == f"a{text}"
    assert as_cell(-0.5) == "-0.5000"


def test_failed_rows_are_read_while_it_runs_and_not_kept_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_module, "_FAILED_SECONDS", 0)
    monkeypatch.setattr(output_module, "_MOST_OF_A_RUN", math.inf)
    with opened(tmp_path / "out") as (output, _):
        tracemalloc.start()
        for number in range(2000):
            output.refuse(Row(number, f"row{number}", {}), "no")
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert table(tmp_path / "out" / "failed.csv")[1:] == [[f"{row}", f"row{row}", "no"] for row in range(2000)]
        assert kept < 20_000


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a full disk is needed")
def test_a_full_disk(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with opened(folder) as (output, writer):
        (folder / ".one.png.part").symlink_to("/dev/full")
        with (
            pytest.raises(
                SetupError, match=r"out cannot be written to .*: make room there, .* What was made so far is kept\."
            ),
            disk_errors_told(output.folder),
        ):
            writer.keep(task(), [saved(b"1")], 1.0)
        assert names(folder) == set()
        writer.keep(task(), [saved(b"1")], 1.0)
        assert names(folder) == {"one.png"}


@pytest.mark.skipif(os.name == "nt", reason="Windows has another lock")
@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP, errno.EIO])
def test_a_disk_without_locks(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network drive: one run goes on, and is told so once."""

    def flock(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    if code == errno.EIO:
        with pytest.raises(SetupError, match=f"cannot be written to .{os.strerror(code)}"):
            Output(Folder(str(tmp_path / "out")))
        return
    temporary_folder().cleanup()  # without a word: nobody takes it for abandoned
    Output(Folder(str(tmp_path / "out"))).close()
    (said,) = capsys.readouterr().err.splitlines()
    assert f"{tmp_path / 'out'} has no locks ({os.strerror(code)}): let no second run use it" in said


_STARTED = (
    "import sys; from batch.temporary import temporary_folder; folder = temporary_folder(); "
    "open(folder.name + '/photo.png', 'wb'); print(folder.name, flush=True); sys.stdin.read()"
)
_CONTAINER = ("unshare", "--user", "--map-root-user", "--fork", "--kill-child", "--pid")


@posix
def test_a_temporary_folder_is_removed_when_its_process_has_ended_wherever_that_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In two containers that share a disk one number is two processes. Where none can be made, on this machine."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    has_containers = bool(shutil.which("unshare")) and not subprocess.run([*_CONTAINER, "true"], check=False).returncode
    command = [*(_CONTAINER if has_containers else ()), sys.executable, "-c", _STARTED]
    path = os.pathsep.join([str(ROOT / "scripts"), str(ROOT)])
    variables = {**os.environ, "PYTHONPATH": path, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        folder = Path(process.stdout.readline().decode().strip())
        with temporary_folder() as first, temporary_folder() as second:
            assert {path.parent for path in (folder, Path(first), Path(second))} == {tmp_path}
            assert (folder / "photo.png").is_file()
            assert Path(first).is_dir()
        assert not Path(first).exists()
        process.kill()
    give_up = time.monotonic() + 20
    while folder.exists() and time.monotonic() < give_up:  # who was killed ends a little later
        temporary_folder().cleanup()
    assert not list(tmp_path.iterdir())


# --- A run


class Plain:
    """A template whose rows are as their cells say."""

    def is_photo(self, column: str) -> bool:
        return column == "Photo"

    def fingerprint(self, row: Row) -> str:
        if row.problem:
            raise rows.BadRow(row.problem)
        return repr(sorted(row.cells.items()))

    def job(self, row: Row) -> Job:
        return Job(row, {}, {})


class Short:
    """A worker that makes rows at once, but for those that are called so."""

    count = 1
    version = "ComfyUI 0.33.0"

    def __init__(self, writer: PictureWriter) -> None:
        self._writer = writer
        self.tasks: list[Task] = []

    def results(self, _: Any, tasks: Iterable[Task]) -> Iterator[Finished]:
        for one in tasks:
            self.tasks.append(one)
            if one.row.name.startswith("bad"):
                yield Finished(one, None, "no face")
            else:
                self._writer.keep(one, [saved(b"1")], 1.0)
                yield Finished(one, 1)


def ran(folder: Path, text: str, run: str, part: rows.Part | None = None) -> tuple[Run, Short, dict[str, str]]:
    """A run over a table, and why rows failed."""
    (folder / "jobs.csv").write_text(text)
    with opened(folder / "out", run, part=part) as (output, writer):
        worker = Short(writer)
        one_run = Run(read(folder), Plain(), {}, output, worker, part)
        survey = one_run.survey()
        one_run.say_what_comes(survey)
        one_run.make(None, survey)
    return one_run, worker, {line[1]: line[2] for line in table(folder / "out" / output.failed_name)[1:]}


def test_each_row_is_made_once_or_said_to_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "name,Photo,Seed\na,x,1\nbad,y,2\na,x,3\na,x\nb,x,1,2\nc,z,1\n"
    _, worker, failed = ran(tmp_path, text, "1")
    assert [one.row.name for one in worker.tasks] == ["a", "bad", "c"]
    assert failed.keys() == {"bad", "a", "b"}
    assert failed["a"] == "an earlier row has the name a too: give each row its own."
    assert "3 rows to make; 0 done earlier, 3 refused." in capsys.readouterr().err
    _, worker, failed = ran(tmp_path, text.replace("z,1", "z,9").replace("x,3", "x,1"), "2")
    assert [one.row.name for one in worker.tasks] == ["bad", "c"]
    assert failed.keys() == {"bad", "a", "b"}
    said = capsys.readouterr().err
    assert "2 rows to make; 1 done earlier, 3 refused." in said
    assert "1 row done earlier: made by Likeness of run 1; now Likeness " in said
    ran(tmp_path, text.replace("z,1", "z,9").replace("x,3", "x,1"), "3")
    said = capsys.readouterr().err
    assert "1 row done earlier: made by Likeness of run 1;" in said
    assert "1 row done earlier: made by Likeness of run 2;" in said


def test_machines_that_share_a_folder_make_a_part_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """While the other runs too; one run then makes what both have left."""
    text = "name,Photo,Seed\na,x,1\nbad1,y,2\nb,x,3\na,x,4\nc,x,5\nd,x,6,7\ne,x,8\n"
    made: list[str] = []
    with opened(tmp_path / "out", "0", part=rows.Part(2, 3)):
        with pytest.raises(SetupError, match="Another run writes into"):
            output_module._locked(tmp_path / "out", ".lock.2of3")
        for number, failures in ((1, {"a"}), (3, {"d"})):
            _, worker, failed = ran(tmp_path, text, f"1{number}", rows.Part(number, 3))
            made += [one.row.name for one in worker.tasks]
            assert failed.keys() == failures
    assert made == ["a", "e", "b"]
    _, worker, failed = ran(tmp_path, text, "2")
    assert [one.row.name for one in worker.tasks] == ["bad1", "c"]
    assert failed.keys() == {"a", "bad1", "d"}
    assert "2 rows to make; 3 done earlier, 2 refused." in capsys.readouterr().err


class Passing:
    """Template, folder and worker of a few rows. A row that is made waits until another is read, one that is written
    until another is made. missed: those that waited in vain."""

    version = label = "small"
    name = "1"
    takes_several = False

    def __init__(self, folder: Path, count: int) -> None:
        self.output = Folder(str(folder / "out"))
        self.folder = folder
        self._put = self.output.put
        self.output.put = self.written
        self.count = count
        self.read = self.begun = self.ended = 0
        self.missed = 0
        self._changed = threading.Condition()

    def until(self, is_so: Callable[[], bool], **more: int) -> None:
        """Count what has happened, and wait."""
        with self._changed:
            for name, number in more.items():
                setattr(self, name, getattr(self, name) + number)
            self._changed.notify_all()
            self.missed += not self._changed.wait_for(is_so, 10)

    def job(self, row: Row) -> Job:
        self.until(lambda: True, read=1)
        return Job(row, {"1": {"class_type": "Text", "inputs": {"text": row.line}}}, {})

    def run(self, prompt: Any, _: Any, folder: Path) -> Outcome:
        self.until(lambda: self.begun == self.ended + 1, begun=1)  # one row at a time
        self.until(lambda: self.read > self.begun or self.read == self.count)
        self.until(lambda: True, ended=1)
        saved = folder / "saved.txt"
        saved.write_text(str(prompt["1"]["inputs"]["text"]))
        return Outcome([SavedFile(".txt", saved)], 1.0)

    def written(self, file: Path, name: str) -> None:
        if name.endswith(".txt"):
            self.until(lambda: self.begun > self.ended or self.begun == self.count)
        self._put(file, name)

    def stop(self) -> None:
        pass

    def clear(self) -> None:
        pass

    def worker(self, _: int) -> Any:
        return self


def test_a_row_is_read_and_another_written_while_one_is_made(tmp_path: Path) -> None:
    passing = Passing(tmp_path, 6)
    output = Output(passing.output)
    output.begin()
    tasks = [task(f"r{number}", 1, number) for number in range(6)]
    with OneWorker(cast("Any", passing)) as workers:
        results = list(workers.results(Maker(cast("Any", passing), {}, passing.output), tasks))
    output.close()
    assert sorted(end.task.row.line for end in results if not end.error) == list(range(6))
    assert passing.missed == 0
    assert sorted(row[1] for row in table(tmp_path / "out" / "done.csv")[1:]) == [f"r{number}" for number in range(6)]


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "127.0.0.1:a", "127.0.0.1:99999", ":"])
def test_a_cluster_that_does_not_answer(address: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(SetupError, match=f"Nothing answers at {address} .*ray start --head"):
        RayWorkers(address, None, WorkerSettings(), "")


def test_without_ray_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with pytest.raises(SetupError, match=r'-m pip install "ray\[default\]"\. One worker needs no Ray: leave --workers'):
        RayWorkers(HERE, 2, WorkerSettings(), "")


@pytest.mark.parametrize(
    ("rows_of_table", "made", "failed", "beginning"),
    [
        (4, 4, 0, "Rows: 4 done, 0 failed, 2.5 s per row."),
        (4, 3, 1, "Rows: 3 done, 1 failed, 3.3 s per row."),
        (10, 4, 1, "Rows: 9 done (5 of them earlier), 1 failed, 2.5 s per row."),
        (4, 0, 0, "Rows: 4 done (4 of them earlier), 0 failed."),
    ],
)
def test_the_last_line_sums_up(rows_of_table: int, made: int, failed: int, beginning: str) -> None:
    assert last_line(rows_of_table, made, failed, 10.0, "here") == f"{beginning} The pictures are in here"
    assert last_line(2, 0, 2, 3.0, "here") == "Rows: 0 done, 2 failed. There is no picture."


# --- Tables of other kinds, and long ones


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


@pytest.mark.parametrize("quotes", ['""', "  "])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_long_table_of_cells_with_several_lines(tmp_path: Path, quotes: str, end: str) -> None:
    words = f"two{end}lines, each" if quotes.strip() else "one line"
    lines = [
        "name,Prompt,Seed",
        *(f"row{number},{quotes[0]}{words} {number}{quotes[1]},{number}" for number in range(300)),
    ]
    (tmp_path / "jobs.csv").write_bytes((end.join(lines) + end).encode())
    table_rows = list(rows.rows(read(tmp_path), lambda _: False))
    assert [row.name for row in table_rows] == [f"row{number}" for number in range(300)]
    assert [row.cells["Prompt"] for row in table_rows] == [f"{words} {number}" for number in range(300)]
    assert [row.line for row in table_rows] == [2 + number * len(words.splitlines()) for number in range(300)]
