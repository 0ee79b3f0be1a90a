"""Masks: whose they are acts there, people share what they overlap in, of everything it is none, of nothing refused."""

from typing import Any

import pytest
import torch
from figures import relative
from graphs import UNCONNECTED, node, ours, value
from method_rows import READ_FACES, Condition, Row, applies_to, latents, often, picture
from pack.core.cast import PlacedCast, Slot
from pack.core.checks.errors import LikenessError
from pack.core.places.region_settings import REGIONS
from sample_values import (
    HEIGHT,
    WIDTH,
    a_person,
    by_lora,
    cast,
    image,
    latent,
    layout,
    mask,
    slot,
    unplaced,
    with_loras,
    with_regions,
)
from torch import Tensor

ODD = {"width": 136, "height": 104}
"""A size that no layer divides: a latent of 17x13."""

PARTS = {
    "LikenessApplyParts2Whole": lambda part, **size: {"features": ours("LikenessEncodeParts", parts=part, **size)},
    "LikenessSharePartsAttention": lambda part, **size: {"parts": part},
}
"""Whose masks stand at the parts."""
ONE: dict[str, dict[str, Any]] = {
    "LikenessApplyPhotoMaker": {"text": "a woman img"},
}
"""With one person where the defaults are for two."""
REFERENCES = "LikenessPeopleAsReferences"
"""Whose people need portraits, and by region places or masks."""
SPOKEN = "LikenessPromptPerPerson"
"""Whose people are words."""
READ_AS_TEXT = (SPOKEN, REFERENCES, "LikenessApplyIDPatch", "LikenessApplyPhotoMaker")
"""Whose people are read beside or within the text."""

CONDITIONS = (Condition(lambda row: "mask" in row.inputs or row.kind in PARTS, "The node has no mask."),)


def takes_one_person(row: Row) -> bool:
    """Whether somebody without a place may be in all of the picture, or the masks are those of parts."""
    if row.kind in PARTS:
        return True
    people_input = row.inputs.get("cast", row.inputs["mask"])
    return row.kind != REFERENCES and "LIKENESS_PERSON" in people_input.get_io_type()


def is_kept_beside_a_lora(row: Row) -> bool:
    return row.takes_a_cast and row.method is not None and row.kind not in ("LikenessApplyIDPatch", REFERENCES)


BESIDE_A_LORA = (
    is_kept_beside_a_lora,
    "It puts in no person by photos, refuses a person without portraits, or its ControlNet draws the people by LoRA "
    "too.",
)


def shown(row: Row, masks: Tensor | None, latent_image: Any = None, **changed: Any) -> Tensor:
    """The latent with the node, whose people or parts have these masks. changed: of the node's other inputs."""
    if row.kind in PARTS:
        size = changed.pop("size", {})
        part = ours("LikenessPart", target_mask=masks)
        applied = row.node(**PARTS[row.kind](part, **size), **changed)
    else:
        if row.kind == "LikenessApplyIDPatch":
            changed["image"] = UNCONNECTED  # it draws the people itself
        if row.kind == REFERENCES:
            changed["sentences"] = "none"  # the whole picture reads them: other people are other portraits alone
        applied = row.node(mask=masks, **changed)
        if row.kind in READ_FACES:
            people = value(with_regions, applied.inputs["cast"], acts_in=REGIONS)
            applied = node(row.kind, **{**applied.inputs, "cast": people})
    graph = row.sampled(applied, latent_image)
    if latent_image and row.of_unets:
        graph = node(graph.kind, **{**graph.inputs, "model": value(shrunk, graph.inputs["model"])})
    return latents(graph)


def shrunk(model: Any) -> Any:
    """Behind PatchModelAddDownscale, which halves the picture behind the third block of the UNet for the whole run."""
    from comfy_extras.nodes_model_downscale import PatchModelAddDownscale

    settings = (model, 3, 2.0, 0.0, 1.0, True, "bicubic", "bicubic")
    if hasattr(PatchModelAddDownscale, "execute"):
        return PatchModelAddDownscale.execute(*settings)[0]
    return PatchModelAddDownscale().patch(*settings)[0]


def left_to_right(change: Tensor) -> float:
    """How much stronger a change is in the left half of the latent than in the right half."""
    middle = change.shape[-1] // 2
    left, right = change[..., :middle], change[..., -middle:]
    return (left.square().mean().sqrt() / right.square().mean().sqrt()).item()


def of_odd_size(row: Row, **changed: Any) -> Tensor:
    """The latent with people or a part in masks of the left and the right half, of a UNet that halves it once more."""
    people = cast(*map(a_person, changed.pop("names", ("Anna", "Boris"))), places=layout(slot(), slot(94.0), **ODD))
    if "cast" in row.inputs:
        changed["cast"] = people
    if row.kind == "LikenessApplyInstantID":
        changed["image"] = ours("LikenessDrawSkeletons", draw="face keypoints", cast=people)
    changed |= ODD if "width" in row.inputs else {}
    changed |= {"pose": image(**ODD)} if "pose" in row.inputs else {}
    changed |= {"size": ODD} if row.kind in PARTS else {}
    masks = changed.pop("masks", mask(2, **ODD))
    return shown(row, masks, value(latent, **ODD), **changed)


