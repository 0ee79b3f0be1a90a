"""Scenes of a story: the people of ID-Patch in the clothes of another picture, which Share Parts Attention reads.

Clothes come from a look, which is the other picture within a mask of the person's clothes. Who has none wears grey, or
what the patch says where the prompt says `colorful`. Walls come from words. Everything else is ID-Patch's.
"""

import colorsys
import random
from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor

from core.cast import Cast, Layout, Member, Person, PlacedCast
from core.checks.errors import LikenessError
from core.places import control_images, placing

from .. import avatars, net, places, words
from ..avatars import Area, area
from ..looks import BEARD, HAIR, LENGTH, SHIRT, SIZE, SKIN
from ..net import ToyModel
from ..story import Worn, beside, worn_by
from . import crowds

_PEOPLE = 254 // len(Area)
"""How many the numbers of areas are enough for."""
_SKINS = torch.tensor([
    (1.0, 0.88, 0.80), (0.96, 0.80, 0.69), (0.90, 0.70, 0.55), (0.78, 0.56, 0.42), (0.60, 0.41, 0.29),
    (0.42, 0.28, 0.20), (0.30, 0.20, 0.16),
])  # fmt: skip
_HAIRS = torch.tensor([
    (0.10, 0.08, 0.08), (0.24, 0.16, 0.11), (0.41, 0.27, 0.17), (0.59, 0.41, 0.24), (0.84, 0.69, 0.41),
    (0.93, 0.84, 0.63), (0.69, 0.29, 0.14), (0.75, 0.75, 0.75), (0.92, 0.91, 0.89), (0.47, 0.16, 0.12),
])  # fmt: skip


class Scene(NamedTuple):
    """pixels, hint: (1, 3, H, W). prompt: (1, 77, 64). cost: (1, 1, H/8, W/8), of an error. first: (1, 3, H, W), the
    scene whose clothes are read; worn: of it."""

    pixels: Tensor
    hint: Tensor
    prompt: Tensor
    cost: Tensor
    first: Tensor
    worn: list[Worn]


# --- People and pictures


def people(rng: random.Random, count: int) -> Tensor:
    """(count, 11): looks of drawn people."""
    rows: list[Tensor] = []
    for _ in range(count):
        row = torch.zeros(SIZE)
        row[HAIR], row[SKIN] = _between(_HAIRS, rng), _between(_SKINS, rng)
        row[SHIRT] = vivid(rng)
        row[LENGTH] = rng.choice((0.0, 1.0)) + rng.gauss(0, 0.1)
        row[BEARD] = rng.uniform(0.4, 0.9) if rng.random() < 0.2 else rng.gauss(0, 0.08)
        rows.append(row)
    return torch.stack(rows)


def _between(table: Tensor, rng: random.Random) -> Tensor:
    """A colour between two neighbours of a table."""
    first = rng.randrange(len(table) - 1)
    mixed = torch.lerp(table[first], table[first + 1], rng.random())
    return (mixed + torch.tensor([rng.gauss(0, 0.05) for _ in range(3)])).clamp(0.03, 0.99)


def vivid(rng: random.Random) -> Tensor:
    """(3,): a colour of clothes."""
    return torch.tensor(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.55, 0.95), rng.uniform(0.35, 0.95)))


def patches(looks: Tensor, rng: random.Random) -> Tensor:
    """(P, 3, 64, 64): what ID-Patch's projection says of these looks, with its small chequers."""
    said = 2 * looks - 1
    style = torch.stack([said[:, LENGTH], said[:, BEARD], torch.full((len(said),), rng.gauss(-0.7, 0.5))], 1)
    rows = torch.arange(net.PATCH)
    chequers = (rows[:, None] + rows) % 2 * 2.0 - 1
    made: list[Tensor] = []
    for person in range(len(looks)):
        made.append(net.written([part[person] for part in (said[:, HAIR], said[:, SKIN], said[:, SHIRT], style)]))
    said_somewhere = net.bands() != net.NOTHING
    return torch.stack(made) + rng.uniform(-0.09, 0.09) * chequers * said_somewhere


def wall(word: str | None, size: tuple[int, int]) -> Tensor:
    """(H, W, 3)."""
    if word is None:
        return torch.tensor(avatars.WALL_COLOUR).expand(size[1], size[0], 3)
    down = torch.linspace(0, 1, size[1])[:, None, None]
    colours = [torch.tensor(colour) for colour in words.WALLS[word]]
    return (colours[0] + down * (colours[1] - colours[0])).expand(-1, size[0], -1)


