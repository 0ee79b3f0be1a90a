"""Files as Load Adapter meets them: damaged ones, and where they lie.

What every loader does is tried on this one. What each says of the files of others:
tests/every_method/test_wrong_files.py.
"""

import io
import pickle
import random
from collections.abc import Callable

import comfy.utils
import folder_paths
import pytest
import torch
from graph_run import call
from pack.bridge.host.load import read_state_dict
from pack.core.checks.errors import ModelMissing, UnsupportedCheckpoint
from pack.core.models.tensors import described_tensors, flatten
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


def whole_pickle() -> bytes:
    return pickled(id_patch_file("mlp"))


def whole_safetensors() -> bytes:
    return safe(id_patch_file("mlp"))


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


def all_of(tensor: Tensor) -> bytes:
    """A file with this in the place of every tensor."""
    return pickled(dict.fromkeys(flatten(id_patch_file("mlp")), tensor))


def half(file: bytes) -> bytes:
    return file[: len(file) // 2]


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


PYTHON = pickle.dumps({"patch_proj": RunsCode()}, protocol=2)
NUMBERS = {"image_proj.proj.0.weight": torch.zeros(()), "1.to_k_ip.weight": torch.zeros(())}
OTHER_ROLES = "patch_proj makes 16 tokens of 2048 values, not three colour planes of 64x64"
UNUSABLE: dict[str, tuple[Callable[[], bytes], list[str]]] = {
    "a Git LFS pointer": (lambda: b"version https://git-lfs.github.com/spec/v1\nsize 1\n", ["a Git LFS pointer"]),
    "a pickle of 7 bytes": (lambda: whole_pickle()[:7], [NOT_WHOLE, "Delete it and download it again"]),
    "half a pickle": (lambda: half(whole_pickle()), [NOT_WHOLE]),
    "a pickle without its end": (lambda: whole_pickle()[:-9], [NOT_WHOLE]),
    "safetensors of 7 bytes": (lambda: whole_safetensors()[:7], [NOT_WHOLE]),
    "half of safetensors": (lambda: half(whole_safetensors()), [NOT_WHOLE]),
    "safetensors without their end": (lambda: whole_safetensors()[:-9], [NOT_WHOLE]),
    "nothing": (lambda: b"", ["an empty file"]),
    "a pickle of None": (lambda: pickled(None), [NOT_WHOLE]),
    "a pickle of text": (lambda: pickled("text"), ["a pickle of one str instead of named tensors"]),
    "a pickle of a list": (lambda: pickled([torch.zeros(1)]), [NOT_WHOLE]),
    "noise": (lambda: random.Random(5).randbytes(1000), [NOT_WHOLE]),
    "a plain pickle": (lambda: pickle.dumps({"a": 1}), ["a pickle, a PyTorch file that", "Get it as .safetensors. "]),
    "a picture": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(99), ["is a picture (PNG), not a model"]),
    "code": (lambda: PYTHON, ["a pickle that wants to run code or holds more than tensors (", "print)"]),
    "numbers in place of tensors": (lambda: all_of(torch.zeros(())), [DAMAGED]),
    "empty tensors": (lambda: all_of(torch.zeros(0)), [DAMAGED]),
    "an IP-Adapter of numbers": (lambda: pickled(NUMBERS), ["is an IP-Adapter"]),
    "whole numbers": (lambda: changed("latents", Tensor.long), [DAMAGED, "torch.int64 instead of float"]),
    "complex": (lambda: changed("norm_out.weight", lambda t: t.to(torch.complex64)), [DAMAGED, "torch.complex64"]),
    "NaN": (
        lambda: changed("layers.0.0.to_q.weight", lambda t: t * torch.nan),
        [DAMAGED, "holds nan", "65504 at most"],
    ),
    "infinite": (lambda: changed("proj_out.bias", lambda t: t.half() * 0 + torch.inf), [DAMAGED, "holds inf where"]),
    "too large": (lambda: changed("proj_out.bias", lambda t: t * 0 - 1e30), [DAMAGED, "holds -1e+30 where"]),
    "other embeddings": (
        lambda: changed("proj_in.weight", lambda t: torch.cat([t, t[:, :1]], 1)),
        [DAMAGED, "read 512 and 513 numbers"],
    ),
    "a tensor less": (a_tensor_less, [DAMAGED, "layers.2.0.to_q.weight"]),
    "swapped": (swapped, [OTHER_ROLES]),
    "endless layers": (endless_layers, [DAMAGED, "tensors where no such network has 10000"]),
    "a ControlNet": (
        lambda: save({"controlnet_cond_embedding.conv_in.weight": torch.zeros(1)}),
        ["a ControlNet", "Load ControlNet Model"],
    ),
}
"""What a file is; its bytes, hundreds of MB of some, which are made when a test reads them; and what is said of it."""


