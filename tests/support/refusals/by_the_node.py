"""What a node refuses when it runs, by the class of the error and its words. What a case is: cases.py."""

from dataclasses import replace

import comfy.controlnet
import family_encoders
import infuse_made
import other_packs
import parts_made
import pulid_made
import tiny_dits
import tiny_encoders
import tiny_networks
import tiny_sdxl
import tiny_vaes
import torch
from graphs import UNCONNECTED, Node, ours, value
from pack.bridge.apply_nodes import AdapterMismatch
from pack.bridge.control_nets.token_control_net import NotAControlNet
from pack.bridge.host.encode import WrongEncoder
from pack.core.errors import (
    BadCast,
    BadLayout,
    BadParts,
    BadPatches,
    BadPhoto,
    BadSetup,
    BadSize,
    FileOfOtherMethod,
    WrongBaseModel,
)
from pack.core.identities.combining import PortraitsMissing
from pack.core.parts.parts import BadPart, Parts
from pack.core.people import Identity, NotPlaced, PlacedCast, RowCast, Slot
from pack.core.places.control_images import NoKeypoints
from pack.core.places.from_boxes import BadBoxes
from pack.core.places.regions import BadRegion
from pack.core.prompts import BadPrompts
from pack.nodes.photo_maker.class_words import BadTrigger
from pack.nodes.story_maker.bodies import BodiesMissing
from sample_values import (
    by_lora,
    by_row,
    cast,
    clip,
    clip_vision,
    control_net,
    file_of,
    first_two_rows,
    flux,
    flux2_vae,
    flux_vae,
    identity,
    image,
    infuse_net,
    klein,
    kolors_text,
    layout,
    loaded,
    mask,
    normal,
    of_another_pack,
    photo,
    read,
    sd15,
    sd15_net,
    sdxl,
    sdxl_clip,
    small,
    union_net,
    unplaced,
    with_set,
)

from refusals.cases import refused_by_the_node

FROM_BOXES = ours("LikenessLoadFaceEmbedder", pack="none (faces from landmarks)", recognisers="none (pictures alone)")
"""A face model that detects no face itself."""
WITHOUT_FACES = {"face_model": UNCONNECTED, "cast": UNCONNECTED}
"""Measure Likeness of a prompt or of parts alone."""


def without_portraits() -> Identity:
    return replace(identity(), portraits=None)


def three_rows() -> RowCast:
    return by_row(3, names=("Anna", "Boris", "Cleo"))


@refused_by_the_node(
    "Kolors' words for InstantID", WrongBaseModel, "Apply InstantID.* made for Kolors.*4096.*SDXL .text width 2048"
)
def kolors_words_for_instant_id() -> Node:
    return ours("LikenessApplyInstantID", positive=kolors_text(), negative=kolors_text())


@refused_by_the_node(
    "Kolors' words for ID-Patch", WrongBaseModel, "Apply ID-Patch.* made for Kolors.*4096.*SDXL .text width 2048"
)
def kolors_words_for_id_patch() -> Node:
    return ours("LikenessApplyIDPatch", positive=kolors_text(), negative=kolors_text())


@refused_by_the_node(
    "Kolors' words for parts", WrongBaseModel, "Share Parts Attention.* made for Kolors.*4096.*SDXL .text width 2048"
)
def kolors_words_for_parts() -> Node:
    return ours(
        "LikenessSharePartsAttention", model=sdxl(), clip=sdxl_clip(), positive=kolors_text(), negative=kolors_text()
    )


@refused_by_the_node("face boxes of nobody", NotPlaced, "acts_in at face boxes needs .*Anna")
def face_boxes_of_nobody() -> Node:
    return ours("LikenessApplyInstantID", cast=unplaced(identity()), acts_in="face boxes")


@refused_by_the_node("nobody with a photo", BadCast, "Boris has a LoRA and no photo.*weight 0 in the Cast")
def nobody_with_a_photo() -> Node:
    return ours("LikenessApplyInstantID", cast=by_lora())


