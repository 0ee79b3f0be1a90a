"""What the doctor says of model folders as people have them, and of packages that overwrite each other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
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
CONTROL_NET = {
    "controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3),
    "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight": (640, 2048),
}
TO_K = {"ip_adapter.1.to_k_ip.weight": (640, 2048)}
INSTANT_ID = {"image_proj.latents": (1, 16, 1280), "image_proj.proj_in.weight": (1280, 512), **TO_K}


def checkpoint(width):
    return {"model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": (640, width)}


def sparse(path: Path, shapes, size: int) -> Path:
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
    sparse(models / "controlnet" / manifest.model("id-patch-controlnet").name, CONTROL_NET, 5 * 10**9)
    sparse(models / "controlnet" / manifest.model("instantid-controlnet").name, CONTROL_NET, 25 * 10**8)
    sparse(models / "instantid" / "ip-adapter.bin", INSTANT_ID, 0)
    recogniser = dict.fromkeys(("input_layer.0.weight", IR_SE50_KEY, "output_layer.3.weight"), torch.zeros(1))
    (models / "facexlib").mkdir()
    torch.save(
        recogniser, models / "facexlib" / "recognition_arcface_ir_se50.pth", _use_new_zipfile_serialization=False
    )
    sparse(models / "checkpoints" / manifest.model("juggernaut-x").name, checkpoint(2048), 0)
    antelope(models / "insightface" / "models" / "antelopev2")
    return models


def antelope(folder: Path) -> None:
    copy_face_pack(folder)
    (folder / "det_500m.onnx").rename(folder / "scrfd_10g_bnkps.onnx")
    (folder / "w600k_mbf.onnx").rename(folder / "glintr100.onnx")


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
    found = report(models)
    assert {one.state for one in found.findings} == {"missing"} and not found.good
    assert [model.id for model in found.lacking] == [
        "id-patch", "id-patch-controlnet", "arcface-ir-se50", "antelopev2", "juggernaut-x",
    ]  # fmt: skip
    assert "To download: 12.6 GB and ID-Patch projections (size not stated)." in found.text()
    assert f'-o "{models / "id_patch" / "id-patch.bin"}" https://huggingface.co/ByteDance/ID-Patch/' in found.text()


@pytest.mark.parametrize("name", ["id_patch_two_people", "instant_id_portrait", "parts_instant_id_and_outfit"])
def test_all_right(complete, name):
    found = report(complete, name)
    assert {one.state for one in found.findings} == {"found"} and found.good
    assert found.text().endswith("Everything that this needs is there.")


def test_what_is_missing_comes_first_by_what_needs_it(complete):
    for path in ("controlnet/InstantID", "insightface", "id_patch"):
        shutil.rmtree(complete / path)
    (complete / "instantid" / "ip-adapter.bin").write_bytes(b"")
    graphs = {name: workflow(name) for name in ("id_patch_two_people", "instant_id_with_canny_control")}
    wanted = [model for graph in graphs.values() for model in needs.wanted(graph)]
    around = [doctor.host("ComfyUI 1")]
    found = doctor.report("both", wanted, folders(complete), around, users=needs.users(graphs, workflow))
    titles = {title: [one.fetch.id for one in findings if one.fetch] for title, findings in found.sections.items()}
    expected = {
        "Missing for ID-Patch": ["id-patch"],
        "Missing for ID-Patch, InstantID": ["antelopev2"],
        "Missing for InstantID": ["instantid-controlnet"],
        "Missing for single templates": ["controlnet-canny-sdxl"],
        "To fix for InstantID": ["instantid"],
        "In place": [],
    }
    assert [*titles.items()] == [*expected.items()]
    assert [one["title"] for one in found.shown()["sections"]] == list(titles)
    assert [line[:-1] for line in found.text().splitlines() if line[:-1] in titles] == list(titles)


def test_a_report_says_where_each_download_goes_and_under_which_name(models):
    shown = [one for part in report(models).shown()["sections"] for one in part["findings"]]
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


PACK, RECOGNISER = "insightface/models/antelopev2", "recognition_arcface_ir_se50.pth"
CHECKPOINT, IDENTITY_NET = (manifest.model(name).name for name in ("juggernaut-x", "instantid-controlnet"))
MOVED = {
    "a pack that is nested twice": (
        "antelopev2", [(PACK, "x"), ("x", f"{PACK}/antelopev2")], "found", "nested twice, which Likeness reads",
    ),
    "a pack without its recogniser": ("antelopev2", [(f"{PACK}/glintr100.onnx", "x")], "missing", "has no recogniser."),
    "a pack beside its place": ("antelopev2", [(PACK, "antelopev2")], "in the wrong place", f"to MODELS/{PACK}."),
    "a file in the folder of another pack": (
        "instantid", [("instantid/ip-adapter.bin", "ipadapter/ip-adapter.bin")], "in the wrong place",
        "move it to MODELS/instantid/ip-adapter.bin.",
    ),
    "another name, for a loader that finds it": (
        "id-patch", [("id_patch/id-patch.bin", "id_patch/mine.bin")], "found", "MODELS/id_patch/mine.bin",
    ),
    "another name, for one that does not": (
        "juggernaut-x", [(f"checkpoints/{CHECKPOINT}", "checkpoints/other.safetensors")], "found",
        "choose other.safetensors in its loader.",
    ),
    # It has the same tensors, and says nothing about what a person looks like.
    "the miniature's": (
        "id-patch", [("id_patch/id-patch.bin", "id_patch/standin-miniature.bin")], "missing", "id-patch.bin is",
    ),
    "the folder of the miniature": (
        "arcface-ir-se50", [(f"facexlib/{RECOGNISER}", f"facexlib/standin-miniature/{RECOGNISER}")], "missing",
        f"{RECOGNISER} is not there",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MOVED)
def test_what_lies_elsewhere(complete, case):
    identifier, moves, state, detail = MOVED[case]
    for source, target in moves:
        (complete / target).parent.mkdir(parents=True, exist_ok=True)
        (complete / source).rename(complete / target)
    found = finding(complete, identifier)
    assert found.state == state and detail.replace("MODELS", str(complete)) in found.detail
    assert (found.fetch and found.fetch.id) == (identifier if state == "missing" else None)


def for_family(width: int):
    return {**CONTROL_NET, "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight": (640, width)}


OF_FLUX = {f"{name}.weight": (1,) for name in ("controlnet_x_embedder", "context_embedder", "controlnet_blocks.0")}
# What stands in the place of a model: its shapes, or its bytes.
REPLACED = {
    "instantid": ("ip-adapter.bin", TO_K, "the wrong kind", "is an SDXL IP-Adapter of another kind; an InstantID"),
    "instantid-controlnet": (IDENTITY_NET, for_family(768), "the wrong kind", "for SD1.5; one for SDXL is needed"),
    "controlnet of FLUX": (IDENTITY_NET, OF_FLUX, "the wrong kind", "for FLUX.1; one for SDXL is needed"),
    "id-patch": (
        "id-patch.bin", b"<!DOCTYPE html><title>Sign in</title>", "damaged",
        "a web page (HTML) saved under a model's name (37 bytes)",
    ),
    "antelopev2": ("antelopev2.zip", b"PK", "in the wrong place", "is not unpacked"),
}  # fmt: skip


@pytest.mark.parametrize("case", REPLACED)
def test_what_stands_in_the_place_of_a_model(complete, case):
    name, held, state, detail = REPLACED[case]
    model = manifest.model("instantid-controlnet" if " " in case else case)
    if name.endswith(".zip"):
        shutil.rmtree(complete / PACK)
    path = complete / model.key / name
    path.write_bytes(held) if isinstance(held, bytes) else sparse(path, held, 0)
    found = finding(complete, model.id)
    assert found.state == state and detail in found.detail


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


@pytest.mark.parametrize(("recognisers", "state"), [("antelopev2", "missing"), ("all found", "found")])
def test_a_recogniser_that_is_chosen_by_name_is_needed(complete, recognisers, state):
    """Without InstantID, too: the loader refuses to run without it."""
    packs = complete / "insightface" / "models"
    (packs / "antelopev2").rename(packs / "buffalo_sc")
    loader = {"pack": "antelopev2", "recognisers": recognisers, "provider": "auto", "backend": "auto"}
    graph = {"1": {"class_type": "LikenessLoadFaceModel", "inputs": loader}}
    assert [one.state for one in report(complete, graph).findings] == [state]


def test_id_patch_controlnet_in_the_place_of_instant_id(complete):
    """Their tensors have the same names and shapes; the publishers' files have not the same length."""
    place = complete / "controlnet" / manifest.model("instantid-controlnet").name
    place.unlink()
    (complete / "controlnet" / manifest.model("id-patch-controlnet").name).rename(place)
    found = finding(complete, "instantid-controlnet")
    assert found.state == "the wrong kind"
    assert "is, by its length (5 GB), the ID-Patch ControlNet" in found.detail
    assert finding(complete, "id-patch-controlnet").state == "found"
    assert str(place) in finding(complete, "id-patch-controlnet").detail


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


