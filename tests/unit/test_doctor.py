"""What the doctor says of model folders as people have them, and of packages that overwrite each other."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import sys
import time
from pathlib import Path

import pytest
import torch
from environment import SetupError
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
    """A safetensors file of that many bytes, with a real header and nothing behind it that takes room on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header, end = {}, 0
    for key, shape in shapes.items():
        numbers = torch.Size(shape).numel()
        header[key] = {"dtype": "F16", "shape": shape, "data_offsets": [end, end + 2 * numbers]}
        end += 2 * numbers
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(max(size, file.tell() + end))
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


def long_ago(folder: Path) -> None:
    """As if nothing in it had changed for an hour."""
    os.utime(folder, (time.time() - 3600,) * 2)


def folders(models: Path):
    keys = {model.key for model in manifest.models()} | {"ipadapter", "loras"}
    return {key: (str(models / key),) for key in keys} | {"": (str(models),)}


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


CLIP_H, CLIP_G = (f"clip_vision/{manifest.model(name).name}" for name in ("clip-vit-h", "clip-vit-bigg"))
OF_BIGG, PLUS_FACE = {"vision_model.embeddings.class_embedding": [1664]}, "ip-adapter-plus-face_sd15"
OF_FLUX = {f"{name}.weight": (1,) for name in ("controlnet_x_embedder", "context_embedder", "controlnet_blocks.0")}
NETS_CHANGED, FACE_ID = {IDENTITY_NET: OTHER_NET}, {"ipadapter/any name.bin": shapes_of("ip-adapter-faceid_sdxl")}
UNREADABLE = Path("/proc/self/mem")
"""A file that nobody can read from its start, not even root."""
PLACED = {
    "a pack that is nested twice": (
        "antelopev2", {"x": PACK, f"{PACK}/antelopev2": "x"}, "found", "nested twice, which Likeness reads",
    ),
    "a pack without its recogniser": ("antelopev2", {"x": f"{PACK}/glintr100.onnx"}, "missing", "has no recogniser."),
    "a pack beside its place": ("antelopev2", {"antelopev2": PACK}, "in the wrong place", f"to MODELS/{PACK}."),
    "a pack that is packed": (
        "antelopev2", {PACK: None, "insightface/antelopev2.zip": b"PK"}, "in the wrong place", "is not unpacked",
    ),
    "a file in the folder of another pack": (
        "instantid", {"ipadapter/ip-adapter.bin": "instantid/ip-adapter.bin"}, "in the wrong place",
        "move it to MODELS/instantid/ip-adapter.bin.",
    ),
    "another name, for a loader that finds it": (
        "id-patch", {"id_patch/mine.bin": "id_patch/id-patch.bin"}, "found", "MODELS/id_patch/mine.bin",
    ),
    "another name, for one that does not": (
        "juggernaut-x", {"checkpoints/other.safetensors": CHECKPOINT}, "found",
        "choose other.safetensors in its loader.",
    ),
    # It has the same tensors, and says nothing about what a person looks like.
    "the miniature's": (
        "id-patch", {"id_patch/standin-miniature.bin": "id_patch/id-patch.bin"}, "missing", "id-patch.bin is",
    ),
    "the folder of the miniature": (
        "arcface-ir-se50", {RECOGNISER.replace("/", "/standin-miniature/"): RECOGNISER}, "missing",
        "recognition_arcface_ir_se50.pth is not there",
    ),
    "a folder that is not complete": (
        "parts2whole", {"parts2whole/Parts2Whole/scheduler/scheduler_config.json": b"{}"}, "missing",
        "Not complete: Parts2Whole/unet/",
    ),
    "another IP-Adapter": (
        "instantid", {"instantid/ip-adapter.bin": TO_K}, "the wrong kind",
        "is an SDXL IP-Adapter of another kind; an InstantID",
    ),
    "a ControlNet of SD1.5": (
        "instantid-controlnet", {IDENTITY_NET: {**CONTROL_NET, TO_K_OF_CONTROL_NET: (640, 768)}}, "the wrong kind",
        "for SD1.5; one for SDXL is needed",
    ),
    "a ControlNet of FLUX": (
        "instantid-controlnet", {IDENTITY_NET: OF_FLUX}, "the wrong kind", "for FLUX.1; one for SDXL is needed",
    ),
    # Their tensors have the same names and shapes; the publishers' files have not the same length.
    "ID-Patch's ControlNet for InstantID's": (
        "instantid-controlnet", NETS_CHANGED, "the wrong kind", "is, by its length (5 GB), the ID-Patch ControlNet",
    ),
    "ID-Patch's ControlNet under another name": (
        "id-patch-controlnet", NETS_CHANGED, "found", f"MODELS/{IDENTITY_NET}",
    ),
    "an encoder of another size": (
        "clip-vit-h", {CLIP_H: OF_BIGG}, "the wrong kind", "is the CLIP vision encoder ViT-bigG/14; the",
    ),
    "an encoder under the name of another": (
        "clip-vit-bigg", {CLIP_H: OF_BIGG}, "found", f"MODELS/{CLIP_H}: choose {Path(CLIP_H).name} in its loader.",
    ),
    "an encoder is no other": ("clip-vit-h", {CLIP_G: OF_BIGG}, "missing", ""),
    # IP-Adapter Plus for pictures is none for faces; in a folder of its own either is what it is.
    "an adapter for pictures of the shapes of one for faces": (
        PLUS_FACE, {"ipadapter/ip-adapter-plus_sd15.safetensors": shapes_of(PLUS_FACE)}, "missing", "",
    ),
    "an adapter that its loader finds": (
        PLUS_FACE, {f"ipadapter/mine/{PLUS_FACE}.bin": shapes_of(PLUS_FACE)}, "found",
        f"MODELS/ipadapter/mine/{PLUS_FACE}.bin",
    ),
    "an adapter of shapes that no other has": ("ip-adapter-faceid_sdxl", FACE_ID, "found", "any name.bin"),
    "an adapter of another family": ("ip-adapter-faceid_sd15", FACE_ID, "missing", ""),
    "a web page": (
        "id-patch", {"id_patch/id-patch.bin": b"<!DOCTYPE html><title>Sign in</title>"}, "damaged",
        "a web page (HTML) saved under a model's name (37 bytes)",
    ),
    **{f"{name}, cut off": (name, {path: 0.5}, "damaged", "cut off while downloading") for name, path in {
        "id-patch": "id_patch/id-patch.bin", "id-patch-controlnet": OTHER_NET, "arcface-ir-se50": RECOGNISER,
        "antelopev2": f"{PACK}/glintr100.onnx",
    }.items()},
    "links that lead nowhere": (
        "id-patch", {f"id_patch/{name}": Path("gone") for name in ("a.bin", "b.safetensors", "c.onnx")}, "found", "",
    ),
    "a pack beside a link that leads nowhere": (
        "antelopev2", {"insightface/models/d.onnx": Path("gone")}, "found", f"MODELS/{PACK}",
    ),
    "a file beside one that cannot be read": (
        "id-patch", {"id_patch/a.bin": UNREADABLE, "id_patch/mine.bin": "id_patch/id-patch.bin"}, "found",
        "MODELS/id_patch/mine.bin",
    ),
    "a file that cannot be read": (
        "id-patch", {"x": "id_patch/id-patch.bin", "id_patch/id-patch.bin": UNREADABLE}, "damaged",
        "id-patch.bin cannot be read (",
    ),
}  # fmt: skip
"""A model, what is changed of complete folders, and what is found.

Changed: path -> the path it had before, its bytes, its shapes, the share of it that is left, a link, or nothing.
"""


