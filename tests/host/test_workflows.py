"""Every workflow file, sent over HTTP as it is but for file names, size and steps."""

from __future__ import annotations

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
# The least that six people take.
SIZE = {"*.width": 384, "*.height": 344}
STEPS = 2
# What another seed has to compute again, and nothing else.
SAMPLED = {"KSampler", "VAEDecode", "SaveImage"}
DECIDING = {"LikenessDetectFaces", "LikenessIdentity", "LikenessPlaceCast", "LikenessPoseImage", "LikenessIDPatchImage"}

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


def prepared(file: Path, known: dict[str, Any], models: Standins, people: list[str], group: str) -> Prompt:
    prompt = workflow.to_prompt(workflow.load(file), known)
    names = {
        "CheckpointLoaderSimple.ckpt_name": models.checkpoint.name,
        "ControlNetLoader.control_net_name": models.control_net.name,
        "LikenessLoadIDPatch.file": models.id_patch.name,
        "LikenessLoadFaceModel.pack": models.face_pack.name,
    }
    prompt = workflow.substitute(prompt, {**names, **SIZE, "*.steps": STEPS})
    persons = iter(people)
    for number in workflow.nodes_of(prompt, "LoadImage"):
        template = "Template" in prompt[number]["_meta"]["title"]
        prompt[number]["inputs"]["image"] = group if template else next(persons)
    return prompt


def result(server: HostServer, prompt: Prompt, run: Run) -> np.ndarray:
    (saver,) = workflow.nodes_of(prompt, "SaveImage")
    (image,) = run.outputs[saver]["images"]
    return np.asarray(Image.open(server.file(image)))


def classes(prompt: Prompt, numbers: list[str]) -> set[str]:
    return {prompt[number]["class_type"] for number in numbers}


def test_runs_and_another_seed_only_samples_again(host_server: HostServer, prompt: Prompt) -> None:
    first = host_server.run(prompt)
    picture = result(host_server, prompt, first)
    assert first.status == "success"
    assert picture.shape == (SIZE["*.height"], SIZE["*.width"], 3)
    assert picture.std() > 5

    # Every node that decides something shows it. People may be known from an earlier workflow.
    decided = [number for number in first.executed if prompt[number]["class_type"] in DECIDING]
    assert {"LikenessPlaceCast", "LikenessIDPatchImage"} <= classes(prompt, decided)
    assert [number for number in decided if not first.outputs[number].get("images")] == []

    again = host_server.run(workflow.substitute(prompt, {"KSampler.seed": 2}))
    assert classes(prompt, again.executed) == SAMPLED
    assert not set(again.executed) & set(again.cached)
    # 0.3.64 names only the cached nodes it has looked at; those that feed the sampler are always among them.
    assert {"LikenessApplyIDPatch", "CheckpointLoaderSimple"} <= classes(prompt, again.cached)
    assert np.abs(result(host_server, prompt, again).astype(int) - picture).mean() > 1


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
