"""What the doctor says of model folders as people have them, and of packages that overwrite each other."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from pack.core.models import doctor, examine, files, manifest, needs
from pack.core.models.doctor import packages
from pack.core.models.formats import IR_SE50_KEY
from pack.core.thirdparty import installed
from rig import adapters, densepose
from rig.standins import copy_face_pack
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parents[2]
TO_K_OF_CONTROL_NET = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight"
CONTROL_NET = {"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3), TO_K_OF_CONTROL_NET: (640, 2048)}
TO_K = {"ip_adapter.1.to_k_ip.weight": (640, 2048)}
INSTANT_ID = {"image_proj.latents": (1, 16, 1280), "image_proj.proj_in.weight": (1280, 512), **TO_K}
PACK, RECOGNISER = "insightface/models/antelopev2", "facexlib/recognition_arcface_ir_se50.pth"
CHECKPOINT = f"checkpoints/{manifest.model('juggernaut-x').name}"
IDENTITY_NET, OTHER_NET = (
    f"controlnet/{manifest.model(name).name}" for name in ("instantid-controlnet", "id-patch-controlnet")
)


def checkpoint(width):
    return {"model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": (640, width)}


def sparse(path: Path, shapes, size: int = 0) -> Path:
    """A safetensors file of that many bytes, with a real header and nothing behind it that takes room."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header, end = {}, 0
    for key, shape in shapes.items():
        numbers = torch.Size(shape).numel()
        header[key] = {"dtype": "F16", "shape": shape, "data_offsets": [end, end + 2 * numbers]}
        end += 2 * numbers
    length = len(json.dumps(header)) + 200
    if size:
        start, end = end, size - 8 - length
        header["rest"] = {"dtype": "U8", "shape": [end - start], "data_offsets": [start, end]}
    text = json.dumps(header).ljust(length).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(file.tell() + end)
    return path


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def complete(models: Path) -> Path:
    """All that three methods need, tiny or without content."""
    (models / "id_patch").mkdir(parents=True)
    projections = {name: {"norm.weight": torch.zeros(64)} for name in ("patch_proj", "prompt_proj")}
    torch.save(projections, models / "id_patch" / "id-patch.bin")
    sparse(models / OTHER_NET, CONTROL_NET, 5 * 10**9)
    sparse(models / IDENTITY_NET, CONTROL_NET, 25 * 10**8)
    sparse(models / "instantid" / "ip-adapter.bin", INSTANT_ID)
    recogniser = dict.fromkeys(("input_layer.0.weight", IR_SE50_KEY, "output_layer.3.weight"), torch.zeros(1))
    (models / "facexlib").mkdir()
    torch.save(recogniser, models / RECOGNISER, _use_new_zipfile_serialization=False)
    sparse(models / CHECKPOINT, checkpoint(2048))
    copy_face_pack(models / PACK)
    (models / PACK / "det_500m.onnx").rename(models / PACK / "scrfd_10g_bnkps.onnx")
    (models / PACK / "w600k_mbf.onnx").rename(models / PACK / "glintr100.onnx")
    return models


def folders(models: Path):
    keys = {model.key for model in manifest.models()} | {"ipadapter", "loras"}
    return examine.Folders({key: (str(models / key),) for key in keys} | {"": (str(models),)})


def workflow(name: str):
    return json.loads((ROOT / "workflows" / f"{name}.json").read_text("utf-8"))


def report(models: Path, graph="id_patch_two_people"):
    graph = workflow(graph) if isinstance(graph, str) else graph
    return doctor.report("this", needs.wanted(graph), folders(models))


def finding(models: Path, identifier: str):
    return examine.examine(manifest.model(identifier), folders(models))


