"""compare.py --benchmark from a made-up folder in the published format to report.json, with the toy model."""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import comfy.clip_model
import numpy as np
import pytest
import real_faces
import torch
from batch.one_worker import OneWorker, WorkerSettings
from comparison import command, identities_collapse, made_up, multi_human, picture_cache, rehearsal
from comparison.benchmark_run import BENCHMARKS, Run, canvas, first_of_each_kind
from comparison.benchmarks import Case
from comparison.graphs import Graph
from comparison.judging import Judge
from comparison.photos import image, size_of
from comparison.template_methods import METHODS
from comparison.workers import Task, drawn_by_workers, made_by_workers
from environment import SetupError
from exchanged_files import model_file
from host_as_before import host_as_before
from html_page import Page
from pack.core.faces.model import FaceModel
from PIL import Image
from tiny import small_networks

KEYS = tuple(BENCHMARKS)
SIZES = {"multi-id": [256, 192], "multi-human": [256, 192], "identities-collapse": [320, 256]}
"""Four people in a group layout have no room in less."""
LISTS = {
    "multi-id": {"p1.json": 1, "p2.json": 1, "p3.json": 1},
    "multi-human": {multi_human.PROMPTS: 2},
    "identities-collapse": {identities_collapse.PROMPTS: 2},
}
"""By benchmark its lists, and of how many of their pictures a run here is. The last ones have the most people."""
PICTURES = {"multi-id": 3, "multi-human": 2, "identities-collapse": 2}
ID_PATCH = METHODS[0]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Its files are the host's, and its texts, which say nothing, end after the first layers."""
    with pytest.MonkeyPatch.context() as patch, rehearsal.toy_in(tmp_path_factory.mktemp("toy")):
        patch.setattr(comfy.clip_model.CLIPTextModel, "__init__", comfy.clip_model.CLIPTextModel.__init__)
        small_networks.end_early(comfy.clip_model.CLIPTextModel)
        yield


@pytest.fixture(scope="module")
def finished(toy: None, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Path], argparse.Namespace]:
    """What gives a test a run of its own that has all its pictures, and the command line of it.

    Each benchmark is drawn once for all tests of this file.
    """
    roots: dict[str, Path] = {}

    def run_in(benchmark: str, root: Path) -> argparse.Namespace:
        if benchmark not in roots:
            drawn_in = tmp_path_factory.mktemp(benchmark)
            assert command.run(asked(benchmark, drawn_in)) == 0
            roots[benchmark] = drawn_in
        shutil.copytree(roots[benchmark], root, dirs_exist_ok=True)
        return asked(benchmark, root)

    return run_in


@pytest.fixture(autouse=True)
def _host() -> Iterator[None]:
    with host_as_before():
        yield


def asked(benchmark: str, root: Path, **options: Any) -> argparse.Namespace:
    """The command line of a run that is as small as can be, into `root`/out.

    root: its folder "published" is that of the benchmark, which is made where it is not there. options: what else is
    asked for.
    """
    folder = root / "published"
    if not folder.exists():
        made_up.FOLDERS[benchmark](folder)
        for name, count in LISTS[benchmark].items():
            content = json.loads((folder / name).read_text())
            (folder / name).write_text(json.dumps(content[:count]))
    defaults: dict[str, Any] = {
        "source": "benchmark", "benchmark": [benchmark, str(folder)], "methods": None, "models": None,
        "out": root / "out", "places": "given", "size": SIZES[benchmark], "steps": 1, "workers": None,
        "address": None, "check": False, "rehearse": False, "prompt": "", "quick": False,
    }  # fmt: skip
    return argparse.Namespace(**{**defaults, **options})


def times(out: Path) -> dict[str, int]:
    """When each picture was written."""
    return {path.name: path.stat().st_mtime_ns for path in (out / "pictures/ID-Patch").glob("*.png")}


