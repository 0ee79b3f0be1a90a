"""What is drawn with, and what judges it.

The miniature's colours say who is where; of a user's own models and photos face recognisers do.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torch.nn.functional as functional
from miniature import avatars, measure, net, places, portraits, recogniser, stored
from miniature.in_host import Host, files_in, opened
from miniature.pool import HELD_OUT
from pack.bridge.people.face_model import HostedFaceModel
from pack.core.faces import model as faces
from pack.core.models.packs import ANTELOPE, IR_SE50
from pack.core.models.tensors import read
from pack.core.people import Identity
from pack.nodes.id_patch.nodes import LOADER as ID_PATCH
from pack.nodes.instant_id.nodes import LOADER as INSTANT_ID

from .colour_judging import ColourJudge
from .methods import Models, Picture, World

PHOTOS = 8
"""Of every drawn person."""


# --- The miniature


@contextmanager
def miniature(people: int) -> Iterator[World]:
    """Of networks that are as wide as the small ones."""
    with TemporaryDirectory() as folder, files_in(Path(folder)) as files:
        id_patch = _models(opened(files, "control_net", ID_PATCH.load_file, "id_patch"))
        instant_id = _models(opened(files, "identity_net", INSTANT_ID.load_file, "instant_id"))
        detector = faces.open_detector(str(files.antelope.with_name("det_500m.onnx")), faces.on_cpu)
        reads = faces.IRSE50Recogniser(read(files.recogniser), str(files.recogniser), faces.on_cpu)
        model = HostedFaceModel(detector, (reads,))
        small = stored.load()
        everybody = list(drawn_people(people))
        judge = partial(by_colour, small)
        columns = partial(columns_by_colour, small, ColourJudge(small, everybody))
        yield World(id_patch, instant_id, model, everybody, _size, 256, judge, columns)


def _models(host: Host) -> Models:
    return Models((host.model, host.empty, host.empty), host.vae, host.control_net, host.adapter, 4, 1.0, 1.0)


def _size(people: int) -> tuple[int, int]:
    """The size on which the networks were trained, as long as everybody has room there: on a larger one they lose
    colours of a single person already (docs/dev/miniature.md)."""
    return places.LARGE if people <= 8 else (768, 576)


def drawn_people(count: int) -> Iterator[Identity]:
    """Whom it has not seen, in photos of other light and before other walls each."""
    rng = random.Random(HELD_OUT)
    for number in range(count):
        person = portraits.person(rng)
        crops = np.stack([portraits.photo(rng, person)[0] for _ in range(PHOTOS)])
        embeddings = recogniser.embed(crops)
        by_name = {IR_SE50: embeddings, ANTELOPE: recogniser.raw(embeddings)}
        yield Identity(f"person {number + 1}", by_name, torch.from_numpy(crops) / 255)


@torch.inference_mode()
def by_colour(small: net.Miniature, pictures: Sequence[Picture]) -> dict[str, float]:
    """Whose look is seen in which place. Of people who are alone association, leakage and own are NaN."""
    looks = [_seen(small, picture) for picture in pictures]
    mixture = measure.leakage(looks)
    figures = {"association": measure.association(looks), "leakage": mixture.leakage, "own": mixture.own}
    for part in ("hair", "shirt", "skin"):
        figures[f"R2 {part}"] = measure.fit(looks, part)
    return figures


@torch.inference_mode()
def columns_by_colour(
    small: net.Miniature, judge: ColourJudge, pictures: Sequence[Picture]
) -> Mapping[str, float | None]:
    """The columns of compare.py --people."""
    return judge.figures(pictures, [_seen(small, picture) for picture in pictures])


def _seen(small: net.Miniature, picture: Picture) -> measure.Seen:
    rows = [person.identity.embeddings[IR_SE50].mean(0) for person in picture.cast.people]
    persons_looks = small.looks(functional.normalize(torch.stack(rows)))
    size = (picture.cast.width, picture.cast.height)
    slots = [person.slot for person in picture.cast.people]
    standing = places.of_slots([slot for slot in slots if slot])
    if picture.by_keypoints:
        standing = places.by_face(standing, size)
    areas = avatars.draw(standing, persons_looks, size)
    colours = measure.found_in(measure.cells_of(picture.pixels), areas, len(persons_looks))
    return measure.Seen(colours, measure.colours_of(persons_looks))
