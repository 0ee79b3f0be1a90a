"""The release of Parts2Whole, as a folder and as one file, loaded by the host from whatever ComfyUI's folders offer."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import comfy.model_management
import comfy.sample
import folder_paths
import parts_made
import pytest
import torch
from comfy.model_sampling import ModelSamplingDiscrete
from diffusers import DDIMScheduler
from pack.bridge.self_attention.recording import record_at_zero
from pack.core import errors
from pack.core.models.tensors import load
from pack.core.parts.parts import Parts, make_part
from pack.nodes.parts2whole import files as parts2whole_files
from pack.nodes.parts2whole.nodes import ApplyParts, EncodeParts, LoadParts2Whole
from safetensors.torch import load_file, save_file

SCRIPT = Path(__file__).parents[2] / "scripts" / "to_safetensors.py"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("parts2whole")


@pytest.fixture(autouse=True)
def registered(root, monkeypatch):
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "parts2whole", ([str(root)], {".safetensors"}))


@pytest.fixture(scope="module")
def folder(root):
    return parts_made.write_release(root / "released")


@pytest.fixture(scope="module")
def single(folder):
    done = subprocess.run([sys.executable, str(SCRIPT), str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="module")
def loaded(folder):
    return parts2whole_files.load_parts2whole(str(folder))


def test_folders_and_single_files_are_offered(folder, single, root):
    assert parts2whole_files.choices() == ["released", "released.safetensors"]
    assert parts2whole_files.path_of("released") == str(folder)
    assert parts2whole_files.path_of("released.safetensors") == str(single)
    assert LoadParts2Whole.validate_inputs("released") is True
    (combo,) = LoadParts2Whole.GET_SCHEMA().inputs
    assert combo.options == ["released", "released.safetensors"]


def test_the_published_name_stands_for_the_only_one_there(folder, single, root, monkeypatch):
    with pytest.raises(errors.ModelMissing):
        parts2whole_files.path_of("Parts2Whole")  # folder or file?
    monkeypatch.setattr(parts2whole_files, "choices", lambda: ["released"])
    assert parts2whole_files.path_of("Parts2Whole") == str(folder)
    with pytest.raises(errors.ModelMissing):
        parts2whole_files.path_of("elsewhere")


def test_a_release_put_straight_into_the_model_folder(folder, monkeypatch):
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "parts2whole", ([str(folder)], {".safetensors"}))
    assert parts2whole_files.choices() == ["."] and parts2whole_files.path_of(".") == str(folder)


@torch.no_grad()
def test_the_denoiser_computes_what_diffusers_computes(loaded):
    x, text = torch.randn(1, 4, 9, 7), torch.randn(1, 77, 768)
    comfy.model_management.load_models_gpu([loaded[0]])
    ours = loaded[0].model.diffusion_model(x, torch.tensor([301.0]), context=text, transformer_options={})
    theirs = parts_made.sd15_shaped(121)(x, 301, encoder_hidden_states=text).sample
    assert (ours - theirs).abs().max() / theirs.abs().max() <= 1e-5


@torch.no_grad()
def test_the_reference_sees_the_same_without_its_tail(loaded):
    """What is recorded of the net with zeros in its tail is what the whole net's layers see."""
    x, text = torch.randn(1, 4, 9, 7), torch.randn(1, 77, 768)
    comfy.model_management.load_models_gpu([loaded[1].reference])
    seen = record_at_zero(loaded[1].reference, x, text)
    whole, states = parts_made.sd15_shaped(122), {}
    for name, module in whole.named_modules():
        if name.endswith("norm1") and "transformer_blocks" in name:
            module.register_forward_hook(lambda _m, _i, out, name=name: states.__setitem__(name, out[0]))
    whole(x, 0, encoder_hidden_states=text)
    addresses = {
        "down_blocks.0.attentions.0": ("input", 1, 0), "mid_block.attentions.0": ("middle", 0, 0),
        "up_blocks.1.attentions.0": ("output", 2, 0), "up_blocks.1.attentions.1": ("output", 3, 0),
    }  # fmt: skip
    assert len(seen) == len(addresses) == len(states)
    for name, block in addresses.items():
        theirs = states[f"{name}.transformer_blocks.0.norm1"]
        assert (seen[block] - theirs).abs().max() <= 1e-4 * theirs.abs().max()


