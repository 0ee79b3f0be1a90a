"""What is published: git's files less .comfyignore, as `comfy node pack` takes them, and the help pages' copies.

    python -m shared.archive /tmp/likeness

in the folder scripts/ of the pack leaves it in a folder that is new or empty, outside of the repository. What is
published is made there. A run that fails leaves nothing.
"""

import argparse
import json
import re
import shutil
import subprocess
from collections.abc import Collection
from functools import partial
from pathlib import Path

from environment import ROOT, run, say

from .arguments import path_of

REPOSITORY = "https://github.com/likeness-nodes/likeness/blob/main/"


def tracked() -> set[str]:
    """Every file of the repository, new ones included, ignored ones not."""
    return _git_files("--exclude-standard")


def shipped() -> set[str]:
    """The files of the archive that stand in the repository."""
    return tracked() - _git_files("--ignored", "--exclude-from=.comfyignore")


def copies() -> dict[str, str]:
    """The other files of the archive -> whose copies they are.

    Every frontend asks for <NodeId>/<language>.md and logs a 404 before it takes <NodeId>.md.
    """
    pages = (Path(name) for name in shipped() if Path(name).match("web/docs/*.md"))
    return {page.with_suffix("").joinpath("en.md").as_posix(): page.as_posix() for page in pages}


def unpack(target: Path) -> None:
    """The files of the archive as a folder, as installers leave it; JSON without the spaces that make it readable, and
    README with links to the repository where it leads to what the archive has not."""
    sources = {name: name for name in shipped()} | copies()
    for name, source in sorted(sources.items()):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".json"):
            text = (ROOT / source).read_text("utf-8")
            (target / name).write_text(json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":")), "utf-8")
        elif name.startswith("README"):
            linked = partial(_link, known=sources.keys())
            text = re.sub(r"\]\((?!\w+:)([^)#]+)", linked, (ROOT / source).read_text("utf-8"))
            (target / name).write_text(text, "utf-8")
        else:
            shutil.copyfile(ROOT / source, target / name)


def _link(link: re.Match[str], known: Collection[str]) -> str:
    return link[0] if link[1] in known else f"]({REPOSITORY}{link[1]}"


def _git_files(*arguments: str) -> set[str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", *arguments]
    # git writes names of files in UTF-8, whatever the code page of the console is.
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, encoding="utf-8").stdout
    return {name for name in listed.split("\0") if name and (ROOT / name).is_file()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=path_of, help="a folder that is new or empty, outside of the repository")
    folder: Path = parser.parse_args().folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        parser.error(f"{folder} is not empty. Name a new folder.")
    if folder.resolve().is_relative_to(ROOT.resolve()):
        parser.error(f"{folder} is in the repository. Name a folder outside of it.")
    try:
        unpack(folder)
    except BaseException:  # whoever stops it with Ctrl-C wants nothing left either
        shutil.rmtree(folder, ignore_errors=True)
        raise
    count = sum(1 for path in folder.rglob("*") if path.is_file())
    say(f"Done: {count} files of the archive are in {folder}")
    return 0


if __name__ == "__main__":
    run(main)
