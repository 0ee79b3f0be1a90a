"""For each pack that a help page names: how its node is run beside ours, and what has to hold."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import folder_paths
import torch
from bench.figures import Applied
from pack.core.errors import LikenessError
from safetensors.torch import save_file
from shared import adapters
from shared.standins import Weights, nested
from tiny import tiny_encoders
from tiny.seeded import normal
from torch import Tensor

from . import by_packs, graphs, installed
from .graphs import (
    DIFFERENCE,
    OURS_ACT,
    STEPS,
    THEIRS_ACT,
    Result,
    Theirs,
    either_order,
    family_of,
    networks,
    ours_alone,
    picture,
    plain,
    relative,
    shortened,
    with_ours,
)
from .names import ADAPTED, OURS

Check = Callable[[], Iterator[Result]]


@dataclass(frozen=True)
class Pack:
    """A pack by the name of its repository. checks: beside ours, each with its title."""

    name: str
    checks: dict[str, Check]


def beside_all(node: str, theirs: Theirs, ours: Sequence[str] = OURS) -> dict[str, Check]:
    """A node that is connected to the MODEL or to the prompts, beside each of our methods.

    node: its title. ours: those that there are for its networks.
    """
    return {f"*{node}* beside {name}": partial(either_order, name, node, theirs) for name in ours}


def on_model(node_id: str, **inputs: Any) -> Theirs:
    """A node with a MODEL in and out."""

    def theirs(applied: Applied) -> Applied:
        return applied._replace(model=installed.call(node_id, model=applied.model, **inputs)[0])

    return theirs


# --- Adapters


@cache
def _ip_adapter() -> Any:
    return by_packs.ip_adapter(networks())


def ip_adapter(applied: Applied) -> Applied:
    clip_vision = tiny_encoders.clip_vision(1024, 1280, 224)
    model = installed.call(
        "IPAdapterAdvanced", model=applied.model, ipadapter=_ip_adapter(), image=by_packs.portrait(9), weight=0.8,
        weight_type="linear", combine_embeds="concat", start_at=0.0, end_at=1.0, embeds_scaling="V only",
        clip_vision=clip_vision,
    )[0]  # fmt: skip
    return applied._replace(model=model)


@cache
def _instant_id() -> Any:
    return by_packs.instant_id(networks())


def instant_id(applied: Applied) -> Applied:
    on = networks()
    outputs = installed.call(
        "ApplyInstantIDAdvanced", instantid=_instant_id(), insightface=by_packs.OneFace(), control_net=on.net,
        image=by_packs.portrait(9), model=applied.model, positive=applied.positive, negative=applied.negative,
        ip_weight=0.8, cn_strength=0.8, start_at=0.0, end_at=1.0, noise=0.0, combine_embeds="average",
        image_kps=torch.zeros(1, *on.size[::-1], 3),
    )  # fmt: skip
    return Applied(*outputs)


class FaceHelper:
    """In the place of facexlib's FaceRestoreHelper, whose networks would be downloaded: a crop of 512 px."""

    def __init__(self, **_: Any) -> None:
        self.face_parse: Any = None
        self.cropped_faces = [torch.zeros(512, 512, 3, dtype=torch.uint8).numpy()]

    def clean_all(self) -> None: ...

    def read_image(self, _image: Any) -> None: ...

    def get_face_landmarks_5(self, only_center_face: bool) -> None: ...

    def align_warp_face(self) -> None: ...


class EvaClip(torch.nn.Module):
    """In the place of EVA02-CLIP, which would be downloaded: states and an embedding of its sizes."""

    image_size = 336
    image_mean = (0.5, 0.5, 0.5)
    image_std = (0.5, 0.5, 0.5)

    def forward(self, picture: Tensor, **_: Any) -> tuple[Tensor, list[Tensor]]:
        states = [normal(90 + layer, len(picture), 577, 1024) for layer in range(5)]
        return normal(89, len(picture), 768), states


def _parsing(**_: Any) -> Callable[[Tensor], tuple[Tensor]]:
    """In the place of BiSeNet: one class everywhere."""
    return lambda face: (torch.zeros(1, 19, *face.shape[-2:]),)


