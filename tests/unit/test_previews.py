"""Numbered pictures, contact sheets and heat maps."""

from __future__ import annotations

import time

import people_made
import pytest
import torch
from pack.core import previews
from pack.core.faces.analysis import numbered_faces
from pack.core.people import Layout, Person, Pose, Slot
from pack.core.places.drawing import numbered_layout, read_regions

BLUE, ORANGE, YELLOW = (86, 180, 233), (230, 159, 0), (240, 228, 66)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_numbered_faces_keeps_the_picture_and_marks_each_face(channels: int, dtype: torch.dtype) -> None:
    image = torch.full((240, 320, channels), 0.5, dtype=dtype)
    shown = numbered_faces(image, [people_made.face(70, 90, 72), people_made.face(240, 140, 96)])
    assert shown.shape == (240, 320, 3) and shown.dtype == torch.float32
    changed = (shown - 0.5).abs().amax(-1) > 0.01
    assert changed[90, 47:50].any() and changed[140, 209:213].any()
    assert not changed[200:, :180].any() and not changed[:25].any()
    edges = numbered_faces(torch.zeros(200, 300, channels), [people_made.face(-480, 920, 48)])
    blue = (edges * 255).round().byte() == torch.tensor(BLUE)
    assert int(blue.all(-1).sum()) > 100, "the number of a face at the edge is on the picture"


def test_regions_have_the_colours_of_the_places_and_their_shares() -> None:
    """Where two overlap both colours are half as strong."""
    regions = torch.zeros(2, 100, 300)
    regions[0, :, :200] = regions[1, :, 100:] = 1

    def half(*colours: tuple[int, int, int]) -> torch.Tensor:
        return (torch.tensor(colours).float().mean(0) + torch.tensor([20, 22, 26])) / 510

    for places, first, second in (((0, 0), BLUE, ORANGE), ((2, 1), ORANGE, BLUE), ((4, 1), YELLOW, BLUE)):
        people = [Person(people_made.identity(n), place=place) for n, place in enumerate(places)]
        wanted = torch.stack([half(first), half(first, second), half(second)])
        assert torch.allclose(read_regions(regions, people)[90, [50, 150, 250]], wanted, atol=0.005)


def test_regions_show_face_boxes_and_keypoints() -> None:
    regions = torch.zeros(1, 200, 300)
    regions[0, 50:150, 100:200] = 1
    slot = Slot((150, 100), (120, 70, 180, 130), ((140, 90), (160, 90), (150, 100), (142, 115), (158, 115)))
    plain, boxed = (read_regions(regions, [Person(people_made.identity(1), slot=at)]) for at in (None, slot))
    color = torch.tensor(BLUE) / 255
    assert torch.allclose(boxed[100, 120], color, atol=0.005) and torch.allclose(boxed[90, 140], color, atol=0.005)
    assert not torch.allclose(plain[100, 120], color, atol=0.1)
    assert torch.allclose(plain[45, 101], color, atol=0.005), "without a box the name stands at the region"


def test_numbered_layout_shows_box_patch_body_and_region() -> None:
    mask = torch.zeros(256, 384)
    mask[40:220, 150:250] = 1
    pose: Pose = tuple((200.0 + 9 * (n % 2 * 2 - 1), 80.0 + 8 * n, 1.0) for n in range(17))
    slot = Slot((200, 80), (170, 50, 230, 110), None, pose, mask)
    shown, without = (numbered_layout(Layout(384, 256, (one,))) for one in (slot, Slot((200, 80))))
    differs, bare = ((one - shown[5, 380]).abs().amax(-1) > 0.02 for one in (shown, without))
    assert torch.equal(shown[48, 200], torch.ones(3))  # the ID patch begins 32 px above the centre
    assert differs[200, 160] and differs[218, 200]
    assert not differs[:, 260:].any() and not bare[150:].any()


def test_numbered_layout_shows_whose_face_is_where() -> None:
    slots = (Slot((100, 150), (80, 120, 120, 170)), Slot((250, 150)), Slot((350, 150), (330, 120, 370, 170)))
    red = torch.tensor([1.0, 0.0, 0.0]).expand(112, 112, 3)
    shown = numbered_layout(Layout(400, 304, slots), faces=[red, red, None])
    at = (shown == red[0, 0]).all(-1)
    assert at[160, 90] and at[160, 230] and not at[:, 300:].any()
    far = Layout(400, 304, (Slot((0, 0), (-9e5, -9e5, 9e5, 9e5)), Slot((-9e5, 0), (-9e5, 0, -9e5 + 40, 40))))
    numbered_layout(far, faces=[red, red])  # at once, and without any memory
    assert int(at[:, :200].sum(0).amax()) > 40 and int(at[:, :200].sum(1).amax()) > 30, "the box is full"