@pytest.mark.parametrize("kind", UNUSABLE)
def test_what_cannot_be_used_is_named(folder, kind, capsys):
    """Nothing is run of it, and torch's own advice, to load it unsafely, is not handed on."""
    contents, words = UNUSABLE[kind]
    path = folder / "x.bin"
    path.write_bytes(contents())
    with pytest.raises(UnsupportedCheckpoint) as error:
        LOADER.load_file(str(path))
    message = str(error.value)
    for part in (str(path), "https://huggingface.co/ByteDance/ID-Patch", *words):
        assert part in message, message
    assert "weights_only" not in message
    assert "ran code" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["x.bin", "x.pth", "x.safetensors", "X.SFT"])
@pytest.mark.parametrize("content", [whole_pickle, whole_safetensors, lambda: pickled({"state_dict": NUMBERS})])
def test_a_file_is_read_by_what_it_holds_under_every_name(tmp_path, content, name):
    """As by ComfyUI's own loader under the name that it should have."""
    right_name = tmp_path / ("right.safetensors" if content is whole_safetensors else "right.bin")
    for path in (right_name, tmp_path / name):
        path.write_bytes(content())
    right = flatten(comfy.utils.load_torch_file(str(right_name), safe_load=True))
    tensors = read_state_dict(str(tmp_path / name), "ID-Patch", "")
    assert tensors.keys() == right.keys() == described_tensors(tmp_path / name).keys()
    assert all(torch.equal(tensors[key], right[key]) for key in right)


def missing(file, message=r"The ID-Patch file was not found: id-patch"):
    """What the node has against this choice before anything runs."""
    with pytest.raises(ModelMissing, match=message) as caught:
        LoadAdapter.validate_inputs(file)
    return str(caught.value)


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
    assert call(LoadAdapter, file="id-patch.bin").args[0].width == 2048
    assert "id-patch.bin is not in models/id_patch. Loaded instead" in caplog.text
    assert str(path) in caplog.text
    assert missing("id-patch 2.bin", message=r"The adapter was not found"), "any other name is meant"


@pytest.mark.parametrize("name", ["ID-Patch.BIN", "sdxl/id-patch.bin", "D:\\ComfyUI\\models\\id_patch\\id-patch.bin"])
def test_the_published_name_in_another_folder_finds_the_file(folder, caplog, name):
    """A workflow of another computer, which keeps its files in other folders or does not tell capitals apart."""
    assert missing(name, message=r"The ID-Patch file was not found")
    write(folder / "mine.safetensors", flatten(id_patch_file("mlp")))
    assert LoadAdapter.validate_inputs(name) is True
    assert call(LoadAdapter, file=name).args[0].width == 2048
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
        assert type(call(LoadAdapter, file=name).args[0]) is IDPatch
    assert LoadAdapter.fingerprint_inputs("mine.bin") != LoadAdapter.fingerprint_inputs("instantid/mine.bin")
    with pytest.raises(ModelMissing, match=r"The adapter was not found: nowhere\.bin is in none of the folders"):
        LoadAdapter.validate_inputs("nowhere.bin")
