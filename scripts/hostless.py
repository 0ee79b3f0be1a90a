"""The part of the main job that needs no ComfyUI: faces, places and condition image, from the pack's core alone."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from environment import ROOT, say
from PIL import Image
from standins import Standins
from torch import Tensor

sys.path.insert(0, str(ROOT))

from core import checkpoints, control_images, group, id_patch, identities, layouts, placing, previews
from core.faces import analysis, insight, ir_se50, packs
from core.faces.pictures import Picture, to_picture
from core.people import Cast, Faces, Layout, Person


class _IRSE50:
    """ID-Patch's recogniser in plain torch."""

    id = packs.IR_SE50
    crop_size = ir_se50.CROP

    def __init__(self, path: Path) -> None:
        self.net = ir_se50.IRSE50(torch.nn).eval()
        self.net.load_state_dict(ir_se50.fold(torch.load(path, weights_only=True), str(path)))

    def embed(self, crops: Sequence[Picture]) -> Tensor:
        return self.net(ir_se50.prepare(torch.from_numpy(np.stack(crops))))


@torch.inference_mode()
def run(workflow: Mapping[str, Any], photos: Sequence[Path], models: Standins, output: Path) -> dict[str, Any]:
    """What the workflow does up to its condition image, with its names and its layout; pictures go to `output`."""
    started = time.monotonic()
    widgets = {node["type"]: node["widgets_values"] for node in workflow["nodes"] if node.get("widgets_values")}
    names = [node["widgets_values"][0] for node in workflow["nodes"] if node["type"] == "LikenessIdentity"]
    detector = insight.Scrfd(insight.open_model(str(models.face_pack / "det_500m.onnx"), insight.providers_for("CPU")))
    recogniser = _IRSE50(models.recogniser)
    people: list[Person] = []
    found: list[int] = []
    for number, (name, photo) in enumerate(zip(names, photos, strict=True), 1):
        say(f"  {name}: {photo.name}")
        faces, preview = _faces(photo, detector, recogniser, name)
        _save(preview, output / f"1_faces_{number}.png")
        found.append(len(faces.faces))
        identity = identities.from_faces(name, faces.faces[:1], [recogniser.id])
        people.append(Person(identity))
    count, framing, rows, width, height = widgets["LikenessGroupLayout"]
    layout = group.layout(count, framing, rows, width, height)
    cast = Cast(tuple(people))
    places = placing.assign(cast, layout, *widgets["LikenessPlaceCast"])
    _save(previews.numbered_layout(layout, captions=names), output / "2_places.png")
    _save(_condition(placing.place(cast, layout, places), layout, models.id_patch), output / "3_condition.png")
    return {
        "models": [
            {"file": "buffalo_sc/det_500m.onnx", "weights": "real"},
            {"file": models.recogniser.name, "weights": "stand-in"},
            {"file": models.id_patch.name, "weights": "stand-in"},
        ],
        "photos": [photo.name for photo in photos],
        "faces_found": found,
        "placement": placing.report(cast, layout, places).splitlines(),
        "canvas": [width, height],
        "seconds": {"all": round(time.monotonic() - started, 2)},
    }


def _faces(photo: Path, detector: insight.Scrfd, recogniser: _IRSE50, name: str) -> tuple[Faces, Tensor]:
    """The faces of a photo, largest first, and the photo with their numbers."""
    with Image.open(photo) as opened:
        image = torch.from_numpy(np.array(opened.convert("RGB"))).float() / 255
    picture = to_picture(image)
    detected = analysis.arrange(analysis.detect(detector, picture, f"the photo of {name}"), "largest")
    faces = Faces(
        analysis.recognise([recogniser], picture, detected, f"the photo of {name}"), image.shape[1], image.shape[0]
    )
    return faces, previews.numbered_faces(image, faces.faces)


def _condition(cast: Cast, layout: Layout, file: Path) -> Tensor:
    state = checkpoints.flatten(torch.load(file, weights_only=True))
    net = id_patch.IDPatchNet(state, ops=torch.nn)
    net.load_state_dict(state)
    present = id_patch.presence(cast).people
    patches = [net.patch(id_patch.embeddings(person, "mean")) for person in present]
    control = control_images.skeleton(layouts.drawn(layout), layout.width, layout.height)[None]
    return id_patch.condition_image(control, patches, [id_patch.center_of(person) for person in present])[0]


def _save(image: Tensor, path: Path) -> None:
    Image.fromarray((image.clamp(0, 1) * 255).round().byte().numpy()).save(path)
