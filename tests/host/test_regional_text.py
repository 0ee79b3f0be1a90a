"""Prompt per Person and ID Tokens by Region in the real host: who is heard where, beside whom, and every misuse."""

from __future__ import annotations

import instant_id_run
import people_made
import pytest
import tiny_sdxl
import torch
from instant_id_run import HEIGHT, WIDTH, halves, sample, text
from other_packs import around as wrapped
from other_packs import copied, in_tiles, one_by_one, reversed_rows
from pack.bridge import regional_text
from pack.bridge.carried import ALWAYS, ConditioningLost
from pack.bridge.cross_attention import Place
from pack.bridge.unet import attend_with, attention_layers
from pack.core import errors
from pack.core.people import NotPlaced, PlacedCast
from pack.core.prompts import BadPrompts
from pack.nodes.id_patch.nodes import ApplyIDPatch, BindIDTokens, IDPatchImage
from pack.nodes.instant_id.nodes import load_instant_id
from pack.nodes.person_prompts import PersonPrompts
from seeded import instant_id_file
from spoken import Clip

CENTERS = [(32.0, 48.0), (96.0, 48.0)]


@pytest.fixture(scope="module")
def host():
    unet = tiny_sdxl.diffusers_unet()
    return tiny_sdxl.host_model(unet), tiny_sdxl.host_control_net(tiny_sdxl.diffusers_control_net(unet, 172))


@pytest.fixture(scope="module")
def instant_id(host, tmp_path_factory):
    path = tmp_path_factory.mktemp("instantid") / "ip-adapter.bin"
    torch.save(instant_id_file([width for *_, width in attention_layers(host[0])]), path)
    return load_instant_id(str(path))


def said(words, clip=None):
    return (clip or Clip()).encode_from_tokens(words, return_pooled=True)[0]


def speak(model, prompts, cast=None, positive=None, negative=None, clip=None, **changed):
    given = {"strength": 1.0, "extent": "body", "margin": 0.25, "feather": 0, **changed}
    both = positive or [text(1)], negative or [text(2)]
    return PersonPrompts.execute(model, clip or Clip(), *both, cast or halves(), prompts, **given).args


def apply(host, id_patch, cast, id_start_percent=0.0, **changed):
    image = IDPatchImage.execute(id_patch, cast, "mean")[0]
    given = {"strength": 0.8, "start_percent": 0.0, "end_percent": 1.0, "photos": "mean", **changed}
    return ApplyIDPatch.execute(
        [text(1)], [text(2)], host[1], id_patch, cast, image, id_start_percent=id_start_percent, **given
    ).args


def bind(model, sides, cast, masks=None):
    return BindIDTokens.execute(model, *sides, cast, extent="body", margin=0.25, feather=0, mask=masks).args


def two():
    return people_made.cast(CENTERS, WIDTH, HEIGHT)


def left_and_right():
    return torch.stack([person.slot.mask for person in halves().people])


def near(one, other, tolerance=2e-5):
    """Of the largest latent value."""
    return bool((one - other).abs().max() < tolerance * other.abs().max())


# Who is heard where


def watched(monkeypatch):
    """What every layer of the UNet was given, and what came out."""
    seen = []
    attention = regional_text.RegionalTextBatch.attended

    def watch(self, layer, before, q, k, v, extra):
        out = attention(self, layer, before, q, k, v, extra)
        seen.append((q, k, v, out, extra))
        return out

    monkeypatch.setattr(regional_text.RegionalTextBatch, "attended", watch)
    return seen


def heard_alone(q, k, v, extra, tokens):
    """Attention of all pixels to some of the tokens, which is what a pixel that hears no others must get."""
    return attend_with(extra)(q, k[:, tokens], v[:, tokens])


