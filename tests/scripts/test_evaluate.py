"""scripts/evaluate.py on a folder of real photos, as a user runs it."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import evaluate
import numpy as np
import pytest
import real_faces
import torch
from miniature import recogniser
from PIL import Image
from rig import archive

from core.faces.model import faces_in
from core.people import Identity

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two people; one set with the team photo, one with two photos side by side, people in the wrong places."""
    files = {
        "people/Yao/yao.jpg": real_faces.YAO,
        "people/Eileen/eileen.png": real_faces.ASTRONAUT,
        "pictures/team/1 % of #2.jpg": real_faces.TEAM,
        "models/insightface/small/detector.onnx": real_faces.DETECTOR,
        "models/insightface/small/w600k_mbf.onnx": real_faces.RECOGNISER,
    }
    for name, source in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, tmp_path / name)
    both = Image.new("RGB", (1024, 512))
    for n, path in enumerate((real_faces.ASTRONAUT, real_faces.YAO)):
        both.paste(Image.open(path).convert("RGB").resize((512, 512)), (512 * n, 0))
    (tmp_path / "pictures" / "pair").mkdir()
    both.save(tmp_path / "pictures" / "pair" / "1.png")
    placed = {"people": ["Yao", "Eileen"], "places": [[110, 65], [384, 65]], "size": [512, 256]}
    (tmp_path / "pictures" / "pair" / "1.json").write_text(json.dumps(placed), "utf-8")
    return tmp_path


