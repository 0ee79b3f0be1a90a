"""The Places nodes in the real host: what they are given and show, and what is told on them."""

from __future__ import annotations

from typing import Any

import people_made
import pytest
import torch
from pack.core.people import Cast, Layout, Person, Slot
from pack.core.places import bodies
from pack.nodes import places
from rig.host_server import HostServer


def group(count: int = 3, **changed: Any) -> Any:
    options = {"framing": "half", "rows": 0, "width": 512, "height": 512, **changed}
    return places.GroupLayout.execute(count, **options)


def cast(count: int) -> Cast:
    return Cast(tuple(Person(people_made.identity(n)) for n in range(1, count + 1)))


def test_boxes_of_the_text_count_where_they_are_chosen() -> None:
    drawn = [{"x": 100, "y": 10, "width": 90, "height": 180, "metadata": {"desc": "Ben"}}]
    options = (384, 256, "crop", "person", "half")
    for source, name in (("drawn", "Ben"), ("text", "Anna")):
        made = places.LayoutFromBoxes.execute(*options, source, "Anna: 20, 20, 150, 230", boxes=drawn)
        assert made.args[2] == name


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


def told(picture: torch.Tensor) -> bool:
    """Whether something is written at the lower edge."""
    return bool((picture[0, -8:, -3:] == 1).all())


def test_guesses_and_what_is_out_of_the_picture_are_said_in_it() -> None:
    flat = [v for joint in bodies.openpose(bodies.body((200, 80), 60)) for v in joint]
    for numbers, framing, doubtful in ((flat, "full", False), ([0.0, 0.0, 0.0, *flat[3:]], "half", True)):
        frame = {"people": [{"pose_keypoints_2d": numbers}], "canvas_width": 384, "canvas_height": 256}
        posed = places.LayoutFromFaces.execute(None, 0, 0, "crop", "half", [frame]).args[1]
        walking = group(2, framing=framing, action="walking").args[1]
        assert [told(posed), told(walking)] == [doubtful, doubtful]
    assert group(2).args[0] == group(2, action="group photo").args[0] != group(2, action="waving").args[0]


def test_what_may_go_wrong_is_told_on_the_node_and_in_its_picture(caplog: pytest.LogCaptureFixture) -> None:
    def stand(*slots: tuple[float, float, float]) -> tuple[bool, str]:
        """x, y and height of the head of each."""
        layout = Layout(512, 512, tuple(Slot((x, y), bodies.face_box((x, y), head)) for x, y, head in slots))
        _, picture, report = places.PlaceCast.execute(cast(len(slots)), layout, "as listed", "").args
        return told(picture), report

    picture_tells, report = stand((90, 90, 200), (300, 90, 200))
    assert report.endswith("No problems found.") and not picture_tells and not caplog.messages
    picture_tells, report = stand((90, 90, 200), (100, 100, 200), (-40, 90, 200), (300, 300, 100))
    assert report.splitlines()[4:] == caplog.messages[0].splitlines() and picture_tells
    kinds = [line.split(":")[0] for line in report.splitlines()[4:]]
    assert kinds == ["Off the canvas, so without an ID patch", "ID patches overlap, faces may mix", "Faces small"]
    caplog.clear()
    one = people_made.layout((250, 150, 120), width=512, height=512)
    added = places.AddPlace.execute(one, "at x, y", 250, 330, 100, "half", 1).args[0]
    (line,) = caplog.messages
    assert line.startswith("Faces before bodies: that of place 2 lies on the body of place 1;")
    caplog.clear()
    report = places.PlaceCast.execute(cast(1), added, "last places", "").args[2]
    assert report.endswith("No problems found.") and not caplog.messages, "the others have no person, as it should be"


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


def test_a_region_goes_along_when_people_swap() -> None:
    layout = group(2).args[0]

    def regions(order: str) -> torch.Tensor:
        placed = places.PlaceCast.execute(cast(2), layout, "custom", order).args[0]
        return torch.cat([places.PersonRegion.execute(placed, number, "body", 0.5, 16).args[0] for number in (1, 2)])

    first, second = regions("1,2")
    assert not torch.equal(first, second) and torch.equal(regions("2,1"), torch.stack([second, first]))
