"""People as References by region and by weight, on a tiny network of each family of the host: exactly what a mask or a
bias would do."""

from dataclasses import replace
from functools import cache
from itertools import pairwise

import comfy.model_management
import marks
import pytest
import torch
import torch.nn.functional as functional
from drawn import picture
from families import RECORDS
from figures import WHOLE_SAMPLING, relative
from graphs import UNCONNECTED, ours
from marks import each
from pack.bridge.networks.attention import OVERRIDE
from pack.bridge.references.by_region import TokensChanged
from pack.bridge.references.record import REFERENCES, PeopleReferences, ReferenceLatent
from pack.bridge.sampling.conditioning import SamplerInputs
from pack.core import families
from pack.core.cast import Cast, PlacedCast, Slot
from pack.core.checks.errors import BadSetup
from pack.core.parts.parts import Part, Parts, make_part
from pack.core.persons.looks import look_of_parts, with_look
from pack.core.taking_part import present_in
from pack.nodes.references.limits import RegionLimit, read_by_region, regions_of_references
from pack.nodes.references.parts import OwnedPart
from pack.nodes.references.pictures import Reference
from peers import apply
from tiny import tiny_dits
from tiny.people_made import a_member
from tiny.tiny_dits import FLUX, FLUX_2, KREA_2, QWEN

pytestmark = marks.transformers
WIDTH, HEIGHT = 176, 112  # 11 x 7 tokens
COUNTS = "reference_image_num_tokens"
"""The host's key, among transformer_options, of the number of tokens of each reference: the last of the picture's."""
LEFT, RIGHT = (0, 5), (6, 11)  # columns of tokens; column 5 is nobody's


def region(columns, rows=(1, 7), width=WIDTH, height=HEIGHT):
    mask = torch.zeros(height, width)
    mask[16 * rows[0] : 16 * rows[1], 16 * columns[0] : 16 * columns[1]] = 1
    return mask


MASKS = torch.stack([region(LEFT), region(RIGHT)])
CAST = Cast((a_member(1), a_member(2)))


def weighted(*weights, people=CAST.people):
    return Cast(tuple(replace(one, weight=weight) for one, weight in zip(people, weights, strict=True)))


WHOSE = (0, 0, 1, None)  # Anna, another picture of Anna's, Ben, and a room: in the node's order


def references(family):
    sizes = [(48, 64), (80, 48), (64, 64), (32, 48)]
    return [tiny_dits.latent(family, *size, 10 + n) for n, size in enumerate(sizes)]


SHOWN = (2, 0, 1, 0)
"""Tokens of each reference in the texts of families whose encoder is shown the pictures."""


def shown(family):
    return SHOWN if tiny_dits.REFERENCES[family].sees else (0, 0, 0, 0)


ONES = (1.0, 1.0, 1.0, 1.0)


def kept_of(latents, keeps):
    """In each latent that keeps something: its left half, (1, h, w)."""
    return [(torch.arange(x.shape[-1]) < x.shape[-1] / 2).expand(1, *x.shape[-2:]).float() if keep else None
            for x, keep in zip(latents, keeps, strict=True)]  # fmt: skip


def sides(family, cast=CAST, region_numbers=WHOSE, strengths=ONES, boosts=ONES, keeps=(0, 0, 0, 0)):
    """Both sides with these references, of one record."""
    latents = references(family)
    of_latents = map(
        ReferenceLatent, latents, WHOSE, region_numbers, strengths, shown(family), boosts, kept_of(latents, keeps)
    )
    record = PeopleReferences(cast, tuple(of_latents))
    options = {REFERENCES: record}
    method = tiny_dits.REFERENCES[family].method
    if method:
        options["reference_latents_method"] = method
    return tiny_dits.conditioning(1, latents, **options), tiny_dits.conditioning(2, latents, tokens=5, **options)


DEFAULTS = {
    "region_strength": 1.0, "start_percent": 0.0, "end_percent": 1.0, "outside": "nobody", "mask": MASKS,
}  # fmt: skip


def bind(model, positive, negative, sources=(), **changed):
    """MODEL and both sides as the node gives them on, of conditioning that is made by hand: the text encoders and VAEs
    of three families are not needed for what is compared here."""
    settings = RegionLimit(**{**DEFAULTS, **changed})
    record = positive[0][1][REFERENCES]
    read_regions = regions_of_references(present_in(record.cast), settings, sources)
    limited = read_by_region(SamplerInputs(model, positive, negative), record, read_regions, None)
    return limited.model, limited.positive, limited.negative


