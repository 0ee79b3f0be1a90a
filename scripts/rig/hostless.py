"""Whose look a picture of the miniature's shows in whose place: people and places once more, by the pack's core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from miniature import avatars, measure, places, stored
from miniature.looks import PARTS
from torch import Tensor

from core import identities
from core.faces.model import FaceModel, IRSE50Recogniser, faces_in, on_cpu, open_detector
from core.geometry import area
from core.models.packs import IR_SE50
from core.models.tensors import read
from core.people import Cast, Layout, Person
from core.places import group, placing
from rig.photos import pixels
from rig.standins import Files
from rig.workflow import nodes_in


@dataclass(frozen=True)
class Group:
    """Who stands where."""

    cast: Cast
    layout: Layout

    @property
    def embeddings(self) -> Tensor:
        """(P, 512), in the order of the cast."""
        return torch.cat(
            [identities.combine(person.identity, IR_SE50, "mean", "The miniature") for person in self.cast.people]
        )


def _widgets(workflow: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {node["type"]: node["widgets_values"] for node in nodes_in(workflow) if node.get("widgets_values")}


@torch.inference_mode()
def people(workflow: Mapping[str, Any], photos: Sequence[Path], models: Files) -> Group:
    """The workflow's people in their places."""
    recogniser = IRSE50Recogniser(read(models.recogniser), str(models.recogniser), on_cpu)
    detector = open_detector(str(models.face_pack / "det_500m.onnx"), on_cpu)
    face_model = FaceModel(detector, (recogniser,))
    known: list[Person] = []
    for name, photo in zip(_widgets(workflow)["LikenessPeopleFromPhotos"][0].split(", "), photos, strict=True):
        largest = max(faces_in(face_model, pixels(photo)).faces, key=lambda face: area(face.box))
        known.append(Person(identities.from_faces(name, [largest], face_model.ids)))
    widgets, cast = _widgets(workflow), Cast(tuple(known))
    count, framing, rows = widgets["LikenessGroupLayout"][:3]
    layout = group.layout(count, framing, rows, *places.LARGE)
    order, custom = widgets["LikenessPlaceCast"]
    chosen = placing.assign(cast, layout, order, custom)
    return Group(placing.place(cast, layout, chosen), layout)


@torch.inference_mode()
def association(group: Group, result: Path) -> dict[str, Any]:
    """Whose look the result shows in which place, and how far its colours are from those that were meant."""
    drawer, size = stored.load(), (group.layout.width, group.layout.height)
    looks = drawer.looks(group.embeddings)
    slots = tuple(person.slot for person in group.cast.people if person.slot)
    areas = avatars.draw(places.of_slots(slots), looks, size)
    found = measure.found_in(measure.cells_of(pixels(result)), areas, len(looks))
    seen = measure.Seen(found, measure.colours_of(looks))
    names = [person.identity.name for person in group.cast.people]
    return {
        "share": measure.association([seen]),
        "looks_like": {name: names[other] for name, other in zip(names, measure.nearest(seen), strict=True)},
        "colour_error": {part: round(measure.error([seen], part), 3) for part in PARTS},
    }
