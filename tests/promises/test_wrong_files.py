"""What each loader says of a file that is not its own: what it is, where it belongs, and where the right one is."""

from __future__ import annotations

import re
from pathlib import Path

import attack_values
import folder_paths
import pytest
import tiny_dits
import torch
from graph_run import OURS
from pack.core.errors import LikenessError, ModelMissing, UnsupportedCheckpoint
from pack.core.methods import Method, methods
from pack.core.models import manifest
from rig import adapters
from rig.standins import Standins

IP_ADAPTER = ("IP-Adapter", "Load Adapter")
# Whose it is, and what is said of it and where it belongs.
SAID = {
    "ip-adapter-faceid_sd15": (*IP_ADAPTER, "an IP-Adapter FaceID adapter for SD1.5"),
    "ip-adapter-faceid-plusv2_sd15": (*IP_ADAPTER, "an IP-Adapter FaceID Plus adapter for SD1.5"),
    "ip-adapter-faceid-portrait-v11_sd15": (*IP_ADAPTER, "an IP-Adapter FaceID portrait adapter for SD1.5"),
    "ip-adapter-faceid_sdxl": (*IP_ADAPTER, "an IP-Adapter FaceID adapter for SDXL"),
    "ip-adapter-faceid-plusv2_sdxl": (*IP_ADAPTER, "an IP-Adapter FaceID Plus adapter for SDXL"),
    "ip-adapter-faceid-portrait_sdxl": (*IP_ADAPTER, "an IP-Adapter FaceID portrait adapter for SDXL"),
    "ip-adapter-faceid-portrait_sdxl_unnorm": (*IP_ADAPTER, "an IP-Adapter FaceID adapter (portrait unnorm)"),
    "ip-adapter_sd15": (*IP_ADAPTER, "an SD1.5 IP-Adapter"),
    "ip-adapter_sd15_vit-G": (*IP_ADAPTER, "an SD1.5 IP-Adapter (for ViT-bigG)"),
    "ip-adapter-plus-face_sd15": (*IP_ADAPTER, "an SD1.5 IP-Adapter (plus or plus-face)"),
    "ip-adapter-full-face_sd15": (*IP_ADAPTER, "an SD1.5 IP-Adapter (full-face)"),
    "ip-adapter_sdxl": (*IP_ADAPTER, "an SDXL IP-Adapter (for ViT-bigG)"),
    "ip-adapter_sdxl_vit-h": (*IP_ADAPTER, "an SDXL IP-Adapter"),
    "ip-adapter-plus_sdxl_vit-h": (*IP_ADAPTER, "an SDXL IP-Adapter (plus or plus-face)"),
    "mask": ("StoryMaker", "Load Adapter", "a StoryMaker adapter"),
    "photomaker-v1": ("PhotoMaker", "Load Adapter", "a PhotoMaker adapter"),
    "photomaker-v2": ("PhotoMaker", "Load Adapter", "a PhotoMaker v2 adapter"),
    "id-patch": ("ID-Patch", "models/id_patch", "ID-Patch projections (id-patch.bin)"),
    "instant-id": ("InstantID", "models/instantid", "an InstantID adapter (ip-adapter.bin)"),
    "recogniser": ("", "Load Face Model", "the ArcFace recogniser of facexlib (IR-SE50)"),
    "curricular-face": ("", "", "a face recogniser other than IR-SE50, such as UniPortrait's"),
    "uni-portrait": ("", "UniPortrait node", "a UniPortrait adapter"),
    "pulid": ("", "PuLID node", "a PuLID adapter"),
    "consistent-id": ("", "ConsistentID node", "a ConsistentID adapter"),
    "infinite-you": ("InfiniteYou", "Load Adapter", "InfiniteYou's projection (image_proj_model.bin)"),
    "with-anyone": ("WithAnyone", "Load Adapter", "a WithAnyone adapter"),
    "kolors": ("", "another IP-Adapter node", "an SDXL IP-Adapter of another kind"),
    "clip-vision-h": ("", "models/clip_vision", "the CLIP vision encoder ViT-H/14"),
    "clip-vision-g": ("", "models/clip_vision", "the CLIP vision encoder ViT-bigG/14"),
    "checkpoint": ("", "Load Checkpoint", "an SDXL model"),
    "flux": ("", "Load Diffusion Model", "a FLUX.1 model"),
    "qwen3-4b": ("", "models/text_encoders", "a text encoder"),
}
TO_K = {"ip_adapter.1.to_k_ip.weight": (640, 2048)}
# Files of other packs, by the tensors that tell them.
OTHERS = {
    "curricular-face": {"input_layer.0.weight": (64, 3, 3, 3), "output_layer.3.weight": (512, 25088)},
    "uni-portrait": {"faceid_proj.latents": (1, 16, 768), "faceid_adapter.1.to_k_faceid.weight": (320, 768)},
    "pulid": {"image_proj.body.0.weight": (1024, 1280), **TO_K},
    "consistent-id": {"image_proj.proj.0.weight": (1024, 512), "FacialEncoder.x.weight": (1,), **TO_K},
    "kolors": {"image_proj.latents": (1, 16, 2048), "image_proj.proj_in.weight": (2048, 1024), **TO_K},
}


