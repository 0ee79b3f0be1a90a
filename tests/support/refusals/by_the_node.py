"""What each node refuses when it runs, by the class of the error and its words."""

from dataclasses import dataclass, replace
from typing import Any

import comfy.controlnet
import compiled
import family_encoders
import other_packs
import parts_made
import tiny_sdxl
import tiny_vaes
import torch
from families import RECORDS
from graphs import PULID_ON_FLUX, UNCONNECTED, ours, value
from pack.bridge.apply.adapters import AdapterMismatch
from pack.bridge.host.encode import WrongEncoder
from pack.bridge.networks.model_family import WITH_REFERENCES
from pack.core.cast import Absent, NotPlaced, PlacedCast, RowCast, Slot
from pack.core.checks.errors import (
    BadCast,
    BadLayout,
    BadParts,
    BadPhoto,
    BadRange,
    BadSetup,
    BadSize,
    LikenessError,
    WrongBaseModel,
    joined,
)
from pack.core.checks.prompts import BadPrompts
from pack.core.families import latent_name
from pack.core.parts.parts import BadPart
from pack.core.persons.combining import PortraitsMissing
from pack.core.persons.drawn_looks import BadDrawn
from pack.core.persons.looks import BadLook
from pack.core.places.arranging import BadArrange
from pack.core.places.control_images import NoKeypoints
from pack.core.places.expressions import BadExpression
from pack.core.places.from_boxes import BadBoxes
from pack.core.places.regions import BadRegion
from pack.nodes.id_patch.net import BadPatches
from pack.nodes.photo_maker.class_words import BadTrigger
from sample_values import (
    a_person,
    by_lora,
    by_row,
    cast,
    clip,
    clip_vision,
    control_net,
    dressed,
    file_of,
    flux,
    flux2_vae,
    flux_net,
    flux_vae,
    image,
    klein,
    landmarks,
    layout,
    loaded,
    mask,
    net_for,
    new_control_net,
    normal,
    of_another_pack,
    photo,
    pose,
    read,
    sd15,
    sdxl,
    sdxl_clip,
    slot,
    unplaced,
    with_one_unplaced,
    with_regions,
)
from seeded_files import face_parser_file
from tiny import tiny_dits, tiny_encoders, tiny_networks


@dataclass(frozen=True)
class Refused:
    """error: the class of the error, none below it. says: a regular expression that is in its message."""

    error: type[LikenessError]
    says: str
    inputs: dict[str, Any]


def refused(error: type[LikenessError], says: str, **inputs: Any) -> Refused:
    """inputs: those that matter, of a node with its defaults."""
    return Refused(error, says, inputs)


FROM_BOXES = ours("LikenessLoadFaceEmbedder", pack="none (faces from landmarks)", recognisers="none (pictures alone)")
"""A face model that detects no face itself."""
WITHOUT_FACES = {"face_model": UNCONNECTED, "cast": UNCONNECTED}
"""Measure Likeness of a prompt or of parts alone."""


def union_net() -> Any:
    net = new_control_net()
    net.control_model.control_add_embedding = object()
    return net


def sd15_net() -> Any:
    """A ControlNet that the host takes for SD1.5's."""
    return net_for(compiled.SHAPE, num_heads=8, context_dim=768)


def kolors_text() -> list[Any]:
    """Of SDXL's UNet that reads another text: the host does not know its files, packs that do bring such a text."""
    return [[torch.zeros(1, 256, 4096), {"pooled_output": torch.zeros(1, 4096)}]]


def first_two_rows(pictures: torch.Tensor) -> torch.Tensor:
    return pictures[:2]


def without_portraits() -> PlacedCast:
    return cast(a_person(), replace(a_person("Boris"), portraits=None))


def three_rows() -> RowCast:
    return by_row(("Anna", "Boris", "Cleo"))


def a_row_without_a_photo() -> RowCast:
    return RowCast(cast(a_person(), by_lora()).people, 128, 96)


