"""Numbered pictures, contact sheets and heat maps."""

from __future__ import annotations

import time

import pytest
import torch
from pack.core import previews
from pack.core.faces.analysis import numbered_faces
from pack.core.people import Face, Identity, Layout, Person, Pose, Slot
from pack.core.places.drawing import numbered_layout, read_regions


def face(x: float, y: float, size: float) -> Face:
    points = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8))
    keypoints = tuple((x + u * size, y + v * size) for u, v in points)
    return Face((x, y, x + size, y + size), keypoints, 0.9, torch.zeros(112, 112, 3))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_numbered_faces_keeps_the_picture_and_marks_each_face(channels: int, dtype: torch.dtype) -> None:
    image = torch.full((240, 320, channels), 0.5, dtype=dtype)
    shown = numbered_faces(image, [face(40, 60, 60), face(200, 100, 80)])
    assert shown.shape == (240, 320, 3)
    assert shown.dtype == torch.float32
    changed = (shown - 0.5).abs().amax(-1) > 0.01
    assert changed[90, 40]
    assert changed[140, 200]
    assert not changed[200:, :180].any()
    assert not changed[:40].any()
    edges = numbered_faces(torch.zeros(200, 300, channels), [face(-500, 900, 40)])
    blue = (edges * 255).round().byte() == torch.tensor([86, 180, 233])
    assert int(blue.all(-1).sum()) > 100, "the number of a face at the edge is on the picture"


def test_regions_have_the_colours_of_the_places_and_their_shares() -> None:
    """Where two overlap both colours are half as strong."""
    regions = torch.zeros(2, 100, 300)
    regions[0, :, :200] = regions[1, :, 100:] = 1

    def at(x: int, places: tuple[int, int]) -> torch.Tensor:
        people = [
            Person(Identity(name, {}, torch.zeros(1, 112, 112, 3)), place=place)
            for name, place in zip(("Ann", "Bob"), places, strict=True)
        ]
        return read_regions(regions, people)[90, x]

    def half(*colours: tuple[int, int, int]) -> torch.Tensor:
        return (torch.tensor(colours).float().mean(0) + torch.tensor([20, 22, 26])) / 510

    blue, orange, yellow = (86, 180, 233), (230, 159, 0), (240, 228, 66)
    for places, first, second in (((0, 0), blue, orange), ((2, 1), orange, blue), ((4, 1), yellow, blue)):
        seen = [at(x, places) for x in (50, 150, 250)]
        wanted = [half(first), half(first, second), half(second)]
        assert all(torch.allclose(a, b, atol=0.005) for a, b in zip(seen, wanted, strict=True))


def test_regions_show_face_boxes_and_keypoints() -> None:
    regions = torch.zeros(1, 200, 300)
    regions[0, 50:150, 100:200] = 1
    slot = Slot((150, 100), (120, 70, 180, 130), ((140, 90), (160, 90), (150, 100), (142, 115), (158, 115)))
    plain, boxed = (
        read_regions(regions, [Person(Identity("Ann", {}, torch.zeros(1, 112, 112, 3)), slot=at)])
        for at in (None, slot)
    )
    color = torch.tensor([86, 180, 233]) / 255
    assert torch.allclose(boxed[100, 120], color, atol=0.005) and torch.allclose(boxed[90, 140], color, atol=0.005)
    assert not torch.allclose(plain[100, 120], color, atol=0.1)
    assert torch.allclose(plain[45, 101], color, atol=0.005), "without a box the name stands at the region"


def test_numbered_layout_shows_box_patch_body_and_region() -> None:
    mask = torch.zeros(256, 384)
    mask[40:220, 150:250] = 1
    pose: Pose = tuple((200.0 + 9 * (n % 2 * 2 - 1), 80.0 + 8 * n, 1.0) for n in range(17))
    slot = Slot((200, 80), (170, 50, 230, 110), None, pose, mask)
    layout = Layout(384, 256, (slot,))
    shown = numbered_layout(layout)
    ground = shown[5, 380]
    differs = (shown - ground).abs().amax(-1) > 0.02
    assert shown.shape == (256, 384, 3)
    assert torch.equal(shown[48, 200], torch.ones(3))  # the ID patch begins 32 px above the centre
    assert differs[200, 160]
    assert differs[218, 200]
    assert not differs[:, 260:].any()
    without = numbered_layout(Layout(384, 256, (Slot((200, 80)),)))
    assert not ((without - ground).abs().amax(-1) > 0.02)[150:].any()


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


