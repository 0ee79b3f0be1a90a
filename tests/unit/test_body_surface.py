"""DensePose pictures: drawn as published, from skeletons, and masks of them."""

import densepose_made
import numpy as np
import pytest
import torch
from pack.core.body_surface import iuv, mannequin
from pack.core.geometry import Fit
from pack.core.parts.parts import pose_hint
from pack.core.people import Layout, Slot
from pack.core.places import bodies, group

STAY = Fit(1, 1, 0, 0)


def resampled(chart: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear with half pixel centres, the edge going on: (h, w) -> (height, width)."""

    def weights(many: int, few: int) -> np.ndarray:
        at = np.clip((np.arange(many, dtype=np.float32) + 0.5) * np.float32(few / many) - 0.5, 0, few - 1)
        return np.clip(1 - abs(at[:, None] - np.arange(few)), 0, None).astype(np.float64)

    return weights(height, chart.shape[0]) @ chart.astype(np.float64) @ weights(width, chart.shape[1]).T


def published(found: iuv.Bodies, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The formulas of DensePose's own drawing: a picture, and how near each pixel is to another one."""
    picture, doubt = np.zeros((height, width, 3), np.uint8), np.ones((height, width))
    fields = [getattr(found, name).numpy() for name in ("boxes", "inside", "parts", "u", "v")]
    for box, *charts in zip(*fields, strict=True):
        x, y, w, h = (int(value) for value in (box[0], box[1], box[2] - box[0], box[3] - box[1]))
        body, parts, u, v = (np.stack([resampled(one, h, w) for one in chart]) for chart in charts)
        label, (second, best), inside = parts.argmax(0), np.sort(parts, axis=0)[-2:], body[1] - body[0]
        values = 255.0 * np.stack([np.take_along_axis(chart, label[None], 0)[0] for chart in (v, u)])
        shown, near = (inside > 0) & (label > 0), np.minimum(best - second, abs(inside))
        near = np.where(shown, np.minimum(near, abs(values - values.round()).min(0)), near)
        drawn = np.stack([*(np.minimum(values, 255).astype(int) % 256), label], -1)
        rows, columns = slice(max(0, y), min(height, y + h)), slice(max(0, x), min(width, x + w))
        cut = slice(rows.start - y, rows.stop - y), slice(columns.start - x, columns.stop - x)
        picture[rows, columns][shown[cut]] = drawn[cut][shown[cut]]
        doubt[rows, columns] = np.minimum(doubt[rows, columns], near[cut])
    return picture, doubt


@pytest.mark.parametrize(
    "boxes",
    [[[10.7, 3.2, 61.4, 80.9]], [[5, 5, 50, 70], [30, 10, 90.5, 60]], [[-20.5, 40, 30, 130], [60, -9, 110, 40.2]]],
    ids=["one", "two overlap", "over the edge"],
)
def test_pictures_are_drawn_as_published(boxes: list[list[float]]) -> None:
    found = iuv.bodies([torch.tensor(boxes, dtype=torch.float32), *densepose_made.charts(len(boxes), seed=3)])
    surface = iuv.drawn(found, STAY, 96, 96)
    expected, doubt = published(found, 96, 96)
    ours = surface.iuv.movedim(0, -1).numpy()
    sure = doubt > 1e-3  # beyond what the rounding of floats decides
    assert sure.mean() > 0.95 and len(np.unique(expected[..., 2])) > 8
    assert (expected[sure] == ours[sure]).all() and surface.people.shape[0] == len(boxes)
    assert torch.equal(surface.people.sum(0) > 0, surface.iuv[2] > 0)


def outputs(people: int = 1, **changed: torch.Tensor) -> list[torch.Tensor]:
    names = ("boxes", "inside", "parts", "u", "v")
    values = [torch.tensor([[0.0, 0.0, 40.0, 60.0]] * people), *densepose_made.charts(people)]
    return list({**dict(zip(names, values, strict=True)), **changed}.values())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (torch.ones(3), "returns a Tensor instead of boxes"),
        (outputs()[:4], "returns 4 values, 4 of them tensors,"),
        (outputs(inside=torch.ones(2, 2, 28, 28)), "tensors of shapes"),
        (outputs(u=torch.ones(1, 25, 0, 0)), "tensors of shapes"),
        (outputs(v=torch.full((1, 25, 28, 28), torch.nan)), "NaN or infinity"),
        (outputs(boxes=torch.tensor([[0.0, 0.0, 1e9, 10.0]])), "a body of 1000000000x10 px"),
    ],
    ids=["one tensor", "four", "too many", "no size", "NaN", "beyond the photo"],
)
def test_what_is_no_body_is_named(values: object, words: str) -> None:
    assert len(iuv.bodies(outputs(2)).boxes) == 2
    with pytest.raises(ValueError, match=words):
        iuv.bodies(values)


