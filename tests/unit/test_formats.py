"""Files are named for what they are, from their tensors alone; what lies below a folder, and what tells a file from the
one that was there before."""

import bz2
import gzip
import io
import itertools
import json
import lzma
import os
import tarfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from format_files import TABLE, on_meta, state_of
from pack.core.checks.errors import UnsupportedCheckpoint
from pack.core.methods import methods
from pack.core.models import file_check, files
from pack.core.models.files import listing, sha256
from pack.core.models.formats import detected, formats, identify, in_order, recognised, require
from pack.core.models.tensors import SOURCES, NotTensors, described_tensors, flatten, origin, read
from safetensors.torch import save_file
from seeded_files import id_patch_file

RESAMPLER = {"image_proj.latents": [1, 16, 1280], "image_proj.proj_in.weight": [1280, 512]}
LAYERS = {"ip_adapter.1.to_k_ip.weight": [640, 2048], "ip_adapter.1.to_v_ip.weight": [640, 2048]}


FILES = [(name, state_of(row)) for name, rows in TABLE.items() for row in rows] + [
    ("id-patch", flatten(id_patch_file("mlp"))),
    # As published: 16 bits in the layers and 32 in the projection.
    ("face-id-unnorm", on_meta(RESAMPLER) | on_meta(LAYERS, torch.float16)),
    ("instant-id", on_meta(RESAMPLER | LAYERS, torch.float16)),
    ("instant-id", on_meta(RESAMPLER | LAYERS, torch.bfloat16)),
]


def test_known_files_are_identified():
    for expected, state in FILES:
        file_format = identify(state)
        assert file_format is not None, next(iter(state))
        assert file_format.id == expected, next(iter(state))
        require(state, expected, "x.bin", "")


def test_what_a_file_is_does_not_hang_on_the_order_of_methods() -> None:
    assert len({record.id for record in formats()}) == len(formats())
    others = [record for record in formats() if not any(record in method.formats for method in methods())]
    of_methods = [record for method in reversed(methods()) for record in method.formats]
    for expected, state in FILES:
        matching = [record.id for record in in_order([*of_methods, *others]) if detected(record.detect, state)]
        assert matching[0] == expected


def test_a_folder_is_no_file(tmp_path):
    assert recognised(tmp_path) == (None, None)
    with pytest.raises(UnsupportedCheckpoint, match="cannot be read"):
        read(tmp_path)


def header(length: int | None = None, **entry) -> bytes:
    """A safetensors file of one tensor and eight bytes."""
    text = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **entry}}).encode()
    return (length or len(text)).to_bytes(8, "little") + text + bytes(8)


def test_a_header_that_cannot_be_true_is_named(tmp_path):
    path = tmp_path / "x.safetensors"
    for entry in (
        {"data_offsets": [-8, 8]}, {"data_offsets": [8, 0]}, {"data_offsets": [0, 1 << 70]}, {"shape": [1 << 40]},
        {"shape": [-1]}, {"length": 1 << 60},
    ):  # fmt: skip
        data = header(**entry)
        path.write_bytes(data)
        for reader, error in ((described_tensors, ValueError), (read, UnsupportedCheckpoint)):
            with pytest.raises(error, match=f"{len(data)} bytes"):
                reader(path)


def test_shapes_that_no_tensor_has_are_named(tmp_path):
    path = tmp_path / "x.safetensors"
    for shape in ([0, 1 << 63], [0, 1 << 62, 1 << 62]):
        path.write_bytes(header(shape=shape, data_offsets=[0, 0])[:-8])
        with pytest.raises(NotTensors) as described:
            described_tensors(path)
        assert str(described.value) == f"a file whose tensor a has the impossible shape {shape}"


def test_a_file_of_more_tensors_than_any_model_has_is_no_pickle(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    text = json.dumps(dict.fromkeys(map(str, range(100_001)), entry)).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    for reader, error in ((described_tensors, NotTensors), (read, UnsupportedCheckpoint)):
        with pytest.raises(error, match="a file with more than 100000 entries"):
            reader(path)


def test_a_packed_pickle_is_not_unpacked(tmp_path: Path) -> None:
    """A few bytes of it may be gigabytes."""
    torch.save({"a": torch.zeros(100_000)}, tmp_path / "whole.bin")
    path = tmp_path / "x.bin"
    with zipfile.ZipFile(tmp_path / "whole.bin") as whole, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for member in whole.infolist():
            packed.writestr(member.filename, whole.read(member))
    for reader, error in ((described_tensors, NotTensors), (read, UnsupportedCheckpoint)):
        with pytest.raises(error, match="a packed zip"):
            reader(path)


@pytest.mark.parametrize("text", ["", "1", "{}", '{"a": "b", "c": "d"}', "[" * 200_000])
def test_where_a_file_comes_from_is_its_own_hash_where_its_metadata_does_not_say(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(1)}, path, {SOURCES: text})
    assert origin(path) == sha256(path)


