"""The miniature through the nodes and the host's own loaders and sampler: whose look is seen in which place."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, NamedTuple

import comfy.controlnet
import comfy.sd
import numpy as np
import pytest
import torch
from comfy_extras.nodes_differential_diffusion import DifferentialDiffusion
from comfy_extras.nodes_mask import composite
from miniature import avatars, export, looks, measure, net, places, recogniser, stored
from miniature.training import portraits
from miniature_made import files_in
from pack.bridge.conditioning import append_tokens
from pack.core.models.packs import IR_SE50
from pack.core.people import Cast, Identity, Layout, Person
from pack.nodes.control_images import PoseImage
from pack.nodes.id_patch.nodes import ApplyIDPatch, BindIDTokens, IDPatchImage, load_id_patch
from pack.nodes.places import AddPlace, GroupLayout, PersonRegion, PlaceCast
from rig.standins import Files
from torch import Tensor

import nodes as host_nodes

SMALL, LARGE = places.SMALL, places.LARGE
PLAIN = net.Settings(steps=4, cfg=1.0, strength=1.0, id_start=0.0)
AUTHORS = net.Settings(steps=4, cfg=5.0)
"""CFG 5, strength 0.8 and ID tokens from a fifth of the schedule on."""


class Host(NamedTuple):
    model: Any
    empty: Any
    """What every prompt is: its text encoders are zeros."""
    vae: Any
    control_net: Any
    id_patch: Any


def opened(files: Files) -> Host:
    model, clip, vae, *_ = comfy.sd.load_checkpoint_guess_config(str(files.checkpoint))
    (empty,) = host_nodes.CLIPTextEncode().encode(clip, "")
    control_net = comfy.controlnet.load_controlnet(str(files.control_net))
    return Host(model, empty, vae, control_net, load_id_patch(str(files.id_patch)))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Host:
    with files_in(tmp_path_factory.mktemp("miniature")) as files:
        return opened(files)


@pytest.fixture(scope="module")
def wide() -> Host:
    """The files that people get."""
    return opened(export.build())


@pytest.fixture(scope="module")
def small() -> net.Miniature:
    return stored.load()


@pytest.fixture(scope="module")
def people() -> list[Identity]:
    """Six drawn people whose hair and skin are easily told apart."""
    rng = random.Random(0)
    colours = [
        ((0.08, 0.06, 0.06), (0.95, 0.82, 0.72)), ((0.90, 0.80, 0.55), (0.40, 0.26, 0.19)),
        ((0.70, 0.28, 0.12), (0.90, 0.76, 0.62)), ((0.20, 0.14, 0.10), (0.33, 0.21, 0.16)),
        ((0.85, 0.85, 0.84), (0.72, 0.52, 0.40)), ((0.45, 0.28, 0.16), (0.98, 0.86, 0.80)),
    ]  # fmt: skip
    found: list[Identity] = []
    for number, (hair, skin) in enumerate(colours):
        hair, skin = np.float32(hair), np.float32(skin)
        person = replace(portraits.person(rng), hair=hair, skin=skin, bald=False, beard=0.0)
        pixels, _ = portraits.photo(rng, person)
        embedding = recogniser.embed(pixels[None])
        found.append(Identity(f"person {number + 1}", {IR_SE50: embedding}, torch.from_numpy(pixels)[None] / 255))
    return found


def standing(chosen: list[Identity], size: tuple[int, int] = SMALL, order: str = "", weights=None):
    """(cast, layout) as Group Layout and Place Cast make them."""
    weights = weights or [1.0] * len(chosen)
    cast = Cast(tuple(Person(identity, weight) for identity, weight in zip(chosen, weights, strict=True)))
    layout = GroupLayout.execute(len(chosen), "half", 0, *size).args[0]
    placed, *_ = PlaceCast.execute(cast, layout, "custom" if order else "left to right", order).args
    return placed, layout


def draw(host: Host, cast: Cast, layout: Layout, settings: net.Settings = PLAIN) -> Tensor:
    """(H, W, 3): the usual chain of nodes."""
    return sample(host, *sides_of(host, cast, PoseImage.execute(layout).args[0], settings), layout, settings)


def sides_of(host: Host, cast: Cast, skeleton: Tensor, settings: net.Settings) -> tuple[Any, Any]:
    """Both sides, with everybody's patch on the skeleton."""
    image = IDPatchImage.execute(host.id_patch, cast, "mean", skeleton).args[0]
    options = (settings.strength, 0.0, 1.0, settings.id_start, "mean")
    return ApplyIDPatch.execute(host.empty, host.empty, host.control_net, host.id_patch, cast, image, *options).args


