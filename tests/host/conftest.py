"""What host tests share: a running ComfyUI with the pack in it, the stand-in model files, and small networks."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from environment import Host, host_at
from rig import archive
from rig.host_server import HostServer
from standins_made import Standins
from visits import newest, visit, window  # noqa: F401

if TYPE_CHECKING:
    from comfy.controlnet import ControlNet
    from comfy.model_patcher import ModelPatcher
    from pack.bridge.face_model import FaceModel
    from pack.nodes.id_patch.nodes import IDPatch
    from pack.nodes.instant_id.nodes import InstantID


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """A page that no test looks at any more computes nothing."""
    opened = getattr(item, "funcargs", {}).get("visit")
    if opened and nextitem and "visit" not in getattr(nextitem, "fixturenames", ()):
        opened.page.call("Page.navigate", url="about:blank")


@pytest.fixture(scope="session")
def host() -> Host:
    """The ComfyUI under test."""
    found = host_at(Path(os.environ["COMFYUI_PATH"]))
    assert found
    return found


# What a Python with nothing but the host's packages looks like from inside.
WITHOUT_OPTIONAL = """
import sys
from importlib.machinery import PathFinder
class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        blocked = name.split(".")[0] in ("insightface", "onnxruntime", "onnx", "cv2")
        return None if blocked else super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Without
"""


@pytest.fixture(scope="session")
def host_server(host: Host, standin_models: Standins, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostServer]:
    """One running host for the whole session: the registry's archive in a folder with dashes, the stand-ins among its
    models, in a Python where insightface, onnxruntime, onnx and cv2 cannot be imported."""
    folder = tmp_path_factory.mktemp("host-server")
    archive.unpack(folder / "archive")
    (folder / "sitecustomize.py").write_text(WITHOUT_OPTIONAL)
    where, pack = (folder / "base", [standin_models.root], "likeness-nodes"), folder / "archive"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        made = HostServer(host, Path(sys.executable), *where, pack=pack)
    with made as server:
        yield server


@pytest.fixture(scope="module")
def id_patch() -> IDPatch:
    """Small projections of the published kind."""
    import attack_values

    return attack_values.loaded("id_patch")


@pytest.fixture(scope="module")
def sdxl() -> tuple[ModelPatcher, ControlNet]:
    """A tiny MODEL and ControlNet of SDXL's kind."""
    import tiny_sdxl

    made = tiny_sdxl.diffusers_unet()
    return tiny_sdxl.host_model(made), tiny_sdxl.host_control_net(tiny_sdxl.diffusers_control_net(made, 172))


@pytest.fixture(scope="module")
def model(sdxl: tuple[ModelPatcher, ControlNet]) -> ModelPatcher:
    return sdxl[0]


@pytest.fixture(scope="module")
def instant_id(sdxl: tuple[ModelPatcher, ControlNet]) -> InstantID:
    """Its file for them."""
    import attack_values

    return attack_values.loaded("instant_id", sdxl[0])


@pytest.fixture(scope="module")
def face_model() -> FaceModel:
    """A real detector and a real recogniser, in the host's hands."""
    import real_faces
    from pack.bridge import face_model

    recogniser = real_faces.recogniser(face_model.Hosted)
    return face_model.FaceModel(real_faces.detector(face_model.Hosted), (recogniser,))
