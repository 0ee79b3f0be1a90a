"""Which file is what: by its graph when it is loaded, by its name in menus."""

import real_faces
from pack.core.faces.model import Files
from pack.core.models import packs


def test_every_layout_is_the_same_pack():
    """Loose files are a pack, too, and come last; what cannot be a detector is in none."""
    for folder in ("", "models/", "antelopev2/", "models/antelopev2/"):
        assert packs.pack_of(f"{folder}antelopev2/glintr100.onnx") == "antelopev2"
    names = ["scrfd_10g_bnkps.onnx", "models/buffalo_l/det_10g.onnx", "antelopev2/scrfd_10g_bnkps.onnx"]
    assert list(packs.packs(names)) == ["antelopev2", "buffalo_l", packs.LOOSE]
    no_detectors = ["inswapper_128.onnx", "buffalo_l/w600k_r50.onnx", "buffalo_l/genderage.onnx", "facexlib.pth"]
    assert packs.packs(no_detectors) == {}
    assert list(map(packs.maybe_recogniser, no_detectors)) == [False, True, False, True]
    assert not packs.maybe_recogniser("buffalo_l/det_10g.onnx")


def test_the_larger_of_two_detectors_is_taken(tmp_path):
    larger = tmp_path / "b.onnx"
    larger.write_bytes(real_faces.DETECTOR.read_bytes() + b"\xa2\x06\x04more")  # a field that nobody knows
    for names in (("p/a.onnx", "p/b.onnx"), ("p/b.onnx", "p/a.onnx")):
        paths = dict(zip(names, (str(real_faces.DETECTOR), str(larger)), strict=True))
        assert Files(paths, {}).detectors("p").paths == (str(larger), str(real_faces.DETECTOR))


def test_recogniser_ids():
    assert packs.recogniser_id("models/antelopev2/glintr100.onnx", 1) == "antelopev2"
    assert packs.recogniser_id("buffalo_l/w600k_r50.onnx", 1) == "w600k_r50"
    assert packs.recogniser_id("own/my_faces.onnx", 1) == "my_faces"
    # immich's copy of antelopev2, and AuraFace, which is another network under antelopev2's file name.
    assert packs.recogniser_id("antelopev2/recognition/model.onnx", 260665334) == "antelopev2"
    assert packs.recogniser_id("auraface/glintr100.onnx", 260694151) == "auraface"
    assert packs.recogniser_id("x.onnx", real_faces.RECOGNISER.stat().st_size) == "w600k_mbf"
