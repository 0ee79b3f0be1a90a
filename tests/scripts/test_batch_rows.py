"""What batch.py makes of a table and leaves in a folder: rows, columns, cells, going on, handing out; no host."""

from __future__ import annotations

import csv
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from batch import rows, workers
from batch.inputs import Template
from batch.local_workers import LocalWorkers, visible_gpus
from batch.output import Output
from batch.prompts import Job, require_runnable
from batch.ray_workers import HERE, RayWorkers
from batch.rows import FixedInput, Row
from batch.sums import Sums
from batch.worker import Outcome, SavedFile, WorkerDied, WorkerHost
from batch.workers import DEATHS, Crew, FinishedJob
from environment import Host, SetupError
from PIL import Image
from rig.tables import as_cell

from core.names import ending

TEXT = 'name,Prompt\nfirst,"a woman, a man"\n\nsecond,"two\nlines"\nthird,x\n'
SEMICOLONS = TEXT.replace(",Prompt", ";Prompt").replace("t,", "t;").replace("d,", "d;").replace("\n", "\r\n")


MARK = "\ufeff"


@pytest.mark.parametrize(
    "data",
    [*(TEXT.encode(kind) for kind in ("utf-8", "utf-8-sig", "utf-16")), SEMICOLONS.encode("utf-8-sig"),
     b"sep=,\r\n" + TEXT.encode(), TEXT.replace("Prompt", "Prompt,,", 1).encode(),
     TEXT.replace("\n", "\r").encode(), SEMICOLONS.replace("\r\n", "\r").encode(),
     f'"sep=;"\r{SEMICOLONS}'.encode("utf-8-sig"), f"SEP=;;;\n{SEMICOLONS}".encode(),
     f"sep = ;\n{SEMICOLONS}".encode(), f'"sep=;" \n{SEMICOLONS}'.encode(),
     f"sep=\\t\n{TEXT}".replace(",", "\t").replace("woman\t", "woman,").encode(),
     f"\r\n;;\r\nsep=;\r\n{SEMICOLONS}".encode(),
     TEXT.replace('"two\nlines"', "\u201ctwo\nlines\u201d").encode(),
     f"sep=|\n{TEXT}".replace("e,", "e|").replace("t,", "t|").replace("d,", "d|").encode(),
     TEXT.replace(',"', ', "').replace('"\n', '" \n').replace("d,x", "d , x").encode(),
     TEXT.replace(',"', ',\u00a0"').replace("first", "\t\u200bfirst").encode(),
     TEXT.replace(",", "\t").replace('\t"', '\t "').replace("woman\t", "woman,").encode(),
     TEXT.replace(',"', ',\u201c').replace('an"', "an\u201d").replace('two\nlines"', '"two\nlines"').replace(
         "\u201c\"two", '"two').encode(),
     f"{MARK}{MARK}\u200b{TEXT}".encode(), f"{MARK}\u200bname ,\u2060Prompt\u200e{TEXT[11:]}".encode()],
)  # fmt: skip
def test_a_table_as_spreadsheets_write_it(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "jobs.csv").write_bytes(data)
    above, named, _ = data.lower().replace(b" ", b"").partition(b"sep=")
    below = above.count(b"\n") + 1 if named else 0
    rows_read = list(rows.rows(rows.read(tmp_path / "jobs.csv"), lambda _: False))
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
        (b'name,Prompt\n1,"a "red" coat"\n', r"from line 2 on \(.*\): let nothing stand between a quote"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_table(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "jobs.csv").write_bytes(data)
    with pytest.raises(SetupError, match=message):
        rows.read(tmp_path / "jobs.csv")


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ('"a, \u201cred\u201d, coat"', "a, \u201cred\u201d, coat"),
        ('"say ""hi"" , and ""ho"""', 'say "hi" , and "ho"'),
        ("a \u201cred\u201d coat", "a \u201cred\u201d coat"), ("\u201ea \"red\", coat\u201c", 'a "red", coat'),
        ("\u00ab\u00a0two, three\u00a0\u00bb", "two, three"), ('5" nails', '5" nails'), (' "" ', ""),
        ("\u2018Ann, it\u2019s\u2019", "Ann, it\u2019s"), ("\u201aAnn\u2018", "Ann"), ("\u2039Ann\u203a", "Ann"),
        ("\u300cAnn\u300d", "Ann"), ("\uff02Ann\uff02", "Ann"), ('\u201cAnn, 1"', "Ann, 1"), ('\u201eAnn" ', "Ann"),
        ('="Ann"', "Ann"), ("x" * 200_000, "x" * 200_000),
        ("it\u2019s", "it\u2019s"), ("\u2019cause", "\u2019cause"), ("\u2018cause it\u2019s", "\u2018cause it\u2019s"),
        ('\u201cred" coat', '\u201cred" coat'),
    ],
)  # fmt: skip
def test_a_cell_in_quotes(tmp_path: Path, cell: str, value: str) -> None:
    """What stands inside of straight quotes is as it was written."""
    (tmp_path / "jobs.csv").write_text(f"name,Prompt,Seed\na,{cell},1\n", "utf-8")
    (row,) = rows.rows(rows.read(tmp_path / "jobs.csv"), lambda _: False)
    assert row.cells.get("Prompt", "") == value
    assert not row.problem


