"""Files as Load Adapter meets them: damaged ones, and where they lie.

What every loader does is tried on this one. What each says of the files of others:
tests/every_method/test_wrong_files.py.
"""

import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass

import folder_paths
import pytest
import torch
from pack.bridge.host.folders import UnsafePath
from pack.core.errors import ModelMissing, UnsupportedCheckpoint
from pack.core.models.tensors import flatten
from pack.nodes.adapters import LoadAdapter
from pack.nodes.id_patch.nodes import LOADER, IDPatch
from safetensors.torch import save
from seeded_files import id_patch_file
from torch import Tensor


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "id_patch", ([str(tmp_path)], {".bin", ".safetensors"}))
    return tmp_path


def pickled(content) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def safe(file) -> bytes:
    return save({key: tensor.contiguous() for key, tensor in flatten(file).items()})


def write(path, file):
    """In the form that its name says."""
    path.write_bytes(pickled(file) if path.suffix == ".bin" else safe(file))
    return path


class RunsCode:
    def __reduce__(self):
        return (print, ("this pickle ran code",))


NOT_WHOLE = "damaged or cut off while downloading"
DAMAGED = "an incomplete or damaged ID-Patch file"


def changed(key: str, change: Callable[[Tensor], Tensor]) -> bytes:
    """The file with another tensor in the projection of the prompt."""
    file = id_patch_file("resampler")
    file["prompt_proj"][key] = change(file["prompt_proj"][key])
    return pickled(file)


def pickle_until(end: Callable[[int], int] | int) -> Callable[[], bytes]:
    """A whole file, cut off. end: at which byte, counted from the file's end where it is negative; a function tells it
    from the file's length. The file has hundreds of MB: it is made when a test reads it, not when tests are collected.
    """

    def contents() -> bytes:
        file = pickled(id_patch_file("mlp"))
        return file[: end(len(file)) if callable(end) else end]

    return contents


def safetensors_until(end: Callable[[int], int] | int) -> Callable[[], bytes]:
    """The same of a file of safetensors."""

    def contents() -> bytes:
        file = safe(id_patch_file("mlp"))
        return file[: end(len(file)) if callable(end) else end]

    return contents


def half(length: int) -> int:
    return length // 2


def a_lfs_pointer() -> bytes:
    return b"version https://git-lfs.github.com/spec/v1\nsize 1\n"


def a_pickle_of_none() -> bytes:
    return pickled(None)


def a_pickle_of_text() -> bytes:
    return pickled("text")


def a_pickle_of_a_list() -> bytes:
    return pickled([torch.zeros(1)])


def noise() -> bytes:
    generator = torch.Generator().manual_seed(5)
    return bytes(torch.randint(256, (1000,), generator=generator).tolist())


def code() -> bytes:
    return pickle.dumps({"patch_proj": RunsCode()}, protocol=2)


def numbers_in_place_of_tensors() -> bytes:
    return pickled({key: torch.zeros(()) for key in flatten(id_patch_file("mlp"))})


def empty_tensors() -> bytes:
    return pickled({key: torch.zeros(0) for key in flatten(id_patch_file("mlp"))})


def an_ip_adapter_of_numbers() -> bytes:
    return pickled({"image_proj.proj.0.weight": torch.zeros(()), "1.to_k_ip.weight": torch.zeros(())})


def whole_numbers() -> bytes:
    return changed("latents", Tensor.long)


def complex_numbers() -> bytes:
    return changed("norm_out.weight", lambda tensor: tensor.to(torch.complex64))


def not_a_number() -> bytes:
    return changed("layers.0.0.to_q.weight", lambda tensor: tensor * torch.nan)


def infinite() -> bytes:
    return changed("proj_out.bias", lambda tensor: tensor.half() * 0 + torch.inf)


def too_large() -> bytes:
    return changed("proj_out.bias", lambda tensor: tensor * 0 - 1e30)


def other_embeddings() -> bytes:
    """Which have one number more."""
    return changed("proj_in.weight", lambda tensor: torch.cat([tensor, tensor[:, :1]], 1))


