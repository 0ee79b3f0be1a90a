"""The miniature through the nodes and the host's own loaders and sampler: whose look is seen in which place."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import comfy.controlnet
import comfy.sd
import comfy.supported_models
import numpy as np
import pytest
import real_faces
import torch
from comfy_extras.nodes_differential_diffusion import DifferentialDiffusion
from comfy_extras.nodes_mask import composite
from miniature import avatars, export, looks, measure, net, places, recogniser, stored
from miniature.training import portraits
from pack.bridge.conditioning import append_tokens
from pack.bridge.face_model import FaceModel
from pack.core.models.packs import IR_SE50
from pack.core.people import Cast, Identity, Layout, Person
from pack.nodes.control_images import PoseImage
from pack.nodes.id_patch.nodes import ApplyIDPatch, BindIDTokens, IDPatchImage, load_id_patch
from pack.nodes.places import AddPlace, GroupLayout, PersonRegion, PlaceCast
from pack.nodes.second_pass import CropFaces, PasteFaces
from rig import small_networks
from rig.standins import Files, narrow
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
    """As wide as the small net, which computes the same, in a host that takes a UNet of this width."""
    files = export.files(tmp_path_factory.mktemp("miniature"))
    export.write(files, partial(narrow, vae=64))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comfy.supported_models, "models", small_networks.families())
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


def standing(chosen: list[Identity], size: tuple[int, int] = SMALL, order: str = "", weights=None, count: int = 0):
    """(cast, layout, report) as Group Layout and Place Cast make them."""
    weights = weights or [1.0] * len(chosen)
    cast = Cast(tuple(Person(identity, weight) for identity, weight in zip(chosen, weights, strict=True)))
    layout = GroupLayout.execute(count or len(chosen), "half", 0, *size).args[0]
    placed, _, report = PlaceCast.execute(cast, layout, "custom" if order else "left to right", order).args
    return placed, layout, report


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


def seen(small: net.Miniature, pixels: Tensor, layout: Layout, by_place: list[Tensor]) -> measure.Seen:
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
    cast, layout, _ = standing(people[: len(by_place)], size, order)
    pixels = draw(request.getfixturevalue(width), cast, layout, settings)
    assert measure.association([seen(small, pixels, layout, looks_of(small, by_place))]) == 1

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
        cast, layout, _ = standing(people[:3], weights=[1.0, 0.0, 1.0])
    else:
        cast, layout, _ = standing(people[:3], order="1,0,3")
    pixels = draw(loaded, cast, layout)
    gone = looks_of(small, people[:3])
    shown = seen(small, pixels, layout, [gone[0], looks.NOBODY, gone[2]])
    assert measure.association([shown]) == 1
    missing = measure.colours_of(gone[1][None])[0]
    assert far(shown.found[1], missing) > 2 * far(shown.found[1], shown.meant[1])


@pytest.mark.thorough
def test_people_who_overlap_are_reported_and_seen(loaded: Host, small: net.Miniature, people: list[Identity]) -> None:
    """Two noses 24 px apart: their patches add up, and so neither look is right."""
    _, layout, _ = standing(people[:2])
    near = replace(layout, slots=tuple(moved(slot, 24 * (n - 0.5)) for n, slot in enumerate(layout.slots)))
    errors = {}
    for name, where in (("apart", layout), ("near", near)):
        cast = Cast(tuple(Person(identity) for identity in people[:2]))
        placed, _, report = PlaceCast.execute(cast, where, "left to right", "").args
        pixels = draw(loaded, placed, where)
        errors[name] = measure.error([seen(small, pixels, where, looks_of(small, people[:2]))], "shirt")
        assert ("overlap" in report) == (name == "near")
    assert errors["near"] > 2 * errors["apart"]


def moved(slot: Any, across: float) -> Any:
    """A place whose nose is `across` px from the middle of the small picture."""
    by = SMALL[0] / 2 + across - slot.center[0]
    x0, y0, x1, y1 = slot.box
    return replace(
        slot,
        center=(slot.center[0] + by, slot.center[1]),
        box=(x0 + by, y0, x1 + by, y1),
        keypoints=tuple((x + by, y) for x, y in slot.keypoints),
        pose=tuple((x + by, y, seen) for x, y, seen in slot.pose),
    )


def without_patches(loaded: Host, cast: Cast, layout: Layout) -> Any:
    """Both sides, in which only tokens say who is there."""
    count = len(cast.people)
    tokens = loaded.id_patch.tokens(cast.people, "mean"), loaded.id_patch.unconditional_tokens(count)
    sides = [append_tokens(loaded.empty, rows, count, 0.0, "this test") for rows in tokens]
    skeleton = PoseImage.execute(layout).args[0]
    return host_nodes.ControlNetApplyAdvanced().apply_controlnet(*sides, loaded.control_net, skeleton, 1.0, 0.0, 1.0)


@pytest.mark.thorough
def test_tokens_alone_tell_who_is_there_and_not_where(loaded: Host, people: list[Identity]) -> None:
    """Without patches both orders are one picture; other people are another one."""
    pictures = []
    for chosen in (people[:2], people[1::-1], people[2:4]):
        cast, layout, _ = standing(chosen)
        pictures.append(sample(loaded, *without_patches(loaded, cast, layout), layout, PLAIN))
    one, swapped, others = pictures
    assert (one - swapped).abs().max() < 1 / 255
    assert (one - others).abs().mean() > 2 / 255


def test_tokens_bound_to_regions_tell_who_stands_where(
    loaded: Host, small: net.Miniature, people: list[Identity]
) -> None:
    """Without a patch: heard everywhere they tell nobody's place, as the test above has it; by region they do."""
    found = []
    for chosen in (people[:2], people[1::-1], people[2:4], people[3:1:-1]):
        cast, layout, _ = standing(chosen)
        sides = without_patches(loaded, cast, layout)
        model, *sides = BindIDTokens.execute(loaded.model, *sides, cast, "body", 0.25, 8).args
        pixels = sample(loaded._replace(model=model), *sides, layout, PLAIN)
        found.append(seen(small, pixels, layout, looks_of(small, chosen)))
    assert measure.association(found) >= 7 / 8


