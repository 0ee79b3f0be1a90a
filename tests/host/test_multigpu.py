"""The host's MultiGPU CFG Split: two names of the CPU stand for two cards. Every node draws the picture of one."""

from copy import copy
from types import SimpleNamespace

import comfy.model_management
import comfy.sample
import comfy.samplers
import pytest
import sample_values
import torch
from figures import WHOLE_SAMPLING, relative
from graph_run import run
from host_sampling import applied, latent_of
from marks import each
from method_rows import Row, rows
from pack.bridge.image_tokens.blocks import BLOCK_IMAGE_TOKENS
from pack.bridge.sampling.forward import ForwardInput
from pack.bridge.sampling.runs import Run

multigpu = pytest.importorskip("comfy.multigpu", reason="an older ComfyUI has no MultiGPU CFG Split")
OF_UNETS = [row for row in rows() if row.of_unets and row.runs_here]
BEHIND_BLOCKS = [row for row in rows() if row.network == "FLUX.1" and row.runs_here]


@pytest.fixture
def two_cards(monkeypatch):
    cards = [torch.device("cpu"), torch.device("cpu", 0)]
    monkeypatch.setattr(comfy.model_management, "get_all_torch_devices", lambda exclude_current=False: cards)
    monkeypatch.setattr(comfy.model_management, "set_torch_device", lambda device: None)
    yield
    comfy.model_management.unload_all_models()


def drawn(model, positive, negative, start):
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(positive, negative)
    guider.set_cfg(4.0)
    noise = comfy.sample.prepare_noise(start, 1)
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", 2)
    euler = comfy.samplers.sampler_object("euler")
    return guider.sample(noise, start, euler, sigmas, seed=1, disable_pbar=True)


@pytest.mark.parametrize(
    "row", each(OF_UNETS, ["instant_id, ApplyInstantID", "PromptPerPerson", "LoRAPerPerson"]), ids=str
)
def test_split_over_two_cards_it_is_the_picture_of_one(row: Row, two_cards: None) -> None:
    base = run(row.model, {})[0]
    outputs = dict(zip(row.outputs, run(row.node(), {}), strict=False))
    model = outputs.get("model") or base
    sides = (outputs["positive"], outputs["negative"])
    start = run(row.latent, {})[0]["samples"]
    one_card = drawn(model, *sides, start)
    comfy.model_management.unload_all_models()
    state = dict(base.model.diffusion_model.state_dict())
    loaded_again = model.clone()
    loaded_again.cached_patcher_init = (lambda: sample_values._again(base, state, torch.float32), ())
    split = multigpu.create_multigpu_deepclones(loaded_again, 2)
    assert len(split.get_additional_models_with_key("multigpu")) == 1
    for _ in range(2):
        assert relative(drawn(split, *sides, start), one_card) <= WHOLE_SAMPLING
    assert not any("forward" in vars(module) for module in base.model.diffusion_model.modules())


@pytest.mark.parametrize("row", BEHIND_BLOCKS, ids=str)
def test_behind_blocks_of_a_transformer_each_card_s_network_has_a_batch_of_its_own(row: Row) -> None:
    """Of the same rows: its tokens lie on one card."""
    ours = applied(row, row.node())
    entry = ours.positive[0][1]
    x = latent_of(row)
    options = {"transformer_options": {}}
    guider = SimpleNamespace(model_patcher=ours.model, conds={"positive": [entry]}, model_options=options)
    run_of_blocks = Run(guider, x)
    (image_tokens,) = run_of_blocks.add_kinds([BLOCK_IMAGE_TOKENS], guider, x)
    batches: list[object] = []
    ours.model.model.current_patcher = ours.model  # as the host has it where a MODEL is loaded
    for network in (ours.model.model, copy(ours.model.model), ours.model.model):
        forward_input = ForwardInput(network, x, torch.ones(1), ours.positive[0][0], {})
        batches.append(BLOCK_IMAGE_TOKENS.batch(run_of_blocks, ((image_tokens,),), forward_input))
    assert batches[0] is batches[2] is not batches[1]