@refused_by_the_node(
    "a row of the batch without a photo", BadCast, "Boris has a LoRA and no photo.*weight 0 in the Cast"
)
def a_row_of_the_batch_without_a_photo() -> Node:
    people = cast(identity(), by_lora()).people
    return ours("LikenessApplyInstantID", cast=RowCast(people, 128, 96), control_strength=0.0)


@refused_by_the_node("a black image", NoKeypoints, "no face in the keypoints image")
def a_black_image() -> Node:
    return ours("LikenessApplyInstantID", image=0 * image())


@refused_by_the_node("another canvas", BadSize, "64x64 px.* 128x96")
def another_canvas() -> Node:
    return ours("LikenessApplyInstantID", image=image(64, 64))


@refused_by_the_node("no net", BadSetup, r" 0\.8, .* to control_net\. .*control_strength to 0")
def no_net() -> Node:
    return ours("LikenessApplyInstantID", control_net=UNCONNECTED)


@refused_by_the_node("neither", BadSetup, r"to control_net and image\.")
def neither() -> Node:
    return ours("LikenessApplyInstantID", control_net=UNCONNECTED, image=UNCONNECTED)


@refused_by_the_node("no ControlNet", NotAControlNet, "T2IAdapter.*IdentityNet .*SDXL")
def no_control_net() -> Node:
    adapter = comfy.controlnet.T2IAdapter(torch.nn.Identity(), 3, 8, "nearest-exact")
    return ours("LikenessApplyInstantID", control_net=adapter)


@refused_by_the_node("a union ControlNet", NotAControlNet, "got a union ControlNet")
def a_union_control_net() -> Node:
    return ours("LikenessApplyInstantID", control_net=union_net())


@refused_by_the_node("a ControlNet with keyframes", NotAControlNet, r"keyframes \(its code: other_packs\)")
def a_controlnet_with_keyframes() -> Node:
    return ours("LikenessApplyInstantID", control_net=other_packs.Keyframed(control_net(), [1.0, 0.5]))


@refused_by_the_node(
    "a file for another UNet", AdapterMismatch, "11 .*layers .*SDXL, 17 layers.*: layer 0 has another width"
)
def a_file_for_another_unet() -> Node:
    wider = tiny_networks.seeded_model("SDXL", tiny_sdxl.GOLDEN_CONFIG, 151)
    return ours("LikenessApplyInstantID", model=wider)


@refused_by_the_node("nobody at all", BadCast, "No person of the cast given to Apply ID-Patch .*custom_order")
def nobody_at_all() -> Node:
    return ours("LikenessApplyIDPatch", cast=PlacedCast((), 128, 96), image=UNCONNECTED)


@refused_by_the_node("patches of people without places", NotPlaced, "ID-Patch Condition Image.*Anna, Boris")
def patches_of_people_without_places() -> Node:
    return ours("LikenessIDPatchConditionImage", cast=unplaced())


@refused_by_the_node("a picture of another size under the patches", BadSize, "64x64 px.* 128x96 px")
def a_picture_of_another_size_under_the_patches() -> Node:
    return ours("LikenessIDPatchConditionImage", image=image(64, 64))


@refused_by_the_node("a condition image of another size", BadSize, "Apply ID-Patch.* 64x64 px.* 128x96 px")
def a_condition_image_of_another_size() -> Node:
    return ours("LikenessApplyIDPatch", image=4 * image(64, 64))


@refused_by_the_node("the preview as the condition image", BadPatches, "Apply ID-Patch.*no ID patches.*preview")
def the_preview_as_the_condition_image() -> Node:
    return ours("LikenessApplyIDPatch", image=ours("LikenessIDPatchConditionImage")[1])


