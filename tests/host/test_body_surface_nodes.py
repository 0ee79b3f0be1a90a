"""Body surfaces in the real host: networks of the published layers, and files that are none or that would do harm."""

import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import densepose_made
import folder_paths
import numpy as np
import pytest
import real_faces
import torch
from comfy_execution.graph_utils import ExecutionBlocker
from format_files import WritesWhileOpened
from pack.bridge.host import folders
from pack.bridge.people.densepose import network_of
from pack.core.body_surface import iuv, network
from pack.core.checks.errors import BadParts, BadPhoto, ModelMissing, UnsupportedCheckpoint
from pack.core.pictures.geometry import Fit
from pack.nodes import body_surface
from PIL import Image
from standins_made import Standins

PUBLISHED = "densepose_r50_fpn_dl.torchscript"
DRAWN = Path(__file__).resolve().parents[2] / "pictures" / "likeness_anna.png"


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which networks are looked for."""
    folders_by_key = folder_paths.folder_names_and_paths
    monkeypatch.setitem(folders_by_key, "densepose", ([str(tmp_path)], folders_by_key["densepose"][1]))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return tmp_path


def photos(count: int = 1, width: int = 96, height: int = 64) -> torch.Tensor:
    return torch.rand(count, height, width, 3, generator=torch.Generator().manual_seed(1))


def found(image: torch.Tensor, people: int = 0, width: int = 0, height: int = 0, **mask: str):
    return body_surface.DetectBodySurface.execute(image, PUBLISHED, people, width, height, **mask).args


def bodies_in(photo: torch.Tensor, state: dict[str, torch.Tensor]) -> iuv.Bodies:
    """What the network with these weights finds in a photo (H, W, 3), looked at in the published size, by hand."""
    weights = network.own_weights(state)
    net = network.DensePose(weights).eval()
    net.load_state_dict(weights)
    size = iuv.network_size(photo.shape[1], photo.shape[0])
    picture = Image.fromarray((photo.numpy() * 255).round().astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
    with torch.inference_mode():
        return iuv.read_bodies(net(torch.as_tensor(np.array(picture)).movedim(-1, 0)))


def test_a_photo_becomes_the_picture_of_its_bodies_at_the_size_of_the_canvas(models: Path) -> None:
    densepose_made.save(models / PUBLISHED, 2, seed=5)
    image = photos()
    surface, people, preview, _ = found(image, people=2, width=128, height=192)
    bodies = bodies_in(image[0], densepose_made.weights(2, 5)).surest(2)
    # 96x64 is looked at as 1216x800, and shown as 128x85.3 in the middle of 128x192.
    onto = Fit(128 / 1216, 64 * 128 / 96 / 800, 0, (192 - 64 * 128 / 96) / 2)
    expected = iuv.draw(bodies, onto, 128, 192)
    assert surface.shape == preview.shape == (1, 192, 128, 3)
    assert (surface[0] != expected.image).any(-1).float().mean() < 0.01  # a box may be cut to another whole pixel
    assert people.shape == (2, 192, 128)
    assert torch.equal(people.sum(0) > 0, surface[0, ..., 2] > 0)
    assert (preview[surface[..., 2] == 0] - 0).abs().max() <= 1 and preview[0, 0].max() == 0  # the borders are black
    assert not Path(densepose_made.CODE_RAN).exists()


@pytest.mark.thorough
def test_at_most_so_many_bodies_are_drawn(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = str(densepose_made.save(models / PUBLISHED, 2))
    assert len(found(photos(), people=1)[1]) == 1
    assert len(found(photos(), people=2)[1]) == 2
    assert not caplog.text
    assert len(found(photos(), people=0)[1]) > 2
    found(real_faces.image(DRAWN), people=2)
    assert "Still drawn examples: the pose" in caplog.text
    loaded = network_of(*folders.stamp(path))
    surface, people, *_ = found(photos(3), people=1)
    assert len(surface) == len(people) == 3
    assert network_of(*folders.stamp(path)) is loaded, "loaded once"


NUMBERS = {
    "head": (23, 24), "torso": (1, 2), "upper arms": (15, 16, 17, 18), "forearms": (19, 20, 21, 22), "hands": (3, 4),
    "thighs": (7, 8, 9, 10), "lower legs": (11, 12, 13, 14), "feet": (5, 6),
}  # fmt: skip
"""Of DensePose-COCO's README, "Part Indices": right and left."""


def parts_in(surface: torch.Tensor) -> torch.Tensor:
    """The numbers of the parts that an IUV picture (B, H, W, 3) shows, (B, H, W)."""
    return (surface[..., 2] * 255).round().int()


