"""The second pass without a host: squares, masks, who lies on top, and what must stay bit for bit."""

import math
from dataclasses import replace

import pytest
import torch
from pack.core.cast import (
    NOSE,
    BadCast,
    Cast,
    Face,
    Faces,
    Lora,
    Member,
    NotPlaced,
    Person,
    PlacedCast,
    RowCast,
    Slot,
)
from pack.core.pictures.previews import Sheet
from pack.core.second_pass import crop_report, cutting, pasting, selection
from pack.core.second_pass.crop_report import NO_FACE_CHOSEN
from pack.core.second_pass.cutting import Crops, Decision, into_crop
from pack.core.second_pass.pasting import match_colors
from pack.core.second_pass.selection import Candidate, Choice
from PIL import Image

NAMES = ("Ann", "Bob", "Cid")
EVERYBODY = Choice("everybody", 96, 0.4, True, 1.0, 0.2, 0.2, 256)


def face(x: float, y: float, height: float = 40.0, lean: float = 0.0) -> Face:
    """A face whose nose is at (x, y), leaning by degrees clockwise."""
    turn = height * complex(math.cos(math.radians(lean)), math.sin(math.radians(lean)))
    points = [complex(x, y) + turn * offset for offset in (-0.2 - 0.2j, 0.2 - 0.2j, 0, -0.15 + 0.2j, 0.15 + 0.2j)]
    box = (x - 0.4 * height, y - 0.5 * height, x + 0.4 * height, y + 0.5 * height)
    return Face(box, tuple((point.real, point.imag) for point in points), 0.9, torch.zeros(112, 112, 3))


def people(*faces: Face, similarity: float | None = 0.3) -> tuple[list[Candidate], Faces]:
    has_face = similarity is not None
    everybody = []
    for number, (name, known_face) in enumerate(zip(NAMES, faces, strict=False), 1):
        member = Member(Person(name, {}, torch.zeros(1, 112, 112, 3)))
        candidate = Candidate(0, member, number, known_face.box, known_face.keypoints, similarity, has_face)
        everybody.append(candidate)
    return everybody, Faces(faces, 320, 200)


def cut(*faces: Face, **changes):
    return cutting.decide(*people(*faces), replace(EVERYBODY, **changes))


def picture(width: int = 320, height: int = 200, channels: int = 3, batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, height, width, channels, generator=torch.Generator().manual_seed(3))


def of(decisions, size: int = 256, count: int = 1) -> Crops:
    return Crops(tuple(decision.crop for decision in decisions if decision.crop), count, 320, 200, size)


def enlarged(images: torch.Tensor, to_cut: Crops) -> torch.Tensor:
    return torch.stack([cutting.cut(images[crop.picture_index, ..., :3], crop, to_cut.size) for crop in to_cut.crops])


@pytest.mark.parametrize(("lean", "turn"), [(0, 0), (40, 0), (-40, 0), (90, 1), (130, 1), (180, 2), (-90, 3), (-50, 3)])
def test_a_turned_face_stands_upright_in_its_crop(lean, turn):
    (decision,) = cut(face(160, 100, lean=lean))
    assert decision.crop.turns == turn
    left, right, nose, *mouth = decision.slot.keypoints
    assert (left[1] + right[1]) / 2 < nose[1] < (mouth[0][1] + mouth[1][1]) / 2 + 1e-6
    assert (
        decision.slot.center == nose == into_crop(decision.candidate.keypoints[NOSE], decision.crop.square, turn, 256)
    )
    assert decision.slot.pose[0][:2] == pytest.approx(nose)


@pytest.mark.parametrize(
    ("choice", "similarities", "expected"),
    [
        ("small faces", (0.9, 0.1), [True, False]), ("unlike faces", (0.9, 0.1), [False, True]),
        ("small or unlike faces", (0.9, 0.9), [True, False]), ("small or unlike faces", (0.1, 0.1), [True, True]),
        ("everybody", (0.9, 0.9), [True, True]),
    ],
)  # fmt: skip
def test_who_needs_it(choice, similarities, expected):
    everybody, faces = people(face(60, 100, 40), face(240, 100, 120))
    candidates = [replace(candidate, similarity=s) for candidate, s in zip(everybody, similarities, strict=True)]
    decisions = cutting.decide(candidates, faces, replace(EVERYBODY, who=choice))
    assert [decision.crop is not None for decision in decisions] == expected
    assert [("second pass" in decision.reason) for decision in decisions] == expected
    assert "face 40 px high" in decisions[0].reason


