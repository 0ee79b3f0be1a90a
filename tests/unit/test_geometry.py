"""Sizes, fits and the rectangles of ID patches, against the formulas of ID-Patch's modules/inferencer.py."""

import pytest
import torch
from pack.core.checks.errors import BadSize
from pack.core.pictures.geometry import (
    OF_A_PIECE,
    Fit,
    check_shape,
    check_size,
    longer_side,
    off_canvas,
    overlaps,
    patch_rect,
    square_around,
    upright,
)


def reference(center: tuple[float, float], width: int, height: int) -> tuple[list[int], list[int], bool]:
    """modules/inferencer.py of ID-Patch, in float32 where its default is bfloat16."""
    location = torch.tensor([center])
    low = torch.round(location - 64 // 2).int()[0]
    high = torch.round(location + 64 // 2).int()[0]
    xmin, ymin = low.tolist()
    xmax, ymax = high.tolist()
    pad = 32
    dropped = xmin + pad < 0 or xmax - pad >= width or ymin + pad < 0 or ymax - pad >= height
    return [xmin, ymin], [xmax, ymax], dropped


def test_patch_rect_and_drop_rule_are_the_reference() -> None:
    """But for a patch that rounding both corners makes 65 px wide: float32 just below 31.5 gives -1 and 64."""
    centers = torch.rand(500, 2, generator=torch.Generator().manual_seed(3)) * 1400 - 200
    edges = [(x, y) for x in (-0.51, -0.5, -0.49, 0.0, 767.5, 767.49, 767.51, 768.0) for y in (-0.5, 511.4, 511.5, 512)]
    for center in [*map(tuple, torch.cat([centers, (centers * 2).round() / 2]).tolist()), *edges]:
        low, high, dropped = reference(center, 768, 512)
        assert patch_rect(center) == (*low, *high), center
        assert off_canvas(patch_rect(center), 768, 512) is dropped, center
    assert reference((31.499998, 31.499998), 768, 512)[:2] == ([-1, -1], [64, 64])
    assert patch_rect((31.499998, 31.499998)) == (-1, -1, 63, 63)


def test_overlaps_name_the_pair_and_the_size() -> None:
    rects = [patch_rect((100, 100)), patch_rect((300, 100)), patch_rect((150, 90))]
    assert overlaps(rects) == [(0, 2, 14, 54)]
    assert overlaps([patch_rect((100, 100)), patch_rect((164, 100))]) == []


@pytest.mark.parametrize(("mode", "expected"), [("crop", (-128, 0)), ("pad", (0, 64)), ("stretch", (0, 0))])
def test_fit_puts_the_corner_where_it_belongs(mode: str, expected: tuple[float, float]) -> None:
    # 1000x500 onto 512x384: crop keeps the height, pad the width.
    fit = Fit.into((1000, 500), (512, 384), mode)
    assert fit.point((0, 0)) == pytest.approx(expected)
    assert fit.point((500, 250)) == pytest.approx((256, 192))
    assert fit.point((1000, 500)) == pytest.approx((512 - expected[0], 384 - expected[1]))


@pytest.mark.parametrize("latent", [(2048, 768), (768, 1024), (1152, 896), (1024, 800)])
def test_latents_of_another_shape_are_refused(latent: tuple[int, int]) -> None:
    with pytest.raises(BadSize, match=f"latent .* {latent[0]}x{latent[1]} px.* 1024x768 px"):
        check_shape("the canvas", (1024, 768), latent)


@pytest.mark.parametrize(
    ("size", "near"),
    [((1023, 768), (1024, 768)), ((3, 700), (8, 704)), ((9000, 1004), (8192, 1008)), ((1020, 1028), (1024, 1024))],
)
def test_a_size_that_latents_cannot_have_is_refused_with_the_nearest(
    size: tuple[int, int], near: tuple[int, int]
) -> None:
    advice = rf"Set Width \(width\) to {near[0]} and Height \(height\) to {near[1]}\."
    with pytest.raises(BadSize, match=f"at most 8192.* {advice}"):
        check_size("The layout", *size)


def test_the_largest_size_is_taken() -> None:
    check_size("The layout", 8192, 8)


@pytest.mark.parametrize("size", [(0, 8), (8, 0), (-8, 8)])
def test_a_canvas_without_a_pixel_is_refused_by_its_name(size: tuple[int, int]) -> None:
    with pytest.raises(BadSize, match=r"^The canvas "):
        check_size("The canvas", *size)


@pytest.mark.parametrize(
    ("canvas", "latent", "cell"),
    [
        ((512, 512), (528, 512), 8),
        ((512, 512), (1024, 1048), 8),
        ((1024, 1048), (512, 512), 8),
        ((64, 64), (72, 56), 8),
        ((527, 1024), (512, 1024), 16),
    ],
    ids=["one step wider", "a larger latent", "a smaller latent", "just a step", "a step of 16 px"],
)
def test_a_latent_may_differ_by_a_step_of_either_grid(
    canvas: tuple[int, int], latent: tuple[int, int], cell: int
) -> None:
    assert check_shape("The canvas", canvas, latent, cell) is None


def test_a_latent_that_differs_by_more_is_refused_with_what_to_do() -> None:
    advice = "Give both the same width and height; another shape needs a layout, image and apply node of its own. "
    with pytest.raises(BadSize, match=r"^The latent ") as caught:
        check_shape("The canvas", (512, 512), (529, 512))
    assert str(caught.value).endswith(f"{advice}{OF_A_PIECE}")


@pytest.mark.parametrize(
    ("rects", "expected"),
    [
        ([(0, 0, 10, 40), (9, 39, 30, 80)], [(0, 1, 1, 1)]),
        ([(0, 0, 10, 40), (5, 40, 30, 80)], []),
        ([(0, 0, 10, 40), (10, 5, 30, 80)], []),
    ],
    ids=["a pixel", "one below the other", "side by side"],
)
def test_touching_is_no_overlap_and_a_pixel_is_one(rects: list, expected: list) -> None:
    assert overlaps(rects) == expected


def test_the_longer_side_is_the_same_wherever_a_box_lies() -> None:
    assert longer_side((10.0, 0.0, 30.0, 15.0)) == longer_side((0.0, 10.0, 15.0, 30.0)) == 20.0
    assert longer_side((0.0, 50.0, 15.0, 70.0)) == 20.0


def test_a_square_has_the_face_in_its_middle_and_fits_the_shorter_side() -> None:
    assert square_around((100.0, 300.0, 140.0, 360.0), 0.5, 1000, 1000) == (60, 270, 180, 390)
    assert square_around((0.0, 100.0, 90.0, 300.0), 0.0, 100, 400) == (0, 150, 100, 250)
    assert square_around((100.0, 0.0, 300.0, 90.0), 0.0, 400, 100) == (150, 0, 250, 100)


def test_a_face_that_leans_as_far_one_way_as_the_other_is_turned_the_least() -> None:
    eyes, nose, mouth = (1.0, 1.0), (0.5, 0.5), (0.0, 0.0)
    assert upright((eyes, eyes, nose, mouth, mouth)) == 1


def test_patches_of_an_odd_size_and_centres_are_rounded_in_float32() -> None:
    assert patch_rect((100.0, 50.0), 63) == (69, 19, 132, 82)
    # 100.50000001 is 100.5 in float32, and halves go to even.
    assert patch_rect((100.50000001, 50.0)) == (68, 18, 132, 82)