def change(models: Path, changes) -> None:
    for name, made in changes.items():
        path = models / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(made, str):
            (models / made).rename(path)
        elif isinstance(made, bytes):
            path.write_bytes(made)
        elif isinstance(made, dict):
            sparse(path, made)
        elif isinstance(made, float):
            os.truncate(path, min(int(path.stat().st_size * made), 2_500_000))
        elif isinstance(made, Path):
            path.symlink_to(made if made.is_absolute() else models / made)
        else:
            shutil.rmtree(path)


@pytest.mark.parametrize("case", PLACED)
def test_what_is_in_the_place_of_a_model(complete, case):
    identifier, changes, state, detail = PLACED[case]
    if UNREADABLE in changes.values() and not UNREADABLE.is_file():
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
    # The loader refuses to run without a recogniser that is chosen by its name, without InstantID, too.
    for recognisers, state in (("antelopev2", "missing"), ("all found", "found")):
        loader = {"pack": "antelopev2", "recognisers": recognisers, "provider": "auto", "backend": "auto"}
        graph = {"1": {"class_type": "LikenessLoadFaceModel", "inputs": loader}}
        assert [one.state for one in report(complete, graph).findings] == [state]


def test_plain_controlnets_of_one_length_are_told_by_their_names(models):
    """Nothing else tells pose from depth or from InstantID's; ours may have been saved anew."""
    pose, ours = (manifest.model(name) for name in ("controlnet-openpose-sdxl", "instantid-controlnet"))
    renamed = sparse(models / "controlnet" / "my canny.safetensors", CONTROL_NET, pose.size or 0)
    assert [finding(models, model.id).state for model in (pose, ours)] == ["missing"] * 2
    for model in (pose, ours):
        sparse(models / "controlnet" / model.name, CONTROL_NET, pose.size or 0)
    long_ago(models / "controlnet")
    assert [finding(models, model.id).state for model in (pose, ours)] == ["found"] * 2
    os.truncate(renamed, ours.size or 0)
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


