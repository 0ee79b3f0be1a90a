"""Beside packs that make rows or read texts of their own inside attention: our people are heard in these as well."""

from __future__ import annotations

import instant_id_run
import other_packs
import parts_made
import parts_run
import people_made
import pytest
import torch
from held_to import difference
from instant_id_run import HEIGHT, WIDTH, halves, text
from pack.bridge.carried import ConditioningLost
from pack.bridge.token_control_net import NotAControlNet
from pack.nodes.id_patch.nodes import ApplyIDPatch, BindIDTokens, IDPatchImage
from pack.nodes.person_prompts import PersonPrompts
from pack.nodes.share_parts.nodes import EVERY_STEP, SharePartsAttention
from spoken import Clip

METHODS = [
    "ID-Patch", "ID tokens by region", "ID-Patch and words", "words", "InstantID", "ID tokens by region, InstantID",
    "parts", "share parts",
]  # fmt: skip
CENTERS = [(32.0, 48.0), (96.0, 48.0)]


class Method:
    """One of ours on its own tiny network. model: without it; text: (seed, tokens) -> an entry of CONDITIONING."""

    size = WIDTH, HEIGHT

    def __init__(self, name, request, id_patch):
        self.name = name
        self.sdxl = not name.endswith("parts")
        if self.sdxl:
            self.host, self.instant_id = request.getfixturevalue("sdxl")
            self.model, self.id_patch = self.host[0], id_patch
        else:
            self.made, self.model = request.getfixturevalue("sd15")
            self.size = parts_made.WIDTH, parts_made.HEIGHT

    def text(self, seed, tokens=77):
        return text(seed, tokens) if self.sdxl else [*parts_run.text(seed)]

    def sides(self, model, positive, negative, **changed):
        """Our node on this MODEL."""
        if self.name.startswith("ID"):
            given = {"strength": 0.8, "start_percent": 0.0, "end_percent": 1.0, "id_start_percent": 0.0, **changed}
            cast = people_made.cast(CENTERS, WIDTH, HEIGHT)
            image = IDPatchImage.execute(self.id_patch, cast, "mean")[0]
            positive, negative = ApplyIDPatch.execute(
                positive, negative, self.host[1], self.id_patch, cast, image, photos="mean", **given
            ).args
            if "region" in self.name:
                masks = torch.stack([person.slot.mask for person in halves().people])
                model, positive, negative = BindIDTokens.execute(
                    model, positive, negative, cast, extent="body", margin=0.25, feather=0, mask=masks
                ).args
        if "words" in self.name:
            said = "left: smiling\nright: asleep"
            return PersonPrompts.execute(
                model, Clip(), positive, negative, halves(), said, strength=1.0, extent="body", margin=0.25, feather=0
            ).args
        if "InstantID" in self.name:
            return instant_id_run.apply(self.host, self.instant_id, halves(), positive, negative, model)
        if self.name == "parts":
            features = parts_run.encode(self.made, parts_made.parts(2))
            return parts_run.apply(model, features, positive, negative)
        if self.name == "share parts":
            return SharePartsAttention.execute(
                model, positive, negative, parts_made.parts(2), parts_made.clip(), parts_made.vae(), *self.size,
                strength=1.0, start_percent=0.0, end_percent=1.0, layers="all", reference=EVERY_STEP, seed=0,
            ).args  # fmt: skip
        return model, positive, negative

    def picture(self, model, positive, negative):
        if self.sdxl:
            return instant_id_run.sample(model, positive, negative, steps=1, batch=2)
        return parts_run.sample(model, positive, negative, steps=1, batch=2)

    def both_orders(self, pack, seed=1, tokens=77, **changed):
        """Our node behind theirs and in front of it."""
        sides = [self.text(seed, tokens)], [self.text(2)]
        model, *applied = self.sides(pack(self.model), *sides, **changed)
        yield self.picture(model, *applied)
        model, *applied = self.sides(self.model, *sides, **changed)
        yield self.picture(pack(model), *applied)


@pytest.fixture
def method(request, id_patch):
    return Method(request.param, request, id_patch)


def whole(method, first):
    """The first region, so much of every pixel, and the rest."""
    return torch.stack([torch.full(method.size[::-1], share) for share in (first, 1 - first)])


def regions(method, first=None):
    return other_packs.halves(*method.size) if first is None else whole(method, first)


def in_rows(method, text, first=None, interleaved=False):
    return lambda model: other_packs.couple(model, regions(method, first), [text], interleaved)


def in_place(method, text, first=None):
    own = method.text(1)[0]
    return lambda model: other_packs.couple_in_place(model, regions(method, first), [own, text], [method.text(2)[0]])


def in_rows_interleaved(method, text, first=None):
    return in_rows(method, text, first, True)


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.thorough)


FAST = [
    ("ID-Patch", in_rows),
    ("ID tokens by region", in_place),
    ("words", in_rows),
    ("InstantID", in_rows_interleaved),
]
PAIRS = [(method, couple) for method in METHODS for couple in (in_rows, in_rows_interleaved, in_place)]


