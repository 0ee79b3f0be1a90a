"""The Places nodes in the real host: ids that saved workflows depend on, outputs, previews, and refusals."""

from __future__ import annotations

from typing import Any

import people_made
import pytest
import torch
from graph_run import shown
from pack.core.errors import BadLayout
from pack.core.people import Cast, Face, Faces, Layout, Person, Slot
from pack.core.places import bodies
from pack.nodes import places
from pack.nodes.control_images import PoseImage
from rig.host_server import HostServer
from torch import Tensor


def group(count: int = 3, **changed: Any) -> Any:
    options = {"framing": "half", "rows": 0, "width": 512, "height": 512, **changed}
    return places.GroupLayout.execute(count, **options)


def cast(count: int) -> Cast:
    return Cast(tuple(Person(people_made.identity(n)) for n in range(1, count + 1)))


def made_by_each() -> dict[str, Any]:
    face = Face(bodies.face_box((90, 90), 80), bodies.face_keypoints((90, 90), 80), 0.9, torch.zeros(112, 112, 3))
    masks = torch.zeros(2, 256, 384)
    masks[0, 20:, 20:150] = masks[1, 40:, 200:380] = 1
    flat = [v for joint in bodies.openpose(bodies.body((200, 80), 60)) for v in joint]
    poses = [{"people": [{"pose_keypoints_2d": flat}], "canvas_width": 384, "canvas_height": 256}]
    text = "Anna: 20, 20, 150, 230"
    return {
        "boxes": places.LayoutFromBoxes.execute(384, 256, "crop", "person", "half", "drawn", text),
        "faces": places.LayoutFromFaces.execute(Faces((face,), 384, 256), 384, 256, "crop", "half"),
        "poses": places.LayoutFromFaces.execute(None, 0, 0, "crop", "half", poses),
        "masks": places.LayoutFromFaces.execute(None, 0, 0, "crop", "half", masks=masks),
        "group": group(2, width=384, height=256),
        "added": places.AddPlace.execute(group(1, width=384, height=256).args[0], "free place", 0, 0, 40, "half"),
    }


def test_boxes_of_the_text_count_where_they_are_chosen() -> None:
    drawn = [{"x": 100, "y": 10, "width": 90, "height": 180, "metadata": {"desc": "Ben"}}]
    for source, name in (("drawn", "Ben"), ("text", "Anna")):
        made = places.LayoutFromBoxes.execute(
            384, 256, "crop", "person", "half", source, "Anna: 20, 20, 150, 230", boxes=drawn
        )
        assert made.args[2] == name


@pytest.mark.parametrize("source", ["faces", "poses", "masks", "boxes", "group", "added"])
def test_every_layout_node_shows_what_it_made(source: str) -> None:
    output = made_by_each()[source]
    layout, preview, *_ = output.args
    assert isinstance(layout, Layout)
    assert (layout.width, layout.height) == (384, 256)
    assert preview.shape == (1, 256, 384, 3)
    assert shown(output)[0].shape == preview.shape[1:]
    image = PoseImage.execute(layout)
    assert image.args[0].shape == (1, 256, 384, 3)
    assert image.args[0].any()
    assert shown(image)[0].any()


def test_boxes_over_http_begin_the_editor_and_are_moved_in_it(host_server: HostServer) -> None:
    """From ComfyUI's own node, then of a group; last as the frontend sends them after somebody has dragged one."""
    if "CreateBoundingBoxes" not in host_server.object_info():
        pytest.skip("this ComfyUI has no CreateBoundingBoxes")
    size = {"width": 512, "height": 384}
    options = {**size, "fit": "crop", "boxes_show": "person", "body": "half", "boxes_from": "drawn", "text": ""}
    box = {"x": 64, "y": 32, "width": 160, "height": 320, "metadata": {"type": "obj", "desc": "", "palette": []}}
    prompt = {
        "drawn": {"class_type": "CreateBoundingBoxes", "inputs": {**size, "editor_state": {"__value__": [box]}}},
        "group": {"class_type": "LikenessGroupLayout", "inputs": {"count": 2, "framing": "half", "rows": 0, **size}},
        "boxes": {"class_type": "LikenessLayoutFromBoxes", "inputs": {**options, "bboxes": ["drawn", 1]}},
        "names": {"class_type": "PreviewAny", "inputs": {"source": ["boxes", 2]}},
    }

    def run() -> tuple[list[list[int]], str]:
        outputs = host_server.run(prompt).outputs
        begun = outputs["boxes"]["input_bboxes"]
        return [[one[side] for side in ("x", "y", "width", "height")] for one in begun], outputs["names"]["text"][0]

    assert run() == ([[64, 32, 160, 320]], "")
    inputs = prompt["boxes"]["inputs"]
    inputs["bboxes"] = ["group", 0]
    begun, _ = run()
    assert len(begun) == 2
    last = host_server.run(prompt).outputs["boxes"]["input_bboxes"]
    dragged = [{**one, "metadata": {**one["metadata"], "desc": name}} for one, name in zip(last, "AB", strict=True)]
    inputs |= {"boxes": {"__value__": [{**dragged[0], "x": 0}, dragged[1]]}, "last_incoming": {"__value__": last}}
    assert run() == (begun, "A, B")
    inputs["last_incoming"] = {"__value__": []}
    assert run() == (begun, "")