def test_lines_that_cannot_be_rows(tmp_path: Path) -> None:
    lines = ["name,Photo,Seed", "a,x.png,1", "A,y.png,2", "b,z.png", "c,x,1,2", "../d,x,1", "=1+1,x,1", "nul.png,x,1"]
    (tmp_path / "jobs.csv").write_text("\n".join([*lines, "a_1of2,x,1", ",set 1\\Anna Ö.png,1", ",,", ",,9"]))
    rows_read = list(rows.rows(rows.read(tmp_path / "jobs.csv"), lambda column: column == "Photo"))
    problems = [row.problem.split(":")[0] for row in rows_read]
    assert problems[:4] == ["", "line 2 has the name A too", "2 cells for 3 columns", "4 cells for 3 columns"]
    assert all(row.problem.startswith("the name ") for row in rows_read[4:8])
    assert [(row.name, row.problem) for row in rows_read[8:]] == [("00010_Anna-Ö", ""), ("00012", "")]


def fixed(*pairs: tuple[str, str]) -> list[FixedInput]:
    return [FixedInput(column, value) for column, value in pairs]


def test_inputs_that_every_row_has(tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_text("name,Prompt\na,x\nb\nc,y,z\n")
    table = rows.read(tmp_path / "jobs.csv")
    first, short, long = rows.rows(rows.with_inputs(table, fixed(("Steps", "30"), ("Node.cfg", "2"))), lambda _: False)
    assert first.cells == {"Prompt": "x", "Steps": "30", "Node.cfg": "2"}
    assert not first.problem
    assert short.problem.startswith("3 cells for 4 columns")
    assert long.problem.startswith("5 cells for 4 columns")
    for inputs in ([("prompt", "z")], [("Steps", "1"), ("steps", "2")]):
        with pytest.raises(SetupError, match=f"--set gives {inputs[0][0]}, which is a column"):
            rows.with_inputs(table, fixed(*inputs))


@pytest.mark.parametrize("name", ["字" * 67, "a\u2028b", "caf\u00e9", "a" * 121])
def test_names_that_no_file_has_or_that_are_one_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "jobs.csv").write_text(f"name,Photo\ncafe\u0301,x\n{name},x\n,{'字' * 80}.png\n", "utf-8")
    first, second, unnamed = rows.rows(rows.read(tmp_path / "jobs.csv"), lambda column: column == "Photo")
    message = "line 2 has the name caf\u00e9 too" if len(name) == 4 else "be a file's: at most 120 letters and 200"
    assert not first.problem
    assert not unnamed.problem
    assert message in second.problem
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
    return Template(folder / "workflow.json", INFO, ["Name", *columns], folder, folder / "input")


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
        ([], {"nodes": [None]}, "it is damaged"), ([], {"7": {"inputs": {}}}, "node 7 was unknown to the editor"),
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
        of = Template(tmp_path / "workflow.json", MENUS, ["Load.file"], tmp_path, tmp_path / "input")
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


