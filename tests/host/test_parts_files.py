"""The release of Parts2Whole, as a folder and as one file, loaded by the host from whatever ComfyUI's folders offer."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import comfy.model_management
import folder_paths
import parts_made
import pytest
import torch
from comfy.model_sampling import ModelSamplingDiscrete
from diffusers import DDIMScheduler
from figures import relative
from pack.bridge.parts.recording import record_at_zero
from pack.core.checks import errors
from pack.core.models import manifest
from pack.core.models.tensors import load
from pack.nodes.parts2whole import files as parts2whole_files
from pack.nodes.parts2whole.nodes import LoadParts2Whole
from safetensors.torch import save_file
from tiny import devices

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
    process = subprocess.run([sys.executable, str(SCRIPT), str(folder)], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return Path(process.stdout.strip())


@pytest.fixture(scope="module")
def loaded(folder):
    return parts2whole_files.load_parts2whole(str(folder))


def test_folders_and_single_files_are_offered(folder, single, monkeypatch):
    (combo,) = LoadParts2Whole.GET_SCHEMA().inputs
    assert combo.options == parts2whole_files.choices() == ["released", "released.safetensors"]
    assert LoadParts2Whole.validate_inputs("released") is True
    with pytest.raises(errors.ModelMissing):
        parts2whole_files.path_of("Parts2Whole")  # which stands for the only one there: folder or file?
    paths_by_name = {"released": folder, "released.safetensors": single}
    assert [parts2whole_files.path_of(name) for name in paths_by_name] == [*map(str, paths_by_name.values())]
    monkeypatch.setattr(parts2whole_files, "choices", lambda: ["released"])
    assert parts2whole_files.path_of("Parts2Whole") == str(folder)
    monkeypatch.undo()
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "parts2whole", ([str(folder)], {".safetensors"}))
    assert parts2whole_files.choices() == ["."]
    assert parts2whole_files.path_of(".") == str(folder)


def test_a_release_whose_names_are_spelled_otherwise(folder, tmp_path, monkeypatch):
    """In capitals, as some disks and archives write them, and chosen as on Windows."""
    for file in folder.rglob("*"):
        if file.is_file():
            copy = tmp_path / "mine" / "Released" / str(file.relative_to(folder)).upper()
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.symlink_to(file)
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "parts2whole", ([str(tmp_path)], {".safetensors"}))
    assert parts2whole_files.choices() == [os.path.join("mine", "Released")]
    for name in ("mine\\Released", "mine/Released", "Mine\\released", "Parts2Whole"):
        assert parts2whole_files.path_of(name) == str(tmp_path / "mine" / "Released")
    parts = manifest.locate(parts2whole_files.MODEL, tmp_path / "mine" / "Released")
    assert len(parts) == len(parts2whole_files.MODEL.files)
    assert all(path.is_file() for path in parts.values())


@torch.no_grad()
def test_the_denoiser_computes_what_diffusers_computes(loaded):
    x, text = torch.randn(1, 4, 9, 7), torch.randn(1, 77, 768)
    comfy.model_management.load_models_gpu([loaded[0]])
    with devices.DEVICE:
        time = torch.tensor([301.0])
        inputs = x.to(time), time, text.to(time)
        prediction = loaded[0].model.diffusion_model(*inputs, transformer_options={}).cpu()
    expected = parts_made.sd15_shaped(121)(x, 301, encoder_hidden_states=text).sample
    assert relative(prediction, expected) <= 1e-5


@torch.no_grad()
def test_the_reference_sees_the_same_without_its_tail(loaded):
    """What is recorded of the net with zeros in its tail is what the whole net's layers see."""
    x, text = torch.randn(1, 4, 9, 7), torch.randn(1, 77, 768)
    comfy.model_management.load_models_gpu([loaded[1].reference])
    recorded = record_at_zero(loaded[1].reference, x, text)
    with_its_tail = parts_made.sd15_shaped(122)
    states = {}
    for name, module in with_its_tail.named_modules():
        if name.endswith("norm1") and "transformer_blocks" in name:
            module.register_forward_hook(lambda _m, _i, out, name=name: states.__setitem__(name, out[0]))
    with_its_tail(x, 0, encoder_hidden_states=text)
    addresses = {
        "down_blocks.0.attentions.0": ("input", 1, 0), "mid_block.attentions.0": ("middle", 0, 0),
        "up_blocks.1.attentions.0": ("output", 2, 0), "up_blocks.1.attentions.1": ("output", 3, 0),
    }  # fmt: skip
    assert len(recorded) == len(addresses) == len(states)
    for name, block in addresses.items():
        expected = states[f"{name}.transformer_blocks.0.norm1"]
        assert (recorded[block] - expected).abs().max() <= 1e-4 * expected.abs().max()