def test_the_mask_is_where_each_person_shows_the_chosen_parts(models: Path) -> None:
    densepose_made.save(models / PUBLISHED, 2, seed=5)
    surface, people, *_ = found(photos(), people=2)
    parts = parts_in(surface)
    numbers_shown = set((parts * people).unique().tolist())
    numbers_by_person = [set((parts[0] * person.int()).unique().tolist()) for person in people]
    common = []
    for name, numbers in NUMBERS.items():
        if all(shows & {*numbers} for shows in numbers_by_person):
            common.append(name)
    assert len(people) == 2
    assert len(common) >= 2, numbers_shown
    for name in common:
        mask = found(photos(), people=2, parts=name)[3]
        assert torch.equal(mask, torch.isin(parts, torch.tensor(NUMBERS[name])) * people), name
    default = found(photos(), people=2)[3]
    jacket = torch.tensor(NUMBERS["torso"] + NUMBERS["upper arms"] + NUMBERS["forearms"])
    assert torch.equal(default, torch.isin(parts, jacket) * people)


def test_parts_that_are_not_seen_stop_what_the_mask_is_connected_to_alone(models: Path) -> None:
    """A network that never sees feet and a torso: what else comes of the photo is the same whatever is masked."""
    state = densepose_made.weights(1)
    unseen = torch.tensor(NUMBERS["feet"] + NUMBERS["torso"])
    state["roi_heads.densepose_predictor.index_uv_lowres.bias"][unseen] = -1e4
    densepose_made.archive(models / PUBLISHED, state)
    surface, people, preview, mask = found(photos(), people=1)
    assert mask.any(), "of torso and arms the arms are seen"
    again = found(photos(), people=1, parts="torso, feet")
    assert torch.equal(again[0], surface)
    assert torch.equal(again[1], people)
    assert torch.equal(again[2], preview)
    assert isinstance(again[3], ExecutionBlocker)
    assert again[3].message.startswith("Nothing is seen of torso, feet. Choose other parts; the photo shows head, ")
    with pytest.raises(BadParts, match="No part of the body is chosen"):
        found(photos(), people=1, parts="")


@pytest.mark.thorough
def test_two_nodes_look_at_one_photo_once(models: Path) -> None:
    path = str(densepose_made.save(models / PUBLISHED, 2))
    network = network_of(*folders.stamp(path))
    looks = list[int]()
    handle = network.model.register_forward_hook(lambda *_: looks.append(1))
    first = found(photos(), people=1)
    second = found(photos().clone(), people=1, width=128, height=192, parts="head")
    assert len(looks) == 1
    changed_photo = photos()
    changed_photo[0, 0, 0, 0] = 1 - changed_photo[0, 0, 0, 0].round()
    changed = found(changed_photo, people=1)
    assert len(looks) == 2
    again = found(photos(), people=1)
    assert len(looks) == 3, "the last photo alone is kept"
    handle.remove()
    assert torch.equal(again[0], first[0])
    assert second[0].shape == (1, 192, 128, 3)
    assert changed[0].shape == first[0].shape


def test_a_file_that_was_replaced_is_read_again(models: Path) -> None:
    densepose_made.save(models / PUBLISHED, 1)
    assert len(found(photos())[1]) == 1
    hooked(models / PUBLISHED)
    with pytest.raises(UnsupportedCheckpoint, match="another kind"):
        found(photos())
    assert not Path(densepose_made.CODE_RAN).exists()


WROTE = densepose_made.CODE_RAN