def changes_by_side(row: Row) -> tuple[Tensor, Tensor]:
    """What changes where somebody on the left is another person, and the same on the right.

    Of a node with parts: what it changes with the mask of the left half, and of the right half.
    """
    if row.kind in PARTS:
        plain = latents(row.plain(latent_image=value(latent, **ODD)))
        left, right = mask(2, **ODD).split(1)
        return of_odd_size(row, masks=left) - plain, of_odd_size(row, masks=right) - plain
    if row.kind == SPOKEN:
        people = [{"prompts": words} for words in ("1: up\n2: down", "1: asleep\n2: down", "1: up\n2: asleep")]
    else:
        people = [{"names": names} for names in (("Anna", "Boris"), ("Christa", "Boris"), ("Anna", "Daniel"))]
    of_both, another_left, another_right = (of_odd_size(row, **changes) for changes in people)
    return another_left - of_both, another_right - of_both


@often("instant_id, ApplyInstantID", "pulid, ApplyPuLID, FLUX.1", "parts2whole, ApplyParts2Whole")
def test_whoever_is_left_acts_left_and_whoever_is_right_acts_right(row: Row) -> None:
    """The rest of the network carries much of it to the other half; where the grid is halved nearly all of it."""
    left, right = changes_by_side(row)
    assert left_to_right(left) >= 1.02 * left_to_right(right)


@applies_to(takes_one_person, "It takes people with places alone, who always have a region.")
def test_of_everything_it_is_none(row: Row) -> None:
    """Of one person, whom nobody else keeps to a region; others always have one."""
    alone = {} if row.kind in PARTS else {"cast": unplaced(a_person("Anna")), **ONE.get(row.kind, {})}
    everywhere = shown(row, None, **alone)
    assert relative(shown(row, mask(1), **alone), everywhere) <= 2e-5
    assert relative(everywhere, picture(row, "plain")) > 1e-4, "it does nothing"


@applies_to(lambda row: row.kind in PARTS, "Its masks belong to a person each.")
@often("parts2whole, ApplyParts2Whole")
def test_soft_masks_that_add_up_to_everything_are_none(row: Row) -> None:
    across = torch.linspace(0, 1, mask(1).shape[-1])
    left, right = (1 - across) * mask(1)[0], across * mask(1)[0]
    assert relative(shown(row, torch.stack([left, right])), shown(row, None)) <= 2e-5


@applies_to(lambda row: row.kind not in PARTS, "Its masks are of parts.")
@applies_to(lambda row: row.kind not in READ_AS_TEXT, "Where regions overlap, the texts of both are read.")
@often("instant_id, ApplyInstantID", "pulid, ApplyPuLID, FLUX.1", "LoRAPerPerson")
def test_where_regions_overlap_people_share_a_pixel_in_proportion(row: Row) -> None:
    overlapping = torch.zeros(2, HEIGHT, WIDTH)
    overlapping[0, :, :80] = 1.0
    overlapping[1, :, 48:] = 0.6
    shared = overlapping.clone()
    shared[:, :, 48:80] /= 1.6
    people = cast(*(with_loras(a_person(name), words="") for name in ("Anna", "Boris")))
    assert relative(shown(row, overlapping, cast=people), shown(row, shared, cast=people)) <= 1e-5


@applies_to(*BESIDE_A_LORA)
@often("pulid, ApplyPuLID, FLUX.1")
def test_people_from_photos_keep_to_their_places_beside_one_by_lora(row: Row) -> None:
    """As if that one had weight 0, in the same masks, and by places they are kept to these."""
    beside = cast(a_person("Anna"), by_lora())
    left_out = cast(a_person("Anna"), by_lora(), weights=(1.0, 0.0))
    alone = cast(a_person("Anna"), a_person("Boris"), weights=(1.0, 0.0))
    in_masks = shown(row, mask(2), cast=alone)
    assert relative(shown(row, mask(2), cast=beside), in_masks) <= 1e-6
    assert relative(shown(row, mask(2), cast=left_out), in_masks) <= 1e-6
    everywhere = shown(row, None, cast=alone)
    assert relative(shown(row, None, cast=beside), everywhere) > 1e-4
    beside_bare_place = shown(row, None, cast=beside_a_bare_place())
    assert relative(beside_bare_place, everywhere) > 1e-4, "nobody is asked for that one's region"


def beside_a_bare_place() -> PlacedCast:
    """The place of the person by LoRA has neither a face box nor keypoints."""
    return cast(a_person("Anna"), by_lora(), places=layout(slot(), Slot((94.0, 40.0))))


@applies_to(*BESIDE_A_LORA)
@applies_to(lambda row: row.kind in READ_FACES, "Its regions are bodies, which a bare place has none of.")
def test_a_bare_place_of_one_by_lora_takes_nothing_away(row: Row) -> None:
    """As beside somebody whose face is out of reach. The face of somebody near is not read as Anna's."""
    far_box = (124.0, 92.0, 127.0, 95.0)
    beside_somebody_far = cast(a_person("Anna"), by_lora(), places=layout(slot(), Slot((125.5, 93.5), far_box)))
    beside_bare_place = shown(row, None, cast=beside_a_bare_place())
    assert relative(beside_bare_place, shown(row, None, cast=beside_somebody_far)) <= 1e-6
    if row.of_unets:  # a transformer's tokens are too coarse for this canvas
        near_face_cut_out = shown(row, None, cast=cast(a_person("Anna"), by_lora()))
        assert relative(beside_bare_place, near_face_cut_out) > 1e-4


def test_of_nothing_it_is_refused(row: Row) -> None:
    with pytest.raises(LikenessError):
        shown(row, 0 * mask(1 if row.kind in PARTS else 2))
