"""Style per Person in the real host: where it acts, several pictures, rows, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import attack_values
import parts_made
import pytest
import tiny_sdxl
import torch
from figures import relative
from instant_id_run import HEIGHT, WIDTH, halves, one, sample, text
from pack.bridge.encode import WrongEncoder
from pack.bridge.injections import Injection
from pack.bridge.scopes import AdapterMismatch
from pack.core.errors import BadCast
from pack.core.people import NotPlaced, RowCast
from pack.core.places.regions import BadRegion
from pack.nodes.ip_adapter.net import UnknownBlocks
from pack.nodes.ip_adapter.style import NotForPictures
from peers import apply, read
from seeded import ip_adapter_file

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


def test_several_pictures_are_read_together(style):
    """The same one twice is that one; in another order they are the same style."""
    once, twice, both, turned = (sample(*style(*seeds)) for seeds in ((1,), (1, 1), (1, 2), (2, 1)))
    assert relative(once, twice) <= 1e-5 and relative(both, turned) <= 1e-5 and relative(once, both) > 1e-3


def test_in_the_second_pass_those_who_are_meant_keep_their_style(model, style):
    plain = sample(model, [text(1)], [text(2)], batch=2)
    together, whole = sample(*style(cast=ROWS, who="right"), batch=2), sample(*style(), batch=2)
    assert relative(together[:1], plain[:1]) <= 1e-5 and relative(together[1:], whole[1:]) <= 1e-5


def of_faces():
    """FaceID's file."""
    plus = attack_values.loaded("ip_adapter_plus")
    return replace(plus, variant=replace(plus.variant, title="FaceID", embedding="normed"))


def ssd():
    return tiny_sdxl.host_model(tiny_sdxl.diffusers_unet(151, **tiny_sdxl.SSD_CHANGES), tiny_sdxl.SSD_CONFIG)


REFUSED = [
    (
        lambda: {"cast": halves(), "who": "Zoe"}, BadCast,
        "no person of the cast is called 'Zoe'.*1 left, 2 right",
    ),
    (lambda: {"cast": one()}, NotPlaced, "Style per Person needs a position for each person"),
    (lambda: {"who": "Anna"}, BadCast, "who is 'Anna', but no cast is connected"),
    (lambda: {"mask": 0 * attack_values.mask()}, BadRegion, "region of the style cannot .* the mask is empty"),
    (lambda: {"cast": ROWS, "mask": torch.ones(1, 8, 8)}, BadRegion, "Crop Faces"),
    (
        lambda: {"clip_vision": parts_made.clip_vision()}, WrongEncoder,
        "reads hidden states of width 1280. Connect CLIP ViT-H",
    ),
    (lambda: {"ip_adapter": of_faces()}, NotForPictures, r"is FaceID, which reads .*plus_sdxl_vit-h.safetensors"),
    (lambda: {"model": ssd()}, UnknownBlocks, r"layers is 'style'.* blocks input 4, .*Set layers to 'all'"),
    (
        lambda: {"ip_adapter": read("ip_adapter", ip_adapter_file("plain", [64], 2048))}, AdapterMismatch,
        "has 1 cross-attention layers",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("changed", "error", "said"), REFUSED)
def test_what_it_refuses(style, changed, error, said):
    with pytest.raises(error, match=said):
        style(**changed())


def test_all_layers_are_those_of_any_model(style):
    model = ssd()
    made_for_it = attack_values.loaded("ip_adapter_plus", model)
    assert None not in carried(style(model=model, ip_adapter=made_for_it, layers="all")).layers
