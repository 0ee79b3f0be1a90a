"""Apply WithAnyone in the host: beside what others do to the same blocks, areas, and what it refuses."""

from __future__ import annotations

import attack_values
import comfy.model_management
import pytest
import tiny_dits
import torch
from figures import relative
from pack.bridge.carried import ConditioningLost
from pack.bridge.dit import FLUX, FLUX_2, blocks_of
from pack.core.errors import BadSize, UnsupportedCheckpoint, WrongBaseModel
from pack.core.people import Cast, NotPlaced, PlacedCast, RowCast
from peers import apply, read
from people_made import person
from with_anyone_made import HEIGHT, WIDTH, placed, with_anyone_file

pytestmark = tiny_dits.needed


@pytest.fixture(scope="module")
def flux():
    return tiny_dits.model(FLUX)


def sides(*references):
    return tuple(tiny_dits.conditioning(n, references) for n in (1, 2))


def put(model, cast, given=None, **changed):
    positive, negative = given or sides()
    return apply("LikenessApplyWithAnyone", model=model, positive=positive, negative=negative, cast=cast, **changed)


def sample(model, positive, negative, rows=1, size=(WIDTH, HEIGHT)):
    return tiny_dits.sample(model, positive, negative, tiny_dits.latent(FLUX, *size, rows=rows))


def test_beside_others_at_the_same_blocks_and_references(flux):
    """Another pack's function in the slot, in front of ours or behind it, sees the block's own output or ours."""

    def theirs(args, extra):
        out = extra["original_block"](args)
        return {**out, "img": out["img"] * 1.5}

    def with_theirs(model, block):
        clone = model.clone()
        clone.set_model_patch_replace(theirs, "dit", *block)
        return clone

    given = sides(tiny_dits.latent(FLUX, 64, 48, 8))
    model, *applied = put(flux, placed(2), given)
    for block in blocks_of(flux)[1:3]:
        before = sample(*put(with_theirs(flux, block), placed(2), given))
        assert torch.equal(before, sample(with_theirs(model, block), *applied))
        alone = sample(with_theirs(flux, block), *given), sample(model, *applied)
        assert min(relative(before, one) for one in alone) > 1e-2


def test_two_nodes_in_both_orders_and_an_entry_of_its_own(flux):
    first, second = placed(1), PlacedCast(placed(2).people[1:], WIDTH, HEIGHT)

    def both(a, b):
        model, *given = put(flux, a)
        return put(model, b, given)

    one, other = sample(*both(first, second)), sample(*both(second, first))
    assert relative(one, other) < 1e-5
    assert min(relative(one, sample(*put(flux, who))) for who in (first, second)) > 1e-2
    # As the prompt of an area: the network is given that part of the picture and of the boxes.
    model, positive, negative = put(flux, first)
    whole = [[positive[0][0], {**positive[0][1], "area": (HEIGHT // 8, WIDTH // 8, 0, 0), "set_area_to_bounds": False}]]
    assert relative(sample(model, whole, negative), sample(model, positive, negative)) < 1e-5
    far = [[positive[0][0], {**positive[0][1], "area": (HEIGHT // 8, 4, 0, WIDTH // 8 - 4)}]]
    bare = [[far[0][0], {key: x for key, x in far[0][1].items() if key != "model_conds"}]]
    ends = [sample(model, [*negative, *one], negative) for one in (far, bare)]
    assert relative(*ends) < 1e-5, "nobody's box lies in that area"


def test_functions_of_others_around_the_model(flux):
    """That reorder rows of people with a row each, or drop what they do not know."""
    model, *given = put(flux, placed(2, RowCast))
    moved = sample(attack_values.wrapped(model, "the last row first"), *given, rows=2)
    assert relative(moved, sample(model, *given, rows=2)) < 1e-5
    with pytest.raises(ConditioningLost, match="attack_values"):
        sample(attack_values.wrapped(model, "what it knows"), *given, rows=2)


def test_no_weights_of_the_adapter_are_needed_while_sampling(flux):
    loaded = read("with_anyone", with_anyone_file())
    applied = put(flux, placed(2), with_anyone=loaded)
    wanted = sample(*applied)
    comfy.model_management.unload_all_models()
    for x in loaded.net.parameters():
        x.fill_(torch.nan)
    assert torch.equal(sample(*applied), wanted)


REFUSED = {
    "FLUX.2": (lambda flux: put(tiny_dits.model(FLUX_2), placed(1)), WrongBaseModel, r"FLUX\.2, but FLUX.1 is needed"),
    "fewer blocks": (
        lambda flux: put(tiny_dits.model(FLUX, depth=1), placed(1)), WrongBaseModel, "3 blocks of width 64.*4 blocks",
    ),
    "no places": (
        lambda flux: put(flux, Cast((person(1),)), acts_in="face boxes"), NotPlaced, "acts_in at face boxes",
    ),
    "another size": (lambda flux: sample(*put(flux, placed(1)), size=(128, 128)), BadSize, "136x104"),
    "a layer in the middle of a file is as wide as no other": (
        lambda _: read("with_anyone", {**with_anyone_file(), "arcface_in_arc.3.weight": torch.zeros(500, 256)}),
        UnsupportedCheckpoint, "incomplete or damaged WithAnyone file",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_sentence(flux, case):
    use, kind, words = REFUSED[case]
    with pytest.raises(kind, match=words):
        use(flux)
