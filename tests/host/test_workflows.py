"""Every workflow file, sent over HTTP as it is, with its own pictures, but for the names of models, size and steps."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import templates
import torch
from environment import Host
from marks import each
from PIL import Image
from prompts import node
from shared import photos, workflow
from shared.host_server import HostError, HostServer
from shared.workflow import Prompt
from small_templates import TABLE, classes, prepared, read, require_host, result, shown_by, size_of, too_old
from standin_server import kept_waiting, said_against
from standins_made import Standins
from toy import built, install

ROOT = Path(__file__).resolve().parents[2]
# What another seed has to compute again, and nothing else.
SAMPLED = {"KSampler", "SamplerCustomAdvanced", "RandomNoise", "VAEDecode", "SaveImage"}
JUDGED = {"LikenessMeasureLikeness", "LikenessPickBestLikeness", "LikenessSheetOfScenes", "PreviewAny"}
PASTED = {"LikenessPasteFaces", "ImageCompositeMasked", "ImageStitch", "ImageGrid", "StringConcatenate"}
"""What is done with the new pictures and what was measured of them, and only that."""
FOUND = {"LikenessFindPlaces", "LikenessPromptPerPerson", "LikenessLoRAPerPerson", "CFGGuider", "PreviewImage"}
"""Where places are found while sampling: they are another seed's, with all that acts in them."""
SHOWN = {"LikenessSavePerson", "LikenessPeopleAsReferences"}
"""They show a picture of what they decide, as all of ours do that have one among their outputs."""
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


def reseeded(prompt: Prompt, seed: int) -> Prompt:
    """Another seed for the final pictures; a first pass that gives the places keeps its own."""
    final = {number: one for number, one in prompt.items() if one["_meta"]["title"] != "Scene"}
    return {**prompt, **templates.substitute(final, {"KSampler.seed": seed, "RandomNoise.noise_seed": seed})}


def count(prompt: Prompt) -> int:
    """How many pictures are saved."""
    if scenes := workflow.nodes_of(prompt, "LikenessScenes"):
        return len(prompt[scenes[0]]["inputs"]["text"].splitlines())
    return len(workflow.nodes_of(prompt, "SaveImage"))


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
    if "2_1" in file.stem:
        pytest.skip("the host's loader refuses the file before that: test_files_on_page.py")
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
    # With references the best is picked before the second pass, which alone has changed.
    picks_best = workflow.nodes_of(prompt, "LikenessPickBestLikeness")
    has_second_pass = workflow.nodes_of(prompt, "LikenessCropFaces")
    picked_before = "references" in file.stem and picks_best and has_second_pass
    judged = set[str]() if picked_before else JUDGED
    if picks_best and not workflow.nodes_of(prompt, "LikenessSheetOfScenes"):
        judged -= {"LikenessMeasureLikeness"}  # of one picture, which is shown at once
    found = FOUND if workflow.nodes_of(prompt, "LikenessFindPlaces") else set[str]()
    # Reports are joined, and come to a box through a Text; texts that are not joined are those of scenes.
    reports = {"PrimitiveString"} if workflow.nodes_of(prompt, "StringConcatenate") else set[str]()
    kept = {"LikenessKeptPeople"}  # the list has grown by those whom the first run has kept
    behind = {kind for kind in (*judged, *PASTED, *found, *reports, *kept) if workflow.nodes_of(prompt, kind)}
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
    require_host(host_server.host, prompt)
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
            saved, *_ = workflow.nodes_of(prompt, "SaveImage")
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
