"""Every workflow file, sent over HTTP as it is but for file names, size and steps."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import photos
import pytest
import workflow
from host_server import HostError, HostServer, Run
from PIL import Image
from standins import Standins

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "workflows").glob("*.json"))
# What another seed has to compute again, and nothing else; several pictures become a batch on their way.
SAMPLED = {"KSampler", "VAEDecode", "SaveImage"}
BATCHED = {"ImageBatch"}
DECIDING = {
    "LikenessDetectFaces", "LikenessIdentity", "LikenessPlaceCast", "LikenessPoseImage", "LikenessIDPatchImage",
    "LikenessFaceKeypointsImage",
}  # fmt: skip

Prompt = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def people(host_server: HostServer, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names of uploaded photos, each of one person."""
    return [host_server.upload_image(path) for path in photos.people(tmp_path_factory.mktemp("people"))]


@pytest.fixture(scope="module")
def group(host_server: HostServer) -> str:
    return host_server.upload_image(photos.group())


@pytest.fixture(scope="module")
def known(host_server: HostServer) -> dict[str, Any]:
    return host_server.object_info()


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def file(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def prompt(file: Path, known: dict[str, Any], standin_models: Standins, people: list[str], group: str) -> Prompt:
    return prepared(file, known, standin_models, people, group)


def size_of(file: Path) -> tuple[int, int]:
    """Width and height: the least that six people take, and four."""
    return (384, 344) if file.stem.startswith("id_patch") else (320, 256)


def prepared(file: Path, known: dict[str, Any], models: Standins, people: list[str], group: str) -> Prompt:
    prompt = workflow.to_prompt(workflow.load(file), known)
    names = {
        "CheckpointLoaderSimple.ckpt_name": models.checkpoint.name,
        "ControlNetLoader.control_net_name": models.control_net.name,
        "LikenessLoadIDPatch.file": models.id_patch.name,
        "LikenessLoadInstantID.file": models.instant_id.name,
        "LikenessLoadFaceModel.pack": models.face_pack.name,
    }
    width, height = size_of(file)
    steps = 2 if len(workflow.nodes_of(prompt, "KSampler")) == 1 else 1
    prompt = workflow.substitute(prompt, {**names, "*.width": width, "*.height": height, "*.steps": steps})
    persons = iter(people)
    for number in workflow.nodes_of(prompt, "LoadImage"):
        template = "template" in prompt[number]["_meta"]["title"].lower()
        prompt[number]["inputs"]["image"] = group if template else next(persons)
    return with_faces(prompt, group)


def with_faces(prompt: Prompt, group: str) -> Prompt:
    """Where faces are looked for in a generated picture, a photo instead: random weights draw none."""
    photo = {"class_type": "LoadImage", "inputs": {"image": group}, "_meta": {"title": "Photo with faces"}}
    for number in workflow.nodes_of(prompt, "LikenessDetectFaces"):
        if prompt[prompt[number]["inputs"]["image"][0]]["class_type"] == "VAEDecode":
            prompt = workflow.substitute({**prompt, "photo": photo}, {"LikenessDetectFaces.image": ["photo", 0]})
    return prompt


def reseeded(prompt: Prompt, seed: int) -> Prompt:
    """Another seed for the final pictures; a first pass that gives the places keeps its own."""
    final = {n: node for n, node in prompt.items() if node["_meta"]["title"] != "Scene"}
    return {**prompt, **workflow.substitute(final, {"KSampler.seed": seed})}


def result(server: HostServer, prompt: Prompt, run: Run) -> np.ndarray:
    (saver,) = workflow.nodes_of(prompt, "SaveImage")
    return np.stack([np.asarray(Image.open(server.file(image))) for image in run.outputs[saver]["images"]])


def classes(prompt: Prompt, numbers: list[str]) -> set[str]:
    return {prompt[number]["class_type"] for number in numbers}


def test_runs_and_another_seed_only_samples_again(host_server: HostServer, file: Path, prompt: Prompt) -> None:
    first = host_server.run(prompt)
    pictures = result(host_server, prompt, first)
    width, height = size_of(file)
    assert first.status == "success"
    assert pictures.shape == (len(workflow.nodes_of(prompt, "ImageBatch")) + 1, height, width, 3)
    assert pictures.std() > 5
    assert all(not np.array_equal(one, next_one) for one, next_one in itertools.pairwise(pictures))

    # Every node that decides something shows it. People and places may be known from an earlier workflow.
    decided = [number for number in first.executed if prompt[number]["class_type"] in DECIDING]
    shows = {"LikenessPlaceCast", "LikenessIDPatchImage", "LikenessFaceKeypointsImage"}
    assert shows & classes(prompt, list(prompt)) <= classes(prompt, [*decided, *first.cached])
    assert [number for number in decided if not first.outputs[number].get("images")] == []

    again = host_server.run(reseeded(prompt, 2))
    assert classes(prompt, again.executed) - BATCHED == SAMPLED
    assert not set(again.executed) & set(again.cached)
    # 0.3.64 names only the cached nodes it has looked at; those that feed the sampler are always among them.
    applied = classes(prompt, workflow.nodes_of(prompt, "LikenessApplyIDPatch", "LikenessApplyInstantID"))
    assert {*applied, "CheckpointLoaderSimple"} <= classes(prompt, again.cached)
    assert np.abs(result(host_server, prompt, again).astype(int) - pictures).mean() > 1


@pytest.fixture
def two_people(known: dict[str, Any], standin_models: Standins, people: list[str], group: str) -> Prompt:
    return prepared(ROOT / "workflows" / "id_patch_two_people.json", known, standin_models, people, group)


def test_cancel_in_mid_run_leaves_the_next_run_right(host_server: HostServer, two_people: Prompt) -> None:
    prompt = workflow.substitute(two_people, {"KSampler.seed": 77})
    expected = result(host_server, prompt, host_server.run(prompt))

    def interrupt(event: dict[str, Any]) -> None:
        if event["type"] == "progress" and event["data"]["value"] == 2 and event["data"]["max"] == 30:
            host_server.interrupt()

    cancelled = host_server.run(workflow.substitute(prompt, {"*.steps": 30}), interrupt)
    assert cancelled.status == "interrupted"
    assert workflow.nodes_of(prompt, "SaveImage")[0] not in cancelled.outputs

    # A seed in between, so that nothing of the result comes from the cache.
    host_server.run(workflow.substitute(prompt, {"KSampler.seed": 78}))
    assert np.array_equal(result(host_server, prompt, host_server.run(prompt)), expected)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"LikenessGroupLayout.count": 3}, "2 people and the layout has 3 places"),
        ({"LikenessLoadIDPatch.file": "standin-controlnet.pth"}, "The ID-Patch file not found: standin-controlnet.pth"),
        ({"LikenessLoadFaceModel.pack": "antelopev2"}, "The face pack antelopev2 not found: .*antelopev2.zip"),
        ({"LikenessLoadIDPatch.file": "../x.bin"}, "leads outside of"),
        ({"LikenessPlaceCast.order": "custom", "LikenessPlaceCast.custom_order": "2,2"}, "person 2 stands in 2 places"),
        ({"LoadImage.image": "example.png"}, "No face found in photo 1 of 1 of"),
        ({"LikenessLoadFaceModel.recognisers": "w600k_mbf"}, "ID-Patch needs arcface-ir-se50, this identity .* w600k"),
    ],
)
def test_what_is_wrong_is_said_over_http(
    changed: dict[str, Any], message: str, host_server: HostServer, two_people: Prompt
) -> None:
    if "LoadImage.image" in changed:
        host_server.upload_image(host_server.host.path / "input" / "example.png")
    with pytest.raises(HostError, match=r"Likeness\w+ \(node \d+\): (?s:.*)" + message):
        host_server.run(workflow.substitute(two_people, changed))


@pytest.fixture
def four_people(known: dict[str, Any], standin_models: Standins, people: list[str], group: str) -> Prompt:
    return prepared(ROOT / "workflows" / "instant_id_four_people.json", known, standin_models, people, group)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"LikenessLoadInstantID.file": "ip-adapter.bin"}, "The InstantID adapter not found: ip-adapter.bin"),
        ({"LikenessLoadFaceModel.recognisers": "w600k_mbf"}, "InstantID needs antelopev2, this identity .* w600k"),
    ],
)
def test_what_is_wrong_with_instant_id_is_said_over_http(
    changed: dict[str, Any], message: str, host_server: HostServer, four_people: Prompt
) -> None:
    with pytest.raises(HostError, match=r"Likeness\w+ \(node \d+\): (?s:.*)" + message):
        host_server.run(workflow.substitute(four_people, changed))
