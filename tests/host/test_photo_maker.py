"""PhotoMaker in the real host: who is heard where, what is off, beside whom, and every misuse."""

from __future__ import annotations

from dataclasses import replace

import instant_id_run
import parts_made
import photo_maker_made as made
import pytest
import tiny_sd15
import tiny_sdxl
import torch
from figures import relative
from instant_id_run import HEIGHT, WIDTH, sample, text
from other_packs import around as wrapped
from pack.bridge import regional_text
from pack.bridge.unet import attend_with, attention_layers
from pack.core import errors
from pack.core.people import Cast, NotPlaced, PlacedCast
from pack.nodes.photo_maker.net import BadTrigger
from pack.nodes.photo_maker.nodes import ApplyPhotoMaker, load_photo_maker

ONE, TWO = "photo of a man img in a red hat", "a man img and a woman img, on the beach"
EVERYWHERE = torch.ones(1, HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def model():
    return tiny_sdxl.host_model(tiny_sdxl.diffusers_unet())


def halves(first=1, second=2, weight=1.0):
    slots = [person.slot for person in instant_id_run.halves().people]
    both = made.person(first, 2, slots[0]), made.person(second, 1, slots[1], weight)
    return PlacedCast(both, WIDTH, HEIGHT)


def apply(model, cast=None, words=None, version=1, negative=None, **changed):
    cast = cast or halves()
    words = words or (TWO if isinstance(cast, Cast) and len(cast.people) == 2 else ONE)
    given = {"clip": made.clip(), **made.DEFAULTS, **changed}
    return ApplyPhotoMaker.execute(
        model, negative=negative or [text(2)], photo_maker=made.loaded(version), cast=cast, text=words, **given
    ).args


def plain(words):
    return made.clip().encode_from_tokens_scheduled(made.clip().tokenize(words.replace(" img", "")))


def near(one, other, tolerance=2e-5):
    return relative(one, other) < tolerance


@pytest.mark.both_hosts
@pytest.mark.parametrize("version", [1, 2])
def test_in_every_layer_each_half_hears_its_own_person_alone(model, monkeypatch, version):
    seen, attended = [], regional_text.RegionalTextBatch.attended

    def watch(self, layer, before, q, k, v, extra):
        seen.append((q, k, v, attended(self, layer, before, q, k, v, extra), extra))
        return seen[-1][3]

    monkeypatch.setattr(regional_text.RegionalTextBatch, "attended", watch)
    sample(*apply(model, version=version, start_percent=0.0), steps=1)
    assert len(seen) == len(attention_layers(model))
    # <start> a man...; the first person has two photos, the second one.
    first, second = range(2, 2 + 2 * version), range(4 + 2 * version, 4 + 3 * version)
    for q, k, v, out, extra in seen:
        height, width = extra["activations_shape"][-2:]
        left, row = torch.arange(width).repeat(height) < width // 2, list(extra["cond_or_uncond"]).index(0)
        for inside, others in ((left, second), (~left, first)):
            heard = [n for n in range(77) if n not in others]
            alone = attend_with(extra)(q, k[:, heard], v[:, heard])
            assert torch.allclose(out[row][inside], alone[row][inside], atol=1e-5)


def test_heard_everywhere_is_no_region(model):
    """In one chunk and, behind a long text, in the second."""
    cast, far = Cast((made.person(1, 3),)), ONE.replace("photo of", "photo of many things " * 25)
    assert apply(model, cast, far)[1][0][0].shape[1] == 154
    for words in (ONE, far):
        sides = (apply(model, cast, words, start_percent=0.0, **given) for given in ({"mask": EVERYWHERE}, {}))
        assert near(*(sample(*one, steps=1) for one in sides))


@pytest.mark.parametrize(
    ("cast", "changed"),
    [(None, {"weight": 0.0}), (Cast((made.person(1, weight=0.0),)), {}), (Cast((made.person(1),)), {"weight": 0.0})],
)
def test_off_is_the_plain_words_and_the_model_as_it_was(model, cast, changed, caplog):
    switched_off, positive, negative = apply(model, cast, **changed)
    assert switched_off is model and "model_conds" not in negative[0][1]
    assert "The text is read without its trigger words" in caplog.text
    (given,), (expected,) = positive, plain(ONE if cast else TWO)
    assert torch.equal(given[0], expected[0]) and given[1].keys() == expected[1].keys()


def test_somebody_of_weight_zero_has_plain_words(model):
    """As a man beside a woman whom nobody knows."""
    one = PlacedCast(halves().people[:1], WIDTH, HEIGHT)
    absent = apply(model, halves(weight=0.0), TWO)
    alone = apply(model, one, TWO.replace("woman img", "woman"))
    assert torch.equal(sample(*absent), sample(*alone))
    assert not torch.equal(sample(*absent), sample(*apply(model)))


def test_each_class_word_becomes_its_own_person(model):
    """And no other token of the text anything else than it was."""
    who = [replace(one, identity=made.person(n).identity) for n, one in enumerate(halves().people, 1)]

    def said(*weights):
        people = tuple(replace(one, weight=weight) for one, weight in zip(who, weights, strict=True))
        return apply(model, PlacedCast(people, WIDTH, HEIGHT), start_percent=0.0)[1][-1][0][0]

    both, first, second, plain = said(1.0, 1.0), said(1.0, 0.0), said(0.0, 1.0), said(0.0, 0.0)
    man, woman = (both != plain).any(dim=1).nonzero()[:, 0].tolist()
    assert man < woman
    for one, place in ((first, man), (second, woman)):
        assert (one != plain).any(dim=1).nonzero()[:, 0].tolist() == [place] and torch.equal(one[place], both[place])


def test_the_lora_is_on_a_clone_and_off_at_zero_and_there_once(model, caplog):
    applied, bare = apply(model)[0], apply(model, lora_weight=0.0)[0]
    assert len(applied.patches) == len(made.loaded().lora) / 2
    assert not bare.patches and not model.patches
    assert apply(applied)[0].patches == applied.patches and "not added a second time" in caplog.text


def test_both_sides_go_through_the_unet_in_one_batch(model):
    rows = []

    def count(apply_model, given):
        rows.append(len(given["input"]))
        return apply_model(given["input"], given["timestep"], **given["c"])

    applied, *sides = apply(model, start_percent=0.5)
    sample(wrapped(applied, count), *sides, steps=3)
    assert rows == [2, 2, 2]


def test_swapped_people_and_later_ones_are_not_the_same_picture(model):
    settings = (halves(), 0.0), (halves(2, 1), 0.0), (halves(), 0.6)
    pictures = [sample(*apply(model, cast, version=2, start_percent=start)) for cast, start in settings]
    assert not any(near(pictures[i], pictures[j], 1e-3) for i, j in ((0, 1), (0, 2), (1, 2)))


def test_before_and_after_instant_id_is_the_same(sdxl):
    host, instant_id = sdxl
    cast = instant_id_run.halves()
    first, positive, negative = apply(host[0])
    last = instant_id_run.apply(host, instant_id, cast, positive, negative, first)
    other = instant_id_run.apply(host, instant_id, cast)[0]
    assert near(sample(*last), sample(apply(other)[0], *last[1:]))
    assert not near(sample(*last), sample(first, positive, negative), 1e-3)


def other_family(model):
    return apply(tiny_sd15.host_model(tiny_sd15.diffusers_unet(111)))


def other_layout(model):
    unet = tiny_sdxl.diffusers_unet(151, **tiny_sdxl.SSD_CHANGES)
    return apply(tiny_sdxl.host_model(unet, tiny_sdxl.SSD_CONFIG))


def without(model, **changed):
    person = made.person(1)
    return apply(model, Cast((replace(person, identity=replace(person.identity, **changed)),)), version=2)


MISUSE = {
    "a MODEL of another family": (other_family, errors.WrongBaseModel, "The model input"),
    "a UNet of another layout": (other_layout, errors.WrongBaseModel, "The LoRA in this file"),
    "the CLIP of another family": (
        lambda model: apply(model, clip=parts_made.clip()), errors.WrongBaseModel, "encoders l.*encoders g, l",
    ),
    "a negative of another family": (
        lambda model: apply(model, negative=[[torch.zeros(1, 77, 768), {}]]), errors.WrongBaseModel, "768",
    ),
    "a class word too few": (lambda model: apply(model, words=ONE), BadTrigger, "1 time for 2 people"),
    "several people without places": (
        lambda model: apply(model, Cast((made.person(1), made.person(2))), TWO), NotPlaced, "Apply PhotoMaker",
    ),
    "a person saved without portraits": (
        lambda model: without(model, portraits=None), errors.LikenessError, "PhotoMaker looks at pictures of the face",
    ),
}  # fmt: skip


EYE = "vision_model.embeddings.position_embedding.weight"


@pytest.mark.parametrize(
    ("key", "says", "changed"),
    [
        (EYE, "", lambda x: x[:0]),
        (EYE, "0-d", lambda x: x[0, 0]),
        ("visual_projection.weight", "", lambda x: torch.cat([x, x[:, :1]], 1)),
    ],
)
def test_damaged_files_are_named(tmp_path, key, says, changed):
    """Tensors of other sizes. The count of places that some save does no harm."""
    file = {name: dict(state) for name, state in made.file(1).items()}
    file["id_encoder"]["vision_model.embeddings.position_ids"] = torch.arange(257)[None]
    torch.save(file, tmp_path / "whole.bin")
    assert load_photo_maker(str(tmp_path / "whole.bin")).net.width == made.TEXT
    file["id_encoder"][key] = changed(file["id_encoder"][key])
    torch.save(file, tmp_path / "broken.bin")
    with pytest.raises(errors.UnsupportedCheckpoint, match=f"damaged PhotoMaker file .*{says}"):
        load_photo_maker(str(tmp_path / "broken.bin"))


@pytest.mark.parametrize("case", MISUSE)
def test_misuse_is_named(model, case):
    use, kind, says = MISUSE[case]
    with pytest.raises(kind, match=says):
        use(model)