def test_one_file_holds_the_same(loaded, single):
    assert (
        "exists already"
        in subprocess.run(
            [sys.executable, str(SCRIPT), str(single.with_suffix(""))], capture_output=True, text=True
        ).stderr
    )
    model, networks = parts2whole_files.load_parts2whole(str(single))
    pairs = [(model, loaded[0]), *zip(vars(networks).values(), vars(loaded[1]).values(), strict=True)]
    for ours, theirs in pairs:
        # Without the noise schedule of a UNet: the host puts ours in its place as soon as the MODEL is loaded.
        a, b = (getattr(m.model, "diffusion_model", m.model).state_dict() for m in (ours, theirs))
        assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
    sigmas = [m.get_model_object("model_sampling").sigmas for m in (model, loaded[0])]
    assert torch.equal(*sigmas)


def test_the_schedule_is_the_checkpoints_own(loaded):
    """Linear in beta, which the host calls something else."""
    scheduler = DDIMScheduler(beta_schedule="linear", beta_start=0.00085, beta_end=0.012)
    alphas = scheduler.alphas_cumprod.double()
    ours = loaded[0].get_model_object("model_sampling").sigmas
    theirs = ((1 - alphas) / alphas).sqrt().float()
    assert (ours / theirs - 1).abs().max() <= 1e-4, "float32 betas in diffusers, float64 here"
    assert (ours[-1] - ModelSamplingDiscrete().sigmas[-1]).abs() > 1, "the host's own is another one"
    assert loaded[0].clone().get_model_object("model_sampling").sigmas is ours


@pytest.mark.parametrize(
    ("scheduler", "why"),
    [
        ({"beta_schedule": "squaredcos_cap_v2"}, "beta_schedule .*'squaredcos_cap_v2'"),
        ({"prediction_type": "sample"}, "prediction_type .*'sample'"),
        ({"prediction_type": ["epsilon"]}, "a model with prediction_type"),
        ({"beta_start": None}, "numbers that make no noise schedule"),
        ({"num_train_timesteps": 0}, "numbers that make no noise schedule"),
        ({"beta_end": float("nan")}, "numbers that make no noise schedule"),
    ],
)
def test_schedules_that_nobody_implemented_are_named(loaded, scheduler, why):
    with pytest.raises(errors.UnsupportedCheckpoint, match=why):
        parts2whole_files._sampling(loaded[0], scheduler, "x")


def test_scaled_linear_is_the_hosts_own_schedule(loaded):
    ours = parts2whole_files._sampling(loaded[0], {**parts_made.SCHEDULER, "beta_schedule": "scaled_linear"}, "x")
    assert torch.allclose(ours.sigmas, ModelSamplingDiscrete().sigmas, rtol=1e-6)


@torch.no_grad()
def test_a_square_photo_is_shown_as_a_square_and_said_to_be_stretched(loaded, caplog):
    encoders = (parts_made.clip(768), parts_made.clip_vision(768), parts_made.vae())
    square = Parts((make_part("shoes", torch.ones(1, 64, 64, 3), None, 1.0, None),))
    sheet = EncodeParts.execute(loaded[1], square, *encoders, 64, 96).args[1]
    rows, columns = (sheet[0] > 0.9).all(-1).any(1), (sheet[0] > 0.9).all(-1)[:160].any(0)
    assert int(columns.sum()) == 160 and int(rows[:166].sum()) == 160
    assert "Pictures stretched to 64x96 px: 'shoes' from 64x64 px" in caplog.text


@torch.no_grad()
def test_what_is_loaded_makes_a_picture_with_parts_in_it(loaded):
    model, networks = loaded
    size, encoders = (64, 96), (parts_made.clip(768), parts_made.clip_vision(768), parts_made.vae())
    features = EncodeParts.execute(networks, parts_made.parts(2), *encoders, *size).args[0]
    sides = [[[torch.randn(1, 77, 768, generator=torch.Generator().manual_seed(n)), {}]] for n in (1, 2)]
    pose = parts_made.picture(3, *size)
    latents = [
        comfy.sample.sample(
            patched, torch.randn(1, 4, 12, 8, generator=torch.Generator().manual_seed(4)), 2, 3.5, "ddim",
            "ddim_uniform", positive, negative, torch.zeros(1, 4, 12, 8), seed=1, disable_pbar=True,
        )
        for patched, positive, negative in (
            ApplyParts.execute(model, *sides, features, strength, 0.0, 1.0, 0, pose).args for strength in (0.0, 1.0)
        )
    ]  # fmt: skip
    assert all(x.isfinite().all() for x in latents) and not torch.allclose(*latents, rtol=1e-2)


