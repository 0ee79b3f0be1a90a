"""Body surfaces in the real host: networks of the published signature, and files that are none."""

import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import densepose_made
import folder_paths
import pytest
import real_faces
import torch
from pack.bridge import folders
from pack.core.body_surface import iuv
from pack.core.errors import BadPhoto, ModelMissing, UnsupportedCheckpoint
from pack.core.geometry import Fit
from pack.nodes import body_surface
from standins_made import Standins

PUBLISHED = "densepose_r50_fpn_dl.torchscript"
DRAWN = Path(__file__).resolve().parents[2] / "pictures" / "likeness_anna.png"
TWO = [[0.5, 0.1, 0.95, 0.9], [0.05, 0.2, 0.45, 0.8]]


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which networks are looked for."""
    known = folder_paths.folder_names_and_paths
    monkeypatch.setitem(known, "densepose", ([str(tmp_path)], known["densepose"][1]))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return tmp_path


def photos(count: int = 1, width: int = 96, height: int = 64) -> torch.Tensor:
    return torch.rand(count, height, width, 3, generator=torch.Generator().manual_seed(1))


def found(image: torch.Tensor, people: int = 0, width: int = 0, height: int = 0, fit: str = "pad"):
    return body_surface.DetectBodySurface.execute(image, PUBLISHED, people, width, height, fit).args


def test_a_photo_becomes_the_picture_of_its_bodies_at_the_size_of_the_canvas(models: Path) -> None:
    densepose_made.save(models / PUBLISHED, TWO, seed=5)
    surface, people, preview = found(photos(), width=128, height=192)
    scale = 128 / 96
    boxes = torch.tensor(TWO) * torch.tensor([96.0, 64, 96, 64]) * scale
    boxes[:, 1::2] += (192 - 64 * scale) / 2
    expected = iuv.drawn(iuv.bodies([boxes, *densepose_made.charts(2, 5)]), Fit(1, 1, 0, 0), 128, 192)
    assert surface.shape == preview.shape == (1, 192, 128, 3)
    assert (surface[0] != expected.image).any(-1).float().mean() < 0.01  # a box may be cut to another whole pixel
    assert people.shape == (2, 192, 128)
    assert people[0].nonzero()[:, 1].max() < 64 < people[1].nonzero()[:, 1].min()
    assert (preview[surface[..., 2] == 0] - 0).abs().max() <= 1 and preview[0, 0].max() == 0  # the borders are black


def test_at_most_so_many_bodies_are_drawn(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = str(densepose_made.save(models / PUBLISHED, TWO))
    assert len(found(photos(), people=1)[1]) == 1
    assert len(found(photos(), people=2)[1]) == 2 and not caplog.text
    found(real_faces.image(DRAWN), people=2)
    assert "Still drawn examples: the pose" in caplog.text
    network = body_surface._network(*folders.stamp(path))
    surface, people, _ = found(photos(3), people=1)
    assert len(surface) == len(people) == 3
    assert body_surface._network(*folders.stamp(path)) is network, "loaded once"


class WritingAtOnce(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, bool]:
        return torch.ones(1), True

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]) -> None:
        torch.save(state[0], "somewhere")
        self.training = state[1]


class Reduced:
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("somewhere"),)


def with_pickle(path: Path) -> None:
    """A network in whose archive a pickle is, as foreign Python would hide in it."""
    densepose_made.save(path, TWO)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, pickle.dumps(Reduced(), 2) if name.endswith("/data.pkl") else data)


def scripted(body: str, more: str = "") -> Any:
    """Saves a network whose forward has this body, with more arguments than the picture."""
    network = torch.jit.script(type("Network", (torch.nn.Module,), {})())
    network.define(f"def forward(self, image{more}):\n    {body}\n")
    return lambda path: torch.jit.save(network, str(path))


# Bodies of a billion pixels, in charts of so many.
FAR = "return [torch.tensor([[0.0, 0.0, 1e9, 1e9]])] + [torch.ones([1, n, {0}, {0}]) for n in (2, 25, 25, 25)]"


def cut_off(path: Path) -> None:
    densepose_made.save(path, TWO)
    path.write_bytes(path.read_bytes()[:-9000])


def writing_at_once(path: Path) -> None:
    torch.jit.save(torch.jit.script(WritingAtOnce()), str(path))


WRONG = {
    "weights": (lambda path: torch.save({"a.weight": torch.ones(3)}, path), "is no TorchScript archive"),
    "a web page": (lambda path: path.write_text("<!doctype html><p>" + "x" * 600), "web page"),
    "cut off": (cut_off, "cut off while downloading"),
    "another network": (scripted("return image.float()"), "another kind .*returns a Tensor"),
    "other inputs": (scripted("return image[:size]", ", size: int"), "another kind .*size"),
    "writes files": (scripted("torch.save(image, 'somewhere')\n    return image"), r"writes files \(aten::save\)"),
    "writes while opened": (writing_at_once, r"runs code while it is opened \(__setst"),
    "pickled Python": (with_pickle, "cannot be opened .*Unknown type name"),
    "a pickle of torch": (lambda path: torch.save(Reduced(), path), "is no TorchScript archive"),
    "bodies beyond the photo": (scripted(FAR.format(28)), "another kind .*a body of 1000000000x1000000000"),
    "charts of no size": (scripted(FAR.format(0)), "another kind .*returns tensors of shapes"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_files_are_named(kind: str, models: Path) -> None:
    make, words = WRONG[kind]
    make(models / PUBLISHED)
    with pytest.raises(UnsupportedCheckpoint, match=words) as refused:
        found(photos())
    assert "hr16/DensePose-TorchScript-with-hint-image" in refused.value.advice
    assert not Path("somewhere").exists()


def test_what_is_not_there_is_said(models: Path) -> None:
    with pytest.raises(ModelMissing, match=r"densepose_r50_fpn_dl\.torchscript is not in") as missing:
        body_surface.DetectBodySurface.validate_inputs(PUBLISHED)
    assert "265 MB" in missing.value.advice and "hr16" in missing.value.advice
    densepose_made.save(models / PUBLISHED, [])
    with pytest.raises(BadPhoto, match=r"photo 1 of 2 \(96x64 px\)"):
        found(photos(2))


def test_a_file_of_comfyui_controlnet_aux_is_found(tmp_path: Path, standin_models: Standins) -> None:
    theirs = tmp_path / "comfyui_controlnet_aux" / "ckpts" / "LayerNorm" / "DensePose-TorchScript-with-hint-image"
    theirs.mkdir(parents=True)
    shutil.copy(standin_models.densepose, theirs / PUBLISHED)
    known = folder_paths.folder_names_and_paths
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(known, "custom_nodes", ([str(tmp_path)], set()))
        patch.setitem(known, "densepose", ([], set()))
        folders.register()
        assert folders.find(PUBLISHED, "densepose") == str(theirs / PUBLISHED)
        assert folders.folders("densepose")[0].endswith(str(Path("models", "densepose")))
    assert folders.find(PUBLISHED, "densepose") is None