def a_tensor_less() -> bytes:
    file = id_patch_file("resampler")
    del file["prompt_proj"]["layers.2.0.to_q.weight"]
    return pickled(file)


def swapped() -> bytes:
    mlp = id_patch_file("mlp")
    resampler = id_patch_file("resampler")
    return pickled({"patch_proj": mlp["prompt_proj"], "prompt_proj": resampler["patch_proj"]})


def endless_layers() -> bytes:
    tensors = {str(number): torch.zeros(1) for number in range(10000)}
    return pickled({**id_patch_file("resampler"), "more": tensors})


def a_control_net() -> bytes:
    return save({"controlnet_cond_embedding.conv_in.weight": torch.zeros(1)})


@dataclass(frozen=True)
class Unusable:
    """A file that cannot be used. contents: its bytes, or what makes them. says: what is in the message."""

    name: str
    contents: bytes | Callable[[], bytes]
    says: tuple[str, ...]

    def read(self) -> bytes:
        return self.contents() if callable(self.contents) else self.contents


UNUSABLE = [
    Unusable("a Git LFS pointer", a_lfs_pointer, ("a Git LFS pointer",)),
    Unusable("a pickle of 7 bytes", pickle_until(7), (NOT_WHOLE, "Delete it and download it again")),
    Unusable("half a pickle", pickle_until(half), (NOT_WHOLE,)),
    Unusable("a pickle without its end", pickle_until(-9), (NOT_WHOLE,)),
    Unusable("safetensors of 7 bytes", safetensors_until(7), (NOT_WHOLE,)),
    Unusable("half of safetensors", safetensors_until(half), (NOT_WHOLE,)),
    Unusable("safetensors without their end", safetensors_until(-9), (NOT_WHOLE,)),
    Unusable("nothing", b"", ("an empty file",)),
    Unusable("a pickle of None", a_pickle_of_none, (NOT_WHOLE,)),
    Unusable("a pickle of text", a_pickle_of_text, ("a pickle of one str instead of named tensors",)),
    Unusable("a pickle of a list", a_pickle_of_a_list, (NOT_WHOLE,)),
    Unusable("noise", noise, (NOT_WHOLE,)),
    Unusable("code", code, ("a pickle that wants to run code or holds more than tensors (", "print)")),
    Unusable("numbers in place of tensors", numbers_in_place_of_tensors, (DAMAGED,)),
    Unusable("empty tensors", empty_tensors, (DAMAGED,)),
    Unusable("an IP-Adapter of numbers", an_ip_adapter_of_numbers, ("is an IP-Adapter",)),
    Unusable("whole numbers", whole_numbers, (DAMAGED, "torch.int64 instead of float")),
    Unusable("complex", complex_numbers, (DAMAGED, "torch.complex64")),
    Unusable("NaN", not_a_number, (DAMAGED, "holds nan", "65504 at most")),
    Unusable("infinite", infinite, (DAMAGED, "holds inf where")),
    Unusable("too large", too_large, (DAMAGED, "holds -1e+30 where")),
    Unusable("other embeddings", other_embeddings, (DAMAGED, "read 512 and 513 numbers")),
    Unusable("a tensor less", a_tensor_less, (DAMAGED, "layers.2.0.to_q.weight")),
    Unusable("swapped", swapped, ("patch_proj makes 16 tokens of 2048 values, not three colour planes of 64x64",)),
    Unusable("endless layers", endless_layers, (DAMAGED, "tensors where no such network has 10000")),
    Unusable("a ControlNet", a_control_net, ("a ControlNet", "Load ControlNet Model")),
]


@pytest.mark.parametrize("file", UNUSABLE, ids=lambda file: file.name)
def test_what_cannot_be_used_is_named(folder, file: Unusable, capsys):
    """Nothing is run of it, and torch's own advice, to load it unsafely, is not handed on."""
    path = folder / "x.bin"
    path.write_bytes(file.read())
    with pytest.raises(UnsupportedCheckpoint) as error:
        LOADER.load_file(str(path))
    message = str(error.value)
    for part in (str(path), "https://huggingface.co/ByteDance/ID-Patch", *file.says):
        assert part in message, message
    assert "weights_only" not in message
    assert "ran code" not in capsys.readouterr().out


