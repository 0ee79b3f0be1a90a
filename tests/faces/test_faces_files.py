"""Which file is what: by its graph when it is loaded, by its name in menus."""

from __future__ import annotations

import onnx
import pytest
import real_faces
from pack.core.errors import UnsupportedCheckpoint
from pack.core.faces.model import Files
from pack.core.models import packs
from pack.core.models.onnx_file import Graph, Kind, inspect


def test_kinds_from_the_graph():
    assert inspect(str(real_faces.DETECTOR)).kind is Kind.DETECTOR
    assert inspect(str(real_faces.RECOGNISER)).kind is Kind.RECOGNISER
    assert inspect(str(real_faces.LANDMARKS)).kind is Kind.OTHER


@pytest.mark.parametrize(("side", "kind"), [(112, Kind.RECOGNISER), (224, Kind.RECOGNISER), (100_016, Kind.OTHER)])
def test_recognisers_read_crops_of_some_hundred_pixels(side, kind):
    assert Graph(((1, 3, side, side),), ((1, 512),)).kind is kind


def test_shapes_equal_those_onnx_reads():
    for path in real_faces.DETECTOR.parent.glob("*.onnx"):
        graph = onnx.load(str(path)).graph
        weights = {weight.name for weight in graph.initializer}
        inputs = [value for value in graph.input if value.name not in weights]

        def shapes(values):
            return tuple(tuple(size.dim_value for size in value.type.tensor_type.shape.dim) for value in values)

        assert (inspect(str(path)).inputs, inspect(str(path)).outputs) == (shapes(inputs), shapes(graph.output))


@pytest.mark.parametrize("kept", [0.5, 0.9999])
def test_cut_off_download(tmp_path, kept):
    data = real_faces.RECOGNISER.read_bytes()
    path = tmp_path / "glintr100.onnx"
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(UnsupportedCheckpoint, match=r"glintr100\.onnx .*cut off"):
        inspect(str(path))


@pytest.mark.parametrize(
    "data", [b"", b"<!doctype html>", b"Not Found", b"version https://git-lfs.github.com/spec/v1\n"]
)
def test_not_onnx_at_all(tmp_path, data):
    path = tmp_path / "det_10g.onnx"
    path.write_bytes(data)
    with pytest.raises(UnsupportedCheckpoint, match=r"det_10g\.onnx .*not an ONNX file"):
        inspect(str(path))


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(UnsupportedCheckpoint, match=r"cannot be read \(.*permissions"):
        inspect(str(tmp_path))


def test_every_layout_is_the_same_pack():
    for folder in ("", "models/", "antelopev2/", "models/antelopev2/"):
        assert packs.pack_of(f"{folder}antelopev2/glintr100.onnx") == "antelopev2"


def test_loose_files_are_a_pack_and_come_last():
    names = ["scrfd_10g_bnkps.onnx", "models/buffalo_l/det_10g.onnx", "antelopev2/scrfd_10g_bnkps.onnx"]
    assert list(packs.packs(names)) == ["antelopev2", "buffalo_l", packs.LOOSE]


def test_the_larger_of_two_detectors_is_taken(tmp_path):
    larger = tmp_path / "b.onnx"
    larger.write_bytes(real_faces.DETECTOR.read_bytes() + b"\xa2\x06\x04more")  # a field that nobody knows
    for names in (("p/a.onnx", "p/b.onnx"), ("p/b.onnx", "p/a.onnx")):
        there = dict(zip(names, (str(real_faces.DETECTOR), str(larger)), strict=True))
        assert Files(there, {}).detector("p") == str(larger)


def test_menu_leaves_out_what_cannot_be_a_detector():
    names = ["inswapper_128.onnx", "buffalo_l/w600k_r50.onnx", "buffalo_l/genderage.onnx", "facexlib.pth"]
    assert packs.packs(names) == {}
    assert packs.maybe_recogniser("buffalo_l/w600k_r50.onnx")
    assert not packs.maybe_recogniser("buffalo_l/det_10g.onnx")


def test_recogniser_ids():
    assert packs.recogniser_id("models/antelopev2/glintr100.onnx", 1) == "antelopev2"
    assert packs.recogniser_id("buffalo_l/w600k_r50.onnx", 1) == "w600k_r50"
    assert packs.recogniser_id("own/my_faces.onnx", 1) == "my_faces"
    # immich's copy of antelopev2, and AuraFace, which is another network under antelopev2's file name.
    assert packs.recogniser_id("antelopev2/recognition/model.onnx", 260665334) == "antelopev2"
    assert packs.recogniser_id("auraface/glintr100.onnx", 260694151) == "auraface"
    assert packs.recogniser_id("x.onnx", real_faces.RECOGNISER.stat().st_size) == "w600k_mbf"
