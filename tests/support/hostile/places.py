"""Layouts, orders, words and poses that say of no place where it is, or of no person who is meant."""

from collections.abc import Iterator

from graphs import ours
from pack.core.cast import Faces, Layout
from sample_values import a_person, cast, inf, layout, mask, nan, pose, slot, unplaced

from hostile.cases import Case, bad, good


def places() -> Iterator[Case]:
    yield from layouts_without_places()
    yield from canvases()
    yield from detected_faces()
    yield from words()
    yield from orders()


def layouts_without_places() -> Iterator[Case]:
    nothing = Layout(128, 96, ())
    yield bad("0 places|no face", "LikenessPlaceCast", cast=unplaced(a_person()), layout=nothing)
    for drawing in ("skeletons", "face keypoints", "body surface"):
        yield bad("layout given to Draw Skeletons has no places", "LikenessDrawSkeletons", draw=drawing, cast=nothing)
    masked = layout(slot(mask=mask()[0] * 0))
    yield bad("mask of its place is empty", "LikenessMaskOfAPersonsPlace", cast=cast(a_person(), places=masked))


def canvases() -> Iterator[Case]:
    """Too large for what is drawn on them."""
    for side in (100000, 24000):
        size = {"width": side, "height": side}
        yield bad(str(side), "LikenessLayoutForAGroup", **size)
        yield bad(str(side), "LikenessLayoutFromPicture", **size)
        yield bad(str(side), "LikenessLayoutFromPicture", masks=mask(2), **size)
    for side in (80000, 24000):
        poses = pose(width=side, height=side)
        yield bad("80000x80000|24000x24000", "LikenessLayoutFromPicture", poses=poses, width=0, height=0)


def detected_faces() -> Iterator[Case]:
    yield bad("empty", "LikenessLayoutFromPicture", faces=Faces((), 128, 96))


def words() -> Iterator[Case]:
    """Emphasis that no number can hold."""
    for emphasis in ("1e39", "-1e39", "nan"):
        yield bad("NaN or infinity", "LikenessPromptPerPerson", prompts=f"1: (smiling:{emphasis})")
        yield bad("NaN or infinity", "LikenessApplyPhotoMaker", text=f"a (red:{emphasis}) woman img, a man img")


def orders() -> Iterator[Case]:
    refused = {
        "": "it is empty",
        "1\n2\n3": "3 numbers",
    }
    for order, says in refused.items():
        yield bad(says, "LikenessPlaceCast", order="custom", custom_order=order)
    yield bad("the layout has 1 place", "LikenessPlaceCast", layout=layout(slot()))


def poses() -> Iterator[Case]:
    """POSE_KEYPOINT as other packs may bring it."""
    canvas = {"canvas_width": 128, "canvas_height": 96}
    refused = (
        ("numbers", pose([[1.0, 2.0], [3.0]])),
        ("numbers|far|large", pose([10**400, 1, 1] * 18)),
        ("numbers", pose(["x"] * 54)),
        ("numbers", pose([{"x": 1}] * 54)),
        ("numbers|no person", pose([None] * 54)),
        ("51", pose([1.0] * 51)),
        ("no person", pose([nan] * 54)),
        ("no person", pose([inf, inf, 1.0] * 18)),
        ("no person", [{"people": [], **canvas}]),
        ("OpenPose", 7),
        ("people", [{"canvas_width": 128}]),
        ("people", [{"people": "abc", **canvas}]),
        ("2 pictures", pose() * 2),
        ("20000 people, at most 500", [{"people": pose()[0]["people"] * 20_000, **canvas}]),
        ("canvas_width", pose(width=None)),
        ("canvas_width", pose(width=nan)),
        ("canvas_width", pose(width=0)),
    )
    for says, poses in refused:
        yield bad(says, "LikenessLayoutFromPicture", poses=poses)
    one_pixel = pose(width=1, height=1)
    enlarged = ours("LikenessLayoutFromPicture", poses=one_pixel, width=8192, height=8192)
    yield bad("head or a neck", "LikenessDrawSkeletons", cast=enlarged)
    yield good("LikenessLayoutFromPicture", poses=pose(), width=0, height=0)