@cache
def _pulid() -> Any:
    """The pack's own network with random weights: no file of it is in shared/shapes.txt."""
    code = sys.modules[installed.node_class("ApplyPulid").__module__]
    torch.manual_seed(5)
    unet = by_packs.unet_shape(networks())
    layers = nested(Weights(torch.float32).fill(adapters.layers(unet)))
    return code.PulidModel({"image_proj": code.IDEncoder().state_dict(), **layers})


def pulid(applied: Applied) -> Applied:
    code = sys.modules[installed.node_class("ApplyPulid").__module__]
    with patch.object(code, "FaceRestoreHelper", FaceHelper), patch.object(code, "init_parsing_model", _parsing):
        model = installed.call(
            "ApplyPulid", model=applied.model, pulid=_pulid(), eva_clip=EvaClip(), face_analysis=by_packs.OneFace(),
            image=by_packs.portrait(9), method="fidelity", weight=1.0, start_at=0.0, end_at=1.0,
        )[0]  # fmt: skip
    return applied._replace(model=model)


# --- Attention with texts of its own


Couple = Callable[[Applied, Any], Applied]
"""An attention couple behind other nodes, and what its second region reads: the right half of the picture."""


def ppm_couple(applied: Applied, text: Any) -> Applied:
    left, right = by_packs.masks(networks(), 2)
    return on_model(
        "AttentionCouplePPM", base_cond=applied.positive, base_mask=left, cond_1=text, mask_1=right
    )(applied)  # fmt: skip


def couple_in_place(applied: Applied, text: Any) -> Applied:
    """laksjdjf's first node, which takes a prompt with a mask for each region."""
    left, right = by_packs.masks(networks(), 2)

    def masked(text: Any, mask: Tensor) -> Any:
        return installed.call(
            "ConditioningSetMask", conditioning=text, mask=mask, strength=1.0, set_cond_area="default"
        )[0]

    positive = by_packs.combined(masked(applied.positive, left), masked(text, right))
    outputs = installed.call(
        "Attention couple", model=applied.model, positive=positive, negative=applied.negative, mode="Attention"
    )
    return Applied(*outputs)


def laksjdjf_couple(applied: Applied, text: Any) -> Applied:
    """His later node in cgem156-ComfyUI; its id ends with letters of the pack's own."""
    (node_id,) = (name for name in installed.node_ids() if name.startswith("AttentionCouple|"))
    left, right = by_packs.masks(networks(), 2)
    return on_model(node_id, base_mask=left, cond_1=text, mask_1=right)(applied)


def couples(node: str, couple: Couple, before_alone: Sequence[str] = ()) -> dict[str, Check]:
    """An attention couple beside each of our methods: both act, and each region reads our people.

    before_alone: methods that it cannot follow.
    """

    def with_another_text(applied: Applied) -> Applied:
        return couple(applied, by_packs.text_of(networks(), 61))

    checks = beside_all(node, with_another_text, [name for name in OURS if name not in before_alone])
    for name in before_alone:
        checks[f"*{node}* before {name} alone"] = partial(_before_alone, name, node, with_another_text)
    for name in OURS:
        checks[f"*{node}* with one text beside {name}"] = partial(_one_text, name, node, couple)
    return checks


def _before_alone(name: str, node: str, theirs: Theirs) -> Iterator[Result]:
    """Before one of our methods both act. Behind it the pack ends with an error of its own, as the pages say."""
    with family_of(name):
        in_front = picture(with_ours(name, theirs(plain())))
        ours_act = relative(in_front, picture(theirs(plain())))
        theirs_act = relative(in_front, ours_alone(name))
    held = min(ours_act, theirs_act) > graphs.VISIBLE
    yield Result(f"*{node}*, in a graph before ours", held, name, {OURS_ACT: ours_act, THEIRS_ACT: theirs_act})
    check = f"*{node}*, in a graph after ours"
    try:
        with family_of(name):
            picture(theirs(with_ours(name, plain())))
    except RuntimeError as failure:
        yield Result(check, True, name, figure="an error of torch in its code", detail=shortened(failure))
    else:
        yield Result(check, False, name, figure="no error any more: the pages say that there is one")


def _one_text(name: str, node: str, couple: Couple) -> Iterator[Result]:
    """Where all regions read the same text, each reads what it reads without regions, ours included."""
    with family_of(name):
        before_ours = couple(plain(), plain().positive)
        apart = relative(picture(with_ours(name, before_ours)), ours_alone(name))
    check = f"*{node}* before ours with the common text in each region, compared with ours alone"
    yield Result(check, apart <= graphs.ROUNDING, name, {DIFFERENCE: apart})