@pytest.mark.parametrize("kind", ["CheckpointLoaderSimple", "ControlNetLoader"])
def test_a_file_without_tensors(complete, kind):
    folder = "checkpoints" if kind == "CheckpointLoaderSimple" else "controlnet"
    save_file({}, complete / folder / "empty.safetensors")
    found = report(complete, {"1": {"class_type": kind, "inputs": {"file": "empty.safetensors"}}})
    assert not found.good and "holds no tensors" in found.text()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a" * 10_000, "aaa..."),
        ("/etc/passwd", "checkpoints/etc/passwd is not there"),
        ("../../../../../../etc/passwd", "checkpoints/etc/passwd is not there"),
        ("", "a file without a name"),
        ("a\0b", "a b"),
        ("x.ckpt\n\x1b[31mTo fix it:\nrm -rf", "x.ckpt [31mTo fix it: rm -rf"),
    ],
)
def test_names_that_no_file_has(complete, name, told):
    """Workflows come from strangers: what they name is looked for in the folder of its kind, and told in one line."""
    found = report(complete, {"1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": name}}})
    (line,) = [line for line in found.text().splitlines() if "missing" in line]
    assert told in line and "\x1b" not in found.text() and len(found.findings) == 1


def test_every_folder_is_walked_once(models, monkeypatch):
    for key in ("id_patch", "checkpoints", "insightface"):
        (models / key).mkdir(parents=True)
        long_ago(models / key)
    long_ago(models)
    walked = []
    plain = files.walk
    monkeypatch.setattr(files, "walk", lambda root: walked.append(str(root)) or plain(root))
    for _ in range(3):
        assert len(report(models).lacking) == 5
    assert len(walked) == len(set(walked)) > 3


def test_a_link_to_a_whole_disk(complete, tmp_path, monkeypatch):
    """The nearest files are looked at, and what was not is said."""
    for module in (examine, doctor):
        monkeypatch.setattr(module, "MOST", 30)
    for name in range(100):
        (tmp_path / "disk" / str(name)).mkdir(parents=True)
        (tmp_path / "disk" / str(name) / "file").touch()
    (complete / "checkpoints" / "link").symlink_to(tmp_path / "disk")
    long_ago(complete / "checkpoints")
    walked = []
    plain = files.walk
    monkeypatch.setattr(files, "walk", lambda root: (walked.append(one) or one for one in plain(root)))
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


def test_a_workflow_without_a_face_pack(complete):
    found = report(complete, "id_patch_faces_from_landmarks")
    assert [(one.fetch.id, one.state) for one in found.findings if one.fetch] == [("mediapipe-face", "missing")]
    keys = {"mesh.head_landmarks.weight": (1434, 8, 3, 3), "canonical_vertices": (478, 3)}
    sparse(complete / "detection" / "mediapipe_face_fp32.safetensors", keys, 5423900)
    assert report(complete, "id_patch_faces_from_landmarks").good


def checkpoint_loader(graph):
    return next(node for node in graph["nodes"] if node["type"] == "CheckpointLoaderSimple")


def with_checkpoint(models: Path, name: str):
    """What is wrong where a workflow for SDXL loads this checkpoint."""
    graph = workflow("instant_id_portrait")
    checkpoint_loader(graph)["widgets_values"] = [name]
    return [one for one in report(models, graph).findings if one.state != "found"]


