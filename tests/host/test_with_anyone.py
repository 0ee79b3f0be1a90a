"""Apply WithAnyone in the host: switched off, alone in its row, beside what others do to the same blocks, and what it
refuses."""

from __future__ import annotations

from typing import Any

import attack_values
import comfy.model_management
import pytest
import tiny_dits
import torch
from figures import relative
from pack.bridge.carried import ConditioningLost
from pack.bridge.dit import FLUX, FLUX_2, QWEN, blocks_of
from pack.core.errors import BadSize, UnsupportedCheckpoint, WrongBaseModel
from pack.core.people import Cast, NotPlaced, PlacedCast, RowCast
from pack.core.places.heard import REGIONS
from pack.nodes.with_anyone.nodes import ApplyWithAnyone, load_with_anyone
from people_made import person
from safetensors.torch import save_file
from with_anyone_made import DEFAULTS, HEIGHT, WIDTH, placed, with_anyone_file

pytestmark = tiny_dits.needed


@pytest.fixture(scope="module")
def with_anyone(tmp_path_factory):
    path = tmp_path_factory.mktemp("withanyone") / "withanyone.safetensors"
    save_file(with_anyone_file(), path)
    return load_with_anyone(str(path))


@pytest.fixture(scope="module")
def flux():
    return tiny_dits.model(FLUX)


def sides(*references):
    return tuple(tiny_dits.conditioning(n, references) for n in (1, 2))


def apply(model, with_anyone, cast, given=None, **changed: Any):
    settings = {**DEFAULTS, **changed}
    return ApplyWithAnyone.execute(model, *(given or sides()), with_anyone, cast, **settings).args


def sample(model, positive, negative, rows=1, start=None, **changed):
    start = tiny_dits.latent(FLUX, WIDTH, HEIGHT, rows=rows) if start is None else start
    return tiny_dits.sample(model, positive, negative, start, **changed)


def test_beside_others_at_the_same_blocks_and_references(flux, with_anyone):
    """Another pack's function in the slot, in front of ours or behind it, sees the block's own output or ours."""

    def theirs(args, extra):
        out = extra["original_block"](args)
        return {**out, "img": out["img"] * 1.5}

    def with_theirs(model, block):
        clone = model.clone()
        clone.set_model_patch_replace(theirs, "dit", *block)
        return clone

    reference = tiny_dits.latent(FLUX, 64, 48, 8)
    for block in blocks_of(flux)[1:3]:
        given = sides(reference)
        before = sample(*apply(with_theirs(flux, block), with_anyone, placed(2), given))
        model, *applied = apply(flux, with_anyone, placed(2), given)
        behind = sample(with_theirs(model, block), *applied)
        assert torch.equal(before, behind)
        alone = sample(with_theirs(flux, block), *given), sample(model, *applied)
        assert min(relative(before, one) for one in alone) > 1e-2


