"""What compare.py --people draws: every method, baseline and ablation, by the templates.

A new method is a row of METHODS: the template that has its settings and names its files, and what is changed in the
template beside people, places, text, size and seed. An ablation is a change of that prompt, in `ablations` of its
method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from environment import ROOT, SetupError
from pack.core.checks.names import among
from pack.core.methods import method as method_of_pack
from shared.workflow import Json, load, to_prompt

from .graphs import Graph, Output
from .prompts import FACE_MODEL, LAYOUT, PLACED, Scene, first_decode, one_picture, people_into, prompt_into

WIDE = (1152, 896)
"""The size (width, height) of a group in the templates of SDXL."""
_FACES_OF_THE_TEMPLATE = ("LoadMediaPipeFaceLandmarker", "MediaPipeFaceLandmarker")
"""Nodes by which templates find faces, and for which there is the face pack here. Older hosts do not have them."""
Change = Callable[[Graph, Scene], None]
"""What is changed in a prompt that is complete but for its picture."""


def unchanged(graph: Graph, scene: Scene) -> None:
    """The template as it is."""


@dataclass(frozen=True)
class Ablation:
    """A method without one of its parts, or with more photos.

    change: of the prompt. photos: by how many photos each person is known.
    """

    change: Change = unchanged
    photos: int = 1


@dataclass(frozen=True)
class TemplateMethod:
    """How compare.py draws one method.

    title: of its rows. template: in workflows/, which has the settings and names the files. size: (width, height) of a
    picture where no size is asked for. folder: of its method.json below nodes/, which says by which recogniser it was
    trained; "" for a method that reads no embeddings. change: of the prompt. output: the node and the output that are
    the picture, None for the template's first VAE Decode. by_lora: whether people are known by the LoRA beside their
    photos. ablations: by title.
    """

    title: str
    template: str
    size: tuple[int, int] = WIDE
    folder: str = ""
    change: Change = unchanged
    output: Output | None = None
    by_lora: bool = False
    ablations: Mapping[str, Ablation] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def recogniser(self) -> str:
        """The id of the recogniser whose embeddings it reads, "" for none."""
        return method_of_pack(self.folder).recogniser if self.folder else ""

    @property
    def measured_as(self) -> str:
        """Its name in Measure Likeness: the recogniser that it was trained with judges last. "" where it has none."""
        return method_of_pack(self.folder).measured_as if self.folder else ""

    def graph(self, scene: Scene, object_info: Json, prefix: str, ablation: str = "") -> Graph:
        """The prompt of one picture.

        object_info: the host's description of its nodes. prefix: of the file of the picture. ablation: one of
        `ablations`, "" for the whole method. Raises WorkflowError and GraphError where the host lacks a node.
        """
        workflow = load(ROOT / "workflows" / f"{self.template}.json")
        graph = Graph(to_prompt(workflow, object_info, _FACES_OF_THE_TEMPLATE), object_info)
        picture = self.output or (first_decode(graph), 0)
        people_into(graph, scene, self.by_lora)
        prompt_into(graph, scene)
        self.change(graph, scene)
        if ablation:
            self.ablations[ablation].change(graph, scene)
        one_picture(graph, picture, scene, prefix)
        return graph


def setting(class_type: str, **inputs: Any) -> Change:
    """A change that sets inputs of all nodes of one type."""

    def change(graph: Graph, scene: Scene) -> None:
        for node_id in graph.ids(class_type):
            graph.inputs(node_id).update(inputs)

    return change


# --- Changes of whole methods


def stand_by_skeletons(graph: Graph, scene: Scene) -> None:
    """IdentityNet is shown the keypoints of all places, and the canvas has their size."""
    for node_id in graph.ids("EmptyLatentImage"):
        graph.inputs(node_id).update(width=scene.size[0], height=scene.size[1])


def chained(graph: Graph, scene: Scene) -> None:
    """An InstantID for each person behind the other's, as without regions: all of them read the whole picture."""
    stand_by_skeletons(graph, scene)
    node_id = graph.only("LikenessApplyInstantID")
    template_inputs = dict(graph.inputs(node_id))
    before: dict[str, Output] = {}
    for number in range(1, len(scene.people) + 1):
        # 0 leaves a place empty: Place Cast gives each node its own person in their own place.
        order = ["0"] * len(scene.people)
        order[number - 1] = "1"
        alone = graph.add(f"person {number} alone", "LikenessCast", person_1=(f"person {number}", 0))
        placed = graph.add(
            f"place of person {number}", "LikenessPlaceCast",
            cast=(alone, 0), layout=(LAYOUT, 0), order="custom", custom_order=",".join(order),
        )  # fmt: skip
        points = graph.add(
            f"keypoints of person {number}", "LikenessDrawSkeletons", cast=(placed, 0), draw="face keypoints"
        )
        inputs = {**template_inputs, **before, "cast": (f"person {number}", 0), "image": (points, 0)}
        applied = graph.add(f"InstantID of person {number}", "LikenessApplyInstantID", **inputs)
        before = {"model": (applied, 0), "positive": (applied, 1), "negative": (applied, 2)}
    for output, name in enumerate(("model", "positive", "negative")):
        graph.relink((node_id, output), before[name])
    # The nodes above were made from the template's inputs, and its own node is read no longer.
    del graph.prompt[node_id]