def test_contact_sheet_holds_every_crop() -> None:
    colors = torch.rand(5, 3, generator=torch.Generator().manual_seed(1)).mul(200).round().div(255) + 0.2
    crops = [color.expand(112, 40 + 30 * n, 3) for n, color in enumerate(colors)]
    crops[1] = (crops[1] * 255).round().byte()
    sheet = previews.contact_sheet([*crops, torch.ones(20, 20, 1)], ["a", "b", "c", "d", "e", "f" * 80])
    assert sheet.ndim == 4
    assert sheet.shape[0] == 1
    assert sheet.shape[3] == 3
    for color in colors:
        assert ((sheet[0] - color).abs().amax(-1) < 0.003).sum() > 3000


@pytest.mark.parametrize(("pairs", "columns"), [(1, 2), (2, 2), (3, 4), (9, 6)])
def test_contact_sheet_keeps_together_what_belongs_together(pairs: int, columns: int) -> None:
    sheet = previews.contact_sheet([torch.zeros(8, 8, 3)] * 2 * pairs, [""] * 2 * pairs, together=2)
    assert sheet.shape[2] == columns * 166 + 6


def test_contact_sheet_of_thousands_shows_the_first_hundred() -> None:
    sheet = previews.contact_sheet([torch.zeros(8, 8, 3)] * 5000, ["Anna"] * 5000)
    assert sheet.shape[1:3] == previews.contact_sheet([torch.zeros(8, 8, 3)] * 100, ["Anna"] * 100).shape[1:3]


def test_contact_sheet_has_room_for_captions_of_several_lines() -> None:
    crops, long = [torch.zeros(8, 8, 3)] * 2, "Picture 1: Anna, second from the left"
    cut, whole = (previews.contact_sheet(crops, ["b", long], lines=lines)[0] for lines in (1, 2))
    assert whole.shape[0] == cut.shape[0] + 24
    assert (whole[-24:] > 0.9).any(), "the second line is seen"
    assert torch.equal(previews.contact_sheet(crops, ["a", "b"], lines=2), previews.contact_sheet(crops, ["a", "b"]))


def test_heat_maps_are_black_at_nothing_and_white_at_their_highest() -> None:
    shares = torch.zeros(2, 8, 8)
    shares[0, 2:4, 2:4], shares[1, 4:, :] = 0.2, 0.7
    shown = previews.heat_maps(shares, ["face", "shoes"])[0]
    # Two cells of 160 px side by side, 6 px from the edges and from each other.
    cells = [shown[6:166, x : x + 160] for x in (6, 172)]
    for cell, share in zip(cells, shares, strict=True):
        at = cell[10::20, 10::20]
        assert torch.equal(at > 0.9, (share > 0)[..., None].expand(-1, -1, 3)) and (at[share == 0] < 0.1).all()


def test_a_table_holds_every_letter_of_a_long_path() -> None:
    """A path without blanks is broken, not cut, and the picture grows with it."""
    path = "/".join(["folder", "x" * 40] * 10)
    short, long = (previews.table("Models", [("a model", "missing", text)], [False]) for text in ("short", path))
    assert long.shape[1] > short.shape[1] and long.shape[2] == short.shape[2]
    lines = previews._wrapped(path, previews._own_font(16), 300)
    assert "".join(lines) == path and max(map(previews._own_font(16).getlength, lines)) <= 300
    name = ("models--" + "x" * 300, "in the wrong place", "move it")
    assert previews.table("Models", [name], [False]).shape[1] < 200, "no name takes the room of the last column"
    assert previews._wrapped("two", previews._own_font(16), 1) == ["t", "w", "o"]
