"""What the sampler behind a node refuses: latents, MODELs and packs that the node cannot see. See cases.py."""

from typing import Any

import other_packs
import tiny_dits
from graphs import UNCONNECTED, Node, ours
from pack.bridge.sampling.model_conds import ConditioningLost
from pack.core.errors import BadSetup, BadSize, TokensMoved, WrongBaseModel
from sample_values import cast, dit, identity, klein, latent, mask, of_another_pack, sd15, theirs, unplaced

from refusals.cases import Sampled, refused_by_the_sampler

OF_SDXL = (
    r"MODEL given to the sampler is made for {}, but SDXL .*FLUX\.1 there is PuLID, WithAnyone, InfiniteYou, References"
)


def tiles_around(model: Any) -> Any:
    return other_packs.around(model, other_packs.in_tiles)


def tiles_inside(model: Any) -> Any:
    return other_packs.inside(model, other_packs.in_tiles)


def hyper_tile(model: Any) -> Any:
    return theirs(model, "host_node:HyperTile")


def token_merging(model: Any) -> Any:
    return theirs(model, "host_node:ToMe")


def parts_on_a_high_canvas() -> Node:
    part = ours("LikenessPart", target_mask=mask(1, 128, 192))
    features = ours("LikenessEncodeParts", parts=part, width=128, height=192)
    return ours("LikenessApplyParts2Whole", features=features, pose=UNCONNECTED)


@refused_by_the_sampler("a wide latent, keypoints", BadSize, " 256x96 px.*canvas of Apply InstantID.* 128x96 px")
def a_wide_latent_keypoints() -> Sampled:
    return Sampled(ours("LikenessApplyInstantID", cast=unplaced(identity())), latent(256, 96))


@refused_by_the_sampler("a wide latent, both", BadSize, " 256x96 px.*canvas of Apply InstantID.* 128x96 px")
def a_wide_latent_both() -> Sampled:
    return Sampled(ours("LikenessApplyInstantID"), latent(256, 96))


@refused_by_the_sampler("a wide latent, regions", BadSize, " 256x96 px.*canvas of Apply InstantID.* 128x96 px")
def a_wide_latent_regions() -> Sampled:
    return Sampled(ours("LikenessApplyInstantID", control_strength=0.0), latent(256, 96))


@refused_by_the_sampler("a wide latent, one face box", BadSize, " 256x96 px.*canvas of Apply InstantID.* 128x96 px")
def a_wide_latent_one_face_box() -> Sampled:
    alone = ours("LikenessApplyInstantID", cast=cast(identity()), acts_in="face boxes", control_strength=0.0)
    return Sampled(alone, latent(256, 96))


@refused_by_the_sampler("a wide latent, ID patches", BadSize, " 256x96 px.*canvas of Apply ID-Patch.* 128x96 px")
def a_wide_latent_id_patches() -> Sampled:
    return Sampled(ours("LikenessApplyIDPatch"), latent(256, 96))


@refused_by_the_sampler("a wide latent, words", BadSize, " 256x96 px.*canvas of Prompt per Person.* 128x96 px")
def a_wide_latent_words() -> Sampled:
    return Sampled(ours("LikenessPromptPerPerson"), latent(256, 96))


@refused_by_the_sampler("a high latent, faces", BadSize, "128x96")
def a_high_latent_faces() -> Sampled:
    return Sampled(ours("LikenessApplyWithAnyone"), latent(128, 128))


@refused_by_the_sampler("a network of another pack, sampled", BadSetup, "TheirTransformer")
def a_network_of_another_pack_sampled() -> Sampled:
    return Sampled(ours("LikenessApplyInfiniteYou"), model=of_another_pack(tiny_dits.model("FLUX.1")))


@refused_by_the_sampler("a high latent, InfuseNet", BadSize, "another shape")
def a_high_latent_infuse_net() -> Sampled:
    return Sampled(ours("LikenessApplyInfiniteYou"), latent(96, 128))


@refused_by_the_sampler("a high latent, parts", BadSize, "96x128 px; the parts were encoded for 128x96 px.*second pass")
def a_high_latent_parts() -> Sampled:
    return Sampled(ours("LikenessApplyParts2Whole", pose=UNCONNECTED), latent(96, 128))


@refused_by_the_sampler("a high latent, references", BadSize, "canvas of People as References.* 128x96")
def a_high_latent_references() -> Sampled:
    return Sampled(ours("LikenessPeopleAsReferences", model=klein()), {"samples": tiny_dits.latent("FLUX.2", 256, 96)})


@refused_by_the_sampler("tiles of words", ConditioningLost, "regions or a pose belong to the whole")
def tiles_of_words() -> Sampled:
    return Sampled(ours("LikenessPromptPerPerson"), pack=tiles_around)


@refused_by_the_sampler("SD1.5 at the sampler", WrongBaseModel, r"MODEL .*sampler .*text width 48\)")
def sd15_at_the_sampler() -> Sampled:
    return Sampled(ours("LikenessApplyIDPatch"), model=sd15())


