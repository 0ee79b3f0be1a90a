"""A pack that runs cross-attention on rows twice and takes the mean, beside Prompt per Person."""

import photo_maker_made
import pytest
import torch
from comfy.ldm.modules.attention import optimized_attention
from figures import relative
from instant_id_run import HEIGHT, WIDTH, halves, sample, text
from pack.bridge.carried import ConditioningLost
from pack.bridge.unet import transformers
from peers import apply

WORDS = "left: smiling\nright: asleep"
ALMOST = 2e-5


def speak(model, prompts):
    both = {"positive": [text(1)], "negative": [text(2)], "clip": photo_maker_made.clip()}
    return apply("LikenessPromptPerPerson", model=model, **both, cast=halves(), prompts=prompts, feather=0)


def first(n):
    return torch.cat([n, n])


def each(n):
    return n.repeat_interleave(2, dim=0)


def mean_of_first(out):
    return (out[: len(out) // 2] + out[len(out) // 2 :]) / 2


def mean_of_each(out):
    return out.unflatten(0, (-1, 2)).mean(dim=1)


def twice_by_patches(model, made=first, mean=mean_of_first):
    """Rows made in front of the layer, their mean behind it."""
    clone = model.clone()
    clone.set_model_attn2_patch(lambda n, k, v, _: (made(n), made(k), made(v)))
    clone.set_model_attn2_output_patch(lambda out, _: mean(out))
    return clone


def put(model, attention):
    clone = model.clone()
    for name, number, index, _ in transformers(model.get_model_object("diffusion_model")):
        clone.set_model_attn2_replace(attention, name, number, index)
    return clone


def attended_twice(q, k, v, extra_options):
    return optimized_attention(first(q), first(k), first(v), extra_options["n_heads"])


def twice_inside(model):
    """All in place of attention."""
    return put(model, lambda *given: mean_of_first(attended_twice(*given)))


def twice_from_inside(model):
    """Rows made in place of attention, their mean behind the layer."""
    clone = put(model, attended_twice)
    clone.set_model_attn2_output_patch(lambda out, _: mean_of_first(out))
    return clone


def mean_inside(model):
    """Rows made in front of the layer, their mean in place of attention."""
    clone = put(model, lambda q, k, v, extra: mean_of_first(optimized_attention(q, k, v, extra["n_heads"])))
    clone.set_model_attn2_patch(lambda n, k, v, _: (first(n), first(k), first(v)))
    return clone


def each_by_patches(model):
    return twice_by_patches(model, each, mean_of_each)


def swapped(model):
    """No more rows than there were, in another order."""
    clone = model.clone()
    clone.set_model_attn2_patch(lambda n, k, v, _: (n.flip(0), k.flip(0), v.flip(0)))
    clone.set_model_attn2_output_patch(lambda out, _: out.flip(0))
    return clone


RIGHT = [twice_by_patches, each_by_patches, twice_inside, swapped]
CASES = [(1, 1.0), (1, 4.0), (2, 4.0)]
"""Pictures and cfg: rows of one side, of both, and of two pictures."""


def both(model, theirs, batch, cfg):
    """Theirs behind Prompt per Person, and in front of it."""
    given = {"steps": 1, "size": (WIDTH, HEIGHT), "cfg": cfg, "batch": batch}
    spoken = speak(model, WORDS)
    return lambda: sample(theirs(spoken[0]), *spoken[1:], **given), lambda: sample(*speak(theirs(model), WORDS), **given)


@pytest.mark.parametrize(("batch", "cfg"), CASES)
@pytest.mark.parametrize("theirs", RIGHT)
def test_rows_twice_and_their_mean_are_prompt_per_person_alone(sdxl, theirs, batch, cfg):
    model = sdxl[0]
    given = {"steps": 1, "size": (WIDTH, HEIGHT), "cfg": cfg, "batch": batch}
    ours = sample(*speak(model, WORDS), **given)
    assert relative(ours, sample(model, [text(1)], [text(2)], **given)) > 1e-2
    for drawn in both(model, theirs, batch, cfg):
        assert relative(drawn(), ours) <= ALMOST


@pytest.mark.parametrize(("batch", "cfg"), CASES)
@pytest.mark.parametrize("theirs", [twice_from_inside, mean_inside])
def test_rows_made_in_place_of_attention_are_named(sdxl, theirs, batch, cfg):
    for drawn in both(sdxl[0], theirs, batch, cfg):
        with pytest.raises(ConditioningLost, match=r"test_doubled_rows\) makes \d rows of \d inside attention"):
            drawn()
