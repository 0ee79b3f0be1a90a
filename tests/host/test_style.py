"""Style per Person in the real host: where it acts, beside other methods, order of runs, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import instant_id_made
import ip_adapter_made
import parts_made
import people_made
import pytest
import tiny_sdxl
import torch
from figures import relative
from instant_id_run import HEIGHT, WIDTH, halves, one, sample, text
from pack.bridge import unet
from pack.bridge.encode import WrongEncoder
from pack.bridge.injections import Injection
from pack.bridge.scopes import AdapterMismatch
from pack.core.errors import BadCast
from pack.core.people import NotPlaced, PlacedCast, RowCast
from pack.core.places.regions import BadRegion
from pack.nodes.instant_id.nodes import ApplyInstantID, load_instant_id
from pack.nodes.ip_adapter.file import load_ip_adapter
from pack.nodes.ip_adapter.net import UnknownBlocks
from pack.nodes.ip_adapter.nodes import ApplyIPAdapter
from pack.nodes.ip_adapter.style import ApplyStyle, NotForPictures
from seeded import instant_id_file, ip_adapter_file

DEFAULTS = {
    "who": "", "layers": "style", "weight": 1.0, "start_percent": 0.0, "end_percent": 1.0, "fit": "pad",
    "extent": "face", "margin": 0.0, "feather": 0,
}  # fmt: skip
TEXTS = ([text(1)], [text(2)])


@pytest.fixture(scope="module")
def model():
    return tiny_sdxl.host_model(tiny_sdxl.diffusers_unet())


@pytest.fixture(scope="module")
def loaded(model, tmp_path_factory):
    """An IP-Adapter plus for this model, and InstantID's file."""
    folder, widths = tmp_path_factory.mktemp("style"), [width for *_, width in unet.attention_layers(model)]
    torch.save(ip_adapter_file("ip-adapter-plus", widths, 2048), folder / "plus.bin")
    torch.save(instant_id_file(widths), folder / "ip-adapter.bin")
    plus = load_ip_adapter(str(folder / "plus.bin"), "by the file")
    return plus, load_instant_id(str(folder / "ip-adapter.bin"))


@pytest.fixture
def style(model, loaded):
    """style(seed of the picture, what was applied before, ...) -> (model, positive, negative)."""

    def apply(seed=1, before=None, images=None, vision=None, **changed):
        images = parts_made.picture(seed, 40, 28) if images is None else images
        given = before or (model, *TEXTS)
        return ApplyStyle.execute(
            *given, loaded[0], vision or parts_made.vit_h(), images, **{**DEFAULTS, **changed}
        ).args

    return apply


def faces(applied, loaded):
    """Two people by IP-Adapter, and by InstantID."""
    plus, instant_id = loaded
    people = tuple(people_made.person(n, slot=one.slot) for n, one in enumerate(halves().people))
    cast, vision = PlacedCast(people, WIDTH, HEIGHT), parts_made.vit_h()
    applied = ApplyIPAdapter.execute(*applied, plus, cast, vision, **ip_adapter_made.DEFAULTS).args
    settings = {**instant_id_made.DEFAULTS, "control_strength": 0.0}
    return ApplyInstantID.execute(*applied, instant_id, None, halves(), None, **settings).args