@refused_by_the_node("SD1.5's ControlNet", WrongBaseModel, r"ControlNet .*Apply ID-Patch .*SD1\.5")
def sd15_control_net() -> Node:
    return ours("LikenessApplyIDPatch", control_net=sd15_net())


@refused_by_the_node("FLUX.1's ControlNet", WrongBaseModel, "is made for ControlNetFlux, but SDXL")
def flux1_control_net() -> Node:
    return ours("LikenessApplyIDPatch", control_net=infuse_net())


@refused_by_the_node("a sequence for the MLP", BadCast, "Anna .*3 photos.*sequence")
def a_sequence_for_the_mlp() -> Node:
    people = cast(identity("Anna", normal(1, 3, 512)))
    adapter = loaded("id_patch_mlp")
    return ours("LikenessApplyIDPatch", cast=people, image=UNCONNECTED, photos="sequence", id_patch=adapter)


@refused_by_the_node("somebody who is not there", BadPrompts, "no person here is called 'Zoe'.*1 Anna, 2 Boris")
def somebody_who_is_not_there() -> Node:
    return ours("LikenessPromptPerPerson", prompts="Zoe: up")


@refused_by_the_node("another CLIP", WrongBaseModel, "768")
def another_clip() -> Node:
    return ours("LikenessPromptPerPerson", clip=clip(768))


@refused_by_the_node(
    "ID tokens of another Apply ID-Patch",
    BadPatches,
    "already holds the ID tokens of 2 people, and this cast has 1 person",
)
def id_tokens_of_another_apply_id_patch() -> Node:
    before = ours("LikenessApplyIDPatch", id_start_percent=0.1)
    return ours(
        "LikenessApplyIDPatch",
        model=sdxl(),
        cast=cast(identity()),
        image=UNCONNECTED,
        positive=before,
        negative=before[1],
    )


@refused_by_the_node("FaceID Plus without portraits", PortraitsMissing, "FaceID Plus v2 looks at")
def face_id_plus_without_portraits() -> Node:
    return ours("LikenessApplyIPAdapter", cast=unplaced(without_portraits()))


@refused_by_the_node("FaceID Plus without CLIP", WrongEncoder, "clip_vision input is not connected.*ViT-H")
def face_id_plus_without_clip() -> Node:
    return ours("LikenessApplyIPAdapter", clip_vision=UNCONNECTED)


@refused_by_the_node("FaceID Plus with another CLIP", WrongEncoder, "ViT-H")
def face_id_plus_with_another_clip() -> Node:
    return ours("LikenessApplyIPAdapter", clip_vision=clip_vision())


@refused_by_the_node("a style of nobody", BadCast, "no person of the cast is called 'Zoe'.*1 Anna, 2 Boris")
def a_style_of_nobody() -> Node:
    return ours("LikenessStylePerPerson", who="Zoe")


@refused_by_the_node("a style of somebody without a cast", BadCast, "who is 'Anna', but no cast is connected")
def a_style_of_somebody_without_a_cast() -> Node:
    return ours("LikenessStylePerPerson", cast=UNCONNECTED, who="Anna")


@refused_by_the_node("a style in a mask and in rows", BadRegion, "Crop Faces")
def a_style_in_a_mask_and_in_rows() -> Node:
    return ours("LikenessStylePerPerson", cast=by_row(), mask=mask())


@refused_by_the_node(
    "a style in an empty mask", BadRegion, r"region of the style .*: the mask is empty\. Paint it, or disconnect it"
)
def a_style_in_an_empty_mask() -> Node:
    return ours("LikenessStylePerPerson", mask=0 * mask())


@refused_by_the_node(
    "a style seen by another CLIP", WrongEncoder, "reads hidden states of width 1280. Connect CLIP ViT-H"
)
def a_style_seen_by_another_clip() -> Node:
    return ours("LikenessStylePerPerson", clip_vision=clip_vision())


