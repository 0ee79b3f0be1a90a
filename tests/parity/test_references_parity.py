"""References by Region in the real host, on tiny FLUX.1, FLUX.2 and Qwen-Image: exactly what a mask would do."""

from __future__ import annotations

import pytest
import tiny_dits
import torch
from figures import relative
from pack.bridge import dit
from pack.bridge.carried import ModelNotPatched
from pack.core.people import Cast
from pack.nodes.references.bound import ReferencesReplaced, TokensChanged
from pack.nodes.references.encoding import REFERENCES, PeopleReferences
from peers import apply
from people_made import person

pytestmark = tiny_dits.needed
WIDTH, HEIGHT = 176, 112  # 11 x 7 tokens
EXACT = 2.5e-6  # of the largest value
LEFT, RIGHT, BOTH = (0, 5), (6, 11), (4, 11)  # columns of tokens; column 5 is nobody's, or shared


def region(columns, rows=(1, 7), width=WIDTH, height=HEIGHT):
    found = torch.zeros(height, width)
    found[16 * rows[0] : 16 * rows[1], 16 * columns[0] : 16 * columns[1]] = 1
    return found


MASKS = torch.stack([region(LEFT), region(RIGHT)])
CAST = Cast((person(1), person(2)))
WHOSE = (0, None, 1, 0)  # Anna, a room, Ben, and Anna again


def references(family, first=10, whose=WHOSE):
    sizes = [(48, 64), (80, 48), (64, 64), (32, 48)][: len(whose)]
    return [tiny_dits.latent(family, *size, first + n) for n, size in enumerate(sizes)]


def sides(family, first=10, whose=WHOSE, negative=True, cast=CAST):
    """Both sides with these references, of one record."""
    latents = references(family, first, whose)
    options = {REFERENCES: PeopleReferences(cast, tuple(latents), whose)}
    other = tiny_dits.conditioning(2, latents, **options) if negative else tiny_dits.conditioning(2)
    return tiny_dits.conditioning(1, latents, **options), other


def bind(model, positive, negative, mask=MASKS, **changed):
    given = {"model": model, "positive": positive, "negative": negative, "mask": mask}
    return apply("LikenessBindReferences", **given, **changed)


def sample(family, applied, rows=1, width=WIDTH, height=HEIGHT, **more):
    return tiny_dits.sample(*applied, tiny_dits.latent(family, width, height, rows=rows), **more)


def people_at(masks, everybody=False):
    """(tokens, people) bool, row by row: who has at least half of each."""
    rows, columns = (range(0, side, 16) for side in masks.shape[1:])
    found = torch.stack([masks[:, y : y + 16, x : x + 16].mean((1, 2)) >= 0.5 for y in rows for x in columns])
    return found | ~found.any(1, keepdim=True) if everybody else found


def allowed(counts, whose, allowed_by, keys):
    """(keys, keys) bool, the rule itself: who of text, picture and references reads whom."""
    text, people = keys - len(allowed_by) - sum(counts), allowed_by.shape[1]
    owners = torch.tensor([-1 if one is None else one for one in whose]).repeat_interleave(torch.tensor(counts))
    asks = torch.cat([torch.zeros(text, people) > 0, allowed_by, owners[:, None] == torch.arange(people)])
    reads = torch.ones(keys, keys) > 0
    reads[:, -len(owners) :] = (owners < 0) | asks[:, owners.clamp(0)]
    return reads


def masked(model, *said, strength=1.0, window=(0.0, 1.0)):
    """The MODEL with an N x N mask in every attention. said: (tokens of references, whose, heard), told apart by the
    first."""
    clone, kept = model.clone(), {}
    options = clone.model_options["transformer_options"]
    before = options.get(dit.OVERRIDE, lambda kernel, *args, **kwargs: kernel(*args, **kwargs))
    first, last = (model.get_model_object("model_sampling").percent_to_sigma(at) for at in window)

    def override(kernel, q, k, v, heads, mask=None, transformer_options=None, **kwargs):
        def attend(mask):
            return before(kernel, q, k, v, heads, mask=mask, transformer_options=transformer_options, **kwargs)

        counted, keys = tuple(transformer_options.get(dit.COUNTS, ())), k.shape[2]
        rule = {tuple(tokens): rest for tokens, *rest in said}.get(counted)
        if rule is None or not first >= float(transformer_options["sigmas"][0]) >= last:
            return attend(mask)
        if (counted, keys) not in kept:
            kept[counted, keys] = torch.zeros(keys, keys).masked_fill(~allowed(counted, *rule, keys), -torch.inf)
        mine = kept[counted, keys][: q.shape[2]][None, None]
        return torch.lerp(attend(mask), attend(mine if mask is None else mask[:, None] + mine), strength)

    options[dit.OVERRIDE] = override
    return clone


