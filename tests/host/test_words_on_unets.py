"""Prompt per Person, and Apply ID-Patch by region, in the real host: who is heard where, beside whom, every misuse."""

import comfy.ldm.modules.attention as attention
import photo_maker_made
import pytest
import torch
from comfy_execution.graph_utils import ExecutionBlocker
from figures import relative
from instant_id_run import HEIGHT, WIDTH, halves, sample, text
from pack.bridge.host.encode import encoded_by_schedule
from pack.bridge.host.schedule import WHOLE_SCHEDULE
from pack.bridge.host.unet import attention_widths
from pack.bridge.networks.file_attention import attend_with
from pack.bridge.networks.layers import QueryShape
from pack.bridge.references.centred import CentredReferences
from pack.bridge.sampling.carried import CarriedCond, Chunk
from pack.bridge.sampling.conditioning import factor_between
from pack.bridge.sampling.row_tables import RowTables
from pack.bridge.words.unet import run as unet_run
from pack.bridge.words.unet.words import UnetWords
from pack.core.cast import PlacedCast
from pack.core.checks.errors import BadSetup
from pack.core.checks.value_checks import BadPicture
from pack.nodes.prompts import Scenes
from peers import apply
from tiny import people_made

CENTERS = [(32.0, 48.0), (96.0, 48.0)]
TWO, ONE = people_made.cast(CENTERS, WIDTH, HEIGHT), people_made.cast(CENTERS[:1], WIDTH, HEIGHT)
LEFT_AND_RIGHT = torch.stack([member.slot.mask for member in halves().people])
EVERYWHERE = torch.ones(1, HEIGHT, WIDTH)
ALMOST = 2e-5


def said(words):
    clip = photo_maker_made.clip()
    return clip.encode_from_tokens(clip.tokenize(words))


def speak(model, prompts, cast=None, positive=None, negative=None, **changed):
    texts = {"positive": positive or [text(1)], "negative": negative or [text(2)], "clip": photo_maker_made.clip()}
    inputs = {"model": model, **texts, "cast": cast or halves(), "prompts": prompts, **changed}
    return apply("LikenessPromptPerPerson", **inputs)


def with_tokens(sdxl, cast=TWO, start=0.0, sides=None, **changed):
    """What Apply ID-Patch gives: positive, negative, and a MODEL where it is given one."""
    positive, negative = sides or ([text(1)], [text(2)])
    (image, *_) = apply("LikenessIDPatchConditionImage", cast=cast)
    inputs = {"positive": positive, "negative": negative, "control_net": sdxl[1], "cast": cast, "image": image}
    return apply("LikenessApplyIDPatch", **inputs, id_start_percent=start, **changed)


def plain(sdxl, *args, **changed):
    """Positive and negative that read ID tokens everywhere."""
    positive, negative, _ = with_tokens(sdxl, *args, **changed)
    return positive, negative


def bind(sdxl, cast=TWO, masks=LEFT_AND_RIGHT, model=None, **changed):
    """MODEL, positive and negative that read ID tokens by region."""
    positive, negative, patched = with_tokens(sdxl, cast, model=model or sdxl[0], mask=masks, **changed)
    return patched, positive, negative


@pytest.fixture
def watched_layers(monkeypatch):
    """What every layer of the UNet was given, and what came out."""
    layers = []
    attention_output = unet_run.UnetWordsBatch.attention_output

    def watch(self, layer, before, q, k, v, extra):
        out = attention_output(self, layer, before, q, k, v, extra)
        layers.append((q, k, v, out, extra))
        return out

    monkeypatch.setattr(unet_run.UnetWordsBatch, "attention_output", watch)
    return layers


def reads(layer, side, inside, tokens):
    """Whether pixels of a side's row (0 positive, 1 negative) got attention to these tokens alone."""
    q, k, v, out, extra = layer
    row = list(extra["cond_or_uncond"]).index(side)
    tokens = list(tokens)
    alone = attend_with(extra)(q, k[:, tokens], v[:, tokens])
    return torch.allclose(out[row][inside], alone[row][inside], atol=1e-5)


def left_half(layer):
    height, width = layer[-1]["activations_shape"][-2:]
    return torch.arange(width).repeat(height) < width // 2


WHO = {
    "words": ("left: smiling\nright: asleep", (range(77, 154), range(154, 231))),
    "words about one": ("2: asleep", ((), range(77, 154))),
    "ID tokens": (None, (range(77, 93), range(93, 109))),
}
"""Prompts, and each one's own tokens."""


