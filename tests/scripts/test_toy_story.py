"""The toy model's story by the small networks: everybody's hair and skin from a photo, clothes from another picture."""

from __future__ import annotations

import colorsys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from toy import avatars, looks, measure, net, places, stored, story, words

from core.cast import Cast, Layout, Member, Person, PlacedCast
from core.places import control_images, group, placing

PEOPLE = load_file(Path(__file__).parents[1] / "golden" / "toy_people.safetensors")["unseen"]
LAYOUT = group.layout(2, "bust", 0, *places.LARGE)
SIZE = (LAYOUT.width, LAYOUT.height)
LINES = [f"in a {word}" for word in words.WALLS]


def placed(layout: Layout) -> PlacedCast:
    somebody = Person("somebody", {}, torch.zeros(1, 112, 112, 3))
    return placing.place(Cast(tuple(Member(somebody) for _ in layout.slots)), layout, tuple(range(len(layout.slots))))


def worn(hues: Tensor) -> Tensor:
    """(P, 3): bright colours."""
    return torch.tensor([colorsys.hsv_to_rgb(float(hue), 0.8, 0.8) for hue in hues])


@pytest.mark.parametrize("seeds", [1, pytest.param(10, marks=pytest.mark.thorough)])
@torch.inference_mode()
def test_faces_come_from_photos_and_clothes_from_a_look(seeds: int) -> None:
    """Four scenes, pairs of people whom it was not trained on. The photos' own colours of clothes are others."""
    model, cast = stored.load(), placed(LAYOUT)
    (skeleton,) = control_images.skeletons(LAYOUT, by_row=False)
    standing = places.of_slots(LAYOUT.slots)
    parts = [one for person in range(2) for one in story.worn_by(cast, cast, person, hair=True)]
    found: list[measure.Seen] = []
    for seed in range(seeds):
        embeddings = PEOPLE[2 * seed : 2 * seed + 2]
        meant = model.looks(embeddings)
        meant[:, looks.SHIRT] = worn(torch.tensor([0.37 * seed, 0.37 * seed + 0.5]) % 1)
        first, areas = avatars.picture(standing, meant, SIZE)
        hint = net.hint(skeleton, model.patches(embeddings), [slot.center for slot in LAYOUT.slots])
        for line in LINES:
            settings = net.Settings(seed=seed + 1)
            latents = story.scene(model, hint, story.prompt_of(line), settings, first.movedim(0, -1), parts)
            cells = measure.cells_of(model.decoder(latents)[0].movedim(0, -1).clamp(0, 1))
            found.append(measure.Seen(measure.found_in(cells, areas, 2), measure.colours_of(meant)))
    fits = {part: measure.fit(found, part) for part in looks.PARTS}
    association = measure.association(found)
    assert association == 1 and fits["shirt"] >= 0.8, (association, fits)