def missing(file, message=r"The ID-Patch file was not found: id-patch"):
    """What the node has against this choice before anything runs."""
    with pytest.raises(ModelMissing, match=message) as caught:
        LoadAdapter.validate_inputs(file)
    return str(caught.value)


@pytest.mark.parametrize("name", ["../../secret.bin", "/etc/passwd", "a/../../b.bin"])
def test_names_that_climb_out_are_refused(folder, name):
    for function in (LoadAdapter.validate_inputs, LoadAdapter.execute):
        with pytest.raises(UnsafePath, match="leads outside of"):
            function(file=name)


@pytest.mark.parametrize("place", ["id_patch/copies/mine.safetensors", "loras/id-patch.bin"])
def test_the_published_name_finds_the_file_elsewhere(tmp_path, monkeypatch, caplog, place):
    """Under another name in its folder, or under its own in the folder of something else."""
    for key in ("id_patch", "loras"):
        (tmp_path / key).mkdir()
        folders_and_endings = ([str(tmp_path / key)], {".bin", ".safetensors"})
        monkeypatch.setitem(folder_paths.folder_names_and_paths, key, folders_and_endings)
    write(tmp_path / "id_patch" / "a lora.safetensors", {"1.lora_down.weight": torch.zeros(1)})
    assert missing("id-patch.bin")
    assert missing("", message=r"The adapter was not found: no file"), "the menu is empty"
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    write(path, flatten(id_patch_file("mlp")))
    assert LoadAdapter.validate_inputs("id-patch.bin") is True
    assert str(path) in LoadAdapter.fingerprint_inputs("id-patch.bin")
    assert LoadAdapter.execute(file="id-patch.bin")[0].width == 2048
    assert "id-patch.bin is not in models/id_patch. Loaded instead" in caplog.text
    assert str(path) in caplog.text
    assert missing("id-patch 2.bin", message=r"The adapter was not found"), "any other name is meant"


@pytest.mark.parametrize("name", ["ID-Patch.BIN", "sdxl/id-patch.bin", "D:\\ComfyUI\\models\\id_patch\\id-patch.bin"])
def test_the_published_name_in_another_folder_finds_the_file(folder, caplog, name):
    """A workflow of another computer, which keeps its files in other folders or does not tell capitals apart."""
    assert missing(name, message=r"The ID-Patch file was not found")
    write(folder / "mine.safetensors", flatten(id_patch_file("mlp")))
    assert LoadAdapter.validate_inputs(name) is True
    assert LoadAdapter.execute(file=name)[0].width == 2048
    assert "is not in models/id_patch. Loaded instead" in caplog.text


def test_the_adapter_is_told_by_its_folder_and_its_contents(folder, tmp_path, monkeypatch):
    """A file of one method in the folder of another is loaded for what it is; of two of one name both are listed."""
    other_folder = tmp_path / "instantid"
    other_folder.mkdir()
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "instantid", ([str(other_folder)], {".bin"}))
    for path in (folder / "mine.bin", other_folder / "mine.bin", other_folder / "strayed.bin"):
        write(path, id_patch_file("mlp"))
    options = LoadAdapter.define_schema().inputs[0].options
    assert {"mine.bin", "instantid/mine.bin", "strayed.bin"} <= {*options}
    for name in ("mine.bin", "instantid/mine.bin", "strayed.bin"):
        assert LoadAdapter.validate_inputs(name) is True
        assert type(LoadAdapter.execute(file=name)[0]) is IDPatch
    assert LoadAdapter.fingerprint_inputs("mine.bin") != LoadAdapter.fingerprint_inputs("instantid/mine.bin")
    with pytest.raises(ModelMissing, match=r"The adapter was not found: nowhere\.bin is in none of the folders"):
        LoadAdapter.validate_inputs("nowhere.bin")
