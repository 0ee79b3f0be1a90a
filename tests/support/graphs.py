"""Small graphs: our nodes with inputs that are right, and whatever is put in their place.

A graph is made of nodes, ours and the host's, and of values, which stand where a node of the host or of another pack
would bring something. Nothing of a graph is made before `run` of graph_run.py runs it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from comfy_api.latest._io import WidgetInput
from pack.core.methods import methods
from pack.nodes.extension import NODES
from sample_values import (
    a_person,
    cast,
    clip,
    clip_vision,
    control_net,
    denoiser,
    drawn,
    faces,
    flux,
    flux2_vae,
    flux_text,
    image,
    klein,
    klein_clip,
    klein_said,
    landmarks,
    latent,
    layout,
    loaded,
    mask,
    networks,
    on_photo,
    photo,
    photo_maker,
    pose,
    sd15,
    sdxl,
    sdxl_clip,
    small,
    sound,
    text,
    unplaced,
    vae,
    vit_h,
    with_loras,
)

SAMPLED = (
    "LikenessApplyIDPatch", "LikenessApplyInstantID", "LikenessApplyIPAdapter", "LikenessApplyParts2Whole",
    "LikenessSharePartsAttention",
)  # fmt: skip


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


@dataclass(frozen=True, eq=False, kw_only=True)
class Value(Node):
    """What a function makes when the graph runs. kind: its name. inputs: its named arguments.

    arguments: those without a name. Nodes among both run first and stand for their first outputs.
    """

    make: Callable[..., Any]
    arguments: tuple[Any, ...] = ()

    def __repr__(self) -> str:
        named = [f"{name}={argument!r}" for name, argument in self.inputs.items()]
        return f"{self.kind}({', '.join([*map(repr, self.arguments), *named])})"


def node(kind: str, **inputs: Any) -> Node:
    return Node(kind, {name: entry for name, entry in inputs.items() if entry is not UNCONNECTED})


UNCONNECTED = object()
"""An input that nothing is linked to, where the defaults have a link."""


def value(make: Callable[..., Any], *arguments: Any, **named: Any) -> Value:
    """What `make` makes of these arguments when the graph runs: `value(image, 64, 64)`, `value(first_row, node)`.

    What is quickly made needs none of it and may stand in a graph as it is: `image=image(64, 64)`.
    """
    kind = getattr(make, "__name__", type(make).__name__)
    return Value(kind, named, make=make, arguments=arguments)


@dataclass(frozen=True)
class Family:
    """A MODEL of a family, and conditioning of a text that it reads."""

    model: Value
    positive: Value
    negative: Value


FAMILIES = {
    "SDXL": Family(value(sdxl), value(text, 1, 2048), value(text, 2, 2048)),
    "SD1.5": Family(value(sd15), value(text, 1, 48), value(text, 2, 48)),
    "FLUX.1": Family(value(flux), value(flux_text, 1), value(flux_text, 2)),
    "FLUX.2": Family(value(klein), value(klein_said, "1"), value(klein_said, "2")),
}
"""Of a method's families the first of these is tested."""
PULID_ON_FLUX = {**vars(FAMILIES["FLUX.1"]), "pulid": value(loaded, "pulid_flux")}
"""What is linked to Apply PuLID with FLUX.1."""
MODELS = {
    "LikenessApplyIDPatch": value(sdxl),
    "LikenessPeopleAsReferences": value(klein),
}
"""For the sampler behind nodes that have none."""
SOCKETS = {
    "CONTROL_NET": value(control_net),
    "CLIP_VISION": value(clip_vision),
    "CLIP": value(sdxl_clip),
    "VAE": value(vae),
    "IMAGE": value(image),
    "MASK": value(mask),
    "LIKENESS_CAST": value(cast),
    "LIKENESS_CAST,LIKENESS_PERSON": value(cast),
    "LIKENESS_CAST,LIKENESS_LAYOUT": value(layout),
    "LIKENESS_PERSON": value(a_person),
    "LIKENESS_LAYOUT": value(layout),
    "LIKENESS_FACES": value(faces),
    "POSE_KEYPOINT": value(pose),
    "LIKENESS_ADAPTER": value(loaded, "id_patch"),
    "LIKENESS_PARTS2WHOLE": value(networks),
}
"""By the type of an input: what is linked to it."""
LARGEST = {"width": 128, "height": 96, "feather": 8}
"""By input, where a default is larger: what is in its place, so that everything is quick."""
ONE_OF = {"LikenessLayoutFromPicture": ("faces", "poses", "masks")}
"""By node: inputs of which one is connected."""
FACES = node("LikenessLoadFaceEmbedder", pack="buffalo_sc", recognisers="w600k_mbf", provider="auto")