PASTED: Output = ("pasted faces", 0)
"""The picture of a second pass."""


CROP_LEAST, CROP_MOST, CROP_STEP = 256, 768, 64
"""Pixels: sides of the squares in which faces are drawn once more."""


def crop_side(size: tuple[int, int]) -> int:
    """The side of a face's square for a picture of this size. A side longer than the picture would only take time."""
    longer = max(size) // CROP_STEP * CROP_STEP
    return min(CROP_MOST, max(CROP_LEAST, longer))


def one_by_one(graph: Graph, scene: Scene) -> None:
    """A group by its skeletons alone; then every face is cut out, drawn by ID-Patch and pasted back."""
    apply_id = graph.only("LikenessApplyIDPatch")
    apply_inputs = dict(graph.inputs(apply_id))
    sampler = graph.only("KSampler")
    decode = graph.only("VAEDecode")
    vae = graph.inputs(decode)["vae"]
    skeletons = graph.add("skeletons", "LikenessDrawSkeletons", cast=(PLACED, 0), draw="skeletons")
    posed = graph.add(
        "group by skeletons", "ControlNetApplyAdvanced",
        positive=apply_inputs["positive"], negative=apply_inputs["negative"], control_net=apply_inputs["control_net"],
        image=(skeletons, 0), strength=0.8, start_percent=0.0, end_percent=1.0,
    )  # fmt: skip
    graph.link_to(sampler, "positive", (posed, 0))
    graph.link_to(sampler, "negative", (posed, 1))
    crops = graph.add(
        "crops", "LikenessCropFaces",
        face_model=(FACE_MODEL, 0), images=(decode, 0), cast=(PLACED, 0), who="everybody", vae=vae,
        size=crop_side(scene.size),
    )  # fmt: skip
    faces = graph.add("ID-Patch on crops", "LikenessApplyIDPatch", **{**apply_inputs, "cast": (crops, 2)})
    settings = dict(graph.inputs(sampler))
    settings.update(positive=(faces, 0), negative=(faces, 1), latent_image=(crops, 7), denoise=0.8)
    sampled = graph.add("second pass", "KSampler", **settings)
    decoded = graph.add("faces of the second pass", "VAEDecode", samples=(sampled, 0), vae=vae)
    graph.add(PASTED[0], "LikenessPasteFaces", images=(decode, 0), where=(crops, 3), sampled=(decoded, 0))


# --- Changes of ablations


def without_patches(graph: Graph, scene: Scene) -> None:
    """ID-Patch is shown the skeletons alone."""
    skeletons = graph.add("skeletons", "LikenessDrawSkeletons", cast=(PLACED, 0), draw="skeletons")
    graph.link_to(graph.only("LikenessApplyIDPatch"), "image", (skeletons, 0))


ALMOST_EQUAL = 0.001
"""By how much the white masks of people differ: nodes refuse regions that are equal, which mostly are a slip."""


