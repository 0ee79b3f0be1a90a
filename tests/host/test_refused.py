"""What nodes of single methods refuse and what they tell, in their own words. What all refuse: tests/promises."""

from __future__ import annotations

import re
from typing import Any

import comfy.cldm.cldm
import comfy.controlnet
import comfy.ops
import compiled
import pytest
import tiny_dits
import torch
from attack_graphs import UNCONNECTED, ours, sampled, value
from graph_run import run
from pack.bridge.carried import ConditioningLost
from pack.bridge.encode import EncoderMissing, WrongEncoder
from pack.bridge.scopes import AdapterMismatch
from pack.bridge.token_control_net import NotAControlNet
from pack.core.errors import BadCast, BadParts, BadPatches, BadSize, WrongBaseModel
from pack.core.identities import PortraitsMissing
from pack.core.people import NotPlaced, PlacedCast
from pack.core.places.control_images import NoKeypoints
from pack.core.places.regions import BadRegion
from pack.core.prompts import BadPrompts
from pack.nodes.id_patch.nodes import SequenceUnsupported
from pack.nodes.infinite_you.nodes import NotAnInfuseNet
from pack.nodes.instant_id.nodes import IdentityNetMissing
from pack.nodes.ip_adapter.net import UnknownBlocks
from pack.nodes.ip_adapter.nodes import NotForPictures
from pack.nodes.photo_maker.net import BadTrigger
from pack.nodes.references.bound import ReferencesMissing
from pack.nodes.story_maker.net import TooManyPeople
from peers import read
from seeded import id_patch_file

pytestmark = tiny_dits.needed
BOXES = {"acts_in": "face boxes"}
OLD = "unplaced(replace(identity(), portraits=None))"
"""Somebody saved before there were portraits."""
MLP = id_patch_file("mlp")
FACES = {"bodies": UNCONNECTED, "body_masks": UNCONNECTED}
FOUR = "unplaced(*map(identity, ('Anna', 'Boris', 'Carla', 'Dora')))"
SEVERAL = "cast(identity('Anna', normal(1, 3, 512)))"
T2I = "comfy.controlnet.T2IAdapter(torch.nn.Identity(), 3, 8, 'nearest-exact')"
SSD = "tiny_sdxl.host_model(tiny_sdxl.diffusers_unet(151, **tiny_sdxl.SSD_CHANGES), tiny_sdxl.SSD_CONFIG)"
HALF = "mask(2) * (torch.arange(128) % 16 < 7)"
PREVIEW = {"image": ours("LikenessIDPatchImage")[1]}
BLOCKS = r"one with 5 double and 10 single blocks.*4 double and 10 single"


def with_set(made: Any, **changed: Any) -> Any:
    """A copy of a ControlNet of which some attributes are others."""
    copy = made.copy()
    for name, given in changed.items():
        setattr(copy, name, given)
    return copy


def sd15_net() -> comfy.controlnet.ControlNet:
    left_out = ("out_channels", "transformer_depth_output")
    config = {key: given for key, given in compiled.SHAPE.items() if key not in left_out}
    config |= {"context_dim": 768, "num_heads": 8, "hint_channels": 3, "operations": comfy.ops.disable_weight_init}
    return comfy.controlnet.ControlNet(comfy.cldm.cldm.ControlNet(**config), load_device=torch.device("cpu"))


def net(expression: str, **changed: Any) -> dict[str, Any]:
    made = run(value(expression), {})[0]
    return {"control_net": with_set(made, **changed)}


def referring(cast: str, **changed: Any) -> dict[str, Any]:
    """Both sides with the references of other people."""
    record = f"references.PeopleReferences({cast}, _portraits(), (0, 1))"
    side = f"tiny_dits.conditioning(1, _portraits(), **{{references.REFERENCES: {record}}})"
    return {"positive": side, "negative": side, **changed}


