"""The toy model through the nodes and the host's own loaders and sampler: whose look is seen in which place."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from pack.core.cast import Box, Cast, Layout, Person, PlacedCast
from pack.core.models.packs import ANTELOPE, IR_SE50
from pack.core.places import bodies, mannequin
from pack.core.places.region_settings import RegionSettings
from pack.nodes.control_images import DrawSkeletons
from pack.nodes.id_patch.nodes import LOADER as ID_PATCH
from pack.nodes.id_patch.nodes import ApplyIDPatch, IDPatchConditionImage
from pack.nodes.instant_id.nodes import LOADER as INSTANT_ID
from pack.nodes.instant_id.nodes import ApplyInstantID
from torch import Tensor
from toy import (
    avatars,
    built,
    export,
    garments,
    measure,
    net,
    parts2whole,
    places,
    recogniser,
    stored,
)  # fmt: skip
from toy.looks import PARTS
from toy.unet import WIDTH
from toy_files import files_in
from toy_in_host import (
    PLAIN,
    UPRIGHT,
    Host,
    Wardrobe,
    drawn_people,
    dressing,
    flat_pictures,
    opened,
    sample,
    shared,
    sharing,
    standing,
    worn,
)

SMALL, LARGE = places.SMALL, places.LARGE
WITH_ID_PATCH = ("control_net", ID_PATCH.load_file, "id_patch")
AUTHORS = net.Settings(steps=4, cfg=5.0)
"""CFG 5, strength 0.8 and ID tokens from a fifth of the schedule on."""


def check_alike(pixels: Tensor, alone: Tensor) -> None:
    """alone: the same picture by the small net, (3, H, W)."""
    difference = (alone.permute(1, 2, 0).clamp(0, 1) - pixels).abs()
    assert difference.mean() < 1 / 255 and difference.quantile(0.99) < 2 / 255


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Host:
    with files_in(tmp_path_factory.mktemp("toy")) as files:
        return opened(files, *WITH_ID_PATCH)


@pytest.fixture(scope="module")
def wide() -> Host:
    """The files that people get."""
    return opened(built.build(), *WITH_ID_PATCH)


@pytest.fixture(scope="module")
def small() -> net.ToyModel:
    return stored.load()


@pytest.fixture(scope="module")
def people() -> list[Person]:
    """Six drawn people whose hair and skin are easily told apart."""
    found: list[Person] = []
    for number, embedding in enumerate(drawn_people("apart").split(1), 1):
        embeddings = {IR_SE50: embedding, ANTELOPE: recogniser.raw(embedding)}
        found.append(Person(f"person {number}", embeddings, torch.zeros(1, 112, 112, 3)))
    return found


def draw(host: Host, cast: Cast, layout: Layout, settings: net.Settings = PLAIN) -> Tensor:
    """(H, W, 3): the usual chain of nodes."""
    return sample(host, sides_of(host, cast, DrawSkeletons.execute(layout).args[0], settings), layout, settings)


def sides_of(host: Host, cast: Cast, skeleton: Tensor, settings: net.Settings) -> tuple[Any, Any]:
    """Both sides, with everybody's patch on the skeleton."""
    image = IDPatchConditionImage.execute(host.adapter, cast, "mean", skeleton).args[0]
    options = {"strength": settings.strength, "start_percent": 0.0, "end_percent": 1.0, "photos": "mean"}
    networks = host.control_net, host.adapter
    return ApplyIDPatch.execute(
        host.empty, host.empty, *networks, cast, image, id_start_percent=settings.id_start, **options
    ).args[:2]


def placed_by_face(people: Sequence[places.Place], size: tuple[int, int]) -> list[places.Place]:
    """The same people standing, so that their faces say where all of them is."""
    upright: list[places.Place] = []
    for nose, head, _ in people:
        pose = bodies.body_around(bodies.face_keypoints(nose, head), "full")
        upright.append(places.Place(nose, head, bodies.on_canvas(pose, head, *size)))
    return upright


def seen(pixels: Tensor, layout: Layout, meant: Tensor, by_face: bool = False) -> measure.Seen:
    """meant: (places, 11), the looks in every place of the layout. by_face: where people stand by it alone."""
    size, where = (layout.width, layout.height), places.of_slots(layout.slots)
    areas = avatars.draw(placed_by_face(where, size) if by_face else where, meant, size)
    found = measure.found_in(measure.cells_of(pixels), areas, len(meant))
    return measure.Seen(found, measure.colours_of(meant))