class Plain(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image


class Writing(torch.nn.Module):
    """An operator of torchvision, which every host has."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        torch.ops.image.write_file("written_by_the_code_of_an_archive", torch.zeros(4, dtype=torch.uint8))
        return image


def hook(self: Any, input: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
    return output + torch.from_file("written_by_the_code_of_an_archive", True, 16)[0]


class Reduced:
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path(WROTE),)


def with_hostile_code(network: torch.nn.Module, path: Path) -> None:
    """The weights of a real network, and beside them what runs other code."""
    network.model = densepose_made.Holder(densepose_made.weights())
    torch.jit.save(torch.jit.script(network), str(path))


def hooked(path: Path) -> None:
    """Of another network: a forward hook that writes."""
    network = Plain()
    network.register_forward_hook(hook)
    torch.jit.save(torch.jit.script(network), str(path))


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def changed(path: Path, change: Any, compression: int = zipfile.ZIP_STORED) -> None:
    """The archive of a real network, change(name, bytes) of each member."""
    densepose_made.save(path)
    parts = members(path)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in parts.items():
            archive.writestr(name, change(name, data))


def with_index(index: bytes) -> Any:
    return lambda path: changed(path, lambda name, data: index if name.endswith("/data.pkl") else data)


def short(name: str, data: bytes) -> bytes:
    return data[:-4] if name.endswith("/data/7") else data


def of_many_disks(path: Path) -> None:
    """An archive whose end says that it goes on elsewhere, for which Python has an error instead of an answer."""
    densepose_made.save(path)
    data = bytearray(path.read_bytes())
    end = data.rindex(b"PK\x06\x07")  # of a zip of 64 bits; the number of disks is its last field
    data[end + 16 : end + 20] = b"\x09\x00\x00\x00"
    path.write_bytes(data)


def cut_off(path: Path) -> None:
    densepose_made.save(path)
    path.write_bytes(path.read_bytes()[:-9000])


def writing_at_once(path: Path) -> None:
    torch.jit.save(torch.jit.script(WritesWhileOpened()), str(path))


def with_weights(**more: torch.Tensor) -> Any:
    return lambda path: densepose_made.archive(path, {**densepose_made.weights(), **more})


def without(end: str) -> Any:
    state = {name: tensor for name, tensor in densepose_made.weights().items() if not name.endswith(end)}
    return lambda path: densepose_made.archive(path, state)


MODULE = b"c__torch__\nM\n)\x81"
NAMES = b"(X\x01\x00\x00\x00ah%bX\x01\x00\x00\x00bh%bub"
TWICE = b"\x80\x02" + MODULE + b"q\x00"
TWICE += b"".join(MODULE + b"}" + NAMES % (bytes([n]), bytes([n])) + b"q" + bytes([n + 1]) for n in range(40)) + b"."
"""Forty modules, each twice in the next: a million million in all."""


def storage_of(length: bytes) -> bytes:
    return b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x001X\x03\x00\x00\x00cpuJ" + length + b"tQ"


def of_storage(length: bytes, size: bytes, stride: bytes) -> bytes:
    """A module with one tensor of this size, in a storage of this length."""
    storage = storage_of(length)
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00(J" + size + b"t(" + stride + b"t\x89NtR"
    return b"\x80\x02" + MODULE + b"}X\x01\x00\x00\x00a" + tensor + b"sb."


FEW = of_storage(b"\xff\xff\xff\x7f", b"\xff\xff\xff\x7f", b"K\x00")
STRETCHED = of_storage(b"\x08\x00\x00\x00", b"\xff\xff\xff\x7f", b"K\x00")  # data/1 holds eight floats
BACKWARDS = of_storage(b"\x08\x00\x00\x00", b"\xff\xff\xff\xff", b"K\x01")
TWO_STRIDES = of_storage(b"\x08\x00\x00\x00", b"\x08\x00\x00\x00", b"K\x01K\x01")
ARGUMENTS = b"(" + storage_of(b"\x08\x00\x00\x00") + b"K\x00](" + b"K\x01" * 150_000 + b"eq\x01h\x01\x89}tq\x02"
SIDES = b"\x80\x02" + MODULE + b"ctorch._utils\n_rebuild_tensor_v2\nq\x00" + ARGUMENTS + b"h\x00h\x02R" * 80_000 + b"."
"""A list of 150,000 sizes, in 80,000 tensors."""
CONV = "backbone.bottom_up.stem.conv1.weight"
LOGITS = "proposal_generator.rpn_head.objectness_logits.weight"
WRONG = {
    "weights": (lambda path: torch.save({"a.weight": torch.ones(3)}, path), "is no TorchScript archive"),
    "a web page": (lambda path: path.write_text("<!doctype html><p>" + "x" * 600), "web page"),
    "cut off": (cut_off, "cut off while downloading"),
    "many disks": (of_many_disks, "cut off while downloading"),
    "another network": (hooked, "another kind .*has no backbone.bottom_up.stem"),
    "opens with code": (writing_at_once, "another kind"),
    "pickled Python": (
        with_index(pickle.dumps(Reduced(), 2)),
        "names __builtin__.getattr, so it was not read|names pathlib",
    ),
    "builtins": (with_index(b"\x80\x02cbuiltins\neval\n)R."), "names builtins.eval"),
    "a call of torch": (with_index(b"\x80\x02ctorch\nFloatStorage\n)R."), "calls something else"),
    "no end": (with_index(b"\x80\x02)"), "cannot be read|has no end"),
    "another opcode": (with_index(b"\x80\x02I1\n."), "opcode INT"),
    "keys of tuples": (with_index(b"\x80\x02})Ns."), "keys that are no text"),
    "nothing on the stack": (with_index(b"\x80\x02\x86."), "cannot be read"),
    "endless": (with_index(b"\x80\x02" + b"(" * 600_000 + b"."), "more than 500000 steps"),
    "too long": (with_index(b"\x80\x02" + b")" * 5_000_000 + b"."), "compressed or too long"),
    "itself": (with_index(b"\x80\x02" + MODULE + b"q\x00}X\x01\x00\x00\x00ah\x00sb."), "modules 65 deep"),
    "again and again": (with_index(TWICE), "more than 100000 modules"),
    "one list of sizes for many": (with_index(SIDES), "with a tensor of 150000 dimensions"),
    "numbers that are not there": (with_index(FEW), "says it holds more numbers than it has bytes"),
    "one number for many": (with_index(STRETCHED), "with a tensor of shape"),
    "a size below nothing": (with_index(BACKWARDS), r"with a tensor of shape \(-1,\) and strides \(1,\)"),
    "a stride too many": (with_index(TWO_STRIDES), r"with a tensor of shape \(8,\) and strides \(1, 1\)"),
    "a pickle of torch": (lambda path: torch.save(Reduced(), path), "is no TorchScript archive"),
    "compressed": (lambda path: changed(path, lambda name, data: data, zipfile.ZIP_DEFLATED), "compressed"),
    "too few bytes": (lambda path: changed(path, short), "without the .* bytes of"),
    "no layer": (without("fc2.bias"), "another kind .*has no roi_heads.box_head.fc2.bias"),
    "no number": (without("running_mean"), "another kind"),
    "other sizes": (with_weights(**{LOGITS: torch.zeros(5, 64, 1, 1)}), "another kind .*objectness_logits"),
    "NaN": (
        with_weights(**{CONV: torch.full((8, 3, 7, 7), torch.nan)}),
        r"is a damaged DensePose network \(backbone.*nan",
    ),
    "too wide": (with_weights(**{CONV: torch.zeros(9000, 3, 1, 1)}), "9000 channels"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_files_are_named(kind: str, models: Path) -> None:
    make, words = WRONG[kind]
    make(models / PUBLISHED)
    with pytest.raises(UnsupportedCheckpoint, match=words) as refused:
        found(photos())
    assert "hr16/DensePose-TorchScript-with-hint-image" in refused.value.advice
    assert not Path(WROTE).exists()


HOSTILE = {"torchvision": Writing(), "hook": Plain()}
HOSTILE["hook"].register_forward_hook(hook)


@pytest.mark.parametrize("kind", HOSTILE)
def test_code_of_an_archive_is_never_run(
    kind: str, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights are those of a real network: with them ours finds what it finds without such code."""
    with_hostile_code(HOSTILE[kind], models / PUBLISHED)
    surface, people, *_ = found(photos())
    assert not Path(WROTE).exists()
    monkeypatch.chdir(tmp_path)
    torch.jit.load(str(models / PUBLISHED))(torch.zeros(1, 3, 8, 8))
    assert Path(WROTE).exists(), "torch runs it"
    densepose_made.save(models / PUBLISHED)
    expected, people_expected, *_ = found(photos())
    assert torch.equal(surface, expected)
    assert torch.equal(people, people_expected)


def test_other_exports_are_told_what_is_needed(models: Path) -> None:
    hooked(models / PUBLISHED)
    with pytest.raises(UnsupportedCheckpoint) as refused:
        found(photos())
    assert "the weights alone are read, and its code is never run" in refused.value.advice
    assert "R_50_FPN_DL_s1x" in refused.value.advice


def test_what_is_not_there_is_said(models: Path) -> None:
    with pytest.raises(ModelMissing, match=r"densepose_r50_fpn_dl\.torchscript is not in") as missing:
        body_surface.DetectBodySurface.validate_inputs(PUBLISHED)
    assert "265 MB" in missing.value.advice
    assert "hr16" in missing.value.advice
    densepose_made.save(models / PUBLISHED, 0)
    with pytest.raises(BadPhoto, match=r"photo 1 of 2 \(96x64 px\)"):
        found(photos(2))


def test_a_file_of_comfyui_controlnet_aux_is_found(tmp_path: Path, standin_models: Standins) -> None:
    folder_of_the_pack = (
        tmp_path / "comfyui_controlnet_aux" / "ckpts" / "LayerNorm" / "DensePose-TorchScript-with-hint-image"
    )
    folder_of_the_pack.mkdir(parents=True)
    shutil.copy(standin_models.densepose, folder_of_the_pack / PUBLISHED)
    folders_by_key = folder_paths.folder_names_and_paths
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(folders_by_key, "custom_nodes", ([str(tmp_path)], set()))
        patch.setitem(folders_by_key, "densepose", ([], set()))
        folders.register()
        assert folders.find(PUBLISHED, "densepose") == str(folder_of_the_pack / PUBLISHED)
        assert folders.folders("densepose")[0].endswith(str(Path("models", "densepose")))
    assert folders.find(PUBLISHED, "densepose") is None
