"""Check Model Files in a running host: by itself, beside loaders without their file, and for a template."""

import json
import ntpath
import os
import time
from pathlib import Path
from types import SimpleNamespace

import comfy.model_management
import folder_paths
import numpy as np
import pytest
import torch
from pack.bridge.host import folders
from pack.core.models import workflow_needs
from pack.nodes import check_files as bridge
from PIL import Image
from prompts import node
from safetensors.torch import save
from shared import workflow
from shared.choices import as_prompt
from shared.workflow_files import titles

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"


def check(**inputs):
    return {
        "check": {"class_type": "LikenessCheckModelFiles", "inputs": inputs},
        "text": {"class_type": "PreviewAny", "inputs": {"source": ["check", 1]}},
    }


def said(run) -> str:
    return run.outputs["text"]["text"][0]


def test_alone_it_tells_of_the_host(host_server):
    """Nothing but the node is in this workflow, so no model is needed; it runs again each time."""
    assert "check" in host_server.run(check()).executed
    run = host_server.run(check())
    assert "check" in run.executed
    assert "Everything that this workflow needs is there." in said(run)
    assert "ComfyUI 0." in said(run)
    assert "torch" in said(run)
    with Image.open(host_server.file(run.outputs["check"]["images"][0])) as picture:
        report = json.loads(run.outputs["check"]["likeness_doctor"][0])
        assert [part["title"] for part in report["sections"]] == ["In place"]
        assert picture.width == 1280
        assert np.array(picture).std() > 5


def test_beside_a_loader_whose_file_is_not_there(host_server):
    """The host refuses the loader and runs Check Model Files."""
    loader = {"load": {"class_type": "LikenessLoadAdapter", "inputs": {"file": "lost.bin"}}}
    loader |= {"apply": {"class_type": "LikenessApplyInstantID", "inputs": {"adapter": ["load", 0]}}}
    prompt = check() | loader | {"save": {"class_type": "PreviewAny", "inputs": {"source": ["load", 0]}}}
    run = host_server.attempt(prompt)
    assert "LikenessLoadAdapter" in run.error
    assert "lost.bin" in run.error
    (row,) = [line for line in said(run).splitlines() if line.startswith("lost.bin")]
    assert "missing" in row


def test_for_a_template(host_server, standin_models):
    run = host_server.run(check(workflow="start_two_people"))
    (row,) = [line for line in said(run).splitlines() if line.startswith("ID-Patch projections")]
    assert "found" in row and standin_models.id_patch_mlp.name in row, "its loader finds it under any name"
    (row,) = [line for line in said(run).splitlines() if line.startswith("ID-Patch ControlNet")]
    assert "missing" in row
    assert "(5 GB)" in row
    titles = json.loads((Path(bridge.__file__).parents[1] / "locales" / "en" / "main.json").read_text("utf-8"))
    title = titles["templateWorkflows"]["template"]["likeness"]["start_two_people"]
    assert f"Still to do for {title}: " in said(run)
    assert run.notes == [], "its table says it"


def missing(server, body: bytes):
    """What the editor is told of what it would send."""
    answer = json.loads(server.read("/likeness/missing", body))
    told = [finding for section in answer.pop("report")["sections"] for finding in section["findings"]]
    assert len([finding for finding in told if finding["state"] != "found"]) == len(answer["names"])
    return answer


def template(name: str) -> bytes:
    """As the page posts it."""
    return json.dumps(as_prompt(workflow.load(WORKFLOWS / f"{name}.json"))).encode()


(CHECKPOINT,) = (
    file.name for file in workflow_needs.loaded(json.loads(template("start_portrait"))) if file.key == "checkpoints"
)
LOST = {
    "names": ["antelopev2", "InstantID/ControlNetModel/diffusion_pytorch_model.safetensors", CHECKPOINT],
    "size": "2.9 GB", "unsized": 0, "all_missing": False, "older": "",
}  # fmt: skip
"""What *start_portrait* lacks here."""


def test_the_editor_is_told_what_is_missing(host_server):
    """By names and their size."""
    # The checkpoint is there under another name, which its menu has to be set to: no download, and no run before.
    nothing = {"names": [], "size": "", "unsized": 0, "all_missing": True, "older": ""}
    assert missing(host_server, template("start_portrait")) == LOST
    chosen = next(file for file in host_server.get("/models/checkpoints") if "sdxl" in file)
    assert missing(host_server, template("start_outfit").replace(CHECKPOINT.encode(), chosen.encode())) == nothing
    of_toy = template("start_portrait").replace(b"ip-adapter.bin", b"standin-toy.bin")
    assert missing(host_server, of_toy) == nothing
    many = json.dumps({n: node("LoraLoader", lora_name=f"../../{n}") for n in range(100)})
    expected = {"names": [str(n) for n in range(100)], "size": "", "unsized": 0, "all_missing": True, "older": ""}
    assert missing(host_server, many.encode()) == expected
    older = missing(host_server, template("references_qwen_2_1_three_people"))["older"]
    assert older.startswith("Qwen-Image 2.1 needs ComfyUI 0.36 or newer") == (host_server.host.version < (0, 36))