# What can be wrong with a folder


@pytest.fixture
def copy(folder, tmp_path):
    return Path(shutil.copytree(folder, tmp_path / "copy", copy_function=lambda a, b: Path(b).symlink_to(a)))


def test_nothing_there():
    with pytest.raises(errors.ModelMissing) as error:
        parts2whole_files.path_of("elsewhere")
    assert "Parts2Whole was not found: elsewhere is " in str(error.value)
    assert "huanngzh/Parts2Whole (6.9 GB)" in str(error.value)
    chosen = {"elsewhere": "not found: elsewhere is ", "": "not found: a folder is ", "../x": "leads outside"}
    for folder, why in chosen.items():
        with pytest.raises(errors.LikenessError, match=why):
            LoadParts2Whole.validate_inputs(folder)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("reference_unet/diffusion_pytorch_model.safetensors", "3.4 GB"),
        ("decoupled_attn.pth", "77 MB"),
        ("scheduler/scheduler_config.json", "1 kB"),
    ],
)
def test_a_missing_file_is_named_with_its_place_and_size(copy, name, size):
    (copy / name).unlink()
    with pytest.raises(errors.ModelMissing) as error:
        parts2whole_files.load_parts2whole(str(copy))
    assert f"was not found: {name} is not in {copy}." in str(error.value)
    assert f"({size})" in str(error.value)


def test_a_plain_sd15_folder_is_named(copy):
    for name in ("reference_unet", "pose_guider"):
        shutil.rmtree(copy / name)
    (copy / "decoupled_attn.pth").unlink()
    with pytest.raises(errors.UnsupportedCheckpoint) as error:
        parts2whole_files.load_parts2whole(str(copy))
    assert "is a plain SD1.5 diffusers folder (no reference_unet, pose_guider or decoupled_attn)" in str(error.value)


def test_another_family_in_the_folder_is_named(copy, folder):
    name = "unet/diffusion_pytorch_model.safetensors"
    state = load_file(folder / name)
    wide = {k: torch.zeros(v.shape[0], 2048) if k.endswith("attn2.to_k.weight") else v for k, v in state.items()}
    (copy / name).unlink()
    save_file(wide, copy / name)
    with pytest.raises(errors.UnsupportedCheckpoint, match=r"no SD1\.5 UNet .*diffusers UNet .*2048"):
        parts2whole_files.load_parts2whole(str(copy))


@pytest.mark.parametrize(
    ("name", "lost", "message"),
    [
        ("unet", "mid_block.resnets.0.conv1.weight", r"SD1\.5 UNet \(1 tensor .*: middle"),
        (
            "reference_unet",
            "mid_block.resnets.0.conv1.weight",
            r"reference UNet \(1 tensor .*: mid",
        ),
    ],
)
def test_an_incomplete_network_is_named(copy, folder, name, lost, message):
    file = copy / name / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    del state[lost]
    file.unlink()
    save_file(state, file)
    with pytest.raises(errors.UnsupportedCheckpoint, match=message):
        parts2whole_files.load_parts2whole(str(copy))


@pytest.mark.parametrize("text", ['{"beta_sch', "<html>", "[]"])
def test_a_damaged_noise_schedule_is_named(copy, text):
    config = copy / "scheduler" / "scheduler_config.json"
    config.unlink()
    config.write_text(text, "utf-8")
    with pytest.raises(errors.UnsupportedCheckpoint, match=r"scheduler_config\.json .*no noise schedule"):
        parts2whole_files.load_parts2whole(str(copy))