def t2i_adapter() -> Any:
    return comfy.controlnet.T2IAdapter(torch.nn.Identity(), 3, 8, "nearest-exact")


def ssd_1b() -> Any:
    network = tiny_sdxl.diffusers_unet(151, **tiny_sdxl.SSD_CHANGES)
    return tiny_sdxl.host_model(network, tiny_sdxl.SSD_CONFIG)


def parser_that_finds_no_face() -> Any:
    file = face_parser_file()
    file["conv_out.conv_out.weight"] *= 0  # the first class, background, everywhere
    return read("pulid_parser", file)


def pulid_of_another_width() -> Any:
    file = file_of("pulid")
    name = "id_adapter.id_embedding_mapping.0.weight"
    file[name] = torch.cat([file[name], file[name][:, :1]], dim=1)
    return read("pulid", file)


WITHOUT_A_FACE: dict[str, Any] = {"face_parser": value(parser_that_finds_no_face), "cast": unplaced(a_person())}
"""Alone: it finds nobody's face."""


def thin_for_the_second() -> torch.Tensor:
    """Less than half of each token that it touches, for the second of two."""
    masks = mask(2)
    masks[1] *= torch.arange(128) % 16 < 7
    return masks


def corner() -> torch.Tensor:
    in_nobodys_place = 0 * mask()
    in_nobodys_place[:, :4, -4:] = 1
    return in_nobodys_place


def a_thousandth() -> torch.Tensor:
    few = 0 * mask()
    few[:, 0, :12] = 1
    return few


def alone() -> PlacedCast:
    """Anna; no face was found of Boris."""
    return replace(cast(a_person()), absent=(Absent(2, "Boris"),))


FACELESS = slot(94.0, box=None, mask=mask(2)[1])
KEYPOINTS_OF_THREE = ours("LikenessDrawSkeletons", cast=three_rows(), draw="face keypoints")
FOR_TWO = ours("LikenessApplyIDPatch")
WITH_PARTS = ours("LikenessApplyParts2Whole")
OF_PARTS = ours(
    "LikenessMeasureLikeness",
    **WITHOUT_FACES,
    parts=ours("LikenessPart", target_mask=mask(1, 230, 330)),
    clip_vision=value(clip_vision),
)
BOX = {"x": 60, "y": 40, "width": 82, "height": 104}