def test_nothing_there(models):
    """A report says where each download goes and under which name."""
    found = report(models)
    assert {one.state for one in found.findings} == {"missing"} and not found.good
    assert [model.id for model in found.lacking] == [
        "id-patch", "id-patch-controlnet", "arcface-ir-se50", "antelopev2", "juggernaut-x",
    ]  # fmt: skip
    assert "To download: 12.6 GB and ID-Patch projections (size not stated)." in found.text()
    assert f'-o "{models / "id_patch" / "id-patch.bin"}" https://huggingface.co/ByteDance/ID-Patch/' in found.text()
    shown = [one for part in found.shown()["sections"] for one in part["findings"]]
    assert {one["where"].replace(str(models), "MODELS"): one["url"].split("/")[-1] for one in shown} == {
        "into MODELS/id_patch as id-patch.bin": "id-patch.bin",
        "into MODELS/controlnet/ID-Patch/ControlNetModel as diffusion_pytorch_model.safetensors": (
            "diffusion_pytorch_model.safetensors"
        ),
        "into MODELS/facexlib as recognition_arcface_ir_se50.pth": "recognition_arcface_ir_se50.pth",
        "unpacked into MODELS/insightface/models/antelopev2": "antelopev2.zip",
        "into MODELS/checkpoints as Juggernaut-X-RunDiffusion-NSFW.safetensors": (
            "Juggernaut-X-RunDiffusion-NSFW.safetensors"
        ),
    }
    assert all(one["url"].startswith("https://") and str(models) not in one["detail"] for one in shown)
    (parts,) = report(models, {"1": {"class_type": "LikenessLoadParts2Whole", "inputs": {}}}).findings
    assert parts.where == f"all of its files into {models / 'parts2whole' / 'Parts2Whole'}"


@pytest.mark.parametrize("name", ["id_patch_two_people", "instant_id_portrait", "parts_instant_id_and_outfit"])
def test_all_right(complete, name):
    found = report(complete, name)
    assert {one.state for one in found.findings} == {"found"} and found.good
    assert found.text().endswith("Everything that this needs is there.")


def test_what_is_missing_comes_first_by_what_needs_it(complete):
    for path in ("controlnet/InstantID", "insightface", "id_patch"):
        shutil.rmtree(complete / path)
    (complete / "instantid" / "ip-adapter.bin").write_bytes(b"")
    names = ("id_patch_two_people", "instant_id_portrait", "id_patch_with_pose_canny_depth")
    graphs = {name: workflow(name) for name in names}
    wanted = [model for graph in graphs.values() for model in needs.wanted(graph)]
    around = [doctor.host("ComfyUI 1")]
    found = doctor.report("both", wanted, folders(complete), around, users=needs.users(graphs, workflow))
    titles = {title: [one.fetch.id for one in findings if one.fetch] for title, findings in found.sections.items()}
    expected = {
        "Missing for ID-Patch": ["id-patch"],
        "Missing for ID-Patch, InstantID": ["antelopev2"],
        "Missing for InstantID": ["instantid-controlnet"],
        "Missing for single templates": [
            "controlnet-canny-sdxl",
            "controlnet-depth-sdxl",
            "depth-anything-3",
            "sdpose",
            "rt-detr",
        ],
        "To fix for InstantID": ["instantid"],
        "In place": [],
    }
    assert [*titles.items()] == [*expected.items()]
    assert [one["title"] for one in found.shown()["sections"]] == list(titles)
    assert [line[:-1] for line in found.text().splitlines() if line[:-1] in titles] == list(titles)


def shapes_of(name: str):
    """Those of a published IP-Adapter."""
    unet, shapes = adapters.PUBLISHED[name]
    return dict(shapes(unet))


UNREADABLE = Path("/proc/self/mem")
"""A file that nobody can read from its start, not even root."""
PLACED = json.loads(Path(__file__).with_name("doctor_places.json").read_text("utf-8"))
"""A model, what is changed of complete folders, and what is found.

Changed: path -> the path it had before, the share of it that is left, null for nothing, or what it is made of.
"""


def change(models: Path, changes) -> None:
    for name, made in changes.items():
        path = models / name
        path.parent.mkdir(parents=True, exist_ok=True)
        match made:
            case None:
                shutil.rmtree(path)
            case str():
                (models / made).rename(path)
            case float():
                os.truncate(path, min(int(path.stat().st_size * made), 2_500_000))
            case {"bytes": text}:
                path.write_text(text)
            case {"link": target}:
                path.symlink_to(models / target)
            case {"shapes": shapes, **size}:
                sparse(path, shapes, **size)
            case {"published": adapter}:
                sparse(path, shapes_of(adapter))


@pytest.mark.parametrize("case", PLACED)
def test_what_is_in_the_place_of_a_model(complete, case):
    identifier, changes, state, detail = PLACED[case]
    if str(UNREADABLE) in str(changes) and not UNREADABLE.is_file():
        pytest.skip("no /proc here")
    change(complete, changes)
    found = finding(complete, identifier)
    assert found.state == state and detail.replace("MODELS", str(complete)) in found.detail
    assert (found.fetch and found.fetch.id) == (identifier if state in ("missing", "damaged") else None)
    if state == "damaged":
        assert "-C -" not in report(complete).commands[0]  # what is there is no beginning