def test_two_nodes_in_both_orders_and_an_entry_of_its_own(flux, with_anyone):
    first, second = placed(1), PlacedCast(placed(2).people[1:], WIDTH, HEIGHT)

    def both(a, b):
        model, *given = apply(flux, with_anyone, a)
        return apply(model, with_anyone, b, given)

    one, other = sample(*both(first, second)), sample(*both(second, first))
    assert relative(one, other) < 1e-5
    assert min(relative(one, sample(*apply(flux, with_anyone, who))) for who in (first, second)) > 1e-2
    # As the prompt of an area: the network is given that part of the picture and of the boxes.
    model, positive, negative = apply(flux, with_anyone, first)
    whole = [[positive[0][0], {**positive[0][1], "area": (HEIGHT // 8, WIDTH // 8, 0, 0), "set_area_to_bounds": False}]]
    assert relative(sample(model, whole, negative), sample(model, positive, negative)) < 1e-5
    far = [[positive[0][0], {**positive[0][1], "area": (HEIGHT // 8, 4, 0, WIDTH // 8 - 4)}]]
    bare = [[far[0][0], {key: x for key, x in far[0][1].items() if key != "model_conds"}]]
    ends = [sample(model, [*negative, *one], negative) for one in (far, bare)]
    assert relative(*ends) < 1e-5, "nobody's box lies in that area"


@pytest.mark.parametrize("way", ["rows one by one", "the last row first", "every row twice", "what it knows"])
def test_functions_of_others_around_the_model(flux, with_anyone, way):
    """That reorder the rows, or drop what they do not know."""
    rows = placed(2, RowCast)
    applied = apply(flux, with_anyone, rows)
    model = attack_values.wrapped(applied[0], way)
    if way == "what it knows":
        with pytest.raises(ConditioningLost, match="attack_values"):
            sample(model, *applied[1:], rows=2)
    else:
        assert relative(sample(model, *applied[1:], rows=2), sample(*applied, rows=2)) < 1e-5


def test_regions_and_masks(flux, with_anyone):
    halves = torch.zeros(2, HEIGHT, WIDTH)
    halves[0, :, : WIDTH // 2], halves[1, :, WIDTH // 2 :] = 1, 1
    boxes, around, wide, masked = (
        sample(*apply(flux, with_anyone, placed(2), **changed))
        for changed in (
            {}, {"acts_in": REGIONS}, {"acts_in": REGIONS, "region_margin": 0.2}, {"acts_in": REGIONS, "mask": halves},
        )
    )  # fmt: skip
    pictures = [boxes, around, wide, masked]
    assert all(relative(a, b) > 1e-3 for n, a in enumerate(pictures) for b in pictures[:n])
    # One person without a place in all of the picture, as without boxes in the released code.
    alone = sample(*apply(flux, with_anyone, Cast((person(1),)), acts_in=REGIONS))
    assert relative(alone, sample(*apply(flux, with_anyone, placed(1), acts_in=REGIONS))) == 0


def test_no_weights_of_the_adapter_are_needed_while_sampling(flux, with_anyone):
    applied = apply(flux, with_anyone, placed(2))
    wanted = sample(*applied)
    comfy.model_management.unload_all_models()
    kept = {name: x.clone() for name, x in with_anyone.net.state_dict().items()}
    try:
        for x in with_anyone.net.parameters():
            x.fill_(torch.nan)
        assert torch.equal(sample(*applied), wanted)
    finally:
        with_anyone.net.load_state_dict(kept)


REFUSED = {
    "FLUX.2": (lambda: {"model": tiny_dits.model(FLUX_2)}, WrongBaseModel, r"FLUX\.2, but FLUX.1 is needed"),
    "Qwen": (lambda: {"model": tiny_dits.model(QWEN)}, WrongBaseModel, "Qwen-Image, but FLUX.1 is needed"),
    "fewer blocks": (
        lambda: {"model": tiny_dits.model(FLUX, depth=1)}, WrongBaseModel, "3 blocks of width 64.*4 blocks",
    ),
    "no places": (lambda: {"cast": Cast((person(1),))}, NotPlaced, "acts_in at face boxes"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_sentence(flux, with_anyone, case):
    changed, kind, words = REFUSED[case]
    with pytest.raises(kind, match=words):
        apply(**{"model": flux, "with_anyone": with_anyone, "cast": placed(1), **changed()})


def test_refused_when_it_runs(flux, with_anyone):
    applied = apply(flux, with_anyone, placed(1))
    with pytest.raises(BadSize, match="136x104"):
        sample(*applied, start=tiny_dits.latent(FLUX, 128, 128))


def test_a_spoiled_file(tmp_path):
    """A layer in its middle is as wide as no other."""
    save_file({**with_anyone_file(), "arcface_in_arc.3.weight": torch.zeros(500, 256)}, tmp_path / "x.safetensors")
    with pytest.raises(UnsupportedCheckpoint, match="incomplete or damaged WithAnyone file"):
        load_with_anyone(str(tmp_path / "x.safetensors"))
