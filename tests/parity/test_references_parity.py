"""People as References by region, on tiny FLUX.1, FLUX.2 and Qwen-Image of the host: exactly what a mask would do."""

import pytest
import tiny_dits
import torch
from figures import WHOLE_SAMPLING, relative
from pack.bridge.transformers import attention, networks
from pack.core.errors import BadSetup
from pack.core.people import Cast
from pack.nodes.references.by_region import TokensChanged
from pack.nodes.references.encoding import REFERENCES, PeopleReferences
from pack.nodes.references.nodes import RegionSettings, areas_of, read_by_region
from people_made import person

pytestmark = tiny_dits.needed
WIDTH, HEIGHT = 176, 112  # 11 x 7 tokens
LEFT, RIGHT = (0, 5), (6, 11)  # columns of tokens; column 5 is nobody's


def region(columns, rows=(1, 7), width=WIDTH, height=HEIGHT):
    found = torch.zeros(height, width)
    found[16 * rows[0] : 16 * rows[1], 16 * columns[0] : 16 * columns[1]] = 1
    return found


MASKS = torch.stack([region(LEFT), region(RIGHT)])
CAST = Cast((person(1), person(2)))
WHOSE = (0, None, 1, 0)  # Anna, a room, Ben, and Anna again


def references(family):
    sizes = [(48, 64), (80, 48), (64, 64), (32, 48)]
    return [tiny_dits.latent(family, *size, 10 + n) for n, size in enumerate(sizes)]


def sides(family):
    """Both sides with these references, of one record."""
    latents = references(family)
    options = {REFERENCES: PeopleReferences(CAST, tuple(latents), WHOSE)}
    return tiny_dits.conditioning(1, latents, **options), tiny_dits.conditioning(2, latents, **options)


DEFAULTS = {
    "region_strength": 1.0, "start_percent": 0.0, "end_percent": 1.0, "outside": "nobody", "extent": "body",
    "margin": 0.25, "mask": MASKS,
}  # fmt: skip


def bind(model, positive, negative, **changed):
    """MODEL and both sides as the node gives them on, of conditioning that is made by hand: the text encoders and VAEs
    of three families are not needed for what is compared here."""
    settings = RegionSettings(**{**DEFAULTS, **changed})
    record = positive[0][1][REFERENCES]
    limited = read_by_region(model, positive, negative, record, areas_of(CAST, settings), None)
    return limited.model, limited.positive, limited.negative


def sample(family, applied, rows=1, width=WIDTH, height=HEIGHT, **more):
    return tiny_dits.sample(*applied, tiny_dits.latent(family, width, height, rows=rows), **more)


def people_at(masks, everybody=False):
    """(tokens, people) bool, row by row: who has at least half of each."""
    rows, columns = (range(0, side, 16) for side in masks.shape[1:])
    found = torch.stack([masks[:, y : y + 16, x : x + 16].mean((1, 2)) >= 0.5 for y in rows for x in columns])
    return found | ~found.any(1, keepdim=True) if everybody else found


def allowed(counts, allowed_by, keys):
    """(keys, keys) bool, the rule itself: who of text, picture and references reads whom."""
    text, people = keys - len(allowed_by) - sum(counts), allowed_by.shape[1]
    owners = torch.tensor([-1 if one is None else one for one in WHOSE]).repeat_interleave(torch.tensor(counts))
    asks = torch.cat([torch.zeros(text, people) > 0, allowed_by, owners[:, None] == torch.arange(people)])
    reads = torch.ones(keys, keys) > 0
    reads[:, -len(owners) :] = (owners < 0) | asks[:, owners.clamp(0)]
    return reads


def masked(model, allowed_by, strength=1.0, window=(0.0, 1.0)):
    """The MODEL with an N x N mask in every attention."""
    clone, kept = model.clone(), {}
    first, last = (model.get_model_object("model_sampling").percent_to_sigma(at) for at in window)

    def override(kernel, q, k, v, heads, mask=None, transformer_options=None, **kwargs):
        def attend(mask):
            return kernel(q, k, v, heads, mask=mask, transformer_options=transformer_options, **kwargs)

        counted, keys = transformer_options.get(attention.COUNTS, ()), k.shape[2]
        if not counted or not first >= float(transformer_options["sigmas"][0]) >= last:
            return attend(mask)
        if keys not in kept:
            kept[keys] = torch.zeros(keys, keys).masked_fill(~allowed(counted, allowed_by, keys), -torch.inf)
        return torch.lerp(attend(mask), attend(kept[keys][: q.shape[2]][None, None]), strength)

    clone.model_options["transformer_options"][attention.OVERRIDE] = override
    return clone