def test_where_it_acts(style, loaded):
    """In the layers of the style, in the region of who is meant; a mask of everything is no mask at all."""

    def carried(**changed):
        return style(**changed)[1][0][1]["model_conds"][Injection.key].cond[-1]

    right = carried(cast=halves(), who="right")
    heard = {n for n, pair in enumerate(right.layers) if pair is not None}
    # down 0 to 5, up 6 to 14: of the first level 6, 7; 8, 9; 10, 11.
    assert heard == {8, 9} and right.tokens.shape == (1, 16, 2048)
    assert right.regions.shape == (1, HEIGHT, WIDTH)
    assert not right.regions[..., : WIDTH // 2].any() and right.regions[..., WIDTH // 2 :].any()
    everybody = carried(cast=halves())
    assert torch.equal(everybody.regions[..., WIDTH // 2 :], right.regions[..., WIDTH // 2 :])
    assert everybody.regions[..., : WIDTH // 2].any()
    masks = torch.stack([person.slot.mask for person in halves().people])
    assert torch.equal(sample(*style(mask=masks)), sample(*style()))


def test_several_pictures_are_read_together(style):
    """The same one twice is that one; in another order they are the same style."""
    two = [parts_made.picture(n, 40, 28) for n in (1, 2)]
    once, twice = (sample(*style(images=torch.cat(shown))) for shown in (two[:1], two[:1] * 2))
    assert relative(once, twice) <= 1e-5
    both = [sample(*style(images=torch.cat(shown))) for shown in (two, two[::-1])]
    assert relative(*both) <= 1e-5 and relative(once, both[0]) > 1e-3


def test_two_styles_beside_faces_in_any_order(style, model, loaded):
    """InstantID's, and those of the IP-Adapter that the styles come from."""
    left, right = {"cast": halves(), "who": "left"}, {"cast": halves(), "who": "2", "layers": "all"}
    last = faces(style(2, style(1, **left), **right), loaded)
    first = style(1, style(2, faces((model, *TEXTS), loaded), **right), **left)
    together = sample(*last)
    assert relative(sample(*first), together) <= 1e-5
    for without in (style(1, **left), faces((model, *TEXTS), loaded)):
        assert relative(sample(*without), together) > 1e-3


def test_in_the_second_pass_those_who_are_meant_keep_their_style(model, style):
    plain = sample(model, *TEXTS, batch=2)
    rows = RowCast(halves().people, WIDTH, HEIGHT)
    together, whole = sample(*style(cast=rows, who="right"), batch=2), sample(*style(), batch=2)
    assert relative(together[:1], plain[:1]) <= 1e-5 and relative(together[1:], whole[1:]) <= 1e-5


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"cast": halves(), "who": "Zoe"}, BadCast, "no person of the cast is called 'Zoe'.*1 left, 2 right"),
        ({"cast": one()}, NotPlaced, "Style per Person needs a position for each person"),
        ({"who": "Anna"}, BadCast, "who is 'Anna', but no cast is connected"),
        ({"mask": torch.full((1, 8, 8), torch.nan)}, BadRegion, "region of the style cannot .* the mask is empty"),
        ({"cast": RowCast(halves().people, WIDTH, HEIGHT), "mask": torch.ones(1, 8, 8)}, BadRegion, "Crop Faces"),
        ({"vision": parts_made.clip_vision()}, WrongEncoder, "reads hidden states of width 1280. Connect CLIP ViT-H"),
    ],
)
def test_what_it_refuses(style, changed, error, said):
    with pytest.raises(error, match=said):
        style(**changed)


def test_files_that_read_faces_and_models_of_other_blocks(style, loaded, tmp_path):
    plus, *given = loaded[0], parts_made.vit_h(), parts_made.picture(1)
    faces_only = replace(plus, variant=replace(plus.variant, title="FaceID", embedding="normed"))
    with pytest.raises(NotForPictures, match=r"is FaceID, which reads .*plus_sdxl_vit-h.safetensors"):
        ApplyStyle.execute(*style(weight=0.0), faces_only, *given, **DEFAULTS)
    other = tiny_sdxl.host_model(tiny_sdxl.diffusers_unet(151, **tiny_sdxl.SSD_CHANGES), tiny_sdxl.SSD_CONFIG)
    with pytest.raises(UnknownBlocks, match=r"layers is 'style'.* blocks input 4, .*Set layers to 'all'"):
        style(before=(other, *TEXTS))
    everywhere = style(before=(other, *TEXTS), layers="all")[1][0][1]["model_conds"][Injection.key].cond[0]
    assert all(pair is not None for pair in everywhere.layers)
    torch.save(ip_adapter_file("ip-adapter", [64], 2048), tmp_path / "other.bin")
    other = load_ip_adapter(str(tmp_path / "other.bin"), "by the file")
    with pytest.raises(AdapterMismatch, match="has 1 cross-attention layers"):
        ApplyStyle.execute(*style(weight=0.0), other, *given, **DEFAULTS)
