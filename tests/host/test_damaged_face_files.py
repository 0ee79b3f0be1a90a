"""Damaged files among those of face models: one that nobody asked for by its name is left out and named."""

import shutil
import zipfile
from pathlib import Path

import folder_paths
import numpy as np
import onnx
import pytest
import real_faces
from onnx import TensorProto, helper, numpy_helper
from pack.bridge.people import face_model
from pack.core.checks.errors import UnsupportedCheckpoint
from pack.core.models import packs

FIVE = "a weight of five dimensions"


def of_one_weight(path: Path, weight: np.ndarray) -> None:
    """A recogniser by its inputs and outputs, whose only layer has this weight."""
    picture = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 112, 112))
    embedding = helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 512))
    layer = helper.make_node("Conv", ["x", "w"], ["y"])
    graph = helper.make_graph([layer], "one", [picture], [embedding], [numpy_helper.from_array(weight, "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6), str(path))


def unknown_operator(path: Path) -> None:
    picture = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 112, 112))
    embedding = helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 512))
    graph = helper.make_graph([helper.make_node("Loop", ["x"], ["y"])], "one", [picture], [embedding])
    onnx.save(helper.make_model(graph, ir_version=6), str(path))


def cut_off(path: Path) -> None:
    path.write_bytes(real_faces.RECOGNISER.read_bytes()[:-5000])


def five(path: Path) -> None:
    of_one_weight(path, np.ones((4, 3, 1, 3, 3), np.float32))


DAMAGE = {
    FIVE: (five, "another kernel_shape of the operator Conv"),
    "a weight of no dimension": (lambda path: of_one_weight(path, np.float32(1)), "another kernel_shape"),
    "whole numbers": (lambda path: of_one_weight(path, np.ones((4, 3, 3, 3), np.int64)), "kind of weights"),
    "an operator of loops": (unknown_operator, "with the operator Loop"),
    "cut off": (cut_off, "cut off while downloading"),
    "a web page": (lambda path: path.write_text("<!doctype html>" + "x" * 600), r"a web page \(HTML\)"),
    "a zip": (lambda path: zipfile.ZipFile(path, "w").writestr("det_10g.onnx", "nodes"), "a file packed with zip"),
    "a GGUF file": (lambda path: path.write_bytes(b"GGUF" + bytes(600)), "a GGUF file"),
    "empty": (lambda path: path.write_bytes(b""), "an empty file"),
    "zeros": (lambda path: path.write_bytes(bytes(4096)), "damaged or cut off while downloading"),
}


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of face packs, with one good pack in it."""
    folders_by_key = folder_paths.folder_names_and_paths
    for key in ("insightface", "facexlib"):
        monkeypatch.setitem(folders_by_key, key, ([str(tmp_path / key)], folders_by_key[key][1]))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    good = tmp_path / "insightface" / "models" / "good"
    good.mkdir(parents=True)
    shutil.copy(real_faces.DETECTOR, good / "det_500m.onnx")
    shutil.copy(real_faces.RECOGNISER, good / "w600k_mbf.onnx")
    return tmp_path / "insightface"


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_recogniser_is_left_out_of_all_found_and_named(
    kind: str, models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make, words = DAMAGE[kind]
    make(models / "broken.onnx")
    loaded = face_model.load_face_model("good", face_model.ALL)
    assert loaded.ids == ["w600k_mbf"]
    (message,) = [line for line in caplog.messages if line.startswith("Left out")]
    assert "broken.onnx is " in message
    assert str(models / "broken.onnx") in message
    assert face_model.default_face_model().ids == ["w600k_mbf"], "nodes without a face model work as well"
    with pytest.raises(UnsupportedCheckpoint, match=words) as refused:
        face_model.load_face_model("good", "broken")
    assert refused.value.problem.startswith("broken.onnx is ")


def test_stand_ins_of_the_demo_are_found_beside_their_own_detector_alone(models: Path) -> None:
    toy = models / "standin-toy"
    toy.mkdir()
    shutil.copy(real_faces.DETECTOR, toy / "det_500m.onnx")
    network = onnx.load(str(real_faces.RECOGNISER))
    network.doc_string = "of another length than any published one"
    onnx.save(network, str(toy / "glintr100.onnx"))
    assert face_model.load_face_model("good", face_model.ALL).ids == ["w600k_mbf"]
    assert face_model.load_face_model("good", "antelopev2").ids == ["antelopev2"]
    assert face_model.load_face_model("standin-toy", face_model.ALL).ids == ["antelopev2", "w600k_mbf"]
    shutil.copy(real_faces.RECOGNISER, toy / "w600k_mbf.onnx")
    shutil.move(models / "models" / "good", models / "zoo")
    assert face_model._files().recognisers("")["w600k_mbf"] == str(models / "zoo" / "w600k_mbf.onnx")


def test_where_all_are_damaged_the_first_is_raised(models: Path) -> None:
    five(models / "models" / "good" / "w600k_mbf.onnx")
    with pytest.raises(UnsupportedCheckpoint, match=r"w600k_mbf\.onnx is an ONNX network with another kernel_shape"):
        face_model.load_face_model("good", face_model.ALL)
    with pytest.raises(UnsupportedCheckpoint, match="another kernel_shape"):
        face_model.default_face_model()
    assert face_model.load_face_model("good", face_model.PICTURES_ALONE).ids == []


def test_a_damaged_detector_beside_a_good_one_is_left_out_and_named(
    models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = models / "models" / "good"
    cut_off(good / "det_cut.onnx")
    network = onnx.load(str(real_faces.DETECTOR))
    damaged = next(tensor for tensor in network.graph.initializer if len(tensor.dims) == 4)
    damaged.CopyFrom(numpy_helper.from_array(np.ones((3, 3, 1, 3, 3), np.float32), damaged.name))
    network.doc_string = "x" * 100_000  # larger than the good one, and so the first choice
    onnx.save(network, str(good / "det_larger.onnx"))
    expected = face_model._opened_detector(*face_model.stamp(str(good / "det_500m.onnx")), None)
    assert face_model.load_face_model("good", face_model.ALL).detector is expected
    messages = "\n".join(line for line in caplog.messages if line.startswith("Left out"))
    assert "det_cut.onnx is " in messages
    assert "det_larger.onnx is an ONNX network with another kernel_shape" in messages
    (good / "det_500m.onnx").unlink()
    with pytest.raises(UnsupportedCheckpoint, match=r"det_larger\.onnx is"):
        face_model.load_face_model("good", face_model.ALL)


def test_a_recogniser_of_whole_numbers_is_named(models: Path) -> None:
    """Of facexlib's kind, which is a file of tensors."""
    import arcface_seeded
    import torch
    from pack.core.faces import ir_se50

    state = arcface_seeded.published_state(ir_se50.published_shapes())
    state["body.0.res_layer.1.weight"] = state["body.0.res_layer.1.weight"].to(torch.int8)
    folder = models.parent / "facexlib"
    folder.mkdir()
    torch.save(state, folder / "recognition_arcface_ir_se50.pth")
    with pytest.raises(UnsupportedCheckpoint, match=r"res_layer.1.weight holds numbers of type torch.int8"):
        face_model.load_face_model("good", packs.IR_SE50)
    assert face_model.load_face_model("good", face_model.ALL).ids == ["w600k_mbf"]