def test_people_without_a_face_are_cut_out_in_their_place_or_left():
    everybody, _ = people(face(60, 100), face(240, 100), similarity=None)
    everybody[1] = replace(everybody[1], box=None, keypoints=None)
    placed, bare = decisions = cutting.decide(everybody, Faces((), 320, 200), EVERYBODY)
    assert placed.crop
    assert "cut out in their place" in placed.reason
    assert bare.crop is None
    assert "no place with a face" in bare.reason
    assert len(crop_report.notes(decisions, 1)) == 2
    without_places = cutting.decide(everybody, Faces((), 320, 200), replace(EVERYBODY, use_places=False))
    assert not any(decision.crop for decision in without_places)
    assert NO_FACE_CHOSEN in crop_report.notes(without_places, 1)


def test_whoever_is_outside_of_the_picture_is_left():
    (outside,) = cut(face(-3, 100))
    assert outside.crop is None
    assert "outside of the picture" in outside.reason


def test_whoever_is_covered_by_another_is_left():
    everybody, faces = people(face(100, 100, 20), face(100, 100, 150))
    behind = cutting.decide(everybody[:1], faces, EVERYBODY)
    assert behind[0].crop is None
    assert "covered" in behind[0].reason
    assert crop_report.notes(behind, 1)


def test_a_mask_falls_to_nothing_within_its_square():
    (inside,) = cut(face(160, 100))
    mask = inside.crop.mask
    assert mask.max() == 1
    assert torch.cat([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).max() < 0.1


def test_a_mask_goes_on_to_where_the_picture_ends():
    corner, opposite = cut(face(10, 12), face(310, 188))
    assert corner.crop.square[:2] == (0, 0)
    assert corner.crop.mask[0, 0] == 1
    assert opposite.crop.square[2:] == (320, 200)
    assert opposite.crop.mask[-1, -1] == 1


def test_a_mask_without_feather_is_hard():
    (hard,) = cut(face(160, 100), feather=0)
    assert set(hard.crop.mask.unique().tolist()) == {0.0, 1.0}


def test_a_mask_that_is_too_wide_for_its_square_falls_gently_too():
    (tight,) = cut(face(160, 100), margin=0.25, mask_margin=4.0)
    mask = tight.crop.mask
    assert mask[0].max() < 0.1
    assert mask.diff(dim=0).abs().max() < 0.15
    assert mask.max() == 1


@pytest.mark.parametrize("who", selection.CHOICES)
@pytest.mark.parametrize("alike", [(0.1, 0.9, 0.1), (0.9, 0.1, 0.9)])
def test_a_mask_spares_the_faces_that_stay_and_no_others(who, alike):
    """Of a stranger, and of whoever in the cast is left as they are: Bob, with a large face, or those who are alike."""
    stranger = face(60, 145)
    everybody, faces = people(face(60, 100), face(130, 100, 110), face(200, 100), stranger)
    candidates = [replace(candidate, similarity=s) for candidate, s in zip(everybody, alike, strict=True)]
    decisions = cutting.decide(candidates, faces, replace(EVERYBODY, who=who))
    canvas = torch.zeros(200, 320)  # the highest of all masks
    for crop in (decision.crop for decision in decisions if decision.crop):
        x0, y0, x1, y1 = crop.square
        canvas[y0:y1, x0:x1] = torch.maximum(canvas[y0:y1, x0:x1], crop.mask)
        assert max(crop.mask.diff(dim=side).abs().max() for side in (0, 1)) < 0.2, "gently, also around whoever stays"
    for known_face, decision in zip(faces.faces, [*decisions, None], strict=True):
        left_side, top, right_side, below = (round(side) for side in known_face.box)
        on_face = canvas[top:below, left_side:right_side]
        assert (on_face.max() > 0) == bool(decision and decision.crop)
        assert on_face.max() in (0, 1)


@pytest.mark.parametrize(("feather", "named"), [(0.25, []), (1.5, []), (1.8, ["Bob"]), (4.0, ["Ann", "Bob"])])
def test_a_feather_larger_than_its_square_is_told(feather, named):
    """Ann stands in a corner of the picture, where her square needs no soft edges."""
    decisions = cut(face(10, 12), face(240, 100), feather=feather)
    shares = {decision.candidate.name: float(decision.crop.mask.max()) for decision in decisions}
    assert [name for name, share in shares.items() if share < 0.9] == named
    people_named = ", ".join(f"{name} {shares[name]:.0%}" for name in named)
    advice = f"{people_named} pasted at most; lower Feather (feather) or raise Margin (margin)"
    troubles = [f"The soft edge leaves no room for the face: {advice}"] if named else []
    assert crop_report.notes(decisions, 1) == troubles


@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.float64])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("match", pasting.MATCHES)
def test_outside_of_the_mask_nothing_changes_by_a_bit(match, channels, kind):
    images = (picture(channels=channels, batch=2).double() / 3).to(kind)  # of float64 more digits than float32 has
    made_crops = of(cut(face(60, 100), face(10, 12), face(300, 190, 90)), count=2)
    new = torch.rand(3, 256, 256, 3, generator=torch.Generator().manual_seed(9))
    result = pasting.paste(images, made_crops, new, match)
    pasted = result.images
    masks = result.mask
    assert pasted.dtype == kind
    assert pasted.shape == images.shape
    outside = masks == 0
    assert torch.equal(pasted[outside], images[outside])
    assert torch.equal(pasted[1], images[1])
    assert torch.equal(pasted[..., 3:], images[..., 3:])
    inside = masks[0] == 1
    difference = pasted[0][inside][:, :3] - images[0][inside][:, :3]
    assert difference.abs().max() > 0.1
    unchanged = pasting.paste(images, of([], count=2), torch.zeros(0, 256, 256, 3), match)
    assert torch.equal(unchanged.images, images)
    assert not unchanged.mask.any()