@pytest.mark.thorough
@pytest.mark.parametrize("benchmark", KEYS)
def test_a_run_leaves_pictures_and_a_report_of_them(tmp_path: Path, finished: Any, benchmark: str) -> None:
    record = BENCHMARKS[benchmark]
    finished(benchmark, tmp_path)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "index.html",
        "pictures",
        "report.json",
        "table.csv",
    }
    assert len(times(tmp_path / "out")) == PICTURES[benchmark]
    report = report_in(tmp_path)
    assert report["benchmark"] == record.title and "remark" not in report and "part" not in report
    without_files = {column.name for column in record.columns} & {"CLIP-T", "DINOv2", "SCR@0.4", "SCR@0.5", "SCR@0.6"}
    assert report["not measured"].keys() == without_files | {unread.column for unread in record.unread}
    assert report["pictures"] == report["pictures of the benchmark"] == PICTURES[benchmark]
    assert report["pictures with made-up places"] == (2 if benchmark == "identities-collapse" else 0)
    (method,) = report["methods"]
    assert report["seed"] == record.seed and method["note"] == "" and method["failed"] == []


@pytest.mark.thorough
@pytest.mark.parametrize("benchmark", KEYS)
def test_a_report_names_neither_people_nor_folders(tmp_path: Path, finished: Any, benchmark: str) -> None:
    finished(benchmark, tmp_path)
    text = (tmp_path / "out/report.json").read_text()
    assert "anna" not in text and str(tmp_path) not in text and "published/" not in text


@pytest.mark.thorough
@pytest.mark.parametrize("benchmark", KEYS)
def test_each_group_has_figures_by_every_recogniser(tmp_path: Path, finished: Any, benchmark: str) -> None:
    finished(benchmark, tmp_path)
    report = report_in(tmp_path)
    ours = [row for row in rows_of(report) if "source" not in row]
    for row in ours_of(report):
        assert row["pictures"] == row["asked"] > 0
        recognisers = [one["recogniser"] for one in ours if one["group"] == row["group"]]
        assert recognisers == ["", "antelopev2", "arcface-ir-se50"]


