"""Links that bring nothing, as bypassed loaders do, or what is of the right kind and yet another."""

from collections.abc import Iterator
from dataclasses import dataclass

from graphs import UNCONNECTED
from sample_values import faces, pose, sdxl_clip, vae

from hostile.cases import Case, bad, good, linked_inputs


@dataclass(frozen=True)
class Needed:
    """An optional input that is the only one of its kind that the defaults connect, or that its strength asks for."""

    kind: str
    name: str


NEEDED = (
    Needed("LikenessCast", "person_1"),
    Needed("LikenessCastFromPhotos", "photo_1"),
    Needed("LikenessSortPhotosIntoPeople", "image"),
    Needed("LikenessMeasureLikeness", "cast"),
    Needed("LikenessSheetOfScenes", "first_images"),
    Needed("LikenessSheetOfScenes", "first_report"),
    Needed("LikenessDrawSkeletons", "cast"),
    Needed("LikenessApplyInstantID", "control_net"),
    Needed("LikenessApplyInstantID", "image"),
    Needed("LikenessApplyIPAdapter", "clip_vision"),
    Needed("LikenessLayoutFromPicture", "faces"),
    Needed("LikenessLayoutFromPicture", "poses"),
    Needed("LikenessLayoutFromPicture", "masks"),
    Needed("LikenessExpressionFromPhoto", "face_landmarks"),
    Needed("LikenessEncodeParts", "parts"),
    Needed("LikenessSharePartsAttention", "parts"),
)


def unlinked() -> Iterator[Case]:
    for place in linked_inputs():
        # Without an optional MODEL there is none to sample with: test_words_on_unets.py looks at that.
        is_model = place.entry.get_io_type() == "MODEL"
        if place.entry.optional and not is_model and Needed(place.kind, place.name) not in NEEDED:
            yield good(place.kind, **{place.name: None})
    for needed in NEEDED:
        yield bad(f"{needed.name} input.* nothing|connected|neither", needed.kind, **{needed.name: None})
    yield from of_another_kind()


def of_another_kind() -> Iterator[Case]:
    yield bad("clip input", "LikenessPeopleAsReferences", clip=sdxl_clip())
    yield bad("vae input", "LikenessPeopleAsReferences", vae=vae())
    yield bad("sampled input", "LikenessPasteFaces", sampled={"samples": 1})
    yield bad("one thing.* face_landmarks, poses", "LikenessExpressionFromPhoto", poses=pose())
    yield bad("one thing.* faces, poses", "LikenessLayoutFromPicture", faces=faces(), poses=pose())
    for drawing in ("skeletons", "face keypoints", "body surface"):
        yield bad("neither", "LikenessDrawSkeletons", draw=drawing, cast=UNCONNECTED)