def run(folder: Path, *more: str, script: Path = ROOT / "scripts" / "evaluate.py") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(script), str(folder), "--models", str(folder / "models"), *more]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_folder_becomes_a_table_and_a_page(folder: Path) -> None:
    done = run(folder, "--made-with", "InstantID")
    assert done.returncode == 0, done.stderr
    with (folder / "measured" / "likeness.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    team = [line for line in lines if line["set"] == "team"]
    (yao,) = [line for line in team if line["person"] == "Yao"]
    assert yao["state"] == "right" and 0.5 < float(yao["similarity"]) < 0.8 and yao["recogniser"] == "w600k_mbf"
    assert [line["state"] for line in team if line["person"] == "Eileen"] == ["missing"]
    assert sum(line["state"] == "extra" for line in team) == 21
    pair = [line for line in lines if line["set"] == "pair"]
    assert [(line["person"], line["state"], line["looks_like"]) for line in pair] == [
        ("Yao", "swapped", "Eileen"),
        ("Eileen", "swapped", "Yao"),
    ]
    page = (folder / "measured" / "index.html").read_text("utf-8")
    assert "Measured by w600k_mbf, which InstantID was not trained with." in page
    assert "<td>pair</td><td>w600k_mbf</td><td>1</td>" in page
    for name in ("team/1 % of #2.jpg.jpg", "pair/1.png.jpg"):
        assert f'src="pictures/{quote(name)}"' in page and (folder / "measured" / "pictures" / name).is_file()


def test_the_same_pictures_made_in_two_ways(folder: Path) -> None:
    """Two prompts, of two pictures and of one; where the first way puts Eileen into both places, the second puts Yao
    into one. Who is meant says the table that batch.py was given."""
    with Image.open(folder / "pictures" / "pair" / "1.png") as pair:
        eileen, yao = (pair.crop((512 * n, 0, 512 * n + 512, 512)).resize((256, 256)) for n in (0, 1))
    shutil.rmtree(folder / "pictures")
    for group, right in (("plain", eileen), ("bound", yao)):
        (folder / "pictures" / group).mkdir(parents=True)
        for name in ("bench-1", "bench-2", "beach-1"):
            both = Image.new("RGB", (512, 256))
            both.paste(eileen, (0, 0))
            both.paste(eileen if name == "beach-1" else right, (256, 0))
            both.save(folder / "pictures" / group / f"{name}.png")
    names = ("bench-1", "bench-2", "beach-1")
    rows = [f"{name},faces/Eileen.png,people/Yao/yao.jpg,{n}" for n, name in enumerate(names)]
    (folder / "jobs.csv").write_text("\n".join(["name,First person,Second person,Seed", *rows]))
    done = run(folder, "--jobs", str(folder / "jobs.csv"), "--compare", "plain", "bound")
    assert done.returncode == 0, done.stderr
    titles, *lines = [line.split("  ") for line in done.stdout.splitlines()[:-1]]
    assert titles == ["recogniser", "figure", "plain", "bound", "change", "95 % from", "to", "p", "up", "down"]
    found = {figure: numbers for _, figure, *numbers in lines}
    assert list(found) == ["weakest person", "resemblance", "association", "margin", "leakage"]
    # Of two prompts one is better; both of its pictures count as much as the one of the other.
    assert found["association"] == ["0.500", "0.750", "+0.250", "+0.000", "+0.500", "1.000", "1", "0"]
    assert "<h2>Compared</h2><table><tr><td>recogniser</td>" in (folder / "measured" / "index.html").read_text()
    root = folder / "pictures"
    pictures = sorted(root.rglob("*.png"))
    for given, second, message in (
        (pictures[1:], "plain", "plain has beach-1, and bound has not: make it there"),
        (pictures, "gone", r"There is no picture in .*gone"),
        (pictures, "bound", "given bound twice"),
        ([*pictures, root / "plain/bench-2.jpg"], "plain", r"plain has plain/bench-2\.png and bench-2\.jpg: take one"),
    ):
        with pytest.raises(evaluate.Unusable, match=message):
            evaluate.pairs(root, given, "bound", second)


def test_whose_row_a_picture_is(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """By a table of batch.py; one that says nothing is refused, and so is any without a clone."""
    jobs, known = folder / "jobs.csv", ["Yao", "Eileen"]
    for table, words in (
        ("name,First person", "no rows below its line of names"),
        ("name,First person\na,Yao.jpg\na,Eileen.png", "Line 3 of .*: line 2 has the name a too"),
        ("name,First person\na,Eve.jpg", "Line 2 of .* names no photo of Yao, Eileen"),
    ):
        jobs.write_text(table)
        with pytest.raises(evaluate.Unusable, match=words):
            evaluate.meant_in(jobs, known)
    jobs.write_text("name,First person,Second person\na,Yao.jpg,people/Yao/2.jpg\n")
    meant = evaluate.meant_in(jobs, known)
    assert evaluate.row_of(folder / "a.png", meant) == evaluate.row_of(folder / "a_2of4.png", meant) == ["Yao"]
    with pytest.raises(evaluate.Unusable, match=r"00002_Yao\.png is of no row of the table"):
        evaluate.row_of(folder / "00002_Yao.png", meant)
    (folder / "00002_Yao.json").write_text("{}")
    assert evaluate.row_of(folder / "00002_Yao.png", meant) is None
    archive.unpack(published := tmp_path_factory.mktemp("published"))
    done = run(folder, "--jobs", str(jobs), script=published / "scripts" / "evaluate.py")
    assert done.returncode == 1 and done.stderr.startswith("--jobs needs a git clone of the pack")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"people": ["Eve"]}', "names Eve; there are photos of Yao, Eileen"),
        ('{"people": []}', "names nobody"),
        ('{"people": 5}', "cannot be read"),
        ('{"peeple": ["Yao"]}', "cannot be read: .*left out"),
        ('{"places": [[1, 2]]}', "has 1 place for 2 people"),
        ('{"places": [1, 2]}', r"cannot be read: .*\[\[300, 260\]\]"),
        ('{"places": [[1e400, 1], [1, 1]]}', "cannot be read"),
        ('{"places": [[1, 1]], "size": [0, 0]}', "cannot be read"),
        ("Yao on the left", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
    ],
)  # fmt: skip
def test_what_stands_beside_a_picture(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "1.json").write_text(text)
    nobody = Identity("", {}, torch.zeros(0, 112, 112, 3))
    with pytest.raises(evaluate.Unusable, match=rf"1\.json {words}"):
        evaluate.cast_of(tmp_path / "1.png", {"Yao": nobody, "Eileen": nobody}, (1, 1))