def test_photos_are_looked_at_in_detectrons_size() -> None:
    sizes = {(512, 768): (800, 1216), (4000, 1000): (1344, 320), (1, 9000): (32, 1344)}
    assert {size: iuv.looked_at(*size) for size in sizes} == sizes


def test_a_mannequin_is_a_densepose_picture_of_a_person_who_looks_at_us() -> None:
    surface = mannequin.drawn(group.layout(1, "full", 0, 256, 384))
    image = surface.image[None]
    assert pose_hint(image) == ""
    parts = iuv.parts_in(image)[0]
    seen = set(parts.unique().tolist())
    assert seen == {0, 2, 3, 4, 5, 6, 9, 10, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24}
    columns = {part: float((parts == part).nonzero()[:, 1].float().mean()) for part in seen}
    for right, left in ((3, 4), (6, 5), (9, 10), (13, 14), (16, 15), (18, 17), (20, 19), (22, 21), (23, 24)):
        assert columns[right] < columns[left], (right, left)
    # Of an arm that hangs, those of the inner side are nearer to the torso.
    assert columns[18] < columns[16] and columns[22] < columns[20] and columns[15] < columns[17]
    torso = parts == 2
    v, u, _ = surface.iuv[:, torso].float()
    rows, across = torso.nonzero().T.float()
    assert torch.corrcoef(torch.stack([rows, u]))[0, 1] > 0.95
    assert torch.corrcoef(torch.stack([across, v]))[0, 1] < -0.9
    assert surface.people.shape == (1, 384, 256)


def test_the_front_row_is_drawn_over_the_others() -> None:
    near, far = (bodies.body((128.0, y), head) for y, head in ((90.0, 60.0), (60.0, 40.0)))
    for first, second in ((near, far), (far, near)):
        places = tuple(Slot(pose[0][:2], pose=pose) for pose in (first, second))
        assert mannequin.drawn(Layout(256, 384, places)).person[130, 128] == 1 + (second is near), "who stands lower"


def test_masks_are_seen_over_their_own_pictures() -> None:
    each = torch.zeros(2, 8, 8)
    each[0, 0, 0] = each[1, 7, 7] = 1
    apart, together = (iuv.masked(each, torch.zeros(n, 8, 8, 3)) for n in (2, 1))
    assert [one.amax(-1).nonzero().tolist() for one in apart] == [[[0, 0]], [[7, 7]]]
    assert together.shape == (1, 8, 8, 3) and together[0].amax(-1).nonzero().tolist() == [[0, 0], [7, 7]]


def test_masks_are_the_parts_that_were_chosen() -> None:
    surface = mannequin.drawn(group.layout(2, "full", 1, 512, 384))
    image, parts = surface.image[None], surface.iuv[2]
    assert torch.equal(iuv.mask(image, list(iuv.GROUPS), "both")[0], (parts > 0).float())
    assert sorted(sum((sum(pair, ()) for pair in iuv.GROUPS.values()), ())) == sorted([*range(1, 25), 23, 24, 1, 2])
    assert torch.equal(iuv.mask(image, ["hands"], "right")[0], (parts == 3).float())
    each = iuv.mask(image, ["head", "torso"], "left", surface.people)
    assert torch.equal(each, torch.isin(parts, torch.tensor([1, 2, 23, 24])) * surface.people)