@pytest.fixture(scope="module")
def files(standin_models: Standins, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    built, folder = standin_models, tmp_path_factory.mktemp("others")
    for name, shapes in OTHERS.items():
        torch.save({key: torch.zeros(1).expand(shape) for key, shape in shapes.items()}, folder / f"{name}.bin")
    return {
        **{name: built.ip_adapter(name) for name in adapters.PUBLISHED if name != "mask"},
        **{name: folder / f"{name}.bin" for name in OTHERS},
        "mask": built.story_maker,
        "photomaker-v1": built.photo_maker,
        "photomaker-v2": built.photo_maker_v2,
        "id-patch": built.id_patch,
        "instant-id": built.instant_id,
        "recogniser": built.recogniser,
        "clip-vision-h": built.clip_vision_h,
        "clip-vision-g": built.clip_vision_g,
        "checkpoint": built.checkpoint,
        **{name: built.of_transformer(name) for name in ("flux", "qwen3-4b")},
        "with-anyone": built.of_transformer("withanyone"),
        "infinite-you": built.of_transformer("image_proj_model"),
    }


def only(method: Method) -> bool:
    """Whose loader reads one file; Parts2Whole's reads a folder, see tests/host/test_parts_files.py."""
    return any(one.id == "file" for one in OURS[method.node].define_schema().inputs) and bool(method.files)


@pytest.fixture
def folder(method: Method, tmp_path, monkeypatch) -> Path:
    """The only one of its model folders."""
    if not tiny_dits.KNOWN and method.host != "0.3.64":
        pytest.skip("this loader says that the host is too old, whatever the file is")
    monkeypatch.setitem(folder_paths.folder_names_and_paths, method.key, ([str(tmp_path)], {".bin"}))
    return tmp_path


def page(method: Method) -> str:
    return manifest.model(method.files[0]).page.removeprefix("https://huggingface.co/")


def execute(method, file):
    """With the defaults of whatever else the loader asks."""
    node = OURS[method.node]
    given = {one.id: one.default for one in node.define_schema().inputs if one.id != "file"}
    return node.execute(file=file, **given)


def test_a_file_of_something_else_is_named(method, folder, files):
    assert files.keys() == SAID.keys()
    for name, (whose, where, what) in SAID.items():
        (folder / f"{name}.bin").symlink_to(files[name])
        if whose == method.title:
            execute(method, f"{name}.bin")
            continue
        with pytest.raises(UnsupportedCheckpoint) as error:
            execute(method, f"{name}.bin")
        message = str(error.value)
        assert message.startswith(f"{name}.bin is {what}; this node needs "), message
        assert where in message and page(method) in message, message


def test_a_missing_file_is_named_linked_and_sized_by_its_own_row(method, folder):
    for model in (one for one in map(manifest.model, method.files) if one.key == method.key):
        with pytest.raises(ModelMissing) as error:
            execute(method, model.name)
        assert f"{model.name} is not in {folder}. Download it from {model.url} ({model.size_text})" in str(error.value)
        (folder / model.name).write_bytes(b"nothing")
        with pytest.raises(UnsupportedCheckpoint, match=rf"\({re.escape(model.name)}\)") as error:
            execute(method, model.name)
        assert model.page in str(error.value)


@pytest.mark.parametrize(
    "of", [method for method in methods() if method.files and not only(method)], ids=lambda m: m.folder
)
def test_a_folder_of_something_else_is_refused(of, tmp_path, monkeypatch):
    """Of a method whose loader reads one; what may be wrong in it: tests/host/test_parts_files.py."""
    monkeypatch.setitem(folder_paths.folder_names_and_paths, of.key, ([str(tmp_path)], {".bin"}))
    (tmp_path / "x").mkdir()
    torch.save({"x": torch.zeros(1)}, tmp_path / "x" / "model.bin")
    with pytest.raises(LikenessError):
        OURS[of.node].execute(folder="x")


def test_a_name_that_leads_elsewhere_is_refused_and_a_linked_one_left_to_the_run(method, folder):
    node = OURS[method.node]
    with pytest.raises(LikenessError):
        node.validate_inputs("../x.bin")
    with pytest.raises(ModelMissing):
        node.validate_inputs("x.bin")
    assert node.validate_inputs(None) is True


def test_a_damaged_file_is_refused(method, tmp_path):
    """A tensor is gone, has another shape or is no number: the first and the last of each part."""
    state = attack_values.file_of(method.folder)
    parts = state if all(isinstance(part, dict) for part in state.values()) else {"": state}
    torch.save(state, tmp_path / "x.bin")
    read = tuple(attack_values.load(method.folder, str(tmp_path / "x.bin")).net.state_dict())
    for part, tensors in parts.items():
        kept = [key for key in tensors if f"{part}.{key}".endswith(read)] or [*tensors]  # others are another branch's
        for key in (min(kept), max(kept)):
            whole = tensors[key]
            for bad in (None, whole.new_zeros(3, 5, 7), whole.float() * torch.nan):
                changed = {name: x for name, x in {**tensors, key: bad}.items() if x is not None}
                torch.save({**parts, part: changed} if part else changed, tmp_path / "x.bin")
                with pytest.raises(UnsupportedCheckpoint):
                    attack_values.load(method.folder, str(tmp_path / "x.bin"))


class Code:
    """What a pickle may hold beside tensors."""

    def __reduce__(self):
        return (print, ("run",))


def test_a_pickle_runs_nothing(method, folder, capsys):
    torch.save({"image_proj": {"latents": Code()}}, folder / "code.bin")
    with pytest.raises(UnsupportedCheckpoint, match=f"wants to run code .*not opened.*{page(method)}"):
        execute(method, "code.bin")
    assert "run" not in capsys.readouterr().out


def test_every_published_adapter_is_tried():
    """Each format of ours that is a file of one network is among those above."""
    tried = {*adapters.PUBLISHED} | {"photomaker-v1", "photomaker-v2", "id-patch", "withanyone", "image_proj_model"}
    keys = {method.key for method in methods() if only(method)}
    ours = {Path(one.name).stem: one.format for one in manifest.models() if one.key in keys}
    assert {ours[name] for name in tried} | {"instant-id"} == {*ours.values()}