PHOTO, PICTURE, ADDED = Path("people/Yao/yao.jpg"), Path("pictures/team/1 % of #2.jpg"), Path("pictures/pair/2.png")
REFUSED: list[tuple[str, Callable[[Path], object]]] = [
    ("There is nobody in .*people", lambda folder: shutil.rmtree(folder / "people")),
    ("There is no photo in .*Yao", lambda folder: (folder / PHOTO).unlink()),
    ("There is no picture below", lambda folder: shutil.rmtree(folder / "pictures")),
    ("No face detector below .*insightface", lambda folder: shutil.rmtree(folder / "models")),
    (r"yao\.jpg cannot be read as a picture", lambda folder: os.truncate(folder / PHOTO, 5000)),
    (r"No face .*yao\.jpg", lambda folder: shutil.copyfile(real_faces.COFFEE, folder / PHOTO)),
    (r"1 % of #2\.jpg .*picture: .* Save it", lambda folder: os.truncate(folder / PICTURE, 5000)),
    (r"2\.png .*no such file", lambda folder: os.mkfifo(folder / ADDED)),
    (r"2\.png .*exceeds limit", lambda folder: Image.new("1", (12000, 12000)).save(folder / ADDED)),
    (r"2\.png .*cannot identify", lambda folder: Image.new("RGB", (9, 9)).save(folder / ADDED, "EPS")),
    ("cannot be read", lambda folder: (folder / PICTURE).with_suffix(".json").write_text("{")),
]


@pytest.mark.parametrize(("words", "spoil"), REFUSED, ids=[words for words, _ in REFUSED])
def test_what_is_missing_is_said(
    words: str, spoil: Callable[[Path], object], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before hours are spent on the others."""
    spoil(folder)
    monkeypatch.setattr(sys, "argv", ["evaluate.py", str(folder), "--models", str(folder / "models")])
    with pytest.raises(evaluate.Unusable, match=words):
        evaluate.main()
    assert not (folder / "measured").exists()


def test_recognisers_are_those_of_load_face_model(folder: Path) -> None:
    """By what is in a file where its name says nothing, in folders of any depth."""
    (folder / "models" / "facexlib" / "more").mkdir(parents=True)
    torch.save(recogniser.state(), folder / "models" / "facexlib" / "more" / "faces.pth")
    (folder / "models" / "facexlib" / "gone.pth").symlink_to("nowhere")
    model = evaluate.load(folder / "models")
    assert model.ids == ["w600k_mbf", "arcface-ir-se50"]
    (yao,) = faces_in(model, real_faces.image(real_faces.YAO)[0]).faces
    assert {name: row.shape for name, row in yao.embeddings.items()} == dict.fromkeys(model.ids, (512,))


def test_sixteen_bits_of_grey_are_not_cut_off(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 32768, np.uint16)).save(tmp_path / "grey.png")
    assert evaluate.image(tmp_path / "grey.png").mean() == pytest.approx(0.5, abs=1e-3)


def test_a_photo_is_turned_as_the_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    Image.new("RGB", (8, 4)).save(tmp_path / "photo.jpg", exif=exif)
    assert evaluate.image(tmp_path / "photo.jpg").shape == (8, 4, 3)


def test_a_mistake_is_told_without_a_traceback(tmp_path: Path) -> None:
    """Nor does a name steer the terminal."""
    folder = tmp_path / "\x1b[31mred"
    done = run(folder)
    assert done.returncode == 1 and done.stderr.startswith("No face detector below") and not list(tmp_path.iterdir())
    assert "\x1b" not in done.stderr and "[31mred" in done.stderr
