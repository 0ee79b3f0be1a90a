"""batch.py on a real ComfyUI: measured, the best of two kept; what is missing."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from batch import rows, workers
from batch.inputs import Template
from batch.measured import Scores
from batch.output import Output
from batch.run import Run
from environment import Host, SetupError
from PIL import Image
from rig import photos
from rig.standins import Standins


@pytest.fixture(scope="module")
def crew(host: Host, standin_models: Standins) -> Iterator[workers.Crew]:
    with workers.Crew(lambda: workers.here(host, Path(sys.executable), [standin_models.root]), 1, host) as found:
        yield found


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    photos.people(folder)
    return folder


def table(path: Path, lines: str) -> rows.Table:
    path.write_text(lines, "utf-8")
    return rows.read(path)


def run(crew: workers.Crew, graph: Any, given: rows.Table, photos: Path, folder: Path, tries: int | None) -> list[str]:
    """What is wrong with rows; the pictures are in folder/made."""
    (folder / "graph.json").write_text(json.dumps(graph), "utf-8")
    known, output = crew.object_info(), Output(folder / "made")
    template = Template(folder / "graph.json", known, given.columns, photos, photos)
    one = Run(crew, known, template, output, tries or 1, Scores(output.folder) if tries else None)
    lines = list(rows.rows(given, template.is_photo))
    assert len(list(one.made(one.prepare(lines)))) <= len(lines)
    output.close()
    return [line["reason"] for line in read(folder / "made" / "failed.csv", "utf-8-sig")]


def node(kind: str, title: str = "", **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": title or kind}}


def sheet(pack: str) -> dict[str, Any]:
    """Photos of two people and the picture of their cast, with grain over them: real faces without a model."""
    beside = {"match_image_size": True, "spacing_width": 0, "spacing_color": "white"}
    who = {"face_model": ["pack", 0], "which_face": "largest", "on_no_face": "error"}
    return {
        "pack": node("LikenessLoadFaceModel", pack=pack, recognisers="all found", provider="auto", backend="auto"),
        "p1": node("LoadImage", "First", image="x.png"),
        "p2": node("LoadImage", "Second", image="x.png"),
        "p3": node("LoadImage", "Shown", image="x.png"),
        "one": node("LikenessIdentity", image=["p1", 0], name="Anna", **who),
        "two": node("LikenessIdentity", image=["p2", 0], name="Ben", **who),
        "cast": node("LikenessCast", person_1=["one", 0], person_2=["two", 0]),
        "photos": node("ImageStitch", image1=["p3", 0], image2=["p2", 0], direction="right", **beside),
        "all": node("ImageStitch", image1=["photos", 0], image2=["cast", 1], direction="down", **beside),
        "noise": node("ImageAddNoise", "Grain", image=["all", 0], seed=1, strength=0.1),
        "save": node("SaveImage", images=["noise", 0], filename_prefix="x"),
    }


def read(path: Path, encoding: str = "utf-8") -> list[dict[str, str]]:
    with path.open(newline="", encoding=encoding) as file:
        return list(csv.DictReader(file))


def test_measured_and_the_better_of_two_kept(
    crew: workers.Crew, standin_models: Standins, people: Path, tmp_path: Path
) -> None:
    lines = "name,First.image,Shown.image,Second.image,Grain.seed,Grain.strength\n"
    lines += "a,person_1.png,person_1.png,person_2.png,1,0.1\n"
    first = table(tmp_path / "first.csv", f"{lines}b,person_1.png,person_1.png,person_3.png,5,0.2\n")
    assert run(crew, sheet(standin_models.face_pack.name), first, people, tmp_path, 2) == []
    found = read(tmp_path / "made" / "likeness.csv")
    for name, seeds in (("a", {"1", "2"}), ("b", {"5", "6"})):
        of_row = [line for line in found if line["set"] == name and line["state"] != "extra"]
        judged = [line for line in of_row if line["recogniser"] == of_row[0]["recogniser"]]
        similar = {seed: [float(line["similarity"] or 0) for line in judged if line["seed"] == seed] for seed in seeds}
        weakest = {seed: min(values) for seed, values in similar.items()}
        (kept,) = {line["seed"] for line in of_row if line["kept"] == "yes"}
        assert weakest[kept] == max(weakest.values()) > 0.2
        said = json.loads(Image.open(tmp_path / "made" / f"{name}.png").info["prompt"])
        assert str(said["noise"]["inputs"]["seed"]) == kept and "LikenessMeasure" not in str(said)


def test_what_is_missing_is_said_before_the_first_row(crew: workers.Crew, people: Path, tmp_path: Path) -> None:
    graph = {**sheet("antelopev2"), "model": node("CheckpointLoaderSimple", ckpt_name="lost.safetensors")}
    graph["noise"]["inputs"]["strength"] = 0.1
    lines = "First.image,Shown.image,Second.image\nperson_1.png,person_1.png,person_2.png\n"
    given = table(tmp_path / "jobs.csv", lines)
    with pytest.raises(SetupError, match="No row is begun") as told:
        run(crew, graph, given, people, tmp_path, None)
    assert "antelopev2" in str(told.value) and "lost.safetensors" in str(told.value)
    assert "likeness-batch" not in str(told.value), "nothing goes into a folder that ends with the worker"
    assert not list((tmp_path / "made").rglob("*.png"))
