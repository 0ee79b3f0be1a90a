"""Packs that run cross-attention on rows twice and take the mean, or that move rows, beside people in cross-attention.

The picture is the one without such a pack, or the error names the pack.
"""

from dataclasses import replace

import photo_maker_made
import pytest
import torch
from comfy.ldm.modules.attention import optimized_attention
from figures import relative
from instant_id_run import HEIGHT, WIDTH, halves, sample, text
from instant_id_run import apply as apply_instant_id
from marks import each
from pack.bridge.host.unet import transformers
from pack.bridge.sampling.carried import ConditioningLost
from pack.core.cast import Lora, RowCast
from peers import apply
from tiny import lora_made

WORDS = "left: smiling\nright: asleep"
ALMOST = 2e-5
"""Relative: attention of twice as many rows is summed in another order."""


def prompt_per_person(model, control_net, instant_id):
    """MODEL, positive and negative with words of two people."""
    conditioning = {"positive": [text(1)], "negative": [text(2)], "clip": photo_maker_made.clip()}
    return apply("LikenessPromptPerPerson", model=model, **conditioning, cast=halves(), prompts=WORDS)


def instant_id_of_two(model, control_net, instant_id):
    """MODEL, positive and negative with the faces of two people, without the IdentityNet."""
    return apply_instant_id((model, control_net), instant_id, halves(), control_strength=0.0)


METHODS = [prompt_per_person, instant_id_of_two]


def all_rows_twice(rows):
    return torch.cat([rows, rows])


def each_row_twice(rows):
    return rows.repeat_interleave(2, dim=0)


def mean_of_halves(out):
    half = len(out) // 2
    return (out[:half] + out[half:]) / 2


def mean_of_neighbours(out):
    return out.unflatten(0, (-1, 2)).mean(dim=1)


def patched(model, make_rows, mean):
    """A patch in front of the layer makes rows, and another one behind it takes their mean."""
    clone = model.clone()
    clone.set_model_attn2_patch(lambda n, k, v, _: (make_rows(n), make_rows(k), make_rows(v)))
    clone.set_model_attn2_output_patch(lambda out, _: mean(out))
    return clone


def replaced(model, attention):
    """`attention` in the place of the attention of every cross-attention layer."""
    clone = model.clone()
    for name, number, index, _ in transformers(model.get_model_object("diffusion_model")):
        clone.set_model_attn2_replace(attention, name, number, index)
    return clone


def plain(q, k, v, extra_options):
    return optimized_attention(q, k, v, extra_options["n_heads"])


def attended_twice(q, k, v, extra_options):
    return plain(all_rows_twice(q), all_rows_twice(k), all_rows_twice(v), extra_options)


def mean_attended(q, k, v, extra_options):
    return mean_of_halves(plain(q, k, v, extra_options))


def mean_attended_twice(q, k, v, extra_options):
    return mean_of_halves(attended_twice(q, k, v, extra_options))


def all_rows_twice_by_patches(model):
    return patched(model, all_rows_twice, mean_of_halves)


def each_row_twice_by_patches(model):
    return patched(model, each_row_twice, mean_of_neighbours)


def rows_in_reverse(model):
    """As many rows as there were, in another order."""
    return patched(model, lambda rows: rows.flip(0), lambda out: out.flip(0))


def twice_and_mean_in_place_of_attention(model):
    return replaced(model, mean_attended_twice)


def twice_in_place_of_attention(model):
    """The mean is taken behind the layer."""
    clone = replaced(model, attended_twice)
    clone.set_model_attn2_output_patch(lambda out, _: mean_of_halves(out))
    return clone


def mean_in_place_of_attention(model):
    """The rows are made in front of the layer."""
    clone = replaced(model, mean_attended)
    clone.set_model_attn2_patch(lambda n, k, v, _: (all_rows_twice(n), all_rows_twice(k), all_rows_twice(v)))
    return clone


RIGHT = [
    all_rows_twice_by_patches,
    each_row_twice_by_patches,
    rows_in_reverse,
    twice_and_mean_in_place_of_attention,
]
NAMED = [twice_in_place_of_attention, mean_in_place_of_attention]
CASES = [(1, 1.0), (1, 4.0), (2, 4.0)]
"""Pictures and cfg: rows of one side, of both, and of two pictures."""
OFTEN = [
    (prompt_per_person, each_row_twice_by_patches, 1, 1.0), (prompt_per_person, rows_in_reverse, 2, 4.0),
    (prompt_per_person, twice_and_mean_in_place_of_attention, 2, 4.0), (instant_id_of_two, rows_in_reverse, 2, 4.0),
]  # fmt: skip


@pytest.mark.both_hosts
@pytest.mark.parametrize(
    ("method", "other_pack", "batch", "cfg"),
    each([(method, other_pack, *case) for method in METHODS for other_pack in RIGHT for case in CASES], OFTEN),
)
def test_the_picture_is_the_one_without_the_other_pack(sdxl, instant_id, method, other_pack, batch, cfg):
    model, control_net = sdxl
    settings = {"steps": 1, "size": (WIDTH, HEIGHT), "cfg": cfg, "batch": batch}
    applied = method(model, control_net, instant_id)
    alone = sample(*applied, **settings)
    assert relative(alone, sample(model, [text(1)], [text(2)], **settings)) > 1e-3
    pack_behind = sample(other_pack(applied[0]), *applied[1:], **settings)
    pack_in_front = sample(*method(other_pack(model), control_net, instant_id), **settings)
    assert relative(pack_behind, alone) <= ALMOST
    assert relative(pack_in_front, alone) <= ALMOST


def lora_by_row(model):
    """MODEL, positive and negative with a row for each of two people, whose LoRAs read the text in their own way."""
    people = []
    for number, member in enumerate(halves().people, 1):
        file = lora_made.file(model, seed=number, words=("attn2.to_k", "attn2.to_v"))
        people.append(replace(member, person=replace(member.person, loras=(Lora(file, 1.0, ""),))))
    cast = RowCast(tuple(people), WIDTH, HEIGHT)
    conditioning = {"positive": [text(1)], "negative": [text(2)], "clip": photo_maker_made.clip()}
    return apply("LikenessLoRAPerPerson", model=model, **conditioning, cast=cast)


@pytest.mark.parametrize("other_pack", RIGHT)
def test_loras_stay_with_the_rows_of_their_people(sdxl, other_pack):
    settings = {"steps": 1, "size": (WIDTH, HEIGHT), "batch": 2}
    applied = lora_by_row(sdxl[0])
    alone = sample(*applied, **settings)
    assert relative(sample(other_pack(applied[0]), *applied[1:], **settings), alone) <= ALMOST


@pytest.mark.both_hosts
@pytest.mark.parametrize(("batch", "cfg"), each(CASES, [(2, 4.0)]))
@pytest.mark.parametrize("other_pack", NAMED)
@pytest.mark.parametrize("method", METHODS)
def test_a_pack_that_makes_rows_in_place_of_attention_is_named(sdxl, instant_id, method, other_pack, batch, cfg):
    model, control_net = sdxl
    settings = {"steps": 1, "size": (WIDTH, HEIGHT), "cfg": cfg, "batch": batch}
    applied = method(model, control_net, instant_id)
    message = r"test_doubled_rows\) makes \d rows of \d inside attention"
    with pytest.raises(ConditioningLost, match=message):
        sample(other_pack(applied[0]), *applied[1:], **settings)
    with pytest.raises(ConditioningLost, match=message):
        sample(*method(other_pack(model), control_net, instant_id), **settings)
