"""Parts2Whole from pictures to latents: masks, areas and ranges of prompts, and heat maps."""

import parts_made
import pytest
import torch
from pack.bridge.self_attention.shared_parts import SharedParts, Watch
from pack.nodes.parts2whole import nodes as parts2whole
from parts_made import HEIGHT, WIDTH
from parts_run import apply, encode, reading, sample, text

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
    return encode(made, parts_made.parts(3))


def test_prompts_with_masks_areas_and_ranges(model, features):
    """Only the entries that went through Apply Parts look at them."""
    area = (8, 6, 4, 2)
    prompts = [text(1, mask=HALF), text(3, area=area, strength=1.0), text(4, start_percent=0.0, end_percent=0.5)]
    patched, with_parts, negative = apply(model, features, prompts)
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
        ([text(1)], [text(2)]), features, 1.0, (1e9, 0.0), None, Watch(2, seen.append)
    )  # fmt: skip
    watched = sample(reading(model), *sides, steps=4, sampler=sampler)
    assert len(seen) == times
    assert all(len(one) == 3 and one.min() >= 0 and one.sum(dim=0).max() <= 1 for one in seen)
    assert torch.equal(watched, sample(*apply(model, features, pose=None), steps=4, sampler=sampler))
