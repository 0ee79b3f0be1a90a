"""From a template to the prompt of one picture: these people in these places, this text, size, seed and steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.widgets import SEEDS

from .graphs import Graph, GraphError, Output
from .photos import PersonFiles

PLACED, LAYOUT, FACE_MODEL, PICTURE = "placed cast", "places", "faces of people", "picture"
"""Ids of nodes that every prompt has: Place Cast, Layout for a Group, Load Face Embedder, and Save Image."""
_PEOPLE_AT_ONCE = 8
"""Inputs of Cast."""
_CASTS = ("LikenessPlaceCast", "LikenessCast", "LikenessCastFromPhotos")
"""Nodes whose first output is a cast."""
_LAYOUTS = ("LikenessLayoutForAGroup", "LikenessLayoutFromPicture")
"""Nodes whose first output is a layout. The second one of Layout for a Group is a picture of the canvas's size."""
SAMPLERS = ("KSampler", "SamplerCustomAdvanced")


@dataclass(frozen=True)
class Scene:
    """What a picture is of.

    people: in the order of the places, from left to right. photos: by how many photos each is known. seed: of the
    sampler. prompt: the text. size: (width, height) in pixels. steps: None for those of the template. pack: the face
    pack of Load Face Embedder. folder: where the photos and LoRAs are, below which the prompt names them.
    """

    people: Sequence[PersonFiles]
    photos: int
    seed: int
    prompt: str
    size: tuple[int, int]
    steps: int | None
    pack: str
    folder: Path

    def named(self, path: Path) -> str:
        """A file of the folder as a prompt names it."""
        return path.relative_to(self.folder).as_posix()


def people_into(graph: Graph, scene: Scene, by_lora: bool) -> None:
    """Put the people and their places where the template has its own.

    by_lora: every person also has the LoRA beside their photos. Raises GraphError where the host lacks a node.
    """
    template_nodes = set(graph.prompt)
    graph.add(FACE_MODEL, "LikenessLoadFaceEmbedder", pack=scene.pack, recognisers="all found")
    persons: list[Output] = []
    for number, person in enumerate(scene.people, 1):
        person_id = _add_person(graph, scene, person, number)
        if by_lora:
            if person.lora is None:
                raise GraphError(
                    f"Person {number} of the picture has no LoRA: put one beside the photos, as a .safetensors."
                )
            lora_id = graph.add(
                f"LoRA of person {number}", "LikenessAddLoRAToPerson",
                person=(person_id, 0), file=scene.named(person.lora),
            )  # fmt: skip
            persons.append((lora_id, 0))
        else:
            persons.append((person_id, 0))
    cast = _add_cast(graph, persons)
    _add_places(graph, scene, cast)
    for node_id in template_nodes:
        class_type = graph.prompt[node_id]["class_type"]
        if class_type in _CASTS:
            graph.relink((node_id, 0), (PLACED, 0))
        if class_type in _LAYOUTS:
            graph.relink((node_id, 0), (LAYOUT, 0))
            graph.relink((node_id, 1), (LAYOUT, 1))
    for node_id in graph.ids("LikenessCropFaces", "LikenessMeasureLikeness"):
        graph.link_to(node_id, "face_model", (FACE_MODEL, 0))


def _add_places(graph: Graph, scene: Scene, cast: Output) -> None:
    """Add a made-up group photo, with everybody beside each other, and Place Cast. cast: the output with everybody."""
    width, height = scene.size
    graph.add(
        LAYOUT, "LikenessLayoutForAGroup", count=len(scene.people), framing="half", rows=0, width=width, height=height
    )
    graph.add(PLACED, "LikenessPlaceCast", cast=cast, layout=(LAYOUT, 0), order="left to right", custom_order="")