def test_a_group_has_as_many_places_as_the_cast_has_people() -> None:
    absent = Cast(cast(4).people, absent=((2, "Nobody"),))
    assert group(9, cast=absent).args[0] == group(4).args[0] != group(9).args[0]


def test_guesses_and_what_is_out_of_the_picture_are_said_in_it() -> None:
    flat = [v for joint in bodies.openpose(bodies.body((200, 80), 60)) for v in joint]
    frame = {"people": [{"pose_keypoints_2d": flat}], "canvas_width": 384, "canvas_height": 256}
    unsure = {**frame, "people": [{"pose_keypoints_2d": [0.0, 0.0, 0.0, *flat[3:]]}]}
    poses = (places.LayoutFromFaces.execute(None, 0, 0, "crop", "half", [one]).args[1] for one in (frame, unsure))
    walking = (group(2, framing=framing, action="walking").args[1] for framing in ("full", "half"))
    for quiet, told in (poses, walking):
        assert (quiet[0, -8:, -22:] < 0.2).all() and (told[0, -8:, -22:] == 1).all()
    assert group(2).args[0] == group(2, action="group photo").args[0] != group(2, action="waving").args[0]


def test_what_may_go_wrong_is_told_on_the_node(caplog: pytest.LogCaptureFixture) -> None:
    pictures: list[Tensor] = []

    def stand(*slots: tuple[float, float, float]) -> str:
        """x, y and height of the head of each."""
        found = tuple(Slot((x, y), bodies.face_box((x, y), head)) for x, y, head in slots)
        layout = Layout(512, 512, found)
        _, picture, report = places.PlaceCast.execute(cast(len(slots)), layout, "as listed", "").args
        pictures.append(picture[0])
        return report

    assert stand((90, 90, 200), (300, 90, 200)).endswith("No problems found.") and not caplog.messages
    report = stand((90, 90, 200), (100, 100, 200), (-40, 90, 200), (300, 300, 100))
    (told,) = caplog.messages
    assert report.splitlines()[4:] == told.splitlines()
    off, overlap, small = told.splitlines()
    assert off.startswith("Off the canvas, so without an ID patch: person 3 at (-40, 90)")
    assert overlap.startswith("ID patches overlap, faces may mix: person 1 and person 2 by 54x54 px")
    assert small.startswith("Faces small: person 4 83 px; 96 needed")
    fine, troubled = ((picture[-45:, 509:] == 1).all() for picture in pictures)
    assert troubled and not fine, "at the lower edge of the picture, too"


def test_the_absent_friend_is_told_what_is_doubtful(caplog: pytest.LogCaptureFixture) -> None:
    """A face in somebody's lap; that the others have no person of the cast is as it should be."""
    slot = Slot((250, 150), bodies.face_box((250, 150), 120), bodies.face_keypoints((250, 150), 120))
    added = places.AddPlace.execute(Layout(512, 512, (slot,)), "at x, y", 250, 330, 100, "half", 1).args[0]
    assert [line.split(";")[0] for line in caplog.messages] == [
        "Faces before bodies: that of place 2 lies on the body of place 1"
    ]
    caplog.clear()
    report = places.PlaceCast.execute(cast(1), added, "last places", "").args[2]
    assert report.endswith("No problems found.") and not caplog.messages


def test_a_photo_is_seen_in_the_preview_and_changes_nothing_else() -> None:
    layout, photo = group(2).args[0], torch.full((1, 64, 64, 4), 0.5)
    bare, seen = (
        places.AddPlace.execute(layout, "free place", 0, 0, 40, "half", 1, image=i).args for i in (None, photo)
    )
    assert bare[0] == seen[0]
    placed = places.PlaceCast.execute(cast(1), layout, "custom", "1,0").args[0]
    wide = {"extent": "body", "margin": 2.0, "feather": 16}
    whole, beside = (places.PersonRegion.execute(placed, 1, **wide, layout=stay).args[0] for stay in (None, layout))
    assert beside.sum() < whole.sum(), "those who stay in a linked layout are left out"
    plain, drawn = (places.PersonRegion.execute(placed, 1, "face", 0.5, 16, image=i).args for i in (None, photo))
    assert torch.equal(plain[0], drawn[0])
    corners = [float(preview[0, -1, -1, 0]) for preview in (bare[1], seen[1], plain[1], drawn[1])]
    assert corners == pytest.approx([0.08, 0.5, 0.08, 0.5], abs=0.01)


def test_what_has_no_skeleton_has_no_pose_picture() -> None:
    with pytest.raises(BadLayout):
        PoseImage.execute(Layout(64, 64, (Slot((9, 9)),)))


def test_a_region_goes_along_when_people_swap() -> None:
    layout = group(2).args[0]

    def regions(order: str) -> list[torch.Tensor]:
        placed = places.PlaceCast.execute(cast(2), layout, "custom", order).args[0]
        outputs = [places.PersonRegion.execute(placed, number, "body", 0.5, 16) for number in (1, 2)]
        assert all(shown(output) and output.args[1].shape == (1, 512, 512, 3) for output in outputs)
        return [output.args[0] for output in outputs]

    first, second = regions("1,2")
    assert first.shape == (1, 512, 512) and not torch.equal(first, second)
    assert all(torch.equal(a, b) for a, b in zip(regions("2,1"), (second, first), strict=True))
