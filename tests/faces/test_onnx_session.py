"""The same faces by onnxruntime and by torch, on the CPU provider; what is not there is named."""

import subprocess
import sys

import numpy as np
import pytest
import real_faces
import torch
from figures import relative
from pack.core.checks.errors import UnsupportedCheckpoint
from pack.core.faces import analysis, model, onnx_session
from pack.core.faces.finding import find_faces
from real_faces import picture

CPU = "CPUExecutionProvider"


@pytest.fixture(scope="module")
def in_onnxruntime():
    """Detector and recogniser, run by onnxruntime."""
    detector = model.open_detector(str(real_faces.DETECTOR), model.on_cpu, CPU)
    return detector, model.open_recogniser("w600k_mbf", str(real_faces.RECOGNISER), model.on_cpu, CPU)


@pytest.mark.parametrize("path", [real_faces.SIX_FRIENDS, real_faces.TIGHT], ids=lambda path: path.stem)
def test_boxes_points_and_embeddings_are_those_of_torch(detector, recogniser, in_onnxruntime, path):
    photo = picture(path)
    detector_in_onnxruntime, recogniser_in_onnxruntime = in_onnxruntime
    found = find_faces(detector_in_onnxruntime, photo)
    expected = find_faces(detector, photo)
    for face, expected_face in zip(found, expected, strict=True):
        assert face.score == pytest.approx(expected_face.score, abs=1e-4)
        assert np.abs(np.subtract(face.box, expected_face.box)).max() < 0.01
        assert np.abs(np.subtract(face.keypoints, expected_face.keypoints)).max() < 0.01
    recognised = analysis.recognise([recogniser_in_onnxruntime], photo, expected[:4], "it")
    expected_faces = analysis.recognise([recogniser], photo, expected[:4], "it")
    for face, expected_face in zip(recognised, expected_faces, strict=True):
        embedding = face.embeddings["w600k_mbf"]
        expected_embedding = expected_face.embeddings["w600k_mbf"]
        assert embedding.dtype == torch.float32
        assert embedding.shape == (512,)
        assert relative(embedding, expected_embedding) <= 1e-4
        assert torch.cosine_similarity(embedding, expected_embedding, dim=0) > 0.99999


def test_a_provider_that_is_not_there_is_named_with_those_that_are():
    assert onnx_session.resolved("CPU") == onnx_session.resolved("auto") == CPU
    for absent, package in (("CUDA", "onnxruntime-gpu"), ("DirectML", "onnxruntime-directml"), ("ROCm", "-rocm")):
        words = rf"has no provider {absent}; it has CPU\. .*Backend \(backend\) to torch.*pip install .*{package}"
        with pytest.raises(onnx_session.NoOnnxRuntime, match=words):
            onnx_session.resolved(absent)


def test_every_provider_is_one_that_onnxruntime_knows():
    import onnxruntime

    all_providers = {*onnxruntime.get_all_providers(), "ROCMExecutionProvider"}  # newer releases have dropped the last
    names = {name for provider in onnx_session._PROVIDERS.values() for name in provider.names}
    assert names
    assert names <= all_providers
    assert onnx_session._PROVIDERS.keys() == {*onnx_session.PROVIDERS} - {"auto"}


def test_a_file_that_onnxruntime_cannot_run_is_named(tmp_path):
    damaged = tmp_path / "w600k.onnx"
    damaged.write_bytes(real_faces.RECOGNISER.read_bytes()[:100_000])
    with pytest.raises(UnsupportedCheckpoint, match=r"w600k.onnx is an ONNX file that onnxruntime cannot run"):
        onnx_session.opened(str(damaged), CPU, (1, 3, 112, 112), (512,))
    with pytest.raises(UnsupportedCheckpoint, match="it gives 512 numbers instead of 99"):
        onnx_session.opened(str(real_faces.RECOGNISER), CPU, (1, 3, 112, 112), (99,))


# In a Python of its own: onnxruntime is found, but cannot be imported, as with a missing library; then it is not found.
_WITHOUT = """
import sys
sys.path[:0] = [{scripts!r}]
from shared import pack
pack.load_pack()
from pack.core.faces import model, onnx_session
assert "onnxruntime" not in sys.modules, "imported before it is chosen"
sys.path.insert(0, {broken!r})
for _ in range(2):
    try:
        onnx_session.resolved("CUDA")
    except onnx_session.NoOnnxRuntime as error:
        print(error)
    sys.path[:] = [folder for folder in sys.path if folder != {broken!r} and not folder.endswith("site-packages")]
    sys.path_importer_cache.clear()
"""


def test_a_package_that_is_broken_or_not_there_is_named(tmp_path):
    from environment import ROOT

    (tmp_path / "onnxruntime.py").write_text("raise ImportError('libcudart.so.13: cannot open')")
    code = _WITHOUT.format(scripts=str(ROOT / "scripts"), broken=str(tmp_path))
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    broken, absent = process.stdout.splitlines()
    assert "is installed in ComfyUI's Python and cannot be imported: libcudart.so.13: cannot open." in broken
    assert absent.startswith(
        "onnxruntime is not installed in ComfyUI's Python. In Load Face Embedder set Backend (backend) to torch"
    )
    assert absent.endswith("pip install onnxruntime-gpu.")