@refused_by_the_node("a style of faces", BadSetup, "is FaceID Plus v2, which reads .*plus_sdxl_vit-h.safetensors")
def a_style_of_faces() -> Node:
    return ours("LikenessStylePerPerson", ip_adapter=loaded("ip_adapter"))


@refused_by_the_node("a style in other blocks", BadSetup, "layers is 'style'.* blocks input .*Set layers to 'all'")
def a_style_in_other_blocks() -> Node:
    return ours("LikenessStylePerPerson", model=small(), ip_adapter=loaded("ip_adapter_plus", small()))


@refused_by_the_node("a class word too few", BadTrigger, "1 time for 2 people")
def a_class_word_too_few() -> Node:
    return ours("LikenessApplyPhotoMaker", text="a woman img")


@refused_by_the_node("SD1.5's CLIP", WrongBaseModel, "encoders l.*encoders g, l")
def sd15_clip() -> Node:
    return ours("LikenessApplyPhotoMaker", clip=clip())


@refused_by_the_node("another layout for a LoRA", WrongBaseModel, "The LoRA in this file")
def another_layout_for_a_lora() -> Node:
    network = tiny_sdxl.diffusers_unet(151, **tiny_sdxl.SSD_CHANGES)
    return ours("LikenessApplyPhotoMaker", model=tiny_sdxl.host_model(network, tiny_sdxl.SSD_CONFIG))


@refused_by_the_node("PhotoMaker without portraits", PortraitsMissing, "PhotoMaker looks at pictures")
def photo_maker_without_portraits() -> Node:
    return ours("LikenessApplyPhotoMaker", cast=unplaced(without_portraits()), text="a woman img")


@refused_by_the_node("StoryMaker without portraits", PortraitsMissing, "StoryMaker looks at pictures")
def story_maker_without_portraits() -> Node:
    return ours(
        "LikenessApplyStoryMaker", cast=unplaced(without_portraits()), bodies=UNCONNECTED, body_masks=UNCONNECTED
    )


@refused_by_the_node("StoryMaker with DINOv2", WrongEncoder, "width 32")
def story_maker_with_dinov2() -> Node:
    return ours("LikenessApplyStoryMaker", clip_vision=family_encoders.dinov2())


@refused_by_the_node("four in the whole picture", BadCast, "at most 3 people.*not 4: Anna, .*Place Cast")
def four_in_the_whole_picture() -> Node:
    people = unplaced(*map(identity, ("Anna", "Boris", "Carla", "Dora")))
    return ours("LikenessApplyStoryMaker", cast=people, bodies=UNCONNECTED, body_masks=UNCONNECTED)


@refused_by_the_node("PuLID without portraits", PortraitsMissing, "PuLID looks at pictures")
def pulid_without_portraits() -> Node:
    return ours("LikenessApplyPuLID", cast=unplaced(without_portraits()))


@refused_by_the_node("a photo in which nothing is a face", BadPhoto, "neither face nor hair in photo 1 of Anna")
def a_photo_in_which_nothing_is_a_face() -> Node:
    file = pulid_made.parser_file()
    file["conv_out.conv_out.weight"] *= 0  # the first class, background, everywhere
    return ours("LikenessApplyPuLID", face_parser=value(read, "pulid_parser", file))


@refused_by_the_node("PuLID's file for FLUX.1", FileOfOtherMethod, r"PuLID for FLUX\.1; a file of PuLID for SDXL is")
def pulid_for_flux_on_sdxl() -> Node:
    return ours("LikenessApplyPuLID", pulid=value(loaded, "pulid_flux"))


@refused_by_the_node("a file that reads more of a face", AdapterMismatch, "reads 545 numbers .* give 544")
def pulid_of_another_width() -> Node:
    file = file_of("pulid")
    name = "id_adapter.id_embedding_mapping.0.weight"
    file[name] = torch.cat([file[name], file[name][:, :1]], dim=1)
    return ours("LikenessApplyPuLID", pulid=value(read, "pulid", file))