def test_another_pack_where_only_faces_are_found(complete):
    """ID-Patch needs a detector, of any pack; InstantID antelopev2's own recogniser. All templates need both."""
    packs = complete / "insightface" / "models"
    (packs / "antelopev2").rename(packs / "buffalo_sc")
    (found,) = (one for one in report(complete).findings if one.what.startswith("antelopev2"))
    assert found.state == "found" and found.fetch is None
    assert found.detail.endswith("has one. If the workflow has a Load Face Model, choose buffalo_sc in it.")
    wanted = [*needs.wanted(workflow("id_patch_two_people")), *needs.wanted(workflow("instant_id_portrait"))]
    for models in (wanted, wanted[::-1]):
        both = doctor.report("both", models, folders(complete)).findings
        assert [one.state for one in both if one.what.startswith("antelopev2")] == ["missing"]


def test_plain_controlnets_of_one_length_are_told_by_their_names(models):
    """Nothing else tells pose from depth or from InstantID's; ours may have been saved anew."""
    pose, ours = (manifest.model(name) for name in ("controlnet-openpose-sdxl", "instantid-controlnet"))
    renamed = sparse(models / "controlnet" / "my canny.safetensors", CONTROL_NET, pose.size)
    assert [finding(models, model.id).state for model in (pose, ours)] == ["missing"] * 2
    for model in (pose, ours):
        sparse(models / "controlnet" / model.name, CONTROL_NET, pose.size)
    assert [finding(models, model.id).state for model in (pose, ours)] == ["found"] * 2
    sparse(renamed, CONTROL_NET, ours.size)
    (models / "controlnet" / ours.name).unlink()
    assert str(renamed) in finding(models, ours.id).detail


def test_a_torchscript_network(models):
    path = models / "densepose" / manifest.model("densepose-r50").name
    densepose.save(path, [[0, 0, 1, 1]])
    whole = path.read_bytes()
    at = whole.index(b"PK\1\2") + 6  # one byte of its table of contents: the version of zip
    for data, state in (
        (whole, "found"), (whole[:-500], "damaged"), (whole[:at] + b"\xff" + whole[at + 1 :], "damaged"),
    ):  # fmt: skip
        path.write_bytes(data)
        assert finding(models, "densepose-r50").state == state
    save_file({"weight": torch.zeros(1)}, path)
    assert finding(models, "densepose-r50").state == "damaged"


def test_a_link_to_a_whole_disk(complete, tmp_path, monkeypatch):
    """The nearest files are looked at, each folder once, and what was not is said."""
    for module in (examine, doctor):
        monkeypatch.setattr(module, "MOST", 30)
    for name in range(100):
        (tmp_path / "disk" / str(name)).mkdir(parents=True)
        (tmp_path / "disk" / str(name) / "file").touch()
    (complete / "checkpoints" / "link").symlink_to(tmp_path / "disk")
    walked = []
    plain = files.walk
    monkeypatch.setattr(files, "walk", lambda root: (walked.append(one[0]) or one for one in plain(root)))
    adapter = complete / "instantid" / "ip-adapter.bin"
    adapter.rename(complete / "checkpoints" / adapter.name)
    found = report(complete, "instant_id_portrait")
    assert [one.state for one in found.findings if one.what == "InstantID adapter"] == ["in the wrong place"]
    assert f"{complete}  " in found.text() and "It holds more than 30 files, and only the nearest" in found.text()
    assert len(walked) < 100


def test_an_interrupt_ends_the_report(models):
    """It is asked for before each model."""
    asked = iter([None, None])
    wanted = needs.wanted(workflow("id_patch_two_people"))
    with pytest.raises(StopIteration):
        doctor.report("this", wanted, folders(models), between=lambda: next(asked))


WORKFLOWS = json.loads(Path(__file__).with_name("doctor_workflows.json").read_text("utf-8"))
"""Nodes with what is chosen in them, what is changed of complete folders, and what is not as it should be: the
beginning of its name, and words of its state and detail."""


