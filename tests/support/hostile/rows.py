"""Casts from Crop Faces, and pictures that do not belong to the crops."""

from collections.abc import Iterator
from typing import Any

import torch
from graphs import DEFAULTS, ours, value
from sample_values import by_row, first_row, image, photo
from torch import Tensor

from hostile.cases import Case, bad, good, right


def rows() -> Iterator[Case]:
    yield from casts_by_row()
    yield from pasted()
    yield from sizes()
    yield from picked()


def casts_by_row() -> Iterator[Case]:
    people = by_row()
    for kind in (
        "LikenessCast",
        "LikenessPlaceCast",
        "LikenessWhoStandsWhere",
        "LikenessMaskOfAPersonsPlace",
        "LikenessMeasureLikeness",
        "LikenessCropFaces",
    ):
        yield bad("comes from Crop Faces", kind, cast=people)
    skeletons = ours("LikenessDrawSkeletons", cast=people, draw="skeletons")
    patches = ours("LikenessIDPatchConditionImage", cast=people, image=skeletons)
    yield bad("image has 1 row", "LikenessApplyIDPatch", cast=people, image=value(first_row, patches))


def twice(crops: Tensor) -> Tensor:
    return crops.repeat(2, 1, 1, 1)


def without_a_line(crops: Tensor) -> Tensor:
    return crops[:, 1:]


def at_twice_the_size(crops: Tensor) -> Tensor:
    return crops.repeat_interleave(2, 1).repeat_interleave(2, 2)


def pasted() -> Iterator[Case]:
    crops = DEFAULTS["LikenessPasteFaces"]["sampled"]
    yield bad("the crops were cut out of", "LikenessPasteFaces", images=image())
    yield bad("got 2 pictures", "LikenessPasteFaces", images=photo().repeat(2, 1, 1, 1))
    yield bad("got 2 sampled crops", "LikenessPasteFaces", sampled=value(twice, crops))
    yield bad("the crops are squares", "LikenessPasteFaces", sampled=value(without_a_line, crops))
    yield good("LikenessPasteFaces", sampled=value(at_twice_the_size, crops))


WITHOUT_A_REMARK = r"\A(?![\s\S]* px, not )"


def sizes() -> Iterator[Case]:
    rounded = "Longer side 448 px, not 500: both sides are rounded down to multiples of 64"
    yield good("LikenessCropFaces", feather=4.0, log=r"\d+% pasted at most")
    yield good("LikenessCropFaces", size=500, log="Crops of 448 px, not 500: sizes are multiples of 64")
    yield good("LikenessCropFaces", size=512, log=WITHOUT_A_REMARK)
    yield good("LikenessResizePhoto", longer_side=500, log=rounded)
    yield good("LikenessResizePhoto", longer_side=512, log=WITHOUT_A_REMARK)


def row_is_none_of(latents: dict[str, Any], rows: tuple[int, int]) -> Any:
    """The number of the row that was kept, or None where it is one of these."""
    kept_rows = latents["batch_index"]
    return None if kept_rows[0] in rows else kept_rows


def picked() -> Iterator[Case]:
    """Numbers of rows go along with the latent that is picked; without them they count from 0."""
    batch = photo().repeat(2, 1, 1, 1)
    report = ours("LikenessMeasureLikeness", images=batch)
    for index, rows in ((torch.tensor([3, 4]), (3, 4)), (torch.tensor([]), (0, 1))):
        noise = {"samples": torch.zeros(2, 4, 8, 8), "batch_index": index}
        best = ours("LikenessPickBestLikeness", report=report, images=batch, latents=noise)
        yield right(value(row_is_none_of, best[1], rows))