@refused_by_the_node("more blocks", WrongBaseModel, r"a Flux of 3 \+ 2 blocks of width 64, with 3 places.* 19 \+ 38")
def more_blocks() -> Node:
    return ours("LikenessApplyPuLIDFlux", model=tiny_dits.model("FLUX.1", depth=3))


@refused_by_the_node("FLUX.2", WrongBaseModel, r"FLUX\.2, but FLUX.1 is needed")
def flux2_for_with_anyone() -> Node:
    return ours("LikenessApplyWithAnyone", model=tiny_dits.model("FLUX.2"))


@refused_by_the_node("fewer blocks", WrongBaseModel, "3 blocks of width 64.*4 blocks")
def fewer_blocks() -> Node:
    return ours("LikenessApplyWithAnyone", model=tiny_dits.model("FLUX.1", depth=1))


@refused_by_the_node("another family's net", NotAControlNet, r"of another family \(ControlBase\).*infusenet_aes_bf16")
def another_familys_net() -> Node:
    return ours("LikenessApplyInfiniteYou", control_net=comfy.controlnet.ControlBase())


@refused_by_the_node("a union", NotAControlNet, "a union ControlNet")
def a_union() -> Node:
    return ours("LikenessApplyInfiniteYou", control_net=infuse_made.infuse_net(num_union_modes=3))


@refused_by_the_node("one that reads pictures", NotAControlNet, "reads pictures without a VAE")
def a_net_that_reads_pictures() -> Node:
    return ours("LikenessApplyInfiniteYou", control_net=infuse_made.infuse_net(latent_input=False))


@refused_by_the_node("inpainting", NotAControlNet, "for inpainting")
def inpainting() -> Node:
    return ours("LikenessApplyInfiniteYou", control_net=with_set(infuse_net(), concat_mask=True))


@refused_by_the_node("keyframes", NotAControlNet, "timestep keyframes")
def keyframes() -> Node:
    return ours("LikenessApplyInfiniteYou", control_net=with_set(infuse_net(), timestep_keyframes=[0.0, 0.5]))


@refused_by_the_node("other blocks", NotAControlNet, "one with 5 double and 10 single blocks.*4 double and 10 single")
def other_blocks() -> Node:
    return ours("LikenessApplyInfiniteYou", control_net=infuse_made.infuse_net(depth=5))


@refused_by_the_node("another width", NotAControlNet, "tokens of width 40, not 24")
def another_width() -> Node:
    return ours("LikenessApplyInfiniteYou", control_net=infuse_made.infuse_net(context_in_dim=40))


@refused_by_the_node(
    "another VAE", WrongBaseModel, "VAE given to Apply InfiniteYou.*latents of 4 channels.*for 16 channels"
)
def another_vae() -> Node:
    return ours("LikenessApplyInfiniteYou", vae=tiny_vaes.flux1(4))


@refused_by_the_node("seven parts", BadParts, "7 parts with a weight above 0; Parts2Whole takes 1 to 6")
def seven_parts() -> Node:
    return ours("LikenessEncodeParts", parts=Parts((*parts_made.parts(6).parts, *parts_made.parts(1).parts)))


@refused_by_the_node("no part", BadParts, "0 parts with a weight above 0")
def no_part() -> Node:
    return ours("LikenessEncodeParts", parts=ours("LikenessPart", weight=0.0))


@refused_by_the_node(
    "a part and another CLIP", WrongBaseModel, r"clip input is made for another family \(text width 64\)"
)
def a_part_and_another_clip() -> Node:
    return ours("LikenessEncodeParts", clip=clip(64))


@refused_by_the_node("a part and a CLIP that changes", BadSetup, "text 'face' is read in all of it.*schedule_clip")
def a_part_and_a_clip_that_changes() -> Node:
    return ours("LikenessEncodeParts", clip=family_encoders.changing(clip()))