def test_a_checkpoint_of_ones_own(complete):
    mine = sparse(complete / "checkpoints" / "mine.safetensors", checkpoint(2048))
    assert with_checkpoint(complete, "mine.safetensors") == []
    assert with_checkpoint(complete, "lost.safetensors") == [], "another SDXL checkpoint is there"
    mine.unlink()
    (complete / CHECKPOINT).unlink()
    (lost,) = with_checkpoint(complete, "lost.safetensors")
    assert (lost.what, lost.state, lost.fetch) == ("lost.safetensors", "missing", None)
    sparse(complete / "checkpoints" / "dreamshaper.safetensors", checkpoint(768))
    (other,) = with_checkpoint(complete, "dreamshaper.safetensors")
    assert other.state == "the wrong kind"
    assert "dreamshaper.safetensors is an SD1.5 model; an SDXL model is needed" in other.detail


def test_nodes_that_are_none_of_ours(complete):
    """A second sampler's checkpoint may be of another family; a node without a type is passed over."""
    sparse(complete / "checkpoints" / "dreamshaper.safetensors", checkpoint(768))
    graph = workflow("instant_id_portrait")
    graph["nodes"].append({**checkpoint_loader(graph), "id": 99, "widgets_values": ["dreamshaper.safetensors"]})
    graph["nodes"].append({"id": 100, "widgets_values": ["something"]})
    assert report(complete, graph).good


def test_what_an_ip_adapter_needs_goes_by_its_file(models):
    """The recogniser of FaceID, and a checkpoint of its family; a file of one's own is looked for as well."""
    sparse(models / "checkpoints" / "mine.safetensors", checkpoint(2048))
    copy_face_pack(models / "insightface" / "models" / "buffalo_l")
    (models / "insightface" / "models" / "buffalo_l" / "w600k_mbf.onnx").unlink()

    def found(file):
        chosen = {"LikenessLoadIPAdapter": file, "LikenessLoadFaceModel": "buffalo_l"}
        chosen |= {"CheckpointLoaderSimple": "mine.safetensors", "LikenessIdentity": ""}
        graph = {kind: {"class_type": kind, "inputs": {"file": name}} for kind, name in chosen.items()}
        return {one.what: one for one in report(models, graph).findings}

    sparse(models / "ipadapter" / "ip-adapter-faceid_sd15.bin", shapes_of("ip-adapter-faceid_sd15"))
    face = found("ip-adapter-faceid_sd15.bin")
    assert face["IP-Adapter FaceID for SD1.5"].state == "found"
    assert face["mine.safetensors"].state == "the wrong kind" and "an SD1.5 model is" in face["mine.safetensors"].detail
    assert "has no recogniser" in face["buffalo_l (face detector and recogniser)"].detail
    plus = found("ip-adapter-plus-face_sdxl_vit-h.safetensors")
    assert plus["IP-Adapter Plus Face for SDXL"].state == "missing" and plus["mine.safetensors"].state == "found"
    assert plus["buffalo_l (face detector and recogniser)"].state == "found", "its detector alone is needed"
    assert found("of my own.bin")["of my own.bin"].state == "missing"


def test_bypassed_nodes_need_nothing():
    graph = workflow("id_patch_two_people")
    for node in graph["nodes"]:
        node["mode"] = 4
    assert needs.wanted(graph) == ()


def test_a_node_of_a_prompt_may_have_any_id():
    """Clients choose them; in a saved workflow these are the names of its lists."""
    loader = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "mine.safetensors"}}
    assert [model.name for model in needs.wanted({"nodes": loader, "definitions": loader})] == ["mine.safetensors"]


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
    names = {package.split("==")[0] for package in here}
    (command,) = found.commands
    assert set(command.split("uninstall -y ")[1].split(" && ")[0].split()) == names
    assert command.endswith(f'install --no-deps "{kept}"')


def test_packages_that_do_not(tmp_path):
    install(tmp_path, "onnxruntime-gpu==1.22.0")
    states = {one.what: one.state for one in packages(installed([str(tmp_path)]))}
    assert states == {"onnxruntime": "ok", "cv2": "note"}


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


def test_from_the_terminal(complete, monkeypatch, capsys):
    (complete / "id_patch" / "id-patch.bin").unlink()
    monkeypatch.setattr(sys, "path", [*sys.path])  # the script puts its folders in front
    script = runpy.run_path(str(ROOT / "scripts" / "models.py"))

    def run(name: str) -> int:
        monkeypatch.setattr(sys, "argv", ["models.py", "doctor", name, "--models", str(complete)])
        return script["main"]()

    assert run("id_patch_two_people") == 1
    said = capsys.readouterr().out
    assert said.count("found") == 4 and "id-patch.bin is not there (size not stated)" in said
    with pytest.raises(SetupError, match=r"There is no workflow nothing\. Ours are check_files, id_patch_"):
        run("nothing")
