"""Looks on the toy model, whose clothes have colours: who wears what, over scenes and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from pack.core.cast import Cast, Layout, Member, Person, PlacedCast, Slot
from pack.core.models.packs import ANTELOPE, IR_SE50
from pack.core.parts.parts import Parts, make_part
from pack.core.persons import saving
from pack.nodes.control_images import DrawSkeletons
from pack.nodes.id_patch.nodes import LOADER as ID_PATCH
from pack.nodes.id_patch.nodes import ApplyIDPatch, IDPatchConditionImage
from pack.nodes.looks import LookFromPicture
from pack.nodes.parts2whole.nodes import ApplyParts2Whole, EncodeParts
from pack.nodes.places import LayoutForAGroup, PlaceCast
from pack.nodes.share_parts.nodes import ONCE, SharePartsAttention
from torch import Tensor
from toy import avatars, built, export, garments, net, places, recogniser, stored, story
from toy_files import files_in
from toy_in_host import Host, Wardrobe, drawn_people, dressing, host_nodes, opened, sample, sharing

RED, BLUE, GREEN, YELLOW = (0.85, 0.1, 0.1), (0.1, 0.2, 0.85), (0.1, 0.65, 0.2), (0.9, 0.8, 0.1)
TOP, TROUSERS = garments.PARTS["shirt"], garments.PARTS["trousers"]
AREAS = {TOP: avatars.Area.SHIRT, TROUSERS: avatars.Area.TROUSERS}
SCENES = ("standing", "hands up", "waving", "arms crossed", "walking", "sitting", "kneeling", "hug")
Colour = tuple[float, float, float]
Worn = Mapping[str, Colour]
"""Label -> colour."""


def person(name: str, number: int) -> Person:
    embedding = drawn_people("apart")[number : number + 1]
    return Person(name, {IR_SE50: embedding, ANTELOPE: recogniser.raw(embedding)}, torch.zeros(1, 112, 112, 3))


def photo(name: str, colour: Colour) -> tuple[Tensor, Tensor]:
    """A garment of one colour: (1, H, W, 3), and its mask (1, H, W)."""
    mask = (garments.examples()[name].amin(0) < 0.99).float()
    picture = torch.where(mask[..., None] > 0, torch.tensor(colour), torch.tensor(1.0))
    return picture[None], mask[None]


def dressed(who: Person, worn: Worn) -> Person:
    """By Look from Picture, from photos of both garments."""
    trousers, mask_of_trousers = photo("trousers", worn[TROUSERS])
    more = Parts((make_part(TROUSERS, trousers, mask_of_trousers, 1.0, None),))
    top, mask_of_top = photo("shirt", worn[TOP])
    return LookFromPicture.execute(
        who, who="", name="photos", image=top, label=TOP, hair=False, mask=mask_of_top, parts=more
    ).args[1]


def scene(action: str) -> Layout:
    """One person of the size that the toy knows. Layout for a Group needs more pixels, so it is made smaller."""
    width, height = garments.SIZE
    large: Slot = LayoutForAGroup.execute(1, "full", 0, 4 * width, 4 * height, action=action).args[0].slots[0]
    assert large.pose and large.box
    pose = tuple((x / 4, y / 4, confidence) for x, y, confidence in large.pose)
    left, top, right, bottom = (side / 4 for side in large.box)
    center = large.center[0] / 4, large.center[1] / 4
    return Layout(width, height, (Slot(center, (left, top, right, bottom), pose=pose),))


def masks_of(layout: Layout) -> dict[str, Tensor]:
    """Label -> where its garment lies, (H, W)."""
    size = (layout.width, layout.height)
    areas = torch.from_numpy(avatars.draw(places.of_slots(layout.slots), torch.zeros(1, 11), size, fine=1))
    return {label: (areas == avatars.area(0, part)).float() for label, part in AREAS.items()}


def colours_in(pixels: Tensor, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The median colour of each garment: (3,) each. pixels: (H, W, 3)."""
    return {label: pixels[mask > 0].median(0).values for label, mask in masks.items()}