BY_THE_NODE: dict[str, list[Refused]] = {
    "LikenessApplyInstantID": [
        refused(
            WrongBaseModel,
            "Apply InstantID.* made for Kolors.*4096.*SDXL .text width 2048",
            positive=kolors_text(),
            negative=kolors_text(),
        ),
        refused(
            NotPlaced,
            "acts_in at face boxes needs .*but Boris has no place",
            cast=with_regions(with_one_unplaced(), acts_in="face boxes"),
            mask=mask(2),
        ),
        refused(BadCast, "Boris has no photo.*weight 0 in the Cast", cast=value(by_lora)),
        refused(
            BadCast,
            "Boris has no photo.*weight 0 in the Cast",
            cast=value(a_row_without_a_photo),
            control_strength=0.0,
        ),
        refused(NoKeypoints, "no face in the keypoints image", image=0 * image()),
        refused(BadSize, "64x64 px.* 128x96", image=image(64, 64)),
        refused(BadSetup, r" 0\.8, .* to control_net\. .*control_strength to 0", control_net=UNCONNECTED),
        refused(BadSetup, r"to control_net and image\.", control_net=UNCONNECTED, image=UNCONNECTED),
        refused(BadSetup, "T2IAdapter.*IdentityNet .*SDXL", control_net=value(t2i_adapter)),
        refused(BadSetup, "got a union ControlNet", control_net=value(union_net)),
        refused(
            BadSetup,
            r"keyframes \(its code: other_packs\)",
            control_net=value(other_packs.Keyframed, value(control_net), [1.0, 0.5]),
        ),
        refused(
            AdapterMismatch,
            "11 .*layers .*SDXL, 17 layers.*: layer 0 has another width",
            model=value(tiny_networks.seeded_model, "SDXL", tiny_sdxl.GOLDEN_CONFIG, 151),
        ),
        refused(
            BadCast,
            "The keypoints image has 2 rows",
            cast=three_rows(),
            image=value(first_two_rows, KEYPOINTS_OF_THREE),
        ),
        refused(
            BadRegion,
            "each person has a picture of their own",
            cast=three_rows(),
            image=KEYPOINTS_OF_THREE,
            mask=mask(3, 128, 128),
        ),
    ],
    "LikenessApplyIDPatch": [
        refused(
            WrongBaseModel,
            "Apply ID-Patch.* made for Kolors.*4096.*SDXL .text width 2048",
            cast=cast(weights=(0.0, 0.0)),  # the ControlNet acts nonetheless
            image=UNCONNECTED,
            positive=kolors_text(),
            negative=kolors_text(),
        ),
        refused(
            WrongBaseModel,
            "Apply ID-Patch.* made for SDXL",
            cast=three_rows(),  # whose model_out is read in no region
            image=UNCONNECTED,
            model=value(sd15),
        ),
        refused(
            BadCast,
            "No person of the cast given to Apply ID-Patch .*custom_order",
            cast=PlacedCast((), 128, 96),
            image=UNCONNECTED,
        ),
        refused(BadSize, "Apply ID-Patch.* 64x64 px.* 128x96 px", image=4 * image(64, 64)),
        refused(BadPatches, "Apply ID-Patch.*no ID patches.*preview", image=ours("LikenessIDPatchConditionImage")[1]),
        refused(WrongBaseModel, r"ControlNet .*Apply ID-Patch .*SD1\.5", control_net=value(sd15_net)),
        refused(WrongBaseModel, "is made for ControlNetFlux, but SDXL", control_net=value(flux_net)),
        refused(BadSetup, "T2IAdapter.*ID-Patch's ControlNet .*SDXL", control_net=value(t2i_adapter)),
        refused(
            BadSetup,
            r"keyframes \(its code: other_packs\)",
            control_net=value(other_packs.Keyframed, value(control_net), [1.0, 0.5]),
        ),
        refused(
            BadCast,
            "Boris .*3 photos.*sequence",
            cast=cast(a_person("Anna"), a_person("Boris", normal(1, 3, 512))),
            image=UNCONNECTED,
            photos="sequence",
            id_patch=value(loaded, "id_patch_mlp"),
        ),
        refused(
            BadPatches,
            "already holds the ID tokens of 2 people, and this cast has 1 person",
            model=value(sdxl),
            cast=cast(a_person()),
            image=UNCONNECTED,
            positive=FOR_TWO,
            negative=FOR_TWO[1],
        ),
    ],
    "LikenessSharePartsAttention": [
        refused(
            WrongBaseModel,
            "Share Parts Attention.* made for Kolors.*4096.*SDXL .text width 2048",
            model=value(sdxl),
            clip=value(sdxl_clip),
            positive=kolors_text(),
            negative=kolors_text(),
        ),
        refused(
            BadSetup,
            "CLIP changes in the schedule .Set CLIP Hooks.*'face'",
            clip=value(family_encoders.changing, value(clip)),
        ),
        refused(WrongBaseModel, r"made for F.* \(latent channels 16\)", vae=value(flux_vae)),
        refused(BadSetup, "Share Parts Attention has neither parts nor people", parts=UNCONNECTED),
        refused(
            NotPlaced,
            "Share Parts Attention needs .*but Boris has no place",
            cast=value(dressed, value(with_one_unplaced)),
        ),
        refused(BadLook, "Boris has no look 'hat' .1 look.*: red coat", cast=value(dressed), looks="2: hat"),
        refused(
            BadRegion,
            "region of Anna and Boris cannot be used: both have the same",
            cast=value(dressed, value(cast, places=layout(slot(), slot()))),
        ),
        refused(
            BadSize,
            "128x128 px; the canvas of Share Parts Attention is 128x96 px",
            cast=value(dressed),
            height=128,
        ),
    ],
    "LikenessLookFromPicture": [
        refused(BadCast, r"Nobody of the cast is called 'Zoe'\. .*: 1 Anna, 2 Boris", who="Zoe"),
        refused(BadCast, r"It is not said whose look it is\. .*: 1 Anna, 2 Boris", who=" "),
        refused(BadCast, "2 people of the cast are called 'Anna'", who="Anna", cast=cast(a_person(), a_person())),
        refused(BadCast, r"Boris \(person 2\) is left out of the cast: no face.*: 1 Anna", who="2", cast=value(alone)),
        refused(BadCast, r"Nobody of the cast is called 'x{57}\.\.\.'", who="x" * 5000),
        refused(BadCast, "comes from Crop Faces", cast=value(by_row)),
        refused(BadSize, "picture of the look is 64x64 px; .* 128x96 px", image=image(64, 64)),
        refused(BadPart, "its image is a batch of 2 pictures", image=image(batch=2)),
        refused(BadDrawn, "cannot be read: an outline of the text begins with 5", drawn="[[5]]"),
        refused(BadDrawn, "leaves nothing of 'whole body clothes'", drawn='[["-", 0, 0, 100, 0, 100, 100, 0, 100]]'),
        refused(BadPart, "its mask .*is empty", mask=mask() * 0),
        refused(BadPart, r"its mask is 0\.1% of the picture\. Crop", mask=a_thousandth()),
        refused(
            BadPart,
            r"its mask keeps what is transparent alone\. Put Invert Mask",
            image=torch.cat([image(), 1 - mask(2)[:1, ..., None]], -1),
            mask=mask(2)[:1],
        ),
        refused(BadPart, "its alpha channel .*is empty", cast=value(unplaced), image=image(channels=4) * 0),
        refused(BadRegion, "region of Boris .*off the canvas", who="2", cast=cast(places=layout(slot(), slot(400.0)))),
        refused(
            BadLook,
            "place of Boris has no body.*Connect the mask",
            who="2",
            cast=cast(places=layout(slot(), slot(94.0, pose=None))),
        ),
        refused(
            BadLook, "place of Boris has no face.*hair", who="2", hair=True, cast=cast(places=layout(slot(), FACELESS))
        ),
        refused(
            BadLook,
            "place of Boris the canvas has the head alone",
            who="2",
            cast=cast(places=layout(slot(), slot(94.0, 92.0))),
        ),
        refused(
            BadLook,
            "bodies of others cover that of Boris",
            who="2",
            cast=cast(places=layout(slot(mask=mask()[0]), slot(94.0))),
        ),
        refused(
            BadLook,
            "hair of Boris lies off the canvas",
            who="2",
            label="hair or headwear",
            cast=cast(places=layout(slot(), slot(400.0))),
        ),
        refused(BadLook, "place of Boris does not say where in it 'shoes' is", who="2", label="shoes"),
        refused(BadLook, "cannot be called '-'", name="-"),
        refused(BadLook, "Boris has a look 'RED coat' already", who="2", name="RED coat", cast=value(dressed)),
    ],
    "LikenessIDPatchConditionImage": [
        refused(NotPlaced, "ID-Patch Condition Image.*Anna, Boris", cast=unplaced()),
        refused(BadSize, "64x64 px.* 128x96 px", image=image(64, 64)),
        refused(
            BadCast,
            "image has 2 rows .*ID-Patch Condition Image 3 people",
            cast=three_rows(),
            image=image(128, 128, batch=2),
        ),
    ],
    "LikenessPromptPerPerson": [
        refused(WrongBaseModel, "768", clip=value(clip, 768)),
    ],
    "LikenessApplyIPAdapter": [
        refused(PortraitsMissing, r"FaceID Plus v2 looks at .*\(Boris\)", cast=without_portraits()),
        refused(WrongEncoder, "clip_vision input is not connected.*ViT-H", clip_vision=UNCONNECTED),
        refused(WrongEncoder, "ViT-H", clip_vision=value(clip_vision)),
    ],
    "LikenessApplyPhotoMaker": [
        refused(BadTrigger, "1 time for 2 people", text="a woman img"),
        refused(
            BadTrigger, "1 time for 0 people.*Give somebody a place", text="a man img", cast=PlacedCast((), 128, 96)
        ),
        refused(WrongBaseModel, "encoders l.*encoders g, l", clip=value(clip)),
        refused(WrongBaseModel, "The LoRA in this file", model=value(ssd_1b)),
        refused(PortraitsMissing, r"PhotoMaker looks at pictures .*\(Boris\)", cast=without_portraits()),
    ],
    "LikenessApplyPuLID": [
        refused(PortraitsMissing, r"PuLID looks at pictures .*\(Boris\)", cast=without_portraits()),
        refused(BadPhoto, "neither face nor hair in photo 1 of Anna", **WITHOUT_A_FACE),
        refused(AdapterMismatch, "reads 545 numbers .* give 544", pulid=value(pulid_of_another_width)),
        refused(
            WrongBaseModel,
            r"a FLUX.1 of 3 \+ 2 blocks of width 64, with 3 places.* 19 \+ 38",
            **{**PULID_ON_FLUX, "model": value(tiny_dits.model, "FLUX.1", depth=3)},
        ),
        refused(
            WrongBaseModel,
            r"FLUX\.2, but FLUX.1 or Chroma is needed",
            **{**PULID_ON_FLUX, "model": value(tiny_dits.model, "FLUX.2")},
        ),
        refused(
            WrongBaseModel,
            r"SDXL, but FLUX\.1 or Chroma is needed\. The file at PuLID \(pulid\) is PuLID for FLUX\.1\. "
            r"Load pulid_v1\.1\.saf",
            pulid=PULID_ON_FLUX["pulid"],
        ),
        refused(
            WrongBaseModel,
            r"Chroma, but SDXL is needed\. The file at PuLID \(pulid\) is PuLID for SDXL\. "
            r"Load pulid_flux_v0\.9\.1\.saf",
            model=value(tiny_dits.model, "Chroma"),
        ),
    ],
    "LikenessEncodeParts": [
        refused(
            BadParts,
            r"7 parts with a weight above 0; Parts2Whole takes 1 to 6, .*\. Chain fewer Part nodes",
            parts=ours("LikenessPart", other_label="a scarf", label="other", parts=value(parts_made.parts, 6)),
        ),
        refused(
            BadParts,
            "7 parts with a weight above 0 in one place; Parts2Whole takes 1 to 6",
            parts=ours("LikenessPart", label="shoes", target_mask=corner(), parts=value(parts_made.parts, 6)),
        ),
        refused(BadParts, "0 parts with a weight above 0", parts=ours("LikenessPart", weight=0.0)),
        refused(WrongBaseModel, r"clip input is made for another family \(text width 64\)", clip=value(clip, 64)),
        refused(
            BadSetup,
            "text 'face' is read in all of it.*schedule_clip",
            clip=value(family_encoders.changing, value(clip)),
        ),
        refused(
            WrongBaseModel,
            r"clip_vision input is made for embeddings of width 64",
            clip_vision=value(clip_vision, 64),
        ),
        refused(
            WrongBaseModel,
            f"vae input is made for {latent_name(128)} .latent channels 128.",
            vae=value(flux2_vae),
        ),
        refused(BadSize, "parts is 90x96 px; multiples of 8, at least 64", width=90),
        refused(BadSetup, "Encode Parts has neither parts nor people", parts=UNCONNECTED),
        refused(BadSize, "128x128 px; the canvas of Encode Parts is 128x96 px", cast=value(dressed), height=128),
        refused(
            BadParts,
            r"0 parts with a weight above 0; .*\. Connect parts, or a cast whose people wear looks",
            parts=UNCONNECTED,
            cast=value(cast),
        ),
    ],
    "LikenessApplyParts2Whole": [
        refused(BadSize, "pose image is 100x100 px; .* 128x96 px, another aspect", pose=image(100, 100)),
        refused(
            WrongBaseModel,
            r"a UNet with 16 attention layers and text width 48, but one with 11 and text width 2048 \(SDXL\)",
            model=value(sdxl),
        ),
        refused(
            BadParts,
            "The conditioning carries parts already.*target_mask",
            positive=WITH_PARTS[1],
            negative=WITH_PARTS[2],
        ),
    ],
    "LikenessPeopleAsReferences": [
        refused(PortraitsMissing, r"People as References looks at pictures .*\(Boris\)", cast=without_portraits()),
        refused(BadPart, "'face' cannot be used: it has no target_mask, which says", parts=ours("LikenessPart")),
        refused(BadPart, "its target_mask lies in nobody's place", parts=ours("LikenessPart", target_mask=corner())),
        refused(
            BadPart,
            "its target_mask lies in nobody's mask alone",
            cast=unplaced(),
            mask=mask(2),
            parts=ours("LikenessPart", target_mask=mask()),
        ),
        refused(NotPlaced, "People as References.*Boris has", cast=with_one_unplaced(), pose_picture=True),
        refused(BadSetup, "'ostris edit': FLUX.2 klein knows own", training="ostris edit"),
        refused(BadSetup, r"Prompt \(prompt\) has '{Cleo}'.*: 1 ", prompt="{Cleo}"),
        refused(BadSetup, r"Negative prompt \(negative_prompt\) has '{Cleo}'", negative_prompt="{Cleo}"),
        refused(BadPrompts, "Line 1 of reference_ranges: no person.*called 'Zoe'", reference_ranges="Zoe: 0 - 1"),
        # In proportion to its length: each item was read anew with all before it, for minutes.
        refused(BadPrompts, "Line 1 of reference_ranges: it has no colon", reference_ranges="ab," * 7_000),
        refused(BadRange, "'0, 5' of Boris.*is no range", reference_ranges="2: 0,5; 1: 0 - 1"),
        refused(BadRange, "'0 - 1.5' of Boris.*is no range", reference_ranges="2: 0 - 1.5"),
        refused(BadRange, "The reference of Boris starts at 0.6 and ends at 0.5", reference_ranges="2: 0.6 - 0.5"),
        refused(BadSetup, "reference_ranges has different ranges", cast=three_rows(), reference_ranges="1: 0 - 0.5"),
        refused(BadLook, "Boris has no look 'hat' .0 looks.*Give Boris a look with Look from Picture", looks="2: hat"),
        refused(BadPrompts, "Line 2 of looks: no person.*called 'Zoe'", looks="2: -; Zoe: -"),
        refused(BadSetup, "portrait_masks has 3 masks for 2 people", model=value(klein), portrait_masks=mask(3)),
        refused(BadSetup, "A mask of portrait_masks is empty", model=value(klein), portrait_masks=mask(2) * 0),
        refused(BadSetup, "A mask of portrait_masks is empty", model=value(klein), portrait_masks=mask(2) * torch.nan),
        refused(
            BadSetup,
            r"Training \(training\) is 'ostris edit, isolated', and no MODEL is",
            clip=value(RECORDS["Krea 2"].clip),
            vae=value(tiny_vaes.qwen),
            training="ostris edit, isolated",
        ),
        refused(
            BadSetup,
            r"Krea2 Edit \(source patch\) on this MODEL reads its own pictures",
            clip=value(RECORDS["Krea 2"].clip),
            vae=value(tiny_vaes.qwen),
            model=value(other_packs.krea_2_edit, value(tiny_dits.model, "Krea 2")),
        ),
        refused(BadRegion, "picture of their own", model=value(klein), cast=by_row(), mask=mask()),
        refused(BadRegion, "Boris .*covers no token", model=value(klein), mask=thin_for_the_second()),
        refused(
            WrongBaseModel,
            f"made for SD15, but {joined(WITH_REFERENCES, 'or')} is needed",
            model=value(sd15),
        ),
        refused(
            WrongBaseModel, r"model input is made for FLUX\.1, but FLUX\.2, as the text encoder is", model=value(flux)
        ),
        refused(
            BadSetup,
            "TheirTransformer in sample_values.*as GGUF instead",
            model=value(of_another_pack, value(tiny_dits.model, "Qwen-Image")),
        ),
    ],
    "LikenessPerson": [
        refused(
            BadBoxes, "box 1 is 82x15 px, each side needs 16 px", face_model=FROM_BOXES, face_boxes="60, 40, 82, 15"
        ),
        refused(BadBoxes, "for 1 photo", face_model=FROM_BOXES, face_boxes="1, 1, 82, 104\n1, 1, 82, 104"),
        refused(
            BadBoxes,
            "2 boxes and 0 boxes for 2 photos",
            face_model=FROM_BOXES,
            image=photo().repeat(2, 1, 1, 1),
            bboxes=[[BOX, BOX], []],
        ),
    ],
    "LikenessMeasureLikeness": [
        refused(
            BadPhoto,
            r"has 2 pictures, and Images \(images\) 1",
            face_model=UNCONNECTED,
            before=photo().repeat(2, 1, 1, 1),
        ),
        refused(
            BadSetup,
            "texts .* a width of 1280, pictures to 768",
            **WITHOUT_FACES,
            clip=value(sdxl_clip),
            clip_vision=value(tiny_encoders.clip_vision, 768, 1024),
            prompt="two people",
        ),
        refused(
            BadSetup,
            "texts without their projection",
            **WITHOUT_FACES,
            clip=value(clip),
            clip_vision=value(clip_vision),
            prompt="two people",
        ),
        refused(
            BadSetup,
            "of 1280, pictures to none .no CLIP",
            **WITHOUT_FACES,
            clip=value(sdxl_clip),
            clip_vision=value(family_encoders.dinov2),
            prompt="two people",
        ),
        refused(BadSetup, "clip_vision is missing", **WITHOUT_FACES, clip=value(sdxl_clip), prompt="two people"),
        refused(
            BadSetup, "prompt: clip is missing", **WITHOUT_FACES, clip_vision=value(clip_vision), prompt="two people"
        ),
    ],
    "LikenessExpressionFromPhoto": [
        refused(BadExpression, "places 2 to 2, .* has 1 place", layout=layout(Slot((100, 60))), place=2),
        refused(BadExpression, "Place 1 has no face keypoints", layout=layout(Slot((100, 60)))),
        refused(BadExpression, "Photo 1 of 1 shows no face", face_landmarks=value(landmarks, frames=[[]])),
        refused(BadExpression, "Photo 1 of 1 shows no face", face_landmarks=UNCONNECTED, poses=value(pose)),
    ],
    "LikenessPlaceCast": [
        refused(BadArrange, "cannot be read: place 1 is 5, not a table", arrange='{"1": 5}'),
        refused(BadArrange, "takes out every place", arrange='{"1": {"out": true}, "2": {"out": true}}'),
    ],
    "LikenessWhoStandsWhere": [refused(NotPlaced, "Who Stands Where needs a position", cast=unplaced())],
    "LikenessDrawSkeletons": [
        refused(BadLayout, "Place 1 has no skeleton", cast=layout(Slot((100, 60))), draw="body surface"),
    ],
    "LikenessPickBestLikeness": [
        refused(BadPhoto, "no prompt was compared", report=OF_PARTS, score="text alignment", latents=UNCONNECTED),
    ],
    "LikenessSheetOfScenes": [
        refused(
            BadPhoto,
            "about 1 picture, and images has 2",
            images=photo().repeat(2, 1, 1, 1),
            report=OF_PARTS,
            first_images=UNCONNECTED,
            first_report=UNCONNECTED,
        ),
        refused(
            BadPhoto,
            "about 1 picture, and first_images has 2",
            images=photo(),
            report=OF_PARTS,
            first_images=photo().repeat(2, 1, 1, 1),
            first_report=OF_PARTS,
        ),
    ],
}
