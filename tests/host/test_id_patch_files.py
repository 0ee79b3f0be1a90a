"""Load Adapter: the file itself, its safetensors conversion, and everything that is not it."""

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


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "id_patch", ([str(tmp_path)], {".bin", ".safetensors"}))
    return tmp_path


LoadIDPatch = next(one for one in OLD if one.define_schema().node_id == "LikenessLoadIDPatch")
"""As workflows had it before Load Adapter."""


def refused(path, *parts):
    with pytest.raises(UnsupportedCheckpoint) as error:
        load_id_patch(str(path))
    message = str(error.value)
    for part in (str(path), "https://huggingface.co/ByteDance/ID-Patch", *parts):
        assert part in message, message
    return message


@pytest.mark.parametrize("kind", ["resampler", "mlp"])
def test_pickle_and_safetensors_load_alike(folder, kind):
    file = id_patch_file(kind)
    torch.save(file, folder / "id-patch.bin")
    save_file({key: tensor.contiguous() for key, tensor in flatten(file).items()}, folder / "id-patch.safetensors")
    pair = [LoadIDPatch.execute(file=name)[0] for name in ("id-patch.bin", "id-patch.safetensors")]
    states = [loaded.net.state_dict() for loaded in pair]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert pair[0].width == 2048


def test_half_precision_files_stay_half_and_compute_in_float32(folder):
    file = {name: {key: t.half() for key, t in state.items()} for name, state in id_patch_file("mlp").items()}
    torch.save(file, folder / "half.bin")
    loaded = load_id_patch(str(folder / "half.bin"))
    assert loaded.net.prompt_proj.proj[0].weight.dtype == torch.float16
    assert loaded.unconditional_tokens(2).dtype == torch.float32


def test_web_page(folder):
    (folder / "page.bin").write_text("\n<!DOCTYPE html><html><body>Log in</body></html>")
    refused(folder / "page.bin", "a web page (HTML) saved under a model's name", "Download it again")


def test_git_lfs_pointer(folder):
    (folder / "id-patch.bin").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 1\n")
    refused(folder / "id-patch.bin", "a Git LFS pointer")


@pytest.mark.parametrize("name", ["id-patch.bin", "id-patch.safetensors"])
@pytest.mark.parametrize("keep", [0, 7, 0.5, 0.99])
def test_truncated_download(folder, name, keep):
    path = folder / name
    if name.endswith(".bin"):
        torch.save(id_patch_file("mlp"), path)
    else:
        save_file(flatten(id_patch_file("mlp")), path)
    size = os.path.getsize(path)
    os.truncate(path, int(size * keep) if keep < 1 else keep)
    refused(path, "damaged or cut off while downloading", "Delete it and download it again")


class RunsCode:
    def __reduce__(self):
        return (print, ("this pickle ran code",))


def test_a_pickle_that_runs_code_is_refused(folder, capsys):
    (folder / "evil.bin").write_bytes(pickle.dumps({"patch_proj": RunsCode()}, protocol=2))
    torch.save({"patch_proj": RunsCode(), "prompt_proj": RunsCode()}, folder / "zip.bin")
    for name in ("evil.bin", "zip.bin"):
        message = refused(folder / name, "a pickle that wants to run code or holds more than tensors (")
        assert "print)" in message and "weights_only" not in message
    assert "this pickle ran code" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [5, None, "text", [torch.zeros(1)], torch.zeros(3)])
def test_a_pickle_of_anything_else(folder, content):
    torch.save(content, folder / "other.bin")
    refused(folder / "other.bin", "damaged or cut off while downloading")


@pytest.mark.skipif(not Path("/proc/self/mem").is_file(), reason="no /proc here")
def test_a_file_that_cannot_be_read(folder):
    (folder / "mem.bin").symlink_to("/proc/self/mem")  # nobody can read it from its start
    with pytest.raises(UnsupportedCheckpoint, match=r"mem\.bin .*cannot be read .*permissions"):
        load_id_patch(str(folder / "mem.bin"))