def looks_of(small: net.ToyModel, chosen: list[Person]) -> Tensor:
    return small.looks(torch.cat([person.embeddings[IR_SE50] for person in chosen]))


def away(picture: Tensor, cartoon: Tensor, face: Box, most: int = 8) -> float:
    """How far a face of a picture (3, H, W) is from where a right one, the cartoon, has it, in heights of its box.

    By the shift of up to `most` px that makes both most alike.
    """
    height, width = picture.shape[1:]
    left, top = (max(round(side), most) for side in face[:2])
    right, bottom = min(round(face[2]), width - most), min(round(face[3]), height - most)
    meant = cartoon[:, top:bottom, left:right]
    errors: dict[tuple[int, int], float] = {}
    for across, down in itertools.product(range(-most, most + 1), repeat=2):
        shifted = picture[:, top + down : bottom + down, left + across : right + across]
        errors[across, down] = float((shifted - meant).square().mean())
    return math.hypot(*min(errors, key=errors.__getitem__)) / (face[3] - face[1])


@pytest.mark.parametrize(
    ("width", "order", "size", "settings"),
    [
        ("loaded", "2,1", SMALL, AUTHORS),
        pytest.param("wide", "2,1", SMALL, PLAIN, marks=pytest.mark.thorough),
        pytest.param("loaded", "1,2,3", SMALL, PLAIN._replace(id_start=1.0), marks=pytest.mark.thorough),
        pytest.param("loaded", "1,2,3,4,5,6", LARGE, PLAIN._replace(steps=3), marks=pytest.mark.thorough),
    ],
    ids=["swapped, authors' settings", "swapped, as wide as SDXL", "patches alone", "six"],
)
def test_everybody_is_in_their_place_as_without_a_host(
    request: pytest.FixtureRequest, small: net.ToyModel, people: list[Person], width: str, order: str,
    size: tuple[int, int], settings: net.Settings,
) -> None:  # fmt: skip
    """Swapping two people in Place Cast swaps them in the picture; the small net draws the same one alone."""
    by_place = [people[int(number) - 1] for number in order.split(",")]
    cast, layout = standing(people[: len(by_place)], size, order)
    pixels = draw(request.getfixturevalue(width), cast, layout, settings)
    assert measure.association([seen(pixels, layout, looks_of(small, by_place))]) == 1

    embeddings = torch.cat([member.person.embeddings[IR_SE50] for member in cast.people])
    control = DrawSkeletons.execute(layout).args[0][0]
    hint = net.hint(control, small.patches(embeddings), [member.slot.center for member in cast.people])
    alone = small.decoder(net.sample(small, hint, [small.tokens(embeddings)], settings))[0]
    check_alike(pixels, alone)


def test_pictures_become_latents_as_the_small_net_makes_them(loaded: Host, small: net.ToyModel) -> None:
    """The encoder that was written as TAESD's; without it a second pass and inpainting would begin from grey."""
    pixels = torch.rand(2, 6, 8, 3, generator=torch.Generator().manual_seed(1)).repeat_interleave(8, 1)
    pixels = pixels.repeat_interleave(8, 2)[:, 4:-4, 4:-4]
    meant = small.encoder(pixels.movedim(-1, 1))
    found = loaded.model.model.process_latent_in(loaded.vae.encode(pixels))
    assert (found - meant).abs().max() < 0.005


# InstantID


@pytest.fixture(scope="module")
def with_instant_id(tmp_path_factory: pytest.TempPathFactory) -> Host:
    with files_in(tmp_path_factory.mktemp("toy")) as files:
        return opened(files, "identity_net", INSTANT_ID.load_file, "instant_id")


@pytest.fixture(scope="module")
def unseen() -> Tensor:
    """(40, 512): drawn people whom it was not trained on, as the recogniser sees them."""
    return drawn_people("unseen")


def drawn(host: Host, embeddings: Tensor, size: tuple[int, int], order: str = "") -> tuple[Tensor, Layout]:
    """(H, W, 3): of whom the recogniser sees so."""
    rows = recogniser.raw(embeddings).split(1)
    people = [Person(f"person {n}", {ANTELOPE: row}, torch.zeros(1, 112, 112, 3)) for n, row in enumerate(rows)]
    cast, layout = standing(people, size, order)
    return by_region(host, cast, layout), layout


