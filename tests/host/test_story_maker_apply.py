"""Apply StoryMaker in the host: switched off, alone in its row, beside other methods, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import instant_id_run
import parts_made
import pytest
import tiny_sd15
import tiny_sdxl
import torch
from figures import relative
from instant_id_run import HEIGHT, WIDTH, sample, text
from pack.bridge import notes, unet
from pack.bridge.encode import WrongEncoder
from pack.bridge.injections import Injection
from pack.bridge.scopes import AdapterMismatch
from pack.core.errors import UnsupportedCheckpoint
from pack.core.identities import PortraitsMissing
from pack.core.people import Cast, PlacedCast, Slot
from pack.nodes.instant_id.nodes import load_instant_id
from pack.nodes.story_maker.net import TooManyPeople
from pack.nodes.story_maker.nodes import ApplyStoryMaker, load_story_maker
from people_made import person
from seeded import instant_id_file
from story_maker_made import DEFAULTS, body, story_maker_file


@pytest.fixture(scope="module")
def host():
    net = tiny_sdxl.diffusers_unet()
    return tiny_sdxl.host_model(net), tiny_sdxl.host_control_net(tiny_sdxl.diffusers_control_net(net, 172))


@pytest.fixture(scope="module")
def widths(host):
    return [width for *_, width in unet.attention_layers(host[0])]


@pytest.fixture(scope="module")
def story_maker(widths, tmp_path_factory):
    path = tmp_path_factory.mktemp("storymaker") / "mask.bin"
    torch.save(story_maker_file(widths, 32), path)
    return load_story_maker(str(path))


def half(left):
    mask = torch.zeros(HEIGHT, WIDTH)
    mask[:, : WIDTH // 2 - 8] = 1
    return mask if left else mask.flip(1)


def placed(*weights):
    people = (person(n, slot=Slot((0.0, 0.0), mask=half(n == 1)), weight=weight) for n, weight in enumerate(weights, 1))
    return PlacedCast(tuple(people), WIDTH, HEIGHT)


def cast(*seeds):
    return Cast(tuple(map(person, seeds)))


def apply(host, story_maker, who, sides=None, model=None, bodies=None, masks=None, vision=None, **changed):
    return ApplyStoryMaker.execute(
        model or host[0], *(sides or ([text(1)], [text(2)])), story_maker, who, vision or parts_made.clip_vision(),
        bodies, masks, **{**DEFAULTS, **changed},
    ).args  # fmt: skip


def carried(applied):
    return applied[1][0][1]["model_conds"][Injection.key].cond[0]


def test_weight_zero_equals_a_cast_without_that_person(host, story_maker):
    pictures, masks = (torch.cat(each) for each in zip(body(1), body(2), strict=True))
    one = sample(*apply(host, story_maker, placed(1.0), bodies=pictures[:1], masks=masks[:1]))
    both = sample(*apply(host, story_maker, placed(1.0, 0.0), bodies=pictures, masks=masks))
    assert torch.equal(one, both)
    loud, half = (
        torch.stack([values for _, values in carried(apply(host, story_maker, placed(weight, 1.0))).layers[:2]])
        for weight in (1.0, 0.5)
    )
    assert torch.equal(half[:, [0, 2]], loud[:, [0, 2]]), "the background and person 2"
    assert torch.equal(half[:, 1, :20], loud[:, 1, :20]), "the background beside person 1"
    assert torch.equal(half[:, 1, 20:], loud[:, 1, 20:] / 2) and loud[:, 1, 20:].any()


def test_beside_instant_id_in_both_orders(host, story_maker, widths, tmp_path):
    torch.save(instant_id_file(widths), tmp_path / "ip-adapter.bin")
    adapter, halves = load_instant_id(str(tmp_path / "ip-adapter.bin")), instant_id_run.halves()

    def faces(model, *sides):
        return instant_id_run.apply(host, adapter, halves, *sides, model)

    def people(model, *sides):
        return apply(host, story_maker, placed(1.0, 1.0), sides, model)

    bare = host[0], [text(1)], [text(2)]
    one, other = sample(*people(*faces(*bare))), sample(*faces(*people(*bare)))
    assert relative(one, other) < 1e-5
    for alone in (faces, people):
        assert relative(one, sample(*alone(*bare))) > 1e-3


def test_without_bodies_the_face_counts_and_with_them_both(host, story_maker):
    picture, mask = body(1)
    faces = [sample(*apply(host, story_maker, cast(n))) for n in (1, 2)]
    dressed = [sample(*apply(host, story_maker, cast(1), bodies=picture, masks=x)) for x in (mask, mask.flip(1), None)]
    pictures = [*faces, *dressed]
    assert all(relative(a, b) > 1e-4 for n, a in enumerate(pictures) for b in pictures[:n])


def test_more_people_than_numbers_only_by_region(host, story_maker):
    four = cast(1, 2, 3, 4)
    with pytest.raises(TooManyPeople, match=r"at most 3 people.*these are 4: person 1, .*Place Cast"):
        apply(host, story_maker, four)
    bands = torch.eye(4).repeat_interleave(WIDTH // 4, dim=1)[:, None].expand(-1, HEIGHT, -1)
    assert sample(*apply(host, story_maker, four, mask=bands)).isfinite().all()


def test_the_lora_is_added_once(host, story_maker, monkeypatch):
    told = []
    monkeypatch.setattr(notes, "tell", lambda _, words, *__: told.append(words))
    first = apply(host, story_maker, cast(1))
    both = apply(host, story_maker, cast(2), first[1:], first[0])
    without = apply(host, story_maker, cast(2), first[1:], first[0], lora_weight=0.0)
    assert ["already, at 0.8: not added" in words for words in told] == [False, False, True, False]
    assert torch.equal(sample(*both), sample(*without))


def test_people_from_before_pictures(host, story_maker):
    who = person(1)
    with pytest.raises(PortraitsMissing, match="StoryMaker looks at pictures"):
        apply(host, story_maker, Cast((replace(who, identity=replace(who.identity, portraits=None)),)))


def test_other_models_and_encoders(host, story_maker):
    sd15 = tiny_sd15.host_model(tiny_sd15.diffusers_unet(111))
    with pytest.raises(AdapterMismatch, match="StoryMaker file has"):
        apply(host, story_maker, cast(1), model=sd15)
    with pytest.raises(WrongEncoder, match="width 32"):
        apply(host, story_maker, cast(1), vision=parts_made.dinov2())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, None),
        ({"image_proj_model.bg_embed": None}, "an unknown|IP-Adapter"),
        ({"ip_adapter.0.to_q_lora.down.weight": None}, r"incomplete or damaged.*0\.to_q has a LoRA of shapes .*None"),
        ({"image_proj_model.bg_embed": torch.zeros(2, 20, 2048)}, "incomplete or damaged"),
        ({"image_proj_model.pos_embed": torch.zeros(0, 20, 2048)}, "incomplete or damaged"),
    ],
    ids=["whole", "no background", "half a LoRA", "background of others", "nobody"],
)
def test_wrong_files(widths, tmp_path, changed, said):
    state = {f"{part}.{key}": x for part, half in story_maker_file(widths, 32).items() for key, x in half.items()}
    state = {key: x for key, x in {**state, **changed}.items() if x is not None}
    torch.save(state, tmp_path / "mask.bin")
    if said is None:
        assert load_story_maker(str(tmp_path / "mask.bin")).width == 2048
        return
    with pytest.raises(UnsupportedCheckpoint, match=said):
        load_story_maker(str(tmp_path / "mask.bin"))
