"""What works and could be better: every remark that a node writes into the log."""

from dataclasses import dataclass, replace
from typing import Any

import tiny_vaes
from families import RECORDS
from graphs import PULID_ON_FLUX, UNCONNECTED, ours, value
from pack.core.cast import Absent, PlacedCast
from sample_values import (
    a_person,
    by_row,
    cast,
    clip_vision,
    dressed,
    image,
    klein,
    layout,
    loaded,
    mask,
    normal,
    photo,
    sdxl,
    slot,
    unplaced,
    with_one_unplaced,
    with_regions,
)


@dataclass(frozen=True)
class Remark:
    """says: a regular expression for the remark in the log; empty where there is none."""

    says: str
    inputs: dict[str, Any]


def remark(says: str, **inputs: Any) -> Remark:
    return Remark(says, inputs)


def nobody_left() -> PlacedCast:
    """With Anna and Boris in the list."""
    return replace(cast(), people=(), absent=(Absent(1, "Anna"), Absent(2, "Boris")))


LARGE = slot(64.0, box=(40.0, 20.0, 88.0, 68.0))
"""Of the first person, of whom nothing is remarked."""

REMARKS: dict[str, list[Remark]] = {
    "LikenessApplyInstantID": [
        remark("", control_strength=0.0),
        remark("Masks stretched: 64x48 px over .*, 128x96 px", mask=mask(2, 64, 48)),
        remark(
            r"left out: Boris\nMasks stretched",
            control_strength=0.0,
            cast=cast(weights=(1.0, 0.0)),
            mask=mask(2, 64, 48),
        ),
        remark(
            "Face boxes small: Boris 28x32 px on the canvas; coarse layers need 32: ",
            cast=with_regions(cast(places=layout(LARGE, slot(94.0))), acts_in="face boxes"),
        ),
        remark(
            "Face boxes small: Boris 9x32 px on the canvas; coarse layers need 32: ",
            cast=with_regions(cast(places=layout(LARGE, slot(-5.0))), acts_in="face boxes"),
        ),
    ],
    "LikenessPromptPerPerson": [
        remark("No prompt is applied", strength=0.0),
        remark(
            "Left out, so .*: Anna .*, Boris .*\nNobody acts: Place Cast has left out",
            cast=nobody_left(),
        ),
        remark("Masks stretched: 64x48 px", mask=mask(2, 64, 48)),
    ],
    "LikenessApplyPhotoMaker": [remark("The text is read without its trigger words", weight=0.0)],
    "LikenessApplyPuLID": [
        remark(
            "as many photos of everybody: the mean of each person's photos",
            pulid=value(loaded, "pulid_v1"),
            cast=cast(a_person("Anna", normal(1, 2, 512)), a_person("Boris")),
        ),
        remark(
            r"No effect with PuLID for FLUX\.1: projection, zero_tokens",
            **PULID_ON_FLUX,
            projection="off",
            zero_tokens=0,
        ),
        remark("", **PULID_ON_FLUX),
    ],
    "LikenessApplyIDPatch": [
        remark("No effect without model: mask", mask=mask(2)),
        remark("Nothing is limited to regions", model=value(sdxl), cast=by_row(), image=UNCONNECTED),
    ],
    "LikenessPeopleAsReferences": [
        remark("Nothing is limited to regions: with the cast of Crop Faces", model=value(klein), cast=by_row()),
        remark(
            r"Parts are not used: .*\nNothing is limited to regions",
            model=value(klein),
            cast=by_row(),
            parts=ours("LikenessPart"),
        ),
        remark("Looks are not used: with the cast of Crop Faces", cast=value(dressed, value(by_row))),
        remark(
            "No effect without model: region_strength, outside, mask.*to read references by region",
            mask=mask(2),
            region_strength=0.5,
            outside="everybody",
        ),
        remark("Weights other than 0 and 1 need model, so they change nothing: ", cast=cast(weights=(1.0, 0.5))),
        remark("5 pictures: FLUX.2 klein is made for 4 at most", pictures=image(batch=3)),
        remark("5 pictures: FLUX.2 klein .* so write - for somebody's look into Looks worn", cast=value(dressed)),
        remark(
            "Krea 2 was trained with pictures first.*\\n.*Without model the pictures stand in the corner of the",
            clip=value(RECORDS["Krea 2"].clip),
            vae=value(tiny_vaes.qwen),
            cast=cast(a_person()),
            order="people first",
        ),
        remark("No effect without model: reference_boost", reference_boost=4.0),
        remark("encoder_size changes nothing: the text encoder of FLUX.2 klein sees no", encoder_size=512),
        remark(
            "encoder_size is 1024: Krea 2 was trained with 384 to 768",
            clip=value(RECORDS["Krea 2"].clip),
            vae=value(tiny_vaes.qwen),
            encoder_size=1024,
        ),
        remark(
            "reference_boost changes nothing: nobody has a reference",
            model=value(klein),
            cast=cast(weights=(0.0, 0.0)),
            reference_boost=4.0,
        ),
    ],
    "LikenessSharePartsAttention": [
        remark("Nobody in the cast wears a look, and no parts are connected", parts=UNCONNECTED, cast=value(cast)),
        remark("Looks are not read: no cast is connected", looks="1: -"),
        remark("", looks=" "),
        remark("Weight 0, left out: Boris", cast=value(dressed, value(cast, weights=(1.0, 0.0)))),
    ],
    "LikenessLookFromPicture": [
        remark("", mask=mask(1, 64, 64) * 0, cast=with_regions(cast(), extent="face")),
        remark(r"Hair \(hair\) takes nothing more here", mask=mask(2)[:1], hair=True),
        remark("No mask is painted, so the whole picture counts", cast=value(unplaced), mask=mask(1, 64, 64) * 0),
        remark("Boris has no place, so the whole picture counts", cast=value(with_one_unplaced), who="2"),
        remark("target_mask of the parts is left out", parts=ours("LikenessPart", target_mask=mask(2)[:1])),
    ],
    "LikenessMeasureLikeness": [
        remark(
            "^Looks are not compared: no cast.*\nBefore .before. is not looked at: no cast",
            face_model=UNCONNECTED,
            cast=UNCONNECTED,
            parts=ours("LikenessPart"),
            clip_vision=value(clip_vision),
            looks="1: -",
            before=value(photo),
        ),
    ],
    "LikenessEncodeParts": [
        remark(
            "Pictures stretched to 128x96 px: 'face' from 64x64 px", parts=ours("LikenessPart", image=image(64, 64))
        ),
    ],
}
