"""Style per Person in the real host: where it acts, several pictures, rows, and what it refuses."""

from __future__ import annotations

import parts_made
import pytest
import tiny_sdxl
import torch
from figures import relative
from instant_id_run import HEIGHT, WIDTH, halves, sample, text
from pack.bridge.injections import Injection
from pack.core.people import RowCast
from peers import apply

ROWS = RowCast(halves().people, WIDTH, HEIGHT)


@pytest.fixture(scope="module")
def model():
    return tiny_sdxl.host_model(tiny_sdxl.diffusers_unet())


@pytest.fixture
def style(model):
    """style(pictures, ...) -> (model, positive, negative)."""

    def put(*seeds, **changed):
        images = torch.cat([parts_made.picture(seed, 40, 28) for seed in seeds or (1,)])
        given = {"model": model, "positive": [text(1)], "negative": [text(2)], "images": images, "cast": None}
        where = {"who": "", "extent": "face", "margin": 0.0, "feather": 0}
        return apply("LikenessApplyStyle", **{**given, **where, **changed})

    return put


def carried(applied):
    return applied[1][0][1]["model_conds"][Injection.key].cond[-1]


def test_where_it_acts(style):
    """In the layers of the style, in the region of who is meant."""
    right, everybody = (carried(style(cast=halves(), who=who)) for who in ("right", ""))
    heard = {n for n, pair in enumerate(right.layers) if pair is not None}
    # down 0 to 5, up 6 to 14: of the first level 6, 7; 8, 9; 10, 11.
    assert heard == {8, 9} and right.tokens.shape == (1, 16, 2048)
    assert right.regions.shape == (1, HEIGHT, WIDTH)
    assert not right.regions[..., : WIDTH // 2].any() and right.regions[..., WIDTH // 2 :].any()
    assert torch.equal(everybody.regions[..., WIDTH // 2 :], right.regions[..., WIDTH // 2 :])
    assert everybody.regions[..., : WIDTH // 2].any()


def test_in_the_second_pass_those_who_are_meant_keep_their_style(model, style):
    plain = sample(model, [text(1)], [text(2)], batch=2)
    together, whole = sample(*style(cast=ROWS, who="right"), batch=2), sample(*style(), batch=2)
    assert relative(together[:1], plain[:1]) <= 1e-5 and relative(together[1:], whole[1:]) <= 1e-5