def nag(applied: Applied) -> Applied:
    negative = plain().negative
    return on_model("NormalizedAttentionGuidance", negative=negative, scale=2.0, tau=2.5, alpha=0.5)(applied)


def _clip() -> Any:
    """The text encoders of these networks."""
    return graphs.unets.encoder(networks().text)


def _neg_pip() -> Applied:
    """A MODEL and prompts of CLIP NegPip, with a word whose weight is negative."""
    model, clip = installed.call("CLIPNegPip", model=networks().model, clip=_clip())
    texts = []
    for text in ("two people, (hats:-1.0)", "blurry"):
        texts.append(clip.encode_from_tokens_scheduled(clip.tokenize(text)))
    return Applied(model, *texts)


NEG_PIP = "prompts of *CLIP NegPip* before ours"


def neg_pip_with_id_patch() -> Iterator[Result]:
    theirs = _neg_pip()
    for name in ("id_patch", "id_tokens_by_region"):
        change = relative(picture(with_ours(name, theirs)), picture(theirs))
        yield Result(NEG_PIP, change > graphs.VISIBLE, name, {OURS_ACT: change})


def neg_pip_with_prompts() -> Iterator[Result]:
    name = "prompt_per_person"
    yield _refused(NEG_PIP, name, lambda: picture(with_ours(name, _neg_pip())))


def _refused(check: str, name: str, run: Callable[[], Any]) -> Result:
    """Whether it ends with an error of ours."""
    try:
        run()
    except LikenessError as refusal:
        return _refusal(check, name, refusal)
    return Result(check, False, name, figure="no error")


def _refusal(check: str, name: str, refusal: LikenessError) -> Result:
    """One of our methods has said what is wrong."""
    return Result(check, True, name, figure=f"refused by name: {type(refusal).__name__}", detail=shortened(refusal))


# --- prompt-control

SCHEDULED = "two people [on a beach:in a kitchen:0.5] COUPLE(0 0.5) a red coat"
UNSCHEDULED = "two people on a beach COUPLE(0 0.5) a red coat"
UNCOUPLED = "two people [on a beach:in a kitchen:0.5]"


def _scheduled(text: str) -> Applied:
    """The MODEL with prompts by prompt-control."""
    positive = installed.expanded("PCLazyTextEncode", clip=_clip(), text=text)
    negative = installed.expanded("PCLazyTextEncode", clip=_clip(), text="blurry")
    return Applied(networks().model, positive, negative)


def prompt_control(name: str) -> Iterator[Result]:
    """Schedule and COUPLE of prompts in front of one of our nodes are kept, and ours act."""
    with family_of(name):
        theirs = _scheduled(SCHEDULED)
        whole = picture(with_ours(name, theirs))
        pictures = {
            OURS_ACT: picture(theirs),
            "the schedule by": picture(with_ours(name, _scheduled(UNSCHEDULED))),
            "`COUPLE` by": picture(with_ours(name, _scheduled(UNCOUPLED))),
        }
    check = "a prompt with a schedule and `COUPLE` before ours"
    for title, other in pictures.items():
        change = relative(whole, other)
        yield Result(check, change > graphs.VISIBLE, name, {title: change})


# --- Advanced-ControlNet


def _keyframes() -> Any:
    """Half the strength from the middle of the schedule on."""
    first = installed.call("TimestepKeyframe", start_percent=0.0, strength=1.0)[0]
    return installed.call("TimestepKeyframe", start_percent=0.5, strength=0.5, prev_timestep_kf=first)[0]


def advanced_control(applied: Applied) -> Applied:
    """Its apply node with keyframes, weights of its own and a mask."""
    on = networks()
    weights = installed.call("ACN_ScaledSoftControlNetWeights", base_multiplier=0.8)[0]
    left, _ = by_packs.masks(on, 2)
    hint = torch.rand(1, *on.size[::-1], 3, generator=torch.Generator().manual_seed(3))
    positive, negative = installed.call(
        "ACN_AdvancedControlNetApply_v2", positive=applied.positive, negative=applied.negative, control_net=on.net,
        image=hint, strength=0.7, start_percent=0.0, end_percent=1.0, timestep_kf=_keyframes(),
        mask_optional=left, weights_override=weights,
    )  # fmt: skip
    return applied._replace(positive=positive, negative=negative)


