"""scripts/models.py: which folders it looks into, and what it lists."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from environment import SetupError
from miniature import export

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


def test_further_folders_of_the_host_are_searched(host, tmp_path):
    """Relative ones are meant from base_path, that from the file; several stand one below the other."""
    lines = ["mine:", "  base_path: ../others", "  controlnet: |", "    cn", "    more/cn", "  is_default: true"]
    lines += ["other:", f"  embeddings: {tmp_path}/embeddings", ""]
    (host / "extra_model_paths.yaml").write_text("\n".join(lines))
    folders = {key: [os.path.normpath(path) for path in paths] for key, paths in models.model_folders(None).items()}
    shared = tmp_path / "others"
    below = [host / "models" / "controlnet", shared / "cn", shared / "more" / "cn"]
    assert folders["controlnet"] == [*map(str, below)]
    assert folders["embeddings"] == [str(tmp_path / "embeddings")]
    assert folders["id_patch"] == [str(host / "models" / "id_patch")] and folders[""] == [str(host / "models")]


def test_what_is_missing_is_no_stand_in(host, tmp_path):
    """The demo draws with released weights where all of them are there, and its own cartoon is not taken for them."""
    folders = models.model_folders(None)
    cartoon = export.files(host / "models")
    for file in (cartoon.checkpoint, cartoon.control_net, cartoon.id_patch, cartoon.recogniser):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    lacking = models.missing("id_patch_two_people", folders)
    assert "ID-Patch projections" in lacking and len(lacking) == 5
    for model in models.chosen(["id_patch_two_people"]):
        for file in model.files:
            (host / "models" / model.key / file.names[-1]).parent.mkdir(parents=True, exist_ok=True)
            (host / "models" / model.key / file.names[-1]).touch()
    assert models.missing("id_patch_two_people", folders) == []


def test_a_damaged_list_of_further_folders_is_named(host):
    other = "it is not made as extra_model_paths.yaml.example is"
    for text, why in (
        (b"a: [1,\n", "while parsing"),
        (b"- a\n", other),
        (b"a:\n  base_path:\n  controlnet: x\n", other),
        (b"a:\n  base_path: \xfc\n", "'utf-8' codec can't decode byte 0xfc"),
    ):
        (host / "extra_model_paths.yaml").write_bytes(text)
        with pytest.raises(SetupError, match=rf"ComfyUI/extra_model_paths\.yaml cannot be read: {why}"):
            models.model_folders(None)


def test_a_damaged_manifest_is_named_by_every_command(host, tmp_path):
    for name in ("core", "nodes", "scripts", "workflows"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "models_manifest.json").write_bytes(b'{"models": [{\xff')
    for command in (["list"], ["download", "instantid"], ["write", "--check"]):
        script = [sys.executable, str(tmp_path / "scripts" / "models.py"), *command]
        done = subprocess.run(script, capture_output=True, text=True)
        assert done.returncode == 1 and f"{tmp_path / 'models_manifest.json'} is damaged: " in done.stderr
        assert "Traceback" not in done.stderr


def test_the_list_says_what_is_needed_by_which_workflow(run, tmp_path, capsys):
    """Where nothing is needed it ends without a question. A workflow of another editor is read, a damaged one named."""
    assert run("list") == 0
    lines = capsys.readouterr().out.splitlines()
    (row,) = [number for number, line in enumerate(lines) if line.startswith("instantid-controlnet ")]
    assert "2.5 GB" in lines[row] and "commercial use: no" in lines[row]
    assert "instant_id_portrait" in lines[row + 1] and "id_patch_two_people" not in lines[row + 1]
    (tmp_path / "mine.json").write_text('{"nodes": [{"type": "SaveImage"}]}')
    assert run("download", str(tmp_path / "mine.json")) == 0
    assert "".join(capsys.readouterr()) == "[likeness] Nothing of what is published is needed.\n"
    text, mine = (ROOT / "workflows" / "id_patch_two_people.json").read_bytes(), tmp_path / "ü b.json"
    mine.write_bytes(b"\xef\xbb\xbf" + text)
    assert run("doctor", str(mine)) == 1 and "To fix for" in capsys.readouterr().out
    mine.write_bytes(text[: len(text) // 2])
    with pytest.raises(SetupError, match=r"ü b\.json is no workflow: "):
        run("doctor", str(mine))
    with pytest.raises(SetupError, match=r"There is no folder .*modles"):
        run("download", "antelopev2", "--models", str(tmp_path / "modles"))


def test_blueprints_are_renewed_too():
    """Their loaders stand inside; the node itself shows the same values and offers nothing."""
    text = (models.BLUEPRINTS / "Group photo.json").read_text("utf-8")
    graph = json.loads(text)
    loaders = [node for node in graph["definitions"]["subgraphs"][0]["nodes"] if "models" in node["properties"]]
    for node in loaders:
        node["properties"]["models"] = [{"name": "older"}]
    assert len(loaders) == 3 and models.workflow(json.dumps(graph)) == text
