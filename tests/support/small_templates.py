"""Templates and blueprints as prompts for a running ComfyUI: with stand-ins for their models, small, of few steps."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import real_faces
import templates
from environment import Host
from pack.core.methods import methods
from pack.core.places import bodies
from PIL import Image
from prompts import node
from shared import photos, saved_workflow, workflow
from shared.host_server import HostServer, Run
from shared.workflow import Prompt
from standin_server import write_lora, write_transformer_lora
from standins_made import Standins

ROOT = Path(__file__).resolve().parents[2]
TWO_STEPS = {
    "compare_methods", "parts2whole_with_pose", "photo_maker_two_people",
    "pulid_two_people", "references_qwen_three_people", "start_outfit",
}  # fmt: skip
"""After one step of these the picture is nearly black."""
PAINTED_BOXES = {"left.png": (58, 106, 238, 512), "right.png": (274, 106, 454, 512), "shirt.png": (114, 130, 286, 325)}
"""Pictures of which a box is painted over, for inputs of masks: left, top, right, bottom."""
DRAWN = {"DA3Render", "SDPoseDrawKeypoints"}
"""By networks of a gigabyte, which no small file stands in for: the picture they look at takes the drawing's place."""
TABLE = json.loads((ROOT / "tests" / "host" / "workflows.json").read_text("utf-8"))
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
        if re.search(kind, file.stem):
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


def result(server: HostServer, prompt: Prompt, run: Run) -> np.ndarray:
    saved = [image for saver in workflow.nodes_of(prompt, "SaveImage") for image in run.outputs[saver]["images"]]
    return np.stack([np.asarray(Image.open(server.file(image))) for image in saved])


def shown_by(server: HostServer, run: Run, number: str) -> np.ndarray:
    """The first that a node shows or saves."""
    return np.asarray(Image.open(server.file(run.outputs[number]["images"][0])))


def classes(prompt: Prompt, numbers: list[str]) -> set[str]:
    return {prompt[number]["class_type"] for number in numbers}


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
    loaded = [prompt[number]["inputs"]["unet_name"] for number in workflow.nodes_of(prompt, "UNETLoader")]
    if host.version < (0, 36) and any("qwen-image-2.1" in name for name in loaded):
        pytest.skip("only ComfyUI 0.36 knows Qwen-Image 2.1; test_files_on_page.py opens its template in older ones")