def picture(layout: Layout, looks: Tensor, word: str | None) -> tuple[Tensor, avatars.Areas]:
    """(3, H, W), 0..1, and its areas at twice the size."""
    size = layout.width, layout.height
    areas = avatars.draw(places.of_slots(layout.slots), looks, size)
    inside = torch.from_numpy(areas).long()
    pixels = avatars.palette(looks)[inside]
    behind = wall(word, (2 * size[0], 2 * size[1]))
    pixels = torch.where((inside == avatars.WALL)[..., None], behind, pixels)
    return functional.avg_pool2d(pixels.movedim(-1, 0)[None], 2)[0], areas


def placed(layout: Layout) -> PlacedCast:
    """Somebody in each place."""
    nobody = Person("somebody", {}, torch.zeros(1, 112, 112, 3))
    cast = Cast(tuple(Member(nobody) for _ in layout.slots))
    return placing.place(cast, layout, tuple(range(len(layout.slots))))


# --- What is learned


def scene(rng: random.Random, size: tuple[int, int]) -> Scene:
    """A scene, and the first one, in which the same people wear what they wear now."""
    then = crowds.draw(rng, size)
    count = len(then.slots)
    first = then if rng.random() < 0.6 else crowds.draw(rng, size, count)
    looks = people(rng, count)
    before = looks.clone()
    before[:, SHIRT] = torch.stack([vivid(rng) for _ in range(count)])
    if rng.random() < 0.3:
        looks[:, SHIRT] = torch.tensor(words.GREY)
    colourful = rng.random() < 0.3
    now = looks.clone()
    if not colourful:
        now[:, SHIRT] = torch.tensor(words.GREY)
    has_look = rng.random() < (0.2 if colourful else 0.85)
    parts: list[Worn] = []
    for person in range(count):
        if not has_look or rng.random() < 0.15:
            continue
        try:
            of_person = worn_by(placed(first), placed(then), person, rng.random() < 0.6)
        except LikenessError:  # somebody else hides the clothes
            continue
        parts += of_person
        now[person, SHIRT] = before[person, SHIRT]
    word = rng.choice((None, *words.WALLS))
    said = {rng.randrange(1, 30): word} if word else {}
    if colourful:
        said[rng.randrange(30, 60)] = words.COLORFUL
    pixels, areas = picture(then, now, word)
    (skeleton,) = control_images.skeletons(then, by_row=False)
    hint = net.hint(skeleton, patches(looks, rng), [slot.center for slot in then.slots])
    of_cells = _COSTS[torch.from_numpy(areas).long()][None, None]
    cost = functional.adaptive_avg_pool2d(of_cells, (size[1] // 8, size[0] // 8))
    before_pixels, _ = picture(first, before, rng.choice((None, *words.WALLS)))
    return Scene(pixels[None], hint, words.prompt(said)[None], cost, before_pixels[None], parts)


def _costs() -> Tensor:
    """(256,): what an error costs in each area: 2 on the wall, most where faces are and where clothes are."""
    costs = torch.full((256,), 3.0)
    costs[avatars.WALL], costs[avatars.WHITE] = 2.0, 5.0
    for part, cost in ((Area.SKIN, 8.0), (Area.HAIR, 5.0), (Area.MOUTH, 5.0), (Area.CHIN, 5.0), (Area.SHIRT, 8.0)):
        costs[[area(person, part) for person in range(_PEOPLE)]] = cost
    return costs


_COSTS = _costs()


def loss(model: ToyModel, levels: Tensor, drawn: Scene) -> Tensor:
    """How wrong the velocity is at one step, mostly the first of a sampler's, which sees noise alone. levels: of
    net.noise_levels."""
    with torch.no_grad():
        clean, first = model.encoder(drawn.pixels), model.encoder(drawn.first)
        noise = torch.randn_like(clean)
        begins = bool(torch.rand(()) < 0.85)
        step = 999 if begins else int(torch.randint(1000, ()))
        kept = levels[step]
        noisy = noise if begins else kept.sqrt() * clean + (1 - kept).sqrt() * noise
        steps = torch.tensor([step])
        control = model.control(noisy, steps, drawn.prompt, drawn.hint)
        first = first + 0.1 * torch.rand(()) * torch.randn_like(first)
    model.story.look_at(beside(model.story, first, drawn.worn))
    strength = 0.8 if torch.rand(()) < 0.7 else 1.0
    found = model.story(noisy, steps, drawn.prompt, control, strength)
    target = (kept.sqrt() * noisy - clean) / (1 - kept).sqrt()
    return ((found - target).square() * drawn.cost).mean()