def network_of(patcher):
    """Without the noise schedule of a UNet: the host puts ours in its place as soon as the MODEL is loaded."""
    return getattr(patcher.model, "diffusion_model", patcher.model)


def test_one_file_holds_the_same(loaded, single):
    again = subprocess.run([sys.executable, str(SCRIPT), str(single.with_suffix(""))], capture_output=True, text=True)
    assert "exists already" in again.stderr
    model, networks = parts2whole_files.load_parts2whole(str(single))
    pairs = [(model, loaded[0]), *zip(vars(networks).values(), vars(loaded[1]).values(), strict=True)]
    for from_one_file, from_a_folder in pairs:
        state = network_of(from_one_file).state_dict()
        expected_state = network_of(from_a_folder).state_dict()
        assert state.keys() == expected_state.keys()
        assert all(torch.equal(state[key].cpu(), expected_state[key].cpu()) for key in state)
    sigmas = model.get_model_object("model_sampling").sigmas
    assert torch.equal(sigmas.cpu(), loaded[0].get_model_object("model_sampling").sigmas.cpu())


def test_the_schedule_is_the_checkpoints_own(loaded):
    """Linear in beta, which the host calls something else."""
    scheduler = DDIMScheduler(beta_schedule="linear", beta_start=0.00085, beta_end=0.012)
    alphas = scheduler.alphas_cumprod.double()
    sigmas = loaded[0].get_model_object("model_sampling").sigmas
    expected = ((1 - alphas) / alphas).sqrt().float()
    assert (sigmas.cpu() / expected - 1).abs().max() <= 1e-4, "float32 betas in diffusers, float64 here"
    assert (sigmas[-1].cpu() - ModelSamplingDiscrete().sigmas[-1]).abs() > 1, "the host's own is another one"
    assert loaded[0].clone().get_model_object("model_sampling").sigmas is sigmas


@pytest.mark.parametrize(("scheduler", "why"), [
    ({"beta_schedule": "scaled_linear"}, "beta_schedule = 'scaled_linear'"),
    ({"prediction_type": ["epsilon"]}, "a model with prediction_type"),
])  # fmt: skip
def test_schedules_that_nobody_implemented_are_named(loaded, scheduler, why):
    with pytest.raises(errors.UnsupportedCheckpoint, match=why):
        parts2whole_files._sampling(loaded[0], scheduler, "x")


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


def tensors(name, change):
    """change: of the tensors in one of the folder's files."""

    def spoil(copy):
        weights_files = (path for path in copy.rglob("*.*") if path.suffix != ".json")
        file = next(path for path in weights_files if name in path.relative_to(copy).with_suffix("").parts)
        state = change(load(file))
        file.unlink()
        (torch.save if file.suffix == ".bin" else save_file)(state, file)

    return spoil


def tensor(name, key, change=None):
    """change: of one tensor; None takes it away."""

    def changed(state):
        other_tensors = {other_key: weights for other_key, weights in state.items() if other_key != key}
        return {**other_tensors, key: change(state[key]).contiguous()} if change else other_tensors

    return tensors(name, changed)


def written(name, text):
    def spoil(copy):
        (copy / name).unlink()
        if text is not None:
            (copy / name).write_text(text, "utf-8")

    return spoil


def plain_sd15(copy):
    for name in ("reference_unet", "pose_guider"):
        shutil.rmtree(copy / name)
    (copy / "decoupled_attn.pth").unlink()


def wide(state):
    return {k: torch.zeros(v.shape[0], 2048) if k.endswith("attn2.to_k.weight") else v for k, v in state.items()}


def without_up(state):
    return {key: x for key, x in state.items() if not key.startswith("up_blocks.")}