def sample(family, applied, rows=1, width=WIDTH, height=HEIGHT, **more):
    return tiny_dits.sample(*applied, tiny_dits.latent(family, width, height, rows=rows), **more)


def row_by_row(family, applied, rows, **more):
    start = tiny_dits.latent(family, WIDTH, HEIGHT, rows=rows)
    return torch.cat([tiny_dits.sample(*applied, start[row : row + 1], **more) for row in range(rows)])


def people_at(masks, everybody=False):
    """(tokens, people) bool, row by row: who has at least half of each."""
    rows, columns = (range(0, side, 16) for side in masks.shape[1:])
    belongs = torch.stack([masks[:, y : y + 16, x : x + 16].mean((1, 2)) >= 0.5 for y in rows for x in columns])
    return belongs | ~belongs.any(1, keepdim=True) if everybody else belongs


TEXT_LAYERS = 3
"""Of the tiny network of Krea 2: the keys of an attention between the layers of one token of a text."""


def pieces(family, counts, picture, keys):
    """What stands in an attention, in its order: "text", "picture", the number of a reference, or its number in words,
    where the text shows it; and tokens of each.

    None for an attention in which no reference is. In Krea 2 the tokens of the text read each other before they meet
    the picture. counts: tokens of each reference."""
    text = keys - picture - sum(counts)
    refined = family == KREA_2 and text <= 0 and keys > TEXT_LAYERS
    if text <= 0 and not refined:
        return None
    texts = [*zip("0123", shown(family), strict=True), ("text", (keys if refined else text) - sum(shown(family)))]
    return texts if refined else [*texts, ("picture", picture), *enumerate(counts)]


def owner_of(piece, whose):
    return None if piece in ("text", "picture") else whose[int(piece)]


def boosted(attention, boosts):
    """(keys, keys), how many times who reads whom beside that: the picture the tokens of references."""
    of_keys = torch.cat(
        [torch.full((count,), boosts[piece] if isinstance(piece, int) else 1.0) for piece, count in attention]
    )
    rows = []
    for piece, count in attention:
        rows += [of_keys if piece == "picture" else torch.ones_like(of_keys)] * count
    return torch.stack(rows)


def left_out(attention, columns, counts, keeps):
    """The keys that nobody reads: tokens of the right half of references, (n,) each."""
    places = {}
    start = 0
    for piece, count in attention:
        places[piece] = start
        start += count
    if "picture" not in places:
        return []
    tokens = [torch.arange(count) for count in counts]
    return [places[n] + tokens[n][tokens[n] % columns[n] >= columns[n] / 2] for n, keep in enumerate(keeps) if keep]


def read(attention, by_region, weights, region_numbers=WHOSE, strengths=ONES, whose=WHOSE):
    """(keys, keys), the rule itself: how strongly who of these pieces reads whom.

    by_region: (tokens, regions) bool, whose references the picture reads; None where everybody reads everything.
    whose: each reference is."""
    blocks = []
    for query_piece, query_count in attention:
        row = []
        for key_piece, key_count in attention:
            block = torch.ones(query_count, key_count)
            owner = owner_of(key_piece, whose)
            is_own = owner is not None and owner_of(query_piece, whose) == owner
            if owner is not None and not is_own:
                block *= weights[owner] * strengths[int(key_piece)]
            if owner is not None and by_region is not None and isinstance(key_piece, int):
                if query_piece == "picture":
                    block *= by_region[:, region_numbers[key_piece]][:, None]
                elif not (is_own and isinstance(query_piece, int)):
                    block *= 0
            row.append(block)
        blocks.append(torch.cat(row, dim=1))
    return torch.cat(blocks)