@pytest.mark.parametrize("lean", [0, 90, 180, -90])
def test_untouched_crops_of_the_same_size_come_back_exactly(lean):
    images = picture()
    made_crops = of(cut(face(160, 100, 40, lean), face(10, 12, 40, lean), size=120), size=120)
    assert {crop.square[2] - crop.square[0] for crop in made_crops.crops} == {120}
    assert torch.equal(pasting.paste(images, made_crops, enlarged(images, made_crops), "none").images, images)


@pytest.mark.parametrize("match", pasting.MATCHES)
@pytest.mark.parametrize("heights", [(60, 70), (70, 60)])
def test_the_larger_of_two_faces_lies_on_top(heights, match):
    """Whoever was listed first, in the colours of the picture as it was: as if it were pasted alone."""
    images = picture() * 0.5 + 0.2
    decisions = cut(face(100, 100, heights[0]), face(130, 100, heights[1]))
    above = heights.index(70)
    line = f"Faces overlap, the larger on top: {NAMES[above]} over {NAMES[1 - above]}"
    assert crop_report.notes(decisions, 1) == [line]
    in_another_picture = replace(decisions[1], crop=replace(decisions[1].crop, picture_index=1))
    assert crop_report.notes([decisions[0], in_another_picture], 2) == []
    both = of(decisions)
    tinted = enlarged(images, both) * 0.6 + torch.tensor([0.3, 0.0, 0.1])
    tinted[1 - above] = 1 - tinted[1 - above]
    pasted = pasting.paste(images, both, tinted, match).images
    alone = pasting.paste(images, of([decisions[above]]), tinted[above][None], match)
    on_top = alone.mask == 1
    assert on_top.sum() > 1000
    assert torch.equal(pasted[on_top], alone.images[on_top])
    below = pasting.paste(images, of([decisions[1 - above]]), tinted[1 - above][None], match)
    free = (below.mask == 1) & (alone.mask == 0)
    assert free.sum() > 100
    assert torch.equal(pasted[free], below.images[free])
    white_on_black = pasting.paste(torch.zeros(1, 200, 320, 3), both, torch.ones(2, 256, 256, 3), "none")
    assert torch.allclose(white_on_black.images[..., 0], white_on_black.mask, atol=1e-6)