def _advanced_net(keyframes: Any = None) -> Any:
    """The ControlNet of these networks from a file, by the pack's loader."""
    with TemporaryDirectory() as root:
        path = Path(root) / "net.safetensors"
        save_file(
            {name: weight.contiguous() for name, weight in networks().net.control_model.state_dict().items()}, path
        )
        with patch.dict(folder_paths.folder_names_and_paths, {"controlnet": ([root], {".safetensors"})}):
            return installed.call("ACN_ControlNetLoaderAdvanced", cnet=path.name, _tk_opt=keyframes)[0]


def advanced_net_in_id_patch() -> Iterator[Result]:
    on = graphs.behind(plain())
    on.net = _advanced_net()
    apart = relative(picture(graphs.unets.id_patch(on, graphs.PEOPLE)), picture(with_ours("id_patch", plain())))
    check = "a net of its loader in *Apply ID-Patch*, compared with ComfyUI's own net"
    yield Result(check, apart <= graphs.ROUNDING, "id_patch", {DIFFERENCE: apart})


def keyframes_in_instant_id() -> Iterator[Result]:
    on = graphs.behind(plain())
    on.net = _advanced_net(_keyframes())
    apply = graphs.unets.ON_UNETS["instant_id"].apply
    check = "a net of its loader with keyframes in *Apply InstantID*"
    yield _refused(check, "instant_id", lambda: picture(apply(on, graphs.PEOPLE)))


# --- Tiles and detailers: what the troubleshooting page says of them


def _redrawn(node: Callable[[Applied], Tensor], title: str, name: str) -> Iterator[Result]:
    """With the prompts from before our nodes, our MODEL gives the picture of the plain one."""
    check = f"*{title}* with the prompts of ours"
    with family_of(name):
        without = node(plain())
        applied = with_ours(name, plain())
        before = node(Applied(applied.model, plain().positive, plain().negative))
        try:
            change = relative(node(applied), without)
        except LikenessError as refusal:
            drawn = _refusal(check, name, refusal)
        else:
            drawn = Result(check, change > graphs.VISIBLE, name, {f"drawn into each piece: {OURS_ACT}": change})
    apart = relative(before, without)
    check = f"*{title}* with the prompts from before ours, compared with a picture without ours"
    yield Result(check, apart == 0, name, {DIFFERENCE: apart})
    yield drawn


def redrawn(node: Callable[[Applied], Tensor], title: str) -> dict[str, Check]:
    """A node that samples pieces of a picture, behind each of our methods."""
    return {f"*{title}* beside {name}": partial(_redrawn, node, title, name) for name in OURS}


SAMPLING: dict[str, Any] = {"seed": 1, "steps": STEPS, "cfg": 5.0, "sampler_name": "euler", "scheduler": "normal"}


def _sheet() -> Tensor:
    """(1, 128, 128, 3)"""
    return torch.rand(1, 128, 128, 3, generator=torch.Generator().manual_seed(4))


def detailer(applied: Applied) -> Tensor:
    mask = torch.zeros(1, 128, 128)
    mask[:, 32:96, 32:96] = 1.0
    segments = installed.call(
        "MaskToSEGS", mask=mask, combined=False, crop_factor=1.5, bbox_fill=False, drop_size=1, contour_fill=False
    )[0]
    return installed.call(
        "DetailerForEach", image=_sheet(), segs=segments, model=applied.model, clip=_clip(), vae=tiny_encoders.vae(),
        guide_size=64.0, guide_size_for=True, max_size=64.0, positive=applied.positive, negative=applied.negative,
        denoise=0.5, feather=5, noise_mask=True, force_inpaint=True, wildcard="", cycle=1, **SAMPLING,
    )[0]  # fmt: skip


def tiles(applied: Applied) -> Tensor:
    return installed.call(
        "UltimateSDUpscaleNoUpscale", upscaled_image=_sheet(), model=applied.model, positive=applied.positive,
        negative=applied.negative, vae=tiny_encoders.vae(), denoise=0.5, mode_type="Linear", tile_width=64,
        tile_height=64, mask_blur=8, tile_padding=0, seam_fix_mode="None", seam_fix_denoise=1.0,
        seam_fix_mask_blur=8, seam_fix_width=64, seam_fix_padding=16, force_uniform_tiles=True, tiled_decode=False,
        batch_size=1, **SAMPLING,
    )[0]  # fmt: skip


