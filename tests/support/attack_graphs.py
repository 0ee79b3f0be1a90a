"""Small graphs for test_attack.py: our nodes with inputs that are right, and whatever is put in their place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from comfy_api.latest._io import WidgetInput
from pack.core.methods import methods
from pack.nodes.extension import NODES

SAMPLED = (
    "LikenessApplyIDPatch", "LikenessApplyInstantID", "LikenessApplyIPAdapter", "LikenessApplyParts",
    "LikenessSharePartsAttention",
)  # fmt: skip

MODELS = {
    "LikenessApplyIDPatch": "sdxl()", "LikenessApplyInfiniteYou": "flux()", "LikenessCastReferences": "klein()",
}  # fmt: skip
"""For the sampler behind nodes that have none."""


@dataclass(frozen=True, eq=False)
class Node:
    """A node of a prompt; as the input of another it stands for its first output."""

    kind: str
    inputs: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, output: int) -> Output:
        return Output(self, output)


@dataclass(frozen=True)
class Output:
    node: Node
    number: int


def node(kind: str, **inputs: Any) -> Node:
    return Node(kind, {name: value for name, value in inputs.items() if value is not UNCONNECTED})


UNCONNECTED = object()


def value(expression: str, a: Any = UNCONNECTED, b: Any = UNCONNECTED) -> Node:
    return node("AttackValue", expression=expression, a=a, b=b)


def check(expression: str, a: Any = UNCONNECTED, b: Any = UNCONNECTED, c: Any = UNCONNECTED) -> Node:
    return node("AttackCheck", expression=expression, a=a, b=b, c=c)


def prompt(*last: Node) -> dict[str, dict[str, Any]]:
    """The API prompt that ends in these nodes."""
    made: dict[str, dict[str, Any]] = {}
    numbers: dict[int, str] = {}

    def number(one: Node) -> str:
        if id(one) not in numbers:
            inputs = {name: linked(given) for name, given in one.inputs.items()}
            numbers[id(one)] = str(len(numbers) + 1)
            made[numbers[id(one)]] = {"class_type": one.kind, "inputs": inputs}
        return numbers[id(one)]

    def linked(given: Any) -> Any:
        if isinstance(given, Node):
            return [number(given), 0]
        return [number(given.node), given.number] if isinstance(given, Output) else given

    for one in last:
        number(one)
    return made


def _sides(width: int) -> dict[str, Node]:
    return {"positive": value(f"text(1, {width})"), "negative": value(f"text(2, {width})")}


def _defaults() -> dict[str, dict[str, Any]]:
    models = {"buffalo": node("LikenessLoadFaceModel", pack="buffalo_sc", recognisers="w600k_mbf", provider="auto")}
    faces = {"face_model": models["buffalo"], "image": value("photo()")}
    size = {"width": 128, "height": 96}
    range_ = {"start_percent": 0.0, "end_percent": 1.0}
    part = node("LikenessPart", image=value("image()"), label="face", other_label="", weight=1.0)
    parts2whole = value("networks()")
    encoders = {"clip": value("clip()"), "clip_vision": value("clip_vision()"), "vae": value("vae()")}
    id_patch = value("loaded('id_patch')")
    cast = value("cast()")
    layout = node("LikenessGroupLayout", count=1, framing="half", rows=0, width=128, height=192)
    condition = node("LikenessIDPatchImage", id_patch=id_patch, cast=cast, photos="mean")
    applied = {
        **_sides(2048), "control_net": value("control_net()"), "id_patch": id_patch, "cast": cast,
        "image": condition, "strength": 0.8, **range_, "id_start_percent": 0.2, "photos": "mean",
    }  # fmt: skip
    region = {"extent": "body", "margin": 0.25, "feather": 8}
    measured = {
        "face_model": models["buffalo"], "images": value("photo()"), "cast": value("unplaced()"),
        "made_with": "unknown", "stranger_below": 0.2, "min_size": 0,
    }  # fmt: skip
    cut = {
        "face_model": models["buffalo"], "images": value("photo()"), "cast": value("on_photo()"),
        "who": "everybody", "smaller_than": 96, "less_than": 0.4, "size": 256, "margin": 1.0, "mask_margin": 0.2,
        "feather": 0.25, "not_found": "cut out in their place",
    }  # fmt: skip
    crops = node("LikenessCropFaces", **cut)
    encode = node("LikenessEncodeParts", parts2whole=parts2whole, parts=part, **encoders, **size)
    return {
        "LikenessLoadFaceModel": models["buffalo"].inputs,
        "LikenessLoadIdentity": {"file": "anna.safetensors"},
        "LikenessLoadAdapter": {"file": "standin-ip-adapter-faceid_sdxl.bin", "plus_version": "by the file"},
        "LikenessLoadParts2Whole": {"folder": "standin-parts2whole"},
        "LikenessDetectFaces": {**faces, "order": "left to right", "min_size": 0, "max_faces": 0},
        "LikenessIdentity": {**faces, "name": "Yao", "which_face": "largest", "on_no_face": "error"},
        "LikenessBlendIdentities": {
            "a": value("identity('Anna')"), "b": value("identity('Boris')"), "amount": 0.5, "method": "slerp",
            "name": "",
        },
        "LikenessSaveIdentity": {"identity": value("identity('Anna')"), "filename": "anna"},
        "LikenessCast": {"person_1": value("identity('Anna')"), "weight_1": 1.0},
        "LikenessPeopleFromPhotos": {
            "face_model": models["buffalo"], "names": "Yao", "which_face": "largest", "photo_1": value("photo()"),
        },
        "LikenessCastFromPhotos": {
            "face_model": models["buffalo"], "image": value("photo()"), "folder": "none", "people": "grouped by face",
            "names": "Yao", "which_face": "largest", "corrections": "", "on_no_face": "skip", "same_person_from": 0.4,
        },
        "LikenessLayoutFromFaces": {"faces": value("faces()"), **size, "fit": "crop", "body": "half"},
        "LikenessLayoutFromBoxes": {
            "bboxes": value("[[{'x': 8, 'y': 4, 'width': 40, 'height': 80}]]"), **size, "fit": "crop",
            "boxes_show": "person", "body": "half", "boxes_from": "drawn", "text": "8, 4, 40, 80",
        },
        "LikenessGroupLayout": {
            "count": 2, "framing": "bust", "rows": 0, "width": 512, "height": 512, "action": "hands up",
        },
        "LikenessAddPlace": {
            "layout": node("LikenessGroupLayout", count=1, framing="half", rows=0, width=768, height=512),
            "where": "free place", "x": 0, "y": 0, "face_size": 60, "body": "half", "count": 1,
        },
        "LikenessScenes": {"text": "at the beach\nin the kitchen", "always": "photo"},
        "LikenessPoseImage": {"layout": value("layout()")},
        "LikenessPlaceCast": {
            "cast": value("unplaced()"), "layout": value("layout()"), "order": "left to right", "custom_order": "",
        },
        "LikenessPersonRegion": {"cast": cast, "person": 1, **region},
        "LikenessPersonPrompts": {
            "model": value("sd15()"), "clip": value("clip()"), **_sides(48), "cast": cast, "prompts": "1: up\n2: down",
            "strength": 1.0, **region,
        },
        "LikenessBindReferences": {
            "model": value("dit()"), "positive": value("referring(1)"), "negative": value("referring(2)"),
        },
        "LikenessIDPatchImage": {"id_patch": id_patch, "cast": cast, "photos": "mean"},
        "LikenessApplyIDPatch": applied,
        "LikenessBindIDTokens": {
            "positive": node("LikenessApplyIDPatch", **applied), "negative": node("LikenessApplyIDPatch", **applied)[1],
        },
        "LikenessResizePhoto": {"image": value("image()"), "longer_side": 256, "multiple_of": 64},
        "LikenessApplyInstantID": {
            "control_net": value("control_net()"), "image": node("LikenessPoseImage", draw="face keypoints", cast=cast),
        },
        "LikenessApplyIPAdapter": {"clip_vision": value("vit_h()")},
        "LikenessApplyPhotoMaker": {"photo_maker": value("photo_maker()"), "text": "a woman img, a man img"},
        "LikenessApplyStyle": {
            "ip_adapter": value("loaded('ip_adapter_plus')"), "clip_vision": value("vit_h()"), "cast": cast, "who": "1",
        },
        "LikenessApplyStoryMaker": {"bodies": value("image(batch=2)"), "body_masks": value("mask(2)")},
        "LikenessCastReferences": {
            "clip": value("klein_clip()"), "vae": value("flux2_vae()"), "cast": cast, "prompt": "in a park",
            "negative_prompt": "", "pictures": value("image()"), "sentences": "before the prompt", "size": 128,
            "photos_per_person": 1, "pose_picture": False,
        },
        "LikenessApplyInfiniteYou": {"control_net": value("infuse_net()"), "vae": value("flux_vae()")},
        "LikenessPart": {"image": value("image()"), "label": "face", "other_label": "", "weight": 1.0},
        "LikenessEncodeParts": {"parts2whole": parts2whole, "parts": part, **encoders, **size},
        "LikenessApplyParts": {
            "model": value("denoiser()"), **_sides(48), "features": encode, "strength": 1.0, **range_,
            "heat_map_step": 0, "pose": value("image()"),
        },
        "LikenessSharePartsAttention": {
            "model": value("sd15()"), **_sides(48), "parts": part, "clip": value("clip()"), "vae": value("vae()"),
            **size, "strength": 1.0, **range_, "layers": "all", "reference": "at every step", "seed": 0,
            "renew_every": 1, "crop_to_mask": False,
        },
        "LikenessDetectBodySurface": {
            "image": value("photo()"), "file": "standin-densepose.torchscript", "people": 1, **size, "fit": "pad",
        },
        "LikenessBodySurfaceMask": {
            "surface": node("LikenessPoseImage", draw="body surface", layout=layout), "head": True, "torso": True,
            **dict.fromkeys(("upper_arms", "forearms", "hands", "thighs", "lower_legs", "feet"), False), "side": "both",
        },
        "LikenessMeasure": measured,
        "LikenessPickBest": {
            "report": node("LikenessMeasure", **measured), "images": value("photo()"), "score": "resemblance",
            "keep": 1, "latents": value("latent()"),
        },
        "LikenessCropFaces": {**cut, "vae": value("vae()")},
        "LikenessPasteFaces": {
            "images": value("photo()"), "where": crops[3], "sampled": crops, "color_match": "around the face",
        },
        "LikenessDoctor": {"workflow": "id_patch_two_people"},
    }  # fmt: skip


FAMILIES = {
    "SDXL": ("sdxl()", "text({}, 2048)"), "SD1.5": ("sd15()", "text({}, 48)"), "FLUX.1": ("flux()", "flux_text({})"),
    "FLUX.2": ("klein()", "klein_said('{}')"),
}  # fmt: skip
"""A MODEL of each and a text for it."""
SOCKETS = {
    "CONTROL_NET": "control_net()", "CLIP_VISION": "clip_vision()", "CLIP": "sdxl_clip()", "VAE": "vae()",
    "IMAGE": "image()", "MASK": "mask()", "LIKENESS_CAST": "cast()", "LIKENESS_CAST,LIKENESS_IDENTITY": "cast()",
}  # fmt: skip


def derived(kind: str) -> dict[str, Any]:
    """Of a method's node that is in no table: by its schema and the method's record.

    Its own socket is given what its loader makes of a file, see attack_values.file_of.
    """
    (method,) = (one for one in methods() if kind in one.applies)
    (schema,) = (one.define_schema() for one in NODES if one.define_schema().node_id == kind)
    model, text = next(given for family, given in FAMILIES.items() if family in method.families)
    known = {**SOCKETS, "MODEL": model, method.socket: f"loaded({method.folder!r})"}
    given: dict[str, Any] = {"positive": value(text.format(1)), "negative": value(text.format(2))}
    found: dict[str, Any] = {}
    for one in schema.inputs:
        if isinstance(one, WidgetInput):
            found[one.id] = 8 if one.id == "feather" else one.default
            if one.default is None and getattr(one, "options", None):
                found[one.id] = one.options[0]
        elif not one.optional:
            found[one.id] = given.get(one.id) or value(
                known.get(one.get_io_type().removesuffix(",LIKENESS_ADAPTER"), "None")
            )
    return found


_TABLE = _defaults()
DEFAULTS = {
    **_TABLE,
    **{kind: {**derived(kind), **_TABLE.get(kind, {})} for method in methods() for kind in method.applies},
}
"""Every node of ours: inputs with which it runs. Of a method's nodes the table has what the schemas do not tell."""


