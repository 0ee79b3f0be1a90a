"""The main job without ComfyUI: faces, places and condition image by the pack's core, the picture by the miniature."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from environment import say
from miniature import avatars, measure, net, places, stored
from miniature.looks import PARTS
from PIL import Image
from torch import Tensor

from core import identities
from core.faces.analysis import numbered_faces
from core.faces.model import FaceModel, IRSE50Recogniser, faces_in, on_cpu, open_detector
from core.geometry import area
from core.models.packs import IR_SE50
from core.models.tensors import read
from core.people import Cast, Layout, Person
from core.places import control_images, group, placing
from core.places.drawing import numbered_layout
from rig.photos import pixels
from rig.standins import Files
from rig.weights import MINIATURE
from rig.workflow import nodes_in


@dataclass(frozen=True)
class Group:
    """Who stands where, and the numbers of faces on their photos."""

    cast: Cast
    layout: Layout
    placement: tuple[str, ...]
    faces_found: tuple[int, ...]

    @property
    def embeddings(self) -> Tensor:
        """(P, 512), in the order of the cast."""
        return torch.cat(
            [identities.combine(person.identity, IR_SE50, "mean", "The miniature") for person in self.cast.people]
        )


@torch.inference_mode()
def run(workflow: Mapping[str, Any], photos: Sequence[Path], models: Files, output: Path) -> dict[str, Any]:
    """What the workflow does, with its names and its settings, at the miniature's size; pictures go to `output`."""
    started = time.monotonic()
    drawer = stored.load()
    group = people(workflow, photos, models, output)
    size = group.layout.width, group.layout.height
    _save(numbered_layout(group.layout, captions=names_in(workflow)), output / "2_places.png")
    hint = _hint(group, drawer)
    _save(hint[0].permute(1, 2, 0), output / "3_condition.png")
    say("  drawing")
    drawn = time.monotonic()
    latents = net.sample(drawer, hint, [drawer.tokens(group.embeddings)], settings_in(workflow))
    _save(drawer.decoder(latents)[0].permute(1, 2, 0), output / "4_result.png")
    done = time.monotonic()
    return {
        "models": [
            {"file": "buffalo_sc/det_500m.onnx", "weights": "real"},
            {"file": f"scripts/miniature/{stored.FILE.name}", "weights": MINIATURE},
        ],
        "photos": [photo.name for photo in photos],
        "faces_found": list(group.faces_found),
        "placement": list(group.placement),
        "canvas": list(size),
        "result": list(size),
        "steps": settings_in(workflow).steps,
        "association": association(group, output / "4_result.png"),
        "seconds": {"draw": round(done - drawn, 2), "all": round(done - started, 2)},
    }


def settings_in(workflow: Mapping[str, Any]) -> net.Settings:
    """The workflow's, but for steps, CFG and scheduler."""
    widgets = _widgets(workflow)
    strength, _, _, id_start, _ = widgets["LikenessApplyIDPatch"]
    return net.Settings(strength=strength, id_start=id_start, seed=widgets["KSampler"][0])


def names_in(workflow: Mapping[str, Any]) -> list[str]:
    return [name.strip() for name in _widgets(workflow)["LikenessPeopleFromPhotos"][0].split(",")]


def _widgets(workflow: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {node["type"]: node["widgets_values"] for node in nodes_in(workflow) if node.get("widgets_values")}


@torch.inference_mode()
def people(workflow: Mapping[str, Any], photos: Sequence[Path], models: Files, output: Path | None = None) -> Group:
    """The workflow's people in their places. Their photos, with the faces numbered, go to `output`."""
    recogniser = IRSE50Recogniser(read(models.recogniser), str(models.recogniser), on_cpu)
    detector = open_detector(str(models.face_pack / "det_500m.onnx"), on_cpu)
    face_model = FaceModel(detector, (recogniser,))
    known: list[Person] = []
    found: list[int] = []
    for number, (name, photo) in enumerate(zip(names_in(workflow), photos, strict=True), 1):
        image = pixels(photo)
        faces = faces_in(face_model, image).faces
        if output:
            say(f"  {name}: {photo.name}")
            _save(numbered_faces(image, faces), output / f"1_faces_{number}.png")
        found.append(len(faces))
        largest = max(faces, key=lambda face: area(face.box))
        known.append(Person(identities.from_faces(name, [largest], face_model.ids)))
    widgets, cast = _widgets(workflow), Cast(tuple(known))
    count, framing, rows = widgets["LikenessGroupLayout"][:3]
    layout = group.layout(count, framing, rows, *places.LARGE)
    order, custom = widgets["LikenessPlaceCast"]
    chosen = placing.assign(cast, layout, order, custom)
    told = placing.report(cast, layout, chosen, order).splitlines()
    return Group(placing.place(cast, layout, chosen), layout, tuple(told), tuple(found))


def _hint(group: Group, drawer: net.Miniature) -> Tensor:
    (control,) = control_images.skeletons(group.layout, by_row=False)
    centers = [person.slot.center for person in group.cast.people if person.slot]
    return net.hint(control, drawer.patches(group.embeddings), centers)


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


def _save(image: Tensor, path: Path) -> None:
    """As the host saves pictures: without rounding."""
    Image.fromarray((255 * image).clamp(0, 255).byte().numpy()).save(path)
