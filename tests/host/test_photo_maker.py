"""PhotoMaker in the real host: whose word is whose, and its LoRA."""

from dataclasses import replace

import instant_id_run
import photo_maker_made as made
import torch
from instant_id_run import HEIGHT, WIDTH
from pack.core.cast import PlacedCast
from peers import apply

TEXT = "a man img and a woman img, on the beach"


def halves():
    slots = [member.slot for member in instant_id_run.halves().people]
    return PlacedCast((made.a_member(1, 2, slots[0]), made.a_member(2, 1, slots[1])), WIDTH, HEIGHT)


def put(model, cast=None, **changed):
    inputs = {"cast": cast or halves(), "text": TEXT, "clip": made.clip(), **made.DEFAULTS, **changed}
    return apply("LikenessApplyPhotoMaker", model=model, **inputs)


def test_each_class_word_becomes_its_own_person(model):
    """And no other token of the text anything else than it was."""
    members = [replace(member, person=made.a_member(n).person) for n, member in enumerate(halves().people, 1)]

    def text_with_weights(*weights):
        people = tuple(replace(member, weight=weight) for member, weight in zip(members, weights, strict=True))
        return put(model, PlacedCast(people, WIDTH, HEIGHT), start_percent=0.0)[1][-1][0][0]

    text_of_both = text_with_weights(1.0, 1.0)
    text_of_first = text_with_weights(1.0, 0.0)
    text_of_second = text_with_weights(0.0, 1.0)
    text_of_nobody = text_with_weights(0.0, 0.0)
    man, woman = (text_of_both != text_of_nobody).any(dim=1).nonzero()[:, 0].tolist()
    assert man < woman
    for text_of_one, place in ((text_of_first, man), (text_of_second, woman)):
        assert (text_of_one != text_of_nobody).any(dim=1).nonzero()[:, 0].tolist() == [place]
        assert torch.equal(text_of_one[place], text_of_both[place])


def test_the_lora_is_on_a_clone_and_off_at_zero_and_there_once(model, caplog):
    applied, bare = put(model)[0], put(model, lora_weight=0.0)[0]
    assert len(applied.patches) == len(made.loaded().lora) / 2
    assert not bare.patches
    assert not model.patches
    assert put(applied)[0].patches == applied.patches
    assert "not added a second time" in caplog.text
