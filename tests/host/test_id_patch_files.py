"""Files as Load Adapter meets them: damaged ones, and where they lie.

What every loader does is tried on this one; what each says of the files of others: tests/promises/test_wrong_files.py.
"""

import io
import json
from pathlib import Path

import folder_paths
import pytest
import torch
from pack.bridge.folders import UnsafePath
from pack.core.errors import ModelMissing, UnsupportedCheckpoint
from pack.core.models.tensors import flatten
from pack.nodes.adapters import LoadAdapter
from pack.nodes.id_patch.nodes import LOADER, IDPatch
from safetensors.torch import save
from seeded import id_patch_file


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


def spoiled(key, spoil=None) -> bytes:
    """One tensor of the projection of the prompt; None: without it."""
    file = id_patch_file("resampler")
    tensor = file["prompt_proj"].pop(key)
    if spoil:
        file["prompt_proj"][key] = spoil(tensor)
    return pickled(file)


MLP, RESAMPLER = id_patch_file("mlp"), id_patch_file("resampler")
WHOLE, SAFE = pickled(MLP), safe(MLP)
UNUSABLE = json.loads(Path(__file__).with_name("unusable_files.json").read_text("utf-8"))
"""Bytes, as an expression, and what is said of them."""


@pytest.mark.parametrize("what", UNUSABLE)
def test_what_cannot_be_used_is_named(folder, what, capsys):
    """Nothing is run of it, and torch's own advice, to load it unsafely, is not handed on."""
    (data, *said), path = UNUSABLE[what], folder / "x.bin"
    path.write_bytes(eval(data))  # noqa: S307 - the table's own words
    with pytest.raises(UnsupportedCheckpoint) as error:
        LOADER.load_file(str(path))
    message = str(error.value)
    for part in (str(path), "https://huggingface.co/ByteDance/ID-Patch", *said):
        assert part in message, message
    assert "weights_only" not in message and "ran code" not in capsys.readouterr().out


def missing(file, said=r"The ID-Patch file was not found: id-patch"):
    """What the node has against this choice before anything runs."""
    with pytest.raises(ModelMissing, match=said) as caught:
        LoadAdapter.validate_inputs(file)
    return str(caught.value)


@pytest.mark.parametrize("name", ["../../secret.bin", "/etc/passwd", "a/../../b.bin"])
def test_names_that_climb_out_are_refused(folder, name):
    for asked in (LoadAdapter.validate_inputs, LoadAdapter.execute):
        with pytest.raises(UnsafePath, match="leads outside of"):
            asked(file=name)


@pytest.mark.parametrize("place", ["id_patch/copies/mine.safetensors", "loras/id-patch.bin"])
def test_the_published_name_finds_the_file_elsewhere(tmp_path, monkeypatch, caplog, place):
    """Under another name in its folder, or under its own in the folder of something else."""
    for key in ("id_patch", "loras"):
        (tmp_path / key).mkdir()
        known = ([str(tmp_path / key)], {".bin", ".safetensors"})
        monkeypatch.setitem(folder_paths.folder_names_and_paths, key, known)
    write(tmp_path / "id_patch" / "a lora.safetensors", {"1.lora_down.weight": torch.zeros(1)})
    assert missing("id-patch.bin")
    assert missing("", said=r"The adapter was not found: no file"), "the menu is empty"
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    write(path, flatten(id_patch_file("mlp")))
    assert LoadAdapter.validate_inputs("id-patch.bin") is True
    assert str(path) in LoadAdapter.fingerprint_inputs("id-patch.bin")
    assert LoadAdapter.execute(file="id-patch.bin")[0].width == 2048
    assert "id-patch.bin is not in models/id_patch. Loaded instead" in caplog.text and str(path) in caplog.text
    assert missing("id-patch 2.bin", said=r"The adapter was not found"), "any other name is meant"


def test_the_adapter_is_told_by_its_folder_and_its_contents(folder, tmp_path, monkeypatch):
    """A file of one method in the folder of another is loaded for what it is; of two of one name both are listed."""
    other = tmp_path / "instantid"
    other.mkdir()
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "instantid", ([str(other)], {".bin"}))
    for where in (folder / "mine.bin", other / "mine.bin", other / "strayed.bin"):
        write(where, id_patch_file("mlp"))
    options = LoadAdapter.define_schema().inputs[0].options
    assert {"mine.bin", "instantid/mine.bin", "strayed.bin"} <= {*options}
    for name in ("mine.bin", "instantid/mine.bin", "strayed.bin"):
        assert LoadAdapter.validate_inputs(name) is True
        assert type(LoadAdapter.execute(file=name)[0]) is IDPatch
    assert LoadAdapter.fingerprint_inputs("mine.bin") != LoadAdapter.fingerprint_inputs("instantid/mine.bin")
    with pytest.raises(ModelMissing, match=r"The adapter was not found: nowhere\.bin is in none of the folders"):
        LoadAdapter.validate_inputs("nowhere.bin")