MID = "mid_block.attentions.0.transformer_blocks.0.attn2"
TO_K, TO_V = (f"{MID}.processor.to_{side}_dc.weight" for side in "kv")
LOST, REFERENCE, SCHEDULE = "mid_block.resnets.0.conv1.weight", "reference_unet", "scheduler/scheduler_config.json"
NO_SCHEDULE = r"scheduler_config\.json .*no noise schedule"
SPOILED = [
    (written("decoupled_attn.pth", None), r"not found: decoupled_attn\.pth is not in .*\(77 MB\)"),
    (written(SCHEDULE, "[]"), NO_SCHEDULE),
    (written(SCHEDULE, "[" * 10**5), NO_SCHEDULE),
    (written(SCHEDULE, '{"num_train_timesteps": 1e12}'), r"num_train_timesteps = 1000000000000\.0; .*= 1000"),
    (written(SCHEDULE, '{"beta_end": null}'), r"beta_end = None; .* needs a beta_end between 0 and 1"),
    (written(SCHEDULE, '{"beta_start": NaN}'), r"beta_start = nan; .* needs a beta_start between 0 and 1"),
    (plain_sd15, r"is a plain SD1\.5 diffusers folder \(no reference_unet, pose_guider or decoupled_attn\)"),
    (tensors("unet", wide), r"no SD1\.5 UNet .*diffusers UNet .*2048"),
    (tensors("unet", without_up), r"SD1\.5 UNet \(\d+ tensors .*unknown"),
    (tensors("pose_guider", lambda _: {"conv_in.weight": torch.zeros(16, 3, 3, 3)}), "whose PoseGuider is damaged"),
    (tensor("unet", LOST), r"SD1\.5 UNet \(1 tensor .*: middle"),
    (tensor(REFERENCE, LOST), r"reference UNet \(1 tensor .*: mid"),
    (tensor("unet", "conv_in.weight", lambda t: t[:, 0, 0, 0]), r"no SD1\.5 UNet .*latents of 0 channels"),
    (tensor("unet", f"{MID}.to_k.weight", lambda t: t[0, 0]), r"a damaged SD1\.5 UNet"),
    (tensor("unet", "conv_out.weight", lambda t: torch.cat([t, t])), r"a damaged SD1\.5 UNet \(.*size mismatch"),
    (tensor(REFERENCE, "conv_in.bias", torch.Tensor.long), r"conv_in\.bias holds .*int64 instead of float"),
    (tensor("pose_guider", "conv_in.bias", lambda t: t * torch.nan), "PoseGuider is damaged .*holds nan"),
    (tensor("decoupled_attn", TO_V), r"DecoupledAttn .*to_v_dc\.weight: nothing instead"),
    (tensor("decoupled_attn", TO_K, lambda t: t[:-1]), r"\(319, 768\) instead of \(320, 768\)"),
]


@pytest.mark.parametrize(("spoil", "message"), SPOILED, ids=[message for _, message in SPOILED])
def test_what_is_wrong_with_a_folder_is_named(copy, spoil, message):
    """With its place and size where it is missing."""
    spoil(copy)
    with pytest.raises(errors.ModelMissing if "not found" in message else errors.UnsupportedCheckpoint, match=message):
        parts2whole_files.load_parts2whole(str(copy))


def test_other_single_files_are_named(tmp_path):
    without = {f"{name}.x": torch.zeros(1) for name in ("denoiser", "reference_unet")}
    lora = {"lora_unet_x.lora_down.weight": torch.zeros(4, 320)}
    for state, words in ((lora, "a LoRA; .*Parts2Whole"), (without, "without its noise schedule")):
        save_file(state, tmp_path / "x.safetensors")
        with pytest.raises(errors.UnsupportedCheckpoint, match=rf"x\.safetensors .*{words}"):
            parts2whole_files.load_parts2whole(str(tmp_path / "x.safetensors"))


def test_replaced_files_are_noticed(folder):
    before = LoadParts2Whole.fingerprint_inputs("released")
    assert before == LoadParts2Whole.fingerprint_inputs("released")
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps({**parts_made.SCHEDULER, "steps_offset": 1}), "utf-8")
    assert before != LoadParts2Whole.fingerprint_inputs("released")
