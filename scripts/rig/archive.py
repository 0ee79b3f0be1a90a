"""What is published: git's files less .comfyignore, as `comfy node pack` takes them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from environment import ROOT


def tracked() -> set[str]:
    """Every file of the repository, new ones included, ignored ones not."""
    return _git_files("--exclude-standard")


def shipped() -> set[str]:
    """The files of the archive."""
    return tracked() - _git_files("--ignored", "--exclude-from=.comfyignore")


def unpack(target: Path) -> None:
    """The files of the archive as a folder, as installers leave it."""
    for name in sorted(shipped()):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target / name)


def _git_files(*arguments: str) -> set[str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", *arguments]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return {name for name in listed.split("\0") if name and (ROOT / name).is_file()}