def derived(schema: Any) -> dict[str, Any]:
    """Inputs of a node by its schema and, where it is a method's, its record: defaults, all that it needs, and a face
    model. A method's own socket is given what its loader makes of a file, see sample_values.file_of."""
    method = next((record for record in methods() if schema.node_id == record.applies), None)
    families = method.families if method else ("SD1.5",)
    family = next(family for name, family in FAMILIES.items() if name in families)
    links = {**SOCKETS, "MODEL": family.model}
    if method:
        links["LIKENESS_ADAPTER"] = value(loaded, method.folder)
    inputs: dict[str, Any] = {}
    for entry in schema.inputs:
        kind = entry.get_io_type()
        if kind == "LIKENESS_FACE_MODEL":
            inputs[entry.id] = FACES
        elif isinstance(entry, WidgetInput) and entry.default != []:
            inputs[entry.id] = typed_default(entry)
        elif entry.id in ("positive", "negative") and not entry.optional:
            inputs[entry.id] = getattr(family, entry.id)
        elif not entry.optional:
            inputs[entry.id] = links.get(kind)
    return inputs


def typed_default(entry: Any) -> Any:
    """What stands in a widget of a new node, small where it is the size of a picture."""
    options = getattr(entry, "options", None)
    if entry.id in LARGEST:
        return min(entry.default, LARGEST[entry.id])
    if entry.default is None and options:
        return options[0]
    return entry.default


_SCHEMAS = [node_class.define_schema() for node_class in NODES]
SCHEMAS = {schema.node_id: schema for schema in _SCHEMAS}
"""Of every node of ours, by its id."""
DEFAULTS = {kind: derived(schema) for kind, schema in SCHEMAS.items()}
"""Every node of ours: inputs with which it runs."""
_TYPED = ("FLOAT", "INT", "COMBO", "STRING")


def sockets(kind: str) -> list[Any]:
    """The inputs of a node that are linked or ticked, not typed."""
    return [entry for entry in SCHEMAS[kind].inputs if entry.get_io_type() not in _TYPED]


def ours(kind: str, **changed: Any) -> Node:
    """One of our nodes with its defaults and other inputs: what is linked or typed there, or `UNCONNECTED`."""
    inputs = dict(DEFAULTS[kind])
    group = ONE_OF.get(kind, ())
    if not changed.keys().isdisjoint(group):
        inputs |= dict.fromkeys(group, UNCONNECTED)
    return node(kind, **{**inputs, **changed})


def _by_default(kind: str, **inputs: Any) -> None:
    """Inputs that the schema does not tell, from now on the node's defaults."""
    DEFAULTS[kind] = ours(kind, **inputs).inputs


def _defaults_of_people() -> None:
    _by_default("LikenessLoadFaceEmbedder", pack="buffalo_sc", recognisers="w600k_mbf")
    _by_default("LikenessLoadPerson", file="anna.safetensors")
    _by_default("LikenessLoadAdapter", file="standin-ip-adapter-faceid_sdxl.bin")
    _by_default("LikenessLoadParts2Whole", folder="standin-parts2whole")
    _by_default("LikenessDetectFaces", image=value(photo))
    _by_default("LikenessPerson", image=value(photo), name="Yao", which_face="largest")
    _by_default("LikenessBlendTwoPeople", b=value(a_person, "Boris"))
    _by_default("LikenessSavePerson", filename="anna")
    _by_default("LikenessKeepPeople", names="Anna")
    _by_default("LikenessCast", person_1=value(a_person))
    _by_default("LikenessCastFromPhotos", names="Yao", which_face="largest", photo_1=value(photo))
    _by_default("LikenessSortPhotosIntoPeople", image=value(photo), names="Yao")
    _by_default("LikenessAddLoRAToPerson", file="any.safetensors")


def _defaults_of_places() -> None:
    box = {"x": 8, "y": 4, "width": 40, "height": 80}
    _by_default("LikenessLayoutFromPicture", faces=value(faces))
    _by_default(
        "LikenessFindPlaces",
        model=FAMILIES["SDXL"].model,
        positive=FAMILIES["SDXL"].positive,
        negative=FAMILIES["SDXL"].negative,
        prompts="1: a tall man\n2: a woman with red hair",
        layout=value(layout),
        latent_image=value(latent),
        noise=node("RandomNoise", noise_seed=1),
        sampler=node("KSamplerSelect", sampler_name="euler"),
        sigmas=value(torch.linspace, 14.0, 0.0, 3),
    )
    _by_default("LikenessLayoutFromBoxes", bboxes=[[box]], text="8, 4, 40, 80")
    _by_default(
        "LikenessLayoutForAGroup", framing="bust", width=512, height=512, action="hands up", people="2: girl 6 hug"
    )
    _by_default("LikenessExpressionFromPhoto", layout=value(layout), face_landmarks=value(landmarks))
    _by_default("LikenessScenes", text="at the beach\nin the kitchen", always="photo")
    _by_default("LikenessDrawSkeletons", cast=value(layout))
    _by_default("LikenessPlaceCast", cast=value(unplaced))
    _by_default("LikenessResizePhoto", longer_side=256)