@pytest.mark.parametrize("contrast", [0.7, 1.4])
def test_colours_follow_what_lies_around_the_face(contrast):
    smooth = torch.nn.functional.interpolate(picture(20, 12).movedim(-1, 1), (200, 320), mode="bilinear")
    images = smooth.movedim(1, -1) * 0.5 + 0.2
    made_crops = of(cut(face(160, 100)))
    tinted = (enlarged(images, made_crops) - 0.45) * contrast + torch.tensor([0.5, 0.35, 0.4])

    def difference(match: str) -> torch.Tensor:
        return (pasting.paste(images, made_crops, tinted, match).images - images).abs().mean()

    around_the_face, over_the_face, unmatched = (difference(match) for match in pasting.MATCHES)
    assert around_the_face < 0.1 * unmatched
    assert over_the_face < 0.1 * unmatched
    flat = pasting.paste(images, made_crops, torch.full((1, 256, 256, 3), 0.9), "around the face").images
    assert flat.isfinite().all()
    assert flat.min() >= 0
    assert flat.max() <= 1


@pytest.mark.parametrize(("contrast", "gain"), [(0.2, 2.0), (0.8, 1 / 0.8), (1.25, 0.8), (5.0, 0.5)])
def test_contrast_is_at_most_doubled_or_halved(contrast, gain):
    original = 0.5 + 0.1 * torch.randn(64, 64, 3, generator=torch.Generator().manual_seed(3)).clamp(-0.8, 0.8)
    sampled = 0.5 + contrast * (original - original.mean((0, 1)))
    nothing = torch.zeros(64, 64)
    matched = match_colors(sampled, original, nothing, "around the face")
    assert (matched.std((0, 1)) / sampled.std((0, 1))).tolist() == pytest.approx([gain] * 3, rel=1e-4)
    few = torch.ones(64, 64)
    few[0, :15] = 0
    assert match_colors(sampled, original, few, "around the face") is sampled, "too few pixels"
    few[0, :16] = 0
    assert match_colors(sampled, original, few, "around the face") is not sampled


@pytest.mark.parametrize("match", pasting.MATCHES[:2])
def test_colours_are_measured_there_alone(match: str):
    """Elsewhere both pictures may show anything."""
    original = picture(64, 64)[0] * 0.5 + 0.2
    mask = torch.zeros(64, 64)
    mask[16:48, 16:48] = 1
    counts = mask > 0 if match == pasting.MATCHES[1] else mask == 0
    tinted = original * 0.7 + torch.tensor([0.2, 0.0, 0.1])
    made = torch.where(counts[..., None], tinted, torch.tensor([1.0, 0.0, 0.0]))
    torch.testing.assert_close(match_colors(made, original, mask, match)[counts], original[counts], atol=1e-4, rtol=0)


def small_and_large() -> list[Decision]:
    """Of three people the second has a large face, which stays."""
    everybody, faces = people(face(60, 100, 40), face(160, 100, 110), face(260, 100, 40))
    return cutting.decide(everybody, faces, replace(EVERYBODY, who="small faces"))


def test_the_rows_of_the_batch_keep_the_numbers_of_the_places():
    decisions = small_and_large()
    in_no_place = Member(Person("Zoe", {}, torch.zeros(1, 112, 112, 3)), weight=0.0)
    everybody = Cast((in_no_place, *(decision.candidate.member for decision in decisions)))
    cast = cutting.cast_by_row(decisions, everybody, 256)
    assert [(member.person.name, member.place) for member in cast.people] == [("Ann", 1), ("Cid", 3)]
    assert cast.cut_from is everybody
    assert cast.indices == (1, 3)


def lora_people(*places: Face) -> PlacedCast:
    """People without photos, who stand where these faces are on a canvas of half the picture's size."""
    members = []
    for number, (name, face_there) in enumerate(zip(NAMES, places, strict=False), 2):  # behind a place that is free
        box = tuple(side / 2 for side in face_there.box)
        keypoints = tuple((x / 2, y / 2) for x, y in face_there.keypoints)
        person = Person(name, {}, torch.zeros(1, 112, 112, 3), loras=(Lora("a.safetensors", 1.0, ""),))
        members.append(Member(person, slot=Slot(keypoints[NOSE], box, keypoints), place=number))
    return PlacedCast(tuple(members), 160, 100)


