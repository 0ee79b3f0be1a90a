"""Files as Load Adapter meets them: ID-Patch's own in both forms, damaged ones, and where they lie.

What every loader does is tried on this one; what each says of the files of others: tests/promises/test_wrong_files.py.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import folder_paths
import pytest
import torch
from pack.bridge.folders import UnsafePath
from pack.core.errors import ModelMissing, UnsupportedCheckpoint
from pack.core.models.tensors import flatten
from pack.nodes.adapters import LoadAdapter
from pack.nodes.extension import OLD
from pack.nodes.id_patch.nodes import load_id_patch
from safetensors.torch import save_file
from seeded import id_patch_file

INCOMPLETE, DAMAGED = "an incomplete or damaged ID-Patch file", "damaged or cut off while downloading"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "id_patch", ([str(tmp_path)], {".bin", ".safetensors"}))
    return tmp_path


LoadIDPatch = next(one for one in OLD if one.define_schema().node_id == "LikenessLoadIDPatch")
"""As workflows had it before Load Adapter."""


def write(path, file):
    """In the form that its name says."""
    if path.suffix == ".bin":
        torch.save(file, path)
    else:
        save_file({key: tensor.contiguous() for key, tensor in flatten(file).items()}, path)
    return path


@pytest.mark.parametrize("kind", ["resampler", "mlp"])
def test_pickle_and_safetensors_load_alike(folder, kind):
    names = ("id-patch.bin", "id-patch.safetensors")
    pair = [LoadIDPatch.execute(file=write(folder / name, id_patch_file(kind)).name)[0] for name in names]
    states = [loaded.net.state_dict() for loaded in pair]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert pair[0].width == 2048


def test_half_precision_files_stay_half_and_compute_in_float32(folder):
    file = {name: {key: t.half() for key, t in state.items()} for name, state in id_patch_file("mlp").items()}
    loaded = load_id_patch(str(write(folder / "half.bin", file)))
    assert loaded.net.prompt_proj.proj[0].weight.dtype == torch.float16
    assert loaded.unconditional_tokens(2).dtype == torch.float32


# Damaged files


class RunsCode:
    def __reduce__(self):
        return (print, ("this pickle ran code",))


def cut(name, keep):
    """keep: bytes, or a share."""

    def make(folder):
        path = write(folder / name, id_patch_file("mlp"))
        os.truncate(path, int(os.path.getsize(path) * keep) if keep < 1 else keep)
        return path

    return make


def bytes_of(data):
    def make(folder):
        (folder / "x.bin").write_bytes(data)
        return folder / "x.bin"

    return make


def pickled(content):
    return lambda folder: write(folder / "x.bin", content)


def spoiled(key, spoil):
    """One tensor of the projection of the prompt; None: without it."""

    def make(folder):
        file = id_patch_file("resampler")
        tensor = file["prompt_proj"].pop(key)
        if spoil:
            file["prompt_proj"][key] = spoil(tensor)
        return write(folder / "x.bin", file)

    return make


def endless(folder):
    file = id_patch_file("resampler")
    each = {key: tensor for key, tensor in file["prompt_proj"].items() if key.startswith("layers.0.")}
    file["prompt_proj"] |= {key.replace(".0.", f".{n}.", 1): each[key] for n in range(9, 1009) for key in each}
    return write(folder / "x.bin", file)


def of_shape(shape):
    keys = [f"{part}.{key}" for part, state in id_patch_file("mlp").items() for key in state]
    return pickled({key: torch.zeros(shape) for key in keys})


def noise(size):
    return bytes_of(torch.randint(256, (size,), generator=torch.Generator().manual_seed(size)).byte().numpy().tobytes())


SWAPPED = {"patch_proj": id_patch_file("mlp")["prompt_proj"], "prompt_proj": id_patch_file("resampler")["patch_proj"]}
CODE = ("a pickle that wants to run code or holds more than tensors (", "print)")
UNUSABLE = {
    "a web page": (bytes_of(b"\n<!DOCTYPE html><html></html>"), ("a web page (HTML)", "Download it again")),
    "a Git LFS pointer": (bytes_of(b"version https://git-lfs.github.com/spec/v1\nsize 1\n"), ("a Git LFS pointer",)),
    **{f"{name} cut at {keep}": (cut(f"x.{name}", keep), (DAMAGED, "Delete it and download it again"))
       for name in ("bin", "safetensors") for keep in (0, 7, 0.5, 0.99)},
    "code": (bytes_of(pickle.dumps({"patch_proj": RunsCode()}, protocol=2)), CODE),
    "code in a zip": (pickled({"patch_proj": RunsCode(), "prompt_proj": RunsCode()}), CODE),
    **{f"a pickle of {content}"[:20]: (pickled(content), (DAMAGED,))
       for content in (5, None, "text", [torch.zeros(1)], torch.zeros(3))},
    **{f"noise of {size} bytes": (noise(size), (f"{DAMAGED} ({size} bytes",)) for size in (100, 101, 102, 1000, 1001)},
    "a few letters": (noise(10), ("(10 bytes",)),
    "numbers in place of tensors": (of_shape(()), (INCOMPLETE,)),
    "empty tensors": (of_shape((0,)), (INCOMPLETE,)),
    "an IP-Adapter of numbers": (
        pickled({"image_proj.proj.0.weight": torch.zeros(()), "1.to_k_ip.weight": torch.zeros(())}),
        ("is an IP-Adapter",),
    ),
    "whole numbers": (spoiled("latents", torch.Tensor.long), (INCOMPLETE, "torch.int64 instead of float")),
    "truths": (spoiled("proj_in.bias", torch.Tensor.bool), (INCOMPLETE, "torch.bool instead of float")),
    "complex": (spoiled("norm_out.weight", lambda t: t.to(torch.complex64)), (INCOMPLETE, "torch.complex64")),
    "NaN": (spoiled("layers.0.0.to_q.weight", lambda t: t * torch.nan), (INCOMPLETE, "holds nan", "65504 at most")),
    "infinite": (spoiled("proj_out.bias", lambda t: t.half() * 0 + torch.inf), (INCOMPLETE, "holds inf where")),
    "too large": (spoiled("proj_out.bias", lambda t: t * 0 - 1e30), (INCOMPLETE, "holds -1e+30 where")),
    "other embeddings": (
        spoiled("proj_in.weight", lambda t: torch.cat([t, t[:, :1]], 1)), (INCOMPLETE, "read 512 and 513 numbers"),
    ),
    "a tensor less": (spoiled("layers.2.0.to_q.weight", None), (INCOMPLETE, "layers.2.0.to_q.weight")),
    "swapped": (pickled(SWAPPED), ("patch_proj makes 16 tokens of 2048 values, not three colour planes of 64x64",)),
    "endless layers": (endless, (INCOMPLETE, "tensors where no such network has 10000")),
    "a ControlNet": (
        lambda folder: write(folder / "x.safetensors", {"controlnet_cond_embedding.conv_in.weight": torch.zeros(1)}),
        ("a ControlNet", "Load ControlNet Model"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", UNUSABLE)
def test_what_cannot_be_used_is_named(folder, what, capsys):
    """Nothing is run of it, and torch's own advice, to load it unsafely, is not handed on."""
    make, said = UNUSABLE[what]
    path = make(folder)
    with pytest.raises(UnsupportedCheckpoint) as error:
        load_id_patch(str(path))
    message = str(error.value)
    for part in (str(path), "https://huggingface.co/ByteDance/ID-Patch", *said):
        assert part in message, message
    assert "weights_only" not in message and "ran code" not in capsys.readouterr().out


