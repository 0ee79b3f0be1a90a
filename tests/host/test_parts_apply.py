"""Parts2Whole from pictures to latents: order of runs, regions, batches, heat maps, and every way to misuse it."""

from __future__ import annotations

import dataclasses
import logging

import comfy.model_management
import comfy.utils
import parts_made
import pytest
import torch
from figures import relative
from pack.bridge.self_attention.shared_parts import SharedParts, Watch
from pack.core import errors
from pack.core.parts.parts import LABELS, BadPart, Parts
from pack.nodes.parts import Part
from pack.nodes.parts2whole import features as parts2whole
from parts_made import HEIGHT, WIDTH, picture
from parts_run import POSE, apply, encode, sample, text

HALF = torch.zeros(1, HEIGHT, WIDTH)
HALF[..., : WIDTH // 2] = 1


@pytest.fixture(scope="module")
def made(sd15):
    return sd15[0]


@pytest.fixture(scope="module")
def model(sd15):
    return sd15[1]


@pytest.fixture(scope="module")
def features(made):
    return {count: encode(made, parts_made.parts(count)) for count in (1, 3)}


def test_strength_and_weight_go_from_nothing_to_everything(made, model, features):
    """Small strengths come close to no parts at all, and every step further away."""
    one, two = parts_made.parts(2).parts
    absent = Parts((one, dataclasses.replace(two, weight=0.0)))
    assert torch.equal(*(sample(*apply(model, encode(made, parts)), steps=3) for parts in (absent, Parts((one,)))))
    plain = sample(model, [text(1)], [text(2)], steps=3)
    runs = [sample(*apply(model, features[3], strength=s, pose=None), steps=3) for s in (1e-6, 0.25, 0.5, 1.0)]
    distances = [relative(run, plain) for run in runs]
    assert distances[0] < 1e-3 and distances == sorted(distances)


def test_encoding_moves_the_bar_and_can_be_cancelled(made, monkeypatch):
    bars = []
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", lambda value, total, *_, **__: bars.append((value, total)))
    features = encode(made, parts_made.parts(3))
    assert bars[0] == (1, 3) and bars[-1] == (3, 3) and features.labels == LABELS[:3]
    comfy.model_management.interrupt_current_processing()
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        encode(made, parts_made.parts(3))


def test_every_picture_of_a_batch_can_have_its_own_pose(model, features):
    other = picture(91, WIDTH, HEIGHT)
    both = sample(*apply(model, features[1], pose=torch.cat([POSE, other])), batch=2, steps=3)
    alone = [sample(*apply(model, features[1], pose=pose), batch=2, steps=3) for pose in (POSE, other)]
    assert all(relative(both[n], alone[n][n]) <= 1e-5 for n in (0, 1))
    assert not torch.allclose(both[1], alone[0][1], atol=1e-3)


def test_prompts_with_masks_areas_and_ranges(model, features):
    """Only the entries that went through Apply Parts look at them."""
    area = (8, 6, 4, 2)
    prompts = [text(1, mask=HALF), text(3, area=area, strength=1.0), text(4, start_percent=0.0, end_percent=0.5)]
    patched, with_parts, negative = apply(model, features[3], prompts)
    first = sample(patched, with_parts, negative)
    assert first.isfinite().all() and torch.equal(first, sample(patched, with_parts, negative))
    assert not torch.equal(first, sample(patched, [*with_parts, text(3, mask=1 - HALF)], negative))
    whole = with_parts[1][1]["model_conds"][SharedParts.key].cond[0]
    cut = whole.cropped(area, (15, 11))
    assert torch.equal(cut.pose, whole.pose[..., 4:12, 2:8])
    assert whole.cropped(area, (15, 11)) is cut, "found again at the next step"


@pytest.mark.parametrize(("sampler", "times"), [("euler", 1), ("dpmpp_2s_ancestral", 2)])
def test_heat_maps_of_one_step(model, features, sampler, times):
    """As often as a sampler asks within the step that was chosen, also between two steps, and at no other."""
    seen = []
    sides = parts2whole.put_in(
        ([text(1)], [text(2)]), features[3], 1.0, (1e9, 0.0), None, Watch(2, seen.append)
    )  # fmt: skip
    watched = sample(parts2whole.reading(model), *sides, steps=4, sampler=sampler)
    assert len(seen) == times
    assert all(len(one) == 3 and one.min() >= 0 and one.sum(dim=0).max() <= 1 for one in seen)
    assert torch.equal(watched, sample(*apply(model, features[3], pose=None), steps=4, sampler=sampler))


def test_a_pose_of_almost_the_same_aspect_is_taken(model, features):
    apply(model, features[1], pose=picture(1, 44, 60))
    apply(model, features[1], pose=picture(1, 90, 120))  # the authors' own are 2.2 % off 2:3


def test_what_a_part_node_says(caplog):
    def make(label=LABELS[4], other="", mask=None, parts=None):
        return Part.execute(picture(1), label, other, 1.0, mask, None, parts).args

    with caplog.at_level(logging.WARNING, logger="likeness"):
        parts, sheet = make()
        parts, sheet = make("other", " a red scarf ", torch.ones(1, 64, 64), parts)
    assert [part.label for part in parts.parts] == ["face", "a red scarf"] and sheet.shape[0] == 1
    said = caplog.text
    assert "none of the six labels" in said and "is 64x64 px" in said and "keeps 100% of the picture" in said
    with pytest.raises(errors.BadChoice, match="other_label is ''"):
        make("other", " ")
    with pytest.raises(BadPart, match="is empty"):
        make(mask=torch.zeros(1, 64, 65))