@pytest.mark.parametrize("method", WHO)
def test_in_every_layer_each_half_hears_its_own_person_alone(sdxl, watched_layers, method):
    """cond_or_uncond says which row is which. The negative's rows read nobody's words."""
    prompts, tokens_of_people = WHO[method]
    sample(*(speak(sdxl[0], prompts) if prompts else bind(sdxl)), steps=1)
    assert len(watched_layers) == len(attention_widths(sdxl[0]))
    for layer in watched_layers:
        on_the_left = left_half(layer)
        for tokens, inside in zip(tokens_of_people, (on_the_left, ~on_the_left), strict=True):
            assert reads(layer, 0, inside, [*range(77), *tokens])
        if prompts:
            assert reads(layer, 1, on_the_left | ~on_the_left, range(77))
            assert not reads(layer, 0, ~on_the_left, range(77))
        else:  # the negative has ID tokens of its own
            for tokens, inside in zip(tokens_of_people, (on_the_left, ~on_the_left), strict=True):
                assert reads(layer, 1, inside, [*range(77), *tokens])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 8e-3), (torch.float16, 1e-3)])
def test_a_layer_is_one_softmax_over_what_each_pixel_hears(dtype, tolerance):
    """Beside it written out in float64: two rows by region, soft and hard, two that read nobody. Keys that nobody reads
    fill up to what a kernel takes at once."""
    generator = torch.Generator().manual_seed(3)
    grid = (5, 9)
    length = 89
    regions = (torch.rand(3, *grid, generator=generator) * 3 - 1).clamp(0, 1)
    words = UnetWords(object(), WHOLE_SCHEDULE, regions, (), (4, 4, 4), 77)
    entry = {"cross_attn": torch.zeros(1, length, 8)}
    words_by_chunk = ((words.in_entry(entry),), (words.without_people().in_entry(entry),))
    query_shape = QueryShape([("input", 1, 0)], 4, frozenset({grid}), torch.device("cpu"), dtype, {})
    batch = unet_run.UnetWordsBatch(words_by_chunk, length, query_shape)
    q, k, v = (torch.randn(4, n, 32, generator=generator).to(dtype) for n in (45, length, length))
    options = {"n_heads": 2, "attn_precision": None, "activations_shape": (4, 32, *grid)}
    is_heard = torch.ones(4, 1, 45, length, dtype=torch.float64)
    is_heard[:2, 0, :, 77:] = regions.flatten(1).repeat_interleave(4, dim=0).T
    wide = [matrix.double().unflatten(2, (2, 16)).transpose(1, 2) for matrix in (q, k, v)]
    shares = is_heard * (wide[0] @ wide[1].mT / 4).exp()
    expected = (shares @ wide[2] / shares.sum(dim=-1, keepdim=True)).transpose(1, 2).flatten(2)
    assert (batch.attention_output(0, None, q, k, v, options) - expected).abs().max() <= tolerance
    assert batch.biases.for_grid(grid, length, q).shape == (4, 45, 96)


@pytest.mark.parametrize(("strength", "tokens"), [(1.0, 77), (2.0, 77), (1.0, 154), (1.0, 231)])
def test_words_of_one_person_heard_everywhere_are_a_longer_prompt(sdxl, strength, tokens):
    """2 = as if they stood there twice. The host repeats the shorter text until both are equally long; what stands
    behind it counts as often."""
    longer = text(1)
    negative = [text(2, tokens=tokens)]
    longer[0] = torch.cat([longer[0], *[said("smiling")] * int(strength)], dim=1)
    cast = PlacedCast(halves().people[:1], WIDTH, HEIGHT)
    spoken = speak(sdxl[0], "left: smiling", cast, negative=negative, mask=EVERYWHERE, strength=strength)
    assert relative(sample(*spoken), sample(sdxl[0], [longer], negative)) < ALMOST


def test_bound_tokens_are_the_papers_where_regions_do_not_count(sdxl):
    """Everywhere, and before they begin."""
    everywhere = sample(*bind(sdxl, ONE, EVERYWHERE))
    assert relative(everywhere, sample(sdxl[0], *plain(sdxl, ONE))) < ALMOST
    late = sample(sdxl[0], *plain(sdxl, start=1.0))
    assert torch.equal(sample(*bind(sdxl, start=1.0)), late)
    half = sample(sdxl[0], *plain(sdxl, start=0.5))
    assert relative(sample(*bind(sdxl, start=0.5)), half) > 1e-4


def test_without_a_model_there_is_none_at_model_out(sdxl):
    """A sampler that is linked to it is not run, and ComfyUI shows the sentence."""
    for strength in (0.0, 0.8):
        *_, blocker = with_tokens(sdxl, strength=strength)
        assert isinstance(blocker, ExecutionBlocker)
        assert blocker.message.startswith("Apply ID-Patch has no MODEL for its model_out. Connect the MODEL to model")


def test_id_tokens_are_bound_in_a_text_that_the_host_repeats(sdxl):
    """A negative that says everything twice is the same negative, and makes the host repeat the positive."""
    model, positive, negative = bind(sdxl)
    plain = []
    for tensor, options in negative:
        plain.append([tensor, {name: option for name, option in options.items() if name != "model_conds"}])
    twice = [[torch.cat([entry[0], entry[0]], dim=1), entry[1]] for entry in plain]
    assert relative(sample(model, positive, twice), sample(model, positive, plain)) < ALMOST