def test_names_are_large_enough_for_a_node_and_end_before_the_next_face() -> None:
    """A node shows the picture some 300 px wide."""
    slots = tuple(Slot((x, 400), (x - 60, 300, x + 60, 450)) for x in (200, 600, 1000))
    layout = Layout(1216, 832, slots)
    plain, named = (numbered_layout(layout, captions) for captions in (None, ["Hlmn" * 9, "", ""]))
    letters = ((named - plain).abs().amax(-1) > 0.5).nonzero()
    assert (int(letters[:, 0].max()) - int(letters[:, 0].min())) * 300 / 1216 > 7
    assert 400 < int(letters[:, 1].max()) < 540


@pytest.mark.parametrize("name", ["two\nlines", "", "x" * 2500, "王" * 2500, "e" + "\u0301" * 2500, "Anna " * 400_000])
def test_the_longest_names_are_drawn_at_once(name: str) -> None:
    layout = Layout(1024, 256, tuple(Slot((100 + 80 * n, 150), (80, 120, 120, 170)) for n in range(12)))
    started = time.monotonic()
    noted = (numbered_layout(layout, captions=[name] * 12, notes=[name]) - numbered_layout(layout)).abs().amax(-1) > 0
    assert noted[-5:].any() or not name, "at the lower edge"
    previews.contact_sheet([torch.zeros(8, 8, 3)] * 12, [name] * 12)
    assert time.monotonic() - started < 3


def test_three_warnings_about_six_people_are_written_to_their_end() -> None:
    told = "Faces small: Anna 72, Ben 72, Cleo 70, Dan 71, Eve 70, Finn 72 px; 96 needed"
    layout = Layout(1024, 1024, ())
    whole, other = (numbered_layout(layout, notes=[line] * 3) for line in (told, f"{told[:-1]}x"))
    assert not torch.equal(whole, other), "the last letter is seen"


# Sheets


def sheet(captions: list[str], **more: int) -> torch.Tensor:
    return previews.contact_sheet([torch.zeros(8, 8, 3)] * len(captions), captions, **more)


def test_contact_sheet_holds_every_crop_of_the_first_hundred() -> None:
    colors = torch.rand(5, 3, generator=torch.Generator().manual_seed(1)).mul(200).round().div(255) + 0.2
    crops = [color.expand(112, 40 + 30 * n, 3) for n, color in enumerate(colors)]
    crops[1] = (crops[1] * 255).round().byte()
    shown = previews.contact_sheet([*crops, torch.ones(20, 20, 1)], ["a", "b", "c", "d", "e", "f" * 80])
    assert shown.ndim == 4 and shown.shape[0] == 1 and shown.shape[3] == 3
    for color in colors:
        assert ((shown[0] - color).abs().amax(-1) < 0.003).sum() > 3000
    assert sheet(["Anna"] * 5000).shape == sheet(["Anna"] * 100).shape


def test_contact_sheet_keeps_together_what_belongs_together_and_has_room_for_long_captions() -> None:
    for pairs, columns in ((1, 2), (2, 2), (3, 4), (9, 6)):
        assert sheet([""] * 2 * pairs, together=2).shape[2] == columns * 166 + 6
    cut, whole = (sheet(["b", "Picture 1: Anna, second from the left"], lines=lines)[0] for lines in (1, 2))
    assert whole.shape[0] == cut.shape[0] + 24 and (whole[-24:] > 0.9).any(), "the second line is seen"
    assert torch.equal(sheet(["a", "b"], lines=2), sheet(["a", "b"]))


def test_heat_maps_are_black_at_nothing_and_white_at_their_highest() -> None:
    shares = torch.zeros(2, 8, 8)
    shares[0, 2:4, 2:4], shares[1, 4:, :] = 0.2, 0.7
    shown = previews.heat_maps(shares, ["face", "shoes"])[0]
    # Two cells of 160 px side by side, 6 px from the edges and from each other.
    for x, share in zip((6, 172), shares, strict=True):
        at = shown[6:166, x : x + 160][10::20, 10::20]
        assert torch.equal(at > 0.9, (share > 0)[..., None].expand(-1, -1, 3)) and (at[share == 0] < 0.1).all()


def test_a_table_holds_every_letter_of_a_long_path() -> None:
    """A path without blanks is broken, not cut, and the picture grows with it."""
    path = "/".join(["folder", "x" * 40] * 10)
    short, long = (previews.table("Models", [("a model", "missing", text)], [False]) for text in ("short", path))
    assert long.shape[1] > short.shape[1] and long.shape[2] == short.shape[2]
    font = previews._font("", 16)
    lines = previews._lines(path, font, 300)
    assert "".join(lines) == path and max(map(font.getlength, lines)) <= 300
    name = ("models--" + "x" * 300, "in the wrong place", "move it")
    assert previews.table("Models", [name], [False]).shape[1] < 200, "no name takes the room of the last column"
    assert previews._lines("two", font, 1) == ["t", "w", "o"]
