"""scripts/models.py: which folders it looks into, and what it lists."""

import json
import sys
from pathlib import Path

import pytest
from environment import SetupError
from shared import host_folders
from toy import export

with pytest.MonkeyPatch.context() as patch:
    patch.setattr(sys, "path", [*sys.path])  # it puts its folders in front, where a host's are in these tests
    import models

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "ComfyUI"
    folder.mkdir()
    (folder / "main.py").touch()
    (folder / "comfyui_version.py").write_text('__version__ = "0.33.0"\n')
    monkeypatch.setenv("COMFYUI_PATH", str(folder))
    return folder


@pytest.fixture
def run(host: Path, monkeypatch: pytest.MonkeyPatch):
    """models.py with these words; the exit status. Raises SetupError, which the script tells in a line."""

    def run(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["models.py", *words])
        return models.main()

    return run


def test_what_is_missing_is_no_stand_in(host, tmp_path):
    """The demo draws with released weights where all of them are there, and its own cartoon is not taken for them."""
    folders = host_folders.below(host / "models", models.keys_of([]))
    cartoon = export.files(host / "models")
    for file in (cartoon.checkpoint, cartoon.control_net, cartoon.id_patch, cartoon.recogniser):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    lacking = models.missing("start_two_people", folders)
    assert "ID-Patch projections" in lacking
    assert len(lacking) == 5
    for model in models.chosen(["start_two_people"]):
        for file in model.files:
            (host / "models" / model.key / file.names[-1]).parent.mkdir(parents=True, exist_ok=True)
            (host / "models" / model.key / file.names[-1]).touch()
    assert models.missing("start_two_people", folders) == []


def test_the_list_says_what_is_needed_by_which_workflow(run, tmp_path, capsys):
    """A workflow of another editor is read, a damaged one named."""
    assert run("list") == 0
    lines = capsys.readouterr().out.splitlines()
    (row,) = [number for number, line in enumerate(lines) if line.startswith("instantid-controlnet ")]
    assert "2.5 GB" in lines[row]
    assert "commercial use: no" in lines[row]
    assert "start_portrait" in lines[row + 1]
    assert "start_two_people" not in lines[row + 1]
    text = (ROOT / "workflows" / "start_two_people.json").read_bytes()
    mine = tmp_path / "ü b.json"
    mine.write_bytes(b"\xef\xbb\xbf" + text)
    assert len(models.chosen([str(mine)])) == 5
    mine.write_bytes(text[: len(text) // 2])
    with pytest.raises(SetupError, match=r"ü b\.json is no workflow: "):
        run("download", str(mine))
    with pytest.raises(SetupError, match=r"There is no folder .*modles"):
        run("download", "antelopev2", "--models", str(tmp_path / "modles"))


def test_blueprints_are_renewed_too():
    """Their loaders stand inside; the node itself shows the same values and offers nothing."""
    text = next(models.BLUEPRINTS.glob("Group photo*.json")).read_text("utf-8")
    graph = json.loads(text)
    loaders = [node for node in graph["definitions"]["subgraphs"][0]["nodes"] if "models" in node["properties"]]
    for node in loaders:
        node["properties"]["models"] = [{"name": "older"}]
    assert len(loaders) == 3
    assert models.workflow(json.dumps(graph)) == text