def away(found: Mapping[str, Tensor], worn: Worn) -> float:
    """How far colours are from those that are worn: mean over channels and garments, 0..1."""
    return float(torch.stack([(found[label] - torch.tensor(worn[label])).abs().mean() for label in worn]).mean())


@pytest.fixture(scope="module")
def wardrobe(tmp_path_factory: pytest.TempPathFactory) -> Wardrobe:
    return dressing(export.files(tmp_path_factory.mktemp("toy")))


def in_scene(with_: Wardrobe, layout: Layout, seed: int, **inputs: Any) -> Tensor:
    """By Parts2Whole, (H, W, 3). inputs: of Encode Parts, `parts` or a cast; without any nothing is worn."""
    seeing, empty = (with_.clip, with_.clip_vision, with_.host.vae), with_.host.empty
    hair, mask = photo("hair", (0.4, 0.2, 0.1))
    inputs["parts"] = Parts((make_part(garments.PARTS["hair"], hair, mask, 1.0, None),))
    features = EncodeParts.execute(with_.networks, *seeing, *garments.SIZE, **inputs).args[0]
    surface = DrawSkeletons.execute(layout, draw="body surface").args[0]
    model, *sides = ApplyParts2Whole.execute(with_.host.model, empty, empty, features, 1.0, 0.0, 1.0, surface).args
    return sample(with_.host._replace(model=model), sides, layout, net.Settings(seed=seed))


def of_accepted_picture(pixels: Tensor, layout: Layout, who: Person) -> Person:
    """The person with what they wear in a picture, saved and loaded."""
    top, trousers = masks_of(layout)[TOP], masks_of(layout)[TROUSERS]
    more = Parts((make_part(TROUSERS, pixels[None], trousers[None], 1.0, None),))
    with_look: Person = LookFromPicture.execute(
        who, who="", name="first scene", image=pixels[None], label=TOP, hair=False, mask=top[None], parts=more
    ).args[1]
    return saving.from_tensors(*saving.to_tensors(with_look), "anna.safetensors")


@pytest.mark.parametrize(
    ("scenes", "seeds"),
    [(SCENES[1:3], [2]), pytest.param(SCENES[1:], range(1, 11), marks=pytest.mark.thorough)],
    ids=["few", "many"],
)
def test_a_series_keeps_the_clothes_of_its_first_picture(
    wardrobe: Wardrobe, scenes: Sequence[str], seeds: Sequence[int]
) -> None:
    """The first scene is drawn in clothes of photos. The others follow with the look that is taken from it. Without a
    look the toy draws grey clothes, whatever the prompt, which it does not read."""
    worn = {TOP: RED, TROUSERS: BLUE}
    anna, first = person("Anna", 0), scene(SCENES[0])
    accepted = in_scene(wardrobe, first, 1, cast=dressed(anna, worn))
    anna = of_accepted_picture(accepted, first, anna)
    with_look, without = list[float](), list[float]()
    for action in scenes:
        layout = scene(action)
        masks = masks_of(layout)
        grey = in_scene(wardrobe, layout, 1, cast=anna, looks="Anna: -")
        without.append(away(colours_in(grey, masks), worn))
        for seed in seeds:
            pixels = in_scene(wardrobe, layout, seed, cast=anna)
            with_look.append(away(colours_in(pixels, masks), worn))
    assert mean(with_look) <= 0.1 and mean(without) >= 0.25, (with_look, without)


def mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)


def two(left: Person, right: Person) -> PlacedCast:
    """Side by side, each in a half of the picture."""
    width, height = garments.SIZE
    members: list[Member] = []
    for number, who in enumerate((left, right)):
        mask = torch.zeros(height, 2 * width)
        mask[:, number * width : (number + 1) * width] = 1
        slot = Slot((number * width + 64.0, 45.0), mask=mask)
        members.append(Member(who, slot=slot, place=number + 1, number=number + 1))
    return PlacedCast(tuple(members), 2 * width, height)