@refused_by_the_node(
    "a part of SDXL and a CLIP that changes", BadSetup, "CLIP changes in the schedule .Set CLIP Hooks.*'face'"
)
def a_part_of_sdxl_and_a_clip_that_changes() -> Node:
    return ours("LikenessSharePartsAttention", clip=family_encoders.changing(clip()))


@refused_by_the_node(
    "a part and another CLIP vision", WrongBaseModel, r"clip_vision input is made for another family \(width 64"
)
def a_part_and_another_clip_vision() -> Node:
    return ours("LikenessEncodeParts", clip_vision=clip_vision(64))


@refused_by_the_node(
    "a part and FLUX.2's VAE",
    WrongBaseModel,
    r"vae input is made for FLUX\.2, Mage-Flow or Ideogram 4 \(latent channels 128\)",
)
def a_part_and_flux2_vae() -> Node:
    return ours("LikenessEncodeParts", vae=flux2_vae())


@refused_by_the_node("shared parts and FLUX.1's VAE", WrongBaseModel, r"made for F.* \(latent channels 16\)")
def shared_parts_and_flux1_vae() -> Node:
    return ours("LikenessSharePartsAttention", vae=flux_vae())


@refused_by_the_node("a size between", BadSize, "parts is 90x96 px; multiples of 8, at least 64")
def a_size_between() -> Node:
    return ours("LikenessEncodeParts", width=90)


@refused_by_the_node("a pose of another aspect", BadSize, "pose image is 100x100 px; .* 128x96 px, another aspect")
def a_pose_of_another_aspect() -> Node:
    return ours("LikenessApplyParts2Whole", pose=image(100, 100))


@refused_by_the_node(
    "parts for SDXL",
    WrongBaseModel,
    r"a UNet with 16 attention layers and text width 48, but one with 11 and text width 2048 \(SDXL\)",
)
def parts_for_sdxl() -> Node:
    return ours("LikenessApplyParts2Whole", model=sdxl())


@refused_by_the_node("parts twice", BadParts, "The conditioning carries parts already.*target_mask")
def parts_twice() -> Node:
    before = ours("LikenessApplyParts2Whole")
    return ours("LikenessApplyParts2Whole", positive=before[1], negative=before[2])


@refused_by_the_node("references without portraits", PortraitsMissing, "People as References looks at pictures")
def references_without_portraits() -> Node:
    return ours("LikenessPeopleAsReferences", cast=unplaced(without_portraits()))


@refused_by_the_node(
    "a part as a reference of nobody", BadPart, "'face' cannot be used: it has no target_mask, which says"
)
def a_part_as_a_reference_of_nobody() -> Node:
    return ours("LikenessPeopleAsReferences", parts=ours("LikenessPart"))


@refused_by_the_node("a part as a reference in nobody's place", BadPart, "its target_mask lies in nobody's place")
def a_part_as_a_reference_in_nobodys_place() -> Node:
    corner = 0 * mask()
    corner[:, :4, -4:] = 1
    return ours("LikenessPeopleAsReferences", parts=ours("LikenessPart", target_mask=corner))


@refused_by_the_node("a pose picture of people without places", NotPlaced, "People as References.*Anna")
def a_pose_picture_of_people_without_places() -> Node:
    return ours("LikenessPeopleAsReferences", cast=unplaced(identity()), pose_picture=True)


@refused_by_the_node("references of people without places", NotPlaced, "Anna, Boris have no place")
def references_of_people_without_places() -> Node:
    return ours("LikenessPeopleAsReferences", model=klein(), cast=unplaced())


@refused_by_the_node("references of rows in a mask", BadRegion, "picture of their own")
def references_of_rows_in_a_mask() -> Node:
    return ours("LikenessPeopleAsReferences", model=klein(), cast=by_row(), mask=mask())


