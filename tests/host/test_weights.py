"""Weights of people in a cast: each reaches what the networks are given of that person, and of nobody else.

Two people with different weights, compared with both at weight 1. Who has weight 0: tests/every_method/test_off.py.
"""

from typing import Any

import marks
import pytest
import torch
from figures import relative
from graph_run import run
from graphs import PULID_ON_FLUX, ours
from pack.bridge.image_tokens.unet_tokens import UNetImageTokens
from pack.bridge.parts.shared_parts import SharedParts
from pack.bridge.sampling.carried import KEY, carried_in
from sample_values import cast
from torch import Tensor

LOUD, QUIET = 0.9, 0.3
ALMOST = 5e-6

ADAPTERS = [
    ("LikenessApplyInstantID", {}),
    ("LikenessApplyIPAdapter", {}),
    ("LikenessApplyPuLID", {}),
    pytest.param("LikenessApplyPuLID", PULID_ON_FLUX, marks=marks.transformers),
]
"""Nodes whose people are keys and values of the layers of a network, and what is linked to them."""


def outputs(kind: str, first: float, second: float, **changed: Any) -> Any:
    """What a node of ours gives for two people with these weights."""
    return run(ours(kind, cast=cast(weights=(first, second)), **changed), {})


def layers(kind: str, links: dict[str, Any], first: float, second: float) -> list[tuple[Tensor, ...]]:
    """Of the positive, by layer: keys and values, (2, tokens, width) each, or (2, heads, tokens, width)."""
    _, positive, *_ = outputs(kind, first, second, **links)
    everything = positive[0][1]["model_conds"][KEY].cond
    (image_tokens,) = [carried for carried in everything if isinstance(carried, UNetImageTokens)]
    people_by_layer = []
    for layer in image_tokens.layers:
        if layer:  # in others nobody is read
            people_by_layer.append(layer)
    return people_by_layer


@pytest.mark.parametrize(("kind", "links"), ADAPTERS)
def test_values_of_everybody_are_as_loud_as_that_person(kind: str, links: dict[str, Any]) -> None:
    """Keys stay, so that who is quiet is looked at as often and says less."""
    unweighted, weighted = layers(kind, links, 1.0, 1.0), layers(kind, links, LOUD, QUIET)
    assert len(unweighted) == len(weighted) > 0
    for before, after in zip(unweighted, weighted, strict=True):
        *keys, values = before
        *keys_after, values_after = after
        for key, key_after in zip(keys, keys_after, strict=True):
            assert torch.equal(key, key_after)
        assert relative(values_after[0], LOUD * values[0]) <= ALMOST
        assert relative(values_after[1], QUIET * values[1]) <= ALMOST


def id_tokens(first: float, second: float) -> Tensor:
    """What Apply ID-Patch appends to the 77 tokens of the positive, (2 * tokens, width)."""
    people = cast(weights=(first, second))
    positive, *_ = run(
        ours("LikenessApplyIDPatch", cast=people, image=ours("LikenessIDPatchConditionImage", cast=people)), {}
    )
    longest = max((context for context, _ in positive), key=lambda context: context.shape[1])
    return longest[0, 77:]


def test_id_tokens_of_everybody_are_as_loud_as_that_person() -> None:
    unweighted, weighted = id_tokens(1.0, 1.0), id_tokens(LOUD, QUIET)
    half = len(unweighted) // 2
    assert relative(weighted[:half], LOUD * unweighted[:half]) <= ALMOST
    assert relative(weighted[half:], QUIET * unweighted[half:]) <= ALMOST


def test_the_id_patch_of_everybody_is_as_loud_as_that_person() -> None:
    """The skeletons stay. Noses are at (40, 40) and (94, 40), so that both patches are cut at an edge and overlap."""
    image, first_quiet, second_quiet, neither = (
        outputs("LikenessIDPatchConditionImage", *weights)[0][0]
        for weights in ((1.0, 1.0), (QUIET, 1.0), (1.0, QUIET), (QUIET, QUIET))
    )
    first, second = image - first_quiet, image - second_quiet  # (1 - QUIET) times a patch
    inside = [torch.zeros(image.shape[:2], dtype=torch.bool) for _ in range(2)]
    inside[0][8:72, 8:72] = True
    inside[1][8:72, 62:126] = True
    for patch, place in zip((first, second), inside, strict=True):
        assert (patch[place] != 0).float().mean() > 0.9
        assert patch[~place].abs().max() == 0
    assert relative(image - first - second, neither) <= ALMOST


def two_parts(first: float, second: float) -> Any:
    """A hat and shoes with these weights."""
    hat = ours("LikenessPart", label="hair or headwear", weight=first)
    return ours("LikenessPart", label="shoes", weight=second, parts=hat)


def test_parts_are_as_loud_as_each_of_them_by_share_parts_attention() -> None:
    _, positive, _ = run(ours("LikenessSharePartsAttention", parts=two_parts(LOUD, QUIET), strength=0.5), {})
    (shared,) = carried_in(positive[0][1], SharedParts.key)
    assert list(shared.weights.weights) == pytest.approx([0.5 * LOUD, 0.5 * QUIET])
