"""What the sampler behind a node refuses: latents, MODELs and packs that the node cannot see. The node itself runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import other_packs
from graphs import PULID_ON_FLUX, UNCONNECTED, Node, ours, value
from pack.bridge.sampling.carried import ConditioningLost
from pack.core.checks.errors import BadSize, LikenessError, TokensMoved, WrongBaseModel
from sample_values import (
    a_person,
    cast,
    klein,
    latent,
    mask,
    sd15,
    theirs,
    unplaced,
    with_regions,
)
from tiny import tiny_dits


@dataclass(frozen=True)
class RefusedBySampler:
    """As `Refused`, of a node and the sampler behind it.

    latent_image: another than the default. model: another MODEL for the sampler. pack: what another pack makes of the
    sampler's MODEL, as a node between ours and the sampler.
    """

    error: type[LikenessError]
    says: str
    node: Node
    latent_image: dict[str, Any] | None = None
    model: Node | None = None
    pack: Callable[[Any], Any] | None = None


ANOTHER_CANVAS = " 256x96 px.*canvas of {}.* 128x96 px"
NO_UNET = r"The MODEL is made for {}, but a UNet of the SD family .*FLUX\.1 there is PuLID, References"
TILES = "other_packs.* 64x96 of 128x96 px"
MIXED = "other_packs.* makes 8 rows of 4 inside attention.* Bypass"
MOVED = "tokens of the 16x24 of a layer.*target_mask"


def tiles_around(model: Any) -> Any:
    return other_packs.around(model, other_packs.in_tiles)


def tiles_inside(model: Any) -> Any:
    return other_packs.inside(model, other_packs.in_tiles)


def hyper_tile(model: Any) -> Any:
    return theirs(model, "host_node:HyperTile")


def token_merging(model: Any) -> Any:
    return theirs(model, "host_node:ToMe")


def transformer(family: str, **changed: Any) -> Node:
    return value(tiny_dits.model, family, **changed)


def latent_of(family: str, width: int = 128) -> dict[str, Any]:
    # An older ComfyUI has not all families, and runs no row with theirs.
    return {"samples": tiny_dits.latent(family, width, 96)} if tiny_dits.KNOWN else {}


HIGH_PART = ours("LikenessPart", target_mask=mask(2, 128, 192)[:1])
HIGH_PARTS = ours("LikenessEncodeParts", parts=HIGH_PART, width=128, height=192)
ON_A_HIGH_CANVAS = ours("LikenessApplyParts2Whole", features=HIGH_PARTS, pose=UNCONNECTED)
INSTANT_ID = ours("LikenessApplyInstantID")
WITHOUT_IDENTITY_NET = ours("LikenessApplyInstantID", control_strength=0.0)
ONE_PERSON = ours("LikenessApplyInstantID", cast=cast(a_person()), control_strength=0.0)
BEHIND_ONE_PERSON = ours(
    "LikenessApplyInstantID", model=ONE_PERSON, positive=ONE_PERSON[1], negative=ONE_PERSON[2], control_strength=0.0
)
ONE_FACE_BOX = ours(
    "LikenessApplyInstantID", cast=with_regions(cast(a_person()), acts_in="face boxes"), control_strength=0.0
)
ID_PATCH = ours("LikenessApplyIDPatch")
WORDS = ours("LikenessPromptPerPerson")
PARTS = ours("LikenessApplyParts2Whole")

BY_THE_SAMPLER = [
    RefusedBySampler(
        BadSize,
        ANOTHER_CANVAS.format("Apply InstantID"),
        ours("LikenessApplyInstantID", cast=unplaced(a_person())),
        latent(256, 96),
    ),
    RefusedBySampler(BadSize, ANOTHER_CANVAS.format("Apply InstantID"), INSTANT_ID, latent(256, 96)),
    RefusedBySampler(BadSize, ANOTHER_CANVAS.format("Apply InstantID"), WITHOUT_IDENTITY_NET, latent(256, 96)),
    RefusedBySampler(BadSize, ANOTHER_CANVAS.format("Apply InstantID"), ONE_FACE_BOX, latent(256, 96)),
    RefusedBySampler(BadSize, ANOTHER_CANVAS.format("Apply ID-Patch"), ID_PATCH, latent(256, 96)),
    RefusedBySampler(BadSize, ANOTHER_CANVAS.format("Prompt per Person"), WORDS, latent(256, 96)),
    RefusedBySampler(BadSize, "128x96", ours("LikenessApplyPuLID", **PULID_ON_FLUX), latent(128, 128)),
    RefusedBySampler(
        BadSize,
        "96x128 px; the parts were encoded for 128x96 px.*second pass",
        ours("LikenessApplyParts2Whole", pose=UNCONNECTED),
        latent(96, 128),
    ),
    RefusedBySampler(
        BadSize,
        "canvas of People as References.* 128x96",
        ours("LikenessPeopleAsReferences", model=value(klein)),
        latent_of("FLUX.2", 256),
    ),
    RefusedBySampler(WrongBaseModel, r"of 9 input blocks, but one of 12 \(SD15\)", ID_PATCH, model=value(sd15)),
    RefusedBySampler(WrongBaseModel, NO_UNET.format("Flux"), ID_PATCH, latent_of("FLUX.1"), transformer("FLUX.1")),
    RefusedBySampler(WrongBaseModel, NO_UNET.format("Flux2"), ID_PATCH, latent_of("FLUX.2"), transformer("FLUX.2")),
    RefusedBySampler(
        WrongBaseModel, NO_UNET.format("QwenImage"), ID_PATCH, latent_of("Qwen-Image"), transformer("Qwen-Image")
    ),
    RefusedBySampler(TokensMoved, MOVED, ON_A_HIGH_CANVAS, latent(128, 192), pack=hyper_tile),
    RefusedBySampler(TokensMoved, MOVED, ON_A_HIGH_CANVAS, latent(128, 192), pack=token_merging),
    RefusedBySampler(ConditioningLost, "regions or a pose belong to the whole", WORDS, pack=tiles_around),
    RefusedBySampler(ConditioningLost, TILES, WITHOUT_IDENTITY_NET, latent(batch=2), pack=tiles_around),
    RefusedBySampler(ConditioningLost, TILES, BEHIND_ONE_PERSON, pack=tiles_around),
    RefusedBySampler(ConditioningLost, TILES, PARTS, latent(batch=2), pack=tiles_around),
    RefusedBySampler(ConditioningLost, TILES, WITHOUT_IDENTITY_NET, latent(batch=2), pack=tiles_inside),
    RefusedBySampler(ConditioningLost, TILES, PARTS, latent(batch=2), pack=tiles_inside),
    RefusedBySampler(ConditioningLost, MIXED, INSTANT_ID, latent(batch=2), pack=other_packs.mixed_rows),
    RefusedBySampler(ConditioningLost, MIXED, WORDS, latent(batch=2), pack=other_packs.mixed_rows),
]