@refused_by_the_node("a mask between tokens", BadRegion, "covers no token")
def a_mask_between_tokens() -> Node:
    return ours("LikenessPeopleAsReferences", model=klein(), mask=mask(2) * (torch.arange(128) % 16 < 7))


@refused_by_the_node(
    "references for SD1.5",
    WrongBaseModel,
    f"made for SD15, but {', '.join([*tiny_dits.REFERENCES][:-1])} or {[*tiny_dits.REFERENCES][-1]}",
)
def references_for_sd15() -> Node:
    return ours("LikenessPeopleAsReferences", model=sd15())


@refused_by_the_node(
    "references of FLUX.2 for FLUX.1",
    WrongBaseModel,
    r"model input is made for FLUX\.1, but FLUX\.2, as the text encoder is",
)
def references_of_flux2_for_flux1() -> Node:
    return ours("LikenessPeopleAsReferences", model=flux())


@refused_by_the_node("a face box of three numbers", BadBoxes, "line 1 of the text")
def a_face_box_of_three_numbers() -> Node:
    return ours("LikenessPerson", face_model=FROM_BOXES, face_boxes="60, 40, 82")


@refused_by_the_node("a low face box", BadBoxes, "box 1 is 82x15 px, each side needs 16 px")
def a_low_face_box() -> Node:
    return ours("LikenessPerson", face_model=FROM_BOXES, face_boxes="60, 40, 82, 15")


@refused_by_the_node("a face box beside the photo", BadBoxes, "its middle lies beside the photo of")
def a_face_box_beside_the_photo() -> Node:
    return ours("LikenessPerson", face_model=FROM_BOXES, face_boxes="5000, 40, 82, 104")


@refused_by_the_node("two face boxes for a photo", BadBoxes, "for 1 photo")
def two_face_boxes_for_a_photo() -> Node:
    return ours("LikenessPerson", face_model=FROM_BOXES, face_boxes="1, 1, 82, 104\n1, 1, 82, 104")


@refused_by_the_node("both face boxes on one of two photos", BadBoxes, "2 boxes and 0 boxes for 2 photos")
def both_face_boxes_on_one_of_two_photos() -> Node:
    box = {"x": 60, "y": 40, "width": 82, "height": 104}
    photos = photo().repeat(2, 1, 1, 1)
    return ours("LikenessPerson", face_model=FROM_BOXES, image=photos, bboxes=[[box, box], []])


@refused_by_the_node("a prompt and pictures of other widths", BadSetup, "texts .* a width of 1280, pictures to 768")
def a_prompt_and_pictures_of_other_widths() -> Node:
    vision = tiny_encoders.clip_vision(768, 1024)
    return ours("LikenessMeasureLikeness", **WITHOUT_FACES, clip=sdxl_clip(), clip_vision=vision, prompt="two people")


@refused_by_the_node("a prompt for SD1.5's CLIP", BadSetup, "texts without their projection")
def a_prompt_for_sd15_clip() -> Node:
    return ours("LikenessMeasureLikeness", **WITHOUT_FACES, clip=clip(), clip_vision=clip_vision(), prompt="two people")


@refused_by_the_node("a prompt and DINOv2", BadSetup, "of 1280, pictures to none .no CLIP")
def a_prompt_and_dinov2() -> Node:
    return ours(
        "LikenessMeasureLikeness",
        **WITHOUT_FACES,
        clip=sdxl_clip(),
        clip_vision=family_encoders.dinov2(),
        prompt="two people",
    )


@refused_by_the_node("a prompt without a vision model", BadSetup, "clip_vision is missing")
def a_prompt_without_a_vision_model() -> Node:
    return ours("LikenessMeasureLikeness", **WITHOUT_FACES, clip=sdxl_clip(), prompt="two people")


@refused_by_the_node("a prompt without a CLIP", BadSetup, "prompt: clip is missing")
def a_prompt_without_a_clip() -> Node:
    return ours("LikenessMeasureLikeness", **WITHOUT_FACES, clip_vision=clip_vision(), prompt="two people")


