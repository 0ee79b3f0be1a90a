"""compare.py --toy and --pictures: that the judge of cartoons can fail, and that both commands answer."""

from __future__ import annotations

import csv
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import compare
import pytest
import real_faces
import torch
from comparison import cartoons, command
from comparison import people as people_source
from comparison.cartoons import ColourJudge
from comparison.columns import figures
from comparison.judging import Known, placed
from comparison.photos import PersonFiles
from comparison.picture_cache import Drawn
from comparison.prompts import Scene
from environment import ROOT, SetupError
from pack.core.cast import Person
from pack.core.models.packs import IR_SE50
from torch import Tensor
from toy import avatars, places, stored
from toy_in_host import drawn_people

SIZE = (512, 384)


@cache
def everybody() -> dict[str, Known]:
    """Eight drawn people whom the toy model has not seen."""
    known: dict[str, Known] = {}
    for number, embedding in enumerate(drawn_people("unseen")[:8].split(1)):
        name = f"person {number}"
        known[name] = Known(Person(name, {IR_SE50: embedding}, torch.zeros(1, 112, 112, 3)), ())
    return known


@cache
def judge() -> ColourJudge:
    return ColourJudge(everybody())


def looks_of(people: Sequence[str]) -> Tensor:
    """(P, 11)."""
    return stored.load().looks(torch.cat([everybody()[name].person.embeddings[IR_SE50] for name in people]))


def judged(people: Sequence[str], shown: Tensor, by_face: bool = False, leaning: float = 0.0) -> dict[str, float]:
    """The columns that a made-up cartoon has a figure in, which shows these looks (P, 11) in the people's places.

    by_face: bodies stand upright below their faces. leaning: by so many pixels bodies are beside their skeletons.
    """
    known = [everybody()[name] for name in people]
    standing = places.of_slots([member.slot for member in placed(known, SIZE).people if member.slot])
    if by_face:
        standing = places.by_face(standing, SIZE)
    if leaning:
        standing = [one._replace(pose=tuple((x + leaning, y, seen) for x, y, seen in one.pose)) for one in standing]
    pixels, _ = avatars.picture(standing, shown, SIZE)  # (3, H, W)
    files = [PersonFiles(name, ()) for name in people]
    scene = Scene(files, 1, 1, "", SIZE, None, "", Path())
    drawn = Drawn(Path(), pixels.permute(1, 2, 0), 2.0, 0.5)
    found = figures([judge().of_people(drawn, scene, "InstantID" if by_face else "ID-Patch")])
    return {name: value for name, value in found.items() if value is not None}


@pytest.mark.parametrize("by_face", [False, True], ids=["by skeletons", "by faces"])
@pytest.mark.parametrize("people", [2, 4, 8])
def test_everybody_is_found_where_they_stand(people: int, by_face: bool) -> None:
    names = list(everybody())[:people]
    right = judged(names, looks_of(names), by_face)
    assert right["association"] == 1 and right["resemblance"] > 0.9
    assert right["missing"] == right["extra"] == right["swapped"] == right["dominance"] == right["blending"] == 0
    assert right["seconds"] == 2 and right["per step"] == 0.5
    unknown = {"collapse", "SCR@0.4", "copy-paste", "text alignment"}
    assert not unknown & right.keys(), "colours do not say these"


def test_exchanged_repeated_mixed_and_missing_people_are_told_apart() -> None:
    names = list(everybody())[:2]
    meant = looks_of(names)
    right = judged(names, meant)
    exchanged = judged(names, meant[[1, 0]])
    assert exchanged["association"] == 0 and exchanged["swapped"] == 1 and exchanged["dominance"] == 0
    assert exchanged["leakage"] > 0.9 and exchanged["resemblance"] == pytest.approx(right["leakage"], abs=0.05)
    twice = judged(names, meant[[0, 0]])
    assert twice["association"] == twice["swapped"] == twice["dominance"] == 0.5
    mixed = meant.clone()
    mixed[:, :9] = meant[:, :9].mean(0)
    assert judged(names, mixed)["blending"] == 1
    nobody = meant.clone()
    nobody[1, :9] = 1 - meant[1, :9].round()  # the colour that is farthest from each of theirs
    absent = judged(names, nobody)
    assert absent["missing"] == 0.5 and absent["association"] == 0.5 and absent["swapped"] == 0


def test_bodies_beside_their_places_lower_the_resemblance() -> None:
    names = list(everybody())[:2]
    meant = looks_of(names)
    assert judged(names, meant, leaning=60)["resemblance"] < judged(names, meant)["resemblance"] - 0.1


def test_a_person_alone_has_no_association() -> None:
    names = list(everybody())[:1]
    assert not {"association", "leakage", "swapped"} & judged(names, looks_of(names)).keys()


def test_the_command_line_knows_all_questions() -> None:
    """It names them before anything is loaded that has them."""
    assert tuple(people_source.QUESTIONS) == compare.QUESTIONS


@pytest.mark.parametrize("out", ["file", "file/below", "n" * 300, "loop/below"])
def test_an_output_that_cannot_be_written_to_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.setattr(sys, "argv", ["compare.py", "--toy", "--out", str(tmp_path / out)])
    with pytest.raises(SetupError, match=r"cannot be written to \(.+\): mend that or name another place"):
        command.run(compare.parsed())


@pytest.mark.thorough
def test_the_toy_model_answers_and_its_methods_differ(tmp_path: Path) -> None:
    """Two people by ID-Patch and InstantID by region are in their places, and the page says what they are."""
    command = [sys.executable, str(ROOT / "scripts" / "compare.py"), "--toy", "--quick", "--out", str(tmp_path)]
    subprocess.run([*command, "--python", sys.executable, "seeds"], check=True, timeout=600)
    rows = list(csv.DictReader((tmp_path / "seeds.csv").read_text("utf-8").splitlines()))
    assert [row["method"] for row in rows] == [method.title for method in cartoons.methods()]
    assert [float(row["association"]) for row in rows[:2]] == [1, 1]
    assert "toy model" in (tmp_path / "index.html").read_text("utf-8")


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_a_folder_of_own_pictures_is_measured_and_can_be_stopped(tmp_path: Path) -> None:
    """The command, ended by Ctrl-C and called again."""
    files = {
        "people/Yao/yao.jpg": real_faces.YAO,
        "pictures/one/1.jpg": real_faces.YAO,
        "models/insightface/models/small/detector.onnx": real_faces.DETECTOR,
        "models/insightface/models/small/w600k_mbf.onnx": real_faces.RECOGNISER,
    }
    for name, source in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, tmp_path / name)
    script = [sys.executable, str(ROOT / "scripts" / "compare.py"), "--pictures", str(tmp_path)]
    command = [*script, "--models", str(tmp_path / "models"), "--python", sys.executable]
    # A handler of ours is the default again in what is started, also where whoever started pytest has Ctrl-C ignored.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, handler)
    with process:
        assert process.stderr
        for line in process.stderr:
            if line == "[likeness] Yao: 1 photo\n":
                process.send_signal(signal.SIGINT)
                break
        assert "Stopped before the tables and the page were written" in process.communicate(timeout=60)[1]
    assert process.returncode == 130 and not (tmp_path / "measured" / "index.html").exists()
    subprocess.run(command, check=True, timeout=300)
    assert "w600k_mbf" in (tmp_path / "measured" / "sets.csv").read_text("utf-8")
    assert (tmp_path / "measured" / "index.html").is_file()
