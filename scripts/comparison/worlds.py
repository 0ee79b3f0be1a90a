"""What cartoons are drawn with, of whom, and what judges them."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from miniature import places, portraits, recogniser, stored
from miniature.in_host import Host, files_in, opened
from miniature.portraits import HELD_OUT
from pack.bridge.people.face_model import HostedFaceModel
from pack.core.faces import model as faces
from pack.core.models.packs import ANTELOPE, IR_SE50
from pack.core.models.tensors import read
from pack.core.people import Identity
from pack.nodes.id_patch.nodes import LOADER as ID_PATCH
from pack.nodes.instant_id.nodes import LOADER as INSTANT_ID

from .cartoon_methods import Models, World
from .colour_judging import ColourJudge

PHOTOS = 8
"""Of every drawn person."""


@contextmanager
def miniature(people: int) -> Iterator[World]:
    """Of networks that are as wide as the small ones."""
    with TemporaryDirectory() as folder, files_in(Path(folder)) as files:
        id_patch = _models(opened(files, "control_net", ID_PATCH.load_file, "id_patch"))
        instant_id = _models(opened(files, "identity_net", INSTANT_ID.load_file, "instant_id"))
        detector = faces.open_detector(str(files.antelope.with_name("det_500m.onnx")), faces.on_cpu)
        reads = faces.IRSE50Recogniser(read(files.recogniser), str(files.recogniser), faces.on_cpu)
        model = HostedFaceModel(detector, (reads,))
        everybody = list(drawn_people(people))
        yield World(id_patch, instant_id, model, everybody, _size, 256, ColourJudge(stored.load(), everybody).judged)


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