@pytest.mark.thorough
@pytest.mark.parametrize("benchmark", KEYS)
def test_published_figures_stand_beside_ours(tmp_path: Path, finished: Any, benchmark: str) -> None:
    """In the report, on the page and in the table."""
    finished(benchmark, tmp_path)
    rows, published_rows = rows_of(report_in(tmp_path)), BENCHMARKS[benchmark].published
    assert {row["method"] for row in rows if "source" in row} == {published.method for published in published_rows}
    page = Page((tmp_path / "out/index.html").read_text()).text
    for published in published_rows:
        assert published.method in page and published.source in page
    with (tmp_path / "out/table.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert sorted(line["method"] for line in lines) == sorted(row["method"] for row in rows)


def report_in(root: Path) -> dict[str, Any]:
    return json.loads((root / "out/report.json").read_text())


def rows_of(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of all groups."""
    return [row for of_group in report["tables"].values() for row in of_group]


def ours_of(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those of this run by all recognisers together."""
    return [row for row in rows_of(report) if "source" not in row and not row["recogniser"]]


@pytest.mark.usefixtures("toy")
def test_the_places_of_the_benchmark_are_those_of_the_prompt(tmp_path: Path) -> None:
    """The skeletons of a picture of three people, and a group layout where that is asked for."""
    arguments = asked("multi-human", tmp_path, size=[512, 256])
    made_up.multi_human(tmp_path / "published")  # all of it
    places: list[dict[str, Any]] = []
    for arguments.places in ("given", "group"):
        with command.opened(arguments) as run:
            graph = run.graph_of(ID_PATCH, run.cases[2])
        places.append(graph.prompt["places"])
        size = graph.inputs("places")["width"], graph.inputs("places")["height"]
        assert size == (384, 384), "the pixels of 512x256, in the square of the poses"
    given, made = places
    assert given["class_type"] == "LikenessLayoutFromPicture"
    assert given["inputs"]["poses"] == multi_human.frame_of(made_up.pose_of(3))
    assert made["class_type"] == "LikenessLayoutForAGroup" and made["inputs"]["count"] == 3


# --- A run that goes on


def to_draw(run: Run, **changes: Any) -> list[str]:
    """The names of the pictures that a run would draw, which draws nothing here. changes: of every case."""
    tasks = [run.task(ID_PATCH, replace(case, **changes)) for case in run.cases]
    return [task.case.name for task in tasks if not picture_cache.is_drawn(task.path, task.fingerprint)]


EVERY = ["0", "1"]
"""The pictures of the short list of multi-human: of Anna, and of Anna and Ben."""


@pytest.mark.thorough
def test_what_a_picture_is_made_of_decides_whether_it_is_drawn_again(tmp_path: Path, finished: Any) -> None:
    """Photo, text, seed, size and steps. A photo of one person: the pictures that they are in."""
    arguments = finished("multi-human", tmp_path)
    with command.opened(arguments) as run:
        assert to_draw(run) == []
        assert to_draw(run, prompt="another text") == EVERY
        settings = run.session.settings
        for change in ({"size": (512, 256)}, {"steps": 2}):
            run.session.settings = replace(settings, **change)
            assert to_draw(run) == EVERY, change
        run.session.settings = settings
        benchmark = run.benchmark
        run.benchmark = replace(benchmark, seed=benchmark.seed + 1)
        assert to_draw(run) == EVERY
        run.benchmark = benchmark
        assert to_draw(run) == []
        photo = tmp_path / "published/data/faces/ben.jpg"
        os.utime(photo)
        assert to_draw(run) == [], "the same photo at another time"
        made_up.portrait(photo, "hugo")
        assert to_draw(run) == ["1"], "Ben is in the last one alone"
    drawn = times(tmp_path / "out")
    assert command.run(arguments) == 0
    again = times(tmp_path / "out")
    assert [name for name in sorted(drawn) if again[name] != drawn[name]] == ["1.png"]


@pytest.mark.thorough
def test_workers_go_on_with_the_pictures_of_this_machine_and_ray_begins_anew(tmp_path: Path, finished: Any) -> None:
    """Nobody knows which machines Ray chooses. No worker is started for it."""
    with command.opened(finished("multi-human", tmp_path)) as run:
        for on_ray, expected in ((False, []), (True, EVERY)):
            run.made_with = made_by_workers(run.session.host, on_ray)
            assert to_draw(run) == expected
        for name, value in run.session.host.made_with.items():
            assert value, name
            run.made_with = {**run.session.host.made_with, name: "another"}
            assert to_draw(run) == EVERY, name


@pytest.mark.thorough
def test_other_judges_measure_again_and_a_damaged_picture_is_drawn_again(tmp_path: Path, finished: Any) -> None:
    """Alone and the same, and the figures are as before."""
    out = tmp_path / "out"
    arguments = finished("identities-collapse", tmp_path)
    notes = sorted((out / "pictures/ID-Patch").glob("*.json"))
    before = [path.read_text() for path in notes]
    notes[0].write_text(json.dumps({**json.loads(before[0]), "judges": ["somebody"]}))
    notes[1].write_text("{")
    pixels = image(out / "pictures/ID-Patch/002.png")
    with Image.open(out / "pictures/ID-Patch/002.png") as opened:
        opened.save(out / "pictures/ID-Patch/002.png")  # without what it says of itself
    drawn = times(out)
    report = report_in(tmp_path)
    assert command.run(arguments) == 0
    after = times(out)
    assert after["001.png"] == drawn["001.png"] and after["002.png"] != drawn["002.png"]
    assert torch.equal(image(out / "pictures/ID-Patch/002.png"), pixels)
    assert report_in(tmp_path)["tables"] == report["tables"]
    assert [path.read_text() for path in notes] == before
    for note in before:
        assert {"antelopev2", "arcface-ir-se50"} <= {*json.loads(note)["judges"]}


@pytest.mark.thorough
def test_another_photo_and_another_recogniser_measure_again(tmp_path: Path, finished: Any) -> None:
    """And drawn no other time: neither the photo that it should be like nor InstantID's recogniser makes it."""
    out = tmp_path / "out"
    arguments = finished("multi-id", tmp_path)
    drawn = times(out)
    before = notes_in(out)
    made_up.group_photo(tmp_path / "published/p2/untar/0001.jpg", ("hugo", "grace"))
    assert command.run(arguments) == 0
    beside_another = notes_in(out)
    changed = [name for name, note in beside_another.items() if note["judged"] != before[name]["judged"]]
    assert changed == ["p2_0001"] and times(out) == drawn
    recogniser = model_file("insightface", "models/antelopev2/glintr100.onnx")
    state = recogniser.stat()
    os.utime(recogniser)
    try:
        assert command.run(arguments) == 0
    finally:
        os.utime(recogniser, ns=(state.st_atime_ns, state.st_mtime_ns))
    by_another = notes_in(out)
    assert all(note["judges"] != beside_another[name]["judges"] for name, note in by_another.items())
    assert times(out) == drawn


def notes_in(out: Path) -> Mapping[str, Any]:
    """By name of the picture what is kept beside it."""
    return {path.stem: json.loads(path.read_text()) for path in (out / "pictures/ID-Patch").glob("*.json")}


@pytest.mark.thorough
def test_a_method_without_its_files_has_a_note_and_the_others_go_on(
    tmp_path: Path, finished: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = finished("multi-id", tmp_path)
    # All pictures of the benchmark, of which the first of each kind are drawn already.
    made_up.multi_id(tmp_path / "published")
    arguments.methods, arguments.quick = ["WithAnyone", "ID-Patch"], True
    assert command.run(arguments) == 1
    report = report_in(tmp_path)
    first, second = report["methods"]
    assert first["note"].startswith("Missing: flux1-dev-fp8.safetensors") and second["note"] == ""
    assert report["pictures"] == 3 and report["pictures of the benchmark"] == 5 and "part" in report
    arguments.check = True
    assert command.run(arguments) == 1
    said = capsys.readouterr().err
    assert "ID-Patch: all files are there." in said and "MultiID-Bench: 5 pictures in " in said
    arguments.methods = ["DreamO"]
    with pytest.raises(SetupError, match=r"No such method: DreamO\. There are ID-Patch, "):
        command.run(arguments)


@pytest.mark.thorough
def test_a_photo_without_a_face_fails_its_own_pictures(
    tmp_path: Path, finished: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = finished("multi-human", tmp_path)
    Image.new("RGB", (256, 256), "gray").save(tmp_path / "published/data/faces/ben.jpg")
    assert (tmp_path / "out/pictures/ID-Patch/1.png").exists(), "a picture of other photos, which is not theirs"
    assert command.run(arguments) == 1
    report = report_in(tmp_path)
    (method,) = report["methods"]
    assert method["failed"] == ["LikenessPerson ended with an error."]
    rows = {row["group"]: row for row in ours_of(report)}
    assert rows["all"]["pictures"] == 1 and rows["all"]["asked"] == 2 and "2 people" not in rows
    assert "ID-Patch, 1: LikenessPerson: " in capsys.readouterr().err


@pytest.mark.thorough
def test_a_rehearsal_makes_up_its_folder_and_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It draws and measures a picture of each kind, with the toy model's files whole, also in an older ComfyUI."""
    arguments = asked("multi-id", tmp_path, rehearse=True, quick=True)
    arguments.benchmark = ["multi-id"]
    assert command.run(arguments) == 0
    said = capsys.readouterr().err
    assert "the figures say nothing." in said and "ID-Patch: 3 of 3 pictures to draw." in said
    report = report_in(tmp_path)
    assert report["remark"] and report["methods"][0]["note"] == "" and report["methods"][0]["failed"] == []
    ours = ours_of(report)
    assert [(row["group"], row["pictures"]) for row in ours] == [("1", 1), ("2", 1), ("3-4", 1)]


# --- What is measured


def test_real_faces_are_told_apart_and_a_face_has_its_own_reference(tmp_path: Path) -> None:
    """Two people beside each other, in the other order than their references; the photo is the picture itself."""
    yao, eileen = real_faces.YAO, real_faces.ASTRONAUT
    both = Image.new("RGB", (1024, 512))
    for place, path in enumerate((yao, eileen)):
        both.paste(Image.open(path).convert("RGB").resize((512, 512)), (512 * place, 0))
    picture = tmp_path / "both.png"
    both.save(picture)
    judge = Judge(FaceModel(real_faces.detector(), (real_faces.recogniser(),)))
    judged = judge.of_case(Case("a", "two people", (eileen, yao), ("all",), truth=picture), image(picture))
    assert (judged.people, judged.faces, judged.truth_faces, judged.text_alignment) == (2, 2, 2, None)
    compared = judged.compared["w600k_mbf"]
    assert compared.references[0][1] > 0.8 and compared.references[1][0] > 0.8
    assert compared.references[0][0] < 0.2 and compared.references[1][1] < 0.2
    assert compared.truth[0][0] == pytest.approx(1) and compared.truth[1][1] == pytest.approx(1)
    assert compared.between == pytest.approx(np.asarray(compared.references))
    assert judge.names_for(Case("b", "nobody", (), ())) == ["w600k_mbf"]
    nobody = judge.of_case(Case("b", "nobody", (yao,), ("all",)), image(real_faces.COFFEE))
    assert (nobody.faces, nobody.truth_faces) == (0, 0) and nobody.compared["w600k_mbf"].references == ()


def test_a_photo_is_not_the_picture() -> None:
    """The photo shows the other person: its face is like the reference, and the picture's is not."""
    judge = Judge(FaceModel(real_faces.detector(), (real_faces.recogniser(),)))
    case = Case("a", "somebody", (real_faces.YAO,), ("all",), truth=real_faces.YAO)
    compared = judge.of_case(case, image(real_faces.ASTRONAUT)).compared["w600k_mbf"]
    assert compared.truth[0][0] < 0.2 and compared.references[0][0] < 0.2 and compared.between[0][0] > 0.99


@pytest.mark.parametrize(
    ("size", "shape", "expected"),
    [
        ((1152, 896), None, (1152, 896)),
        ((1152, 896), (1024, 1024), (1024, 1024)),
        ((512, 512), (400, 100), (1024, 256)),
    ],
)
def test_a_canvas_has_the_pixels_of_the_method_and_the_proportions_of_the_benchmark(
    size: tuple[int, int], shape: tuple[int, int] | None, expected: tuple[int, int]
) -> None:
    assert canvas(size, shape) == expected


def test_quick_takes_the_first_of_each_kind() -> None:
    cases = [Case(str(number), "", (), (("all", "a"), ("all", "b"))[number % 2]) for number in range(7)]
    assert [case.name for case in first_of_each_kind(cases)] == ["0", "1"]


# --- By workers


@pytest.mark.thorough
def test_workers_get_the_photos_and_give_pictures_with_the_prompt_of_this_machine(tmp_path: Path) -> None:
    """A real ComfyUI of its own; two photos of one name, one that is none, and a pose, which stands in the prompt."""
    folder = tmp_path / "folder"
    tasks: list[Task] = []
    for number, colour in enumerate(("red", "blue", "")):
        path = folder / f"{number}" / "photo.png"
        path.parent.mkdir(parents=True)
        Image.new("RGB", (64, 64), colour or "white").save(path)
        if not colour:
            path.write_bytes(b"no picture")
        name = path.relative_to(folder).as_posix()
        prompt = {
            "photo": {"class_type": "LoadImage", "inputs": {"image": name}},
            "picture": {"class_type": "SaveImage", "inputs": {"images": ["photo", 0], "filename_prefix": "a"}},
        }
        target = tmp_path / "out" / f"{number}.png"
        tasks.append(Task(Case(str(number), "", (), ("all",)), Graph(prompt, {}), target, f"of {number}"))
    frame = multi_human.frame_of(made_up.pose_of(3))
    assert frame is not None
    places = multi_human.places_of(frame, (128, 64))
    prompt = {
        "places": {"class_type": places.class_type, "inputs": {**places.inputs, "width": 128, "height": 64}},
        "picture": {"class_type": "SaveImage", "inputs": {"images": ["places", 1], "filename_prefix": "a"}},
    }
    tasks.append(Task(Case("pose", "", (), ("all",)), Graph(prompt, {}), tmp_path / "out" / "pose.png", ""))
    with OneWorker(WorkerSettings()) as workers:
        finished = {one.task.case.name: one for one in drawn_by_workers(workers, folder, tasks)}
    assert finished["0"].error == finished["1"].error == "" and finished["2"].error
    assert str(tmp_path) not in finished["2"].public_error and not tasks[2].path.exists()
    assert finished["pose"].error == "" and size_of(tasks[3].path) == (128, 64)
    for task, colour in zip(tasks, ((255, 0, 0), (0, 0, 255)), strict=False):
        with Image.open(task.path) as picture:
            assert picture.getpixel((5, 5)) == colour
            assert json.loads(picture.info["prompt"]) == task.graph.prompt
        assert picture_cache.taken(task.path, task.fingerprint) is not None, "it says what it is made of"