def test_words_and_bound_tokens_in_either_order(sdxl):
    words = {"prompts": "1: up\n2: down", "cast": TWO, "mask": LEFT_AND_RIGHT}
    model, *sides = bound = bind(sdxl)
    last = sample(*speak(model, positive=sides[0], negative=sides[1], **words))
    model, *sides = speak(sdxl[0], **words)
    assert relative(last, sample(*bind(sdxl, model=model, sides=sides))) < ALMOST
    assert relative(last, sample(*bound)) > 1e-3


def longer(side):
    return [[torch.cat([tensor, said("more")], dim=1), options] for tensor, options in side]


def test_text_that_others_make_longer_behind_it_keeps_everybody_s_tokens(sdxl, watched_layers):
    model, *sides = bind(sdxl)
    positive, negative = sides
    sample(model, longer(positive), longer(negative), steps=1)
    for side in (0, 1):
        assert reads(watched_layers[0], side, left_half(watched_layers[0]), [*range(93), *range(109, 186)])


def test_a_text_cut_behind_it_is_refused(sdxl):
    """16 tokens for each of two people stand behind 77 others."""
    model, positive, negative = bind(sdxl)
    cut = [[tensor[:, :100], options] for tensor, options in positive]
    with pytest.raises(BadSetup, match="has cut a prompt to 100 of the 109 tokens"):
        sample(model, cut, negative, steps=1)


def test_one_text_of_a_row_each_makes_a_chunk_of_every_row():
    """Beside ID tokens that the whole picture reads."""
    texts = torch.rand(1, 4, 8).split((3, 1), dim=1)
    everybody = UnetWords(object(), WHOLE_SCHEDULE, torch.ones(2, 1, 1), texts, by_row=True)
    everywhere = UnetWords(object(), WHOLE_SCHEDULE, torch.ones(1, 1, 1), (torch.rand(1, 4, 8),))
    tables = RowTables(torch.device("cpu"))

    def chunks(*carried):
        return tables.rows_of(tables.of_batch((Chunk(carried),), 2)).of_kind(UnetWords.key)

    first, second = chunks(everybody, everywhere)
    assert [words.appended_count for words in (*first, *second)] == [3, 4, 1, 4]
    assert chunks(everywhere) == [(everywhere,)]


def test_rows_are_joined_where_those_of_every_node_can_be():
    here, elsewhere = (CentredReferences(object(), WHOLE_SCHEDULE) for _ in range(2))
    assert CarriedCond((here, elsewhere)).can_concat(CarriedCond((here, elsewhere)))
    assert not CarriedCond((here, elsewhere)).can_concat(CarriedCond((here, here)))
    assert not CarriedCond((here,)).can_concat(CarriedCond((here, here)))


@pytest.mark.parametrize("changed", [slice(5), (..., slice(4)), 0], ids=["shorter", "narrower", "without a batch"])
def test_a_text_of_another_shape_has_not_been_multiplied(changed):
    before = torch.rand(1, 77, 8)
    assert factor_between(before, before * 3) == pytest.approx(3.0)
    now = before[:, changed] if changed == slice(5) else before[changed]
    assert factor_between(before, now * 3) is None


def test_words_whose_pooled_text_alone_is_nan_are_refused():
    clip = photo_maker_made.clip()
    width = said("asleep").shape[-1]
    projection = clip.cond_stage_model.clip_g.transformer.text_projection.weight
    kept = projection.detach().clone()
    try:
        projection.data.fill_(torch.nan)
        assert said("asleep").isfinite().all()
        with pytest.raises(BadPicture, match="The text 'asleep'"):
            encoded_by_schedule(clip, "asleep", width, "")
    finally:
        projection.data.copy_(kept)


def test_the_host_s_other_kernels(sdxl, monkeypatch):
    """A region of nothing at a pixel must give no NaN in any of them."""
    monkeypatch.setattr(unet_run, "attention_pytorch", None)  # the host's choice, as on a GPU
    expected = sample(*speak(sdxl[0], "1: up\n2: down"))
    for kernel in (attention.attention_basic, attention.attention_split, attention.attention_sub_quad):
        monkeypatch.setattr(attention, "optimized_attention", kernel)
        assert relative(sample(*speak(sdxl[0], "1: up\n2: down")), expected) < ALMOST


def test_scenes_are_a_first_one_and_others():
    """Where there is one alone, what others would go to is stopped in words."""
    assert Scenes.execute("a\n\nb\nc", "x").args == (["a, x", "b, x", "c, x"], 3, "a, x", ["b, x", "c, x"])
    prompts, count, first, (others,) = Scenes.execute("a", "").args
    assert (prompts, count, first) == (["a"], 1, "a")
    assert isinstance(others, ExecutionBlocker) and "one more line" in others.message