@pytest.mark.parametrize(
    ("method", "couple"), [pair if pair in FAST else slow(*pair) for pair in PAIRS], indirect=["method"]
)
def test_regions_that_read_the_same_text_change_nothing(method, couple):
    expected = method.picture(*method.sides(method.model, [method.text(1)], [method.text(2)]))
    behind, before = method.both_orders(couple(method, method.text(1)[0]))
    assert torch.equal(behind, before)
    assert difference(behind, expected) <= 1e-5


EVERYTHING = [(method, tokens) for method in METHODS if "parts" not in method for tokens in (77, 154)]


@pytest.mark.parametrize(
    ("method", "tokens"),
    [pair if pair in (("words", 154), ("ID-Patch", 77)) else slow(*pair) for pair in EVERYTHING],
    indirect=["method"],
)
def test_a_region_of_everything_is_a_prompt_of_its_text(method, tokens):
    """So its rows read our people beside their own text, as loud as beside any."""
    off = {"start_percent": 1.0}  # the ControlNet of ID-Patch reads the sampler's text
    other = method.text(9, tokens)
    other[1] = method.text(1)[1]
    sides = [other], [method.text(2)]
    expected = method.picture(*method.sides(method.model, *sides, **off))
    for shown in method.both_orders(in_rows(method, other[0], 0.0), **off):
        assert difference(shown, expected) <= 1e-5


def test_id_tokens_that_a_region_holds_already_count_once(request, id_patch):
    """As when the texts of the regions are connected behind Apply ID-Patch."""
    method = Method("ID-Patch", request, id_patch)
    # 96 and 128 tokens, because the pack joins texts at their least common multiple.
    model, positive, negative = method.sides(method.model, [method.text(1, 96)], [method.text(2, 96)])
    expected = method.picture(model, positive, negative)
    coupled = in_rows(method, positive[0][0])(model)
    assert difference(method.picture(coupled, positive, negative), expected) <= 1e-5


def test_id_tokens_beside_a_text_of_keys_and_values_in_turns(request, id_patch):
    """Are both, as everywhere; words that are taken apart with the text cannot be put behind it."""
    method = Method("ID-Patch", request, id_patch)
    off, negative = {"start_percent": 1.0}, method.text(2)
    expected = method.picture(*method.sides(method.model, [method.text(1)], [negative], **off))
    twice = [[[x.repeat_interleave(2, dim=1), options]] for x, options in (method.text(1), negative)]
    model, *sides = method.sides(method.model, *twice, **off)
    assert difference(method.picture(other_packs.halved(model), *sides), expected) <= 1e-5
    model, *sides = Method("words", request, id_patch).sides(method.model, *twice)
    with pytest.raises(ConditioningLost, match=r"other_packs\) makes 77 tokens of the 154 of a text"):
        method.picture(other_packs.halved(model), *sides)


@pytest.mark.parametrize("pack", [other_packs.mixed_rows, other_packs.rows_of_its_own])
@pytest.mark.parametrize("method", ["InstantID", slow("words")], indirect=True)
def test_rows_that_nobody_knows_are_named(method, pack):
    """Where the tensors do not say of which row of ours a row was made."""
    with pytest.raises(ConditioningLost, match=r"makes 8 rows of 4 inside attention.* Bypass") as raised:
        next(method.both_orders(pack))
    assert ("other_packs" in str(raised.value)) == (pack is other_packs.mixed_rows)


@pytest.mark.parametrize("method", ["ID-Patch", *map(slow, METHODS[1:])], indirect=True)
def test_guidance_in_place_of_attention_is_the_same_in_both_orders(method):
    def pack(model):
        return other_packs.guided(model, method.text(2)[0])

    sides = [method.text(1)], [method.text(2)]
    behind, before = method.both_orders(pack)
    assert torch.equal(behind, before)
    for one_alone in (method.sides(method.model, *sides), (pack(method.model), *sides)):
        assert difference(behind, method.picture(*one_alone)) > 2e-5


def test_a_net_with_keyframes_of_another_pack(request, id_patch):
    """Works with ID-Patch and reads its text, whatever others tell nets to read; InstantID's has its own forward."""
    method = Method("ID-Patch", request, id_patch)
    plain = method.picture(*method.sides(method.model, [method.text(1)], [method.text(2)], strength=0.4))
    model, net = method.host
    method.host = model, other_packs.Keyframed(net, [1.0, 0.5])
    told = method.text(1)
    told[1]["cross_attn_controlnet"] = method.text(9)[0]
    assert difference(method.picture(*method.sides(model, [told], [method.text(2)])), plain) <= 1e-5
    faces = Method("InstantID", request, id_patch)
    faces.host = method.host
    with pytest.raises(NotAControlNet, match=r"keyframes \(its code: other_packs\)"):
        faces.sides(model, [method.text(1)], [method.text(2)])