def test_a_photo_is_found_in_another_spelling(tmp_path: Path) -> None:
    """Of a Mac, with capitals, and from Windows; a slip of the pen is told with what is near."""
    (tmp_path / "Set").mkdir()
    for name in ("Jose\u0301.png", "Set/Ben.PNG", "Net.png", "net.png"):
        Image.new("RGB", (2, 2)).save(tmp_path / name, "PNG")
    of = template(tmp_path, "First person")
    for cell, beginning in {
        "José.png": "Jose\u0301-",
        "set\\ben.png": "Ben-",
        "net.png": "net-",
        "Net.png": "Net-",
    }.items():
        (photo,) = of.job(Row(2, "a", {"First person": cell})).files
        assert photo.startswith(beginning)
    for cell, nearest in {"NET.png": r"Nearest: Net\.png, net\.png", "Set/Bem.png": r"Nearest: Set/Ben\.PNG"}.items():
        with pytest.raises(rows.BadRow, match=f"which is not in .*{nearest}"):
            of.job(Row(2, "a", {"First person": cell}))


@pytest.mark.parametrize(
    ("name", "cell", "value"),
    [
        ("seed", "18446744073709551615", 2**64 - 1), ("seed", "7.0", 7), ("cfg", "4,5", 4.5),
        ("sampler", "EULER", "euler"), ("size", "1024", 1024), ("noise", "FALSE", False),
        ("seed", "1.8E+19", "a whole number is needed, with all of its digits"),
        ("seed", "1,000", "a whole number is needed, with all of its digits and nothing between"),
        ("seed", "-1", "0 to 18446744073709551615 is needed"), ("cfg", "-1", "0.0 to 100.0 is needed"),
        ("sampler", "euler_a", "the menu has 3 entries, such as euler"), ("cfg", "nan", "a number is needed"),
        ("noise", "2", "true or false is needed"),
    ],
)  # fmt: skip
def test_a_cell_is_a_value_of_its_input(tmp_path: Path, name: str, cell: str, value: Any) -> None:
    made_template = template(tmp_path, f"Sampler.{name}")
    row = Row(2, "a", {f"Sampler.{name}": cell})
    if isinstance(value, str) and " " in value:
        with pytest.raises(rows.BadRow, match=re.escape(f"Sampler.{name} is {cell}: {value}")):
            made_template.job(row)
    else:
        assert made_template.job(row).prompt["4"]["inputs"][name] == value


def test_photos_travel_by_what_is_in_them(tmp_path: Path) -> None:
    """Under names that every disk takes; the workflow's own too, where a row names none."""
    photos = {f"set/{'字' * 80}.png": "red", "input/a.png": "blue"}
    for file, colour in photos.items():
        (tmp_path / file).parent.mkdir()
        Image.new("RGB", (8, 8), colour).save(tmp_path / file)
    made_template = template(tmp_path, "First person")
    jobs = [
        made_template.job(Row(2, "a", cells)) for cells in ({"First person": next(iter(photos)).replace("/", "\\")}, {})
    ]
    assert jobs[0].files != jobs[1].files
    assert jobs[0].fingerprint != jobs[1].fingerprint
    for job, file in zip(jobs, photos, strict=True):
        ((name, data),) = job.files.items()
        assert job.prompt["1"]["inputs"]["image"] == name
        assert data == (tmp_path / file).read_bytes()
        assert len(name.encode()) < 200
        assert name[0] == Path(file).name[0]
        assert name.endswith(".png")


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        ("../a.png", "is outside of"), ("b.png", "is not in"), ("torn.png", "cannot be read as a picture"),
        ("torn.jpg", "cannot be read as a picture"),  # ComfyUI reads it: the rest is grey
        ("text.png", "cannot be read as a picture: it is no picture of a kind that Pillow knows."),
        ("folder.png", "folder.png is a folder, not a file"), ("pipe.png", "pipe.png is no file"),
        ("linked.png", "linked.png is a link to .*gone.png, and there is no file: its disk may"),
        ("no\0name.png", "is not in"),
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
        ({"1": {"class_type": "Text", "inputs": {"of": ["2", 0]}}}, "The workflow has a circle, .*Save.*: take one"),
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


def job(name: str = "one", seed: int = 1) -> Job:
    return Job(Row(2, name, {}), {"1": {"class_type": "Sample", "inputs": {"seed": seed}}}, {})


