"""LoRAs and words of people on transformers whose weights are in half precision, in fp8, offloaded, or compiled."""

import compiled
import marks
import pytest
import sample_values
import torch
from comfy_api.torch_helpers import set_torch_compile_wrapper
from figures import relative
from host_nodes import novram
from marks import EACH, families
from tiny import people_made
from tiny.tiny_dits import FLUX_2, QWEN, Z_IMAGE
from transformer_loras import HEIGHT, TOLERANCE, WIDTH, Setting, cast, put_on, setting_of

pytestmark = marks.transformers
APART = people_made.painted((0, 0, 64, 96), (64, 0, 128, 96), width=WIDTH, height=HEIGHT)


@pytest.fixture(params=EACH)
def setting(request):
    return setting_of(request.param)


def drawn(setting, model=None, who=None, **more):
    """With LoRAs and words of two people."""
    return setting.sample(put_on(setting, who or cast(*setting.files), APART, model=model), **more)


def plain(setting, model=None, **more):
    sides = setting.text("two people in a park"), setting.text("blurred")
    return setting.sample((model or setting.model, *sides), **more)


@families("setting", FLUX_2)
@torch.inference_mode()
def test_weights_in_scaled_fp8_give_the_picture_of_what_they_stand_for(setting):
    fp8 = sample_values.in_fp8(setting.model, True)
    read = sample_values.in_fp8(setting.model, True, read=True)
    found = drawn(setting, fp8, steps=1)
    assert relative(found, drawn(setting, read, steps=1)) <= TOLERANCE
    assert relative(found, plain(setting, fp8, steps=1)) > 100 * TOLERANCE


@families("setting", FLUX_2)
def test_in_bfloat16_it_is_the_same_picture_but_for_the_precision(setting):
    half = sample_values.in_half(setting.model)
    precision = relative(plain(setting, half, steps=1), plain(setting, steps=1))
    found = drawn(setting, half, steps=1)
    assert found.isfinite().all()
    assert relative(found, drawn(setting, steps=1)) <= 3 * precision + 1e-3


@families("setting", FLUX_2)
def test_offloaded_it_is_the_same_picture(setting):
    whole = drawn(setting)
    with novram():
        assert torch.equal(drawn(setting), whole)


@pytest.mark.thorough
def test_compiled_it_is_the_same_picture_and_is_compiled_once(setting):
    """By the host's own node."""
    expected = drawn(setting)
    torch._dynamo.reset()
    with compiled.counting() as count:
        whole = compiled.whole(setting.model)
        assert relative(drawn(setting, whole, steps=1), drawn(setting, steps=1)) <= TOLERANCE
        counted = count()
        assert relative(drawn(setting, whole), expected) <= TOLERANCE
        assert count() == counted, "other steps and runs compile nothing"


DEEP = {FLUX_2: {"depth": 10, "depth_single_blocks": 10}, QWEN: {"num_layers": 10}, Z_IMAGE: {"n_layers": 10}}
"""More blocks than torch compiles variants of one (recompile_limit), by family."""
BLOCKS = "double_blocks", "single_blocks", "transformer_blocks", "layers"


def compiled_by_block(model):
    """A MODEL whose blocks are compiled one by one, as other packs let the host do it."""
    clone = model.clone()
    network = clone.model.diffusion_model
    keys = []
    for name in BLOCKS:
        for number, _block in enumerate(getattr(network, name, ())):
            keys.append(f"diffusion_model.{name}.{number}")
    set_torch_compile_wrapper(clone, backend="eager", keys=keys)
    return clone


@pytest.mark.thorough
@pytest.mark.parametrize("family", [FLUX_2, QWEN, pytest.param(Z_IMAGE, marks=pytest.mark.thorough)])
def test_compiled_block_by_block_one_graph_serves_all_blocks(family):
    """In other runs, too, and for other people."""
    setting = Setting(family, **DEEP[family])
    others = cast(*setting.files[::-1])
    expected, expected_others = drawn(setting), drawn(setting, who=others)
    assert relative(expected, expected_others) > 100 * TOLERANCE
    with compiled.counting() as count:
        by_block = compiled_by_block(setting.model)
        assert relative(drawn(setting, by_block, steps=1), drawn(setting, steps=1)) <= TOLERANCE
        graphs, breaks = count()
        assert relative(drawn(setting, by_block), expected) <= TOLERANCE
        assert relative(drawn(setting, by_block, who=others), expected_others) <= TOLERANCE
        assert count() == (graphs, breaks), "other steps, runs and people compile nothing"
    # The first block of a kind works out how much of everybody's LoRAs each token has.
    assert graphs <= 2 * (2 if family == FLUX_2 else 1)
    assert not breaks