NOT_LOADED = {
    "text": (b"Sorry, this file is gone.", "is text, not a model (25 bytes). Download it again."),
    "half a download": (b"\x00\x20\0\0\0\0\0\0{", "Download it again."),
    "a LoRA": ({"a.lora_down.weight": (4, 4), "a.lora_up.weight": (4, 4)}, "is a LoRA. Put it into models/loras"),
    "whole": ({"first.weight": (4, 4)}, ""),
}
"""What a loader of the host could not read, and what is said of it."""


@pytest.mark.parametrize("what", NOT_LOADED)
def test_the_editor_is_told_why_a_file_was_not_loaded(host_server, what):
    """Of every menu of the host's loaders."""
    content, says = NOT_LOADED[what]
    data = content if isinstance(content, bytes) else save({name: torch.zeros(of) for name, of in content.items()})
    prompt = {"1": node("CheckpointLoaderSimple", ckpt_name="not_there.safetensors")}
    paths = []
    for kind, menus in workflow_needs.LOADERS.items():
        for menu, key in menus.items():
            path = host_server.base / "models" / key / f"odd_{key}.safetensors"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            paths.append(path)
            name = menu.replace("*", "0")
            prompt.setdefault(kind + key, node(kind))["inputs"][name] = path.name
    try:
        found = json.loads(host_server.read("/likeness/unreadable", json.dumps(prompt).encode()))
    finally:
        for path in set(paths):
            path.unlink()
    told = [(one["node"], one["input"]) for one in found if says in one["says"]]
    menus = [(number, name) for number, entry in prompt.items() for name in entry["inputs"]][1:]
    # A LoRA lies in its own folder.
    menus = [menu for menu in menus if what != "a LoRA" or not menu[0].endswith("loras")]
    assert told == (menus if says else [])
    assert len(found) == len(told)


def test_what_is_no_workflow_is_refused_and_one_in_another_encoding_read(host_server):
    for body in (b"[]", b"{", b"\xff", b'{"1": 1}'):
        with pytest.raises(OSError, match="400"):
            missing(host_server, body)
    for encoding in ("utf-8-sig", "utf-16"):  # as programs of Windows write files
        assert missing(host_server, template("start_portrait").decode().encode(encoding)) == LOST


def test_a_workflow_of_endless_choices_is_refused_in_seconds(host_server):
    kinds = {"LoraLoader": "lora_name", "LikenessLoadAdapter": "file", "LikenessLoadFaceEmbedder": "pack"}
    for kind, menu in kinds.items():
        body = {n: node(kind, **{menu: str(n)}) for n in range(60_000)}
        began = time.monotonic()
        with pytest.raises(OSError, match="400"):
            missing(host_server, json.dumps(body).encode())
        assert time.monotonic() - began < 30


def test_the_menus_of_model_files_are_those_of_the_host(host_server):
    """With a file of its own in every model folder."""
    files: dict[str, str] = {}
    models = host_server.base / "models"
    for key, (roots, endings) in folder_paths.folder_names_and_paths.items():
        if key in ("configs", "custom_nodes", "likeness_faces", "insightface", "facexlib") or not roots:
            continue
        ending = ".safetensors" if not endings or ".safetensors" in endings else sorted(endings)[0]
        files[f"a_menu_of_{key}{ending}"] = key
        path = models / key / f"a_menu_of_{key}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    try:
        info = host_server.get("/object_info")
    finally:
        for name, key in files.items():
            (models / key / name).unlink()
    menus: dict[str, dict[str, str]] = {}
    for kind in info:
        for name, spec in workflow.specs(info, kind).items():
            for word in spec.menu or ():
                if isinstance(word, str) and word in files:
                    menus.setdefault(kind, {})[name] = files[word]
    # Stacks of menus came after the newest host that is tried here.
    loaders = {kind: menu for kind, menu in workflow_needs.LOADERS.items() if not any("*" in name for name in menu)}
    if host_server.host.version < (0, 33):
        loaders = {kind: menu for kind, menu in loaders.items() if kind in info}
    assert {kind: menus.get(kind) for kind in loaders} == loaders


def models_in_report(choice: str) -> set[str]:
    return {finding.what for finding in bridge.report(choice, {}).findings}