@pytest.mark.skipif(not Path("/proc/self/mem").is_file(), reason="no /proc here")
def test_a_file_that_cannot_be_read(folder):
    (folder / "mem.bin").symlink_to("/proc/self/mem")  # nobody can read it from its start
    with pytest.raises(UnsupportedCheckpoint, match=r"mem\.bin .*cannot be read .*permissions"):
        load_id_patch(str(folder / "mem.bin"))


# Where files lie


def missing(file):
    """What the node has against this choice before anything runs."""
    with pytest.raises(ModelMissing, match=r"The ID-Patch file was not found: ") as caught:
        LoadIDPatch.validate_inputs(file)
    return str(caught.value)


@pytest.mark.parametrize("chosen", ["id-patch.bin", ""])
def test_a_missing_file_is_named_with_folder_and_address(folder, chosen):
    """The published one where the menu is empty."""
    said = missing(chosen)
    assert f"id-patch.bin is not in {folder}" in said and "huggingface.co/ByteDance/ID-Patch" in said


@pytest.mark.parametrize("name", ["../../secret.bin", "/etc/passwd", "a/../../b.bin"])
def test_names_that_climb_out_are_refused(folder, name):
    for node in (LoadIDPatch, LoadAdapter):
        for asked in (node.validate_inputs, node.execute):
            with pytest.raises(UnsafePath, match="leads outside of"):
                asked(file=name)


def test_the_file_in_its_place_is_taken_without_a_word_and_looked_at_again(folder, caplog):
    """What is linked is left to the run."""
    for name in ("id-patch.bin", "another.bin"):
        write(folder / name, id_patch_file("mlp"))
    os.utime(folder / "id-patch.bin", (1, 1))
    before = LoadIDPatch.fingerprint_inputs("id-patch.bin")
    assert before.startswith(f"('{folder / 'id-patch.bin'}'")
    LoadIDPatch.execute(file="id-patch.bin")
    assert not caplog.text
    os.utime(folder / "id-patch.bin", (2, 2))
    assert LoadIDPatch.fingerprint_inputs("id-patch.bin") != before
    assert LoadIDPatch.validate_inputs(None) is True and LoadIDPatch.fingerprint_inputs(None) == ""


@pytest.mark.parametrize("place", ["id_patch/copies/mine.safetensors", "loras/id-patch.bin"])
def test_the_published_name_finds_the_file_elsewhere(tmp_path, monkeypatch, caplog, place):
    """Under another name in its folder, or under its own in the folder of something else."""
    for key in ("id_patch", "loras"):
        (tmp_path / key).mkdir()
        known = ([str(tmp_path / key)], {".bin", ".safetensors"})
        monkeypatch.setitem(folder_paths.folder_names_and_paths, key, known)
    write(tmp_path / "id_patch" / "a lora.safetensors", {"1.lora_down.weight": torch.zeros(1)})
    assert missing("id-patch.bin")
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    write(path, flatten(id_patch_file("mlp")))
    assert LoadIDPatch.validate_inputs("id-patch.bin") is True
    assert str(path) in LoadIDPatch.fingerprint_inputs("id-patch.bin")
    assert LoadIDPatch.execute(file="id-patch.bin")[0].width == 2048
    assert "id-patch.bin is not in models/id_patch. Loaded instead" in caplog.text and str(path) in caplog.text
    assert missing("id-patch 2.bin"), "any other name is meant"


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
        assert type(LoadAdapter.execute(file=name)[0]) is type(LoadIDPatch.execute(file="mine.bin")[0])
    assert LoadAdapter.fingerprint_inputs("mine.bin") != LoadAdapter.fingerprint_inputs("instantid/mine.bin")
    with pytest.raises(ModelMissing, match=r"The adapter was not found: nowhere\.bin is in none of the folders"):
        LoadAdapter.validate_inputs("nowhere.bin")