def chained(kind: str, **changed: Any) -> dict[str, Any]:
    """Both sides behind another node."""
    before = ours(f"Likeness{kind}", **changed)
    first = 1 if kind == "ApplyParts" else 0
    return {"positive": before[first], "negative": before[first + 1]}


REFUSED: dict[str, tuple[str, type[Exception], str, Any]] = {
    "face boxes of nobody": (
        "ApplyInstantID", NotPlaced, "acts_in at face boxes needs .*Anna", {"cast": "unplaced(identity())", **BOXES},
    ),
    "a black image": ("ApplyInstantID", NoKeypoints, "no face in the keypoints image", {"image": "0 * image()"}),
    "another canvas": ("ApplyInstantID", BadSize, "64x64 px.* 128x96", {"image": "image(64, 64)"}),
    "no net": (
        "ApplyInstantID", IdentityNetMissing, r" 0\.8, .* to control_net\. .*control_strength to 0",
        {"control_net": UNCONNECTED},
    ),
    "neither": (
        "ApplyInstantID", IdentityNetMissing, r"to control_net and image\.",
        {"control_net": UNCONNECTED, "image": UNCONNECTED},
    ),
    "no ControlNet": ("ApplyInstantID", NotAControlNet, "T2IAdapter.*IdentityNet .*SDXL", {"control_net": T2I}),
    "a ControlNet with keyframes": (
        "ApplyInstantID", NotAControlNet, r"keyframes \(its code: other_packs\)",
        {"control_net": "other_packs.Keyframed(control_net(), [1.0, 0.5])"},
    ),
    "a file for another UNet": (
        "ApplyInstantID", AdapterMismatch, "17 .*layers .*MODEL .*SDXL, 2 layers", {"model": "small()"},
    ),
    "nobody at all": (
        "ApplyIDPatch", BadCast, "No person of the cast given to Apply ID-Patch .*custom_order",
        {"cast": PlacedCast((), 128, 96), "image": UNCONNECTED},
    ),
    "patches of people without places": (
        "IDPatchImage", NotPlaced, "ID-Patch Condition Image.*Anna, Boris", {"cast": "unplaced()"},
    ),
    "a picture of another size under the patches": (
        "IDPatchImage", BadSize, "64x64 px.* 128x96 px", {"image": "image(64, 64)"},
    ),
    "a condition image of another size": (
        "ApplyIDPatch", BadSize, "Apply ID-Patch.* 64x64 px.* 128x96 px", {"image": "4 * image(64, 64)"},
    ),
    "the preview as the condition image": (
        "ApplyIDPatch", BadPatches, "Apply ID-Patch.*no ID patches.*preview", PREVIEW,
    ),
    "SD1.5's ControlNet": (
        "ApplyIDPatch", WrongBaseModel, r"ControlNet .*Apply ID-Patch .*SD1\.5", lambda: {"control_net": sd15_net()},
    ),
    "FLUX.1's ControlNet": (
        "ApplyIDPatch", WrongBaseModel, "is made for ControlNetFlux, but SDXL", {"control_net": "infuse_net()"},
    ),
    "a sequence for the MLP": (
        "ApplyIDPatch", SequenceUnsupported, "Anna .*3 photos.*sequence",
        lambda: {"cast": SEVERAL, "image": UNCONNECTED, "photos": "sequence", "id_patch": read("id_patch", MLP)},
    ),
    "somebody who is not there": (
        "PersonPrompts", BadPrompts, r"no person here is called 'Zoe'.*1 Anna, 2 Boris", {"prompts": "Zoe: up"},
    ),
    "another CLIP": ("PersonPrompts", WrongBaseModel, "768", {"clip": "clip(768)"}),
    "ID tokens of another cast": (
        "BindIDTokens", BadPatches, "ID tokens of 2 people, the cast has 1 person", {"cast": "cast(identity())"},
    ),
    "FaceID Plus without portraits": ("ApplyIPAdapter", PortraitsMissing, "FaceID Plus v2 looks at", {"cast": OLD}),
    "FaceID Plus without CLIP": (
        "ApplyIPAdapter", EncoderMissing, "FaceID Plus v2 .*to clip_vision.*ViT-H", {"clip_vision": UNCONNECTED},
    ),
    "FaceID Plus with another CLIP": ("ApplyIPAdapter", WrongEncoder, "ViT-H", {"clip_vision": "clip_vision()"}),
    "a style of nobody": (
        "ApplyStyle", BadCast, "no person of the cast is called 'Zoe'.*1 Anna, 2 Boris", {"who": "Zoe"},
    ),
    "a style of somebody without a cast": (
        "ApplyStyle", BadCast, "who is 'Anna', but no cast is connected", {"cast": UNCONNECTED, "who": "Anna"},
    ),
    "a style in a mask and in rows": ("ApplyStyle", BadRegion, "Crop Faces", {"cast": "by_row()", "mask": "mask()"}),
    "a style seen by another CLIP": (
        "ApplyStyle", WrongEncoder, "reads hidden states of width 1280. Connect CLIP ViT-H",
        {"clip_vision": "clip_vision()"},
    ),
    "a style of faces": (
        "ApplyStyle", NotForPictures, r"is FaceID Plus v2, which reads .*plus_sdxl_vit-h.safetensors",
        {"ip_adapter": "loaded('ip_adapter')"},
    ),
    "a style in other blocks": (
        "ApplyStyle", UnknownBlocks, r"layers is 'style'.* blocks input .*Set layers to 'all'",
        {"model": "small()", "ip_adapter": "loaded('ip_adapter_plus', small())"},
    ),
    "a class word too few": ("ApplyPhotoMaker", BadTrigger, "1 time for 2 people", {"text": "a woman img"}),
    "SD1.5's CLIP": ("ApplyPhotoMaker", WrongBaseModel, "encoders l.*encoders g, l", {"clip": "clip()"}),
    "another layout for a LoRA": ("ApplyPhotoMaker", WrongBaseModel, "The LoRA in this file", {"model": SSD}),
    "PhotoMaker without portraits": (
        "ApplyPhotoMaker", PortraitsMissing, "PhotoMaker looks at pictures", {"cast": OLD, "text": "a woman img"},
    ),
    "StoryMaker without portraits": (
        "ApplyStoryMaker", PortraitsMissing, "StoryMaker looks at pictures", {"cast": OLD, **FACES},
    ),
    "StoryMaker with DINOv2": ("ApplyStoryMaker", WrongEncoder, "width 32", {"clip_vision": "parts_made.dinov2()"}),
    "four in the whole picture": (
        "ApplyStoryMaker", TooManyPeople, "at most 3 people.*these are 4: Anna, .*Place Cast", {"cast": FOUR, **FACES},
    ),
    "FLUX.2": (
        "ApplyWithAnyone", WrongBaseModel, r"FLUX\.2, but FLUX.1 is needed", {"model": "tiny_dits.model('FLUX.2')"},
    ),
    "fewer blocks": (
        "ApplyWithAnyone", WrongBaseModel, "3 blocks of width 64.*4 blocks",
        {"model": "tiny_dits.model('FLUX.1', depth=1)"},
    ),
    "another family's net": (
        "ApplyInfiniteYou", NotAnInfuseNet, r"of another family \(ControlBase\).*infusenet_aes_bf16",
        {"control_net": "comfy.controlnet.ControlBase()"},
    ),
    "a union": (
        "ApplyInfiniteYou", NotAnInfuseNet, "a union ControlNet",
        {"control_net": "infuse_made.infuse_net(num_union_modes=3)"},
    ),
    "one that reads pictures": (
        "ApplyInfiniteYou", NotAnInfuseNet, "reads pictures without a VAE",
        {"control_net": "infuse_made.infuse_net(latent_input=False)"},
    ),
    "inpainting": (
        "ApplyInfiniteYou", NotAnInfuseNet, "for inpainting", lambda: net("infuse_net()", concat_mask=True),
    ),
    "keyframes": (
        "ApplyInfiniteYou", NotAnInfuseNet, "timestep keyframes",
        lambda: net("infuse_net()", timestep_keyframes=[0.0, 0.5]),
    ),
    "other blocks": (
        "ApplyInfiniteYou", NotAnInfuseNet, BLOCKS, {"control_net": "infuse_made.infuse_net(depth=5)"},
    ),
    "another width": (
        "ApplyInfiniteYou", NotAnInfuseNet, "tokens of width 40, not 24",
        {"control_net": "infuse_made.infuse_net(context_in_dim=40)"},
    ),
    "another VAE": (
        "ApplyInfiniteYou", WrongBaseModel, "VAE given to Apply InfiniteYou.*latents of 4 channels.*for 16 channels",
        {"vae": "tiny_vaes.flux1(4)"},
    ),
    "seven parts": (
        "EncodeParts", BadParts, "There are 7 parts; Parts2Whole takes 1 to 6",
        {"parts": "parts_made.Parts((*parts_made.parts(6).parts, *parts_made.parts(1).parts))"},
    ),
    "no part": (
        "EncodeParts", BadParts, "There is no part with a weight above 0",
        {"parts": ours("LikenessPart", weight=0.0)},
    ),
    "a part and another CLIP": (
        "EncodeParts", WrongBaseModel, r"clip input is made for another family \(text width 64\)", {"clip": "clip(64)"},
    ),
    "a part and another CLIP vision": (
        "EncodeParts", WrongBaseModel, r"clip_vision input is made for another family \(width 64",
        {"clip_vision": "clip_vision(64)"},
    ),
    "a part and FLUX.2's VAE": (
        "EncodeParts", WrongBaseModel, r"vae input is made for FLUX\.2 \(latent channels 128\)", {"vae": "flux2_vae()"},
    ),
    "shared parts and FLUX.1's VAE": (
        "SharePartsAttention", WrongBaseModel, r"made for F.* \(latent channels 16\)", {"vae": "flux_vae()"},
    ),
    "a size between": ("EncodeParts", BadSize, "parts is 90x96 px; multiples of 8, at least 64", {"width": 90}),
    "a pose of another aspect": (
        "ApplyParts", BadSize, "pose image is 100x100 px; .* 128x96 px, another aspect", {"pose": "image(100, 100)"},
    ),
    "parts for SDXL": (
        "ApplyParts", WrongBaseModel,
        r"a UNet with 16 attention layers and text width 48, but one with 17 and text width 2048 \(SDXL\)",
        {"model": "sdxl()"},
    ),
    "parts twice": (
        "ApplyParts", BadParts, "The conditioning carries parts already.*target_mask", chained("ApplyParts"),
    ),
    "no references": (
        "BindReferences", ReferencesMissing, "finds no references of the cast",
        dict.fromkeys(("positive", "negative"), "tiny_dits.conditioning(1)"),
    ),
    "references of people without places": (
        "BindReferences", NotPlaced, "Anna, Boris have no place", referring("unplaced()"),
    ),
    "references of rows in a mask": (
        "BindReferences", BadRegion, "picture of their own", referring("by_row()", mask="mask()"),
    ),
    "a mask between tokens": ("BindReferences", BadRegion, "covers no token", {"mask": HALF}),
    "references for SD1.5": (
        "BindReferences", WrongBaseModel, "made for SD15, but FLUX.1, FLUX.2 or Qwen-Image", {"model": "sd15()"},
    ),
    "references of FLUX.2 for FLUX.1": (
        "BindReferences", WrongBaseModel, r"References by Region is made for FLUX\.2, but FLUX\.1, as the MODEL is",
        {"model": "flux()"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_in_its_own_words(case: str) -> None:
    kind, error, words, changed = REFUSED[case]
    with pytest.raises(error, match=words):
        run(ours(f"Likeness{kind}", **(changed() if callable(changed) else changed)), {})


WIDE, SHAPE = "latent(256, 96)", " 256x96 px.*canvas of {}.* 128x96 px"
WIDE_2 = "{'samples': tiny_dits.latent('FLUX.2', 256, 96)}"
AREA = {"positive": "tiny_dits.conditioning(3, area=(6, 8, 0, 0))"}
NARROW = "tiny_dits.model('FLUX.1', hidden_size=96, num_heads=3)"
AT_THE_SAMPLER: dict[str, tuple[str, type[Exception], str, Any, str, str]] = {
    "a wide latent, keypoints": (
        "ApplyInstantID", BadSize, SHAPE.format("Apply InstantID"), {"cast": "unplaced(identity())"}, WIDE, "",
    ),
    "a wide latent, both": ("ApplyInstantID", BadSize, SHAPE.format("Apply InstantID"), {}, WIDE, ""),
    "a wide latent, regions": (
        "ApplyInstantID", BadSize, SHAPE.format("Apply InstantID"), {"control_strength": 0.0}, WIDE, "",
    ),
    "a wide latent, ID patches": ("ApplyIDPatch", BadSize, SHAPE.format("Apply ID-Patch"), {}, WIDE, ""),
    "a wide latent, words": ("PersonPrompts", BadSize, SHAPE.format("Prompt per Person"), {}, WIDE, ""),
    "a high latent, faces": ("ApplyWithAnyone", BadSize, "128x96", {}, "latent(128, 128)", ""),
    "a high latent, InfuseNet": ("ApplyInfiniteYou", BadSize, "another shape", {}, "latent(96, 128)", ""),
    "a high latent, parts": (
        "ApplyParts", BadSize, "96x128 px; the parts were encoded for 128x96 px.*second pass", {"pose": UNCONNECTED},
        "latent(96, 128)", "",
    ),
    "a high latent, references": ("BindReferences", BadSize, "128x96", {}, WIDE_2, ""),
    "a union ControlNet": (
        "ApplyInstantID", NotAControlNet, "got a union ControlNet", lambda: {"control_net": union()}, "latent()", "",
    ),
    "an area beside InfuseNet": (
        "ApplyInfiniteYou", BadRegion, r"an area of its own.*Set Mask", AREA, "latent()", "",
    ),
    "tiles of words": (
        "PersonPrompts", ConditioningLost, "regions or a pose belong to the whole", {}, "latent()",
        "other_packs.around(a, other_packs.in_tiles)",
    ),
    "SD1.5 at the sampler": (
        "ApplyIDPatch", WrongBaseModel, r"MODEL .*sampler .*text width 48\)", {}, "latent()", "sd15()",
    ),
    "FLUX.2 at the sampler": (
        "ApplyInfiniteYou", WrongBaseModel, r"FLUX\.2, but FLUX.1 is needed", {}, "latent()", "dit()",
    ),
    "a narrow FLUX.1": (
        "ApplyInfiniteYou", WrongBaseModel, "width 64, but one of width 96", {}, "latent()", NARROW,
    ),
}  # fmt: skip


def union() -> Any:
    made = run(value("tiny_sdxl.host_control_net(tiny_sdxl.diffusers_control_net(tiny_sdxl.diffusers_unet()))"), {})[0]
    made.control_model.control_add_embedding = object()
    return made


@pytest.mark.parametrize("case", AT_THE_SAMPLER)
def test_it_is_refused_where_it_is_seen(case: str) -> None:
    kind, error, words, changed, latent, model = AT_THE_SAMPLER[case]
    made: dict[Any, Any] = {}
    applied = ours(f"Likeness{kind}", **(changed() if callable(changed) else changed))
    run(applied, made)
    graph = sampled(applied, value(latent), steps=1)
    graph.inputs["model"] = value(model, graph.inputs["model"]) if model else graph.inputs["model"]
    with pytest.raises(error, match=words):
        run(graph, made)


LARGE = {"control_strength": 0.0, "image": "image(1024, 1024)"}
SMALL = r"Face boxes small: Anna {} px on the canvas; coarse layers need 32: "
EDGE = "cast(identity(), places=layout(slot(-5.0)))"
BARE = "cast(places=layout(slot(), slot(94.0, keypoints=None)))"
TOLD: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "nothing": ("ApplyInstantID", {"control_strength": 0.0}, []),
    "watermarks": ("ApplyInstantID", LARGE, ["Watermarks .* exactly 1024x1024"]),
    "masks": ("ApplyInstantID", {"mask": "mask(2, 64, 48)"}, ["Masks stretched: 64x48 px over .*, 128x96 px"]),
    # A second note would take the place of the first under the node.
    "all": ("ApplyInstantID", {**LARGE, "cast": "cast(weights=(1.0, 0.0))"}, [r"left out: Boris\n.*exactly 1024x1024"]),
    "small boxes": ("ApplyInstantID", {**BOXES, "cast": "cast(identity())"}, [SMALL.format("28x32")]),
    "boxes that are cut": ("ApplyInstantID", {**BOXES, "cast": EDGE}, [SMALL.format("9x32")]),
    "no words": ("ApplyPhotoMaker", {"weight": 0.0}, ["The text is read without its trigger words"]),
    "nothing to bind": ("BindIDTokens", chained("ApplyIDPatch", strength=0.0), ["no ID tokens"]),
    "black": ("ApplyInfiniteYou", {"cast": BARE}, ["InfuseNet is shown black: Boris"]),
    "references in rows": (
        "BindReferences", referring("by_row()"), ["Nothing to bind: with the cast of Crop Faces each person has a row"],
    ),
    "stretched": (
        "EncodeParts", {"parts": ours("LikenessPart", image="image(64, 64)")},
        ["Pictures stretched to 128x96 px: 'face' from 64x64 px"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TOLD)
def test_what_works_but_could_be_better_is_told(case: str, caplog: pytest.LogCaptureFixture) -> None:
    kind, changed, words = TOLD[case]
    made: dict[Any, Any] = {}
    applied = ours(f"Likeness{kind}", **changed)
    for given in applied.inputs.values():
        run(getattr(given, "node", given), made) if hasattr(given, "kind") or hasattr(given, "node") else None
    caplog.clear()
    run(applied, made)
    assert len(caplog.messages) == len(words) and all(map(re.search, words, caplog.messages))


SCALED = "Latent 256x192, canvas of {} 128x96 px: all people are scaled 2 times, {}"
WHEN_SAMPLED = {
    "InstantID": ("ApplyInstantID", {}, SCALED.format("Apply InstantID (Likeness)", "with keypoints and regions")),
    "ID-Patch": ("ApplyIDPatch", {}, SCALED.format("Apply ID-Patch", "ID patches to 128 px where the ControlNet")),
    "words": ("PersonPrompts", {}, SCALED.format("Prompt per Person", "with their regions")),
    "InfuseNet": ("ApplyInfiniteYou", {}, SCALED.format("Apply InfiniteYou", "with keypoints and regions")),
}


@pytest.mark.parametrize("case", WHEN_SAMPLED)
def test_another_size_of_the_same_shape_is_told_once_a_run(case: str, caplog: pytest.LogCaptureFixture) -> None:
    kind, changed, words = WHEN_SAMPLED[case]
    applied, made = ours(f"Likeness{kind}", **changed), {}
    run(sampled(applied, steps=1), made)
    assert "are scaled" not in caplog.text, "the size of the canvas needs no word"
    for runs in (1, 2):  # of which none knows what another has seen
        found = run(sampled(applied, value("latent(256, 192)"), steps=2), made)[0]["samples"]
        assert found.isfinite().all() and caplog.text.count(words) == runs


def test_high_cfg_is_told(caplog: pytest.LogCaptureFixture) -> None:
    applied, made = ours("LikenessApplyInstantID"), {}
    for cfg, told in ((6.0, False), (7.5, True)):
        run(sampled(applied, steps=1, cfg=cfg), made)
        assert ("CFG 7.5 burns colours: InstantID was made for 4 to 5, and is fine up to 6" in caplog.text) == told