def counts(family, latents):
    patch = 1 if family == dit.FLUX_2 else 2
    return [(one.shape[-2] // patch) * (one.shape[-1] // patch) for one in latents]


def said(family, allowed_by, whose=WHOSE, first=10):
    return counts(family, references(family, first, whose)), whose, allowed_by


@pytest.fixture(scope="module")
def models():
    made = {}
    return lambda family: made.setdefault(family, tiny_dits.model(family))


CASES = {
    "two": {},
    "outside everybody": {"outside": "everybody"},
    "overlapping": {"mask": torch.stack([region((0, 7)), region((4, 11), (0, 5))])},
    "one everywhere": {"mask": torch.stack([torch.ones(HEIGHT, WIDTH), region(RIGHT)])},
    "edges inside tokens": {"mask": torch.stack([region(LEFT).roll(9, 1), region(RIGHT).roll(-7, 0)])},
    "by half": {"strength": 0.5},
    "for a while": {"start_percent": 0.3, "end_percent": 0.8},
}


def every(cases, seldom):
    """Each case on each family; (family, case) for which `seldom` holds only where there is time."""
    return [
        pytest.param(family, one, marks=pytest.mark.thorough if seldom(family, name) else (), id=f"{family}: {name}")
        for family in dit.FAMILIES
        for name, one in cases.items()
    ]


@pytest.mark.parametrize(
    ("family", "changed"), every(CASES, lambda family, case: family != dit.FLUX and case not in ("two", "by half"))
)
def test_split_is_masked(models, family, changed):
    model, given, settings = models(family), sides(family), {"mask": MASKS, **changed}
    window, strength = (
        (settings.get("start_percent", 0.0), settings.get("end_percent", 1.0)),
        settings.get("strength", 1),
    )
    allowed_by, more = people_at(settings["mask"], "outside" in settings), {"steps": 5 if window != (0, 1) else 2}
    theirs = masked(model, said(family, allowed_by), strength=strength, window=window)
    expected, plain = (sample(family, (one, *given), 2, **more) for one in (theirs, model))
    assert relative(sample(family, bind(model, *given, **settings), 2, **more), expected) <= EXACT
    assert relative(plain, expected) > 1e-3


def area(family, side, x, columns, **options):
    """A side of the conditioning as what is in these columns of tokens."""
    cells = 1 if family == dit.FLUX_2 else 2
    ((text, before),) = side
    return [[text, {**before, **options, "area": (7 * cells, columns * cells, 0, x * cells)}]]


@pytest.mark.parametrize("family", dit.FAMILIES)
def test_an_area_has_its_part_of_the_regions(models, family):
    model, (positive, negative) = models(family), sides(family, negative=False)
    half = area(family, positive, 5, 6), negative
    expected = sample(family, (masked(model, said(family, people_at(MASKS[:, :, 80:]))), *half))
    assert relative(sample(family, bind(model, *half)), expected) <= EXACT


@pytest.mark.parametrize("family", dit.FAMILIES)
def test_entries_of_several_casts_are_each_bound_as_their_own(models, family):
    model, allowed_by = models(family), people_at(MASKS)
    other = sides(family, 40, (1, 0), cast=Cast((person(3), person(4))))
    both = [[*one, *two] for one, two in zip(sides(family), other, strict=True)]
    expected = sample(family, (masked(model, said(family, allowed_by), said(family, allowed_by, (1, 0), 40)), *both))
    assert relative(sample(family, bind(model, *both)), expected) <= EXACT


def their_attention(model):
    """As packs do that bring a kernel of their own."""

    def louder(kernel, q, k, v, *args, **kwargs):
        return kernel(q, k, v * 1.1, *args, **kwargs)

    model.model_options["transformer_options"][dit.OVERRIDE] = louder
    return model


def their_block(model):
    def wider(args, extra):
        out = extra["original_block"](args)
        return {**out, "img": out["img"] * 1.05}

    model.set_model_patch_replace(wider, "dit", "double_block", 0)
    return model


def their_mask(model):
    """Qwen ignores it."""

    def patch(q, k, v, pe, attn_mask, extra_options):
        return {"attn_mask": (torch.arange(k.shape[2]) % 3).float().expand(1, k.shape[2], -1)}

    model.set_model_attn1_patch(patch)
    return model


def kept_keys(model):
    from comfy_extras.nodes_flux import FluxKVCache  # not on older hosts

    return FluxKVCache.execute(model).args[0]


def more_words(model):
    """As USO's pictures of a style: tokens behind the text that the UNet is given."""

    def patch(given):
        return {**given, **{key: given[key].repeat(1, 2, 1) for key in ("txt", "txt_ids")}}

    model.set_model_post_input_patch(patch)
    return model


def guidance(model):
    """The host's NAG, which mixes the rows of both sides behind the attention."""
    from comfy_extras.nodes_nag import NAGuidance

    return NAGuidance.execute(model, 5.0, 0.5, 1.5).args[0]


THEIRS = {
    "attention": their_attention, "a block": their_block, "a mask": their_mask, "kept keys": kept_keys,
    "more words": more_words, "guidance": guidance,
}  # fmt: skip
"""The host's Flux KV Cache is not for FLUX.1, and Qwen knows neither masks nor guidance of others."""
NEVER = (f"{dit.FLUX}: kept keys", f"{dit.QWEN}: a mask", f"{dit.QWEN}: guidance")


def seldom(family, name):
    return family != dit.FLUX and (family, name) != (dit.FLUX_2, "kept keys")


@pytest.mark.parametrize("order", ["before", "behind"])
@pytest.mark.parametrize(("family", "theirs"), [one for one in every(THEIRS, seldom) if one.id not in NEVER])
def test_beside_what_others_do_to_the_model(models, family, theirs, order):
    model, given = models(family), sides(family)
    expected = sample(family, (masked(theirs(model.clone()), said(family, people_at(MASKS))), *given), steps=3)
    if order == "before":
        found = bind(theirs(model.clone()), *given)
    else:
        bound, *given = bind(model, *given)
        found = theirs(bound.clone()), *given
    assert relative(sample(family, found, steps=3), expected) <= EXACT


def with_one_more(side, latent):
    return [[text, {**options, "reference_latents": [*options["reference_latents"], latent]}] for text, options in side]


def test_what_others_append_later_is_open_to_all_and_a_mask_of_the_text_is_kept(models):
    family, room = dit.QWEN, tiny_dits.latent(dit.QWEN, 64, 32, 20)
    model, given = models(family), sides(family)
    for ((_, options),), hidden in zip(given, (2, 3), strict=True):
        options["attention_mask"] = (torch.arange(7) < 7 - hidden)[None].long()
    longer = [with_one_more(side, room) for side in given]
    more = counts(family, [*references(family), room]), (*WHOSE, None), people_at(MASKS)
    expected = sample(family, (masked(model, more), *longer))
    bound, *told = bind(model, *given)
    assert relative(sample(family, (bound, *(with_one_more(side, room) for side in told))), expected) <= EXACT


@pytest.mark.parametrize("family", [dit.FLUX, dit.QWEN])
def test_odd_sides_are_padded_and_another_size_is_scaled(models, family):
    width, height = 184, 120  # 23 x 15 latent pixels, 12 x 8 tokens
    masks = torch.stack([region((0, 5), (1, 8), width, height), region((7, 12), (0, 8), width, height)])
    model, given = models(family), sides(family)
    expected = sample(family, (masked(model, said(family, people_at(masks))), *given), width=width, height=height)
    for scale in (1, 2):
        larger = masks.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
        found = sample(family, bind(model, *given, mask=larger), width=width, height=height)
        assert relative(found, expected) <= EXACT


def test_of_two_nodes_the_last_one_counts(models):
    model, given = models(dit.FLUX), sides(dit.FLUX)
    twice = bind(*bind(model, *given), mask=MASKS.flip(0))
    assert torch.equal(sample(dit.FLUX, twice), sample(dit.FLUX, bind(model, *given, mask=MASKS.flip(0))))


def replaced(model, positive, negative):
    ((text, options),) = positive
    return model, [[text, {**options, "reference_latents": references(dit.FLUX)}]], negative


def longer(model, positive, negative):
    """A pack that puts tokens of its own behind the picture's."""
    clone = model.clone()
    clone.set_model_post_input_patch(
        lambda given: {**given, **{key: given[key].repeat(1, 2, 1) for key in ("img", "img_ids")}}
    )
    return clone, positive, negative


def more_keys(model, positive, negative):
    clone = model.clone()
    clone.set_model_attn1_patch(lambda q, k, v, **_: {"k": torch.cat([k, k], 2), "v": torch.cat([v, v], 2), "pe": None})
    return clone, positive, negative


@pytest.mark.parametrize(
    ("applied", "error", "words"),
    [
        (replaced, ReferencesReplaced, "Of 3 references of people, 3 are no longer"),
        (longer, TokensChanged, r"has made 252 tokens of the 126 that"),
        (more_keys, TokensChanged, r"has made 266 tokens of the 133 that"),
        (lambda model, *told: (tiny_dits.model(dit.FLUX), *told), ModelNotPatched, "the last node of Likeness"),
    ],
)
def test_what_no_longer_fits_at_the_sampler_is_said(models, applied, error, words):
    with pytest.raises(error, match=words):
        sample(dit.FLUX, applied(*bind(models(dit.FLUX), *sides(dit.FLUX))))