@refused_by_the_sampler("FLUX.2 at the sampler", WrongBaseModel, r"FLUX\.2, but FLUX.1 is needed")
def flux2_at_the_sampler() -> Sampled:
    return Sampled(ours("LikenessApplyInfiniteYou"), model=dit())


@refused_by_the_sampler("HyperTile moves tokens of parts", TokensMoved, "tokens of the 16x24 of a layer.*target_mask")
def hyper_tile_moves_tokens_of_parts() -> Sampled:
    return Sampled(parts_on_a_high_canvas(), latent(128, 192), pack=hyper_tile)


@refused_by_the_sampler("ToMe moves tokens of parts", TokensMoved, "tokens of the 16x24 of a layer.*target_mask")
def token_merging_moves_tokens_of_parts() -> Sampled:
    return Sampled(parts_on_a_high_canvas(), latent(128, 192), pack=token_merging)


@refused_by_the_sampler("FLUX.1 at the sampler of ID-Patch", WrongBaseModel, OF_SDXL.format("Flux"))
def flux1_at_the_sampler_of_id_patch() -> Sampled:
    return Sampled(
        ours("LikenessApplyIDPatch"), {"samples": tiny_dits.latent("FLUX.1", 128, 96)}, model=tiny_dits.model("FLUX.1")
    )


@refused_by_the_sampler("FLUX.2 at the sampler of ID-Patch", WrongBaseModel, OF_SDXL.format("Flux2"))
def flux2_at_the_sampler_of_id_patch() -> Sampled:
    return Sampled(
        ours("LikenessApplyIDPatch"), {"samples": tiny_dits.latent("FLUX.2", 128, 96)}, model=tiny_dits.model("FLUX.2")
    )


@refused_by_the_sampler("Qwen-Image at the sampler of ID-Patch", WrongBaseModel, OF_SDXL.format("QwenImage"))
def qwen_image_at_the_sampler_of_id_patch() -> Sampled:
    return Sampled(
        ours("LikenessApplyIDPatch"),
        {"samples": tiny_dits.latent("Qwen-Image", 128, 96)},
        model=tiny_dits.model("Qwen-Image"),
    )


@refused_by_the_sampler("tiles around ApplyInstantID", ConditioningLost, "other_packs.* 64x96 of 128x96 px")
def tiles_around_apply_instant_id() -> Sampled:
    return Sampled(ours("LikenessApplyInstantID", control_strength=0.0), latent(batch=2), pack=tiles_around)


@refused_by_the_sampler("tiles around regions behind one person", ConditioningLost, "other_packs.* 64x96 of 128x96 px")
def tiles_around_regions_behind_one_person() -> Sampled:
    everywhere = ours("LikenessApplyInstantID", cast=cast(identity()), control_strength=0.0)
    links = {"model": everywhere, "positive": everywhere[1], "negative": everywhere[2]}
    return Sampled(ours("LikenessApplyInstantID", **links, control_strength=0.0), pack=tiles_around)


@refused_by_the_sampler("tiles around ApplyParts2Whole", ConditioningLost, "other_packs.* 64x96 of 128x96 px")
def tiles_around_apply_parts2whole() -> Sampled:
    return Sampled(ours("LikenessApplyParts2Whole"), latent(batch=2), pack=tiles_around)


@refused_by_the_sampler("tiles inside ApplyInstantID", ConditioningLost, "other_packs.* 64x96 of 128x96 px")
def tiles_inside_apply_instant_id() -> Sampled:
    return Sampled(ours("LikenessApplyInstantID", control_strength=0.0), latent(batch=2), pack=tiles_inside)


@refused_by_the_sampler("tiles inside ApplyParts2Whole", ConditioningLost, "other_packs.* 64x96 of 128x96 px")
def tiles_inside_apply_parts2whole() -> Sampled:
    return Sampled(ours("LikenessApplyParts2Whole"), latent(batch=2), pack=tiles_inside)


@refused_by_the_sampler(
    "mixed rows of ApplyInstantID", ConditioningLost, "other_packs.* makes 8 rows of 4 inside attention.* Bypass"
)
def mixed_rows_of_apply_instant_id() -> Sampled:
    return Sampled(ours("LikenessApplyInstantID"), latent(batch=2), pack=other_packs.mixed_rows)


@refused_by_the_sampler(
    "mixed rows of PromptPerPerson", ConditioningLost, "other_packs.* makes 8 rows of 4 inside attention.* Bypass"
)
def mixed_rows_of_prompt_per_person() -> Sampled:
    return Sampled(ours("LikenessPromptPerPerson"), latent(batch=2), pack=other_packs.mixed_rows)


@refused_by_the_sampler("a narrow FLUX.1", WrongBaseModel, "width 64, but one of width 96")
def a_narrow_flux1() -> Sampled:
    return Sampled(ours("LikenessApplyInfiniteYou"), model=tiny_dits.model("FLUX.1", hidden_size=96, num_heads=3))
