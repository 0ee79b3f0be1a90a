"""Templates that draw in a photo: all but what is meant stays as it was, bit for bit, at the size of the photo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import real_faces
import templates
from marks import each
from pack.core.faces import analysis
from pack.core.faces.finding import find_faces
from pack.core.pictures.tensors import eight_bits
from PIL import Image, ImageOps
from prompts import node
from shared import photos, workflow
from shared.host_server import HostServer
from shared.workflow import Prompt
from small_templates import PAINTED_BOXES, TABLE, require_host, shown_by

PAINTED, ALSO = (180, 150, 280, 300), (60, 200, 200, 280)
"""Left, top, right, bottom in the photo of six: what its alpha has painted, as the mask editor saves it, and where a
second garment is found, which lies partly under the first."""


@pytest.mark.parametrize("template", each(TABLE["repainted"], ["start_person_in_photo"]))
def test_all_but_what_is_meant_stays_bit_for_bit(
    template: str, host_server: HostServer, small: Callable[..., Prompt], tmp_path: Path
) -> None:
    """An absent friend beside all faces, the last of six faces, two faces by references, and clothes with a soft edge
    of 16 px, found by words or painted. The photo comes in and goes out at its own size."""
    size, name = (448, 312), template.partition(",")[0]
    require_host(host_server.host, small(name))
    loads, masking, given, *switched = TABLE["repainted"][template]
    sides = {"ImageScale.width": size[0], "ImageScale.height": size[1], "LikenessResizePhoto.longer_side": size[0]}
    prompt = templates.substitute(small(name, *switched), {**sides, **given})
    photo = ImageOps.fit(Image.open(photos.group()).convert("RGB"), size)
    (loader,) = (number for number, one in prompt.items() if one["_meta"]["title"] == loads)
    for number, box in ((loader, PAINTED), ("left", PAINTED), ("right", ALSO)):
        picture = with_painted(photo, box, tmp_path / f"{number}.png")
        if number in prompt:
            prompt[number]["inputs"]["image"] = host_server.upload_image(picture)
    if name.startswith("references"):
        cast = [workflow.nodes_of(prompt, "LikenessPlaceCast")[-1], 0]
        prompt["region"] = node(masking, cast=cast, person=0, extent="face", margin=0.75, feather=0)
    (saver,) = workflow.nodes_of(prompt, "SaveImage")
    prompt |= saved_masks(prompt, "Where the second is free") | saved_region(prompt, masking)
    run = host_server.run(prompt)
    new = shown_by(host_server, run, "mask")[..., 0] > 0
    painted = (np.asarray(photo)[..., :3] != shown_by(host_server, run, saver)).any(-1)
    least = 0.3 if name.startswith("references") else 0.85
    assert not painted[~new].any() and painted[new].mean() > least and 0.01 < new.mean() < 0.5
    faces = faces_in(tmp_path / f"{loader}.png")
    kept = {"start_person_in_photo": faces[:5], "id_patch_absent_friend": faces}.get(name, [])
    assert not any(painted[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2].any() for x0, y0, x1, y1 in kept)
    if name == "start_person_in_photo":
        x0, y0, x1, y1 = faces[5]
        assert painted[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2].mean() > 0.9
    if name == "parts_try_on":
        places = (PAINTED,) if switched else (PAINTED, ALSO)
        rows, columns = np.where(new.any(1))[0], np.where(new.any(0))[0]
        assert (rows[0], rows[-1], columns[0], columns[-1]) == (134, 311, places[-1][0] - 16, 295)
        assert all(painted[y0:y1, x0:x1].mean() > 0.9 for x0, y0, x1, y1 in places)
        if not switched:
            assert np.array_equal(shown_by(host_server, run, "Where the second is free")[..., 0], also_alone(size))


def also_alone(size: tuple[int, int]) -> np.ndarray:
    """The second garment without what lies under the first."""
    mask = Image.new("L", size, 0)
    mask.paste(255, ALSO)
    mask.paste(0, PAINTED)
    return np.asarray(mask)


def with_painted(photo: Image.Image, box: tuple[int, int, int, int], to: Path) -> Path:
    """The photo with the box painted in its alpha, as the mask editor saves it."""
    alpha = Image.new("L", photo.size, 255)
    alpha.paste(0, box)
    photo.putalpha(alpha)
    photo.save(to)
    return to


def saved_region(prompt: Prompt, masking: str) -> Prompt:
    """Nodes that save, as "mask", where the mask of the node of this kind or title is more than 0."""
    (region,) = (number for number, one in prompt.items() if masking in (one["class_type"], one["_meta"]["title"]))
    return {
        "more than 0": node("ThresholdMask", mask=[region, 0], value=0.0),
        "as a picture": node("MaskToImage", mask=["more than 0", 0]),
        "mask": node("SaveImage", images=["as a picture", 0], filename_prefix="mask"),
    }


def saved_masks(prompt: Prompt, title: str) -> Prompt:
    """Nodes that save the masks of the node of this title, under its title; none where it is not there."""
    added: Prompt = {}
    for number, one in prompt.items():
        if one["_meta"]["title"] == title:
            added[f"{title}, as a picture"] = node("MaskToImage", mask=[number, 0])
            added[title] = node("SaveImage", images=[f"{title}, as a picture", 0], filename_prefix="mask")
    return added


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("template", "masking"), [("start_person_in_photo", "LikenessMaskOfAPersonsPlace"), ("parts_try_on", "Both places")]
)
def test_a_photo_comes_back_at_its_own_size(
    template: str, masking: str, host_server: HostServer, small: Callable[..., Prompt], tmp_path: Path
) -> None:
    """The photo is twice as large as what is painted; outside of the mask every pixel stays, bit for bit.

    masking: the kind or the title of the node whose mask says where the picture is painted anew.
    """
    width, height = 896, 624
    picture = tmp_path / "photo.png"
    photo = ImageOps.fit(Image.open(photos.group()).convert("RGB"), (width, height))
    photo.save(picture)
    prompt = small(template)
    prompt = templates.substitute(prompt, {"LikenessResizePhoto.longer_side": width // 2})
    (loader,) = (number for number, entry in prompt.items() if entry["_meta"]["title"] == "Photo")
    prompt[loader]["inputs"]["image"] = host_server.upload_image(picture)
    (region,) = (
        number for number, entry in prompt.items() if masking in (entry["class_type"], entry["_meta"]["title"])
    )
    # As large as the photo, the way ComfyUI's own ImageCompositeMasked enlarges a mask.
    prompt["white"] = node("EmptyImage", width=width, height=height, batch_size=1, color=0xFFFFFF)
    prompt["black"] = node("EmptyImage", width=width, height=height, batch_size=1, color=0)
    prompt["enlarged"] = node(
        "ImageCompositeMasked", destination=["black", 0], source=["white", 0], mask=[region, 0], x=0, y=0,
        resize_source=False,
    )  # fmt: skip
    prompt["red"] = node("ImageToMask", image=["enlarged", 0], channel="red")
    prompt["more than 0"] = node("ThresholdMask", mask=["red", 0], value=0.0)
    prompt["as a picture"] = node("MaskToImage", mask=["more than 0", 0])
    prompt["mask"] = node("SaveImage", images=["as a picture", 0], filename_prefix="mask")
    (saver,) = workflow.nodes_of(prompt, "SaveImage")[:1]
    run = host_server.run(prompt)
    swapped = shown_by(host_server, run, saver)
    assert swapped.shape[:2] == (height, width)
    inside = shown_by(host_server, run, "mask")[..., 0] > 0
    painted = (np.asarray(photo) != swapped).any(-1)
    assert not painted[~inside].any()
    assert painted[inside].mean() > 0.85
    least, most = 0.01, 0.6
    if template == "parts_try_on":
        garments = share_of_garments(width // 2, edge=17)  # 16 px of blur, and one of the resizing
        least, most = garments - 0.01, garments + 0.01
    assert least < inside.mean() < most


def share_of_garments(side: int, edge: int) -> float:
    """How much of a square picture lies in the places of the two garments or in the soft edges around them.

    The pictures that stand for their masks are squares, and are stretched over the photo.
    """
    boxes = np.zeros((side, side), bool)
    for name in ("left.png", "right.png"):
        x0, y0, x1, y1 = (at * side // 512 for at in PAINTED_BOXES[name])
        boxes[y0 - edge : y1 + edge, x0 - edge : x1 + edge] = True
    return float(boxes.mean())


def faces_in(picture: Path) -> list[tuple[int, ...]]:
    """Where they are, left, top, right, bottom, from left to right."""
    found = find_faces(real_faces.detector(), eight_bits(real_faces.image(picture)[0]))
    return [tuple(round(edge) for edge in face.box) for face in analysis.arrange(found, "left to right")]