def masks_off(class_type: str) -> Change:
    """A change by which everybody acts in the whole picture: one white mask for each person."""

    def change(graph: Graph, scene: Scene) -> None:
        width, height = scene.size
        pictures: Output | None = None
        for number in range(1, len(scene.people) + 1):
            value = 1.0 - ALMOST_EQUAL * (number - 1)
            mask = graph.add(f"white mask {number}", "SolidMask", value=value, width=width, height=height)
            picture: Output = (graph.add(f"white picture {number}", "MaskToImage", mask=(mask, 0)), 0)
            if pictures is None:
                pictures = picture
            else:
                pictures = (
                    graph.add(f"white pictures up to {number}", "ImageBatch", image1=pictures, image2=picture),
                    0,
                )
        if pictures is None:
            return
        masks = graph.add("masks off", "ImageToMask", image=pictures, channel="red")
        for node_id in graph.ids(class_type):
            graph.link_to(node_id, "mask", (masks, 0))

    return change


def photos(change: Change = unchanged) -> dict[str, Ablation]:
    """The ablations with two and four photos of each person."""
    return {"2 photos": Ablation(change, 2), "4 photos": Ablation(change, 4)}


def every_photo_is_a_reference(graph: Graph, scene: Scene) -> None:
    """All photos of a person are references: the template takes the first one of each."""
    for node_id in graph.ids("LikenessPeopleAsReferences"):
        graph.inputs(node_id)["photos_per_person"] = scene.photos


# --- The methods


METHODS = (
    TemplateMethod(
        "ID-Patch", "start_two_people", folder="id_patch",
        ablations={
            "without ID tokens": Ablation(setting("LikenessApplyIDPatch", id_start_percent=1.0)),
            "without patches": Ablation(without_patches),
            **photos(),
        },
    ),
    TemplateMethod(
        "InstantID by region", "start_portrait", folder="instant_id", change=stand_by_skeletons,
        ablations={
            "IdentityNet alone": Ablation(setting("LikenessApplyInstantID", adapter_weight=0.0)),
            "adapter alone": Ablation(setting("LikenessApplyInstantID", control_strength=0.0)),
            "masks off": Ablation(masks_off("LikenessApplyInstantID")),
            **photos(),
        },
    ),
    TemplateMethod(
        "PuLID", "pulid_two_people", folder="pulid",
        ablations={
            "projection style": Ablation(setting("LikenessApplyPuLID", projection="style")),
            "masks off": Ablation(masks_off("LikenessApplyPuLID")),
            **photos(),
        },
    ),
    TemplateMethod(
        "IP-Adapter", "ip_adapter_without_insightface", (768, 512),
        ablations={"masks off": Ablation(masks_off("LikenessApplyIPAdapter")), **photos()},
    ),
    TemplateMethod("PhotoMaker", "photo_maker_two_people", folder="photo_maker", ablations=photos()),
    TemplateMethod(
        "References, FLUX.2 klein", "references_klein_two_people",
        ablations={
            "masks off": Ablation(setting("LikenessPeopleAsReferences", region_strength=0.0)),
            **photos(every_photo_is_a_reference),
        },
    ),
    TemplateMethod(
        "References, Qwen-Image-Edit", "references_qwen_three_people", (1216, 832),
        ablations={
            "masks off": Ablation(setting("LikenessPeopleAsReferences", region_strength=0.0)),
            **photos(every_photo_is_a_reference),
        },
    ),
    TemplateMethod("LoRA per Person", "lora_two_people", by_lora=True),
    TemplateMethod("InstantIDs chained", "start_portrait", folder="instant_id", change=chained),
    TemplateMethod("faces one by one", "start_two_people", folder="id_patch", change=one_by_one, output=PASTED),
)  # fmt: skip
"""In the order of the rows; the last two are baselines."""
ALL = "all"
"""What stands for every method on a command line."""


def methods_named(names: Sequence[str]) -> list[TemplateMethod]:
    """The methods of these names, in any capitals, all of them for ALL. Raises SetupError for an unknown one."""
    if ALL in names:
        return list(METHODS)
    by_title = {method.title: method for method in METHODS}
    titles = [among(name, by_title) for name in names]
    if None in titles:
        unknown = names[titles.index(None)]
        # A title may hold a comma.
        known = " ".join(f'"{title}"' for title in (*by_title, ALL))
        raise SetupError(f'No such method: "{unknown}". There are {known}.')
    return [by_title[title] for title in titles if title]
