"""Every workflow file, sent over HTTP as it is, with its own pictures, but for the names of models, size and steps."""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import real_faces
import templates
import torch
from environment import Host
from marks import each
from pack.core.faces import analysis
from pack.core.faces.finding import find_faces
from pack.core.methods import methods
from pack.core.models import saved_workflow
from pack.core.pictures.tensors import eight_bits
from pack.core.places import bodies
from PIL import Image, ImageOps
from prompts import node
from shared import photos, workflow
from shared.host_server import HostError, HostServer, Run
from shared.workflow import Prompt
from standin_server import kept_waiting, said_against, write_lora, write_transformer_lora
from standins_made import Standins
from toy import built, install

ROOT = Path(__file__).resolve().parents[2]
# What another seed has to compute again, and nothing else.
SAMPLED = {"KSampler", "SamplerCustomAdvanced", "RandomNoise", "VAEDecode", "SaveImage"}
JUDGED = {"LikenessMeasureLikeness", "LikenessPickBestLikeness", "PreviewAny"}
PASTED = {"LikenessPasteFaces", "ImageCompositeMasked", "ImageStitch", "ImageGrid", "StringConcatenate"}
"""What is done with the new pictures and what was measured of them, and only that."""
FOUND = {"LikenessFindPlaces", "LikenessPromptPerPerson", "LikenessLoRAPerPerson", "CFGGuider", "PreviewImage"}
"""Where places are found while sampling: they are another seed's, with all that acts in them."""
SHOWN = {"LikenessSavePerson", "LikenessPeopleAsReferences"}
"""They show a picture of what they decide, as all of ours do that have one among their outputs."""
TWO_STEPS = {
    "compare_methods", "parts2whole_with_pose", "photo_maker_two_people",
    "pulid_two_people", "references_qwen_three_people", "start_outfit",
}  # fmt: skip
"""After one step of these the picture is nearly black."""
WITHOUT_PICTURE = {"check_files"}
"""They generate nothing."""
BEFORE = -10
"""What the links inside of a box at its own inputs begin at."""
BEHIND = -20
"""What the links inside of a box at its own outputs end at."""
PHOTO_OF = {
    "better_face_in_photo": "likeness_five.png",
    "parts_try_on": "likeness_full_length.png",
    "references_klein_head_in_photo": "likeness_carla.png",
    "start_person_in_photo": "likeness_carla.png",
}
"""By template: the photo whose own size its result has."""
PAINTED_BOXES = {"left.png": (58, 106, 238, 512), "right.png": (274, 106, 454, 512), "shirt.png": (114, 130, 286, 325)}
"""Pictures of which a box is painted over, for inputs of masks: left, top, right, bottom."""
DRAWN = {"DA3Render", "SDPoseDrawKeypoints"}
"""By networks of a gigabyte, which no small file stands in for: the picture they look at takes the drawing's place."""
TABLE = json.loads(Path(__file__).with_name("workflows.json").read_text("utf-8"))
"""sizes: by words of a name, width and height, the least that two people take, six and four; parts take any; a photo's
shape, or a pose's. standins: for what is loaded, the name of one of shared.standins. transformers: by a part of a name,
other ones. repainted: by template, the title of what loads the photo, kind or title of what makes the mask, what is
set, and titles of what Ctrl+B switches. offered: by template, which kind of node is dragged to which, there to which
input, what is set, and titles of what goes off. instead: by template and option, the title of the box that draws in the
place of the template's own model, what is set, kinds that then do not run, the kind that acts on people in it, and what
switches that one off. loaders: by template and model, what is set, and titles of what Ctrl+B switches. said: by such a
template, what a measuring names. sheets: by template that saves one, its width and height."""
LORA = "lcm-lora-sdxl.safetensors"
"""That of every LoRA's stand-in for SDXL."""
FLUX_2_LORA = "klein.safetensors"
"""That of every LoRA's stand-in for FLUX.2."""
Z_IMAGE_LORA = "z-image.safetensors"
"""That of every LoRA's stand-in for Z-Image."""
CHROMA_LORA = "chroma.safetensors"
"""That of every LoRA's stand-in for Chroma."""
ANIMA_LORA = "anima.safetensors"
"""That of every LoRA's stand-in for Anima."""
KREA_2_LORA = "krea-2.safetensors"
"""The stand-in of Identity Edit."""


