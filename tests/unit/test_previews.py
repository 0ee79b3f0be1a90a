"""Regions, numbered pictures, contact sheets and tables."""

import pytest
import torch
from pack.core.cast import Layout, Member, Slot
from pack.core.checks.errors import BadSetup
from pack.core.pictures import previews
from pack.core.pictures.previews import TableRow
from pack.core.places.place_previews import numbered_layout, read_regions
from PIL import Image, ImageDraw, ImageFont
from tiny import people_made

BLUE = (86, 180, 233)
ORANGE = (230, 159, 0)
YELLOW = (240, 228, 66)


def test_regions_have_the_colours_of_the_places_and_their_shares() -> None:
    """Where two overlap both colours are half as strong."""
    regions = torch.zeros(2, 100, 300)
    regions[0, :, :200] = regions[1, :, 100:] = 1

    def half(*colours: tuple[int, int, int]) -> torch.Tensor:
        return (torch.tensor(colours).float().mean(0) + torch.tensor([20, 22, 26])) / 510

    for places, first, second in (((0, 0), BLUE, ORANGE), ((2, 1), ORANGE, BLUE), ((4, 1), YELLOW, BLUE)):
        people = [Member(people_made.a_person(n), place=place) for n, place in enumerate(places)]
        drawn_colours = read_regions(regions, people)[90, [50, 150, 250]]
        expected = torch.stack([half(first), half(first, second), half(second)])
        assert torch.allclose(drawn_colours, expected, atol=0.005)


def test_names_are_large_enough_for_a_node_and_end_before_the_next_face() -> None:
    """A node shows the picture some 300 px wide."""
    slots = tuple(Slot((x, 400), (x - 60, 300, x + 60, 450)) for x in (200, 600, 1000))
    layout = Layout(1216, 832, slots)
    plain = numbered_layout(layout, None)
    named = numbered_layout(layout, ["Hlmn" * 9, "", ""])
    letters = ((named - plain).abs().amax(-1) > 0.5).nonzero()
    assert (int(letters[:, 0].max()) - int(letters[:, 0].min())) * 300 / 1216 > 7
    assert 400 < int(letters[:, 1].max()) < 540


def sheet(captions: list[str], **options: int) -> torch.Tensor:
    return previews.contact_sheet([torch.zeros(8, 8, 3)] * len(captions), captions, **options)


def test_contact_sheet_holds_every_crop_of_the_first_250() -> None:
    colors = torch.rand(5, 3, generator=torch.Generator().manual_seed(1)).mul(200).round().div(255) + 0.2
    crops = [color.expand(112, 40 + 30 * n, 3) for n, color in enumerate(colors)]
    crops[1] = (crops[1] * 255).round().byte()
    sheet_of_crops = previews.contact_sheet([*crops, torch.ones(20, 20, 1)], ["a", "b", "c", "d", "e", "f" * 80])
    assert sheet_of_crops.ndim == 4
    assert sheet_of_crops.shape[0] == 1
    assert sheet_of_crops.shape[3] == 3
    for color in colors:
        assert ((sheet_of_crops[0] - color).abs().amax(-1) < 0.003).sum() > 3000
    assert sheet(["Anna"] * 5000).shape == sheet(["Anna"] * 250).shape


def test_contact_sheet_keeps_together_what_belongs_together_and_has_room_for_long_captions() -> None:
    for pairs, columns in ((1, 2), (2, 2), (3, 4), (9, 6)):
        assert sheet([""] * 2 * pairs, together=2).shape[2] == columns * 166 + 6
    captions = ["b", "Picture 1: Anna, second from the left"]
    cut = sheet(captions, lines=1)[0]
    complete = sheet(captions, lines=2)[0]
    assert complete.shape[0] == cut.shape[0] + 24
    assert (complete[-24:] > 0.9).any(), "the second line is seen"
    assert torch.equal(sheet(["a", "b"], lines=2), sheet(["a", "b"]))


def test_a_table_holds_every_letter_of_a_long_path() -> None:
    """A path without blanks is broken, not cut, and the picture grows with it."""
    path = "/".join(["folder", "x" * 40] * 10)
    short = previews.table("Models", [TableRow("a model", "missing", "short", False)])
    long = previews.table("Models", [TableRow("a model", "missing", path, False)])
    assert long.shape[1] > short.shape[1]
    assert long.shape[2] == short.shape[2]
    font = previews.font_for("", 16)
    lines = previews.in_lines(path, font, 300)
    assert "".join(lines) == path
    assert max(map(font.getlength, lines)) <= 300
    name = TableRow("models--" + "x" * 300, "in the wrong place", "move it", False)
    assert previews.table("Models", [name]).shape[1] < 200, "no name takes the room of the last column"
    assert previews.in_lines("two", font, 1) == ["t", "w", "o"]
    assert previews.cut_to("i" * 2000, font, 1e6) == "i" * 1000 == previews.in_lines("i" * 2000, font, 1e6, 1)[0]


def test_a_table_names_files_in_letters_of_other_languages() -> None:
    """Pillow's own font has none of them."""
    name = "\u0416\u0430\u043d\u043d\u0430"
    expected = Image.new("RGB", (60, 22), previews.BACKGROUND)
    ImageDraw.Draw(expected).text((0, 0), name, (235, 235, 235), previews.font_for(name, 16))
    table = previews.table("Models", [TableRow(name, "found", "", True)])[0]
    assert torch.equal(table[56:78, 14:74], previews.as_tensor(expected))


def has(picture: torch.Tensor, colour: tuple[int, int, int]) -> torch.Tensor:
    """(H, W) bool: where a picture (H, W, 3) of 0..1 has this colour of 0 to 255."""
    return ((picture * 255).round() == torch.tensor(colour)).all(-1)


def test_good_states_of_a_table_are_green_and_bad_ones_red() -> None:
    green, red = (0, 190, 130), (255, 130, 120)
    for is_good, upper, lower in ((True, green, red), (False, red, green)):
        rows = [TableRow("a model", "found", "here", is_good), TableRow("a model", "missing", "nowhere", not is_good)]
        table = previews.table("Models", rows)[0]
        rules = has(table, (52, 56, 64))
        assert rules.all(1).sum() == 2 and rules.sum() == 2 * table.shape[1], "a level line over each row"
        first = has(table, upper).nonzero()[:, 0].float().mean()
        second = has(table, lower).nonzero()[:, 0].float().mean()
        assert first < second


def plain_picture(colour: tuple[int, int, int]) -> torch.Tensor:
    return torch.tensor(colour).float().expand(32, 32, 3) / 255


def test_pictures_of_a_contact_sheet_may_have_frames_in_their_own_colour() -> None:
    pictures = [plain_picture((200, 20, 20)), plain_picture((20, 20, 200))]
    drawn = (previews.contact_sheet(pictures, ["", ""], colors=[BLUE, ORANGE])[0] * 255).round()
    for column, (frame, inside) in enumerate(((BLUE, (200, 20, 20)), (ORANGE, (20, 20, 200)))):
        left = 6 + 166 * column
        assert tuple(drawn[80, left + 2].tolist()) == tuple(drawn[80, left + 158].tolist()) == frame
        assert tuple(drawn[80, left + 80].tolist()) == inside


def test_a_pillow_without_letters_of_every_size_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFont, "load_default", lambda: None)  # as below 10.1
    previews._font.cache_clear()
    with pytest.raises(BadSetup, match=r"^Pillow is [\d.]+; .*Pillow 10\.1 or newer\. .*pip install -U pillow$"):
        previews.font_for("Anna", 16)