def _add_person(graph: Graph, scene: Scene, person: PersonFiles, number: int) -> str:
    """Add the node Person with the first photos of a person, and what loads these. Returns its id."""
    photos: list[Output] = []
    for photo_number, photo in enumerate(person.photos[: scene.photos], 1):
        photo_id = f"photo {photo_number} of person {number}"
        photos.append((graph.add(photo_id, "LoadImage", image=scene.named(photo)), 0))
    images = photos[0]
    if len(photos) > 1:
        inputs = {f"inputs.input{place}": photo for place, photo in enumerate(photos)}
        images = (graph.add(f"photos of person {number}", "CreateList", **inputs), 0)
    return graph.add(
        f"person {number}", "LikenessPerson",
        face_model=(FACE_MODEL, 0), image=images, name=person.name, which_face="largest",
    )  # fmt: skip


def _add_cast(graph: Graph, persons: Sequence[Output]) -> Output:
    """Add as many nodes Cast as so many people need, one behind the other. Returns the output of the last."""
    cast: Output | None = None
    for begin in range(0, len(persons), _PEOPLE_AT_ONCE):
        inputs = {f"person_{place}": link for place, link in enumerate(persons[begin : begin + _PEOPLE_AT_ONCE], 1)}
        if cast is not None:
            inputs["cast"] = cast
        cast = (graph.add(f"cast up to person {begin + len(inputs)}", "LikenessCast", **inputs), 0)
    if cast is None:
        raise GraphError("A picture needs a person.")
    return cast


def first_decode(graph: Graph) -> str:
    """The node that decodes the picture itself: the VAE Decode before which no other one is. Later ones are of a second
    pass. Raises GraphError where there is none or more than one."""
    decodes = graph.ids("VAEDecode")
    firsts: list[str] = []
    for node_id in decodes:
        earlier = graph.before(node_id) & set(decodes)
        if earlier == {node_id}:
            firsts.append(node_id)
    if len(firsts) != 1:
        raise GraphError(f"The template has {len(firsts)} pictures, and a comparison needs one.")
    return firsts[0]


def one_picture(graph: Graph, picture: Output, scene: Scene, prefix: str) -> None:
    """Keep what one picture needs, draw one of it with the seed and the steps, and save it.

    picture: the output that is saved. prefix: of the file, below ComfyUI's output folder.
    """
    graph.add(PICTURE, "SaveImage", images=picture, filename_prefix=prefix)
    graph.keep_before(PICTURE)
    for node in graph.prompt.values():
        inputs = node["inputs"]
        for name in SEEDS:
            if name in inputs and node["class_type"] in (*SAMPLERS, "RandomNoise"):
                inputs[name] = scene.seed
        if "batch_size" in inputs:
            inputs["batch_size"] = 1
        if scene.steps is not None and "steps" in inputs:
            inputs["steps"] = scene.steps


def steps_of(graph: Graph) -> int:
    """The steps of all samplings of a prompt together."""
    steps = 0
    for node_id in graph.ids("KSampler", "Flux2Scheduler"):
        steps += graph.inputs(node_id)["steps"]
    return steps


def prompt_into(graph: Graph, scene: Scene) -> None:
    """Put the text where the template has its own, and leave out the words of single people."""
    for node_id in graph.ids("LikenessPromptPerPerson"):
        graph.bypass(node_id, {0: "model", 1: "positive", 2: "negative"})
    for node_id in graph.ids("LikenessPeopleAsReferences"):
        graph.inputs(node_id)["prompt"] = scene.prompt
    for node_id in graph.ids("LikenessApplyPhotoMaker"):
        inputs = graph.inputs(node_id)
        # PhotoMaker puts everybody at a trigger word of their own.
        persons = " and ".join([f"a person {inputs['trigger']}"] * len(scene.people))
        inputs["text"] = f"{scene.prompt}, {persons}"
    for node_id in positive_texts(graph):
        graph.inputs(node_id)["text"] = scene.prompt


def positive_texts(graph: Graph) -> list[str]:
    """The nodes of text from which an input `positive` reads, through whatever stands between."""
    readers: list[str] = []
    for node_id, node in graph.prompt.items():
        if "positive" in node["inputs"]:
            readers.append(node_id)
    texts: list[str] = []
    for reader in readers:
        link = graph.link(reader, "positive")
        if link and graph.prompt[link[0]]["class_type"] == "CLIPTextEncode" and link[0] not in texts:
            texts.append(link[0])
    return texts