def png(data: bytes) -> SavedFile:
    return SavedFile(".png", data)


def opened(folder: Path) -> Iterator[Output]:
    output = Output(folder)
    yield output
    output.close()


def table(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".lock", "done.csv", "failed.csv"}


def test_the_folder_says_what_is_done(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    for output in opened(folder):
        assert not output.has(job())
        output.keep(job(), [png(b"1"), png(b"2")], 1.0)
        output.keep(job("other"), [SavedFile(".webp", b"3")], 1.0)
    with (folder / "done.csv").open("a") as file:
        file.write('9,torn,"abc')  # as a run leaves it that is killed while it writes
    (folder / ".new.png.part").write_bytes(b"half")
    assert names(folder) == {"one_1of2.png", "one_2of2.png", "other.webp", ".new.png.part"}
    for output in opened(folder):
        assert output.has(job())
        assert not output.has(job(seed=2))
        assert not output.has(job("torn"))
        output.keep(job(seed=2), [png(b"4")], 1.0)
    assert names(folder) == {"one.png", "other.webp"}
    assert (folder / "one.png").read_bytes() == b"4"
    (folder / "other.webp").unlink()
    for output in opened(folder):
        assert output.has(job(seed=2))
        assert not output.has(job())
        assert not output.has(job("other"))
    assert [line[1] for line in table(folder / "done.csv")] == ["name", "one", "other"]


SPREADSHEETS: dict[str, Callable[[str], bytes]] = {
    "semicolons": lambda text: text.replace(",", ";").encode("utf-8-sig"),
    "all in quotes": lambda text: re.sub("[^,\n]+", r'"\g<0>"', text).encode(),
    "a named separator": lambda text: f"sep=;\r\n{text}".replace(",", ";").encode(),
    "empty columns": lambda text: text.replace("\n", ",,\r\n").encode(),
    "two marks": lambda text: f"{MARK}{MARK}{text}".encode(),
    "spaces": lambda text: text.replace(",", " , ").encode(),
    "UTF-16": lambda text: text.replace(",", "\t").encode("utf-16"),
}
"""How spreadsheets save a table of ours again."""


@pytest.mark.parametrize("saved_as", ["", "a lost quote", "a cut letter", *SPREADSHEETS])
def test_the_list_of_what_is_done_may_be_damaged(tmp_path: Path, saved_as: str) -> None:
    """No line takes another along, none names a file that is not its row's, and what is no list is not overwritten."""
    folder = tmp_path / "out"
    name = "many" * 30
    many = [f"{name}_{number}of1200.png" for number in range(1200)]
    for output in opened(folder):
        output.keep(job("other"), [png(b"1")], 1.0)
    for file in (tmp_path / "mine.txt", folder / "mine.txt", *(folder / file for file in many)):
        file.touch()
    done_file = folder / "done.csv"
    head, lines = f"{done_file.read_text()}2,{name},{job().fingerprint},{'|'.join(many)},1\n".split("\n", 1)
    lost = '2,"lost,abc,lost.png,1\n' if saved_as == "a lost quote" else ""
    text = f"{head}\n{lost}{lines}2,one,abc,../mine.txt|mine.txt,1\n"
    data = SPREADSHEETS.get(saved_as, str.encode)(text)
    done_file.write_bytes(data + "2,ö".encode()[:-1] if saved_as == "a cut letter" else data)
    for output in opened(folder):
        assert output.has(job(name))
        assert output.has(job("other"))
        assert not output.has(job())
        output.keep(job(), [png(b"2")], 1.0)
    assert (tmp_path / "mine.txt").is_file()
    assert (folder / "mine.txt").is_file()
    done_file.write_text("Name,Email\n")
    with pytest.raises(SetupError, match=r"begins with 'Name,Email', not with line,name,.*: put back the one of"):
        Output(folder)
    assert done_file.read_text() == "Name,Email\n"


def test_a_folder_is_one_runs_and_holds_nothing_else(tmp_path: Path) -> None:
    for _ in opened(tmp_path / "out"):
        with pytest.raises(SetupError, match="Another run writes into"):
            Output(tmp_path / "out")
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "one.png").write_bytes(b"mine")
    with pytest.raises(SetupError, match=r"has no done\.csv, but one\.png"):
        Output(tmp_path / "holiday")
    assert names(tmp_path / "holiday") == {"one.png"}


