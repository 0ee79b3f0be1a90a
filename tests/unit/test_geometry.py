"""Sizes, fits and the rectangles of ID patches, against the formulas of ID-Patch's modules/inferencer.py."""

import pytest
import torch
from pack.core.errors import BadSize
from pack.core.geometry import LARGEST, Fit, check_shape, check_size, off_canvas, overlaps, patch_rect


def reference(center: tuple[float, float], width: int, height: int) -> tuple[list[int], list[int], bool]:
    """modules/inferencer.py of ID-Patch, in float32 where its default is bfloat16."""
    location = torch.tensor([center])
    low, high = torch.round(location - 64 // 2).int()[0], torch.round(location + 64 // 2).int()[0]
    (xmin, ymin), (xmax, ymax), pad = low.tolist(), high.tolist(), 32
    dropped = xmin + pad < 0 or xmax - pad >= width or ymin + pad < 0 or ymax - pad >= height
    return [xmin, ymin], [xmax, ymax], dropped


def test_patch_rect_and_drop_rule_are_the_reference() -> None:
    """But for a patch that rounding both corners makes 65 px wide: float32 just below 31.5 gives -1 and 64."""
    whole = torch.rand(500, 2, generator=torch.Generator().manual_seed(3)) * 1400 - 200
    edges = [(x, y) for x in (-0.51, -0.5, -0.49, 0.0, 767.5, 767.49, 767.51, 768.0) for y in (-0.5, 511.4, 511.5, 512)]
    for center in [*map(tuple, torch.cat([whole, (whole * 2).round() / 2]).tolist()), *edges]:
        low, high, dropped = reference(center, 768, 512)
        assert patch_rect(center) == (*low, *high), center
        assert off_canvas(center, 768, 512) is dropped, center
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
    assert fit.point((0, 0)) == pytest.approx(expected) and fit.point((500, 250)) == pytest.approx((256, 192))
    assert fit.point((1000, 500)) == pytest.approx((512 - expected[0], 384 - expected[1]))


@pytest.mark.parametrize("latent", [(2048, 768), (768, 1024), (1152, 896), (1024, 800)])
def test_latents_of_another_shape_are_refused(latent: tuple[int, int]) -> None:
    with pytest.raises(BadSize, match=f"latent .* {latent[0]}x{latent[1]} px.* 1024x768 px"):
        check_shape("the canvas", (1024, 768), latent)


def test_two_fits_one_after_the_other_are_one() -> None:
    """A scale of its own for each axis, and a shift, in both."""
    first, second = Fit(2.0, 3.0, 10.0, -20.0), Fit(0.5, 4.0, -7.0, 9.0)
    # (30, 40) -> (70, 100) -> (28, 409)
    assert first.then(second).point((30.0, 40.0)) == pytest.approx((28.0, 409.0))


@pytest.mark.parametrize(
    ("size", "advice"),
    [((1023, 768), "1024x768"), ((3, 700), "8x704"), ((9000, 1004), "8192x1008"), ((1020, 1028), "1024x1024")],
)
def test_a_size_that_latents_cannot_have_is_refused_with_the_nearest(size: tuple[int, int], advice: str) -> None:
    with pytest.raises(BadSize, match=f"at most 8192.* Set width and height to {advice}"):
        check_size("The layout", *size)


def test_the_largest_size_is_taken() -> None:
    assert LARGEST == 8192
    check_size("The layout", 8192, 8)