def test_noise_is_refused_without_torchs_advice_to_load_it_unsafely(folder):
    generator = torch.Generator().manual_seed(0)
    for size in (10, 100, 1000) * 5:
        noise = torch.randint(256, (size,), dtype=torch.uint8, generator=generator)
        (folder / "noise.bin").write_bytes(noise.numpy().tobytes())
        why = "damaged or cut off while downloading " if size > 10 else ""  # so few may be letters
        assert "weights_only" not in refused(folder / "noise.bin", f"{why}({size} bytes")


@pytest.mark.parametrize("shape", [(), (0,)])
def test_right_keys_with_tensors_of_another_rank(folder, shape):
    keys = [f"{part}.{key}" for part, state in id_patch_file("mlp").items() for key in state]
    torch.save({key: torch.zeros(shape) for key in keys}, folder / "rank.bin")
    refused(folder / "rank.bin", "an incomplete or damaged ID-Patch file")
    torch.save(
        {"image_proj.proj.0.weight": torch.zeros(shape), "1.to_k_ip.weight": torch.zeros(shape)}, folder / "ip.bin"
    )
    refused(folder / "ip.bin", "is an IP-Adapter")


@pytest.mark.parametrize(
    ("key", "spoil", "why"),
    [
        ("latents", torch.Tensor.long, "holds numbers of type torch.int64 instead of float"),
        ("proj_in.bias", torch.Tensor.bool, "torch.bool instead of float"),
        ("norm_out.weight", lambda t: t.to(torch.complex64), "torch.complex64 instead of float"),
        ("layers.0.0.to_q.weight", lambda t: t * torch.nan, "holds nan where weights reach 65504 at most"),
        ("proj_out.bias", lambda t: t.half() * 0 + torch.inf, "holds inf where"),
        ("proj_out.bias", lambda t: t * 0 - 1e30, "holds -1e+30 where"),
        ("proj_in.weight", lambda t: torch.cat([t, t[:, :1]], 1), "read 512 and 513 numbers, face embeddings have 512"),
    ],
)
def test_tensors_that_are_no_weights_are_named(folder, key, spoil, why):
    file = id_patch_file("resampler")
    file["prompt_proj"][key] = spoil(file["prompt_proj"][key])
    torch.save(file, folder / "spoiled.bin")
    refused(folder / "spoiled.bin", "an incomplete or damaged ID-Patch file", why)


def test_a_network_of_endless_layers_is_not_built(folder):
    file = id_patch_file("resampler")
    each = {key: tensor for key, tensor in file["prompt_proj"].items() if key.startswith("layers.0.")}
    file["prompt_proj"] |= {key.replace(".0.", f".{n}.", 1): each[key] for n in range(9, 1009) for key in each}
    torch.save(file, folder / "long.bin")
    refused(folder / "long.bin", "an incomplete or damaged ID-Patch file", "tensors where no such network has 10000")


def test_other_models_are_named(folder):
    torch.save(
        {"image_proj": {"proj.weight": torch.zeros(4, 4)}, "ip_adapter": {"1.to_k_ip.weight": torch.zeros(320, 768)}},
        folder / "a.bin",
    )
    refused(folder / "a.bin", "an SD1.5 IP-Adapter", "models/ipadapter")
    save_file({"controlnet_cond_embedding.conv_in.weight": torch.zeros(1)}, folder / "c.safetensors")
    refused(folder / "c.safetensors", "a ControlNet", "Load ControlNet Model")


def test_an_incomplete_file_says_what_is_missing(folder):
    file = id_patch_file("resampler")
    del file["prompt_proj"]["layers.2.0.to_q.weight"]
    torch.save(file, folder / "part.bin")
    refused(folder / "part.bin", "an incomplete or damaged ID-Patch file", "layers.2.0.to_q.weight")
    torch.save(
        {"patch_proj": id_patch_file("mlp")["prompt_proj"], "prompt_proj": file["patch_proj"]}, folder / "swapped.bin"
    )
    refused(folder / "swapped.bin", "patch_proj makes 16 tokens of 2048 values, not three colour planes of 64x64 px")


def missing(file):
    """What the node has against this choice before anything runs."""
    with pytest.raises(ModelMissing) as caught:
        LoadIDPatch.validate_inputs(file)
    return str(caught.value)