@pytest.mark.parametrize("text", ["=cmd()", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_no_cell_of_ours_is_a_formula(tmp_path: Path, text: str) -> None:
    for output in opened(tmp_path / "out"):
        output.refuse(Row(3, text, {}), "+1 is\nno seed")
    assert table(tmp_path / "out" / "failed.csv") == [["line", "name", "reason"], ["3", f"'{text}", "'+1 is no seed"]]
    assert as_cell(f"a{text}") == f"a{text}"
    assert as_cell(-0.5) == "-0.5000"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a full disk is needed")
def test_a_full_disk(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    for output in opened(folder):
        (folder / ".one.png.part").symlink_to("/dev/full")
        with pytest.raises(SetupError, match="out is full: what is done is there; make room and run the same again"):
            output.keep(job(), [png(b"1")], 1.0)
        assert names(folder) == set()
        assert not output.has(job())
        output.keep(job(), [png(b"1")], 1.0)
        assert names(folder) == {"one.png"}
        assert output.has(job())


# --- Handing out


HOST = Host(Path(), (0, 33, 0))


class ShortWorker:
    """A worker that makes rows at once, ends during those that are called so, and hangs in others."""

    def __init__(self, source: ShortWorkers, starts: bool) -> None:
        self._source = source
        self.ended = False
        self.ready: Future[WorkerHost] = Future()
        if starts:
            self.ready.set_result(WorkerHost("ComfyUI 0.33.0", "here"))
        else:
            self.ready.set_exception(OSError("no memory"))

    def object_info(self) -> Future[dict[str, Any]]:
        raise NotImplementedError

    def run(self, job: Job) -> Future[Outcome]:
        assert not self.ended
        name = job.row.name
        outcome: Future[Outcome] = Future()
        ends_once = name == "once" and "once" not in self._source.rows
        if name.startswith("deadly") or ends_once:
            outcome.set_exception(WorkerDied("killed"))
        elif name != "hangs":
            outcome.set_result(Outcome([png(b"1")]))
        self._source.rows.append(name)
        return outcome

    def end(self) -> None:
        self.ended = True


@dataclass
class ShortWorkers:
    """count: how many run at a time. failing: how many of the first do not start. rows: the names of rows that have
    been handed out. numbers: of the workers that have been started."""

    count: int
    failing: int = 0
    rows: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)

    def start(self, number: int) -> ShortWorker:
        self.numbers.append(number)
        return ShortWorker(self, starts=len(self.numbers) > self.failing)


def named(*names: str) -> Iterator[Job]:
    return (Job(Row(line, name, {}), {}, {}) for line, name in enumerate(names))


def errors(results: Iterable[FinishedJob]) -> dict[str, str]:
    """Why rows have failed, by their names; empty for the others."""
    return {finished.job.row.name: finished.outcome.error for finished in results}


def test_every_row_is_made_once_whoever_ends(capsys: pytest.CaptureFixture[str]) -> None:
    source = ShortWorkers(3, failing=1)
    rows_asked_for = ["a", "once", "b", "deadly", "c", "d", "e", "f"]
    with Crew(source, HOST) as crew:
        results = list(crew.results(named(*rows_asked_for)))
    assert sorted(finished.job.row.name for finished in results) == sorted(rows_asked_for)
    failed = {name: error for name, error in errors(results).items() if error}
    assert failed == {"deadly": f"{DEATHS} workers ended during this row. The last: killed"}
    assert len(source.numbers) == 3 + 1 + DEATHS, "one more for each that ended"
    assert set(source.numbers[3:]) <= {1, 2}, "in the place of one that ended, so with its GPU"
    assert "A worker does not start, the others go on without it: no memory" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "127.0.0.1:a", "127.0.0.1:99999", ":"])
def test_a_cluster_that_does_not_answer(address: str) -> None:
    with pytest.raises(SetupError, match=f"Nothing answers at {address} .*ray start --head"):
        RayWorkers(address, None, [])


