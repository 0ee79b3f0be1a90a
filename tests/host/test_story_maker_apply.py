"""Apply StoryMaker in the host: who has no weight, how many people, its LoRA, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import attack_values
import parts_made
import pytest
import tiny_sd15
import torch
from attack_graphs import UNCONNECTED, ours, sampled
from pack.bridge import notes
from pack.bridge.encode import WrongEncoder
from pack.bridge.injections import Injection
from pack.bridge.scopes import AdapterMismatch
from pack.core.errors import UnsupportedCheckpoint
from pack.core.identities import PortraitsMissing
from pack.core.people import Cast
from pack.nodes.story_maker.net import TooManyPeople
from peers import apply, read
from people_made import person
from promised import latents
from story_maker_made import body, story_maker_file

KIND = "LikenessApplyStoryMaker"
FACES = {"bodies": UNCONNECTED, "body_masks": UNCONNECTED}
WIDTH, HEIGHT = 128, 96


def cast(*seeds):
    return Cast(tuple(map(person, seeds)))


def layers(weight):
    """Values of the first two, (2, people and background, tokens, C)."""
    applied = apply(KIND, cast=attack_values.cast(weights=(weight, 1.0)), **FACES)
    return torch.stack([v for _, v in applied[1][0][1]["model_conds"][Injection.key].cond[0].layers[:2]])


def test_weight_zero_equals_a_cast_without_that_person():
    (picture, mask), (other, its) = body(1), body(2)
    both = {"bodies": torch.cat([picture, other]), "body_masks": torch.cat([mask, its])}
    alone = {"cast": attack_values.cast(attack_values.identity("Anna")), "bodies": picture, "body_masks": mask}
    absent = latents(sampled(ours(KIND, cast=attack_values.cast(weights=(1.0, 0.0)), **both)))
    assert torch.equal(absent, latents(sampled(ours(KIND, **alone))))
    loud, half = layers(1.0), layers(0.5)
    assert torch.equal(half[:, [0, 2]], loud[:, [0, 2]]), "the background and person 2"
    assert torch.equal(half[:, 1, :20], loud[:, 1, :20]), "the background beside person 1"
    assert torch.equal(half[:, 1, 20:], loud[:, 1, 20:] / 2) and loud[:, 1, 20:].any()


def test_more_people_than_numbers_only_by_region():
    four = cast(1, 2, 3, 4)
    with pytest.raises(TooManyPeople, match=r"at most 3 people.*these are 4: person 1, .*Place Cast"):
        apply(KIND, cast=four, **FACES)
    bands = torch.eye(4).repeat_interleave(WIDTH // 4, dim=1)[:, None].expand(-1, HEIGHT, -1)
    assert latents(sampled(ours(KIND, cast=four, mask=bands, **FACES))).isfinite().all()


def test_the_lora_is_added_once(monkeypatch):
    told = []
    monkeypatch.setattr(notes, "tell", lambda _, words, *__: told.append(words))
    first = ours(KIND, cast=cast(1), **FACES)
    second = {"model": first, "positive": first[1], "negative": first[2], "cast": cast(2), **FACES}
    both, without = (latents(sampled(ours(KIND, **second, **more))) for more in ({}, {"lora_weight": 0.0}))
    assert sum("already, at 0.8: not added" in words for words in told) == 1
    assert torch.equal(both, without)


def test_what_does_not_fit_is_named():
    who = person(1)
    sd15 = tiny_sd15.host_model(tiny_sd15.diffusers_unet(111))
    for error, said, changed in (
        (
            PortraitsMissing, "StoryMaker looks at pictures",
            {"cast": Cast((replace(who, identity=replace(who.identity, portraits=None)),))},
        ),
        (AdapterMismatch, "StoryMaker file has", {"model": sd15}),
        (WrongEncoder, "width 32", {"clip_vision": parts_made.dinov2()}),
    ):  # fmt: skip
        with pytest.raises(error, match=said):
            apply(KIND, **{"cast": cast(1), **FACES, **changed})


@pytest.mark.parametrize(
    ("key", "tensor", "said"),
    [
        ("ip_adapter.0.to_q_lora.down.weight", None, r"0\.to_q has a LoRA of shapes .*None"),
        ("image_proj_model.bg_embed", torch.zeros(2, 20, 2048), ""),
        ("image_proj_model.pos_embed", torch.zeros(0, 20, 2048), ""),
    ],
    ids=["half a LoRA", "background of others", "nobody"],
)
def test_damaged_files_are_named(key, tensor, said):
    """What the promise about wrong files does not try: half a pair, and other counts."""
    state = {f"{part}.{key}": x for part, half in story_maker_file([64], 32).items() for key, x in half.items()}
    with pytest.raises(UnsupportedCheckpoint, match=f"incomplete or damaged.*{said}"):
        read("story_maker", {name: x for name, x in {**state, key: tensor}.items() if x is not None})
