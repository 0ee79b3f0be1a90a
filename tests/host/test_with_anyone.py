"""Apply WithAnyone in the host: beside what others do to the same blocks, areas, and what it refuses."""

from __future__ import annotations

import attack_values
import comfy.model_management
import pytest
import tiny_dits
import torch
from figures import relative
from pack.bridge.carried import ConditioningLost
from pack.bridge.dit import FLUX
from pack.core.people import PlacedCast, RowCast
from peers import apply, read
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
