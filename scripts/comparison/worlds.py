"""What is drawn with, and what judges it.

The miniature's colours say who is where; of a user's own models and photos face recognisers do.
"""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import evaluate
import numpy as np
import torch
import torch.nn.functional as functional
from bench.methods import run
from environment import ROOT, SetupError
from miniature import avatars, measure, net, places, recogniser, stored
from miniature.training import crowds, portraits
from miniature.training.pool import HELD_OUT
from miniature_made import Host, files_in, host_nodes, opened
from pack.core import identities
from pack.core import measure as faces_measured
from pack.core.errors import LikenessError
from pack.core.faces import model as faces
from pack.core.models.packs import ANTELOPE, IR_SE50
from pack.core.models.tensors import read
from pack.core.people import Identity
from pack.nodes.id_patch.nodes import LOADER as ID_PATCH
from pack.nodes.instant_id.nodes import LOADER as INSTANT_ID
from rig.workflow import load, nodes_in

from .methods import Models, Picture, World

REFUSED = LikenessError, evaluate.Unusable, OSError
"""What a user has to mend."""
PHOTOS = 8
"""Of every drawn person."""
TEMPLATES = "start_group", "start_portrait"
"""Which name the published files, of ID-Patch and of InstantID."""


# --- The miniature


@contextmanager
def miniature(people: int) -> Iterator[World]:
    """Of networks that are as wide as the small ones."""
    with TemporaryDirectory() as folder, files_in(Path(folder)) as files:
        id_patch = _models(opened(files, "control_net", ID_PATCH.load_file, "id_patch"))
        instant_id = _models(opened(files, "identity_net", INSTANT_ID.load_file, "instant_id"))
        detector = faces.open_detector(str(files.antelope.with_name("det_500m.onnx")), faces.on_cpu)
        reads = faces.IRSE50Recogniser(read(files.recogniser), str(files.recogniser), faces.on_cpu)
        model = faces.FaceModel(detector, (reads,))
        judge = partial(by_colour, stored.load())
        yield World(id_patch, instant_id, model, list(drawn_people(people)), _size, 256, judge)


def _models(host: Host) -> Models:
    return Models((host.model, host.empty, host.empty), host.vae, host.control_net, host.adapter, 4, 1.0, 1.0)


def _size(people: int) -> tuple[int, int]:
    return places.LARGE if people <= 6 else (768, 576)


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
    seen = [_seen(small, picture) for picture in pictures]
    mixture = measure.leakage(seen)
    figures = {"association": measure.association(seen), "leakage": mixture.leakage, "own": mixture.own}
    for part in ("hair", "shirt", "skin"):
        figures[f"R2 {part}"] = measure.fit(seen, part)
    return figures


def _seen(small: net.Miniature, picture: Picture) -> measure.Seen:
    rows = [person.identity.embeddings[IR_SE50].mean(0) for person in picture.cast.people]
    meant = small.looks(functional.normalize(torch.stack(rows)))
    size, slots = (picture.cast.width, picture.cast.height), [person.slot for person in picture.cast.people]
    standing = places.of_slots([slot for slot in slots if slot])
    where = crowds.by_face(standing, size) if picture.by_keypoints else standing
    areas = avatars.draw(where, meant, size)
    found = measure.found_in(measure.cells_of(picture.pixels), areas, len(meant))
    return measure.Seen(found, measure.colours_of(meant))


# --- Published weights


@contextmanager
def published(folder: Path, prompt: str, size: tuple[int, int], steps: int | None) -> Iterator[World]:
    """By the names that the templates have. folder: of photos, one of each person or a folder of each. steps: None for
    those of the templates.

    Raises SetupError.
    """
    face_model = run("LikenessLoadFaceEmbedder", pack="antelopev2", recognisers="all found")[0]
    id_patch, instant_id = (_published(name, prompt, steps) for name in TEMPLATES)
    people = [_person(path, face_model) for path in sorted(folder.iterdir()) if path.is_dir() or _photos(path)]
    if len(people) < 2:
        raise SetupError(f"{folder} has photos of fewer than two people: put one of each there, or a folder of each.")
    yield World(id_patch, instant_id, face_model, people, lambda _: size, 768, partial(by_face, face_model))


@cache
def _checkpoint(name: str) -> Any:
    return host_nodes.CheckpointLoaderSimple().load_checkpoint(name)[:3]


def _published(template: str, prompt: str, wanted: int | None) -> Models:
    nodes = nodes_in(load(ROOT / "workflows" / f"{template}.json"))
    values: Mapping[str, Any] = {node["type"]: node.get("widgets_values") for node in nodes}
    model, clip, vae = _checkpoint(values["CheckpointLoaderSimple"][0])
    # Of two texts the second stays: the negative.
    sides = [host_nodes.CLIPTextEncode().encode(clip, text)[0] for text in (prompt, values["CLIPTextEncode"][0])]
    (control_net,) = host_nodes.ControlNetLoader().load_controlnet(values["ControlNetLoader"][0])
    (adapter,) = run("LikenessLoadAdapter", file=values["LikenessLoadAdapter"][0])
    _, _, steps, cfg = values["KSampler"][:4]
    return Models((model, *sides), vae, control_net, adapter, wanted or steps, cfg)


def _photos(path: Path) -> list[Path]:
    every = sorted(path.iterdir()) if path.is_dir() else [path]
    return [one for one in every if one.suffix.lower() in evaluate.PICTURES]


def _person(path: Path, face_model: Any) -> Identity:
    found = [evaluate.largest_face(photo, evaluate.image(photo), face_model) for photo in _photos(path)]
    return identities.from_faces(path.name if path.is_dir() else path.stem, found, face_model.ids)


def by_face(face_model: Any, pictures: Sequence[Picture]) -> dict[str, float]:
    """As evaluate.py says it. missing and swapped are shares of all people, since rows have more and fewer of them. One
    person alone has nobody to be taken for and nobody to leak: association, leakage and swapped are NaN."""
    measured: list[faces_measured.MeasuredPicture] = []
    for picture in pictures:
        names = faces_measured.judges(face_model.ids, picture.cast.people, "unknown")
        report = faces_measured.measure([faces.faces_in(face_model, picture.pixels)], picture.cast, names)
        measured += report.judged_pictures
    people = sum(len(one.sightings) for one in measured)
    totals = faces_measured.totals(measured)
    figures = {
        "association": totals.association,
        "leakage": totals.leakage,
        "resemblance": totals.resemblance,
        "missing": totals.missing / people,
        "swapped": totals.swapped / people,
    }
    if all(len(one.sightings) == 1 for one in measured):
        for name in ("association", "leakage", "swapped"):
            figures[name] = math.nan
    elif not any(one.present for one in measured):
        figures["leakage"] = math.nan
    return figures