def again_and_again():
    state = {"a": torch.zeros(1)}
    for _ in range(40):
        state = {"x": state, "y": state}
    return state


def in_itself():
    state: dict[str, object] = {"a": torch.zeros(1)}
    state["x"] = state
    return state


@dataclass(frozen=True)
class Unusable:
    """A pickle that torch opens without a word. description: what it is called, as the end of a sentence."""

    content: object
    description: str


NO_MODELS = {
    "the same dictionary again and again": Unusable(again_and_again(), "a file with more than 100000 entries"),
    "a dictionary in itself": Unusable(in_itself(), "a pickle of dictionaries in each other, more than 50"),
    "a terabyte of one number": Unusable(
        {"patch_proj.a": torch.zeros(1).expand(1 << 40)},
        "a pickle whose tensor patch_proj.a does not lie in it "
        "(torch.strided of torch.float32, shape (1099511627776,))",
    ),
    "sparse": Unusable(
        {"a": torch.zeros(2, 2).to_sparse()},
        "a pickle whose tensor a does not lie in it (torch.sparse_coo of torch.float32, shape (2, 2))",
    ),
    "nested": Unusable(
        {"a": torch.nested.nested_tensor([torch.zeros(1), torch.zeros(2)])},
        "a pickle whose tensor a does not lie in it (torch.strided of torch.float32, shape nested)",
    ),
    "without numbers": Unusable(
        {"a": torch.zeros(2, device="meta")},
        "a pickle whose tensor a does not lie in it (torch.strided of torch.float32, shape (2,))",
    ),
    "one tensor": Unusable(torch.zeros(2), "a pickle of one Tensor instead of named tensors"),
    "a list": Unusable([torch.zeros(2)], "a pickle of one list instead of named tensors"),
}


@pytest.mark.parametrize("kind", NO_MODELS)
def test_a_pickle_that_is_no_model_is_named_for_what_it_is(kind: str, tmp_path: Path) -> None:
    """It is whole: nobody is sent to look for damage."""
    path = tmp_path / "x.bin"
    torch.save(NO_MODELS[kind].content, path)
    description = NO_MODELS[kind].description
    with pytest.raises(ValueError) as described:
        described_tensors(path)
    assert str(described.value) == description
    with pytest.raises(UnsupportedCheckpoint) as loaded:
        read(path)
    assert loaded.value.problem == f"x.bin is {description}; this node needs a file of tensors."
    trouble = file_check._trouble(path, None)
    assert trouble is not None
    assert trouble.details == (f"{path} is {description}.", "Download it again.")


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("id-patch.bin", "tensors")
    return file.getvalue()