def test_check_files_opens_on_the_templates_to_start_with():
    """Which stand first in the menu, in the order of the gallery."""
    nodes = json.loads((WORKFLOWS / "check_files.json").read_text("utf-8"))["nodes"]
    assert [node["widgets_values"] for node in nodes if node["type"] == "LikenessCheckModelFiles"] == [
        ["start templates"]
    ]
    starts = ["start_two_people", "start_portrait", "start_outfit", "start_person_in_photo"]
    assert {*starts} == {path.stem for path in WORKFLOWS.glob("start_*.json")}
    assert bridge.choices()[:8] == ["this workflow", "start templates", "all templates", *starts, "check_files"]
    assert bridge.choices()[3:] == list(titles("en"))
    few, every = (models_in_report(choice) for choice in bridge.choices()[1:3])
    assert {"InstantID adapter", "ID-Patch projections"} < few < every
    assert "PuLID v1.1 (SDXL)" in every - few


OF_OTHER_PACKS = {
    "as the host": lambda path: ([str(path)], {".gguf"}),
    "lists": lambda path: [[str(path)], [".gguf"]],
    "a path object": lambda path: ([path, None], (".gguf", None)),
    "bytes": lambda path: ([os.fsencode(path), b"a\0b"], {".gguf"}),
    "sets": lambda path: ({str(path)}, frozenset({".gguf"})),
    "no list": lambda path: (str(path), ".gguf"),
    "three values": lambda path: ([f"{path}{os.sep}"], {".gguf"}, "more"),
}


@pytest.mark.parametrize("shape", OF_OTHER_PACKS)
def test_folders_of_other_packs_are_kept_in_whatever_shape_they_stand(monkeypatch, tmp_path, shape):
    """As extra_model_paths.yaml and packs name them: ours is searched after them."""
    table = folder_paths.folder_names_and_paths
    monkeypatch.setitem(table, "instantid", OF_OTHER_PACKS[shape](tmp_path))
    monkeypatch.setitem(table, "segm", OF_OTHER_PACKS[shape](tmp_path))
    folders.register()
    ours = str(Path(folder_paths.models_dir) / "instantid")
    assert folders.folders("instantid", "segm") == [str(tmp_path), ours]
    assert {".gguf", ".bin"} <= table["instantid"][1]
    assert table["instantid"][2:] == (("more",) if shape == "three values" else ())
    assert [path.rstrip(os.sep) for path in folders.folders_by_key()["segm"]] == [str(tmp_path)]


@pytest.mark.parametrize("root", ["R:\\", "\\\\NAS\\ai\\", "R:\\in"])
def test_a_folder_may_be_the_root_of_a_drive_or_share(monkeypatch, root):
    """By the rules of Windows. R: alone would be whatever folder of that drive is the current one."""
    windows = SimpleNamespace(**{**vars(os), "path": ntpath, "sep": "\\"})
    monkeypatch.setattr(folders, "os", windows)
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "segm", ([root], set()))
    assert folders.folders("segm") == [root]
    inside = folders.path_within(root, "anna/1.png")
    assert inside == ntpath.join(root, "anna", "1.png")
    assert folders.lies_within(inside, root)
    assert not folders.lies_within(f"{root.rstrip(chr(92))}2\\1.png", root), "a neighbour with a longer name"
    with pytest.raises(folders.UnsafePath):
        folders.path_within(root, "Q:\\1.png")


@pytest.mark.parametrize("entry", [None, 5, (), ([],), (["/none"], None), {"paths": ["/none"]}])
def test_what_is_no_entry_of_the_host_s_table_stops_nothing(monkeypatch, tmp_path, entry):
    table = folder_paths.folder_names_and_paths
    for key in ("likeness_faces", "loras", "custom_nodes", 5, None):
        monkeypatch.setitem(table, key, entry)
    monkeypatch.delitem(table, "controlnet")
    (tmp_path / "anna.pt").touch()
    monkeypatch.setitem(table, "vae", ([tmp_path], None))
    assert folders.folders("likeness_faces"), "where people are saved"
    folders.register()
    assert ".safetensors" in table["likeness_faces"][1]
    assert {type(key) for key in folders.folders_by_key()} == {str}
    assert folders.folders("controlnet") == []
    assert folders.file_names("vae") == ["anna.pt"], "without endings all files are listed, as in the host"
    prompt = {"1": {"class_type": "LoraLoader", "inputs": {"lora_name": "anna.safetensors"}}}
    assert "anna.safetensors" in str(bridge.report("this workflow", prompt).findings)


def test_it_ends_where_the_user_interrupts():
    comfy.model_management.interrupt_current_processing()
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        bridge.report("start_portrait", {})