@pytest.mark.parametrize("method", ["words", "ID tokens"])
def test_in_every_layer_each_half_hears_its_own_person_alone(host, id_patch, monkeypatch, method):
    """cond_or_uncond says which row is which: the negative's rows read nobody's tokens, but by region as well."""
    seen = watched(monkeypatch)
    if method == "words":
        sample(*speak(host[0], "left: smiling\nright: asleep"), steps=1)
        own = [range(77, 154), range(154, 231)]
    else:
        sample(*bind(host[0], apply(host, id_patch, two()), two(), left_and_right()), steps=1)
        own = [range(77, 93), range(93, 109)]
    assert len(seen) == len(attention_layers(host[0]))
    for q, k, v, out, extra in seen:
        height, width = extra["activations_shape"][-2:]
        columns = torch.arange(width).repeat(height)
        row = list(extra["cond_or_uncond"]).index(0)
        for person, inside in ((0, columns < width // 2), (1, columns >= width // 2)):
            alone = heard_alone(q, k, v, extra, [*range(77), *own[person]])
            assert torch.allclose(out[row][inside], alone[row][inside], atol=1e-5)
    silent = [list(extra["cond_or_uncond"]).index(1) for *_, extra in seen]
    tokens = range(77) if method == "words" else None
    for (q, k, v, out, extra), row in zip(seen, silent, strict=True):
        if tokens:
            assert torch.allclose(out[row], heard_alone(q, k, v, extra, list(tokens))[row], atol=1e-5)


@pytest.mark.parametrize(("dtype", "off"), [(torch.float32, 1e-6), (torch.bfloat16, 8e-3), (torch.float16, 1e-3)])
def test_a_layer_is_one_softmax_over_what_each_pixel_hears(dtype, off):
    """Beside it written out in float64: two rows by region, soft and hard, two that hear nobody. Keys that nobody hears
    fill up to what a kernel takes at once."""
    generator, grid, length = torch.Generator().manual_seed(3), (5, 9), 89
    regions = (torch.rand(3, *grid, generator=generator) * 3 - 1).clamp(0, 1)
    one = regional_text.RegionalText(object(), ALWAYS, regions, (4, 4, 4), None, None, 77)
    chunks = tuple((each.known(torch.zeros(1, length, 8)),) for each in (one, regional_text.silent(one)))
    place = Place(4, frozenset({grid}), torch.device("cpu"), dtype)
    batch = regional_text.RegionalTextBatch([("input", 1, 0)], chunks, length, place)
    q, k, v = (torch.randn(4, n, 32, generator=generator).to(dtype) for n in (45, length, length))
    options = {"n_heads": 2, "attn_precision": None, "activations_shape": (4, 32, *grid)}
    heard = torch.ones(4, 1, 45, length, dtype=torch.float64)
    heard[:2, 0, :, 77:] = regions.flatten(1).repeat_interleave(4, dim=0).T
    wide = [x.double().unflatten(2, (2, 16)).transpose(1, 2) for x in (q, k, v)]
    shares = heard * (wide[0] @ wide[1].mT / 4).exp()
    true = (shares @ wide[2] / shares.sum(dim=-1, keepdim=True)).transpose(1, 2).flatten(2)
    assert (batch.attended(0, None, q, k, v, options) - true).abs().max() <= off
    assert batch.bias(grid, length, q).shape == (4, 45, 96)


def test_one_person_heard_everywhere_is_the_plain_method(host, id_patch):
    """With the whole picture as region: words are a longer prompt, bound ID tokens are those of the paper."""
    everywhere = torch.ones(1, HEIGHT, WIDTH)
    one = PlacedCast(halves().people[:1], WIDTH, HEIGHT)
    longer = text(1)
    longer[0] = torch.cat([longer[0], said("smiling")], dim=1)
    spoken = speak(host[0], "left: smiling", one, mask=everywhere)
    assert near(sample(*spoken), sample(host[0], [longer], [text(2)]))
    cast = people_made.cast(CENTERS[:1], WIDTH, HEIGHT)
    sides = apply(host, id_patch, cast)
    assert near(sample(*bind(host[0], sides, cast, everywhere)), sample(host[0], *sides))


def test_bound_tokens_start_where_the_unbound_ones_do(host, id_patch):
    cast = two()
    late = apply(host, id_patch, cast, id_start_percent=1.0)
    assert torch.equal(sample(*bind(host[0], late, cast, left_and_right())), sample(host[0], *late))
    half = apply(host, id_patch, cast, id_start_percent=0.5)
    assert not near(sample(*bind(host[0], half, cast, left_and_right())), sample(host[0], *half), 1e-4)


def test_swapped_words_are_not_the_same_picture(host):
    one, other = (sample(*speak(host[0], f"1: {a}\n2: {b}")) for a, b in (("up", "down"), ("down", "up")))
    assert not near(one, other, 1e-3)


def test_words_about_one_leave_the_other_half_of_the_first_layer_alone(host, monkeypatch):
    seen = watched(monkeypatch)
    sample(*speak(host[0], "2: asleep"), steps=1)
    q, k, v, out, extra = seen[0]
    height, width = extra["activations_shape"][-2:]
    left = torch.arange(width).repeat(height) < width // 2
    plain = heard_alone(q, k, v, extra, list(range(77)))
    row = list(extra["cond_or_uncond"]).index(0)
    assert torch.allclose(out[row][left], plain[row][left], atol=1e-5)
    assert not torch.allclose(out[row][~left], plain[row][~left], atol=1e-3)


def test_strength_is_the_words_said_as_often(host):
    """2 = as if they stood there twice."""
    one = PlacedCast(halves().people[:1], WIDTH, HEIGHT)
    twice = text(1)
    twice[0] = torch.cat([twice[0], said("smiling"), said("smiling")], dim=1)
    spoken = speak(host[0], "1: smiling", one, mask=torch.ones(1, HEIGHT, WIDTH), strength=2.0)
    assert near(sample(*spoken), sample(host[0], [twice], [text(2)]))


def test_words_are_as_loud_beside_a_longer_negative(host):
    """The host repeats the shorter text until both are equally long; what stands behind it counts as often."""
    one = PlacedCast(halves().people[:1], WIDTH, HEIGHT)
    longer = text(1)
    longer[0] = torch.cat([longer[0], said("smiling")], dim=1)
    for tokens in (154, 231):
        negative = [text(2, tokens=tokens)]
        spoken = speak(host[0], "1: smiling", one, negative=negative, mask=torch.ones(1, HEIGHT, WIDTH))
        assert near(sample(*spoken), sample(host[0], [longer], negative))


def test_id_tokens_are_bound_in_a_text_that_the_host_repeats(host, id_patch):
    """A negative that says everything twice is the same negative, and makes the host repeat the positive."""
    cast = two()
    model, positive, negative = bind(host[0], apply(host, id_patch, cast), cast, left_and_right())
    plain = [[entry[0], {k: v for k, v in entry[1].items() if k != "model_conds"}] for entry in negative]
    twice = [[torch.cat([entry[0], entry[0]], dim=1), entry[1]] for entry in plain]
    assert near(sample(model, positive, twice), sample(model, positive, plain))


# Nothing on means nothing changed


@pytest.mark.parametrize(("prompts", "strength"), [("", 1.0), ("left:  ", 1.0), ("left: smiling", 0.0)])
def test_nothing_said_changes_nothing(host, prompts, strength):
    model, positive, negative = speak(host[0], prompts, strength=strength)
    assert model is host[0] and "model_conds" not in positive[0][1] and "model_conds" not in negative[0][1]


def test_words_about_somebody_of_weight_zero_are_not_heard(host):
    both = halves().people
    absent = PlacedCast((both[0], people_made.cast([CENTERS[1]], WIDTH, HEIGHT, [0.0]).people[0]), WIDTH, HEIGHT)
    model, *_ = speak(host[0], "2: smiling", absent)
    assert model is host[0]


def test_no_id_tokens_nothing_bound(host, id_patch, caplog):
    sides = apply(host, id_patch, two(), strength=0.0)
    assert bind(host[0], sides, two())[0] is host[0] and "no ID tokens" in caplog.text


# Beside others


def test_both_sides_go_through_the_unet_in_one_batch(host):
    rows = []

    def count(apply_model, given):
        rows.append(len(given["input"]))
        return apply_model(given["input"], given["timestep"], **given["c"])

    model, *sides = speak(host[0], "1: smiling\n2: asleep")
    sample(wrapped(model, count), *sides, steps=2)
    assert rows == [2, 2]


def test_words_and_bound_tokens_in_either_order(host, id_patch):
    cast = two()
    masks = left_and_right()
    model, *sides = bind(host[0], apply(host, id_patch, cast), cast, masks)
    words = {"cast": cast, "mask": masks}
    last = speak(model, "1: up\n2: down", positive=sides[0], negative=sides[1], **words)
    model, *sides = speak(host[0], "1: up\n2: down", **words)
    image = IDPatchImage.execute(id_patch, cast, "mean")[0]
    sides = ApplyIDPatch.execute(*sides, host[1], id_patch, cast, image, 0.8, 0.0, 1.0, 0.0, "mean").args
    first = bind(model, sides, cast, masks)
    assert near(sample(*last), sample(*first))
    assert not torch.allclose(
        sample(*last), sample(*bind(host[0], apply(host, id_patch, cast), cast, masks)), atol=1e-2
    )


def test_before_and_after_instant_id_is_the_same(host, instant_id):
    cast = halves()
    model, *sides = speak(host[0], "1: up\n2: down", cast)
    after = sample(*instant_id_run.apply(host, instant_id, cast, *sides, model=model))
    model, *sides = instant_id_run.apply(host, instant_id, cast)
    before = sample(*speak(model, "1: up\n2: down", cast, *sides))
    assert near(after, before)
    assert not near(after, sample(*instant_id_run.apply(host, instant_id, cast)), 1e-3)


@pytest.mark.parametrize("function", [one_by_one, copied, reversed_rows])
def test_a_function_around_the_model_takes_rows_apart(host, function):
    model, *sides = speak(host[0], "1: up\n2: down")
    whole = sample(model, *sides, batch=2)
    assert near(sample(wrapped(model, function), *sides, batch=2), whole)


def test_tiles_are_refused_because_regions_belong_to_the_whole(host):
    model, *sides = speak(host[0], "1: up\n2: down")
    with pytest.raises(ConditioningLost, match="regions or a pose belong to the whole"):
        sample(wrapped(model, in_tiles), *sides)


def test_text_that_others_make_longer_behind_it_keeps_everybody_s_tokens(host, id_patch, monkeypatch):
    seen = watched(monkeypatch)
    cast = two()
    model, *sides = bind(host[0], apply(host, id_patch, cast), cast, left_and_right())
    more = [[[torch.cat([entry[0], said("more")], dim=1), entry[1]] for entry in side] for side in sides]
    sample(model, *more, steps=1)
    q, k, v, out, extra = seen[0]
    height, width = extra["activations_shape"][-2:]
    left = torch.arange(width).repeat(height) < width // 2
    alone = heard_alone(q, k, v, extra, [*range(93), *range(109, 186)])
    assert torch.allclose(out[:, left], alone[:, left], atol=1e-5)


def test_a_scaled_latent_and_an_area(host, caplog):
    applied = speak(host[0], "1: up\n2: down")
    assert sample(*applied, size=(2 * WIDTH, 2 * HEIGHT)).isfinite().all()
    assert caplog.text.count("all people are scaled 2 times, with their regions") == 1
    area = [text(1, area=(HEIGHT // 8, WIDTH // 16, 0, WIDTH // 16), strength=1.0), text(4)]
    assert sample(*speak(host[0], "1: up\n2: down", positive=area)).isfinite().all()
    with pytest.raises(errors.BadSize):
        sample(*applied, size=(256, 96))


def test_half_precision_and_the_host_s_other_kernels(host, monkeypatch):
    """A region of nothing at a pixel must give no NaN in any of them."""
    import comfy.ldm.modules.attention as attention

    monkeypatch.setattr(regional_text, "attention_pytorch", None)  # the host's choice, as on a GPU
    whole = sample(*speak(host[0], "1: up\n2: down"))
    for kernel in (attention.attention_basic, attention.attention_split, attention.attention_sub_quad):
        monkeypatch.setattr(attention, "optimized_attention", kernel)
        assert near(sample(*speak(host[0], "1: up\n2: down")), whole)


# Misuse


def test_lines_about_nobody(host):
    with pytest.raises(BadPrompts, match=r"no person here is called 'Zoe'.*1 left, 2 right"):
        speak(host[0], "left: up\nZoe: down")


def test_people_without_places(host):
    with pytest.raises(NotPlaced):
        speak(host[0], "1: up", instant_id_run.one())


def test_the_clip_of_another_family(host):
    with pytest.raises(errors.WrongBaseModel):
        speak(host[0], "1: up", clip=Clip(768))


def test_id_tokens_of_another_cast(host, id_patch):
    with pytest.raises(errors.BadPatches, match=r"ID tokens of 2 people, the cast has 1 person"):
        bind(host[0], apply(host, id_patch, two()), people_made.cast(CENTERS[:1], WIDTH, HEIGHT), left_and_right()[:1])