CUT = {
    "id-patch": "id_patch/id-patch.bin",
    "id-patch-controlnet": "controlnet/ID-Patch/ControlNetModel/diffusion_pytorch_model.safetensors",
    "arcface-ir-se50": "facexlib/recognition_arcface_ir_se50.pth",
    "antelopev2": "insightface/models/antelopev2/glintr100.onnx",
}


@pytest.mark.parametrize("identifier", CUT)
def test_a_truncated_file(complete, identifier):
    path = complete / CUT[identifier]
    os.truncate(path, min(path.stat().st_size // 2, 2_500_000))
    found = finding(complete, identifier)
    assert found.state == "damaged" and "cut off while downloading" in found.detail and found.fetch
    assert "-C -" not in report(complete).commands[0]  # what is there is no beginning


@pytest.mark.parametrize(
    ("made", "state"),
    [("whole", "found"), ("cut off", "damaged"), ("weights", "damaged"), ("of another zip version", "damaged")],
)
def test_a_torchscript_network(models, made, state):
    path = models / "densepose" / manifest.model("densepose-r50").name
    densepose.save(path, [[0, 0, 1, 1]])
    if made == "cut off":
        path.write_bytes(path.read_bytes()[:-500])
    elif made == "weights":
        save_file({"weight": torch.zeros(1)}, path)
    elif made == "of another zip version":  # one flipped byte of its table of contents
        whole = bytearray(path.read_bytes())
        whole[whole.index(b"PK\1\2") + 6] = 0xFF
        path.write_bytes(whole)
    assert finding(models, "densepose-r50").state == state


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


def test_links_that_lead_nowhere_are_passed_over(complete):
    for name in ("a.bin", "b.safetensors", "c.onnx"):
        (complete / "id_patch" / name).symlink_to(complete / "gone")
    (complete / "insightface" / "models" / "d.onnx").symlink_to(complete / "gone")
    assert finding(complete, "id-patch").state == "found"


UNREADABLE = Path("/proc/self/mem")
"""A file that nobody can read from its start, not even root."""


@pytest.mark.skipif(not UNREADABLE.is_file(), reason="no /proc here")
def test_files_that_cannot_be_read_are_passed_over_or_named(complete):
    (complete / "id_patch" / "a.bin").symlink_to(UNREADABLE)
    own = complete / "id_patch" / "id-patch.bin"
    own.rename(complete / "id_patch" / "mine.bin")
    assert finding(complete, "id-patch").detail == str(complete / "id_patch" / "mine.bin")
    own.symlink_to(UNREADABLE)
    found = finding(complete, "id-patch")
    assert found.state == "damaged" and "id-patch.bin cannot be read (" in found.detail


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
    found = report(complete, "id_patch_without_face_pack")
    assert [(one.fetch.id, one.state) for one in found.findings if one.fetch] == [("mediapipe-face", "missing")]
    keys = {"mesh.head_landmarks.weight": (1434, 8, 3, 3), "canonical_vertices": (478, 3)}
    sparse(complete / "detection" / "mediapipe_face_fp32.safetensors", keys, 5423900)
    assert report(complete, "id_patch_without_face_pack").good


def with_checkpoint(name: str):
    graph = workflow("instant_id_portrait")
    loader = next(node for node in graph["nodes"] if node["type"] == "CheckpointLoaderSimple")
    loader["widgets_values"] = [name]
    return graph


def test_an_sd15_checkpoint_with_an_sdxl_workflow(complete):
    sparse(complete / "checkpoints" / "dreamshaper.safetensors", checkpoint(768), 0)
    (found,) = [
        one for one in report(complete, with_checkpoint("dreamshaper.safetensors")).findings if "dream" in one.what
    ]
    assert found.state == "the wrong kind"
    assert "dreamshaper.safetensors is an SD1.5 model; an SDXL model is needed" in found.detail


def test_a_second_checkpoint_may_be_of_another_family(complete):
    """For a second sampler, say, which none of our nodes is linked to."""
    sparse(complete / "checkpoints" / "dreamshaper.safetensors", checkpoint(768), 0)
    graph = workflow("instant_id_portrait")
    loader = next(node for node in graph["nodes"] if node["type"] == "CheckpointLoaderSimple")
    graph["nodes"].append({**loader, "id": 99, "widgets_values": ["dreamshaper.safetensors"]})
    assert report(complete, graph).good


def ip_adapter(models: Path, name: str, shaped_as: str) -> Path:
    unet, shapes = adapters.PUBLISHED[shaped_as]
    return sparse(models / "ipadapter" / name, {key: list(shape) for key, shape in shapes(unet)}, 0)


def test_adapters_of_one_shape_are_told_by_their_names(models):
    """IP-Adapter Plus for pictures is none for faces; in a folder of its own either is what it is."""
    ip_adapter(models, "ip-adapter-plus_sd15.safetensors", "ip-adapter-plus-face_sd15")
    assert finding(models, "ip-adapter-plus-face_sd15").state == "missing"
    path = ip_adapter(models, "mine/ip-adapter-plus-face_sd15.bin", "ip-adapter-plus-face_sd15")
    assert finding(models, "ip-adapter-plus-face_sd15").detail == str(path), "its loader finds it"
    ip_adapter(models, "any name.bin", "ip-adapter-faceid_sdxl")
    assert finding(models, "ip-adapter-faceid_sdxl").state == "found", "nothing else has its shapes"
    assert finding(models, "ip-adapter-faceid_sd15").state == "missing"


def test_what_an_ip_adapter_needs_goes_by_its_file(models):
    """The recogniser of FaceID, and a checkpoint of its family; a file of one's own is looked for as well."""
    sparse(models / "checkpoints" / "mine.safetensors", checkpoint(2048), 0)
    copy_face_pack(models / "insightface" / "models" / "buffalo_l")
    (models / "insightface" / "models" / "buffalo_l" / "w600k_mbf.onnx").unlink()

    def found(file):
        chosen = {"LikenessLoadIPAdapter": file, "LikenessLoadFaceModel": "buffalo_l"}
        chosen |= {"CheckpointLoaderSimple": "mine.safetensors", "LikenessIdentity": ""}
        graph = {kind: {"class_type": kind, "inputs": {"file": name}} for kind, name in chosen.items()}
        return {one.what: one for one in report(models, graph).findings}

    ip_adapter(models, "ip-adapter-faceid_sd15.bin", "ip-adapter-faceid_sd15")
    face = found("ip-adapter-faceid_sd15.bin")
    assert face["IP-Adapter FaceID for SD1.5"].state == "found"
    assert face["mine.safetensors"].state == "the wrong kind" and "an SD1.5 model is" in face["mine.safetensors"].detail
    assert "has no recogniser" in face["buffalo_l (face detector and recogniser)"].detail
    plus = found("ip-adapter-plus-face_sdxl_vit-h.safetensors")
    assert plus["IP-Adapter Plus Face for SDXL"].state == "missing" and plus["mine.safetensors"].state == "found"
    assert plus["buffalo_l (face detector and recogniser)"].state == "found", "its detector alone is needed"
    assert found("of my own.bin")["of my own.bin"].state == "missing"


def test_encoders_of_another_size_are_told_apart(models):
    h, bigg = (models / "clip_vision" / manifest.model(name).name for name in ("clip-vit-h", "clip-vit-bigg"))
    sparse(h, {"vision_model.embeddings.class_embedding": [1664]}, 0)
    found = finding(models, "clip-vit-h")
    assert found.state == "the wrong kind" and "is the CLIP vision encoder ViT-bigG/14; the" in found.detail
    assert finding(models, "clip-vit-bigg").detail.endswith(f"{h}: choose {h.name} in its loader."), (
        "under another name"
    )
    h.rename(bigg)
    assert (finding(models, "clip-vit-h").state, finding(models, "clip-vit-bigg").state) == ("missing", "found")


def test_nodes_without_a_type_are_passed_over(complete):
    graph = workflow("instant_id_portrait")
    graph["nodes"].append({"id": 99, "widgets_values": ["something"]})
    assert report(complete, graph).good


def test_a_checkpoint_of_ones_own(complete):
    sparse(complete / "checkpoints" / "mine.safetensors", checkpoint(2048), 0)
    assert report(complete, with_checkpoint("mine.safetensors")).good
    lost = report(complete, with_checkpoint("lost.safetensors"))
    assert [one.what for one in lost.findings if one.state != "found"] == []  # another SDXL checkpoint is there
    (complete / "checkpoints" / "mine.safetensors").unlink()
    (complete / "checkpoints" / manifest.model("juggernaut-x").name).unlink()
    (found,) = [one for one in report(complete, with_checkpoint("lost.safetensors")).findings if one.state != "found"]
    assert (found.what, found.state, found.fetch) == ("lost.safetensors", "missing", None)


def test_a_folder_that_is_not_complete(models):
    scheduler = models / "parts2whole" / "Parts2Whole" / "scheduler" / "scheduler_config.json"
    scheduler.parent.mkdir(parents=True)
    scheduler.write_text("{}")
    found = finding(models, "parts2whole")
    assert found.state == "missing" and "Not complete: Parts2Whole/unet/" in found.detail


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


def run(*arguments: str, **options):
    command = [sys.executable, str(ROOT / "scripts" / "models.py"), "doctor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, **options)


def test_from_the_terminal(complete):
    (complete / "id_patch" / "id-patch.bin").unlink()
    done = run("id_patch_two_people", "--models", str(complete))
    assert (
        done.returncode == 1
        and "id-patch.bin is not there (size not stated)" in done.stdout
        and done.stdout.count("found") == 4
    )
    unknown = run("nothing", "--models", str(complete)).stderr
    assert "There is no workflow nothing. Ours are check_files, id_patch_" in unknown