def test_people_without_photos_are_told_by_their_places():
    """A small face in a place, a large one, and a place without a face."""
    small = face(60, 100, 40)
    large = face(160, 100, 110)
    missing = face(260, 100, 40)
    cast = lora_people(small, large, missing)
    assert selection.people_to_cut(cast, "Crop Faces") is not None
    assert not selection.has_photos(cast)
    faces = Faces((small, large), 320, 200)
    (candidates,) = selection.candidates_by_place(cast, [faces])
    decisions = cutting.decide(candidates, faces, replace(EVERYBODY, who="small or unlike faces"))
    assert [decision.crop is not None for decision in decisions] == [True, False, True]
    lines = crop_report.describe(decisions, 1).splitlines()
    assert lines[0] == "Ann (place 2): face 40 px high, no photo to compare with, second pass."
    assert lines[1] == "Bob (place 3): face 110 px high, no photo to compare with, left as it is."
    assert lines[2] == "Cid (place 4): no face found, cut out in their place."
    assert decisions[2].crop.square == cutting.decide(*people(small, large, missing), EVERYBODY)[2].crop.square
    with pytest.raises(NotPlaced, match="Crop Faces needs a position for each person"):
        selection.people_to_cut(Cast(tuple(Member(member.person) for member in cast.people)), "Crop Faces")
    with pytest.raises(BadCast, match="each person in it has a picture of their own"):
        selection.people_to_cut(RowCast(cast.people, 160, 100), "Crop Faces")


def test_beside_people_with_photos_those_without_are_left_out():
    by_lora, *_ = lora_people(face(60, 100)).people
    by_photo = replace(by_lora, person=replace(by_lora.person, embeddings={"any": torch.ones(1, 512)}, loras=()))
    cast = PlacedCast((by_lora, by_photo), 160, 100)
    assert selection.people_to_cut(cast, "Crop Faces").people == (by_photo,)


def test_pictures_and_places_are_counted_from_one():
    slot = Slot((60.0, 100.0))
    everybody, faces = people(face(60, 100), face(240, 100))
    placed = [
        replace(candidate, picture_index=1, member=replace(candidate.member, slot=slot)) for candidate in everybody
    ]
    lines = crop_report.describe(cutting.decide(placed, faces, EVERYBODY), 2).splitlines()
    assert [line.partition(": face")[0] for line in lines] == ["Picture 2: Ann (place 1)", "Picture 2: Bob (place 2)"]
    alone = crop_report.describe(cutting.decide(everybody, faces, EVERYBODY), 1).splitlines()
    assert [line.partition(": face")[0] for line in alone] == ["Ann", "Bob"]


def test_the_preview_shows_who_is_cut_out_and_counts_the_others():
    """Thick frames around squares and faces that are cut out, thin ones around those that stay; a line below."""
    image = torch.zeros(200, 320, 3)
    decisions = small_and_large()
    preview = (crop_report.draw_crops(image, decisions) * 255).round().byte()
    blue = torch.tensor((86, 180, 233))
    orange = torch.tensor((230, 159, 0))
    green = torch.tensor((0, 190, 130))
    for number, colour, thick in ((0, blue, True), (1, orange, False), (2, green, True)):
        left, top, _, bottom = (round(side) for side in decisions[number].candidate.box)
        middle = (top + bottom) // 2
        assert torch.equal(preview[middle, left], colour)
        assert torch.equal(preview[middle, left + 1], colour) == thick
    for number, colour in ((0, blue), (2, green)):
        x0, y0, _, y1 = decisions[number].crop.square
        assert torch.equal(preview[(y0 + y1) // 2, x0], colour)
    expected = Sheet(Image.new("RGB", (320, 200)))
    expected.footer(["2 faces cut out, 1 left as it is"])
    written = (expected.tensor() * 255).round().byte()
    assert written[-10].any()
    assert torch.equal(preview[-15:], written[-15:])
