"""LoRAs and words of people on transformers whose weights are in half precision, in fp8, offloaded, or compiled."""

import attack_values
import compiled
import people_made
import pytest
import tiny_dits
import torch
from figures import relative
from host_nodes import novram
from tiny_dits import EVERY
from transformer_loras import HEIGHT, TOLERANCE, WIDTH, cast, put_on, sample, setting_of

pytestmark = tiny_dits.needed
APART = people_made.painted((0, 0, 64, 96), (64, 0, 128, 96), width=WIDTH, height=HEIGHT)


@pytest.fixture(params=EVERY)
def setting(request):
    return setting_of(request.param)


def drawn(setting, model=None, **more):
    """With LoRAs and words of two people."""
    return sample(setting, put_on(setting, cast(*setting.files), APART, model=model), **more)


def plain(setting, model=None, **more):
    sides = setting.text("two people in a park"), setting.text("blurred")
    return sample(setting, (model or setting.model, *sides), **more)


def test_weights_in_scaled_fp8_give_the_picture_of_what_they_stand_for(setting):
    fp8 = attack_values.in_fp8(setting.model, True)
    read = attack_values.in_fp8(setting.model, True, read=True)
    found = drawn(setting, fp8, steps=1)
    assert relative(found, drawn(setting, read, steps=1)) <= TOLERANCE
    assert relative(found, plain(setting, fp8, steps=1)) > 100 * TOLERANCE


def test_in_bfloat16_it_is_the_same_picture_but_for_the_precision(setting):
    half = attack_values.in_half(setting.model)
    precision = relative(plain(setting, half, steps=1), plain(setting, steps=1))
    found = drawn(setting, half, steps=1)
    assert found.isfinite().all()
    assert relative(found, drawn(setting, steps=1)) <= 3 * precision + 1e-3


def test_offloaded_it_is_the_same_picture(setting):
    whole = drawn(setting)
    with novram():
        assert torch.equal(drawn(setting), whole)


@pytest.mark.thorough_with("FLUX.1")
@pytest.mark.thorough_with("FLUX.2")
@pytest.mark.thorough_with("Z-Image")
@pytest.mark.thorough_with("Krea 2")
def test_compiled_it_is_the_same_picture_and_is_compiled_once(setting):
    """By the host's own node."""
    expected = drawn(setting)
    torch._dynamo.reset()
    with compiled.counting() as count:
        whole = compiled.whole(setting.model)
        assert relative(drawn(setting, whole), expected) <= TOLERANCE
        graphs, _ = count()
        assert relative(drawn(setting, whole), expected) <= TOLERANCE
        assert count()[0] <= 2 * graphs, "a second run compiles no more than the first"