def ours(kind: str, **changed: Any) -> Node:
    """One of our nodes with its defaults and some inputs of another kind."""
    group = ONE_OF.get(kind, ())
    others = dict.fromkeys(group, UNCONNECTED) if changed.keys() & {*group} else {}
    return node(kind, **{**DEFAULTS[kind], **others, **changed})


ONE_OF = {"LikenessLayoutFromFaces": ("faces", "poses", "masks")}
"""Inputs of which one is connected."""


def sampler(model: Any, positive: Any, negative: Any, latent: Any = None, **changed: Any) -> Node:
    settings = {"seed": 1, "steps": 2, "cfg": 4.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    latent = latent or value("latent()")
    return node(
        "KSampler", model=model, positive=positive, negative=negative, latent_image=latent, **{**settings, **changed}
    )


def sampled(applied: Node, latent: Any = None, **changed: Any) -> Node:
    """What the sampler makes of one of the four nodes that end in a sampler."""
    if applied.kind in MODELS:
        return sampler(value(MODELS[applied.kind]), applied, applied[1], latent, **changed)
    return sampler(applied, applied[1], applied[2], latent, **changed)


def plain(kind: str, latent: Any = None, **changed: Any) -> Node:
    """The same without our node."""
    given = DEFAULTS[kind]
    return sampler(given.get("model") or value(MODELS[kind]), given["positive"], given["negative"], latent, **changed)


def ended(applied: Node) -> Node:
    """Whether what one of our nodes gives, or what is drawn with it, is sound."""
    if applied.kind in SAMPLED:
        return check("drawn(a)", sampled(applied))
    return check("sound(a)", applied)