def tiled_diffusion(applied: Applied) -> Applied:
    return on_model(
        "TiledDiffusion", method="MultiDiffusion", tile_width=64, tile_height=64, tile_overlap=0, tile_batch_size=4
    )(applied)


def tiled_diffusion_named_or_drawn(name: str) -> Iterator[Result]:
    """Its pieces are smaller than the picture of our cast: the run ends with our error, or with a picture."""
    check = "*Tiled Diffusion*, in a graph before and after ours"
    for order, applied in (
        ("theirs before ours", lambda: with_ours(name, tiled_diffusion(plain()))),
        ("ours before theirs", lambda: tiled_diffusion(with_ours(name, plain()))),
    ):
        try:
            with family_of(name):
                change = relative(picture(applied()), picture(tiled_diffusion(plain())))
        except LikenessError as refusal:
            yield _refusal(check, name, refusal)
        else:
            amounts = {f"drawn into each piece: {OURS_ACT}": change}
            yield Result(check, change > graphs.VISIBLE, name, amounts, detail=order)


# --- AnimateDiff-Evolved

FRAMES = 2
WINDOW = 1


def _windows(applied: Applied) -> Applied:
    """Pictures of a batch in windows of some, without a motion model: each is drawn as it is alone."""
    options = installed.call(
        "ADE_StandardStaticContextOptions", context_length=WINDOW, context_overlap=0, fuse_method="flat"
    )[0]
    return on_model("ADE_UseEvolvedSampling", beta_schedule="use existing", context_options=options)(applied)


def windows(name: str) -> Iterator[Result]:
    """One of our methods on a batch that its sampler draws in windows: the batch is the one drawn as a whole."""
    with family_of(name):
        whole = picture(with_ours(name, plain())._replace(rows=FRAMES))
        for order, applied in (
            ("theirs before ours", with_ours(name, _windows(plain()))),
            ("ours before theirs", _windows(with_ours(name, plain()))),
        ):
            apart = relative(picture(applied._replace(rows=FRAMES)), whole)
            check = "*Use Evolved Sampling*, in a graph before and after ours: a batch in windows and as a whole"
            yield Result(check, apart <= graphs.ROUNDING, name, {DIFFERENCE: apart}, detail=order)


PACKS = (
    Pack("ComfyUI_IPAdapter_plus", beside_all("IPAdapter Advanced", ip_adapter, ADAPTED)),
    Pack("ComfyUI_InstantID", beside_all("Apply InstantID Advanced", instant_id, ADAPTED)),
    Pack("PuLID_ComfyUI", beside_all("Apply PuLID", pulid, ADAPTED)),
    Pack(
        "ComfyUI-Advanced-ControlNet",
        beside_all("Apply Advanced ControlNet", advanced_control)
        | {
            "a net in Apply ID-Patch": advanced_net_in_id_patch,
            "keyframes in Apply InstantID": keyframes_in_instant_id,
        },
    ),
    Pack(
        "ComfyUI-ppm",
        couples("Attention Couple (PPM)", ppm_couple)
        | {"CLIP NegPip beside ID-Patch": neg_pip_with_id_patch, "CLIP NegPip beside prompts": neg_pip_with_prompts},
    ),
    Pack("attention-couple-ComfyUI", couples("Attention couple", couple_in_place, ("id_patch", "id_tokens_by_region"))),
    Pack("cgem156-ComfyUI", couples("Attention Couple", laksjdjf_couple)),
    Pack("sd-perturbed-attention", beside_all("Normalized Attention Guidance", nag)),
    Pack("comfyui-prompt-control", {name: partial(prompt_control, name) for name in OURS}),
    Pack("ComfyUI-AnimateDiff-Evolved", {name: partial(windows, name) for name in OURS}),
    Pack("ComfyUI-Impact-Pack", redrawn(detailer, "DetailerForEach")),
    Pack("ComfyUI_UltimateSDUpscale", redrawn(tiles, "Ultimate SD Upscale")),
    Pack("ComfyUI-TiledDiffusion", {name: partial(tiled_diffusion_named_or_drawn, name) for name in OURS}),
)
"""Those of names.py."""