def _defaults_of_methods() -> None:
    keypoints = ours("LikenessDrawSkeletons", draw="face keypoints", cast=value(cast))
    _by_default("LikenessPromptPerPerson", clip=value(clip), prompts="1: up\n2: down")
    _by_default(
        "LikenessLoRAPerPerson",
        model=value(small),
        clip=value(sdxl_clip),
        positive=value(text, 1, 2048),
        negative=value(text, 2, 2048),
        cast=value(with_loras),
    )
    _by_default("LikenessApplyIDPatch", image=ours("LikenessIDPatchConditionImage"))
    _by_default("LikenessApplyInstantID", control_net=value(control_net), image=keypoints)
    _by_default("LikenessApplyIPAdapter", clip_vision=value(vit_h))
    _by_default("LikenessApplyPhotoMaker", photo_maker=value(photo_maker), text="a woman img, a man img")
    _by_default(
        "LikenessPeopleAsReferences",
        clip=value(klein_clip),
        vae=value(flux2_vae),
        prompt="in a park",
        pictures=value(image),
        size=128,
    )
    _by_default("LikenessApplyPuLID", eva_clip=value(loaded, "pulid_eva"), face_parser=value(loaded, "pulid_parser"))


def _defaults_of_parts() -> None:
    _by_default("LikenessPart", label="face")
    part = ours("LikenessPart")
    _by_default("LikenessEncodeParts", parts=part, clip=value(clip))
    features = ours("LikenessEncodeParts")
    _by_default("LikenessApplyParts2Whole", model=value(denoiser), features=features, pose=value(image))
    _by_default(
        "LikenessSharePartsAttention",
        model=value(sd15),
        positive=value(text, 1, 48),
        negative=value(text, 2, 48),
        parts=part,
        clip=value(clip),
    )


def _defaults_of_second_passes() -> None:
    _by_default("LikenessMeasureLikeness", images=value(photo), cast=value(unplaced))
    _by_default(
        "LikenessPickBestLikeness",
        report=ours("LikenessMeasureLikeness"),
        images=value(photo),
        score="resemblance",
        latents=value(latent),
    )
    best = ours("LikenessPickBestLikeness")
    both = {"images": best, "report": best[5]}
    _by_default("LikenessSheetOfScenes", **both, **{f"first_{name}": linked for name, linked in both.items()})
    _by_default(
        "LikenessCropFaces", images=value(photo), cast=value(on_photo), who="everybody", size=256, vae=value(vae)
    )
    crops = ours("LikenessCropFaces")
    _by_default("LikenessPasteFaces", images=value(photo), where=crops[3], sampled=crops)
    _by_default("LikenessCheckModelFiles", workflow="start_two_people")


# A node in front of others comes before them.
_defaults_of_people()
_defaults_of_places()
_defaults_of_methods()
_defaults_of_parts()
_defaults_of_second_passes()


def sampler(model: Any, positive: Any, negative: Any, latent_image: Any = None, **changed: Any) -> Node:
    settings = {"seed": 1, "steps": 2, "cfg": 4.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    links = {"model": model, "positive": positive, "negative": negative, "latent_image": latent_image or value(latent)}
    return node("KSampler", **links, **{**settings, **changed})


def sampled(applied: Node, latent_image: Any = None, **changed: Any) -> Node:
    """What the sampler makes of a node before it."""
    if applied.kind in MODELS and "model" in applied.inputs:
        outputs = [output.id for output in SCHEMAS[applied.kind].outputs]
        return sampler(applied[outputs.index("model_out")], applied, applied[1], latent_image, **changed)
    if applied.kind in MODELS:
        return sampler(MODELS[applied.kind], applied, applied[1], latent_image, **changed)
    return sampler(applied, applied[1], applied[2], latent_image, **changed)


def ended(applied: Node) -> Value:
    """Whether what one of our nodes gives, or what is drawn with it, is sound: None, or what is wrong with it."""
    if applied.kind in SAMPLED:
        return value(drawn, sampled(applied))
    return value(sound, applied)
