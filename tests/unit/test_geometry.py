"""Sizes, fits and the rectangles of ID patches, against the formulas of ID-Patch's modules/inferencer.py."""

from __future__ import annotations

import pytest
import torch
from pack.core.errors import BadChoice, BadSize
from pack.core.geometry import FITS, LARGEST, Fit, check_size, off_canvas, overlaps, patch_rect, scale


def reference(
    center: tuple[float, float], width: int, height: int, dtype: torch.dtype = torch.float32
) -> tuple[list[int], list[int], bool]:
    """modules/inferencer.py of ID-Patch, whose default is bfloat16."""
    location = torch.tensor([center], dtype=dtype)
    low, high = torch.round(location - 64 // 2).int()[0], torch.round(location + 64 // 2).int()[0]
    (xmin, ymin), (xmax, ymax), pad = low.tolist(), high.tolist(), 32
    dropped = xmin + pad < 0 or xmax - pad >= width or ymin + pad < 0 or ymax - pad >= height
    return [xmin, ymin], [xmax, ymax], dropped


def centers() -> list[tuple[float, float]]:
    whole = torch.rand(500, 2, generator=torch.Generator().manual_seed(3)) * 1400 - 200
    halves = (whole * 2).round() / 2
    edges = [(x, y) for x in (-0.51, -0.5, -0.49, 0.0, 767.5, 767.49, 767.51, 768.0) for y in (-0.5, 511.4, 511.5, 512)]
    return [(float(x), float(y)) for x, y in torch.cat([whole, halves]).tolist()] + edges


def test_patch_rect_and_drop_rule_are_the_reference() -> None:
    for center in centers():
        low, high, dropped = reference(center, 768, 512)
        assert patch_rect(center) == (*low, *high), center
        assert off_canvas(center, 768, 512) is dropped, center


def test_patches_lie_at_most_four_pixels_from_those_placed_in_bfloat16() -> None:
    for below, apart in ((512, 1), (1024, 2), (2048, 4)):
        random = torch.rand(2000, 2, generator=torch.Generator().manual_seed(below)) * below
        places = [(float(x), float(y)) for x, y in random.tolist()]
        found = [(patch_rect(place)[:2], reference(place, below, below, torch.bfloat16)[0]) for place in places]
        assert max(abs(a - b) for ours, theirs in found for a, b in zip(ours, theirs, strict=True)) == apart


def test_halves_are_rounded_to_even() -> None:
    assert patch_rect((100.5, 101.5)) == (68, 70, 132, 134)


def test_patch_is_64_px_even_where_rounding_both_corners_is_not() -> None:
    # float32 just below 31.5: the corners round to -1 and 64.
    center = 31.499998
    low, high, _ = reference((center, center), 768, 512)
    assert high[0] - low[0] == 65
    x0, _, x1, _ = patch_rect((center, center))
    assert (x0, x1) == (-1, 63)


def test_crossing_the_border_is_not_off_canvas() -> None:
    assert not off_canvas((0, 0), 512, 512)
    assert not off_canvas((511, 511), 512, 512)
    assert off_canvas((512, 100), 512, 512)
    assert off_canvas((100, -1), 512, 512)


def test_overlaps_name_the_pair_and_the_size() -> None:
    rects = [patch_rect((100, 100)), patch_rect((300, 100)), patch_rect((150, 90))]
    assert overlaps(rects) == [(0, 2, 14, 54)]
    assert overlaps([patch_rect((100, 100)), patch_rect((164, 100))]) == []


@pytest.mark.parametrize(("mode", "expected"), [("crop", (-128, 0)), ("pad", (0, 64)), ("stretch", (0, 0))])
def test_fit_puts_the_corner_where_it_belongs(mode: str, expected: tuple[float, float]) -> None:
    # 1000x500 onto 512x384: crop keeps the height, pad the width.
    fit = Fit.into((1000, 500), (512, 384), mode)
    x, y = fit.point((0, 0))
    assert (x, y) == pytest.approx(expected)
    assert fit.point((500, 250)) == pytest.approx((256, 192))
    assert fit.point((1000, 500)) == pytest.approx((512 - expected[0], 384 - expected[1]))


def test_stretch_scales_each_axis() -> None:
    fit = Fit.into((1000, 500), (512, 384), "stretch")
    assert fit.box((100, 100, 200, 200)) == pytest.approx((51.2, 76.8, 102.4, 153.6))
    assert fit.joint((100, 100, 0.7)) == pytest.approx((51.2, 76.8, 0.7))


def test_crop_and_pad_keep_circles_round() -> None:
    for mode in ("crop", "pad"):
        x0, y0, x1, y1 = Fit.into((1000, 500), (512, 384), mode).box((100, 100, 200, 200))
        assert x1 - x0 == pytest.approx(y1 - y0)


def test_unknown_fit_is_explained() -> None:
    with pytest.raises(BadChoice, match=r"fit is 'cover'.* crop, pad"):
        Fit.into((10, 10), (10, 10), "cover")
    assert FITS[0] == "crop"


@pytest.mark.parametrize("size", [(1023, 1024), (1024, 4), (0, 512), (-8, 512), (512, 516), (8200, 512)])
def test_sizes_off_the_grid_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(BadSize, match=f"The canvas .* {size[0]}x{size[1]} px.* 8, "):
        check_size("The canvas", *size)


def test_bad_size_suggests_one_that_works() -> None:
    with pytest.raises(BadSize, match="width and height to 768x512"):
        check_size("The layout", 770, 513)
    check_size("The layout", 768, 512)
    check_size("The layout", LARGEST, LARGEST)
    with pytest.raises(BadSize, match=r" 8192\. .* 8192x8"):
        check_size("The layout", 10**12, 1)


@pytest.mark.parametrize(
    ("canvas", "latent", "expected"),
    [
        ((1024, 768), (1024, 768), None),
        ((1021, 775), (1016, 768), None),  # the host rounds down to its grid
        ((1024, 768), (1536, 1152), 1.5),
        ((1021, 775), (1528, 1152), 1.49),
        ((1216, 832), (1824, 1248), 1.5),
        ((1024, 768), (512, 384), 0.5),
        ((1024, 1024), (1016, 1024), 0.996),
        ((128, 96), (16, 8), 0.1),
    ],
)
def test_scale_of_a_latent(canvas: tuple[int, int], latent: tuple[int, int], expected: float | None) -> None:
    assert scale("the canvas", canvas, latent) == (expected and pytest.approx(expected, abs=0.01))


@pytest.mark.parametrize("latent", [(2048, 768), (1024, 1536), (768, 1024), (1152, 896), (1024, 800)])
def test_latents_of_another_shape_are_refused(latent: tuple[int, int]) -> None:
    message = f"latent .* {latent[0]}x{latent[1]} px.* 1024x768 px"
    with pytest.raises(BadSize, match=message):
        scale("the canvas", (1024, 768), latent)