def test_something_else_in_the_place_of_the_unet_is_named(copy):
    file = copy / "unet" / "diffusion_pytorch_model.safetensors"
    half = {key: tensor for key, tensor in load_file(file).items() if not key.startswith("up_blocks.")}
    file.unlink()
    save_file(half, file)
    with pytest.raises(errors.UnsupportedCheckpoint, match=r"SD1\.5 UNet \(\d+ tensors .*unknown"):
        parts2whole_files.load_parts2whole(str(copy))
    save_file({"text_model.embeddings.weight": torch.zeros(2, 2)}, file)
    with pytest.raises(errors.UnsupportedCheckpoint, match=r"no SD1\.5 UNet but something unknown"):
        parts2whole_files.load_parts2whole(str(copy))


def test_a_damaged_small_network_is_named(copy):
    (copy / "pose_guider" / "diffusion_pytorch_model.bin").unlink()
    torch.save({"conv_in.weight": torch.zeros(16, 3, 3, 3)}, copy / "pose_guider" / "diffusion_pytorch_model.bin")
    with pytest.raises(errors.UnsupportedCheckpoint, match="a Parts2Whole whose PoseGuider is damaged"):
        parts2whole_files.load_parts2whole(str(copy))


MID = "mid_block.attentions.0.transformer_blocks.0.attn2"
TO_K, TO_V = (f"{MID}.processor.to_{side}_dc.weight" for side in "kv")


@pytest.mark.parametrize(
    ("name", "key", "spoil", "message"),
    [
        ("unet", "conv_in.weight", lambda t: torch.cat([t, t, t[:, :1]], 1), "latents of 9 channels"),
        ("unet", "conv_in.weight", lambda t: t[:, 0, 0, 0], r"no SD1\.5 UNet .*latents of 0 channels"),
        ("unet", f"{MID}.to_k.weight", lambda t: t[0, 0], r"a damaged SD1\.5 UNet"),
        ("unet", "conv_out.weight", lambda t: torch.cat([t, t]), r"a damaged SD1\.5 UNet \(.*size mismatch"),
        ("reference_unet", "conv_in.bias", torch.Tensor.long, r"conv_in\.bias holds .*int64 instead of float"),
        ("reference_unet", "conv_in.bias", lambda t: t > 0, "bool instead of float"),
        ("reference_unet", "conv_in.bias", lambda t: t.to(torch.complex64), "complex64 instead of float"),
        ("pose_guider", "conv_in.bias", lambda t: t * torch.nan, "PoseGuider is damaged .*holds nan"),
        ("decoupled_attn", TO_V, None, r"DecoupledAttn .*to_v_dc\.weight: nothing instead"),
        ("decoupled_attn", TO_K, lambda t: t[:-1], r"\(319, 768\) instead of \(320, 768\)"),
    ],
)
def test_tensors_that_are_no_weights_of_its_own_are_named(copy, name, key, spoil, message):
    file = next(path for path in copy.rglob("*.*") if name in path.relative_to(copy).with_suffix("").parts)
    state = load(file)
    state |= {key: spoil(state[key]).contiguous()} if spoil else {}
    file.unlink()
    save_file({one: tensor for one, tensor in state.items() if spoil or one != key}, file)
    with pytest.raises(errors.UnsupportedCheckpoint, match=message):
        parts2whole_files.load_parts2whole(str(copy))


def test_other_single_files_are_named(tmp_path):
    save_file({"lora_unet_x.lora_down.weight": torch.zeros(4, 320)}, tmp_path / "x.safetensors")
    with pytest.raises(errors.UnsupportedCheckpoint, match=r"x\.safetensors .*a LoRA; .*Parts2Whole"):
        parts2whole_files.load_parts2whole(str(tmp_path / "x.safetensors"))
    save_file({f"{name}.x": torch.zeros(1) for name in ("denoiser", "reference_unet")}, tmp_path / "y.safetensors")
    with pytest.raises(errors.UnsupportedCheckpoint, match=r"y\.safetensors .*without its noise schedule"):
        parts2whole_files.load_parts2whole(str(tmp_path / "y.safetensors"))


def test_replaced_files_are_noticed(copy, folder):
    before = LoadParts2Whole.fingerprint_inputs("released")
    assert before == LoadParts2Whole.fingerprint_inputs("released")
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps({**parts_made.SCHEDULER, "steps_offset": 1}), "utf-8")
    assert before != LoadParts2Whole.fingerprint_inputs("released")