def bias(q, k, reads, boost):
    """(B, heads, queries, keys) to add to logits: a token that reads a key by 0.3 gets 0.3 of an attention with this
    key and 0.7 of one without; by 1.3 it gets 0.3 of one with the key twice and 0.7 of one with it once.

    reads: (queries, keys). boost: (queries, keys), how many times each key is there."""
    scores = (q.double() @ k.double().transpose(-1, -2) / q.shape[-1] ** 0.5).exp() * boost
    kinds, kind_of = reads.unique(dim=1, return_inverse=True)  # keys that are read alike by all: (queries, kinds)
    masses = torch.stack([scores[..., kind_of == kind].sum(-1) for kind in range(kinds.shape[1])], -1)
    ends = sorted({0.0, 1.0, *(kinds - kinds.ceil() + 1).flatten().tolist()})
    got = torch.zeros_like(masses)  # of the output, by kind of keys
    for start, end in pairwise(ends):
        times = kinds.ceil() - 1 + (kinds - kinds.ceil() + 1 >= end)
        got += (end - start) * times * masses / (times * masses).sum(-1, keepdim=True)
    of_kinds = (got / masses).log()
    return of_kinds[..., kind_of].float() + boost.log()


def masked(
    family, model, by_region, strength=1.0, window=(0.0, 1.0), weights=(1.0, 1.0), latents=(), boosts=ONES,
    keeps=(0, 0, 0, 0), **of_parts,
):  # fmt: skip
    """The MODEL with an N x N mask or bias in every attention. latents: of the references, where they are others."""
    clone = model.clone()
    first, last = (model.get_model_object("model_sampling").percent_to_sigma(percent) for percent in window)
    cells = tiny_dits.cells_per_token(family)
    counts = [ref.shape[-1] // cells * (ref.shape[-2] // cells) for ref in latents or references(family)]

    def override(kernel, q, k, v, heads, mask=None, transformer_options=None, **kwargs):
        if not kwargs.get("skip_reshape"):
            q, k, v = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (q, k, v))
            kwargs["skip_reshape"] = True

        def attend(reads, boost):
            reads, boost = (matrix[: q.shape[2]].to(q.device) for matrix in (reads, boost))
            added = None if (reads == 1).all() and (boost == 1).all() else bias(q, k, reads, boost).to(q)
            added = mask if added is None else added
            return kernel(q, k, v, heads, mask=added, transformer_options=transformer_options, **kwargs)

        keys = k.shape[2]
        attention = None
        if transformer_options.get(COUNTS):
            attention = pieces(family, counts, len(by_region), keys)
        if attention is None:
            return attend(torch.ones(1), torch.ones(1))
        boost = boosted(attention, boosts)
        columns = [ref.shape[-1] // cells for ref in latents or references(family)]
        for unread in left_out(attention, columns, counts, keeps):
            boost[:, unread] = 1e-30
        share = strength if first >= float(transformer_options["sigmas"][0]) >= last else 0
        everywhere = attend(read(attention, None, weights, **of_parts), boost) if share < 1 else 0
        if share == 0:
            return everywhere
        by_regions = attend(read(attention, by_region, weights, **of_parts), boost)
        return (1 - share) * everywhere + share * by_regions

    clone.model_options["transformer_options"][OVERRIDE] = override
    return clone


@pytest.fixture(scope="module")
def models():
    return cache(tiny_dits.model)


ENDS = (("start_percent", 0.0), ("end_percent", 1.0))
CASES = {
    "two": {},
    "overlapping, outside everybody": {
        "mask": torch.stack([region((0, 7)), region((4, 11), (0, 5))]), "outside": "everybody",
    },
    "edges inside tokens": {"mask": torch.stack([region(LEFT).roll(9, 1), region(RIGHT).roll(-7, 0)])},
    "by half for a while": {"region_strength": 0.5, "start_percent": 0.3, "end_percent": 0.8},
    "by weight": {"region_strength": 0.0, "weights": (0.25, 1.0)},
    "by weight, region and boost, half of it": {
        "weights": (0.625, 1.375), "boosts": (4.0, 1.0, 2.3, 0.4), "keeps": (1, 0, 1, 0),
    },
    "by boost": {"region_strength": 0.0, "boosts": (0.2, 1.0, 9.7, 1.0)},
    "half of it": {"region_strength": 0.0, "keeps": (0, 1, 1, 0)},
    "by weight, by half for a while": {
        "region_strength": 0.5, "start_percent": 0.3, "end_percent": 0.8, "weights": (0.25, 1.5),
    },
}  # fmt: skip


@pytest.mark.parametrize("family", tiny_dits.REFERENCES)
@pytest.mark.parametrize(
    "case", each(CASES, ["overlapping, outside everybody", "by weight, region and boost, half of it"])
)
def test_split_is_masked(models, family, case):
    model = models(family)
    settings = {"mask": MASKS, **CASES[case]}
    weights = settings.pop("weights", (1.0, 1.0))
    own = {name: settings.pop(name) for name in ("boosts", "keeps") if name in settings}
    texts = sides(family, weighted(*weights), **own)
    window = tuple(settings.get(*end) for end in ENDS)
    strength = settings.get("region_strength", 1)
    by_region = people_at(settings["mask"], everybody="outside" in settings)
    steps = 5 if window != (0, 1) else 2
    with_masks = masked(family, model, by_region, strength, window, weights, **own)
    expected = row_by_row(family, (with_masks, *texts), 2, steps=steps)
    plain = row_by_row(family, (model, *texts), 2, steps=steps)
    latents = sample(family, bind(model, *texts, **settings), 2, steps=steps)
    assert relative(latents, expected) <= WHOLE_SAMPLING
    assert relative(plain, expected) > 1e-3


ROUNDING = 0.03
"""Of the largest latent value: what a sampling in bfloat16 may differ by from the same written otherwise. The networks
themselves are some 0.01 away from their float32."""


@pytest.mark.parametrize("family", each(tiny_dits.REFERENCES, [FLUX_2, QWEN]))
def test_in_bfloat16_a_weight_is_a_bias_too(family):
    model = tiny_dits.model(family)
    model.model.diffusion_model.to(torch.bfloat16)
    model.model.diffusion_model.dtype = torch.bfloat16
    weights = (0.625, 1.375)
    texts = sides(family, weighted(*weights))
    expected = sample(family, (masked(family, model, people_at(MASKS), weights=weights), *texts))
    assert relative(sample(family, bind(model, *texts)), expected) <= ROUNDING


JACKET = region((0, 6), (4, 7))
"""The lower half of Anna's region and where nobody else is: here her second picture is read, by half."""
OF_PARTS = {"region_numbers": (0, 2, 1, None), "strengths": (1.0, 0.5, 1.0, 1.0)}


@pytest.mark.parametrize("family", each([QWEN, KREA_2], [QWEN]))
def test_a_part_is_read_in_its_own_region_and_by_its_own_weight(models, family):
    model = models(family)
    sources = [Reference([], 1, person=0, part=OwnedPart(Part("jacket", torch.zeros(1, 1, 3), target=JACKET), 0, 0))]
    texts = sides(family, weighted(0.5, 1.25), **OF_PARTS)
    regions = people_at(torch.cat([MASKS, JACKET[None]]))
    expected = sample(family, (masked(family, model, regions, weights=(0.5, 1.25), **OF_PARTS), *texts))
    assert relative(sample(family, bind(model, *texts, sources)), expected) <= WHOLE_SAMPLING


JACKET_AND_ROOM = {"whose": WHOSE, **OF_PARTS}
TWO_LOOKS = {"whose": (0, 0, 1, 1), "region_numbers": (0, 2, 1, 3), "strengths": (1.0, 0.5, 1.0, 1.25)}
WORN = {
    "a part": (0, torch.cat([MASKS, JACKET[None]]), JACKET_AND_ROOM),
    "a look": (1, torch.cat([MASKS, MASKS[:1]]), JACKET_AND_ROOM),
    "two people's looks": (2, torch.cat([MASKS, MASKS]), TWO_LOOKS),
}
"""How many people wear a look, the regions in which references are read, and what the rule says of each reference."""


@pytest.mark.parametrize("case", WORN)
@pytest.mark.parametrize("family", each([FLUX, FLUX_2], [FLUX_2]))
def test_the_same_from_the_inputs_of_the_node_on(family, case, monkeypatch):
    """A look is read in all of its person's region. In float64, as float32 rounds to 1e-6."""
    monkeypatch.setattr(comfy.model_management, "in_training", True)  # the host's other kernel for rope has no float64
    dressed, masks, rule = WORN[case]
    record = RECORDS[family]
    clip, vae, model = record.clip(), record.vae(), record.model()
    model.model.diffusion_model.double()
    model.model.diffusion_model.dtype = torch.float64
    weights = (0.625, 1.375)
    people = [replace(one, slot=Slot((0.0, 0.0), mask=mask)) for one, mask in zip(CAST.people, MASKS, strict=True)]
    jacket, last = picture(5, 48, 80), picture(6, 80, 48)  # the last one is a room, or what Ben wears
    part = ours("LikenessPart", image=jacket, label="shoes", weight=0.5, target_mask=JACKET[None])
    garments = (make_part("shoes", jacket, None, 0.5, None), make_part("a hat", last, None, 1.25, None))
    wearing = list(people)
    for number in range(dressed):
        look = look_of_parts("new", Parts((garments[number],)))
        wearing[number] = replace(people[number], person=with_look(people[number].person, look))
    cast = PlacedCast(weighted(*weights, people=wearing).people, WIDTH, HEIGHT)
    left_half = (torch.arange(64) < 32).expand(2, 64, 64).float()
    positive, negative, text, bound = apply(
        "LikenessPeopleAsReferences", clip=clip, vae=vae, model=model, cast=cast, negative_prompt="rain",
        parts=UNCONNECTED if dressed else part, pictures=UNCONNECTED if dressed == 2 else last, size=128,
        reference_boost=3.0, portrait_masks=left_half,
    )  # fmt: skip
    anna, ben = (
        functional.interpolate(one.person.portraits.loose[:1].movedim(3, 1) / 255, (128, 128), mode="area")
        for one in people
    )
    latents = [vae.encode(scaled) for scaled in (anna.movedim(1, 3), jacket, ben.movedim(1, 3), last)]
    texts = []
    for words in (text, "rain"):
        ((context, options),) = clip.encode_from_tokens_scheduled(clip.tokenize(words))
        texts.append([[context, {**options, "reference_latents": latents}]])
    boosts = [1.0 if owner is None else 3.0 for owner in rule["whose"]]
    with_masks = masked(
        family, model, people_at(masks), weights=weights, latents=latents, boosts=boosts, keeps=(1, 0, 1, 0), **rule
    )
    expected = sample(family, (with_masks, *texts), steps=1)
    assert relative(sample(family, (bound, positive, negative), steps=1), expected) <= 1e-6


@pytest.mark.parametrize("family", tiny_dits.REFERENCES)
def test_an_area_has_its_part_of_the_regions(models, family):
    model = models(family)
    (positive, _) = sides(family)
    negative = tiny_dits.conditioning(2)
    cells = tiny_dits.cells_per_token(family)
    ((text, options),) = positive
    half = [[text, {**options, "area": (7 * cells, 6 * cells, 0, 5 * cells)}]]
    expected = sample(family, (masked(family, model, people_at(MASKS[:, :, 80:])), half, negative))
    limited, half, _ = bind(model, half, half)
    assert relative(sample(family, (limited, half, negative)), expected) <= WHOLE_SAMPLING


SEVERAL_CELLS = [family for family in tiny_dits.REFERENCES if tiny_dits.KNOWN and tiny_dits.cells_per_token(family) > 1]


@pytest.mark.parametrize("family", SEVERAL_CELLS)
def test_odd_sides_are_padded_and_another_size_is_scaled(models, family):
    width, height = 184, 120  # 23 x 15 latent pixels, 12 x 8 tokens
    masks = torch.stack([region((0, 5), (1, 8), width, height), region((7, 12), (0, 8), width, height)])
    model = models(family)
    texts = sides(family)
    expected = sample(family, (masked(family, model, people_at(masks)), *texts), width=width, height=height)
    for scale in (1, 2):
        larger = masks.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
        latents = sample(family, bind(model, *texts, mask=larger), width=width, height=height)
        assert relative(latents, expected) <= WHOLE_SAMPLING


def replaced(model, positive, negative):
    ((text, options),) = positive
    return model, [[text, {**options, "reference_latents": references(families.FLUX.name)}]], negative


def longer(model, positive, negative):
    """A pack that puts tokens of its own behind the picture's."""
    clone = model.clone()
    clone.set_model_post_input_patch(
        lambda arguments: {**arguments, **{key: arguments[key].repeat(1, 2, 1) for key in ("img", "img_ids")}}
    )
    return clone, positive, negative


@pytest.mark.parametrize(("applied", "error", "words"), [
    (replaced, BadSetup, "Of 3 references of people, 3 are no longer"),
    (longer, TokensChanged, r"has made 252 tokens of the 126 that"),
])  # fmt: skip
def test_what_no_longer_fits_at_the_sampler_is_said(models, applied, error, words):
    with pytest.raises(error, match=words):
        sample(families.FLUX.name, applied(*bind(models(families.FLUX.name), *sides(families.FLUX.name))))
