"""Layouts, casts, people, faces and landmarks that are damaged, or that another pack has forged."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from pack.core.people import Layout, Person, PlacedCast, RowCast, Slot
from sample_values import cast, forged, identity, inf, landmarks, layout, nan, slot

from hostile.cases import Case, bad


def objects() -> Iterator[Case]:
    yield from damaged_places()
    yield from canvases()
    yield from weights()
    yield from damaged_casts()
    yield from forged_objects()
    yield from face_landmarks()


def damaged_places() -> Iterator[Case]:
    """Each as the second place of a layout, and as the place of a person."""
    look = ".* Layout nodes.* Detect Faces"
    for number, says in ((nan, "nan"), (inf, "inf"), (-inf, "-inf"), (1e9, r"1e\+09"), (-1e30, r"-1e\+30")):
        yield from refused_place(rf"\({says}\){look}", slot(center=(number, 1.0)))
    yield from refused_place(r"\(nan\)", slot(box=(10.0, nan, 70.0, 80.0)))
    yield from refused_place(r"\(inf\)", slot(keypoints=((1.0, inf),) * 5))
    yield from refused_place(r"\(nan\)", slot(pose=((1.0, nan, 1.0),) * 17))
    yield from refused_place(r"face box .*\(30, 10, 20, 40\)", slot(box=(30.0, 10.0, 20.0, 40.0)))
    yield from refused_place("4 face keypoints instead of 5", slot(keypoints=((1.0, 1.0),) * 4))
    yield from refused_place("a skeleton of 1 joint instead of 17", slot(pose=((1.0, 1.0, 1.0),)))
    everywhere = torch.ones(96, 128)
    yield from refused_place(r"mask .*\(8, 128\) .*128x96 px", slot(mask=everywhere[:8]))
    yield from refused_place("a mask from nan to nan", slot(mask=everywhere * nan))
    yield from refused_place("a mask from 152 to 152 .* 0 to 1", slot(mask=(everywhere * 152).byte()))
    yield from refused_place("a mask from nan to nan", slot(mask=everywhere.to(torch.complex64)))


def refused_place(says: str, place: Slot) -> Iterator[Case]:
    of_person = cast(identity(), places=layout(place))
    yield bad(
        f"The layout input of Draw Skeletons.*place 2 .*{says}", "LikenessDrawSkeletons", layout=layout(slot(), place)
    )
    yield bad(
        f"The cast input of Mask of a Person's Place.*the place of Anna .*{says}",
        "LikenessMaskOfAPersonsPlace",
        cast=of_person,
    )


def canvases() -> Iterator[Case]:
    for width, height in ((0, 0), (-8, -8), (80000, 80000), (8, 1)):
        size = f"{width}x{height} px"
        two = cast(places=layout(slot(), slot(), width=width, height=height))
        nobody = PlacedCast((), width, height)
        one_place = layout(slot(), width=width, height=height)
        yield bad(f"Draw Skeletons .*{size}", "LikenessDrawSkeletons", layout=one_place)
        yield bad(f"cast.* {size}", "LikenessMaskOfAPersonsPlace", cast=two)
        yield bad(f"cast.* {size}", "LikenessMaskOfAPersonsPlace", cast=nobody)


def weights() -> Iterator[Case]:
    for weight in (nan, inf, -0.5):
        people = cast(weights=[weight, 1.0])
        yield bad(f"weight of Anna .*{weight};.* 0 ", "LikenessMaskOfAPersonsPlace", cast=people)


NO_CAST = "is an object of type |a cast of rows of which one shows no person"


def damaged_casts() -> Iterator[Case]:
    anna = cast().people[0]
    placed: tuple[Any, ...] = (
        forged("Cast"),
        forged("Cast", people=None, absent=()),
        forged("PlacedCast", people=(), absent=(), numbers=()),
        PlacedCast((None,), 8, 8),
        PlacedCast((Person(None),), 8, 8),
        PlacedCast(("Anna",), 8, 8),
        PlacedCast((anna,), nan, 96),
        PlacedCast((anna,), 128.0, 96.0),
        PlacedCast((anna,), None, None),
        replace(cast(), absent=((1, "X"), (9, "Y"))),
        replace(cast(), absent=(1,)),
        PlacedCast((replace(anna, slot="here"),), 128, 96),
        PlacedCast((replace(anna, number="second"),), 128, 96),
        cast(replace(identity(), crops=None)),
        cast(replace(identity(), crops=torch.zeros(0, 112, 112, 3))),
        cast(replace(identity(), embeddings={"x": torch.ones(1, 512).long()})),
    )
    by_row: tuple[Any, ...] = (
        forged("RowCast"),
        RowCast((), 128, 96),
        RowCast((replace(anna, weight=0.0),), 128, 96),
        RowCast((replace(anna, slot=None),), 128, 96),
    )
    for people in placed:
        yield bad(NO_CAST, "LikenessMaskOfAPersonsPlace", cast=people)
    for people in by_row:
        yield bad(NO_CAST, "LikenessApplyInstantID", cast=people)


def forged_objects() -> Iterator[Case]:
    not_whole = "an object of type .* that is not whole"
    without_embeddings = forged("Identity", crops=torch.zeros(1), embeddings={})
    of_nothing = forged("Faces", width=8, height=8, faces=(None,))
    yield bad(not_whole, "LikenessSavePerson", person=forged("Identity"))
    yield bad(not_whole, "LikenessSavePerson", person=without_embeddings)
    yield bad(not_whole, "LikenessDrawSkeletons", layout=forged("Layout"))
    yield bad(not_whole, "LikenessDrawSkeletons", layout=Layout(nan, 96, ()))
    yield bad(not_whole, "LikenessLayoutFromPicture", faces=of_nothing)
    yield bad(not_whole, "LikenessDetectFaces", face_landmarks={"image_size": (8, 8)})


def one_face(points: Any, score: float = 0.9) -> dict[str, Any]:
    """FACE_LANDMARKS of a photo with one face at these points, (478, 2) px."""
    return landmarks(frames=[[{"landmarks_xy": points, "score": score}]])


def face_landmarks() -> Iterator[Case]:
    points = torch.rand(478, 2) * 200
    refused = (
        {"frames": []},
        landmarks(frames=None),
        landmarks(frames=[[5]]),
        landmarks(frames=(frame for frame in landmarks()["frames"])),
        landmarks(image_size=(inf, 5)),
        landmarks(image_size=(0, 5)),
        one_face(torch.rand(478, 3) * 200),
        one_face(points[:100]),
        one_face(points * nan),
        one_face(points + 1e9),
        one_face(points + 1000),
        one_face(torch.full((478, 2), 50.0)),
        one_face([[10**400, 1]] * 478),
        one_face(points, score=7),
    )
    for link in refused:
        yield bad("The face_landmarks input of Detect Faces is ", "LikenessDetectFaces", face_landmarks=link)