@torch.no_grad()
def sample(host: Host, positive: Any, negative: Any, layout: Layout, settings: net.Settings) -> Tensor:
    latent = {"samples": torch.zeros(1, 4, layout.height // 8, layout.width // 8)}
    options = (settings.seed, settings.steps, settings.cfg, "euler", "normal", positive, negative, latent)
    (made,) = host_nodes.common_ksampler(host.model, *options)
    return host.vae.decode(made["samples"])[0]


def seen(pixels: Tensor, layout: Layout, by_place: list[Tensor]) -> measure.Seen:
    """by_place: the look (11,) meant for every place of the layout."""
    meant = torch.stack(by_place)
    areas = avatars.draw(places.of_slots(layout.slots), meant, (layout.width, layout.height))
    found = measure.found_in(measure.cells_of(pixels), areas, len(meant))
    return measure.Seen(found, measure.colours_of(meant))


def looks_of(small: net.Miniature, chosen: list[Identity]) -> list[Tensor]:
    return list(small.looks(torch.cat([identity.embeddings[IR_SE50] for identity in chosen])))


def far(a: Tensor, b: Tensor) -> float:
    """Between nine colours and nine."""
    return float((a - b).square().nanmean().sqrt())


@pytest.mark.parametrize(
    ("width", "order", "size", "settings"),
    [
        ("loaded", "1,2", SMALL, PLAIN),
        ("loaded", "2,1", SMALL, AUTHORS),
        ("wide", "2,1", SMALL, PLAIN),
        ("loaded", "1,2,3", SMALL, PLAIN._replace(id_start=1.0)),
        pytest.param("loaded", "1,2,3,4,5,6", LARGE, PLAIN._replace(steps=3), marks=pytest.mark.thorough),
    ],
    ids=["cfg 1", "swapped, authors' settings", "swapped, as wide as SDXL", "patches alone", "six"],
)
def test_everybody_is_in_their_place_as_without_a_host(
    request: pytest.FixtureRequest, small: net.Miniature, people: list[Identity], width: str, order: str,
    size: tuple[int, int], settings: net.Settings,
) -> None:  # fmt: skip
    """Swapping two people in Place Cast swaps them in the picture; the small net draws the same one alone."""
    by_place = [people[int(number) - 1] for number in order.split(",")]
    cast, layout = standing(people[: len(by_place)], size, order)
    pixels = draw(request.getfixturevalue(width), cast, layout, settings)
    assert measure.association([seen(pixels, layout, looks_of(small, by_place))]) == 1

    embeddings = torch.cat([person.identity.embeddings[IR_SE50] for person in cast.people])
    control = PoseImage.execute(layout).args[0][0]
    hint = net.hint(control, small.patches(embeddings), [person.slot.center for person in cast.people])
    alone = small.decoder(net.sample(small, hint, [small.tokens(embeddings)], settings))[0].permute(1, 2, 0)
    difference = (alone.clamp(0, 1) - pixels).abs()
    assert difference.mean() < 1 / 255
    assert difference.quantile(0.99) < 2 / 255


@pytest.mark.parametrize("how", ["weight 0", "left out"])
def test_nobody_looks_like_a_person_who_is_not_there(
    how: str, loaded: Host, small: net.Miniature, people: list[Identity]
) -> None:
    """The place keeps its skeleton, a grey figure, and the others their looks."""
    if how == "weight 0":
        cast, layout = standing(people[:3], weights=[1.0, 0.0, 1.0])
    else:
        cast, layout = standing(people[:3], order="1,0,3")
    pixels = draw(loaded, cast, layout)
    gone = looks_of(small, people[:3])
    shown = seen(pixels, layout, [gone[0], looks.NOBODY, gone[2]])
    assert measure.association([shown]) == 1
    missing = measure.colours_of(gone[1][None])[0]
    assert far(shown.found[1], missing) > 2 * far(shown.found[1], shown.meant[1])


def without_patches(loaded: Host, cast: Cast, layout: Layout) -> Any:
    """Both sides, in which only tokens say who is there."""
    count = len(cast.people)
    tokens = loaded.id_patch.tokens(cast.people, "mean"), loaded.id_patch.unconditional_tokens(count)
    sides = [append_tokens(loaded.empty, rows, count, 0.0, "this test") for rows in tokens]
    skeleton = PoseImage.execute(layout).args[0]
    return host_nodes.ControlNetApplyAdvanced().apply_controlnet(*sides, loaded.control_net, skeleton, 1.0, 0.0, 1.0)


def test_tokens_bound_to_regions_tell_who_stands_where(
    loaded: Host, small: net.Miniature, people: list[Identity]
) -> None:
    """Without a patch: read everywhere, both orders would be one picture."""
    found = []
    for chosen in (people[:2], people[1::-1], people[2:4], people[3:1:-1]):
        cast, layout = standing(chosen)
        sides = without_patches(loaded, cast, layout)
        model, *sides = BindIDTokens.execute(loaded.model, *sides, cast, "body", 0.25, 8).args
        pixels = sample(loaded._replace(model=model), *sides, layout, PLAIN)
        found.append(seen(pixels, layout, looks_of(small, chosen)))
    assert measure.association(found) >= 7 / 8


@torch.no_grad()
def painted_anew(host: Host, pictures: Tensor, masks: Tensor, sides: Any) -> Tensor:
    """The pictures, sampled again where the masks are 1."""
    (latent,) = host_nodes.VAEEncode().encode(host.vae, pictures)
    (latent,) = host_nodes.SetLatentNoiseMask().set_mask(latent, masks)
    (made,) = host_nodes.common_ksampler(host.model, 1, 4, 1.0, "euler", "normal", *sides, latent)
    return host.vae.decode(made["samples"])


@torch.no_grad()
def test_the_absent_friend_stands_in_the_free_place(loaded: Host, small: net.Miniature, people: list[Identity]) -> None:
    """By the steps of that workflow: with their own look, and a picture of two bit for bit as it was where the mask is
    0."""
    looks_of_all = looks_of(small, people[:3])
    _, three = standing(people[:3])
    two = replace(three, slots=(three.slots[0], three.slots[2]))
    photo = avatars.picture(places.of_slots(two.slots), torch.stack(looks_of_all[:2]), SMALL)[0].permute(1, 2, 0)
    every = AddPlace.execute(two, "free place", 0, 0, 0, "half", 1).args[0]
    cast = PlaceCast.execute(Cast((Person(people[2]),)), every, "last places", "").args[0]
    region = PersonRegion.execute(cast, 1, "body", 0.5, 16, every).args[0]
    (model,) = DifferentialDiffusion.execute(loaded.model).args
    sides = sides_of(loaded, cast, PoseImage.execute(every).args[0], PLAIN)
    made = painted_anew(loaded._replace(model=model), photo[None], region, sides)
    pasted = composite(photo[None].movedim(-1, 1).clone(), made.movedim(-1, 1), 0, 0, region, 1).movedim(1, -1)
    pixels, region = pasted[0], region[0]
    assert (region == 0).float().mean() > 0.4
    assert torch.equal(pixels[region == 0], photo[region == 0])
    assert (pixels - photo).abs()[region == 1].mean() > 0.1

    shown = seen(pixels, every, looks_of_all)
    assert measure.association([shown]) == 1
    found, meant = shown.found[2], shown.meant
    assert min(far(found, meant[0]), far(found, meant[1])) > 2 * far(found, meant[2])


def test_pictures_become_latents_as_the_small_net_makes_them(loaded: Host, small: net.Miniature) -> None:
    """The encoder that was written as TAESD's; without it a second pass and inpainting would begin from grey."""
    pixels = torch.rand(2, 6, 8, 3, generator=torch.Generator().manual_seed(1)).repeat_interleave(8, 1)
    pixels = pixels.repeat_interleave(8, 2)[:, 4:-4, 4:-4]
    meant = small.encoder(pixels.movedim(-1, 1))
    found = loaded.model.model.process_latent_in(loaded.vae.encode(pixels))
    assert (found - meant).abs().max() < 0.005
