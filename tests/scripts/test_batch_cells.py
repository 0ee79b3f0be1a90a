"""Columns and cells of batch.py's tables: which input is meant, what a cell may hold, photos, prompts that can run."""

from __future__ import annotations

import gc
import json
import os
import re
import sys
import tracemalloc
from collections.abc import Callable, Iterable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from batch import rows
from batch.folders import Folder
from batch.inputs import Template
from batch.photo_cells import PhotoCells
from batch.prompts import require_runnable
from batch.rows import Row
from batch.saved_people import SavedPeople
from environment import SetupError
from PIL import Image
from systems import posix

from core.checks.names import ending

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
    """Of a Mac, with capitals, and from Windows; a slip of the pen is told with what is near."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
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
    *_, row = rows.rows(rows.read(Folder(str(tmp_path)), "jobs.jsonl"), made.is_photo)
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
        on_server = Template(tmp_path / "w.json", INFO, [], Folder(str(tmp_path)), None)
        with pytest.raises(rows.BadRow, match=r" (in|outside of) the folder \w+ of the server\."):
            on_server.fingerprint(row)
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