@refused_by_the_node("keypoints of other rows", BadCast, "The keypoints image has 2 rows")
def keypoints_of_other_rows() -> Node:
    people = three_rows()
    keypoints = ours("LikenessDrawSkeletons", cast=people, draw="face keypoints")
    return ours("LikenessApplyInstantID", cast=people, image=value(first_two_rows, keypoints))


@refused_by_the_node("keypoints of rows in a mask", BadRegion, "each person has a picture of their own")
def keypoints_of_rows_in_a_mask() -> Node:
    people = three_rows()
    keypoints = ours("LikenessDrawSkeletons", cast=people, draw="face keypoints")
    return ours("LikenessApplyInstantID", cast=people, image=keypoints, mask=mask(3, 128, 128))


@refused_by_the_node(
    "pictures of other rows under the patches", BadCast, "image has 2 rows .*ID-Patch Condition Image 3 people"
)
def pictures_of_other_rows_under_the_patches() -> Node:
    return ours("LikenessIDPatchConditionImage", cast=three_rows(), image=image(128, 128, batch=2))


@refused_by_the_node("a surface of a place without a skeleton", BadLayout, "Place 1 has no skeleton")
def a_surface_of_a_place_without_a_skeleton() -> Node:
    return ours("LikenessDrawSkeletons", layout=layout(Slot((100, 60))), draw="body surface")


@refused_by_the_node("no part of a surface", BadParts, "No part of the body is chosen")
def no_part_of_a_surface() -> Node:
    return ours("LikenessDetectBodySurface", torso=False, upper_arms=False, forearms=False)


@refused_by_the_node("a body for two people", BodiesMissing, "1 picture came for 2 people")
def a_body_for_two_people() -> Node:
    return ours("LikenessApplyStoryMaker", bodies=image(), body_masks=UNCONNECTED)


@refused_by_the_node("three bodies for two people", BodiesMissing, "3 pictures came for 2 people")
def three_bodies_for_two_people() -> Node:
    return ours("LikenessApplyStoryMaker", bodies=image(batch=3))


@refused_by_the_node("three masks of two bodies", BodiesMissing, "3 masks came for 2 people")
def three_masks_of_two_bodies() -> Node:
    return ours("LikenessApplyStoryMaker", body_masks=mask(3))


@refused_by_the_node("a mask of two bodies", BodiesMissing, "1 mask came for 2 people")
def a_mask_of_two_bodies() -> Node:
    return ours("LikenessApplyStoryMaker", body_masks=mask())


@refused_by_the_node("a part for two people", BodiesMissing, "1 part came for")
def a_part_for_two_people() -> Node:
    return ours("LikenessApplyStoryMaker", bodies=ours("LikenessPart"), body_masks=UNCONNECTED)


@refused_by_the_node("a faint mask of a body", BadPart, "The part 'Anna' cannot be used: nothing is left of its mask")
def a_faint_mask_of_a_body() -> Node:
    return ours("LikenessApplyStoryMaker", body_masks=0.0001 * mask(2))


@refused_by_the_node("the best by a prompt that was not there", BadPhoto, "no prompt was compared")
def the_best_by_a_prompt_that_was_not_there() -> Node:
    part = ours("LikenessPart", target_mask=mask(1, 230, 330))
    report = ours("LikenessMeasureLikeness", **WITHOUT_FACES, parts=part, clip_vision=clip_vision())
    return ours("LikenessPickBestLikeness", report=report, score="text alignment", latents=UNCONNECTED)


@refused_by_the_node("a network of another pack", BadSetup, "TheirTransformer in sample_values.*as GGUF instead")
def a_network_of_another_pack() -> Node:
    return ours("LikenessPeopleAsReferences", model=of_another_pack(tiny_dits.model("Qwen-Image")))
