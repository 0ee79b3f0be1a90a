"""What works and could be better: every remark that a node writes into the log. What a case is: cases.py."""

from graphs import UNCONNECTED, Node, ours, value
from sample_values import (
    by_row,
    cast,
    identity,
    image,
    klein,
    krea_2_clip,
    layout,
    loaded,
    mask,
    normal,
    qwen_vae,
    sdxl,
    slot,
)

from refusals.cases import remarks


@remarks("nothing")
def nothing() -> Node:
    return ours("LikenessApplyInstantID", control_strength=0.0)


@remarks("masks", "Masks stretched: 64x48 px over .*, 128x96 px")
def masks() -> Node:
    return ours("LikenessApplyInstantID", mask=mask(2, 64, 48))


@remarks("all", r"left out: Boris\nMasks stretched")
def masks_and_somebody_left_out() -> Node:
    return ours("LikenessApplyInstantID", control_strength=0.0, cast=cast(weights=(1.0, 0.0)), mask=mask(2, 64, 48))


@remarks("small boxes", "Face boxes small: Anna 28x32 px on the canvas; coarse layers need 32: ")
def small_boxes() -> Node:
    return ours("LikenessApplyInstantID", acts_in="face boxes", cast=cast(identity()))


@remarks("boxes that are cut", "Face boxes small: Anna 9x32 px on the canvas; coarse layers need 32: ")
def boxes_that_are_cut() -> Node:
    return ours("LikenessApplyInstantID", acts_in="face boxes", cast=cast(identity(), places=layout(slot(-5.0))))


@remarks("no words", "The text is read without its trigger words")
def no_words() -> Node:
    return ours("LikenessApplyPhotoMaker", weight=0.0)


@remarks("unlike numbers of photos", "as many photos of everybody: the mean of each person's photos")
def unlike_numbers_of_photos() -> Node:
    people = cast(identity("Anna", normal(1, 2, 512)), identity("Boris"))
    return ours("LikenessApplyPuLID", pulid=value(loaded, "pulid_v1"), cast=people)


@remarks("regions without a MODEL", "No effect without model: margin, feather, mask")
def regions_without_a_model() -> Node:
    return ours("LikenessApplyIDPatch", mask=mask(2), margin=1.0)


@remarks("by region in rows", "Nothing is limited to regions")
def by_region_in_rows() -> Node:
    return ours("LikenessApplyIDPatch", model=sdxl(), cast=by_row(), image=UNCONNECTED)


@remarks("black", "InfuseNet is shown black: Boris")
def black() -> Node:
    return ours("LikenessApplyInfiniteYou", cast=cast(places=layout(slot(), slot(94.0, keypoints=None))))


@remarks("references in rows", "Nothing is limited to regions: with the cast of Crop Faces")
def references_in_rows() -> Node:
    return ours("LikenessPeopleAsReferences", model=klein(), cast=by_row())


@remarks("parts as references in rows", r"Parts are not used: .*\nNothing is limited to regions")
def parts_as_references_in_rows() -> Node:
    return ours("LikenessPeopleAsReferences", model=klein(), cast=by_row(), parts=ours("LikenessPart"))


@remarks(
    "regions of references without a MODEL",
    "No effect without model: region_strength, outside, mask.*to read references by region",
)
def regions_of_references_without_a_model() -> Node:
    return ours("LikenessPeopleAsReferences", mask=mask(2), region_strength=0.5, outside="everybody")


@remarks("weights of references without a MODEL", "Weights other than 0 and 1 need model, so they change nothing: ")
def weights_of_references_without_a_model() -> Node:
    return ours("LikenessPeopleAsReferences", cast=cast(weights=(1.0, 0.5)))


@remarks("many references", "5 pictures: FLUX.2 klein is made for 4 at most")
def many_references() -> Node:
    return ours("LikenessPeopleAsReferences", pictures=image(batch=3))


@remarks("references of Krea 2 without a MODEL", "Without model the pictures stand in the corner of the")
def references_of_krea_2_without_a_model() -> Node:
    return ours("LikenessPeopleAsReferences", clip=krea_2_clip(), vae=qwen_vae(), pictures=UNCONNECTED)


@remarks("stretched", "Pictures stretched to 128x96 px: 'face' from 64x64 px")
def stretched() -> Node:
    return ours("LikenessEncodeParts", parts=ours("LikenessPart", image=image(64, 64)))
