"""scripts/models.py: which folders it looks into, and what it lists."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def host(tmp_path: Path) -> Path:
    folder = tmp_path / "ComfyUI"
    folder.mkdir()
    (folder / "main.py").touch()
    (folder / "comfyui_version.py").write_text('__version__ = "0.33.0"\n')
    return folder


def python(*arguments: str, host: Path) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "COMFYUI_PATH": str(host)}
    return subprocess.run([sys.executable, *arguments], env=variables, capture_output=True, text=True)


def test_further_folders_of_the_host_are_searched(host, tmp_path):
    """Relative ones are meant from base_path, that from the file; several stand one below the other."""
    lines = ["mine:", "  base_path: ../others", "  controlnet: |", "    cn", "    more/cn", "  is_default: true"]
    lines += ["other:", f"  embeddings: {tmp_path}/embeddings", ""]
    (host / "extra_model_paths.yaml").write_text("\n".join(lines))
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r}); import json, models; "
        "print(json.dumps(models.model_folders(None)))"
    )
    done = python("-c", code, host=host)
    folders = {key: [os.path.normpath(path) for path in paths] for key, paths in json.loads(done.stdout).items()}
    shared = tmp_path / "others"
    assert folders["controlnet"] == [
        str(host / "models" / "controlnet"),
        str(shared / "cn"),
        str(shared / "more" / "cn"),
    ]
    assert folders["embeddings"] == [str(tmp_path / "embeddings")]
    assert folders["id_patch"] == [str(host / "models" / "id_patch")] and folders[""] == [str(host / "models")]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"a: [1,\n", "while parsing"),
        (b"- a\n", "it is not made as extra_model_paths.yaml.example is"),
        (b"a:\n  base_path:\n  controlnet: x\n", "it is not made as extra_model_paths.yaml.example is"),
        (b"a:\n  base_path: \xfc\n", "'utf-8' codec can't decode byte 0xfc"),
    ],
)
def test_a_damaged_list_of_further_folders_is_named(host, text, why):
    (host / "extra_model_paths.yaml").write_bytes(text)
    done = python(str(ROOT / "scripts" / "models.py"), "doctor", "instant_id_portrait", host=host)
    assert done.returncode == 1 and f"{host / 'extra_model_paths.yaml'} cannot be read: {why}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_damaged_manifest_is_named_by_every_command(host, tmp_path):
    for name in ("core", "scripts", "workflows"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "models_manifest.json").write_bytes(b'{"models": [{\xff')
    for command in (("list",), ("download", "instantid"), ("write", "--check")):
        done = python(str(tmp_path / "scripts" / "models.py"), *command, host=host)
        assert done.returncode == 1 and f"{tmp_path / 'models_manifest.json'} is damaged: " in done.stderr
        assert "Traceback" not in done.stderr


def test_a_workflow_of_another_editor_and_a_damaged_one(host, tmp_path):
    text = (ROOT / "workflows" / "id_patch_two_people.json").read_bytes()
    (tmp_path / "ü b.json").write_bytes(b"\xef\xbb\xbf" + text)
    command = (str(ROOT / "scripts" / "models.py"), "doctor", str(tmp_path / "ü b.json"))
    assert "To fix for" in python(*command, host=host).stdout
    (tmp_path / "ü b.json").write_bytes(text[: len(text) // 2])
    done = python(*command, host=host)
    assert done.returncode == 1 and "is no workflow: " in done.stderr and "Traceback" not in done.stderr


def test_a_host_whose_version_is_none(host):
    for content in (b'__version__ = "..."', b"\xff"):
        (host / "comfyui_version.py").write_bytes(content)
        done = python(str(ROOT / "scripts" / "models.py"), "doctor", host=host)
        assert done.returncode == 1 and "is not a ComfyUI folder" in done.stderr and "Traceback" not in done.stderr


def test_the_list_says_what_is_needed_by_which_workflow(host):
    lines = python(str(ROOT / "scripts" / "models.py"), "list", host=host).stdout.splitlines()
    (row,) = [number for number, line in enumerate(lines) if line.startswith("instantid-controlnet ")]
    assert "2.5 GB" in lines[row] and "commercial use: no" in lines[row]
    assert "instant_id_portrait" in lines[row + 1] and "id_patch_two_people" not in lines[row + 1]


def test_blueprints_are_renewed_too(host):
    """Their loaders stand inside; the node itself shows the same values and offers nothing."""
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r}); import json, models\n"
        "text = (models.BLUEPRINTS / 'Group photo.json').read_text('utf-8')\n"
        "graph = json.loads(text)\n"
        "loaders = [node for node in graph['definitions']['subgraphs'][0]['nodes'] if 'models' in node['properties']]\n"
        "for node in loaders: node['properties']['models'] = [{'name': 'older'}]\n"
        "print(len(loaders), models.workflow(json.dumps(graph)) == text)"
    )
    assert python("-c", code, host=host).stdout.split() == ["3", "True"]


def test_entries_of_the_managers_list_are_complete():
    """Its own list has these nine in every entry, paths below models/ with forward slashes."""
    entries = json.loads((ROOT / "docs" / "manager_models.json").read_text("utf-8"))["models"]
    names = {"name", "type", "base", "save_path", "description", "reference", "filename", "url", "size"}
    assert entries and all(entry.keys() == names and all(entry.values()) for entry in entries)
    assert not [entry for entry in entries if entry["save_path"].startswith("/") or ".." in entry["save_path"]]


def test_a_workflow_that_needs_nothing_asks_nobody(host, tmp_path):
    (tmp_path / "mine.json").write_text('{"nodes": [{"type": "SaveImage"}]}')
    done = python(str(ROOT / "scripts" / "models.py"), "download", str(tmp_path / "mine.json"), host=host)
    assert (done.returncode, done.stdout + done.stderr) == (0, "[likeness] Nothing of what is published is needed.\n")


def test_converting_without_torch_is_said(host):
    """As with the Python of the system."""
    script = str(ROOT / "scripts" / "to_safetensors.py")
    code = (
        "import runpy, sys; sys.modules['torch'] = None; "
        f"sys.argv[1:] = ['x.bin']; runpy.run_path({script!r}, run_name='__main__')"
    )
    done = python("-c", code, host=host)
    assert "needs torch: run it with the Python that runs ComfyUI." in done.stderr and "Traceback" not in done.stderr
    assert done.returncode == 1