def by_region(host: Host, cast: PlacedCast, layout: Layout) -> Tensor:
    """(H, W, 3): the usual chain of nodes."""
    cast = replace(cast, region_settings=RegionSettings(feather=14))
    keypoints = DrawSkeletons.execute(layout, draw="face keypoints").args[0]
    model, *sides = ApplyInstantID.execute(
        host.model, host.empty, host.empty, host.adapter, host.control_net, cast, keypoints, adapter_weight=1.0,
        control_strength=1.0, start_percent=0.0, end_percent=1.0, adapter_start_percent=0.0,
        adapter_end_percent=1.0, negative_noise=0.0, photos="mean",
    ).args  # fmt: skip
    return sample(host._replace(model=model), sides, layout)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("orders", "pictures"),
    [(("1,2", "2,3,1"), 2), (("1,2", "2,1", "2,3,1", "3,1,4,2", "6,4,2,1,3,5"), 6)],
    ids=["few", "many"],
)
def test_everybody_is_in_their_place_by_region(
    orders: Sequence[str], pictures: int, with_instant_id: Host, small: net.ToyModel, unseen: Tensor
) -> None:
    """Though it was trained on one person a picture; people swapped in Place Cast are swapped in the picture."""
    found: list[measure.Seen] = []
    for order, picture in itertools.product(orders, range(pictures)):
        numbers = [int(number) - 1 for number in order.split(",")]
        chosen = unseen[picture * 6 :][: len(numbers)]
        found.append(seen(*drawn(with_instant_id, chosen, LARGE, order), small.looks(chosen[numbers]), by_face=True))
    association, skin = measure.association(found), measure.fit(found, "skin")
    assert association >= 0.95 and skin >= 0.75, (association, skin)


@pytest.mark.thorough
@pytest.mark.parametrize("people", [6, 40], ids=["few", "many"])
def test_a_portrait_looks_like_its_photo_and_stands_at_its_keypoints(
    people: int, with_instant_id: Host, small: net.ToyModel, unseen: Tensor
) -> None:
    found, shifts = list[measure.Seen](), list[float]()
    for embedding in unseen[:people].split(1):
        pixels, layout = drawn(with_instant_id, embedding, LARGE)
        found.append(seen(pixels, layout, small.looks(embedding), by_face=True))
        standing = placed_by_face(places.of_slots(layout.slots), LARGE)
        cartoon, _ = avatars.picture(standing, small.looks(embedding), LARGE)
        face = bodies.face_box(standing[0].nose, standing[0].head)
        shifts.append(away(pixels.permute(2, 0, 1), cartoon, face))
    looks = {part: measure.fit(found, part) for part in PARTS}
    assert sum(one <= 1 / 16 for one in shifts) >= 0.95 * people and min(looks.values()) >= 0.8, (shifts, looks)


# Parts2Whole


@pytest.fixture(scope="module")
def wardrobe(tmp_path_factory: pytest.TempPathFactory) -> Wardrobe:
    """As wide as SD1.5."""
    return dressing(export.files(tmp_path_factory.mktemp("toy")))


def test_parts_are_worn_as_without_a_host(wardrobe: Wardrobe, small: net.ToyModel) -> None:
    """What reads words and pictures, both UNets, masks, pose guider and image tokens: the small net draws the same."""
    pictures = flat_pictures()
    pixels = worn(wardrobe, pictures)
    surface = mannequin.draw_layout(UPRIGHT).image.movedim(-1, 0)
    latents = net.dressed(small, pictures, [3], surface[None], PLAIN)
    check_alike(pixels, small.decoder(latents)[0])


@pytest.fixture(scope="module")
def sharing_wardrobe() -> Wardrobe:
    """As wide as SDXL."""
    return sharing(built.build().sharing)


@pytest.mark.thorough
@torch.inference_mode()
def test_parts_are_shared_as_without_a_host(sharing_wardrobe: Wardrobe, small: net.ToyModel) -> None:
    """Share Parts Attention, once, with masks: the small net draws the same."""
    pictures = flat_pictures()
    unet, nothing = small.sharing, torch.zeros(1, 1, WIDTH)
    latents = small.encoder(pictures.pixels)
    unet.look_at(parts2whole.seen_by(unet, nothing.expand(3, -1, -1), latents, pictures, [3]))

    def clean(x: Tensor, time: Tensor, sigma: Tensor) -> Tensor:
        scale = 1 / (sigma**2 + 1).sqrt()
        return x * scale**2 - unet(x * scale, time[None], nothing) * sigma * scale

    alone = net.sampled(clean, torch.zeros(1, 3, *garments.SIZE[::-1]), PLAIN, net.noise_levels())
    check_alike(shared(sharing_wardrobe, pictures), small.decoder(alone)[0])