def test_a_row_that_hangs_is_tried_once_more(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_LOOK_SECONDS", 0.1)
    source = ShortWorkers(1)
    with Crew(source, HOST, 3) as crew:
        results = errors(crew.results(named("a", "hangs", "b", "c")))
    why = "Line 1 was not done after 3 s"
    assert results.pop("hangs").startswith(f"{why}. It was tried 2 times")
    assert set(results.values()) == {""}
    assert results.keys() == {"a", "b", "c"}
    assert source.rows.count("hangs") == 2
    assert why in capsys.readouterr().err


def test_rows_that_all_end_their_workers_end_the_run() -> None:
    deadly = named(*["deadly"] * 100)
    with (
        pytest.raises(SetupError, match="3 rows one after the other were given up"),
        Crew(ShortWorkers(2), HOST) as crew,
    ):
        list(crew.results(deadly))
    with pytest.raises(SetupError, match="No worker starts: no memory"):
        list(Crew(ShortWorkers(1, failing=1), HOST).results(named("a")))


def test_one_row_of_several_pictures_ends_no_run() -> None:
    """Every picture of a row ends its workers: it is one row, however many pictures are asked of it."""
    row = Row(1, "deadly", {})
    tries = [Job(row, {}, {}, try_number=number) for number in range(DEATHS + 1)]
    source = ShortWorkers(1)
    with Crew(source, HOST) as crew:
        results = errors(crew.results(iter([*tries, *named("a")])))
    assert results == {"deadly": f"{DEATHS} workers ended during this row. The last: killed", "a": ""}
    assert source.rows.count("deadly") == 2 * DEATHS, "after as many ends each further picture is tried once"


@pytest.mark.parametrize(
    ("chosen", "count", "gpus"),
    [("", 2, ["0", "1"]), ("3,5", 2, ["3", "5"]), ("GPU-a, GPU-b,-1", 2, ["GPU-a", "GPU-b"]), ("", 0, [])],
)
def test_workers_share_the_gpus_that_this_process_may_use(
    monkeypatch: pytest.MonkeyPatch, chosen: str, count: int, gpus: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert visible_gpus(count) == gpus


@pytest.mark.parametrize(
    ("count", "gpus", "of_workers"),
    [(3, ["3", "5"], ["3", "5", "3"]), (2, ["0", "1"], ["0", "1"]), (1, ["0", "1"], [None]), (2, [], [None, None])],
)
def test_each_worker_has_a_gpu(count: int, gpus: list[str], of_workers: list[str | None]) -> None:
    source = LocalWorkers(HOST, Path(sys.executable), [], count, gpus)
    assert [source.variables(number).get("CUDA_VISIBLE_DEVICES") for number in range(source.count)] == of_workers


def test_without_ray_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with pytest.raises(SetupError, match=r'-m pip install "ray\[default\]"\. On one machine Ray is not needed: leave'):
        RayWorkers(HERE, 2, [])


SENTENCES = {
    "a run": (Sums(rows=4, made=4, failed=0, seconds=10.0), "Rows: 4 done, 0 failed, 2.5 s per row."),
    "some failed": (Sums(rows=4, made=3, failed=1, seconds=10.0), "Rows: 3 done, 1 failed, 3.3 s per row."),
    "gone on with": (
        Sums(rows=10, made=4, failed=1, seconds=10.0),
        "Rows: 9 done (5 of them earlier), 1 failed, 2.5 s per row.",
    ),
    "nothing was to do": (Sums(rows=4, made=0, failed=0, seconds=0.1), "Rows: 4 done (4 of them earlier), 0 failed."),
}
"""What became of the rows, and how the last line of the run begins."""


@pytest.mark.parametrize("case", SENTENCES)
def test_the_last_line_sums_up(case: str, tmp_path: Path) -> None:
    sums, sentence = SENTENCES[case]
    assert sums.sentence(tmp_path) == f"{sentence} The pictures are in {tmp_path}"


def test_the_last_line_names_no_folder_without_pictures(tmp_path: Path) -> None:
    sentence = Sums(rows=2, made=0, failed=2, seconds=3.0).sentence(tmp_path)
    assert sentence == "Rows: 0 done, 2 failed. There is no picture."