OTHER_FILES = {
    "GGUF": (b"GGUF\3\0\0\0" + bytes(64), "a GGUF file, which other nodes read"),
    "gzip": (gzip.compress(b"tensors"), "a file packed with gzip"),
    "bzip2": (bz2.compress(b"tensors"), "a file packed with bzip2"),
    "xz": (lzma.compress(b"tensors"), "a file packed with xz"),
    "zip": (zipped(), "a file packed with zip"),
    "7-Zip": (b"7z\xbc\xaf\x27\x1c\0\4" + bytes(64), "a file packed with 7-Zip"),
    "RAR": (b"Rar!\x1a\7\1\0" + bytes(64), "a file packed with RAR"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(68), "a file packed with zstd"),
    "JSON": (b'{"_class_name": "AutoencoderKL"}', "JSON, not a model"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer, not the file itself"),
}


@pytest.mark.parametrize("name", ["x.safetensors", "x.bin"])
@pytest.mark.parametrize("kind", OTHER_FILES)
def test_what_holds_no_tensors_is_named_by_its_bytes(kind: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    data, what = OTHER_FILES[kind]
    description = f"{what} ({len(data)} bytes)"
    path.write_bytes(data)
    with pytest.raises(UnsupportedCheckpoint) as loaded:
        read(path)
    assert loaded.value.problem == f"{name} is {description}; this node needs a file of tensors."
    trouble = file_check._trouble(path, None)
    assert trouble is not None
    assert trouble.details == (f"{path} is {description}.", "Download it again.")


@pytest.mark.parametrize("start", [b"\x1f\x8b\x08", b"BZh", b"PK\x03"])
def test_safetensors_whose_length_looks_like_another_file_are_read(start: bytes, tmp_path: Path) -> None:
    length = int.from_bytes(start, "little")
    text = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode().ljust(length)
    path = tmp_path / "x.bin"
    path.write_bytes(length.to_bytes(8, "little") + text + torch.ones(2).numpy().tobytes())
    assert read(path)["a"].tolist() == [1, 1]
    assert [*described_tensors(path)] == ["a"]


def test_a_zip_whose_end_is_damaged_is_named(tmp_path):
    """Python's zipfile raises where it is asked whether this is a zip."""
    path = tmp_path / "x.bin"
    torch.save({"a": torch.ones(3)}, path)
    data = bytearray(path.read_bytes())
    end = data.rindex(b"PK\x06\x07")
    data[end + 16 : end + 20] = b"\x09\x00\x00\x00"
    path.write_bytes(data)
    for reader, error in ((described_tensors, ValueError), (read, UnsupportedCheckpoint)):
        with pytest.raises(error, match="damaged or cut off"):
            reader(path)
    assert recognised(path) == (None, None)


class WritesWhileOpened(torch.nn.Module):
    """A TorchScript network whose code writes a file while it is opened, before anybody can ask what it is."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, bool]:
        return torch.ones(1), True

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]) -> None:
        torch.save(state[0], "written_by_the_code_of_an_archive")
        self.training = state[1]


def renamed(path: Path) -> None:
    """The members of a TorchScript archive in capitals, by which torch finds them as well."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name.replace("constants.pkl", "CONSTANTS.PKL"), data)


def tarred(path: Path) -> None:
    with tarfile.open(path, "w:") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors", "../outside"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())


@pytest.mark.parametrize("kind", ["network", "capitals", "tar"])
def test_weights_that_bring_code_are_not_opened(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Older versions of torch.load run such a network, and unpack a tar, although weights alone are asked for."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.pth"
    if kind == "tar":
        tarred(path)
    else:
        torch.jit.save(torch.jit.script(WritesWhileOpened()), str(path))
    if kind == "capitals":
        renamed(path)
    opened: list[Path] = []
    description = "a TorchScript network, which holds code, so it was not opened"
    if kind == "tar":
        description = "a tar archive, as torch before 0.1.10 saved weights, so it was not opened"
    with pytest.raises(UnsupportedCheckpoint) as loaded:
        read(path, loaded=opened.append)
    assert loaded.value.problem == f"x.pth is {description}; this node needs a file of tensors."
    with pytest.raises(ValueError) as described:
        described_tensors(path)
    assert str(described.value) == description
    assert opened == []
    assert sorted(os.listdir(tmp_path)) == ["x.pth"]


def settle(folder: Path) -> None:
    """All folders as if they had been changed an hour ago, some seconds apart: then what lies in them is remembered."""
    for inner in [folder, *sorted(folder.rglob("*"))]:
        if inner.is_dir() and not inner.is_symlink() and time.time() - inner.stat().st_mtime < 3000:
            then = time.time() - 3600 - next(_STEPS)
            os.utime(inner, (then, then))


_STEPS = itertools.count(1)


def test_a_folder_is_not_walked_again_until_something_changes(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "a.bin").touch()
    unsettled = listing(str(tmp_path))
    assert listing(str(tmp_path)) is not unsettled, "what was changed just now may change again within the same time"
    settle(tmp_path)
    settled = listing(str(tmp_path))
    assert listing(str(tmp_path)) is settled
    (tmp_path / "below" / "b.bin").touch()
    assert [name for name, _ in listing(str(tmp_path)).files] == [
        os.path.join("below", name) for name in ("a.bin", "b.bin")
    ]
    (tmp_path / "link").symlink_to(tmp_path / "below")
    assert len(listing(str(tmp_path), links=False).files) == 2


def test_what_comes_goes_or_moves_is_seen(tmp_path: Path) -> None:
    """Also a folder that comes later, at the end of a link: as that of a disk that is not mounted yet."""
    root = tmp_path / "models"
    below = tmp_path / "models" / "below"

    def names() -> list[str]:
        settle(tmp_path)
        listed_files = listing(str(root)).files
        assert all(path == str(root / name) for name, path in listed_files)
        return [name for name, _ in listed_files]

    assert names() == []
    below.mkdir(parents=True)
    for path in (root / "a.bin", below / "b.bin"):
        path.touch()
    (root / "disk").symlink_to(tmp_path / "disk")
    assert names() == ["a.bin", os.path.join("below", "b.bin")]
    assert [link.name for link in listing(str(root)).dead_links] == ["disk"]
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "c.bin").touch()
    (below / "b.bin").unlink()
    assert names() == ["a.bin", os.path.join("disk", "c.bin")]
    below.rename(root / "elsewhere")
    (root / "elsewhere" / "up").symlink_to(root)
    assert names() == ["a.bin", os.path.join("disk", "c.bin")], "links in a circle end"


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps no time of a change that programs cannot set")
def test_another_file_of_the_same_length_and_time_is_another_file(tmp_path: Path) -> None:
    """As copies and what is unpacked may be."""
    path = tmp_path / "a.safetensors"
    second_path = tmp_path / "b.safetensors"
    for file in (path, second_path):
        file.write_bytes(b"1234")
        os.utime(file, (10**9, 10**9))
    before = files.stamp(str(path))
    settled = os.stat(path).st_ctime_ns
    while os.stat(second_path).st_ctime_ns == settled:
        second_path.chmod(0o644)
    second_path.replace(path)
    assert files.stamp(str(path)) != before
    assert files.stamp(str(path))[:2] == before[:2]