def test_missing_file_names_folder_and_address(folder):
    message = missing("id-patch.bin")
    assert str(folder) in message and "id-patch.bin" in message and "huggingface.co/ByteDance/ID-Patch" in message


def test_an_empty_menu_is_a_missing_file(folder):
    assert "The ID-Patch file was not found: id-patch.bin is not in " in missing("")


@pytest.mark.parametrize("name", ["../../secret.bin", "/etc/passwd", "a/../../b.bin"])
def test_names_that_climb_out_are_refused(folder, name):
    for node in (LoadIDPatch, LoadAdapter):
        for asked in (node.validate_inputs, node.execute):
            with pytest.raises(UnsafePath, match="leads outside of"):
                asked(file=name)


def test_a_replaced_file_is_noticed(folder):
    torch.save(id_patch_file("mlp"), folder / "id-patch.bin")
    os.utime(folder / "id-patch.bin", (1, 1))
    before = LoadIDPatch.fingerprint_inputs("id-patch.bin")
    os.utime(folder / "id-patch.bin", (2, 2))
    assert LoadIDPatch.fingerprint_inputs("id-patch.bin") != before


def test_a_linked_file_is_left_to_the_run(folder):
    assert LoadIDPatch.validate_inputs(None) is True
    assert LoadIDPatch.fingerprint_inputs(None) == ""


@pytest.mark.parametrize("place", ["id_patch/copies/mine.safetensors", "loras/id-patch.bin"])
def test_the_published_name_finds_the_file_elsewhere(tmp_path, monkeypatch, caplog, place):
    """Under another name in its folder, or under its own in the folder of something else."""
    for key in ("id_patch", "loras"):
        path = tmp_path / key
        path.mkdir()
        monkeypatch.setitem(folder_paths.folder_names_and_paths, key, ([str(path)], {".bin", ".safetensors"}))
    save_file({"1.lora_down.weight": torch.zeros(1)}, tmp_path / "id_patch" / "a lora.safetensors")
    assert "ID-Patch file was not found" in missing("id-patch.bin")
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    write = save_file if place.endswith("safetensors") else torch.save
    write(flatten(id_patch_file("mlp")), path)
    assert LoadIDPatch.validate_inputs("id-patch.bin") is True
    assert str(path) in LoadIDPatch.fingerprint_inputs("id-patch.bin")
    assert LoadIDPatch.execute(file="id-patch.bin")[0].width == 2048
    assert "id-patch.bin is not in models/id_patch. Loaded instead" in caplog.text and str(path) in caplog.text
    assert "ID-Patch file was not found" in missing("id-patch 2.bin"), "any other name is meant"


def test_the_file_in_its_place_is_taken_without_a_word(folder, caplog):
    torch.save(id_patch_file("mlp"), folder / "id-patch.bin")
    torch.save(id_patch_file("mlp"), folder / "another.bin")
    LoadIDPatch.execute(file="id-patch.bin")
    assert LoadIDPatch.fingerprint_inputs("id-patch.bin").startswith(f"('{folder / 'id-patch.bin'}'")
    assert not caplog.text


def test_the_adapter_is_told_by_its_folder_and_its_contents(folder, tmp_path, monkeypatch):
    """A file of one method in the folder of another is loaded for what it is; of two of one name both are listed."""
    other = tmp_path / "instantid"
    other.mkdir()
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "instantid", ([str(other)], {".bin"}))
    for where in (folder / "mine.bin", other / "mine.bin", other / "strayed.bin"):
        torch.save(id_patch_file("mlp"), where)
    options = LoadAdapter.define_schema().inputs[0].options
    assert {"mine.bin", "instantid/mine.bin", "strayed.bin"} <= {*options}
    for name in ("mine.bin", "instantid/mine.bin", "strayed.bin"):
        assert LoadAdapter.validate_inputs(name) is True
        assert type(LoadAdapter.execute(file=name)[0]) is type(LoadIDPatch.execute(file="mine.bin")[0])
    assert LoadAdapter.fingerprint_inputs("mine.bin") != LoadAdapter.fingerprint_inputs("instantid/mine.bin")
    with pytest.raises(ModelMissing, match=r"The adapter was not found: nowhere\.bin is in none of the folders"):
        LoadAdapter.validate_inputs("nowhere.bin")
