"""PhotoMaker in the real host: whose word is whose, what is off, its LoRA, and every misuse."""

from __future__ import annotations

from dataclasses import replace

import attack_values
import instant_id_run
import parts_made
import photo_maker_made as made
import pytest
import tiny_sdxl
import torch
from figures import relative
from instant_id_run import HEIGHT, WIDTH, sample
from other_packs import around as wrapped
from pack.core import errors
from pack.core.people import Cast, NotPlaced, PlacedCast
from pack.nodes.photo_maker.net import BadTrigger
from peers import apply, read

KIND = "LikenessApplyPhotoMaker"
ONE, TWO = "photo of a man img in a red hat", "a man img and a woman img, on the beach"


@pytest.fixture(scope="module")
def model():
    return tiny_sdxl.host_model(tiny_sdxl.diffusers_unet())


def halves(weight=1.0):
    slots = [person.slot for person in instant_id_run.halves().people]
    return PlacedCast((made.person(1, 2, slots[0]), made.person(2, 1, slots[1], weight)), WIDTH, HEIGHT)


def put(model, cast=None, text=None, **changed):
    cast = cast or halves()
    text = text or (TWO if len(cast.people) == 2 else ONE)
    return apply(KIND, model=model, cast=cast, text=text, **{"clip": made.clip(), **made.DEFAULTS, **changed})


def test_heard_everywhere_is_no_region_behind_a_long_text(model):
    """In the second chunk of it."""
    cast, far = Cast((made.person(1, 3),)), ONE.replace("photo of", "photo of many things " * 25)
    sides = [put(model, cast, far, start_percent=0.0, **given) for given in ({"mask": attack_values.mask()}, {})]
    assert sides[0][1][0][0].shape[1] == 154
    assert relative(*(sample(*one, steps=1) for one in sides)) < 2e-5


def test_off_is_the_plain_words_and_is_said(model, caplog):
    for cast, changed in ((None, {"weight": 0.0}), (Cast((made.person(1, weight=0.0),)), {})):
        switched_off, positive, negative = put(model, cast, **changed)
        assert switched_off is model and "model_conds" not in negative[0][1]
        assert "The text is read without its trigger words" in caplog.text
        plain = (ONE if cast else TWO).replace(" img", "")
        (given,), (expected,) = positive, made.clip().encode_from_tokens_scheduled(made.clip().tokenize(plain))
        assert torch.equal(given[0], expected[0]) and given[1].keys() == expected[1].keys()


def test_somebody_of_weight_zero_has_plain_words(model):
    """As a man beside a woman whom nobody knows."""
    one = PlacedCast(halves().people[:1], WIDTH, HEIGHT)
    absent = sample(*put(model, halves(weight=0.0)))
    assert torch.equal(absent, sample(*put(model, one, TWO.replace("woman img", "woman"))))
    assert not torch.equal(absent, sample(*put(model)))


def test_each_class_word_becomes_its_own_person(model):
    """And no other token of the text anything else than it was."""
    who = [replace(one, identity=made.person(n).identity) for n, one in enumerate(halves().people, 1)]

    def said(*weights):
        people = tuple(replace(one, weight=weight) for one, weight in zip(who, weights, strict=True))
        return put(model, PlacedCast(people, WIDTH, HEIGHT), start_percent=0.0)[1][-1][0][0]

    both, first, second, plain = said(1.0, 1.0), said(1.0, 0.0), said(0.0, 1.0), said(0.0, 0.0)
    man, woman = (both != plain).any(dim=1).nonzero()[:, 0].tolist()
    assert man < woman
    for one, place in ((first, man), (second, woman)):
        assert (one != plain).any(dim=1).nonzero()[:, 0].tolist() == [place] and torch.equal(one[place], both[place])


def test_the_lora_is_on_a_clone_and_off_at_zero_and_there_once(model, caplog):
    applied, bare = put(model)[0], put(model, lora_weight=0.0)[0]
    assert len(applied.patches) == len(made.loaded().lora) / 2
    assert not bare.patches and not model.patches
    assert put(applied)[0].patches == applied.patches and "not added a second time" in caplog.text


def test_both_sides_go_through_the_unet_in_one_batch(model):
    rows = []

    def count(apply_model, given):
        rows.append(len(given["input"]))
        return apply_model(given["input"], given["timestep"], **given["c"])

    applied, *sides = put(model, start_percent=0.5)
    sample(wrapped(applied, count), *sides, steps=3)
    assert rows == [2, 2, 2]


def other_layout(_):
    unet = tiny_sdxl.diffusers_unet(151, **tiny_sdxl.SSD_CHANGES)
    put(tiny_sdxl.host_model(unet, tiny_sdxl.SSD_CONFIG))


def without_portraits(model):
    person = made.person(1)
    cast = Cast((replace(person, identity=replace(person.identity, portraits=None)),))
    put(model, cast, photo_maker=made.loaded(2))


def damaged(key, changed):
    """Tensors of other sizes. The count of places that some save does no harm."""

    def use(_):
        file = {name: dict(state) for name, state in made.file(1).items()}
        file["id_encoder"]["vision_model.embeddings.position_ids"] = torch.arange(257)[None]
        assert read("photo_maker", file).net.width == made.TEXT
        file["id_encoder"][key] = changed(file["id_encoder"][key])
        read("photo_maker", file)

    return use


EYE = "vision_model.embeddings.position_embedding.weight"
MISUSE = {
    "a UNet of another layout": (other_layout, errors.WrongBaseModel, "The LoRA in this file"),
    "the CLIP of another family": (
        lambda model: put(model, clip=parts_made.clip()), errors.WrongBaseModel, "encoders l.*encoders g, l",
    ),
    "a class word too few": (lambda model: put(model, text=ONE), BadTrigger, "1 time for 2 people"),
    "several people without places": (
        lambda model: put(model, Cast((made.person(1), made.person(2)))), NotPlaced, "Apply PhotoMaker",
    ),
    "a person saved without portraits": (
        without_portraits, errors.LikenessError, "PhotoMaker looks at pictures of the face",
    ),
    "a file without places": (damaged(EYE, lambda x: x[:0]), errors.UnsupportedCheckpoint, "damaged PhotoMaker file "),
    "a number as places": (
        damaged(EYE, lambda x: x[0, 0]), errors.UnsupportedCheckpoint, "damaged PhotoMaker file .*0-d",
    ),
    "a wider projection": (
        damaged("visual_projection.weight", lambda x: torch.cat([x, x[:, :1]], 1)), errors.UnsupportedCheckpoint,
        "damaged PhotoMaker file ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MISUSE)
def test_misuse_is_named(model, case):
    use, kind, says = MISUSE[case]
    with pytest.raises(kind, match=says):
        use(model)