@pytest.mark.parametrize("case", WORKFLOWS)
def test_what_is_said_of_a_workflow(complete, case):
    """They come from strangers: what they name is looked for in the folder of its kind, and told in one line."""
    chosen, changes, expected = WORKFLOWS[case]
    change(complete, changes)
    graph = workflow(chosen["template"]) if "template" in chosen else {}
    for node in graph.get("nodes", ()):
        node["widgets_values"] = [chosen[node["type"]]] if node["type"] in chosen else node.get("widgets_values")
    for kind, given in () if graph else chosen.items():
        inputs = given if isinstance(given, dict) else {"file": given}
        graph[kind] = given if "class_type" in given else {"class_type": kind, "inputs": inputs}
    found = report(complete, graph)
    wrong = sorted((one.what, f"{one.state}: {one.detail}") for one in found.findings if one.state != "found")
    assert len(wrong) == len(expected) and "\x1b" not in found.text() and found.good is not bool(expected)
    for (what, said), (name, words) in zip(wrong, sorted(expected.items()), strict=True):
        assert what.startswith(name) and re.search(words, said), (what, said)


def test_nodes_that_are_none_of_ours(complete):
    """A second sampler's checkpoint may be of another family; a node without a type is passed over."""
    sparse(complete / "checkpoints" / "dreamshaper.safetensors", checkpoint(768))
    graph = workflow("instant_id_portrait")
    (loader,) = (node for node in graph["nodes"] if node["type"] == "CheckpointLoaderSimple")
    graph["nodes"].append({**loader, "id": 99, "widgets_values": ["dreamshaper.safetensors"]})
    graph["nodes"].append({"id": 100, "widgets_values": ["something"]})
    assert report(complete, graph).good


def test_bypassed_nodes_need_nothing():
    graph = workflow("id_patch_two_people")
    for node in graph["nodes"]:
        node["mode"] = 4
    assert needs.wanted(graph) == ()


def install(folder: Path, *packages: str) -> None:
    for package in packages:
        name, version = package.split("==")
        info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.mark.parametrize(
    ("here", "module", "kept"),
    [
        (("onnxruntime==1.23.2", "onnxruntime-gpu==1.22.0"), "onnxruntime", "onnxruntime-gpu==1.22.0"),
        (("opencv-python==4.11.0.86", "opencv-contrib-python==4.10.0.84"), "cv2", "opencv-contrib-python==4.10.0.84"),
        (("opencv-python==5.0.0.93", "opencv-python-headless==4.11.0.86"), "cv2", "opencv-python==5.0.0.93"),
    ],
)
def test_packages_that_overwrite_each_other(tmp_path, here, module, kept):
    install(tmp_path, *here, "numpy==2.0.0")
    found = doctor.report("this", (), {}, packages(installed([str(tmp_path)]), "python"))
    (clash,) = [one for one in found.findings if one.state == "clash"]
    assert clash.what == module and not found.good
    other = {"onnxruntime": ("cv2", "note"), "cv2": ("onnxruntime", "note")}[module]
    assert other in [(one.what, one.state) for one in found.findings]
    names = {package.split("==")[0] for package in here}
    (command,) = found.commands
    assert set(command.split("uninstall -y ")[1].split(" && ")[0].split()) == names
    assert command.endswith(f'install --no-deps "{kept}"')


def test_commands_for_powershell(models):
    model = manifest.model("instantid")
    assert doctor.fetching(model, folders(models), "nt")[0].startswith("curl.exe -fL -C - --create-dirs -o ")
    unpack = doctor.fetching(manifest.model("antelopev2"), folders(models), "nt")[1]
    assert unpack.startswith('& "') and "-m zipfile -e" in unpack
    parts = doctor.fetching(manifest.model("parts2whole"), folders(models), "nt")
    assert [line.split("--include ")[1] for line in parts] == [
        '"unet/diffusion_pytorch_model.*"', '"reference_unet/diffusion_pytorch_model.*"',
        '"pose_guider/diffusion_pytorch_model.*"', '"decoupled_attn.*"', '"scheduler/scheduler_config.json"',
    ]  # fmt: skip
    both = {"opencv-python": "4.10", "opencv-python-headless": "4.10"}
    (mend,) = [one.detail for one in packages(both, "py.exe", "nt") if one.state == "clash"]
    assert "&&" not in mend and '; & "py.exe" -m pip install' in mend