def shared(host: Host, clip: Any, cast: Cast, seed: int) -> Tensor:
    """By Share Parts Attention, (H, W, 3)."""
    width, height = 2 * garments.SIZE[0], garments.SIZE[1]
    options = {"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0, "layers": "all", "reference": ONCE}
    model, *sides = SharePartsAttention.execute(
        host.model, host.empty, host.empty, clip, host.vae, cast=cast, width=width, height=height, **options
    ).args
    return sample(host._replace(model=model), sides, Layout(width, height, ()), net.Settings(seed=seed))


WHERE = {
    TOP: (slice(62, 98), (slice(45, 95), slice(161, 211))),
    TROUSERS: (slice(115, 160), (slice(48, 66), slice(190, 208))),
}
"""Rows and columns of the garments of the left and the right person, within what the toy draws of two."""


@pytest.mark.thorough
def test_everybody_wears_their_own_colours_also_exchanged() -> None:
    """Both orders of two looks of opposite colours, ten seeds: whose colours go where."""
    wardrobe = sharing(built.build().sharing)
    looks = {"Anna": {TOP: RED, TROUSERS: BLUE}, "Ben": {TOP: BLUE, TROUSERS: RED}}
    people = [dressed(person(name, number), looks[name]) for number, name in enumerate(looks)]
    right, errors = list[bool](), list[float]()
    for seed in range(1, 11):
        for pair in (people, people[::-1]):
            pixels = shared(wardrobe.host, wardrobe.clip, two(*pair), seed)
            for side, who in enumerate(pair):
                found: dict[str, Tensor] = {}
                for label, (rows, columns) in WHERE.items():
                    found[label] = pixels[rows, columns[side]].flatten(0, 1).median(0).values
                nearest = min(looks, key=lambda name: away(found, looks[name]))
                right.append(nearest == who.name)
                errors.append(away(found, looks[who.name]))
    assert mean(right) == 1 and mean(errors) <= 0.15, (right, errors)


def test_a_scene_of_a_story_is_as_without_a_host(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Words, ID-Patch and the looks of a first scene in one picture: the small networks draw the same."""
    small, settings = stored.load(), net.Settings(id_start=1.0)
    with files_in(tmp_path_factory.mktemp("toy")) as files:
        host = opened(files, "control_net", ID_PATCH.load_file, "id_patch", checkpoint="story")
    people = [person("Anna", 0), person("Ben", 1)]
    layout = LayoutForAGroup.execute(2, "bust", 0, *places.LARGE).args[0]
    cast = PlaceCast.execute(layout, "left to right", "", Cast(tuple(map(Member, people)))).args[0]
    skeleton = DrawSkeletons.execute(layout).args[0]
    embeddings = drawn_people("apart")[:2]
    hint = net.hint(skeleton[0], small.patches(embeddings), [slot.center for slot in layout.slots])
    first: Tensor | None = None
    parts: list[story.Worn] = []
    for line in story.SCENES[:2]:
        text = host_nodes.CLIPTextEncode().encode(host.clip, line)[0]
        image = IDPatchConditionImage.execute(host.adapter, cast, "mean", skeleton).args[0]
        options = {"strength": 0.8, "start_percent": 0.0, "end_percent": 1.0, "photos": "mean", "id_start_percent": 1.0}
        sides = ApplyIDPatch.execute(text, host.empty, host.control_net, host.adapter, cast, image, **options).args[:2]
        model = host.model
        if first is not None:
            model, *sides = SharePartsAttention.execute(
                host.model, *sides, host.clip, host.vae, cast=cast, width=layout.width, height=layout.height,
                strength=1.0, start_percent=0.0, end_percent=1.0, layers="up blocks", reference=ONCE,
            ).args  # fmt: skip
        pixels = sample(host._replace(model=model), sides, layout, settings)
        alone = small.decoder(story.scene(small, hint, story.prompt_of(line), settings, first, parts))[0]
        difference = (alone.permute(1, 2, 0).clamp(0, 1) - pixels).abs()
        assert difference.mean() < 1 / 255 and difference.quantile(0.99) < 2 / 255, line
        if first is None:
            first = pixels
            for number in (0, 1):
                cast = LookFromPicture.execute(
                    cast, str(number + 1), "first scene", pixels[None], "whole body clothes", True
                ).args[0]
                parts += story.worn_by(cast, cast, number, hair=True)