@pytest.fixture(scope="module")
def models():
    made = {}
    return lambda family: made.setdefault(family, tiny_dits.model(family))


ENDS = (("start_percent", 0.0), ("end_percent", 1.0))
CASES = {
    "two": {},
    "overlapping, outside everybody": {
        "mask": torch.stack([region((0, 7)), region((4, 11), (0, 5))]), "outside": "everybody",
    },
    "edges inside tokens": {"mask": torch.stack([region(LEFT).roll(9, 1), region(RIGHT).roll(-7, 0)])},
    "by half for a while": {"region_strength": 0.5, "start_percent": 0.3, "end_percent": 0.8},
}  # fmt: skip


@pytest.mark.parametrize("family", networks.FAMILIES)
@pytest.mark.parametrize("case", CASES)
def test_split_is_masked(models, family, case):
    model, given, settings = models(family), sides(family), {"mask": MASKS, **CASES[case]}
    window, strength = tuple(settings.get(*end) for end in ENDS), settings.get("region_strength", 1)
    allowed_by, more = people_at(settings["mask"], "outside" in settings), {"steps": 5 if window != (0, 1) else 2}
    theirs = masked(model, allowed_by, strength, window)
    expected, plain = (sample(family, (one, *given), 2, **more) for one in (theirs, model))
    assert relative(sample(family, bind(model, *given, **settings), 2, **more), expected) <= WHOLE_SAMPLING
    assert relative(plain, expected) > 1e-3


@pytest.mark.parametrize("family", networks.FAMILIES)
def test_an_area_has_its_part_of_the_regions(models, family):
    model, (positive, _), negative = models(family), sides(family), tiny_dits.conditioning(2)
    cells, ((text, options),) = 1 if family == networks.FLUX_2 else 2, positive
    half = [[text, {**options, "area": (7 * cells, 6 * cells, 0, 5 * cells)}]]
    expected = sample(family, (masked(model, people_at(MASKS[:, :, 80:])), half, negative))
    limited, half, _ = bind(model, half, half)
    assert relative(sample(family, (limited, half, negative)), expected) <= WHOLE_SAMPLING


@pytest.mark.parametrize("family", [networks.FLUX, networks.QWEN])
def test_odd_sides_are_padded_and_another_size_is_scaled(models, family):
    width, height = 184, 120  # 23 x 15 latent pixels, 12 x 8 tokens
    masks = torch.stack([region((0, 5), (1, 8), width, height), region((7, 12), (0, 8), width, height)])
    model, given = models(family), sides(family)
    expected = sample(family, (masked(model, people_at(masks)), *given), width=width, height=height)
    for scale in (1, 2):
        larger = masks.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
        found = sample(family, bind(model, *given, mask=larger), width=width, height=height)
        assert relative(found, expected) <= WHOLE_SAMPLING


def replaced(model, positive, negative):
    ((text, options),) = positive
    return model, [[text, {**options, "reference_latents": references(networks.FLUX)}]], negative


def longer(model, positive, negative):
    """A pack that puts tokens of its own behind the picture's."""
    clone = model.clone()
    clone.set_model_post_input_patch(
        lambda given: {**given, **{key: given[key].repeat(1, 2, 1) for key in ("img", "img_ids")}}
    )
    return clone, positive, negative


@pytest.mark.parametrize(("applied", "error", "words"), [
    (replaced, BadSetup, "Of 3 references of people, 3 are no longer"),
    (longer, TokensChanged, r"has made 252 tokens of the 126 that"),
])  # fmt: skip
def test_what_no_longer_fits_at_the_sampler_is_said(models, applied, error, words):
    with pytest.raises(error, match=words):
        sample(networks.FLUX, applied(*bind(models(networks.FLUX), *sides(networks.FLUX))))