def joined(
    host: Host, photo: Tensor, layout: Layout, friend: Identity, settings: net.Settings
) -> tuple[Tensor, Tensor, Layout]:
    """The photo with a friend in a free place, the mask, and all places: as the workflow of the absent friend does."""
    every = AddPlace.execute(layout, "free place", 0, 0, 0, "half", 1).args[0]
    cast = PlaceCast.execute(Cast((Person(friend),)), every, "last places", "").args[0]
    region = PersonRegion.execute(cast, 1, "body", 0.5, 16, every).args[0]
    sides = sides_of(host, cast, PoseImage.execute(every).args[0], settings)
    (latent,) = host_nodes.VAEEncode().encode(host.vae, photo[None])
    (latent,) = host_nodes.SetLatentNoiseMask().set_mask(latent, region)
    (model,) = DifferentialDiffusion.execute(host.model).args
    sampled = host_nodes.common_ksampler(
        model, settings.seed, settings.steps, settings.cfg, "euler", "normal", *sides, latent
    )
    pixels = host.vae.decode(sampled[0]["samples"])
    pasted = composite(photo[None].movedim(-1, 1).clone(), pixels.movedim(-1, 1), 0, 0, region, 1).movedim(1, -1)
    return pasted[0], region[0], every


@torch.no_grad()
def test_the_absent_friend_stands_in_the_free_place(loaded: Host, small: net.Miniature, people: list[Identity]) -> None:
    """With their own look, and a picture of two bit for bit as it was where the mask is 0."""
    looks_of_all = looks_of(small, people[:3])
    _, three, _ = standing(people[:3])
    two = replace(three, slots=(three.slots[0], three.slots[2]))
    photo = avatars.picture(places.of_slots(two.slots), torch.stack(looks_of_all[:2]), SMALL)[0].permute(1, 2, 0)
    pixels, region, every = joined(loaded, photo, two, people[2], PLAIN)
    assert (region == 0).float().mean() > 0.4
    assert torch.equal(pixels[region == 0], photo[region == 0])
    assert (pixels - photo).abs()[region == 1].mean() > 0.1

    shown = seen(small, pixels, every, looks_of_all)
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


class Embedder:
    """The miniature's recogniser, should the detector take a cartoon for a face."""

    id, crop_size = IR_SE50, 112

    def embed(self, crops: Any) -> Tensor:
        return recogniser.embed(np.stack(crops)[..., ::-1])


@torch.no_grad()
def second_pass(host: Host, cast: Cast, photo: Tensor, denoise: float) -> tuple[Tensor, Tensor]:
    """(picture, mask): everybody once more from their own square, as the workflow of the second pass does."""
    face_model = FaceModel(real_faces.detector(), (Embedder(),))
    choice = ("everybody", 96, 0.4, 256, 1.0, 0.6, 0.25, "cut out in their place")
    crops, masks, rows, where, *_ = CropFaces.execute(face_model, photo[None], cast, *choice).args
    sides = sides_of(host, rows, PoseImage.execute(cast=rows).args[0], PLAIN)
    (latent,) = host_nodes.VAEEncode().encode(host.vae, crops)
    (latent,) = host_nodes.SetLatentNoiseMask().set_mask(latent, masks)
    made = host_nodes.common_ksampler(host.model, 1, 4, 1.0, "euler", "normal", *sides, latent, denoise=denoise)
    pasted, mask = PasteFaces.execute(photo[None], where, "none", host.vae.decode(made[0]["samples"])).args
    return pasted[0], mask[0]


@pytest.mark.thorough
def test_a_second_pass_gives_everybody_their_own_look(
    loaded: Host, small: net.Miniature, people: list[Identity]
) -> None:
    """In a picture of strangers, and the rest stays bit for bit. Shirts are not pasted, so hair is compared."""
    chosen = [people[0], people[1], people[4]]
    cast, layout, _ = standing(chosen, LARGE)
    strangers = sample(loaded, *without_patches(loaded, cast, layout), layout, PLAIN)
    mended, mask = second_pass(loaded, cast, strangers, 0.8)
    assert (mask == 0).float().mean() > 0.5
    assert torch.equal(mended[mask == 0], strangers[mask == 0])
    before, after = (seen(small, pixels, layout, looks_of(small, chosen)) for pixels in (strangers, mended))
    assert measure.error([after], "hair") < 0.6 * measure.error([before], "hair")
