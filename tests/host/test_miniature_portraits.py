"""InstantID by the miniature, through the nodes and the host's own loaders and sampler: whose look is seen where."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import comfy.controlnet
import comfy.sd
import pytest
import torch
from miniature import avatars, measure, net, places, recogniser, stored
from miniature.training import crowds, lessons, train
from miniature_made import files_in
from pack.core.models.packs import ANTELOPE
from pack.core.people import Cast, Identity, Layout, Person
from pack.nodes.control_images import PoseImage
from pack.nodes.instant_id.nodes import ApplyInstantID, load_instant_id
from pack.nodes.places import GroupLayout, PlaceCast
from torch import Tensor

import nodes as host_nodes

PLAIN = net.Settings(steps=4, cfg=1.0, strength=1.0, id_start=0.0)


class Host(NamedTuple):
    model: Any
    empty: Any
    """What every prompt is: its text encoders are zeros."""
    vae: Any
    identity_net: Any
    instant_id: Any


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Host:
    with files_in(tmp_path_factory.mktemp("miniature")) as files:
        model, clip, vae, *_ = comfy.sd.load_checkpoint_guess_config(str(files.checkpoint))
        identity_net = comfy.controlnet.load_controlnet(str(files.identity_net))
    (empty,) = host_nodes.CLIPTextEncode().encode(clip, "")
    return Host(model, empty, vae, identity_net, load_instant_id(str(files.instant_id)))


@pytest.fixture(scope="module")
def small() -> net.Miniature:
    return stored.load()


@pytest.fixture(scope="module")
def unseen() -> Tensor:
    """(40, 512): drawn people whom it was not trained on, as the recogniser sees them."""
    return lessons.pool(train.HELD_OUT, 40).embeddings


def standing(embeddings: Tensor, size: tuple[int, int], order: str = "", weights: Any = None) -> tuple[Cast, Layout]:
    weights = weights or [1.0] * len(embeddings)
    rows = recogniser.raw(embeddings).split(1)
    people = [Identity(f"person {n}", {ANTELOPE: row}, torch.zeros(1, 112, 112, 3)) for n, row in enumerate(rows)]
    layout = GroupLayout.execute(len(embeddings), "half", 0, *size).args[0]
    cast = Cast(tuple(map(Person, people, weights)))
    placed = PlaceCast.execute(cast, layout, "custom" if order else "left to right", order).args[0]
    return placed, layout


@torch.no_grad()
def draw(host: Host, cast: Cast, layout: Layout, adapter: float = 1.0, control: float = 1.0) -> Tensor:
    """(H, W, 3)."""
    sides = host.empty, host.empty
    keypoints = PoseImage.execute(layout, draw="face keypoints").args[0]
    model, *sides = ApplyInstantID.execute(
        host.model, *sides, host.instant_id, host.identity_net, cast, keypoints, adapter_weight=adapter,
        control_strength=control, start_percent=0.0, end_percent=1.0, adapter_start_percent=0.0,
        adapter_end_percent=1.0, negative_noise=0.0, noise_seed=0, photos="mean", region_margin=0.75, feather=8,
    ).args  # fmt: skip
    latent = {"samples": torch.zeros(1, 4, layout.height // 8, layout.width // 8)}
    (made,) = host_nodes.common_ksampler(model, PLAIN.seed, PLAIN.steps, PLAIN.cfg, "euler", "normal", *sides, latent)
    return host.vae.decode(made["samples"])[0]


def seen(small: net.Miniature, pixels: Tensor, layout: Layout, embeddings: Tensor) -> measure.Seen:
    """embeddings: of whoever belongs into every place."""
    size, meant = (layout.width, layout.height), small.looks(embeddings)
    areas = avatars.draw(crowds.by_face(places.of_slots(layout.slots), size), meant, size)
    return measure.Seen(measure.found_in(measure.cells_of(pixels), areas, len(meant)), measure.colours_of(meant))


def test_a_portrait_is_that_of_the_small_net(loaded: Host, small: net.Miniature, unseen: Tensor) -> None:
    cast, layout = standing(unseen[:1], places.SMALL)
    pixels = draw(loaded, cast, layout)
    drawer, hint = net.Portraits(small), PoseImage.execute(layout, draw="face keypoints").args[0].movedim(-1, 1)
    alone = small.decoder(net.sample(drawer, hint, [drawer.tokens(recogniser.raw(unseen[:1]))], PLAIN))[0]
    difference = (alone.permute(1, 2, 0).clamp(0, 1) - pixels).abs()
    assert difference.mean() < 1 / 255 and difference.quantile(0.99) < 2 / 255


@pytest.mark.parametrize(
    ("orders", "pictures"),
    [
        (("1,2", "2,3,1"), 2),
        pytest.param(("1,2", "2,1", "2,3,1", "3,1,4,2", "6,4,2,1,3,5"), 6, marks=pytest.mark.thorough),
    ],
    ids=["few", "many"],
)
def test_everybody_is_in_their_place_by_region(
    orders: Sequence[str], pictures: int, loaded: Host, small: net.Miniature, unseen: Tensor
) -> None:
    """Though it was trained on one person a picture; people swapped in Place Cast are swapped in the picture."""
    found: list[measure.Seen] = []
    for order, picture in itertools.product(orders, range(pictures)):
        numbers = [int(number) - 1 for number in order.split(",")]
        chosen = unseen[picture * 6 :][: len(numbers)]
        cast, layout = standing(chosen, places.LARGE, order)
        found.append(seen(small, draw(loaded, cast, layout), layout, chosen[numbers]))
    figures = measure.figures(found)
    assert figures["association"] >= 0.85 and abs(figures["leakage"]) <= 0.06, figures


def test_who_has_weight_0_is_nowhere_and_the_others_stay(loaded: Host, unseen: Tensor) -> None:
    everybody, without = (
        draw(loaded, *standing(unseen[6:9], places.LARGE, weights=weights)) for weights in (None, [1.0, 0.0, 1.0])
    )
    change = (everybody - without).abs().mean(-1)
    left, middle, right = change.tensor_split(3, dim=1)
    assert max(left.mean(), right.mean()) <= 0.02 < middle.mean()
