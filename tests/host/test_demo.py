"""scripts/demo.py in the host: its pictures are those that it draws without one, and what it says in the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from environment import ROOT, Host
from listening import ListeningServer
from shared import photos, workflow
from shared.links import up_to
from toy import alone, built, install

LIKE_ONE_PERSON = "look like one person"


OF_THE_USER = ("models", "input", "output", "user", "custom_nodes")
"""Folders of a ComfyUI that are the user's."""


@pytest.fixture
def own_host(host: Host, tmp_path: Path) -> Host:
    """The ComfyUI under test as links, with empty folders of the user's."""
    folder = tmp_path / "ComfyUI"
    folder.mkdir()
    for path in host.path.iterdir():
        if path.name not in OF_THE_USER:
            (folder / path.name).symlink_to(path)
    for name in OF_THE_USER:
        (folder / name).mkdir()
    return Host(folder, host.version)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The pack as links, without an output folder."""
    folder = tmp_path / "likeness"
    folder.mkdir()
    for path in ROOT.iterdir():
        if path.name not in ("output", ".git", ".venv"):
            (folder / path.name).symlink_to(path)
    return folder


def demo(clone: Path, host: Host, *arguments: str) -> list[str]:
    """What scripts/demo.py says."""
    hidden = ("LIKENESS_PYTHON", "VIRTUAL_ENV", "CONDA_PREFIX")
    variables = {name: value for name, value in os.environ.items() if name not in hidden}
    command = [sys.executable, str(clone / "scripts" / "demo.py"), "--python", sys.executable, *arguments]
    process = subprocess.run(command, env=variables | {"COMFYUI_PATH": str(host.path)}, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return process.stderr.splitlines()


def files_of_the_user(host: Host) -> list[str]:
    files: list[str] = []
    for name in OF_THE_USER:
        files += [path.relative_to(host.path).as_posix() for path in (host.path / name).rglob("*")]
    return sorted(files)


@pytest.mark.thorough
def test_the_demo_draws_the_same_with_a_host_and_without(own_host: Host, clone: Path, tmp_path: Path) -> None:
    """Each picture to 2/255. The demo ends with what the pictures show, and leaves nothing in the ComfyUI.

    It comes first in this file: the server of the other test would only take memory beside it.
    """
    *_, done, first, scenes, clothes, places = demo(clone, own_host)
    assert f"The pictures and report.json are in {clone / 'output'}." in done
    assert f"{clone / 'output' / 'result.png'}: Anna at the left, Ben at the right" in first
    assert "3_place_cast.png: where Anna and Ben stand" in places
    assert "story.png: Anna and Ben in four scenes" in scenes
    assert "outfit.png: " in clothes
    assert files_of_the_user(own_host) == []
    report = json.loads((clone / "output" / "report.json").read_text("utf-8"))
    assert report["host"] == str(own_host)
    assert "kept" not in report

    without = tmp_path / "without"
    without.mkdir()
    demonstration = alone.draw(without, lambda step: None)
    assert sorted(demonstration.pictures) == report["pictures"]
    for name in demonstration.pictures:
        difference = (photos.pixels(without / name) - photos.pixels(clone / "output" / name)).abs()
        assert difference.max() <= 2.01 / 255, name


@pytest.mark.thorough
def test_the_demo_keeps_the_toy_in_comfyui_when_asked(own_host: Host, clone: Path) -> None:
    (sentence,) = (line for line in demo(clone, own_host, "--keep") if "Now in " in line)
    assert f"Now in {own_host.path} the toy model's files (standin-toy*, " in sentence
    assert f"and {len(install.KINDS)} workflows named '... (toy model)'" in sentence
    files = files_of_the_user(own_host)
    workflows = [name for name in files if name.startswith("user/default/workflows/")]
    assert sorted(workflows) == sorted(f"user/default/workflows/{name}.json" for name in install.KINDS)
    assert any(name.startswith("models/checkpoints/standin-toy") for name in files)
    report = json.loads((clone / "output" / "report.json").read_text("utf-8"))
    assert len(report["kept"]) > len(workflows)


@pytest.fixture(scope="module")
def server(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ListeningServer]:
    """A host with the toy model's files."""
    base = tmp_path_factory.mktemp("demo") / "base"
    with ListeningServer(host, Path(sys.executable), base, [built.build().root], without=("facexlib",)) as running:
        yield running


def notes_of_two(server: ListeningServer, *people: str) -> list[str]:
    """What *Cast from Photos* says of two drawn people, in the toy model's workflow of a group."""
    images = [server.upload_image(picture) for picture in photos.drawn(*people)]
    prompt = workflow.to_prompt(install.ready(install.GROUP, built.build(), images), server.object_info())
    (node,) = workflow.nodes_of(prompt, "LikenessCastFromPhotos")
    # Nothing but the people is run.
    cast = up_to(prompt, [node])
    cast["shown"] = {"class_type": "PreviewImage", "inputs": {"images": [node, 1]}}
    run = server.run(cast)
    return [text for number, text in run.notes if number == node]


@pytest.mark.thorough
def test_the_toy_says_nothing_of_strangers_who_look_alike(server: ListeningServer) -> None:
    """Anna and Carla have a cosine of 0.90; a photo that is there twice is told all the same."""
    assert not any(LIKE_ONE_PERSON in text for text in notes_of_two(server, "anna", "carla"))
    assert any(LIKE_ONE_PERSON in text for text in notes_of_two(server, "anna", "anna"))
