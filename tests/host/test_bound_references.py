"""References by Region in the real host, on tiny FLUX.1, FLUX.2 and Qwen-Image: exactly what a mask would do."""

from __future__ import annotations

import pytest
import tiny_dits
import torch
from figures import relative
from pack.bridge import dit
from pack.bridge.references import REFERENCES, PeopleReferences
from pack.core.people import Cast
from pack.nodes.bind_references import BindReferences
from people_made import person

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
    settings = {"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0, "outside": "nobody", "extent": "body",
                "margin": 0.25, **changed}  # fmt: skip
    return BindReferences.execute(model, positive, negative, **settings, mask=mask).args


def sample(family, applied, rows=1, width=WIDTH, height=HEIGHT, **more):
    return tiny_dits.sample(*applied, tiny_dits.latent(family, width, height, rows=rows), **more)


def allowed(counts, whose, heard, keys):
    """(keys, keys) bool, by the rule, token by token. heard: per token of the picture the people it hears."""
    picture = len(heard)
    text = keys - picture - sum(counts)
    owners = [owner for owner, count in zip(whose, counts, strict=True) for _ in range(count)]
    asks = [set()] * text + heard + [{owner} - {None} for owner in owners]
    open_to = [None] * (text + picture) + owners
    return torch.tensor([[owner is None or owner in people for owner in open_to] for people in asks])


def masked(model, whose, heard):
    """The MODEL with an N x N mask in every attention."""
    clone = model.clone()
    kept = {}

    def override(kernel, q, k, v, heads, mask=None, transformer_options=None, **kwargs):
        counts = tuple(transformer_options.get(dit.COUNTS, ()))
        if counts:
            key = counts, k.shape[2]
            if key not in kept:
                barred = torch.zeros(key[1], key[1])
                barred[~allowed(counts, whose, heard, key[1])] = -torch.inf
                kept[key] = barred
            mine = kept[key][: q.shape[2]][None, None]
            mask = mine if mask is None else mask[:, None] + mine
        return kernel(q, k, v, heads, mask=mask, transformer_options=transformer_options, **kwargs)

    clone.model_options["transformer_options"][dit.OVERRIDE] = override
    return clone


def people_at(masks, everybody=False, side=16):
    """Per token, row by row, who hears there: more than half of it is theirs."""
    found = []
    for y in range(0, masks.shape[1], side):
        for x in range(0, masks.shape[2], side):
            here = {n for n, mask in enumerate(masks) if mask[y : y + side, x : x + side].mean() >= 0.5}
            found.append(here or ({0, 1} if everybody else set()))
    return found


CASES = {
    "two": {},
    "outside everybody": {"outside": "everybody"},
    "overlapping": {"mask": torch.stack([region((0, 7)), region((4, 11), (0, 5))])},
    "one everywhere": {"mask": torch.stack([torch.ones(HEIGHT, WIDTH), region(RIGHT)])},
    "edges inside tokens": {"mask": torch.stack([region(LEFT).roll(7, 1), region(RIGHT).roll(-7, 0)])},
}


@pytest.fixture(scope="module")
def models():
    made = {}
    return lambda family: made.setdefault(family, tiny_dits.model(family))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("family", dit.FAMILIES)
def test_split_is_masked(models, family, case):
    model, given = models(family), sides(family)
    settings = {"mask": MASKS, **CASES[case]}
    expected = sample(family, (masked(model, WHOSE, people_at(settings["mask"], "outside" in settings)), *given), 2)
    found = sample(family, bind(model, *given, **settings), 2)
    assert relative(found, expected) <= EXACT
    assert relative(sample(family, (model, *given), 2), expected) > 1e-3
