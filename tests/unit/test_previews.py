"""Regions, numbered pictures, contact sheets and tables."""

import pytest
import torch
from pack.core.cast import Layout, Member, Slot
from pack.core.checks.errors import BadSetup
from pack.core.pictures import lettering, previews
from pack.core.pictures.previews import GroupedPicture, PictureGroup, TableRow
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


def test_a_long_label_has_smaller_letters_before_it_is_cut() -> None:
    def labelled(name: str) -> torch.Tensor:
        sheet = previews.Sheet(Image.new("RGB", (512, 512)))
        sheet.label("1", name, (100, 100), (255, 0, 0), 300)
        return sheet.tensor()

    first = labelled("Farid 0.99, not Ben 0.65")
    second = labelled("Farid 0.99, not Ben 0.66")
    assert not first.equal(second), "its end is seen"


def sheet(captions: list[str], **options: int) -> torch.Tensor:
    return previews.contact_sheet([torch.zeros(8, 8, 3)] * len(captions), captions, **options)


def test_contact_sheet_holds_every_crop_of_the_first_hundred() -> None:
    colors = torch.rand(5, 3, generator=torch.Generator().manual_seed(1)).mul(200).round().div(255) + 0.2
    crops = [color.expand(112, 40 + 30 * n, 3) for n, color in enumerate(colors)]
    crops[1] = (crops[1] * 255).round().byte()
    sheet_of_crops = previews.contact_sheet([*crops, torch.ones(20, 20, 1)], ["a", "b", "c", "d", "e", "f" * 80])
    assert sheet_of_crops.ndim == 4
    assert sheet_of_crops.shape[0] == 1
    assert sheet_of_crops.shape[3] == 3
    for color in colors:
        assert ((sheet_of_crops[0] - color).abs().amax(-1) < 0.003).sum() > 3000
    assert sheet(["Anna"] * 5000).shape == sheet(["Anna"] * 100).shape


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
    font = lettering.font_for("", 16)
    lines = lettering.in_lines(path, font, 300)
    assert "".join(lines) == path
    assert max(map(font.getlength, lines)) <= 300
    name = TableRow("models--" + "x" * 300, "in the wrong place", "move it", False)
    assert previews.table("Models", [name]).shape[1] < 200, "no name takes the room of the last column"
    assert lettering.in_lines("two", font, 1) == ["t", "w", "o"]
    assert lettering.cut_to("i" * 2000, font, 1e6) == "i" * 1000 == lettering.in_lines("i" * 2000, font, 1e6, 1)[0]


def test_a_table_names_files_in_letters_of_other_languages() -> None:
    """Pillow's own font has none of them."""
    name = "\u0416\u0430\u043d\u043d\u0430"
    expected = Image.new("RGB", (60, 22), previews.BACKGROUND)
    ImageDraw.Draw(expected).text((0, 0), name, (235, 235, 235), lettering.font_for(name, 16))
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


def grouped(pictures: list[torch.Tensor]) -> list[GroupedPicture]:
    return [GroupedPicture(picture, "", "") for picture in pictures]


def test_photos_of_a_group_stand_side_by_side_below_its_title() -> None:
    """Eight in a row of 128 px each, 6 px apart, under a bar of 34 px in the colour of the group."""
    reds = [250 - 20 * number for number in range(9)]
    first = [plain_picture((red, 20, 20)) for red in reds]
    second = [plain_picture((20, 20, 200))]
    groups = [PictureGroup("A", grouped(first)), PictureGroup("B", grouped(second))]
    sheet = (previews.grouped_sheet(groups)[0] * 255).round()
    assert tuple(sheet[2, 400].tolist()) == BLUE
    for number, red in enumerate(reds[:8]):
        assert tuple(sheet[34 + 64, 6 + 134 * number + 64].tolist()) == (red, 20, 20)
    next_row = 34 + 128 + 24 + 6
    assert tuple(sheet[next_row + 64, 6 + 64].tolist()) == (reds[8], 20, 20)
    next_group = next_row + 128 + 24 + 6 + 6
    assert tuple(sheet[next_group + 2, 400].tolist()) == ORANGE
    assert tuple(sheet[next_group + 34 + 64, 6 + 64].tolist()) == (20, 20, 200)


def test_the_last_group_that_is_shown_says_how_many_more_there_are() -> None:
    groups = [PictureGroup(f"person {number}", grouped([torch.zeros(8, 8, 3)])) for number in range(1, 104)]
    sheet = (previews.grouped_sheet(groups)[0] * 255).round().byte()
    of_a_group = 34 + 128 + 24 + 6 + 6
    top = 99 * of_a_group
    assert sheet.shape[0] == 100 * of_a_group
    colour = tuple(sheet[top + 2, 500].tolist())
    expected = Image.new("RGB", (542, 28), colour)
    text = "person 100, and 3 more"
    ImageDraw.Draw(expected).text((6, 14), text, (0, 0, 0), ImageFont.load_default(20), "lm")
    assert Image.fromarray(sheet[top : top + 28].numpy()).tobytes() == expected.tobytes()


def test_a_pillow_without_letters_of_every_size_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFont, "load_default", lambda: None)  # as below 10.1
    lettering._font.cache_clear()
    with pytest.raises(BadSetup, match=r"^Pillow is [\d.]+; .*Pillow 10\.1 or newer\. .*pip install -U pillow$"):
        lettering.font_for("Anna", 16)