@pytest.fixture(scope="module")
def pictures(host_server: HostServer, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names of uploaded photos: of one person each, and last one of six people."""
    folder = tmp_path_factory.mktemp("pictures")
    for name, box in PAINTED_BOXES.items():
        with Image.open(ROOT / "pictures" / "likeness_full_length.png") as photo:
            painted = photo.resize((512, 512)).convert("RGBA")
        painted.paste((0, 0, 0, 0), box)
        painted.save(folder / name)
        host_server.upload_image(folder / name)
    return [host_server.upload_image(path) for path in (*real_faces.six(folder), photos.group())]


@pytest.fixture(scope="module")
def known(host_server: HostServer, standin_models: Standins) -> dict[str, Any]:
    loras = host_server.base / "models" / "loras"
    write_lora(loras / LORA, standin_models.checkpoint)
    write_transformer_lora(loras / FLUX_2_LORA, standin_models.flux2)
    write_transformer_lora(loras / Z_IMAGE_LORA, standin_models.of_transformer("z-image"))
    write_transformer_lora(loras / CHROMA_LORA, standin_models.of_transformer("chroma"))
    write_transformer_lora(loras / ANIMA_LORA, standin_models.of_transformer("anima"))
    write_transformer_lora(loras / KREA_2_LORA, standin_models.of_transformer("krea-2"))
    return host_server.object_info()


@pytest.fixture
def small(known: dict[str, Any], standin_models: Standins, pictures: list[str]) -> Callable[..., Prompt]:
    """small(name of a template, titles of what Ctrl+B switches) -> its prompt with stand-ins, small, of few steps"""
    folder = ROOT / "workflows"
    return lambda name, *switched: prepared(folder / f"{name}.json", known, standin_models, pictures, *switched)


def size_of(file: Path) -> tuple[int, int]:
    return next(tuple(size) for words, size in TABLE["sizes"].items() if re.search(words, file.stem))


def prepared(
    file: Path, known: dict[str, Any], models: Standins, pictures: list[str], *switched: str, all_on: bool = False
) -> Prompt:
    """models: those whose names take the place of the published ones. all_on: so are nodes that are off. switched:
    titles of what is on instead of off, or off instead of on."""
    graph = workflow.load(file)
    templates.skip_unless_known(file, known)
    for one in workflow.all_nodes(graph):
        mode = 0 if all_on else one["mode"]
        one["mode"] = saved_workflow.BYPASSED - mode if one.get("title") in switched else mode
    prompt = workflow.to_prompt(graph, known)
    parts = workflow.nodes_of(prompt, "LikenessLoadParts2Whole")
    names = standins_for(file, prompt, models)
    width, height = size_of(file)
    # klein's second pass has half as many.
    steps = 2 if file.stem in TWO_STEPS or parts or "klein" in file.stem else 1
    best_of_several = workflow.nodes_of(prompt, "LikenessPickBestLikeness")
    measured = file.stem.startswith("references") and best_of_several
    size = {"*.width": width, "*.height": height, "*.batch_size": 2 if measured else 1}
    boxes = {"text": "20, 40, 150, 304\n200, 30, 160, 314", "boxes": {"__value__": []}}
    size |= {f"LikenessLayoutFromBoxes.{name}": value for name, value in boxes.items()}
    size |= {"LikenessCropFaces.size": 256, "LikenessPeopleAsReferences.size": 128}
    size |= {"LikenessResizePhoto.longer_side": max(width, height)}
    if file.stem in TABLE["sheets"]:
        size |= own_sizes(prompt, "EmptyImage", "ImageScale")
    prompt = templates.substitute(prompt, {**names, **size, "*.steps": steps})
    for number in workflow.nodes_of(prompt, "KSampler"):
        if prompt[number]["inputs"]["scheduler"] == "ddim_uniform":  # of one step it keeps the least noisy
            prompt[number]["inputs"]["scheduler"] = "normal"
    for number in workflow.nodes_of(prompt, "LikenessScenes"):
        lines = prompt[number]["inputs"]["text"].splitlines()
        prompt[number]["inputs"]["text"] = "\n".join(lines[:2])
    sides = {"Width": width, "Height": height}
    for number in workflow.nodes_of(prompt, "PrimitiveInt"):
        value = prompt[number]["inputs"]
        value["value"] = sides.get(prompt[number]["_meta"]["title"], value["value"])
    return without_networks(prompt, width, pictures[-1])


def own_sizes(prompt: Prompt, *kinds: str) -> dict[str, int]:
    """What leaves all nodes of these kinds their own sizes: labels and photos of a sheet are as they are published."""
    values: dict[str, int] = {}
    for kind in kinds:
        for number in workflow.nodes_of(prompt, kind):
            for side in ("width", "height"):
                value = prompt[number]["inputs"][side]
                values[f"{kind}.{side}={value}"] = value
    return values


def standins_for(file: Path, prompt: Prompt, models: Standins) -> dict[str, str]:
    """What its loaders have chosen -> the stand-ins' names."""
    parts = workflow.nodes_of(prompt, "LikenessLoadParts2Whole")
    chosen = {prompt[number]["inputs"]["file"] for number in workflow.nodes_of(prompt, "LikenessLoadAdapter")}
    adapters = sorted(name for name in chosen if name.startswith("ip-adapter") and name != "ip-adapter.bin")
    sd15 = parts or any("sd15" in name for name in adapters)
    names = {loader: getattr(models, one).name for loader, one in TABLE["standins"].items()}
    names["LoraLoaderModelOnly.lora_name"] = FLUX_2_LORA if "klein" in file.stem else KREA_2_LORA
    of_families = {"klein": FLUX_2_LORA, "anima": ANIMA_LORA}
    names["LikenessAddLoRAToPerson.file"] = next((of_families[kind] for kind in of_families if kind in file.stem), LORA)
    if sd15:
        names["CheckpointLoaderSimple.ckpt_name"] = models.sd15.name
    if parts:
        names["CLIPVisionLoader.clip_name"] = models.clip_vision.name
    for kind, inputs in TABLE["transformers"].items():
        if kind in file.stem:
            names |= {loader: models.of_transformer(published).name for loader, published in inputs.items()}
    for name in adapters:
        # SDXL's file for faces has the keys and shapes of the one for pictures, of which there is a stand-in.
        published = Path(name).stem.replace("plus-face_sdxl", "plus_sdxl")
        names[f"LikenessLoadAdapter.file={name}"] = models.ip_adapter(published).name
    if workflow.nodes_of(prompt, "MediaPipeFaceLandmarker"):
        del names["LikenessLoadFaceEmbedder.pack"]  # it goes without one
    return names


def instead(prompt: Prompt, kinds: set[str], source: list[Any], into: str = "") -> None:
    """Wherever a node of these kinds, or numbers, is linked to, `source` is; into: only to nodes of this kind."""
    for one in prompt.values():
        for name, given in one["inputs"].items():
            of = {given[0], prompt.get(given[0], {}).get("class_type")} if isinstance(given, list) else set()
            if of & kinds and into in ("", one["class_type"]):
                one["inputs"][name] = source


def without_networks(prompt: Prompt, width: int, group: str) -> Prompt:
    """What DRAWN draws is the picture itself, and the people found in it are two, side by side. SAM3 Detect, a network
    of two gigabytes, is two painted masks in the form in which it gives them: in a batch, or in turn. Where faces are
    looked for in a generated picture, there is the photo of a group: random weights draw none."""
    if resized := workflow.nodes_of(prompt, "LikenessResizePhoto"):
        instead(prompt, DRAWN, [resized[0], 0])
    found = [bodies.openpose(bodies.body((width * share, 60), 50)) for share in (0.3, 0.7)]
    people = [{"pose_keypoints_2d": [value for joint in body for value in joint]} for body in found]
    for number in workflow.nodes_of(prompt, "LikenessLayoutFromPicture"):
        if "poses" in prompt[number]["inputs"]:
            frame = {"people": people, "canvas_width": width, "canvas_height": 256}
            prompt[number]["inputs"]["poses"] = {"__value__": [frame]}
    for number, side in zip(workflow.nodes_of(prompt, "SAM3_Detect"), itertools.cycle(("left", "right")), strict=False):
        instead(prompt, {number}, ["found", 0] if prompt[number]["inputs"]["individual_masks"] else [side, 1])
    instead(prompt, {"VAEDecode"}, ["photo", 0], "LikenessDetectFaces")
    added = {
        "found": node("BatchMasksNode", **{"masks.mask0": ["left", 1], "masks.mask1": ["right", 1]}),
        "photo": node("LoadImage", image=group),
        **{side: node("LoadImage", image=f"{side}.png") for side in ("left", "right")},
    }
    found = {"left", "right"} if "found" in read(prompt) else set[str]()
    return prompt | {name: one for name, one in added.items() if name in {"photo", *read(prompt), *found}}


def read(prompt: Prompt) -> set[str]:
    """Those that others are linked to; what a note offers to drag somewhere is not yet."""
    return {given[0] for one in prompt.values() for given in one["inputs"].values() if isinstance(given, list)}


def reseeded(prompt: Prompt, seed: int) -> Prompt:
    """Another seed for the final pictures; a first pass that gives the places keeps its own."""
    final = {number: one for number, one in prompt.items() if one["_meta"]["title"] != "Scene"}
    return {**prompt, **templates.substitute(final, {"KSampler.seed": seed, "RandomNoise.noise_seed": seed})}


def result(server: HostServer, prompt: Prompt, run: Run) -> np.ndarray:
    saved = [image for saver in workflow.nodes_of(prompt, "SaveImage") for image in run.outputs[saver]["images"]]
    return np.stack([np.asarray(Image.open(server.file(image))) for image in saved])


def shown_by(server: HostServer, run: Run, number: str) -> np.ndarray:
    """The first that a node shows or saves."""
    return np.asarray(Image.open(server.file(run.outputs[number]["images"][0])))


def count(prompt: Prompt) -> int:
    """How many pictures are saved."""
    if scenes := workflow.nodes_of(prompt, "LikenessScenes"):
        return len(prompt[scenes[0]]["inputs"]["text"].splitlines())
    return len(workflow.nodes_of(prompt, "SaveImage"))


def classes(prompt: Prompt, numbers: list[str]) -> set[str]:
    return {prompt[number]["class_type"] for number in numbers}


@pytest.mark.both_hosts
def test_every_file_is_accepted(
    host_server: HostServer, known: dict[str, Any], standin_models: Standins, pictures: list[str]
) -> None:
    """With every node, input and word known to this host, none of them deprecated; it need not run for that."""
    files = [file for file in templates.FILES if not templates.unknown(file, known)]
    prompts = {file.stem: prepared(file, known, standin_models, pictures) for file in files}
    with kept_waiting(host_server):
        wrong = {stem: said_against(host_server, prompt) for stem, prompt in prompts.items()}
    assert {stem: said for stem, said in wrong.items() if said} == {} and len(files) >= 20
    used = {node["type"] for file in files for node in workflow.nodes_in(workflow.load(file))} & known.keys()
    assert {name for name in used if known[name].get("deprecated")} == set()


def too_old(host: Host, prompt: Prompt) -> bool:
    """For a method of it."""
    used = [method.host for method in methods() if method.used_by(classes(prompt, list(prompt)))]
    return any(host.version < tuple(map(int, needed.split("."))) for needed in used)


def require_host(host: Host, prompt: Prompt) -> None:
    """Skips what this host cannot run."""
    if too_old(host, prompt):
        pytest.skip("this ComfyUI is too old for its method: test_an_older_host_says_what_it_needs")
    if host.version < (0, 33) and workflow.nodes_of(prompt, "UNETLoader"):
        pytest.skip("an older ComfyUI does not know its transformer")


@pytest.mark.parametrize("file", templates.each())
def test_runs_shows_what_it_decides_and_samples_again(
    host_server: HostServer, file: Path, known: dict[str, Any], small: Callable[..., Prompt]
) -> None:
    """Another seed computes nothing else again."""
    prompt = small(file.stem)
    require_host(host_server.host, prompt)
    first = host_server.run(prompt)
    assert first.status == "success"
    # Every node that decides something shows it. People and places may be known from an earlier workflow.
    decided = [number for number in first.executed if decides(prompt[number], known)]
    shows = {"LikenessPlaceCast", "LikenessIDPatchConditionImage", "LikenessDrawSkeletons"}
    assert shows & classes(prompt, [*read(prompt)]) <= classes(prompt, [*decided, *first.cached])
    assert [number for number in decided if not first.outputs[number].get("images")] == []
    if file.stem not in WITHOUT_PICTURE:
        draws_and_samples_again(host_server, file, prompt, first)


@pytest.mark.parametrize("file", templates.each())
def test_an_older_host_says_what_it_needs(host_server: HostServer, file: Path, small: Callable[..., Prompt]) -> None:
    prompt = small(file.stem)
    if not too_old(host_server.host, prompt):
        pytest.skip("this ComfyUI has what its method needs: test_runs_shows_what_it_decides_and_samples_again")
    # That of a checkpoint as small as the stand-in's is the older host's own error.
    if loaders := workflow.nodes_of(prompt, "LikenessLoadAdapter"):
        prompt = {loaders[0]: prompt[loaders[0]], "shown": node("PreviewAny", source=[loaders[0], 0])}
    with pytest.raises(HostError, match=r"needs ComfyUI 0\.33"):
        host_server.run(prompt)


def draws_and_samples_again(host_server: HostServer, file: Path, prompt: Prompt, first: Any) -> None:
    """Whether a template has made its pictures, and with another seed computes nothing but what depends on it."""
    pictures = result(host_server, prompt, first)
    width, height = TABLE["sheets"].get(file.stem, size_of(file))
    if file.stem in PHOTO_OF:
        # It comes back as large as the photo, which is a drawing of the pack.
        with Image.open(templates.ROOT / "pictures" / PHOTO_OF[file.stem]) as photo:
            width, height = photo.size
    assert pictures.shape == (count(prompt), height, width, 3)
    assert pictures.std() > 5
    assert all(not np.array_equal(one, next_one) for one, next_one in itertools.pairwise(pictures))

    again = host_server.run(reseeded(prompt, 2))
    # With references these come before the second pass, which alone has changed.
    judged = set[str]() if "references" in file.stem else JUDGED
    found = FOUND if workflow.nodes_of(prompt, "LikenessFindPlaces") else set[str]()
    behind = {kind for kind in (*judged, *PASTED, *found) if workflow.nodes_of(prompt, kind)}
    assert classes(prompt, again.executed) == SAMPLED & classes(prompt, list(prompt)) | behind
    moved = np.abs(result(host_server, prompt, again).astype(int) - pictures)
    assert moved[moved > 0].mean() > 1


@pytest.mark.parametrize("path", templates.each(templates.OUTSIDE))
def test_a_blueprint_runs_as_one_node(
    path: Path, known: dict[str, Any], host_server: HostServer, standin_models: Standins, pictures: list[str]
) -> None:
    """Those that are in no template, with a photo at each input."""
    if host_server.host.version < (0, 33):
        pytest.skip("this host reads no blueprints")
    offered = host_server.get("/global_subgraphs").values()
    assert path.stem in [entry["name"] for entry in offered if host_server.pack_name in entry["info"]["node_pack"]]
    graph, prompt = workflow.load(path), prepared(path, known, standin_models, pictures)
    (box,), (inside,) = graph["nodes"], workflow.subgraphs(graph).values()
    nodes = {node["id"]: node for node in inside["nodes"]}
    loaded = dict(zip(("person", "first", "second"), pictures, strict=False))
    for link in (link for link in inside["links"] if link["origin_id"] == BEFORE and link["type"] in ("IMAGE", "MASK")):
        name = box["inputs"][link["origin_slot"]]["name"]
        prompt[name] = node("LoadImage", image=loaded.get(name, "shirt.png"))
        to = nodes[link["target_id"]]["inputs"][link["target_slot"]]["name"]
        prompt[f"{box['id']}:{link['target_id']}"]["inputs"][to] = [name, ("IMAGE", "MASK").index(link["type"])]
    # A blueprint with a second pass decodes the faces last, and gives the whole picture that they were pasted into.
    (picture,) = (link for link in inside["links"] if link["target_id"] == BEHIND and link["target_slot"] == 0)
    assert picture["type"] == "IMAGE"
    given = [f"{box['id']}:{picture['origin_id']}", picture["origin_slot"]]
    prompt["saved"] = node("SaveImage", images=given, filename_prefix="blueprint")
    made = result(host_server, prompt, host_server.run(prompt))
    assert made.shape == (1, *size_of(path)[::-1], 3) and made.std() > 5


def test_instant_id_draws_four_people_in_one_pass_as_the_note_says(
    host_server: HostServer, small: Callable[..., Prompt], pictures: list[str]
) -> None:
    """Four photos, a made-up layout and an empty latent, in the place of the scene and of the faces found in it."""
    prompt = small("instant_id_two_stage_group")
    width, height = 448, 312
    (place_cast,) = workflow.nodes_of(prompt, "LikenessPlaceCast")
    (second_pass,) = (number for number, entry in prompt.items() if entry["_meta"]["title"] == "Second pass")
    (latent,) = workflow.nodes_of(prompt, "EmptyLatentImage")
    (face_model,) = workflow.nodes_of(prompt, "LikenessLoadFaceEmbedder")
    photos_of_people = {}
    for number, picture in enumerate(pictures[:4], 1):
        prompt[f"photo {number}"] = node("LoadImage", image=picture)
        photos_of_people[f"photo_{number}"] = [f"photo {number}", 0]
    prompt["people"] = node(
        "LikenessCastFromPhotos", face_model=[face_model, 0], names="", which_face="only", on_no_face="error",
        **photos_of_people,
    )  # fmt: skip
    prompt["layout"] = node(
        "LikenessLayoutForAGroup", count=4, framing="half", rows=0, width=width, height=height,
    )  # fmt: skip
    prompt[latent]["inputs"] |= {"width": width, "height": height}
    prompt[place_cast]["inputs"] |= {"cast": ["people", 0], "layout": ["layout", 0]}
    prompt[second_pass]["inputs"] |= {"latent_image": [latent, 0], "denoise": 0.99}
    run = host_server.run(prompt)
    assert "Scene" not in {prompt[number]["_meta"]["title"] for number in run.executed}
    picture = result(host_server, prompt, run)
    assert picture.shape == (1, height, width, 3)
    assert picture.std() > 5


OFFERED_OFTEN = ("instant_id_two_stage_group", "lora_two_people")
"""Which switch the most on, and are quick."""


def decides(node: dict[str, Any], known: dict[str, Any]) -> bool:
    """Apply ID-Patch does where it makes the condition image itself."""
    kind = node["class_type"]
    if kind == "LikenessApplyIDPatch":
        return "image" not in node["inputs"]
    ours = kind.startswith("Likeness") and kind != "LikenessResizePhoto"
    return kind in SHOWN or (ours and "IMAGE" in known[kind]["output"])


@pytest.mark.parametrize(
    "template",
    each(TABLE["offered"], OFFERED_OFTEN),
)
def test_what_a_note_offers_runs_too(
    template: str, host_server: HostServer, known: dict[str, Any], standin_models: Standins, pictures: list[str]
) -> None:
    """With every node switched on that Ctrl+B switches on, values as the note says, and outputs where it has them
    dragged to. It makes another picture, or measures the same one."""
    file, (dragged, given, *off) = ROOT / "workflows" / f"{template}.json", TABLE["offered"][template]
    plain = prepared(file, known, standin_models, pictures)
    require_host(host_server.host, plain)
    prompt = templates.substitute(prepared(file, known, standin_models, pictures, *off, all_on=True), given)
    for source, target, name in dragged:
        prompt[workflow.nodes_of(prompt, target)[0]]["inputs"][name] = [workflow.nodes_of(prompt, source)[0], 0]
    before, run = host_server.run(plain), host_server.run(prompt)
    made = result(host_server, prompt, run)
    same = np.array_equal(made, result(host_server, plain, before))
    texts = "".join(run.outputs[number]["text"][0] for number in workflow.nodes_of(prompt, "PreviewAny"))
    said = TABLE["said"].get(template, [])
    assert [words for words in said if words not in texts] == []
    assert made.std() > 5 and same == (bool(said) and not given)


@pytest.mark.parametrize("option", each(TABLE["loaders"], ["references_klein_head_in_photo, Qwen-Image-Edit"]))
def test_another_model_draws_by_its_loaders(
    option: str, host_server: HostServer, small: Callable[..., Prompt], pictures: list[str]
) -> None:
    """As the note says. The person of the first photo is in the picture: with another photo it is another one."""
    if host_server.host.version < (0, 33):
        pytest.skip("this ComfyUI does not know these models")
    given, *switched = TABLE["loaders"][option]
    prompt = templates.substitute(small(option.partition(",")[0], *switched), given)
    made = result(host_server, prompt, host_server.run(prompt))
    (cast,) = workflow.nodes_of(prompt, "LikenessCastFromPhotos")
    (loader, _) = prompt[cast]["inputs"]["photo_1"]
    other = {**prompt, loader: changed(prompt[loader], image=pictures[2])}
    moved = np.abs(made.astype(int) - result(host_server, other, host_server.run(other)))
    assert made.std() > 5 and moved[moved > 0].mean() > 0.5


@pytest.mark.thorough
def test_clothes_of_a_person_are_one_more_reference(host_server: HostServer, small: Callable[..., Prompt]) -> None:
    """A Part for the second person, as the note of FLUX.2 klein says and the help page that it names."""
    if host_server.host.version < (0, 33):
        pytest.skip("this ComfyUI does not know this model")
    prompt = small("references_klein_two_people")
    (references,) = (number for number, one in prompt.items() if one["_meta"]["title"] == "People as References")
    places = prompt[references]["inputs"]["cast"]
    region = {"extent": "body", "margin": 0.25, "feather": 0}
    added = {
        "jacket": node("LoadImage", image="likeness_jacket.png"),
        "where": node("LikenessMaskOfAPersonsPlace", cast=places, person=2, **region),
        "part": node(
            "LikenessPart", image=["jacket", 0], target_mask=["where", 0], label="upper body clothes", other_label="",
            weight=1.0,
        ),
        "sentences": node("PreviewAny", source=[references, 2]),
    }  # fmt: skip
    plain = result(host_server, prompt, host_server.run(prompt))
    prompt = {**prompt, **added}
    prompt[references] = node("LikenessPeopleAsReferences", **{**prompt[references]["inputs"], "parts": ["part", 0]})
    run = host_server.run(prompt)
    assert (
        "right: person 2, from image 2, wearing the upper body clothes from image 3."
        in run.outputs["sentences"]["text"][0]
    )
    assert np.abs(result(host_server, prompt, run).astype(int) - plain).mean() > 0.5


@pytest.mark.parametrize("option", each(TABLE["instead"], ["lora_two_people, FLUX.2 klein"]))
def test_a_box_with_a_model_of_its_own_draws_instead(
    option: str, host_server: HostServer, small: Callable[..., Prompt]
) -> None:
    """One box is switched on by Ctrl+B. Nothing of what the template draws with otherwise is loaded, so that it needs
    none of these files, and the people are drawn by what the box has for them."""
    if host_server.host.version < (0, 33):
        pytest.skip("this ComfyUI does not know these models")
    template = option.partition(",")[0]
    title, given, idle, acting, off = TABLE["instead"][option]
    prompt = templates.substitute(small(template, title), given)
    # What is cached from an earlier prompt would not be run, whether the picture needs it or not.
    host_server.free()
    run = host_server.run(prompt)
    ran = [*run.executed, *run.cached]
    assert classes(prompt, ran) & set(idle) == set()
    (node_of_people,) = (number for number in ran if prompt[number]["class_type"] == acting)
    assert run.outputs[node_of_people]["images"]
    pictures = result(host_server, prompt, run)
    assert pictures.std() > 5

    without_people = templates.substitute(prompt, off)
    plain = result(host_server, without_people, host_server.run(without_people))
    changed_by = np.abs(pictures.astype(int) - plain)
    assert changed_by.mean() > 1


@pytest.mark.thorough
def test_a_sheet_has_the_photos_and_every_method_that_is_on(
    host_server: HostServer, small: Callable[..., Prompt]
) -> None:
    """Two sheets from one seed, the same judge for all, and a method that Ctrl+B switches off or on changes nothing of
    the others."""
    several = {"EmptyLatentImage.batch_size": 2}

    def sheets_and_text(*switched: str) -> tuple[np.ndarray, str]:
        prompt = templates.substitute(small("compare_methods", *switched), several)
        run = host_server.run(prompt)
        (preview,) = workflow.nodes_of(prompt, "PreviewAny")
        return result(host_server, prompt, run), run.outputs[preview]["text"][0]

    sheets, text = sheets_and_text()
    of_instant_id, text_of_instant_id = sheets_and_text("ID-Patch")
    of_three, text_of_three = sheets_and_text("IP-Adapter: Ctrl+B")
    width, height = TABLE["sheets"]["compare_methods"]
    picture, gap = size_of(Path("compare_methods"))[0], 8
    assert sheets.shape == (2, height, width, 3)
    assert of_instant_id.shape == (2, height, width - picture - gap, 3)
    assert of_three.shape == (2, height, width + gap + picture, 3)

    photos_end = width - 2 * (picture + gap)
    for other in (of_instant_id, of_three):
        assert np.array_equal(other[:, :, :photos_end], sheets[:, :, :photos_end])
    assert np.array_equal(sheets[0, :, :photos_end], sheets[1, :, :photos_end])
    assert np.array_equal(of_instant_id[:, :, -picture:], sheets[:, :, -picture:])
    assert np.array_equal(of_three[:, :, :width], sheets)
    assert not np.array_equal(sheets[0, :, -picture:], sheets[1, :, -picture:])
    label = sheets[0, : height - 256, -picture:]
    assert label.min() < 64 and label[:, :20].min() > 250, "black letters in the middle of a white strip"

    for method, said in {"ID-Patch": text, "InstantID": text_of_instant_id}.items():
        assert f"\n\n{method}\nMeasured by w600k_r50, which {method} was not trained with." in said
    assert "ID-Patch" not in text_of_instant_id and "person 1" in text_of_instant_id
    assert text_of_three.startswith(text) and "\n\nIP-Adapter\nMeasured by w600k_r50." in text_of_three


PAINTED, ALSO = (180, 150, 280, 300), (60, 200, 200, 280)
"""Left, top, right, bottom in the photo of six: what its alpha has painted, as the mask editor saves it, and where a
second garment is found, which lies partly under the first."""


@pytest.mark.parametrize("template", each(TABLE["repainted"], ["start_person_in_photo"]))
def test_all_but_what_is_meant_stays_bit_for_bit(
    template: str, host_server: HostServer, small: Callable[..., Prompt], tmp_path: Path
) -> None:
    """An absent friend beside all faces, the last of six faces, two faces by references, and clothes with a soft edge
    of 16 px, found by words or painted. The photo comes in and goes out at its own size."""
    size, name = (448, 312), template.partition(",")[0]
    require_host(host_server.host, small(name))
    loads, masking, given, *switched = TABLE["repainted"][template]
    sides = {"ImageScale.width": size[0], "ImageScale.height": size[1], "LikenessResizePhoto.longer_side": size[0]}
    prompt = templates.substitute(small(name, *switched), {**sides, **given})
    photo = ImageOps.fit(Image.open(photos.group()).convert("RGB"), size)
    (loader,) = (number for number, one in prompt.items() if one["_meta"]["title"] == loads)
    for number, box in ((loader, PAINTED), ("left", PAINTED), ("right", ALSO)):
        picture = with_painted(photo, box, tmp_path / f"{number}.png")
        if number in prompt:
            prompt[number]["inputs"]["image"] = host_server.upload_image(picture)
    if name.startswith("references"):
        cast = [workflow.nodes_of(prompt, "LikenessPlaceCast")[-1], 0]
        prompt["region"] = node(masking, cast=cast, person=0, extent="face", margin=0.75, feather=0)
    (saver,) = workflow.nodes_of(prompt, "SaveImage")
    prompt |= saved_masks(prompt, "Where the second is free") | saved_region(prompt, masking)
    run = host_server.run(prompt)
    new = shown_by(host_server, run, "mask")[..., 0] > 0
    painted = (np.asarray(photo)[..., :3] != shown_by(host_server, run, saver)).any(-1)
    least = 0.3 if name.startswith("references") else 0.85
    assert not painted[~new].any() and painted[new].mean() > least and 0.01 < new.mean() < 0.5
    faces = faces_in(tmp_path / f"{loader}.png")
    kept = {"start_person_in_photo": faces[:5], "id_patch_absent_friend": faces}.get(name, [])
    assert not any(painted[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2].any() for x0, y0, x1, y1 in kept)
    if name == "start_person_in_photo":
        x0, y0, x1, y1 = faces[5]
        assert painted[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2].mean() > 0.9
    if name == "parts_try_on":
        places = (PAINTED,) if switched else (PAINTED, ALSO)
        rows, columns = np.where(new.any(1))[0], np.where(new.any(0))[0]
        assert (rows[0], rows[-1], columns[0], columns[-1]) == (134, 311, places[-1][0] - 16, 295)
        assert all(painted[y0:y1, x0:x1].mean() > 0.9 for x0, y0, x1, y1 in places)
        if not switched:
            assert np.array_equal(shown_by(host_server, run, "Where the second is free")[..., 0], also_alone(size))


def also_alone(size: tuple[int, int]) -> np.ndarray:
    """The second garment without what lies under the first."""
    mask = Image.new("L", size, 0)
    mask.paste(255, ALSO)
    mask.paste(0, PAINTED)
    return np.asarray(mask)


def with_painted(photo: Image.Image, box: tuple[int, int, int, int], to: Path) -> Path:
    """The photo with the box painted in its alpha, as the mask editor saves it."""
    alpha = Image.new("L", photo.size, 255)
    alpha.paste(0, box)
    photo.putalpha(alpha)
    photo.save(to)
    return to


def saved_region(prompt: Prompt, masking: str) -> Prompt:
    """Nodes that save, as "mask", where the mask of the node of this kind or title is more than 0."""
    (region,) = (number for number, one in prompt.items() if masking in (one["class_type"], one["_meta"]["title"]))
    return {
        "more than 0": node("ThresholdMask", mask=[region, 0], value=0.0),
        "as a picture": node("MaskToImage", mask=["more than 0", 0]),
        "mask": node("SaveImage", images=["as a picture", 0], filename_prefix="mask"),
    }


def saved_masks(prompt: Prompt, title: str) -> Prompt:
    """Nodes that save the masks of the node of this title, under its title; none where it is not there."""
    added: Prompt = {}
    for number, one in prompt.items():
        if one["_meta"]["title"] == title:
            added[f"{title}, as a picture"] = node("MaskToImage", mask=[number, 0])
            added[title] = node("SaveImage", images=[f"{title}, as a picture", 0], filename_prefix="mask")
    return added


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("template", "masking"), [("start_person_in_photo", "LikenessMaskOfAPersonsPlace"), ("parts_try_on", "Both places")]
)
def test_a_photo_comes_back_at_its_own_size(
    template: str, masking: str, host_server: HostServer, small: Callable[..., Prompt], tmp_path: Path
) -> None:
    """The photo is twice as large as what is painted; outside of the mask every pixel stays, bit for bit.

    masking: the kind or the title of the node whose mask says where the picture is painted anew.
    """
    width, height = 896, 624
    picture = tmp_path / "photo.png"
    photo = ImageOps.fit(Image.open(photos.group()).convert("RGB"), (width, height))
    photo.save(picture)
    prompt = small(template)
    prompt = templates.substitute(prompt, {"LikenessResizePhoto.longer_side": width // 2})
    (loader,) = (number for number, entry in prompt.items() if entry["_meta"]["title"] == "Photo")
    prompt[loader]["inputs"]["image"] = host_server.upload_image(picture)
    (region,) = (
        number for number, entry in prompt.items() if masking in (entry["class_type"], entry["_meta"]["title"])
    )
    # As large as the photo, the way ComfyUI's own ImageCompositeMasked enlarges a mask.
    prompt["white"] = node("EmptyImage", width=width, height=height, batch_size=1, color=0xFFFFFF)
    prompt["black"] = node("EmptyImage", width=width, height=height, batch_size=1, color=0)
    prompt["enlarged"] = node(
        "ImageCompositeMasked", destination=["black", 0], source=["white", 0], mask=[region, 0], x=0, y=0,
        resize_source=False,
    )  # fmt: skip
    prompt["red"] = node("ImageToMask", image=["enlarged", 0], channel="red")
    prompt["more than 0"] = node("ThresholdMask", mask=["red", 0], value=0.0)
    prompt["as a picture"] = node("MaskToImage", mask=["more than 0", 0])
    prompt["mask"] = node("SaveImage", images=["as a picture", 0], filename_prefix="mask")
    (saver,) = workflow.nodes_of(prompt, "SaveImage")[:1]
    run = host_server.run(prompt)
    swapped = shown_by(host_server, run, saver)
    assert swapped.shape[:2] == (height, width)
    inside = shown_by(host_server, run, "mask")[..., 0] > 0
    painted = (np.asarray(photo) != swapped).any(-1)
    assert not painted[~inside].any()
    assert painted[inside].mean() > 0.85
    least, most = 0.01, 0.6
    if template == "parts_try_on":
        garments = share_of_garments(width // 2, edge=17)  # 16 px of blur, and one of the resizing
        least, most = garments - 0.01, garments + 0.01
    assert least < inside.mean() < most


def share_of_garments(side: int, edge: int) -> float:
    """How much of a square picture lies in the places of the two garments or in the soft edges around them.

    The pictures that stand for their masks are squares, and are stretched over the photo.
    """
    boxes = np.zeros((side, side), bool)
    for name in ("left.png", "right.png"):
        x0, y0, x1, y1 = (at * side // 512 for at in PAINTED_BOXES[name])
        boxes[y0 - edge : y1 + edge, x0 - edge : x1 + edge] = True
    return float(boxes.mean())


def faces_in(picture: Path) -> list[tuple[int, ...]]:
    """Where they are, left, top, right, bottom, from left to right."""
    found = find_faces(real_faces.detector(), eight_bits(real_faces.image(picture)[0]))
    return [tuple(round(edge) for edge in face.box) for face in analysis.arrange(found, "left to right")]


def changed(one: dict[str, Any], **inputs: Any) -> dict[str, Any]:
    return {**one, "inputs": {**one["inputs"], **inputs}}


@pytest.mark.thorough
def test_one_patched_model_serves_two_nodes_of_parts(host_server: HostServer, small: Callable[..., Prompt]) -> None:
    """A second Apply Parts2Whole, for a second sampler on the MODEL of the first."""
    prompt, kinds = small("parts2whole_with_pose"), ("LikenessApplyParts2Whole", "KSampler", "VAEDecode", "SaveImage")
    apply, sampler, decoder, saver = (workflow.nodes_of(prompt, kind)[0] for kind in kinds)
    prompt |= {
        "second": changed(prompt[apply], strength=0.5),
        "sample": changed(prompt[sampler], positive=["second", 1], negative=["second", 2]),
        "decode": changed(prompt[decoder], samples=["sample", 0]),
        "save": changed(prompt[saver], images=["decode", 0]),
    }
    run = host_server.run(prompt)
    assert not np.array_equal(shown_by(host_server, run, saver), shown_by(host_server, run, "save"))


def test_what_a_node_said_goes_with_its_next_run(host_server: HostServer, small: Callable[..., Prompt]) -> None:
    prompt = small("id_patch_prompt_per_person")
    (cast,) = workflow.nodes_of(prompt, "LikenessCast")
    (apply,) = workflow.nodes_of(prompt, "LikenessApplyIDPatch")
    prompt[cast]["inputs"]["weight_1"] = 0.0

    def said(graph: Prompt) -> str:
        return "\n".join(text for number, text in host_server.run(graph).notes if number == apply)

    assert "Weight 0, left out: " in said(prompt)
    prompt[apply]["inputs"]["strength"] = 0.0
    assert said(prompt) == ""


@pytest.mark.thorough
def test_every_start_template_draws_with_the_toy(host: Host, tmp_path: Path) -> None:
    """Nothing is set but its files, size and steps."""
    files = built.build()
    with HostServer(host, Path(sys.executable), tmp_path / "base", [files.root], without=("facexlib",)) as server:
        pictures: dict[str, torch.Tensor] = {}
        for name, kind in install.KINDS.items():
            images_of = kind.pictures(files)
            images = [server.upload_image(picture) for picture in images_of]
            prompt = workflow.to_prompt(install.ready(name, files, images), server.object_info())
            (saved,) = workflow.nodes_of(prompt, "SaveImage")
            drawn = photos.pixels(server.file(server.run(prompt).outputs[saved]["images"][0]))
            longer_side = max(kind.size)
            if kind.template in PHOTO_OF:
                # What is drawn in a photo comes back as large as the photo.
                with Image.open(images_of[0]) as photo:
                    longer_side = max(photo.size)
            assert max(drawn.shape) == longer_side and drawn.std() > 0.1, name
            pictures[name] = drawn
    # Anna's brown hair in the place of his black hair, the woman beside him stays.
    hair = pictures[install.FACE][120:160, 370:430].mean((0, 1))
    assert (hair - hair.new_tensor([0.62, 0.34, 0.20])).abs().max() < 0.15
