"""The source --toy: the pack's drawn people, drawn as cartoons by the toy model and judged by colours.

No detector finds most of its cartoons, and no recogniser knows their people. So every face is looked for in the place
that its person has, and a similarity compares the colours there with those of the photo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any

import torch
from pack.core.cast import Box
from pack.core.measure import STRANGER_BELOW, MeasuredPicture, Sighting
from pack.core.models.packs import IR_SE50
from shared import photos
from torch import Tensor
from torch.nn.functional import normalize
from toy import avatars, measure, net, places, stored

from .graphs import Graph
from .judged import Judged
from .judging import Known, placed
from .photos import PersonFiles
from .picture_cache import Drawn
from .prompts import Scene
from .template_methods import Change, TemplateMethod, methods_named, setting

REMARK = (
    "drawn by the toy model: the figures say nothing of the released weights. They are read from colours "
    "in people's places, so no face is extra"
)
_METHODS = ("ID-Patch", "InstantID by region", "InstantIDs chained", "faces one by one")
"""Those whose files it has."""
_SETTINGS: dict[str, dict[str, Any]] = {
    "KSampler": net.KSAMPLER,
    "LikenessApplyIDPatch": {"strength": 1.0, "id_start_percent": 0.0},
    "LikenessApplyInstantID": {"adapter_weight": 1.0, "control_strength": 1.0},
}


def everybody() -> list[PersonFiles]:
    """The pack's drawn people, one photo of each."""
    return [
        PersonFiles(name.capitalize(), (path,))
        for name, path in zip(photos.DRAWN, photos.drawn(*photos.DRAWN), strict=True)
    ]


def methods() -> tuple[TemplateMethod, ...]:
    """With the settings that the toy model was trained for, and without ablations that need several photos."""
    found: list[TemplateMethod] = []
    for method in methods_named(_METHODS):
        ablations = {name: ablation for name, ablation in method.ablations.items() if ablation.photos == 1}
        found.append(replace(method, change=partial(_as_trained, method.change), ablations=ablations))
    return tuple(found)


def _as_trained(change: Change, graph: Graph, scene: Scene) -> None:
    """The change of a method, then those of its settings that are the template's for released weights."""
    change(graph, scene)
    for class_type, inputs in _SETTINGS.items():
        setting(class_type, **inputs)(graph, scene)


class ColourJudge:
    """It compares what stands in each place with the colours of people's photos.

    known: everybody who may be in a picture, by name.
    """

    def __init__(self, known: dict[str, Known]) -> None:
        self._known = known
        self._network = stored.load()
        colours = measure.colours_of(self._looks([*known.values()]))
        distances = [distance(first, second) for first, second in combinations(colours, 2)]
        self.stranger_distance = sum(distances) / len(distances)
        """How far the colours of two people are from each other in the mean."""

    def of_people(self, drawn: Drawn, scene: Scene, measured_as: str) -> Judged:
        """People in their places. measured_as: the picture's method; InstantID is told of faces alone."""
        known = [self._known[person.name] for person in scene.people]
        slots = [member.slot for member in placed(known, scene.size).people if member.slot]
        where = places.of_slots(slots)
        if measured_as == "InstantID":
            where = places.by_face(where, scene.size)
        looks = self._looks(known)
        areas = avatars.draw(where, looks, scene.size)
        found = measure.found_in(measure.cells_of(drawn.pixels), areas, len(known))  # (P, 9)
        meant = measure.colours_of(looks)
        sightings: list[Sighting] = []
        boxes: list[Box] = []
        for number, (slot, seen) in enumerate(zip(slots, found, strict=True)):
            alike: list[float] = []
            if not seen.isnan().all():
                alike = [self.similarity(seen, look) for look in meant]
            if max(alike, default=0.0) < STRANGER_BELOW or slot.box is None:
                sightings.append(Sighting(number))
                continue
            sightings.append(Sighting(number, len(boxes), tuple(alike)))
            boxes.append(slot.box)
        return Judged(
            people=len(known),
            faces=len(boxes),
            measured=MeasuredPicture(tuple(boxes), tuple(sightings)),
            alike_in_photos=[[self.similarity(first, second) for second in meant] for first in meant],
            seconds=drawn.seconds,
            step_seconds=drawn.step_seconds,
        )

    def similarity(self, first: Tensor, second: Tensor) -> float:
        """How alike the colours (9,) of two people are: 1 for the same, 0 for as far apart as two are in the mean."""
        return 1 - distance(first, second) / self.stranger_distance

    def _looks(self, known: Sequence[Known]) -> Tensor:
        """(P, 11): of people as the toy model draws them."""
        embeddings = [person.person.embeddings[IR_SE50].mean(0) for person in known]
        with torch.inference_mode():
            return self._network.looks(normalize(torch.stack(embeddings)))


def distance(first: Tensor, second: Tensor) -> float:
    """The root mean square difference of two people's colours (9,), of those that are seen in both."""
    return float((first - second).square().nanmean().sqrt())
